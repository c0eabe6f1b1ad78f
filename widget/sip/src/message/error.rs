//! What can be wrong with a message: where, and what a server says about it.

use super::{Header, Request, Response};
use core::fmt;

/// One thing that is wrong with a message or a header value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub what: What,
    /// The header field it is about, if it is about one.
    pub header: Option<Header>,
    /// Bytes from the message's first byte to the line that is wrong; 0 where no line is.
    pub offset: u32,
}

/// The kinds of [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Nothing but line breaks: a keep-alive (RFC 5626 §4.4.1), not a message.
    Empty,
    /// The empty line after the header fields is missing.
    Unterminated,
    /// The message is larger than [`super::MAX_SIZE`].
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

impl Fault {
    pub(crate) fn new(what: What, offset: usize) -> Fault {
        Fault { what, header: None, offset: u32::try_from(offset).unwrap_or(u32::MAX) }
    }

    pub(crate) fn in_header(what: What, header: Header, offset: u32) -> Fault {
        Fault { what, header: Some(header), offset }
    }

    /// The status a server answers a request with that has this fault, or `None` where nothing is answered.
    /// A response with a fault is always dropped.
    pub fn status(&self) -> Option<u16> {
        match self.what {
            What::Empty => None,
            What::TooLarge => Some(513),
            What::Version => Some(505),
            What::Scheme => Some(416),
            _ => Some(400),
        }
    }

    /// The reason phrase that goes with [`Fault::status`]: names what is wrong.
    pub fn reason(&self) -> String {
        if self.what == What::Version {
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

    /// The fault in words, and whether the header's name belongs behind them.
    fn words(self) -> (&'static str, bool) {
        match self.what {
            What::Empty => ("Empty Message", false),
            What::Unterminated => ("Missing Empty Line After Header Fields", false),
            What::TooLarge => ("Message Too Large", false),
            What::StartLine => ("Bad Start Line", false),
            What::Version => ("Unsupported SIP Version", false),
            What::RequestUri => ("Bad Request-URI", false),
            What::Scheme => ("Unsupported URI Scheme", false),
            What::StatusCode => ("Bad Status Code", false),
            What::LineBreak => ("Stray CR or LF", false),
            What::HeaderLine => ("Bad Header Line", false),
            What::BodyShort => ("Body Shorter Than Content-Length", false),
            What::Missing => ("Missing", true),
            What::Repeated => ("Repeated", true),
            What::Value => ("Bad", true),
            What::MethodMismatch => ("CSeq Method Differs From Request Method", false),
        }
    }
}

impl fmt::Display for Fault {
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

impl core::error::Error for Fault {}

/// A message that cannot be used, with as much of it as could be read.
#[derive(Clone, Debug)]
pub struct ParseError {
    /// The first thing that is wrong.
    pub fault: Fault,
    /// What could be read, where it was a request: enough to answer it.
    pub request: Option<Box<Request>>,
}

impl ParseError {
    /// The answer a server gives, or `None` where it stays silent: to responses, ACK, keep-alives, and
    /// requests without a Via.
    pub fn response(&self) -> Option<Response> {
        self.request.as_ref()?.refusal(&self.fault)
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)
    }
}

impl core::error::Error for ParseError {}
