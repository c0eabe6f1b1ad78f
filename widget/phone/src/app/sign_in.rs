//! Signing in and out, and remembering it.

use std::rc::Rc;

use bitcall_wire::agent_protocol::{
    AccountSecret, AgentSnapshot, CallEndCause, RegistrationFailure, RegistrationFailureCode, RegistrationStatus,
    SipAccount,
};
use bitcall_wire::host_protocol::{FromPhone, RegisteredPayload, UnregisteredPayload};

use super::App;
use crate::agent_client::{Link, Place, agent_port};
use crate::browser;
use crate::page;
use crate::recents::Recent;
use crate::signin::{Credentials, FormFaults, Prefill, SecretBox, Start, may_be_outdated, read_form, start};
use crate::ui::{Stage, Tab, focused};

/// How long the phone's outline may stand for it while the server is asked: people take less for at once.
const DRAWN_WITHIN_MS: i32 = 80;

impl App {
    /// After `BITCALL_INIT`: signs in, or asks.
    pub(super) fn begin_session(self: &Rc<Self>) {
        let Some((start, remembered)) = self.with_tenant(|tenant| {
            let stored = tenant.store.session();
            let remembered = stored.as_ref().is_some_and(|(_, remembered)| *remembered);
            (start(&tenant.config, &tenant.host, stored.map(|(stored, _)| stored)), remembered)
        }) else {
            return;
        };
        self.prepare_form();
        self.ui.form.remember.set(remembered && matches!(start, Start::Restore(_)));
        match start {
            Start::Restore(credentials) => {
                *self.fallback.borrow_mut() = self.given_by_host();
                self.sign_in(credentials);
                self.enter_soon();
            }
            Start::Auto(credentials) => {
                self.sign_in(credentials);
                self.enter_soon();
            }
            Start::Connect(credentials) => self.ui.stage.set(Stage::Connect(credentials)),
            Start::Form(_) => self.ui.stage.set(Stage::Form),
        }
    }

    /// Connects to the server already, so that who then signs in need not wait for it.
    pub(super) fn expect_sign_in(&self) {
        let first = self.with_tenant(|tenant| tenant.config.wss.first().cloned()).flatten();
        if let Some(wss) = first {
            agent_port::open_ahead(&wss);
        }
    }

    pub(super) fn submit_sign_in(self: &Rc<Self>) {
        let form = self.ui.form;
        if form.busy.get_untracked() {
            return;
        }
        let read = form.prefill.with_untracked(|prefill| {
            read_form(
                &form.username.get_clone_untracked(),
                &form.domain.get_clone_untracked(),
                &form.password.get_clone_untracked(),
                prefill,
            )
        });
        form.refusal.set(None);
        match read {
            Ok(credentials) => {
                form.faults.set(FormFaults::default());
                form.busy.set(true);
                self.sign_in(credentials);
            }
            Err(faults) => {
                let first = match &faults {
                    FormFaults { username: Some(_), .. } => "username",
                    FormFaults { domain: Some(_), .. } => "domain",
                    _ => "password",
                };
                form.faults.set(faults);
                page::focus_soon(first);
            }
        }
    }

    pub(super) fn connect(self: &Rc<Self>) {
        if let Stage::Connect(credentials) = self.ui.stage.get_clone_untracked()
            && !self.ui.form.busy.get_untracked()
        {
            self.ui.form.refusal.set(None);
            self.ui.form.busy.set(true);
            self.sign_in(credentials);
        }
    }

    pub(super) fn other_account(&self) {
        let form = self.ui.form;
        form.username.set(String::new());
        form.prefill.update(|prefill| prefill.secret = None);
        form.busy.set(false);
        form.refusal.set(None);
        self.ui.stage.set(Stage::Form);
        page::focus_soon("username");
    }

    pub(super) fn sign_out(self: &Rc<Self>) {
        if let Some(link) = self.link.borrow_mut().take() {
            link.sign_out();
            link.close();
        }
        self.forget_person();
        self.forget_account();
        self.prepare_form();
        // Not by itself again: the person has just left.
        self.ui.stage.set(match self.given_by_host() {
            Some(given) => Stage::Connect(given),
            None => Stage::Form,
        });
    }

