//! Phone (page) ↔ agent (`SharedWorker`, or the page itself), over a
//! `MessagePort`. Each message is one `Uint8Array` ([`crate::encoding`]). Both sides are always of the same build,
//! because the page addresses the agent's script by its hash.
//!
//! The agent owns what continues after a page is closed: WebSocket, registration,
//! dialogs, the list of calls. A page owns what only a page can have: microphone,
//! speakers, `RTCPeerConnection`. The agent handles no audio, and a page handles no
//! SIP. Each call belongs to the page that placed or answered it. The agent requests
//! session descriptions from that page ([`MediaRequest`]). All pages get
//! [`AgentSnapshot`]s.
//!
//! Every [`MediaRequest`] has a `request_id`, which the reply repeats. A reply to
//! a request that is no longer open is ignored, so that a late microphone permission
//! has no effect on a call that has ended.

use serde::{Deserialize, Serialize};

use crate::config::{CallBehavior, CallerIdHeader, Dtmf};

/// Opaque id of a call, the same until its end, also across a page reload.
pub type CallId = String;
/// Milliseconds since the Unix epoch. The agent's driver gives them by the wall clock of the moment (`AgentClock`).
pub type UnixMillis = u64;

/// Posted to a page in the place of a message: the agent makes room for that of a newer build, which the page gets when it
/// is loaded anew.
pub const MOVED_MESSAGE: &str = "moved";

/// The instance id (RFC 5626 §4.1) of the user agent with this number on a device. The last field of a UUID is random in
/// every version that is used here, so that adding a small number to it does not produce the id of another device.
pub fn numbered_instance(device: &str, number: u32) -> String {
    let counted = device.rsplit_once('-').and_then(|(rest, last)| {
        let last = u64::from_str_radix(last, 16).ok()?.wrapping_add(number.into()) & 0xffff_ffff_ffff;
        Some(format!("{rest}-{last:012x}"))
    });
    counted.unwrap_or_else(|| device.to_owned())
}

/// Page → agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToAgent {
    /// The first message on a port. `page` is random and unique per page load.
    Attach {
        page: String,
        visible: bool,
    },
    /// The page is closed (`pagehide`). Needed because not all browsers have a `close` event on ports.
    Detach,
    /// The page takes the phone down and will not come back: without another page the agent signs out at once.
    Leave,
    /// The page exists. Sent every 5 s, so that the agent detects a crashed page.
    Alive {
        visible: bool,
    },
    SignIn {
        account: Box<SipAccount>,
        /// What the page was told to keep before it was loaded anew.
        kept: Option<KeptCalls>,
    },
    SignOut,
    /// Check or retry the connection now instead of after the back-off (`online`, `visibilitychange`). An account
    /// that the server refuses is not tried for it.
    Probe,
    /// The person wants another attempt now.
    Retry,
    /// The browser reports that it has no network.
    Offline,
    Call {
        call: CallId,
        number: String,
        options: CallOptions,
        /// The page's offer, if one was prepared. Otherwise the agent requests it.
        offer: Option<String>,
    },
    Answer {
        call: CallId,
        others: OtherCalls,
    },
    /// The tone that [`AgentEvent::AutoAnswerDue`] asked for has been played: the microphone may open.
    AutoAnswer {
        call: CallId,
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
    /// Go on with a call of another page in this one.
    TakeOver {
        call: CallId,
    },
    /// Connect the far end of the call with `target` and leave the call (blind transfer).
    Transfer {
        call: CallId,
        target: String,
    },
    /// Connect the far ends of both calls with each other (attended transfer). `to` was placed to ask first; while
    /// it is not answered, this is a blind transfer to its number.
    TransferTo {
        call: CallId,
        to: CallId,
    },
    /// Both calls talk together from now on, in one conference. One of them may be in it already: then the other one joins.
    Merge {
        call: CallId,
        /// Its microphone's state becomes that of all.
        into: CallId,
    },
    /// The call leaves the conference. `held`: it waits on hold and the others talk on; else the person talks with it
    /// alone, and the others wait on hold.
    Split {
        call: CallId,
        held: bool,
    },
    /// Nobody hears this party of the conference, neither the person nor the other parties.
    MuteParty {
        call: CallId,
        muted: bool,
    },
    /// The far end wants to connect us with somebody else ([`CallSnapshot::referral`]): call them or not.
    AnswerReferral {
        call: CallId,
        follow: bool,
    },
    /// The page has muted or unmuted its microphone. The state is stored for a page that
    /// takes the call over.
    Mute {
        call: CallId,
        muted: bool,
    },
    /// Only a call that is up is recorded.
    Record {
        call: CallId,
        command: RecordingCommand,
    },
    /// Digits to send by SIP INFO. Those of RFC 4733 are sent by the page itself.
    Digits {
        call: CallId,
        digits: String,
    },
    /// Answer the text. [`AgentEvent::MessageAnswered`] follows.
    SendMessage {
        /// Of the text that is answered.
        call: Option<CallId>,
        number: String,
        text: String,
    },
    MediaReply {
        call: CallId,
        request_id: u32,
        reply: MediaReply,
    },
    MediaChanged {
        call: CallId,
        state: MediaState,
    },
    /// The page has closed the microphone and the loudspeaker of the call, because a snapshot
    /// no longer has [`CallSnapshot::voice`] for it. Only then may a call of another page open its own.
    Silenced {
        call: CallId,
        /// The revision of that snapshot.
        revision: u64,
    },
}

