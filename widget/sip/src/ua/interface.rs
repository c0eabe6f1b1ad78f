//! The inputs and outputs of a [`UserAgent`](super::UserAgent): its whole public interface.
//!
//! Session descriptions (SDP) are opaque strings here: the browser creates and parses them.

use serde::{Deserialize, Serialize};

use super::calls::DialogRecord;
use super::status_text::status_text;
use crate::digest::Algorithm;
pub use crate::time::Millis;

/// Opaque, unique id of a call, chosen by the driver for outgoing calls and by the user
/// agent for incoming ones. It is not the SIP Call-ID.
pub type CallId = String;

/// Id of one connection attempt. Every [`Output::Connect`] has a new one, so that
/// inputs of an old socket can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransportId(pub u64);

/// The account and its servers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserAgentConfig {
    pub username: String,
    /// SIP domain: the host of our address-of-record.
    pub domain: String,
    pub display_name: Option<String>,
    pub secret: SipSecret,
    /// `ws:` / `wss:` URLs in fail-over order. If empty, registration fails with `BadConfiguration`.
    pub servers: Vec<String>,
    /// `urn:uuid:…` of this device (RFC 5626 §4.1); must be the same after a restart.
    pub instance_id: String,
    /// An incoming call is answered with 486 if there are this many calls. 0 means no limit.
    pub max_sessions: u32,
    /// Final status with which [`Command::HangUp`] declines a ringing call: 486 or 480, or 603, which stops the
    /// other devices of the user from ringing, too (RFC 3261 §16.7, item 5).
    pub decline_status: u16,
    pub redirects: RedirectPolicy,
    pub referrals: ReferralPolicy,
    /// The header field that is tried first with a server; then the one that it took last.
    pub caller_id_header: CallerIdHeader,
    /// What [`Event::CallerIdTaken`] has told of servers, as (URL, header field).
    pub caller_id_headers: Vec<(String, CallerIdHeader)>,
    /// Value of `User-Agent` and `Server`; omitted if empty.
    pub product: String,
    pub timers: TimerConfig,
}

impl UserAgentConfig {
    /// A configuration with default timers and no display name.
    pub fn new(username: &str, domain: &str, secret: SipSecret, servers: Vec<String>) -> Self {
        Self {
            username: username.into(),
            domain: domain.into(),
            display_name: None,
            secret,
            servers,
            instance_id: String::new(),
            max_sessions: 0,
            decline_status: 486,
            redirects: RedirectPolicy::default(),
            referrals: ReferralPolicy::default(),
            caller_id_header: CallerIdHeader::default(),
            caller_id_headers: Vec::new(),
            product: "Bitcall".into(),
            timers: TimerConfig::default(),
        }
    }
}

/// Where a 300, 301 or 302 may lead an outgoing call (RFC 3261 §8.1.3.4). One redirection is followed per call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RedirectPolicy {
    /// Nowhere: the call ends.
    Never,
    /// To an address in our domain or in the one that was dialled, or to a telephone number, which is called in
    /// our domain.
    #[default]
    SameDomain,
    /// Also to any other domain.
    AnyDomain,
}

/// What happens when the far end of a call refers us to somebody else (REFER, RFC 3515).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReferralPolicy {
    /// It is refused with 603.
    Refuse,
    /// The person decides ([`Event::Referred`]).
    Ask,
    /// Also, but one to an address in our domain or to a telephone number is followed at once.
    #[default]
    OwnDomain,
}

/// Omits the secret.
impl std::fmt::Debug for UserAgentConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserAgentConfig")
            .field("username", &self.username)
            .field("domain", &self.domain)
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

/// Intervals and time-outs. The unit is in each name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerConfig {
    /// `Expires` of REGISTER.
    pub register_expires_seconds: u32,
    /// `Session-Expires` of INVITE (RFC 4028 §4); 0 switches the session timer off.
    pub session_expires_seconds: u32,
    /// An unanswered call, incoming or outgoing, ends after this time.
    pub ring_timeout_ms: u64,
    /// A call whose signalling connection is not restored ends after this time.
    pub recovery_timeout_ms: u64,
    /// A keep-alive is sent after this time without a response.
    pub keepalive_interval_ms: u64,
    /// The connection counts as lost if a keep-alive is not answered within this time.
    pub keepalive_timeout_ms: u64,
}

