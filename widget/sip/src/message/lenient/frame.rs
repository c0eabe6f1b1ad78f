//! A frame that the strict parser refuses, written again as it reads it: CRLF after each line, UTF-8,
//! one space in the start line, only lines that are header fields, and no `Content-Length`.

use crate::message::grammar;
use crate::uri::escape_request_uri;
use std::borrow::Cow;

/// The message as the strict parser reads it.
pub(super) fn rewrite(input: &[u8]) -> Vec<u8> {
    let skipped = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let mut rest = input.get(skipped..).unwrap_or_default();
    let mut written = String::with_capacity(input.len());
    let mut lengths: Vec<Option<usize>> = Vec::new();
    // Whether a continuation line belongs to the last line written.
    let mut continues = false;
    let mut is_start = true;
    while let Some((line, after)) = next_line(rest) {
        rest = after;
        if line.is_empty() {
            break;
        }
        let line = text(line);
        if is_start {
            is_start = false;
            written.push_str(&start_line(&line));
            written.push_str("\r\n");
        } else if line.starts_with([' ', '\t']) {
            if continues {
                written.truncate(written.len() - 2);
                written.push(' ');
                written.push_str(line.trim());
                written.push_str("\r\n");
            }
        } else {
            continues = false;
            let Some((name, value)) = line.split_once(':') else { continue };
            let name = name.trim_end();
            if name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("l") {
                lengths.push(value.trim().parse().ok());
            } else if grammar::all_token(name) {
                continues = true;
                for part in [name, ": ", value.trim(), "\r\n"] {
                    written.push_str(part);
                }
            }
        }
    }
    written.push_str("\r\n");
    // The length counts only where it is one, and within the frame.
    let body = match lengths.split_first() {
        Some((Some(length), others)) if others.iter().all(|other| *other == Some(*length)) => {
            rest.get(..*length).unwrap_or(rest)
        }
        _ => rest,
    };
    let mut bytes = written.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// The text before the next LF, without the CRs before it, and the rest. At the end of the frame the last line.
fn next_line(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    if rest.is_empty() {
        return None;
    }
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let mut line = rest.get(..end)?;
    while let Some((b'\r', before)) = line.split_last() {
        line = before;
    }
    Some((line, rest.get(end + 1..).unwrap_or_default()))
}

/// The line as text: bytes that are not UTF-8 are Latin-1, and a CR within the line is a space.
fn text(line: &[u8]) -> String {
    let mut text = String::with_capacity(line.len());
    for chunk in line.utf8_chunks() {
        text.extend(chunk.valid().chars().map(|c| if c == '\r' { ' ' } else { c }));
        text.extend(chunk.invalid().iter().map(|byte| char::from(*byte)));
    }
    text
}

/// The start line with one space between its words. The user agent does not read the Request-URI, so any text is one.
fn start_line(line: &str) -> String {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [method, target @ .., version] = words.as_slice() else {
        return line.to_owned();
    };
    if target.is_empty() || !version.get(..4).is_some_and(|protocol| protocol.eq_ignore_ascii_case("SIP/")) {
        return words.join(" ");
    }
    let target = target.join(" ");
    let target = escape_request_uri(target.trim_matches(['<', '>']));
    let target = if target.contains(':') { target } else { Cow::Owned(String::from("sip:") + &target) };
    [method, target.as_ref(), version].join(" ")
}