    /// The registration as the agent sees it, after each snapshot.
    pub(super) fn follow_registration(self: &Rc<Self>, before: &RegistrationStatus, snapshot: &AgentSnapshot) {
        let was = matches!(before, RegistrationStatus::Registered { .. });
        match &snapshot.registration {
            RegistrationStatus::Registered { username, domain, .. } => {
                self.signed_in.set(true);
                if !was {
                    self.registered(username, domain);
                }
                return;
            }
            RegistrationStatus::SignedOut => {
                if self.signed_in.replace(false) {
                    self.signed_out_elsewhere();
                }
            }
            RegistrationStatus::Connecting => self.signed_in.set(true),
            RegistrationStatus::Reconnecting { reason, .. } => {
                self.signed_in.set(true);
                if self.at_the_door() {
                    self.refuse(&format!("{} Trying again by itself.", sentence(reason)));
                } else if reason.code == RegistrationFailureCode::WrongPassword
                    && before != &snapshot.registration
                    && focused(snapshot).is_none()
                {
                    // It was right once: only the person can say the new one.
                    self.failed(reason, false);
                }
            }
            RegistrationStatus::Failed { reason } => {
                // An agent that did not start has not said anything.
                self.signed_in.set(reason.code != RegistrationFailureCode::NotStarted);
                if before != &snapshot.registration || self.ui.form.busy.get_untracked() {
                    self.failed(reason, focused(snapshot).is_some());
                }
            }
        }
        if was {
            self.tell(&FromPhone::Unregistered(UnregisteredPayload { reason: reason_words(&snapshot.registration) }));
        }
    }

    /// The realm is known: from here on the password is not.
    pub(super) fn learn_ha1(&self, realm: String, ha1: String) {
        self.ui.signed_in_as.update(|who| {
            if let Some(who) = who {
                who.secret = SecretBox(AccountSecret::Ha1 { realm: Some(realm), ha1 });
            }
        });
        if self.is_registered() {
            self.keep_session();
        }
    }

    pub(super) fn account(&self) -> Option<SipAccount> {
        let credentials = self.ui.signed_in_as.get_clone_untracked()?;
        self.with_tenant(|tenant| SipAccount {
            username: credentials.username,
            domain: credentials.domain,
            display_name: None,
            secret: credentials.secret.0,
            wss: tenant.config.wss.clone(),
            instance_id: tenant.store.instance(),
            dtmf: tenant.config.sip.dtmf,
            max_sessions: tenant.config.capabilities.max_sessions,
        })
    }

    fn sign_in(self: &Rc<Self>, credentials: Credentials) {
        let key = credentials.user_key();
        self.ui.signed_in_as.set(Some(credentials));
        let Some(account) = self.account() else { return };
        if account.wss.is_empty() {
            self.refuse("This phone has no server yet. Ask whoever runs it to set one up.");
            self.ui.stage.set(Stage::Form);
            return;
        }
        let (Some(place), Some((media, store))) =
            (self.agent_of(&key), self.with_tenant(|tenant| (tenant.media.clone(), tenant.store.clone())))
        else {
            return;
        };
        self.ui.recents.set(store.get::<Vec<Recent>>(&recents_name(&key)).unwrap_or_default());
        // Another person is another agent; the same one may just correct the password.
        let same = self.link.borrow().as_ref().is_some_and(|link| link.place() == &place);
        if same {
            if let Some(link) = &*self.link.borrow() {
                link.sign_in(account);
            }
            return;
        }
        if let Some(old) = self.link.borrow_mut().take() {
            old.sign_out();
            old.close();
        }
        self.signed_in.set(false);
        self.ui.snapshot.update(|snapshot| snapshot.registration = RegistrationStatus::Connecting);
        let app = Rc::downgrade(self);
        let link = Link::attach(place, Some(account), media, move |message| {
            if let Some(app) = app.upgrade() {
                app.hear_agent(message);
            }
        });
        self.ui.page.set(link.page().to_owned());
        *self.link.borrow_mut() = Some(link);
    }

