//! One call: its phase, the page that owns its media, its exchange of descriptions, and what is wanted of it.
//!
//! Which side decides what:
//! - The user agent ([`bitcall_sip::ua`]) decides what SIP allows: when a request may be sent, when one is
//!   repeated after glare, and when the far end has been silent for too long.
//! - The agent decides what is offered and when. [`Negotiation`] is the exchange, [`Wishes`] what the next
//!   offer must contain, [`Connection`] what the far end knows of the page's connection, [`Owner`] the page.
//! - The page's `RTCPeerConnection` has the descriptions. A page never starts an exchange.

mod connection;
mod negotiation;
mod transfer;

use bitcall_sip::ua::{Millis, RemoteParty};
use bitcall_wire::agent_protocol::{
    CallDirection, CallEndCause, CallHeader, CallId, CallSnapshot, CallState, HoldState, MediaRequest, OfferKind,
    RecordingState,
};

use bitcall_wire::text::readable;

pub use connection::{Connection, ConnectionTimeout};
pub use negotiation::{
    ApplyingAnswer, MakingAnswer, MakingOffer, Negotiation, OfferContent, OfferMethod, OfferSent, RemoteOffer, Wishes,
    media_direction,
};
pub use transfer::{Destination, Holding, Transfer, TransferRequest};

use crate::sdp::TransportIdentity;

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not states of one machine")]
pub struct Call {
    pub id: CallId,
    /// The id in the user agent: another one after the call was picked up by an INVITE with Replaces.
    pub dialog: CallId,
    pub direction: CallDirection,
    /// The target of our INVITE; empty for an incoming call.
    pub target: String,
    pub number: String,
    pub display_name: Option<String>,
    pub requested_caller_id: Option<String>,
    /// Whom the caller called before the call was diverted to us.
    pub diverted_from: Option<RemoteParty>,
    pub auto_answer: AutoAnswer,
    /// Header fields for and of applications, as (name, value): ours of an outgoing call, the caller's of an incoming one.
    pub headers: Vec<(String, String)>,
    pub phase: CallPhase,
    pub owner: Owner,
    pub negotiation: Negotiation,
    pub wishes: Wishes,
    pub connection: Connection,
    /// The codec in use, by the last answer of either side.
    pub codec: Option<String>,
    /// The far end agreed to the hold.
    pub hold_agreed: bool,
    /// The far end refused the hold, or the page could not offer it.
    pub hold_refused: bool,
    pub voice: Voice,
    pub remote_held: bool,
    pub muted: bool,
    pub recording: RecordingState,
    /// The connection to the server is lost.
    pub detached: bool,
    /// Meanwhile the user agent has asked for the offer that restores it.
    pub recovers: bool,
    pub started_at: Millis,
    pub answered_at: Option<Millis>,
    /// Pages without the call that know of its start and not yet of its end.
    pub notified: Vec<String>,
    /// Set to a higher value each time the person selects the call: the highest is the active call.
    pub focus: u64,
    /// The calls that end when this one has its media ("End & Answer").
    pub ends: Vec<CallId>,
    pub pick_up: PickUp,
    /// The dialog that replaces the present one while the call is picked up.
    pub replacement: Option<Replacement>,
    /// The dialog of somebody else that is about to take the place of the present one.
    pub replaced_by: Option<ReplacedBy>,
    /// Our transfer of the call.
    pub transfer: Option<Transfer>,
    /// The other call has been transferred to this one: it ends by itself, at the latest at this time.
    pub handed_over: Option<Millis>,
    /// The call that may be transferred to this one.
    pub consults_for: Option<CallId>,
    /// The far end wants to connect us with somebody else.
    pub referral: Option<Referral>,
    /// The call whose far end has referred us to this one.
    pub referrer: Option<Referrer>,
}

/// How the far end learns of another connection than the first one of the call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PickUp {
    /// The present connection has sound, or is the first one.
    #[default]
    None,
    First(OfferMethod),
    /// The first way brought no sound.
    Last(OfferMethod),
}

impl PickUp {
    pub fn method(self) -> OfferMethod {
        match self {
            PickUp::None => OfferMethod::Reinvite,
            PickUp::First(method) | PickUp::Last(method) => method,
        }
    }
}

/// An INVITE with Replaces (RFC 3891) that is not answered yet.
#[derive(Debug)]
pub struct Replacement {
    pub dialog: CallId,
    pub until: Millis,
    /// Why the present dialog has ended: a server may end it before it answers.
    pub present_ended: Option<CallEndCause>,
}

