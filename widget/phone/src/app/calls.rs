//! Places, answers and ends calls, and notifies the host page about them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bitcall_wire::agent_protocol::{
    AgentEvent, AgentSnapshot, CallDirection, CallEndCause, CallId, CallOptions, CallSnapshot, HoldState,
    RegistrationStatus, ToPage,
};
use bitcall_wire::call_headers;
use bitcall_wire::host_protocol::definition::{CallRequest, code};
use bitcall_wire::host_protocol::{
    CallEndedPayload, CallIncomingPayload, CallRef, CallUpdatedPayload, EmptyPayload, FromPhone, HostEvent, PhoneError,
};
use bitcall_wire::number::{self, Dialled};
use bitcall_wire::small_map::SmallMap;

use super::App;
use super::call_reports::LastReport;
use super::sign_in::recents_name;
use crate::browser::{BrowserTimer, debug, monotonic_ms};
use crate::host_port::CommandId;
use crate::notified_calls::NotifiedCalls;
use crate::page;
use crate::recents::{self, RecentCall};
use crate::screens::caller;
use crate::secondary;
use crate::ui::{ClipAction, Screen, Tab, UserAction, as_clause, find_call, focused_call, incoming_call, phone_status};

/// How long the card of an answered call stays after the call has ended.
const ENDED_CARD_TIMEOUT_MS: i32 = 8_000;
/// How long a `call()` of the host page waits for the registration. Later the person no longer expects it.
const PENDING_CALL_TIMEOUT_MS: i32 = 30_000;
/// Texts that nobody has dismissed. What comes after them is not shown.
const MAX_MESSAGES: usize = 20;

#[derive(Default)]
pub(super) struct Calls {
    pending: RefCell<Option<PendingCall>>,
    /// Calls missed since the person last used the phone.
    pub(super) missed: Cell<u32>,
    pub(super) notified: RefCell<NotifiedCalls>,
    pub(super) last_report: LastReport,
    /// Calls that were ended on this page: they get no card at their end.
    ended_here: RefCell<SmallMap<CallId, ()>>,
}

/// A `call()` of the host that waits for the registration.
struct PendingCall {
    call: CallRequest,
    id: CommandId,
    _timeout: BrowserTimer,
}

impl App {
    pub(super) fn handle_call_action(self: &Rc<Self>, action: UserAction) {
        let ui = self.ui;
        match action {
            UserAction::Type(key) => {
                if let Some(media) = self.media() {
                    media.key_tone(key);
                }
                ui.number_error.set(None);
                ui.tab.set(Tab::Keypad);
                ui.number.update(|number| number.push(key));
            }
            UserAction::Backspace => {
                ui.number_error.set(None);
                ui.number.update(|number| {
                    number.pop();
                });
            }
            UserAction::Call if !ui.transfer_open.get_untracked() => self.call_typed(),
            UserAction::CallNumber(number) => {
                ui.number.set(number);
                ui.tab.set(Tab::Keypad);
                if !ui.transfer_open.get_untracked() {
                    self.call_typed();
                }
            }
            UserAction::EditNumber(number) => {
                ui.ended.set(None);
                ui.number_error.set(None);
                ui.number.set(number);
                ui.tab.set(Tab::Keypad);
            }
            UserAction::Answer(call, others) => self.with_agent(|agent| {
                agent.answer(&call, others);
                ui.digits.set(String::new());
                ui.keypad_open.set(false);
                ui.tab.set(Tab::Keypad);
            }),
            UserAction::Decline(call) => self.with_agent(|agent| agent.decline(&call)),
            UserAction::HangUp(call) => self.hang_up_together(&call),
            UserAction::Mute(call, muted) => {
                if let Some(media) = self.media() {
                    media.set_muted(&call, muted);
                }
            }
            UserAction::Hold(call, held) => {
                ui.call_notice.set(None);
                self.with_agent(|agent| agent.hold(&call, held));
            }
            UserAction::TakeOver(call) => self.with_agent(|agent| agent.take_over(&call)),
            UserAction::SwapTo(call) => self.swap_to(&call),
            UserAction::Digits(call, typed) => self.send_digits(&call, &typed),
            UserAction::ToggleKeypad => {
                ui.clips_open.set(false);
                ui.keypad_open.set(!ui.keypad_open.get_untracked());
            }
            UserAction::ToggleTransfer => {
                self.show_transfer(!ui.transfer_open.get_untracked());
                self.load_secondary_part();
            }
            UserAction::ToggleClips => {
                ui.keypad_open.set(false);
                ui.clips_open.set(!ui.clips_open.get_untracked());
                self.pass_to_secondary(UserAction::Clip(ClipAction::Load));
            }
            UserAction::DismissEnded => ui.ended.set(None),
            action => self.pass_to_secondary(action),
        }
    }

