//! The upper rungs of the reconnect ladder, for each call: what a lost
//! connection ends, and how the calls that outlive it get their signalling back.

use super::super::context::Core;
use super::super::interface::{EndedBy, Event, Millis, OfferReason};
use super::{Alarm, Call, Cancel, Exchange, Stage};

/// The recovering offer is asked for again after this.
const AGAIN: u64 = 15_000;

impl Call {
    pub(in super::super) fn on_link_lost(&mut self, core: &mut Core, now: Millis) {
        let limit = now.plus(core.config.limits.recovery);
        match &mut self.stage {
            Stage::Calling { branch, cancel } => {
                // The far end may ring on: a CANCEL (again) on the next connection stops it.
                *cancel = Cancel::Wanted;
                if let Some(client) = core.client(branch, "INVITE")
                    && !self.told
                {
                    client.transaction.give_up_at(limit);
                }
                self.alarms.clear(Alarm::Ring);
                self.tell_end(core, EndedBy::Network, "Connection lost", None);
            }
            Stage::Ringing { .. } if !self.told => {
                // Nobody could tell us that the caller gave up: do not ring on.
                self.alarms.clear_all();
                self.alarms.set(Alarm::Gone, limit);
                self.tell_end(core, EndedBy::Network, "Connection lost", None);
            }
            Stage::Answered | Stage::Up => self.detach(core, limit, now),
            // Its time limit stays: a connection that comes and goes does not keep it alive.
            Stage::Leaving { bye } => *bye = false,
            Stage::Ringing { .. } | Stage::Over => {}
        }
    }

    fn detach(&mut self, core: &mut Core, limit: Millis, now: Millis) {
        let call = self.id.clone();
        match self.exchange {
            Exchange::Ours => {
                self.exchange = Exchange::Idle;
                if !self.told {
                    core.tell(Event::ReinviteRefused { call: call.clone(), status: 408, again: true });
                }
            }
            Exchange::Theirs { .. } => {
                self.settle(core, now);
                core.tell(Event::OfferWithdrawn { call: call.clone() });
            }
            Exchange::Idle | Exchange::Closing { .. } | Exchange::Late { .. } => {}
        }
        self.fail_infos(core);
        self.alarms.clear(Alarm::Recover);
        self.alarms.clear(Alarm::Glare);
        if !self.detached {
            self.detached = true;
            // From the first loss on: a connection that comes and goes is no help.
            self.alarms.set(Alarm::GiveUp, limit);
            if !self.told {
                core.tell(Event::Detached { call });
            }
        }
    }

    /// Connected and registered again.
    pub(in super::super) fn on_link_restored(&mut self, core: &mut Core, now: Millis) {
        match &self.stage {
            // Whether a provisional response was on its way when the connection broke, nobody knows.
            Stage::Calling { branch, cancel: Cancel::Wanted } => {
                let branch = branch.clone();
                self.send_cancel(core, &branch, now);
            }
            Stage::Ringing { .. } if self.told => {
                self.refuse_call(core, 480, EndedBy::Network, "Connection lost", now);
            }
            Stage::Answered if self.detached => {
                self.due = Some(OfferReason::Recovery);
                self.repeat_accepted(core, now);
            }
            Stage::Up if self.detached => self.recover(core, now),
            Stage::Leaving { bye: false } => {
                self.stage = Stage::Leaving { bye: true };
                if let Some(index) = self.chosen {
                    self.bye_leg(core, index, now);
                }
            }
            _ => {}
        }
    }

    pub(super) fn recover(&mut self, core: &mut Core, now: Millis) {
        if !self.detached || self.stage != Stage::Up || core.link.is_none() {
            return;
        }
        self.alarms.set(Alarm::Recover, now.plus(AGAIN));
        if self.exchange != Exchange::Ours {
            self.ask_for_offer(core, OfferReason::Recovery);
        }
    }

    /// A re-INVITE got through: the far end knows our new address.
    pub(super) fn attached(&mut self, core: &mut Core) {
        if self.detached {
            self.detached = false;
            self.alarms.clear(Alarm::GiveUp);
            self.alarms.clear(Alarm::Recover);
            core.tell(Event::Attached { call: self.id.clone() });
        }
    }

    pub(super) fn give_up(&mut self, core: &mut Core, now: Millis) {
        self.tell_end(core, EndedBy::Network, "Connection lost", None);
        self.say_bye(core, now);
    }
}
