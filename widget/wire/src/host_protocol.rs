//! Host page ↔ phone. [`definition`] says what a host page can ask for and what it hears: the loader's tables and
//! `loader.d.ts` are made from it by `bindings`. Below are the messages that carry it over `window.postMessage` where
//! the phone is a frame in a host page.
//!
//! Every message is an object `{ "type": "BITCALL_…", "payload": { … } }`. The phone's page sends the first one,
//! `BITCALL_READY` with the version of this protocol, which contains no secrets, to any origin. The loader checks
//! `source` and `origin` and answers with `BITCALL_INIT` to the phone's origin only. From then on the phone sends only
//! to the origin of `BITCALL_INIT`, and accepts messages only from its parent window at that origin.
//!
//! `BITCALL_INIT` and every command carry a request id beside `type`, and each is answered once by
//! [`FromPhone::Answer`]: done, or refused. The loader sends commands after the answer to `BITCALL_INIT`. A phone's page
//! that is loaded anew starts from the beginning, and is told by [`InitPayload::calls`] what the host page knows.
//! Loaders of version 1 send no ids and get no answers; they hear refusals by [`FromPhone::Error`].
//!
//! The phone does not trust the page that frames it. Its own address has the tenant's API key; by that key and the
//! origin of `BITCALL_INIT`, as the browser tells it, it asks the server for the tenant's configuration, and does nothing
//! where the server refuses.

#[cfg(feature = "bindings")]
pub mod bindings;
pub mod definition;

use serde::{Deserialize, Serialize, Serializer};

pub use definition::{HostCommand, HostEvent};

use crate::agent_protocol::{CallDirection, CallHeader, UnixMillis};
use crate::config::{SessionRestore, SignInMode, ThemeStart};

/// Increases with every change that one side must know of the other. Version 2: ids and answers.
pub const VERSION: u32 = 2;

/// Phone → loader, besides [`HostEvent`]s.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", content = "payload")]
pub enum FromPhone {
    /// `BITCALL_INIT` or a command was carried out, or refused.
    #[serde(rename = "BITCALL_ANSWER")]
    Answer(Answer),
    #[serde(rename = "BITCALL_STATE")]
    State(PhoneState),
    /// Something went wrong that is no answer, e.g. the sign-in failed.
    #[serde(rename = "BITCALL_ERROR")]
    Error(PhoneError),
    /// The phone has stopped: the server no longer admits it, or it could not start. Its calls are over.
    #[serde(rename = "BITCALL_STOPPED")]
    Stopped(PhoneError),
    /// Open the panel (a call comes in, a number was put into the dialer).
    #[serde(rename = "BITCALL_SHOW")]
    Show(EmptyPayload),
    /// Close the panel (the person pressed "Minimise" or Escape).
    #[serde(rename = "BITCALL_HIDE")]
    Hide(EmptyPayload),
    /// What the launcher shows.
    #[serde(rename = "BITCALL_BADGE")]
    Badge(LauncherBadge),
}

/// A payload without fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EmptyPayload {}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// Of the message that is answered.
    pub id: u32,
    /// Null: done.
    pub error: Option<PhoneError>,
}

/// Payload of `BITCALL_INIT`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct InitPayload {
    pub host: HostOptions,
    /// The calls whose start the host page was told of, and not their end. A phone that takes the place of one that is
    /// gone goes on with them, or tells their end.
    pub calls: Vec<OpenCall>,
}

/// The options of `init()` that are sent to the phone, see [`definition::OPTIONS`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostOptions {
    pub sip: HostSipOptions,
    pub behavior: HostBehaviorOptions,
    /// Defaults to the host page's origin.
    pub embed_origin: Option<String>,
    pub debug: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostSipOptions {
    pub username: Option<String>,
    pub domain: Option<String>,
    pub password: Option<String>,
    #[serde(rename = "HA1Password")]
    pub ha1_password: Option<String>,
}

/// Options that override the tenant's behaviour.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostBehaviorOptions {
    pub mode: Option<SignInMode>,
    pub session_restore: Option<SessionRestore>,
    /// Ignored when the tenant locks the theme.
    pub theme_start: Option<ThemeStart>,
    pub auto_record: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenCall {
    pub call_id: String,
    pub number: String,
    pub direction: CallDirection,
    pub requested_caller_id: Option<String>,
    pub started_at: UnixMillis,
    pub answered_at: Option<UnixMillis>,
}

