//! What every part of the user agent needs: sending, answering, telling.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::credential_store::CredentialStore;
use super::interface::{CallId, Config, Event, Millis, Output, SipSecret, TransportId};
use super::random::{Random, token_characters};
use super::status_text::reason_phrase;
use crate::header_values;
use crate::message::{Header, Message, Request, Response};
use crate::request_template::{RequestTemplate, number};
use crate::transaction::{ClientTransaction, ServerKey, ServerTransaction};

/// What we understand, as `Allow` says it.
pub(super) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, NOTIFY";
/// Extensions we understand when a request requires them.
pub(super) const SUPPORTED: &str = "outbound, path, gruu, timer, 100rel";

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct UaContext {
    pub(super) config: Config,
    pub(super) random: Random,
    pub(super) credential_store: CredentialStore,
    /// The open connection.
    pub(super) transport: Option<TransportId>,
    /// `SIP/2.0/WSS` and our sent-by name, `<12>.invalid` (RFC 7118 §5).
    via: String,
    /// Our host in `Contact`; the same for the same device, so that a restart replaces its old binding.
    host: String,
    /// Set by the registrar: a GRUU for `Contact` outside of REGISTER (RFC 5627).
    pub(super) gruu: Option<String>,
    /// Set by the registrar: `Route` of new requests (RFC 3608).
    pub(super) service_route: Vec<String>,
    pub(super) client_requests: Vec<ClientRequest>,
    server_transactions: Vec<ServerTransaction>,
    out: VecDeque<Output>,
}

/// A request of ours under way.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct ClientRequest {
    pub(super) transaction: ClientTransaction,
    pub(super) template: RequestTemplate,
    pub(super) owner: TransactionUser,
    /// Credentials as sent; a 2xx's ACK repeats them (RFC 3261 §22.1).
    pub(super) credentials: Vec<(String, String)>,
    /// How often this request was already sent again with other credentials.
    pub(super) retries: u8,
}

/// Who waits for the response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum TransactionUser {
    Register,
    /// No one: the response is not needed.
    Nobody,
    Call {
        call: CallId,
        role: RequestRole,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum RequestRole {
    Invite,
    Cancel,
    /// A re-INVITE.
    Reinvite,
    /// An UPDATE without description, for the session timer.
    Refresh,
    Bye,
    Info,
    Prack,
}

/// A request that is answered later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ServerRequest {
    pub(super) key: ServerKey,
    raw: Vec<u8>,
}

impl ServerRequest {
    pub(super) fn new(key: ServerKey, request: &Request) -> Self {
        Self { key, raw: request.to_bytes() }
    }

    pub(super) fn request(&self) -> Option<Request> {
        match Message::parse(&self.raw) {
            Ok(Message::Request(request)) => Some(request),
            _ => None,
        }
    }
}

impl UaContext {
    pub(super) fn new(mut config: Config, seed: [u8; 32], now: Millis) -> Self {
        let mut random = Random::new(seed, now);
        let host = if config.instance_id.is_empty() {
            random.token(12)
        } else {
            let mut hash = Sha256::new();
            hash.update(config.instance_id.as_bytes());
            hash.update(config.username.as_bytes());
            let hash: [u8; 32] = hash.finalize().into();
            token_characters(&hash, 12)
        };
        let credential_store = CredentialStore::new(&config);
        config.secret = SipSecret::Ha1 { realm: None, ha1: String::new() };
        Self {
            config,
            random,
            credential_store,
            transport: None,
            via: String::new(),
            host: host + ".invalid",
            gruu: None,
            service_route: Vec::new(),
            client_requests: Vec::new(),
            server_transactions: Vec::new(),
            out: VecDeque::new(),
        }
    }

    pub(super) fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    pub(super) fn push(&mut self, output: Output) {
        self.out.push_back(output);
    }

