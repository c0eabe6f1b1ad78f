//! One call: the snapshot that pages get, and the state of its offer/answer exchange.
//!
//! At most one exchange runs at a time (RFC 3264 §4). Changes requested during an
//! exchange (hold, resume, an ICE restart, a new offer after a reload) are stored in
//! the `want_*` fields. The next offer is made from their values at that time.

use bitcall_sip::ua::Millis;
use bitcall_wire::agent_protocol::{CallSnapshot, CallState, HoldState, MediaDirection, MediaRequest, OfferKind};

/// Time for a page to make an offer within a call. The user agent waits equally long for an answer of the page.
pub const OFFER_TIMEOUT_MS: u64 = 20_000;

/// Purpose of a media request. It is stored under the number of the request, which the reply repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestPurpose {
    /// The offer of an outgoing call.
    InitialOffer,
    /// The description that answers an incoming call: an answer, or an offer if its INVITE had none.
    InitialAnswer,
    /// An offer of ours within the call.
    LocalOffer,
    /// The description that answers a re-INVITE of the far end: an answer, or an offer if it had none.
    RemoteOffer,
    /// Apply a provisional answer. A failure is only logged.
    ProvisionalAnswer,
    /// Apply a final answer.
    FinalAnswer,
    /// Roll back or close. A failure is only logged.
    RollBack,
}

/// State of the offer/answer exchange (RFC 3264).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MediaNegotiation {
    #[default]
    Idle,
    /// The page is making an offer.
    CreatingOffer { held: bool, restart: bool, until: Millis },
    /// Our offer is sent and not answered yet.
    OfferSent { held: bool, restart: bool },
    /// The page is making the answer to the far end's offer.
    AnsweringRemote,
    /// Our offer was refused with 491 (RFC 3261 §14.1): the user agent reports when to offer again.
    AwaitingRetry,
}

/// An unanswered offer of the far end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteOffer {
    Description(String),
    /// An INVITE without a body: the far end requests our offer (RFC 3261 §13.2.1).
    OfferRequested,
}

impl From<Option<String>> for RemoteOffer {
    fn from(sdp: Option<String>) -> RemoteOffer {
        sdp.map_or(RemoteOffer::OfferRequested, RemoteOffer::Description)
    }
}

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent flags, not states of one machine")]
pub struct CallEntry {
    pub call: CallSnapshot,
    /// The target of the INVITE.
    pub target: String,
    /// The user agent knows this call.
    pub placed: bool,
    /// The far end's offer until it is answered.
    pub offer: Option<RemoteOffer>,
    pub negotiation: MediaNegotiation,
    /// Hold as agreed with the far end.
    pub held: bool,
    /// Hold as requested by the person.
    pub want_held: bool,
    pub want_offer: bool,
    pub want_restart: bool,
    /// Another page took the call over during the running exchange. The result of
    /// the exchange is ignored, because that page did not take part in it.
    pub negotiation_is_stale: bool,
    /// A page took the call over and the far end has not agreed to it yet.
    pub resuming: bool,
    /// The page could not use the final answer, and a new connection was made. This is done once.
    pub connection_replaced: bool,
    /// The page is gone. The call ends at this time unless a page takes it over.
    pub orphan_until: Option<Millis>,
    /// ICE is disconnected, and is restarted at this time.
    pub restart_at: Option<Millis>,
    /// ICE restarts since ICE was last connected.
    pub restarts: u32,
    /// Pages that got `CallIncoming` for this call and not yet `CallEnded`.
    pub notified: Vec<String>,
    /// Set to a higher value each time the person selects the call: the highest is the active call.
    pub focus: u64,
    open_requests: Vec<(u32, RequestPurpose)>,
}

