//! Outgoing calls (UAC): INVITE, early dialogs and forks, CANCEL.

use super::super::commands::target_uri;
use super::super::context::{ALLOW, ClientRequest, RequestRole, SUPPORTED, UaContext};
use super::super::credential_store::ChallengeRefusal;
use super::super::interface::{CallId, EndedBy, Event, InviteOptions, Millis};
use super::super::status_text::failure_text;
use super::identity::telephone_number;
use super::{
    Call, CallPhase, CallTimer, CancelState, EarlySession, Leg, OFFER_ANSWER_TIMEOUT_MS, OfferAnswer,
    TRANSACTION_TIMEOUT_MS,
};
use crate::dialog::Dialog;
use crate::header_values;
use crate::message::{Header, Response};
use crate::request_template::{RequestTemplate, number};
use crate::transaction::ResponseKind;
use crate::uri::Uri;

/// Limit of dialogs per call; provisional responses of further forks are dropped.
const MAX_LEGS: usize = 16;

impl Call {
    /// An INVITE for a new call to `uri`.
    pub(in super::super) fn invite_template(context: &mut UaContext, uri: &str) -> RequestTemplate {
        let mut to = String::from("<");
        to.push_str(uri);
        to.push('>');
        context.template("INVITE", uri, &to)
    }

    /// An INVITE that replaces this call's dialog (RFC 3891 §3): it goes to the same far end, on the same
    /// route. None without a confirmed dialog.
    ///
    /// A far end that does not know the extension must refuse it (420) instead of taking it for a new call.
    pub(in super::super) fn replacement_template(
        &self,
        context: &mut UaContext,
    ) -> Option<(RequestTemplate, Vec<String>)> {
        let dialog = &self.legs.get(self.confirmed_leg?)?.dialog;
        let in_dialog = dialog.ack(0);
        let mut to = String::from("<");
        to.push_str(header_values::uri(&in_dialog.to));
        to.push('>');
        let replaces = dialog.replaces();
        let mut template = context.template("INVITE", &in_dialog.uri, &to);
        template.routes = in_dialog.routes;
        let template = template.with("Replaces", &replaces).with("Require", "replaces");
        Some((template, further_targets(context, header_values::uri(&in_dialog.to))))
    }

    /// Sends an INVITE for a new call. `further_targets`: the Request-URIs to try next, the last one first.
    pub(in super::super) fn place(
        context: &mut UaContext,
        id: CallId,
        mut template: RequestTemplate,
        options: &InviteOptions,
        further_targets: Vec<String>,
        sdp: Option<&str>,
        now: Millis,
    ) -> Self {
        let mut call =
            Self::new(id, template.call_id.clone(), header_values::tag(&template.from).into(), CallPhase::Terminated);
        call.outgoing = true;
        call.further_targets = further_targets;
        template = template.with("Contact", &context.contact()).with("Allow", ALLOW).with("Supported", SUPPORTED);
        call.session_timer.add_to_invite(&context.config.timers, &mut template);
        if options.is_private {
            template = template.with("Privacy", "id");
        }
        for (name, value) in &options.headers {
            template = template.with(name, value);
        }
        if let Some(caller_id) = &options.caller_id {
            call.add_caller_id(context, caller_id, &mut template, now);
        }
        if let Some(sdp) = sdp {
            template = template.with_body("application/sdp", sdp);
        }
        let branch = context.request(template, call.owner(RequestRole::Invite), now);
        call.phase = CallPhase::Calling { branch, cancel: CancelState::NotRequested };
        call.timers.set(CallTimer::Ring, now.plus(context.config.timers.ring_timeout_ms));
        call
    }

    /// A response to the initial INVITE.
    pub(super) fn on_invite_response(
        &mut self,
        context: &mut UaContext,
        client: &ClientRequest,
        response_kind: ResponseKind,
        response: &Response,
        now: Millis,
    ) {
        match response_kind {
            ResponseKind::Provisional => self.on_progress(context, client, response, now),
            ResponseKind::Success => self.on_accepted(context, client, response, now),
            ResponseKind::Failure => self.on_invite_refused(context, client, response, now),
            ResponseKind::Absorbed => {}
        }
    }

