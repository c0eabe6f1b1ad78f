//! Calls whose page is gone, and the page that takes them over.
//!
//! On a reload the old page detaches or stops sending, and a new page attaches
//! shortly after. The SIP dialog continues. The new page creates a new
//! `RTCPeerConnection`, whose offer is sent to the far end in a re-INVITE.

use bitcall_sip::ua::{Command, Millis};
use bitcall_wire::agent_protocol::{AgentEvent, CallDirection, CallState, MediaRequest, OfferKind};

use super::CallList;
use super::page_commands::end_cause;
use crate::call_entry::{MediaNegotiation, RequestPurpose, media_direction};
use crate::pages::Page;

/// A call without its page ends after this time when other pages are attached.
const ORPHAN_TIMEOUT_MS: u64 = 15_000;
/// The same when no page is attached. It is longer because the page may be reloading.
const LAST_PAGE_ORPHAN_TIMEOUT_MS: u64 = 60_000;

impl CallList {
    /// The page is gone or has been silent for too long: its calls wait for another page.
    pub(super) fn orphan_calls(&mut self, page: &str, now: Millis) {
        let timeout_ms =
            if self.pages.iter().next().is_none() { LAST_PAGE_ORPHAN_TIMEOUT_MS } else { ORPHAN_TIMEOUT_MS };
        for entry in self.entries.iter_mut().filter(|entry| !entry.is_ended()) {
            entry.notified.retain(|name| name != page);
            if entry.call.page.as_deref() != Some(page) {
                continue;
            }
            if entry.is_awaiting_answer() {
                entry.discard_all_requests();
                entry.call.state = CallState::Incoming;
                entry.call.page = None;
            } else {
                entry.orphan_until = Some(now.plus(timeout_ms));
            }
        }
    }

    /// A silent page sends again. It still has the media of its calls.
    pub(super) fn page_resumed(&mut self, page: &Page) {
        for entry in &mut self.entries {
            if entry.call.page.as_deref() == Some(&page.name) {
                entry.orphan_until = None;
            }
        }
        if page.authorized {
            self.send_current_state(page.port, &page.name);
        }
    }

    /// The page takes over the calls that have lost their page.
    ///
    /// Returns the events to send to the page. The calls are new to it and to its host page,
    /// which must get the start of a call before its end.
    pub(super) fn take_over_calls(&mut self, page: &str) -> Vec<AgentEvent> {
        let mut events = Vec::new();
        for index in 0..self.entries.len() {
            let Some(entry) = self.entries.get_mut(index) else {
                continue;
            };
            if entry.is_ended() || entry.orphan_until.is_none() {
                continue;
            }
            entry.orphan_until = None;
            entry.restart_at = None;
            entry.restarts = 0;
            entry.discard_all_requests();
            let newcomer = entry.call.page.replace(page.to_owned()).as_deref() != Some(page);
            if newcomer {
                let call = entry.call.clone();
                events.push(match call.direction {
                    CallDirection::Outbound => AgentEvent::CallStarted { call },
                    CallDirection::Inbound => AgentEvent::CallIncoming { call },
                });
            }
            if newcomer && entry.call.answered_at.is_some() {
                events.push(AgentEvent::CallAnswered { call: entry.call.clone() });
            }
            if !entry.placed {
                let request = MediaRequest::Offer { direction: media_direction(false), kind: OfferKind::Current };
                self.request_media(index, RequestPurpose::InitialOffer, request);
                continue;
            }
            if entry.call.state != CallState::Active {
                entry.negotiation_is_stale = true;
                continue;
            }
            entry.resuming = true;
            match entry.negotiation {
                MediaNegotiation::AnsweringRemote => self.request_reinvite_answer(index),
                MediaNegotiation::OfferSent { .. } => entry.negotiation_is_stale = true,
                MediaNegotiation::AwaitingRetry => entry.want_offer = true,
                MediaNegotiation::Idle | MediaNegotiation::CreatingOffer { .. } => {
                    entry.negotiation = MediaNegotiation::Idle;
                    entry.want_offer = true;
                }
            }
        }
        events
    }

    /// Ends calls that no page has taken over in time, and gives up offers that were not made in time.
    pub(super) fn handle_deadlines(&mut self, now: Millis) {
        self.restart_media(now);
        for index in 0..self.entries.len() {
            let Some(entry) = self.entries.get_mut(index).filter(|entry| !entry.is_ended()) else {
                continue;
            };
            let call = entry.call.id.clone();
            if entry.orphan_until.is_some_and(|until| until <= now) {
                if entry.placed {
                    self.command(Command::HangUp { call });
                }
                self.end(index, end_cause("Page closed", None), now);
                continue;
            }
            if matches!(entry.negotiation, MediaNegotiation::CreatingOffer { until, .. } if until <= now) {
                entry.negotiation = MediaNegotiation::Idle;
                entry.discard_requests(RequestPurpose::LocalOffer);
                self.local_offer_failed(index, now);
            }
        }
    }
}