    /// Shows the phone once it is registered, but soon in any case, unless the sign-in has come to nothing
    /// already. To draw it at once would keep this thread from hearing the agent for longer than most
    /// servers take to answer.
    fn enter_soon(self: &Rc<Self>) {
        let app = Rc::clone(self);
        wasm_bindgen_futures::spawn_local(async move {
            browser::sleep(DRAWN_WITHIN_MS).await;
            if app.link.borrow().is_some() && app.ui.stage.with_untracked(|stage| *stage == Stage::Loading) {
                app.ui.stage.set(Stage::Phone);
            }
        });
    }

    /// Where the agent of this person runs.
    fn agent_of(&self, key: &str) -> Option<Place> {
        self.with_tenant(|tenant| Place {
            worker: page::data("worker"),
            name: format!("{}|{key}", tenant.config.storage_namespace),
        })
    }

    fn registered(self: &Rc<Self>, username: &str, domain: &str) {
        let form = self.ui.form;
        self.fallback.borrow_mut().take();
        form.busy.set(false);
        form.refusal.set(None);
        form.faults.set(FormFaults::default());
        form.password.set(String::new());
        form.password_shown.set(false);
        self.tell(&FromPhone::Registered(RegisteredPayload {
            username: username.to_owned(),
            domain: domain.to_owned(),
            user_key: format!("{username}@{domain}").to_ascii_lowercase(),
        }));
        self.keep_session();
        let app = Rc::clone(self);
        wasm_bindgen_futures::spawn_local(async move {
            // The host page may live in this very thread: it hears the news before the phone is drawn.
            browser::sleep(0).await;
            if app.is_registered() {
                app.go_inside();
            }
        });
    }

    fn go_inside(self: &Rc<Self>) {
        if self.ui.stage.with_untracked(|stage| *stage != Stage::Phone) {
            self.ui.tab.set(Tab::Keypad);
            self.ui.stage.set(Stage::Phone);
        }
        let waiting = self.waiting_call.borrow_mut().take();
        if let Some(call) = waiting {
            self.host_call(call);
        }
    }

    pub(super) fn is_registered(&self) -> bool {
        let registered =
            |snapshot: &AgentSnapshot| matches!(snapshot.registration, RegistrationStatus::Registered { .. });
        self.ui.snapshot.with_untracked(registered)
    }

    fn failed(self: &Rc<Self>, reason: &RegistrationFailure, in_call: bool) {
        let about_account = matches!(
            reason.code,
            RegistrationFailureCode::WrongPassword
                | RegistrationFailureCode::Forbidden
                | RegistrationFailureCode::NotFound
                | RegistrationFailureCode::BadConfiguration
        );
        let fallback = self.fallback.borrow_mut().take_if(|_| may_be_outdated(reason.code));
        if reason.code == RegistrationFailureCode::WrongPassword || fallback.is_some() {
            self.forget_refused();
            if let Some(fallback) = fallback {
                self.sign_in(fallback);
                return;
            }
        }
        self.give_up_waiting_call(&sentence(reason));
        if self.at_the_door() || (about_account && !in_call) {
            self.show_failure(reason);
        }
    }

    /// Back to the door, with the fault beside the field it is about.
    fn show_failure(&self, reason: &RegistrationFailure) {
        let form = self.ui.form;
        form.busy.set(false);
        if let Some(who) = self.ui.signed_in_as.get_clone_untracked() {
            form.username.set(who.username);
            form.domain.set(who.domain);
        }
        // What the host page gave was wrong: the person has to type it.
        form.prefill.update(|prefill| prefill.secret = None);
        let mut faults = FormFaults::default();
        match reason.code {
            RegistrationFailureCode::WrongPassword => faults.password = Some("Wrong password. Check it and try again."),
            RegistrationFailureCode::NotFound => faults.username = Some("The server does not know this name."),
            _ => form.refusal.set(Some(sentence(reason))),
        }
        let wrong_password = faults.password.is_some();
        form.faults.set(faults);
        self.ui.stage.set(Stage::Form);
        if wrong_password {
            page::focus_soon("password");
        }
    }

    fn signed_out_elsewhere(self: &Rc<Self>) {
        self.forget_person();
        self.forget_account();
        self.prepare_form();
        self.ui.form.refusal.set(Some("You signed out in another window.".to_owned()));
        self.ui.stage.set(Stage::Form);
        // Not from inside the link's own message.
        let app = Rc::clone(self);
        wasm_bindgen_futures::spawn_local(async move {
            let link = app.link.borrow_mut().take();
            if let Some(link) = link {
                link.close();
            }
        });
    }