    fn on_progress(&mut self, context: &mut UaContext, client: &ClientRequest, response: &Response, now: Millis) {
        let CallPhase::Calling { cancel, .. } = &self.phase else {
            return;
        };
        self.was_proceeding = true;
        if *cancel == CancelState::Pending {
            self.cancel(context, now);
            return;
        }
        let status = response.status();
        if status == 100 || self.end_reported {
            return;
        }
        self.invite_status = status;
        let mut sdp = header_values::sdp(response);
        let to_tag = header_values::to_tag(response);
        let mut early_dialog = None;
        if !to_tag.is_empty() {
            let Some(index) = self.leg_for(client, response) else {
                context.emit_dropped("too many early dialogs");
                return;
            };
            if !self.acknowledge_provisional(context, index, client, response, now) {
                return;
            }
            if let Some(leg) = self.legs.get_mut(index) {
                if leg.early_session == EarlySession::Changed {
                    sdp = None;
                } else if sdp.is_some() {
                    leg.early_sdp.clone_from(&sdp);
                    if client.template.is_sdp() && response.lists(Header::Require, "100rel") {
                        leg.early_session = EarlySession::Answered;
                    }
                }
            }
            early_dialog = Some(to_tag.to_owned());
        }
        context.emit(Event::Progress { call: self.id.clone(), status, sdp, early_dialog });
        self.note_identity(context, response);
    }

    /// Sends PRACK for a reliable provisional response (RFC 3262 §4). False: a repeated one or out of order.
    fn acknowledge_provisional(
        &mut self,
        context: &mut UaContext,
        index: usize,
        client: &ClientRequest,
        response: &Response,
        now: Millis,
    ) -> bool {
        let (true, Ok(Some(rseq))) = (response.lists(Header::Require, "100rel"), response.rseq()) else {
            return true;
        };
        let owner = self.owner(RequestRole::Prack);
        let Some(leg) = self.legs.get_mut(index) else {
            return false;
        };
        if leg.rseq.is_some_and(|last| Some(rseq) != last.checked_add(1)) {
            context.emit_dropped("reliable provisional response repeated or out of order");
            return false;
        }
        leg.rseq = Some(rseq);
        let mut rack = number(rseq.into());
        rack.push(' ');
        rack.push_str(&number(client.template.cseq.into()));
        rack.push_str(" INVITE");
        let template = leg.dialog.request("PRACK").with("RAck", &rack);
        context.request(template, owner, now);
        true
    }

    /// The index of the leg with the response's To tag; creates it if there is none.
    fn leg_for(&mut self, client: &ClientRequest, response: &Response) -> Option<usize> {
        let tag = header_values::to_tag(response);
        let existing = self.legs.iter().position(|leg| leg.dialog.remote_tag == tag);
        if existing.is_some() || (self.legs.len() >= MAX_LEGS && response.is_provisional()) {
            return existing;
        }
        self.legs.push(Leg {
            dialog: Dialog::from_response(&client.template, response),
            early_sdp: None,
            early_session: EarlySession::default(),
            rseq: None,
            ack: None,
        });
        Some(self.legs.len() - 1)
    }

