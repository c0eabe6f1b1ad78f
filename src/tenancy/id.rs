//! Names that tenants and extensions go by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::refusal::InvalidValue;

const MAX_TENANT_ID: usize = 48;
const MAX_USERNAME: usize = 32;

/// A tenant's name for good: 1 to 48 of `a-z 0-9 _ -`, starting and ending with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantId(String);

impl TenantId {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tenant's label in domain names, where `_` is not allowed.
    pub fn dns_label(&self) -> String {
        self.0.replace('_', "-")
    }
}

impl FromStr for TenantId {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        let at_ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = text.as_bytes();
        if bytes.len() <= MAX_TENANT_ID
            && bytes.iter().copied().all(allowed)
            && at_ends(bytes.first())
            && at_ends(bytes.last())
        {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidValue::new(format!(
            "must be 1 to {MAX_TENANT_ID} characters of a-z, 0-9, _ and -, starting and ending with a letter or digit"
        )))
    }
}

/// An extension's user name, e.g. `101`: 1 to 32 of `a-z 0-9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Username(String);

impl Username {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Username {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        if (1..=MAX_USERNAME).contains(&text.len()) && text.bytes().all(allowed) {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidValue::new(format!("must be 1 to {MAX_USERNAME} characters of a-z, 0-9, dot, _ and -")))
    }
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
            type Error = InvalidValue;

            fn try_from(text: String) -> Result<Self, InvalidValue> {
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

as_text!(TenantId);
as_text!(Username);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenant_ids_are_plain_lower_case_names() {
        for good in ["acme", "acme_corp", "a", "7", "a-b_c9"] {
            assert!(good.parse::<TenantId>().is_ok(), "{good}");
        }
        let long = "a".repeat(49);
        for bad in ["", "Acme", "a b", "_a", "a-", "../x", "a/b", "ä", "a.b", &long] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn user_names_are_plain_lower_case_names() {
        for good in ["101", "anna.b", "a_b-c", "."] {
            assert!(good.parse::<Username>().is_ok(), "{good}");
        }
        let long = "1".repeat(33);
        for bad in ["", "Anna", "a b", "a@b", "a/b", "ö", "*43", &long] {
            assert!(bad.parse::<Username>().is_err(), "{bad}");
        }
    }
}
