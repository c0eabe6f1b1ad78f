//! The called side: ringing, answering, refusing, being cancelled.

use super::super::context::{ALLOW, Asked, Core, SUPPORTED};
use super::super::interface::{EndedBy, Event, Millis, Party};
use super::{Accepted, Alarm, Call, Exchange, Leg, Stage, T1, T2};
use crate::dialog::Dialog;
use crate::header_values;
use crate::message::{Header, Headers, Request, Response};
use crate::request_template::number;
use crate::transaction::ServerKey;
use crate::uri::Uri;

impl Call {
    /// Rings. None: the request was refused already.
    pub(in super::super) fn ring(core: &mut Core, key: &ServerKey, request: &Request, now: Millis) -> Option<Self> {
        let sdp = header_values::sdp(request);
        if sdp.is_none() && !request.body().is_empty() {
            core.refuse(key, request, 415, now);
            return None;
        }
        let tag = core.random.tag();
        let Some(dialog) = Dialog::of_request(request, &tag) else {
            core.refuse(key, request, 400, now);
            return None;
        };
        let id = core.random.token(16);
        let asked = Asked::new(key.clone(), request);
        let mut call = Self::new(id, dialog.call_id.clone(), tag, Stage::Ringing { asked });
        call.legs.push(Leg { dialog, early_sdp: None, rseq: None, ack: None });
        call.chosen = Some(0);
        let limit = core.config.limits.ring;
        let limit = request.expires().map_or(limit, |seconds| limit.min(u64::from(seconds.max(5)) * 1_000));
        call.alarms.set(Alarm::Ring, now.plus(limit));
        call.send_ringing(core, key, request, now);
        core.tell(Event::Incoming { call: call.id.clone(), from: party(request), offer: sdp });
        Some(call)
    }

    fn send_ringing(&mut self, core: &mut Core, key: &ServerKey, request: &Request, now: Millis) {
        let mut response = core.response(request, 180, &self.local_tag);
        response.append(Header::Contact, &core.contact());
        response.append(Header::Allow, ALLOW);
        let reliable = request.lists(Header::Require, "100rel");
        let rseq = u32::try_from(core.random.up_to(0x0fff_ffff)).unwrap_or(1) + 1;
        if reliable {
            response.append(Header::Require, "100rel");
            response.append(Header::RSeq, &number(rseq.into()));
        }
        let bytes = core.answer(key, &response, now);
        if reliable {
            if let Some(leg) = self.leg() {
                leg.rseq = Some(rseq);
            }
            self.accepted = Some(Accepted { cseq: rseq, bytes, pause: T1 });
            self.alarms.set(Alarm::Rering, now.plus(T1));
        }
    }

    /// Our reliable provisional response was not acknowledged yet (RFC 3262 §3).
    pub(super) fn repeat_ringing(&mut self, core: &mut Core, now: Millis) {
        if let (Stage::Ringing { .. }, Some(ringing)) = (&self.stage, &mut self.accepted) {
            core.send(ringing.bytes.clone());
            ringing.pause = (ringing.pause * 2).min(T2);
            self.alarms.set(Alarm::Rering, now.plus(ringing.pause));
        }
    }

    /// PRACK for it, also when the answer was faster. False: there is none of that number.
    pub(in super::super) fn on_prack(&mut self, request: &Request) -> bool {
        let rack = request.rack().ok().flatten().map(|rack| rack.rseq);
        let Some(leg) = self.leg().filter(|leg| rack.is_some() && leg.rseq == rack) else {
            return false;
        };
        leg.rseq = None;
        if matches!(self.stage, Stage::Ringing { .. }) {
            self.accepted = None;
            self.alarms.clear(Alarm::Rering);
        }
        true
    }

    pub(in super::super) fn answer(&mut self, core: &mut Core, sdp: &str, now: Millis) {
        let Stage::Ringing { asked } = &self.stage else {
            core.dropped("answer to a call that does not ring");
            return;
        };
        let Some(request) = asked.request() else {
            return;
        };
        let key = asked.key.clone();
        let offered = header_values::sdp(&request).is_none();
        self.alarms.clear(Alarm::Ring);
        self.alarms.clear(Alarm::Rering);
        let (cseq, bytes) = self.accept(core, &key, &request, Some(sdp), now);
        self.stage = Stage::Answered;
        self.exchange = Exchange::Closing { offered };
        self.keep_accepted(cseq, bytes, now);
    }