/// An INVITE of somebody else that takes the place of the call's dialog (RFC 3891), until the page has answered it.
#[derive(Debug)]
pub struct ReplacedBy {
    pub dialog: CallId,
    pub from: RemoteParty,
    pub until: Millis,
    /// The exchange that was running in the present dialog.
    pub present: Negotiation,
    /// Why the present dialog has ended meanwhile.
    pub present_ended: Option<CallEndCause>,
}

/// A call whose far end refers us to another one. It may end first.
#[derive(Debug)]
pub struct Referrer {
    pub call: CallId,
    /// Its id in the user agent.
    pub dialog: CallId,
}

/// The far end refers us to somebody else (RFC 3515).
#[derive(Debug)]
pub enum Referral {
    /// The person has not decided. The user agent has the time-out.
    Undecided { target: RemoteParty },
    /// A call was placed for it.
    Followed,
}

/// Whether an incoming call is answered without the person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AutoAnswer {
    /// It is not, or not any more.
    #[default]
    No,
    At(Millis),
    /// A page plays the tone before it. If it cannot, the call rings at this time.
    Due(Millis),
    Done,
}

#[derive(Debug)]
pub enum CallPhase {
    /// Outbound, without a final response.
    Dialing(Dialing),
    /// Inbound, not answered by the person.
    Incoming {
        offer: RemoteOffer,
    },
    /// Inbound, answered by the person: the page makes the description, or the ACK is awaited.
    Answering {
        offer: RemoteOffer,
    },
    Active,
    Ended {
        cause: CallEndCause,
    },
}

#[derive(Debug)]
pub struct Dialing {
    /// The INVITE was sent: the user agent knows the call.
    pub placed: bool,
    /// 180 was received.
    pub rings: bool,
    /// The transport of the provisional answer that the page has applied. A final answer of another one
    /// needs another connection: a running DTLS transport takes no other fingerprint.
    pub early: Option<TransportIdentity>,
}

/// The page that has the media of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    Nobody,
    Page(String),
    /// The page is gone. The call ends at this time unless a page takes it over.
    Orphan {
        page: String,
        until: Millis,
    },
}

/// Whether the microphone and the loudspeaker of a call may be open, and in which page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Voice {
    #[default]
    Closed,
    Open {
        page: String,
    },
    /// Taken away by the snapshot with this revision, which the page has not confirmed yet.
    Closing {
        page: String,
        revision: u64,
        until: Millis,
    },
}

impl Call {
    pub fn outgoing(
        id: CallId,
        number: &str,
        target: String,
        caller_id: Option<String>,
        page: String,
        now: Millis,
    ) -> Call {
        let dialing = Dialing { placed: false, rings: false, early: None };
        let mut call =
            Call::new(id, CallDirection::Outbound, number.trim().to_owned(), CallPhase::Dialing(dialing), now);
        call.target = target;
        call.requested_caller_id = caller_id;
        call.owner = Owner::Page(page);
        call
    }

    pub fn incoming(id: CallId, number: String, display_name: Option<String>, offer: RemoteOffer, now: Millis) -> Call {
        let mut call = Call::new(id, CallDirection::Inbound, number, CallPhase::Incoming { offer }, now);
        call.display_name = display_name;
        call
    }

    /// A call of an earlier agent, in whose snapshot it was active. It waits for a page and for the server.
    pub fn restored(snapshot: CallSnapshot, owner: Owner) -> Call {
        let started_at = Millis(snapshot.started_at);
        let mut call = Call::new(snapshot.id, snapshot.direction, snapshot.number, CallPhase::Active, started_at);
        call.display_name = snapshot.display_name;
        call.requested_caller_id = snapshot.requested_caller_id;
        call.diverted_from = snapshot.diverted_from.map(|number| RemoteParty { number, ..RemoteParty::default() });
        call.headers = snapshot.headers.into_iter().map(|header| (header.name, header.value)).collect();
        call.owner = owner;
        call.wishes.held = !matches!(snapshot.hold, HoldState::None | HoldState::Resuming);
        call.hold_agreed = snapshot.hold == HoldState::Held;
        call.remote_held = snapshot.remote_held;
        call.muted = snapshot.muted;
        call.recording = snapshot.recording;
        call.detached = true;
        call.answered_at = snapshot.answered_at.map(Millis);
        call.consults_for = snapshot.consults_for;
        call
    }

