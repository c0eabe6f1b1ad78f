//! The calling side: INVITE, its early dialogs and forks, CANCEL and its races.

use super::super::context::{ALLOW, Client, Core, Role, SUPPORTED};
use super::super::credential_store::Verdict;
use super::super::interface::{CallId, EndedBy, Event, Millis};
use super::super::status_text::refusal_in_words;
use super::{Alarm, Call, Cancel, Exchange, Leg, OFFER_PATIENCE, Stage, TIMEOUT};
use crate::dialog::Dialog;
use crate::header_values;
use crate::message::{Header, Response};
use crate::request_template::number;
use crate::transaction::Heard;

/// More early dialogs than this are not kept apart.
const MAX_LEGS: usize = 16;

impl Call {
    pub(in super::super) fn place(
        core: &mut Core,
        id: CallId,
        uri: &str,
        caller_id: Option<&str>,
        sdp: Option<&str>,
        now: Millis,
    ) -> Self {
        let mut to = String::from("<");
        to.push_str(uri);
        to.push('>');
        let mut draft = core.draft("INVITE", uri, &to);
        let mut call = Self::new(id, draft.call_id.clone(), header_values::tag(&draft.from).into(), Stage::Over);
        call.outgoing = true;
        draft = draft.with("Contact", &core.contact()).with("Allow", ALLOW).with("Supported", SUPPORTED);
        if let Some(identity) = caller_id {
            draft = draft.with("P-Asserted-Identity", &identity_of(core, identity));
        }
        call.timer.ask(&core.config.limits, &mut draft);
        if let Some(sdp) = sdp {
            draft = draft.with_body("application/sdp", sdp);
        }
        let branch = core.request(draft, call.owner(Role::Invite), now);
        call.stage = Stage::Calling { branch, cancel: Cancel::No };
        call.alarms.set(Alarm::Ring, now.plus(core.config.limits.ring));
        call
    }

    /// A response to the INVITE that made this call.
    pub(super) fn on_invite_response(
        &mut self,
        core: &mut Core,
        client: &Client,
        heard: Heard,
        response: &Response,
        now: Millis,
    ) {
        match heard {
            Heard::Provisional => self.on_progress(core, client, response, now),
            Heard::Success => self.on_accepted(core, client, response, now),
            Heard::Refusal => self.on_refused(core, client, response, now),
            Heard::Nothing => {}
        }
    }

    fn on_progress(&mut self, core: &mut Core, client: &Client, response: &Response, now: Millis) {
        let Stage::Calling { cancel, .. } = &self.stage else {
            return;
        };
        if *cancel == Cancel::Wanted {
            self.cancel(core, now);
            return;
        }
        let status = response.status();
        if status == 100 || self.told {
            return;
        }
        let sdp = header_values::sdp(response);
        let early = header_values::to_tag(response);
        let mut named = None;
        if !early.is_empty() {
            let Some(index) = self.leg_of(client, response) else {
                core.dropped("too many early dialogs");
                return;
            };
            if !self.acknowledge_provisional(core, index, client, response, now) {
                return;
            }
            if let (Some(leg), Some(sdp)) = (self.legs.get_mut(index), &sdp) {
                leg.early_sdp = Some(sdp.clone());
            }
            named = Some(early.to_owned());
        }
        core.tell(Event::Progress { call: self.id.clone(), status, sdp, early: named });
    }

    /// PRACK where it is asked for (RFC 3262 §4), in the response's own dialog. False: out of order.
    fn acknowledge_provisional(
        &mut self,
        core: &mut Core,
        index: usize,
        client: &Client,
        response: &Response,
        now: Millis,
    ) -> bool {
        let (true, Ok(Some(rseq))) = (response.lists(Header::Require, "100rel"), response.rseq()) else {
            return true;
        };
        let owner = self.owner(Role::Prack);
        let Some(leg) = self.legs.get_mut(index) else {
            return false;
        };
        if leg.rseq.is_some_and(|last| Some(rseq) != last.checked_add(1)) {
            core.dropped("reliable provisional response repeated or out of order");
            return false;
        }
        leg.rseq = Some(rseq);
        let mut rack = number(rseq.into());
        rack.push(' ');
        rack.push_str(&number(client.draft.cseq.into()));
        rack.push_str(" INVITE");
        let draft = leg.dialog.request("PRACK").with("RAck", &rack);
        core.request(draft, owner, now);
        true
    }

