//! Answers about one-time tokens.

use bitcall_wire::config::RuntimeConfig;
use schemars::JsonSchema;
use serde::Serialize;

use super::Rfc3339;
use crate::tenancy::{IssuedToken, Platform, RedeemedToken, SipCredentials, TenantState, TokenContent};
use crate::timestamp::Timestamp;

/// `POST /api/auth/link`
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinkView {
    /// Opens the app and signs in, once. The token is in the fragment: it is in no server's log.
    url: String,
    token: String,
    expires_at: Rfc3339,
}

impl LinkView {
    pub fn of(issued: &IssuedToken, tenant: &TenantState, platform: &Platform) -> Self {
        Self {
            url: app_url(issued, tenant, platform),
            token: issued.token.as_str().to_owned(),
            expires_at: Rfc3339(issued.expires_at),
        }
    }
}

/// `POST /api/auth/handoff`
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HandoffView {
    token: String,
    expires_at: Rfc3339,
    /// The page adds `&key=` and the key to what it encrypted; it must not send it anywhere.
    url: String,
}

impl HandoffView {
    pub fn of(issued: &IssuedToken, tenant: &TenantState, platform: &Platform) -> Self {
        Self {
            token: issued.token.as_str().to_owned(),
            expires_at: Rfc3339(issued.expires_at),
            url: app_url(issued, tenant, platform),
        }
    }
}

/// By the tenant's best name: its own domain, else its subdomain, else the server's.
fn app_url(issued: &IssuedToken, tenant: &TenantState, platform: &Platform) -> String {
    let hosts = platform.hosts(tenant);
    let app = platform.defaults().app_url_of(&tenant.tenant.id, hosts.last().map(String::as_str));
    format!("{app}#token={}", issued.token.as_str())
}

/// `POST /api/auth/redeem`
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedeemedView {
    kind: TokenKind,
    tenant_id: String,
    config: RuntimeConfig,
    /// Of a link.
    sip: Option<SipCredentials>,
    /// Of a hand-off: what the page sent.
    payload: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum TokenKind {
    Link,
    Handoff,
}

impl RedeemedView {
    pub fn of(redeemed: RedeemedToken, platform: &Platform, now: Timestamp) -> Self {
        let id = &redeemed.state.tenant.id;
        let config = platform.values_of(&redeemed.state).effective.runtime_config(id, &platform.defaults(), now);
        let (kind, sip, payload) = match redeemed.carried {
            TokenContent::Credentials(sip) => (TokenKind::Link, Some(sip), None),
            TokenContent::Ciphertext(payload) => (TokenKind::Handoff, None, Some(payload)),
        };
        Self { kind, tenant_id: id.to_string(), config, sip, payload }
    }
}
