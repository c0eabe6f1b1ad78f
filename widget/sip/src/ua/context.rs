//! State and functions that all parts of the user agent share: sending requests, responding, emitting events.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::credential_store::{ChallengeRefusal, CredentialStore, EarlierTries};
use super::interface::{
    CallId, CallerIdHeader, Event, Millis, Output, SipSecret, TextMessage, TransportId, UserAgentConfig,
};
use super::random::{Random, token_characters};
use super::status_text::reason_phrase;
use crate::header_values;
use crate::message::{Header, Message, Request, Response};
use crate::request_template::{RequestTemplate, number};
use crate::transaction::{ClientTransaction, ServerKey, ServerTransaction};

/// Value of `Allow`: the supported methods.
pub(super) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, REFER, NOTIFY, MESSAGE";
/// Value of `Supported`: the supported option tags.
pub(super) const SUPPORTED: &str = "outbound, path, gruu, timer, 100rel, replaces";

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct UaContext {
    pub(super) config: UserAgentConfig,
    pub(super) random: Random,
    pub(super) credential_store: CredentialStore,
    /// The open connection.
    pub(super) transport: Option<TransportId>,
    /// Protocol and sent-by of our `Via`: `SIP/2.0/WSS <12 characters>.invalid` (RFC 7118 §5).
    via: String,
    /// Our host in `Contact`. It is the same for the same device, so that a restart replaces the old binding.
    host: String,
    /// GRUU assigned by the registrar, used as `Contact` except in REGISTER (RFC 5627).
    pub(super) gruu: Option<String>,
    /// `Service-Route` sent by the registrar: the `Route` of requests outside of dialogs (RFC 3608).
    pub(super) service_route: Vec<String>,
    pub(super) client_requests: Vec<ClientRequest>,
    server_transactions: Vec<ServerTransaction>,
    /// URL of the server that was connected last.
    server: String,
    /// From which header field each server took a caller ID.
    caller_id_headers: Vec<(String, CallerIdHeader)>,
    outputs: VecDeque<Output>,
}

/// A request that we sent.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct ClientRequest {
    pub(super) transaction: ClientTransaction,
    pub(super) template: RequestTemplate,
    pub(super) owner: TransactionUser,
    /// Credentials as sent; the ACK for a 2xx repeats them (RFC 3261 §22.1).
    pub(super) credentials: Vec<(String, String)>,
    /// The tries before this one, after a challenge or a 422.
    pub(super) tries: EarlierTries,
}

/// The receiver of the responses: the transaction user (RFC 3261 §5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum TransactionUser {
    Register,
    /// The response is ignored.
    Nobody,
    Message(TextMessage),
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
    /// An UPDATE without SDP, for the session timer.
    Refresh,
    Bye,
    Info,
    Prack,
    /// The REFER of a transfer.
    Refer,
    /// A NOTIFY about the call that a REFER asked for.
    Notify,
}

/// A received request that is answered later.
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
        match Message::parse_lenient(&self.raw) {
            Ok((Message::Request(request), _)) => Some(request),
            _ => None,
        }
    }
}

