//! REGISTER (RFC 3261 section 10.3, with outbound, RFC 5626): which device of which extension is
//! behind which WebSocket.

use std::time::{Duration, Instant};

use bitcall_sip::message::{Contact, Header, NameAddr, Request, Response, push_number, unquote};
use tracing::{debug, info};

use super::auth::{Fingerprint, Role};
use super::location::{Binding, DeviceId, Extension};
use super::{CloseReason, ConnectionId, Core, Timer, over_budget, signed_in_subjects};

/// What a phone gets that asks for nothing, in seconds.
const DEFAULT_EXPIRES_SECONDS: u32 = 600;
/// Shorter ones are refused with 423: they would only cost.
const MIN_EXPIRES_SECONDS: u32 = 60;
/// Longer ones are shortened.
const MAX_EXPIRES_SECONDS: u32 = 3600;
/// What a phone is told to wait, with 503, until connections that its extension has lost are noticed.
const CONNECTION_RETRY_AFTER: Duration = Duration::from_mins(1);
/// The longest Contact taken, in bytes.
const MAX_CONTACT_BYTES: usize = 1024;

/// See [`ExtensionDirectory::phone_session`](crate::edge::ExtensionDirectory::phone_session).
const PHONE_SESSION: &str = "X-Bitcall-Session";

/// One Contact of a REGISTER.
struct RequestedContact {
    uri: String,
    contact: String,
    instance: Option<String>,
    reg_id: u32,
    expires: u32,
}

impl Core {
    pub(super) fn register(&mut self, connection: ConnectionId, request: &Request, now: Instant) {
        let response = self.registration(connection, request, now).unwrap_or_else(|refused| refused);
        self.answer(connection, &response);
    }

    fn registration(
        &mut self,
        connection: ConnectionId,
        request: &Request,
        now: Instant,
    ) -> Result<Response, Response> {
        let refuse = |status, reason: &str| Err(request.response(status, reason, Some("edge")));
        let (Ok(uri), Ok(to)) = (request.uri(), request.to()) else { return refuse(400, "Bad To") };
        let domain = uri.host.to_ascii_lowercase();
        if uri.user.is_some() {
            return refuse(400, "Request-URI of REGISTER Has a User");
        }
        if !self.directory.serves(&domain) {
            return refuse(404, "Domain Not Served Here");
        }
        let Ok(address_of_record) = to.uri() else { return refuse(400, "Bad To") };
        if !address_of_record.host.eq_ignore_ascii_case(&domain) {
            return refuse(404, "To Is of Another Domain");
        }
        let user = address_of_record.user_name().into_owned();
        let unsupported: Vec<&str> = request
            .items(Header::Require)
            .filter(|tag| !["outbound", "path"].iter().any(|known| tag.eq_ignore_ascii_case(known)))
            .collect();
        if !unsupported.is_empty() {
            let mut response = request.response(420, "Bad Extension", Some("edge"));
            response.append(Header::Unsupported, &unsupported.join(", "));
            return Err(response);
        }
        let authenticated = self.authenticate(connection, request, &domain, Role::Registrar, now)?;
        if authenticated.extension.user != user {
            return refuse(403, "Not Your Extension");
        }
        let extension = Extension { domain, user };
        self.sign_in(connection, request, &extension, authenticated.password, now)?;

        let wanted = requested_contacts(request).map_err(|(status, reason)| {
            let mut response = request.response(status, reason, Some("edge"));
            if status == 423 {
                let mut seconds = String::new();
                push_number(&mut seconds, MIN_EXPIRES_SECONDS as usize);
                response.append(Header::MinExpires, &seconds);
            }
            response
        })?;
        let call_id = request.call_id().unwrap_or_default();
        let cseq = request.cseq().map_or(0, |cseq| cseq.number);
        match wanted {
            ContactChange::None => {}
            ContactChange::RemoveAll => self.location.unbind_all(&extension),
            ContactChange::Update(contacts) => {
                self.check_cseq_and_limit(&extension, &contacts, call_id, cseq)
                    .map_err(|(status, reason)| request.response(status, reason, Some("edge")))?;
                for wanted in contacts {
                    self.update_binding(connection, &extension, wanted, (call_id, cseq), now);
                }
            }
        }
        self.schedule_expiry(&extension, now);
        debug!(
            domain = extension.domain,
            user = extension.user,
            devices = self.location.of(&extension).len(),
            "registered"
        );
        Ok(self.bindings_response(request, &extension, now))
    }

