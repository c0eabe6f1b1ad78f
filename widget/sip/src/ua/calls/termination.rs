//! The end of a call: hang-up in every state, BYE in both directions.
//!
//! `Ended` is emitted at once; CANCEL or BYE is sent as soon as the protocol allows it.

use super::super::context::{ClientRequest, RequestRole, UaContext};
use super::super::interface::{EndedBy, Millis};
use super::super::status_text::bye_text;
use super::{Call, CallPhase, CallTimer, OfferAnswer, TRANSACTION_TIMEOUT_MS};
use crate::message::{Headers, Response};

impl Call {
    pub(in super::super) fn hang_up(&mut self, context: &mut UaContext, now: Millis) {
        match self.phase {
            CallPhase::Calling { .. } => {
                self.abort_offer_answer(context, now);
                self.report_end(context, EndedBy::Local, "Canceled", None);
                self.cancel(context, now);
            }
            CallPhase::Ringing { .. } => {
                let status = context.config.decline_status;
                self.refuse_call(context, status, EndedBy::Local, "Declined", now);
            }
            // The BYE is sent after the ACK (RFC 3261 §15).
            CallPhase::Answered => self.report_end(context, EndedBy::Local, "Hung up", None),
            CallPhase::Established => {
                self.report_end(context, EndedBy::Local, "Hung up", None);
                self.end_established(context, now);
            }
            CallPhase::Ending { .. } | CallPhase::Terminated => {}
        }
    }

    /// The user signs out. A ringing call is rejected with 480 whatever the status for a decline is: it goes on
    /// ringing on the user's other devices, while a 603 would end it on all of them (RFC 3261 §16.7, item 5).
    pub(in super::super) fn sign_out(&mut self, context: &mut UaContext, now: Millis) {
        if matches!(self.phase, CallPhase::Ringing { .. }) {
            self.refuse_call(context, 480, EndedBy::Local, "Signed out", now);
        } else {
            self.hang_up(context, now);
        }
    }

    /// Ends the confirmed dialog by BYE, now or on the next connection.
    pub(super) fn end_established(&mut self, context: &mut UaContext, now: Millis) {
        self.abort_offer_answer(context, now);
        let Some(index) = self.confirmed_leg else {
            self.terminate(now);
            return;
        };
        self.terminate(now);
        if context.transport.is_some() {
            self.phase = CallPhase::Ending { bye_sent: true };
            self.bye_leg(context, index, now);
        } else {
            self.phase = CallPhase::Ending { bye_sent: false };
        }
        let limit = TRANSACTION_TIMEOUT_MS.max(context.config.timers.recovery_timeout_ms);
        self.timers.set(CallTimer::Removal, now.plus(limit));
    }

    pub(super) fn bye_leg(&mut self, context: &mut UaContext, index: usize, now: Millis) {
        let owner = self.owner(RequestRole::Bye);
        if let Some(leg) = self.legs.get_mut(index) {
            let template = leg.dialog.request("BYE");
            context.request(template, owner, now);
        }
    }

    /// Ends an open offer/answer exchange: rejects the far end's offer, or sends the ACK that a delayed offer needs.
    pub(super) fn abort_offer_answer(&mut self, context: &mut UaContext, now: Millis) {
        let offer_answer = std::mem::replace(&mut self.offer_answer, OfferAnswer::Idle);
        self.timers.clear(CallTimer::AnswerTimeout);
        match offer_answer {
            OfferAnswer::RemoteOffer { pending, .. } => {
                if let Some(request) = pending.request() {
                    context.refuse(&pending.key, &request, 487, now);
                }
            }
            OfferAnswer::DelayedOffer { cseq } => self.acknowledge_delayed_offer(context, cseq, None),
            other => self.offer_answer = other,
        }
    }

    /// Sends the ACK for a 2xx with an offer; `sdp` is the answer.
    pub(super) fn acknowledge_delayed_offer(&mut self, context: &mut UaContext, cseq: u32, sdp: Option<&str>) {
        let credentials = context
            .client_requests
            .iter()
            .find(|client| client.template.call_id == self.sip_call_id && client.template.cseq == cseq)
            .map(|client| client.credentials.clone())
            .unwrap_or_default();
        if let Some(leg) = self.leg() {
            let mut template = leg.dialog.ack(cseq);
            if let Some(sdp) = sdp {
                template = template.with_body("application/sdp", sdp);
            }
            let bytes = context.ack_bytes(&template, &credentials);
            context.send(bytes.clone());
            leg.ack = Some((cseq, bytes));
        }
    }

    pub(super) fn on_bye_response(
        &mut self,
        context: &mut UaContext,
        client: &ClientRequest,
        response: &Response,
        now: Millis,
    ) {
        if response.is_provisional() || self.retry(context, client, response, now) {
            return;
        }
        if matches!(self.phase, CallPhase::Ending { .. }) {
            self.terminate(now);
        }
    }

    pub(super) fn on_bye_timeout(&mut self, now: Millis) {
        if self.phase == (CallPhase::Ending { bye_sent: true }) {
            self.terminate(now);
        }
    }

    /// The far end sent BYE; it is already answered with 200.
    pub(in super::super) fn on_bye(&mut self, context: &mut UaContext, bye: &Headers, now: Millis) {
        match self.phase {
            CallPhase::Ringing { .. } => {
                self.refuse_call(context, 487, EndedBy::Remote, "Caller hung up", now);
            }
            CallPhase::Calling { .. } => {
                // One early dialog has ended (RFC 3261 §15); other ones and the final response may follow.
            }
            _ => {
                self.abort_offer_answer(context, now);
                self.report_end(context, EndedBy::Remote, bye_text(bye), None);
                self.terminate(now);
            }
        }
    }
}