/// The last [`ToPage::Keep`] of the page that was loaded in this tab before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptCalls {
    pub record: String,
    /// Since that page was there the last time.
    pub age_ms: u64,
}

/// A header field of an INVITE that an application has set or reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallHeader {
    pub name: String,
    pub value: String,
}

/// What is special about a call that is placed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallOptions {
    /// The caller ID for this call only; `anonymous` withholds it.
    pub caller_id: Option<String>,
    /// See [`crate::call_headers`].
    pub headers: Vec<CallHeader>,
    /// The call that may be transferred to the far end of this one ("Ask first").
    pub consults_for: Option<CallId>,
}

/// What happens to the conversation on the screen when another call is answered. Calls that wait on hold beside it go on waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OtherCalls {
    #[default]
    Hold,
    End,
}

/// Agent → page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToPage {
    /// The whole visible state. Sent after the sign-in and after every change.
    Snapshot {
        snapshot: AgentSnapshot,
    },
    /// Sent exactly once to each page that is concerned.
    Event {
        event: AgentEvent,
    },
    Media {
        call: CallId,
        request_id: u32,
        request: MediaRequest,
    },
    /// The offer of a call that rings. A page may make its answer before the person wants it, and without telling the far
    /// end anything; [`MediaRequest::Answer`] asks for it.
    RingingOffer {
        call: CallId,
        offer: String,
    },
    /// What the page's established calls need to go on without this agent, which may end with the page. The page keeps
    /// it for the next page in this tab ([`ToAgent::SignIn`]). Empty without such a call.
    Keep {
        record: String,
    },
    /// A line for the debug log, e.g. why a message was dropped.
    Log {
        line: String,
    },
}

impl ToPage {
    /// Replaces every time in the message.
    pub fn map_times(&mut self, map: impl Fn(UnixMillis) -> UnixMillis) {
        let map_call = |call: &mut CallSnapshot| {
            call.started_at = map(call.started_at);
            call.answered_at = call.answered_at.map(&map);
        };
        match self {
            ToPage::Snapshot { snapshot } => {
                snapshot.calls.iter_mut().for_each(map_call);
                if let RegistrationStatus::Reconnecting { retry_at, .. } = &mut snapshot.registration {
                    *retry_at = retry_at.map(&map);
                }
            }
            ToPage::Event { event } => match event {
                AgentEvent::CallStarted { call }
                | AgentEvent::CallIncoming { call }
                | AgentEvent::CallAnswered { call }
                | AgentEvent::CallUpdated { call }
                | AgentEvent::CallMissed { call, .. }
                | AgentEvent::CallEnded { call, .. } => map_call(call),
                AgentEvent::AutoAnswerDue { .. }
                | AgentEvent::Message { .. }
                | AgentEvent::MessageAnswered { .. }
                | AgentEvent::CallerIdTaken { .. }
                | AgentEvent::Registered { .. }
                | AgentEvent::Unregistered { .. }
                | AgentEvent::Ha1 { .. }
                | AgentEvent::PasswordNeeded { .. }
                | AgentEvent::Refused { .. }
                | AgentEvent::Transfer { .. }
                | AgentEvent::HoldFailed { .. } => {}
            },
            ToPage::Media { .. } | ToPage::RingingOffer { .. } | ToPage::Keep { .. } | ToPage::Log { .. } => {}
        }
    }
}

