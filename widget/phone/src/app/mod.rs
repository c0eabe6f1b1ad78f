//! The application: connects the screens with the agent, the media, the host page and the storage.

pub(crate) mod auto_answer;
pub(crate) mod call_reports;
mod caller_ids;
mod calls;
mod clips;
mod conference;
mod host;
mod keyboard;
mod messages;
mod recordings;
pub(crate) mod secondary;
mod session;
mod sign_in;
mod transfer;

use std::cell::RefCell;
use std::rc::Rc;

use bitcall_wire::agent_protocol::{MediaError, RegistrationStatus};
use bitcall_wire::config::ThemeStart;
use bitcall_wire::host_protocol::definition::code;
use bitcall_wire::host_protocol::{EmptyPayload, FromPhone};
use sycamore::reactive::create_effect;

use self::call_reports::CallsToReport;
use crate::browser::{BrowserTimer, EventListener};
use crate::host_port::HostPort;
use crate::media::{self, Media, MediaNotice};
use crate::page;
use crate::recordings::RecordingAction;
use crate::selector::selector;
use crate::theme::{Accent, Rgb, variables};
use crate::ui::{
    CallerIdAction, ClipAction, DeviceOption, DeviceOptions, MeterBars, Screen, Tab, Ui, UserAction, focused_call,
};

const UNUSABLE_AUDIO: &str = "The other side offered audio that this browser cannot play.";

const CALL_CLOCK_INTERVAL_MS: i32 = 500;
const IDLE_CLOCK_INTERVAL_MS: i32 = 10_000;

// Storage keys of the settings.
const THEME_KEY: &str = "theme";
const MICROPHONE_KEY: &str = "microphone";
const SPEAKER_KEY: &str = "speaker";

/// The phone's parts, each with the state that is its own.
pub struct App {
    ui: Ui,
    port: RefCell<Option<Rc<dyn HostPort>>>,
    session: session::Session,
    calls: calls::Calls,
    recordings: recordings::Recordings,
    view: View,
}

/// What the screens need and do not show.
#[derive(Default)]
struct View {
    card_timer: RefCell<Option<BrowserTimer>>,
    clock: RefCell<Option<BrowserTimer>>,
    listeners: RefCell<Vec<EventListener>>,
}

impl App {
    /// Call it inside a reactive root, before the screens are rendered. Without a port there is nobody to work for.
    pub fn start(ui: Ui, port: Option<Rc<dyn HostPort>>) -> Rc<Self> {
        let app = Rc::new(Self {
            ui,
            port: RefCell::new(port.clone()),
            session: session::Session::default(),
            calls: calls::Calls::default(),
            recordings: recordings::Recordings::default(),
            view: View::default(),
        });
        ui.zone.set(page::local_clock());
        ui.now.set(page::unix_now_ms());
        {
            let app = Rc::clone(&app);
            ui.on_action(move |action| app.handle_action(action));
        }
        app.watch_clock();
        app.view.listeners.borrow_mut().extend(keyboard::listen(&app));
        app.report_state();
        app.watch_calls();
        app.watch_number();
        ui.can_minimise.set(port.as_ref().is_some_and(|port| port.can_minimise()));
        match port {
            Some(port) => {
                let app = Rc::clone(&app);
                port.listen(Box::new(move |request| app.handle_request(request)));
            }
            None => ui.screen.set(Screen::NotEmbedded),
        }
        app
    }

    fn handle_action(self: &Rc<Self>, action: UserAction) {
        let ui = self.ui;
        if self.calls.missed.replace(0) > 0 {
            self.notify_badge();
        }
        match action {
            UserAction::Show(tab) => self.show(tab),
            UserAction::LoadSecondaryPart => self.load_secondary_part(),
            UserAction::Minimise => self.tell(&FromPhone::Hide(EmptyPayload {})),
            UserAction::Escape => self.escape(),
            UserAction::RetryConnection => self.retry_connection(),
            UserAction::UnblockSound => {
                if let Some(media) = self.media() {
                    media.unlock();
                }
                ui.sound_blocked.set(false);
            }
            UserAction::PrepareSignIn => self.prepare_sign_in(),
            UserAction::SubmitSignIn => self.submit_sign_in(),
            UserAction::Connect => self.connect(),
            UserAction::OtherAccount => self.other_account(),
            UserAction::CloseSignIn => self.show_phone(),
            UserAction::SignOut => self.sign_out(),
            UserAction::Recording(action) => self.handle_recording_action(action),
            call_action => self.handle_call_action(call_action),
        }
    }

