//! Incoming calls (UAS): ringing, answering, rejecting, CANCEL.

use super::super::context::{ALLOW, SUPPORTED, ServerRequest, UaContext};
use super::super::interface::{CallId, EndedBy, Event, Millis};
use super::super::status_text::cancel_text;
use super::auto_answer::auto_answer_ms;
use super::identity::{asserted_party, caller, diverted_from};
use super::{Call, CallPhase, CallTimer, EarlySession, Leg, OfferAnswer, Retransmission, T1_MS, T2_MS};
use crate::dialog::Dialog;
use crate::header_values;
use crate::message::{Header, Headers, Request, Response};
use crate::request_template::number;
use crate::transaction::ServerKey;

/// Limits of the header fields that the driver is told.
const MAX_TOLD_HEADERS: usize = 16;
const MAX_TOLD_VALUE_BYTES: usize = 512;

/// The header fields that an application reads: `User-to-User` (RFC 7433) and what begins with `X-`.
fn told_headers(request: &Headers) -> Vec<(String, String)> {
    let is_told = |name: &str| {
        name.eq_ignore_ascii_case("User-to-User") || name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("X-"))
    };
    let told = request.iter().filter(|(name, value)| is_told(name) && value.len() <= MAX_TOLD_VALUE_BYTES);
    told.take(MAX_TOLD_HEADERS).map(|(name, value)| (name.into(), value.into())).collect()
}

impl Call {
    /// Creates a ringing call and sends 180, or 100 to an INVITE that takes the place of the call `replaces`. None if the
    /// request was rejected.
    pub(in super::super) fn ring(
        context: &mut UaContext,
        key: &ServerKey,
        request: &Request,
        replaces: Option<CallId>,
        now: Millis,
    ) -> Option<Self> {
        let sdp = header_values::sdp(request);
        if sdp.is_none() && !request.body().is_empty() {
            context.refuse(key, request, 415, now);
            return None;
        }
        let tag = context.random.tag();
        let Some(dialog) = Dialog::from_request(request, &tag) else {
            context.refuse(key, request, 400, now);
            return None;
        };
        let id = context.random.token(16);
        let pending = ServerRequest::new(key.clone(), request);
        let mut call = Self::new(id, dialog.call_id.clone(), tag, CallPhase::Ringing { pending });
        call.legs.push(Leg { dialog, early_sdp: None, early_session: EarlySession::default(), rseq: None, ack: None });
        call.asserted = asserted_party(request);
        call.confirmed_leg = Some(0);
        let limit = context.config.timers.ring_timeout_ms;
        let limit = request.expires().map_or(limit, |seconds| limit.min(u64::from(seconds.max(5)) * 1_000));
        call.timers.set(CallTimer::Ring, now.plus(limit));
        if replaces.is_some() {
            let trying = request.response(100, "Trying", None);
            context.answer(key, &trying, now);
        } else {
            call.send_ringing(context, key, request, now);
        }
        context.emit(Event::Incoming {
            call: call.id.clone(),
            from: caller(request),
            offer: sdp,
            replaces,
            diverted_from: diverted_from(request, &context.config.username),
            auto_answer_ms: auto_answer_ms(request),
            headers: told_headers(request),
        });
        Some(call)
    }

    /// The call is not taken.
    pub(in super::super) fn miss(context: &mut UaContext, request: &Request) {
        let call = context.random.token(16);
        let diverted_from = diverted_from(request, &context.config.username);
        context.emit(Event::Missed { call, from: caller(request), diverted_from });
    }

    fn send_ringing(&mut self, context: &mut UaContext, key: &ServerKey, request: &Request, now: Millis) {
        let mut response = context.response(request, 180, &self.local_tag);
        response.append(Header::Contact, &context.contact());
        response.append(Header::Allow, ALLOW);
        let reliable = request.lists(Header::Require, "100rel");
        let rseq = u32::try_from(context.random.up_to(0x0fff_ffff)).unwrap_or(1) + 1;
        if reliable {
            response.append(Header::Require, "100rel");
            response.append(Header::RSeq, &number(rseq.into()));
        }
        let bytes = context.answer(key, &response, now);
        if reliable {
            if let Some(leg) = self.leg() {
                leg.rseq = Some(rseq);
            }
            self.retransmission = Some(Retransmission { cseq: rseq, bytes, interval_ms: T1_MS });
            self.timers.set(CallTimer::RetransmitProvisional, now.plus(T1_MS));
        }
    }

