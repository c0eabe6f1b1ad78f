//! A hand-written SIP client on a WebSocket: as much of one as the tests need.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bitcall_sip::digest::{AuthorizationInput, DigestSecret, choose};
use bitcall_sip::message::{Header, Message, Method, Request, Response};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite;

use super::demo::Demo;

/// How long anything on loopback may take, on a busy machine.
const REPLY_TIMEOUT: Duration = Duration::from_secs(20);

static DEVICES: AtomicU32 = AtomicU32::new(1);

pub struct SipClient {
    socket: WebSocketStream<TcpStream>,
    user: String,
    pub password: String,
    domain: String,
    device: u32,
    counter: u32,
    /// Received while something else was waited for.
    waiting: Vec<Message>,
}

impl SipClient {
    pub async fn connect(demo: &Demo, extension: usize) -> Self {
        let (user, password) = demo.extensions[extension].clone();
        Self::over(demo.open_socket("sip").await.unwrap(), &user, &password, &demo.domain)
    }

    pub fn over(socket: WebSocketStream<TcpStream>, user: &str, password: &str, domain: &str) -> Self {
        Self {
            socket,
            user: user.to_owned(),
            password: password.to_owned(),
            domain: domain.to_owned(),
            device: DEVICES.fetch_add(1, Ordering::Relaxed),
            counter: 0,
            waiting: Vec::new(),
        }
    }

    pub async fn register(demo: &Demo, extension: usize) -> Self {
        let mut phone = Self::connect(demo, extension).await;
        let ok = phone.try_register().await;
        assert_eq!(ok.status(), 200);
        assert!(ok.values(Header::Contact).any(|contact| contact.contains(&phone.contact())));
        phone
    }

    pub async fn try_register(&mut self) -> Response {
        let mut request = self.request(Method::Register, &format!("sip:{}", self.domain));
        request.set(Header::To, &format!("<{}>", self.address()));
        let contact = format!("{};+sip.instance=\"<urn:uuid:{}>\";reg-id=1;expires=300", self.contact(), self.device);
        request.set(Header::Contact, &contact);
        self.ask(&request).await
    }

    pub fn address(&self) -> String {
        format!("sip:{}@{}", self.user, self.domain)
    }

    fn contact(&self) -> String {
        format!("<sip:d{0}@d{0}.invalid;transport=ws>", self.device)
    }

    fn via(&mut self) -> String {
        self.counter += 1;
        format!("SIP/2.0/WS d{}.invalid;branch=z9hG4bK{}", self.device, self.counter)
    }

    /// A request outside any dialog.
    pub fn request(&mut self, method: Method<'_>, uri: &str) -> Request {
        let via = self.via();
        let mut request = Request::new(method, uri);
        request.append(Header::Via, &via);
        request.append(Header::MaxForwards, "70");
        request.append(Header::From, &format!("<{}>;tag=f{}", self.address(), self.counter));
        request.append(Header::To, &format!("<{uri}>"));
        request.append(Header::CallId, &format!("d{}-{}", self.device, self.counter));
        request.append(Header::CSeq, &format!("{} {method}", self.counter));
        request.append(Header::Contact, &self.contact());
        request
    }

    pub async fn send_text(&mut self, text: &str) {
        self.socket.send(tungstenite::Message::text(text)).await.unwrap();
    }

    pub async fn send(&mut self, request: &Request) {
        self.send_text(std::str::from_utf8(&request.to_bytes()).unwrap()).await;
    }

    /// The next WebSocket message; `None` when the connection has ended.
    pub async fn receive(&mut self) -> Option<Vec<u8>> {
        let next = tokio::time::timeout(REPLY_TIMEOUT, self.socket.next()).await.expect("something arrives or ends");
        match next? {
            Ok(message) if message.is_close() => None,
            Ok(message) => Some(message.into_data().to_vec()),
            Err(_) => None,
        }
    }

    /// The first message that fits; others wait for their turn.
    async fn expect(&mut self, what: &str, fits: impl Fn(&Message) -> bool) -> Message {
        if let Some(at) = self.waiting.iter().position(&fits) {
            return self.waiting.remove(at);
        }
        loop {
            let bytes = self.receive().await.unwrap_or_else(|| panic!("connection ended before {what}"));
            let message = Message::parse(&bytes).expect("valid SIP");
            if fits(&message) {
                return message;
            }
            self.waiting.push(message);
        }
    }

    async fn response(&mut self, request: &Request, least: u16) -> Response {
        let branch = request.via().unwrap().branch().unwrap().to_owned();
        let fits = |message: &Message| match message {
            Message::Response(response) => {
                response.status() >= least && response.via().unwrap().branch() == Some(&branch)
            }
            Message::Request(_) => false,
        };
        match self.expect("a response", fits).await {
            Message::Response(response) => response,
            Message::Request(_) => unreachable!(),
        }
    }

