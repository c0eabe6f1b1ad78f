//! What comes in: keep-alives, responses to our requests, and requests of others.

use super::UserAgent;
use super::calls::Call;
use super::context::{ALLOW, Client, Owner, SUPPORTED};
use super::interface::Millis;
use super::keepalive::Question;
use crate::dialog::Dialog;
use crate::header_values;
use crate::message::{Header, Message, Method, ParseError, Request, Response};
use crate::request_template::Draft;
use crate::transaction::{Heard, ServerKey};

impl UserAgent {
    pub(super) fn on_received(&mut self, bytes: &[u8], now: Millis) {
        match bytes {
            b"\r\n\r\n" => {
                self.core.send(b"\r\n".to_vec());
                return;
            }
            b"\r\n" => {
                self.on_pulse(Question::Crlf, now);
                return;
            }
            _ => {}
        }
        match Message::parse(bytes) {
            Ok(Message::Response(response)) => match response.check() {
                Ok(()) => self.on_response(&response, now),
                Err(fault) => self.core.dropped(&fault.reason()),
            },
            Ok(Message::Request(request)) => match request.check() {
                Ok(()) => self.on_request(&request, now),
                Err(fault) => {
                    if let Some(refusal) = request.refusal(&fault) {
                        self.core.send(refusal.to_bytes());
                    }
                    self.core.dropped(&fault.reason());
                }
            },
            Err(fault) => self.on_garbage(&fault),
        }
    }

    fn on_garbage(&mut self, error: &ParseError) {
        if let Some(refusal) = error.response() {
            self.core.send(refusal.to_bytes());
        }
        self.core.dropped(&error.fault.reason());
    }

    fn on_pulse(&mut self, by: Question, now: Millis) {
        let server = self.server().to_owned();
        self.keepalive.answered(by, &server, &self.core.config.limits, now);
    }

    // Responses.

    fn on_response(&mut self, response: &Response, now: Millis) {
        self.on_pulse(Question::Options, now);
        let (Ok(via), Some((cseq, method))) = (response.via(), header_values::cseq(response)) else {
            return;
        };
        let branch = via.branch().unwrap_or_default();
        let status = response.status();
        let Some(client) = self.core.client(branch, method) else {
            self.on_stray_response(response, cseq, method, now);
            return;
        };
        let heard = client.transaction.on_response(status, now);
        let client = client.clone();
        let invite = client.transaction.is_invite();
        if heard == Heard::Refusal && invite {
            let to = response.value(Header::To).unwrap_or(&client.draft.to);
            let ack = client.draft.companion("ACK", to);
            self.core.write(&ack, branch, &[]);
        }
        if status >= 200 && !matches!(status, 401 | 407) && !client.credentials.is_empty() {
            self.core.vault.proven();
        }
        self.hand_over(&client, heard, response, now);
    }

    fn hand_over(&mut self, client: &Client, heard: Heard, response: &Response, now: Millis) {
        match &client.owner {
            Owner::Register => {
                if !response.is_provisional() {
                    self.on_register_response(client, response, now);
                }
            }
            Owner::Ping => {}
            Owner::Call { call, role } => {
                if let Some(call) = self.calls.iter_mut().find(|other| other.id == *call) {
                    call.on_response(&mut self.core, *role, client, heard, response, now);
                } else if *role == super::context::Role::Invite && heard == Heard::Success {
                    self.end_stray_session(response, client.draft.cseq, now);
                }
            }
        }
    }

    /// No transaction: only a 2xx to an INVITE needs something done, for it made a session.
    fn on_stray_response(&mut self, response: &Response, cseq: u32, method: &str, now: Millis) {
        if method == "INVITE" && response.is_success() {
            self.end_stray_session(response, cseq, now);
        } else {
            self.core.dropped("response without a request");
        }
    }