impl CallEntry {
    pub fn new(call: CallSnapshot, target: String, placed: bool) -> CallEntry {
        CallEntry {
            call,
            target,
            placed,
            offer: None,
            negotiation: MediaNegotiation::Idle,
            held: false,
            want_held: false,
            want_offer: false,
            want_restart: false,
            negotiation_is_stale: false,
            resuming: false,
            connection_replaced: false,
            orphan_until: None,
            restart_at: None,
            restarts: 0,
            notified: Vec::new(),
            focus: 0,
            open_requests: Vec::new(),
        }
    }

    pub fn open_request(&mut self, request_id: u32, purpose: RequestPurpose) {
        self.open_requests.push((request_id, purpose));
    }

    /// Closes the request and returns its purpose; `None` if it is not open.
    pub fn close_request(&mut self, request_id: u32) -> Option<RequestPurpose> {
        let index = self.open_requests.iter().position(|(open, _)| *open == request_id)?;
        Some(self.open_requests.remove(index).1)
    }

    /// The person answered, and the page has not sent its description yet.
    pub fn is_awaiting_answer(&self) -> bool {
        self.open_requests.iter().any(|(_, purpose)| *purpose == RequestPurpose::InitialAnswer)
    }

    /// Closes the requests of this purpose: their replies will be ignored.
    pub fn discard_requests(&mut self, purpose: RequestPurpose) {
        self.open_requests.retain(|(_, open)| *open != purpose);
    }

    pub fn discard_all_requests(&mut self) {
        self.open_requests.clear();
    }

    /// The next offer to request from the page; `None` if none is wanted or an exchange is running.
    pub fn next_offer(&mut self, now: Millis) -> Option<MediaRequest> {
        let wanted = self.want_offer || self.want_restart || self.want_held != self.held;
        if !wanted
            || self.call.state != CallState::Active
            || self.negotiation != MediaNegotiation::Idle
            || self.orphan_until.is_some()
            || self.call.page.is_none()
            || self.call.detached
        {
            return None;
        }
        let restart = std::mem::take(&mut self.want_restart);
        self.want_offer = false;
        self.negotiation =
            MediaNegotiation::CreatingOffer { held: self.want_held, restart, until: now.plus(OFFER_TIMEOUT_MS) };
        let kind = if restart { OfferKind::RestartIce } else { OfferKind::Current };
        Some(MediaRequest::Offer { direction: media_direction(self.want_held), kind })
    }

    /// Our offer was interrupted, not refused: an ICE restart that it contained is wanted again.
    pub fn restore_wanted_restart(&mut self) {
        if let MediaNegotiation::CreatingOffer { restart, .. } | MediaNegotiation::OfferSent { restart, .. } =
            self.negotiation
        {
            self.want_restart |= restart;
        }
    }

    /// Derives the hold state of the snapshot from `held` and `want_held`.
    pub fn update_hold_state(&mut self) {
        self.call.hold = match (self.held, self.want_held) {
            (false, false) => HoldState::None,
            (false, true) => HoldState::Holding,
            (true, true) => HoldState::Held,
            (true, false) => HoldState::Resuming,
        };
    }

    pub fn is_ended(&self) -> bool {
        matches!(self.call.state, CallState::Ended { .. })
    }

    /// Neither ended nor waiting for the person to answer.
    pub fn is_in_progress(&self) -> bool {
        !self.is_ended() && self.call.state != CallState::Incoming
    }

    /// Whole seconds since the answer; 0 before it.
    pub fn duration(&self, now: Millis) -> u64 {
        self.call.answered_at.map_or(0, |answered| now.0.saturating_sub(answered) / 1_000)
    }

    pub fn next_timeout(&self) -> Option<Millis> {
        let offer = match self.negotiation {
            MediaNegotiation::CreatingOffer { until, .. } => Some(until),
            _ => None,
        };
        [offer, self.orphan_until, self.restart_at].into_iter().flatten().min()
    }
}

/// A call on hold is offered as `sendonly` (RFC 3264 §8.4).
pub fn media_direction(held: bool) -> MediaDirection {
    if held { MediaDirection::SendOnly } else { MediaDirection::SendRecv }
}
