//! Commands of the driver, and the steps of sign-out and reconnect that concern all calls.

use super::UserAgent;
use super::calls::Call;
use super::context::{RequestRole, TransactionUser};
use super::credential_store::EarlierTries;
use super::interface::{CallId, Command, EndCause, EndedBy, Event, InviteOptions, Millis, TransferTarget};
use crate::header_values;
use crate::request_template::RequestTemplate;
use crate::uri::{Uri, escape_user};

impl UserAgent {
    pub(super) fn on_command(&mut self, command: Command, now: Millis) {
        if !matches!(command, Command::Register | Command::SetPassword { .. }) {
            self.return_to_previous_connection(now);
        }
        match command {
            Command::Register => self.register(now),
            Command::SetPassword { password } => self.set_password(password.0, now),
            Command::Unregister => self.unregister(now),
            Command::Invite { call, target, options, sdp } => {
                self.invite(call, &target, &options, sdp.as_deref(), now);
            }
            Command::FollowReferral { call, referrer, sdp } => self.follow_referral(call, &referrer, &sdp, now),
            Command::RefuseReferral { call } => {
                self.with_active_call(&call, |call, context| call.refuse_referral(context, now));
            }
            Command::Transfer { call, target } => self.transfer(&call, &target, now),
            Command::Replace { call, replaced, sdp } => self.replace(call, &replaced, &sdp, now),
            Command::Restore { call, dialog } => {
                self.calls.push(Call::restored(&self.context, call, *dialog, now));
            }
            Command::Answer { call, sdp } => {
                self.with_active_call(&call, |call, context| call.answer(context, &sdp, now));
            }
            Command::Reject { call, status } => {
                self.with_active_call(&call, |call, context| call.reject(context, status, now));
            }
            Command::HangUp { call } => self.with_active_call(&call, |call, context| call.hang_up(context, now)),
            Command::Reinvite { call, sdp } => {
                self.with_active_call(&call, |call, context| call.reinvite(context, &sdp, now));
            }
            Command::AnswerOffer { call, sdp } => {
                self.with_active_call(&call, |call, context| call.answer_offer(context, &sdp, now));
            }
            Command::RefuseOffer { call, status } => {
                self.with_active_call(&call, |call, context| call.refuse_offer(context, status, now));
            }
            Command::Info { call, content_type, body } => {
                self.with_active_call(&call, |call, context| call.info(context, content_type, body, now));
            }
            Command::SendMessage(message) => self.send_message(message, EarlierTries::default(), now),
        }
    }

    /// Applies a command to its call. Ignored if `Ended` was already emitted for that call.
    fn with_active_call(&mut self, id: &CallId, act: impl FnOnce(&mut Call, &mut super::context::UaContext)) {
        if let Some(call) = self.calls.iter_mut().find(|call| call.id == *id && call.is_active()) {
            act(call, &mut self.context);
        }
    }

    fn invite(&mut self, id: CallId, target: &str, options: &InviteOptions, sdp: Option<&str>, now: Millis) {
        if self.calls.iter().any(|call| call.id == id) {
            self.context.emit_dropped("call id in use");
            return;
        }
        let uri = target_uri(target, &self.context.config.domain);
        let text = match (&uri, self.context.transport) {
            (None, _) => "Not a number",
            (_, None) => "Not connected",
            (Some(uri), Some(_)) => {
                let template = Call::invite_template(&mut self.context, uri);
                let call = Call::place(&mut self.context, id, template, options, Vec::new(), sdp, now);
                self.calls.push(call);
                return;
            }
        };
        self.context.emit(Event::Ended {
            call: id,
            cause: EndCause { by: EndedBy::Network, text: text.into(), sip_code: None },
        });
    }

    fn replace(&mut self, id: CallId, replaced: &CallId, sdp: &str, now: Millis) {
        let present = self.calls.iter().find(|call| call.id == *replaced && call.is_active());
        let template = present
            .filter(|_| self.context.transport.is_some())
            .and_then(|call| call.replacement_template(&mut self.context));
        self.place_or_end(id, template, sdp, now);
    }

    fn follow_referral(&mut self, id: CallId, referrer: &CallId, sdp: &str, now: Millis) {
        let referrer = self.calls.iter_mut().find(|call| call.id == *referrer);
        let template = referrer
            .filter(|_| self.context.transport.is_some())
            .and_then(|call| call.follow_referral(&mut self.context, &id))
            .map(|template| (template, Vec::new()));
        self.place_or_end(id, template, sdp, now);
    }

    /// Places the call with its INVITE and further targets, or ends it at once if there is none for it.
    fn place_or_end(&mut self, id: CallId, template: Option<(RequestTemplate, Vec<String>)>, sdp: &str, now: Millis) {
        match template {
            Some((template, further_targets)) => {
                let call = Call::place(
                    &mut self.context,
                    id,
                    template,
                    &InviteOptions::default(),
                    further_targets,
                    Some(sdp),
                    now,
                );
                self.calls.push(call);
            }
            None => self.context.emit(Event::Ended {
                call: id,
                cause: EndCause { by: EndedBy::Network, text: "Not connected".into(), sip_code: None },
            }),
        }
    }

