//! Parses bytes to a message: one pass over the header finds the lines and their names. Values are
//! parsed only when an accessor is called.

use super::headers::{HeaderLine, Headers};
use super::{
    Header, MAX_MESSAGE_BYTES, Message, MessageError, MessageErrorKind, ParseError, Request, Response, grammar,
};

impl Message {
    /// Parses one message: a datagram or a WebSocket message (RFC 7118: one SIP message each,
    /// Content-Length optional). Line breaks before the message are skipped; bytes after the length
    /// that Content-Length states are dropped (RFC 3261 §18.3).
    ///
    /// Header values are checked when they are read; [`Request::validate`] and [`Response::validate`]
    /// check all required ones.
    pub fn parse(input: &[u8]) -> Result<Message, ParseError> {
        let skipped = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let input = input.get(skipped..).unwrap_or_default();
        if input.is_empty() {
            return Err(ParseError { error: MessageError::new(MessageErrorKind::Empty, 0), request: None });
        }
        if input.len() > MAX_MESSAGE_BYTES {
            return Err(ParseError {
                error: MessageError::new(MessageErrorKind::TooLarge, MAX_MESSAGE_BYTES),
                request: None,
            });
        }
        let (mut headers, mut error) = split(input);
        match start_line(&headers) {
            Ok(start) => {
                if let Err(length_error) = trim_body(&mut headers) {
                    error = error.or(Some(length_error));
                }
                match (start, error) {
                    (StartLine::Request { method_end, uri }, None) => {
                        Ok(Message::Request(Request { headers, method_end, uri }))
                    }
                    (StartLine::Response { status, reason }, None) => {
                        Ok(Message::Response(Response { headers, status, reason }))
                    }
                    (StartLine::Request { method_end, uri }, Some(error)) => {
                        let request = Some(Box::new(Request { headers, method_end, uri }));
                        Err(ParseError { error, request })
                    }
                    (StartLine::Response { .. }, Some(error)) => Err(ParseError { error, request: None }),
                }
            }
            Err((kind, target)) => {
                let request = target.map(|(method_end, uri)| Box::new(Request { headers, method_end, uri }));
                Err(ParseError { error: MessageError::new(kind, 0), request })
            }
        }
    }
}

/// A position in the input. Inputs are at most [`MAX_MESSAGE_BYTES`] long.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "inputs are at most MAX_MESSAGE_BYTES long")]
fn position(index: usize) -> u32 {
    index as u32
}

/// Splits the input into lines and body. Continues after an error, so that the message can be answered.
fn split(input: &[u8]) -> (Headers, Option<MessageError>) {
    let mut error = None;
    let mut set_error = |kind, at| {
        error.get_or_insert(MessageError::new(kind, at));
    };
    let mut lines: Vec<HeaderLine> = Vec::with_capacity(24);
    let mut folded = false;
    let mut at = 0;
    let mut start_line = None;
    let body = loop {
        let rest = input.get(at..).unwrap_or_default();
        let Some(length) = line_length(rest) else {
            set_error(MessageErrorKind::Unterminated, input.len());
            let end = input.len();
            if start_line.is_none() {
                start_line = Some((0, position(end)));
            }
            at = end;
            break end;
        };
        if rest.get(length..length + 2) != Some(b"\r\n") {
            // A stray CR or LF: end the line here, so that the text after it cannot hide in the value, and reject the message.
            set_error(MessageErrorKind::LineBreak, at + length);
        }
        let next = at + length + if rest.get(length..length + 2) == Some(b"\r\n") { 2 } else { 1 };
        let line = rest.get(..length).unwrap_or_default();
        let end = at + length;
        if start_line.is_none() {
            start_line = Some((position(at), position(end)));
        } else if let [first, ..] = line {
            if matches!(first, b' ' | b'\t') {
                match lines.last_mut() {
                    Some(last) => {
                        last.end = position(end);
                        // Marks the value for `unfold`.
                        last.value_end = 0;
                        folded = true;
                    }
                    None => set_error(MessageErrorKind::HeaderLine, at),
                }
            } else if let Some(line) = header_line(line, at) {
                lines.push(line);
            } else {
                set_error(MessageErrorKind::HeaderLine, at);
            }
        } else {
            at = end;
            break next;
        }
        at = next;
    };
    let head = input.get(..at).unwrap_or_default();
    let (text, bytes) = match core::str::from_utf8(head) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (replace_invalid_utf8(head), Some(head.into())),
    };
    let mut headers = Headers {
        text,
        bytes,
        lines,
        start_line: start_line.unwrap_or_default(),
        body: input.get(body..).unwrap_or_default().to_vec(),
        is_generated: false,
    };
    if folded {
        unfold(&mut headers);
    }
    (headers, error)
}

/// The number of bytes before the first CR or LF.
#[inline]
fn line_length(rest: &[u8]) -> Option<usize> {
    const LOW_BITS: u64 = 0x0101_0101_0101_0101;
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    let mut index = 0;
    while let Some(chunk) = rest.get(index..).and_then(<[u8]>::first_chunk::<8>) {
        // Eight bytes at a time: a zero byte after the XOR is a CR or an LF.
        let word = u64::from_le_bytes(*chunk);
        let cr = word ^ (LOW_BITS * 0x0d);
        let lf = word ^ (LOW_BITS * 0x0a);
        let matches = ((cr.wrapping_sub(LOW_BITS) & !cr) | (lf.wrapping_sub(LOW_BITS) & !lf)) & HIGH_BITS;
        if matches != 0 {
            return Some(index + matches.trailing_zeros() as usize / 8);
        }
        index += 8;
    }
    let tail = rest.get(index..)?;
    tail.iter().position(|byte| matches!(byte, b'\r' | b'\n')).map(|position| index + position)
}

