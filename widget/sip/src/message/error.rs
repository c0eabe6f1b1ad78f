//! What can be wrong with a message: where, and what a server says about it.

use super::{Header, Request, Response};
use core::fmt;

/// One thing that is wrong with a message or a header value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageError {
    /// What is wrong.
    pub kind: MessageErrorKind,
    /// The header field it is about, if it is about one.
    pub header: Option<Header>,
    /// Bytes from the message's first byte to the line that is wrong; 0 where no line is.
    pub offset: u32,
}

/// The kinds of [`MessageError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageErrorKind {
    /// Nothing but line breaks: a keep-alive (RFC 5626 §4.4.1), not a message.
    Empty,
    /// The empty line after the header fields is missing.
    Unterminated,
    /// The message is larger than [`super::MAX_MESSAGE_SIZE`].
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
    /// A CR or LF that is not part of a line's end: forwarding it could smuggle a header past a laxer peer.
    LineBreak,
    /// A line that is not `name: value`.
    HeaderLine,
    /// The body is shorter than Content-Length says.
    BodyShort,
    /// A header field that must be there is not.
    Missing,
    /// A header field that may occur once occurs more often.
    Repeated,
    /// The header field's value breaks its grammar.
    Value,
    /// The method in `CSeq` is not the request's (RFC 3261 §8.1.1.5).
    MethodMismatch,
}

impl MessageError {
    pub(crate) fn new(kind: MessageErrorKind, offset: usize) -> MessageError {
        MessageError { kind, header: None, offset: u32::try_from(offset).unwrap_or(u32::MAX) }
    }

    pub(crate) fn in_header(kind: MessageErrorKind, header: Header, offset: u32) -> MessageError {
        MessageError { kind, header: Some(header), offset }
    }

    /// The status a server answers a request with that has this error, or `None` where nothing is answered.
    /// A response with an error is always dropped.
    pub fn status(&self) -> Option<u16> {
        match self.kind {
            MessageErrorKind::Empty => None,
            MessageErrorKind::TooLarge => Some(513),
            MessageErrorKind::Version => Some(505),
            MessageErrorKind::Scheme => Some(416),
            _ => Some(400),
        }
    }

    /// The reason phrase that goes with [`MessageError::status`]: names what is wrong.
    pub fn reason(&self) -> String {
        if self.kind == MessageErrorKind::Version {
            return "Version Not Supported".to_owned();
        }
        let (text, with_header) = self.words();
        let mut reason = String::from(text);
        if let (true, Some(header)) = (with_header, self.header) {
            reason.push(' ');
            reason.push_str(header.as_str());
        }
        reason
    }

    /// The error in words, and whether the header's name belongs behind them.
    fn words(self) -> (&'static str, bool) {
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
        let (text, with_header) = self.words();
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

/// A message that cannot be used, with as much of it as could be read.
#[derive(Clone, Debug)]
pub struct ParseError {
    /// The first thing that is wrong.
    pub error: MessageError,
    /// What could be read, where it was a request: enough to answer it.
    pub request: Option<Box<Request>>,
}

impl ParseError {
    /// The answer a server gives, or `None` where it stays silent: to responses, ACK, keep-alives, and
    /// requests without a Via.
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
