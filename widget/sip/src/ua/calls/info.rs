//! INFO, one after the other.

use super::super::context::{Client, Core, Role};
use super::super::interface::{Event, Millis};
use super::{Call, Stage};
use crate::message::{Request, Response};

/// Digits typed faster than they are answered; more are not kept.
const MAX_WAITING: usize = 64;

impl Call {
    pub(in super::super) fn info(&mut self, core: &mut Core, content_type: String, body: String, now: Millis) {
        if self.stage != Stage::Up || self.infos.len() >= MAX_WAITING || core.link.is_none() {
            self.info_answered(core, 408);
            return;
        }
        self.infos.push_back((content_type, body));
        if self.infos.len() == 1 {
            self.send_info(core, now);
        }
    }

    /// The first in line is the one under way.
    fn send_info(&mut self, core: &mut Core, now: Millis) {
        let owner = self.owner(Role::Info);
        let Some((content_type, body)) = self.infos.front().cloned() else {
            return;
        };
        if let Some(draft) = self.draft(core, "INFO").filter(|_| self.stage == Stage::Up) {
            core.request(draft.with_body(&content_type, &body), owner, now);
        }
    }

    fn info_answered(&mut self, core: &mut Core, status: u16) {
        if !self.told {
            core.tell(Event::InfoAnswered { call: self.id.clone(), status });
        }
    }

    pub(super) fn on_info_response(&mut self, core: &mut Core, client: &Client, response: &Response, now: Millis) {
        if response.is_provisional() || self.send_again(core, client, response, now) {
            return;
        }
        self.info_over(core, response.status());
        if response.status() == 481 && self.stage == Stage::Up && !self.detached {
            self.lost_dialog(core, 481, now);
        } else {
            self.send_info(core, now);
        }
    }

    pub(super) fn on_info_timeout(&mut self, core: &mut Core, now: Millis) {
        self.info_over(core, 408);
        self.send_info(core, now);
    }

    fn info_over(&mut self, core: &mut Core, status: u16) {
        if self.infos.pop_front().is_some() {
            self.info_answered(core, status);
        }
    }

    /// The connection is lost: digits that come late would be wrong digits.
    pub(super) fn fail_infos(&mut self, core: &mut Core) {
        while self.infos.pop_front().is_some() {
            self.info_answered(core, 408);
        }
    }

    pub(in super::super) fn on_info(&mut self, core: &mut Core, request: &Request) {
        if !self.told {
            core.tell(Event::Info {
                call: self.id.clone(),
                content_type: request.content_type().unwrap_or_default().into(),
                body: request.body().to_vec(),
            });
        }
    }
}
