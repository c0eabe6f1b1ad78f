//! One-time tokens that take a person into the standalone app: links made by a
//! tenant's back end or the panel, hand-offs made by pages, and their redemption.

use std::sync::Arc;

use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};

use super::access::Audience;
use super::code::Code;
use super::endpoint::{Call, Done, Endpoint, done};
use super::error::ApiError;
use super::form::{Description, Form, Kind, Wrong, checked, count, fields, line, secret, text};
use super::settings::{sip_domain, sip_domain_schema};
use super::views::auth::{HandoffView, LinkView, RedeemedView};
use crate::tenancy::{Invalid, Issued, LiveKey, SipCredentials, TenantId, Token};

/// Seconds. Long enough for a mail that is read the same day; short where nobody says otherwise.
const LINK_LIFE: std::ops::RangeInclusive<u64> = 10..=86_400;
const DEFAULT_LINK_LIFE: u64 = 300;
const MAX_USERNAME: usize = 64;
const MAX_PASSWORD: usize = 256;
/// Credentials, a number to dial and some settings, encrypted, take a few hundred.
const MAX_PAYLOAD: usize = 8192;

pub fn endpoints() -> Vec<Endpoint> {
    let link = |path| {
        Endpoint::of_key(Method::POST, path, "Make a one-time link that signs a person in to the app", wanted, link)
            .creates()
            .refuses(&LINK_REFUSALS)
    };
    let handoff = |path| {
        Endpoint::of_key(Method::POST, path, "Carry what a page encrypted to the app, once", payload, handoff)
            .creates()
            .refuses(&[Code::TooManyTokens, Code::StoreUnavailable])
    };
    vec![
        link("/api/auth/link"),
        link("/api/app/auth-link"),
        Endpoint::of_tenant(
            Method::POST,
            "/api/tenant/auth-link",
            "Make a one-time link as a tenant's back end does",
            wanted,
            link_for_panel,
        )
        .creates()
        .refuses(&LINK_REFUSALS),
        handoff("/api/auth/handoff"),
        handoff("/api/app/handoff"),
        // No check of the origin: whoever has the token needs no page to redeem it with.
        Endpoint::new(
            Method::POST,
            "/api/auth/redeem",
            Audience::Anyone,
            "Redeem a token inside the app; of any number of attempts exactly one succeeds",
            token,
            redeem,
        )
        .refuses(&[Code::TokenInvalid, Code::AppTenantDisabled, Code::StoreUnavailable]),
    ]
}

const LINK_REFUSALS: [Code; 3] = [Code::FeatureDisabled, Code::TooManyTokens, Code::StoreUnavailable];

struct Wanted {
    sip: SipCredentials,
    life: Duration,
}

fn wanted(form: &mut Form) -> Option<Wanted> {
    let sip = form.required("sip", Credentials);
    let life = form.optional("ttlSeconds", count(LINK_LIFE)).unwrap_or(DEFAULT_LINK_LIFE);
    Some(Wanted { sip: sip?, life: Duration::from_secs(life) })
}

fn payload(form: &mut Form) -> Option<String> {
    form.required("payload", checked(payload_schema, ciphertext))
}

fn token(form: &mut Form) -> Option<Token> {
    form.required("token", text()).map(Token::given)
}

async fn link(call: Call, (key, wanted): (Arc<LiveKey>, Wanted)) -> Result<Done<LinkView>, ApiError> {
    make_link(&call, &key.live.tenant.id, &wanted).await
}

async fn link_for_panel(call: Call, (id, wanted): (TenantId, Wanted)) -> Result<Done<LinkView>, ApiError> {
    make_link(&call, &id, &wanted).await
}

async fn make_link(call: &Call, id: &TenantId, wanted: &Wanted) -> Result<Done<LinkView>, ApiError> {
    let platform = &call.state.platform;
    let tenant = platform.tenant(id)?;
    let view = |issued: &Issued| LinkView::of(issued, &tenant, platform);
    Ok(done(platform.create_link(&call.act, id, &wanted.sip, wanted.life, view).await?))
}

async fn handoff(call: Call, (key, payload): (Arc<LiveKey>, String)) -> Result<Done<HandoffView>, ApiError> {
    let platform = &call.state.platform;
    let view = |issued: &Issued| HandoffView::of(issued, &key.live, platform);
    Ok(done(platform.create_handoff(&call.act, &key.live.tenant.id, payload, view).await?))
}

async fn redeem(call: Call, token: Token) -> Result<Done<RedeemedView>, ApiError> {
    let platform = &call.state.platform;
    let redeemed = platform.redeem(&call.act, &token, &call.authority).await?;
    Ok(done(RedeemedView::of(redeemed, platform, call.act.at)))
}

/// SIP credentials with a password, or with its HA1 digest (RFC 7616 §3.4.2).
struct Credentials;

impl Kind for Credentials {
    type Value = SipCredentials;

    fn read(&self, value: Value) -> Result<SipCredentials, Wrong> {
        match value.get("HA1Password") {
            None => fields(with_password).read(value),
            Some(_) => fields(with_ha1).read(value),
        }
    }

    fn schema(&self) -> Value {
        json!({ "anyOf": [Description::of(with_password).schema(), Description::of(with_ha1).schema()] })
    }
}

fn with_password(form: &mut Form) -> Option<SipCredentials> {
    let (username, domain) = (form.required("username", line(MAX_USERNAME)), optional_domain(form));
    let password = form.required("password", checked(password_schema, password));
    Some(SipCredentials { username: username?, domain, password: Some(password?), ha1_password: None })
}

fn with_ha1(form: &mut Form) -> Option<SipCredentials> {
    let (username, domain) = (form.required("username", line(MAX_USERNAME)), optional_domain(form));
    let ha1 = form.required("HA1Password", checked(ha1_schema, ha1));
    Some(SipCredentials { username: username?, domain, password: None, ha1_password: Some(ha1?) })
}

fn optional_domain(form: &mut Form) -> Option<String> {
    form.optional("domain", checked(sip_domain_schema, sip_domain))
}

fn password(text: String) -> Result<String, Invalid> {
    if (1..=MAX_PASSWORD).contains(&text.chars().count()) {
        return Ok(text);
    }
    Err(Invalid::new(format!("must have 1 to {MAX_PASSWORD} characters")))
}

fn password_schema() -> Value {
    let mut schema = secret().schema();
    schema["minLength"] = 1.into();
    schema["maxLength"] = MAX_PASSWORD.into();
    schema
}

#[allow(clippy::needless_pass_by_value)] // the shape of all checks
fn ha1(text: String) -> Result<String, Invalid> {
    if matches!(text.len(), 32 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(Invalid::new("must be the 32 (MD5) or 64 (SHA-256) hexadecimal digits of HA1"))
}

fn ha1_schema() -> Value {
    json!({ "type": "string", "pattern": "^([0-9A-Fa-f]{32}|[0-9A-Fa-f]{64})$" })
}

fn ciphertext(text: String) -> Result<String, Invalid> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if (1..=MAX_PAYLOAD).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(text);
    }
    Err(Invalid::new(format!("must be 1 to {MAX_PAYLOAD} characters of base64url (RFC 4648 §5) without padding")))
}

fn payload_schema() -> Value {
    json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]+$", "minLength": 1, "maxLength": MAX_PAYLOAD })
}
