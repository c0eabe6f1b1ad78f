//! A request of ours without its `Via`. It is stored to send the request again with credentials,
//! to cancel it, or to send the ACK for a final response other than 2xx.

use serde::{Deserialize, Serialize};

use crate::message::{Header, Method, Request};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RequestTemplate {
    pub(crate) method: String,
    pub(crate) uri: String,
    /// Values of `Route`, in order.
    pub(crate) routes: Vec<String>,
    /// Value of `From`, with our tag.
    pub(crate) from: String,
    /// Value of `To`, with the remote tag inside a dialog.
    pub(crate) to: String,
    pub(crate) call_id: String,
    pub(crate) cseq: u32,
    /// Further header fields as (name, value), in order.
    pub(crate) extra: Vec<(String, String)>,
    /// (Content-Type, content).
    pub(crate) body: Option<(String, String)>,
}

impl RequestTemplate {
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.extra.push((name.into(), value.into()));
        self
    }

    #[must_use]
    pub(crate) fn with_body(mut self, media_type: &str, content: &str) -> Self {
        self.body = Some((media_type.into(), content.into()));
        self
    }

    pub(crate) fn is_sdp(&self) -> bool {
        self.body.as_ref().is_some_and(|(media_type, _)| media_type == "application/sdp")
    }

    /// A CANCEL, or the ACK for a final response other than 2xx: same Request-URI, Route, From,
    /// Call-ID and `CSeq` number (RFC 3261 §9.1, §17.1.1.3), no body.
    pub(crate) fn in_same_transaction(&self, method: &str, to: &str) -> Self {
        Self { method: method.into(), to: to.into(), extra: Vec::new(), body: None, ..self.clone() }
    }

    /// The message as sent. `via` is protocol and sent-by, `credentials` are header fields as (name, value).
    pub(crate) fn to_bytes(&self, via: &str, branch: &str, credentials: &[(String, String)]) -> Vec<u8> {
        let mut request = Request::new(Method::from_name(&self.method), &self.uri);
        let mut line = String::from(via);
        line.push_str(";branch=");
        line.push_str(branch);
        line.push_str(";rport");
        request.append(Header::Via, &line);
        for route in &self.routes {
            request.append(Header::Route, route);
        }
        request.append(Header::MaxForwards, "70");
        request.append(Header::From, &self.from);
        request.append(Header::To, &self.to);
        request.append(Header::CallId, &self.call_id);
        let mut line = number(u64::from(self.cseq));
        line.push(' ');
        line.push_str(&self.method);
        request.append(Header::CSeq, &line);
        for (name, value) in self.extra.iter().chain(credentials) {
            request.append(name.as_str(), value);
        }
        if let Some((media_type, content)) = &self.body {
            request.set_body(media_type, content.as_bytes());
        }
        request.to_bytes()
    }
}

/// A number in decimal.
pub(crate) fn number(number: u64) -> String {
    let mut text = String::new();
    crate::message::push_number(&mut text, usize::try_from(number).unwrap_or(usize::MAX));
    text
}
