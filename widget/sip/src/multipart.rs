//! Finds the session description in a body (RFC 2046 §5.1, RFC 5621): the body itself, or a part of it.

use std::borrow::Cow;

use crate::message::Params;
use crate::mime_encoding::{base64, quoted_printable};

/// Bodies within bodies are looked into this deep.
const MAX_DEPTH: u8 = 4;

/// The `application/sdp` part. Of `multipart/alternative` the last one counts, which the sender prefers
/// (RFC 2046 §5.1.4), otherwise the first.
pub(crate) fn session_description<'a>(content_type: &str, body: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    find(content_type, "", body, MAX_DEPTH)
}

fn find<'a>(content_type: &str, encoding: &str, body: &'a [u8], depth: u8) -> Option<Cow<'a, [u8]>> {
    let (media_type, params) = content_type.split_once(';').unwrap_or((content_type, ""));
    let (kind, subtype) = media_type.split_once('/')?;
    let (kind, subtype) = (kind.trim(), subtype.trim());
    if kind.eq_ignore_ascii_case("application") && subtype.eq_ignore_ascii_case("sdp") {
        return decoded(encoding, body);
    }
    if !kind.eq_ignore_ascii_case("multipart") || depth == 0 {
        return None;
    }
    let boundary = Params::new(params).text("boundary").filter(|boundary| !boundary.is_empty());
    let delimiter = match &boundary {
        Some(boundary) => [b"--", boundary.as_bytes()].concat(),
        // Without the parameter: the first line that looks like a delimiter.
        None => lines(body).map(|(_, line)| line).find(|line| line.starts_with(b"--"))?.trim_ascii().to_vec(),
    };
    let mut parts = parts(body, &delimiter).filter_map(|part| {
        let part = Part::split(part)?;
        find(part.content_type, part.encoding, part.content, depth - 1)
    });
    if subtype.eq_ignore_ascii_case("alternative") { parts.last() } else { parts.next() }
}

/// Each line without its line break, and where it begins.
fn lines(body: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut start = 0;
    body.split_inclusive(|byte| *byte == b'\n').map(move |line| {
        let at = start;
        start += line.len();
        (at, line.strip_suffix(b"\n").map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line)))
    })
}

/// The text between delimiter lines. The line break before a delimiter belongs to it.
fn parts<'a>(body: &'a [u8], delimiter: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut found = Vec::new();
    let mut start = None;
    for (at, line) in lines(body) {
        let Some(rest) = line.strip_prefix(delimiter) else { continue };
        let closes = rest.starts_with(b"--");
        if !closes && !rest.trim_ascii().is_empty() {
            // Another, longer delimiter.
            continue;
        }
        if let Some(start) = start {
            let part: &[u8] = body.get(start..at).unwrap_or_default();
            let part = part.strip_suffix(b"\n").map_or(part, |part| part.strip_suffix(b"\r").unwrap_or(part));
            found.push(part);
        }
        start = (!closes).then(|| at + line.len() + body.get(at + line.len()..).map_or(0, line_break_length));
    }
    // Without a closing delimiter the last part goes to the end.
    found.extend(start.and_then(|start| body.get(start..)));
    found.into_iter()
}

fn line_break_length(text: &[u8]) -> usize {
    match text {
        [b'\r', b'\n', ..] => 2,
        [b'\n', ..] => 1,
        _ => 0,
    }
}

/// By `Content-Transfer-Encoding` (RFC 2045 §6). None: it is not known, or not kept.
fn decoded<'a>(encoding: &str, content: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    let is = |name: &str| encoding.eq_ignore_ascii_case(name);
    if is("base64") {
        base64(content).map(Cow::Owned)
    } else if is("quoted-printable") {
        quoted_printable(content).map(Cow::Owned)
    } else {
        let is_plain = ["", "7bit", "8bit", "binary"].into_iter().any(is);
        is_plain.then_some(Cow::Borrowed(content))
    }
}

struct Part<'a> {
    content_type: &'a str,
    encoding: &'a str,
    content: &'a [u8],
}

impl<'a> Part<'a> {
    /// None without a `Content-Type`: then it is text (RFC 2046 §5.1).
    fn split(part: &'a [u8]) -> Option<Part<'a>> {
        let (mut content_type, mut encoding) = (None, "");
        for (at, line) in lines(part) {
            if line.is_empty() {
                let after = part.get(at..)?;
                let content = after.get(line_break_length(after)..)?;
                return Some(Part { content_type: content_type?, encoding, content });
            }
            let line = core::str::from_utf8(line).unwrap_or_default();
            let Some((name, value)) = line.split_once(':') else { continue };
            let (name, value) = (name.trim(), value.trim());
            if name.eq_ignore_ascii_case("content-type") || name.eq_ignore_ascii_case("c") {
                content_type = Some(value);
            } else if name.eq_ignore_ascii_case("content-transfer-encoding") {
                encoding = value;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(content_type: &str, body: &str) -> Option<String> {
        let body = body.replace('\n', "\r\n");
        session_description(content_type, body.as_bytes()).map(|sdp| String::from_utf8_lossy(&sdp).into_owned())
    }

    #[test]
    fn the_part_with_the_description_is_found_among_others() {
        let body = "preamble\n--b1\nContent-Type: application/isup;base=itu-t92+\nContent-Disposition: signal;handling=optional\n\n\u{1}\u{2}\n--b1\nContent-Type: application/sdp\n\nv=0\nm=audio\n--b1--\nepilogue";
        assert_eq!(found("multipart/mixed;boundary=b1", body).as_deref(), Some("v=0\r\nm=audio"));
        assert_eq!(found("Multipart/Mixed; boundary=\"b1\"", body).as_deref(), Some("v=0\r\nm=audio"));
        assert_eq!(found("multipart/mixed", body).as_deref(), Some("v=0\r\nm=audio"), "the boundary is guessed");
        assert_eq!(found("multipart/mixed;boundary=b2", body), None);
        assert_eq!(found("text/plain", "v=0\n"), None);
    }

    #[test]
    fn a_description_within_nested_parts_is_found() {
        let inner = "--in\nc: application/sdp\n\nv=0\n--in\nc: application/sdp\n\nv=1\n--in--\n";
        let body = format!("--out\nContent-Type: multipart/alternative;boundary=in\n\n{inner}\n--out--\n");
        assert_eq!(found("multipart/related;boundary=out", &body).as_deref(), Some("v=1"));
    }

    #[test]
    fn a_body_without_closing_delimiter_and_with_lf_lines_is_read() {
        let body = b"--b\nContent-Type: application/sdp\n\nv=0\ns=-\n";
        assert_eq!(session_description("multipart/mixed;boundary=b", body).as_deref(), Some(&b"v=0\ns=-\n"[..]));
    }
}
