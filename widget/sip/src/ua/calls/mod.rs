//! Calls: one INVITE session each, with all the dialogs it may fork into.
//!
//! A call lives longer than the person sees it. [`Event::Ended`] is emitted at
//! once; what is left (a CANCEL that waits for a provisional response, a 2xx
//! that crosses it, a BYE to be sent once the connection is back) is done
//! by the same object, which then disappears on its own time limit.

mod dispatch;
mod incoming;
mod info;
mod outgoing;
mod recovery;
mod reinvite;
mod session_timer;
mod termination;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::context::{RequestRole, ServerRequest, TransactionUser, UaContext};
use super::interface::{CallId, EndCause, EndedBy, Event, Millis, OfferReason};
use crate::dialog::Dialog;
use crate::request_template::RequestTemplate;
use crate::time::Timers;
use crate::transaction::{T1_MS, T2_MS, TRANSACTION_TIMEOUT_MS};
use session_timer::SessionTimer;

/// Time the driver has to answer [`Event::Offer`], in milliseconds; then the offer is refused.
const OFFER_ANSWER_TIMEOUT_MS: u64 = 20_000;

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Call {
    pub(super) id: CallId,
    /// SIP Call-ID.
    pub(super) sip_call_id: String,
    pub(super) local_tag: String,
    /// We sent the INVITE and chose the Call-ID.
    outgoing: bool,
    phase: CallPhase,
    /// `Ended` has been emitted.
    end_reported: bool,
    /// Dialogs by remote tag, early ones included; a called one has exactly one.
    legs: Vec<Leg>,
    /// Index of the leg that was answered.
    confirmed_leg: Option<usize>,
    offer_answer: OfferAnswer,
    /// The driver wants to offer, or must be asked to, as soon as the exchange is over.
    pending_offer: Option<OfferReason>,
    /// Our 2xx until its ACK comes.
    retransmission: Option<Retransmission>,
    session_timer: SessionTimer,
    info_queue: VecDeque<(String, String)>,
    /// Without signalling since the connection broke; a re-INVITE proves that it is back.
    detached: bool,
    timers: Timers<CallTimer>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum CallPhase {
    /// Outgoing, no final response.
    Calling {
        branch: String,
        cancel: CancelState,
    },
    /// Incoming, no final response of ours.
    Ringing {
        pending: ServerRequest,
    },
    /// Incoming, our 2xx waits for its ACK.
    Answered,
    Established,
    /// A BYE is under way, or waits for a connection.
    Ending {
        bye_sent: bool,
    },
    /// Only here for what may still come in.
    Terminated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum CancelState {
    NotRequested,
    /// To be sent after the first provisional response (RFC 3261 §9.1), or on the next connection.
    Pending,
    Sent,
}

/// Offer and answer (RFC 3264, RFC 6337): at most one exchange at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum OfferAnswer {
    Idle,
    /// Our re-INVITE is pending.
    LocalOffer,
    /// The far end's re-INVITE or UPDATE waits for the driver.
    RemoteOffer {
        pending: ServerRequest,
        offered: bool,
    },
    /// Our 2xx is out, with an offer of ours if `offered`; its ACK ends the exchange.
    AwaitingAck {
        offered: bool,
    },
    /// The 2xx to our INVITE without offer carried one; the ACK waits for the driver.
    DelayedOffer {
        cseq: u32,
    },
}

#[derive(Clone, Serialize, Deserialize)]
struct Leg {
    dialog: Dialog,
    /// The last provisional answer.
    early_sdp: Option<String>,
    /// Last reliable provisional response (RFC 3262): the far end's, or ours that has no PRACK yet.
    rseq: Option<u32>,
    /// The last ACK for a 2xx, and the INVITE's number.
    ack: Option<(u32, Vec<u8>)>,
}

/// A 2xx of ours that is repeated until the ACK comes (RFC 3261 §13.3.1.4).
#[derive(Clone, Serialize, Deserialize)]
struct Retransmission {
    cseq: u32,
    bytes: Vec<u8>,
    interval_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum CallTimer {
    /// It rang long enough.
    Ring,
    /// Repeat our 2xx.
    Retransmit2xx,
    /// No ACK came.
    AckTimeout,
    /// The driver did not answer an offer.
    AnswerTimeout,
    /// Our turn to offer again (RFC 3261 §14.1).
    Glare,
    /// Ask for the recovering offer again.
    RecoveryRetry,
    /// Without signalling for too long.
    RecoveryTimeout,
    /// Send the session refresh.
    SessionRefresh,
    /// The far end did not refresh the session.
    SessionExpiry,
    /// Repeat our reliable provisional response.
    RetransmitProvisional,
    /// Forget the call.
    Removal,
}

impl Call {
    fn new(id: CallId, sip_call_id: String, local_tag: String, phase: CallPhase) -> Self {
        Self {
            id,
            sip_call_id,
            local_tag,
            outgoing: false,
            phase,
            end_reported: false,
            legs: Vec::new(),
            confirmed_leg: None,
            offer_answer: OfferAnswer::Idle,
            pending_offer: None,
            retransmission: None,
            session_timer: SessionTimer::default(),
            info_queue: VecDeque::new(),
            detached: false,
            timers: Timers::default(),
        }
    }

    /// The person still sees it.
    pub(super) fn is_active(&self) -> bool {
        !self.end_reported
    }

    /// Nothing will happen to it any more.
    pub(super) fn is_finished(&self) -> bool {
        self.end_reported && self.phase == CallPhase::Terminated && self.timers.next().is_none()
    }

    pub(super) fn deadline(&self) -> Option<Millis> {
        self.timers.next()
    }

    fn leg(&mut self) -> Option<&mut Leg> {
        self.legs.get_mut(self.confirmed_leg?)
    }

    fn owner(&self, role: RequestRole) -> TransactionUser {
        TransactionUser::Call { call: self.id.clone(), role }
    }

    /// A request in the answered dialog, with our Contact.
    fn template(&mut self, context: &UaContext, method: &str) -> Option<RequestTemplate> {
        let leg = self.leg()?;
        let mut template = leg.dialog.request(method);
        if matches!(method, "INVITE" | "UPDATE") {
            template = template
                .with("Contact", &context.contact())
                .with("Allow", super::context::ALLOW)
                .with("Supported", super::context::SUPPORTED);
        }
        Some(template)
    }

    /// Tells the end, once.
    fn report_end(&mut self, context: &mut UaContext, by: EndedBy, words: &str, sip_code: Option<u16>) {
        if self.end_reported {
            return;
        }
        self.end_reported = true;
        context.emit(Event::Ended { call: self.id.clone(), cause: EndCause { by, words: words.into(), sip_code } });
    }

    /// Nothing more to send. Stays a while for messages that were on their way.
    fn terminate(&mut self, now: Millis) {
        self.phase = CallPhase::Terminated;
        self.offer_answer = OfferAnswer::Idle;
        self.retransmission = None;
        self.pending_offer = None;
        self.info_queue.clear();
        self.timers.clear_all();
        self.timers.set(CallTimer::Removal, now.plus(TRANSACTION_TIMEOUT_MS));
    }

    pub(super) fn on_time(&mut self, context: &mut UaContext, now: Millis) -> bool {
        let Some(timer) = self.timers.due(now) else {
            return false;
        };
        match timer {
            CallTimer::Ring => self.on_ring_timeout(context, now),
            CallTimer::Retransmit2xx => self.retransmit_2xx(context, now),
            CallTimer::AckTimeout => self.on_ack_timeout(context, now),
            CallTimer::AnswerTimeout => self.on_answer_timeout(context, now),
            CallTimer::Glare => self.request_offer(context, OfferReason::Glare),
            CallTimer::RecoveryRetry => self.recover(context, now),
            CallTimer::RecoveryTimeout => self.give_up(context, now),
            CallTimer::SessionRefresh => self.refresh(context, now),
            CallTimer::SessionExpiry => self.on_expired(context, now),
            CallTimer::RetransmitProvisional => self.retransmit_provisional(context, now),
            CallTimer::Removal => {
                if matches!(self.phase, CallPhase::Ringing { .. }) {
                    self.refuse_call(context, 480, EndedBy::Network, "Connection lost", now);
                }
                self.phase = CallPhase::Terminated;
                self.timers.clear_all();
            }
        }
        true
    }

    /// Keeps a 2xx to repeat it until its ACK comes.
    fn retransmit_until_ack(&mut self, cseq: u32, bytes: Vec<u8>, now: Millis) {
        self.retransmission = Some(Retransmission { cseq, bytes, interval_ms: T1_MS });
        self.timers.set(CallTimer::Retransmit2xx, now.plus(T1_MS));
        self.timers.set(CallTimer::AckTimeout, now.plus(TRANSACTION_TIMEOUT_MS));
    }

    fn retransmit_2xx(&mut self, context: &mut UaContext, now: Millis) {
        if let Some(accepted) = &mut self.retransmission {
            context.send(accepted.bytes.clone());
            accepted.interval_ms = (accepted.interval_ms * 2).min(T2_MS);
            self.timers.set(CallTimer::Retransmit2xx, now.plus(accepted.interval_ms));
        }
    }

    /// The far end never acknowledged: the session is not one (RFC 3261 §13.3.1.4, §14.2).
    fn on_ack_timeout(&mut self, context: &mut UaContext, now: Millis) {
        self.retransmission = None;
        self.timers.clear(CallTimer::Retransmit2xx);
        self.report_end(context, EndedBy::Network, "No acknowledgement", None);
        self.end_established(context, now);
    }

    /// The far end's ACK for a 2xx of ours.
    pub(super) fn on_ack(&mut self, context: &mut UaContext, cseq: u32, sdp: Option<String>, now: Millis) {
        if self.retransmission.as_ref().is_none_or(|accepted| accepted.cseq != cseq) {
            return;
        }
        self.retransmission = None;
        self.timers.clear(CallTimer::Retransmit2xx);
        self.timers.clear(CallTimer::AckTimeout);
        let offered = self.offer_answer == OfferAnswer::AwaitingAck { offered: true };
        self.offer_answer = OfferAnswer::Idle;
        match self.phase {
            CallPhase::Answered => {
                self.phase = CallPhase::Established;
                if self.end_reported {
                    // Hung up before the ACK: only now may the BYE go (RFC 3261 §15).
                    self.end_established(context, now);
                    return;
                }
                if offered && sdp.is_none() {
                    self.report_end(context, EndedBy::Remote, "No common audio format", None);
                    self.end_established(context, now);
                    return;
                }
                context.emit(Event::Confirmed { call: self.id.clone(), sdp: sdp.filter(|_| offered) });
                self.start_pending_offer(context);
            }
            CallPhase::Established => {
                if offered {
                    let call = self.id.clone();
                    context.emit(match sdp {
                        Some(sdp) => Event::ReinviteAccepted { call, sdp },
                        None => Event::ReinviteRefused { call, status: 488, again: false },
                    });
                }
                self.start_pending_offer(context);
            }
            _ => {}
        }
    }
}
