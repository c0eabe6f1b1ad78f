//! Signing in and out, and the stored session.

use std::rc::Rc;

use bitcall_wire::agent_protocol::{
    AgentSnapshot, CallEndCause, RealmHa1, RegistrationFailure, RegistrationFailureCode, RegistrationStatus,
    SipAccount, TakenCallerId,
};
use bitcall_wire::host_protocol::{HostEvent, RegisteredPayload, UnregisteredPayload};

use super::App;
use crate::agent_client::{AgentAddress, AgentClient, agent_port};
use crate::browser;
use crate::page;
use crate::recents::RecentCall;
use crate::signin::{
    FormDefaults, FormErrors, InitialSignIn, SignInCredentials, StoredSession, initial_sign_in,
    may_mean_outdated_session, read_form, server_origins,
};
use crate::ui::{Screen, Tab, focused_call, is_engaged};

/// How long the skeleton may stay while the server is asked. Rendering the phone takes up to 100 ms of this thread on a slow
/// machine; in the middle of a sign-in it would keep the answer waiting for so long.
const SKELETON_TIMEOUT_MS: i32 = 500;

/// Storage key of the header fields from which SIP servers have taken caller IDs.
const CALLER_ID_HEADERS_KEY: &str = "caller-id-headers";

impl App {
    /// After `BITCALL_INIT`: signs in, or shows the form.
    pub(super) fn begin_session(self: &Rc<Self>) {
        let Some((start, remembered)) = self.with_tenant(|tenant| {
            // The servers were changed: nothing of the session is left for later ones.
            tenant.storage.forget_session(|stored| !stored.fits(&tenant.config.wss));
            let stored = tenant.storage.session();
            let remembered = stored.as_ref().is_some_and(|(_, remembered)| *remembered);
            (initial_sign_in(&tenant.config, &tenant.host, stored.map(|(stored, _)| stored)), remembered)
        }) else {
            return;
        };
        self.prepare_form();
        self.ui.form.remember.set(remembered && matches!(start, InitialSignIn::Restore(_)));
        match start {
            InitialSignIn::Restore(credentials) => {
                *self.session.fallback.borrow_mut() = self.host_credentials();
                self.sign_in(credentials);
                self.show_phone_soon();
            }
            InitialSignIn::Auto(credentials) => {
                self.sign_in(credentials);
                self.show_phone_soon();
            }
            InitialSignIn::Connect(credentials) => self.ui.screen.set(Screen::Connect(credentials)),
            InitialSignIn::Form(_) => self.ui.screen.set(Screen::Form),
        }
        if self.session.agent.borrow().is_none() {
            // Of a phone whose place this one takes: it does not attach to their agent.
            self.end_notified_calls("Signed out");
        }
    }

    /// Opens the WebSocket before the person signs in.
    pub(super) fn prepare_sign_in(&self) {
        let first = self.with_tenant(|tenant| tenant.config.wss.first().cloned()).flatten();
        if let Some(wss) = first {
            agent_port::preconnect(&wss);
        }
    }

    pub(super) fn submit_sign_in(self: &Rc<Self>) {
        let form = self.ui.form;
        if form.busy.get_untracked() {
            return;
        }
        let read = form.defaults.with_untracked(|defaults| {
            read_form(
                &form.username.get_clone_untracked(),
                &form.domain.get_clone_untracked(),
                &form.password.get_clone_untracked(),
                defaults,
            )
        });
        form.error.set(None);
        match read {
            Ok(credentials) => {
                form.errors.set(FormErrors::default());
                form.busy.set(true);
                self.sign_in(credentials);
            }
            Err(errors) => {
                let first = match &errors {
                    FormErrors { username: Some(_), .. } => "username",
                    FormErrors { domain: Some(_), .. } => "domain",
                    _ => "password",
                };
                form.errors.set(errors);
                page::focus_after_render(first);
            }
        }
    }

    pub(super) fn connect(self: &Rc<Self>) {
        if let Screen::Connect(credentials) = self.ui.screen.get_clone_untracked()
            && !self.ui.form.busy.get_untracked()
        {
            self.ui.form.error.set(None);
            self.ui.form.busy.set(true);
            self.sign_in(credentials);
        }
    }

