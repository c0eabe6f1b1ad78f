//! The lexical layer of RFC 3261 §25.1: tokens, quoted strings, lists, numbers.

use std::borrow::Cow;

/// A class of bytes: one bit in the entries of [`CHAR_CLASSES`].
#[derive(Clone, Copy)]
pub(crate) struct CharClass(u8);

/// `token`
pub(crate) const TOKEN: CharClass = CharClass(1);
/// `unreserved`, `user-unreserved`, and `#`, which phones send unescaped.
pub(crate) const USER: CharClass = CharClass(2);
/// `unreserved`, `param-unreserved`, `hnv-unreserved`, and the delimiters of parameters and header fields.
pub(crate) const URI_PARAM: CharClass = CharClass(4);
/// Letters, digits, dots and hyphens of a host name, and underscores, which are in use.
pub(crate) const HOST: CharClass = CharClass(8);
/// Characters of a Request-URI: printable ASCII except `<`, `>` and `"`.
pub(crate) const TARGET: CharClass = CharClass(16);

static CHAR_CLASSES: [u8; 256] = char_classes();

const fn char_classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "the loop ends at 255")]
        let character = byte as u8;
        if character.is_ascii_alphanumeric() {
            table[byte] = TOKEN.0 | USER.0 | URI_PARAM.0 | HOST.0;
        }
        if character.is_ascii_graphic() && !matches!(character, b'<' | b'>' | b'"') {
            table[byte] |= TARGET.0;
        }
        byte += 1;
    }
    add(&mut table, b"-.!%*_+`'~", TOKEN);
    add(&mut table, b"-_.!~*'()&=+$,;?/#", USER);
    add(&mut table, b"-_.!~*'()[]/:&+$;=?@,", URI_PARAM);
    add(&mut table, b".-_", HOST);
    table
}

const fn add(table: &mut [u8; 256], bytes: &[u8], class: CharClass) {
    let mut index = 0;
    while index < bytes.len() {
        table[bytes[index] as usize] |= class.0;
        index += 1;
    }
}

impl CharClass {
    #[inline]
    pub(crate) fn has(self, byte: u8) -> bool {
        CHAR_CLASSES[byte as usize] & self.0 != 0
    }

    /// Whether all bytes are of this class.
    #[inline]
    pub(crate) fn has_all(self, text: &str) -> bool {
        text.bytes().all(|byte| self.has(byte))
    }
}

pub(super) fn is_token(character: char) -> bool {
    u8::try_from(character).is_ok_and(|byte| TOKEN.has(byte))
}

/// Whether `text` is a `token`: not empty, only token characters.
pub(crate) fn all_token(text: &str) -> bool {
    !text.is_empty() && TOKEN.has_all(text)
}

/// Removes spaces and tabs from both ends.
#[inline]
pub(crate) fn trim(text: &str) -> &str {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(b' ' | b'\t'), _) | (_, Some(b' ' | b'\t')) => text.trim_matches([' ', '\t']),
        _ => text,
    }
}

/// The position of the first `stop` byte, or the text's length.
#[inline]
pub(crate) fn find(text: &str, stop: u8) -> usize {
    text.bytes().position(|byte| byte == stop).unwrap_or(text.len())
}

/// The position of the first space or tab, or the text's length.
#[inline]
pub(crate) fn find_space(text: &str) -> usize {
    text.bytes().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(text.len())
}

/// The position of the first `stop` byte outside quoted strings and `<…>`, or the text's length.
#[inline]
pub(crate) fn find_outside(text: &str, stop: u8) -> usize {
    let mut bytes = text.bytes().enumerate();
    while let Some((index, byte)) = bytes.next() {
        if byte == stop {
            return index;
        }
        if byte == b'"' {
            while let Some((_, byte)) = bytes.next() {
                match byte {
                    b'\\' => drop(bytes.next()),
                    b'"' => break,
                    _ => {}
                }
            }
        } else if byte == b'<' {
            bytes.find(|(_, byte)| *byte == b'>');
        }
    }
    text.len()
}

/// The text before and after the byte at `index`.
#[inline]
pub(crate) fn split_off(text: &str, index: usize) -> (&str, &str) {
    let head = text.get(..index).unwrap_or(text);
    let tail = text.get(index + 1..).unwrap_or_default();
    (head, tail)
}

/// The first element of a comma-separated list and the rest after its comma, both trimmed.
pub(crate) fn first_item(text: &str) -> (&str, &str) {
    let (item, rest) = split_off(text, find_outside(text, b','));
    (trim(item), trim(rest))
}

/// The non-empty elements of a comma-separated list, trimmed.
pub(crate) fn items(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    core::iter::from_fn(move || {
        while !rest.is_empty() {
            let (item, tail) = first_item(rest);
            rest = tail;
            if !item.is_empty() {
                return Some(item);
            }
        }
        None
    })
}

/// Removes the quotes and escapes of a quoted string; other text is returned unchanged.
pub fn unquote(text: &str) -> Cow<'_, str> {
    let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return Cow::Borrowed(text);
    };
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut plain = String::with_capacity(inner.len());
    let mut escaped = false;
    for character in inner.chars() {
        if character == '\\' && !escaped {
            escaped = true;
        } else {
            plain.push(character);
            escaped = false;
        }
    }
    Cow::Owned(plain)
}

/// Writes `text` as a quoted string; line breaks and NUL become spaces.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(if matches!(character, '\r' | '\n' | '\0') { ' ' } else { character });
    }
    quoted.push('"');
    quoted
}

/// Whether `text` is exactly one quoted string.
pub(crate) fn is_quoted(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('"') else {
        return false;
    };
    let mut escaped = false;
    for (index, byte) in inner.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return index + 1 == inner.len(),
            _ => {}
        }
    }
    false
}

/// Parses decimal digits; a too large number becomes `u32::MAX`, other text `None`.
pub(crate) fn delta_seconds(text: &str) -> Option<u32> {
    if text.is_empty() {
        return None;
    }
    let mut value = 0u32;
    for byte in text.bytes() {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value.saturating_mul(10).saturating_add(u32::from(byte - b'0'));
    }
    Some(value)
}

/// Parses decimal digits; `None` if the number does not fit.
pub(crate) fn number(text: &str) -> Option<u32> {
    let mut value = 0u32;
    for byte in text.bytes() {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u32::from(byte - b'0'))?;
    }
    (!text.is_empty()).then_some(value)
}

/// Appends a number in decimal. `format!` would add more bytes to the WASM than this function.
pub fn push_number(text: &mut String, number: usize) {
    if number >= 10 {
        push_number(text, number / 10);
    }
    text.push(char::from_digit(u32::try_from(number % 10).unwrap_or_default(), 10).unwrap_or('0'));
}

/// Appends text to a line: CR, LF and NUL become spaces.
pub(super) fn push_clean(text: &mut String, addition: &str) {
    if addition.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        text.extend(addition.chars().map(|c| if matches!(c, '\r' | '\n' | '\0') { ' ' } else { c }));
    } else {
        text.push_str(addition);
    }
}