impl UaContext {
    pub(super) fn new(mut config: UserAgentConfig, seed: [u8; 32], now: Millis) -> Self {
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
        config.secret = SipSecret::Ha1(Vec::new());
        let caller_id_headers = std::mem::take(&mut config.caller_id_headers);
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
            server: String::new(),
            caller_id_headers,
            outputs: VecDeque::new(),
        }
    }

    pub(super) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(super) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(super) fn emit(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    pub(super) fn emit_dropped(&mut self, reason: &str) {
        self.emit(Event::Dropped { reason: reason.into() });
    }

    /// The connection is open: requests are sent on it from now on.
    pub(super) fn open(&mut self, id: TransportId, url: &str) {
        self.transport = Some(id);
        url.clone_into(&mut self.server);
        let secure = url.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("wss:"));
        self.via = String::from(if secure { "SIP/2.0/WSS " } else { "SIP/2.0/WS " });
        self.via.push_str(&self.host);
    }

    pub(super) fn send(&mut self, bytes: Vec<u8>) {
        if let Some(id) = self.transport {
            self.outputs.push_back(Output::Send { id, bytes });
        }
    }

    /// The header field that presents a caller ID to the present server.
    pub(super) fn caller_id_header(&self) -> CallerIdHeader {
        let taken = self.caller_id_headers.iter().find(|(server, _)| *server == self.server);
        taken.map_or(self.config.caller_id_header, |(_, header)| *header)
    }

    /// The present server took a caller ID from this header field.
    pub(super) fn remember_caller_id_header(&mut self, header: CallerIdHeader) {
        let server = self.server.clone();
        if self.note_caller_id_header(header) {
            self.emit(Event::CallerIdTaken { server, header });
        }
    }

    /// No caller ID is tried in another header field because of a bare 403 of the present server. False if `header` is
    /// known already.
    pub(super) fn note_caller_id_header(&mut self, header: CallerIdHeader) -> bool {
        let known = (self.server.clone(), header);
        if self.caller_id_headers.contains(&known) {
            return false;
        }
        self.caller_id_headers.retain(|(server, _)| *server != known.0);
        self.caller_id_headers.push(known);
        true
    }

    /// It is known from which header field the present server takes a caller ID, or that it takes none.
    pub(super) fn knows_caller_id_header(&self) -> bool {
        self.caller_id_headers.iter().any(|(server, _)| *server == self.server)
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

    /// Our `From` value, without tag.
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

    /// The URI of this device, used as `Contact` in REGISTER.
    pub(super) fn device_uri(&self) -> String {
        let mut uri = String::from("sip:");
        uri.push_str(&crate::uri::escape_user(&self.config.username));
        uri.push('@');
        uri.push_str(&self.host);
        uri.push_str(";transport=ws");
        uri
    }

    /// `Contact` in dialogs: the GRUU, or the device URI with `ob` (RFC 5626 §4.3).
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

    // Requests that we send.

    /// A request outside of a dialog.
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

    /// Sends a request with the credentials for known challenges. Without a connection it times out at once.
    pub(super) fn request(&mut self, template: RequestTemplate, owner: TransactionUser, now: Millis) -> String {
        self.request_again(template, owner, EarlierTries::default(), now)
    }

    /// Sends a request that was sent before, after a challenge or a 422.
    pub(super) fn request_again(
        &mut self,
        template: RequestTemplate,
        owner: TransactionUser,
        tries: EarlierTries,
        now: Millis,
    ) -> String {
        let mut branch = String::from("z9hG4bK");
        branch.push_str(&self.random.tag());
        let credentials = self.credential_store.credentials(&template, &mut self.random);
        self.start_client_transaction(&branch, template, owner, credentials, tries, now);
        branch
    }

    /// A 401 or 407 to a request of a call: `Ok` if it is to be sent again.
    pub(super) fn on_call_challenge(
        &mut self,
        response: &Response,
        client: &ClientRequest,
    ) -> Result<EarlierTries, ChallengeRefusal> {
        let result = self.credential_store.on_challenge(response, client);
        if let (Err(ChallengeRefusal::PasswordNeeded { realm }), TransactionUser::Call { call, .. }) =
            (&result, &client.owner)
        {
            self.emit(Event::PasswordNeeded { call: call.clone(), realm: realm.clone() });
        }
        result
    }

    /// A CANCEL: same branch as its INVITE, no credentials (RFC 3261 §9.1, §22.1).
    pub(super) fn request_with_branch(
        &mut self,
        branch: &str,
        template: RequestTemplate,
        owner: TransactionUser,
        now: Millis,
    ) {
        self.start_client_transaction(branch, template, owner, Vec::new(), EarlierTries::default(), now);
    }

    fn start_client_transaction(
        &mut self,
        branch: &str,
        template: RequestTemplate,
        owner: TransactionUser,
        credentials: Vec<(String, String)>,
        tries: EarlierTries,
        now: Millis,
    ) {
        self.send_without_transaction(&template, branch, &credentials);
        let mut transaction = ClientTransaction::new(branch.into(), template.method == "INVITE", now);
        if self.transport.is_none() {
            transaction.time_out_at(now);
        }
        self.client_requests.push(ClientRequest { transaction, template, owner, credentials, tries });
    }

    /// Sends a request without a new transaction, e.g. the ACK for a final response other than 2xx (RFC 3261 §17.1.1.3).
    pub(super) fn send_without_transaction(
        &mut self,
        template: &RequestTemplate,
        branch: &str,
        credentials: &[(String, String)],
    ) {
        let mut template = template.clone();
        if !self.config.product.is_empty() {
            template = template.with("User-Agent", &self.config.product);
        }
        let bytes = template.to_bytes(&self.via, branch, credentials);
        self.send(bytes);
    }

    /// The ACK for a 2xx as bytes, to be sent for each retransmission of the 2xx.
    pub(super) fn ack_bytes(&mut self, template: &RequestTemplate, credentials: &[(String, String)]) -> Vec<u8> {
        let mut branch = String::from("z9hG4bK");
        branch.push_str(&self.random.tag());
        template.to_bytes(&self.via, &branch, credentials)
    }

    /// The request with this branch and method. Both are needed, because a CANCEL has its INVITE's branch (RFC 3261 §17.1.3).
    pub(super) fn client_request(&mut self, branch: &str, method: &str) -> Option<&mut ClientRequest> {
        self.client_requests
            .iter_mut()
            .find(|client| client.transaction.branch() == branch && client.template.method == method)
    }

    // Requests that we receive.

    pub(super) fn server_transaction(&mut self, key: &ServerKey) -> Option<&mut ServerTransaction> {
        self.server_transactions.iter_mut().find(|server| server.key() == key)
    }

    pub(super) fn forget_server_transaction(&mut self, key: &ServerKey) {
        self.server_transactions.retain(|server| server.key() != key);
    }

    pub(super) fn start_server_transaction(&mut self, key: ServerKey) {
        self.server_transactions.push(ServerTransaction::new(key));
    }

    /// A response without body and `Contact`; `tag` is the local tag.
    pub(super) fn response(&self, request: &Request, status: u16, tag: &str) -> Response {
        let mut response = request.response(status, reason_phrase(status), Some(tag));
        if !self.config.product.is_empty() {
            response.append(Header::Server, &self.config.product);
        }
        response
    }

    /// Sends a response, unless a final one was already sent. Returns its bytes.
    pub(super) fn answer(&mut self, key: &ServerKey, response: &Response, now: Millis) -> Vec<u8> {
        let bytes = response.to_bytes();
        let Some(server) = self.server_transaction(key) else {
            return bytes;
        };
        if server.is_pending() {
            server.on_sent(response.status(), &bytes, now);
            self.send(bytes.clone());
        }
        bytes
    }

    /// Sends a final response other than 2xx. Outside of a dialog it gets a new To tag.
    pub(super) fn refuse(&mut self, key: &ServerKey, request: &Request, status: u16, now: Millis) {
        let tag = self.random.tag();
        let mut response = self.response(request, status, &tag);
        match status {
            405 | 501 => response.append(Header::Allow, ALLOW),
            415 => response.append(Header::Accept, "application/sdp"),
            // A Retry-After of 0 to 10 s, chosen at random (RFC 3261 §14.2).
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

    /// Removes and returns one request that timed out; removes terminated transactions.
    pub(super) fn take_timed_out(&mut self, now: Millis) -> Option<ClientRequest> {
        for server in &mut self.server_transactions {
            server.on_tick(now);
        }
        self.server_transactions.retain(|server| !server.is_terminated());
        let timed_out = self.client_requests.iter_mut().position(|client| client.transaction.on_tick(now));
        let timed_out = timed_out.map(|index| self.client_requests.remove(index));
        self.client_requests.retain(|client| !client.transaction.is_terminated());
        timed_out
    }
}