    fn new(id: CallId, direction: CallDirection, number: String, phase: CallPhase, now: Millis) -> Call {
        Call {
            dialog: id.clone(),
            id,
            direction,
            target: String::new(),
            number,
            display_name: None,
            requested_caller_id: None,
            diverted_from: None,
            auto_answer: AutoAnswer::No,
            headers: Vec::new(),
            phase,
            owner: Owner::Nobody,
            negotiation: Negotiation::Idle,
            wishes: Wishes::default(),
            connection: Connection::new(),
            codec: None,
            hold_agreed: false,
            hold_refused: false,
            voice: Voice::Closed,
            remote_held: false,
            muted: false,
            recording: RecordingState::Off,
            detached: false,
            recovers: false,
            started_at: now,
            answered_at: None,
            notified: Vec::new(),
            focus: 0,
            ends: Vec::new(),
            pick_up: PickUp::None,
            replacement: None,
            replaced_by: None,
            transfer: None,
            handed_over: None,
            consults_for: None,
            referral: None,
            referrer: None,
        }
    }

    pub fn snapshot(&self) -> CallSnapshot {
        let dialing = match &self.phase {
            CallPhase::Dialing(dialing) => Some(dialing),
            _ => None,
        };
        CallSnapshot {
            id: self.id.clone(),
            direction: self.direction,
            number: self.number.clone(),
            display_name: self.display_name.clone(),
            requested_caller_id: self.requested_caller_id.clone(),
            state: self.state(),
            hold: self.hold_state(),
            remote_held: self.remote_held,
            voice: matches!(self.voice, Voice::Open { .. }),
            rings: dialing.is_some_and(|dialing| dialing.rings),
            muted: self.muted,
            recording: self.recording.clone(),
            started_at: self.started_at.0,
            answered_at: self.answered_at.map(|at| at.0),
            page: self.owner.page().map(str::to_owned),
            detached: self.detached,
            transfer: self.transfer.as_ref().map(Transfer::snapshot),
            consults_for: self.consults_for.clone(),
            diverted_from: self.diverted_from.as_ref().map(shown_party),
            auto_answer: matches!(self.auto_answer, AutoAnswer::Due(_) | AutoAnswer::Done),
            headers: self
                .headers
                .iter()
                .map(|(name, value)| CallHeader { name: name.clone(), value: readable(value) })
                .collect(),
            referral: match &self.referral {
                Some(Referral::Undecided { target }) => Some(shown_party(target)),
                _ => None,
            },
        }
    }

    fn state(&self) -> CallState {
        match &self.phase {
            CallPhase::Dialing(Dialing { early: Some(_), .. }) => CallState::EarlyMedia,
            CallPhase::Dialing(Dialing { rings: true, .. }) => CallState::Ringing,
            CallPhase::Dialing(_) => CallState::Dialing,
            CallPhase::Incoming { .. } => CallState::Incoming,
            CallPhase::Answering { .. } => CallState::Answering,
            CallPhase::Active => CallState::Active,
            CallPhase::Ended { cause } => CallState::Ended { cause: cause.clone() },
        }
    }

    pub fn hold_state(&self) -> HoldState {
        match (self.hold_agreed, self.wishes.held) {
            (false, false) => HoldState::None,
            (false, true) if self.hold_refused => HoldState::HeldHere,
            (false, true) => HoldState::Holding,
            (true, true) => HoldState::Held,
            (true, false) => HoldState::Resuming,
        }
    }

    pub fn want_held(&mut self, held: bool) {
        if self.wishes.held != held {
            self.wishes.held = held;
            self.hold_refused = false;
        }
    }

    pub fn is_ended(&self) -> bool {
        matches!(self.phase, CallPhase::Ended { .. })
    }

    pub fn is_active(&self) -> bool {
        matches!(self.phase, CallPhase::Active)
    }

    /// Neither ended nor waiting for the person to answer.
    pub fn is_in_progress(&self) -> bool {
        !matches!(self.phase, CallPhase::Ended { .. } | CallPhase::Incoming { .. })
    }

    /// The person speaks in this call, or is about to: it was answered and no hold is wanted.
    pub fn wants_to_talk(&self) -> bool {
        match self.phase {
            CallPhase::Answering { .. } => true,
            CallPhase::Active => !self.wishes.held,
            CallPhase::Dialing(_) | CallPhase::Incoming { .. } | CallPhase::Ended { .. } => false,
        }
    }

    /// The user agent knows this call.
    pub fn is_placed(&self) -> bool {
        match &self.phase {
            CallPhase::Dialing(dialing) => dialing.placed,
            _ => true,
        }
    }

    /// The person answered, and the page has not sent its description yet.
    pub fn is_awaiting_answer(&self) -> bool {
        matches!(self.phase, CallPhase::Answering { .. })
            && matches!(self.negotiation, Negotiation::MakingAnswer(_))
            && self.replaced_by.is_none()
    }

