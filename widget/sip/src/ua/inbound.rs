//! Received messages: keep-alives, responses to our requests, and requests.

use super::UserAgent;
use super::calls::{Call, Replaced};
use super::context::{ALLOW, ClientRequest, SUPPORTED, TransactionUser};
use super::interface::{CallId, Millis};
use super::keepalive::KeepaliveProbe;
use crate::dialog::Dialog;
use crate::header_values;
use crate::message::{Header, Message, Method, ParseError, Request, Response};
use crate::request_template::RequestTemplate;
use crate::transaction::{ResponseKind, ServerKey};

impl UserAgent {
    pub(super) fn on_received(&mut self, bytes: &[u8], now: Millis) {
        match bytes {
            b"\r\n\r\n" => {
                self.context.send(b"\r\n".to_vec());
                return;
            }
            b"\r\n" => {
                self.on_keepalive_response(KeepaliveProbe::Crlf, now);
                return;
            }
            _ => {}
        }
        match Message::parse_lenient(bytes) {
            Ok((message, faults)) => {
                for fault in &faults {
                    let mut line = String::from("ignored in a message: ");
                    line.push_str(&fault.reason());
                    self.context.emit_dropped(&line);
                }
                match message {
                    Message::Response(response) => self.on_response(&response, now),
                    Message::Request(request) => self.on_request(&request, now),
                }
            }
            Err(error) => self.on_parse_error(&error),
        }
    }

    fn on_parse_error(&mut self, error: &ParseError) {
        if let Some(refusal) = error.response() {
            self.context.send(refusal.to_bytes());
        }
        self.context.emit_dropped(&error.error.reason());
    }

    fn on_keepalive_response(&mut self, probe: KeepaliveProbe, now: Millis) {
        let server = self.server().to_owned();
        self.keepalive.on_response(probe, &server, &self.context.config.timers, now);
    }

    // Responses.

    fn on_response(&mut self, response: &Response, now: Millis) {
        self.on_keepalive_response(KeepaliveProbe::Options, now);
        let (Some((_, branch)), Some((cseq, method))) =
            (header_values::top_via(response), header_values::cseq(response))
        else {
            return;
        };
        let status = response.status();
        let Some(client) = self.context.client_request(branch, method) else {
            self.on_stray_response(response, cseq, method, now);
            return;
        };
        let response_kind = client.transaction.on_response(status, now);
        let client = client.clone();
        let invite = client.transaction.is_invite();
        if response_kind == ResponseKind::Failure && invite {
            let to = response.value(Header::To).unwrap_or(&client.template.to);
            let ack = client.template.in_same_transaction("ACK", to);
            self.context.send_without_transaction(&ack, branch, &[]);
        }
        // Other final responses prove nothing: some servers refuse a wrong password with 403 or 404.
        if (101..=299).contains(&status) {
            for event in self.context.credential_store.on_accepted(&client) {
                self.context.emit(event);
            }
        }
        self.deliver_response(&client, response_kind, response, now);
    }

    fn deliver_response(
        &mut self,
        client: &ClientRequest,
        response_kind: ResponseKind,
        response: &Response,
        now: Millis,
    ) {
        match &client.owner {
            TransactionUser::Register => {
                if !response.is_provisional() {
                    self.on_register_response(client, response, now);
                }
            }
            TransactionUser::Nobody => {}
            TransactionUser::Message(message) => self.on_message_response(message, client, response, now),
            TransactionUser::Call { call, role } => {
                if let Some(call) = self.calls.iter_mut().find(|other| other.id == *call) {
                    call.on_response(&mut self.context, *role, client, response_kind, response, now);
                } else if *role == super::context::RequestRole::Invite && response_kind == ResponseKind::Success {
                    self.end_stray_session(response, client.template.cseq, now);
                }
            }
        }
    }

    /// A response without a transaction. A 2xx to an INVITE has created a session, which is ended; others are dropped.
    fn on_stray_response(&mut self, response: &Response, cseq: u32, method: &str, now: Millis) {
        if method == "INVITE" && response.is_success() {
            self.end_stray_session(response, cseq, now);
        } else {
            self.context.emit_dropped("response without a request");
        }
    }

