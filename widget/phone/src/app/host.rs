//! What the host asks of the phone, and what it is told.

use std::rc::Rc;

use bitcall_wire::agent_protocol::{RecordingCommand, RegistrationStatus};
use bitcall_wire::host_protocol::definition::code;
use bitcall_wire::host_protocol::{
    Answer, EmptyPayload, FromPhone, HostCommand, HostEvent, InitPayload, LauncherBadge, PhoneError, PhoneState,
};
use sycamore::reactive::create_effect;

use super::App;
use crate::host_port::{CommandId, HostRequest};
use crate::page;
use crate::recordings;
use crate::runtime_config;
use crate::selector::selector;
use crate::ui::{Screen, Tab, focused_call, incoming_call, is_engaged};

impl App {
    pub(super) fn handle_request(self: &Rc<Self>, request: HostRequest) {
        match request {
            HostRequest::Start { page_origin, init, id } => self.start_for(page_origin, init, id),
            HostRequest::Stop => self.destroy(),
            request if self.session.tenant.borrow().is_none() => self.session.early_requests.borrow_mut().push(request),
            HostRequest::Command(command, id) => self.carry_out(command, id),
            HostRequest::Unreadable(id) => self.answer(id, Err(PhoneError::new(code::INVALID_COMMAND))),
            HostRequest::Visible(visible) => {
                if visible {
                    self.calls.missed.set(0);
                    self.prepare_for_call();
                }
                self.notify_badge();
            }
        }
    }

    fn carry_out(self: &Rc<Self>, command: HostCommand, id: CommandId) {
        match command {
            HostCommand::Call(call) => self.host_call(call, id),
            HostCommand::Dial(dial) => {
                self.ui.number.set(dial.number.trim().to_owned());
                self.ui.number_error.set(None);
                self.ui.tab.set(Tab::Keypad);
                self.tell(&FromPhone::Show(EmptyPayload {}));
                self.answer(id, Ok(()));
            }
            HostCommand::HangUp(which) => {
                let result = self.host_hang_up(which.call_id);
                self.answer(id, result);
            }
            HostCommand::StartRecording(which) => {
                let result = self.host_record(which.call_id.as_deref(), recordings::start());
                self.answer(id, result);
            }
            HostCommand::PauseRecording(which) => {
                let result = self.host_record(which.call_id.as_deref(), RecordingCommand::Pause);
                self.answer(id, result);
            }
            HostCommand::StopRecording(which) => {
                let result = self.host_record(which.call_id.as_deref(), RecordingCommand::Stop);
                self.answer(id, result);
            }
            HostCommand::Transfer(transfer) => {
                let result = self.host_transfer(&transfer.target, transfer.call_id.as_deref());
                self.answer(id, result);
            }
        }
    }

    /// Asks the server for the tenant's configuration. Until it has answered, the host gets nothing.
    fn start_for(self: &Rc<Self>, page_origin: String, init: InitPayload, id: CommandId) {
        let app = Rc::clone(self);
        wasm_bindgen_futures::spawn_local(async move {
            let answer = runtime_config::request(&page_origin, false).await;
            // The host may have removed the phone meanwhile.
            if app.port.borrow().is_none() {
                return;
            }
            match answer {
                Ok(start) => app.start_session(start, init, page_origin, id),
                Err(error) => {
                    app.answer(id, Err(error.clone()));
                    app.close_port(error.message);
                }
            }
        });
    }

    /// The phone does nothing any more, for this reason.
    pub(super) fn close_port(&self, reason: String) {
        if let Some(port) = &*self.port.borrow() {
            port.close();
        }
        self.ui.screen.set(Screen::Refused(reason));
    }

    /// Every request with an id is answered once.
    pub(super) fn answer(&self, CommandId(id): CommandId, result: Result<(), PhoneError>) {
        match (id, result) {
            (Some(id), result) => self.tell(&FromPhone::Answer(Answer { id, error: result.err() })),
            (None, Err(error)) => self.tell(&FromPhone::Error(error)),
            (None, Ok(())) => {}
        }
    }

    pub(super) fn emit(&self, event: &HostEvent) {
        if let Some(port) = &*self.port.borrow() {
            port.emit(event);
        }
    }

    pub(super) fn tell(&self, message: &FromPhone) {
        if let Some(port) = &*self.port.borrow() {
            port.tell(message);
        }
    }

    pub(super) fn notify_error(&self, code: &str, message: &str) {
        self.tell(&FromPhone::Error(PhoneError::with(code, message)));
    }

    pub(super) fn notify_badge(&self) {
        let badge = self.ui.snapshot.with_untracked(|snapshot| LauncherBadge {
            missed: self.calls.missed.get(),
            ringing: incoming_call(snapshot).is_some(),
            in_call: focused_call(snapshot).is_some(),
            muted: focused_call(snapshot).is_some_and(|call| call.muted),
        });
        self.tell(&FromPhone::Badge(badge));
    }

    /// Tells the host state and badge whenever the agent's snapshots change them.
    pub(super) fn report_state(self: &Rc<Self>) {
        let ui = self.ui;
        let state = selector(move || {
            ui.snapshot.with(|snapshot| {
                let live = snapshot.calls.iter().filter(|call| is_engaged(call));
                PhoneState {
                    registered: matches!(snapshot.registration, RegistrationStatus::Registered { .. }),
                    in_call: focused_call(snapshot).is_some(),
                    active_number: focused_call(snapshot).map(|call| call.number.clone()),
                    call_count: u32::try_from(live.count()).unwrap_or(u32::MAX),
                }
            })
        });
        let app = Rc::downgrade(self);
        create_effect(move || {
            let state = state.get_clone();
            if let Some(app) = app.upgrade() {
                app.tell(&FromPhone::State(state));
            }
        });
        let shown = selector(move || {
            ui.snapshot.with(|snapshot| {
                let muted = focused_call(snapshot).map(|call| call.muted);
                (incoming_call(snapshot).map(crate::screens::caller), muted)
            })
        });
        let app = Rc::downgrade(self);
        create_effect(move || {
            let (caller, muted) = shown.get_clone();
            let Some(app) = app.upgrade() else { return };
            app.notify_badge();
            if let Some(document) = page::document() {
                let title = match (&caller, muted) {
                    (Some(name), _) => format!("Incoming call: {name}"),
                    (None, Some(true)) => "Muted · Phone".to_owned(),
                    (None, _) => "Phone".to_owned(),
                };
                document.set_title(&title);
            }
            if let Some(name) = caller {
                app.tell(&FromPhone::Show(EmptyPayload {}));
                app.ui.announcement.set(format!("Incoming call from {name}"));
                if page::has_focus() {
                    page::focus_after_render(crate::screens::INCOMING_ELEMENT_ID);
                }
            }
        });
    }
}
