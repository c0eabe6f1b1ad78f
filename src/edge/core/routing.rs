//! Where a request goes (RFC 3261 section 16): to the edge itself, to the echo, to all devices of
//! an extension, or along a dialog to the one device at its other end. And what is refused.
//!
//! The edge puts a Record-Route on whatever may begin a dialog. Its user part names both devices,
//! so a request inside the dialog finds the other one wherever it is connected by then.

use std::time::{Duration, Instant};

use bitcall_sip::message::{Header, Method, Request, Response};
use bitcall_sip::uri::Scheme;
use tracing::debug;

use super::auth::Role;
use super::budgets::Holder;
use super::fork::{Action, Fork};
use super::location::{DeviceId, Extension};
use super::{ConnectionId, Core, Timer, over_budget};

/// What the edge understands of itself; extensions understand what they like.
pub const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, REGISTER";
/// Every number that is answered by the echo.
const ECHO_NUMBER: &str = "*43";

/// What a phone is told to wait, with 503, until requests in flight may have ended.
const BUSY_RETRY_AFTER: Duration = Duration::from_secs(5);

/// A request in flight.
pub struct PendingRequest {
    fork: Fork,
    from: ConnectionId,
    /// Whose budget it counts against.
    holder: Holder,
    transaction: (ConnectionId, String),
    branches: Vec<u64>,
    /// The earliest entry among the timers.
    timer: Option<Instant>,
}

/// One end of a dialog, as it stands in a Record-Route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DialogEnd {
    Device(DeviceId),
    /// A caller that has not registered can be reached only as long as its connection lives.
    Connection(ConnectionId),
}

impl DialogEnd {
    fn parse(text: &str) -> Option<Self> {
        let number = u64::from_str_radix(text.get(1..)?, 16).ok()?;
        match text.get(..1)? {
            "d" => Some(Self::Device(DeviceId(number))),
            "c" => Some(Self::Connection(ConnectionId(number))),
            _ => None,
        }
    }
}

impl std::fmt::Display for DialogEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Device(device) => write!(f, "d{:x}", device.0),
            Self::Connection(connection) => write!(f, "c{:x}", connection.0),
        }
    }
}

/// Both ends from the user part of our Route.
fn dialog_ends(user: &str) -> Option<(DialogEnd, DialogEnd)> {
    let (one, two) = user.split_once('-')?;
    Some((DialogEnd::parse(one)?, DialogEnd::parse(two)?))
}

/// One copy of a request to send.
struct Target {
    connection: ConnectionId,
    /// The new Request-URI; inside a dialog it stays.
    uri: Option<String>,
    record_route: Option<String>,
}

impl Core {
    pub(super) fn request(&mut self, connection: ConnectionId, request: Request, now: Instant) {
        let branch = request.via().ok().and_then(|via| via.branch()).unwrap_or_default().to_owned();
        let key = (connection, branch);
        match request.method() {
            Method::Ack => return self.ack(connection, &key, request, now),
            _ if key.1.is_empty() => {
                let response = request.response(400, "Via Without Branch", Some("edge"));
                return self.answer(connection, &response);
            }
            Method::Cancel => return self.cancel(&key, &request, now),
            // Over a reliable transport nothing is sent twice: whoever does is not answered twice.
            _ if self.transactions.contains_key(&key) => return,
            Method::Register => return self.register(connection, &request, now),
            _ => {}
        }
        if let Err(response) = self.route(connection, key, request, now) {
            self.answer(connection, &response);
        }
    }

