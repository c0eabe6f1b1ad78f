//! Changes of an established session: re-INVITE in both directions, incoming UPDATE,
//! and glare (RFC 3261 §14, RFC 6337).

use super::super::context::{ClientRequest, RequestRole, ServerRequest, UaContext};
use super::super::interface::{EndedBy, Event, Millis, OfferReason};
use super::session_timer::SessionTimer;
use super::{Call, CallPhase, CallTimer, EarlySession, OFFER_ANSWER_TIMEOUT_MS, OfferAnswer, TRANSACTION_TIMEOUT_MS};
use crate::header_values;
use crate::message::{Header, Request, Response};
use crate::transaction::{ResponseKind, ServerKey};

/// Delay before the recovery offer is requested again after a temporary failure.
const TEMPORARY_FAILURE_RETRY_DELAY_MS: u64 = 3_000;

impl Call {
    // Offers that we send.

    pub(in super::super) fn reinvite(&mut self, context: &mut UaContext, sdp: &str, now: Millis) {
        let connected = context.transport.is_some();
        if !matches!(self.phase, CallPhase::Established | CallPhase::Answered) {
            self.report_offer_refused(context, 491, false);
            return;
        }
        if self.phase != CallPhase::Established || self.offer_answer != OfferAnswer::Idle || !connected {
            if connected {
                self.pending_offer.get_or_insert(OfferReason::Glare);
            }
            self.report_offer_refused(context, if connected { 491 } else { 408 }, true);
            return;
        }
        let Some(mut template) = self.template(context, "INVITE") else {
            return;
        };
        self.session_timer.add_to_refresh(&context.config.timers, &mut template);
        let template = template.with_body("application/sdp", sdp);
        self.offer_answer = OfferAnswer::LocalOffer;
        self.pending_offer = None;
        self.timers.clear(CallTimer::Glare);
        let branch = context.request(template, self.owner(RequestRole::Reinvite), now);
        if let Some(client) = context.client_request(&branch, "INVITE") {
            // A re-INVITE does not ring, so a provisional response does not extend the time-out.
            client.transaction.time_out_at(now.plus(TRANSACTION_TIMEOUT_MS));
        }
    }

    fn report_offer_refused(&mut self, context: &mut UaContext, status: u16, will_retry: bool) {
        if !self.end_reported {
            context.emit(Event::ReinviteRefused { call: self.id.clone(), status, will_retry });
        }
    }

    pub(super) fn on_reinvite_response(
        &mut self,
        context: &mut UaContext,
        client: &ClientRequest,
        response_kind: ResponseKind,
        response: &Response,
        now: Millis,
    ) {
        match response_kind {
            ResponseKind::Success => self.on_reinvite_success(context, client, response, now),
            ResponseKind::Failure => self.on_reinvite_failure(context, client, response, now),
            ResponseKind::Provisional | ResponseKind::Absorbed => {}
        }
    }

    fn on_reinvite_success(
        &mut self,
        context: &mut UaContext,
        client: &ClientRequest,
        response: &Response,
        now: Millis,
    ) {
        let Some(index) = self.confirmed_leg else { return };
        if let Some(leg) = self.legs.get_mut(index) {
            if let Some((cseq, bytes)) = &leg.ack
                && *cseq == client.template.cseq
            {
                context.send(bytes.clone());
                return;
            }
            leg.dialog.update_target(response);
        }
        self.acknowledge(context, index, client);
        self.note_identity(context, response);
        if self.phase != CallPhase::Established || self.offer_answer != OfferAnswer::LocalOffer {
            return;
        }
        self.offer_answer = OfferAnswer::Idle;
        self.update_session_timer(response, now);
        self.on_reattached(context);
        match header_values::sdp(response) {
            Some(sdp) => context.emit(Event::ReinviteAccepted { call: self.id.clone(), sdp }),
            None => self.report_offer_refused(context, 488, false),
        }
        self.start_pending_offer(context);
    }

    fn on_reinvite_failure(
        &mut self,
        context: &mut UaContext,
        client: &ClientRequest,
        response: &Response,
        now: Millis,
    ) {
        if self.phase != CallPhase::Established || self.offer_answer != OfferAnswer::LocalOffer {
            return;
        }
        let status = response.status();
        if self.retry(context, client, response, now) {
            return;
        }
        self.offer_answer = OfferAnswer::Idle;
        let retry_after = response.retry_after().ok().flatten();
        match status {
            491 => {
                let delay = self.glare_delay_ms(context);
                self.timers.set(CallTimer::Glare, now.plus(delay));
                self.report_offer_refused(context, status, true);
            }
            // The server of the new connection may not be ready.
            408 | 500..=599 if self.detached => {
                self.timers.set(CallTimer::RecoveryRetry, now.plus(TEMPORARY_FAILURE_RETRY_DELAY_MS));
                self.report_offer_refused(context, status, true);
            }
            // The far end had an open transaction of its own (§14.2).
            500 if retry_after.is_some_and(|seconds| seconds <= 10) => {
                let delay = u64::from(retry_after.unwrap_or(0)) * 1_000 + 100;
                self.timers.set(CallTimer::Glare, now.plus(delay));
                self.report_offer_refused(context, status, true);
            }
            404 | 408 | 410 | 416 | 481..=485 | 502 | 604 => self.on_dialog_lost(context, status, now),
            _ => {
                self.on_reattached(context);
                self.report_offer_refused(context, status, false);
                self.start_pending_offer(context);
            }
        }
    }

