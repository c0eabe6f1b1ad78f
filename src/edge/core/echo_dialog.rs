//! The far end of a call to `*43`: the signalling side of the echo, as a user agent server
//! (RFC 3261 sections 12 to 15). The media side answers the offers.

use std::time::{Duration, Instant};

use bitcall_sip::message::{Header, Method, Request, Response, quote};
use tracing::{debug, info};

use super::budgets::Holder;
use super::fork::TRANSACTION_TIMEOUT;
use super::location::Extension;
use super::routing::ALLOW;
use super::{ConnectionId, Core, Output, Timer};
use crate::edge::echo::{CallId, EchoCommand, EchoEvent};

/// How long a call outlives its caller's connection, so that a phone that reconnects finds it again.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(30);

pub struct EchoCall {
    /// The caller, and the network that it dialled from.
    holder: Holder,
    connection: Option<ConnectionId>,
    /// The offer that media is answering.
    pending: Option<PendingOffer>,
    answered: bool,
    /// When the call ends unless something happens: the ACK, or a new connection.
    deadline: Option<Instant>,
    call_id: String,
    tag: String,
    /// From and To of our own requests: the caller's To with our tag, and the caller's From.
    local: String,
    remote: String,
    /// Where our own requests go to: the caller's Contact.
    target: String,
    remote_cseq: u32,
}

struct PendingOffer {
    request: Request,
    key: (ConnectionId, String),
}

impl Core {
    pub(super) fn echo_new(
        &mut self,
        connection: ConnectionId,
        key: (ConnectionId, String),
        request: Request,
        now: Instant,
    ) -> Result<(), Response> {
        let refuse = |status, reason: &str| Err(request.response(status, reason, Some("edge")));
        match request.method() {
            Method::Invite => {}
            Method::Options => {
                let mut response = request.response(200, "OK", Some("edge"));
                response.append(Header::Allow, ALLOW);
                response.append(Header::Accept, "application/sdp");
                self.answer(connection, &response);
                return Ok(());
            }
            _ => {
                let mut response = request.response(405, "Method Not Allowed", Some("edge"));
                response.append(Header::Allow, ALLOW);
                return Err(response);
            }
        }
        if let Some(required) = request.value(Header::Require) {
            let mut response = request.response(420, "Bad Extension", Some("edge"));
            response.append(Header::Unsupported, required);
            return Err(response);
        }
        let Some(sdp) = offer(&request) else { return refuse(488, "The Echo Needs an SDP Offer") };
        let (Ok(call_id), Ok(Some(contact)), Some(from), Some(to), Some(holder)) = (
            request.call_id(),
            request.contact(),
            request.value(Header::From),
            request.value(Header::To),
            self.holder(connection),
        ) else {
            return refuse(400, "Bad Request");
        };
        if let Err(exhausted) = self.echo_budget.take(&holder.subjects()) {
            self.note_exhausted("echo calls", exhausted, holder.source, Some(&holder.extension), now);
            return refuse(486, &format!("Too Many Calls to the Echo{}", exhausted.reason()));
        }
        let call = CallId(self.tokens.number());
        let tag = self.tokens.token();
        let state = EchoCall {
            holder,
            connection: Some(connection),
            answered: false,
            deadline: Some(now + TRANSACTION_TIMEOUT),
            call_id: call_id.to_owned(),
            local: format!("{to};tag={tag}"),
            tag,
            remote: from.to_owned(),
            target: contact.uri_text.to_owned(),
            remote_cseq: request.cseq().map_or(0, |cseq| cseq.number),
            pending: None,
        };
        debug!(domain = state.holder.extension.domain, caller = ?state.holder.extension.user, call = call.0, "call to the echo");
        self.answer(connection, &request.response(100, "Trying", None));
        self.echo.insert(call, EchoCall { pending: Some(PendingOffer { request, key }), ..state });
        self.outputs.push_back(Output::Echo(EchoCommand::Offer { call, sdp }));
        self.schedule(now + TRANSACTION_TIMEOUT, Timer::Echo(call));
        Ok(())
    }

    /// The call to the echo that a request with this To tag belongs to.
    pub(super) fn echo_call(&self, request: &Request, tag: &str) -> Option<CallId> {
        let call_id = request.call_id().ok()?;
        self.echo.iter().find(|(_, call)| call.tag == tag && call.call_id == call_id).map(|(id, _)| *id)
    }

