//! Calls whose page is gone, the page that takes them over, and the ways in which it picks them up.
//!
//! On a reload the old page detaches or stops sending, and a new page attaches shortly after. A page may also take a
//! call over from one that is still there. The SIP dialog continues. The new page makes a new connection, and the far end learns of it in a re-INVITE. Some servers
//! make no second DTLS handshake within a dialog (Asterisk 22 answers `a=connection:existing`, and DTLS stays
//! "connecting"). For them a new INVITE replaces the dialog (RFC 3891). The way that worked last is tried
//! first, until another account signs in.

use bitcall_sip::ua::{Command, Millis};
use bitcall_wire::agent_protocol::{AgentEvent, CallDirection, ToPage};

use super::CallList;
use super::page_commands::end_cause;
use super::transfer::TRANSFERRED;
use crate::call::{ConnectionTimeout, MakingOffer, Negotiation, OfferContent, OfferMethod, Owner, PickUp, Replacement};
use crate::pages::{Page, PortId};

/// A call without its page ends after this time when other pages are attached.
const ORPHAN_TIMEOUT_MS: u64 = 15_000;
/// The same when no page is attached. It is longer because the page may be reloading.
const LAST_PAGE_ORPHAN_TIMEOUT_MS: u64 = 60_000;
/// The time for a server to answer an INVITE with Replaces.
const REPLACEMENT_TIMEOUT_MS: u64 = 10_000;
/// The server ends the replaced dialog itself. After this time it is ended from our side.
pub(super) const REPLACED_TIMEOUT_MS: u64 = 5_000;

impl CallList {
    /// The page is gone or has been silent for too long: its calls wait for another page.
    pub(super) fn orphan_calls(&mut self, page: &str, now: Millis) {
        let timeout_ms =
            if self.pages.iter().next().is_none() { LAST_PAGE_ORPHAN_TIMEOUT_MS } else { ORPHAN_TIMEOUT_MS };
        for call in self.calls.iter_mut().filter(|call| !call.is_ended()) {
            call.notified.retain(|name| name != page);
            if !call.owner.is(page) {
                continue;
            }
            if call.is_awaiting_answer() {
                call.ring_again();
            } else {
                call.owner = Owner::Orphan { page: page.to_owned(), until: now.plus(timeout_ms) };
            }
        }
    }

    /// A silent page sends again. It still has the media of its calls.
    pub(super) fn page_resumed(&mut self, page: &Page) {
        for call in &mut self.calls {
            if call.owner.is(&page.name) {
                call.owner = Owner::Page(page.name.clone());
            }
        }
        if page.authorized {
            self.send_last_snapshot(page.port);
        }
    }

    /// The page takes over the calls that have lost their page.
    ///
    /// Returns the events to send to the page. The calls are new to it and to its host page,
    /// which must get the start of a call before its end.
    pub(super) fn take_over_calls(&mut self, page: &str, now: Millis) -> Vec<AgentEvent> {
        let mut events = Vec::new();
        for index in 0..self.calls.len() {
            if let Some(call) = self.calls.get(index).filter(|call| !call.is_ended())
                && let Owner::Orphan { page: earlier, .. } = &call.owner
            {
                let is_new_to_page = earlier != page;
                events.extend(self.move_to_page(index, page, is_new_to_page, now));
            }
        }
        events
    }

    /// The person wants to go on with the call in this page.
    pub(super) fn take_over(&mut self, port: PortId, call: &str, now: Millis) {
        let Some(index) = self.find(call) else {
            return self.refuse_unknown_call(port, call);
        };
        let Some(page) = self.pages.by_port(port).map(|page| page.name.clone()) else {
            return;
        };
        let Some(call) = self.calls.get_mut(index).filter(|call| !call.owner.is(&page)) else {
            // A second click.
            return;
        };
        if !call.is_active() {
            return self.refuse(port, "NOT_ACTIVE", "Only a call that is up can be taken over.");
        }
        if call.transfer.is_some() {
            return self.refuse(port, "TRANSFERRING", "The call is being transferred.");
        }
        // The page that had it will hear of its end, too.
        let is_new_to_page = !call.notified.contains(&page);
        if let Some(earlier) = call.owner.page().map(str::to_owned).filter(|name| !call.notified.contains(name)) {
            call.notified.push(earlier);
        }
        if !call.wishes.held {
            self.focus_on(index);
        }
        for event in self.move_to_page(index, &page, is_new_to_page, now) {
            self.send(port, ToPage::Event { event });
        }
    }

    /// The page has the call from now on, and makes a connection for it. Returns the events to send to the page.
    fn move_to_page(&mut self, index: usize, page: &str, is_new_to_page: bool, now: Millis) -> Vec<AgentEvent> {
        let preferred = self.pick_up_method;
        let mut events = Vec::new();
        let Some(call) = self.calls.get_mut(index) else {
            return events;
        };
        call.owner = Owner::Page(page.to_owned());
        if is_new_to_page {
            let call = call.snapshot();
            let is_answered = call.answered_at.is_some();
            events.push(match call.direction {
                CallDirection::Outbound => AgentEvent::CallStarted { call: call.clone() },
                CallDirection::Inbound => AgentEvent::CallIncoming { call: call.clone() },
            });
            if is_answered {
                events.push(AgentEvent::CallAnswered { call });
            }
        }
        call.pick_up = PickUp::First(preferred);
        self.replace_connection(index, now);
        events
    }

