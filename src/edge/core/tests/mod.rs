//! Scenarios played against the core: phones that speak raw SIP, and time that passes when told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod budgets;
mod calling;
mod echoing;
mod garbage;
mod refusing;
mod registering;
mod with_user_agent;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bitcall_sip::digest::{Algorithm, AuthorizationInput, DigestSecret, choose, ha1};
use bitcall_sip::message::{Header, Message, Method, Request, Response};

use super::*;
use crate::edge::StoredCredentials;

pub const ACME: &str = "acme.sip.test";
pub const OTHER: &str = "other.sip.test";
const SDP: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n";

/// Both tenants have 101, 102 and 103 with the password `pw-<user>`, until they are removed or get another.
#[derive(Default)]
pub struct Tenants {
    removed: Mutex<HashSet<String>>,
    passwords: Mutex<HashMap<&'static str, &'static str>>,
}

impl ExtensionDirectory for Tenants {
    fn serves(&self, domain: &str) -> bool {
        [ACME, OTHER].contains(&domain) && !self.removed.lock().unwrap().contains(domain)
    }

    fn credentials(&self, domain: &str, username: &str) -> Option<StoredCredentials> {
        let removed = self.removed.lock().unwrap().contains(username);
        if !self.serves(domain) || removed || !["101", "102", "103"].contains(&username) {
            return None;
        }
        let usual = format!("pw-{username}");
        let password = self.passwords.lock().unwrap().get(username).map_or(usual, |reset| (*reset).to_owned());
        Some(StoredCredentials {
            ha1_md5: ha1(Algorithm::Md5, username, domain, &password),
            ha1_sha256: ha1(Algorithm::Sha256, username, domain, &password),
        })
    }

    fn phone_session(&self, domain: &str, username: &str) -> Option<String> {
        Some(format!("session of {username}@{domain}"))
    }
}

/// A browser with its WebSocket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Phone {
    pub connection: ConnectionId,
    pub user: &'static str,
    pub domain: &'static str,
    /// Names the device: its instance and contact.
    pub device: u32,
}

pub struct TestEdge {
    pub core: Core,
    pub tenants: Arc<Tenants>,
    pub now: Instant,
    received: HashMap<ConnectionId, Vec<Vec<u8>>>,
    /// Connections to which nothing can be written, as they do not read.
    pub unread: HashSet<ConnectionId>,
    pub closed: HashMap<ConnectionId, CloseReason>,
    pub orders: Vec<EchoCommand>,
    counter: u32,
}

impl TestEdge {
    /// With answers that are never kept back.
    pub fn new() -> Self {
        Self::with(EdgeLimits { refusal_delay: Duration::ZERO, ..EdgeLimits::default() })
    }

    pub fn with(limits: EdgeLimits) -> Self {
        let now = Instant::now();
        let tenants = Arc::new(Tenants::default());
        let core = Core::new(tenants.clone(), limits, [42; 32], now);
        Self {
            core,
            tenants,
            now,
            received: HashMap::new(),
            unread: HashSet::new(),
            closed: HashMap::new(),
            orders: Vec::new(),
            counter: 0,
        }
    }

    pub fn connect(&mut self, user: &'static str, domain: &'static str, device: u32) -> Phone {
        self.connect_from("192.0.2.9", user, domain, device)
    }

    pub fn connect_from(&mut self, address: &str, user: &'static str, domain: &'static str, device: u32) -> Phone {
        let source = address.parse().unwrap();
        let connection = self.core.connected(SocketAddr::new(source, 40000), source, self.now).expect("admitted");
        Phone { connection, user, domain, device }
    }

    /// A phone of acme that is connected and registered.
    pub fn phone(&mut self, user: &'static str, device: u32) -> Phone {
        let phone = self.connect(user, ACME, device);
        assert_eq!(self.register(phone).status(), 200);
        phone
    }

    pub fn disconnect(&mut self, phone: Phone) {
        self.core.disconnected(phone.connection, self.now);
        self.collect();
    }

    pub fn raw(&mut self, phone: Phone, bytes: &[u8]) {
        self.core.handle(phone.connection, bytes, self.now);
        self.collect();
    }

    pub fn send(&mut self, phone: Phone, request: &Request) {
        self.raw(phone, &request.to_bytes());
    }

    pub fn reply(&mut self, phone: Phone, response: &Response) {
        self.raw(phone, &response.to_bytes());
    }