    /// What the server has just refused must not be tried again by itself. What is
    /// stored may be something else: of another tab, or of a time before a slip of the fingers.
    fn forget_refused(&self) {
        let refused = self.ui.signed_in_as.with_untracked(|who| who.as_ref().and_then(Credentials::storable));
        if let Some(refused) = refused {
            self.with_tenant(|tenant| tenant.store.forget_session(|stored| *stored == refused));
        }
    }

    /// The person leaves: nothing of theirs stays.
    fn forget_person(&self) {
        if let Some(who) = self.ui.signed_in_as.get_clone_untracked() {
            self.with_tenant(|tenant| {
                tenant.store.forget_session(|stored| stored.is_of(&who.username, &who.domain));
            });
        }
    }

    fn forget_account(&self) {
        let left = self.announced.borrow_mut().take();
        for call in left {
            self.ended_unheard(&call, &CallEndCause { words: "Signed out".to_owned(), sip_code: None });
        }
        let before = self.ui.snapshot.with_untracked(|snapshot| snapshot.registration.clone());
        self.give_up_waiting_call("Signed out.");
        self.ui.signed_in_as.set(None);
        self.ui.recents.set(Vec::new());
        self.ui.ended.set(None);
        self.ui.number.set(String::new());
        self.ui.identity_open.set(false);
        self.ui.snapshot.set(AgentSnapshot::default());
        self.signed_in.set(false);
        if matches!(before, RegistrationStatus::Registered { .. }) {
            self.tell(&FromPhone::Unregistered(UnregisteredPayload { reason: "Signed out".to_owned() }));
        }
    }

    fn prepare_form(&self) {
        let Some(prefill) = self.with_tenant(|tenant| Prefill::from_host(&tenant.config, &tenant.host.sip)) else {
            return;
        };
        let form = self.ui.form;
        form.username.set(prefill.username.clone());
        form.domain.set(prefill.domain.clone());
        form.password.set(String::new());
        form.prefill.set(prefill);
        form.faults.set(FormFaults::default());
        form.refusal.set(None);
        form.busy.set(false);
    }

    fn given_by_host(&self) -> Option<Credentials> {
        self.with_tenant(|tenant| Prefill::from_host(&tenant.config, &tenant.host.sip).complete()).flatten()
    }

    fn keep_session(&self) {
        let stored = self.ui.signed_in_as.with_untracked(|who| who.as_ref().and_then(Credentials::storable));
        if let Some(stored) = stored {
            let remember = self.ui.form.remember.get_untracked();
            self.with_tenant(|tenant| tenant.store.keep_session(&stored, remember));
        }
    }

    /// The agent has not said anything about this account yet.
    pub(super) fn signing_in(&self) -> bool {
        !self.signed_in.get() && self.ui.signed_in_as.with_untracked(Option::is_some)
    }

    /// Signing in, and not inside yet.
    fn at_the_door(&self) -> bool {
        self.ui.stage.with_untracked(|stage| matches!(stage, Stage::Form | Stage::Connect(_)))
    }

    fn refuse(&self, words: &str) {
        self.ui.form.busy.set(false);
        self.ui.form.refusal.set(Some(words.to_owned()));
    }

    pub(super) fn with_tenant<T>(&self, read: impl FnOnce(&super::Tenant) -> T) -> Option<T> {
        self.tenant.borrow().as_ref().map(read)
    }
}

/// Name of a person's list of calls in storage.
pub(super) fn recents_name(user_key: &str) -> String {
    format!("recents:{user_key}")
}

fn sentence(reason: &RegistrationFailure) -> String {
    format!("{}.", reason.words.trim().trim_end_matches('.'))
}

fn reason_words(registration: &RegistrationStatus) -> String {
    match registration {
        RegistrationStatus::Reconnecting { reason, .. } | RegistrationStatus::Failed { reason } => reason.words.clone(),
        RegistrationStatus::Connecting => "Reconnecting".to_owned(),
        RegistrationStatus::SignedOut | RegistrationStatus::Registered { .. } => "Signed out".to_owned(),
    }
}