/// Parses the header line that begins at `at`.
#[inline]
fn header_line(line: &[u8], at: usize) -> Option<HeaderLine> {
    let name_length = line.iter().position(|byte| !grammar::TOKEN.has(*byte))?;
    let name = line.get(..name_length)?;
    let mut value = name_length;
    while matches!(line.get(value)?, b' ' | b'\t') {
        value += 1;
    }
    if name.is_empty() || line.get(value) != Some(&b':') {
        return None;
    }
    value += 1;
    while matches!(line.get(value), Some(b' ' | b'\t')) {
        value += 1;
    }
    let mut value_end = line.len();
    while value_end > value && matches!(line.get(value_end - 1), Some(b' ' | b'\t')) {
        value_end -= 1;
    }
    Some(HeaderLine {
        header: Header::from_name(name),
        start: position(at),
        end: position(at + line.len()),
        value: position(at + value),
        value_end: position(at + value_end),
    })
}

/// Appends an unfolded copy of each folded value (RFC 3261 §7.3.1: each fold becomes one space).
fn unfold(headers: &mut Headers) {
    let mut lines = core::mem::take(&mut headers.lines);
    for line in lines.iter_mut().filter(|line| line.value_end == 0) {
        let raw = headers.slice(line.value, line.end).to_owned();
        line.value = headers.position();
        for piece in raw.split(['\r', '\n']) {
            let piece = grammar::trim(piece);
            if !piece.is_empty() {
                if headers.position() > line.value {
                    headers.text.push(' ');
                }
                headers.text.push_str(piece);
            }
        }
        line.value_end = headers.position();
    }
    headers.lines = lines;
}

/// The header as text, with `?` for every byte that is not valid UTF-8.
fn replace_invalid_utf8(head: &[u8]) -> String {
    let mut text = String::with_capacity(head.len());
    for chunk in head.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    text
}

type ByteRange = (u32, u32);

/// The parsed start line, as positions in the text.
enum StartLine {
    Request { method_end: u32, uri: ByteRange },
    Response { status: u16, reason: ByteRange },
}

/// Parses the start line. The error of a request line includes the end of its method and its URI, if
/// they can be determined.
fn start_line(headers: &Headers) -> Result<StartLine, (MessageErrorKind, Option<(u32, ByteRange)>)> {
    let (start, end) = headers.start_line;
    let line = headers.slice(start, end);
    let (first, rest) = split_space(line);
    if is_sip_version(first) {
        if !first.eq_ignore_ascii_case("SIP/2.0") {
            return Err((MessageErrorKind::Version, None));
        }
        let (code, _) = split_space(rest);
        return match grammar::number(code) {
            Some(status @ 100..=699) if code.len() == 3 => {
                let reason = (end - position(rest.len()) + 4).min(end);
                let status = u16::try_from(status).unwrap_or_default();
                Ok(StartLine::Response { status, reason: (reason, end) })
            }
            _ => Err((MessageErrorKind::StatusCode, None)),
        };
    }
    if !grammar::all_token(first) {
        return Err((MessageErrorKind::StartLine, None));
    }
    let method_end = start + position(first.len());
    // The version is the last word, so a URI with invalid white space does not hide it.
    let (target, version) = rest.trim_end_matches([' ', '\t']).rsplit_once([' ', '\t']).unwrap_or((rest, ""));
    let uri = (method_end + 1, method_end + 1 + position(target.len()));
    let kind = if !version.eq_ignore_ascii_case("SIP/2.0") {
        if is_sip_version(version) { MessageErrorKind::Version } else { MessageErrorKind::StartLine }
    } else if target.len() + 1 + version.len() != rest.len() {
        MessageErrorKind::StartLine
    } else if !target.contains(':') || !grammar::TARGET.has_all(target) {
        MessageErrorKind::RequestUri
    } else {
        return Ok(StartLine::Request { method_end, uri });
    };
    Err((kind, Some((method_end, uri))))
}

/// Whether a word is a SIP version of any number.
fn is_sip_version(word: &str) -> bool {
    word.get(..4).is_some_and(|protocol| protocol.eq_ignore_ascii_case("SIP/"))
}

fn split_space(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}

/// Checks Content-Length and truncates the body to it (RFC 3261 §18.3).
fn trim_body(headers: &mut Headers) -> Result<(), MessageError> {
    let mut content_length = None;
    for line in headers.lines.iter().filter(|line| line.header == Header::ContentLength) {
        let error = |kind| MessageError::in_header(kind, Header::ContentLength, line.start);
        let length = grammar::number(headers.line_value(line)).ok_or(error(MessageErrorKind::Value))?;
        if content_length.is_some() {
            return Err(error(MessageErrorKind::Repeated));
        }
        if length as usize > headers.body.len() {
            return Err(error(MessageErrorKind::BodyShort));
        }
        content_length = Some(length as usize);
    }
    if let Some(length) = content_length {
        headers.body.truncate(length);
    }
    Ok(())
}
