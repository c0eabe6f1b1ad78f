//! The living phone: ties the screens to the agent, the media, the host page and the storage.

mod call_reports;
mod calls;
mod keyboard;
mod sign_in;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;

use bitcall_wire::agent_protocol::{CallId, RegistrationStatus, ToAgent};
use bitcall_wire::config::{RuntimeConfig, ThemeStart};
use bitcall_wire::host_protocol::{self, EmptyPayload, FromPhone, InitPayload, ToPhone};
use sycamore::reactive::create_effect;

use crate::agent_client::Link;
use crate::browser::{Listener, Timer};
use crate::host::Host;
use crate::media::{self, Media, Notice};
use crate::notified_calls::Announced;
use crate::page;
use crate::signin::Credentials;
use crate::storage::Store;
use crate::theme::{Accent, Rgb, variables};
use crate::ui::{Act, Choice, Choices, Levels, Stage, Tab, Ui, engaged, focused, incoming, watch};

/// Everything that is not on screen.
pub struct App {
    ui: Ui,
    host: RefCell<Option<Rc<Host>>>,
    tenant: RefCell<Option<Tenant>>,
    link: RefCell<Option<Link>>,
    /// Whether the link has been signed in since it was attached: "signed out" before that is only the beginning.
    signed_in: Cell<bool>,
    /// What the host page gave, when a restored session is tried first.
    fallback: RefCell<Option<Credentials>>,
    /// Asked for before the phone was registered.
    waiting_call: RefCell<Option<host_protocol::CallRequest>>,
    waiting_timer: RefCell<Option<Timer>>,
    /// Calls that nobody took since the person last touched the phone.
    missed: Cell<u32>,
    announced: RefCell<Announced>,
    told: call_reports::Told,
    /// Calls that this page ended itself: their end needs no card.
    ended_here: RefCell<HashSet<CallId>>,
    card_timer: RefCell<Option<Timer>>,
    clock: RefCell<Option<Timer>>,
    listeners: RefCell<Vec<Listener>>,
}

/// What `BITCALL_INIT` brought.
struct Tenant {
    config: Rc<RuntimeConfig>,
    host: host_protocol::HostOptions,
    store: Store,
    media: Media,
}

impl App {
    /// Inside a reactive root, before the screens are drawn.
    pub fn start(ui: Ui) -> Rc<Self> {
        let app = Rc::new(Self {
            ui,
            host: RefCell::default(),
            tenant: RefCell::default(),
            link: RefCell::default(),
            signed_in: Cell::new(false),
            fallback: RefCell::default(),
            waiting_call: RefCell::default(),
            waiting_timer: RefCell::default(),
            missed: Cell::new(0),
            announced: RefCell::default(),
            told: call_reports::Told::default(),
            ended_here: RefCell::default(),
            card_timer: RefCell::default(),
            clock: RefCell::default(),
            listeners: RefCell::default(),
        });
        ui.zone.set(page::zone());
        ui.now.set(page::now());
        {
            let app = Rc::clone(&app);
            ui.on_act(move |act| app.act(act));
        }
        app.watch_clock();
        app.listeners.borrow_mut().extend(keyboard::listen(&app));
        app.report_state();
        app.watch_calls();
        app.watch_number();
        let host = Host::of_this_page();
        ui.embedded.set(host.is_some());
        app.host.borrow_mut().clone_from(&host);
        match host {
            Some(host) => {
                let app = Rc::clone(&app);
                host.listen(move |message| app.hear(message));
            }
            None => ui.stage.set(Stage::NotEmbedded),
        }
        app
    }

