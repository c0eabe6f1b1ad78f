//! Registration (RFC 3261 §10, RFC 5626) and its connection.
//!
//! One state machine owns both, so that they are always consistent: the end of a
//! connection also ends the REGISTER on it, and every failure leads either to a
//! scheduled retry or to a final, typed failure.

use serde::{Deserialize, Serialize};

use super::context::{ClientRequest, SUPPORTED, TransactionUser, UaContext};
use super::credential_store::{ChallengeRefusal, EarlierTries};
use super::interface::{Event, Millis, Output, RegisterFailure, RegisterFailureKind, Registration, TransportId};
use super::reconnect_backoff::ConnectionTimer;
use super::{ALLOW, UserAgent};
use crate::message::{Contact, Header, NameAddr, Response, unquote};
use crate::request_template::{RequestTemplate, number};
use crate::time::Timers;
use crate::uri::Uri;

/// Longest duration of a sign-out.
const SIGN_OUT_TIMEOUT_MS: u64 = 3_500;
/// Time-out of REGISTER; then the next server is tried.
const REGISTER_TIMEOUT_MS: u64 = 12_000;
/// Delays after the account or this device was refused; the last one is repeated. They are long, so that no server
/// with a ban list blocks us, and end, so that the phone comes back when another device is gone.
const REFUSED_RETRY_DELAYS_MS: [u64; 4] = [60_000, 120_000, 300_000, 600_000];
/// A longer `Retry-After` is not followed.
const MAX_RETRY_AFTER_MS: u64 = 600_000;
/// Delay after a server error; doubled each time.
const MIN_ERROR_RETRY_DELAY_MS: u64 = 2_000;
const MAX_ERROR_RETRY_DELAY_MS: u64 = 60_000;

