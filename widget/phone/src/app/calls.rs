//! Placing, taking and ending calls, and telling the host page about them.

use std::rc::Rc;

use bitcall_wire::agent_protocol::{
    AgentEvent, AgentSnapshot, CallDirection, CallEndCause, CallId, CallSnapshot, HoldState, RegistrationStatus, ToPage,
};
use bitcall_wire::host_protocol::{self, CallEndedPayload, CallRef, EmptyPayload, FromPhone};
use bitcall_wire::number;

use super::App;
use super::sign_in::recents_name;
use crate::agent_client::Link;
use crate::browser::{Timer, debug};
use crate::page;
use crate::recents::{self, Recent};
use crate::screens::caller;
use crate::ui::{Act, Stage, Tab, engaged, find, focused, incoming, inside, status};

/// How long the card of a call that ended well stays.
const CARD_STAYS_MS: i32 = 8_000;
/// How long a `call()` waits for the registration: whoever clicked still sits there.
const CALL_WAITS_MS: i32 = 30_000;

impl App {
    pub(super) fn act_on_calls(self: &Rc<Self>, act: Act) {
        let ui = self.ui;
        match act {
            Act::Type(key) => {
                if let Some(media) = self.media() {
                    media.key_tone(key);
                }
                ui.number_fault.set(None);
                ui.tab.set(Tab::Keypad);
                ui.number.update(|number| number.push(key));
            }
            Act::Backspace => {
                ui.number_fault.set(None);
                ui.number.update(|number| {
                    number.pop();
                });
            }
            Act::Call => self.call_typed(),
            Act::CallNumber(number) => {
                ui.number.set(number);
                ui.tab.set(Tab::Keypad);
                self.call_typed();
            }
            Act::Answer(call, others) => self.with_link(|link| {
                ui.digits.set(String::new());
                ui.keypad_open.set(false);
                ui.tab.set(Tab::Keypad);
                link.answer(&call, others);
            }),
            Act::Decline(call) => self.with_link(|link| link.decline(&call)),
            Act::HangUp(call) => self.hang_up(&call),
            Act::Mute(call, muted) => {
                if let Some(media) = self.media() {
                    media.set_muted(&call, muted);
                }
            }
            Act::Hold(call, held) => {
                ui.note.set(None);
                self.with_link(|link| link.hold(&call, held));
            }
            Act::SwapTo(call) => self.swap_to(&call),
            Act::Digit(call, digit) => {
                if let Some(media) = self.media() {
                    media.digit(&call, digit);
                }
                ui.digits.update(|digits| digits.push(digit));
            }
            Act::ToggleKeypad => ui.keypad_open.set(!ui.keypad_open.get_untracked()),
            Act::DismissEnded => ui.ended.set(None),
            _ => {}
        }
    }

    /// From the agent.
    pub(super) fn hear_agent(self: &Rc<Self>, message: ToPage) {
        match message {
            ToPage::Snapshot { snapshot } => self.follow(&snapshot),
            ToPage::Event { event } => self.news(event),
            ToPage::Log { line } => {
                if self.with_tenant(|tenant| tenant.host.debug) == Some(true) {
                    debug(&format!("bitcall: {line}").into());
                }
            }
            // The link has served it.
            ToPage::Media { .. } => {}
        }
    }

    /// `call()` on the host page.
    pub(super) fn host_call(self: &Rc<Self>, call: host_protocol::CallRequest) {
        let ui = self.ui;
        let number = match number::call_target(&call.number) {
            Ok(number) => number,
            Err(words) => return self.tell_fault("BAD_NUMBER", &words),
        };
        self.tell(&FromPhone::Show(EmptyPayload {}));
        if self.registered_now() {
            ui.tab.set(Tab::Keypad);
            self.place(&number, call.caller_id);
        } else {
            // Right after sign-in; the person sees meanwhile what will be called.
            ui.number.set(call.number.clone());
            *self.waiting_call.borrow_mut() = Some(call);
            let app = Rc::downgrade(self);
            let timer = Timer::after(CALL_WAITS_MS, move || {
                if let Some(app) = app.upgrade() {
                    app.give_up_waiting_call("The phone did not get connected in time.");
                }
            });
            *self.waiting_timer.borrow_mut() = Some(timer);
        }
    }

    /// A `call()` that waited for the registration is not made any more: later,
    /// or by another account, it would surprise people.
    pub(super) fn give_up_waiting_call(&self, why: &str) {
        let waited = self.waiting_call.borrow_mut().take();
        if waited.is_some() {
            self.tell_fault("NOT_REGISTERED", why);
        }
    }

