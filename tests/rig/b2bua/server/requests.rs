//! Requests of the server's own.

use std::sync::Arc;

use bitcall_sip::message::{Header, Headers, Method, Request};

use super::{Dialog, DialogState, Registration, SDP, Server};
use crate::rig::b2bua::far_end::{Party, identity};
use crate::rig::b2bua::leg::Leg;

const ALLOW: &str =
    "OPTIONS, REGISTER, SUBSCRIBE, NOTIFY, PUBLISH, INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, INFO, MESSAGE, REFER";
const SUPPORTED: &str = "100rel, timer, replaces, norefersub, histinfo";
/// Who calls there goes on with the call that is parked.
const PARKING_PLACE: &str = "701";

impl Server {
    fn request(&mut self, method: Method<'_>, target: &str, from: &str, to: &str, call_id: &str, cseq: u32) -> Request {
        let mut request = Request::new(method, target);
        let branch = self.next();
        request.append(Header::Via, &format!("SIP/2.0/WS 127.0.0.1:{};rport;branch=z9hG4bK{branch}", self.port));
        request.append(Header::MaxForwards, "70");
        request.append(Header::From, from);
        request.append(Header::To, to);
        request.append(Header::CallId, call_id);
        request.append(Header::CSeq, &format!("{cseq} {method}"));
        request.append(Header::Contact, &self.contact());
        request.append(Header::UserAgent, "Asterisk PBX 22");
        request
    }

    /// To a registered phone, outside of any dialog.
    fn phone_request(&mut self, phone: &Registration, method: Method<'_>, from: &str) -> Request {
        let target = &phone.target;
        let from = format!("{from};tag=a{}", self.next());
        let call_id = format!("own-{}", self.next());
        self.request(method, target, &from, &format!("<{target}>"), &call_id, 1)
    }

    pub fn ask_for_options(&mut self) {
        for phone in self.registrations.clone() {
            let request = self.phone_request(&phone, Method::Options, "<sip:asterisk@127.0.0.1>");
            self.send(phone.connection, &request);
        }
    }

    /// Message waiting (RFC 3842), which nobody has asked for.
    pub(super) fn notify_message_waiting(&mut self, phone: &Registration) {
        let mut request = self.phone_request(phone, Method::Notify, "<sip:asterisk@127.0.0.1>");
        request.append(Header::Event, "message-summary");
        request.append(Header::SubscriptionState, "terminated");
        let body = "Messages-Waiting: yes\r\nMessage-Account: sip:voicemail@127.0.0.1\r\nVoice-Message: 2/0 (0/0)\r\n";
        request.set_body("application/simple-message-summary", body.as_bytes());
        self.send(phone.connection, &request);
    }

    /// All phones ring until one answers.
    pub fn call_phones(&mut self, party: &Arc<Party>) {
        assert!(!self.registrations.is_empty(), "no phone is registered");
        for phone in self.registrations.clone() {
            let mut invite = self.phone_request(&phone, Method::Invite, &party.identity());
            let (leg, offer) = Leg::offers(party);
            Self::describe(&mut invite, party);
            Self::time(&mut invite, party);
            invite.set_body(SDP, offer.as_bytes());
            self.send(phone.connection, &invite);
            self.dialogs.push(Dialog {
                connection: phone.connection,
                call_id: invite.call_id().unwrap().to_owned(),
                local: invite.value(Header::From).unwrap().to_owned(),
                remote: invite.value(Header::To).unwrap().to_owned(),
                target: phone.target,
                cseq: 1,
                leg,
                next_leg: None,
                state: DialogState::Ringing(invite),
            });
        }
    }

    /// The phones that still ring for the party learn that another one has answered, as `app_queue` and `Dial()` say it.
    pub(super) fn cancel_others(&mut self, party: &Arc<Party>) {
        self.cancel(party, "Q.850;cause=26");
    }

    fn cancel(&mut self, party: &Arc<Party>, reason: &str) {
        let mut cancels = Vec::new();
        for dialog in self.dialogs.iter_mut().filter(|dialog| Arc::ptr_eq(&dialog.leg.party(), party)) {
            let DialogState::Ringing(invite) = &dialog.state else { continue };
            let mut cancel = Request::new(Method::Cancel, invite.uri_text());
            for header in [Header::Via, Header::MaxForwards, Header::From, Header::To, Header::CallId] {
                cancel.append(header, invite.value(header).unwrap());
            }
            cancel.append(Header::CSeq, "1 CANCEL");
            cancel.append(Header::Reason, reason);
            dialog.state = DialogState::Cancelled;
            cancels.push((dialog.connection, cancel));
        }
        for (connection, cancel) in cancels {
            self.send(connection, &cancel);
        }
    }

