//! Extensions of the built-in SIP edge. The password is never stored: what is
//! kept are its digests HA1 = H(user ":" realm ":" password) (RFC 7616 §3.4.2).

use bitcall_sip::digest::{Algorithm, ha1};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::id::Username;
use super::refusal::InvalidValue;
use crate::timestamp::Timestamp;

/// Of a generated password, 5 bits each.
pub const GENERATED_PASSWORD_LENGTH: usize = 24;
/// Characters.
pub const MIN_PASSWORD_LENGTH: usize = 8;
pub const MAX_PASSWORD_LENGTH: usize = 128;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Extension {
    pub username: Username,
    pub display_name: Option<String>,
    /// The tenant's edge domain when the password was set. Under another realm the digests are of no use.
    pub realm: String,
    pub credentials: Credentials,
    pub created_at: Timestamp,
}

impl Extension {
    /// The record as the audit may tell it: a digest is as good as its password.
    pub fn audit_value(&self) -> Value {
        json!({ "username": self.username, "displayName": self.display_name, "realm": self.realm })
    }
}

/// Lower-case hexadecimal digests, good for one user name and realm.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    pub ha1_md5: String,
    pub ha1_sha256: String,
}

/// Digests are as good as passwords; logs must not show them.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Credentials(…)")
    }
}

impl Credentials {
    pub fn derive(username: &str, realm: &str, password: &str) -> Self {
        Self {
            ha1_md5: ha1(Algorithm::Md5, username, realm, password),
            ha1_sha256: ha1(Algorithm::Sha256, username, realm, password),
        }
    }
}

/// An extension to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewExtension {
    pub username: Username,
    pub display_name: Option<String>,
    /// One is generated when there is none.
    pub password: Option<String>,
}

pub fn checked_password(password: &str) -> Result<(), InvalidValue> {
    match password.chars().count() {
        MIN_PASSWORD_LENGTH..=MAX_PASSWORD_LENGTH if !password.chars().any(char::is_control) => Ok(()),
        _ => Err(InvalidValue::new(format!(
            "must have {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters and no control characters"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ha1_is_that_of_rfc_7616() {
        let mufasa = Credentials::derive("Mufasa", "http-auth@example.org", "Circle of Life");
        assert_eq!(mufasa.ha1_md5, "3d78807defe7de2157e2b0b6573a855f");
        assert_eq!(mufasa.ha1_sha256, "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232");
    }
}
