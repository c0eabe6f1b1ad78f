//! Registration (RFC 3261 §10, RFC 5626) and the connection it lives on.
//!
//! One state machine owns both, so that they cannot disagree: whatever ends a
//! connection also ends the REGISTER on it, and every failure leads either to
//! a planned next try or to a final, typed failure.

use serde::{Deserialize, Serialize};

use super::context::{Client, Core, Owner, SUPPORTED};
use super::credential_store::Verdict;
use super::interface::{Event, Failure, FailureKind, Millis, Output, Registration, TransportId};
use super::keepalive::{Pulse, Question};
use super::reconnect_backoff::Rung;
use super::{ALLOW, UserAgent};
use crate::message::{Contact, Header, NameAddr, Response, unquote};
use crate::request_template::{Draft, number};
use crate::time::Alarms;
use crate::uri::Uri;

/// Signing out never takes longer.
const SIGN_OUT: u64 = 3_500;
/// An answer to REGISTER that takes longer means a server that does not work.
const PATIENCE: u64 = 12_000;
/// First pause after a refusal that is about the account; doubled each time (fail2ban).
const REFUSED_PAUSE: u64 = 30_000;
const REFUSED_PAUSE_MAX: u64 = 600_000;
/// First pause after a server error; doubled each time.
const ERROR_PAUSE: u64 = 2_000;
const ERROR_PAUSE_MAX: u64 = 60_000;

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Registrar {
    wanted: Wanted,
    /// `From` with tag, Call-ID and `CSeq` stay the same for all REGISTERs (RFC 3261 §10.2).
    from: String,
    call_id: String,
    cseq: u32,
    seconds: u32,
    /// Accepted at least once with these credentials.
    ever: bool,
    in_flight: bool,
    registered: bool,
    /// Refusals in a row.
    refusals: u32,
    shown: Registration,
    alarms: Alarms<Alarm>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Wanted {
    Out,
    In,
    /// Taking the registration back.
    Leaving,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Alarm {
    /// REGISTER again: refresh or retry.
    Register,
    SignOut,
}

impl Registrar {
    pub(super) fn new(core: &mut Core) -> Self {
        let mut from = core.own_address();
        from.push_str(";tag=");
        from.push_str(&core.random.tag());
        Self {
            wanted: Wanted::Out,
            from,
            call_id: core.random.token(22),
            cseq: 0,
            seconds: core.config.limits.register_seconds.max(30),
            ever: false,
            in_flight: false,
            registered: false,
            refusals: 0,
            shown: Registration::SignedOut,
            alarms: Alarms::default(),
        }
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.wanted == Wanted::Leaving
    }

    /// The server takes these credentials no longer.
    fn is_refused(&self) -> bool {
        matches!(&self.shown, Registration::Reconnecting { failure, .. } if is_about_account(failure.kind))
    }

    pub(super) fn deadline(&self) -> Option<Millis> {
        self.alarms.next()
    }

    fn show(&mut self, core: &mut Core, registration: Registration) {
        if self.shown != registration {
            self.shown = registration.clone();
            core.tell(Event::Registration(registration));
        }
    }

    fn draft(&mut self, core: &Core, seconds: u32) -> Draft {
        self.cseq += 1;
        let mut contact = String::from("<");
        contact.push_str(&core.device_uri());
        contact.push('>');
        if !core.config.instance_id.is_empty() {
            contact.push_str(";+sip.instance=\"<");
            contact.push_str(&core.config.instance_id);
            contact.push_str(">\";reg-id=1");
        }
        contact.push_str(";expires=");
        contact.push_str(&number(seconds.into()));
        let mut uri = String::from("sip:");
        uri.push_str(&core.config.domain);
        Draft {
            method: "REGISTER".into(),
            uri,
            routes: Vec::new(),
            to: core.own_address(),
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
        self.registrar.wanted = Wanted::In;
        self.registrar.alarms.clear(Alarm::SignOut);
        if Uri::parse(&self.core.address_of_record()).is_err() || self.core.config.servers.is_empty() {
            let failure = Failure { kind: FailureKind::BadConfiguration, status: None };
            self.fail(failure, now);
            return;
        }
        if self.core.link.is_some() {
            if !self.registrar.registered && !self.registrar.in_flight {
                self.send_register(now);
            }
        } else if self.ladder.current().is_none() {
            self.connect(now);
        }
    }

    pub(super) fn unregister(&mut self, now: Millis) {
        if self.registrar.wanted != Wanted::In {
            return;
        }
        let refused = self.registrar.is_refused();
        self.registrar.wanted = Wanted::Leaving;
        self.registrar.registered = false;
        self.registrar.in_flight = false;
        self.registrar.alarms.clear(Alarm::Register);
        self.leave_calls(now);
        // Credentials that the server has refused do not take anything back; once more, they look like an attack.
        if self.core.link.is_none() || refused {
            self.signed_out();
            return;
        }
        self.registrar.alarms.set(Alarm::SignOut, now.plus(SIGN_OUT));
        let draft = self.registrar.draft(&self.core, 0);
        self.core.request(draft, Owner::Register, now);
    }

    /// The end of leaving, reached or not.
    fn signed_out(&mut self) {
        self.disconnect();
        self.ladder.stop();
        self.abandon_calls();
        self.core.clients.clear();
        self.registrar.wanted = Wanted::Out;
        self.registrar.alarms.clear_all();
        self.registrar.registered = false;
        self.registrar.in_flight = false;
        self.registrar.show(&mut self.core, Registration::SignedOut);
    }

    /// Gives up for good, until the person says otherwise.
    fn fail(&mut self, failure: Failure, now: Millis) {
        let was_open = self.core.link.is_some();
        self.disconnect();
        self.ladder.stop();
        self.core.clients.retain(|client| client.owner != Owner::Register);
        self.registrar.alarms.clear_all();
        self.registrar.registered = false;
        self.registrar.in_flight = false;
        self.registrar.show(&mut self.core, Registration::Failed { failure });
        if was_open {
            self.on_link_lost(now);
        }
    }

    fn disconnect(&mut self) {
        if let Some(id) = self.ladder.current() {
            self.core.push(Output::CloseTransport { id });
        }
        self.core.link = None;
        self.keepalive.stop();
    }

    fn connect(&mut self, now: Millis) {
        let Some((id, url)) = self.ladder.connect(&self.core.config.servers, now) else {
            return;
        };
        let next = match &self.registrar.shown {
            Registration::Reconnecting { failure, .. } => {
                Registration::Reconnecting { failure: *failure, retry_at: None }
            }
            _ => Registration::Connecting,
        };
        self.registrar.show(&mut self.core, next);
        self.core.push(Output::Connect { id, url });
    }

    pub(super) fn on_connected(&mut self, id: TransportId, now: Millis) {
        if !self.ladder.opened(id) {
            self.core.push(Output::CloseTransport { id });
            return;
        }
        let url = self.server().to_owned();
        self.core.open(id, &url);
        self.keepalive.start(&self.core.config.limits, now);
        self.send_register(now);
    }

    pub(super) fn on_closed(&mut self, id: TransportId, reason: &str, now: Millis) {
        if self.ladder.current() != Some(id) {
            return;
        }
        let mut line = String::from("connection closed: ");
        line.push_str(reason);
        self.core.dropped(&line);
        let kind = if self.core.link.is_some() { FailureKind::ConnectionLost } else { FailureKind::Unreachable };
        self.lost(Failure { kind, status: None }, now);
    }

    /// The connection is gone, or of no use: everything on it ends here, then the ladder begins.
    fn lost(&mut self, failure: Failure, now: Millis) {
        let leaving = self.registrar.wanted != Wanted::In;
        let was_open = self.core.link.take().is_some();
        self.keepalive.stop();
        self.registrar.in_flight = false;
        self.registrar.registered = false;
        self.registrar.alarms.clear(Alarm::Register);
        if leaving {
            self.ladder.stop();
            self.signed_out();
            return;
        }
        let servers = self.core.config.servers.len();
        let until = self.ladder.lost(servers, &mut self.core.random, now);
        let failure = if self.ladder.offline { Failure { kind: FailureKind::Offline, status: None } } else { failure };
        // What is shown stays the reason it began with, while the tries that follow say nothing new.
        let failure = match (&self.registrar.shown, failure.kind) {
            (Registration::Reconnecting { failure: first, .. }, FailureKind::Unreachable)
                if first.kind != FailureKind::Offline =>
            {
                *first
            }
            _ => failure,
        };
        let next = Registration::Reconnecting { failure, retry_at: Some(until) };
        self.registrar.show(&mut self.core, next);
        if was_open {
            self.on_link_lost(now);
        }
    }

    /// Closes a connection that does not do, and goes on with the ladder.
    fn drop_link(&mut self, failure: Failure, now: Millis) {
        if let Some(id) = self.ladder.current() {
            self.core.push(Output::CloseTransport { id });
        }
        if failure.kind != FailureKind::ConnectionLost {
            self.ladder.distrust();
        }
        self.lost(failure, now);
    }

    fn send_register(&mut self, now: Millis) {
        self.registrar.in_flight = true;
        self.registrar.alarms.clear(Alarm::Register);
        let draft = self.registrar.draft(&self.core, self.registrar.seconds);
        self.send_register_draft(draft, 0, now);
    }

    fn send_register_draft(&mut self, draft: Draft, retries: u8, now: Millis) {
        let branch = self.core.request_again(draft, Owner::Register, retries, now);
        if let Some(client) = self.core.client(&branch, "REGISTER") {
            client.transaction.give_up_at(now.plus(PATIENCE));
        }
    }

    pub(super) fn on_register_response(&mut self, client: &Client, response: &Response, now: Millis) {
        let status = response.status();
        let leaving = self.registrar.is_leaving();
        if client.draft.cseq != self.registrar.cseq || self.registrar.wanted == Wanted::Out {
            return;
        }
        match status {
            200..=299 if leaving => self.signed_out(),
            200..=299 => self.on_registered(response, now),
            401 | 407 => match self.core.vault.challenged(response, client) {
                Verdict::Retry => {
                    self.registrar.cseq += 1;
                    let mut draft = client.draft.clone();
                    draft.cseq = self.registrar.cseq;
                    self.send_register_draft(draft, client.retries + 1, now);
                }
                _ if leaving => self.signed_out(),
                Verdict::Wrong => self.refused(FailureKind::WrongPassword, status, response, now),
                Verdict::Unusable => {
                    self.refused(FailureKind::BadConfiguration, status, response, now);
                }
            },
            _ if leaving => self.signed_out(),
            423 => match response.min_expires() {
                Ok(Some(seconds)) if seconds > self.registrar.seconds && seconds < 604_800 => {
                    self.registrar.seconds = seconds;
                    self.send_register(now);
                }
                _ => self.refused(FailureKind::ServerError, status, response, now),
            },
            _ => {
                let kind = if has_no_room(response) {
                    FailureKind::TooManyDevices
                } else {
                    match status {
                        403 | 606 => FailureKind::Forbidden,
                        404 | 410 | 604 => FailureKind::NotFound,
                        408 | 504 => FailureKind::Timeout,
                        _ => FailureKind::ServerError,
                    }
                };
                self.refused(kind, status, response, now);
            }
        }
    }

    /// No answer at all: the server behind this connection does not work.
    pub(super) fn on_register_timeout(&mut self, now: Millis) {
        if self.registrar.is_leaving() {
            self.signed_out();
        } else if self.core.link.is_some() {
            let failure = Failure { kind: FailureKind::Timeout, status: None };
            self.drop_link(failure, now);
        }
    }

    fn refused(&mut self, kind: FailureKind, status: u16, response: &Response, now: Millis) {
        let failure = Failure { kind, status: Some(status) };
        self.registrar.in_flight = false;
        self.registrar.registered = false;
        let about_account = is_about_account(kind);
        if about_account && !self.registrar.ever {
            self.fail(failure, now);
            return;
        }
        let doubled = self.registrar.refusals.min(6);
        self.registrar.refusals += 1;
        let asked = u64::from(response.retry_after().ok().flatten().unwrap_or(0)) * 1_000;
        let (first, most) = if about_account || kind == FailureKind::TooManyDevices {
            (REFUSED_PAUSE, REFUSED_PAUSE_MAX)
        } else {
            (ERROR_PAUSE, ERROR_PAUSE_MAX)
        };
        let full = (first << doubled).min(most);
        let pause = (full * 3 / 4 + self.core.random.up_to(full / 4)).max(asked.min(REFUSED_PAUSE_MAX));
        let elsewhere = self.core.config.servers.len() > 1;
        if !about_account && kind != FailureKind::TooManyDevices && elsewhere {
            self.drop_link(failure, now);
            return;
        }
        self.registrar.alarms.set(Alarm::Register, now.plus(pause));
        let next = Registration::Reconnecting { failure, retry_at: Some(now.plus(pause)) };
        self.registrar.show(&mut self.core, next);
    }

    fn on_registered(&mut self, response: &Response, now: Millis) {
        if let Some(event) = self.core.vault.accepted() {
            self.core.tell(event);
        }
        let binding = self.own_binding(response);
        let seconds = binding
            .as_ref()
            .and_then(|contact| contact.expires)
            .or_else(|| response.expires())
            .unwrap_or(self.registrar.seconds)
            .clamp(20, 86_400);
        self.core.gruu = binding.and_then(|contact| contact.gruu);
        self.core.service_route = response.items(Header::ServiceRoute).map(String::from).collect();
        if let Some(seconds) = response.value(Header::FlowTimer).and_then(|text| text.parse().ok()) {
            self.keepalive.limit(seconds);
        }
        // 75 % at the latest; up to a tenth earlier, so that a restarted server's phones spread out.
        let full = u64::from(seconds) * 1_000;
        let pause = full * 3 / 4 - self.core.random.up_to(full / 10);
        self.registrar.alarms.set(Alarm::Register, now.plus(pause));
        self.registrar.in_flight = false;
        self.registrar.ever = true;
        self.registrar.refusals = 0;
        self.ladder.succeeded();
        let fresh = !self.registrar.registered;
        self.registrar.registered = true;
        let server = self.server().to_owned();
        self.registrar.show(&mut self.core, Registration::Registered { server });
        if fresh {
            self.on_link_restored(now);
        }
    }

    /// Our binding among the contacts: by instance (a registrar may rewrite the URI), else by URI.
    fn own_binding(&self, response: &Response) -> Option<Binding> {
        let mut instance = String::from("<");
        instance.push_str(&self.core.config.instance_id);
        instance.push('>');
        let by_instance = |contact: &NameAddr<'_>| {
            contact.params.text("+sip.instance").is_some_and(|text| text.eq_ignore_ascii_case(&instance))
                && contact.params.get("reg-id").is_none_or(|id| id == "1")
        };
        let ours = self.core.device_uri();
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
        Some(Binding {
            expires: contact.expires(),
            gruu: contact
                .params
                .get("pub-gruu")
                .map(|text| unquote(text).into_owned())
                .filter(|text| Uri::parse(text).is_ok()),
        })
    }

    // Keep-alive.

    pub(super) fn server(&self) -> &str {
        self.ladder.server(&self.core.config.servers).unwrap_or_default()
    }

    pub(super) fn beat(&mut self, pulse: Pulse, now: Millis) {
        match pulse {
            Pulse::Ask(Question::Crlf) => self.core.send(b"\r\n\r\n".to_vec()),
            Pulse::Ask(Question::Options) => {
                let mut uri = String::from("sip:");
                uri.push_str(&self.core.config.domain);
                let to = {
                    let mut to = String::from("<");
                    to.push_str(&uri);
                    to.push('>');
                    to
                };
                let draft = self.core.draft("OPTIONS", &uri, &to);
                self.core.request(draft, Owner::Ping, now);
            }
            Pulse::Dead => {
                let failure = Failure { kind: FailureKind::ConnectionLost, status: None };
                self.drop_link(failure, now);
            }
        }
    }

    /// Something smells: see at once whether the connection is good, or get one.
    pub(super) fn probe(&mut self, now: Millis) {
        if self.registrar.wanted != Wanted::In {
            return;
        }
        if self.ladder.is_waiting() {
            self.connect(now);
        } else if self.core.link.is_some() {
            if !self.registrar.registered && !self.registrar.in_flight {
                // Refused, and waiting to be tried again: now, then. Its answer tells about the connection, too.
                self.send_register(now);
                return;
            }
            let server = self.server().to_owned();
            if let Some(pulse) = self.keepalive.probe(&server, now) {
                self.beat(pulse, now);
            }
        }
    }

    pub(super) fn on_online(&mut self, online: bool, now: Millis) {
        self.ladder.offline = !online;
        if online || self.core.link.is_some() {
            self.probe(now);
        }
    }

    /// What is due on the way up, or while registered. Says whether there was something.
    pub(super) fn on_registration_time(&mut self, now: Millis) -> bool {
        match self.ladder.due(now) {
            Some(Rung::Connect) => {
                self.connect(now);
                return true;
            }
            Some(Rung::TooSlow(_)) => {
                let failure = Failure { kind: FailureKind::Unreachable, status: None };
                self.drop_link(failure, now);
                return true;
            }
            None => {}
        }
        let server = self.server().to_owned();
        if let Some(pulse) = self.keepalive.due(&server, &self.core.config.limits, now) {
            self.beat(pulse, now);
            return true;
        }
        match self.registrar.alarms.due(now) {
            Some(Alarm::Register) if self.core.link.is_some() => self.send_register(now),
            Some(Alarm::SignOut) => self.signed_out(),
            Some(Alarm::Register) => {}
            None => return false,
        }
        true
    }
}

struct Binding {
    expires: Option<u32>,
    gruu: Option<String>,
}

/// Whether a refusal is about the number of devices. There is no status of its own
/// for that: servers say 603, or 403 and 503 with a word in the phrase or a header.
fn has_no_room(response: &Response) -> bool {
    let says = |text: &str| {
        let text = text.to_ascii_lowercase();
        text.contains("contact") && (text.contains("many") || text.contains("max"))
    };
    match response.status() {
        603 => true,
        403 | 503 => {
            says(response.reason_phrase())
                || response.value("P-Registrar-Error").is_some_and(says)
                || response.value(Header::Warning).is_some_and(says)
        }
        _ => false,
    }
}

/// Whether only the person can help, by other credentials.
fn is_about_account(kind: FailureKind) -> bool {
    matches!(
        kind,
        FailureKind::WrongPassword | FailureKind::Forbidden | FailureKind::NotFound | FailureKind::BadConfiguration
    )
}