    /// A response that ends the dialog (RFC 5057 §5.1).
    pub(super) fn on_dialog_lost(&mut self, context: &mut UaContext, status: u16, now: Millis) {
        let text = if status == 481 { "The call had ended" } else { "The far end does not respond" };
        self.report_end(context, EndedBy::Network, text, Some(status));
        if status == 481 {
            self.terminate(now);
        } else {
            self.end_established(context, now);
        }
    }

    pub(super) fn on_reinvite_timeout(&mut self, context: &mut UaContext, now: Millis) {
        if self.phase != CallPhase::Established || self.offer_answer != OfferAnswer::LocalOffer {
            return;
        }
        self.offer_answer = OfferAnswer::Idle;
        if self.detached {
            self.timers.set(CallTimer::RecoveryRetry, now.plus(TEMPORARY_FAILURE_RETRY_DELAY_MS));
            self.report_offer_refused(context, 408, true);
        } else {
            self.on_dialog_lost(context, 408, now);
        }
    }

    /// Milliseconds to wait after a 491: 2.1–4 s for the owner of the Call-ID, 0–2 s otherwise (§14.1).
    pub(super) fn glare_delay_ms(&self, context: &mut UaContext) -> u64 {
        let owns_call_id = self.outgoing;
        let steps = context.random.up_to(if owns_call_id { 190 } else { 200 });
        steps * 10 + if owns_call_id { 2_100 } else { 0 }
    }

    /// Requests an offer from the driver, now or as soon as one can be sent.
    pub(super) fn request_offer(&mut self, context: &mut UaContext, reason: OfferReason) {
        if self.end_reported {
            return;
        }
        if self.phase != CallPhase::Established || self.offer_answer != OfferAnswer::Idle || context.transport.is_none()
        {
            if self.pending_offer != Some(OfferReason::Recovery) {
                self.pending_offer = Some(reason);
            }
            return;
        }
        self.pending_offer = None;
        context.emit(Event::OfferNeeded { call: self.id.clone(), reason });
    }

    /// The offer/answer exchange is finished: requests the offer that waited for it.
    pub(super) fn start_pending_offer(&mut self, context: &mut UaContext) {
        if let Some(reason) = self.pending_offer.take() {
            self.request_offer(context, reason);
        }
    }

    // Offers that we receive.

    pub(in super::super) fn on_offer_request(
        &mut self,
        context: &mut UaContext,
        key: &ServerKey,
        request: &Request,
        now: Millis,
    ) {
        let sdp = header_values::sdp(request);
        let invite = key.method == "INVITE";
        if let Some(min) = SessionTimer::min_se_for_422(request) {
            let mut response = context.response(request, 422, &self.local_tag);
            response.append(Header::MinSe, min);
            context.answer(key, &response, now);
            return;
        }
        if sdp.is_none() && !request.body().is_empty() {
            context.refuse(key, request, 415, now);
            return;
        }
        if !invite && sdp.is_none() {
            // An UPDATE without offer: a session refresh or target refresh (RFC 3311 §5.2).
            if matches!(self.phase, CallPhase::Terminated | CallPhase::Ending { .. }) {
                context.refuse(key, request, 481, now);
            } else {
                self.accept(context, key, request, None, now);
                self.note_identity(context, request);
            }
            return;
        }
        let status = self.refusal_of_offer(request, invite);
        if status > 0 {
            context.refuse(key, request, status, now);
            return;
        }
        if matches!(self.phase, CallPhase::Calling { .. })
            && let Some(leg) = self.leg_of(header_values::from_tag(request))
        {
            leg.early_session = EarlySession::Changed;
        }
        if invite {
            let trying = request.response(100, "Trying", None);
            context.answer(key, &trying, now);
        }
        self.offer_answer =
            OfferAnswer::RemoteOffer { pending: ServerRequest::new(key.clone(), request), offered: sdp.is_some() };
        self.timers.set(CallTimer::AnswerTimeout, now.plus(OFFER_ANSWER_TIMEOUT_MS));
        self.note_identity(context, request);
        context.emit(Event::Offer { call: self.id.clone(), sdp });
    }

