//! Calls: one INVITE session each, with all dialogs that forking creates.
//!
//! A call object outlives the call that the user sees. [`Event::Ended`] is emitted
//! at once. The object then finishes the signalling (a CANCEL that waits for a
//! provisional response, a 2xx that crosses it, a BYE after a reconnect) and is
//! removed after a time-out.

mod auto_answer;
mod caller_id;
mod connected_line;
mod dispatch;
mod identity;
mod incoming;
mod info;
mod kept;
mod message;
mod outgoing;
mod recovery;
mod redirection;
mod referral;
mod reinvite;
mod replaces;
mod session_timer;
mod termination;
mod transfer;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::context::{RequestRole, ServerRequest, TransactionUser, UaContext};
use super::interface::{CallId, EndCause, EndedBy, Event, Millis, OfferReason, RemoteParty};
use crate::dialog::Dialog;
use crate::request_template::RequestTemplate;
use crate::time::Timers;
use crate::transaction::{T1_MS, T2_MS, TRANSACTION_TIMEOUT_MS};
pub use kept::DialogRecord;
pub(super) use replaces::Replaced;

use caller_id::CallerId;
use referral::Referral;
use session_timer::SessionTimer;
use transfer::Transfer;

/// Time-out for the driver's reply to [`Event::Offer`]; then the offer is rejected.
const OFFER_ANSWER_TIMEOUT_MS: u64 = 20_000;

#[derive(Clone, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not states of one machine")]
pub(super) struct Call {
    pub(super) id: CallId,
    /// SIP Call-ID.
    pub(super) sip_call_id: String,
    pub(super) local_tag: String,
    /// We sent the INVITE and own the Call-ID (RFC 3261 §14.1).
    outgoing: bool,
    phase: CallPhase,
    /// Outgoing: a provisional response was received, 100 included.
    was_proceeding: bool,
    /// Outgoing: a redirection was followed. It is done once, so that redirections cannot go in circles.
    was_redirected: bool,
    /// Outgoing: Request-URIs to try where the server does not know the present one, the last one first.
    further_targets: Vec<String>,
    /// `Ended` has been emitted.
    end_reported: bool,
    /// Dialogs by remote tag, including early ones. An incoming call has exactly one.
    legs: Vec<Leg>,
    /// Index of the leg with the confirmed dialog.
    confirmed_leg: Option<usize>,
    offer_answer: OfferAnswer,
    /// An `OfferNeeded` to emit as soon as the current offer/answer exchange is finished.
    pending_offer: Option<OfferReason>,
    /// Our 2xx or reliable provisional response until its ACK or PRACK.
    retransmission: Option<Retransmission>,
    session_timer: SessionTimer,
    /// Outgoing: the caller ID that was asked for.
    caller_id: Option<CallerId>,
    /// The identity that the server asserted last.
    asserted: Option<RemoteParty>,
    /// Our transfer of the call.
    transfer: Option<Transfer>,
    /// The far end refers us to somebody else.
    referral: Option<Referral>,
    /// A REFER was received in the call.
    was_referred: bool,
    /// Outgoing: the last status of the INVITE; 200 once it is answered, a final one if it failed.
    invite_status: u16,
    /// INFOs to send, as (Content-Type, body).
    info_queue: VecDeque<(String, String)>,
    /// The connection was lost, and no re-INVITE has succeeded since.
    detached: bool,
    timers: Timers<CallTimer>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum CallPhase {
    /// Outgoing, no final response received.
    Calling {
        branch: String,
        cancel: CancelState,
    },
    /// Incoming, no final response sent.
    Ringing {
        pending: ServerRequest,
    },
    /// Incoming, 2xx sent, waiting for the ACK.
    Answered,
    Established,
    /// Waiting for the response to our BYE, or for a connection to send it.
    Ending {
        bye_sent: bool,
    },
    /// Ended; handles late messages until it is removed.
    Terminated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum CancelState {
    NotRequested,
    /// To be sent after the first provisional response (RFC 3261 §9.1) or on the next connection.
    Pending,
    Sent,
}

/// Offer and answer (RFC 3264, RFC 6337): at most one exchange at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum OfferAnswer {
    Idle,
    /// Our re-INVITE waits for its response.
    LocalOffer,
    /// The far end's re-INVITE or UPDATE waits for the driver.
    RemoteOffer {
        pending: ServerRequest,
        offered: bool,
    },
    /// We sent a 2xx, with our offer if `offered`; its ACK ends the exchange.
    AwaitingAck {
        offered: bool,
    },
    /// The 2xx to our INVITE without offer has an offer; the driver's answer goes into the ACK.
    DelayedOffer {
        cseq: u32,
    },
}

#[derive(Clone, Serialize, Deserialize)]
struct Leg {
    dialog: Dialog,
    /// SDP of the last provisional response.
    early_sdp: Option<String>,
    early_session: EarlySession,
    /// `RSeq` of the last reliable provisional response (RFC 3262): received, or sent and without PRACK yet.
    rseq: Option<u32>,
    /// The last ACK for a 2xx as (`CSeq` number, bytes).
    ack: Option<(u32, Vec<u8>)>,
}

/// The session of an early dialog that our INVITE created (RFC 6337 §2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum EarlySession {
    /// Our offer has no final answer: one without PRACK may still change.
    #[default]
    Offered,
    /// A reliable provisional response had the answer. The far end may send an offer by UPDATE (RFC 3311 §5.2).
    Answered,
    /// The far end has sent such an offer. The descriptions in later responses to the INVITE are outdated.
    Changed,
}

