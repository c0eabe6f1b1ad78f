//! The SIP side: registrar, dialogs, and answers to what the phone says.

mod requests;

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use bitcall_sip::digest::{Algorithm, Challenge, Credentials, DigestSecret, Qop};
use bitcall_sip::message::{Header, Headers, Message, Method, NameAddr, Params, Request, Response};
use bitcall_sip::uri::Uri;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite;

use super::B2bua;
use super::far_end::{Party, WhenCalled};
use super::leg::Leg;

const SDP: &str = "application/sdp";
const REALM: &str = "asterisk";
/// A call that is transferred there is parked.
const PARK: &str = "700";

pub struct Server {
    port: u16,
    started: Instant,
    counter: u64,
    connections: HashMap<u64, mpsc::UnboundedSender<tungstenite::Message>>,
    /// The oldest first.
    registrations: Vec<Registration>,
    /// Contacts that the account may have.
    pub max_contacts: usize,
    pub parties: HashMap<String, Arc<Party>>,
    dialogs: Vec<Dialog>,
    ringing: Vec<Ringing>,
    nonces: HashSet<String>,
    messages: Vec<Traced>,
}

#[derive(Clone)]
struct Registration {
    connection: u64,
    /// The URI of its Contact.
    target: String,
}

/// A call of a phone with a far end.
struct Dialog {
    /// Where the phone's last message of this dialog came from.
    connection: u64,
    call_id: String,
    /// Our From, and the phone's To.
    local: String,
    remote: String,
    target: String,
    cseq: u32,
    leg: Leg,
    /// The leg of another endpoint, until the phone has answered its offer.
    next_leg: Option<Leg>,
    state: DialogState,
}

enum DialogState {
    /// The phone rings by this INVITE.
    Ringing(Request),
    /// The call was answered on another phone.
    Cancelled,
    Confirmed,
}

/// A call of the phone that a far end has not answered.
struct Ringing {
    connection: u64,
    invite: Request,
    tag: String,
    party: Arc<Party>,
    /// Plays the early media.
    _early: Option<Leg>,
}

struct Traced {
    milliseconds: u128,
    by_phone: bool,
    text: String,
}

impl Dialog {
    fn is_confirmed(&self) -> bool {
        matches!(self.state, DialogState::Confirmed)
    }
}

impl Server {
    pub fn new(port: u16) -> Self {
        Self {
            port,
            started: Instant::now(),
            counter: 0,
            connections: HashMap::new(),
            registrations: Vec::new(),
            max_contacts: usize::MAX,
            parties: HashMap::new(),
            dialogs: Vec::new(),
            ringing: Vec::new(),
            nonces: HashSet::new(),
            messages: Vec::new(),
        }
    }

    pub fn add_party(&mut self, party: &Arc<Party>) {
        self.parties.insert(party.number.clone(), Arc::clone(party));
    }

    pub fn opened(&mut self, sender: mpsc::UnboundedSender<tungstenite::Message>) -> u64 {
        let connection = self.next();
        self.connections.insert(connection, sender);
        connection
    }

    pub fn closed(&mut self, connection: u64) {
        self.connections.remove(&connection);
    }

    pub fn cut_connections(&mut self) {
        self.connections.clear();
    }

    pub fn restart(&mut self) {
        self.cut_connections();
        self.registrations.clear();
        self.dialogs.clear();
        self.ringing.clear();
        self.nonces.clear();
    }

    pub fn calls(&self) -> usize {
        self.dialogs.len()
    }

    pub fn received(&self, parts: &[&str]) -> Vec<String> {
        let fits = |m: &&Traced| m.by_phone && parts.iter().all(|part| m.text.contains(part));
        self.messages.iter().filter(fits).map(|m| m.text.clone()).collect()
    }

    pub fn trace(&self) -> String {
        self.messages.iter().fold(String::new(), |mut all, m| {
            let who = if m.by_phone { "phone" } else { "B2BUA" };
            writeln!(all, "{} ms, {who}:\n{}", m.milliseconds, m.text.replace('\r', "")).unwrap();
            all
        })
    }

    fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn note(&mut self, by_phone: bool, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.messages.push(Traced { milliseconds: self.started.elapsed().as_millis(), by_phone, text });
    }

    fn send(&mut self, connection: u64, headers: &Headers) {
        let bytes = headers.to_bytes();
        self.note(false, &bytes);
        if let Some(sender) = self.connections.get(&connection) {
            sender.send(tungstenite::Message::text(String::from_utf8(bytes).unwrap())).ok();
        }
    }

    fn contact(&self) -> String {
        format!("<sip:asterisk@127.0.0.1:{};transport=ws>", self.port)
    }
}