    fn act(self: &Rc<Self>, act: Act) {
        let ui = self.ui;
        if self.missed.replace(0) > 0 {
            self.tell_badge();
        }
        match act {
            Act::Show(tab) => self.show(tab),
            Act::Minimise => self.tell(&FromPhone::Hide(EmptyPayload {})),
            Act::Escape => self.escape(),
            Act::RetryConnection => self.retry_connection(),
            Act::RetryMicrophone => self.retry_microphone(),
            Act::UnblockSound => {
                if let Some(media) = self.media() {
                    media.unlock();
                }
                ui.sound_blocked.set(false);
            }
            Act::SetTheme(theme) => {
                self.set_theme(theme);
                if let Some(tenant) = &*self.tenant.borrow() {
                    tenant.store.set(THEME, &theme);
                }
            }
            Act::ChooseMicrophone(id) => self.choose_device(MICROPHONE, id, Media::choose_microphone),
            Act::ChooseSpeaker(id) => self.choose_device(SPEAKER, id, Media::choose_speaker),
            Act::ExpectSignIn => self.expect_sign_in(),
            Act::SubmitSignIn => self.submit_sign_in(),
            Act::Connect => self.connect(),
            Act::OtherAccount => self.other_account(),
            Act::SignOut => self.sign_out(),
            about_calls => self.act_on_calls(about_calls),
        }
    }

    /// From the host page.
    fn hear(self: &Rc<Self>, message: ToPhone) {
        match message {
            ToPhone::Init(init) => self.init(*init),
            ToPhone::Call(call) => self.host_call(call),
            ToPhone::Dial(dial) => {
                self.ui.number.set(dial.number.trim().to_owned());
                self.ui.number_fault.set(None);
                self.ui.tab.set(Tab::Keypad);
                self.tell(&FromPhone::Show(EmptyPayload {}));
            }
            ToPhone::HangUp(which) => self.host_hang_up(which.call_id),
            ToPhone::Visible(panel) => {
                if panel.visible {
                    self.missed.set(0);
                    self.expect_call();
                }
                self.tell_badge();
            }
            ToPhone::Destroy(_) => self.destroy(),
        }
    }

    fn init(self: &Rc<Self>, init: InitPayload) {
        let InitPayload { config, host } = init;
        let config = Rc::new(config);
        let store = Store::new(&config.storage_namespace);
        let settings = media::Settings {
            ice_servers: config.ice_servers.clone(),
            dtmf: config.sip.dtmf,
            microphone: store.get(MICROPHONE),
            speaker: store.get(SPEAKER),
        };
        let media = Media::new(settings, {
            let app = Rc::downgrade(self);
            move |notice| {
                if let Some(app) = app.upgrade() {
                    app.notice(notice);
                }
            }
        });
        let chosen = if config.behavior.theme.lock { None } else { store.get(THEME).or(host.behavior.theme_start) };
        self.ui.config.set(Some(Rc::clone(&config)));
        *self.tenant.borrow_mut() = Some(Tenant { config: Rc::clone(&config), host, store, media: media.clone() });
        // The server has the longest way, and all else can be done while it is asked.
        self.begin_session();
        self.set_theme(chosen.unwrap_or(config.behavior.theme.start));
        paint(&config.branding.theme_color);
        media.refresh_devices();
    }

    /// The host page takes the phone down.
    fn destroy(self: &Rc<Self>) {
        self.send_calls(Vec::new());
        self.give_up_waiting_call("The phone was taken down.");
        let link = self.link.borrow_mut().take();
        if let Some(link) = link {
            let page = link.page().to_owned();
            let mine = |owner: &Option<String>| owner.as_ref() == Some(&page);
            self.ui.snapshot.with_untracked(|snapshot| {
                for call in snapshot.calls.iter().filter(|call| engaged(call) && mine(&call.page)) {
                    link.hang_up(&call.id);
                }
            });
            link.close();
        }
        if let Some(host) = self.host.borrow_mut().take() {
            host.leave();
        }
        self.clock.borrow_mut().take();
        self.listeners.borrow_mut().clear();
        self.ui.stage.set(Stage::Loading);
    }

    // ------------------------------------------------------------ what the screens show