    /// A 2xx to the initial INVITE. The first one establishes the call. One of another fork, or of a
    /// call that was hung up, gets ACK and BYE (RFC 3261 §13.2.2.4).
    fn on_accepted(&mut self, context: &mut UaContext, client: &ClientRequest, response: &Response, now: Millis) {
        let cseq = client.template.cseq;
        let Some(index) = self.leg_for(client, response) else {
            return;
        };
        let info_leg = self.info_leg();
        let is_first = self.confirmed_leg.is_none() && matches!(self.phase, CallPhase::Calling { .. });
        let awaits_answer =
            self.confirmed_leg == Some(index) && self.offer_answer == OfferAnswer::DelayedOffer { cseq };
        let Some(leg) = self.legs.get_mut(index) else {
            return;
        };
        if let Some((acked, bytes)) = &leg.ack
            && *acked == cseq
        {
            context.send(bytes.clone());
            return;
        }
        if awaits_answer {
            return;
        }
        leg.dialog.confirm(response);
        let early_sdp = leg.early_sdp.take();
        let is_changed = leg.early_session == EarlySession::Changed;
        if !is_first {
            self.acknowledge(context, index, client);
            self.bye_leg(context, index, now);
            return;
        }
        if info_leg != Some(index) {
            self.fail_infos(context);
        }
        self.confirmed_leg = Some(index);
        self.timers.clear(CallTimer::Ring);
        if self.end_reported {
            self.acknowledge(context, index, client);
            self.end_established(context, now);
            return;
        }
        if !is_changed && matches!(self.offer_answer, OfferAnswer::RemoteOffer { .. }) {
            // The offer came in another early dialog, which has ended.
            self.abort_offer_answer(context, now);
            context.emit(Event::OfferWithdrawn { call: self.id.clone() });
        }
        self.phase = CallPhase::Established;
        self.invite_status = 200;
        self.note_caller_id_taken(context);
        self.update_session_timer(response, now);
        let sdp = header_values::sdp(response);
        let early_dialog = Some(header_values::to_tag(response).to_owned());
        let call = self.id.clone();
        if is_changed {
            self.acknowledge(context, index, client);
            context.emit(Event::Answered { call, sdp: None, early_dialog });
        } else if client.template.is_sdp() {
            self.acknowledge(context, index, client);
            let sdp = sdp.or(early_sdp);
            if sdp.is_none() {
                self.report_end(context, EndedBy::Remote, "No common audio format", None);
                self.end_established(context, now);
                return;
            }
            context.emit(Event::Answered { call, sdp, early_dialog });
        } else if let Some(sdp) = sdp {
            context.emit(Event::Answered { call: call.clone(), sdp: None, early_dialog });
            self.offer_answer = OfferAnswer::DelayedOffer { cseq };
            self.timers.set(CallTimer::AnswerTimeout, now.plus(OFFER_ANSWER_TIMEOUT_MS));
            context.emit(Event::Offer { call, sdp: Some(sdp) });
        } else {
            self.acknowledge(context, index, client);
            self.report_end(context, EndedBy::Remote, "No common audio format", None);
            self.end_established(context, now);
        }
        self.note_identity(context, response);
    }

    /// Sends the ACK for a 2xx and stores it for retransmissions of the 2xx.
    pub(super) fn acknowledge(&mut self, context: &mut UaContext, index: usize, client: &ClientRequest) {
        let Some(leg) = self.legs.get_mut(index) else {
            return;
        };
        let template = leg.dialog.ack(client.template.cseq);
        let bytes = context.ack_bytes(&template, &client.credentials);
        context.send(bytes.clone());
        leg.ack = Some((client.template.cseq, bytes));
    }

    /// A 2xx without a transaction: repeats its ACK. False if none was sent for it.
    pub(in super::super) fn repeat_ack(&mut self, context: &mut UaContext, remote_tag: &str, cseq: u32) -> bool {
        if self.offer_answer == (OfferAnswer::DelayedOffer { cseq }) {
            return true;
        }
        let leg = self.legs.iter().find(|leg| leg.dialog.remote_tag == remote_tag);
        if let Some((acked, bytes)) = leg.and_then(|leg| leg.ack.as_ref())
            && *acked == cseq
        {
            context.send(bytes.clone());
            return true;
        }
        false
    }

