//! The definition of the host API: methods, events, options of `init()`, error codes.
//!
//! A new command is one entry in `commands!` (and its handler in the phone, which does not compile without it); a new
//! event is one in `events!` and a new fault one in `errors!`. The loader's tables and `loader.d.ts` follow.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::agent_protocol::CallHeader;

use super::{
    CallEndedPayload, CallIncomingPayload, CallRef, CallUpdatedPayload, RecordingPayload, RegisteredPayload,
    TransferPayload, UnregisteredPayload,
};

/// A method of `window.BitcallWebphone` that the loader carries out itself.
#[derive(Clone, Copy, Debug)]
pub struct LoaderMethod {
    pub doc: &'static [&'static str],
    /// In TypeScript.
    pub signature: &'static str,
}

/// A method that the phone carries out.
#[derive(Clone, Copy, Debug)]
pub struct CommandMethod {
    pub name: &'static str,
    pub doc: &'static [&'static str],
    /// In the order of the call.
    pub parameters: &'static [Parameter],
    /// Fields of the object that may follow them.
    pub options: &'static [Parameter],
}

#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// In `snake_case`; JavaScript has it in `camelCase`.
    pub name: &'static str,
    pub kind: ParameterKind,
    pub doc: &'static [&'static str],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    /// Text without white space around it. Without it the loader ignores the call of the method.
    RequiredText,
    Text,
    /// An object whose values are text; sent as a list of [`CallHeader`]s.
    Fields,
}

/// An event that a host page can listen to.
#[derive(Clone, Copy, Debug)]
pub struct EventKind {
    pub name: &'static str,
    /// `type` of the message that carries it.
    pub message_type: &'static str,
    pub doc: &'static [&'static str],
    #[cfg(feature = "bindings")]
    pub payload: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
}