    /// A 2xx to an INVITE whose call no longer exists (too late, or after a restart). ACK and BYE are
    /// created from the 2xx itself; otherwise the far end would keep the session.
    fn end_stray_session(&mut self, response: &Response, cseq: u32, now: Millis) {
        let (Some(from), Some(call_id), Some(target)) =
            (response.value(Header::From), response.value(Header::CallId), header_values::contact(response))
        else {
            self.context.emit_dropped("2xx without a call and without Contact");
            return;
        };
        let ours = header_values::uri(from) == self.context.address_of_record();
        let known = self
            .calls
            .iter_mut()
            .find(|call| call.has_dialog(call_id, header_values::tag(from), header_values::to_tag(response)));
        if let Some(call) = known
            && call.repeat_ack(&mut self.context, header_values::to_tag(response), cseq)
        {
            return;
        }
        if !ours {
            self.context.emit_dropped("2xx to an INVITE that is not ours");
            return;
        }
        let invite = RequestTemplate {
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
        let mut dialog = Dialog::from_response(&invite, response);
        let ack = self.context.ack_bytes(&dialog.ack(cseq), &[]);
        self.context.send(ack);
        let bye = dialog.request("BYE");
        self.context.request(bye, TransactionUser::Nobody, now);
    }

    // Requests.

    fn on_request(&mut self, request: &Request, now: Millis) {
        let Some((sent_by, branch)) = header_values::top_via(request) else { return };
        let mut key =
            ServerKey { branch: branch.into(), sent_by: sent_by.into(), method: request.method().as_str().into() };
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
            Method::Invite => self.forget_lost_call(request),
            _ => {}
        }
        if let Some(server) = self.context.server_transaction(&key) {
            if let Some(bytes) = server.on_retransmission() {
                let bytes = bytes.to_vec();
                self.context.send(bytes);
            }
            return;
        }
        self.context.start_server_transaction(key.clone());
        let unsupported: Vec<&str> = request.items(Header::Require).filter(|token| !supports(token)).collect();
        if !unsupported.is_empty() {
            let tag = self.context.random.tag();
            let mut response = self.context.response(request, 420, &tag);
            response.append(Header::Unsupported, &unsupported.join(", "));
            self.context.answer(&key, &response, now);
        } else if header_values::to_tag(request).is_empty() {
            self.on_new_request(request, &key, now);
        } else {
            self.on_dialog_request(request, &key, now);
        }
    }

    /// The INVITE of a call that was lost while it rang has come again, in the same transaction or, from a proxy, in
    /// another one: it is a new call.
    fn forget_lost_call(&mut self, request: &Request) {
        let (call_id, tag) = (request.value(Header::CallId).unwrap_or_default(), header_values::from_tag(request));
        let lost = self
            .calls
            .iter()
            .enumerate()
            .find_map(|(index, call)| Some((index, call.lost_while_ringing(call_id, tag)?.clone())));
        if let Some((index, key)) = lost {
            self.calls.remove(index);
            self.context.forget_server_transaction(&key);
        }
    }

    fn on_ack(&mut self, request: &Request, key: &ServerKey, now: Millis) {
        if let Some(server) = self.context.server_transaction(key)
            && !server.is_pending()
        {
            // The ACK for a final response other than 2xx. That for a 2xx has its own branch, but some senders reuse the INVITE's.
            server.on_ack();
        }
        let (Some((cseq, _)), Some(call_id)) = (header_values::cseq(request), request.value(Header::CallId)) else {
            return;
        };
        let (to, from) = (header_values::to_tag(request), header_values::from_tag(request));
        if let Some(call) = self.calls.iter_mut().find(|call| call.has_dialog(call_id, to, from)) {
            call.on_ack(&mut self.context, cseq, header_values::sdp(request), now);
        }
    }

    fn on_cancel(&mut self, request: &Request, key: &ServerKey, now: Millis) {
        let invite = ServerKey { method: "INVITE".into(), ..key.clone() };
        self.context.start_server_transaction(key.clone());
        if self.context.server_transaction(&invite).is_none() {
            self.context.refuse(key, request, 481, now);
            return;
        }
        let tag = self.context.random.tag();
        let response = self.context.response(request, 200, &tag);
        self.context.answer(key, &response, now);
        for call in &mut self.calls {
            call.on_cancel(&mut self.context, &invite, request, now);
        }
    }

    fn on_new_request(&mut self, request: &Request, key: &ServerKey, now: Millis) {
        match request.method() {
            Method::Invite => self.on_new_call(request, key, now),
            Method::Options => {
                let status = if self.has_free_session() { 200 } else { 486 };
                self.answer_options(request, key, status, now);
            }
            // Unsolicited NOTIFY, e.g. message waiting (RFC 3842).
            Method::Notify => {
                let tag = self.context.random.tag();
                let response = self.context.response(request, 200, &tag);
                self.context.answer(key, &response, now);
            }
            Method::Message => Call::on_new_message(&mut self.context, key, request, now),
            Method::Bye | Method::Info | Method::Update | Method::Prack => {
                self.context.refuse(key, request, 481, now);
            }
            Method::Other(_) => self.context.refuse(key, request, 501, now),
            _ => self.context.refuse(key, request, 405, now),
        }
    }

