//! SIP messages (RFC 3261 §7): parsing, reading, creating and changing them.
//!
//! [`Message::parse`] takes a frame or datagram and stores its header lines unchanged; the accessors
//! of [`Headers`] parse a value when they are called. [`Request::new`], [`Request::response`] and
//! [`Response::new`] create messages; the push, pop and set methods of [`Request`] and [`Headers`]
//! change them. Lines that are not changed are written byte for byte as received.
//!
//! [`Message::parse`] and [`Message::validate`] are strict, for whoever forwards messages;
//! [`Message::parse_lenient`] is for a user agent.
//!
//! ```
//! use bitcall_sip::message::{Header, Message};
//!
//! let bytes = b"OPTIONS sip:bob@example.com SIP/2.0\r\n\
//!     Via: SIP/2.0/WSS client.invalid;branch=z9hG4bKabc\r\n\
//!     Max-Forwards: 70\r\n\
//!     From: <sip:alice@example.com>;tag=1\r\n\
//!     To: <sip:bob@example.com>\r\n\
//!     Call-ID: 1@client.invalid\r\n\
//!     CSeq: 7 OPTIONS\r\n\r\n";
//! let Ok(Message::Request(request)) = Message::parse(bytes) else { unreachable!() };
//! assert_eq!(request.via()?.branch(), Some("z9hG4bKabc"));
//! assert_eq!(request.cseq()?.number, 7);
//!
//! let mut response = request.response(200, "OK", Some("local-tag"));
//! response.append(Header::Allow, "INVITE, ACK, BYE, CANCEL, OPTIONS");
//! assert!(response.to_bytes().starts_with(b"SIP/2.0 200 OK\r\n"));
//! # Ok::<(), bitcall_sip::message::MessageError>(())
//! ```

mod address;
mod error;
pub(crate) mod grammar;
mod header_fields;
mod header_name;
mod headers;
mod lenient;
mod method;
mod params;
mod parse;
mod proxy;
mod validate;
pub(crate) mod via;

pub use address::{Contact, NameAddr};
pub use error::{MessageError, MessageErrorKind, ParseError};
pub use grammar::{push_number, quote, unquote};
pub use header_fields::{CSeq, RAck, Reason, Refresher, SessionExpires};
pub use header_name::{Header, HeaderName};
pub use headers::Headers;
pub use method::Method;
pub use params::Params;
pub use via::Via;

use crate::uri::Uri;
use core::ops::{Deref, DerefMut};

/// The largest accepted message, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// A request or a response.
#[derive(Clone, Debug)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

impl Message {
    /// The header fields and the body.
    pub fn headers(&self) -> &Headers {
        match self {
            Message::Request(request) => request,
            Message::Response(response) => response,
        }
    }

    /// The header fields and the body, mutable.
    pub fn headers_mut(&mut self) -> &mut Headers {
        match self {
            Message::Request(request) => request,
            Message::Response(response) => response,
        }
    }

    /// The serialised message.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.headers().to_bytes()
    }

    /// Checks everything a user agent or proxy relies on; see [`Request::validate`] and [`Response::validate`].
    pub fn validate(&self) -> Result<(), MessageError> {
        match self {
            Message::Request(request) => request.validate(),
            Message::Response(response) => response.validate(),
        }
    }
}

impl From<Request> for Message {
    fn from(request: Request) -> Self {
        Message::Request(request)
    }
}

impl From<Response> for Message {
    fn from(response: Response) -> Self {
        Message::Response(response)
    }
}

/// A request: a request line and [`Headers`].
#[derive(Clone, Debug)]
pub struct Request {
    headers: Headers,
    method_end: u32,
    uri: (u32, u32),
}

impl Request {
    /// A request without header fields. White space and control characters in `uri` are escaped
    /// (`%20`), so that the request line remains valid.
    pub fn new(method: Method<'_>, uri: &str) -> Request {
        let mut request = Request { headers: Headers::with_capacity(768), method_end: 0, uri: (0, 0) };
        request.write_request_line(method.as_str(), uri);
        request
    }

    fn write_request_line(&mut self, method: &str, uri: &str) {
        let method: String = method.chars().filter(|c| grammar::is_token(*c)).collect();
        let uri = crate::uri::escape_request_uri(uri);
        self.headers.write_start([&method, &uri, "SIP/2.0"]);
        let start = self.headers.start_line.0;
        let length = |text: &str| u32::try_from(text.len()).unwrap_or_default();
        self.method_end = start + length(&method);
        self.uri = (self.method_end + 1, self.method_end + 1 + length(&uri));
    }

