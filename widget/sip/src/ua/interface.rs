//! What goes into a [`UserAgent`](super::UserAgent) and what comes out of it.
//!
//! Everything the driver must know is in this file; nothing else of `ua` is public.
//! Descriptions (SDP) are opaque strings here: the browser makes and reads them.

use serde::{Deserialize, Serialize};

pub use crate::time::Millis;

/// Names a call towards the driver. The driver chooses it for outgoing calls
/// (unique, opaque), the user agent for incoming ones. It is not the SIP Call-ID.
pub type CallId = String;

/// Names one connection attempt. Every [`Output::Connect`] uses a new one, so
/// that news from an old socket cannot be mistaken for news from the present one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransportId(pub u64);

/// Who we are and where we connect.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    pub username: String,
    /// SIP domain: the host of our address-of-record.
    pub domain: String,
    pub display_name: Option<String>,
    pub secret: SipSecret,
    /// `ws:` / `wss:` URLs in fail-over order. Empty means that nothing ever connects.
    pub servers: Vec<String>,
    /// `urn:uuid:…` of this device (RFC 5626 §4.1); must stay the same over restarts.
    pub instance_id: String,
    /// An incoming call beyond this many is answered 486. 0 means no limit.
    pub max_sessions: u32,
    /// Value of `User-Agent`; left out when empty.
    pub product: String,
    pub limits: TimerConfig,
}

impl Config {
    /// With default limits and no display name.
    pub fn new(username: &str, domain: &str, secret: SipSecret, servers: Vec<String>) -> Self {
        Self {
            username: username.into(),
            domain: domain.into(),
            display_name: None,
            secret,
            servers,
            instance_id: String::new(),
            max_sessions: 0,
            product: "Bitcall".into(),
            limits: TimerConfig::default(),
        }
    }
}

/// Leaves the secret out of debug output.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("username", &self.username)
            .field("domain", &self.domain)
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

/// Times that a deployment may want to change. All in milliseconds unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerConfig {
    /// Registration life time asked for, in seconds.
    pub register_seconds: u32,
    /// Session timer asked for (RFC 4028), in seconds; 0 switches it off.
    pub session_seconds: u32,
    /// An unanswered call, either way, ends after this.
    pub ring: u64,
    /// A call without signalling is given up after this.
    pub recovery: u64,
    /// Silence on the connection after which we ping.
    pub ping: u64,
    /// A ping unanswered for this long means a dead connection.
    pub pong: u64,
}

impl Default for TimerConfig {
    fn default() -> Self {
        Self {
            register_seconds: 600,
            session_seconds: 1800,
            ring: 180_000,
            recovery: 90_000,
            ping: 25_000,
            pong: 8_000,
        }
    }
}

/// What proves who we are.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SipSecret {
    /// Forgotten as soon as a server accepted the HA1 made of it.
    Password(String),
    /// Hex HA1: 32 digits are MD5, 64 are SHA-256 (RFC 7616 §3.4.2).
    Ha1 {
        /// None: used at whatever realm the server names.
        realm: Option<String>,
        ha1: String,
    },
}

/// What happened to us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// The WebSocket of this attempt is open, subprotocol `sip`.
    TransportConnected {
        id: TransportId,
    },
    /// It closed, or could not be opened. `reason` is for the debug log.
    TransportClosed {
        id: TransportId,
        reason: String,
    },
    /// One WebSocket message (RFC 7118 §5.2: one SIP message, or CRLF keep-alive).
    Received {
        id: TransportId,
        bytes: Vec<u8>,
    },
    /// Time passed. Call it when [`next_timeout`](super::UserAgent::next_timeout) is reached; more often does no harm.
    Tick,
    /// The browser says that there is a network again.
    Online,
    /// The browser says that there is no network. Reconnecting pauses (but for a slow try now and then).
    Offline,
    /// Something smells (tab shown, ICE disconnected, "Retry" pressed): check the
    /// connection now, or connect now instead of waiting for the back-off.
    Probe,
    Command(Command),
}

/// What the person, or the page's media, wants. A command for a call that is
/// over is ignored; one that does not fit its state yields [`Event::Dropped`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Connect and register, and keep it so. Repeating it after a failure tries again now.
    Register,
    /// End all calls, take the registration back, disconnect.
    /// [`Registration::SignedOut`] follows within four seconds.
    Unregister,
    /// Call `target`, taken as it is: a number without separators, a name, `user@host`, or a `sip:` URI.
    Invite {
        call: CallId,
        target: String,
        /// Number to show to the called one, sent as `P-Asserted-Identity`.
        caller_id: Option<String>,
        /// Our offer. None asks the far end for one: [`Event::Offer`] comes after `Answered`.
        sdp: Option<String>,
    },
    /// Accept an incoming call. `sdp` answers its offer, or is our offer where it had none.
    Answer { call: CallId, sdp: String },
    /// Refuse an incoming call with a final status (300–699), e.g. 486 or 603.
    Reject { call: CallId, status: u16 },
    /// End the call whatever its state: CANCEL, 603 or BYE. [`Event::Ended`] comes at once.
    HangUp { call: CallId },
    /// Offer a new description in an established call (hold, resume, ICE restart).
    /// Each one yields exactly one `ReinviteAccepted` or `ReinviteRefused`, unless the call ends.
    Reinvite { call: CallId, sdp: String },
    /// The answer to the last [`Event::Offer`]. Where that had no description: our offer, which
    /// `ReinviteAccepted` or `ReinviteRefused` follows.
    AnswerOffer { call: CallId, sdp: String },
    /// The last [`Event::Offer`] cannot be taken, e.g. 488. The call goes on as it was.
    RefuseOffer { call: CallId, status: u16 },
    /// Send an INFO in the call, e.g. `application/dtmf-relay`. Yields [`Event::InfoAnswered`], in order.
    Info { call: CallId, content_type: String, body: String },
}