    /// A 2xx that came so late, or after a restart, that nothing is known of it: ACK
    /// and BYE are made of what it says itself, or it would be repeated and the far end left talking.
    fn end_stray_session(&mut self, response: &Response, cseq: u32, now: Millis) {
        let (Some(from), Some(call_id), Some(target)) =
            (response.value(Header::From), response.value(Header::CallId), header_values::contact(response))
        else {
            self.core.dropped("2xx without a call and without Contact");
            return;
        };
        let ours = header_values::uri(from) == self.core.address_of_record();
        let known = self
            .calls
            .iter_mut()
            .find(|call| call.has_dialog(call_id, header_values::tag(from), header_values::to_tag(response)));
        if let Some(call) = known
            && call.repeat_ack(&mut self.core, header_values::to_tag(response), cseq)
        {
            return;
        }
        if !ours {
            self.core.dropped("2xx to an INVITE that is not ours");
            return;
        }
        let invite = Draft {
            method: "INVITE".into(),
            uri: target,
            routes: Vec::new(),
            from: from.into(),
            to: String::new(),
            call_id: call_id.into(),
            cseq,
            extra: Vec::new(),
            body: None,
        };
        let mut dialog = Dialog::of_response(&invite, response);
        let ack = self.core.ack_bytes(&dialog.ack(cseq), &[]);
        self.core.send(ack);
        let bye = dialog.request("BYE");
        self.core.request(bye, Owner::Ping, now);
    }

    // Requests.

    fn on_request(&mut self, request: &Request, now: Millis) {
        let Ok(via) = request.via() else { return };
        let mut sent_by = String::from(via.host);
        if let Some(port) = via.port {
            sent_by.push(':');
            sent_by.push_str(&crate::request_template::number(port.into()));
        }
        let mut key = ServerKey {
            branch: via.branch().unwrap_or_default().into(),
            sent_by,
            method: request.method().as_str().into(),
        };
        match request.method() {
            Method::Ack => {
                key.method = "INVITE".into();
                self.on_ack(request, &key, now);
                return;
            }
            Method::Cancel => {
                self.on_cancel(request, &key, now);
                return;
            }
            _ => {}
        }
        if let Some(server) = self.core.server(&key) {
            if let Some(bytes) = server.on_repeated() {
                let bytes = bytes.to_vec();
                self.core.send(bytes);
            }
            return;
        }
        self.core.serve(key.clone());
        let unsupported: Vec<&str> = request.items(Header::Require).filter(|token| !supports(token)).collect();
        if !unsupported.is_empty() {
            let tag = self.core.random.tag();
            let mut response = self.core.response(request, 420, &tag);
            response.append(Header::Unsupported, &unsupported.join(", "));
            self.core.answer(&key, &response, now);
        } else if header_values::to_tag(request).is_empty() {
            self.on_new_request(request, &key, now);
        } else {
            self.on_dialog_request(request, &key, now);
        }
    }

    fn on_ack(&mut self, request: &Request, key: &ServerKey, now: Millis) {
        if let Some(server) = self.core.server(key)
            && !server.is_pending()
        {
            // Of a refusal; the ACK of a 2xx has a branch of its own, but a careless sender may repeat the INVITE's.
            server.on_ack();
        }
        let (Some((cseq, _)), Some(call_id)) = (header_values::cseq(request), request.value(Header::CallId)) else {
            return;
        };
        let (to, from) = (header_values::to_tag(request), header_values::from_tag(request));
        if let Some(call) = self.calls.iter_mut().find(|call| call.has_dialog(call_id, to, from)) {
            call.on_ack(&mut self.core, cseq, header_values::sdp(request), now);
        }
    }

    fn on_cancel(&mut self, request: &Request, key: &ServerKey, now: Millis) {
        let invite = ServerKey { method: "INVITE".into(), ..key.clone() };
        self.core.serve(key.clone());
        if self.core.server(&invite).is_none() {
            self.core.refuse(key, request, 481, now);
            return;
        }
        let tag = self.core.random.tag();
        let response = self.core.response(request, 200, &tag);
        self.core.answer(key, &response, now);
        for call in &mut self.calls {
            call.on_cancel(&mut self.core, &invite, request, now);
        }
    }

