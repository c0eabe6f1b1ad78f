//! Liberal reading, for the user agent only: it is the last receiver of a message, so a fault in a
//! header field that it does not need must not cost the call. Whoever forwards for others (the edge)
//! reads with [`Message::parse`] and checks with [`Message::validate`] instead.
//!
//! The rules:
//! - The frame bounds the message (RFC 7118 §5.2): `Content-Length` is only a hint, a line may end with
//!   LF alone, the empty line at the end may be missing, and a line that is not a header field is ignored.
//! - Header fields that the user agent never reads are not looked at.
//! - Of a header field that it reads, what can be understood is taken: of an address first the URI
//!   between `<` and `>` and the tag, of a number its digits, of a list each element that reads. A value
//!   without anything that reads counts as absent.
//! - Refused is only what leaves the transaction or the dialog ambiguous: `Via`, `Call-ID`, `CSeq`,
//!   `From` or `To` is missing, or occurs twice with different meanings, or a Call-ID or tag cannot be sent
//!   back as it came.
//!
//! A mended value is well-formed, so that what is copied from it into a response or a request is too.

mod address;
mod frame;

use super::grammar::{self, trim};
use super::headers::HeaderLine;
use super::{
    CSeq, Header, Headers, Message, MessageError, MessageErrorKind, NameAddr, Params, ParseError, push_number,
};

/// Further faults of one message are ignored without a word, so that a message cannot flood the log.
const MAX_REPORTED_FAULTS: usize = 16;

/// What to do with a value.
enum Mended {
    /// It is well-formed.
    Unchanged,
    /// It is read as this instead.
    As(String),
    /// Nothing in it can be understood.
    Unreadable,
}

impl From<Option<String>> for Mended {
    fn from(value: Option<String>) -> Self {
        value.map_or(Mended::Unreadable, Mended::As)
    }
}

impl Message {
    /// Reads one WebSocket message as liberally as the module describes. Returns the message and the
    /// faults that were ignored, for the log.
    ///
    /// # Errors
    /// No start line, or transaction or dialog cannot be told.
    pub fn parse_lenient(input: &[u8]) -> Result<(Message, Vec<MessageError>), ParseError> {
        let mut faults = Vec::new();
        let mut message = match Message::parse(input) {
            // Header fields that are not UTF-8 are read as Latin-1.
            Ok(message) if message.headers().bytes.is_some() => Message::parse(&frame::rewrite(input))?,
            Ok(message) => message,
            Err(error) if matches!(error.error.kind, MessageErrorKind::Empty | MessageErrorKind::TooLarge) => {
                return Err(error);
            }
            Err(error) => {
                let message = Message::parse(&frame::rewrite(input))?;
                faults.push(error.error);
                message
            }
        };
        message.headers_mut().mend(&mut faults);
        match (message.headers_mut().identify(), message) {
            (Ok(()), Message::Request(request)) if request.cseq().is_ok_and(|cseq| cseq.method != request.method()) => {
                let error = MessageError::in_header(MessageErrorKind::MethodMismatch, Header::CSeq, 0);
                Err(ParseError { error, request: Some(Box::new(request)) })
            }
            (Ok(()), message) => Ok((message, faults)),
            (Err(error), Message::Request(request)) => Err(ParseError { error, request: Some(Box::new(request)) }),
            (Err(error), Message::Response(_)) => Err(ParseError { error, request: None }),
        }
    }
}

impl Headers {
    /// Replaces or removes each value that the user agent reads and that is not well-formed.
    fn mend(&mut self, faults: &mut Vec<MessageError>) {
        let mut lines = core::mem::take(&mut self.lines);
        lines.retain_mut(|line| {
            let mended = mend_value(line.header, self.line_value(line));
            if !matches!(mended, Mended::Unchanged) {
                add_fault(faults, MessageErrorKind::Value, line);
            }
            match mended {
                Mended::Unchanged => true,
                Mended::As(value) => {
                    line.value = self.position();
                    grammar::push_clean(&mut self.text, &value);
                    line.value_end = self.position();
                    true
                }
                // That there is a Contact is known, and From can stand for it.
                Mended::Unreadable => line.header == Header::Contact,
            }
        });
        self.lines = lines;
    }

    /// Checks that the header fields which name transaction and dialog are present and say one thing,
    /// and removes their repetitions.
    fn identify(&mut self) -> Result<(), MessageError> {
        self.line(Header::Via).ok_or(MessageError::in_header(MessageErrorKind::Missing, Header::Via, 0))?;
        for header in [Header::CallId, Header::CSeq, Header::From, Header::To] {
            let mut lines = self.lines.iter().filter(|line| line.header == header);
            let first = lines.next().ok_or(MessageError::in_header(MessageErrorKind::Missing, header, 0))?;
            let meaning = identity(header, self.line_value(first));
            if meaning.is_none() {
                return Err(MessageError::in_header(MessageErrorKind::Value, header, first.start));
            }
            for line in lines {
                if identity(header, self.line_value(line)) != meaning {
                    return Err(MessageError::in_header(MessageErrorKind::Repeated, header, line.start));
                }
            }
            let mut found = false;
            self.lines.retain(|line| line.header != header || !core::mem::replace(&mut found, true));
        }
        Ok(())
    }
}

