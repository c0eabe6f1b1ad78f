//! Phone (page) ↔ agent (`SharedWorker`, or the page itself), over a
//! `MessagePort`, each message one `Uint8Array` in postcard's form
//! ([`to_bytes`], [`from_bytes`]). Both sides are always of one build: the
//! page names the agent's script by its hash. Reading JSON instead costs the
//! phone 60 KB on the wire.
//!
//! The agent owns what must outlive a page: socket, registration, dialogs, the
//! list of calls. A page owns what only a page may have: microphone, speakers,
//! `RTCPeerConnection`. So the agent never sees audio, and a page never sees
//! SIP. Each call belongs to the page that placed or answered it; the agent
//! asks that page for descriptions ([`MediaRequest`]) and everyone gets
//! [`AgentSnapshot`]s.
//!
//! Every ask carries a `request` number that the reply repeats. A reply to a
//! request that is no longer open is dropped, so a slow microphone prompt
//! cannot act on a call that ended meanwhile.

use serde::{Deserialize, Serialize};

use crate::config::Dtmf;

/// One message as it travels. `None` only where memory ran out.
pub fn to_bytes<M: Serialize>(message: &M) -> Option<Vec<u8>> {
    postcard::to_allocvec(message).ok()
}

/// The message in `bytes`, or `None` where they are none: the other side is of another build then.
pub fn from_bytes<M: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Option<M> {
    postcard::from_bytes(bytes).ok()
}

/// Identifies a call for its whole life, also across a page reload. Opaque.
pub type CallId = String;
/// Milliseconds since the Unix epoch, by the agent's clock.
pub type UnixMillis = u64;

/// Page → agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToAgent {
    /// First message on a port. `page` is random, unique per page load.
    Attach {
        page: String,
        visible: bool,
    },
    /// The page goes away (`pagehide`). Ports have no close event everywhere.
    Detach,
    /// The page is still there; sent every 5 s, since a crashed page says nothing.
    Alive {
        visible: bool,
    },
    SignIn {
        account: Box<SipAccount>,
    },
    SignOut,
    /// Try the connection now instead of waiting for the back-off (`online`,
    /// `visibilitychange`, "Retry" button, ICE disconnected).
    Probe,
    /// The browser says that it has no network.
    Offline,
    Call {
        call: CallId,
        number: String,
        caller_id: Option<String>,
        /// The page's offer, where it had one ready: then the agent does not ask for it.
        offer: Option<String>,
    },
    Answer {
        call: CallId,
        others: OtherCalls,
    },
    Decline {
        call: CallId,
    },
    HangUp {
        call: CallId,
    },
    Hold {
        call: CallId,
        held: bool,
    },
    /// The page has cut or opened the microphone already; another page that takes
    /// the call over must not open it again.
    Mute {
        call: CallId,
        muted: bool,
    },
    /// Digits to be sent by SIP INFO (RFC 4733 ones never leave the page).
    Digits {
        call: CallId,
        digits: String,
    },
    MediaReply {
        call: CallId,
        request: u32,
        reply: MediaReply,
    },
    MediaChanged {
        call: CallId,
        state: MediaState,
    },
}

/// What happens to the calls that are up when another one is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OtherCalls {
    #[default]
    Hold,
    End,
}

/// Agent → page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToPage {
    /// The whole visible state; sent after `Attach` and whenever something changed.
    Snapshot {
        snapshot: AgentSnapshot,
    },
    /// Something happened, said exactly once to each page it concerns.
    Event {
        event: AgentEvent,
    },
    Media {
        call: CallId,
        request: u32,
        ask: MediaRequest,
    },
    /// A line for the debug log, e.g. why a message was dropped.
    Log {
        line: String,
    },
}

/// Who signs in, and where.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SipAccount {
    pub username: String,
    pub domain: String,
    pub display_name: Option<String>,
    pub secret: AccountSecret,
    /// SIP WebSocket URLs in fail-over order; never empty.
    pub wss: Vec<String>,
    /// `urn:uuid:…` of this device (RFC 5626 §4.1), kept by the page in storage.
    pub instance_id: String,
    pub dtmf: Dtmf,
    pub max_sessions: u32,
}

/// Leaves the secret out of debug output.
impl std::fmt::Debug for SipAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("username", &self.username)
            .field("domain", &self.domain)
            .field("wss", &self.wss)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountSecret {
    Password {
        password: String,
    },
    /// Hex HA1 (RFC 7616 §3.4.2). Its length tells the algorithm: 32 digits
    /// are MD5, 64 are SHA-256. Without a realm it is tried at whatever realm the server names.
    Ha1 {
        realm: Option<String>,
        ha1: String,
    },
}