    pub(super) fn emit(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    pub(super) fn emit_dropped(&mut self, reason: &str) {
        self.emit(Event::Dropped { reason: reason.into() });
    }

    /// The connection is open: from now on requests go over it.
    pub(super) fn open(&mut self, id: TransportId, url: &str) {
        self.transport = Some(id);
        let secure = url.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("wss:"));
        self.via = String::from(if secure { "SIP/2.0/WSS " } else { "SIP/2.0/WS " });
        self.via.push_str(&self.host);
    }

    pub(super) fn send(&mut self, bytes: Vec<u8>) {
        if let Some(id) = self.transport {
            self.out.push_back(Output::Send { id, bytes });
        }
    }

    // Addresses.

    /// `sip:user@domain`, our address-of-record.
    pub(super) fn address_of_record(&self) -> String {
        let mut uri = String::from("sip:");
        uri.push_str(&crate::uri::escape_user(&self.config.username));
        uri.push('@');
        uri.push_str(&self.config.domain);
        uri
    }

    /// Our own `From` value, without tag.
    pub(super) fn own_address(&self) -> String {
        let mut value = String::new();
        if let Some(name) = self.config.display_name.as_deref().filter(|name| !name.is_empty()) {
            value.push_str(&crate::message::quote(name));
            value.push(' ');
        }
        value.push('<');
        value.push_str(&self.address_of_record());
        value.push('>');
        value
    }

    /// The URI at which this device is reached.
    pub(super) fn device_uri(&self) -> String {
        let mut uri = String::from("sip:");
        uri.push_str(&crate::uri::escape_user(&self.config.username));
        uri.push('@');
        uri.push_str(&self.host);
        uri.push_str(";transport=ws");
        uri
    }

    /// `Contact` in dialogs: a GRUU, else our flow (RFC 5626 §4.3).
    pub(super) fn contact(&self) -> String {
        let mut value = String::from("<");
        if let Some(gruu) = &self.gruu {
            value.push_str(gruu);
        } else {
            value.push_str(&self.device_uri());
            value.push_str(";ob");
        }
        value.push('>');
        value
    }

    // Requests of ours.

    /// A request outside of any dialog.
    pub(super) fn template(&mut self, method: &str, uri: &str, to: &str) -> RequestTemplate {
        let mut from = self.own_address();
        from.push_str(";tag=");
        from.push_str(&self.random.tag());
        RequestTemplate {
            method: method.into(),
            uri: uri.into(),
            routes: self.service_route.clone(),
            from,
            to: to.into(),
            call_id: self.random.token(22),
            cseq: 1,
            extra: Vec::new(),
            body: None,
        }
    }

    /// Sends a request with what credentials we have. Without a connection it times out at once.
    pub(super) fn request(&mut self, template: RequestTemplate, owner: TransactionUser, now: Millis) -> String {
        self.request_again(template, owner, 0, now)
    }

    pub(super) fn request_again(
        &mut self,
        template: RequestTemplate,
        owner: TransactionUser,
        retries: u8,
        now: Millis,
    ) -> String {
        let mut branch = String::from("z9hG4bK");
        branch.push_str(&self.random.tag());
        let credentials = self.credential_store.credentials(&template, &mut self.random);
        self.begin(&branch, template, owner, credentials, retries, now);
        branch
    }

    /// A CANCEL: same branch as its INVITE, no credentials (RFC 3261 §9.1, §22.1).
    pub(super) fn request_on(&mut self, branch: &str, template: RequestTemplate, owner: TransactionUser, now: Millis) {
        self.begin(branch, template, owner, Vec::new(), 0, now);
    }

    fn begin(
        &mut self,
        branch: &str,
        template: RequestTemplate,
        owner: TransactionUser,
        credentials: Vec<(String, String)>,
        retries: u8,
        now: Millis,
    ) {
        self.write(&template, branch, &credentials);
        let mut transaction = ClientTransaction::new(branch.into(), template.method == "INVITE", now);
        if self.transport.is_none() {
            transaction.time_out_at(now);
        }
        self.client_requests.push(ClientRequest { transaction, template, owner, credentials, retries });
    }