impl Default for TimerConfig {
    fn default() -> Self {
        Self {
            register_expires_seconds: 600,
            session_expires_seconds: 1800,
            ring_timeout_ms: 180_000,
            recovery_timeout_ms: 90_000,
            keepalive_interval_ms: 25_000,
            keepalive_timeout_ms: 8_000,
        }
    }
}

/// The secret for digest authentication.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SipSecret {
    /// Kept in memory as long as the user agent lives, because another realm may challenge later. It is
    /// never part of the serialised state.
    Password(String),
    Ha1(Vec<RealmHa1>),
}

/// HA1 of one realm (RFC 7616 §3.4.2).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealmHa1 {
    /// None: used for any realm, until one has accepted it.
    pub realm: Option<String>,
    /// Without `-sess`.
    pub algorithm: Algorithm,
    /// In hex.
    pub ha1: String,
}

/// A password, which debug output does not show.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Password(pub String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Input of the user agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// The WebSocket of this attempt is open, with subprotocol `sip`.
    TransportConnected {
        id: TransportId,
    },
    /// The WebSocket was closed or could not be opened. `reason` is for the debug log.
    TransportClosed {
        id: TransportId,
        reason: String,
    },
    /// One WebSocket message (RFC 7118 §5.2: one SIP message, or CRLF keep-alive).
    Received {
        id: TransportId,
        bytes: Vec<u8>,
    },
    /// Required when [`next_timeout`](super::UserAgent::next_timeout) is reached; allowed at any time.
    Tick,
    /// The browser reports that there is a network again.
    Online,
    /// The browser reports that there is no network. Reconnect attempts become rare.
    Offline,
    /// The connection may be lost (tab shown, ICE disconnected, "Retry" pressed): check it now,
    /// or connect now instead of after the back-off.
    Probe,
    /// The driver was stopped for about this time (the computer slept), and the time that it passes in does
    /// not contain it. Checks the connection and the registration now. No call ends because of it.
    Woke {
        asleep_ms: u64,
    },
    Command(Command),
}

/// Command of the user or of the page's media. A command for a call that has ended is
/// ignored; one that is not allowed in the call's state yields [`Event::Dropped`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Connect, register and keep the registration. After a failure it tries again now.
    Register,
    /// The user has entered the password again. It replaces the HA1s; a registration that waits for it is
    /// tried again now.
    SetPassword { password: Password },
    /// End all calls, remove the registration, disconnect.
    /// [`Registration::SignedOut`] follows within four seconds.
    Unregister,
    /// Call `target`: a number without separators, a name, `user@host`, or a `sip:` URI. It is not normalised.
    Invite {
        call: CallId,
        target: String,
        options: InviteOptions,
        /// Our offer. None: an INVITE without offer; [`Event::Offer`] follows `Answered`.
        sdp: Option<String>,
    },
    /// Call the target of the last [`Event::Referred`] of the call `referrer`, which is told how it goes.
    /// `Progress`, `Answered` or `Ended` follows for `call`.
    FollowReferral { call: CallId, referrer: CallId, sdp: String },
    /// The target of the last [`Event::Referred`] is not called.
    RefuseReferral { call: CallId },
    /// Transfer the established call: ask its far end to call the target (REFER, RFC 3515). [`Event::Transfer`]
    /// follows. The call stays as it is.
    Transfer { call: CallId, target: TransferTarget },
    /// Replace the dialog of the established call `replaced` by a new INVITE with our offer (RFC 3891), in the
    /// call `call`. `Answered` or `Ended` follows for it. The far end ends the replaced dialog.
    Replace { call: CallId, replaced: CallId, sdp: String },
    /// Go on with a call of an earlier user agent of this account. It counts as detached: `OfferNeeded` follows the
    /// registration. No other user agent may go on with it.
    Restore { call: CallId, dialog: Box<DialogRecord> },
    /// Accept an incoming call. `sdp` is the answer to its offer, or our offer if it had none.
    Answer { call: CallId, sdp: String },
    /// Reject an incoming call with a final status (300–699), e.g. 486 or 603.
    Reject { call: CallId, status: u16 },
    /// End the call in any state, by CANCEL, [`UserAgentConfig::decline_status`] or BYE. [`Event::Ended`] is emitted at once.
    HangUp { call: CallId },
    /// Offer a new description in an established call (hold, resume, ICE restart).
    /// Each one yields exactly one `ReinviteAccepted` or `ReinviteRefused`, unless the call ends.
    Reinvite { call: CallId, sdp: String },
    /// The answer to the last [`Event::Offer`]. If that had no SDP: our offer;
    /// `ReinviteAccepted` or `ReinviteRefused` follows.
    AnswerOffer { call: CallId, sdp: String },
    /// Reject the last [`Event::Offer`], e.g. with 488. The session does not change.
    RefuseOffer { call: CallId, status: u16 },
    /// Send an INFO in the call, e.g. `application/dtmf-relay`; before the answer to the far end that sends early media.
    /// Yields [`Event::InfoAnswered`], in order.
    Info { call: CallId, content_type: String, body: String },
    /// Send a text (MESSAGE, RFC 3428). Yields [`Event::MessageAnswered`].
    SendMessage(TextMessage),
}

