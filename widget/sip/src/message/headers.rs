//! The header fields and the body of a message: one text, and the position of every line in it.
//!
//! Received text is never rewritten: an edit appends text and changes the list of lines. So a proxy
//! forwards every line that it did not change byte for byte as received.

use super::{Header, HeaderName, grammar};

/// The position of a header line in the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeaderLine {
    pub(super) header: Header,
    /// The line without its final CRLF; a folded line includes its inner line breaks.
    pub(super) start: u32,
    pub(super) end: u32,
    /// The value without surrounding white space; for a folded line the position of the unfolded copy.
    pub(super) value: u32,
    pub(super) value_end: u32,
}

/// The header fields and the body, common to requests and responses.
///
/// Values written with [`Headers::append`], [`Headers::set`] and similar functions cannot inject header
/// fields: CR, LF and NUL in a value become spaces, and invalid characters in a name are removed.
#[derive(Clone, Debug)]
pub struct Headers {
    /// The start line and header lines as received, then the text of lines added later.
    pub(super) text: String,
    /// The received start line and header lines if they are not UTF-8 (`text` then has `?` for each
    /// invalid byte, so that positions are the same in both).
    pub(super) bytes: Option<Box<[u8]>>,
    pub(super) lines: Vec<HeaderLine>,
    pub(super) start_line: (u32, u32),
    pub(super) body: Vec<u8>,
    /// Generated, not parsed: Content-Length is added when it is written.
    pub(super) is_generated: bool,
}

impl Headers {
    pub(super) fn with_capacity(capacity: usize) -> Headers {
        Headers {
            text: String::with_capacity(capacity),
            bytes: None,
            lines: Vec::with_capacity(16),
            start_line: (0, 0),
            body: Vec::new(),
            is_generated: true,
        }
    }

    #[inline]
    pub(super) fn slice(&self, start: u32, end: u32) -> &str {
        self.text.get(start as usize..end as usize).unwrap_or_default()
    }

    #[inline]
    pub(super) fn line_value(&self, line: &HeaderLine) -> &str {
        self.slice(line.value, line.value_end)
    }

    fn line_name(&self, line: &HeaderLine) -> &str {
        let text = self.slice(line.start, line.end);
        text.split(':').next().unwrap_or_default().trim_end_matches([' ', '\t'])
    }