/// The account that signs in, and its servers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SipAccount {
    pub username: String,
    pub domain: String,
    pub display_name: Option<String>,
    pub secret: AccountSecret,
    /// SIP WebSocket URLs in fail-over order. Never empty.
    pub wss: Vec<String>,
    /// `urn:uuid:…` of this device (RFC 5626 §4.1). The page stores it.
    pub instance_id: String,
    pub dtmf: Dtmf,
    pub max_sessions: u32,
    pub calls: CallBehavior,
    /// What [`AgentEvent::CallerIdTaken`] has told.
    pub caller_id_headers: Vec<TakenCallerId>,
}

/// A SIP WebSocket server takes a caller ID from this header field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenCallerId {
    pub server: String,
    pub header: CallerIdHeader,
}

/// Omits the secret.
impl std::fmt::Debug for SipAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SipAccount")
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
    /// One for each realm that is known.
    Ha1 {
        ha1s: Vec<RealmHa1>,
    },
}

impl AccountSecret {
    /// A realm has accepted this HA1: it replaces the password, an HA1 without a realm, and an older one of the realm.
    pub fn adopt(&mut self, accepted: RealmHa1) {
        let mut ha1s = match self {
            AccountSecret::Password { .. } => Vec::new(),
            AccountSecret::Ha1 { ha1s } => std::mem::take(ha1s),
        };
        ha1s.retain(|other| other.realm.is_some() && other.realm != accepted.realm);
        ha1s.push(accepted);
        *self = AccountSecret::Ha1 { ha1s };
    }
}

/// HA1 of one realm (RFC 7616 §3.4.2), which is stored instead of a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealmHa1 {
    /// None: used for any realm, until one has accepted it.
    pub realm: Option<String>,
    /// `MD5`, `SHA-256` or `SHA-512-256`.
    pub algorithm: String,
    /// In hex.
    pub ha1: String,
}

/// Omits the secret.
impl std::fmt::Debug for RealmHa1 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RealmHa1")
            .field("realm", &self.realm)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// The whole visible state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AgentSnapshot {
    /// Increases by one with every snapshot.
    pub revision: u64,
    pub registration: RegistrationStatus,
    /// Oldest first. An ended call is contained in one more snapshot.
    pub calls: Vec<CallSnapshot>,
    /// The call that the person selected last.
    pub active: Option<CallId>,
    /// The calls that talk together, in the order in which they came; two or more, or none. All are of one page, which
    /// mixes their sound; `Hold`, and `Mute` of the microphone, apply to all of them.
    pub conference: Vec<Party>,
    /// The page that plays the ringtone. The others only show the call.
    pub ringer: Option<String>,
}

/// One call of a conference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    pub call: CallId,
    /// Nobody hears it.
    pub muted: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegistrationStatus {
    #[default]
    SignedOut,
    /// Connecting or registering for the first time.
    Connecting,
    Registered {
        username: String,
        domain: String,
        server: String,
        /// By which the built-in edge makes this sign-in known to the rest of the server.
        session: Option<String>,
    },
    /// The connection or registration was lost or failed. The next attempt is at `retry_at`.
    Reconnecting { reason: RegistrationFailure, retry_at: Option<UnixMillis> },
    /// Failed. There is no further attempt without a command of the person.
    Failed { reason: RegistrationFailure },
}