    /// The call rings again: the page that answered is gone or has no microphone.
    pub fn ring_again(&mut self) {
        if let CallPhase::Answering { offer } = &self.phase {
            let offer = offer.clone();
            self.phase = CallPhase::Incoming { offer };
            self.owner = Owner::Nobody;
            self.auto_answer = AutoAnswer::No;
            self.negotiation = Negotiation::Idle;
            self.ends.clear();
        }
    }

    /// The present dialog is being replaced, by us or by somebody else: its exchange counts no more.
    pub fn is_being_replaced(&self) -> bool {
        self.replacement.is_some() || self.replaced_by.is_some()
    }

    /// The far end is told that it is on hold, or cannot be told.
    pub fn is_settled_on_hold(&self) -> bool {
        matches!(self.hold_state(), HoldState::Held | HoldState::HeldHere)
            && matches!(self.negotiation, Negotiation::Idle)
            && !self.is_being_replaced()
    }

    /// What to offer next; `None` if nothing is wanted or an exchange is running.
    pub fn next_offer(&self) -> Option<OfferContent> {
        let hold_differs = self.wishes.held != self.hold_agreed && !self.hold_refused;
        let wanted = self.wishes.offer || self.wishes.restart_ice || hold_differs || !self.connection.is_described();
        let possible = self.is_active()
            && matches!(self.negotiation, Negotiation::Idle)
            && matches!(self.owner, Owner::Page(_))
            && (!self.detached || self.recovers);
        if !wanted || !possible {
            return None;
        }
        let held = self.wishes.held;
        Some(if self.connection.is_described() {
            let kind = if self.wishes.restart_ice { OfferKind::RestartIce } else { OfferKind::Current };
            OfferContent { held, kind, method: OfferMethod::Reinvite }
        } else {
            OfferContent { held, kind: OfferKind::NewConnection, method: self.pick_up.method() }
        })
    }

    /// The request for an offer with this content.
    pub fn offer_request(&self, content: OfferContent) -> MediaRequest {
        MediaRequest::Offer { direction: media_direction(content.held), kind: content.kind, codec: self.codec.clone() }
    }

    /// The request for the description that answers the far end's offer.
    pub fn answer_request(&self, offer: &RemoteOffer, held: bool) -> MediaRequest {
        // Somebody who takes the place of the far end knows nothing of the present connection.
        let is_new_endpoint = self.replaced_by.is_some();
        match offer {
            RemoteOffer::Description(offer) => {
                MediaRequest::Answer { offer: offer.clone(), direction: media_direction(held), is_new_endpoint }
            }
            RemoteOffer::OfferRequested => {
                let kind = if is_new_endpoint { OfferKind::NewConnection } else { OfferKind::Current };
                self.offer_request(OfferContent { held, kind, ..OfferContent::default() })
            }
        }
    }

    /// Whole seconds since the answer; 0 before it.
    pub fn duration(&self, now: Millis) -> u64 {
        self.answered_at.map_or(0, |answered| now.0.saturating_sub(answered.0) / 1_000)
    }

    pub fn next_timeout(&self) -> Option<Millis> {
        if self.is_ended() {
            return None;
        }
        let orphan = match self.owner {
            Owner::Orphan { until, .. } => Some(until),
            Owner::Nobody | Owner::Page(_) => None,
        };
        let voice = match self.voice {
            Voice::Closing { until, .. } => Some(until),
            Voice::Closed | Voice::Open { .. } => None,
        };
        let connection = if self.is_active() { self.connection.next_timeout() } else { None };
        let replacement = self.replacement.as_ref().map(|replacement| replacement.until);
        let replaced_by = self.replaced_by.as_ref().map(|replaced_by| replaced_by.until);
        let transfer = match &self.transfer {
            Some(Transfer::Holding(holding)) => Some(holding.until),
            _ => None,
        };
        let auto_answer = match (&self.phase, self.auto_answer) {
            (CallPhase::Incoming { .. }, AutoAnswer::At(at) | AutoAnswer::Due(at)) => Some(at),
            _ => None,
        };
        [
            auto_answer,
            orphan,
            voice,
            connection,
            replacement,
            replaced_by,
            transfer,
            self.handed_over,
            self.negotiation.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

/// The name, or the number without one.
fn shown_party(party: &RemoteParty) -> String {
    party.display_name.clone().unwrap_or_else(|| party.number.clone())
}

impl Owner {
    /// The page, also while it is gone and the call waits for another one.
    pub fn page(&self) -> Option<&str> {
        match self {
            Owner::Nobody => None,
            Owner::Page(page) | Owner::Orphan { page, .. } => Some(page),
        }
    }

    pub fn is(&self, page: &str) -> bool {
        self.page() == Some(page)
    }
}