/// An option of `init()`.
#[derive(Clone, Copy, Debug)]
pub struct InitOption {
    /// Names from the outermost object to the value, joined by dots.
    pub path: &'static str,
    pub kind: OptionKind,
    /// Path in [`super::HostOptions`]; `None` for what the loader uses itself.
    pub sent_as: Option<&'static str>,
    pub doc: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionKind {
    /// Without it `init()` is refused.
    RequiredText,
    /// Trimmed; empty is the same as not given.
    Text,
    /// As it is, because white space may belong to it.
    Secret,
    Flag,
    OneOf(&'static [&'static str]),
    /// A function, of this type in TypeScript.
    Callback(&'static str),
}

/// A code of [`super::PhoneError`] or of the loader, with its words. In message and remedy `{name}` stands for a value
/// that the loader fills in.
#[derive(Clone, Copy, Debug)]
pub struct ErrorCode {
    pub code: &'static str,
    pub message: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

/// Reads the payload of a message.
pub trait PayloadReader {
    type Error;
    fn read<T: DeserializeOwned>(&self) -> Result<T, Self::Error>;
}

trait IsParameter {
    const KIND: ParameterKind;
}

impl IsParameter for String {
    const KIND: ParameterKind = ParameterKind::RequiredText;
}

impl IsParameter for Option<String> {
    const KIND: ParameterKind = ParameterKind::Text;
}

impl IsParameter for Option<Vec<CallHeader>> {
    const KIND: ParameterKind = ParameterKind::Fields;
}

macro_rules! commands {
    ($(
        $(#[doc = $doc:literal])*
        $method:ident => $command:ident($payload:ident) {
            $( $(#[doc = $field_doc:literal])* $field:ident: $field_type:ty, )*
            $( ..options { $( $(#[doc = $option_doc:literal])* $option:ident: $option_type:ty, )* } )?
        }
    )*) => {
        /// What a host page asks of the phone. Its message has the type `BITCALL_` and the method's name in capitals.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum HostCommand {
            $( $(#[doc = $doc])* $command($payload), )*
        }

        $(
            #[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
            #[serde(rename_all = "camelCase")]
            pub struct $payload {
                $( $(#[doc = $field_doc])* pub $field: $field_type, )*
                $( $( $(#[doc = $option_doc])* pub $option: $option_type, )* )?
            }
        )*

        impl HostCommand {
            /// The command of a message; `None` for the type of another message.
            pub fn read<R: PayloadReader>(message_type: &str, payload: &R) -> Option<Result<HostCommand, R::Error>> {
                let method = message_type.strip_prefix("BITCALL_")?;
                $(
                    if method.eq_ignore_ascii_case(stringify!($method)) {
                        return Some(payload.read().map(HostCommand::$command));
                    }
                )*
                None
            }
        }

        pub const COMMANDS: &[CommandMethod] = &[$( CommandMethod {
            name: stringify!($method),
            doc: &[$($doc),*],
            parameters: &[$( Parameter {
                name: stringify!($field),
                kind: <$field_type as IsParameter>::KIND,
                doc: &[$($field_doc),*],
            } ),*],
            options: &[$( $( Parameter {
                name: stringify!($option),
                kind: <$option_type as IsParameter>::KIND,
                doc: &[$($option_doc),*],
            } ),* )?],
        } ),*];
    };
}

commands! {
    /// Places a call now, or as soon as the phone is registered. Without a number nothing happens. Digits may follow the
    /// number (`+49301234,,42#`); they are sent after the answer, `,` is a pause of two seconds, `;` waits for a key.
    call => Call(CallRequest) {
        number: String,
        ..options {
            /// Caller ID for this call only, before the one that is chosen in the phone; `anonymous` withholds it.
            caller_id: Option<String>,
            /// Further header fields of the INVITE: `X-…` and `User-to-User` (RFC 7433), of one line each.
            headers: Option<Vec<CallHeader>>,
        }
    }

    /// Puts a number into the dialer, where it stays over the sign-in. Without a number nothing happens.
    dial => Dial(DialRequest) {
        number: String,
    }

    /// Ends that call, or the active one with all that are in conference with it.
    hangup => HangUp(HangUpRequest) {
        call_id: Option<String>,
    }

    /// Connects the other side of that call, or of the active one, with the target, and leaves the call. The event
    /// `transferState` tells how it goes. A transfer that fails gives the call back. Without a target nothing happens.
    transfer => Transfer(TransferRequest) {
        target: String,
        call_id: Option<String>,
    }

    /// Records that call, or the active one; goes on with a recording that is paused. The event `recordingState` tells how
    /// it goes.
    startRecording => StartRecording(StartRecordingRequest) {
        call_id: Option<String>,
    }

    /// Leaves out what is said from now on, e.g. the number of a card, until `startRecording`.
    pauseRecording => PauseRecording(PauseRecordingRequest) {
        call_id: Option<String>,
    }

    /// Ends the recording of that call, or of the active one. It is in the phone's settings then.
    stopRecording => StopRecording(StopRecordingRequest) {
        call_id: Option<String>,
    }
}

macro_rules! events {
    ($( $(#[doc = $doc:literal])* $name:literal $message_type:literal $event:ident($payload:ty), )*) => {
        /// What happens in the phone, for the host page.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        #[serde(tag = "type", content = "payload")]
        pub enum HostEvent {
            $( $(#[doc = $doc])* #[serde(rename = $message_type)] $event($payload), )*
        }

        pub const EVENTS: &[EventKind] = &[$( EventKind {
            name: $name,
            message_type: $message_type,
            doc: &[$($doc),*],
            #[cfg(feature = "bindings")]
            payload: |generator| generator.subschema_for::<$payload>(),
        } ),*];
    };
}

events! {
    /// A call is being placed.
    "callStarted" "BITCALL_CALL_STARTED" CallStarted(CallRef),
    /// A call comes in.
    "callIncoming" "BITCALL_CALL_INCOMING" CallIncoming(CallIncomingPayload),
    "callAnswered" "BITCALL_CALL_ANSWERED" CallAnswered(CallRef),
    /// The other side has another number or name, e.g. after a transfer.
    "callUpdated" "BITCALL_CALL_UPDATED" CallUpdated(CallUpdatedPayload),
    /// Exactly once per call, also when the phone is taken away.
    "callEnded" "BITCALL_CALL_ENDED" CallEnded(CallEndedPayload),
    /// A transfer was started, was accepted by the other side, or has failed.
    "transferState" "BITCALL_TRANSFER_STATE" TransferState(TransferPayload),
    /// The recording of a call was started, paused or stopped, or has failed. `started` is also told of a recording that
    /// goes on.
    "recordingState" "BITCALL_RECORDING_STATE" RecordingState(RecordingPayload),
    "registered" "BITCALL_REGISTERED" Registered(RegisteredPayload),
    "unregistered" "BITCALL_UNREGISTERED" Unregistered(UnregisteredPayload),
}

macro_rules! errors {
    ($( $code:ident $message:literal $remedy:literal, )*) => {
        /// The codes by name.
        pub mod code {
            $( #[doc = concat!("`", $message, "`")] pub const $code: &str = stringify!($code); )*
        }

        pub const ERRORS: &[ErrorCode] =
            &[$( ErrorCode { code: code::$code, message: $message, remedy: $remedy } ),*];
    };
}

errors! {
    // Of the loader.
    INVALID_CONFIG "{detail}" "Correct the options of init().",
    ALREADY_INITIALIZED "init() was called twice." "Call destroy() before the second init().",
    NOT_INITIALIZED "{method}() was called without a phone." "Call init() first.",
    SERVER_UNREACHABLE "{origin} does not answer."
        "Check that the server runs and is reached from here, and that this page's Content-Security-Policy allows connect-src {origin}. The phone tries again by itself.",
    SERVER_ERROR "{origin} answered with status {status}." "See the server's log. The phone tries again by itself.",
    PHONE_BLOCKED "The phone's frame {url} did not load."
        "Something blocks it: an ad blocker, a proxy, or the Content-Security-Policy of this page, which must allow frame-src {origin}. The phone tries again by itself.",
    PHONE_START_FAILED "The phone was loaded, but could not start."
        "Something may block its scripts or its .wasm file: an ad blocker, a proxy, an old cache. Allow {origin}, or reload the page. The phone tries again by itself.",
    PHONE_REMOVED "This page takes the phone's element away again and again."
        "Keep the element [data-bitcall-webphone] in the document, or call destroy().",
    PHONE_RESTARTED "The phone's frame was reloaded before it answered {method}()." "Call {method}() again.",
    PHONE_NOT_READY "The phone did not start in time for {method}()."
        "Wait for `await init()` or the event `registered`, then call {method}() again.",
    INIT_FAILED "{detail}" "Report it: this is a fault of the phone's loader.",
    // Of the server, as it answers them.
    WEBPHONE_MISSING_KEY "The tenant's API key is missing." "Give init() the key of your tenant.",
    WEBPHONE_INVALID_KEY "The API key is unknown or was revoked." "Give init() a key of your tenant that is valid.",
    WEBPHONE_ORIGIN_FORBIDDEN "The tenant does not allow pages of the origin {page}."
        "Add {page} to the tenant's allowed origins. The phone tries again by itself, slowly.",
    WEBPHONE_TENANT_DISABLED "The tenant is disabled."
        "Ask whoever runs the server. The phone tries again by itself, slowly.",
    // Of the phone.
    INVALID_COMMAND "The phone cannot read what {method}() gave it." "Look at the types in loader.d.ts.",
    BAD_HEADERS "These header fields cannot be set." "Give X-… and User-to-User only, of one line each.",
    BAD_NUMBER "This is not a number that can be called." "Give a number, an extension or a SIP address.",
    NOT_REGISTERED "The phone is not registered." "Wait for the event `registered`, then call again.",
    UNKNOWN_CALL "There is no such call." "Take the callId from the events.",
    TRANSFER_NOT_ALLOWED "The tenant's plan has no transfers." "Ask whoever runs the server.",
    RECORDING_NOT_ALLOWED "The tenant does not let calls be recorded." "Ask whoever runs the server.",
    NOT_ANSWERED "The call is not up." "Record a call after the event `callAnswered`.",
    NOT_RECORDED "The call is not recorded." "Call startRecording() first.",
    STORAGE_FULL "This device has no room for recordings." "Download and delete recordings in the phone's settings.",
    RECORDING_FAILED "The call could not be recorded." "Use a current browser, and let the phone store data in it.",
    SIGN_IN_FAILED "The SIP server did not accept the username or the password."
        "Check sip.username, sip.domain and sip.password or sip.HA1Password of init(). The person can also sign in by hand.",
    SIGN_IN_REFUSED "The SIP server refused the registration." "Look at the account on the SIP server.",
    SIP_UNREACHABLE "The SIP server cannot be reached." "Check the network and the server. The phone tries again by itself.",
    MICROPHONE_BLOCKED "The microphone is blocked."
        "Allow it for this page in the browser. The page's own Permissions-Policy must allow it for {origin}.",
    MICROPHONE_MISSING "There is no microphone." "Connect one.",
    MICROPHONE_BUSY "Another program uses the microphone." "Close it, then call again.",
    MEDIA_FAILED "The call's audio could not be set up." "Call again.",
}

/// The methods that need no phone.
pub const LOADER_METHODS: &[LoaderMethod] = &[
    LoaderMethod {
        doc: &[
            "Shows the phone. The promise is fulfilled when the phone takes commands, when it is known that it does not",
            "(`onError` then says why), or when `destroy()` was called. It never rejects.",
        ],
        signature: "init(config: BitcallInitConfig): Promise<void>",
    },
    LoaderMethod {
        doc: &["Hangs up, unregisters and takes the phone off the page."],
        signature: "destroy(options?: { clearEventHandlers?: boolean }): void",
    },
    LoaderMethod { doc: &["Opens or closes the phone."], signature: "toggle(): void" },
    LoaderMethod { doc: &[], signature: "getState(): BitcallState" },
    LoaderMethod { doc: &[], signature: "isRegistered(): boolean" },
    LoaderMethod { doc: &[], signature: "isInCall(): boolean" },
    LoaderMethod {
        doc: &["The same handler is registered once per event."],
        signature: "on<E extends keyof BitcallEvents>(event: E, handler: (payload: BitcallEvents[E]) => void): void",
    },
    LoaderMethod {
        doc: &[],
        signature: "off<E extends keyof BitcallEvents>(event: E, handler: (payload: BitcallEvents[E]) => void): void",
    },
];

const fn option(path: &'static str, kind: OptionKind, sent_as: Option<&'static str>, doc: &'static str) -> InitOption {
    InitOption { path, kind, sent_as, doc }
}

pub const OPTIONS: &[InitOption] = &[
    option("key", OptionKind::RequiredText, None, "API key of the tenant."),
    option("sip.username", OptionKind::Text, Some("sip.username"), ""),
    option(
        "sip.domain",
        OptionKind::Text,
        Some("sip.domain"),
        "Used only if the tenant's configuration has no SIP domain.",
    ),
    option("sip.server", OptionKind::Text, Some("sip.domain"), "@deprecated Old name of `domain`."),
    option("sip.password", OptionKind::Secret, Some("sip.password"), "Either `password` or `HA1Password`."),
    option(
        "sip.HA1Password",
        OptionKind::Text,
        Some("sip.HA1Password"),
        "Hex digest of `username:realm:password`: 32 digits for MD5, 64 for SHA-256.",
    ),
    option("embedOrigin", OptionKind::Text, Some("embedOrigin"), "Defaults to the origin of this page."),
    option(
        "behavior.host.mode",
        OptionKind::OneOf(&["confirm", "autologin", "prefilled"]),
        Some("behavior.mode"),
        "What the phone does with the credentials in `sip`.",
    ),
    option(
        "behavior.sessionRestore",
        OptionKind::OneOf(&["auto", "off"]),
        Some("behavior.sessionRestore"),
        "Whether a stored session signs in by itself.",
    ),
    option(
        "behavior.theme.start",
        OptionKind::OneOf(&["light", "dark", "system"]),
        Some("behavior.themeStart"),
        "Ignored when the tenant locks the theme.",
    ),
    option(
        "behavior.autoRecord",
        OptionKind::Flag,
        Some("behavior.autoRecord"),
        "Every call is recorded from its answer on, also where the tenant does not ask for it.",
    ),
    option("debug", OptionKind::Flag, Some("debug"), "Logs the messages between loader and phone to the console."),
    option(
        "onError",
        OptionKind::Callback("(error: BitcallError) => void"),
        None,
        "Receives errors instead of the console.",
    ),
];

/// Options that only the tenant's configuration has: `init()` ignores them and says so.
pub const TENANT_OPTIONS: &[&str] = &[
    "uiUrl",
    "branding",
    "wss",
    "wsUrl",
    "iceServers",
    "storageNamespace",
    "capabilities",
    "cookieMode",
    "behavior.cookieMode",
    "behavior.theme.lock",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::HostOptions;
    use super::*;

    struct Json(serde_json::Value);

    impl PayloadReader for Json {
        type Error = serde_json::Error;
        fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
            serde_json::from_value(self.0.clone())
        }
    }

    fn read(message_type: &str, payload: serde_json::Value) -> Option<Result<HostCommand, String>> {
        HostCommand::read(message_type, &Json(payload)).map(|read| read.map_err(|error| error.to_string()))
    }

    #[test]
    fn a_command_is_read_by_its_message_type() {
        let headers = Some(vec![CallHeader { name: "X-Ticket".to_owned(), value: "42".to_owned() }]);
        let call = CallRequest { number: "100".to_owned(), caller_id: Some("200".to_owned()), headers };
        let headers = serde_json::json!([{ "name": "X-Ticket", "value": "42" }]);
        let payload = serde_json::json!({ "number": "100", "callerId": "200", "headers": headers });
        assert_eq!(read("BITCALL_CALL", payload), Some(Ok(HostCommand::Call(call))));
        let active = HostCommand::HangUp(HangUpRequest { call_id: None });
        assert_eq!(read("BITCALL_HANGUP", serde_json::json!({})), Some(Ok(active)));
        assert!(read("BITCALL_DIAL", serde_json::json!({})).is_some_and(|read| read.is_err()), "a number is needed");
        assert_eq!(read("BITCALL_READY", serde_json::json!({})), None);
        assert_eq!(read("call", serde_json::json!({})), None);
    }

    #[test]
    fn every_name_and_code_is_there_once() {
        let once = |names: Vec<&str>| assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
        once(ERRORS.iter().map(|error| error.code).collect());
        once(OPTIONS.iter().map(|option| option.path).chain(TENANT_OPTIONS.iter().copied()).collect());
        once(EVENTS.iter().map(|event| event.name).collect());
        let methods = LOADER_METHODS.iter().filter_map(|method| method.signature.split(['(', '<']).next());
        once(methods.chain(COMMANDS.iter().map(|command| command.name)).collect());
    }

    #[test]
    fn every_error_says_what_to_do() {
        for error in ERRORS {
            assert!(error.remedy.ends_with('.') && !error.message.is_empty(), "{}", error.code);
        }
    }

    /// What the loader sends for an option arrives in the phone's field for it.
    #[test]
    fn the_phone_has_a_field_for_every_option_that_is_sent() {
        for option in OPTIONS {
            let Some(path) = option.sent_as else { continue };
            let values: Vec<serde_json::Value> = match option.kind {
                OptionKind::OneOf(names) => names.iter().map(|name| (*name).into()).collect(),
                OptionKind::Flag => vec![true.into()],
                _ => vec!["text".into()],
            };
            for value in values {
                let nested = path.rsplit('.').fold(value, |inner, name| serde_json::json!({ name: inner }));
                let read: HostOptions = serde_json::from_value(nested).unwrap_or_default();
                assert_ne!(read, HostOptions::default(), "{}", option.path);
            }
        }
    }
}