    fn dialog_with(&self, party: &Arc<Party>) -> usize {
        let found = self.dialogs.iter().position(|dialog| Arc::ptr_eq(&dialog.leg.party(), party));
        found.unwrap_or_else(|| panic!("{} has no call", party.name))
    }

    pub(super) fn send_in_dialog(&mut self, index: usize, method: Method<'_>, add: impl FnOnce(&mut Request)) {
        let dialog = &mut self.dialogs[index];
        if method != Method::Ack {
            dialog.cseq += 1;
        }
        let Dialog { connection, cseq, .. } = *dialog;
        let (target, local, remote) = (dialog.target.clone(), dialog.local.clone(), dialog.remote.clone());
        let call_id = dialog.call_id.clone();
        let mut request = self.request(method, &target, &local, &remote, &call_id, cseq);
        add(&mut request);
        self.send(connection, &request);
    }

    /// Ends a call from this side.
    pub(super) fn end(&mut self, index: usize) {
        self.send_in_dialog(index, Method::Bye, |bye| bye.append(Header::Reason, "Q.850;cause=16"));
        self.dialogs.remove(index);
    }

    pub fn hang_up(&mut self, party: &Arc<Party>) {
        let index = self.dialog_with(party);
        match self.dialogs[index].state {
            DialogState::Ringing(_) => self.cancel(party, "Q.850;cause=16"),
            _ => self.end(index),
        }
    }

    pub fn move_call(&mut self, party: &Arc<Party>) {
        let index = self.dialog_with(party);
        let (leg, offer) = Leg::offers(party);
        self.dialogs[index].next_leg = Some(leg);
        self.send_in_dialog(index, Method::Invite, |invite| invite.set_body(SDP, offer.as_bytes()));
    }

    pub fn change_connected_line(&mut self, party: &Arc<Party>, name: &str, number: &str) {
        let index = self.dialog_with(party);
        self.send_in_dialog(index, Method::Update, |update| {
            update.append(Header::PAssertedIdentity, &identity(name, number));
        });
    }

    pub fn transfer(&mut self, party: &Arc<Party>, number: &str) {
        let index = self.dialog_with(party);
        self.send_in_dialog(index, Method::Refer, |refer| refer.append(Header::ReferTo, number));
    }

    /// A text of the party, in its call if there is one.
    pub fn say(&mut self, party: &Arc<Party>, text: &str) {
        let set_text = |message: &mut Request| message.set_body("text/plain;charset=UTF-8", text.as_bytes());
        if let Some(index) = self.dialogs.iter().position(|dialog| Arc::ptr_eq(&dialog.leg.party(), party)) {
            self.send_in_dialog(index, Method::Message, set_text);
        } else {
            for phone in self.registrations.clone() {
                let mut message = self.phone_request(&phone, Method::Message, &party.identity());
                set_text(&mut message);
                self.send(phone.connection, &message);
            }
        }
    }

    /// Who is parked is reached at the number of the place, until somebody calls there.
    pub(super) fn park(&mut self, index: usize) {
        let party = self.dialogs[index].leg.party();
        self.send_in_dialog(index, Method::Notify, |notify| {
            notify.append(Header::Event, "refer");
            notify.append(Header::SubscriptionState, "terminated;reason=noresource");
            notify.set_body("message/sipfrag;version=2.0", b"SIP/2.0 200 OK\r\n");
        });
        self.end(index);
        self.parties.insert(PARKING_PLACE.to_owned(), party);
    }

    /// The session timer of a call (RFC 4028): in those with odd numbers the one that answers refreshes it.
    pub(super) fn time(headers: &mut Headers, party: &Party) {
        let is_odd = party.number.ends_with(['1', '3', '5', '7', '9']);
        headers.append(Header::SessionExpires, if is_odd { "1800;refresher=uas" } else { "1800;refresher=uac" });
    }

    pub fn refresh(&mut self, party: &Arc<Party>) {
        let index = self.dialog_with(party);
        self.send_in_dialog(index, Method::Update, |update| {
            update.append(Header::SessionExpires, "1800;refresher=uac");
        });
    }

    /// Header fields of messages that make or change a session.
    pub(super) fn describe(headers: &mut Headers, party: &Party) {
        headers.append(Header::Allow, ALLOW);
        headers.append(Header::Supported, SUPPORTED);
        headers.append(Header::PAssertedIdentity, &party.identity());
    }
}