    /// The owner of the call makes another connection, and the far end learns of it as soon as it can.
    pub(super) fn replace_connection(&mut self, index: usize, now: Millis) {
        let Some(call) = self.calls.get_mut(index) else {
            return;
        };
        call.connection.replace();
        if let Some(replacement) = call.replacement.take() {
            // It carries the offer that is sent.
            call.negotiation = Negotiation::Idle;
            self.command(Command::HangUp { call: replacement.dialog });
            if let Some(cause) = replacement.present_ended {
                return self.end(index, cause, now);
            }
        }
        let Some(call) = self.calls.get_mut(index) else {
            return;
        };
        match &call.negotiation {
            // The result of an offer that is sent must be awaited. It is of another connection, and ignored.
            Negotiation::OfferSent(_) | Negotiation::AwaitingRetry | Negotiation::Idle => {}
            Negotiation::MakingOffer(_) | Negotiation::ApplyingAnswer(_) => {
                call.negotiation = Negotiation::Idle;
            }
            Negotiation::MakingAnswer(_) => self.request_answer(index),
        }
        if self.calls.get(index).is_some_and(|call| !call.is_placed()) {
            self.request_initial_offer(index, now);
        }
    }

    /// Requests the offer of an outgoing call.
    pub(super) fn request_initial_offer(&mut self, index: usize, now: Millis) {
        let content = OfferContent::default();
        let Some(call) = self.calls.get(index) else {
            return;
        };
        if let Some(request) = self.request_media(index, call.offer_request(content))
            && let Some(call) = self.calls.get_mut(index)
        {
            let until = now.plus(super::INITIAL_OFFER_TIMEOUT_MS);
            call.negotiation = Negotiation::MakingOffer(MakingOffer { request, content, until });
        }
    }

    /// Sends the INVITE that replaces the call's dialog.
    pub(super) fn send_replacement(&mut self, index: usize, sdp: String, now: Millis) {
        self.replacements += 1;
        let number = self.replacements;
        let Some(call) = self.calls.get_mut(index) else {
            return;
        };
        let dialog = format!("{}~{number}", call.id);
        call.replacement =
            Some(Replacement { dialog: dialog.clone(), until: now.plus(REPLACEMENT_TIMEOUT_MS), present_ended: None });
        let replaced = call.dialog.clone();
        self.command(Command::Replace { call: dialog, replaced, sdp });
    }

    /// The server has answered the INVITE with Replaces: the call goes on in the new dialog.
    pub(super) fn replaced(&mut self, index: usize, answer: Option<String>, now: Millis) {
        let Some(call) = self.calls.get_mut(index) else {
            return;
        };
        let Some(replacement) = call.replacement.take() else {
            return;
        };
        let old = std::mem::replace(&mut call.dialog, replacement.dialog);
        call.detached = false;
        self.forget_old_dialog(index);
        if replacement.present_ended.is_none() {
            self.replaced_dialogs.push((old, now.plus(REPLACED_TIMEOUT_MS)));
        }
        match answer {
            Some(answer) => self.local_offer_accepted(index, answer, now),
            None => self.pick_up_otherwise(index, None, now),
        }
    }

    /// No sound flows in the present connection. Tries to pick the call up in the way that worked last with
    /// this server, then in the other one; then the call ends.
    pub(super) fn pick_up_otherwise(&mut self, index: usize, status: Option<u16>, now: Millis) {
        let preferred = self.pick_up_method;
        let Some(call) = self.calls.get_mut(index) else {
            return;
        };
        call.pick_up = match call.pick_up {
            PickUp::None => PickUp::First(preferred),
            PickUp::First(OfferMethod::Reinvite) => PickUp::Last(OfferMethod::Replaces),
            PickUp::First(OfferMethod::Replaces) => PickUp::Last(OfferMethod::Reinvite),
            PickUp::Last(_) => {
                self.hang_up_dialogs(index);
                return self.end(index, end_cause("The call could not be resumed", status), now);
            }
        };
        self.replace_connection(index, now);
    }

    /// Sound can flow: the way in which the call was picked up is the one that this server needs.
    pub(super) fn pick_up_succeeded(&mut self, index: usize) {
        if let Some(call) = self.calls.get_mut(index) {
            match std::mem::take(&mut call.pick_up) {
                PickUp::First(method) | PickUp::Last(method) => self.pick_up_method = method,
                PickUp::None => {}
            }
        }
    }

    /// Ends what has waited for too long.
    pub(super) fn handle_deadlines(&mut self, now: Millis) {
        for index in 0..self.calls.len() {
            let Some(call) = self.calls.get_mut(index).filter(|call| !call.is_ended()) else {
                continue;
            };
            if matches!(call.owner, Owner::Orphan { until, .. } if until <= now) {
                self.hang_up_dialogs(index);
                self.end(index, end_cause("Page closed", None), now);
                continue;
            }
            if call.handed_over.is_some_and(|until| until <= now) {
                self.hang_up_dialogs(index);
                self.end(index, end_cause(TRANSFERRED, None), now);
                continue;
            }
            if let Some(replaced_by) = call.replaced_by.as_ref().filter(|replaced_by| replaced_by.until <= now) {
                let call = replaced_by.dialog.clone();
                self.command(Command::Reject { call, status: 480 });
                self.drop_replacement(index, now);
                continue;
            }
            if call.replacement.as_ref().is_some_and(|replacement| replacement.until <= now) {
                self.pick_up_otherwise(index, None, now);
                continue;
            }
            // Before the answer nothing can be offered: what is due then waits for it.
            let due = if call.is_active() { call.connection.take_timeout(now) } else { None };
            match due {
                Some(ConnectionTimeout::RestartIce) => call.wishes.restart_ice = true,
                Some(ConnectionTimeout::NoMedia) => self.pick_up_otherwise(index, None, now),
                None => {}
            }
            self.handle_negotiation_timeout(index, now);
        }
        while let Some(place) = self.replaced_dialogs.iter().position(|(_, until)| *until <= now) {
            let (call, _) = self.replaced_dialogs.remove(place);
            self.command(Command::HangUp { call });
        }
    }
}
