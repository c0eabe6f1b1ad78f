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

use super::caller_shares::{Amount, Caller, CallerShares};
use super::id::TenantId;
use super::key::{self, KeyHash, random_text};
use crate::seal;
use crate::timestamp::Timestamp;

const PREFIX: &str = "bt_";
/// Tokens of one kind that may wait at a time, made with one API key or by the operator for one tenant.
const MAX_PENDING_TOKENS: Amount = Amount { items: 1000, bytes: usize::MAX };

/// Whether `text` has in it what may be an API key, or is what may be a token.
pub fn resembles_secret(text: &str) -> bool {
    text.contains(key::PREFIX) || text.starts_with(PREFIX)
}

/// Each kind has limits of its own: neither uses up the other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    Handoff,
    Link,
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
    /// Tokens from before this was known count as the operator's, and as the oldest.
    #[serde(default)]
    pub made_at: Timestamp,
    #[serde(default)]
    pub made_by: Caller,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum StoredContent {
    Link {
        sealed: SealedCredentials,
    },
    Handoff {
        /// As the page sent it.
        payload: String,
    },
}

impl StoredContent {
    fn kind(&self) -> TokenKind {
        match self {
            Self::Link { .. } => TokenKind::Link,
            Self::Handoff { .. } => TokenKind::Handoff,
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
/// and the shares bound what one caller can make the store hold.
pub struct PendingTokens {
    tokens: HashMap<KeyHash, PendingToken>,
    handoffs: CallerShares<KeyHash>,
    links: CallerShares<KeyHash>,
}

struct PendingToken {
    tenant: TenantId,
    kind: TokenKind,
    expires_at: Timestamp,
}

impl Default for PendingTokens {
    fn default() -> Self {
        let [handoffs, links] = [MAX_PENDING_TOKENS; 2].map(CallerShares::new);
        Self { tokens: HashMap::new(), handoffs, links }
    }
}

impl PendingTokens {
    pub fn put(&mut self, hash: KeyHash, tenant: TenantId, stored: &StoredToken) {
        let kind = stored.content.kind();
        self.shares_mut(kind).put(tenant.clone(), stored.made_by.clone(), hash, stored.made_at, 0);
        self.tokens.insert(hash, PendingToken { tenant, kind, expires_at: stored.expires_at });
    }

    pub fn remove(&mut self, hash: &KeyHash) {
        if let Some(token) = self.tokens.remove(hash) {
            self.shares_mut(token.kind).remove(hash);
        }
    }

    pub fn remove_tenant(&mut self, tenant: &TenantId) {
        self.tokens.retain(|_, token| token.tenant != *tenant);
        self.handoffs.remove_tenant(tenant);
        self.links.remove_tenant(tenant);
    }

    /// The tenant that a token is for, while it is good.
    pub fn tenant_of(&self, hash: &KeyHash, now: Timestamp) -> Option<TenantId> {
        let token = self.tokens.get(hash)?;
        (token.expires_at > now).then(|| token.tenant.clone())
    }

    /// What has to go so that there is room for this one.
    pub fn surplus(&self, tenant: &TenantId, stored: &StoredToken) -> Vec<KeyHash> {
        let shares = match stored.content.kind() {
            TokenKind::Handoff => &self.handoffs,
            TokenKind::Link => &self.links,
        };
        shares.surplus(tenant, &stored.made_by, 0)
    }

    pub fn expired(&self, now: Timestamp) -> Vec<(KeyHash, TenantId)> {
        let expired = self.tokens.iter().filter(|(_, token)| token.expires_at <= now);
        expired.map(|(hash, token)| (*hash, token.tenant.clone())).collect()
    }

    fn shares_mut(&mut self, kind: TokenKind) -> &mut CallerShares<KeyHash> {
        match kind {
            TokenKind::Handoff => &mut self.handoffs,
            TokenKind::Link => &mut self.links,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::super::key::{KeyId, Pepper};
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

    fn handoff(key: Option<&str>, made_at: i64) -> StoredToken {
        let made_by = Caller { key: key.map(|key| KeyId(key.into())), network: None };
        let content = StoredContent::Handoff { payload: "eA".into() };
        StoredToken { content, expires_at: Timestamp(10), made_at: Timestamp(made_at), made_by }
    }

    #[test]
    fn a_token_waits_until_its_time_is_over_and_then_is_gone() {
        let mut waiting = PendingTokens::default();
        for _ in 0..2 {
            waiting.put(hash("a"), tenant("acme"), &handoff(Some("key_a"), 1));
        }
        assert_eq!(waiting.tenant_of(&hash("a"), Timestamp(9)), Some(tenant("acme")));
        assert_eq!(waiting.tenant_of(&hash("a"), Timestamp(10)), None);
        assert_eq!(waiting.expired(Timestamp(9)), []);
        assert_eq!(waiting.expired(Timestamp(10)), [(hash("a"), tenant("acme"))]);
        waiting.remove(&hash("a"));
        waiting.remove(&hash("a"));
        assert!(waiting.tokens.is_empty());
    }

    #[test]
    fn hand_offs_leave_links_their_room_and_go_with_their_tenant() {
        let mut waiting = PendingTokens::default();
        let its = MAX_PENDING_TOKENS.items / 2;
        for number in 0..its {
            let token = handoff(Some("key_a"), number.try_into().unwrap());
            assert_eq!(waiting.surplus(&tenant("acme"), &token), []);
            waiting.put(hash(&number.to_string()), tenant("acme"), &token);
        }
        let token = handoff(Some("key_a"), 5000);
        assert_eq!(waiting.surplus(&tenant("acme"), &token), [hash("0")], "the oldest");
        let sealed = SealedCredentials::seal(&Token::generate().unwrap(), &tenant("acme"), &credentials()).unwrap();
        let link = StoredToken { content: StoredContent::Link { sealed }, ..token.clone() };
        assert_eq!(waiting.surplus(&tenant("acme"), &link), []);
        assert_eq!(waiting.surplus(&tenant("other"), &token), []);
        assert_eq!(waiting.surplus(&tenant("acme"), &handoff(Some("key_b"), 5000)), []);
        waiting.put(hash("its"), tenant("other"), &token);
        waiting.remove_tenant(&tenant("acme"));
        assert_eq!(waiting.tenant_of(&hash("7"), Timestamp(0)), None);
        assert_eq!(waiting.surplus(&tenant("acme"), &token), []);
        assert_eq!(waiting.tenant_of(&hash("its"), Timestamp(0)), Some(tenant("other")));
    }

    #[test]
    fn a_token_from_before_its_maker_was_kept_is_still_good() {
        let old = r#"{"content":{"kind":"handoff","payload":"eA"},"expiresAt":10}"#;
        let stored: StoredToken = serde_json::from_str(old).unwrap();
        assert_eq!(stored, handoff(None, 0));
    }
}