    /// `hangup()` on the host page.
    pub(super) fn host_hang_up(self: &Rc<Self>, which: Option<CallId>) {
        let waited = which.is_none() && self.waiting_call.borrow_mut().take().is_some();
        let target = self.ui.snapshot.with_untracked(|snapshot| match &which {
            Some(id) => find(snapshot, id).map(|call| call.id.clone()),
            None => focused(snapshot).or(snapshot.calls.first()).map(|call| call.id.clone()),
        });
        match (target, which) {
            (Some(id), _) => self.hang_up(&id),
            (None, Some(id)) => self.tell_fault("UNKNOWN_CALL", &format!("There is no call “{id}”.")),
            (None, None) if waited => self.ui.number.set(String::new()),
            (None, None) => self.tell_fault("UNKNOWN_CALL", "There is no call to hang up."),
        }
    }

    fn call_typed(self: &Rc<Self>) {
        let ui = self.ui;
        let typed = ui.number.get_clone_untracked();
        if typed.trim().is_empty() {
            // As on every phone: the last number comes back, a second press calls it.
            if let Some(last) = ui.last_number.get_clone_untracked().or_else(|| self.last_called()) {
                ui.number.set(last);
            }
            return;
        }
        let number = match number::call_target(&typed) {
            Ok(number) => number,
            Err(words) => return ui.number_fault.set(Some(words)),
        };
        if !self.registered_now() {
            let status = ui.snapshot.with_untracked(status).words;
            ui.number_fault.set(Some(format!("No call possible: {}.", inside(status.trim_end_matches('…')))));
            return;
        }
        self.place(&number, None);
    }

    fn place(self: &Rc<Self>, number: &str, caller_id: Option<String>) {
        // Before anything is drawn anew.
        self.with_link(|link| {
            link.call(number, caller_id);
        });
        let ui = self.ui;
        ui.microphone_fault.set(None);
        ui.number_fault.set(None);
        ui.ended.set(None);
        ui.last_number.set(Some(number.to_owned()));
        ui.digits.set(String::new());
        ui.keypad_open.set(false);
    }

    /// The person looks at what places calls, and does something there.
    pub(super) fn expect_call(&self) {
        let ui = self.ui;
        let dials = self.registered_now()
            && ui.tab.get_untracked() != Tab::Settings
            && ui.snapshot.with_untracked(|snapshot| focused(snapshot).is_none() && incoming(snapshot).is_none());
        if dials && let Some(media) = self.media() {
            media.get_ready();
        }
    }

    fn hang_up(&self, call: &str) {
        self.ended_here.borrow_mut().insert(call.to_owned());
        self.with_link(|link| link.hang_up(call));
    }

    /// Only one talks: the others are held first.
    fn swap_to(&self, call: &str) {
        self.with_link(|link| {
            self.ui.snapshot.with_untracked(|snapshot| {
                for other in snapshot.calls.iter().filter(|other| other.id != call && talks(other)) {
                    link.hold(&other.id, true);
                }
            });
            link.hold(call, false);
        });
        self.ui.digits.set(String::new());
        self.ui.keypad_open.set(false);
    }

    fn follow(self: &Rc<Self>, given: &AgentSnapshot) {
        let ui = self.ui;
        let before = ui.snapshot.with_untracked(|before| before.registration.clone());
        let shown_before = ui.snapshot.with_untracked(|before| focused(before).map(|call| call.id.clone()));
        let shown = focused(given).map(|call| call.id.clone());
        if shown != shown_before {
            ui.levels.set(crate::ui::Levels::default());
            ui.digits.set(String::new());
            ui.note.set(None);
            ui.keypad_open.set(false);
            if shown.is_some() && page::has_focus() {
                page::focus_soon(crate::screens::CALL);
            }
        }
        if shown_before.is_none() && shown.is_some() {
            ui.number.set(String::new());
        }
        ui.now.set(page::now());
        let mut snapshot = given.clone();
        // An agent that has just been born has not read the account yet.
        if snapshot.registration == RegistrationStatus::SignedOut && self.signing_in() {
            snapshot.registration = RegistrationStatus::Connecting;
        }
        ui.muted.update(|muted| muted.retain(|id| find(&snapshot, id).is_some()));
        ui.snapshot.set(snapshot);
        let missed = self.announced.borrow_mut().follow(given);
        for (call, cause) in missed {
            self.ended_unheard(&call, &cause);
        }
        self.follow_registration(&before, given);
    }

    /// The end of a call that this page slept through. A tab that was awake has
    /// it in the list already, and knows better.
    pub(super) fn ended_unheard(&self, call: &CallSnapshot, cause: &CallEndCause) {
        let now = page::now();
        let duration = call.answered_at.map_or(0, |answered| now.saturating_sub(answered) / 1_000);
        let recent = Recent::of(call, cause, duration);
        if !self.ui.recents.with_untracked(|list| list.iter().any(|old| old.id == recent.id)) {
            self.remember(&recent);
        }
        self.tell_end(call, cause, duration);
    }