/// Payload of `BITCALL_VISIBLE`: the panel was opened or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct PanelVisibility {
    pub visible: bool,
}

/// What `getState()` returns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "State"))]
#[serde(rename_all = "camelCase")]
pub struct PhoneState {
    pub registered: bool,
    pub in_call: bool,
    pub active_number: Option<String>,
    pub call_count: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Call"))]
#[serde(rename_all = "camelCase")]
pub struct CallRef {
    pub call_id: String,
    /// As dialled, or the caller's. Empty if the caller withholds it.
    pub number: String,
    pub direction: CallDirection,
    /// Present if the call was placed with a caller ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub requested_caller_id: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "CallIncoming"))]
#[serde(rename_all = "camelCase")]
pub struct CallIncomingPayload {
    #[serde(flatten)]
    pub call: CallRef,
    /// `X-…` and `User-to-User` of the INVITE by name, as received. Values of one name are joined by commas.
    #[serde(serialize_with = "as_object")]
    #[cfg_attr(feature = "schema", schemars(with = "std::collections::BTreeMap<String, String>"))]
    pub headers: Vec<CallHeader>,
    /// Whom the caller called before the call was diverted, e.g. a queue: name or number. Null if the server does not tell.
    pub diverted_from: Option<String>,
}

/// Each name must be there once ([`crate::call_headers::joined`]).
fn as_object<S: Serializer>(headers: &[CallHeader], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(headers.iter().map(|header| (&header.name, &header.value)))
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "CallUpdated"))]
#[serde(rename_all = "camelCase")]
pub struct CallUpdatedPayload {
    #[serde(flatten)]
    pub call: CallRef,
    /// The name that the server tells for the number, or null.
    pub display_name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "CallEnded"))]
#[serde(rename_all = "camelCase")]
pub struct CallEndedPayload {
    #[serde(flatten)]
    pub call: CallRef,
    /// Whole seconds since the answer; 0 for a call that was never answered.
    pub duration: u64,
    /// Text, e.g. `Busy`, `Declined`, `Remote hung up`.
    pub cause: String,
    /// Final SIP status of the call, or null when there was none (a BYE, a lost connection).
    pub sip_code: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Transfer"))]
#[serde(rename_all = "camelCase")]
pub struct TransferPayload {
    pub call_id: String,
    /// As given, or the number of the call that was asked first.
    pub target: String,
    pub status: TransferPhase,
    /// Why it failed, e.g. `BAD_NUMBER`, `REFUSED`, `UNREACHABLE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// SIP URI of the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(inline))]
#[serde(rename_all = "lowercase")]
pub enum TransferPhase {
    Started,
    Accepted,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Recording"))]
#[serde(rename_all = "camelCase")]
pub struct RecordingPayload {
    #[serde(flatten)]
    pub call: CallRef,
    pub status: RecordingStatus,
    /// The same from the start of a recording to its end, also over a pause.
    pub recording_id: String,
    /// Why it failed, e.g. `STORAGE_FULL`, `RECORDING_FAILED`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(inline))]
#[serde(rename_all = "lowercase")]
pub enum RecordingStatus {
    Started,
    Paused,
    Stopped,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Registered"))]
#[serde(rename_all = "camelCase")]
pub struct RegisteredPayload {
    pub username: String,
    pub domain: String,
    /// `username@domain` in lower case: identifies the account across pages.
    pub user_key: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Unregistered"))]
pub struct UnregisteredPayload {
    pub reason: String,
}

/// A refusal or a fault. The remedy belongs to the code, see [`definition::ERRORS`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct PhoneError {
    /// One of [`definition::ERRORS`], or the server's.
    pub code: String,
    /// What is wrong, for a person. Empty: the words of the definition.
    pub message: String,
}

impl PhoneError {
    /// With the words of the definition.
    pub fn new(code: &str) -> Self {
        Self::with(code, "")
    }

    pub fn with(code: &str, message: &str) -> Self {
        Self { code: code.to_owned(), message: message.to_owned() }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LauncherBadge {
    pub missed: u32,
    pub ringing: bool,
    pub in_call: bool,
    /// The microphone of the call is muted.
    pub muted: bool,
}
