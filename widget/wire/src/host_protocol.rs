//! Host page (loader) ↔ phone (iframe), by `window.postMessage`.
//!
//! Every message is an object `{ "type": "BITCALL_…", "payload": { … } }`. The
//! phone sends the first message, [`FromPhone::Ready`], which contains no
//! secrets, to any origin. The loader checks `source` and `origin` and answers with
//! [`ToPhone::Init`] to the phone's origin only. From then on the phone sends only to
//! the origin of `Init`, and accepts messages only from its parent window at that origin.
//!
//! The phone does not trust the page that frames it. Its own address has the tenant's API key; by that key and the
//! origin of `Init`, as the browser tells it, it asks the server for the tenant's configuration, and does nothing
//! where the server refuses.

use serde::{Deserialize, Serialize};

use crate::agent_protocol::CallDirection;
use crate::config::{SessionRestore, SignInMode, ThemeStart};

/// Loader → phone.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "type", content = "payload")]
pub enum ToPhone {
    #[serde(rename = "BITCALL_INIT")]
    Init(Box<InitPayload>),
    /// Place a call now (or right after sign-in).
    #[serde(rename = "BITCALL_CALL")]
    Call(CallRequest),
    /// Put a number into the dialer. Kept until after sign-in.
    #[serde(rename = "BITCALL_DIAL")]
    Dial(DialRequest),
    /// End `callId`, or the active call.
    #[serde(rename = "BITCALL_HANGUP")]
    HangUp(HangUpRequest),
    /// The panel was opened or closed.
    #[serde(rename = "BITCALL_VISIBLE")]
    Visible(PanelVisibility),
    /// The loader is being destroyed: sign out of this page and stop.
    #[serde(rename = "BITCALL_DESTROY")]
    Destroy(EmptyPayload),
}

/// Phone → loader.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "type", content = "payload")]
pub enum FromPhone {
    #[serde(rename = "BITCALL_READY")]
    Ready(EmptyPayload),
    #[serde(rename = "BITCALL_STATE")]
    State(PhoneState),
    #[serde(rename = "BITCALL_CALL_STARTED")]
    CallStarted(CallRef),
    #[serde(rename = "BITCALL_CALL_INCOMING")]
    CallIncoming(CallRef),
    #[serde(rename = "BITCALL_CALL_ANSWERED")]
    CallAnswered(CallRef),
    /// The far end of the call is another one, e.g. after a transfer.
    #[serde(rename = "BITCALL_CALL_UPDATED")]
    CallUpdated(CallUpdatedPayload),
    #[serde(rename = "BITCALL_CALL_ENDED")]
    CallEnded(CallEndedPayload),
    #[serde(rename = "BITCALL_REGISTERED")]
    Registered(RegisteredPayload),
    #[serde(rename = "BITCALL_UNREGISTERED")]
    Unregistered(UnregisteredPayload),
    /// A command could not be carried out, e.g. an unknown call id.
    #[serde(rename = "BITCALL_ERROR")]
    Error(PhoneError),
    /// Open the panel (a call comes in, a number was put into the dialer).
    #[serde(rename = "BITCALL_SHOW")]
    Show(EmptyPayload),
    /// Close the panel (the agent pressed "Minimise" or Escape).
    #[serde(rename = "BITCALL_HIDE")]
    Hide(EmptyPayload),
    /// What the launcher shows.
    #[serde(rename = "BITCALL_BADGE")]
    Badge(LauncherBadge),
}

/// A payload without fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct EmptyPayload {}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct InitPayload {
    #[serde(default)]
    pub host: HostOptions,
}

/// The options of `init()` that the host page may set.
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
    /// The loader maps the legacy alias `sip.server` to this field.
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
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallRequest {
    pub number: String,
    /// Caller ID for this call only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_id: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct DialRequest {
    pub number: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HangUpRequest {
    pub call_id: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct PanelVisibility {
    pub visible: bool,
}

/// What `getState()` returns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PhoneState {
    pub registered: bool,
    pub in_call: bool,
    pub active_number: Option<String>,
    pub call_count: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallRef {
    pub call_id: String,
    /// As dialled, or the caller's. Empty if the caller withholds it.
    pub number: String,
    pub direction: CallDirection,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_caller_id: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallUpdatedPayload {
    #[serde(flatten)]
    pub call: CallRef,
    /// The name that the server tells, or null.
    pub display_name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
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

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisteredPayload {
    pub username: String,
    pub domain: String,
    /// `username@domain` in lower case: identifies the account across pages.
    pub user_key: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct UnregisteredPayload {
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct PhoneError {
    /// Stable, e.g. `UNKNOWN_CALL`, `NOT_REGISTERED`, `MICROPHONE_BLOCKED`, `BAD_NUMBER`.
    pub code: String,
    pub message: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct LauncherBadge {
    pub missed: u32,
    pub ringing: bool,
    #[serde(rename = "inCall")]
    pub in_call: bool,
}