/// A text that we send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextMessage {
    /// To the far end of this call as long as it is up; else, and without a call, to the target.
    pub call: Option<CallId>,
    /// As in [`Command::Invite`].
    pub target: String,
    pub text: String,
}

/// Output of the user agent: what the driver must do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "an output is carried out at once")]
pub enum Output {
    /// Open a WebSocket with subprotocol `sip`; report `TransportConnected` or `TransportClosed`.
    Connect {
        id: TransportId,
        url: String,
    },
    /// Close this WebSocket; later inputs of it are ignored.
    CloseTransport {
        id: TransportId,
    },
    /// Send these bytes as one WebSocket message (as text if they are UTF-8).
    Send {
        id: TransportId,
        bytes: Vec<u8>,
    },
    Event(Event),
}

/// Notification for the driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    Registration(Registration),
    /// This realm accepted this HA1: store it instead of the password.
    Ha1 {
        realm: String,
        /// `MD5`, `SHA-256` or `SHA-512-256`.
        algorithm: String,
        ha1: String,
    },
    /// A request of a call was challenged by this realm, and only HA1s of other realms are known:
    /// ask for the password ([`Command::SetPassword`]).
    PasswordNeeded {
        call: CallId,
        realm: String,
    },
    /// An incoming call; 180 was already sent.
    Incoming {
        call: CallId,
        from: RemoteParty,
        /// None: the answer must carry an offer.
        offer: Option<String>,
        /// Our call whose place this one takes (RFC 3891), e.g. after an attended transfer. Answer it at once, and
        /// hang the replaced one up then. No 180 was sent.
        replaces: Option<CallId>,
        /// Whom the caller called before the call was diverted to us, e.g. a queue.
        diverted_from: Option<RemoteParty>,
        /// The caller asks that the call is answered by itself after this time. The driver decides.
        auto_answer_ms: Option<u64>,
        /// `User-to-User` (RFC 7433) and what begins with `X-`, as (name, value).
        headers: Vec<(String, String)>,
    },
    /// This server takes a caller ID from this header field. Keep it for [`UserAgentConfig::caller_id_headers`].
    CallerIdTaken {
        server: String,
        header: CallerIdHeader,
    },
    /// An incoming call was refused, because there are [`UserAgentConfig::max_sessions`] calls. No other event of it follows.
    Missed {
        call: CallId,
        from: RemoteParty,
        /// As of [`Event::Incoming`].
        diverted_from: Option<RemoteParty>,
    },
    /// Outgoing: a provisional response above 100. `sdp` is a provisional answer.
    /// `early_dialog` is the To tag; it differs between the forks of a call.
    Progress {
        call: CallId,
        status: u16,
        sdp: Option<String>,
        early_dialog: Option<String>,
    },
    /// Outgoing: 2xx received. `sdp` is the final answer (from a provisional response if the
    /// 2xx had none). None after an INVITE without offer; then `Offer` follows. None also if the far end has
    /// changed the session by an `Offer` before; what was agreed then remains.
    Answered {
        call: CallId,
        sdp: Option<String>,
        early_dialog: Option<String>,
    },
    /// Incoming, answered: the ACK was received. `sdp` is the answer if we made the offer.
    Confirmed {
        call: CallId,
        sdp: Option<String>,
    },
    /// The far end wants to change the session, also before the call is answered. Reply with `AnswerOffer` or
    /// `RefuseOffer` within 20 s, else it is refused. None: make an offer.
    Offer {
        call: CallId,
        sdp: Option<String>,
    },
    /// The last `Offer` was cancelled: roll back, do not reply.
    OfferWithdrawn {
        call: CallId,
    },
    /// Our offer was accepted; `sdp` is the answer.
    ReinviteAccepted {
        call: CallId,
        sdp: String,
    },
    /// Our offer was rejected: roll back. `status` is 408 without a response and 491 on glare
    /// (RFC 3261 §14.1). If `will_retry`, an `OfferNeeded` follows.
    ReinviteRefused {
        call: CallId,
        status: u16,
        will_retry: bool,
    },
    /// Make an offer for the current state of the call and send it by `Reinvite`.
    OfferNeeded {
        call: CallId,
        reason: OfferReason,
    },
    /// The signalling connection is lost. The call keeps its media while the user agent reconnects.
    Detached {
        call: CallId,
    },
    /// The call's signalling works again.
    Attached {
        call: CallId,
    },
    Info {
        call: CallId,
        content_type: String,
        body: Vec<u8>,
    },
    /// The server asserts another identity of the far end, e.g. after a transfer or a pick-up.
    IdentityChanged {
        call: CallId,
        party: RemoteParty,
    },
    /// A text of the far end, as received.
    Message {
        call: CallId,
        text: String,
    },
    /// A text outside of any call, as received.
    NewMessage {
        from: RemoteParty,
        text: String,
    },
    /// A text that we sent has this final status; 408 also if the connection was lost.
    MessageAnswered {
        target: String,
        status: u16,
    },
    /// How our transfer of the call goes. The last one is `Succeeded` or `Failed`, unless the call ends before.
    Transfer {
        call: CallId,
        progress: TransferProgress,
    },
    /// The far end asks us to call `target` instead (REFER). It has been told that we try. `is_allowed` by the
    /// policy: follow it at once ([`Command::FollowReferral`]), else ask the person.
    Referred {
        call: CallId,
        target: RemoteParty,
        is_allowed: bool,
    },
    /// The last `Referred` was not followed in time: the far end has been told so.
    ReferralExpired {
        call: CallId,
    },
    /// Final status of our oldest unanswered INFO; 408 without a response.
    InfoAnswered {
        call: CallId,
        status: u16,
    },
    /// The last event of a call. Emitted exactly once per call.
    Ended {
        call: CallId,
        cause: EndCause,
    },
    /// For the debug log: an input, or a part of a message, was ignored.
    Dropped {
        reason: String,
    },
}

