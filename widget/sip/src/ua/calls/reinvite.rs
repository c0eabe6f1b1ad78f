//! Changing a session that is up: re-INVITE both ways, incoming UPDATE, and
//! what happens when both sides want it at once (RFC 3261 §14, RFC 6337).

use super::super::context::{Asked, Client, Core, Role};
use super::super::credential_store::Verdict;
use super::super::interface::{EndedBy, Event, Millis, OfferReason};
use super::session_timer::SessionTimer;
use super::{Alarm, Call, Exchange, OFFER_PATIENCE, Stage, TIMEOUT};
use crate::header_values;
use crate::message::{Header, Request, Response};
use crate::transaction::{Heard, ServerKey};

/// A pause before asking again after a temporary failure, in milliseconds.
const PAUSE: u64 = 3_000;

impl Call {
    // Our offers.

    pub(in super::super) fn reinvite(&mut self, core: &mut Core, sdp: &str, now: Millis) {
        let connected = core.link.is_some();
        if !matches!(self.stage, Stage::Up | Stage::Answered) {
            self.refused_offer(core, 491, false);
            return;
        }
        if self.stage != Stage::Up || self.exchange != Exchange::Idle || !connected {
            if connected {
                self.due.get_or_insert(OfferReason::Glare);
            }
            self.refused_offer(core, if connected { 491 } else { 408 }, true);
            return;
        }
        let Some(mut draft) = self.draft(core, "INVITE") else {
            return;
        };
        self.timer.ask_again(&core.config.limits, &mut draft);
        let draft = draft.with_body("application/sdp", sdp);
        self.exchange = Exchange::Ours;
        self.due = None;
        self.alarms.clear(Alarm::Glare);
        let branch = core.request(draft, self.owner(Role::Modify), now);
        if let Some(client) = core.client(&branch, "INVITE") {
            // Nobody's phone rings for a re-INVITE: a provisional response buys no time.
            client.transaction.give_up_at(now.plus(TIMEOUT));
        }
    }

    fn refused_offer(&mut self, core: &mut Core, status: u16, again: bool) {
        if !self.told {
            core.tell(Event::ReinviteRefused { call: self.id.clone(), status, again });
        }
    }

    pub(super) fn on_modify_response(
        &mut self,
        core: &mut Core,
        client: &Client,
        heard: Heard,
        response: &Response,
        now: Millis,
    ) {
        match heard {
            Heard::Success => self.on_modified(core, client, response, now),
            Heard::Refusal => self.on_not_modified(core, client, response, now),
            Heard::Provisional | Heard::Nothing => {}
        }
    }

    fn on_modified(&mut self, core: &mut Core, client: &Client, response: &Response, now: Millis) {
        let Some(index) = self.chosen else { return };
        if let Some(leg) = self.legs.get_mut(index) {
            if let Some((cseq, bytes)) = &leg.ack
                && *cseq == client.draft.cseq
            {
                core.send(bytes.clone());
                return;
            }
            leg.dialog.retarget(response);
        }
        self.acknowledge(core, index, client, None, now);
        if self.stage != Stage::Up || self.exchange != Exchange::Ours {
            return;
        }
        self.exchange = Exchange::Idle;
        self.learn_timer(response, now);
        self.attached(core);
        match header_values::sdp(response) {
            Some(sdp) => core.tell(Event::ReinviteAccepted { call: self.id.clone(), sdp }),
            None => self.refused_offer(core, 488, false),
        }
        self.on_idle(core);
    }