/// Why there is no registration. `code` is for the program, `text` is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrationFailure {
    pub code: RegistrationFailureCode,
    pub sip_code: Option<u16>,
    /// A short text for the person, e.g. "Wrong password".
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegistrationFailureCode {
    Offline,
    Unreachable,
    ConnectionLost,
    WrongPassword,
    /// Only the password can answer the server: the known HA1s are of another realm or algorithm.
    PasswordNeeded,
    Forbidden,
    NotFound,
    TooManyDevices,
    Timeout,
    ServerError,
    BadConfiguration,
    /// The agent could not start. Set by the page.
    NotStarted,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, as the screens show them")]
pub struct CallSnapshot {
    pub id: CallId,
    pub direction: CallDirection,
    /// As dialled, or from the caller's URI (its user part, or the whole URI). Empty if the caller withholds it.
    pub number: String,
    pub display_name: Option<String>,
    pub requested_caller_id: Option<String>,
    pub state: CallState,
    pub hold: HoldState,
    /// The far end has put us on hold.
    pub remote_held: bool,
    /// The microphone and the loudspeaker of this call may be open. At most one call has this, or several calls of
    /// the conference. Without it the page sends no microphone sound into the call and plays nothing of it.
    pub voice: bool,
    /// Outbound, 180 received: the page plays a local ring-back tone whenever no early media
    /// flows (RFC 3960 §3.2).
    pub rings: bool,
    /// The microphone is muted in this call.
    pub muted: bool,
    pub recording: RecordingState,
    pub started_at: UnixMillis,
    pub answered_at: Option<UnixMillis>,
    /// The page that owns the call's media; `None` while an incoming call rings.
    pub page: Option<String>,
    /// The connection to the server is lost. Media may continue.
    pub detached: bool,
    /// The call is being transferred.
    pub transfer: Option<TransferSnapshot>,
    /// This call was placed to ask first: that call may be transferred to it.
    pub consults_for: Option<CallId>,
    /// The far end wants to connect us with somebody else, and the person has not decided: whom.
    pub referral: Option<String>,
    /// Whom the caller called before the call was diverted to us, e.g. a queue: the name, or the number.
    pub diverted_from: Option<String>,
    /// The call was answered by itself, or is about to be.
    pub auto_answer: bool,
    /// `X-…` and `User-to-User` of the INVITE.
    pub headers: Vec<CallHeader>,
}

/// A transfer under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferSnapshot {
    /// As typed, or the number of the other call.
    pub target: String,
    pub state: TransferState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransferState {
    /// The far end has not agreed yet.
    Requested,
    /// The far end has agreed and calls the target.
    Accepted,
    /// The target rings.
    Ringing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(inline))]
#[serde(rename_all = "lowercase")]
pub enum CallDirection {
    Outbound,
    Inbound,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallState {
    /// Outbound, before the first 180 or early media.
    Dialing,
    /// Outbound, 180 received.
    Ringing,
    /// Outbound, a provisional response with a description received: the far end may send early media.
    EarlyMedia,
    /// Inbound, not answered by the person yet.
    Incoming,
    /// Inbound, answered by the person, waiting for media and ACK.
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
    /// Requested and not confirmed by the far end. The microphone is already muted.
    Holding,
    Held,
    /// The far end refused the hold or did not answer: it can neither be heard nor hear us, and does
    /// not know it.
    HeldHere,
    Resuming,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordingCommand {
    /// `id` is random. A recording that is paused goes on instead.
    Start {
        id: String,
    },
    Pause,
    Resume,
    Stop,
}

/// Whether the page that owns the call has to record it. `id` is that of the recording, which goes on over a pause, a hold and
/// another page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordingState {
    /// Not recorded so far.
    #[default]
    Off,
    On {
        id: String,
    },
    Paused {
        id: String,
    },
    Stopped,
}

impl RecordingState {
    /// The recording that is on or paused.
    pub fn id(&self) -> Option<&str> {
        match self {
            RecordingState::On { id } | RecordingState::Paused { id } => Some(id),
            RecordingState::Off | RecordingState::Stopped => None,
        }
    }