    /// All or nothing: a REGISTER that cannot be carried out whole changes nothing (section 10.3 step 7).
    fn check_cseq_and_limit(
        &self,
        extension: &Extension,
        contacts: &[RequestedContact],
        call_id: &str,
        cseq: u32,
    ) -> Result<(), (u16, &'static str)> {
        let mut more = 0;
        for wanted in contacts {
            match self.location.same(extension, &wanted.uri, wanted.instance.as_deref(), wanted.reg_id) {
                Some(known) if known.call_id == call_id && known.cseq >= cseq => {
                    return Err((500, "CSeq Out of Order"));
                }
                None if wanted.expires > 0 => more += 1,
                Some(_) | None => {}
            }
        }
        if self.location.of(extension).len() + more > self.limits.contacts_per_extension {
            return Err((403, "Too Many Contacts"));
        }
        Ok(())
    }

    fn update_binding(
        &mut self,
        connection: ConnectionId,
        extension: &Extension,
        wanted: RequestedContact,
        (call_id, cseq): (&str, u32),
        now: Instant,
    ) {
        if wanted.expires == 0 {
            debug!(domain = extension.domain, user = extension.user, connection = connection.0, "device unregistered");
            self.location.unbind(extension, &wanted.uri, wanted.instance.as_deref(), wanted.reg_id);
            return;
        }
        let known = self.location.same(extension, &wanted.uri, wanted.instance.as_deref(), wanted.reg_id);
        if known.is_none_or(|known| known.connection != connection) {
            info!(domain = extension.domain, user = extension.user, connection = connection.0, "device registered");
        }
        let name = wanted.instance.as_deref().unwrap_or(&wanted.uri);
        let binding = Binding {
            device: DeviceId::of(extension, name),
            connection,
            uri: wanted.uri,
            contact: wanted.contact,
            instance: wanted.instance,
            reg_id: wanted.reg_id,
            call_id: call_id.to_owned(),
            cseq,
            expires: now + Duration::from_secs(wanted.expires.into()),
        };
        self.location.bind(extension, binding);
    }

    fn bindings_response(&mut self, request: &Request, extension: &Extension, now: Instant) -> Response {
        let mut response = request.response(200, "OK", Some(&self.tokens.token()));
        let mut outbound = false;
        for binding in self.location.of(extension) {
            outbound |= binding.instance.is_some() && binding.reg_id > 0;
            let left = binding.expires.saturating_duration_since(now).as_secs();
            response.append(Header::Contact, &format!("{};expires={left}", binding.contact));
        }
        if let Some(session) = self.directory.phone_session(&extension.domain, &extension.user) {
            response.append(PHONE_SESSION, &session);
        }
        response.append(Header::Supported, "outbound, path");
        // RFC 5626 section 6: says that flows are kept, to a client that knows of them.
        if outbound && request.lists(Header::Supported, "outbound") {
            response.append(Header::Require, "outbound");
        }
        response
    }

    /// Forgets the bindings that have expired and sees to it that the next ones will be.
    pub(super) fn schedule_expiry(&mut self, extension: &Extension, now: Instant) {
        let watched = self.expiry_timers.get(extension).copied().filter(|at| *at > now);
        match self.location.expire(extension, now) {
            Some(at) if watched.is_none_or(|watched| at < watched) => {
                self.expiry_timers.insert(extension.clone(), at);
                self.schedule(at, Timer::Bindings(extension.clone()));
            }
            None if watched.is_none() => {
                self.expiry_timers.remove(extension);
            }
            _ => {}
        }
    }

