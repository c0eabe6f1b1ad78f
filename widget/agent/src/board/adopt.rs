//! Calls whose page is gone, and the page that takes them over.
//!
//! A reload looks like this: the old page detaches, or falls silent; a moment
//! later a new one attaches. The dialog has never stopped. The new page makes
//! a fresh connection and offers it to the far end by a re-INVITE.

use bitcall_sip::ua::{Command, Millis};
use bitcall_wire::agent_protocol::{AgentEvent, CallDirection, CallState, MediaRequest};

use super::Board;
use super::commands::cause;
use crate::line::{Exchange, Purpose, flow};
use crate::pages::Page;

/// A call without its page ends after this, when other pages are there...
const ORPHAN_MS: u64 = 15_000;
/// ...and after this, when none is.
const ORPHAN_ALONE_MS: u64 = 60_000;

impl Board {
    /// The page is gone, or silent for too long.
    pub(super) fn orphan(&mut self, page: &str, now: Millis) {
        let patience = if self.pages.iter().next().is_none() { ORPHAN_ALONE_MS } else { ORPHAN_MS };
        for line in self.lines.iter_mut().filter(|line| !line.ended()) {
            line.told.retain(|name| name != page);
            if line.call.page.as_deref() != Some(page) {
                continue;
            }
            if line.picking_up() {
                line.forget_all();
                line.call.state = CallState::Incoming;
                line.call.page = None;
            } else {
                line.orphan_until = Some(now.plus(patience));
            }
        }
    }

    /// A page that was silent is heard again: it still has its media.
    pub(super) fn awake(&mut self, page: &Page) {
        for line in &mut self.lines {
            if line.call.page.as_deref() == Some(&page.name) {
                line.orphan_until = None;
            }
        }
        if page.admitted {
            self.catch_up(page.port, &page.name);
        }
    }

    /// A page has come: it takes over what has lost its page.
    ///
    /// Returns what that page has to be told: to it, and to the host page around
    /// it, the call is new, and its end would mean nothing without a beginning.
    pub(super) fn adopt(&mut self, page: &str) -> Vec<AgentEvent> {
        let mut events = Vec::new();
        for index in 0..self.lines.len() {
            let Some(line) = self.lines.get_mut(index) else {
                continue;
            };
            if line.ended() || line.orphan_until.is_none() {
                continue;
            }
            line.orphan_until = None;
            line.restart_at = None;
            line.restarts = 0;
            line.forget_all();
            let newcomer = line.call.page.replace(page.to_owned()).as_deref() != Some(page);
            if newcomer {
                let call = line.call.clone();
                events.push(match call.direction {
                    CallDirection::Outbound => AgentEvent::CallStarted { call },
                    CallDirection::Inbound => AgentEvent::CallIncoming { call },
                });
            }
            if newcomer && line.call.answered_at.is_some() {
                events.push(AgentEvent::CallAnswered { call: line.call.clone() });
            }
            if !line.placed {
                let ask = MediaRequest::Offer { flow: flow(false), restart_ice: false };
                self.ask(index, Purpose::Place, ask);
                continue;
            }
            if line.call.state != CallState::Active {
                line.stale = true;
                continue;
            }
            line.resuming = true;
            match line.exchange {
                Exchange::Following => self.follow(index),
                Exchange::Sent { .. } => line.stale = true,
                Exchange::Waiting => line.want_offer = true,
                Exchange::Idle | Exchange::Offering { .. } => {
                    line.exchange = Exchange::Idle;
                    line.want_offer = true;
                }
            }
        }
        events
    }

    /// What had its time.
    pub(super) fn expire(&mut self, now: Millis) {
        self.restart_media(now);
        for index in 0..self.lines.len() {
            let Some(line) = self.lines.get_mut(index).filter(|line| !line.ended()) else {
                continue;
            };
            let call = line.call.id.clone();
            if line.orphan_until.is_some_and(|until| until <= now) {
                if line.placed {
                    self.command(Command::HangUp { call });
                }
                self.end(index, cause("Page closed", None), now);
                continue;
            }
            if matches!(line.exchange, Exchange::Offering { until, .. } if until <= now) {
                line.exchange = Exchange::Idle;
                line.forget(Purpose::Change);
                self.change_failed(index, now);
            }
        }
    }
}
