//! Phone sessions: what a report of live calls is bound to.
//!
//! A phone shows its session as a text that this server made and nobody else can: an authenticated one, so that none is
//! stored. There are two kinds, because what the server knows of a phone depends on where it signs in:
//!
//! - On the built-in SIP edge, each answer to a REGISTER that the extension's password was proved for has a session of that
//!   extension. It ends after one to two hours, which the next REGISTER precedes by far, and at once with the password.
//! - Where the tenant's phones sign in at another SIP server, this one sees no sign-in. The session is of the page that was
//!   given the runtime configuration, and proves no more than the API key does: it only makes pages count.

use std::io;

use subtle::ConstantTimeEq as _;

use super::extension::Extension;
use super::id::{TenantId, Username};
use super::key::{Pepper, random_text};
use crate::timestamp::Timestamp;

const HOUR_MS: i64 = 3_600_000;
const PAGE: &str = "page";
const EXTENSION: &str = "extension";

/// Whose session it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PhoneSession {
    /// Of one page load.
    Page(String),
    Extension(Username),
}

/// A new session of a page of the tenant.
pub fn for_page(pepper: &Pepper, tenant: &TenantId) -> io::Result<String> {
    let id = random_text(16)?;
    let proof = proof(pepper, &[PAGE, tenant.as_str(), &id])?;
    Ok(format!("{PAGE}.{id}.{proof}"))
}

/// The session of an extension that has just proved its password. All made within an hour are the same.
pub fn for_extension(pepper: &Pepper, tenant: &TenantId, extension: &Extension, now: Timestamp) -> io::Result<String> {
    let last_hour = now.0 / HOUR_MS + 1;
    let proof = extension_proof(pepper, tenant, extension, last_hour)?;
    Ok(format!("{EXTENSION}.{}.{last_hour}.{proof}", extension.username))
}

/// Whose session `text` is, if this server made it for the tenant and it is not over.
pub fn opened<'e>(
    pepper: &Pepper,
    tenant: &TenantId,
    extension: impl FnOnce(&str) -> Option<&'e Extension>,
    text: &str,
    now: Timestamp,
) -> Option<PhoneSession> {
    let (claim, proof_given) = text.rsplit_once('.')?;
    let is_proved =
        |proof: io::Result<String>| proof.is_ok_and(|proof| bool::from(proof.as_bytes().ct_eq(proof_given.as_bytes())));
    if let Some(id) = claim.strip_prefix(PAGE).and_then(|rest| rest.strip_prefix('.')) {
        return is_proved(proof(pepper, &[PAGE, tenant.as_str(), id])).then(|| PhoneSession::Page(id.to_owned()));
    }
    // A user name may hold dots.
    let (username, last_hour) = claim.strip_prefix(EXTENSION)?.strip_prefix('.')?.rsplit_once('.')?;
    let last_hour = last_hour.parse().ok().filter(|last_hour| now.0 / HOUR_MS <= *last_hour)?;
    let extension = extension(username)?;
    is_proved(extension_proof(pepper, tenant, extension, last_hour))
        .then(|| PhoneSession::Extension(extension.username.clone()))
}

/// The password's digest is part of it: another password ends the session.
fn extension_proof(pepper: &Pepper, tenant: &TenantId, extension: &Extension, last_hour: i64) -> io::Result<String> {
    let (username, ha1) = (extension.username.as_str(), extension.credentials.ha1_sha256.as_str());
    proof(pepper, &[EXTENSION, tenant.as_str(), username, ha1, &last_hour.to_string()])
}

fn proof(pepper: &Pepper, parts: &[&str]) -> io::Result<String> {
    pepper.text("phone session", &parts.join("\n"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::tenancy::extension::Credentials;

    const NOON: Timestamp = Timestamp(1_773_489_600_000);

    fn pepper() -> Pepper {
        Pepper::new(b"a pepper of its own").unwrap()
    }

    fn tenant(id: &str) -> TenantId {
        id.parse().unwrap()
    }

    fn extension(username: &str, password: &str) -> Extension {
        Extension {
            username: username.parse().unwrap(),
            realm: "acme.sip.example".into(),
            display_name: None,
            credentials: Credentials::derive(username, "acme.sip.example", password),
            created_at: NOON,
        }
    }

    #[test]
    fn a_pages_session_is_good_for_its_tenant_only() {
        let text = for_page(&pepper(), &tenant("acme")).unwrap();
        let open = |pepper: &Pepper, id: &str, text: &str| opened(pepper, &tenant(id), |_| None, text, NOON);
        assert!(matches!(open(&pepper(), "acme", &text), Some(PhoneSession::Page(_))));
        assert_eq!(open(&pepper(), "other", &text), None);
        assert_eq!(open(&Pepper::new(b"another pepper").unwrap(), "acme", &text), None);
        assert_ne!(text, for_page(&pepper(), &tenant("acme")).unwrap());
        for at in 0..text.len() {
            let mut wrong = text.clone().into_bytes();
            wrong[at] = if wrong[at] == b'2' { b'3' } else { b'2' };
            assert_eq!(open(&pepper(), "acme", std::str::from_utf8(&wrong).unwrap()), None, "character {at}");
        }
        for wrong in ["", ".", "page", "page.", "page..", "page.x.", "extension.101.1", "ä.ä.ä"] {
            assert_eq!(open(&pepper(), "acme", wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_extensions_session_ends_with_its_time_and_with_its_password() {
        let anna = extension("anna.b", "first password");
        let text = for_extension(&pepper(), &tenant("acme"), &anna, NOON).unwrap();
        let open = |known: Option<&Extension>, at: i64| {
            let known = |username: &str| known.filter(|known| known.username.as_str() == username);
            opened(&pepper(), &tenant("acme"), known, &text, Timestamp(at))
        };
        let session = Some(PhoneSession::Extension("anna.b".parse().unwrap()));
        assert_eq!(open(Some(&anna), NOON.0), session);
        assert_eq!(open(Some(&anna), NOON.0 + 2 * HOUR_MS - 1), session);
        assert_eq!(open(Some(&anna), NOON.0 + 2 * HOUR_MS), None, "it is over");
        assert_eq!(open(Some(&extension("anna.b", "second password")), NOON.0), None);
        assert_eq!(open(Some(&extension("102", "first password")), NOON.0), None);
        assert_eq!(open(None, NOON.0), None, "the extension is gone");
        let longer = text.replace(&(NOON.0 / HOUR_MS + 1).to_string(), "9999999999");
        assert_eq!(opened(&pepper(), &tenant("acme"), |_| Some(&anna), &longer, NOON), None);
    }
}
