//! Time-limited TURN credentials, as coturn's `use-auth-secret` expects them
//! (draft-uberti-behave-turn-rest-00 §2.2): the relay and this server share a
//! secret, a phone gets a name that says until when, and its HMAC under the secret.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::id::TenantId;
use crate::timestamp::Timestamp;

/// What a phone shows to a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnCredentials {
    /// Until when, in seconds since 1970, and for which tenant: so the relay's log tells who used it.
    pub username: String,
    pub credential: String,
}

impl TurnCredentials {
    pub fn new(secret: &str, tenant: &TenantId, now: Timestamp, lifetime: Duration) -> Self {
        let lifetime = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        let username = format!("{}:{tenant}", (now.0 / 1000).saturating_add(lifetime));
        // SHA-1 is what relays know; as an HMAC it is sound.
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
        let credential = STANDARD.encode(hmac::sign(&key, username.as_bytes()));
        Self { username, credential }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_pass_is_what_the_relay_computes_too() {
        let pass = TurnCredentials::new(
            "north",
            &"acme".parse().unwrap(),
            Timestamp(1_700_000_000_999),
            Duration::from_hours(12),
        );
        assert_eq!(pass.username, "1700043200:acme");
        // printf 1700043200:acme | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(pass.credential, "jSKNPz/tHceQTlX8o9btT6bqu64=");
    }
}