    /// Writes and sends a request, and no more: the ACK of a refusal has no transaction of its own (RFC 3261 §17.1.1.3).
    pub(super) fn write(&mut self, template: &RequestTemplate, branch: &str, credentials: &[(String, String)]) {
        let mut template = template.clone();
        if !self.config.product.is_empty() {
            template = template.with("User-Agent", &self.config.product);
        }
        let bytes = template.to_bytes(&self.via, branch, credentials);
        self.send(bytes);
    }

    /// A 2xx's ACK, ready to be sent as often as the 2xx comes.
    pub(super) fn ack_bytes(&mut self, template: &RequestTemplate, credentials: &[(String, String)]) -> Vec<u8> {
        let mut branch = String::from("z9hG4bK");
        branch.push_str(&self.random.tag());
        template.to_bytes(&self.via, &branch, credentials)
    }

    /// A CANCEL has its INVITE's branch: the method tells them apart (RFC 3261 §17.1.3).
    pub(super) fn client(&mut self, branch: &str, method: &str) -> Option<&mut ClientRequest> {
        self.client_requests
            .iter_mut()
            .find(|client| client.transaction.branch() == branch && client.template.method == method)
    }

    // Requests of others.

    pub(super) fn server(&mut self, key: &ServerKey) -> Option<&mut ServerTransaction> {
        self.server_transactions.iter_mut().find(|server| server.key() == key)
    }

    pub(super) fn begin_server_transaction(&mut self, key: ServerKey) {
        self.server_transactions.push(ServerTransaction::new(key));
    }

    /// A response to fill in; `tag` is ours.
    pub(super) fn response(&self, request: &Request, status: u16, tag: &str) -> Response {
        let mut response = request.response(status, reason_phrase(status), Some(tag));
        if !self.config.product.is_empty() {
            response.append(Header::Server, &self.config.product);
        }
        response
    }

    /// Sends a response, unless the request has its final one already.
    pub(super) fn answer(&mut self, key: &ServerKey, response: &Response, now: Millis) -> Vec<u8> {
        let bytes = response.to_bytes();
        let Some(server) = self.server(key) else {
            return bytes;
        };
        if server.is_pending() {
            server.on_sent(response.status(), &bytes, now);
            self.send(bytes.clone());
        }
        bytes
    }

    /// Answers with nothing but a status. Outside of a dialog the tag is a new one.
    pub(super) fn refuse(&mut self, key: &ServerKey, request: &Request, status: u16, now: Millis) {
        let tag = self.random.tag();
        let mut response = self.response(request, status, &tag);
        match status {
            405 | 501 => response.append(Header::Allow, ALLOW),
            415 => response.append(Header::Accept, "application/sdp"),
            // RFC 3261 §14.2: a random wait, so that both sides do not meet again.
            500 if !header_values::to_tag(request).is_empty() => {
                let seconds = number(self.random.up_to(10));
                response.append(Header::RetryAfter, &seconds);
            }
            _ => {}
        }
        self.answer(key, &response, now);
    }

    pub(super) fn next_timeout(&self) -> Option<Millis> {
        let clients = self.client_requests.iter().filter_map(|client| client.transaction.deadline());
        let servers = self.server_transactions.iter().filter_map(ServerTransaction::deadline);
        clients.chain(servers).min()
    }

    /// Takes out a request whose time ran out; forgets what is over.
    pub(super) fn timed_out(&mut self, now: Millis) -> Option<ClientRequest> {
        for server in &mut self.server_transactions {
            server.on_time(now);
        }
        self.server_transactions.retain(|server| !server.is_terminated());
        let late = self.client_requests.iter_mut().position(|client| client.transaction.on_time(now));
        let late = late.map(|index| self.client_requests.remove(index));
        self.client_requests.retain(|client| !client.transaction.is_terminated());
        late
    }
}