    pub(super) fn other_account(&self) {
        let form = self.ui.form;
        form.username.set(String::new());
        form.defaults.update(|defaults| defaults.secret = None);
        form.busy.set(false);
        form.error.set(None);
        self.ui.screen.set(Screen::Form);
        page::focus_after_render("username");
    }

    pub(super) fn sign_out(self: &Rc<Self>) {
        if let Some(agent) = self.session.agent.borrow_mut().take() {
            agent.sign_out();
            agent.close();
        }
        self.forget_stored_session();
        self.leave_account("Signed out");
        self.prepare_form();
        // Not automatically: the person has just signed out.
        self.ui.screen.set(match self.host_credentials() {
            Some(given) => Screen::Connect(given),
            None => Screen::Form,
        });
    }

    /// Handles a change of registration, after each snapshot.
    pub(super) fn apply_registration(self: &Rc<Self>, before: &RegistrationStatus, snapshot: &AgentSnapshot) {
        let was = matches!(before, RegistrationStatus::Registered { .. });
        match &snapshot.registration {
            RegistrationStatus::Registered { username, domain, .. } => {
                self.session.signed_in.set(true);
                self.forget_failure();
                if !was {
                    self.handle_registered(username, domain);
                } else if self.ui.form.busy.get_untracked() {
                    // The password was asked for again, and is right.
                    self.clear_form();
                    self.show_phone();
                }
                return;
            }
            RegistrationStatus::SignedOut => {
                if self.session.signed_in.replace(false) {
                    self.signed_out_elsewhere();
                }
            }
            RegistrationStatus::Connecting => self.session.signed_in.set(true),
            RegistrationStatus::Reconnecting { reason, .. } => {
                self.session.signed_in.set(true);
                let is_new = before != &snapshot.registration;
                let only_person_can_help = matches!(
                    reason.code,
                    RegistrationFailureCode::WrongPassword | RegistrationFailureCode::PasswordNeeded
                );
                if is_new && self.sign_in_instead(reason) {
                    return;
                }
                if is_new {
                    self.report_failure(reason);
                }
                if self.is_at_sign_in() {
                    self.show_form_error(&format!("{} Trying again by itself.", sentence(&reason.text)));
                } else if only_person_can_help && is_new && focused_call(snapshot).is_none() {
                    // The password was correct before. It has been changed, or the server's realm has.
                    self.handle_failure(reason, false);
                }
            }
            RegistrationStatus::Failed { reason } => {
                // An agent that did not start has not signed in.
                self.session.signed_in.set(reason.code != RegistrationFailureCode::NotStarted);
                if before != &snapshot.registration || self.ui.form.busy.get_untracked() {
                    self.handle_failure(reason, focused_call(snapshot).is_some());
                }
            }
        }
        if was {
            self.emit(&HostEvent::Unregistered(UnregisteredPayload { reason: reason_words(&snapshot.registration) }));
        }
    }

    /// A realm has accepted this HA1, which replaces the password here.
    pub(super) fn adopt_ha1(&self, ha1: RealmHa1) {
        self.ui.signed_in_as.update(|who| {
            if let Some(who) = who {
                who.secret.0.adopt(ha1);
            }
        });
        if self.is_registered() {
            self.keep_session();
        }
    }

    /// Other tabs write to the list as well.
    pub(super) fn keep_caller_id_header(&self, taken: TakenCallerId) {
        self.with_tenant(|tenant| {
            let mut list: Vec<TakenCallerId> = tenant.storage.get(CALLER_ID_HEADERS_KEY).unwrap_or_default();
            list.retain(|other| other.server != taken.server && tenant.config.wss.contains(&other.server));
            list.push(taken);
            tenant.storage.set(CALLER_ID_HEADERS_KEY, &list);
        });
    }

    pub(super) fn account(&self) -> Option<SipAccount> {
        self.account_of(self.ui.signed_in_as.get_clone_untracked()?)
    }