    /// A request inside a call to the echo.
    pub(super) fn echo_request(
        &mut self,
        id: CallId,
        connection: ConnectionId,
        key: (ConnectionId, String),
        identity: &Extension,
        request: Request,
        now: Instant,
    ) -> Result<(), Response> {
        let Some(call) = self.echo.get_mut(&id).filter(|call| call.holder.extension == *identity) else {
            return Err(request.response(481, "Call/Transaction Does Not Exist", Some("edge")));
        };
        let refuse = |status, reason: &str| Err(request.response(status, reason, None));
        let cseq = request.cseq().map_or(0, |cseq| cseq.number);
        if cseq < call.remote_cseq {
            return refuse(500, "CSeq Out of Order");
        }
        call.remote_cseq = cseq;
        // Whatever arrives shows where the caller is now, and that it is there.
        call.connection = Some(connection);
        if call.answered && call.deadline.is_some() && request.method() != Method::Bye {
            call.deadline = None;
        }
        match request.method() {
            Method::Bye => {
                self.answer(connection, &request.response(200, "OK", None));
                if let Some(offered) = take_pending(&mut self.echo, id) {
                    self.answer(offered.key.0, &offered.request.response(487, "Request Terminated", None));
                }
                self.end_echo_call(id, "hung up");
            }
            Method::Invite | Method::Update => {
                if let Ok(Some(contact)) = request.contact() {
                    contact.uri_text.clone_into(&mut call.target);
                }
                if call.pending.is_some() {
                    let mut response = request.response(500, "Another Offer Is Being Answered", None);
                    response.append(Header::RetryAfter, "1");
                    return Err(response);
                }
                match offer(&request) {
                    Some(sdp) => {
                        call.pending = Some(PendingOffer { request, key });
                        self.outputs.push_back(Output::Echo(EchoCommand::Offer { call: id, sdp }));
                        self.schedule(now + TRANSACTION_TIMEOUT, Timer::Echo(id));
                    }
                    None if request.method() == Method::Update => {
                        self.answer(connection, &request.response(200, "OK", None));
                    }
                    None => return refuse(488, "The Echo Needs an SDP Offer"),
                }
            }
            Method::Info | Method::Options => self.answer(connection, &request.response(200, "OK", None)),
            Method::Prack => return refuse(481, "Nothing to Acknowledge"),
            _ => {
                let mut response = request.response(405, "Method Not Allowed", None);
                response.append(Header::Allow, ALLOW);
                return Err(response);
            }
        }
        Ok(())
    }

    /// The ACK arrived.
    pub(super) fn echo_acknowledged(&mut self, id: CallId, connection: ConnectionId) {
        let identity = self.identity(connection).cloned();
        if let Some(call) = self.echo.get_mut(&id).filter(|call| Some(&call.holder.extension) == identity.as_ref()) {
            call.deadline = None;
        }
    }

    /// The caller cancels before the echo has answered. Whether it was a call to the echo.
    pub(super) fn echo_cancel(&mut self, key: &(ConnectionId, String), cancel: &Request) -> bool {
        let found = self.echo.iter().find(|(_, call)| call.pending.as_ref().is_some_and(|offered| offered.key == *key));
        let Some((id, answered)) = found.map(|(id, call)| (*id, call.answered)) else { return false };
        self.answer(key.0, &cancel.response(200, "OK", Some("edge")));
        if let Some(offered) = take_pending(&mut self.echo, id) {
            let tag = self.echo.get(&id).map(|call| call.tag.clone());
            self.answer(key.0, &offered.request.response(487, "Request Terminated", tag.as_deref()));
        }
        if !answered {
            self.end_echo_call(id, "cancelled");
        }
        true
    }

