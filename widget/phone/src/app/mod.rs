//! The application: connects the screens with the agent, the media, the host page and the storage.

mod call_reports;
mod calls;
mod keyboard;
mod sign_in;
mod transfer;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;

use bitcall_wire::agent_protocol::{CallId, MediaError, RegistrationStatus};
use bitcall_wire::config::{RuntimeConfig, ThemeStart};
use bitcall_wire::host_protocol::{self, EmptyPayload, FromPhone, HostOptions, PhoneError, ToPhone};
use sycamore::reactive::create_effect;

use crate::agent_client::AgentClient;
use crate::browser::{BrowserTimer, EventListener};
use crate::host::HostPage;
use crate::media::{self, Media, MediaNotice};
use crate::notified_calls::NotifiedCalls;
use crate::page;
use crate::runtime_config::{self, PhoneStart};
use crate::signin::Credentials;
use crate::storage::TenantStorage;
use crate::theme::{Accent, Rgb, variables};
use crate::ui::{
    DeviceOption, DeviceOptions, MeterBars, Screen, Tab, Ui, UserAction, focused_call, incoming_call, is_engaged,
    selector,
};

const UNUSABLE_AUDIO: &str = "The other side offered audio that this browser cannot play.";

// Storage keys of the settings.
const THEME_KEY: &str = "theme";
const MICROPHONE_KEY: &str = "microphone";
const SPEAKER_KEY: &str = "speaker";

/// State that is not displayed.
pub struct App {
    ui: Ui,
    host: RefCell<Option<Rc<HostPage>>>,
    tenant: RefCell<Option<TenantContext>>,
    /// Messages of the host page that wait for the configuration.
    early_messages: RefCell<Vec<ToPhone>>,
    agent: RefCell<Option<AgentClient>>,
    /// Whether the agent has signed in since it was attached. A `SignedOut` before that is only its initial
    /// state.
    signed_in: Cell<bool>,
    /// Credentials of the host page, to try when the restored session is refused.
    fallback: RefCell<Option<Credentials>>,
    /// A call of the host page that waits for the registration.
    pending_call: RefCell<Option<host_protocol::CallRequest>>,
    pending_call_timer: RefCell<Option<BrowserTimer>>,
    /// Calls missed since the person last used the phone.
    missed: Cell<u32>,
    notified_calls: RefCell<NotifiedCalls>,
    last_report: call_reports::LastReport,
    /// Calls that were ended on this page: they get no card at their end.
    ended_here: RefCell<HashSet<CallId>>,
    card_timer: RefCell<Option<BrowserTimer>>,
    clock: RefCell<Option<BrowserTimer>>,
    listeners: RefCell<Vec<EventListener>>,
}

/// What `BITCALL_INIT` and the server's answer to it have set up.
struct TenantContext {
    /// The tenant's API key, for the reports of calls.
    key: String,
    /// For the reports, where no SIP server of Bitcall's gives a session.
    page_session: String,
    config: Rc<RuntimeConfig>,
    host: HostOptions,
    storage: TenantStorage,
    media: Media,
}

impl App {
    /// Call it inside a reactive root, before the screens are rendered.
    pub fn start(ui: Ui) -> Rc<Self> {
        let app = Rc::new(Self {
            ui,
            host: RefCell::default(),
            tenant: RefCell::default(),
            early_messages: RefCell::default(),
            agent: RefCell::default(),
            signed_in: Cell::new(false),
            fallback: RefCell::default(),
            pending_call: RefCell::default(),
            pending_call_timer: RefCell::default(),
            missed: Cell::new(0),
            notified_calls: RefCell::default(),
            last_report: call_reports::LastReport::default(),
            ended_here: RefCell::default(),
            card_timer: RefCell::default(),
            clock: RefCell::default(),
            listeners: RefCell::default(),
        });
        ui.zone.set(page::local_clock());
        ui.now.set(page::unix_now_ms());
        {
            let app = Rc::clone(&app);
            ui.on_action(move |action| app.handle_action(action));
        }
        app.watch_clock();
        app.listeners.borrow_mut().extend(keyboard::listen(&app));
        app.report_state();
        app.watch_calls();
        app.watch_number();
        let host = HostPage::of_this_page();
        ui.embedded.set(host.is_some());
        app.host.borrow_mut().clone_from(&host);
        match host {
            Some(host) => {
                let app = Rc::clone(&app);
                host.listen(move |message| app.handle_host_message(message));
            }
            None => ui.screen.set(Screen::NotEmbedded),
        }
        app
    }