    fn tell_end(&self, call: &CallSnapshot, cause: &CallEndCause, duration: u64) {
        self.announced.borrow_mut().end(&call.id);
        self.tell(&FromPhone::CallEnded(CallEndedPayload {
            call: call_ref(call),
            duration,
            cause: cause.words.clone(),
            sip_code: cause.sip_code,
        }));
        self.tell_badge();
    }

    fn news(self: &Rc<Self>, event: AgentEvent) {
        let ui = self.ui;
        match event {
            AgentEvent::CallStarted { call } => {
                ui.number.set(String::new());
                if self.announced.borrow_mut().begin(&call) {
                    self.tell(&FromPhone::CallStarted(call_ref(&call)));
                }
            }
            AgentEvent::CallIncoming { call } => {
                if self.announced.borrow_mut().begin(&call) {
                    self.tell(&FromPhone::CallIncoming(call_ref(&call)));
                }
            }
            AgentEvent::CallAnswered { call } => {
                ui.said.set(format!("Connected with {}", caller(&call)));
                self.tell(&FromPhone::CallAnswered(call_ref(&call)));
            }
            AgentEvent::CallEnded { call, cause, duration } => self.ended(&call, &cause, duration),
            // Told from the snapshots, which a page that attaches late sees too.
            AgentEvent::Registered { .. } | AgentEvent::Unregistered { .. } => {}
            AgentEvent::Ha1 { realm, ha1 } => self.learn_ha1(realm, ha1),
            // The banner says it already, with the remedy.
            AgentEvent::Refused { code, .. } if code.starts_with("MICROPHONE_") => {}
            AgentEvent::Refused { code, message } => {
                ui.number_fault.set(Some(message.clone()));
                ui.note.set(Some(message.clone()));
                self.tell_fault(&code, &message);
            }
            AgentEvent::HoldFailed { held, .. } => {
                let words = if held {
                    "The other side did not accept the hold. You are talking again."
                } else {
                    "The call could not be resumed. It is still on hold."
                };
                ui.note.set(Some(words.to_owned()));
            }
        }
    }

    fn ended(self: &Rc<Self>, call: &CallSnapshot, cause: &CallEndCause, duration: u64) {
        let ui = self.ui;
        let here = self.ended_here.borrow_mut().remove(&call.id);
        let recent = Recent::of(call, cause, duration);
        ui.said.set(format!("Call ended. {}", cause.words));
        self.remember(&recent);
        if recent.missed {
            self.missed.set(self.missed.get().saturating_add(1));
        }
        self.tell_end(call, cause, duration);
        // What the person's own hand refused or gave up needs no news.
        if recent.answered || recent.missed || (call.direction == CallDirection::Outbound && !here) {
            let stays = recent.answered;
            let id = recent.id.clone();
            ui.ended.set(Some(recent));
            let timer = stays.then(|| {
                let app = Rc::downgrade(self);
                Timer::after(CARD_STAYS_MS, move || {
                    if let Some(app) = app.upgrade()
                        && app.ui.ended.with_untracked(|card| card.as_ref().is_some_and(|card| card.id == id))
                    {
                        app.ui.ended.set(None);
                    }
                })
            });
            *self.card_timer.borrow_mut() = timer;
        }
    }

    /// Into the list of this person, which other tabs write to as well.
    fn remember(&self, recent: &Recent) {
        let Some(key) =
            self.ui.signed_in_as.with_untracked(|who| who.as_ref().map(|who| recents_name(&who.user_key())))
        else {
            return;
        };
        self.with_tenant(|tenant| {
            let mut list: Vec<Recent> = tenant.store.get(&key).unwrap_or_default();
            recents::add(&mut list, recent.clone());
            tenant.store.set(&key, &list);
            self.ui.recents.set(list);
        });
    }

    fn last_called(&self) -> Option<String> {
        self.ui.recents.with_untracked(|list| {
            list.iter().find(|call| call.direction == CallDirection::Outbound).map(|call| call.number.clone())
        })
    }

    fn registered_now(&self) -> bool {
        self.ui.stage.with_untracked(|stage| *stage == Stage::Phone) && self.is_registered()
    }

    fn with_link(&self, with: impl FnOnce(&Link)) {
        if let Some(link) = &*self.link.borrow() {
            with(link);
        }
    }
}

fn talks(call: &CallSnapshot) -> bool {
    engaged(call) && call.answered_at.is_some() && matches!(call.hold, HoldState::None | HoldState::Resuming)
}

fn call_ref(call: &CallSnapshot) -> CallRef {
    CallRef {
        call_id: call.id.clone(),
        number: call.number.clone(),
        direction: call.direction,
        requested_caller_id: call.requested_caller_id.clone(),
    }
}