    /// The final response to a request that was sent.
    pub async fn answer_to(&mut self, request: &Request) -> Response {
        self.response(request, 200).await
    }

    /// The first response from `status` on.
    pub async fn final_or(&mut self, status: u16, request: &Request) -> Response {
        self.response(request, status).await
    }

    /// Signs a request that was challenged, for the `count`th use of the challenge's nonce.
    pub fn sign(&mut self, request: &Request, challenge: &Response, count: u32) -> Request {
        let (asks, answers) = match challenge.status() {
            401 => (Header::WwwAuthenticate, Header::Authorization),
            _ => (Header::ProxyAuthenticate, Header::ProxyAuthorization),
        };
        let secret = DigestSecret::Password(&self.password);
        let chosen = choose(challenge.values(asks), secret);
        let attempt = AuthorizationInput {
            username: &self.user,
            secret,
            method: request.method().as_str(),
            uri: request.uri_text(),
            body: request.body(),
            cnonce: "f00d",
            count,
        };
        let answer = chosen.first().and_then(|challenge| challenge.answer(&attempt)).expect("an answerable challenge");
        let mut signed = request.clone();
        signed.set(answers, &answer);
        let via = self.via();
        signed.set(Header::Via, &via);
        signed.set(Header::CSeq, &format!("{} {}", self.counter, request.method()));
        signed
    }

    /// Signs a request that was challenged, and sends it again.
    async fn sign_and_send(&mut self, request: &Request, challenge: &Response) -> Request {
        let signed = self.sign(request, challenge, 1);
        self.send(&signed).await;
        signed
    }

    /// Sends a request with credentials and returns the final response.
    pub async fn ask(&mut self, request: &Request) -> Response {
        self.send(request).await;
        let challenge = self.answer_to(request).await;
        if !matches!(challenge.status(), 401 | 407) {
            return challenge;
        }
        let signed = self.sign_and_send(request, &challenge).await;
        self.answer_to(&signed).await
    }

    /// An INVITE on its way, with credentials.
    pub async fn invite(&mut self, uri: &str, sdp: &str) -> Request {
        let mut request = self.request(Method::Invite, uri);
        request.set_body("application/sdp", sdp.as_bytes());
        self.send(&request).await;
        let challenge = self.answer_to(&request).await;
        assert_eq!(challenge.status(), 407);
        let signed = self.sign_and_send(&request, &challenge).await;
        assert_eq!(self.final_or(100, &signed).await.status(), 100);
        signed
    }

    pub async fn expect_request(&mut self, method: Method<'_>) -> Request {
        let fits = |message: &Message| matches!(message, Message::Request(request) if request.method() == method);
        match self.expect(method.as_str(), fits).await {
            Message::Request(request) => request,
            Message::Response(_) => unreachable!(),
        }
    }

    pub async fn respond(&mut self, request: &Request, status: u16, sdp: &str) {
        let mut response = request.response(status, "As Told", Some(&format!("t{}", self.device)));
        response.append(Header::Contact, &self.contact());
        if !sdp.is_empty() {
            response.set_body("application/sdp", sdp.as_bytes());
        }
        self.send_text(std::str::from_utf8(&response.to_bytes()).unwrap()).await;
    }

    /// A request of the caller's in the dialog that this 200 made.
    pub fn in_dialog(&mut self, method: Method<'_>, ok: &Response) -> Request {
        let via = self.via();
        let mut request = Request::new(method, ok.contact().unwrap().unwrap().uri_text);
        request.append(Header::Via, &via);
        request.append(Header::MaxForwards, "70");
        request.append(Header::From, ok.value(Header::From).unwrap());
        request.append(Header::To, ok.value(Header::To).unwrap());
        request.append(Header::CallId, ok.call_id().unwrap());
        let number = if method == Method::Ack { ok.cseq().unwrap().number } else { self.counter };
        request.append(Header::CSeq, &format!("{number} {method}"));
        for route in ok.items(Header::RecordRoute).collect::<Vec<_>>().into_iter().rev() {
            request.append(Header::Route, route);
        }
        request.append(Header::Contact, &self.contact());
        request
    }

    pub async fn send_in_dialog(&mut self, method: Method<'_>, ok: &Response) -> Request {
        let request = self.in_dialog(method, ok);
        self.send(&request).await;
        request
    }

    /// A re-INVITE with an offer.
    pub async fn offer_in_dialog(&mut self, ok: &Response, sdp: &str) -> Request {
        let mut request = self.in_dialog(Method::Invite, ok);
        request.set_body("application/sdp", sdp.as_bytes());
        self.send(&request).await;
        request
    }
}