    /// Handles a message of the agent.
    pub(super) fn handle_agent_message(self: &Rc<Self>, message: ToPage) {
        match message {
            ToPage::Snapshot { snapshot } => self.apply_snapshot(&snapshot),
            ToPage::Event { event } => self.handle_event(event),
            ToPage::Log { line } => {
                if self.with_tenant(|tenant| tenant.host.debug) == Some(true) {
                    debug(&format!("bitcall: {line}").into());
                }
            }
            // Handled by the agent client.
            ToPage::Media { .. } | ToPage::RingingOffer { .. } | ToPage::Keep { .. } => {}
        }
    }

    /// `call()` by the host page.
    pub(super) fn host_call(self: &Rc<Self>, call: CallRequest, id: CommandId) {
        let ui = self.ui;
        let dialled = match number::dialled(&call.number) {
            Ok(dialled) => dialled,
            Err(text) => return self.answer(id, Err(PhoneError::with(code::BAD_NUMBER, &text))),
        };
        let headers = call.headers.clone().unwrap_or_default();
        if let Err(text) = call_headers::check(&headers) {
            return self.answer(id, Err(PhoneError::with(code::BAD_HEADERS, &text)));
        }
        self.tell(&FromPhone::Show(EmptyPayload {}));
        if self.can_call() {
            ui.tab.set(Tab::Keypad);
            self.place_call(&dialled, CallOptions { caller_id: call.caller_id, headers, consults_for: None });
            self.answer(id, Ok(()));
        } else {
            // Not registered yet, usually right after sign-in. Meanwhile the number field shows what will
            // be called.
            self.cancel_pending_call("Another call was asked for before the phone was connected.");
            ui.number.set(call.number.clone());
            let app = Rc::downgrade(self);
            let timeout = BrowserTimer::after(PENDING_CALL_TIMEOUT_MS, move || {
                if let Some(app) = app.upgrade() {
                    app.cancel_pending_call("The phone did not get connected in time.");
                }
            });
            *self.calls.pending.borrow_mut() = Some(PendingCall { call, id, _timeout: timeout });
        }
    }

    /// Drops a `call()` that waited for the registration: placed later, or with another account, it would
    /// surprise the person.
    pub(super) fn cancel_pending_call(&self, why: &str) {
        let waited = self.calls.pending.borrow_mut().take();
        if let Some(PendingCall { id, .. }) = waited {
            self.answer(id, Err(PhoneError::with(code::NOT_REGISTERED, why)));
        }
    }

    /// The phone is registered.
    pub(super) fn place_pending_call(self: &Rc<Self>) {
        let waited = self.calls.pending.borrow_mut().take();
        if let Some(PendingCall { call, id, .. }) = waited {
            self.host_call(call, id);
        }
    }

    /// `hangup()` by the host page.
    pub(super) fn host_hang_up(self: &Rc<Self>, which: Option<CallId>) -> Result<(), PhoneError> {
        let waited = if which.is_none() { self.calls.pending.borrow_mut().take() } else { None };
        let has_waited = waited.is_some();
        if let Some(PendingCall { id, .. }) = waited {
            // As wished: nothing is wrong.
            self.answer(id, Ok(()));
        }
        let target = self.ui.snapshot.with_untracked(|snapshot| match &which {
            Some(id) => find_call(snapshot, id).map(|call| call.id.clone()),
            None => focused_call(snapshot).or(snapshot.calls.first()).map(|call| call.id.clone()),
        });
        match (target, which) {
            (Some(id), Some(_)) => self.hang_up(&id),
            (Some(id), None) => self.hang_up_together(&id),
            (None, Some(id)) => {
                return Err(PhoneError::with(code::UNKNOWN_CALL, &format!("There is no call “{id}”.")));
            }
            (None, None) if has_waited => self.ui.number.set(String::new()),
            (None, None) => return Err(PhoneError::with(code::UNKNOWN_CALL, "There is no call to hang up.")),
        }
        Ok(())
    }