    fn account_of(&self, credentials: SignInCredentials) -> Option<SipAccount> {
        self.with_tenant(|tenant| SipAccount {
            username: credentials.username,
            domain: credentials.domain,
            display_name: None,
            secret: credentials.secret.0,
            wss: tenant.config.wss.clone(),
            instance_id: tenant.storage.instance(),
            dtmf: tenant.config.sip.dtmf,
            max_sessions: tenant.config.capabilities.max_sessions,
            calls: tenant.config.behavior.calls,
            caller_id_headers: tenant.storage.get(CALLER_ID_HEADERS_KEY).unwrap_or_default(),
        })
    }

    fn sign_in(self: &Rc<Self>, credentials: SignInCredentials) {
        let key = credentials.user_key();
        let present = self.ui.signed_in_as.with_untracked(|who| who.as_ref().map(SignInCredentials::user_key));
        // Of an account that is registered the secret is known already; the password may be mistyped.
        if present.as_ref() != Some(&key) || !self.is_registered() {
            self.ui.signed_in_as.set(Some(credentials.clone()));
        }
        let Some(account) = self.account_of(credentials) else { return };
        if account.wss.is_empty() {
            self.show_form_error("This phone has no server yet. Ask whoever runs it to set one up.");
            self.ui.screen.set(Screen::Form);
            return;
        }
        let (Some(address), Some((media, storage))) =
            (self.agent_address(&key), self.with_tenant(|tenant| (tenant.media.clone(), tenant.storage.clone())))
        else {
            return;
        };
        self.ui.recents.set(storage.get::<Vec<RecentCall>>(&recents_name(&key)).unwrap_or_default());
        // Each account has its own agent. The same account may have a corrected password.
        let same = self.session.agent.borrow().as_ref().is_some_and(|agent| agent.address() == &address);
        if same {
            if let Some(agent) = &*self.session.agent.borrow() {
                agent.sign_in(account);
                agent.retry();
            }
            return;
        }
        if let Some(old) = self.session.agent.borrow_mut().take() {
            old.sign_out();
            old.close();
        }
        self.session.signed_in.set(false);
        self.ui.snapshot.update(|snapshot| snapshot.registration = RegistrationStatus::Connecting);
        let app = Rc::downgrade(self);
        let agent = AgentClient::attach(address, Some(account), media, move |message| {
            if let Some(app) = app.upgrade() {
                app.handle_agent_message(message);
            }
        });
        self.ui.page.set(agent.page().to_owned());
        *self.session.agent.borrow_mut() = Some(agent);
    }

    /// Shows the phone after [`SKELETON_TIMEOUT_MS`] even when it is not registered yet, unless the sign-in
    /// has failed.
    fn show_phone_soon(self: &Rc<Self>) {
        let app = Rc::clone(self);
        wasm_bindgen_futures::spawn_local(async move {
            browser::sleep(SKELETON_TIMEOUT_MS).await;
            if app.session.agent.borrow().is_some() && app.ui.screen.with_untracked(|screen| *screen == Screen::Loading)
            {
                app.ui.screen.set(Screen::Phone);
            }
        });
    }

    /// The agent of this person.
    fn agent_address(&self, key: &str) -> Option<AgentAddress> {
        self.with_tenant(|tenant| AgentAddress {
            worker_url: page::data_attribute("worker"),
            name: format!(
                "{}|{}|{key}",
                tenant.storage.namespace(),
                server_origins(&tenant.config.wss).collect::<Vec<_>>().join(",")
            ),
        })
    }

    fn handle_registered(self: &Rc<Self>, username: &str, domain: &str) {
        self.session.fallback.borrow_mut().take();
        self.clear_form();
        self.emit(&HostEvent::Registered(RegisteredPayload {
            username: username.to_owned(),
            domain: domain.to_owned(),
            user_key: format!("{username}@{domain}").to_ascii_lowercase(),
        }));
        self.keep_session();
        let app = Rc::clone(self);
        wasm_bindgen_futures::spawn_local(async move {
            // The host page may share this thread: it is notified before the phone is rendered.
            browser::sleep(0).await;
            if app.is_registered() {
                app.show_phone();
                app.load_secondary_part_when_idle();
            }
        });
    }

    fn clear_form(&self) {
        let form = self.ui.form;
        form.busy.set(false);
        form.error.set(None);
        form.errors.set(FormErrors::default());
        form.password.set(String::new());
        form.password_shown.set(false);
    }