    /// Ties a connection to an extension. A connection speaks for one at a time; it may change hands once nothing hangs on it.
    pub(super) fn sign_in(
        &mut self,
        connection: ConnectionId,
        request: &Request,
        extension: &Extension,
        password: Fingerprint,
        now: Instant,
    ) -> Result<(), Response> {
        let refuse = |status, reason: &str| Err(request.response(status, reason, Some("edge")));
        let Some(state) = self.connections.get_mut(&connection) else { return refuse(403, "Connection Lost") };
        if state.identity.as_ref() != Some(extension) {
            if let Some(known) = &state.identity
                && (state.requests > 0 || self.location.on_connection(known, connection).is_some())
            {
                return refuse(403, "Connection Belongs to Another Extension");
            }
            if let Err(exhausted) = self.signed_in_budget.take(&signed_in_subjects(extension)) {
                let source = state.source;
                self.note_exhausted("signed-in connections", exhausted, source, Some(extension), now);
                return Err(over_budget(request, "Too Many Connections", exhausted, CONNECTION_RETRY_AFTER));
            }
            if let Some(known) = state.identity.replace(extension.clone()) {
                self.signed_in_budget.release(&signed_in_subjects(&known));
            }
        }
        state.password = Some(password);
        Ok(())
    }

    /// Closes the connections whose extension or tenant is gone, or whose extension has another password now.
    pub fn directory_changed(&mut self) {
        let is_current = |extension: &Extension, password: Option<Fingerprint>| {
            let known = self.directory.credentials(&extension.domain, &extension.user);
            self.directory.serves(&extension.domain) && known.as_ref().map(Fingerprint::of) == password
        };
        let gone: Vec<(ConnectionId, Extension)> = self
            .connections
            .iter()
            // Those that are told to go already must not end a call that began since.
            .filter(|(_, state)| !state.closing)
            .filter_map(|(id, state)| {
                let extension = state.identity.as_ref()?;
                (!is_current(extension, state.password)).then(|| (*id, extension.clone()))
            })
            .collect();
        for (connection, extension) in gone {
            self.location.unbind_connection(&extension, connection);
            self.end_echo_calls_of(&extension);
            self.close(connection, CloseReason::Revoked);
        }
    }
}

enum ContactChange {
    None,
    RemoveAll,
    Update(Vec<RequestedContact>),
}

fn requested_contacts(request: &Request) -> Result<ContactChange, (u16, &'static str)> {
    let mut wanted = Vec::new();
    let mut star = false;
    for contact in request.contacts() {
        match contact {
            Ok(Contact::Star) => star = true,
            Ok(Contact::Address(address)) => wanted.push(requested_contact(request, &address)?),
            Err(_) => return Err((400, "Bad Contact")),
        }
    }
    match (star, wanted.is_empty()) {
        (true, true) if request.expires() == Some(0) => Ok(ContactChange::RemoveAll),
        (true, _) => Err((400, "Contact * Needs Expires 0 and No Other Contact")),
        (false, true) => Ok(ContactChange::None),
        (false, false) => Ok(ContactChange::Update(wanted)),
    }
}

fn requested_contact(request: &Request, address: &NameAddr<'_>) -> Result<RequestedContact, (u16, &'static str)> {
    if address.uri().is_err() || address.uri_text.len() + address.params.as_str().len() > MAX_CONTACT_BYTES {
        return Err((400, "Bad Contact"));
    }
    let expires =
        address.expires().or_else(|| request.expires()).unwrap_or(DEFAULT_EXPIRES_SECONDS).min(MAX_EXPIRES_SECONDS);
    if expires > 0 && expires < MIN_EXPIRES_SECONDS {
        return Err((423, "Interval Too Brief"));
    }
    let mut contact = format!("<{}>", address.uri_text);
    for (name, value) in address.params.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("expires")) {
        contact.push(';');
        contact.push_str(name);
        if !value.is_empty() {
            contact.push('=');
            contact.push_str(value);
        }
    }
    let instance = address.params.get("+sip.instance").map(|value| unquote(value).into_owned());
    let reg_id = address.params.get("reg-id").and_then(|id| id.parse().ok()).filter(|_| instance.is_some());
    Ok(RequestedContact { uri: address.uri_text.to_owned(), contact, instance, reg_id: reg_id.unwrap_or(0), expires })
}
