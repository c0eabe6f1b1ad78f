//! One-time tokens: what takes a person into the standalone app, once and soon.
//!
//! A link is made by a tenant's back end and holds SIP credentials. They are
//! sealed under a key that is derived from the token, and of the token only a
//! hash is stored: whoever reads the store can open nothing. A hand-off is made
//! by a page; the page encrypts, and its key never comes here.

use std::collections::HashMap;
use std::fmt;
use std::io;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::id::TenantId;
use super::key::{KeyHash, random_text};
use crate::seal;
use crate::timestamp::Timestamp;

const PREFIX: &str = "bt_";
/// Tokens of one tenant that may wait at a time, in each share.
const MAX_PENDING_TOKENS: usize = 1000;

/// Who has made a token, and which kind. None of them can use up the tokens of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenShare {
    Handoff,
    /// By the holder of an API key.
    Link,
    /// By the operator.
    OperatorLink,
}

/// A token in clear. Not stored, and not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// With 160 random bits.
    pub fn generate() -> io::Result<Self> {
        Ok(Self(format!("{PREFIX}{}", random_text(32)?)))
    }

    pub fn from_text(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{PREFIX}…")
    }
}

/// With what a phone signs in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SipCredentials {
    pub username: String,
    /// None: the tenant's domain.
    pub domain: Option<String>,
    /// Exactly one of the two is there.
    pub password: Option<String>,
    #[serde(rename = "HA1Password")]
    pub ha1_password: Option<String>,
}

impl fmt::Debug for SipCredentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SipCredentials({})", self.username)
    }
}

/// What is stored of a token, under its tenant and its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredToken {
    pub content: StoredContent,
    pub expires_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum StoredContent {
    Link {
        sealed: SealedCredentials,
        /// Earlier versions did not say.
        #[serde(default)]
        by_operator: bool,
    },
    Handoff {
        /// As the page sent it.
        payload: String,
    },
}

impl StoredContent {
    pub fn share(&self) -> TokenShare {
        match self {
            Self::Link { by_operator: true, .. } => TokenShare::OperatorLink,
            Self::Link { by_operator: false, .. } => TokenShare::Link,
            Self::Handoff { .. } => TokenShare::Handoff,
        }
    }
}

/// SIP credentials that only the holder of the token can read: nonce, AES-256-GCM ciphertext and
/// tag, as base64. The key is HKDF-SHA-256 (RFC 5869) of the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SealedCredentials(String);

impl SealedCredentials {
    /// Good for this token and this tenant only.
    pub fn seal(token: &Token, tenant: &TenantId, credentials: &SipCredentials) -> io::Result<Self> {
        let sealed = seal::seal(&sealing_key(token)?, tenant.as_str(), serde_json::to_vec(credentials)?)?;
        Ok(Self(STANDARD.encode(sealed)))
    }

    pub fn open(&self, token: &Token, tenant: &TenantId) -> io::Result<SipCredentials> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the credentials of a link cannot be opened");
        let sealed = STANDARD.decode(&self.0).map_err(|_| damaged())?;
        let opened = seal::open(&sealing_key(token)?, tenant.as_str(), &sealed).ok_or_else(damaged)?;
        Ok(serde_json::from_slice(&opened)?)
    }
}

fn sealing_key(token: &Token) -> io::Result<[u8; 32]> {
    let failed = |_: Unspecified| io::Error::other("no key can be derived from the token");
    let extracted = Salt::new(HKDF_SHA256, &[]).extract(token.0.as_bytes());
    let mut key = [0; 32];
    let expanded = extracted.expand(&[b"bitcall link credentials"], HKDF_SHA256).map_err(failed)?;
    expanded.fill(&mut key).map_err(failed)?;
    Ok(key)
}

/// The tokens that wait to be redeemed. A look-up here tells most strangers off without the store,
/// and the count bounds what one tenant can make the store hold.
#[derive(Default)]
pub struct PendingTokens {
    tokens: HashMap<KeyHash, PendingToken>,
    per_share: HashMap<(TenantId, TokenShare), usize>,
}

struct PendingToken {
    tenant: TenantId,
    share: TokenShare,
    expires_at: Timestamp,
}

impl PendingTokens {
    pub fn put(&mut self, hash: KeyHash, tenant: TenantId, share: TokenShare, expires_at: Timestamp) {
        let token = PendingToken { tenant: tenant.clone(), share, expires_at };
        if self.tokens.insert(hash, token).is_none() {
            *self.per_share.entry((tenant, share)).or_default() += 1;
        }
    }

    pub fn remove(&mut self, hash: &KeyHash) {
        let Some(PendingToken { tenant, share, .. }) = self.tokens.remove(hash) else { return };
        let share = (tenant, share);
        if let Some(count) = self.per_share.get_mut(&share) {
            *count -= 1;
            if *count == 0 {
                self.per_share.remove(&share);
            }
        }
    }