    fn route(
        &mut self,
        connection: ConnectionId,
        key: (ConnectionId, String),
        mut request: Request,
        now: Instant,
    ) -> Result<(), Response> {
        let invalid = |request: &Request, status, reason: &str| Err(request.response(status, reason, Some("edge")));
        let (Ok(uri), Ok(from), Ok(to)) = (request.uri(), request.from(), request.to()) else {
            return invalid(&request, 400, "Bad Request");
        };
        if !matches!(uri.scheme, Scheme::Sip | Scheme::Sips) {
            return invalid(&request, 416, "Unsupported URI Scheme");
        }
        let host = uri.host.to_ascii_lowercase();
        let user = uri.user_name().into_owned();
        let to_tag = to.tag().map(str::to_owned);
        let caller = from
            .uri()
            .ok()
            .map(|uri| Extension { domain: uri.host.to_ascii_lowercase(), user: uri.user_name().into_owned() });
        if let Some(required) = request.value(Header::ProxyRequire) {
            let mut response = request.response(420, "Bad Extension", Some("edge"));
            response.append(Header::Unsupported, required);
            return Err(response);
        }
        let route = self.take_own_routes(&mut request)?;
        if request.method() == Method::Options && user.is_empty() && self.directory.serves(&host) {
            self.answer(connection, &options_response(&request));
            return Ok(());
        }
        if request.decrement_max_forwards().is_none() {
            return invalid(&request, 483, "Too Many Hops");
        }

        let Some(tag) = to_tag else {
            return self.route_new(connection, key, request, caller, &Extension { domain: host, user }, now);
        };
        // Inside a dialog the connection's sign-in is proof enough; a new connection that has not registered yet is asked.
        let identity = match self.identity(connection) {
            Some(identity) => identity.clone(),
            None => self.sign_in_by_proxy(connection, &request, caller, now)?,
        };
        if let Some(call) = self.echo_call(&request, &tag) {
            return self.echo_request(call, connection, key, &identity, request, now);
        }
        let target = match self.other_end(connection, &identity, route.as_deref(), request.uri_text()) {
            Ok(connection) => Target { connection, uri: None, record_route: None },
            Err((status, reason)) => return invalid(&request, status, reason),
        };
        self.forward(connection, key, &request, vec![target], now)
    }

    /// A request outside any dialog.
    fn route_new(
        &mut self,
        connection: ConnectionId,
        key: (ConnectionId, String),
        request: Request,
        caller: Option<Extension>,
        callee: &Extension,
        now: Instant,
    ) -> Result<(), Response> {
        let caller = self.sign_in_by_proxy(connection, &request, caller, now)?;
        let refuse = |request: &Request, status, reason: &str| Err(request.response(status, reason, Some("edge")));
        if callee.domain != caller.domain {
            return refuse(&request, 403, "Relaying Denied");
        }
        if callee.user == ECHO_NUMBER {
            return self.echo_new(connection, key, request, now);
        }
        if self.directory.credentials(&callee.domain, &callee.user).is_none() {
            return refuse(&request, 404, "Not Found");
        }
        let caller_end = match self.location.on_connection(&caller, connection) {
            Some(binding) => DialogEnd::Device(binding.device),
            None => DialogEnd::Connection(connection),
        };
        let targets: Vec<Target> = self
            .location
            .devices_of(callee)
            .into_iter()
            // Who calls the own extension means the other devices.
            .filter(|binding| binding.connection != connection)
            .map(|binding| Target {
                connection: binding.connection,
                // A Contact may carry header fields, a Request-URI may not (section 19.1.1).
                uri: binding.uri.split('?').next().map(str::to_owned),
                record_route: Some(format!(
                    "<sip:{caller_end}-{}@{};transport=ws;lr>",
                    DialogEnd::Device(binding.device),
                    caller.domain
                )),
            })
            .collect();
        if targets.is_empty() {
            return refuse(&request, 480, "Temporarily Unavailable");
        }
        if request.method() == Method::Invite {
            let (domain, devices) = (&caller.domain, targets.len());
            debug!(domain, caller = ?caller.user, callee = ?callee.user, devices, "call");
        }
        self.forward(connection, key, &request, targets, now)
    }

    /// Proves by digest that the request comes from the extension in its From.
    fn sign_in_by_proxy(
        &mut self,
        connection: ConnectionId,
        request: &Request,
        caller: Option<Extension>,
        now: Instant,
    ) -> Result<Extension, Response> {
        let refuse = |status, reason: &str| Err(request.response(status, reason, Some("edge")));
        // Inside a dialog that the other side began, From is still one's own.
        let Some(caller) = caller else { return refuse(403, "From Is No SIP Address") };
        if !self.directory.serves(&caller.domain) {
            return refuse(403, "Relaying Denied");
        }
        let authenticated = self.authenticate(connection, request, &caller.domain, Role::Proxy, now)?;
        if authenticated.extension != caller {
            return refuse(403, "From Is Not Your Extension");
        }
        self.sign_in(connection, request, &caller, authenticated.password, now)?;
        Ok(caller)
    }

