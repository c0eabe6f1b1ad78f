//! The lexical layer of RFC 3261 §25.1: tokens, quoted strings, lists, numbers.

use std::borrow::Cow;

const TOKEN: u8 = 1;

/// One entry per byte: whether it may be in a token.
static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "the loop ends at 255")]
        let character = byte as u8;
        if character.is_ascii_alphanumeric() {
            table[byte] = TOKEN;
        }
        byte += 1;
    }
    let marks = b"-.!%*_+`'~";
    let mut index = 0;
    while index < marks.len() {
        table[marks[index] as usize] = TOKEN;
        index += 1;
    }
    table
}

#[inline]
pub(crate) fn is_token_byte(byte: u8) -> bool {
    CLASS.get(usize::from(byte)).is_some_and(|class| *class == TOKEN)
}

pub(super) fn is_token(character: char) -> bool {
    u8::try_from(character).is_ok_and(is_token_byte)
}

/// Whether `text` is one token: not empty, nothing but token characters.
pub(crate) fn all_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// Linear white space of an unfolded value.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// The position of the first byte for which `stop` holds, outside quoted strings and outside `<…>`;
/// the text's length where there is none.
#[inline]
pub(crate) fn find_outside(text: &str, stop: impl Fn(u8) -> bool) -> usize {
    let (mut quoted, mut angle, mut escaped) = (false, false, false);
    for (index, byte) in text.bytes().enumerate() {
        if quoted {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
        } else if angle {
            angle = byte != b'>';
        } else if stop(byte) {
            return index;
        } else if byte == b'"' {
            quoted = true;
        } else if byte == b'<' {
            angle = true;
        }
    }
    text.len()
}

/// Splits at `index`, dropping the byte there.
pub(crate) fn split_off(text: &str, index: usize) -> (&str, &str) {
    let head = text.get(..index).unwrap_or(text);
    let tail = text.get(index + 1..).unwrap_or_default();
    (head, tail)
}

/// The first element of a comma-separated list and what follows its comma, both trimmed.
pub(crate) fn first_item(text: &str) -> (&str, &str) {
    let (item, rest) = split_off(text, find_outside(text, |byte| byte == b','));
    (trim(item), trim(rest))
}

/// The elements of a comma-separated list, trimmed, empty ones left out.
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

/// Takes a quoted string off its quotes and escapes; any other text is returned as it is.
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

/// Whether `text` is one whole quoted string.
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

/// A run of decimal digits; too large a number is `u32::MAX`, anything else is `None`.
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

/// A run of decimal digits that fits.
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

/// Appends a number in decimal; `format!` would cost more WASM than it saves.
pub fn push_number(text: &mut String, number: usize) {
    if number >= 10 {
        push_number(text, number / 10);
    }
    text.push(char::from_digit(u32::try_from(number % 10).unwrap_or_default(), 10).unwrap_or('0'));
}

/// Appends text for one line: what would end the line becomes a space.
pub(super) fn push_clean(text: &mut String, addition: &str) {
    if addition.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        text.extend(addition.chars().map(|c| if matches!(c, '\r' | '\n' | '\0') { ' ' } else { c }));
    } else {
        text.push_str(addition);
    }
}