    /// Lets time pass, timer by timer.
    pub fn wait(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while let Some(at) = self.core.next_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.core.handle_timeout(self.now);
            self.collect();
        }
        self.now = end;
    }

    pub fn collect(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send { to, message } => {
                    if !self.unread.contains(&to) {
                        self.core.written(to, message.len());
                    }
                    self.received.entry(to).or_default().push(message);
                }
                Output::Close { connection, reason } => {
                    self.closed.insert(connection, reason);
                }
                Output::Echo(order) => self.orders.push(order),
            }
        }
    }

    /// Everything a phone has received and not looked at.
    pub fn inbox(&mut self, phone: Phone) -> Vec<Vec<u8>> {
        self.received.remove(&phone.connection).unwrap_or_default()
    }

    pub fn messages(&mut self, phone: Phone) -> Vec<Message> {
        let inbox = self.inbox(phone);
        inbox
            .iter()
            .map(|bytes| {
                let message = Message::parse(bytes).expect("the edge sends valid SIP");
                message.validate().expect("the edge sends valid SIP");
                message
            })
            .collect()
    }

    /// The statuses and methods a phone has received: `["100", "180", "BYE"]`.
    pub fn summary(&mut self, phone: Phone) -> Vec<String> {
        self.messages(phone)
            .iter()
            .map(|message| match message {
                Message::Request(request) => request.method().as_str().to_owned(),
                Message::Response(response) => response.status().to_string(),
            })
            .collect()
    }

    /// The only message that a phone has received, a response.
    pub fn response(&mut self, phone: Phone) -> Response {
        let mut messages = self.messages(phone);
        assert_eq!(messages.len(), 1, "{messages:?}");
        match messages.pop() {
            Some(Message::Response(response)) => response,
            other => panic!("no response: {other:?}"),
        }
    }

    /// The only message that a phone has received, a request.
    pub fn request(&mut self, phone: Phone) -> Request {
        let mut messages = self.messages(phone);
        assert_eq!(messages.len(), 1, "{messages:?}");
        match messages.pop() {
            Some(Message::Request(request)) => request,
            other => panic!("no request: {other:?}"),
        }
    }

    pub fn unique(&mut self) -> u32 {
        self.counter += 1;
        self.counter
    }

    /// A request outside any dialog, without credentials.
    pub fn new_request(&mut self, phone: Phone, method: Method<'_>, uri: &str) -> Request {
        let n = self.unique();
        let mut request = Request::new(method, uri);
        request.append(Header::Via, &format!("SIP/2.0/WSS {}.invalid;branch=z9hG4bKc{n}", phone.device));
        request.append(Header::MaxForwards, "70");
        request.append(Header::From, &format!("<sip:{}@{}>;tag=f{n}", phone.user, phone.domain));
        request.append(Header::To, &format!("<{uri}>"));
        request.append(Header::CallId, &format!("call-{n}"));
        request.append(Header::CSeq, &format!("1 {method}"));
        request.append(Header::Contact, &contact(phone));
        request
    }

    pub fn registration(&mut self, phone: Phone) -> Request {
        let mut request = self.new_request(phone, Method::Register, &format!("sip:{}", phone.domain));
        request.set(Header::To, &format!("<sip:{}@{}>", phone.user, phone.domain));
        request.set(
            Header::Contact,
            &format!("{};+sip.instance=\"<urn:uuid:{}>\";reg-id=1;expires=600", contact(phone), phone.device),
        );
        request.append(Header::Supported, "outbound, path");
        request
    }

    /// Registers with credentials and returns the last answer.
    pub fn register(&mut self, phone: Phone) -> Response {
        let request = self.registration(phone);
        self.send_signed(phone, &request);
        self.response(phone)
    }

    /// Sends a request, answers the challenge, and leaves the inbox at what follows. Returns the request as signed.
    pub fn send_signed(&mut self, phone: Phone, request: &Request) -> Request {
        self.send_signed_with(phone, request, &format!("pw-{}", phone.user))
    }

    pub fn send_signed_with(&mut self, phone: Phone, request: &Request, password: &str) -> Request {
        self.send(phone, request);
        let challenge = self.response(phone);
        assert!(matches!(challenge.status(), 401 | 407), "{challenge:?}");
        let signed = sign(&next(request), &challenge, phone.user, password, 1);
        self.send(phone, &signed);
        signed
    }

    /// An INVITE on its way, signed: what arrives is left in the inboxes.
    pub fn invite(&mut self, phone: Phone, user: &str) -> Request {
        let mut request = self.new_request(phone, Method::Invite, &format!("sip:{user}@{}", phone.domain));
        request.set_body("application/sdp", SDP.as_bytes());
        self.send_signed(phone, &request)
    }

    /// A call that is up. Returns the INVITE as the callee saw it and the 200 as the caller saw it.
    pub fn call(&mut self, caller: Phone, callee: Phone) -> (Request, Response) {
        self.invite(caller, callee.user);
        assert_eq!(self.response(caller).status(), 100);
        let invite = self.request(callee);
        let mut ok = invite.response(200, "OK", Some(&format!("t{}", callee.device)));
        ok.append(Header::Contact, &contact(callee));
        ok.set_body("application/sdp", SDP.as_bytes());
        self.reply(callee, &ok);
        let ok = self.response(caller);
        assert_eq!(ok.status(), 200);
        let ack = in_dialog(caller, Method::Ack, &ok, 1, self.unique());
        self.send(caller, &ack);
        assert_eq!(self.request(callee).method(), Method::Ack);
        (invite, ok)
    }
}