    /// For whom a request or a call of this connection counts; `None` before anybody has signed in on it.
    pub(super) fn holder(&self, connection: ConnectionId) -> Option<Holder> {
        let state = self.connections.get(&connection)?;
        Some(Holder { source: state.source, extension: state.identity.clone()? })
    }

    /// Takes off the Routes that name us; a Route to anybody else is refused. Returns the user part that names a dialog's ends.
    fn take_own_routes(&self, request: &mut Request) -> Result<Option<String>, Response> {
        let mut user = None;
        loop {
            let own = match request.routes().next() {
                None => return Ok(user),
                Some(Ok(route)) => match route.uri() {
                    Ok(uri) if self.directory.serves(&uri.host.to_ascii_lowercase()) => uri.user.map(str::to_owned),
                    _ => return Err(request.response(403, "Relaying Denied", Some("edge"))),
                },
                Some(Err(_)) => return Err(request.response(400, "Bad Route", Some("edge"))),
            };
            user = user.or(own);
            request.pop_route();
        }
    }

    /// The connection of the device at the other end of a dialog. The sender has to be at one of its ends.
    fn other_end(
        &self,
        connection: ConnectionId,
        identity: &Extension,
        route: Option<&str>,
        uri: &str,
    ) -> Result<ConnectionId, (u16, &'static str)> {
        let is_here = |end: DialogEnd| match end {
            DialogEnd::Connection(id) => id == connection,
            DialogEnd::Device(device) => {
                self.location.device(&identity.domain, device).is_some_and(|binding| binding.connection == connection)
            }
        };
        // A device that has reconnected and not registered again is known by its extension only, and one that never
        // registered by nothing once its connection is gone.
        let is_senders = |end: DialogEnd| match end {
            DialogEnd::Connection(id) => {
                self.connections.get(&id).is_none_or(|s| s.identity.as_ref() == Some(identity))
            }
            DialogEnd::Device(device) => device.is_of(identity),
        };
        let other = match route.and_then(dialog_ends) {
            None => None,
            Some((one, two)) if is_here(one) => Some(two),
            Some((one, two)) if is_here(two) => Some(one),
            Some((one, two)) => match (is_senders(one), is_senders(two)) {
                (true, false) => Some(two),
                (false, true) => Some(one),
                // Both are the sender's: the other one is the one that the remote target names.
                (true, true) => None,
                (false, false) => return Err((481, "Call/Transaction Does Not Exist")),
            },
        };
        let gone = Err((480, "Temporarily Unavailable"));
        match other {
            Some(DialogEnd::Device(device)) => {
                self.location.device(&identity.domain, device).map_or(gone, |binding| Ok(binding.connection))
            }
            Some(DialogEnd::Connection(id)) => match self.identity(id) {
                Some(other) if other.domain == identity.domain => Ok(id),
                _ => gone,
            },
            None => self
                .location
                .contact(&identity.domain, uri)
                .map_or(Err((404, "No Such Dialog or Device")), |binding| Ok(binding.connection)),
        }
    }