    fn answer_options(&mut self, request: &Request, key: &ServerKey, status: u16, now: Millis) {
        let tag = self.context.random.tag();
        let mut response = self.context.response(request, status, &tag);
        response.append(Header::Allow, ALLOW);
        response.append(Header::Accept, "application/sdp");
        response.append(Header::Supported, SUPPORTED);
        response.append(Header::Contact, &self.context.contact());
        self.context.answer(key, &response, now);
    }

    fn has_free_session(&self) -> bool {
        let max_sessions = usize::try_from(self.context.config.max_sessions).unwrap_or(usize::MAX);
        max_sessions == 0 || self.calls.iter().filter(|call| call.is_active()).count() < max_sessions
    }

    fn on_new_call(&mut self, request: &Request, key: &ServerKey, now: Millis) {
        let call_id = request.value(Header::CallId).unwrap_or_default();
        let cseq = header_values::cseq(request).map_or(0, |(number, _)| number);
        let from = header_values::from_tag(request);
        if self.calls.iter().any(|call| call.is_merged(call_id, from, cseq)) {
            self.context.refuse(key, request, 482, now);
        } else if self.register_client.is_signing_out() {
            self.context.refuse(key, request, 480, now);
        } else {
            let replaces = match self.replaced_call(request) {
                Ok(replaces) => replaces,
                Err(status) => return self.context.refuse(key, request, status, now),
            };
            if replaces.is_none() && !self.has_free_session() {
                Call::miss(&mut self.context, request);
                return self.context.refuse(key, request, 486, now);
            }
            if let Some(call) = Call::ring(&mut self.context, key, request, replaces, now) {
                self.calls.push(call);
            }
        }
    }

    /// The call whose place this INVITE takes; the status that refuses the INVITE (RFC 3891 §3).
    fn replaced_call(&self, request: &Request) -> Result<Option<CallId>, u16> {
        let Some(replaced) = Replaced::of(request)? else {
            return Ok(None);
        };
        let call = self.calls.iter().find(|call| call.is_replaced_by(&replaced)).ok_or(481_u16)?;
        call.check_replacement(&replaced)?;
        Ok(Some(call.id.clone()))
    }

    fn on_dialog_request(&mut self, request: &Request, key: &ServerKey, now: Millis) {
        let call_id = request.value(Header::CallId).unwrap_or_default();
        let (to, from) = (header_values::to_tag(request), header_values::from_tag(request));
        let cseq = header_values::cseq(request).map_or(0, |(number, _)| number);
        let matching = self.calls.iter_mut().find_map(|call| {
            let in_order = call.accepts_request(call_id, to, from, cseq)?;
            Some((call, in_order))
        });
        let Some((call, in_order)) = matching else {
            self.context.refuse(key, request, 481, now);
            return;
        };
        if !in_order {
            self.context.refuse(key, request, 500, now);
            return;
        }
        let answer_ok = |agent: &mut Self| {
            let tag = agent.context.random.tag();
            let response = agent.context.response(request, 200, &tag);
            agent.context.answer(key, &response, now);
        };
        match request.method() {
            Method::Invite | Method::Update => {
                call.on_offer_request(&mut self.context, key, request, now);
            }
            Method::Bye => {
                let id = call.id.clone();
                answer_ok(self);
                if let Some(call) = self.calls.iter_mut().find(|call| call.id == id) {
                    call.on_bye(&mut self.context, request, now);
                }
            }
            Method::Info => {
                call.on_info(&mut self.context, request);
                answer_ok(self);
            }
            Method::Prack => {
                if call.on_prack(request) {
                    answer_ok(self);
                } else {
                    self.context.refuse(key, request, 481, now);
                }
            }
            Method::Message => call.on_message(&mut self.context, key, request, now),
            Method::Refer => call.on_refer(&mut self.context, key, request, now),
            Method::Notify => {
                let id = call.id.clone();
                answer_ok(self);
                if let Some(call) = self.calls.iter_mut().find(|call| call.id == id) {
                    call.on_notify(&mut self.context, request, now);
                }
            }
            Method::Options => self.answer_options(request, key, 200, now),
            Method::Other(_) => self.context.refuse(key, request, 501, now),
            _ => self.context.refuse(key, request, 405, now),
        }
    }
}

fn supports(token: &str) -> bool {
    SUPPORTED.split(", ").any(|ours| ours.eq_ignore_ascii_case(token))
}