    pub(super) fn show_phone(self: &Rc<Self>) {
        if self.ui.screen.with_untracked(|screen| *screen != Screen::Phone) {
            self.ui.tab.set(Tab::Keypad);
            self.ui.screen.set(Screen::Phone);
        }
        self.place_pending_call();
    }

    pub(super) fn is_registered(&self) -> bool {
        let registered =
            |snapshot: &AgentSnapshot| matches!(snapshot.registration, RegistrationStatus::Registered { .. });
        self.ui.snapshot.with_untracked(registered)
    }

    fn handle_failure(self: &Rc<Self>, reason: &RegistrationFailure, in_call: bool) {
        let about_account = matches!(
            reason.code,
            RegistrationFailureCode::WrongPassword
                | RegistrationFailureCode::PasswordNeeded
                | RegistrationFailureCode::NotFound
                | RegistrationFailureCode::BadConfiguration
        );
        if self.sign_in_instead(reason) {
            return;
        }
        self.report_failure(reason);
        if reason.code == RegistrationFailureCode::WrongPassword {
            self.forget_refused_session();
        }
        self.cancel_pending_call(&sentence(&reason.text));
        if self.is_at_sign_in() || (about_account && !in_call) {
            self.show_failure(reason.code, &reason.text);
        }
    }

    /// The stored session was refused: signs in with the credentials of the host page, if it gave any. Once.
    fn sign_in_instead(self: &Rc<Self>, reason: &RegistrationFailure) -> bool {
        let fallback = self.session.fallback.borrow_mut().take_if(|_| may_mean_outdated_session(reason.code));
        let Some(fallback) = fallback else { return false };
        if reason.code != RegistrationFailureCode::PasswordNeeded {
            self.forget_refused_session();
        }
        self.sign_in(fallback);
        true
    }

    /// Another realm of the server needs the password, for this call. None: what was entered is not the password.
    pub(super) fn ask_for_password(&self, call: Option<&str>) {
        let talks = self.ui.snapshot.with_untracked(|snapshot| {
            snapshot.calls.iter().any(|other| is_engaged(other) && Some(other.id.as_str()) != call)
        });
        if talks {
            let text = "The server asks for the password again. Call once more after this call, and enter it.";
            self.ui.call_notice.set(Some(text.to_owned()));
            return;
        }
        self.show_failure(
            match call {
                Some(_) => RegistrationFailureCode::PasswordNeeded,
                None => RegistrationFailureCode::WrongPassword,
            },
            "",
        );
    }

    /// Shows the sign-in form with the error beside its field.
    fn show_failure(&self, code: RegistrationFailureCode, text: &str) {
        let form = self.ui.form;
        form.busy.set(false);
        if let Some(who) = self.ui.signed_in_as.get_clone_untracked() {
            form.username.set(who.username);
            form.domain.set(who.domain);
        }
        // The credentials of the host page were wrong: the person has to type the password.
        form.defaults.update(|defaults| defaults.secret = None);
        let mut errors = FormErrors::default();
        match code {
            RegistrationFailureCode::WrongPassword => errors.password = Some("Wrong password. Check it and try again."),
            RegistrationFailureCode::PasswordNeeded => errors.password = Some("Enter the password again."),
            RegistrationFailureCode::NotFound => errors.username = Some("The server does not know this name."),
            _ => form.error.set(Some(sentence(text))),
        }
        let is_about_password = errors.password.is_some();
        form.errors.set(errors);
        self.ui.screen.set(Screen::Form);
        if is_about_password {
            page::focus_after_render("password");
        }
    }

    fn signed_out_elsewhere(self: &Rc<Self>) {
        self.forget_stored_session();
        self.leave_account("Signed out");
        self.prepare_form();
        self.ui.form.error.set(Some("You signed out in another window.".to_owned()));
        self.ui.screen.set(Screen::Form);
        // Not within the message handler of the agent client.
        let app = Rc::clone(self);
        wasm_bindgen_futures::spawn_local(async move {
            let agent = app.session.agent.borrow_mut().take();
            if let Some(agent) = agent {
                agent.close();
            }
        });
    }

