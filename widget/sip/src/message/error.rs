//! Errors of messages: kind, position, and the response that a server sends.

use super::{Header, Request, Response};
use core::fmt;

/// An error in a message or a header value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageError {
    /// The kind of error.
    pub kind: MessageErrorKind,
    /// The header field with the error, if it is in one.
    pub header: Option<Header>,
    /// Offset in bytes of the malformed line in the message; 0 if no line is malformed.
    pub offset: u32,
}

/// The kinds of [`MessageError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageErrorKind {
    /// Only line breaks: a keep-alive (RFC 5626 §4.4.1), not a message.
    Empty,
    /// The empty line after the header fields is missing.
    Unterminated,
    /// The message is larger than [`super::MAX_MESSAGE_BYTES`].
    TooLarge,
    /// The first line is neither a request line nor a status line.
    StartLine,
    /// A version other than `SIP/2.0`.
    Version,
    /// The Request-URI is not a URI.
    RequestUri,
    /// The Request-URI is neither `sip` nor `sips`.
    Scheme,
    /// The status code is not within 100 to 699.
    StatusCode,
    /// A CR or LF that is not part of a CRLF. Forwarded, it could inject a header field at a more tolerant peer.
    LineBreak,
    /// A line that is not `name: value`.
    HeaderLine,
    /// The body is shorter than Content-Length says.
    BodyShort,
    /// A required header field is missing.
    Missing,
    /// A header field that may occur once occurs several times.
    Repeated,
    /// The header field's value is malformed.
    Value,
    /// The method in `CSeq` is not the request's method (RFC 3261 §8.1.1.5).
    MethodMismatch,
}

impl MessageError {
    pub(crate) fn new(kind: MessageErrorKind, offset: usize) -> MessageError {
        MessageError { kind, header: None, offset: u32::try_from(offset).unwrap_or(u32::MAX) }
    }

    pub(crate) fn in_header(kind: MessageErrorKind, header: Header, offset: u32) -> MessageError {
        MessageError { kind, header: Some(header), offset }
    }

    /// The status with which a server answers a request that has this error; `None` if it does not
    /// answer. A response with an error is always dropped.
    pub fn status(&self) -> Option<u16> {
        match self.kind {
            MessageErrorKind::Empty => None,
            MessageErrorKind::TooLarge => Some(513),
            MessageErrorKind::Version => Some(505),
            MessageErrorKind::Scheme => Some(416),
            _ => Some(400),
        }
    }

    /// The reason phrase for [`MessageError::status`]; it names the error.
    pub fn reason(&self) -> String {
        if self.kind == MessageErrorKind::Version {
            return "Version Not Supported".to_owned();
        }
        let (text, with_header) = self.text();
        let mut reason = String::from(text);
        if let (true, Some(header)) = (with_header, self.header) {
            reason.push(' ');
            reason.push_str(header.as_str());
        }
        reason
    }

    /// The error as text, and whether the header field's name follows it.
    fn text(self) -> (&'static str, bool) {
        match self.kind {
            MessageErrorKind::Empty => ("Empty Message", false),
            MessageErrorKind::Unterminated => ("Missing Empty Line After Header Fields", false),
            MessageErrorKind::TooLarge => ("Message Too Large", false),
            MessageErrorKind::StartLine => ("Bad Start Line", false),
            MessageErrorKind::Version => ("Unsupported SIP Version", false),
            MessageErrorKind::RequestUri => ("Bad Request-URI", false),
            MessageErrorKind::Scheme => ("Unsupported URI Scheme", false),
            MessageErrorKind::StatusCode => ("Bad Status Code", false),
            MessageErrorKind::LineBreak => ("Stray CR or LF", false),
            MessageErrorKind::HeaderLine => ("Bad Header Line", false),
            MessageErrorKind::BodyShort => ("Body Shorter Than Content-Length", false),
            MessageErrorKind::Missing => ("Missing", true),
            MessageErrorKind::Repeated => ("Repeated", true),
            MessageErrorKind::Value => ("Bad", true),
            MessageErrorKind::MethodMismatch => ("CSeq Method Differs From Request Method", false),
        }
    }
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, with_header) = self.text();
        f.write_str(text)?;
        if let (true, Some(header)) = (with_header, self.header) {
            f.write_str(" ")?;
            f.write_str(header.as_str())?;
        }
        f.write_str(" at byte ")?;
        fmt::Display::fmt(&self.offset, f)
    }
}

impl core::error::Error for MessageError {}

/// A message that could not be parsed, with the part that could.
#[derive(Clone, Debug)]
pub struct ParseError {
    /// The first error.
    pub error: MessageError,
    /// The part that could be parsed, if the message is a request: enough to answer it.
    pub request: Option<Box<Request>>,
}

impl ParseError {
    /// The response that a server sends. `None` for responses, ACKs, keep-alives, and requests
    /// without a Via.
    pub fn response(&self) -> Option<Response> {
        self.request.as_ref()?.error_response(&self.error)
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl core::error::Error for ParseError {}
