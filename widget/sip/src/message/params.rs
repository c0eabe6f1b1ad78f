//! Parameters of a header value or URI: `;name=value;flag`.

use super::grammar::{self, TOKEN, find, find_outside, split_off, trim};
use std::borrow::Cow;

/// The unparsed parameters of a Via, an address, a URI or another value: `name=value;flag`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params<'a>(&'a str);

impl<'a> Params<'a> {
    /// Parameters from their text, without the first semicolon.
    pub fn new(text: &'a str) -> Params<'a> {
        Params(text)
    }

    /// The text, without the first semicolon.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The value of the first parameter of this name (case-insensitive) as written, with quotes; empty
    /// for a flag.
    pub fn get(self, name: &str) -> Option<&'a str> {
        self.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The value of a parameter without its quotes and escapes.
    pub fn text(self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name).map(grammar::unquote)
    }

    /// Whether the parameter is present, with or without a value.
    pub fn has(self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Names and values as written; a flag's value is empty.
    #[inline]
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            while !rest.is_empty() {
                let (parameter, tail) = split_off(rest, find_outside(rest, b';'));
                rest = tail;
                let (name, value) = split_off(parameter, find(parameter, b'='));
                let name = trim(name);
                if !name.is_empty() {
                    return Some((name, trim(value)));
                }
            }
            None
        })
    }

    /// Whether every parameter is `token`, `token=token`, `token=host` or `token=quoted-string`
    /// (RFC 3261 §25.1, `generic-param`).
    pub(super) fn well_formed(self) -> bool {
        if trim(self.0).is_empty() {
            return true;
        }
        let mut rest = Some(self.0);
        while let Some(text) = rest {
            let end = find_outside(text, b';');
            let (parameter, tail) = split_off(text, end);
            rest = (end < text.len()).then_some(tail);
            let equals = find(parameter, b'=');
            let (name, value) = split_off(parameter, equals);
            let value = trim(value);
            let value_well_formed = if equals == parameter.len() {
                true
            } else if value.starts_with('"') {
                grammar::is_quoted(value)
            } else {
                // An empty value after `=` is accepted, because some phones send it.
                value.bytes().all(|byte| {
                    TOKEN.has(byte)
                        || byte >= 0x80
                        || matches!(byte, b'[' | b']' | b':' | b'/' | b'@' | b'?' | b'&' | b'=' | b'+' | b'$')
                })
            };
            if !value_well_formed || !grammar::all_token(trim(name)) {
                return false;
            }
        }
        true
    }
}