    /// The method.
    pub fn method(&self) -> Method<'_> {
        Method::from_name(self.slice(self.start_line.0, self.method_end))
    }

    /// The Request-URI as written.
    pub fn uri_text(&self) -> &str {
        self.slice(self.uri.0, self.uri.1)
    }

    /// The Request-URI.
    pub fn uri(&self) -> Result<Uri<'_>, MessageError> {
        Uri::parse(self.uri_text()).map_err(|_| MessageError::new(MessageErrorKind::RequestUri, 0))
    }

    /// Sets the Request-URI; white space is escaped as in [`Request::new`].
    pub fn set_uri(&mut self, uri: &str) {
        let method = self.method().as_str().to_owned();
        self.write_request_line(&method, uri);
    }

    /// A response to this request (RFC 3261 §8.2.6): Via, From, To, Call-ID and `CSeq` are copied,
    /// also `Record-Route` if the response can create a dialog (§12.1.1), and `Timestamp` for a 100.
    ///
    /// `to_tag` is added to To if To has no tag; not for a 100.
    pub fn response(&self, status: u16, reason: &str, to_tag: Option<&str>) -> Response {
        let mut response = Response::new(status, reason);
        let headers = &mut response.headers;
        headers.copy_lines(self, Header::Via);
        headers.copy_lines(self, Header::From);
        match (self.to(), to_tag) {
            (Ok(to), Some(tag)) if to.tag().is_none() && status != 100 => {
                let mut value = self.value(Header::To).unwrap_or_default().to_owned();
                value.push_str(";tag=");
                value.extend(tag.chars().filter(|c| grammar::is_token(*c)));
                headers.append(Header::To, &value);
            }
            _ => headers.copy_lines(self, Header::To),
        }
        headers.copy_lines(self, Header::CallId);
        headers.copy_lines(self, Header::CSeq);
        if status == 100 {
            headers.copy_lines(self, Header::Timestamp);
        }
        if matches!(status, 101..=299)
            && matches!(self.method(), Method::Invite | Method::Subscribe | Method::Refer | Method::Notify)
        {
            headers.copy_lines(self, Header::RecordRoute);
        }
        response
    }

    /// The response to a request with an error: it copies those of Via, From, To, Call-ID and `CSeq`
    /// that are present. `None` for an ACK, and for a request without Via.
    pub fn error_response(&self, error: &MessageError) -> Option<Response> {
        if self.method() == Method::Ack || !self.has(Header::Via) {
            return None;
        }
        Some(self.response(error.status()?, &error.reason(), Some("fault")))
    }
}

impl Deref for Request {
    type Target = Headers;
    #[inline]
    fn deref(&self) -> &Headers {
        &self.headers
    }
}

impl DerefMut for Request {
    #[inline]
    fn deref_mut(&mut self) -> &mut Headers {
        &mut self.headers
    }
}

/// A response: a status line and [`Headers`].
#[derive(Clone, Debug)]
pub struct Response {
    headers: Headers,
    status: u16,
    reason: (u32, u32),
}

impl Response {
    /// A response without header fields. The status code is clamped to 100–699.
    pub fn new(status: u16, reason: &str) -> Response {
        let status = status.clamp(100, 699);
        let mut headers = Headers::with_capacity(512);
        let mut code = String::with_capacity(3);
        push_number(&mut code, status.into());
        headers.write_start(["SIP/2.0", &code, reason]);
        let (start, end) = headers.start_line;
        Response { status, reason: ((start + 12).min(end), end), headers }
    }

    /// The status code, 100 to 699.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase as written.
    pub fn reason_phrase(&self) -> &str {
        self.slice(self.reason.0, self.reason.1)
    }

    /// Whether this is a 1xx.
    pub fn is_provisional(&self) -> bool {
        self.status < 200
    }

    /// Whether this is a 2xx.
    pub fn is_success(&self) -> bool {
        matches!(self.status, 200..=299)
    }
}

impl Deref for Response {
    type Target = Headers;
    #[inline]
    fn deref(&self) -> &Headers {
        &self.headers
    }
}

impl DerefMut for Response {
    #[inline]
    fn deref_mut(&mut self) -> &mut Headers {
        &mut self.headers
    }
}
