//! Session timers (RFC 4028): periodic refreshes end a call whose far end no longer exists.

use serde::{Deserialize, Serialize};

use super::super::context::{ClientRequest, RequestRole, UaContext};
use super::super::interface::{EndedBy, Millis, OfferReason, TimerConfig};
use super::{Call, CallPhase, CallTimer, OfferAnswer, TRANSACTION_TIMEOUT_MS};
use crate::message::{Header, Headers, Refresher, Request, Response};
use crate::request_template::{RequestTemplate, number};

/// The shortest allowed session interval (§4).
const MIN_SE_SECONDS: u32 = 90;
const MIN_SE_TEXT: &str = "90";
/// A longer `Min-SE` of the far end is not accepted.
const MAX_SESSION_INTERVAL_SECONDS: u32 = 86_400;
/// Delay before a failed refresh is tried again.
const REFRESH_RETRY_DELAY_MS: u64 = 4_000;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SessionTimer {
    /// Negotiated session interval in seconds; None: no session timer.
    interval: Option<u32>,
    /// We are the refresher.
    we_refresh: bool,
    /// `Min-SE` of the far end's 422, in seconds; 0 if there was none.
    min_se: u32,
    /// The far end's `Allow` has UPDATE.
    update_allowed: bool,
}

impl SessionTimer {
    /// Adds the header fields of an initial INVITE.
    pub(super) fn add_to_invite(&self, timers: &TimerConfig, template: &mut RequestTemplate) {
        if timers.session_expires_seconds > 0 {
            self.write(timers.session_expires_seconds, "", template);
        }
    }

    /// Adds the header fields of a refresh; the roles are kept (§7.4).
    pub(super) fn add_to_refresh(&self, timers: &TimerConfig, template: &mut RequestTemplate) {
        match self.interval {
            Some(seconds) if self.we_refresh => self.write(seconds, ";refresher=uac", template),
            Some(seconds) => self.write(seconds, ";refresher=uas", template),
            None => self.add_to_invite(timers, template),
        }
    }

    fn write(&self, seconds: u32, role: &str, template: &mut RequestTemplate) {
        template.extra.retain(|(name, _)| name != "Session-Expires" && name != "Min-SE");
        let seconds = seconds.max(self.min_se).max(MIN_SE_SECONDS);
        let mut value = number(seconds.into());
        value.push_str(role);
        template.extra.push(("Session-Expires".into(), value));
        if self.min_se > 0 {
            let value = number(self.min_se.into());
            template.extra.push(("Min-SE".into(), value));
        }
    }

    /// 422: requests the longer interval, once. Returns whether to send the request again.
    pub(super) fn on_interval_too_small(
        &mut self,
        response: &Response,
        timers: &TimerConfig,
        template: &mut RequestTemplate,
    ) -> bool {
        let Ok(Some(min_se)) = response.min_se() else {
            return false;
        };
        if self.min_se > 0 || min_se > MAX_SESSION_INTERVAL_SECONDS {
            return false;
        }
        self.min_se = min_se;
        self.add_to_refresh(timers, template);
        true
    }

    /// The `Min-SE` value of the 422 response if the requested interval is too short.
    pub(super) fn min_se_for_422(request: &Request) -> Option<&'static str> {
        let requested = request.session_expires().ok().flatten()?;
        (requested.interval < MIN_SE_SECONDS && request.lists(Header::Supported, "timer")).then_some(MIN_SE_TEXT)
    }
}

impl Call {
    /// A 2xx to our INVITE or UPDATE sets the session timer.
    pub(super) fn update_session_timer(&mut self, response: &Response, now: Millis) {
        self.update_remote_allow(response);
        let agreed = response.session_expires().ok().flatten();
        self.session_timer.interval = agreed.map(|agreed| agreed.interval.max(MIN_SE_SECONDS));
        self.session_timer.we_refresh = agreed.is_some_and(|agreed| agreed.refresher != Some(Refresher::Uas));
        self.start_session_timers(now);
    }