/// Registration state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Registration {
    #[default]
    SignedOut,
    /// Connecting or registering for the first time.
    Connecting,
    Registered {
        /// The WebSocket URL in use.
        server: String,
        /// By which Bitcall's own registrar makes this sign-in known to the rest of the server (`X-Bitcall-Session`).
        session: Option<String>,
    },
    /// The registration failed or was lost; the user agent retries.
    Reconnecting {
        failure: RegisterFailure,
        /// None: an attempt is in progress.
        retry_at: Option<Millis>,
    },
    /// The registration failed. There is no retry without `Command::Register`.
    Failed { failure: RegisterFailure },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterFailure {
    pub kind: RegisterFailureKind,
    /// Final status of REGISTER, if there was one.
    pub status: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegisterFailureKind {
    /// The browser has no network.
    Offline,
    /// No server could be connected.
    Unreachable,
    /// A connection that had worked is gone.
    ConnectionLost,
    WrongPassword,
    /// The server's realm or algorithm is another one than that of the known HA1.
    PasswordNeeded,
    /// The server gave no reason. Some refuse a further device of a user in this way.
    Forbidden,
    /// The server does not know this user or domain.
    NotFound,
    /// The server accepts no further device of this user.
    TooManyDevices,
    /// The server is connected but does not answer.
    Timeout,
    ServerError,
    /// The configuration is not usable: no server, invalid user name or domain, unsupported algorithm.
    BadConfiguration,
}

impl RegisterFailureKind {
    /// A short sentence to show to the user.
    pub fn text(self) -> &'static str {
        match self {
            Self::Offline => "No network",
            Self::Unreachable => "Cannot reach the phone server",
            Self::ConnectionLost => "Connection lost",
            Self::WrongPassword => "Wrong username or password",
            Self::PasswordNeeded => "Enter the password again",
            Self::Forbidden => "Refused: wrong account, or too many devices",
            Self::NotFound => "The phone server does not know this account",
            Self::TooManyDevices => "Too many devices are signed in to this account",
            Self::Timeout => "The phone server does not answer",
            Self::ServerError => "The phone server has a problem",
            Self::BadConfiguration => "The phone is not set up correctly",
        }
    }
}

