//! The offer/answer exchange of one call (RFC 3264): at most one at a time, the initial one included.
//!
//! Every state that waits for a page has the number of the request that the page must answer, so that
//! a late reply fits no state. Each state ends by a reply of the page, an event of the user agent or a
//! time-out. What is wanted while an exchange runs is kept in [`Wishes`] and offered by the next one.

use bitcall_sip::ua::Millis;
use bitcall_wire::agent_protocol::{MediaDirection, OfferKind};

/// State of the exchange.
#[derive(Debug, Default)]
pub enum Negotiation {
    #[default]
    Idle,
    MakingOffer(MakingOffer),
    OfferSent(OfferSent),
    ApplyingAnswer(ApplyingAnswer),
    MakingAnswer(MakingAnswer),
    /// Our offer could not be sent now (491, lost connection): the user agent reports when to offer again.
    AwaitingRetry,
}

/// The page is making our offer.
#[derive(Debug)]
pub struct MakingOffer {
    pub request: u32,
    pub content: OfferContent,
    pub until: Millis,
}

/// Our offer is sent and not answered yet. The user agent has the time-out.
#[derive(Debug)]
pub struct OfferSent {
    pub content: OfferContent,
}

/// The page is applying the far end's answer.
#[derive(Debug)]
pub struct ApplyingAnswer {
    pub request: u32,
    pub until: Millis,
}

/// The page is making the description that answers the far end's offer. The user agent has the time-out.
#[derive(Debug)]
pub struct MakingAnswer {
    /// `None` while no page owns the call.
    pub request: Option<u32>,
    pub offer: RemoteOffer,
    /// The description is requested with the direction of a held call.
    pub held: bool,
}

/// What an offer of ours proposes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OfferContent {
    pub held: bool,
    pub kind: OfferKind,
    pub method: OfferMethod,
}

/// The request that carries an offer within a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OfferMethod {
    #[default]
    Reinvite,
    /// A new INVITE that replaces the dialog (RFC 3891).
    Replaces,
}

/// An unanswered offer of the far end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteOffer {
    Description(String),
    /// An INVITE without a body: the far end requests our offer (RFC 3261 §13.2.1).
    OfferRequested,
}

/// What the next offer must contain, besides a new connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The person, or another call, wants this call on hold.
    pub held: bool,
    /// An offer is wanted even if nothing changes (session refresh, retry).
    pub offer: bool,
    pub restart_ice: bool,
}

impl Negotiation {
    /// Forgets the exchange. An offer of ours that has no answer is wished again.
    pub fn interrupt(&mut self, wishes: &mut Wishes) {
        match std::mem::take(self) {
            Negotiation::MakingOffer(MakingOffer { content, .. }) | Negotiation::OfferSent(OfferSent { content }) => {
                wishes.repeat(content);
            }
            Negotiation::Idle
            | Negotiation::ApplyingAnswer(_)
            | Negotiation::MakingAnswer(_)
            | Negotiation::AwaitingRetry => {}
        }
    }

    pub fn deadline(&self) -> Option<Millis> {
        match self {
            Negotiation::MakingOffer(making) => Some(making.until),
            Negotiation::ApplyingAnswer(applying) => Some(applying.until),
            _ => None,
        }
    }
}

impl MakingAnswer {
    /// The description is sent. If the far end requested an offer, it answers it now.
    pub fn sent(self) -> Negotiation {
        match self.offer {
            RemoteOffer::Description(_) => Negotiation::Idle,
            RemoteOffer::OfferRequested => {
                let content = OfferContent { held: self.held, ..OfferContent::default() };
                Negotiation::OfferSent(OfferSent { content })
            }
        }
    }
}

impl Wishes {
    /// An offer with this content was interrupted, not refused. Hold needs no repetition: it is wished
    /// until it is agreed.
    pub fn repeat(&mut self, content: OfferContent) {
        self.offer = true;
        self.restart_ice |= content.kind == OfferKind::RestartIce;
    }
}

impl From<Option<String>> for RemoteOffer {
    fn from(sdp: Option<String>) -> RemoteOffer {
        sdp.map_or(RemoteOffer::OfferRequested, RemoteOffer::Description)
    }
}

/// A call on hold is offered as `sendonly` (RFC 3264 §8.4).
pub fn media_direction(held: bool) -> MediaDirection {
    if held { MediaDirection::SendOnly } else { MediaDirection::SendRecv }
}