    fn show(&self, tab: Tab) {
        self.ui.identity_open.set(false);
        self.ui.tab.set(tab);
        if tab == Tab::Settings
            && let Some(media) = self.media()
        {
            media.refresh_devices();
        }
    }

    /// Closes what is open, from the front to the back; at last the panel itself.
    fn escape(&self) {
        let ui = self.ui;
        if ui.identity_open.get_untracked() {
            ui.identity_open.set(false);
        } else if ui.keypad_open.get_untracked() && ui.snapshot.with_untracked(|snapshot| focused(snapshot).is_some()) {
            ui.keypad_open.set(false);
        } else if ui.embedded.get_untracked() {
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

    fn notice(self: &Rc<Self>, notice: Notice) {
        let ui = self.ui;
        match notice {
            Notice::Fault { fault, message, .. } => {
                ui.microphone_fault.set(Some(fault));
                self.tell_fault(fault_code(fault), &message);
            }
            Notice::Muted { call, muted } => ui.muted.update(|list| {
                list.retain(|other| *other != call);
                if muted {
                    list.push(call);
                }
            }),
            Notice::MicrophoneBack => ui.microphone_fault.set(None),
            Notice::Devices(devices) => ui.devices.set(choices(devices)),
            Notice::Levels { call, microphone, remote } => {
                let levels = Levels::new(microphone, remote);
                let shown =
                    ui.snapshot.with_untracked(|snapshot| focused(snapshot).is_some_and(|shown| shown.id == call));
                if shown && ui.levels.get_untracked() != levels {
                    ui.levels.set(levels);
                }
            }
            Notice::SoundBlocked(blocked) => ui.sound_blocked.set(blocked),
        }
    }

    fn choose_device(&self, name: &str, id: String, choose: fn(&Media, Option<String>)) {
        let id = Some(id).filter(|id| !id.is_empty());
        if let Some(tenant) = &*self.tenant.borrow() {
            tenant.store.set(name, &id);
        }
        if let Some(media) = self.media() {
            choose(&media, id);
        }
    }

    fn retry_microphone(self: &Rc<Self>) {
        let app = Rc::clone(self);
        wasm_bindgen_futures::spawn_local(async move {
            if page::microphone_opens().await {
                app.ui.microphone_fault.set(None);
                if let Some(media) = app.media() {
                    media.refresh_devices();
                }
            }
        });
    }

    fn retry_connection(&self) {
        if let Some(link) = &*self.link.borrow() {
            let given_up = self
                .ui
                .snapshot
                .with_untracked(|snapshot| matches!(snapshot.registration, RegistrationStatus::Failed { .. }));
            let account = if given_up { self.account() } else { None };
            match account {
                Some(account) => {
                    self.ui.snapshot.update(|snapshot| snapshot.registration = RegistrationStatus::Connecting);
                    link.sign_in(account);
                }
                None => link.send(&ToAgent::Probe),
            }
        }
    }

    /// Twice a second while calls are up, so that no second is skipped; else once in ten seconds.
    fn watch_clock(self: &Rc<Self>) {
        let app = Rc::downgrade(self);
        let mut idle_ticks = 0_u32;
        let timer = Timer::every(500, move || {
            let Some(app) = app.upgrade() else { return };
            idle_ticks += 1;
            let busy = app.ui.snapshot.with_untracked(|snapshot| !snapshot.calls.is_empty());
            if busy || idle_ticks.is_multiple_of(20) {
                app.ui.now.set(page::now());
                app.tell_calls();
            }
        });
        *self.clock.borrow_mut() = Some(timer);
    }

    /// A number that stands there will be called, whoever put it there.
    fn watch_number(self: &Rc<Self>) {
        let ui = self.ui;
        let app = Rc::downgrade(self);
        create_effect(move || {
            if ui.number.with(|number| !number.is_empty())
                && let Some(app) = app.upgrade()
            {
                app.expect_call();
            }
        });
    }

    // ------------------------------------------------------------ what the host page is told

    fn tell(&self, message: &FromPhone) {
        if let Some(host) = &*self.host.borrow() {
            host.post(message);
        }
    }

    fn tell_fault(&self, code: &str, message: &str) {
        self.tell(&FromPhone::Error(host_protocol::PhoneError { code: code.to_owned(), message: message.to_owned() }));
    }

    fn tell_badge(&self) {
        let (ringing, in_call) =
            self.ui.snapshot.with_untracked(|snapshot| (incoming(snapshot).is_some(), focused(snapshot).is_some()));
        self.tell(&FromPhone::Badge(host_protocol::LauncherBadge { missed: self.missed.get(), ringing, in_call }));
    }

    /// State and badge follow the agent's snapshots by themselves.
    fn report_state(self: &Rc<Self>) {
        let ui = self.ui;
        let state = watch(move || {
            ui.snapshot.with(|snapshot| {
                let live = snapshot.calls.iter().filter(|call| engaged(call));
                host_protocol::PhoneState {
                    registered: matches!(snapshot.registration, RegistrationStatus::Registered { .. }),
                    in_call: focused(snapshot).is_some(),
                    active_number: focused(snapshot).map(|call| call.number.clone()),
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
        let lights = watch(move || {
            ui.snapshot.with(|snapshot| (incoming(snapshot).map(super::screens::caller), focused(snapshot).is_some()))
        });
        let app = Rc::downgrade(self);
        create_effect(move || {
            let (caller, _) = lights.get_clone();
            let Some(app) = app.upgrade() else { return };
            app.tell_badge();
            if let Some(document) = page::document() {
                let title = caller.as_ref().map_or_else(|| "Phone".to_owned(), |name| format!("Incoming call: {name}"));
                document.set_title(&title);
            }
            if let Some(name) = caller {
                app.tell(&FromPhone::Show(EmptyPayload {}));
                app.ui.said.set(format!("Incoming call from {name}"));
                if page::has_focus() {
                    page::focus_soon(crate::screens::INCOMING);
                }
            }
        });
    }

    fn media(&self) -> Option<Media> {
        self.tenant.borrow().as_ref().map(|tenant| tenant.media.clone())
    }
}

const THEME: &str = "theme";
const MICROPHONE: &str = "microphone";
const SPEAKER: &str = "speaker";

/// Puts the tenant's colour into the style sheet's roles. By CSSOM: the content
/// security policy allows no inline styles.
fn paint(colour: &str) {
    use wasm_bindgen::JsCast;
    let colour = Rgb::parse(colour);
    let root = page::document().and_then(|document| document.document_element());
    if let Some(root) = root.and_then(|root| root.dyn_into::<web_sys::HtmlElement>().ok()) {
        for (name, value) in variables(&Accent::light(colour), &Accent::dark(colour)) {
            let _ = root.style().set_property(name, &value);
        }
    }
}

fn choices(devices: media::Devices) -> Choices {
    let list = |devices: Vec<media::Device>| {
        devices.into_iter().map(|device| Choice { id: device.id, name: device.name }).collect()
    };
    Choices {
        microphones: list(devices.microphones),
        speakers: list(devices.speakers),
        microphone: devices.microphone.unwrap_or_default(),
        speaker: devices.speaker.unwrap_or_default(),
    }
}

fn fault_code(fault: bitcall_wire::agent_protocol::MediaError) -> &'static str {
    use bitcall_wire::agent_protocol::MediaError;
    match fault {
        MediaError::MicrophoneBlocked => "MICROPHONE_BLOCKED",
        MediaError::MicrophoneMissing => "MICROPHONE_MISSING",
        MediaError::MicrophoneBusy => "MICROPHONE_BUSY",
        MediaError::Unusable | MediaError::Other => "MEDIA_FAILED",
    }
}