    // ------------------------------------------------------------ screens

    fn show(self: &Rc<Self>, tab: Tab) {
        self.ui.identity_open.set(false);
        self.ui.tab.set(tab);
        if tab != Tab::Keypad {
            self.load_secondary_part();
        }
        if tab == Tab::Settings
            && let Some(media) = self.media()
        {
            media.refresh_devices();
            self.pass_to_secondary(UserAction::Clip(ClipAction::Load));
            self.pass_to_secondary(UserAction::CallerId(CallerIdAction::Load));
            self.handle_recording_action(RecordingAction::Load);
        }
    }

    /// Closes the topmost open element; without one, hides the panel.
    fn escape(&self) {
        let ui = self.ui;
        if ui.identity_open.get_untracked() {
            ui.identity_open.set(false);
        } else if ui.transfer_open.get_untracked() {
            self.show_transfer(false);
        } else if ui.keypad_open.get_untracked()
            && ui.snapshot.with_untracked(|snapshot| focused_call(snapshot).is_some())
        {
            ui.keypad_open.set(false);
        } else if ui.can_minimise.get_untracked() {
            self.tell(&FromPhone::Hide(EmptyPayload {}));
        }
    }

    fn set_theme(&self, theme: ThemeStart) {
        self.ui.theme.set(theme);
        let Some(root) = page::document().and_then(|document| document.document_element()) else { return };
        let _ = match theme {
            ThemeStart::System => root.remove_attribute("data-theme"),
            ThemeStart::Light => root.set_attribute("data-theme", "light"),
            ThemeStart::Dark => root.set_attribute("data-theme", "dark"),
        };
    }

    fn handle_media_notice(self: &Rc<Self>, notice: MediaNotice) {
        let ui = self.ui;
        match notice {
            MediaNotice::Failed { error, message, .. } => {
                if error == MediaError::Unusable {
                    // The call goes on with the audio that it has, or its end says why.
                    ui.call_notice.set(Some(UNUSABLE_AUDIO.to_owned()));
                } else {
                    ui.microphone_error.set(Some(error));
                }
                self.notify_error(error_code(error), &message);
            }
            MediaNotice::Muted { call, muted } => ui.muted.update(|list| {
                list.retain(|other| *other != call);
                if muted {
                    list.push(call);
                }
            }),
            MediaNotice::DigitSent { call, digit } => {
                if self.is_shown(&call) {
                    ui.digits.update(|digits| digits.push(digit));
                }
            }
            MediaNotice::DigitsWait { call, rest } => {
                if self.is_shown(&call) {
                    ui.keypad_open.set(true);
                    ui.call_notice.set(Some(format!("Press any key to send {rest}.")));
                }
            }
            MediaNotice::ClipEnded { call } => ui.clip_playing.update(|playing| {
                if playing.as_ref().is_some_and(|playing| playing.call == call) {
                    *playing = None;
                }
            }),
            MediaNotice::SoundChanged { call } => self.sound_changed(&call),
            MediaNotice::MicrophoneBack => ui.microphone_error.set(None),
            MediaNotice::Devices(devices) => ui.devices.set(device_options(devices)),
            MediaNotice::Levels { call, microphone, remote } => {
                let levels = MeterBars::new(microphone, remote);
                if self.is_shown(&call) && ui.levels.get_untracked() != levels {
                    ui.levels.set(levels);
                }
            }
            MediaNotice::SoundBlocked(blocked) => ui.sound_blocked.set(blocked),
        }
    }

    fn is_shown(&self, call: &str) -> bool {
        self.ui.snapshot.with_untracked(|snapshot| focused_call(snapshot).is_some_and(|shown| shown.id == call))
    }

    fn choose_theme(&self, theme: ThemeStart) {
        self.set_theme(theme);
        self.with_tenant(|tenant| tenant.storage.set(THEME_KEY, &theme));
    }