/// What a header field says about transaction and dialog: the Call-ID, number and method, or the tag. None: it
/// cannot be sent back as it came, because it is not well-formed.
fn identity(header: Header, value: &str) -> Option<&str> {
    match header {
        Header::CSeq => CSeq::parse(value).map(|_| value),
        Header::CallId => Some(value).filter(|value| !value.is_empty() && !value.contains([' ', '\t'])),
        _ => {
            let address = NameAddr::parse(value).filter(NameAddr::well_formed)?;
            Some(address.tag().unwrap_or_default())
        }
    }
}

fn add_fault(faults: &mut Vec<MessageError>, kind: MessageErrorKind, line: &HeaderLine) {
    let fault = MessageError::in_header(kind, line.header, line.start);
    if faults.len() < MAX_REPORTED_FAULTS && faults.iter().all(|other| other.header != fault.header) {
        faults.push(fault);
    }
}

/// Reads the value of a header field that the user agent uses. Those that it does not use are left as
/// they are, whatever they say.
fn mend_value(header: Header, value: &str) -> Mended {
    match header {
        Header::From | Header::To => {
            if NameAddr::parse(value).is_some_and(|address| address.well_formed()) {
                return Mended::Unchanged;
            }
            Mended::As(address::mend_party(value))
        }
        Header::Contact if trim(value) == "*" => Mended::Unchanged,
        Header::Contact | Header::PAssertedIdentity | Header::RemotePartyId => address::mend_list(value),
        Header::RecordRoute | Header::ServiceRoute => address::mend_routes(value),
        Header::CSeq => mend_cseq(value),
        Header::RAck => mend_rack(value),
        Header::Expires | Header::MinExpires | Header::RSeq | Header::FlowTimer => mend_number(value),
        // These may have parameters or a comment behind the number.
        Header::RetryAfter | Header::MinSe => {
            let number = value.split([';', '(', ' ', '\t']).next().unwrap_or_default();
            if grammar::number(number).is_some() { Mended::Unchanged } else { mend_number(value) }
        }
        Header::SessionExpires => mend_session_expires(value),
        _ => Mended::Unchanged,
    }
}

fn mend_number(value: &str) -> Mended {
    match leading_number(value) {
        Some(number) if number == value => Mended::Unchanged,
        number => number.map(str::to_owned).into(),
    }
}

/// The digits at the start, without quotes. A date, a fraction's remainder or a unit is not part of them;
/// digits that only begin a date or an address are no number.
fn leading_number(text: &str) -> Option<&str> {
    let text = trim(text).trim_matches('"');
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = (text.get(..end)?, text.get(end..)?);
    let begins_something_else = rest.starts_with(['-', ':', '/']) || rest.starts_with(|c: char| c.is_alphanumeric());
    (!digits.is_empty() && !begins_something_else).then_some(digits)
}

fn mend_cseq(value: &str) -> Mended {
    if CSeq::parse(value).is_some() {
        return Mended::Unchanged;
    }
    let mut words = value.split_ascii_whitespace();
    let (Some(number), Some(method)) = (words.next(), words.next()) else {
        return Mended::Unreadable;
    };
    joined(&[number, method])
}

fn mend_rack(value: &str) -> Mended {
    let words: Vec<&str> = value.split_ascii_whitespace().collect();
    match words.get(..3) {
        Some(words) if words.join(" ") != value => joined(words),
        Some(_) => Mended::Unchanged,
        None => Mended::Unreadable,
    }
}

fn joined(words: &[&str]) -> Mended {
    Mended::As(words.join(" "))
}

fn mend_session_expires(value: &str) -> Mended {
    let (interval, params) = value.split_once(';').unwrap_or((value, ""));
    let refresher = Params::new(params).text("refresher");
    let known = refresher.as_deref().map(str::to_ascii_lowercase).filter(|who| matches!(who.as_str(), "uac" | "uas"));
    let written = Params::new(params).get("refresher");
    if grammar::number(trim(interval)).is_some() && known.as_deref() == written.map(str::to_ascii_lowercase).as_deref()
    {
        return Mended::Unchanged;
    }
    let Some(seconds) = leading_number(interval).and_then(grammar::delta_seconds) else {
        return Mended::Unreadable;
    };
    let mut mended = String::new();
    push_number(&mut mended, usize::try_from(seconds).unwrap_or(usize::MAX));
    if let Some(who) = known {
        mended.push_str(";refresher=");
        mended.push_str(&who);
    }
    Mended::As(mended)
}