/// A response that we retransmit: a 2xx until its ACK (RFC 3261 §13.3.1.4) or a reliable provisional response until its PRACK (RFC 3262 §3).
#[derive(Clone, Serialize, Deserialize)]
struct Retransmission {
    cseq: u32,
    bytes: Vec<u8>,
    interval_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum CallTimer {
    /// The call was not answered in time.
    Ring,
    /// Retransmit our 2xx.
    Retransmit2xx,
    /// No ACK was received.
    AckTimeout,
    /// The driver did not reply to an offer.
    AnswerTimeout,
    /// Offer again after glare (RFC 3261 §14.1).
    Glare,
    /// Request the recovery offer again.
    RecoveryRetry,
    /// The signalling was not restored in time.
    RecoveryTimeout,
    /// Send the session refresh.
    SessionRefresh,
    /// The far end did not refresh the session.
    SessionExpiry,
    /// Retransmit our reliable provisional response.
    RetransmitProvisional,
    /// Send the REFER again, or give up on its result.
    Transfer,
    /// The driver did not reply to a referral.
    Referral,
    /// Remove the call object.
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
            was_proceeding: false,
            was_redirected: false,
            further_targets: Vec::new(),
            end_reported: false,
            legs: Vec::new(),
            confirmed_leg: None,
            offer_answer: OfferAnswer::Idle,
            pending_offer: None,
            retransmission: None,
            session_timer: SessionTimer::default(),
            caller_id: None,
            asserted: None,
            transfer: None,
            referral: None,
            was_referred: false,
            invite_status: 100,
            info_queue: VecDeque::new(),
            detached: false,
            timers: Timers::default(),
        }
    }

    /// `Ended` was not emitted yet: the call exists for the user.
    pub(super) fn is_active(&self) -> bool {
        !self.end_reported
    }

    /// Nothing is to be sent or awaited any more, except retransmissions.
    pub(super) fn is_over(&self) -> bool {
        self.phase == CallPhase::Terminated
    }

    /// Its signalling connection was lost and is not restored.
    pub(super) fn is_detached(&self) -> bool {
        self.detached
    }

    /// The call object can be removed.
    pub(super) fn is_finished(&self) -> bool {
        self.end_reported && self.phase == CallPhase::Terminated && self.timers.next().is_none()
    }

    pub(super) fn deadline(&self) -> Option<Millis> {
        self.timers.next()
    }

    fn leg(&mut self) -> Option<&mut Leg> {
        self.legs.get_mut(self.confirmed_leg?)
    }

    fn leg_of(&mut self, remote_tag: &str) -> Option<&mut Leg> {
        self.legs.iter_mut().find(|leg| leg.dialog.remote_tag == remote_tag)
    }

    fn owner(&self, role: RequestRole) -> TransactionUser {
        TransactionUser::Call { call: self.id.clone(), role }
    }

    /// A request in the confirmed dialog; INVITE and UPDATE get `Contact`, `Allow` and `Supported`.
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

    /// Emits `Ended`, at most once.
    fn report_end(&mut self, context: &mut UaContext, by: EndedBy, text: &str, sip_code: Option<u16>) {
        if self.end_reported {
            return;
        }
        self.end_reported = true;
        self.transfer = None;
        self.note_failed_invite(by, sip_code);
        context.emit(Event::Ended { call: self.id.clone(), cause: EndCause { by, text: text.into(), sip_code } });
    }

    /// Ends the signalling. The object is kept for a while to handle messages in flight.
    fn terminate(&mut self, now: Millis) {
        self.phase = CallPhase::Terminated;
        self.offer_answer = OfferAnswer::Idle;
        self.retransmission = None;
        self.pending_offer = None;
        self.info_queue.clear();
        self.timers.clear_all();
        self.timers.set(CallTimer::Removal, now.plus(TRANSACTION_TIMEOUT_MS));
    }

    pub(super) fn on_tick(&mut self, context: &mut UaContext, now: Millis) -> bool {
        let Some(timer) = self.timers.take_due(now) else {
            return false;
        };
        match timer {
            CallTimer::Ring => self.on_ring_timeout(context, now),
            CallTimer::Retransmit2xx => self.retransmit_2xx(context, now),
            CallTimer::AckTimeout => self.on_ack_timeout(context, now),
            CallTimer::AnswerTimeout => self.on_answer_timeout(context, now),
            CallTimer::Glare => self.request_offer(context, OfferReason::Glare),
            CallTimer::RecoveryRetry => self.recover(context, now),
            CallTimer::RecoveryTimeout => self.on_recovery_timeout(context, now),
            CallTimer::SessionRefresh => self.refresh(context, now),
            CallTimer::SessionExpiry => self.on_expired(context, now),
            CallTimer::RetransmitProvisional => self.retransmit_provisional(context, now),
            CallTimer::Transfer => self.on_transfer_timer(context, now),
            CallTimer::Referral => self.on_referral_timeout(context, now),
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

    /// Stores a 2xx for retransmission until its ACK.
    fn retransmit_until_ack(&mut self, cseq: u32, bytes: Vec<u8>, now: Millis) {
        self.retransmission = Some(Retransmission { cseq, bytes, interval_ms: T1_MS });
        self.timers.set(CallTimer::Retransmit2xx, now.plus(T1_MS));
        self.timers.set(CallTimer::AckTimeout, now.plus(TRANSACTION_TIMEOUT_MS));
    }

    fn retransmit_2xx(&mut self, context: &mut UaContext, now: Millis) {
        if let Some(retransmission) = &mut self.retransmission {
            context.send(retransmission.bytes.clone());
            retransmission.interval_ms = (retransmission.interval_ms * 2).min(T2_MS);
            self.timers.set(CallTimer::Retransmit2xx, now.plus(retransmission.interval_ms));
        }
    }

    /// No ACK was received: the session is ended by BYE (RFC 3261 §13.3.1.4, §14.2).
    fn on_ack_timeout(&mut self, context: &mut UaContext, now: Millis) {
        self.retransmission = None;
        self.timers.clear(CallTimer::Retransmit2xx);
        self.report_end(context, EndedBy::Network, "No acknowledgement", None);
        self.end_established(context, now);
    }

    /// The ACK for our 2xx.
    pub(super) fn on_ack(&mut self, context: &mut UaContext, cseq: u32, sdp: Option<String>, now: Millis) {
        if self.retransmission.as_ref().is_none_or(|retransmission| retransmission.cseq != cseq) {
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
                    // Hung up before the ACK: the BYE is allowed only now (RFC 3261 §15).
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
                        None => Event::ReinviteRefused { call, status: 488, will_retry: false },
                    });
                }
                self.start_pending_offer(context);
            }
            _ => {}
        }
    }
}