/// What is special about an outgoing call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteOptions {
    /// Caller ID to present: a number or name in our domain, or a URI. A server that refuses the call for it (433, or 403
    /// or 488 with a Warning) gets it in the next header field, each once ([`CallerIdHeader`]). A bare 403 may have any
    /// reason: it is taken for that one only at once, and only from a server that has taken no caller ID so far.
    pub caller_id: Option<String>,
    /// The network must not tell who calls (`Privacy: id`, RFC 3325 §9.3).
    pub is_private: bool,
    /// Further header fields as (name, value).
    pub headers: Vec<(String, String)>,
}

/// A header field that presents a caller ID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallerIdHeader {
    /// RFC 3325 §9.1.
    #[default]
    PAssertedIdentity,
    /// RFC 3325 §9.2.
    PPreferredIdentity,
    /// draft-ietf-sip-privacy-04.
    RemotePartyId,
    From,
}

/// To whom a call is transferred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransferTarget {
    /// As the target of [`Command::Invite`].
    Address(String),
    /// The far end of this established call, which the transferee then replaces (RFC 5589 §7).
    Call(CallId),
}

/// Progress of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransferProgress {
    /// The far end has agreed.
    Accepted,
    /// A provisional status of its call to the target, e.g. 180.
    Proceeding {
        status: u16,
    },
    /// The target has answered.
    Succeeded,
    Failed(TransferFailure),
}

/// Why a transfer failed. The call goes on, unless it ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransferFailure {
    /// The target is no address, or its call has ended.
    BadTarget,
    /// The call is not established, or its connection is lost.
    NotConnected,
    /// The REFER was refused with this status.
    Refused { status: u16 },
    /// The REFER was not answered.
    NoResponse,
    /// The far end could not reach the target: the final status that it reports.
    Unreachable { status: u16 },
    /// The far end has agreed and reports no result.
    NoResult,
}

impl TransferFailure {
    /// The SIP status behind it.
    pub fn status(self) -> Option<u16> {
        match self {
            Self::Refused { status } | Self::Unreachable { status } => Some(status),
            Self::NoResponse => Some(408),
            Self::BadTarget | Self::NotConnected | Self::NoResult => None,
        }
    }

    /// A short text to show to the user.
    pub fn text(self) -> &'static str {
        match self {
            Self::BadTarget => "Not a number",
            Self::NotConnected => "Not connected",
            Self::Refused { status: 405 | 501 } => "The other side cannot transfer calls",
            Self::Refused { status: 401 | 407 } => "Wrong username or password",
            Self::Refused { .. } => "The other side refused the transfer",
            Self::NoResponse | Self::NoResult => "The other side did not report a result",
            Self::Unreachable { status } => status_text(status),
        }
    }
}

/// The caller, from the header fields of the INVITE.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteParty {
    /// The number to show and to call back: user part, unescaped, without parameters, and a telephone number
    /// without separators; the whole URI if it has no user. Empty for a caller who withholds the identity.
    pub number: String,
    /// Without quotes, encoded words (RFC 2047) decoded.
    pub display_name: Option<String>,
    pub uri: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OfferReason {
    /// An earlier offer failed because of glare (491) or another open offer; offer again.
    Glare,
    /// The connection was restored: offer with an ICE restart.
    Recovery,
    /// Session refresh (RFC 4028 §7.4): offer the current session again.
    Refresh,
}

/// Why a call ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndCause {
    pub by: EndedBy,
    /// Text to show, e.g. `Busy`, `Remote hung up`.
    pub text: String,
    /// The final SIP status, if one ended the call.
    pub sip_code: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndedBy {
    Local,
    Remote,
    /// A time-out, a lost connection or an error.
    Network,
}