    fn on_invite_refused(&mut self, context: &mut UaContext, client: &ClientRequest, response: &Response, now: Millis) {
        let status = response.status();
        if self.end_reported {
            self.terminate(now);
            return;
        }
        let mut template = client.template.clone();
        let mut text = failure_text(response, self.was_proceeding);
        let tries = match status {
            401 | 407 => match context.on_call_challenge(response, client) {
                Ok(tries) => Some(tries),
                Err(ChallengeRefusal::PasswordNeeded { .. }) => {
                    text = "Enter the password again";
                    None
                }
                Err(_) => None,
            },
            422 => self
                .session_timer
                .on_interval_too_small(response, &context.config.timers, &mut template)
                .then(|| client.tries.next()),
            404 | 484 | 604 => self.further_targets.pop().map(|uri| {
                template.uri = uri;
                template.routes.clone_from(&context.service_route);
                client.tries.clone()
            }),
            // A redirection does not use up the attempts for a challenge.
            300..=302 => self.follow_redirection(context, response, &mut template).then(|| client.tries.clone()),
            403 | 433 | 488 => {
                self.retry_with_caller_id(context, response, &mut template, now).then(|| client.tries.clone())
            }
            _ => None,
        };
        if let Some(tries) = tries {
            template.cseq += 1;
            self.fail_infos(context);
            self.legs.clear();
            let branch = context.request_again(template, self.owner(RequestRole::Invite), tries, now);
            self.phase = CallPhase::Calling { branch, cancel: CancelState::NotRequested };
            return;
        }
        self.report_end(context, EndedBy::Remote, text, Some(status));
        self.terminate(now);
    }

    /// No final response to the INVITE, also after CANCEL.
    pub(super) fn on_invite_timeout(&mut self, context: &mut UaContext, now: Millis) {
        self.report_end(context, EndedBy::Network, "No answer from the server", Some(408));
        self.terminate(now);
    }

    pub(super) fn on_ring_timeout(&mut self, context: &mut UaContext, now: Millis) {
        match &self.phase {
            CallPhase::Calling { .. } => {
                self.report_end(context, EndedBy::Network, "No answer", None);
                self.cancel(context, now);
            }
            CallPhase::Ringing { .. } => {
                self.refuse_call(context, 480, EndedBy::Network, "No answer", now);
            }
            _ => {}
        }
    }

    /// Sends CANCEL as soon as it is allowed: after a provisional response (RFC 3261 §9.1).
    pub(super) fn cancel(&mut self, context: &mut UaContext, now: Millis) {
        let CallPhase::Calling { branch, cancel } = &mut self.phase else {
            return;
        };
        if *cancel == CancelState::Sent {
            return;
        }
        self.timers.clear(CallTimer::Ring);
        *cancel = CancelState::Pending;
        let branch = branch.clone();
        let connected = context.transport.is_some();
        match context.client_request(&branch, "INVITE") {
            None => self.terminate(now),
            Some(client) if connected && client.transaction.is_proceeding() => self.send_cancel(context, &branch, now),
            Some(_) => {}
        }
    }

    pub(super) fn send_cancel(&mut self, context: &mut UaContext, branch: &str, now: Millis) {
        let Some(client) = context.client_request(branch, "INVITE") else {
            self.terminate(now);
            return;
        };
        client.transaction.time_out_at(now.plus(TRANSACTION_TIMEOUT_MS));
        let template = client.template.in_same_transaction("CANCEL", &client.template.to);
        context.request_with_branch(branch, template, self.owner(RequestRole::Cancel), now);
        self.phase = CallPhase::Calling { branch: branch.into(), cancel: CancelState::Sent };
    }
}

/// Where an INVITE with Replaces goes when its server does not know the remote target, which is a device's address and need
/// not be one that can be called: Asterisk looks for an extension of this name before it reads `Replaces`. Any address
/// that it knows will do, because `Replaces` says which call is meant: that of the far end, or our own.
fn further_targets(context: &UaContext, remote: &str) -> Vec<String> {
    let number = Uri::parse(remote).ok().and_then(|uri| telephone_number(&uri));
    let remote = match number.and_then(|number| target_uri(&number, &context.config.domain)) {
        // The host is often only a gateway's address.
        Some(target) => Some(target),
        None => header_values::request_uri(remote),
    };
    [Some(context.address_of_record()), remote].into_iter().flatten().collect()
}
