//! Dialogs (RFC 3261 §12): what two user agents agree on between requests.

use serde::{Deserialize, Serialize};

use crate::header_values;
use crate::message::{Header, Headers};
use crate::request_template::RequestTemplate;

/// Our side of a dialog, early or confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Dialog {
    pub(crate) call_id: String,
    pub(crate) local_tag: String,
    /// Empty where the far end is older than RFC 3261.
    pub(crate) remote_tag: String,
    /// `From` of our requests, with tag.
    local: String,
    /// `To` of our requests, with tag.
    remote: String,
    target: String,
    routes: Vec<String>,
    local_cseq: u32,
    remote_cseq: Option<u32>,
}

impl Dialog {
    /// As the caller, by a 101–299 response to our INVITE.
    pub(crate) fn from_response(invite: &RequestTemplate, response: &Headers) -> Self {
        let remote = response.value(Header::To).unwrap_or(&invite.to);
        let mut routes = record_routes(response);
        routes.reverse();
        Self {
            call_id: invite.call_id.clone(),
            local_tag: header_values::tag(&invite.from).into(),
            remote_tag: header_values::tag(remote).into(),
            local: invite.from.clone(),
            remote: remote.into(),
            target: header_values::contact(response).unwrap_or_else(|| invite.uri.clone()),
            routes,
            local_cseq: invite.cseq,
            remote_cseq: None,
        }
    }

    /// As the called one, by the INVITE. None where there is nothing to send requests to.
    pub(crate) fn from_request(request: &Headers, local_tag: &str) -> Option<Self> {
        let remote = request.value(Header::From)?;
        let mut local = String::from(request.value(Header::To)?);
        local.push_str(";tag=");
        local.push_str(local_tag);
        Some(Self {
            call_id: request.value(Header::CallId)?.into(),
            local_tag: local_tag.into(),
            remote_tag: header_values::tag(remote).into(),
            local,
            remote: remote.into(),
            target: header_values::contact(request)?,
            routes: record_routes(request),
            local_cseq: 0,
            remote_cseq: header_values::cseq(request).map(|(number, _)| number),
        })
    }

    /// The confirming 2xx settles route and target (§13.2.2.4).
    pub(crate) fn confirm(&mut self, response: &Headers) {
        if response.has(Header::RecordRoute) {
            self.routes = record_routes(response);
            self.routes.reverse();
        }
        self.update_target(response);
    }

    /// Takes the `Contact` of a target refresh request or its 2xx (§12.2).
    pub(crate) fn update_target(&mut self, message: &Headers) {
        if let Some(target) = header_values::contact(message) {
            self.target = target;
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

    /// The number for sending a request again, e.g. with credentials.
    pub(crate) fn next_cseq(&mut self) -> u32 {
        self.local_cseq = self.local_cseq.saturating_add(1);
        self.local_cseq
    }

    /// Whether a request with this number is in order (§12.2.2); remembers it.
    pub(crate) fn accepts_cseq(&mut self, cseq: u32) -> bool {
        if self.remote_cseq.is_some_and(|last| cseq <= last) {
            return false;
        }
        self.remote_cseq = Some(cseq);
        true
    }

    /// Number of the far end's last request.
    pub(crate) fn remote_cseq(&self) -> Option<u32> {
        self.remote_cseq
    }

    fn template(&self, method: &str, cseq: u32) -> RequestTemplate {
        let mut uri = self.target.clone();
        let mut routes = self.routes.clone();
        // A strict router wants its own URI on the request line and the target as the last route (§12.2.1.1).
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