    fn transfer(&mut self, call: &CallId, target: &TransferTarget, now: Millis) {
        let refer_to = match target {
            TransferTarget::Address(target) => target_uri(target, &self.context.config.domain)
                .and_then(|uri| header_values::request_uri(&uri))
                .map(|mut uri| {
                    uri.insert(0, '<');
                    uri.push('>');
                    uri
                }),
            TransferTarget::Call(target) => {
                let target = self.calls.iter().find(|other| other.id == *target && other.is_active());
                target.and_then(Call::refer_to)
            }
        };
        self.with_active_call(call, |call, context| call.transfer(context, refer_to, now));
    }

    /// Tells the far ends that have referred us to somebody else how those calls go.
    pub(super) fn report_referred_calls(&mut self, now: Millis) {
        for index in 0..self.calls.len() {
            let Some(referred) = self.calls.get(index).and_then(Call::referred_call) else {
                continue;
            };
            let status = self.calls.iter().find(|call| call.id == *referred).map_or(503, Call::invite_status);
            if let Some(call) = self.calls.get_mut(index) {
                call.report_referred_call(&mut self.context, status, now);
            }
        }
    }

    pub(super) fn sign_out_calls(&mut self, now: Millis) {
        for call in &mut self.calls {
            call.sign_out(&mut self.context, now);
        }
    }

    pub(super) fn abandon_calls(&mut self) {
        for call in &mut self.calls {
            call.abandon(&mut self.context);
        }
        self.calls.clear();
    }

    pub(super) fn on_transport_lost(&mut self, now: Millis) {
        // No responses to requests on this connection will come. A call's INVITE is kept, so that
        // the responses after its CANCEL on the next connection can be matched.
        let mut messages = Vec::new();
        self.context.client_requests.retain(|client| match &client.owner {
            _ if !client.transaction.is_pending() => true,
            TransactionUser::Call { role: RequestRole::Invite, .. } => true,
            TransactionUser::Message(message) => {
                messages.push(message.target.clone());
                false
            }
            _ => false,
        });
        for target in messages {
            self.context.report_message(target, 408);
        }
        for call in &mut self.calls {
            call.on_transport_lost(&mut self.context, now);
        }
    }

    pub(super) fn on_transport_restored(&mut self, now: Millis) {
        for call in &mut self.calls {
            call.on_transport_restored(&mut self.context, now);
        }
    }
}

/// The URI for a dialled target: a `sip:` URI, `user@host`, or a number or name in our domain.
pub(super) fn target_uri(target: &str, domain: &str) -> Option<String> {
    let target = target.trim();
    let lower = target.get(..5).unwrap_or(target).to_ascii_lowercase();
    let mut uri = String::new();
    if lower.starts_with("sip:") || lower.starts_with("sips:") {
        // A `#` is not in the grammar of URIs (RFC 3261 §25.1).
        uri.push_str(&target.replace('#', "%23"));
    } else if let Some((user, host)) = target.rsplit_once('@') {
        uri.push_str("sip:");
        uri.push_str(&escape_user(user));
        uri.push('@');
        uri.push_str(host);
    } else {
        if target.is_empty() {
            return None;
        }
        uri.push_str("sip:");
        uri.push_str(&escape_user(target));
        uri.push('@');
        uri.push_str(domain);
    }
    Uri::parse(&uri).is_ok().then_some(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(target: &str) -> Option<String> {
        target_uri(target, "acme.test")
    }

    #[test]
    fn numbers_and_names_become_uris_in_our_domain() {
        assert_eq!(uri("+155501099").as_deref(), Some("sip:+155501099@acme.test"));
        assert_eq!(uri("*43").as_deref(), Some("sip:*43@acme.test"));
        assert_eq!(uri("anna.b").as_deref(), Some("sip:anna.b@acme.test"));
        assert_eq!(uri("123#").as_deref(), Some("sip:123%23@acme.test"));
        assert_eq!(uri("#21#@b.test").as_deref(), Some("sip:%2321%23@b.test"));
        assert_eq!(uri("sip:123#@b.test").as_deref(), Some("sip:123%23@b.test"));
    }

    #[test]
    fn addresses_are_not_changed() {
        assert_eq!(uri("bob@b.test").as_deref(), Some("sip:bob@b.test"));
        assert_eq!(uri("sip:bob@b.test;x=1").as_deref(), Some("sip:bob@b.test;x=1"));
    }

    #[test]
    fn invalid_targets_are_rejected() {
        assert_eq!(uri(" "), None);
        assert_eq!(uri("sip:"), None);
        assert_eq!(uri("bob@"), None);
    }
}