    /// Our 2xx to an INVITE or UPDATE sets the session timer and gets its header fields.
    pub(super) fn answer_session_timer(&mut self, request: &Request, response: &mut Response, now: Millis) {
        self.update_remote_allow(request);
        let Some(requested) = request.session_expires().ok().flatten() else {
            self.session_timer.interval = None;
            self.start_session_timers(now);
            return;
        };
        let interval = requested.interval.max(MIN_SE_SECONDS);
        let supports_timer = request.lists(Header::Supported, "timer");
        self.session_timer.interval = Some(interval);
        self.session_timer.we_refresh = !supports_timer || requested.refresher == Some(Refresher::Uas);
        let mut value = number(interval.into());
        if self.session_timer.we_refresh {
            value.push_str(";refresher=uas");
        } else {
            value.push_str(";refresher=uac");
            response.append(Header::Require, "timer");
        }
        response.append(Header::SessionExpires, &value);
        self.start_session_timers(now);
    }

    fn update_remote_allow(&mut self, message: &Headers) {
        if message.has(Header::Allow) {
            self.session_timer.update_allowed = message.lists(Header::Allow, "UPDATE");
        }
    }

    pub(super) fn start_session_timers(&mut self, now: Millis) {
        self.timers.clear(CallTimer::SessionRefresh);
        self.timers.clear(CallTimer::SessionExpiry);
        let Some(seconds) = self.session_timer.interval else {
            return;
        };
        let interval_ms = u64::from(seconds) * 1_000;
        if self.session_timer.we_refresh {
            self.timers.set(CallTimer::SessionRefresh, now.plus(interval_ms / 2));
        }
        // §10: without a refresh the session ends by BYE before its expiry, by the smaller of 32 s and a third.
        self.timers.set(CallTimer::SessionExpiry, now.plus(interval_ms - (interval_ms / 3).min(32_000)));
    }

    /// The driver was stopped: a refresh that is ours may be late.
    pub(in super::super) fn on_woke(&mut self, context: &mut UaContext, now: Millis) {
        if self.session_timer.interval.is_some() && self.session_timer.we_refresh {
            self.refresh(context, now);
        }
    }

    pub(super) fn refresh(&mut self, context: &mut UaContext, now: Millis) {
        self.timers.set(CallTimer::SessionRefresh, now.plus(REFRESH_RETRY_DELAY_MS * 10));
        // Where this refresh is late, its response is awaited before the session counts as expired.
        if self.timers.at(CallTimer::SessionExpiry).is_some_and(|at| at <= now) {
            self.timers.set(CallTimer::SessionExpiry, now.plus(TRANSACTION_TIMEOUT_MS));
        }
        if self.phase != CallPhase::Established || self.detached || context.transport.is_none() {
            return;
        }
        if !self.session_timer.update_allowed {
            self.request_offer(context, OfferReason::Refresh);
        } else if self.offer_answer == OfferAnswer::Idle
            && let Some(mut template) = self.template(context, "UPDATE")
        {
            self.session_timer.add_to_refresh(&context.config.timers, &mut template);
            context.request(template, self.owner(RequestRole::Refresh), now);
        }
    }

    pub(super) fn on_refresh_response(
        &mut self,
        context: &mut UaContext,
        client: &ClientRequest,
        response: &Response,
        now: Millis,
    ) {
        if self.phase != CallPhase::Established || response.is_provisional() {
            return;
        }
        match response.status() {
            200..=299 => {
                if let Some(leg) = self.leg() {
                    leg.dialog.update_target(response);
                }
                self.update_session_timer(response, now);
                self.note_identity(context, response);
            }
            481 => self.on_dialog_lost(context, 481, now),
            405 | 501 => {
                self.session_timer.update_allowed = false;
                self.request_offer(context, OfferReason::Refresh);
            }
            _ => {
                if !self.retry(context, client, response, now) {
                    self.timers.set(CallTimer::SessionRefresh, now.plus(REFRESH_RETRY_DELAY_MS));
                }
            }
        }
    }

    pub(super) fn on_expired(&mut self, context: &mut UaContext, now: Millis) {
        self.report_end(context, EndedBy::Network, "The far end does not respond", None);
        self.end_established(context, now);
    }
}