    pub fn remove_tenant(&mut self, tenant: &TenantId) {
        self.per_share.retain(|(owner, _), _| owner != tenant);
        self.tokens.retain(|_, token| token.tenant != *tenant);
    }

    /// The tenant that a token is for, while it is good.
    pub fn tenant_of(&self, hash: &KeyHash, now: Timestamp) -> Option<TenantId> {
        let token = self.tokens.get(hash)?;
        (token.expires_at > now).then(|| token.tenant.clone())
    }

    pub fn is_full(&self, tenant: &TenantId, share: TokenShare) -> bool {
        self.per_share.get(&(tenant.clone(), share)).is_some_and(|count| *count >= MAX_PENDING_TOKENS)
    }

    pub fn expired(&self, now: Timestamp) -> Vec<(KeyHash, TenantId)> {
        let expired = self.tokens.iter().filter(|(_, token)| token.expires_at <= now);
        expired.map(|(hash, token)| (*hash, token.tenant.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::super::key::Pepper;
    use super::*;

    fn credentials() -> SipCredentials {
        SipCredentials {
            username: "101".into(),
            domain: None,
            password: Some("correct horse battery".into()),
            ha1_password: None,
        }
    }

    fn tenant(id: &str) -> TenantId {
        id.parse().unwrap()
    }

    fn hash(text: &str) -> KeyHash {
        Pepper::new(b"a pepper of its own").unwrap().hash(text)
    }

    #[test]
    fn sealed_credentials_open_with_their_token_for_their_tenant_only() {
        let token = Token::generate().unwrap();
        let sealed = SealedCredentials::seal(&token, &tenant("acme"), &credentials()).unwrap();
        assert_eq!(sealed.open(&token, &tenant("acme")).unwrap(), credentials());
        assert!(sealed.open(&Token::generate().unwrap(), &tenant("acme")).is_err());
        assert!(sealed.open(&token, &tenant("other")).is_err());
        assert_ne!(
            sealed,
            SealedCredentials::seal(&token, &tenant("acme"), &credentials()).unwrap(),
            "never the same twice"
        );
    }

    #[test]
    fn damaged_credentials_are_refused() {
        let token = Token::generate().unwrap();
        let sealed = SealedCredentials::seal(&token, &tenant("acme"), &credentials()).unwrap();
        let mut bytes = STANDARD.decode(&sealed.0).unwrap();
        for index in [0, 12, bytes.len() - 1] {
            bytes[index] ^= 1;
            assert!(SealedCredentials(STANDARD.encode(&bytes)).open(&token, &tenant("acme")).is_err());
            bytes[index] ^= 1;
        }
        for short in ["", "AAAA", "not base64"] {
            assert!(SealedCredentials(short.into()).open(&token, &tenant("acme")).is_err());
        }
    }

    #[test]
    fn neither_tokens_nor_passwords_are_shown_in_logs() {
        let token = Token::generate().unwrap();
        assert!(!format!("{token:?}").contains(&token.as_str()[PREFIX.len()..]));
        assert!(!format!("{:?}", credentials()).contains("horse"));
    }

    #[test]
    fn a_token_waits_until_its_time_is_over_and_counts_once() {
        let mut waiting = PendingTokens::default();
        for _ in 0..2 {
            waiting.put(hash("a"), tenant("acme"), TokenShare::Link, Timestamp(10));
        }
        assert_eq!(waiting.tenant_of(&hash("a"), Timestamp(9)), Some(tenant("acme")));
        assert_eq!(waiting.tenant_of(&hash("a"), Timestamp(10)), None);
        assert_eq!(waiting.expired(Timestamp(9)), []);
        assert_eq!(waiting.expired(Timestamp(10)), [(hash("a"), tenant("acme"))]);
        waiting.remove(&hash("a"));
        waiting.remove(&hash("a"));
        assert_eq!((waiting.tokens.len(), waiting.per_share.len()), (0, 0));
    }

    #[test]
    fn one_tenants_tokens_are_bounded_and_go_with_it() {
        let mut waiting = PendingTokens::default();
        for number in 0..MAX_PENDING_TOKENS {
            assert!(!waiting.is_full(&tenant("acme"), TokenShare::Link));
            waiting.put(hash(&number.to_string()), tenant("acme"), TokenShare::Link, Timestamp(10));
        }
        assert!(waiting.is_full(&tenant("acme"), TokenShare::Link));
        for (id, share) in
            [("acme", TokenShare::Handoff), ("acme", TokenShare::OperatorLink), ("other", TokenShare::Link)]
        {
            assert!(!waiting.is_full(&tenant(id), share), "{id} {share:?}");
        }
        waiting.put(hash("its"), tenant("other"), TokenShare::Link, Timestamp(10));
        waiting.remove_tenant(&tenant("acme"));
        assert_eq!(waiting.tenant_of(&hash("7"), Timestamp(0)), None);
        assert_eq!(waiting.tenant_of(&hash("its"), Timestamp(0)), Some(tenant("other")));
    }
}