/// The whole visible state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AgentSnapshot {
    /// Grows by one with every snapshot.
    pub revision: u64,
    pub registration: RegistrationStatus,
    /// Oldest first. An ended call stays for one snapshot.
    pub calls: Vec<CallSnapshot>,
    /// The call that talks, or is about to.
    pub active: Option<CallId>,
    /// The page that may ring aloud; the others only show the call.
    pub ringer: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegistrationStatus {
    #[default]
    SignedOut,
    /// Socket or REGISTER under way for the first time.
    Connecting,
    Registered {
        username: String,
        domain: String,
        server: String,
    },
    /// Was registered, or tries again by itself; the next try is at `retry_at`.
    Reconnecting {
        reason: RegistrationFailure,
        retry_at: Option<UnixMillis>,
    },
    /// Will not try again without the person.
    Failed {
        reason: RegistrationFailure,
    },
}

/// Why there is no registration. `code` drives logic, `words` are shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrationFailure {
    pub code: RegistrationFailureCode,
    pub sip_code: Option<u16>,
    /// One short sentence for the agent, e.g. "Wrong password".
    pub words: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegistrationFailureCode {
    Offline,
    Unreachable,
    ConnectionLost,
    WrongPassword,
    Forbidden,
    NotFound,
    TooManyDevices,
    Timeout,
    ServerError,
    BadConfiguration,
    /// The agent itself cannot run; said by the page, for want of an agent.
    NotStarted,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallSnapshot {
    pub id: CallId,
    pub direction: CallDirection,
    /// As dialled, or as the caller's URI says (user part, or the whole URI).
    pub number: String,
    pub display_name: Option<String>,
    pub requested_caller_id: Option<String>,
    pub state: CallState,
    pub hold: HoldState,
    /// The other side has put us on hold.
    pub remote_held: bool,
    /// The person has cut the microphone in this call.
    pub muted: bool,
    pub started_at: UnixMillis,
    pub answered_at: Option<UnixMillis>,
    /// The page that holds the media; null while an incoming call rings everywhere.
    pub page: Option<String>,
    /// The connection to the server is lost; media may still flow.
    pub detached: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CallDirection {
    #[serde(alias = "out")]
    Outbound,
    #[serde(alias = "in")]
    Inbound,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallState {
    /// Outbound, nothing heard from the far end yet.
    Dialing,
    /// Outbound, 180 received: play local ring-back.
    Ringing,
    /// Outbound, 183 (or 180) with a description: the network plays the tone.
    EarlyMedia,
    /// Inbound, waiting for the person.
    Incoming,
    /// Inbound and answered by the person; waiting for media and ACK.
    Answering,
    Active,
    Ended {
        cause: CallEndCause,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HoldState {
    #[default]
    None,
    /// Asked for, not confirmed by the far end: the microphone is already cut.
    Holding,
    Held,
    Resuming,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallEndCause {
    /// In words, e.g. `Busy`, `Remote hung up`.
    pub words: String,
    pub sip_code: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AgentEvent {
    CallStarted {
        call: CallSnapshot,
    },
    CallIncoming {
        call: CallSnapshot,
    },
    CallAnswered {
        call: CallSnapshot,
    },
    /// Exactly once per call and page. `duration` in whole seconds since the answer.
    CallEnded {
        call: CallSnapshot,
        cause: CallEndCause,
        duration: u64,
    },
    Registered {
        username: String,
        domain: String,
    },
    Unregistered {
        reason: String,
    },
    /// The realm is known: store this instead of the password.
    Ha1 {
        realm: String,
        ha1: String,
    },
    /// A command could not be carried out.
    Refused {
        code: String,
        message: String,
    },
    /// The far end refused what `held` says was asked for; the UI must show the truth again.
    HoldFailed {
        call: CallId,
        held: bool,
    },
}

/// The agent asks the page that owns the call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MediaRequest {
    /// Make an offer, creating the connection where there is none. Reply: `Description`.
    Offer { flow: MediaDirection, restart_ice: bool },
    /// Answer this offer. Reply: `Description`.
    Answer { offer: String, flow: MediaDirection },
    /// Take this answer; `provisional` ones may be replaced later. Reply: `Done`.
    Accept { answer: String, provisional: bool },
    /// Our last offer was refused: go back to the stable description. Reply: `Done`.
    RollBack,
    /// The call is over: stop tracks, close the connection. No reply.
    Close,
}

/// Which way audio is to flow, from our side (RFC 3264 §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MediaDirection {
    #[default]
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MediaReply {
    Description { sdp: String },
    Done,
    Failed { fault: MediaError, message: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MediaError {
    MicrophoneBlocked,
    MicrophoneMissing,
    MicrophoneBusy,
    /// The far end's description could not be used.
    Unusable,
    Other,
}

/// What the page sees of a call's ICE connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MediaState {
    Connected,
    Disconnected,
    Failed,
}