    /// Sends a copy to every target and remembers what is needed for the way back.
    fn forward(
        &mut self,
        connection: ConnectionId,
        key: (ConnectionId, String),
        request: &Request,
        targets: Vec<Target>,
        now: Instant,
    ) -> Result<(), Response> {
        let Some(holder) = self.holder(connection) else { return Ok(()) };
        let bytes = request.to_bytes().len();
        let targets: Vec<Target> = targets
            .into_iter()
            .filter(|target| self.has_room(target.connection, bytes, self.limits.unsent_bytes / 2))
            .collect();
        if targets.is_empty() {
            let mut response = request.response(480, "Too Slow to Take More", Some("edge"));
            response.append(Header::RetryAfter, &BUSY_RETRY_AFTER.as_secs().to_string());
            return Err(response);
        }
        if let Err(exhausted) = self.request_budget.take(&holder.subjects()) {
            self.note_exhausted("requests in flight", exhausted, holder.source, Some(&holder.extension), now);
            return Err(over_budget(request, "Too Many Requests in Flight", exhausted, BUSY_RETRY_AFTER));
        }
        if request.method() == Method::Invite {
            self.answer(connection, &request.response(100, "Trying", None));
        }
        let id = self.tokens.number();
        let mut fork = Fork::new(request.clone(), self.tokens.token());
        let mut numbers = Vec::with_capacity(targets.len());
        for target in targets {
            let number = self.tokens.number();
            let via = branch_via(number);
            let copy = branch_request(request, &target, &via);
            let message = copy.to_bytes();
            let index = fork.add_branch(target.connection, copy, via, now);
            self.branches.insert(number, (id, index));
            numbers.push(number);
            self.relay(target.connection, message);
        }
        if let Some(state) = self.connections.get_mut(&connection) {
            state.requests += 1;
        }
        self.transactions.insert(key.clone(), id);
        let pending =
            PendingRequest { fork, from: connection, holder, transaction: key, branches: numbers, timer: None };
        self.requests.insert(id, pending);
        self.finish_or_reschedule(id, now);
        Ok(())
    }

    /// An ACK ends a transaction, or belongs to a dialog; it is never answered.
    fn ack(&mut self, connection: ConnectionId, key: &(ConnectionId, String), mut request: Request, now: Instant) {
        if let Some(id) = self.transactions.get(key).copied() {
            if let Some(pending) = self.requests.get_mut(&id) {
                pending.fork.acknowledged(now);
            }
            self.finish_or_reschedule(id, now);
            return;
        }
        let tag = request.to().ok().and_then(|to| to.tag().map(str::to_owned)).unwrap_or_default();
        if let Some(call) = self.echo_call(&request, &tag) {
            self.echo_acknowledged(call, connection);
            return;
        }
        let Some(identity) = self.identity(connection).cloned() else { return };
        let Ok(route @ Some(_)) = self.take_own_routes(&mut request) else {
            // The ACK to a refusal of ours.
            return;
        };
        if request.decrement_max_forwards().is_none() {
            return;
        }
        match self.other_end(connection, &identity, route.as_deref(), request.uri_text()) {
            Ok(to) => {
                remove_private_headers(&mut request);
                request.push_via(&branch_via(self.tokens.number()));
                self.relay(to, request.to_bytes());
            }
            Err((_, reason)) => debug!(connection = connection.0, reason, "ACK not forwarded"),
        }
    }

    fn cancel(&mut self, key: &(ConnectionId, String), request: &Request, now: Instant) {
        if let Some(id) = self.transactions.get(key).copied() {
            self.answer(key.0, &request.response(200, "OK", Some("edge")));
            let reason = request.value(Header::Reason).map(str::to_owned);
            let actions = self.requests.get_mut(&id).map(|pending| pending.fork.cancel(reason.as_deref(), now));
            self.execute(id, actions.unwrap_or_default(), now);
        } else if !self.echo_cancel(key, request) {
            self.answer(key.0, &request.response(481, "Call/Transaction Does Not Exist", Some("edge")));
        }
    }

    pub(super) fn response(&mut self, connection: ConnectionId, mut response: Response, now: Instant) {
        let number = response.via().ok().and_then(|via| via.branch()).and_then(parse_branch);
        let found = number.and_then(|number| self.branches.get(&number).copied());
        let Some((id, index)) = found else {
            debug!(connection = connection.0, status = response.status(), "response to nothing");
            return;
        };
        let Some(pending) = self.requests.get_mut(&id) else { return };
        if pending.fork.branches().get(index).is_none_or(|branch| branch.to != connection) {
            debug!(connection = connection.0, "response from a connection that was not asked");
            return;
        }
        // A CANCEL of ours has its INVITE's branch; its own response says nothing about the call (section 9.1).
        if response.cseq().is_ok_and(|cseq| cseq.method == Method::Cancel) {
            return;
        }
        response.pop_via();
        let actions = pending.fork.response(index, response, now);
        self.execute(id, actions, now);
    }