    fn handle_action(self: &Rc<Self>, action: UserAction) {
        let ui = self.ui;
        if self.missed.replace(0) > 0 {
            self.notify_badge();
        }
        match action {
            UserAction::Show(tab) => self.show(tab),
            UserAction::Minimise => self.notify_host(&FromPhone::Hide(EmptyPayload {})),
            UserAction::Escape => self.escape(),
            UserAction::RetryConnection => self.retry_connection(),
            UserAction::RetryMicrophone => self.retry_microphone(),
            UserAction::UnblockSound => {
                if let Some(media) = self.media() {
                    media.unlock();
                }
                ui.sound_blocked.set(false);
            }
            UserAction::SetTheme(theme) => {
                self.set_theme(theme);
                if let Some(tenant) = &*self.tenant.borrow() {
                    tenant.storage.set(THEME_KEY, &theme);
                }
            }
            UserAction::ChooseMicrophone(id) => self.choose_device(MICROPHONE_KEY, id, Media::choose_microphone),
            UserAction::ChooseSpeaker(id) => self.choose_device(SPEAKER_KEY, id, Media::choose_speaker),
            UserAction::PrepareSignIn => self.prepare_sign_in(),
            UserAction::SubmitSignIn => self.submit_sign_in(),
            UserAction::Connect => self.connect(),
            UserAction::OtherAccount => self.other_account(),
            UserAction::CloseSignIn => self.show_phone(),
            UserAction::SignOut => self.sign_out(),
            call_action => self.handle_call_action(call_action),
        }
    }

    /// Handles a message of the host page.
    fn handle_host_message(self: &Rc<Self>, message: ToPhone) {
        match message {
            ToPhone::Init(init) => self.request_config(init.host),
            ToPhone::Destroy(_) => self.destroy(),
            message if self.tenant.borrow().is_none() => self.early_messages.borrow_mut().push(message),
            ToPhone::Call(call) => self.host_call(call),
            ToPhone::Dial(dial) => {
                self.ui.number.set(dial.number.trim().to_owned());
                self.ui.number_error.set(None);
                self.ui.tab.set(Tab::Keypad);
                self.notify_host(&FromPhone::Show(EmptyPayload {}));
            }
            ToPhone::HangUp(which) => self.host_hang_up(which.call_id),
            ToPhone::Visible(panel) => {
                if panel.visible {
                    self.missed.set(0);
                    self.prepare_for_call();
                }
                self.notify_badge();
            }
        }
    }

    /// Asks the server for the tenant's configuration. Until it has answered, the host page gets nothing.
    fn request_config(self: &Rc<Self>, host: HostOptions) {
        let Some(page_origin) = self.host.borrow().as_ref().and_then(|host| host.origin()) else { return };
        let app = Rc::clone(self);
        wasm_bindgen_futures::spawn_local(async move {
            let answer = runtime_config::request(&page_origin).await;
            // The host page may have removed the phone meanwhile.
            if app.host.borrow().is_none() {
                return;
            }
            match answer {
                Ok(start) => app.start_session(start, host, &page_origin),
                Err(PhoneError { code, message }) => {
                    app.notify_error(&code, &message);
                    if let Some(host) = &*app.host.borrow() {
                        host.stop_listening();
                    }
                    app.ui.screen.set(Screen::Refused(message));
                }
            }
        });
    }

    fn start_session(self: &Rc<Self>, start: PhoneStart, host: HostOptions, page_origin: &str) {
        let config = Rc::new(start.config);
        let storage = TenantStorage::new(&config.storage_namespace, page_origin);
        let settings = media::MediaSettings {
            ice_servers: config.ice_servers.clone(),
            dtmf: config.sip.dtmf,
            hold_music: config.behavior.hold_music.clone(),
            microphone: storage.get(MICROPHONE_KEY),
            speaker: storage.get(SPEAKER_KEY),
        };
        let media = Media::new(settings, {
            let app = Rc::downgrade(self);
            move |notice| {
                if let Some(app) = app.upgrade() {
                    app.handle_media_notice(notice);
                }
            }
        });
        let chosen =
            if config.behavior.theme.lock { None } else { storage.get(THEME_KEY).or(host.behavior.theme_start) };
        self.ui.config.set(Some(Rc::clone(&config)));
        *self.tenant.borrow_mut() = Some(TenantContext {
            key: runtime_config::api_key(),
            page_session: start.page_session,
            config: Rc::clone(&config),
            host,
            storage,
            media: media.clone(),
        });
        // First, because the answer of the server takes longest.
        self.begin_session();
        self.set_theme(chosen.unwrap_or(config.behavior.theme.start));
        apply_accent(&config.branding.theme_color);
        media.refresh_devices();
        for message in self.early_messages.take() {
            self.handle_host_message(message);
        }
    }

    /// The host page removes the phone.
    fn destroy(self: &Rc<Self>) {
        self.send_call_report(Vec::new());
        self.cancel_pending_call("The phone was taken down.");
        let agent = self.agent.borrow_mut().take();
        if let Some(agent) = agent {
            let page = agent.page().to_owned();
            let mine = |owner: &Option<String>| owner.as_ref() == Some(&page);
            self.ui.snapshot.with_untracked(|snapshot| {
                for call in snapshot.calls.iter().filter(|call| is_engaged(call) && mine(&call.page)) {
                    agent.hang_up(&call.id);
                }
            });
            agent.leave();
        }
        if let Some(host) = self.host.borrow_mut().take() {
            host.stop_listening();
        }
        self.clock.borrow_mut().take();
        self.listeners.borrow_mut().clear();
        self.ui.screen.set(Screen::Loading);
    }

