//! Names of hosts in the one form in which they are compared, stored and looked
//! up: lower case, ASCII, without the root's dot. A name in another script
//! is kept as its A-labels (`xn--…`, RFC 5891) and shown to people beside its Unicode form.
//!
//! What is a name is decided by UTS #46 with the rules for host names (STD 3:
//! letters, digits and hyphens), so two spellings of one name are one name.

use std::fmt;
use std::str::FromStr;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use serde::{Deserialize, Serialize};

const MAX_INPUT: usize = 1024;

/// A domain name such as `phone.acme.com` or `xn--bcher-kva.example`; at most 253 bytes. Never an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hostname(String);

/// One label of a domain name, at most 63 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

/// Why a text is no name, as the end of a sentence that starts with what it was meant to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadName(pub &'static str);

impl Hostname {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// For people; the same text where the name is plain ASCII.
    pub fn unicode(&self) -> String {
        unicode(&self.0)
    }

    /// Whether it is a name below `parent`, at any depth.
    pub fn is_below(&self, parent: &str) -> bool {
        self.0.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'))
    }

    pub fn has_one_label(&self) -> bool {
        !self.0.contains('.')
    }
}

impl FromStr for Hostname {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let name = ascii(text.strip_suffix('.').unwrap_or(text), Hyphens::CheckFirstLast)
            .ok_or(BadName("must be a domain name such as phone.example.com"))?;
        // What ends in a number is read as an IPv4 address everywhere (WHATWG URL standard, §3.5).
        let last = name.rsplit('.').next().unwrap_or_default();
        let number = last.strip_prefix("0x").map_or_else(
            || last.bytes().all(|byte| byte.is_ascii_digit()),
            |digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        );
        if number { Err(BadName("must be a name, not an address")) } else { Ok(Self(name)) }
    }
}

impl Label {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// For people; the same text where the label is plain ASCII.
    pub fn unicode(&self) -> String {
        unicode(&self.0)
    }
}

impl FromStr for Label {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        match ascii(text, Hyphens::Check) {
            Some(label) if !label.contains('.') => Ok(Self(label)),
            _ => Err(BadName(
                "must be 1 to 63 letters, digits and hyphens, with no hyphen at its ends or in third and fourth place",
            )),
        }
    }
}

fn ascii(text: &str, hyphens: Hyphens) -> Option<String> {
    // Longer than any name in any script: not worth a look.
    if text.len() > MAX_INPUT {
        return None;
    }
    let name = Uts46::new().to_ascii(text.as_bytes(), AsciiDenyList::STD3, hyphens, DnsLength::Verify);
    name.ok().map(std::borrow::Cow::into_owned)
}

fn unicode(name: &str) -> String {
    Uts46::new().to_unicode(name.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast).0.into_owned()
}

macro_rules! as_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;

            fn try_from(text: String) -> Result<Self, BadName> {
                text.parse()
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

as_text!(Hostname);
as_text!(Label);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn every_spelling_of_a_name_is_kept_as_one() {
        for (given, kept, shown) in [
            ("phone.acme.com", "phone.acme.com", "phone.acme.com"),
            ("Phone.ACME.com.", "phone.acme.com", "phone.acme.com"),
            ("bücher.example", "xn--bcher-kva.example", "bücher.example"),
            ("BÜCHER.example", "xn--bcher-kva.example", "bücher.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example", "bücher.example"),
            ("例え。テスト", "xn--r8jz45g.xn--zckzah", "例え.テスト"),
            ("r3---a.example", "r3---a.example", "r3---a.example"),
            ("localhost", "localhost", "localhost"),
        ] {
            let name: Hostname = given.parse().unwrap();
            assert_eq!((name.as_str(), name.unicode().as_str()), (kept, shown));
            assert_eq!(kept.parse::<Hostname>().unwrap(), name);
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let (label, name) = ("a".repeat(64), "a.".repeat(128));
        for bad in [
            "",
            ".",
            "a..b",
            ".a",
            "a..",
            "a b.com",
            "a_b.com",
            "-a.com",
            "a-.com",
            "a.com/x",
            "https://a.com",
            "a.com:443",
            "*.a.com",
            "a@b.com",
            "192.0.2.1",
            "0x7f.1",
            "a.b.0x1f",
            "1",
            "[::1]",
            "2001:db8::1",
            "xn--a.com",
            "xn--0.com",
            "a\u{200d}b.com",
            "a\0.com",
            &label,
            &name,
        ] {
            assert!(bad.parse::<Hostname>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_label_is_one_part_of_a_name() {
        for (given, kept, shown) in [("Acme", "acme", "acme"), ("7", "7", "7"), ("bücher", "xn--bcher-kva", "bücher")]
        {
            let label: Label = given.parse().unwrap();
            assert_eq!((label.as_str(), label.unicode().as_str()), (kept, shown));
        }
        let long = "a".repeat(64);
        for bad in ["", "a.b", "a。b", "a.", "-a", "a-", "ab--c", "a b", "a_b", "xn--0", "xn--", &long] {
            assert!(bad.parse::<Label>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn below_is_below_and_not_alike() {
        let name: Hostname = "a.b.example".parse().unwrap();
        assert!(name.is_below("b.example") && name.is_below("example"));
        assert!(!name.is_below("a.b.example") && !name.is_below(".example") && !name.is_below("ample"));
    }
}
