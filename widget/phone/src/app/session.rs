//! For whom the phone works: the tenant's configuration, as long as the server admits the page, and the agent.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bitcall_wire::agent_protocol::{RegistrationFailure, RegistrationFailureCode};
use bitcall_wire::config::RuntimeConfig;
use bitcall_wire::host_protocol::definition::code;
use bitcall_wire::host_protocol::{FromPhone, HostOptions, InitPayload, PhoneError};

use super::call_reports::CallsToReport;
use super::{App, MICROPHONE_KEY, SPEAKER_KEY, THEME_KEY, apply_accent};
use crate::agent_client::AgentClient;
use crate::host_port::{CommandId, HostRequest};
use crate::media::{self, Media};
use crate::page;
use crate::runtime_config::{self, PhoneStart};
use crate::signin::SignInCredentials;
use crate::storage::TenantStorage;
use crate::ui::{Screen, is_engaged};

/// How often the server is asked whether it still admits the page, besides whenever the registration is lost.
const ADMISSION_INTERVAL_MS: u64 = 10 * 60 * 1000;
/// Pause between two such questions.
const MIN_ADMISSION_PAUSE_MS: u64 = 10 * 1000;

#[derive(Default)]
pub(super) struct Session {
    pub(super) tenant: RefCell<Option<TenantContext>>,
    /// Requests of the host that wait for the configuration.
    pub(super) early_requests: RefCell<Vec<HostRequest>>,
    pub(super) agent: RefCell<Option<AgentClient>>,
    /// Whether the agent has signed in since it was attached. A `SignedOut` before that is only its initial
    /// state.
    pub(super) signed_in: Cell<bool>,
    /// Credentials of the host page, to try when the restored session is refused.
    pub(super) fallback: RefCell<Option<SignInCredentials>>,
    /// Why there is no registration, as the host was told last.
    reported_failure: Cell<Option<RegistrationFailureCode>>,
    /// The server no longer admits the page. The phone stops when its calls are over.
    refusal: RefCell<Option<PhoneError>>,
    admission_asked_at_ms: Cell<u64>,
}

/// What the host and the server's answer to it have set up.
pub(super) struct TenantContext {
    /// The tenant's API key, for the reports of calls.
    pub(super) key: String,
    /// For the reports, where no SIP server of Bitcall's gives a session. The server forgets it when it is restarted.
    pub(super) page_session: String,
    /// Origin of the page that the phone works for.
    page_origin: String,
    pub(super) config: Rc<RuntimeConfig>,
    pub(super) host: HostOptions,
    pub(super) storage: TenantStorage,
    pub(super) media: Media,
}

impl App {
    pub(super) fn start_session(
        self: &Rc<Self>,
        start: PhoneStart,
        init: InitPayload,
        page_origin: String,
        id: CommandId,
    ) {
        let InitPayload { host, calls } = init;
        let config = Rc::new(start.config);
        let storage = TenantStorage::new(&config.storage_namespace, &page_origin);
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
        *self.session.tenant.borrow_mut() = Some(TenantContext {
            key: runtime_config::api_key(),
            page_session: start.page_session,
            page_origin,
            config: Rc::clone(&config),
            host,
            storage,
            media: media.clone(),
        });
        self.session.admission_asked_at_ms.set(page::unix_now_ms());
        self.calls.notified.borrow_mut().resume(calls);
        // First, because the answer of the server takes longest.
        self.begin_session();
        self.answer(id, Ok(()));
        self.load_auto_record();
        self.set_theme(chosen.unwrap_or(config.behavior.theme.start));
        apply_accent(&config.branding.theme_color);
        media.refresh_devices();
        for request in self.session.early_requests.take() {
            self.handle_request(request);
        }
    }

    pub(super) fn with_tenant<T>(&self, read: impl FnOnce(&TenantContext) -> T) -> Option<T> {
        self.session.tenant.borrow().as_ref().map(read)
    }

    pub(super) fn with_agent(&self, with: impl FnOnce(&AgentClient)) {
        if let Some(agent) = &*self.session.agent.borrow() {
            with(agent);
        }
    }

    pub(super) fn media(&self) -> Option<Media> {
        self.with_tenant(|tenant| tenant.media.clone())
    }

    /// What precedes the names of everything of this kind that is stored for the person who is signed in.
    pub(super) fn namespace_of(&self, kind: &str) -> Option<String> {
        let name = self.name_of(kind)?;
        self.with_tenant(|tenant| format!("{}:{name}", tenant.storage.namespace()))
    }