    fn call_typed(self: &Rc<Self>) {
        let ui = self.ui;
        let typed = ui.number.get_clone_untracked();
        if typed.trim().is_empty() {
            // As on other phones: without a number, the call key brings back the last one, and a second
            // press calls it.
            if let Some(last) = ui.last_number.get_clone_untracked().or_else(|| self.last_called_number()) {
                ui.number.set(last);
            }
            return;
        }
        let dialled = match number::dialled(&typed) {
            Ok(dialled) => dialled,
            Err(text) => return ui.number_error.set(Some(text)),
        };
        if !self.can_call() {
            let status = ui.snapshot.with_untracked(phone_status).text;
            ui.number_error.set(Some(format!("No call possible: {}.", as_clause(status.trim_end_matches('…')))));
            return;
        }
        self.place_call(&dialled, CallOptions::default());
    }

    pub(super) fn place_call(self: &Rc<Self>, dialled: &Dialled, mut options: CallOptions) {
        // An empty choice stands for that of the account.
        options.caller_id = options.caller_id.or_else(|| self.chosen_caller_id()).filter(|id| !id.is_empty());
        // Before anything is rendered again.
        self.with_agent(|agent| {
            let call = agent.call(&dialled.target, options);
            if let Some(media) = self.media() {
                media.send_after_answer(&call, &dialled.digits);
            }
        });
        let ui = self.ui;
        ui.microphone_error.set(None);
        ui.number_error.set(None);
        ui.ended.set(None);
        ui.last_number.set(Some(dialled.target.clone()));
        ui.digits.set(String::new());
        ui.keypad_open.set(false);
    }

    fn send_digits(&self, call: &str, typed: &str) {
        let ui = self.ui;
        let sent = number::sent_digits(typed).and_then(|digits| {
            let call = ui.snapshot.with_untracked(|snapshot| find_call(snapshot, call).cloned());
            let (Some(media), Some(call)) = (self.media(), call) else { return Ok(()) };
            media.press_digits(&call, &digits).map_err(str::to_owned)
        });
        ui.call_notice.set(sent.err());
    }

    /// Prepares an offer when the dialer is visible and the person interacts with the page.
    pub(super) fn prepare_for_call(&self) {
        let ui = self.ui;
        let dials = self.can_call()
            && ui.tab.get_untracked() != Tab::Settings
            && ui
                .snapshot
                .with_untracked(|snapshot| focused_call(snapshot).is_none() && incoming_call(snapshot).is_none());
        if dials && let Some(media) = self.media() {
            media.prepare_for_call();
        }
    }

    pub(super) fn hang_up(&self, call: &str) {
        self.calls.ended_here.borrow_mut().insert(call.to_owned(), ());
        self.with_agent(|agent| agent.hang_up(call));
    }

    /// Makes this the active call. The agent puts the others on hold first.
    fn swap_to(&self, call: &str) {
        self.with_agent(|agent| agent.hold(call, false));
        self.ui.digits.set(String::new());
        self.ui.keypad_open.set(false);
    }