    /// The leg a response belongs to, made where it is the first of its tag.
    fn leg_of(&mut self, client: &Client, response: &Response) -> Option<usize> {
        let tag = header_values::to_tag(response);
        let known = self.legs.iter().position(|leg| leg.dialog.remote_tag == tag);
        if known.is_some() || (self.legs.len() >= MAX_LEGS && response.is_provisional()) {
            return known;
        }
        self.legs.push(Leg {
            dialog: Dialog::of_response(&client.draft, response),
            early_sdp: None,
            rseq: None,
            ack: None,
        });
        Some(self.legs.len() - 1)
    }

    /// A 2xx: of the first fork that answers it makes the call, of any other (and of
    /// a call hung up meanwhile) it is acknowledged and ended (RFC 3261 §13.2.2.4).
    fn on_accepted(&mut self, core: &mut Core, client: &Client, response: &Response, now: Millis) {
        let cseq = client.draft.cseq;
        let Some(index) = self.leg_of(client, response) else {
            return;
        };
        let wanted = self.chosen.is_none() && matches!(self.stage, Stage::Calling { .. });
        let waits = self.chosen == Some(index) && self.exchange == Exchange::Late { cseq };
        let Some(leg) = self.legs.get_mut(index) else {
            return;
        };
        if let Some((acked, bytes)) = &leg.ack
            && *acked == cseq
        {
            core.send(bytes.clone());
            return;
        }
        if waits {
            return;
        }
        leg.dialog.confirm(response);
        let early_sdp = leg.early_sdp.take();
        if !wanted {
            self.acknowledge(core, index, client, None, now);
            self.bye_leg(core, index, now);
            return;
        }
        self.chosen = Some(index);
        self.alarms.clear(Alarm::Ring);
        if self.told {
            self.acknowledge(core, index, client, None, now);
            self.say_bye(core, now);
            return;
        }
        self.stage = Stage::Up;
        self.learn_timer(response, now);
        let sdp = header_values::sdp(response);
        let early = Some(header_values::to_tag(response).to_owned());
        let call = self.id.clone();
        if client.draft.is_sdp() {
            self.acknowledge(core, index, client, None, now);
            let sdp = sdp.or(early_sdp);
            if sdp.is_none() {
                self.tell_end(core, EndedBy::Remote, "No common audio format", None);
                self.say_bye(core, now);
                return;
            }
            core.tell(Event::Answered { call, sdp, early });
        } else if let Some(sdp) = sdp {
            core.tell(Event::Answered { call: call.clone(), sdp: None, early });
            self.exchange = Exchange::Late { cseq };
            self.alarms.set(Alarm::NoAnswer, now.plus(OFFER_PATIENCE));
            core.tell(Event::Offer { call, sdp: Some(sdp) });
        } else {
            self.acknowledge(core, index, client, None, now);
            self.tell_end(core, EndedBy::Remote, "No common audio format", None);
            self.say_bye(core, now);
        }
    }

    /// Sends a 2xx's ACK and keeps it for when the 2xx comes again.
    pub(super) fn acknowledge(
        &mut self,
        core: &mut Core,
        index: usize,
        client: &Client,
        sdp: Option<&str>,
        _now: Millis,
    ) {
        let Some(leg) = self.legs.get_mut(index) else {
            return;
        };
        let mut draft = leg.dialog.ack(client.draft.cseq);
        if let Some(sdp) = sdp {
            draft = draft.with_body("application/sdp", sdp);
        }
        let bytes = core.ack_bytes(&draft, &client.credentials);
        core.send(bytes.clone());
        leg.ack = Some((client.draft.cseq, bytes));
    }