    /// Sends a 200 to an INVITE or UPDATE.
    pub(super) fn accept(
        &mut self,
        core: &mut Core,
        key: &ServerKey,
        request: &Request,
        sdp: Option<&str>,
        now: Millis,
    ) -> (u32, Vec<u8>) {
        let mut response = core.response(request, 200, &self.local_tag);
        response.append(Header::Contact, &core.contact());
        response.append(Header::Allow, ALLOW);
        response.append(Header::Supported, SUPPORTED);
        self.serve_timer(request, &mut response, now);
        if let Some(sdp) = sdp {
            response.set_body("application/sdp", sdp.as_bytes());
        }
        if let Some(leg) = self.leg() {
            leg.dialog.retarget(request);
        }
        let cseq = header_values::cseq(request).map_or(0, |(number, _)| number);
        (cseq, core.answer(key, &response, now))
    }

    pub(in super::super) fn reject(&mut self, core: &mut Core, status: u16, now: Millis) {
        if matches!(self.stage, Stage::Ringing { .. }) {
            let status = status.clamp(300, 699);
            self.refuse_call(core, status, EndedBy::Local, "Declined", now);
        } else {
            core.dropped("refusal of a call that does not ring");
        }
    }

    pub(super) fn refuse_call(&mut self, core: &mut Core, status: u16, by: EndedBy, words: &str, now: Millis) {
        if let Stage::Ringing { asked } = &self.stage
            && let Some(request) = asked.request()
        {
            let response: Response = core.response(&request, status, &self.local_tag);
            core.answer(&asked.key, &response, now);
        }
        self.tell_end(core, by, words, Some(status));
        self.over(now);
    }

    /// CANCEL for the pending INVITE numbered like this transaction.
    pub(in super::super) fn on_cancel(&mut self, core: &mut Core, key: &ServerKey, cancel: &Headers, now: Millis) {
        let same = |asked: &Asked| asked.key == *key;
        match (&self.stage, &self.exchange) {
            (Stage::Ringing { asked }, _) if same(asked) => {
                let cause = cancel
                    .reasons()
                    .find(|reason| reason.protocol.eq_ignore_ascii_case("SIP"))
                    .and_then(|reason| reason.cause());
                let words = match cause {
                    Some(200..=299) => "Answered elsewhere",
                    Some(600..=699) => "Declined elsewhere",
                    _ => "Caller hung up",
                };
                self.refuse_call(core, 487, EndedBy::Remote, words, now);
            }
            (_, Exchange::Theirs { asked, .. }) if same(asked) => {
                self.settle(core, now);
                core.tell(Event::OfferWithdrawn { call: self.id.clone() });
                self.on_idle(core);
            }
            _ => {}
        }
    }
}

/// Who calls: `P-Asserted-Identity` (RFC 3325), which the server vouches for, before `From`.
fn party(request: &Request) -> Party {
    let asserted = request.addresses(Header::PAssertedIdentity).find_map(Result::ok);
    let from = request.from().ok();
    let Some(address) = asserted.or(from) else {
        return Party::default();
    };
    let name = |display: &str| Some(display.trim().to_owned()).filter(|name| !name.is_empty());
    let user = match Uri::parse(address.uri_text) {
        Ok(uri) => uri.user_name().into_owned(),
        Err(_) => String::new(),
    };
    let uri = address.uri_text.to_owned();
    let number = if !user.is_empty() {
        user
    } else if let Some(number) = uri.strip_prefix("tel:") {
        number.split(';').next().unwrap_or_default().to_owned()
    } else {
        uri.clone()
    };
    Party {
        number,
        display_name: name(&address.display_name()).or_else(|| from.and_then(|from| name(&from.display_name()))),
        uri,
    }
}