/// What the phone says.
impl Server {
    pub fn on_message(&mut self, connection: u64, bytes: &[u8]) {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            // A keep-alive (RFC 5626).
            if let Some(sender) = self.connections.get(&connection) {
                sender.send(tungstenite::Message::text("\r\n")).ok();
            }
            return;
        }
        self.note(true, bytes);
        match Message::parse(bytes).expect("the phone sends valid SIP") {
            Message::Request(request) => self.on_request(connection, &request),
            Message::Response(response) => self.on_response(connection, &response),
        }
    }

    fn on_response(&mut self, connection: u64, response: &Response) {
        if response.status() < 200 || response.cseq().unwrap().method != Method::Invite {
            return;
        }
        let call_id = response.call_id().unwrap();
        let awaited = |d: &Dialog| d.call_id == call_id && (!d.is_confirmed() || d.next_leg.is_some());
        let Some(index) = self.dialogs.iter().position(awaited) else { return };
        let dialog = &mut self.dialogs[index];
        dialog.connection = connection;
        let next_leg = dialog.next_leg.take();
        response.value(Header::To).unwrap().clone_into(&mut dialog.remote);
        if !response.is_success() {
            // This ACK belongs to the INVITE's transaction (RFC 3261 section 17.1.1.3).
            let via = response.value(Header::Via).unwrap();
            self.send_in_dialog(index, Method::Ack, |ack| ack.set(Header::Via, via));
            if next_leg.is_none() {
                self.dialogs.remove(index);
            }
            return;
        }
        if let Some(leg) = next_leg {
            leg.party().forget();
            dialog.leg = leg;
        }
        let is_too_late =
            matches!(std::mem::replace(&mut dialog.state, DialogState::Confirmed), DialogState::Cancelled);
        dialog.target = target(response);
        let answer = std::str::from_utf8(response.body()).unwrap();
        let party = dialog.leg.party();
        let accepted = dialog.leg.accept(answer);
        self.send_in_dialog(index, Method::Ack, |_| ());
        if is_too_late || accepted.is_err() {
            self.end(index);
        } else {
            self.cancel_others(&party);
        }
    }

    fn on_request(&mut self, connection: u64, request: &Request) {
        match request.method() {
            Method::Ack => {}
            Method::Register => self.on_register(connection, request),
            Method::Invite if request.to().unwrap().tag().is_none() => self.on_new_call(connection, request),
            Method::Message if request.to().unwrap().tag().is_none() => self.on_text(connection, request),
            Method::Invite
            | Method::Update
            | Method::Bye
            | Method::Info
            | Method::Message
            | Method::Refer
            | Method::Notify => self.on_dialog_request(connection, request),
            Method::Options => self.respond(connection, request, 200, "OK", |_| ()),
            // All calls are answered or refused at once.
            Method::Cancel => self.respond(connection, request, 481, "Call/Transaction Does Not Exist", |_| ()),
            _ => self.respond(connection, request, 501, "Not Implemented", |_| ()),
        }
    }

    fn respond(
        &mut self,
        connection: u64,
        request: &Request,
        status: u16,
        reason: &str,
        add: impl FnOnce(&mut Response),
    ) {
        let tag = format!("a{}", self.next());
        let mut response = request.response(status, reason, Some(&tag));
        add(&mut response);
        self.send(connection, &response);
    }

    /// Whether the request has good credentials; otherwise it is challenged.
    fn authenticates(&mut self, connection: u64, request: &Request) -> bool {
        let credentials = request.value(Header::Authorization).and_then(Credentials::parse);
        let good = credentials.is_some_and(|given| {
            given.username == B2bua::USERNAME
                && self.nonces.contains(given.nonce.as_ref())
                && given.verify(DigestSecret::Password(B2bua::PASSWORD), request.method().as_str(), request.body())
        });
        if !good {
            let nonce = format!("nonce{}", self.next());
            self.nonces.insert(nonce.clone());
            let challenge = Challenge {
                realm: REALM.to_owned(),
                nonce,
                opaque: Some("opaque".to_owned()),
                algorithm: Algorithm::Md5,
                qop: vec![Qop::Auth],
                stale: false,
            };
            self.respond(connection, request, 401, "Unauthorized", |response| {
                response.append(Header::WwwAuthenticate, &challenge.to_value());
            });
        }
        good
    }

    fn on_register(&mut self, connection: u64, request: &Request) {
        if !self.authenticates(connection, request) {
            return;
        }
        let contact = request.value(Header::Contact).unwrap_or_default();
        let expires = NameAddr::parse(contact).and_then(|contact| contact.expires()).or(request.expires());
        if contact == "*" {
            self.registrations.clear();
            self.respond(connection, request, 200, "OK", |_| ());
            return;
        }
        let target = target(request);
        let others = self.registrations.iter().filter(|phone| phone.target != target).count();
        if expires != Some(0) && others >= self.max_contacts {
            self.respond(connection, request, 403, "Forbidden", |_| ());
            return;
        }
        self.registrations.retain(|phone| phone.target != target);
        if expires == Some(0) {
            self.respond(connection, request, 200, "OK", |_| ());
            return;
        }
        let binding = format!("<{target}>;expires={}", expires.unwrap_or(3600));
        let phone = Registration { connection, target };
        self.registrations.push(phone.clone());
        self.respond(connection, request, 200, "OK", |response| response.append(Header::Contact, &binding));
        self.notify_message_waiting(&phone);
    }

    /// A text outside of any call.
    fn on_text(&mut self, connection: u64, request: &Request) {
        if self.authenticates(connection, request) {
            let number = request.uri().map(|uri| uri.user_name().into_owned()).unwrap_or_default();
            let (status, reason) =
                if self.parties.contains_key(&number) { (202, "Accepted") } else { (404, "Not Found") };
            self.respond(connection, request, status, reason, |_| ());
        }
    }

    fn on_new_call(&mut self, connection: u64, request: &Request) {
        if !self.authenticates(connection, request) {
            return;
        }
        let mut replaced = None;
        let number = request.uri().map(|uri| uri.user_name().into_owned()).unwrap_or_default();
        let party = if let Some(replaces) = request.value(Header::Replaces) {
            if number != B2bua::USERNAME && !self.parties.contains_key(&number) {
                self.respond(connection, request, 404, "Not Found", |_| ());
                return;
            }
            let Some(index) = self.replaced_by(replaces) else {
                self.respond(connection, request, 481, "Call/Transaction Does Not Exist", |_| ());
                return;
            };
            replaced = Some(self.dialogs[index].call_id.clone());
            self.dialogs[index].leg.party()
        } else {
            let Some(party) = self.parties.get(&number) else {
                self.respond(connection, request, 404, "Not Found", |_| ());
                return;
            };
            Arc::clone(party)
        };
        self.send(connection, &request.response(100, "Trying", None));
        let tag = format!("a{}", self.next());
        if replaced.is_none() {
            let mut ringing = request.response(180, "Ringing", Some(&tag));
            ringing.append(Header::Contact, &self.contact());
            Self::describe(&mut ringing, &party);
            self.send(connection, &ringing);
        }
        if party.when_called == WhenCalled::Declines {
            let mut refusal = request.response(403, "Forbidden", Some(&tag));
            refusal.append(Header::Reason, "Q.850;cause=21");
            self.send(connection, &refusal);
            return;
        }
        if party.when_called == WhenCalled::Rings && replaced.is_none() {
            let early = party.early.as_ref().map(|early| self.play_early(connection, request, &tag, &early.party));
            self.ringing.push(Ringing { connection, invite: request.clone(), tag, party, _early: early });
            return;
        }
        self.accept(connection, request, &tag, &party);
        if let Some(index) = replaced.and_then(|old| self.dialogs.iter().position(|dialog| dialog.call_id == old)) {
            self.end(index);
        }
    }

    fn play_early(&mut self, connection: u64, invite: &Request, tag: &str, early: &Arc<Party>) -> Leg {
        let offer = String::from_utf8_lossy(invite.body());
        let (leg, answer) = Leg::answers(&offer, early).expect("an offer of a browser");
        let mut progress = invite.response(183, "Session Progress", Some(tag));
        progress.append(Header::Contact, &self.contact());
        progress.set_body(SDP, answer.as_bytes());
        // As for each application of a dialplan that wants to be heard.
        for _ in 0..3 {
            self.send(connection, &progress);
        }
        leg
    }

    /// The far end that rings answers.
    pub fn answer(&mut self, party: &Arc<Party>) {
        let index = self.ringing.iter().position(|ringing| Arc::ptr_eq(&ringing.party, party));
        let mut ringing = self.ringing.remove(index.unwrap_or_else(|| panic!("{} does not ring", party.name)));
        if party.early.as_ref().is_some_and(|early| early.forked) {
            ringing.tag = format!("a{}", self.next());
        }
        self.accept(ringing.connection, &ringing.invite, &ringing.tag, party);
    }

    fn accept(&mut self, connection: u64, request: &Request, tag: &str, party: &Arc<Party>) {
        let offer = String::from_utf8_lossy(request.body()).into_owned();
        let (leg, answer) = match Leg::answers(&offer, party) {
            Ok(answered) => answered,
            Err(why) => {
                let warning = format!("399 b2bua \"{why}\"");
                self.respond(connection, request, 488, "Not Acceptable Here", |r| r.append(Header::Warning, &warning));
                return;
            }
        };
        let mut ok = request.response(200, "OK", Some(tag));
        ok.append(Header::Contact, &self.contact());
        Self::describe(&mut ok, party);
        ok.append(Header::Require, "timer");
        Self::time(&mut ok, party);
        ok.set_body(SDP, answer.as_bytes());
        self.send(connection, &ok);
        self.dialogs.push(Dialog {
            connection,
            call_id: request.call_id().unwrap().to_owned(),
            local: ok.value(Header::To).unwrap().to_owned(),
            remote: request.value(Header::From).unwrap().to_owned(),
            target: target(request),
            cseq: 0,
            leg,
            next_leg: None,
            state: DialogState::Confirmed,
        });
    }

    /// The dialog that a `Replaces` names: its to-tag is ours (RFC 3891 section 3).
    fn replaced_by(&self, replaces: &str) -> Option<usize> {
        let (call_id, params) = replaces.split_once(';')?;
        let params = Params::new(params);
        let (ours, theirs) = (params.get("to-tag")?, params.get("from-tag")?);
        self.dialogs.iter().position(|dialog| {
            dialog.is_confirmed()
                && dialog.call_id == call_id.trim()
                && tag(&dialog.local) == ours
                && tag(&dialog.remote) == theirs
        })
    }

    fn on_dialog_request(&mut self, connection: u64, request: &Request) {
        let (call_id, to, from) = (request.call_id().unwrap(), request.to().unwrap(), request.from().unwrap());
        let found = self.dialogs.iter().position(|dialog| {
            dialog.call_id == call_id && to.tag() == Some(tag(&dialog.local)) && from.tag() == Some(tag(&dialog.remote))
        });
        let Some(index) = found else {
            self.respond(connection, request, 481, "Call/Transaction Does Not Exist", |_| ());
            return;
        };
        self.dialogs[index].connection = connection;
        match request.method() {
            Method::Bye => {
                self.dialogs.remove(index);
                self.respond(connection, request, 200, "OK", |_| ());
            }
            Method::Invite | Method::Update => self.on_session_change(connection, request, index),
            Method::Refer if addressed_user(request.value(Header::ReferTo)) == PARK => {
                self.respond(connection, request, 202, "Accepted", |_| ());
                self.park(index);
            }
            Method::Refer => self.respond(connection, request, 404, "Not Found", |_| ()),
            // The phone has followed `Transfer()`.
            Method::Notify if request.body().starts_with(b"SIP/2.0 200 ") => {
                self.respond(connection, request, 200, "OK", |_| ());
                self.end(index);
            }
            _ => self.respond(connection, request, 200, "OK", |_| ()),
        }
    }

    fn on_session_change(&mut self, connection: u64, request: &Request, index: usize) {
        let contact = self.contact();
        let dialog = &mut self.dialogs[index];
        dialog.target = target(request);
        let party = dialog.leg.party();
        let mut ok = request.response(200, "OK", None);
        ok.append(Header::Contact, &contact);
        if request.content_type() == Some(SDP) {
            let offer = String::from_utf8_lossy(request.body());
            if party.when_called == WhenCalled::AnswersAndRefusesHold && offer.contains("a=sendonly") {
                self.respond(connection, request, 488, "Not Acceptable Here", |_| ());
                return;
            }
            let answered = if dialog.leg.is_outdated_by(&offer) {
                Leg::answers(&offer, &party).map(|(leg, answer)| {
                    dialog.leg = leg;
                    answer
                })
            } else {
                dialog.leg.answers_again(&offer)
            };
            match answered {
                Ok(answer) => ok.set_body(SDP, answer.as_bytes()),
                Err(why) => {
                    let warning = format!("399 b2bua \"{why}\"");
                    self.respond(connection, request, 488, "Not Acceptable Here", |r| {
                        r.append(Header::Warning, &warning);
                    });
                    return;
                }
            }
        }
        Self::describe(&mut ok, &party);
        if request.has(Header::SessionExpires) {
            ok.append(Header::Require, "timer");
            Self::time(&mut ok, &party);
        }
        self.send(connection, &ok);
    }
}

/// The URI of a message's Contact.
fn target(message: &Headers) -> String {
    message.contact().unwrap().expect("a Contact").uri_text.to_owned()
}

/// The user part of an address.
fn addressed_user(address: Option<&str>) -> String {
    let uri = address.and_then(NameAddr::parse).and_then(|address| Uri::parse(address.uri_text).ok());
    uri.map(|uri| uri.user_name().into_owned()).unwrap_or_default()
}

/// The tag of a From or To.
fn tag(address: &str) -> &str {
    NameAddr::parse(address).and_then(|address| address.tag()).unwrap_or_default()
}