pub fn contact(phone: Phone) -> String {
    format!("<sip:u{}@{}.invalid;transport=ws>", phone.device, phone.device)
}

/// The same request once more: next `CSeq`, new branch.
pub fn next(request: &Request) -> Request {
    let mut again = request.clone();
    let cseq = request.cseq().unwrap();
    again.set(Header::CSeq, &format!("{} {}", cseq.number + 1, cseq.method));
    let via = request.value(Header::Via).unwrap().to_owned();
    again.set(Header::Via, &format!("{via}x"));
    again
}

pub fn sign(request: &Request, challenge: &Response, username: &str, password: &str, count: u32) -> Request {
    let (ask, answer) = if challenge.status() == 401 {
        (Header::WwwAuthenticate, Header::Authorization)
    } else {
        (Header::ProxyAuthenticate, Header::ProxyAuthorization)
    };
    let chosen = choose(challenge.values(ask), DigestSecret::Password(password));
    let attempt = AuthorizationInput {
        username,
        secret: DigestSecret::Password(password),
        method: request.method().as_str(),
        uri: request.uri_text(),
        body: request.body(),
        cnonce: "c0ffee",
        count,
    };
    let mut signed = request.clone();
    signed.set(answer, &chosen[0].answer(&attempt).unwrap());
    signed
}

/// A caller's request inside the dialog that its 200 made.
pub fn in_dialog(phone: Phone, method: Method<'_>, ok: &Response, cseq: u32, n: u32) -> Request {
    let target = ok.contact().unwrap().unwrap().uri_text.to_owned();
    let mut request = Request::new(method, &target);
    request.append(Header::Via, &format!("SIP/2.0/WSS {}.invalid;branch=z9hG4bKd{n}", phone.device));
    request.append(Header::MaxForwards, "70");
    request.append(Header::From, ok.value(Header::From).unwrap());
    request.append(Header::To, ok.value(Header::To).unwrap());
    request.append(Header::CallId, ok.call_id().unwrap());
    request.append(Header::CSeq, &format!("{cseq} {method}"));
    let routes: Vec<&str> = ok.items(Header::RecordRoute).collect();
    for route in routes.into_iter().rev() {
        request.append(Header::Route, route);
    }
    request.append(Header::Contact, &contact(phone));
    request
}

/// A callee's request inside the dialog that the INVITE it received made.
pub fn in_dialog_of_callee(phone: Phone, method: Method<'_>, invite: &Request, n: u32) -> Request {
    let target = invite.contact().unwrap().unwrap().uri_text.to_owned();
    let mut request = Request::new(method, &target);
    request.append(Header::Via, &format!("SIP/2.0/WSS {}.invalid;branch=z9hG4bKe{n}", phone.device));
    request.append(Header::MaxForwards, "70");
    request.append(Header::From, &format!("{};tag=t{}", invite.value(Header::To).unwrap(), phone.device));
    request.append(Header::To, invite.value(Header::From).unwrap());
    request.append(Header::CallId, invite.call_id().unwrap());
    request.append(Header::CSeq, &format!("1 {method}"));
    for route in invite.items(Header::RecordRoute) {
        request.append(Header::Route, route);
    }
    request.append(Header::Contact, &contact(phone));
    request
}