    fn on_new_request(&mut self, request: &Request, key: &ServerKey, now: Millis) {
        match request.method() {
            Method::Invite => self.on_new_call(request, key, now),
            Method::Options => {
                let status = if self.has_room() { 200 } else { 486 };
                self.describe(request, key, status, now);
            }
            // Message waiting, sent without being asked for (RFC 3842 leaves it to the server), and its like.
            Method::Notify => {
                let tag = self.core.random.tag();
                let response = self.core.response(request, 200, &tag);
                self.core.answer(key, &response, now);
            }
            Method::Bye | Method::Info | Method::Update | Method::Prack => {
                self.core.refuse(key, request, 481, now);
            }
            Method::Other(_) => self.core.refuse(key, request, 501, now),
            _ => self.core.refuse(key, request, 405, now),
        }
    }

    fn describe(&mut self, request: &Request, key: &ServerKey, status: u16, now: Millis) {
        let tag = self.core.random.tag();
        let mut response = self.core.response(request, status, &tag);
        response.append(Header::Allow, ALLOW);
        response.append(Header::Accept, "application/sdp");
        response.append(Header::Supported, SUPPORTED);
        response.append(Header::Contact, &self.core.contact());
        self.core.answer(key, &response, now);
    }

    fn has_room(&self) -> bool {
        let most = usize::try_from(self.core.config.max_sessions).unwrap_or(usize::MAX);
        most == 0 || self.calls.iter().filter(|call| call.is_live()).count() < most
    }

    fn on_new_call(&mut self, request: &Request, key: &ServerKey, now: Millis) {
        let call_id = request.value(Header::CallId).unwrap_or_default();
        let cseq = header_values::cseq(request).map_or(0, |(number, _)| number);
        let from = header_values::from_tag(request);
        if self.calls.iter().any(|call| call.is_merged(call_id, from, cseq)) {
            self.core.refuse(key, request, 482, now);
        } else if self.registrar.is_leaving() {
            self.core.refuse(key, request, 480, now);
        } else if self.has_room() {
            if let Some(call) = Call::ring(&mut self.core, key, request, now) {
                self.calls.push(call);
            }
        } else {
            self.core.refuse(key, request, 486, now);
        }
    }

    fn on_dialog_request(&mut self, request: &Request, key: &ServerKey, now: Millis) {
        let call_id = request.value(Header::CallId).unwrap_or_default();
        let (to, from) = (header_values::to_tag(request), header_values::from_tag(request));
        let cseq = header_values::cseq(request).map_or(0, |(number, _)| number);
        let found = self.calls.iter_mut().find_map(|call| {
            let in_order = call.admits(call_id, to, from, cseq)?;
            Some((call, in_order))
        });
        let Some((call, in_order)) = found else {
            self.core.refuse(key, request, 481, now);
            return;
        };
        if !in_order {
            self.core.refuse(key, request, 500, now);
            return;
        }
        let ok = |agent: &mut Self| {
            let tag = agent.core.random.tag();
            let response = agent.core.response(request, 200, &tag);
            agent.core.answer(key, &response, now);
        };
        match request.method() {
            Method::Invite | Method::Update => {
                call.on_offer_request(&mut self.core, key, request, now);
            }
            Method::Bye => {
                let id = call.id.clone();
                ok(self);
                if let Some(call) = self.calls.iter_mut().find(|call| call.id == id) {
                    call.on_bye(&mut self.core, now);
                }
            }
            Method::Info => {
                call.on_info(&mut self.core, request);
                ok(self);
            }
            Method::Prack => {
                if call.on_prack(request) {
                    ok(self);
                } else {
                    self.core.refuse(key, request, 481, now);
                }
            }
            Method::Notify => ok(self),
            Method::Options => self.describe(request, key, 200, now),
            Method::Other(_) => self.core.refuse(key, request, 501, now),
            _ => self.core.refuse(key, request, 405, now),
        }
    }
}

fn supports(token: &str) -> bool {
    SUPPORTED.split(", ").any(|ours| ours.eq_ignore_ascii_case(token))
}