    fn choose_microphone(&self, id: String) {
        self.choose_device(MICROPHONE_KEY, id, Media::choose_microphone);
    }

    fn choose_speaker(&self, id: String) {
        self.choose_device(SPEAKER_KEY, id, Media::choose_speaker);
    }

    fn choose_device(&self, name: &str, id: String, choose: fn(&Media, Option<String>)) {
        let id = Some(id).filter(|id| !id.is_empty());
        if let Some(tenant) = &*self.session.tenant.borrow() {
            tenant.storage.set(name, &id);
        }
        if let Some(media) = self.media() {
            choose(&media, id);
        }
    }

    fn retry_microphone(self: &Rc<Self>) {
        let app = Rc::clone(self);
        wasm_bindgen_futures::spawn_local(async move {
            if page::can_open_microphone().await {
                app.ui.microphone_error.set(None);
                if let Some(media) = app.media() {
                    media.refresh_devices();
                }
            }
        });
    }

    fn retry_connection(&self) {
        if let Some(agent) = &*self.session.agent.borrow() {
            let given_up = self
                .ui
                .snapshot
                .with_untracked(|snapshot| matches!(snapshot.registration, RegistrationStatus::Failed { .. }));
            let account = if given_up { self.account() } else { None };
            match account {
                Some(account) => {
                    self.ui.snapshot.update(|snapshot| snapshot.registration = RegistrationStatus::Connecting);
                    agent.sign_in(account);
                }
                None => agent.retry(),
            }
        }
    }

    /// Updates the clock twice a second during calls, so that no second is skipped, else every ten seconds.
    fn watch_clock(self: &Rc<Self>) {
        let ui = self.ui;
        let busy = selector(move || ui.snapshot.with(|snapshot| !snapshot.calls.is_empty()));
        let app = Rc::downgrade(self);
        create_effect(move || {
            let interval = if busy.get() { CALL_CLOCK_INTERVAL_MS } else { IDLE_CLOCK_INTERVAL_MS };
            let Some(at) = app.upgrade() else { return };
            let app = app.clone();
            let timer = BrowserTimer::every(interval, move || {
                if let Some(app) = app.upgrade() {
                    app.ui.now.set(page::unix_now_ms());
                    app.report_calls(CallsToReport::Present);
                    app.watch_admission();
                }
            });
            *at.view.clock.borrow_mut() = Some(timer);
        });
    }

    /// A number in the field is likely to be called, whether typed or set by the host page.
    fn watch_number(self: &Rc<Self>) {
        let ui = self.ui;
        let app = Rc::downgrade(self);
        create_effect(move || {
            if ui.number.with(|number| !number.is_empty())
                && let Some(app) = app.upgrade()
            {
                app.prepare_for_call();
            }
        });
    }
}

/// Sets the tenant's colour in the style sheet's custom properties. By CSSOM, because the content security
/// policy forbids inline styles.
fn apply_accent(colour: &str) {
    use wasm_bindgen::JsCast;
    let colour = Rgb::parse(colour);
    let root = page::document().and_then(|document| document.document_element());
    if let Some(root) = root.and_then(|root| root.dyn_into::<web_sys::HtmlElement>().ok()) {
        for (name, value) in variables(&Accent::light(colour), &Accent::dark(colour)) {
            let _ = root.style().set_property(name, &value);
        }
    }
}

fn device_options(devices: media::Devices) -> DeviceOptions {
    let list = |devices: Vec<media::Device>| {
        devices.into_iter().map(|device| DeviceOption { id: device.id, name: device.name }).collect()
    };
    DeviceOptions {
        microphones: list(devices.microphones),
        speakers: list(devices.speakers),
        microphone: devices.microphone.unwrap_or_default(),
        speaker: devices.speaker.unwrap_or_default(),
    }
}

fn error_code(error: MediaError) -> &'static str {
    match error {
        MediaError::MicrophoneBlocked => code::MICROPHONE_BLOCKED,
        MediaError::MicrophoneMissing => code::MICROPHONE_MISSING,
        MediaError::MicrophoneBusy => code::MICROPHONE_BUSY,
        MediaError::Unusable | MediaError::Other => code::MEDIA_FAILED,
    }
}