/// What the driver must do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// Open a WebSocket with subprotocol `sip`; report `TransportConnected` or `TransportClosed`.
    Connect {
        id: TransportId,
        url: String,
    },
    /// Close it; nothing from it is of interest any more.
    CloseTransport {
        id: TransportId,
    },
    /// Send these bytes as one WebSocket message (text, when they are UTF-8).
    Send {
        id: TransportId,
        bytes: Vec<u8>,
    },
    Event(Event),
}

/// What the driver must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    Registration(Registration),
    /// A server accepted us: keep this instead of the password.
    Ha1 {
        realm: String,
        /// `MD5` or `SHA-256`.
        algorithm: String,
        ha1: String,
    },
    /// Someone calls; the far end hears ringing already.
    Incoming {
        call: CallId,
        from: RemoteParty,
        /// None: the answer must carry an offer.
        offer: Option<String>,
    },
    /// Outgoing, a provisional response above 100. With `sdp`: a provisional
    /// answer, of the early dialog named `early` (they differ when the call forked).
    Progress {
        call: CallId,
        status: u16,
        sdp: Option<String>,
        early: Option<String>,
    },
    /// Outgoing, picked up. `sdp` is the final answer (also when only a provisional
    /// response had carried it); None after an INVITE without offer, then `Offer` follows.
    Answered {
        call: CallId,
        sdp: Option<String>,
        early: Option<String>,
    },
    /// Incoming and answered: the far end's ACK is here. `sdp` is the answer where we had made the offer.
    Confirmed {
        call: CallId,
        sdp: Option<String>,
    },
    /// The far end wants to change the session. Reply with `AnswerOffer` or
    /// `RefuseOffer` within 20 s, else it is refused. None: make an offer.
    Offer {
        call: CallId,
        sdp: Option<String>,
    },
    /// The last `Offer` is void: roll back, do not reply.
    OfferWithdrawn {
        call: CallId,
    },
    /// Our offer stands, and this is its answer.
    ReinviteAccepted {
        call: CallId,
        sdp: String,
    },
    /// Our offer did not stand: roll back. `status` is 408 when nothing came, 491
    /// when both sides offered at once. `again`: an `OfferNeeded` will follow.
    ReinviteRefused {
        call: CallId,
        status: u16,
        again: bool,
    },
    /// Make an offer for what is wanted *now* and send it by `Reinvite`.
    OfferNeeded {
        call: CallId,
        why: OfferReason,
    },
    /// The connection is lost; the call keeps its media while we try to get it back.
    Detached {
        call: CallId,
    },
    /// The call can be signalled again.
    Attached {
        call: CallId,
    },
    Info {
        call: CallId,
        content_type: String,
        body: Vec<u8>,
    },
    /// Final status of our oldest unanswered INFO; 408 when nothing came.
    InfoAnswered {
        call: CallId,
        status: u16,
    },
    /// Exactly once per call, and the last word about it.
    Ended {
        call: CallId,
        cause: EndCause,
    },
    /// For the debug log: what was not acted upon, and why.
    Dropped {
        reason: String,
    },
}

/// Whether calls can reach us.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Registration {
    #[default]
    SignedOut,
    /// For the first time.
    Connecting,
    Registered {
        /// The WebSocket URL in use.
        server: String,
    },
    /// It failed or was lost, and is tried again by itself.
    Reconnecting {
        failure: RegisterFailure,
        /// None: a try is under way.
        retry_at: Option<Millis>,
    },
    /// It will not be tried again without `Command::Register`.
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
    Forbidden,
    /// The server does not know this user or domain.
    NotFound,
    /// The server has no room for one more device of this user.
    TooManyDevices,
    /// The server is connected but does not answer.
    Timeout,
    ServerError,
    /// The configuration cannot work: no server, unusable name, unknown algorithm.
    BadConfiguration,
}

impl RegisterFailureKind {
    /// One short sentence for the person.
    pub fn words(self) -> &'static str {
        match self {
            Self::Offline => "No network",
            Self::Unreachable => "Cannot reach the phone server",
            Self::ConnectionLost => "Connection lost",
            Self::WrongPassword => "Wrong username or password",
            Self::Forbidden => "The phone server refuses this account",
            Self::NotFound => "The phone server does not know this account",
            Self::TooManyDevices => "Too many devices are signed in to this account",
            Self::Timeout => "The phone server does not answer",
            Self::ServerError => "The phone server has a problem",
            Self::BadConfiguration => "The phone is not set up correctly",
        }
    }
}

/// The other person, as their message says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteParty {
    /// User part, unescaped; the whole URI when it has none.
    pub number: String,
    pub display_name: Option<String>,
    pub uri: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OfferReason {
    /// Both sides had offered at once (491), or the session was busy; it is our turn again.
    Glare,
    /// The connection is back: offer with an ICE restart.
    Recovery,
    /// The session timer (RFC 4028) asks for a sign of life; the same session again will do.
    Refresh,
}

/// Why a call ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndCause {
    pub by: EndedBy,
    /// In words, e.g. `Busy`, `Remote hung up`.
    pub words: String,
    /// The final SIP status, if one ended it.
    pub sip_code: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndedBy {
    Local,
    Remote,
    /// Neither wanted it: a time limit, a lost connection, a fault.
    Network,
}