    /// Forgets a stored session that the server has just refused, so that it is not tried again. The stored
    /// session may be a different one, of another tab or from before a typing error; that one is kept.
    fn forget_refused_session(&self) {
        let refused = self.storable_session();
        if let Some(refused) = refused {
            self.with_tenant(|tenant| tenant.storage.forget_session(|stored| *stored == refused));
        }
    }

    /// Forgets the stored session of the person who signs out.
    fn forget_stored_session(&self) {
        if let Some(who) = self.ui.signed_in_as.get_clone_untracked() {
            self.with_tenant(|tenant| {
                tenant.storage.forget_session(|stored| stored.is_of(&who.username, &who.domain));
            });
        }
    }

    /// The page detaches from the agent, and will not learn how the calls end.
    fn end_notified_calls(&self, reason: &str) {
        let left = self.calls.notified.borrow_mut().take_all();
        for call in left {
            self.record_unnotified_end(&call, &CallEndCause { text: reason.to_owned(), sip_code: None });
        }
    }

    pub(super) fn leave_account(&self, reason: &str) {
        self.end_notified_calls(reason);
        let before = self.ui.snapshot.with_untracked(|snapshot| snapshot.registration.clone());
        self.cancel_pending_call(&sentence(reason));
        self.ui.signed_in_as.set(None);
        self.ui.recents.set(Vec::new());
        self.ui.ended.set(None);
        self.ui.messages.set(Vec::new());
        self.ui.number.set(String::new());
        self.ui.identity_open.set(false);
        self.ui.snapshot.set(AgentSnapshot::default());
        self.session.signed_in.set(false);
        if matches!(before, RegistrationStatus::Registered { .. }) {
            self.emit(&HostEvent::Unregistered(UnregisteredPayload { reason: reason.to_owned() }));
        }
    }

    fn prepare_form(&self) {
        let Some(defaults) = self.with_tenant(|tenant| FormDefaults::from_host(&tenant.config, &tenant.host.sip))
        else {
            return;
        };
        let form = self.ui.form;
        form.username.set(defaults.username.clone());
        form.domain.set(defaults.domain.clone());
        form.password.set(String::new());
        form.defaults.set(defaults);
        form.errors.set(FormErrors::default());
        form.error.set(None);
        form.busy.set(false);
    }

    fn host_credentials(&self) -> Option<SignInCredentials> {
        self.with_tenant(|tenant| FormDefaults::from_host(&tenant.config, &tenant.host.sip).complete()).flatten()
    }

    fn keep_session(&self) {
        let stored = self.storable_session();
        if let Some(stored) = stored {
            let remember = self.ui.form.remember.get_untracked();
            self.with_tenant(|tenant| tenant.storage.keep_session(&stored, remember));
        }
    }

    fn storable_session(&self) -> Option<StoredSession> {
        let wss = self.with_tenant(|tenant| tenant.config.wss.clone())?;
        self.ui.signed_in_as.with_untracked(|who| who.as_ref().and_then(|who| who.storable(&wss)))
    }

    /// The agent has not reported anything about this account yet.
    pub(super) fn is_signing_in(&self) -> bool {
        !self.session.signed_in.get() && self.ui.signed_in_as.with_untracked(Option::is_some)
    }

    /// The sign-in form or the connect button is shown.
    pub(super) fn is_at_sign_in(&self) -> bool {
        self.ui.screen.with_untracked(|screen| matches!(screen, Screen::Form | Screen::Connect(_)))
    }

    fn show_form_error(&self, text: &str) {
        self.ui.form.busy.set(false);
        self.ui.form.error.set(Some(text.to_owned()));
    }
}

/// Storage name of a person's list of calls.
pub(super) fn recents_name(user_key: &str) -> String {
    format!("recents:{user_key}")
}

pub(super) fn sentence(text: &str) -> String {
    format!("{}.", text.trim().trim_end_matches('.'))
}

fn reason_words(registration: &RegistrationStatus) -> String {
    match registration {
        RegistrationStatus::Reconnecting { reason, .. } | RegistrationStatus::Failed { reason } => reason.text.clone(),
        RegistrationStatus::Connecting => "Reconnecting".to_owned(),
        RegistrationStatus::SignedOut | RegistrationStatus::Registered { .. } => "Signed out".to_owned(),
    }
}