    /// A 2xx came after its transaction's end. False: it is news, not a repetition.
    pub(in super::super) fn repeat_ack(&mut self, core: &mut Core, remote_tag: &str, cseq: u32) -> bool {
        if self.exchange == (Exchange::Late { cseq }) {
            return true;
        }
        let leg = self.legs.iter().find(|leg| leg.dialog.remote_tag == remote_tag);
        if let Some((acked, bytes)) = leg.and_then(|leg| leg.ack.as_ref())
            && *acked == cseq
        {
            core.send(bytes.clone());
            return true;
        }
        false
    }

    fn on_refused(&mut self, core: &mut Core, client: &Client, response: &Response, now: Millis) {
        let status = response.status();
        if self.told {
            self.over(now);
            return;
        }
        let mut draft = client.draft.clone();
        let again = match status {
            401 | 407 => core.vault.challenged(response, client) == Verdict::Retry,
            422 => self.timer.raise(response, &core.config.limits, &mut draft),
            _ => false,
        };
        if again {
            draft.cseq += 1;
            self.legs.clear();
            let branch = core.request_again(draft, self.owner(Role::Invite), client.retries + 1, now);
            self.stage = Stage::Calling { branch, cancel: Cancel::No };
            return;
        }
        self.tell_end(core, EndedBy::Remote, refusal_in_words(status), Some(status));
        self.over(now);
    }

    /// No response at all to the INVITE, or none after CANCEL.
    pub(super) fn on_invite_timeout(&mut self, core: &mut Core, now: Millis) {
        self.tell_end(core, EndedBy::Network, "No answer from the server", Some(408));
        self.over(now);
    }

    pub(super) fn on_rung_out(&mut self, core: &mut Core, now: Millis) {
        match &self.stage {
            Stage::Calling { .. } => {
                self.tell_end(core, EndedBy::Network, "No answer", None);
                self.cancel(core, now);
            }
            Stage::Ringing { .. } => {
                self.refuse_call(core, 480, EndedBy::Network, "No answer", now);
            }
            _ => {}
        }
    }

    /// Sends CANCEL as soon as that is allowed: after a provisional response (RFC 3261 §9.1).
    pub(super) fn cancel(&mut self, core: &mut Core, now: Millis) {
        let Stage::Calling { branch, cancel } = &mut self.stage else {
            return;
        };
        if *cancel == Cancel::Sent {
            return;
        }
        self.alarms.clear(Alarm::Ring);
        *cancel = Cancel::Wanted;
        let branch = branch.clone();
        let connected = core.link.is_some();
        match core.client(&branch, "INVITE") {
            None => self.over(now),
            Some(client) if connected && client.transaction.is_proceeding() => self.send_cancel(core, &branch, now),
            Some(_) => {}
        }
    }

    pub(super) fn send_cancel(&mut self, core: &mut Core, branch: &str, now: Millis) {
        let Some(client) = core.client(branch, "INVITE") else {
            self.over(now);
            return;
        };
        client.transaction.give_up_at(now.plus(TIMEOUT));
        let draft = client.draft.companion("CANCEL", &client.draft.to);
        core.request_on(branch, draft, self.owner(Role::Cancel), now);
        self.stage = Stage::Calling { branch: branch.into(), cancel: Cancel::Sent };
    }
}

/// `<sip:caller@domain>`, or the URI itself.
fn identity_of(core: &Core, caller_id: &str) -> String {
    let mut value = String::from("<");
    if caller_id.contains(':') {
        value.push_str(caller_id);
    } else {
        value.push_str("sip:");
        value.push_str(&crate::uri::escape_user(caller_id));
        value.push('@');
        value.push_str(&core.config.domain);
    }
    value.push('>');
    value
}