    fn on_not_modified(&mut self, core: &mut Core, client: &Client, response: &Response, now: Millis) {
        if self.stage != Stage::Up || self.exchange != Exchange::Ours {
            return;
        }
        let status = response.status();
        if self.send_again(core, client, response, now) {
            return;
        }
        self.exchange = Exchange::Idle;
        let asked = response.retry_after().ok().flatten();
        match status {
            491 => {
                let pause = self.glare_pause(core);
                self.alarms.set(Alarm::Glare, now.plus(pause));
                self.refused_offer(core, status, true);
            }
            // The server behind the new connection may not be ready.
            408 | 500..=599 if self.detached => {
                self.alarms.set(Alarm::Recover, now.plus(PAUSE));
                self.refused_offer(core, status, true);
            }
            // The far end was in the middle of something (§14.2).
            500 if asked.is_some_and(|seconds| seconds <= 10) => {
                let pause = u64::from(asked.unwrap_or(0)) * 1_000 + 100;
                self.alarms.set(Alarm::Glare, now.plus(pause));
                self.refused_offer(core, status, true);
            }
            404 | 408 | 410 | 416 | 481..=485 | 502 | 604 => self.lost_dialog(core, status, now),
            _ => {
                self.attached(core);
                self.refused_offer(core, status, false);
                self.on_idle(core);
            }
        }
    }

    /// A response after which there is no dialog any more (RFC 5057 §5.1).
    pub(super) fn lost_dialog(&mut self, core: &mut Core, status: u16, now: Millis) {
        let words = if status == 481 { "The call had ended" } else { "The far end does not respond" };
        self.tell_end(core, EndedBy::Network, words, Some(status));
        if status == 481 {
            self.over(now);
        } else {
            self.say_bye(core, now);
        }
    }

    pub(super) fn on_modify_timeout(&mut self, core: &mut Core, now: Millis) {
        if self.stage != Stage::Up || self.exchange != Exchange::Ours {
            return;
        }
        self.exchange = Exchange::Idle;
        if self.detached {
            self.alarms.set(Alarm::Recover, now.plus(PAUSE));
            self.refused_offer(core, 408, true);
        } else {
            self.lost_dialog(core, 408, now);
        }
    }

    /// How long to wait after a 491: the side that chose the Call-ID waits longer (§14.1).
    fn glare_pause(&self, core: &mut Core) -> u64 {
        let ours = self.outgoing;
        let steps = core.random.up_to(if ours { 190 } else { 200 });
        steps * 10 + if ours { 2_100 } else { 0 }
    }

    /// Asks the driver for an offer now, or as soon as it can be sent.
    pub(super) fn ask_for_offer(&mut self, core: &mut Core, why: OfferReason) {
        if self.told {
            return;
        }
        if self.stage != Stage::Up || self.exchange != Exchange::Idle || core.link.is_none() {
            if self.due != Some(OfferReason::Recovery) {
                self.due = Some(why);
            }
            return;
        }
        self.due = None;
        core.tell(Event::OfferNeeded { call: self.id.clone(), why });
    }

    /// The exchange is over: whoever waited for it has its turn.
    pub(super) fn on_idle(&mut self, core: &mut Core) {
        if let Some(why) = self.due.take() {
            self.ask_for_offer(core, why);
        }
    }

    // The far end's offers.

    pub(in super::super) fn on_offer_request(
        &mut self,
        core: &mut Core,
        key: &ServerKey,
        request: &Request,
        now: Millis,
    ) {
        let sdp = header_values::sdp(request);
        let invite = key.method == "INVITE";
        if let Some(min) = SessionTimer::too_short(request) {
            let mut response = core.response(request, 422, &self.local_tag);
            response.append(Header::MinSe, min);
            core.answer(key, &response, now);
            return;
        }
        if sdp.is_none() && !request.body().is_empty() {
            core.refuse(key, request, 415, now);
            return;
        }
        if !invite && sdp.is_none() {
            // A sign of life, or a new address: no description is asked for (RFC 3311 §5.2).
            if matches!(self.stage, Stage::Over | Stage::Leaving { .. }) {
                core.refuse(key, request, 481, now);
            } else {
                self.accept(core, key, request, None, now);
            }
            return;
        }
        let status = match (&self.stage, &self.exchange) {
            (Stage::Over | Stage::Leaving { .. }, _) => 481,
            (Stage::Up, Exchange::Idle) => 0,
            (_, Exchange::Theirs { .. }) | (Stage::Up, Exchange::Closing { offered: false }) => 500,
            _ => 491,
        };
        if status > 0 {
            core.refuse(key, request, status, now);
            return;
        }
        if invite {
            let trying = request.response(100, "Trying", None);
            core.answer(key, &trying, now);
        }
        self.exchange = Exchange::Theirs { asked: Asked::new(key.clone(), request), offered: sdp.is_some() };
        self.alarms.set(Alarm::NoAnswer, now.plus(OFFER_PATIENCE));
        core.tell(Event::Offer { call: self.id.clone(), sdp });
    }