    /// A command that does not fit is a second click, and changes nothing.
    pub fn apply(&mut self, command: RecordingCommand) {
        *self = match (command, std::mem::take(self)) {
            (RecordingCommand::Start { id }, RecordingState::Off | RecordingState::Stopped)
            | (RecordingCommand::Start { .. } | RecordingCommand::Resume, RecordingState::Paused { id }) => {
                RecordingState::On { id }
            }
            (RecordingCommand::Pause, RecordingState::On { id }) => RecordingState::Paused { id },
            (RecordingCommand::Stop, RecordingState::On { .. } | RecordingState::Paused { .. }) => {
                RecordingState::Stopped
            }
            (_, same) => same,
        };
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallEndCause {
    /// Text, e.g. `Busy`, `Remote hung up`.
    pub text: String,
    pub sip_code: Option<u16>,
}

/// A text that somebody has sent, to be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextMessage {
    /// The far end of this call has sent it, within the call. Only the call's pages get it.
    pub call: Option<CallId>,
    /// Of the sender, as of a caller ([`CallSnapshot::number`]).
    pub number: String,
    pub display_name: Option<String>,
    pub text: String,
}

/// The cause of a call that was refused, because the tenant's phone takes no more calls at the same time.
pub const LINES_BUSY: &str = "All lines busy";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AgentEvent {
    CallStarted {
        call: CallSnapshot,
    },
    CallIncoming {
        call: CallSnapshot,
    },
    /// The call is to be answered by itself. The page plays a tone and sends [`ToAgent::AutoAnswer`]; if it cannot, the
    /// call goes on ringing.
    AutoAnswerDue {
        call: CallId,
    },
    CallAnswered {
        call: CallSnapshot,
    },
    /// An incoming call was refused without ringing. No other event of it follows.
    CallMissed {
        call: CallSnapshot,
        cause: CallEndCause,
    },
    /// Number or name of the far end have changed, e.g. after a transfer.
    CallUpdated {
        call: CallSnapshot,
    },
    Message {
        message: TextMessage,
    },
    /// The text that was sent to this number was taken, or why not. To all pages.
    MessageAnswered {
        number: String,
        failure: Option<String>,
    },
    /// Exactly once per call and page. `duration` is in whole seconds since the answer.
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
    /// A realm has accepted it: the page stores this instead of the password.
    Ha1 {
        ha1: RealmHa1,
    },
    /// The page stores it for [`SipAccount::caller_id_headers`].
    CallerIdTaken {
        taken: TakenCallerId,
    },
    /// Ask for the password again. The registration stays: only another realm of the server needs it, for `call`.
    /// None: what the person entered is not the password.
    PasswordNeeded {
        call: Option<CallId>,
    },
    /// A transfer of the call was started, was accepted by the far end, or failed: then the call goes on.
    Transfer {
        call: CallId,
        /// As typed, or the number of the other call.
        target: String,
        /// The SIP URI of the target, if it has one.
        uri: Option<String>,
        status: TransferStatus,
    },
    /// A command could not be carried out.
    Refused {
        code: String,
        message: String,
    },
    /// The far end refused the hold (`held`), and the call is held on our side only; or it refused to
    /// resume (not `held`), and the call stays on hold.
    HoldFailed {
        call: CallId,
        held: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransferStatus {
    Started,
    Accepted,
    Failed {
        /// Stable, e.g. `BAD_NUMBER`, `REFUSED`, `UNREACHABLE`.
        reason: String,
        /// A sentence for the person.
        message: String,
    },
}

/// Request of the agent to the page that owns the call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MediaRequest {
    /// Make an offer. Create the connection if there is none. `codec` is the one in use (`opus`, `pcmu`), with
    /// which the offer begins, so that the far end has no reason to change it. Reply: `Description`.
    Offer { direction: MediaDirection, kind: OfferKind, codec: Option<String> },
    /// Answer this offer; with `is_new_endpoint` by another connection, because the offer is that of another endpoint: two
    /// calls through one relay have the same fingerprint, and only the dialog tells them apart. Reply: `Description`.
    Answer { offer: String, direction: MediaDirection, is_new_endpoint: bool },
    /// Apply this answer. A `provisional` one may be replaced later. Reply: `Done`.
    Accept { answer: String, provisional: bool },
    /// Our last offer was refused, or the far end withdrew its own: the media is again as it was agreed
    /// before. Reply: `Done`.
    RollBack,
    /// Stop the tracks and close the connection. No reply.
    Close,
}

/// What an offer changes besides the direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OfferKind {
    /// The connection stays as it is.
    #[default]
    Current,
    /// Restart ICE (RFC 8445 §9).
    RestartIce,
    /// Discard the connection, keep the microphone, and make a new connection.
    NewConnection,
}

/// Direction of audio, from our side (RFC 3264 §5.1).
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
    Failed { error: MediaError, message: String },
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

/// State of a call's connection, as the page reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MediaState {
    /// ICE has a path; DTLS is not connected yet.
    IceConnected,
    /// ICE and DTLS are connected: sound can flow.
    Connected,
    Disconnected,
    Failed,
}
