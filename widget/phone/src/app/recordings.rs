//! Asks for recordings, and tells the host page of them. They are made by the part of the phone that is loaded later.

use std::cell::RefCell;
use std::rc::Rc;

use bitcall_wire::agent_protocol::{AgentSnapshot, CallSnapshot, CallState, RecordingCommand, RecordingState};
use bitcall_wire::host_protocol::definition::code;
use bitcall_wire::host_protocol::{HostEvent, PhoneError, RecordingPayload, RecordingStatus};

use super::App;
use super::calls::call_ref;
use crate::recordings::{RecordingAction, RecordingContext, RecordingService, start};
use crate::secondary::Secondary;
use crate::ui::{LoadFailure, find_call, focused_call};

/// The person wants every call recorded.
const AUTO_RECORD_KEY: &str = "autoRecord";

#[derive(Default)]
pub(super) struct Recordings {
    service: RefCell<Option<Rc<dyn RecordingService>>>,
}

impl App {
    pub(super) fn handle_recording_action(self: &Rc<Self>, action: RecordingAction) {
        match action {
            RecordingAction::Call(call, command) => {
                self.ui.call_notice.set(None);
                self.record(&call, command);
            }
            RecordingAction::SetAuto(wanted) => {
                self.with_tenant(|tenant| tenant.storage.set(AUTO_RECORD_KEY, &wanted));
                self.ui.auto_record.set(wanted);
            }
            action => self.with_recordings(|service| service.act(action)),
        }
    }

    /// `startRecording()` and its like by the host page.
    pub(super) fn host_record(&self, which: Option<&str>, command: RecordingCommand) -> Result<(), PhoneError> {
        if !self.may_record() {
            return Err(PhoneError::new(code::RECORDING_NOT_ALLOWED));
        }
        let call = self.ui.snapshot.with_untracked(|snapshot| match which {
            Some(id) => find_call(snapshot, id).cloned(),
            None => focused_call(snapshot).cloned(),
        });
        let Some(call) = call else { return Err(PhoneError::new(code::UNKNOWN_CALL)) };
        if call.state != CallState::Active {
            return Err(PhoneError::new(code::NOT_ANSWERED));
        }
        if !matches!(command, RecordingCommand::Start { .. }) && call.recording.id().is_none() {
            return Err(PhoneError::new(code::NOT_RECORDED));
        }
        self.record(&call.id, command);
        Ok(())
    }

    fn record(&self, call: &str, command: RecordingCommand) {
        if self.may_record() {
            self.with_agent(|agent| agent.record(call, command));
        }
    }

    fn may_record(&self) -> bool {
        self.ui.may_record()
    }

    /// Also begins what is to be recorded without being asked for.
    pub(super) fn follow_recordings(self: &Rc<Self>, before: &AgentSnapshot, now: &AgentSnapshot) {
        for call in &now.calls {
            let was = find_call(before, &call.id).map(|call| &call.recording);
            self.notify_recording(call, was.unwrap_or(&RecordingState::Off));
        }
        let page = self.ui.page.get_clone_untracked();
        let mine = || now.calls.iter().filter(|call| call.page.as_ref() == Some(&page));
        for call in mine() {
            if call.state == CallState::Active && call.recording == RecordingState::Off && self.records_all() {
                self.record(&call.id, start());
            }
        }
        if mine().any(|call| call.recording.id().is_some()) {
            self.load_secondary_part();
        }
        self.with_recordings(|service| service.follow(now, &page));
    }

    fn records_all(&self) -> bool {
        self.ui.auto_record.get_untracked()
            || self.ui.always_records()
            || self.with_tenant(|tenant| tenant.host.behavior.auto_record) == Some(true)
    }

    pub(super) fn sound_changed(&self, call: &str) {
        self.with_recordings(|service| service.sound_changed(call));
    }

    /// The part is there that makes recordings.
    pub(super) fn begin_recordings(self: &Rc<Self>, part: Secondary) {
        let Some((media, settings)) =
            self.with_tenant(|tenant| (tenant.media.clone(), tenant.config.behavior.recording.clone()))
        else {
            return;
        };
        let (namespace, failed) = (Rc::downgrade(self), Rc::downgrade(self));
        let service = (part.recordings)(RecordingContext {
            ui: self.ui,
            media,
            settings,
            namespace: Box::new(move || namespace.upgrade()?.namespace_of("recordings")),
            fail: Box::new(move |call, code, text| {
                if let Some(app) = failed.upgrade() {
                    app.recording_failed(call, code, text);
                }
            }),
        });
        *self.recordings.service.borrow_mut() = Some(service);
        let (snapshot, page) = (self.ui.snapshot.get_clone_untracked(), self.ui.page.get_clone_untracked());
        self.with_recordings(|service| service.follow(&snapshot, &page));
    }

    pub(super) fn no_recordings(&self, why: LoadFailure) {
        let text = match why {
            LoadFailure::Replaced => "The phone was updated. Reload it to record calls.",
            LoadFailure::Unreachable => "The phone's server did not answer. The call is not recorded.",
        };
        let recorded =
            self.ui.snapshot.get_clone_untracked().calls.into_iter().filter(|call| call.recording.id().is_some());
        for call in recorded {
            self.recording_failed(&call.id, code::RECORDING_FAILED, text);
        }
    }

    fn recording_failed(&self, call: &str, code: &'static str, text: &str) {
        self.ui.call_notice.set(Some(text.to_owned()));
        self.ui.announcement.set(text.to_owned());
        self.notify_error(code, text);
        let failed = self.ui.snapshot.with_untracked(|snapshot| find_call(snapshot, call).cloned());
        if let Some(call) = failed {
            self.emit_recording(&call, call.recording.id(), RecordingStatus::Failed, Some((code, text)));
        }
        self.record(call, RecordingCommand::Stop);
    }

    fn notify_recording(&self, call: &CallSnapshot, was: &RecordingState) {
        if call.recording == *was {
            return;
        }
        let (status, words) = match &call.recording {
            RecordingState::On { .. } => (RecordingStatus::Started, "Recording"),
            RecordingState::Paused { .. } => (RecordingStatus::Paused, "Recording paused"),
            RecordingState::Stopped => (RecordingStatus::Stopped, "Recording stopped"),
            RecordingState::Off => return,
        };
        self.ui.announcement.set(words.to_owned());
        self.emit_recording(call, call.recording.id().or(was.id()), status, None);
    }

    fn emit_recording(
        &self,
        call: &CallSnapshot,
        id: Option<&str>,
        status: RecordingStatus,
        why: Option<(&'static str, &str)>,
    ) {
        self.emit(&HostEvent::RecordingState(RecordingPayload {
            call: call_ref(call),
            status,
            recording_id: id.unwrap_or_default().to_owned(),
            reason: why.map(|(code, _)| code.to_owned()),
            message: why.map(|(_, text)| text.to_owned()),
        }));
    }

    pub(super) fn load_auto_record(&self) {
        let wanted = self.with_tenant(|tenant| tenant.storage.get(AUTO_RECORD_KEY)).flatten();
        self.ui.auto_record.set(wanted.unwrap_or(false));
    }

    fn with_recordings(&self, with: impl FnOnce(&dyn RecordingService)) {
        // Cloned, so that nothing is borrowed meanwhile.
        let service = self.recordings.service.borrow().clone();
        if let Some(service) = service {
            with(&*service);
        }
    }
}
