//! Ending: hang-up in every state, BYE both ways.
//!
//! The person is told at once; the far end as soon as the protocol allows.

use super::super::context::{Client, Core, Role};
use super::super::interface::{EndedBy, Millis};
use super::{Alarm, Call, Exchange, Stage, TIMEOUT};
use crate::message::Response;

impl Call {
    pub(in super::super) fn hang_up(&mut self, core: &mut Core, now: Millis) {
        match self.stage {
            Stage::Calling { .. } => {
                self.tell_end(core, EndedBy::Local, "Canceled", None);
                self.cancel(core, now);
            }
            Stage::Ringing { .. } => {
                self.refuse_call(core, 603, EndedBy::Local, "Declined", now);
            }
            // The BYE waits for the ACK (RFC 3261 §15).
            Stage::Answered => self.tell_end(core, EndedBy::Local, "Hung up", None),
            Stage::Up => {
                self.tell_end(core, EndedBy::Local, "Hung up", None);
                self.say_bye(core, now);
            }
            Stage::Leaving { .. } | Stage::Over => {}
        }
    }

    /// The person signs out. A call that rings goes on ringing elsewhere: a 603 would
    /// end it on all the person's devices (RFC 3261 §16.7, item 5).
    pub(in super::super) fn leave(&mut self, core: &mut Core, now: Millis) {
        if matches!(self.stage, Stage::Ringing { .. }) {
            self.refuse_call(core, 480, EndedBy::Local, "Signed out", now);
        } else {
            self.hang_up(core, now);
        }
    }

    /// Ends the answered dialog; without a connection, as soon as there is one.
    pub(super) fn say_bye(&mut self, core: &mut Core, now: Millis) {
        self.settle(core, now);
        let Some(index) = self.chosen else {
            self.over(now);
            return;
        };
        self.over(now);
        if core.link.is_some() {
            self.stage = Stage::Leaving { bye: true };
            self.bye_leg(core, index, now);
        } else {
            self.stage = Stage::Leaving { bye: false };
        }
        let limit = TIMEOUT.max(core.config.limits.recovery);
        self.alarms.set(Alarm::Gone, now.plus(limit));
    }

    pub(super) fn bye_leg(&mut self, core: &mut Core, index: usize, now: Millis) {
        let owner = self.owner(Role::Bye);
        if let Some(leg) = self.legs.get_mut(index) {
            let draft = leg.dialog.request("BYE");
            core.request(draft, owner, now);
        }
    }

    /// What the far end waits for is refused, what our offer waits for is acknowledged.
    pub(super) fn settle(&mut self, core: &mut Core, now: Millis) {
        let exchange = std::mem::replace(&mut self.exchange, Exchange::Idle);
        self.alarms.clear(Alarm::NoAnswer);
        match exchange {
            Exchange::Theirs { asked, .. } => {
                if let Some(request) = asked.request() {
                    core.refuse(&asked.key, &request, 487, now);
                }
            }
            Exchange::Late { cseq } => self.acknowledge_late(core, cseq, None),
            other => self.exchange = other,
        }
    }

    /// The ACK of a 2xx whose offer the driver had to answer.
    pub(super) fn acknowledge_late(&mut self, core: &mut Core, cseq: u32, sdp: Option<&str>) {
        let credentials = core
            .clients
            .iter()
            .find(|client| client.draft.call_id == self.sip_id && client.draft.cseq == cseq)
            .map(|client| client.credentials.clone())
            .unwrap_or_default();
        if let Some(leg) = self.leg() {
            let mut draft = leg.dialog.ack(cseq);
            if let Some(sdp) = sdp {
                draft = draft.with_body("application/sdp", sdp);
            }
            let bytes = core.ack_bytes(&draft, &credentials);
            core.send(bytes.clone());
            leg.ack = Some((cseq, bytes));
        }
    }

    pub(super) fn on_bye_response(&mut self, core: &mut Core, client: &Client, response: &Response, now: Millis) {
        if response.is_provisional() || self.send_again(core, client, response, now) {
            return;
        }
        if matches!(self.stage, Stage::Leaving { .. }) {
            self.over(now);
        }
    }

    pub(super) fn on_bye_timeout(&mut self, now: Millis) {
        if self.stage == (Stage::Leaving { bye: true }) {
            self.over(now);
        }
    }

    /// The far end hung up; its BYE is answered already.
    pub(in super::super) fn on_bye(&mut self, core: &mut Core, now: Millis) {
        match self.stage {
            Stage::Ringing { .. } => {
                self.refuse_call(core, 487, EndedBy::Remote, "Caller hung up", now);
            }
            Stage::Calling { .. } => {
                // One early dialog is gone (RFC 3261 §15); others, and the final response, may follow.
            }
            _ => {
                self.settle(core, now);
                self.tell_end(core, EndedBy::Remote, "Remote hung up", None);
                self.over(now);
            }
        }
    }
}