    pub(in super::super) fn answer_offer(&mut self, core: &mut Core, sdp: &str, now: Millis) {
        match std::mem::replace(&mut self.exchange, Exchange::Idle) {
            Exchange::Theirs { asked, offered } => {
                self.alarms.clear(Alarm::NoAnswer);
                let Some(request) = asked.request() else {
                    return;
                };
                let (cseq, bytes) = self.accept(core, &asked.key, &request, Some(sdp), now);
                if asked.key.method == "INVITE" {
                    self.exchange = Exchange::Closing { offered: !offered };
                    self.keep_accepted(cseq, bytes, now);
                } else {
                    self.on_idle(core);
                }
            }
            Exchange::Late { cseq } => {
                self.alarms.clear(Alarm::NoAnswer);
                self.acknowledge_late(core, cseq, Some(sdp));
                self.on_idle(core);
            }
            other => {
                self.exchange = other;
                core.dropped("answer without an offer");
            }
        }
    }

    pub(in super::super) fn refuse_offer(&mut self, core: &mut Core, status: u16, now: Millis) {
        match std::mem::replace(&mut self.exchange, Exchange::Idle) {
            Exchange::Theirs { asked, .. } => {
                self.alarms.clear(Alarm::NoAnswer);
                if let Some(request) = asked.request() {
                    core.refuse(&asked.key, &request, status.clamp(400, 699), now);
                }
                self.on_idle(core);
            }
            Exchange::Late { cseq } => {
                self.exchange = Exchange::Late { cseq };
                self.tell_end(core, EndedBy::Local, "No common audio format", None);
                self.say_bye(core, now);
            }
            other => {
                self.exchange = other;
                core.dropped("refusal without an offer");
            }
        }
    }

    /// The driver did not answer an offer in time.
    pub(super) fn on_no_answer(&mut self, core: &mut Core, now: Millis) {
        if matches!(self.exchange, Exchange::Theirs { .. }) {
            core.tell(Event::OfferWithdrawn { call: self.id.clone() });
        }
        self.refuse_offer(core, 488, now);
    }

    // Sending again.

    /// Sends a request of the answered dialog again with the credentials it was
    /// challenged for. False: it was not challenged, or they are refused.
    pub(super) fn send_again(&mut self, core: &mut Core, client: &Client, response: &Response, now: Millis) -> bool {
        let mut draft = client.draft.clone();
        let again = match response.status() {
            401 | 407 => core.vault.challenged(response, client) == Verdict::Retry,
            422 => self.timer.raise(response, &core.config.limits, &mut draft),
            _ => false,
        };
        if !again {
            return false;
        }
        let tag = header_values::tag(&draft.to);
        let Some(leg) = self.legs.iter_mut().find(|leg| leg.dialog.remote_tag == tag) else {
            return false;
        };
        draft.cseq = leg.dialog.next_cseq();
        let method = draft.method.clone();
        let branch = core.request_again(draft, client.owner.clone(), client.retries + 1, now);
        if let Some(again) = core.client(&branch, &method) {
            // As for the first one: in a dialog nobody's phone rings.
            again.transaction.give_up_at(now.plus(TIMEOUT));
        }
        true
    }
}