    fn name_of(&self, line: &HeaderLine) -> HeaderName<'_> {
        match line.header {
            Header::Other => HeaderName::Other(self.line_name(line)),
            known => HeaderName::Known(known),
        }
    }

    fn is(&self, line: &HeaderLine, name: HeaderName<'_>) -> bool {
        match name {
            HeaderName::Known(header) => line.header == header,
            HeaderName::Other(text) => line.header == Header::Other && self.line_name(line).eq_ignore_ascii_case(text),
        }
    }

    #[inline]
    pub(super) fn line(&self, header: Header) -> Option<&HeaderLine> {
        self.lines.iter().find(|line| line.header == header)
    }

    /// The first line's value of a header field, without surrounding white space, unfolded.
    pub fn value<'n>(&self, name: impl Into<HeaderName<'n>>) -> Option<&str> {
        let name = name.into();
        self.lines.iter().find(|line| self.is(line, name)).map(|line| self.line_value(line))
    }

    /// The values of all lines of a header field, in order.
    pub fn values<'n>(&self, name: impl Into<HeaderName<'n>>) -> impl Iterator<Item = &str> {
        let name = name.into();
        self.lines.iter().filter(move |line| self.is(line, name)).map(|line| self.line_value(line))
    }

    /// The elements of all lines of a comma-separated header field, in order.
    ///
    /// Not for `Authorization`, `WWW-Authenticate` and similar ones, whose commas separate parameters.
    pub fn items<'n>(&self, name: impl Into<HeaderName<'n>>) -> impl Iterator<Item = &str> {
        self.values(name).flat_map(grammar::items)
    }

    /// Whether the header field is present.
    pub fn has<'n>(&self, name: impl Into<HeaderName<'n>>) -> bool {
        self.value(name).is_some()
    }

    /// Whether a list such as `Supported`, `Require` or `Allow` contains `token`, case-insensitive.
    pub fn lists<'n>(&self, name: impl Into<HeaderName<'n>>, token: &str) -> bool {
        self.items(name).any(|item| item.eq_ignore_ascii_case(token))
    }

    /// Every header line in order: name as written, value unfolded.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.iter().map(|line| (self.line_name(line), self.line_value(line)))
    }

    /// The body; empty if there is none.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Sets the body and `Content-Type`, and updates `Content-Length`.
    pub fn set_body(&mut self, content_type: &str, body: &[u8]) {
        self.body.clear();
        self.body.extend_from_slice(body);
        self.set(Header::ContentType, content_type);
        self.update_length();
    }

    /// Removes the body and the header fields that describe it.
    pub fn clear_body(&mut self) {
        self.body.clear();
        for header in
            [Header::ContentType, Header::ContentDisposition, Header::ContentEncoding, Header::ContentLanguage]
        {
            self.remove(header);
        }
        self.update_length();
    }

    fn update_length(&mut self) {
        if self.has(Header::ContentLength) {
            let mut digits = String::new();
            grammar::push_number(&mut digits, self.body.len());
            self.set(Header::ContentLength, &digits);
        }
    }

    /// Appends a line.
    pub fn append<'n>(&mut self, name: impl Into<HeaderName<'n>>, value: &str) {
        let line = self.write_line(name.into(), value);
        self.lines.push(line);
    }

    /// Inserts a line before the first one of this name, or before all others if there is none.
    pub fn prepend<'n>(&mut self, name: impl Into<HeaderName<'n>>, value: &str) {
        let name = name.into();
        let line = self.write_line(name, value);
        let at = self.lines.iter().position(|line| self.is(line, name)).unwrap_or(0);
        self.lines.insert(at, line);
    }

    /// Replaces all lines of this name by one, at the position of the first; appends it if there is none.
    pub fn set<'n>(&mut self, name: impl Into<HeaderName<'n>>, value: &str) {
        let name = name.into();
        let Some(at) = self.lines.iter().position(|line| self.is(line, name)) else {
            return self.append(name, value);
        };
        let line = self.write_line(name, value);
        self.remove(name);
        self.lines.insert(at.min(self.lines.len()), line);
    }

    /// Removes all lines of this name and returns their number.
    pub fn remove<'n>(&mut self, name: impl Into<HeaderName<'n>>) -> usize {
        let name = name.into();
        let before = self.lines.len();
        let mut lines = core::mem::take(&mut self.lines);
        lines.retain(|line| !self.is(line, name));
        self.lines = lines;
        before - self.lines.len()
    }

    /// Replaces the first element of a comma-separated header field, or removes it. The elements after
    /// it on the same line do not change. Returns whether there was one.
    pub(super) fn replace_first(&mut self, header: Header, replacement: Option<&str>) -> bool {
        let Some(at) = self.lines.iter().position(|line| line.header == header) else {
            return false;
        };
        let Some(line) = self.lines.get(at).copied() else {
            return false;
        };
        let (_, rest) = grammar::first_item(self.line_value(&line));
        let mut value = String::from(replacement.unwrap_or_default());
        if !rest.is_empty() {
            if !value.is_empty() {
                value.push_str(", ");
            }
            value.push_str(rest);
        }
        if value.is_empty() {
            self.lines.remove(at);
        } else {
            let new = self.write_line(HeaderName::Known(header), &value);
            if let Some(slot) = self.lines.get_mut(at) {
                *slot = new;
            }
        }
        true
    }

    /// Copies a line of another message. A folded line is copied unfolded, so that the response to a
    /// message with a stray line break does not repeat that line break.
    fn copy_line(&mut self, from: &Headers, line: &HeaderLine) {
        if line.value < line.start || line.value_end > line.end {
            let copy = self.write_line(from.name_of(line), from.line_value(line));
            return self.lines.push(copy);
        }
        let start = self.position();
        self.text.push_str(from.slice(line.start, line.end));
        self.lines.push(HeaderLine {
            header: line.header,
            start,
            end: self.position(),
            value: start + (line.value - line.start),
            value_end: start + (line.value_end - line.start),
        });
    }

    pub(super) fn copy_lines(&mut self, from: &Headers, header: Header) {
        for line in from.lines.iter().filter(|line| line.header == header) {
            self.copy_line(from, line);
        }
    }

    fn write_line(&mut self, name: HeaderName<'_>, value: &str) -> HeaderLine {
        let start = self.position();
        match name {
            HeaderName::Known(header) => self.text.push_str(header.as_str()),
            HeaderName::Other(text) => {
                self.text.extend(text.chars().filter(|c| grammar::is_token(*c)));
            }
        }
        self.text.push_str(": ");
        let value_start = self.position();
        grammar::push_clean(&mut self.text, value.trim_matches([' ', '\t', '\r', '\n']));
        let end = self.position();
        let header = match name {
            HeaderName::Known(header) => header,
            HeaderName::Other(_) => Header::Other,
        };
        HeaderLine { header, start, end, value: value_start, value_end: end }
    }

    /// Writes a new start line.
    pub(super) fn write_start(&mut self, parts: [&str; 3]) {
        let start = self.position();
        for (index, part) in parts.into_iter().enumerate() {
            if index > 0 {
                self.text.push(' ');
            }
            grammar::push_clean(&mut self.text, part);
        }
        self.start_line = (start, self.position());
    }

    pub(super) fn position(&self) -> u32 {
        u32::try_from(self.text.len()).unwrap_or(u32::MAX)
    }

    fn write_span(&self, out: &mut Vec<u8>, start: u32, end: u32) {
        let span = start as usize..end as usize;
        match self.bytes.as_deref().and_then(|bytes| bytes.get(span.clone())) {
            Some(bytes) => out.extend_from_slice(bytes),
            None => out.extend_from_slice(self.slice(start, end).as_bytes()),
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Appends the serialised message to `out`.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.reserve(self.text.len() + self.body.len() + 32);
        self.write_span(out, self.start_line.0, self.start_line.1);
        for line in &self.lines {
            self.write_span(out, line.start, line.end);
        }
        if self.is_generated && !self.has(Header::ContentLength) {
            let mut line = String::from("Content-Length: ");
            grammar::push_number(&mut line, self.body.len());
            line.push_str("\r\n");
            out.extend_from_slice(line.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.body);
    }

    /// The serialised message.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_to(&mut out);
        out
    }
}