    /// The status with which an offer of the far end is refused now; 0 if it is a fair one (RFC 3261 §14.2,
    /// RFC 3311 §5.2): 500 while an earlier offer of the far end is open, 491 while ours is.
    fn refusal_of_offer(&self, request: &Request, invite: bool) -> u16 {
        match (&self.phase, &self.offer_answer) {
            (CallPhase::Terminated | CallPhase::Ending { .. }, _) => 481,
            (CallPhase::Established, OfferAnswer::Idle) => 0,
            (CallPhase::Calling { .. }, OfferAnswer::Idle) if !invite && !self.end_reported => {
                let tag = header_values::from_tag(request);
                let leg = self.legs.iter().find(|leg| leg.dialog.remote_tag == tag);
                if leg.is_some_and(|leg| leg.early_session != EarlySession::Offered) { 0 } else { 491 }
            }
            (CallPhase::Ringing { pending }, _) => match pending.request() {
                Some(invite) if header_values::sdp(&invite).is_some() => 500,
                _ => 491,
            },
            (_, OfferAnswer::RemoteOffer { .. } | OfferAnswer::AwaitingAck { offered: false }) => 500,
            _ => 491,
        }
    }

    pub(in super::super) fn answer_offer(&mut self, context: &mut UaContext, sdp: &str, now: Millis) {
        match std::mem::replace(&mut self.offer_answer, OfferAnswer::Idle) {
            OfferAnswer::RemoteOffer { pending, offered } => {
                self.timers.clear(CallTimer::AnswerTimeout);
                let Some(request) = pending.request() else {
                    return;
                };
                let (cseq, bytes) = self.accept(context, &pending.key, &request, Some(sdp), now);
                if pending.key.method == "INVITE" {
                    self.offer_answer = OfferAnswer::AwaitingAck { offered: !offered };
                    self.retransmit_until_ack(cseq, bytes, now);
                } else {
                    self.start_pending_offer(context);
                }
            }
            OfferAnswer::DelayedOffer { cseq } => {
                self.timers.clear(CallTimer::AnswerTimeout);
                self.acknowledge_delayed_offer(context, cseq, Some(sdp));
                self.start_pending_offer(context);
            }
            other => {
                self.offer_answer = other;
                context.emit_dropped("answer without an offer");
            }
        }
    }

    pub(in super::super) fn refuse_offer(&mut self, context: &mut UaContext, status: u16, now: Millis) {
        match std::mem::replace(&mut self.offer_answer, OfferAnswer::Idle) {
            OfferAnswer::RemoteOffer { pending, .. } => {
                self.timers.clear(CallTimer::AnswerTimeout);
                if let Some(request) = pending.request() {
                    context.refuse(&pending.key, &request, status.clamp(400, 699), now);
                }
                self.start_pending_offer(context);
            }
            OfferAnswer::DelayedOffer { cseq } => {
                self.offer_answer = OfferAnswer::DelayedOffer { cseq };
                self.report_end(context, EndedBy::Local, "No common audio format", None);
                self.end_established(context, now);
            }
            other => {
                self.offer_answer = other;
                context.emit_dropped("refusal without an offer");
            }
        }
    }

    /// The driver did not reply to an offer in time.
    pub(super) fn on_answer_timeout(&mut self, context: &mut UaContext, now: Millis) {
        if matches!(self.offer_answer, OfferAnswer::RemoteOffer { .. }) && !self.end_reported {
            context.emit(Event::OfferWithdrawn { call: self.id.clone() });
        }
        self.refuse_offer(context, 488, now);
    }

    // Retries.

    /// Sends a request of the confirmed dialog again after a challenge or a 422. False if the
    /// response is neither, or if the credentials were refused.
    pub(super) fn retry(
        &mut self,
        context: &mut UaContext,
        client: &ClientRequest,
        response: &Response,
        now: Millis,
    ) -> bool {
        let mut template = client.template.clone();
        let tries = match response.status() {
            401 | 407 => context.on_call_challenge(response, client).ok(),
            422 => self
                .session_timer
                .on_interval_too_small(response, &context.config.timers, &mut template)
                .then(|| client.tries.next()),
            _ => None,
        };
        let Some(tries) = tries else {
            return false;
        };
        let tag = header_values::tag(&template.to);
        let Some(leg) = self.legs.iter_mut().find(|leg| leg.dialog.remote_tag == tag) else {
            return false;
        };
        template.cseq = leg.dialog.next_cseq();
        let method = template.method.clone();
        let branch = context.request_again(template, client.owner.clone(), tries, now);
        if let Some(client) = context.client_request(&branch, &method) {
            // A request in a dialog does not ring, so a provisional response does not extend the time-out.
            client.transaction.time_out_at(now.plus(TRANSACTION_TIMEOUT_MS));
        }
        true
    }
}
