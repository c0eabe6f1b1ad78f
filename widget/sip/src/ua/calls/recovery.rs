//! A call after a lost connection: unanswered calls end; answered ones send a re-INVITE
//! with an ICE restart on the next connection. A server may send the INVITE of an incoming call again over
//! that connection; it rings then as a new call.

use super::super::context::UaContext;
use super::super::interface::{EndedBy, Event, Millis, OfferReason};
use super::{Call, CallPhase, CallTimer, CancelState, OfferAnswer};
use crate::transaction::ServerKey;

/// Interval of requests for the recovery offer.
const RECOVERY_RETRY_INTERVAL_MS: u64 = 15_000;
/// Time for a server to send the INVITE of a lost incoming call again, after our REGISTER. Then it is refused.
const INVITE_AGAIN_TIMEOUT_MS: u64 = 3_000;

impl Call {
    pub(in super::super) fn on_transport_lost(&mut self, context: &mut UaContext, now: Millis) {
        let limit = now.plus(context.config.timers.recovery_timeout_ms);
        match &mut self.phase {
            CallPhase::Calling { branch, cancel } => {
                // The far end may still ring: a CANCEL on the next connection stops it.
                *cancel = CancelState::Pending;
                if let Some(client) = context.client_request(branch, "INVITE")
                    && !self.end_reported
                {
                    client.transaction.time_out_at(limit);
                }
                self.timers.clear(CallTimer::Ring);
                self.report_end(context, EndedBy::Network, "Connection lost", None);
            }
            CallPhase::Ringing { .. } if !self.end_reported => {
                // A CANCEL could not reach us any more, so stop ringing.
                self.timers.clear_all();
                self.timers.set(CallTimer::Removal, limit);
                self.report_end(context, EndedBy::Network, "Connection lost", None);
            }
            CallPhase::Answered | CallPhase::Established => self.detach(context, limit, now),
            // The removal time-out is not extended: repeated connection losses do not keep the object alive.
            CallPhase::Ending { bye_sent } => *bye_sent = false,
            CallPhase::Ringing { .. } | CallPhase::Terminated => {}
        }
    }

    /// The transaction of this incoming call, if the call was lost with its connection while it rang.
    pub(in super::super) fn lost_while_ringing(&self, call_id: &str, remote_tag: &str) -> Option<&ServerKey> {
        match &self.phase {
            CallPhase::Ringing { pending } if self.end_reported => {
                let is_ours = self.has_dialog(call_id, &self.local_tag, remote_tag);
                is_ours.then_some(&pending.key)
            }
            _ => None,
        }
    }

    fn detach(&mut self, context: &mut UaContext, limit: Millis, now: Millis) {
        let call = self.id.clone();
        match self.offer_answer {
            OfferAnswer::LocalOffer => {
                self.offer_answer = OfferAnswer::Idle;
                if !self.end_reported {
                    context.emit(Event::ReinviteRefused { call: call.clone(), status: 408, will_retry: true });
                }
            }
            OfferAnswer::RemoteOffer { .. } => {
                self.abort_offer_answer(context, now);
                context.emit(Event::OfferWithdrawn { call: call.clone() });
            }
            OfferAnswer::Idle | OfferAnswer::AwaitingAck { .. } | OfferAnswer::DelayedOffer { .. } => {}
        }
        self.fail_infos(context);
        self.on_transfer_detached(context);
        self.timers.clear(CallTimer::RecoveryRetry);
        self.timers.clear(CallTimer::Glare);
        if !self.detached {
            self.detached = true;
            // Counts from the first loss: repeated connection losses do not extend it.
            self.timers.set(CallTimer::RecoveryTimeout, limit);
            if !self.end_reported {
                context.emit(Event::Detached { call });
            }
        }
    }

    /// The user agent is registered again.
    pub(in super::super) fn on_transport_restored(&mut self, context: &mut UaContext, now: Millis) {
        match &self.phase {
            // A provisional response may have been lost with the connection, so do not wait for one.
            CallPhase::Calling { branch, cancel: CancelState::Pending } => {
                let branch = branch.clone();
                self.send_cancel(context, &branch, now);
            }
            CallPhase::Ringing { .. } if self.end_reported => {
                self.timers.set(CallTimer::Removal, now.plus(INVITE_AGAIN_TIMEOUT_MS));
            }
            CallPhase::Answered if self.detached => {
                self.pending_offer = Some(OfferReason::Recovery);
                self.retransmit_2xx(context, now);
            }
            CallPhase::Established if self.detached => self.recover(context, now),
            CallPhase::Ending { bye_sent: false } => {
                self.phase = CallPhase::Ending { bye_sent: true };
                if let Some(index) = self.confirmed_leg {
                    self.bye_leg(context, index, now);
                }
            }
            _ => {}
        }
    }

    pub(super) fn recover(&mut self, context: &mut UaContext, now: Millis) {
        if !self.detached || self.phase != CallPhase::Established || context.transport.is_none() {
            return;
        }
        self.timers.set(CallTimer::RecoveryRetry, now.plus(RECOVERY_RETRY_INTERVAL_MS));
        if self.offer_answer != OfferAnswer::LocalOffer {
            self.request_offer(context, OfferReason::Recovery);
        }
    }

    /// A re-INVITE was answered: the far end has our new contact.
    pub(super) fn on_reattached(&mut self, context: &mut UaContext) {
        if self.detached {
            self.detached = false;
            self.timers.clear(CallTimer::RecoveryTimeout);
            self.timers.clear(CallTimer::RecoveryRetry);
            context.emit(Event::Attached { call: self.id.clone() });
        }
    }

    pub(super) fn on_recovery_timeout(&mut self, context: &mut UaContext, now: Millis) {
        self.report_end(context, EndedBy::Network, "Connection lost", None);
        self.end_established(context, now);
    }
}