    /// Name in the tenant's storage of what the person who is signed in has of this kind.
    pub(super) fn name_of(&self, kind: &str) -> Option<String> {
        let who = self.ui.signed_in_as.with_untracked(|who| who.as_ref().map(SignInCredentials::user_key))?;
        Some(format!("{kind}:{who}"))
    }

    /// The host removes the phone.
    pub(super) fn destroy(self: &Rc<Self>) {
        self.report_calls(CallsToReport::None);
        self.cancel_pending_call("The phone was taken down.");
        let agent = self.session.agent.borrow_mut().take();
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
        if let Some(port) = self.port.borrow_mut().take() {
            port.close();
        }
        self.view.clock.borrow_mut().take();
        self.view.listeners.borrow_mut().clear();
        self.ui.screen.set(Screen::Loading);
    }

    // ------------------------------------------------------------ what the host is told of the registration

    /// Tells the host once why there is no registration, until that changes.
    pub(super) fn report_failure(self: &Rc<Self>, reason: &RegistrationFailure) {
        self.ask_admission(MIN_ADMISSION_PAUSE_MS);
        if self.session.reported_failure.replace(Some(reason.code)) == Some(reason.code) {
            return;
        }
        let code = match reason.code {
            RegistrationFailureCode::WrongPassword
            | RegistrationFailureCode::PasswordNeeded
            | RegistrationFailureCode::NotFound => code::SIGN_IN_FAILED,
            RegistrationFailureCode::Offline
            | RegistrationFailureCode::Unreachable
            | RegistrationFailureCode::Timeout => code::SIP_UNREACHABLE,
            RegistrationFailureCode::NotStarted => code::PHONE_START_FAILED,
            // The phone connects again at once. If that fails, it says so.
            RegistrationFailureCode::ConnectionLost => return,
            _ => code::SIGN_IN_REFUSED,
        };
        self.notify_error(code, &super::sign_in::sentence(&reason.text));
    }

    pub(super) fn forget_failure(&self) {
        self.session.reported_failure.set(None);
    }

    // ------------------------------------------------------------ whether the server admits the page

    /// Called now and then.
    pub(super) fn watch_admission(self: &Rc<Self>) {
        if !self.ui.screen.with_untracked(|screen| matches!(screen, Screen::Refused(_))) {
            self.ask_admission(ADMISSION_INTERVAL_MS);
        }
    }

    /// Asks the server again for the configuration, unless that was less than `pause_ms` ago. The tenant may have been
    /// disabled, the key revoked, the page's origin taken away.
    fn ask_admission(self: &Rc<Self>, pause_ms: u64) {
        let now = page::unix_now_ms();
        let is_due = now.abs_diff(self.session.admission_asked_at_ms.get()) >= pause_ms;
        let Some(origin) = self.with_tenant(|tenant| tenant.page_origin.clone()).filter(|_| is_due) else { return };
        self.session.admission_asked_at_ms.set(now);
        let app = Rc::clone(self);
        wasm_bindgen_futures::spawn_local(async move {
            match runtime_config::request(&origin, true).await {
                Ok(start) => {
                    app.session.refusal.borrow_mut().take();
                    if let Some(tenant) = &mut *app.session.tenant.borrow_mut() {
                        tenant.page_session = start.page_session;
                    }
                }
                Err(refusal) if refusal.code.starts_with("WEBPHONE_") => {
                    *app.session.refusal.borrow_mut() = Some(refusal.clone());
                    app.stop_if_refused();
                    if app.session.refusal.borrow().is_some() {
                        app.notify_error(&refusal.code, &refusal.message);
                    }
                }
                // A server that does not answer now does not say that the page may not stay.
                Err(_) => {}
            }
        });
    }

    /// Calls that are up are left alone.
    pub(super) fn stop_if_refused(self: &Rc<Self>) {
        let is_in_call = self.ui.snapshot.with_untracked(|snapshot| snapshot.calls.iter().any(is_engaged));
        if is_in_call {
            return;
        }
        let Some(refusal) = self.session.refusal.borrow_mut().take() else { return };
        self.leave_account(&refusal.message);
        self.close_port(refusal.message.clone());
        self.tell(&FromPhone::Stopped(refusal));
        // Not within the message handler of the agent client.
        let app = Rc::clone(self);
        wasm_bindgen_futures::spawn_local(async move {
            let agent = app.session.agent.borrow_mut().take();
            if let Some(agent) = agent {
                agent.leave();
            }
        });
    }
}