    // ------------------------------------------------------------ screens

    fn show(&self, tab: Tab) {
        self.ui.identity_open.set(false);
        self.ui.tab.set(tab);
        if tab == Tab::Settings
            && let Some(media) = self.media()
        {
            media.refresh_devices();
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
        } else if ui.embedded.get_untracked() {
            self.notify_host(&FromPhone::Hide(EmptyPayload {}));
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
            MediaNotice::MicrophoneBack => ui.microphone_error.set(None),
            MediaNotice::Devices(devices) => ui.devices.set(device_options(devices)),
            MediaNotice::Levels { call, microphone, remote } => {
                let levels = MeterBars::new(microphone, remote);
                let shown =
                    ui.snapshot.with_untracked(|snapshot| focused_call(snapshot).is_some_and(|shown| shown.id == call));
                if shown && ui.levels.get_untracked() != levels {
                    ui.levels.set(levels);
                }
            }
            MediaNotice::SoundBlocked(blocked) => ui.sound_blocked.set(blocked),
        }
    }

    fn choose_device(&self, name: &str, id: String, choose: fn(&Media, Option<String>)) {
        let id = Some(id).filter(|id| !id.is_empty());
        if let Some(tenant) = &*self.tenant.borrow() {
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
        if let Some(agent) = &*self.agent.borrow() {
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
        let app = Rc::downgrade(self);
        let mut idle_ticks = 0_u32;
        let timer = BrowserTimer::every(500, move || {
            let Some(app) = app.upgrade() else { return };
            idle_ticks += 1;
            let busy = app.ui.snapshot.with_untracked(|snapshot| !snapshot.calls.is_empty());
            if busy || idle_ticks.is_multiple_of(20) {
                app.ui.now.set(page::unix_now_ms());
                app.report_calls();
            }
        });
        *self.clock.borrow_mut() = Some(timer);
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

    // ------------------------------------------------------------ notifications to the host page

    fn notify_host(&self, message: &FromPhone) {
        if let Some(host) = &*self.host.borrow() {
            host.post(message);
        }
    }

    fn notify_error(&self, code: &str, message: &str) {
        self.notify_host(&FromPhone::Error(host_protocol::PhoneError {
            code: code.to_owned(),
            message: message.to_owned(),
        }));
    }

    fn notify_badge(&self) {
        let (ringing, in_call) = self
            .ui
            .snapshot
            .with_untracked(|snapshot| (incoming_call(snapshot).is_some(), focused_call(snapshot).is_some()));
        self.notify_host(&FromPhone::Badge(host_protocol::LauncherBadge {
            missed: self.missed.get(),
            ringing,
            in_call,
        }));
    }

    /// Notifies the host page of state and badge whenever the agent's snapshots change them.
    fn report_state(self: &Rc<Self>) {
        let ui = self.ui;
        let state = selector(move || {
            ui.snapshot.with(|snapshot| {
                let live = snapshot.calls.iter().filter(|call| is_engaged(call));
                host_protocol::PhoneState {
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
                app.notify_host(&FromPhone::State(state));
            }
        });
        let ringing = selector(move || {
            ui.snapshot.with(|snapshot| {
                (incoming_call(snapshot).map(super::screens::caller), focused_call(snapshot).is_some())
            })
        });
        let app = Rc::downgrade(self);
        create_effect(move || {
            let (caller, _) = ringing.get_clone();
            let Some(app) = app.upgrade() else { return };
            app.notify_badge();
            if let Some(document) = page::document() {
                let title = caller.as_ref().map_or_else(|| "Phone".to_owned(), |name| format!("Incoming call: {name}"));
                document.set_title(&title);
            }
            if let Some(name) = caller {
                app.notify_host(&FromPhone::Show(EmptyPayload {}));
                app.ui.announcement.set(format!("Incoming call from {name}"));
                if page::has_focus() {
                    page::focus_after_render(crate::screens::INCOMING_ELEMENT_ID);
                }
            }
        });
    }

    fn media(&self) -> Option<Media> {
        self.tenant.borrow().as_ref().map(|tenant| tenant.media.clone())
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

fn error_code(error: bitcall_wire::agent_protocol::MediaError) -> &'static str {
    use bitcall_wire::agent_protocol::MediaError;
    match error {
        MediaError::MicrophoneBlocked => "MICROPHONE_BLOCKED",
        MediaError::MicrophoneMissing => "MICROPHONE_MISSING",
        MediaError::MicrophoneBusy => "MICROPHONE_BUSY",
        MediaError::Unusable | MediaError::Other => "MEDIA_FAILED",
    }
}
