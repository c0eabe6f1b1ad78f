//! One call: what pages see of it, and the state of its offer/answer exchange.
//!
//! At most one exchange is under way at a time (RFC 3264 §4). What is wanted
//! meanwhile (hold, resume, an ICE restart, a fresh offer after a reload) is
//! remembered, and the next offer is made from what is wanted when it is made.

use bitcall_sip::ua::Millis;
use bitcall_wire::agent_protocol::{CallSnapshot, CallState, HoldState, MediaDirection, MediaRequest};

/// A page has this long to make an offer within a call; the far end's patience is 20 s too.
pub const OFFER_TIMEOUT_MS: u64 = 20_000;

/// What a request to the page is for. Replies find it by the request's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestPurpose {
    /// Offer of an outgoing call.
    InitialOffer,
    /// Answer to (or offer for) an incoming one.
    InitialAnswer,
    /// Our offer within the call.
    LocalOffer,
    /// Answer to (or the offer asked for by) the far end's offer within the call.
    RemoteOffer,
    /// A provisional answer, which may fail without harm.
    ProvisionalAnswer,
    /// A final answer.
    FinalAnswer,
    RollBack,
}

/// State of the offer/answer exchange (RFC 3264).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MediaNegotiation {
    #[default]
    Idle,
    /// The page is making an offer.
    CreatingOffer { held: bool, restart: bool, until: Millis },
    /// Our offer is with the far end.
    OfferSent { held: bool, restart: bool },
    /// Our page answers the far end's offer.
    AnsweringRemote,
    /// Both offered at once (491): the user agent tells when it is our turn again.
    AwaitingRetry,
}

/// An offer of the far end that is not answered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteOffer {
    Description(String),
    /// An INVITE without a body: the far end asks for our offer (RFC 3261 §13.2.1).
    OfferRequested,
}

impl From<Option<String>> for RemoteOffer {
    fn from(sdp: Option<String>) -> RemoteOffer {
        sdp.map_or(RemoteOffer::OfferRequested, RemoteOffer::Description)
    }
}

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent wishes, not states of one machine")]
pub struct CallEntry {
    pub call: CallSnapshot,
    /// What the user agent calls.
    pub target: String,
    /// The user agent knows this call.
    pub placed: bool,
    /// The far end's offer, while it is not answered.
    pub offer: Option<RemoteOffer>,
    pub negotiation: MediaNegotiation,
    /// Agreed with the far end.
    pub held: bool,
    /// What the person wants.
    pub want_held: bool,
    pub want_offer: bool,
    pub want_restart: bool,
    /// The page that holds the media now did not take part in the exchange that
    /// is under way, so its result is void.
    pub negotiation_is_stale: bool,
    /// A page took the call over and the far end has not agreed to it yet.
    pub resuming: bool,
    /// A new connection was tried after the final answer did not fit the old one.
    pub connection_replaced: bool,
    /// The page is gone; another one may take over until then.
    pub orphan_until: Option<Millis>,
    /// ICE is disconnected; restart it when it still is by then.
    pub restart_at: Option<Millis>,
    /// ICE restarts since it was last connected.
    pub restarts: u32,
    /// Pages that were told that this call comes in, and not yet that it is over for them.
    pub notified: Vec<String>,
    /// Grows with the person's attention: the call with the highest is the active one.
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

    pub fn open_request(&mut self, request: u32, purpose: RequestPurpose) {
        self.open_requests.push((request, purpose));
    }

    /// Closes the request and tells what it was for; `None` when nobody waits for it any more.
    pub fn close_request(&mut self, request: u32) -> Option<RequestPurpose> {
        let index = self.open_requests.iter().position(|(open, _)| *open == request)?;
        Some(self.open_requests.remove(index).1)
    }

    /// The person answered, but the page's description is not there yet.
    pub fn is_awaiting_answer(&self) -> bool {
        self.open_requests.iter().any(|(_, purpose)| *purpose == RequestPurpose::InitialAnswer)
    }

    /// Replies to requests of this kind are void from now on.
    pub fn discard_requests(&mut self, purpose: RequestPurpose) {
        self.open_requests.retain(|(_, open)| *open != purpose);
    }

    pub fn discard_all_requests(&mut self) {
        self.open_requests.clear();
    }

    /// The next offer of ours, if it is wanted and its turn has come.
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
        Some(MediaRequest::Offer { flow: media_direction(self.want_held), restart_ice: restart })
    }

    /// Our offer that is under way came to nothing by no fault of its own: what
    /// it was to bring about is wanted again.
    pub fn restore_wanted_restart(&mut self) {
        if let MediaNegotiation::CreatingOffer { restart, .. } | MediaNegotiation::OfferSent { restart, .. } =
            self.negotiation
        {
            self.want_restart |= restart;
        }
    }

    /// Brings what pages see of hold up to date.
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

    /// The person is in this call, or about to be.
    pub fn is_in_progress(&self) -> bool {
        !self.is_ended() && self.call.state != CallState::Incoming
    }

    /// Whole seconds since the answer.
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

/// A call on hold is `sendonly` (RFC 3264 §8.4).
pub fn media_direction(held: bool) -> MediaDirection {
    if held { MediaDirection::SendOnly } else { MediaDirection::SendRecv }
}