/// See [`Registration::Registered`].
const PHONE_SESSION: &str = "X-Bitcall-Session";

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct RegisterClient {
    goal: RegistrationGoal,
    /// `From` with tag and Call-ID are the same for all REGISTERs; `CSeq` increases (RFC 3261 §10.2).
    from: String,
    call_id: String,
    cseq: u32,
    /// `Expires` of the next REGISTER.
    expires_seconds: u32,
    /// A REGISTER was accepted at least once with these credentials.
    has_registered: bool,
    pub(super) is_pending: bool,
    pub(super) is_registered: bool,
    /// Consecutive refusals of the account or this device.
    refusals: usize,
    /// Consecutive server errors.
    errors: u32,
    reported: Registration,
    pub(super) timers: Timers<RegistrationTimer>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum RegistrationGoal {
    SignedOut,
    SignedIn,
    /// Unregistering.
    SigningOut,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum RegistrationTimer {
    /// Send REGISTER: refresh or retry.
    Register,
    /// The granted time is over without an accepted refresh.
    Lapse,
    SignOut,
}

impl RegisterClient {
    pub(super) fn new(context: &mut UaContext) -> Self {
        let mut from = context.own_address();
        from.push_str(";tag=");
        from.push_str(&context.random.tag());
        Self {
            goal: RegistrationGoal::SignedOut,
            from,
            call_id: context.random.token(22),
            cseq: 0,
            expires_seconds: context.config.timers.register_expires_seconds.max(30),
            has_registered: false,
            is_pending: false,
            is_registered: false,
            refusals: 0,
            errors: 0,
            reported: Registration::SignedOut,
            timers: Timers::default(),
        }
    }

    pub(super) fn is_signing_out(&self) -> bool {
        self.goal == RegistrationGoal::SigningOut
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.goal == RegistrationGoal::SignedIn
    }

    /// The server refuses these credentials or this device.
    pub(super) fn refusal(&self) -> Option<RegisterFailure> {
        match &self.reported {
            Registration::Reconnecting { failure, .. } if is_refusal(failure.kind) => Some(*failure),
            _ => None,
        }
    }

    /// The time until which a refused account is not tried again, except by the user.
    fn refused_until(&self) -> Option<(RegisterFailure, Millis)> {
        Some((self.refusal()?, self.timers.at(RegistrationTimer::Register)?))
    }

    pub(super) fn deadline(&self) -> Option<Millis> {
        self.timers.next()
    }

    fn report(&mut self, context: &mut UaContext, registration: Registration) {
        if self.reported != registration {
            self.reported = registration.clone();
            context.emit(Event::Registration(registration));
        }
    }

    /// The connection with the registration is lost, and REGISTER is under way on another one.
    pub(super) fn report_lost(&mut self, context: &mut UaContext) {
        self.timers.clear(RegistrationTimer::Lapse);
        let failure = RegisterFailure { kind: RegisterFailureKind::ConnectionLost, status: None };
        self.report(context, Registration::Reconnecting { failure, retry_at: None });
    }

    fn template(&mut self, context: &UaContext, seconds: u32) -> RequestTemplate {
        self.cseq += 1;
        let mut contact = String::from("<");
        contact.push_str(&context.device_uri());
        contact.push('>');
        if !context.config.instance_id.is_empty() {
            contact.push_str(";+sip.instance=\"<");
            contact.push_str(&context.config.instance_id);
            contact.push_str(">\";reg-id=1");
        }
        contact.push_str(";expires=");
        contact.push_str(&number(seconds.into()));
        let mut uri = String::from("sip:");
        uri.push_str(&context.config.domain);
        RequestTemplate {
            method: "REGISTER".into(),
            uri,
            routes: Vec::new(),
            to: context.own_address(),
            from: self.from.clone(),
            call_id: self.call_id.clone(),
            cseq: self.cseq,
            extra: vec![
                ("Contact".into(), contact),
                ("Expires".into(), number(seconds.into())),
                ("Supported".into(), SUPPORTED.into()),
                ("Allow".into(), ALLOW.into()),
            ],
            body: None,
        }
    }
}

impl UserAgent {
    pub(super) fn register(&mut self, now: Millis) {
        self.register_client.goal = RegistrationGoal::SignedIn;
        self.register_client.timers.clear(RegistrationTimer::SignOut);
        if Uri::parse(&self.context.address_of_record()).is_err() || self.context.config.servers.is_empty() {
            let failure = RegisterFailure { kind: RegisterFailureKind::BadConfiguration, status: None };
            self.fail_registration(failure, now);
            return;
        }
        if self.context.transport.is_some() {
            if !self.register_client.is_registered && !self.register_client.is_pending {
                self.send_register(now);
            }
        } else if self.backoff.current().is_none() {
            self.connect(now);
        }
    }

    pub(super) fn unregister(&mut self, now: Millis) {
        if self.register_client.goal != RegistrationGoal::SignedIn {
            return;
        }
        let refused = self.register_client.refusal().is_some();
        self.register_client.goal = RegistrationGoal::SigningOut;
        self.register_client.is_registered = false;
        self.register_client.is_pending = false;
        self.register_client.timers.clear_all();
        self.sign_out_calls(now);
        // With refused credentials the binding cannot be removed, and one more REGISTER would look like an attack.
        if self.context.transport.is_none() || refused {
            self.finish_sign_out();
            return;
        }
        self.register_client.timers.set(RegistrationTimer::SignOut, now.plus(SIGN_OUT_TIMEOUT_MS));
        let template = self.register_client.template(&self.context, 0);
        self.context.request(template, TransactionUser::Register, now);
    }

    /// The sign-out is finished, with or without a response.
    fn finish_sign_out(&mut self) {
        self.disconnect();
        self.backoff.stop();
        self.abandon_calls();
        self.context.client_requests.clear();
        self.register_client.goal = RegistrationGoal::SignedOut;
        self.register_client.timers.clear_all();
        self.register_client.is_registered = false;
        self.register_client.is_pending = false;
        self.register_client.report(&mut self.context, Registration::SignedOut);
    }

    /// Fails without retry until the next `Command::Register`.
    fn fail_registration(&mut self, failure: RegisterFailure, now: Millis) {
        let was_open = self.context.transport.is_some();
        self.disconnect();
        self.backoff.stop();
        self.context.client_requests.retain(|client| client.owner != TransactionUser::Register);
        self.register_client.timers.clear_all();
        self.register_client.is_registered = false;
        self.register_client.is_pending = false;
        self.register_client.report(&mut self.context, Registration::Failed { failure });
        if was_open {
            self.on_transport_lost(now);
        }
    }

    fn disconnect(&mut self) {
        if let Some(id) = self.backoff.current() {
            self.context.push(Output::CloseTransport { id });
        }
        self.context.transport = None;
        self.keepalive.stop();
        self.stop_failback();
    }

    pub(super) fn connect(&mut self, now: Millis) {
        let Some((id, url)) = self.backoff.connect(&self.context.config.servers, now) else {
            return;
        };
        let next = match &self.register_client.reported {
            Registration::Reconnecting { failure, .. } => {
                Registration::Reconnecting { failure: *failure, retry_at: None }
            }
            _ => Registration::Connecting,
        };
        self.register_client.report(&mut self.context, next);
        self.context.push(Output::Connect { id, url });
    }

    pub(super) fn on_connected(&mut self, id: TransportId, now: Millis) {
        if self.on_better_server_open(id, now) {
            return;
        }
        if !self.backoff.on_open(id) {
            self.context.push(Output::CloseTransport { id });
            return;
        }
        let url = self.server().to_owned();
        self.context.open(id, &url);
        self.keepalive.start(&self.context.config.timers, now);
        self.send_register(now);
    }

    pub(super) fn on_closed(&mut self, id: TransportId, reason: &str, now: Millis) {
        if self.on_second_connection_closed(id, now)
            || self.backoff.current() != Some(id)
            || self.return_to_previous_connection(now)
        {
            return;
        }
        let mut line = String::from("connection closed: ");
        line.push_str(reason);
        self.context.emit_dropped(&line);
        let kind = if self.context.transport.is_some() {
            RegisterFailureKind::ConnectionLost
        } else {
            RegisterFailureKind::Unreachable
        };
        self.on_connection_lost(RegisterFailure { kind, status: None }, now);
    }

    /// The connection is lost or not usable: ends everything on it and starts the back-off.
    fn on_connection_lost(&mut self, failure: RegisterFailure, now: Millis) {
        let signing_out = self.register_client.goal != RegistrationGoal::SignedIn;
        let was_open = self.context.transport.take().is_some();
        self.keepalive.stop();
        self.stop_failback();
        self.register_client.is_pending = false;
        self.register_client.is_registered = false;
        let refused_until = self.register_client.refused_until();
        self.register_client.timers.clear(RegistrationTimer::Register);
        self.register_client.timers.clear(RegistrationTimer::Lapse);
        if signing_out {
            self.backoff.stop();
            self.finish_sign_out();
            return;
        }
        let servers = self.context.config.servers.len();
        let until = self.backoff.on_lost(servers, &mut self.context.random, now);
        let failure = if self.backoff.is_offline {
            RegisterFailure { kind: RegisterFailureKind::Offline, status: None }
        } else {
            failure
        };
        // The first reason is kept while later attempts only fail to connect.
        let failure = match (&self.register_client.reported, failure.kind) {
            (Registration::Reconnecting { failure: first, .. }, RegisterFailureKind::Unreachable)
                if first.kind != RegisterFailureKind::Offline =>
            {
                *first
            }
            _ => failure,
        };
        // A server that also closes the connection is not asked sooner.
        let (failure, until) = match refused_until {
            Some((refusal, at)) if at > until => {
                self.backoff.wait_until(at);
                (refusal, at)
            }
            _ => (failure, until),
        };
        let next = Registration::Reconnecting { failure, retry_at: Some(until) };
        self.register_client.report(&mut self.context, next);
        if was_open {
            self.on_transport_lost(now);
        }
    }

    /// Closes a connection that is not usable and starts the back-off.
    pub(super) fn close_transport(&mut self, failure: RegisterFailure, now: Millis) {
        if self.return_to_previous_connection(now) {
            return;
        }
        if let Some(id) = self.backoff.current() {
            self.context.push(Output::CloseTransport { id });
        }
        if failure.kind != RegisterFailureKind::ConnectionLost {
            self.backoff.mark_unusable();
        }
        self.on_connection_lost(failure, now);
    }

    pub(super) fn send_register(&mut self, now: Millis) {
        self.register_client.is_pending = true;
        self.register_client.timers.clear(RegistrationTimer::Register);
        let template = self.register_client.template(&self.context, self.register_client.expires_seconds);
        self.send_register_template(template, EarlierTries::default(), now);
    }

    fn send_register_template(&mut self, template: RequestTemplate, tries: EarlierTries, now: Millis) {
        let branch = self.context.request_again(template, TransactionUser::Register, tries, now);
        if let Some(client) = self.context.client_request(&branch, "REGISTER") {
            client.transaction.time_out_at(now.plus(REGISTER_TIMEOUT_MS));
        }
    }

    pub(super) fn on_register_response(&mut self, client: &ClientRequest, response: &Response, now: Millis) {
        let status = response.status();
        let signing_out = self.register_client.is_signing_out();
        if client.template.cseq != self.register_client.cseq || self.register_client.goal == RegistrationGoal::SignedOut
        {
            return;
        }
        match status {
            200..=299 if signing_out => self.finish_sign_out(),
            200..=299 => self.on_registered(response, now),
            401 | 407 => match self.context.credential_store.on_challenge(response, client) {
                Ok(tries) => {
                    self.register_client.cseq += 1;
                    let mut template = client.template.clone();
                    template.cseq = self.register_client.cseq;
                    self.send_register_template(template, tries, now);
                }
                Err(_) if signing_out => self.finish_sign_out(),
                Err(refusal) => {
                    let kind = match refusal {
                        ChallengeRefusal::WrongPassword => RegisterFailureKind::WrongPassword,
                        ChallengeRefusal::PasswordNeeded { .. } => RegisterFailureKind::PasswordNeeded,
                        ChallengeRefusal::Unsupported => RegisterFailureKind::BadConfiguration,
                    };
                    self.on_register_refused(kind, status, response, now);
                }
            },
            _ if signing_out => self.finish_sign_out(),
            423 => match response.min_expires() {
                Ok(Some(seconds)) if seconds > self.register_client.expires_seconds && seconds < 604_800 => {
                    self.register_client.expires_seconds = seconds;
                    self.send_register(now);
                }
                _ => self.on_register_refused(RegisterFailureKind::ServerError, status, response, now),
            },
            _ => {
                let kind = if is_too_many_contacts(response) {
                    RegisterFailureKind::TooManyDevices
                } else {
                    match status {
                        403 | 606 => RegisterFailureKind::Forbidden,
                        404 | 410 | 604 => RegisterFailureKind::NotFound,
                        408 | 504 => RegisterFailureKind::Timeout,
                        _ => RegisterFailureKind::ServerError,
                    }
                };
                self.on_register_refused(kind, status, response, now);
            }
        }
    }

    /// REGISTER was not answered: the server behind this connection does not work.
    pub(super) fn on_register_timeout(&mut self, now: Millis) {
        if self.register_client.is_signing_out() {
            self.finish_sign_out();
        } else if self.context.transport.is_some() {
            let failure = RegisterFailure { kind: RegisterFailureKind::Timeout, status: None };
            self.close_transport(failure, now);
        }
    }

    fn on_register_refused(&mut self, kind: RegisterFailureKind, status: u16, response: &Response, now: Millis) {
        if self.return_to_previous_connection(now) {
            return;
        }
        let failure = RegisterFailure { kind, status: Some(status) };
        self.register_client.is_pending = false;
        self.register_client.is_registered = false;
        self.register_client.timers.clear(RegistrationTimer::Lapse);
        if needs_another_account(kind) && !self.register_client.has_registered {
            self.fail_registration(failure, now);
            return;
        }
        let is_refused = is_refusal(kind);
        let delay = if is_refused {
            let last = REFUSED_RETRY_DELAYS_MS.len() - 1;
            let index = self.register_client.refusals.min(last);
            self.register_client.refusals += 1;
            REFUSED_RETRY_DELAYS_MS.get(index).copied().unwrap_or_default()
        } else {
            let doublings = self.register_client.errors.min(6);
            self.register_client.errors += 1;
            let delay = (MIN_ERROR_RETRY_DELAY_MS << doublings).min(MAX_ERROR_RETRY_DELAY_MS);
            delay * 3 / 4 + self.context.random.up_to(delay / 4)
        };
        let retry_after_ms = u64::from(response.retry_after().ok().flatten().unwrap_or(0)) * 1_000;
        let delay = delay.max(retry_after_ms.min(MAX_RETRY_AFTER_MS));
        if !is_refused && self.context.config.servers.len() > 1 {
            self.close_transport(failure, now);
            return;
        }
        self.register_client.timers.set(RegistrationTimer::Register, now.plus(delay));
        let next = Registration::Reconnecting { failure, retry_at: Some(now.plus(delay)) };
        self.register_client.report(&mut self.context, next);
    }

    fn on_registered(&mut self, response: &Response, now: Millis) {
        let binding = self.own_binding(response);
        let seconds = binding
            .as_ref()
            .and_then(|contact| contact.expires)
            .or_else(|| response.expires())
            .unwrap_or(self.register_client.expires_seconds)
            .clamp(1, 86_400);
        self.context.gruu = binding.and_then(|contact| contact.gruu);
        self.context.service_route = response.items(Header::ServiceRoute).map(String::from).collect();
        if let Some(seconds) = response.value(Header::FlowTimer).and_then(|text| text.parse().ok()) {
            self.keepalive.set_flow_timer(seconds);
        }
        // Refresh after 65 % to 75 % of the interval, at random, so that the clients of a restarted server spread out.
        let expires_ms = u64::from(seconds) * 1_000;
        let delay = expires_ms * 3 / 4 - self.context.random.up_to(expires_ms / 10);
        self.register_client.timers.set(RegistrationTimer::Register, now.plus(delay));
        self.register_client.timers.set(RegistrationTimer::Lapse, now.plus(expires_ms));
        self.register_client.is_pending = false;
        self.register_client.has_registered = true;
        self.register_client.refusals = 0;
        self.register_client.errors = 0;
        self.backoff.on_registered();
        self.on_server_accepted(now);
        let newly_registered = !self.register_client.is_registered;
        self.register_client.is_registered = true;
        let server = self.server().to_owned();
        let session = response.value(PHONE_SESSION).map(str::to_owned);
        self.register_client.report(&mut self.context, Registration::Registered { server, session });
        if newly_registered {
            self.on_transport_restored(now);
        }
    }

    /// Our binding among the contacts, found by `+sip.instance` (a registrar may rewrite the URI), else by URI.
    fn own_binding(&self, response: &Response) -> Option<OwnBinding> {
        let mut instance = String::from("<");
        instance.push_str(&self.context.config.instance_id);
        instance.push('>');
        let by_instance = |contact: &NameAddr<'_>| {
            contact.params.text("+sip.instance").is_some_and(|text| text.eq_ignore_ascii_case(&instance))
                && contact.params.get("reg-id").is_none_or(|id| id == "1")
        };
        let ours = self.context.device_uri();
        let ours = Uri::parse(&ours).ok()?;
        let by_uri =
            |contact: &NameAddr<'_>| contact.uri().is_ok_and(|uri| uri.host == ours.host && uri.user == ours.user);
        let addresses = || {
            response.contacts().filter_map(|contact| match contact {
                Ok(Contact::Address(address)) => Some(address),
                _ => None,
            })
        };
        let contact = addresses().find(by_instance).or_else(|| addresses().find(by_uri))?;
        Some(OwnBinding {
            expires: contact.expires(),
            gruu: contact
                .params
                .get("pub-gruu")
                .map(|text| unquote(text).into_owned())
                .filter(|text| Uri::parse(text).is_ok()),
        })
    }

    /// The granted time is over: calls no longer reach this device.
    pub(super) fn on_lapsed(&mut self, now: Millis) {
        self.register_client.timers.clear(RegistrationTimer::Lapse);
        self.register_client.is_registered = false;
        let failure = RegisterFailure { kind: RegisterFailureKind::Timeout, status: None };
        self.register_client.report(&mut self.context, Registration::Reconnecting { failure, retry_at: None });
        if !self.register_client.is_pending {
            self.send_register(now);
        }
    }

    /// The user has entered the password again.
    pub(super) fn set_password(&mut self, password: String, now: Millis) {
        self.context.credential_store.set_password(password);
        if self.register_client.is_wanted() && !self.register_client.is_registered {
            self.register(now);
        }
    }

    /// Handles one timer of connection, keep-alive or registration. Returns whether one was due.
    pub(super) fn on_registration_tick(&mut self, now: Millis) -> bool {
        match self.backoff.due(now) {
            Some(ConnectionTimer::Connect) => {
                self.connect(now);
                return true;
            }
            Some(ConnectionTimer::OpenTimeout(_)) => {
                let failure = RegisterFailure { kind: RegisterFailureKind::Unreachable, status: None };
                self.close_transport(failure, now);
                return true;
            }
            None => {}
        }
        let server = self.server().to_owned();
        if let Some(action) = self.keepalive.due(&server, &self.context.config.timers, now) {
            self.on_keepalive_action(action, now);
            return true;
        }
        match self.register_client.timers.take_due(now) {
            Some(RegistrationTimer::Register) if self.context.transport.is_some() => self.send_register(now),
            Some(RegistrationTimer::Lapse) => self.on_lapsed(now),
            Some(RegistrationTimer::SignOut) => self.finish_sign_out(),
            Some(RegistrationTimer::Register) => {}
            None => return false,
        }
        true
    }
}

struct OwnBinding {
    expires: Option<u32>,
    gruu: Option<String>,
}

/// Whether REGISTER was refused because of too many contacts. There is no status code for
/// that: servers send 603, or 403 or 503 with a hint in the reason phrase or a header field.
fn is_too_many_contacts(response: &Response) -> bool {
    let has_hint = |text: &str| {
        let text = text.to_ascii_lowercase();
        text.contains("contact") && (text.contains("many") || text.contains("max"))
    };
    match response.status() {
        603 => true,
        403 | 503 => {
            has_hint(response.reason_phrase())
                || response.value("P-Registrar-Error").is_some_and(has_hint)
                || response.value(Header::Warning).is_some_and(has_hint)
        }
        _ => false,
    }
}

/// Whether the failure can only be resolved by other credentials or another configuration.
fn needs_another_account(kind: RegisterFailureKind) -> bool {
    matches!(
        kind,
        RegisterFailureKind::WrongPassword
            | RegisterFailureKind::PasswordNeeded
            | RegisterFailureKind::NotFound
            | RegisterFailureKind::BadConfiguration
    )
}

/// Whether the server refuses this account or this device, and is only asked again slowly.
fn is_refusal(kind: RegisterFailureKind) -> bool {
    needs_another_account(kind) || matches!(kind, RegisterFailureKind::Forbidden | RegisterFailureKind::TooManyDevices)
}