    fn apply_snapshot(self: &Rc<Self>, given: &AgentSnapshot) {
        let ui = self.ui;
        let before = ui.snapshot.with_untracked(|before| before.registration.clone());
        let shown_before = ui.snapshot.with_untracked(|before| focused_call(before).map(|call| call.id.clone()));
        let shown = focused_call(given).map(|call| call.id.clone());
        if shown != shown_before {
            ui.levels.set(crate::ui::MeterBars::default());
            ui.digits.set(String::new());
            ui.call_notice.set(None);
            ui.keypad_open.set(false);
            ui.transfer_open.set(false);
            ui.clips_open.set(false);
            if shown.is_some() && page::has_focus() {
                page::focus_after_render(crate::screens::CALL_ELEMENT_ID);
            }
        }
        if shown_before.is_none() && shown.is_some() {
            ui.number.set(String::new());
        }
        ui.now.set(page::unix_now_ms());
        let mut snapshot = given.clone();
        // An agent that has just started has not read the account yet.
        if snapshot.registration == RegistrationStatus::SignedOut && self.is_signing_in() {
            snapshot.registration = RegistrationStatus::Connecting;
        }
        self.announce_conference(&snapshot);
        ui.muted.update(|muted| muted.retain(|id| find_call(&snapshot, id).is_some()));
        let before_all = ui.snapshot.get_clone_untracked();
        ui.snapshot.set(snapshot);
        self.follow_recordings(&before_all, given);
        let missed = self.calls.notified.borrow_mut().apply_snapshot(given);
        for (call, cause) in missed {
            self.record_unnotified_end(&call, &cause);
        }
        self.apply_registration(&before, given);
        self.stop_if_refused();
    }

    /// Records the end of a call that this page missed. Another tab may have recorded it already, with the
    /// exact duration.
    pub(super) fn record_unnotified_end(&self, call: &CallSnapshot, cause: &CallEndCause) {
        let now = page::unix_now_ms();
        let duration = call.answered_at.map_or(0, |answered| now.saturating_sub(answered) / 1_000);
        let recent = RecentCall::of(call, cause, duration);
        if !self.ui.recents.with_untracked(|list| list.iter().any(|old| old.id == recent.id)) {
            self.add_recent(&recent);
        }
        self.notify_call_ended(call, cause, duration);
    }

    fn notify_call_ended(&self, call: &CallSnapshot, cause: &CallEndCause, duration: u64) {
        self.calls.notified.borrow_mut().remove(&call.id);
        self.emit(&HostEvent::CallEnded(CallEndedPayload {
            call: call_ref(call),
            duration,
            cause: cause.text.clone(),
            sip_code: cause.sip_code,
        }));
        self.notify_badge();
    }

    fn handle_event(self: &Rc<Self>, event: AgentEvent) {
        let ui = self.ui;
        match event {
            AgentEvent::CallStarted { call } => {
                ui.number.set(String::new());
                if self.calls.notified.borrow_mut().insert(&call) {
                    self.emit(&HostEvent::CallStarted(call_ref(&call)));
                }
            }
            AgentEvent::CallIncoming { call } => {
                if self.calls.notified.borrow_mut().insert(&call) {
                    let headers = call_headers::joined(&call.headers);
                    let (diverted_from, call) = (call.diverted_from.clone(), call_ref(&call));
                    self.emit(&HostEvent::CallIncoming(CallIncomingPayload { call, headers, diverted_from }));
                }
                if self.is_registered() && self.is_at_sign_in() {
                    self.show_phone();
                }
            }
            AgentEvent::AutoAnswerDue { call } => {
                let (app, asked_at) = (Rc::clone(self), monotonic_ms());
                secondary::when_loaded(move |part| (part.auto_answer)(&app, call, asked_at));
            }
            AgentEvent::CallAnswered { call } => {
                if call.auto_answer {
                    ui.announcement.set(format!("Answered automatically: {}", caller(&call)));
                } else if call.hold == HoldState::None {
                    ui.announcement.set(format!("Connected with {}", caller(&call)));
                } else {
                    // It was answered during another conversation.
                    let text = format!("{} answered and waits on hold.", caller(&call));
                    ui.announcement.set(text.clone());
                    ui.call_notice.set(Some(text));
                }
                self.emit(&HostEvent::CallAnswered(call_ref(&call)));
            }
            AgentEvent::CallMissed { call, cause } => {
                let text = format!("Missed a call from {}: all lines are busy.", caller(&call));
                ui.announcement.set(text.clone());
                ui.call_notice.set(Some(text));
                self.add_recent(&RecentCall::of(&call, &cause, 0));
                self.calls.missed.set(self.calls.missed.get().saturating_add(1));
                self.notify_badge();
            }
            AgentEvent::CallUpdated { call } => {
                ui.announcement.set(format!("The other side is now {}", caller(&call)));
                self.emit(&HostEvent::CallUpdated(CallUpdatedPayload {
                    call: call_ref(&call),
                    display_name: call.display_name,
                }));
            }
            AgentEvent::Message { message } => {
                // Which shows it.
                self.load_secondary_part();
                ui.messages.update(|list| {
                    list.push(message);
                    list.truncate(MAX_MESSAGES);
                });
            }
            AgentEvent::MessageAnswered { number, failure } => ui.message_answer.set(Some((number, failure))),
            AgentEvent::CallEnded { call, cause, duration } => self.handle_ended(&call, &cause, duration),
            // Reported from the snapshots, which a page that attaches late receives as well.
            AgentEvent::Registered { .. } | AgentEvent::Unregistered { .. } => {}
            AgentEvent::Ha1 { ha1 } => self.adopt_ha1(ha1),
            AgentEvent::CallerIdTaken { taken } => self.keep_caller_id_header(taken),
            AgentEvent::PasswordNeeded { call } => self.ask_for_password(call.as_deref()),
            // The banner shows it, with the remedy.
            AgentEvent::Refused { code, .. } if code.starts_with("MICROPHONE_") => {}
            AgentEvent::Refused { code, message } => {
                ui.number_error.set(Some(message.clone()));
                ui.call_notice.set(Some(message.clone()));
                self.notify_error(&code, &message);
            }
            AgentEvent::Transfer { call, target, uri, status } => self.handle_transfer(call, target, uri, status),
            AgentEvent::HoldFailed { held, .. } => {
                let text = if held {
                    "The other side did not accept the hold. It cannot hear you."
                } else {
                    "The call could not be resumed. It is still on hold."
                };
                ui.announcement.set(text.to_owned());
                // The call's state says it as long as it is held here.
                ui.call_notice.set((!held).then(|| text.to_owned()));
            }
        }
    }

