//! Dialogs (RFC 3261 §12): the state that two user agents share between requests.

use serde::{Deserialize, Serialize};

use crate::header_values;
use crate::message::{Header, Headers};
use crate::request_template::RequestTemplate;

/// The local state of an early or confirmed dialog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Dialog {
    pub(crate) call_id: String,
    pub(crate) local_tag: String,
    /// Empty if the far end implements RFC 2543 only and sends no tag (§12.1.2).
    pub(crate) remote_tag: String,
    /// Local URI: `From` of our requests, with tag.
    local: String,
    /// Remote URI: `To` of our requests, with tag.
    remote: String,
    /// Remote target: the Request-URI of our requests (§12.2.1.1).
    remote_target: String,
    route_set: Vec<String>,
    local_cseq: u32,
    remote_cseq: Option<u32>,
}

impl Dialog {
    /// The UAC's dialog, created by a 101–299 response to our INVITE (§12.1.2).
    pub(crate) fn from_response(invite: &RequestTemplate, response: &Headers) -> Self {
        let remote = response.value(Header::To).unwrap_or(&invite.to);
        let mut route_set = record_routes(response);
        route_set.reverse();
        Self {
            call_id: invite.call_id.clone(),
            local_tag: header_values::tag(&invite.from).into(),
            remote_tag: header_values::tag(remote).into(),
            local: invite.from.clone(),
            remote: remote.into(),
            remote_target: header_values::contact(response).unwrap_or_else(|| invite.uri.clone()),
            route_set,
            local_cseq: invite.cseq,
            remote_cseq: None,
        }
    }

    /// The UAS's dialog, created by the INVITE (§12.1.1). None if the INVITE has no `Contact`; for one that
    /// cannot be read, the URI of `From` is the target, as before RFC 3261.
    pub(crate) fn from_request(request: &Headers, local_tag: &str) -> Option<Self> {
        let remote = request.value(Header::From)?;
        let target = header_values::contact(request).or_else(|| {
            request.has(Header::Contact).then_some(())?;
            header_values::request_uri(header_values::uri(remote))
        })?;
        let mut local = String::from(request.value(Header::To)?);
        local.push_str(";tag=");
        local.push_str(local_tag);
        Some(Self {
            call_id: request.value(Header::CallId)?.into(),
            local_tag: local_tag.into(),
            remote_tag: header_values::tag(remote).into(),
            local,
            remote: remote.into(),
            remote_target: target,
            route_set: record_routes(request),
            local_cseq: 0,
            remote_cseq: header_values::cseq(request).map(|(number, _)| number),
        })
    }

    /// A 2xx to the INVITE replaces the early dialog's route set and remote target (§13.2.2.4).
    pub(crate) fn confirm(&mut self, response: &Headers) {
        if response.has(Header::RecordRoute) {
            self.route_set = record_routes(response);
            self.route_set.reverse();
        }
        self.update_target(response);
    }

    /// Sets the remote target to the `Contact` of a target refresh request or its 2xx (§12.2).
    pub(crate) fn update_target(&mut self, message: &Headers) {
        if let Some(target) = header_values::contact(message) {
            self.remote_target = target;
        }
    }

    /// The next request in this dialog.
    pub(crate) fn request(&mut self, method: &str) -> RequestTemplate {
        self.local_cseq = self.local_cseq.saturating_add(1);
        self.template(method, self.local_cseq)
    }

    /// The ACK for a 2xx to the INVITE numbered `cseq` (§13.2.2.4).
    pub(crate) fn ack(&self, cseq: u32) -> RequestTemplate {
        self.template("ACK", cseq)
    }

    /// The `CSeq` number for a request that is sent again, e.g. with credentials.
    pub(crate) fn next_cseq(&mut self) -> u32 {
        self.local_cseq = self.local_cseq.saturating_add(1);
        self.local_cseq
    }

    /// Returns whether a request with this `CSeq` number is in order (§12.2.2), and stores the number. Only a lower
    /// number is out of order: some senders repeat that of their INVITE.
    pub(crate) fn accepts_cseq(&mut self, cseq: u32) -> bool {
        if self.remote_cseq.is_some_and(|last| cseq < last) {
            return false;
        }
        self.remote_cseq = Some(cseq);
        true
    }

    /// `CSeq` number of the far end's last request.
    pub(crate) fn remote_cseq(&self) -> Option<u32> {
        self.remote_cseq
    }

    /// The value of `Replaces` that names this dialog (RFC 3891 §6.1). The tags are from the far end's side: its own
    /// one is the To tag.
    pub(crate) fn replaces(&self) -> String {
        let mut value = self.call_id.clone();
        for (name, tag) in [(";to-tag=", &self.remote_tag), (";from-tag=", &self.local_tag)] {
            value.push_str(name);
            value.push_str(if tag.is_empty() { "0" } else { tag });
        }
        value
    }

    fn template(&self, method: &str, cseq: u32) -> RequestTemplate {
        let mut uri = self.remote_target.clone();
        let mut routes = self.route_set.clone();
        // For a strict router its own URI is the Request-URI, and the remote target is the last route (§12.2.1.1).
        if routes.first().is_some_and(|route| !header_values::is_loose(route)) {
            let first = routes.remove(0);
            let mut last = String::from("<");
            last.push_str(&uri);
            last.push('>');
            routes.push(last);
            header_values::uri(&first).clone_into(&mut uri);
        }
        RequestTemplate {
            method: method.into(),
            uri,
            routes,
            from: self.local.clone(),
            to: self.remote.clone(),
            call_id: self.call_id.clone(),
            cseq,
            extra: Vec::new(),
            body: None,
        }
    }
}

fn record_routes(message: &Headers) -> Vec<String> {
    message.items(Header::RecordRoute).map(String::from).collect()
}