    fn execute(&mut self, id: u64, actions: Vec<Action>, now: Instant) {
        let Some(from) = self.requests.get(&id).map(|pending| pending.from) else { return };
        for action in actions {
            match action {
                Action::Respond(response) => {
                    log_answered_call(&response);
                    self.relay(from, response.to_bytes());
                }
                Action::Forward { to, request } => self.relay(to, request.to_bytes()),
            }
        }
        self.finish_or_reschedule(id, now);
    }

    /// Forgets a request that is over, else looks when it is due next.
    fn finish_or_reschedule(&mut self, id: u64, now: Instant) {
        let Some(pending) = self.requests.get_mut(&id) else { return };
        if !pending.fork.is_over(now) {
            // One entry is enough: it looks again when its time comes and the deadline was put off.
            if let Some(at) = pending.fork.deadline()
                && pending.timer.is_none_or(|timer| at < timer)
            {
                pending.timer = Some(at);
                self.schedule(at, Timer::Request(id));
            }
            return;
        }
        let Some(pending) = self.requests.remove(&id) else { return };
        self.transactions.remove(&pending.transaction);
        for number in &pending.branches {
            self.branches.remove(number);
        }
        self.request_budget.release(&pending.holder.subjects());
        if let Some(state) = self.connections.get_mut(&pending.from) {
            state.requests = state.requests.saturating_sub(1);
        }
    }

    pub(super) fn request_timeout(&mut self, id: u64, now: Instant) {
        let Some(pending) = self.requests.get_mut(&id) else { return };
        pending.timer = pending.timer.filter(|timer| *timer > now);
        let actions = pending.fork.expire(now);
        self.execute(id, actions, now);
    }

    /// A connection is gone: its requests are called back, and those that were sent to it fail.
    pub(super) fn requests_lost(&mut self, connection: ConnectionId, now: Instant) {
        let mut touched: Vec<u64> = self
            .requests
            .iter()
            .filter(|(_, p)| p.from == connection || p.fork.branches().iter().any(|b| b.to == connection))
            .map(|(id, _)| *id)
            .collect();
        touched.sort_unstable();
        for id in touched {
            let Some(pending) = self.requests.get_mut(&id) else { continue };
            let mut actions = pending.fork.connection_lost(connection, now);
            if pending.from == connection {
                actions.extend(pending.fork.abandon(now));
            }
            self.execute(id, actions, now);
        }
    }
}

/// For the debug log: how a call was answered, by whomever.
fn log_answered_call(response: &Response) {
    let is_call = || response.cseq().is_ok_and(|cseq| cseq.method == Method::Invite);
    if !response.is_provisional() && is_call() {
        let (from, to) = (response.value(Header::From), response.value(Header::To));
        debug!(?from, ?to, status = response.status(), reason = ?response.reason_phrase(), "call answered");
    }
}

/// Takes off what goes no further than the edge: a proof of who asks is nobody else's business, and
/// only a trusted host may assert an identity (RFC 3325 section 5).
fn remove_private_headers(request: &mut Request) {
    for header in [Header::ProxyAuthorization, Header::PAssertedIdentity, Header::RemotePartyId] {
        request.remove(header);
    }
}

fn branch_request(request: &Request, target: &Target, via: &str) -> Request {
    let mut copy = request.clone();
    remove_private_headers(&mut copy);
    if let Some(uri) = &target.uri {
        copy.set_uri(uri);
    }
    if let Some(route) = target.record_route.as_deref()
        && matches!(request.method(), Method::Invite | Method::Subscribe | Method::Refer | Method::Notify)
    {
        copy.push_record_route(route);
    }
    copy.push_via(via);
    copy
}

/// The Via of one branch. Responses come back over the WebSocket, so its host is never resolved (RFC 7118 section 5.2).
fn branch_via(number: u64) -> String {
    format!("SIP/2.0/WS edge.invalid;branch=z9hG4bK{number:016x}")
}

fn parse_branch(branch: &str) -> Option<u64> {
    let digits = branch.strip_prefix("z9hG4bK").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// The answer to OPTIONS that asks the edge itself.
fn options_response(request: &Request) -> Response {
    let mut response = request.response(200, "OK", Some("edge"));
    response.append(Header::Allow, ALLOW);
    response.append(Header::Accept, "application/sdp");
    response.append(Header::Supported, "outbound, path");
    response
}