    fn handle_ended(self: &Rc<Self>, call: &CallSnapshot, cause: &CallEndCause, duration: u64) {
        let ui = self.ui;
        let here = self.calls.ended_here.borrow_mut().remove(&call.id).is_some();
        let recent = RecentCall::of(call, cause, duration);
        ui.announcement.set(format!("Call ended. {}", cause.text));
        self.add_recent(&recent);
        if recent.missed {
            self.calls.missed.set(self.calls.missed.get().saturating_add(1));
        }
        self.notify_call_ended(call, cause, duration);
        // No card for a call that the person declined or cancelled.
        if recent.answered || recent.missed || (call.direction == CallDirection::Outbound && !here) {
            let stays = recent.answered;
            let id = recent.id.clone();
            ui.ended.set(Some(recent));
            let timer = stays.then(|| {
                let app = Rc::downgrade(self);
                BrowserTimer::after(ENDED_CARD_TIMEOUT_MS, move || {
                    if let Some(app) = app.upgrade()
                        && app.ui.ended.with_untracked(|card| card.as_ref().is_some_and(|card| card.id == id))
                        // It would move the keys below the finger.
                        && app.ui.number.with_untracked(String::is_empty)
                    {
                        app.ui.ended.set(None);
                    }
                })
            });
            *self.view.card_timer.borrow_mut() = timer;
        }
    }

    /// Adds a call to the stored list of this person, which other tabs write to as well.
    fn add_recent(&self, recent: &RecentCall) {
        let Some(key) =
            self.ui.signed_in_as.with_untracked(|who| who.as_ref().map(|who| recents_name(&who.user_key())))
        else {
            return;
        };
        self.with_tenant(|tenant| {
            let mut list: Vec<RecentCall> = tenant.storage.get(&key).unwrap_or_default();
            recents::add(&mut list, recent.clone());
            tenant.storage.set(&key, &list);
            self.ui.recents.set(list);
        });
    }

    fn last_called_number(&self) -> Option<String> {
        self.ui.recents.with_untracked(|list| {
            list.iter().find(|call| call.direction == CallDirection::Outbound).map(|call| call.number.clone())
        })
    }

    fn can_call(&self) -> bool {
        self.ui.screen.with_untracked(|screen| *screen == Screen::Phone) && self.is_registered()
    }
}

pub(super) fn call_ref(call: &CallSnapshot) -> CallRef {
    CallRef {
        call_id: call.id.clone(),
        number: call.number.clone(),
        direction: call.direction,
        requested_caller_id: call.requested_caller_id.clone(),
    }
}