    /// What the echo's media reports.
    pub fn handle_echo(&mut self, event: EchoEvent, now: Instant) {
        match event {
            EchoEvent::Answer { call: id, sdp } => {
                let Some(offered) = take_pending(&mut self.echo, id) else { return };
                let Some(call) = self.echo.get_mut(&id) else { return };
                let first = !call.answered;
                match sdp {
                    Ok(sdp) => {
                        let mut response = offered.request.response(200, "OK", Some(&call.tag));
                        let contact = format!("<sip:*43@{};transport=ws>", call.holder.extension.domain);
                        response.append(Header::Contact, &contact);
                        response.append(Header::Allow, ALLOW);
                        response.set_body("application/sdp", sdp.as_bytes());
                        call.answered = true;
                        call.deadline = None;
                        if offered.request.method() == Method::Invite {
                            call.deadline = Some(now + TRANSACTION_TIMEOUT);
                            self.schedule(now + TRANSACTION_TIMEOUT, Timer::Echo(id));
                        }
                        self.answer(offered.key.0, &response);
                        if first {
                            info!(call = id.0, "echo answered");
                        }
                    }
                    Err(reason) => {
                        let mut response = offered.request.response(488, "Not Acceptable Here", Some(&call.tag));
                        response.append(Header::Warning, &format!("399 bitcall {}", quote(&reason)));
                        self.answer(offered.key.0, &response);
                        if first {
                            self.end_echo_call(id, "offer not acceptable");
                        }
                    }
                }
            }
            EchoEvent::Lost { call } => self.hang_up_echo_call(call, "media lost"),
        }
    }

    pub(super) fn echo_timeout(&mut self, id: CallId, now: Instant) {
        if self.echo.get(&id).and_then(|call| call.deadline).is_some_and(|deadline| deadline <= now) {
            self.hang_up_echo_call(id, "no ACK, or connection lost");
        }
    }

    pub(super) fn echo_connection_lost(&mut self, connection: ConnectionId, now: Instant) {
        let lost: Vec<CallId> =
            self.echo.iter().filter(|(_, call)| call.connection == Some(connection)).map(|(id, _)| *id).collect();
        for id in lost {
            let Some(call) = self.echo.get_mut(&id) else { continue };
            if call.answered {
                call.connection = None;
                call.pending = None;
                call.deadline = Some(now + RECONNECT_TIMEOUT);
                self.schedule(now + RECONNECT_TIMEOUT, Timer::Echo(id));
            } else {
                self.end_echo_call(id, "caller gone");
            }
        }
    }

    pub(super) fn end_echo_calls_of(&mut self, extension: &Extension) {
        let calls: Vec<CallId> =
            self.echo.iter().filter(|(_, call)| call.holder.extension == *extension).map(|(id, _)| *id).collect();
        for call in calls {
            self.hang_up_echo_call(call, "extension removed");
        }
    }

    pub(super) fn end_all_echo_calls(&mut self) {
        let calls: Vec<CallId> = self.echo.keys().copied().collect();
        for call in calls {
            self.hang_up_echo_call(call, "server going down");
        }
    }

    /// Ends a call from our side: BYE to the caller, if it can be reached.
    fn hang_up_echo_call(&mut self, id: CallId, why: &str) {
        if let Some(offered) = take_pending(&mut self.echo, id) {
            let tag = self.echo.get(&id).map(|call| call.tag.clone());
            self.answer(offered.key.0, &offered.request.response(500, "Server Internal Error", tag.as_deref()));
        }
        if let Some(call) = self.echo.get(&id)
            && let Some(connection) = call.connection.filter(|_| call.answered)
        {
            let mut bye = Request::new(Method::Bye, &call.target);
            bye.append(Header::MaxForwards, "70");
            bye.append(Header::From, &call.local);
            bye.append(Header::To, &call.remote);
            bye.append(Header::CallId, &call.call_id);
            bye.append(Header::CSeq, "1 BYE");
            let via = format!("SIP/2.0/WS edge.invalid;branch=z9hG4bK{}", self.tokens.token());
            bye.push_via(&via);
            // Its answer changes nothing, so it is not waited for.
            self.send(connection, bye.to_bytes());
        }
        self.end_echo_call(id, why);
    }

    fn end_echo_call(&mut self, id: CallId, why: &str) {
        if let Some(call) = self.echo.remove(&id) {
            self.echo_budget.release(&call.holder.subjects());
            debug!(call = id.0, why, "echo ended");
            self.outputs.push_back(Output::Echo(EchoCommand::End { call: id }));
        }
    }
}

fn take_pending(calls: &mut std::collections::HashMap<CallId, EchoCall>, id: CallId) -> Option<PendingOffer> {
    calls.get_mut(&id)?.pending.take()
}

/// The request's SDP offer.
fn offer(request: &Request) -> Option<String> {
    let is_sdp = request.content_type().is_some_and(|kind| kind.eq_ignore_ascii_case("application/sdp"));
    if !is_sdp || request.body().is_empty() {
        return None;
    }
    String::from_utf8(request.body().to_vec()).ok()
}