    /// Retransmits our reliable provisional response until its PRACK (RFC 3262 §3).
    pub(super) fn retransmit_provisional(&mut self, context: &mut UaContext, now: Millis) {
        if let (CallPhase::Ringing { .. }, Some(ringing)) = (&self.phase, &mut self.retransmission) {
            context.send(ringing.bytes.clone());
            ringing.interval_ms = (ringing.interval_ms * 2).min(T2_MS);
            self.timers.set(CallTimer::RetransmitProvisional, now.plus(ringing.interval_ms));
        }
    }

    /// A PRACK, also after the call was answered. False: its `RAck` matches no response.
    pub(in super::super) fn on_prack(&mut self, request: &Request) -> bool {
        let rack = request.rack().ok().flatten().map(|rack| rack.rseq);
        let Some(leg) = self.leg().filter(|leg| rack.is_some() && leg.rseq == rack) else {
            return false;
        };
        leg.rseq = None;
        if matches!(self.phase, CallPhase::Ringing { .. }) {
            self.retransmission = None;
            self.timers.clear(CallTimer::RetransmitProvisional);
        }
        true
    }

    pub(in super::super) fn answer(&mut self, context: &mut UaContext, sdp: &str, now: Millis) {
        let CallPhase::Ringing { pending } = &self.phase else {
            context.emit_dropped("answer to a call that does not ring");
            return;
        };
        let Some(request) = pending.request() else {
            return;
        };
        let key = pending.key.clone();
        let offered = header_values::sdp(&request).is_none();
        self.timers.clear(CallTimer::Ring);
        self.timers.clear(CallTimer::RetransmitProvisional);
        let (cseq, bytes) = self.accept(context, &key, &request, Some(sdp), now);
        self.phase = CallPhase::Answered;
        self.offer_answer = OfferAnswer::AwaitingAck { offered };
        self.retransmit_until_ack(cseq, bytes, now);
    }

    /// Sends a 200 to an INVITE or UPDATE.
    pub(super) fn accept(
        &mut self,
        context: &mut UaContext,
        key: &ServerKey,
        request: &Request,
        sdp: Option<&str>,
        now: Millis,
    ) -> (u32, Vec<u8>) {
        let mut response = context.response(request, 200, &self.local_tag);
        response.append(Header::Contact, &context.contact());
        response.append(Header::Allow, ALLOW);
        response.append(Header::Supported, SUPPORTED);
        // The session timer starts with the 2xx to the INVITE (RFC 4028 §7.2), not with an earlier UPDATE.
        if key.method == "INVITE" || matches!(self.phase, CallPhase::Answered | CallPhase::Established) {
            self.answer_session_timer(request, &mut response, now);
        }
        if let Some(sdp) = sdp {
            response.set_body("application/sdp", sdp.as_bytes());
        }
        if let Some(leg) = self.leg_of(header_values::from_tag(request)) {
            leg.dialog.update_target(request);
        }
        let cseq = header_values::cseq(request).map_or(0, |(number, _)| number);
        (cseq, context.answer(key, &response, now))
    }

    pub(in super::super) fn reject(&mut self, context: &mut UaContext, status: u16, now: Millis) {
        if matches!(self.phase, CallPhase::Ringing { .. }) {
            let status = status.clamp(300, 699);
            self.refuse_call(context, status, EndedBy::Local, "Declined", now);
        } else {
            context.emit_dropped("refusal of a call that does not ring");
        }
    }

    pub(super) fn refuse_call(&mut self, context: &mut UaContext, status: u16, by: EndedBy, text: &str, now: Millis) {
        if let CallPhase::Ringing { pending } = &self.phase
            && let Some(request) = pending.request()
        {
            let response: Response = context.response(&request, status, &self.local_tag);
            context.answer(&pending.key, &response, now);
        }
        self.report_end(context, by, text, Some(status));
        self.terminate(now);
    }

    /// CANCEL for the INVITE of this server transaction.
    pub(in super::super) fn on_cancel(
        &mut self,
        context: &mut UaContext,
        key: &ServerKey,
        cancel: &Headers,
        now: Millis,
    ) {
        let is_cancelled = |pending: &ServerRequest| pending.key == *key;
        match (&self.phase, &self.offer_answer) {
            (CallPhase::Ringing { pending }, _) if is_cancelled(pending) => {
                self.refuse_call(context, 487, EndedBy::Remote, cancel_text(cancel), now);
            }
            (_, OfferAnswer::RemoteOffer { pending, .. }) if is_cancelled(pending) => {
                self.abort_offer_answer(context, now);
                context.emit(Event::OfferWithdrawn { call: self.id.clone() });
                self.start_pending_offer(context);
            }
            _ => {}
        }
    }
}
