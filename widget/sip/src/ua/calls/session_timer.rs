//! Session timers (RFC 4028): a call whose far end vanished does not last for ever.

use serde::{Deserialize, Serialize};

use super::super::context::{Client, Core, Role};
use super::super::interface::{EndedBy, Limits, Millis, OfferReason};
use super::{Alarm, Call, Exchange, Stage};
use crate::message::{Header, Headers, Refresher, Request, Response};
use crate::request_template::{Draft, number};

/// The shortest interval anybody may ask for (§4), in seconds.
const MIN_SE: u32 = 90;
const MIN_SE_TEXT: &str = "90";
/// A pause before a refresh is tried again, in milliseconds.
const PAUSE: u64 = 4_000;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SessionTimer {
    /// Seconds agreed on; None: no timer.
    interval: Option<u32>,
    we_refresh: bool,
    /// The far end's `Min-SE`, once it refused a shorter interval.
    min_se: u32,
    /// The far end understands UPDATE.
    update: bool,
}

impl SessionTimer {
    /// Header fields of an INVITE that makes a call.
    pub(super) fn ask(&self, limits: &Limits, draft: &mut Draft) {
        if limits.session_seconds > 0 {
            self.write(limits.session_seconds, "", draft);
        }
    }

    /// Header fields of a refresh; roles stay as they are (§7.4).
    pub(super) fn ask_again(&self, limits: &Limits, draft: &mut Draft) {
        match self.interval {
            Some(seconds) if self.we_refresh => self.write(seconds, ";refresher=uac", draft),
            Some(seconds) => self.write(seconds, ";refresher=uas", draft),
            None => self.ask(limits, draft),
        }
    }

    fn write(&self, seconds: u32, role: &str, draft: &mut Draft) {
        draft.extra.retain(|(name, _)| name != "Session-Expires" && name != "Min-SE");
        let seconds = seconds.max(self.min_se).max(MIN_SE);
        let mut value = number(seconds.into());
        value.push_str(role);
        draft.extra.push(("Session-Expires".into(), value));
        if self.min_se > 0 {
            let value = number(self.min_se.into());
            draft.extra.push(("Min-SE".into(), value));
        }
    }

    /// 422: asks for the longer interval, once.
    pub(super) fn raise(&mut self, response: &Response, limits: &Limits, draft: &mut Draft) -> bool {
        let Ok(Some(least)) = response.min_se() else {
            return false;
        };
        if self.min_se > 0 || least > 86_400 {
            return false;
        }
        self.min_se = least;
        self.ask_again(limits, draft);
        true
    }

    /// `Min-SE` for the 422 to an interval that is too short.
    pub(super) fn too_short(request: &Request) -> Option<&'static str> {
        let asked = request.session_expires().ok().flatten()?;
        (asked.interval < MIN_SE && request.lists(Header::Supported, "timer")).then_some(MIN_SE_TEXT)
    }
}

impl Call {
    /// A 2xx to an INVITE or UPDATE of ours.
    pub(super) fn learn_timer(&mut self, response: &Response, now: Millis) {
        self.learn_update(response);
        let agreed = response.session_expires().ok().flatten();
        self.timer.interval = agreed.map(|agreed| agreed.interval.max(MIN_SE));
        self.timer.we_refresh = agreed.is_some_and(|agreed| agreed.refresher != Some(Refresher::Uas));
        self.arm_timer(now);
    }

    /// Our 2xx to an INVITE or UPDATE.
    pub(super) fn serve_timer(&mut self, request: &Request, response: &mut Response, now: Millis) {
        self.learn_update(request);
        let Some(asked) = request.session_expires().ok().flatten() else {
            self.timer.interval = None;
            self.arm_timer(now);
            return;
        };
        let interval = asked.interval.max(MIN_SE);
        let understood = request.lists(Header::Supported, "timer");
        self.timer.interval = Some(interval);
        self.timer.we_refresh = !understood || asked.refresher == Some(Refresher::Uas);
        let mut value = number(interval.into());
        if self.timer.we_refresh {
            value.push_str(";refresher=uas");
        } else {
            value.push_str(";refresher=uac");
            response.append(Header::Require, "timer");
        }
        response.append(Header::SessionExpires, &value);
        self.arm_timer(now);
    }

    fn learn_update(&mut self, message: &Headers) {
        if message.has(Header::Allow) {
            self.timer.update = message.lists(Header::Allow, "UPDATE");
        }
    }

    fn arm_timer(&mut self, now: Millis) {
        self.alarms.clear(Alarm::Refresh);
        self.alarms.clear(Alarm::Expired);
        let Some(seconds) = self.timer.interval else {
            return;
        };
        let full = u64::from(seconds) * 1_000;
        if self.timer.we_refresh {
            self.alarms.set(Alarm::Refresh, now.plus(full / 2));
        }
        // §10: the side that does not refresh ends the call a little before the interval is over.
        self.alarms.set(Alarm::Expired, now.plus(full - (full / 3).min(32_000)));
    }

    pub(super) fn refresh(&mut self, core: &mut Core, now: Millis) {
        self.alarms.set(Alarm::Refresh, now.plus(PAUSE * 10));
        if self.stage != Stage::Up || self.detached || core.link.is_none() {
            return;
        }
        if !self.timer.update {
            self.ask_for_offer(core, OfferReason::Refresh);
        } else if self.exchange == Exchange::Idle
            && let Some(mut draft) = self.draft(core, "UPDATE")
        {
            self.timer.ask_again(&core.config.limits, &mut draft);
            core.request(draft, self.owner(Role::Refresh), now);
        }
    }

    pub(super) fn on_refresh_response(&mut self, core: &mut Core, client: &Client, response: &Response, now: Millis) {
        if self.stage != Stage::Up || response.is_provisional() {
            return;
        }
        match response.status() {
            200..=299 => {
                if let Some(leg) = self.leg() {
                    leg.dialog.retarget(response);
                }
                self.learn_timer(response, now);
            }
            481 => self.lost_dialog(core, 481, now),
            405 | 501 => {
                self.timer.update = false;
                self.ask_for_offer(core, OfferReason::Refresh);
            }
            _ => {
                if !self.send_again(core, client, response, now) {
                    self.alarms.set(Alarm::Refresh, now.plus(PAUSE));
                }
            }
        }
    }

    pub(super) fn on_expired(&mut self, core: &mut Core, now: Millis) {
        self.tell_end(core, EndedBy::Network, "The far end does not respond", None);
        self.say_bye(core, now);
    }
}
