//! The upper rungs of the reconnect backoff, for each call: what a lost
//! connection ends, and how the calls that outlive it get their signalling back.

use super::super::context::UaContext;
use super::super::interface::{EndedBy, Event, Millis, OfferReason};
use super::{Call, CallPhase, CallTimer, CancelState, OfferAnswer};

/// The recovering offer is asked for again after this.
const RECOVERY_RETRY_MS: u64 = 15_000;

impl Call {
    pub(in super::super) fn on_transport_lost(&mut self, context: &mut UaContext, now: Millis) {
        let limit = now.plus(context.config.limits.recovery);
        match &mut self.phase {
            CallPhase::Calling { branch, cancel } => {
                // The far end may ring on: a CANCEL (again) on the next connection stops it.
                *cancel = CancelState::Pending;
                if let Some(client) = context.client(branch, "INVITE")
                    && !self.end_reported
                {
                    client.transaction.time_out_at(limit);
                }
                self.timers.clear(CallTimer::Ring);
                self.report_end(context, EndedBy::Network, "Connection lost", None);
            }
            CallPhase::Ringing { .. } if !self.end_reported => {
                // Nobody could tell us that the caller gave up: do not ring on.
                self.timers.clear_all();
                self.timers.set(CallTimer::Removal, limit);
                self.report_end(context, EndedBy::Network, "Connection lost", None);
            }
            CallPhase::Answered | CallPhase::Established => self.detach(context, limit, now),
            // Its time limit stays: a connection that comes and goes does not keep it alive.
            CallPhase::Ending { bye_sent } => *bye_sent = false,
            CallPhase::Ringing { .. } | CallPhase::Terminated => {}
        }
    }

    fn detach(&mut self, context: &mut UaContext, limit: Millis, now: Millis) {
        let call = self.id.clone();
        match self.offer_answer {
            OfferAnswer::LocalOffer => {
                self.offer_answer = OfferAnswer::Idle;
                if !self.end_reported {
                    context.emit(Event::ReinviteRefused { call: call.clone(), status: 408, again: true });
                }
            }
            OfferAnswer::RemoteOffer { .. } => {
                self.abort_offer_answer(context, now);
                context.emit(Event::OfferWithdrawn { call: call.clone() });
            }
            OfferAnswer::Idle | OfferAnswer::AwaitingAck { .. } | OfferAnswer::DelayedOffer { .. } => {}
        }
        self.fail_infos(context);
        self.timers.clear(CallTimer::RecoveryRetry);
        self.timers.clear(CallTimer::Glare);
        if !self.detached {
            self.detached = true;
            // From the first loss on: a connection that comes and goes is no help.
            self.timers.set(CallTimer::RecoveryTimeout, limit);
            if !self.end_reported {
                context.emit(Event::Detached { call });
            }
        }
    }

    /// Connected and registered again.
    pub(in super::super) fn on_transport_restored(&mut self, context: &mut UaContext, now: Millis) {
        match &self.phase {
            // Whether a provisional response was on its way when the connection broke, nobody knows.
            CallPhase::Calling { branch, cancel: CancelState::Pending } => {
                let branch = branch.clone();
                self.send_cancel(context, &branch, now);
            }
            CallPhase::Ringing { .. } if self.end_reported => {
                self.refuse_call(context, 480, EndedBy::Network, "Connection lost", now);
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
        self.timers.set(CallTimer::RecoveryRetry, now.plus(RECOVERY_RETRY_MS));
        if self.offer_answer != OfferAnswer::LocalOffer {
            self.request_offer(context, OfferReason::Recovery);
        }
    }

    /// A re-INVITE got through: the far end knows our new address.
    pub(super) fn on_reattached(&mut self, context: &mut UaContext) {
        if self.detached {
            self.detached = false;
            self.timers.clear(CallTimer::RecoveryTimeout);
            self.timers.clear(CallTimer::RecoveryRetry);
            context.emit(Event::Attached { call: self.id.clone() });
        }
    }

    pub(super) fn give_up(&mut self, context: &mut UaContext, now: Millis) {
        self.report_end(context, EndedBy::Network, "Connection lost", None);
        self.end_established(context, now);
    }
}
