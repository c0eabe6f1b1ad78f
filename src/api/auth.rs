//! One-time tokens that take a person into the standalone app: links made by a
//! tenant's back end or the panel, hand-offs made by pages, and their redemption.

use std::sync::Arc;

use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};

use super::access::Audience;
use super::code::Code;
use super::endpoint::{ApiRequest, Endpoint, Success, success};
use super::error::ApiError;
use super::form::{Description, FieldType, Form, ValueError, checked, integer, line, object, secret, text};
use super::settings::{sip_domain, sip_domain_schema};
use super::views::auth::{HandoffView, LinkView, RedeemedView};
use crate::tenancy::{InvalidValue, IssuedToken, KeyPurpose, KeyState, SipCredentials, TenantId, Token};

/// Lifetime of a sign-in link: up to a day, for links that are sent by mail.
pub const LINK_TTL_SECONDS: std::ops::RangeInclusive<u64> = 10..=86_400;
const DEFAULT_LINK_TTL_SECONDS: u64 = 300;
const MAX_USERNAME_CHARS: usize = 64;
const MAX_PASSWORD_CHARS: usize = 256;
/// Credentials, a number to dial and some settings, encrypted, take a few hundred.
const MAX_PAYLOAD_CHARS: usize = 8192;

pub fn endpoints() -> Vec<Endpoint> {
    let link = |path| {
        Endpoint::of_key(
            KeyPurpose::Backend,
            Method::POST,
            path,
            "Make a one-time link that signs a person in to the app",
            link_request,
            link,
        )
        .creates()
        .refuses(&LINK_REFUSALS)
    };
    let handoff = |path| {
        // Pages make them, and back ends for their pages.
        Endpoint::of_key(
            KeyPurpose::Both,
            Method::POST,
            path,
            "Carry what a page encrypted to the app, once",
            payload,
            handoff,
        )
        .creates()
        .refuses(&[Code::StoreUnavailable])
    };
    vec![
        link("/api/auth/link"),
        link("/api/app/auth-link"),
        Endpoint::of_tenant(
            Method::POST,
            "/api/tenant/auth-link",
            "Make a one-time link as a tenant's back end does",
            link_request,
            link_for_panel,
        )
        .creates()
        .refuses(&LINK_REFUSALS),
        handoff("/api/auth/handoff"),
        handoff("/api/app/handoff"),
        // The origin is not checked: a token can be redeemed without any page.
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

const LINK_REFUSALS: [Code; 2] = [Code::FeatureDisabled, Code::StoreUnavailable];

struct LinkRequest {
    sip: SipCredentials,
    ttl: Duration,
}

fn link_request(form: &mut Form) -> Option<LinkRequest> {
    let sip = form.required("sip", CredentialsType);
    let ttl = form.optional("ttlSeconds", integer(LINK_TTL_SECONDS)).unwrap_or(DEFAULT_LINK_TTL_SECONDS);
    Some(LinkRequest { sip: sip?, ttl: Duration::from_secs(ttl) })
}

fn payload(form: &mut Form) -> Option<String> {
    form.required("payload", checked(payload_schema, ciphertext))
}

fn token(form: &mut Form) -> Option<Token> {
    form.required("token", text()).map(Token::from_text)
}

async fn link(
    request: ApiRequest,
    (key, link_request): (Arc<KeyState>, LinkRequest),
) -> Result<Success<LinkView>, ApiError> {
    make_link(&request, &key.state.tenant.id, &link_request).await
}

async fn link_for_panel(
    request: ApiRequest,
    (id, link_request): (TenantId, LinkRequest),
) -> Result<Success<LinkView>, ApiError> {
    make_link(&request, &id, &link_request).await
}

async fn make_link(
    request: &ApiRequest,
    id: &TenantId,
    link_request: &LinkRequest,
) -> Result<Success<LinkView>, ApiError> {
    let platform = &request.state.platform;
    let tenant = platform.tenant(id)?;
    let view = |issued: &IssuedToken| LinkView::of(issued, &tenant, platform);
    Ok(success(platform.create_link(&request.context, id, &link_request.sip, link_request.ttl, view).await?))
}

async fn handoff(
    request: ApiRequest,
    (key, payload): (Arc<KeyState>, String),
) -> Result<Success<HandoffView>, ApiError> {
    let platform = &request.state.platform;
    let view = |issued: &IssuedToken| HandoffView::of(issued, &key.state, platform);
    Ok(success(platform.create_handoff(&request.context, &key.state.tenant.id, payload, view).await?))
}

async fn redeem(request: ApiRequest, token: Token) -> Result<Success<RedeemedView>, ApiError> {
    let platform = &request.state.platform;
    let redeemed = platform.redeem(&request.context, &token, &request.authority).await?;
    Ok(success(RedeemedView::of(redeemed, platform, request.context.at)))
}

/// SIP credentials with a password, or with its HA1 digest (RFC 7616 §3.4.2).
struct CredentialsType;

impl FieldType for CredentialsType {
    type Value = SipCredentials;

    fn read(&self, value: Value) -> Result<SipCredentials, ValueError> {
        match value.get("HA1Password") {
            None => object(with_password).read(value),
            Some(_) => object(with_ha1).read(value),
        }
    }

    fn schema(&self) -> Value {
        json!({ "anyOf": [Description::of(with_password).schema(), Description::of(with_ha1).schema()] })
    }
}

fn with_password(form: &mut Form) -> Option<SipCredentials> {
    let (username, domain) = (form.required("username", line(MAX_USERNAME_CHARS)), optional_domain(form));
    let password = form.required("password", checked(password_schema, password));
    Some(SipCredentials { username: username?, domain, password: Some(password?), ha1_password: None })
}

fn with_ha1(form: &mut Form) -> Option<SipCredentials> {
    let (username, domain) = (form.required("username", line(MAX_USERNAME_CHARS)), optional_domain(form));
    let ha1 = form.required("HA1Password", checked(ha1_schema, ha1));
    Some(SipCredentials { username: username?, domain, password: None, ha1_password: Some(ha1?) })
}

fn optional_domain(form: &mut Form) -> Option<String> {
    form.optional("domain", checked(sip_domain_schema, sip_domain))
}

fn password(text: String) -> Result<String, InvalidValue> {
    if (1..=MAX_PASSWORD_CHARS).contains(&text.chars().count()) {
        return Ok(text);
    }
    Err(InvalidValue::new(format!("must have 1 to {MAX_PASSWORD_CHARS} characters")))
}

fn password_schema() -> Value {
    let mut schema = secret().schema();
    schema["minLength"] = 1.into();
    schema["maxLength"] = MAX_PASSWORD_CHARS.into();
    schema
}

#[allow(clippy::needless_pass_by_value)] // the shape of all checks
fn ha1(text: String) -> Result<String, InvalidValue> {
    if matches!(text.len(), 32 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(InvalidValue::new("must be the 32 (MD5) or 64 (SHA-256) hexadecimal digits of HA1"))
}

fn ha1_schema() -> Value {
    json!({ "type": "string", "pattern": "^([0-9A-Fa-f]{32}|[0-9A-Fa-f]{64})$" })
}

fn ciphertext(text: String) -> Result<String, InvalidValue> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if (1..=MAX_PAYLOAD_CHARS).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(text);
    }
    Err(InvalidValue::new(format!(
        "must be 1 to {MAX_PAYLOAD_CHARS} characters of base64url (RFC 4648 §5) without padding"
    )))
}

fn payload_schema() -> Value {
    json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]+$", "minLength": 1, "maxLength": MAX_PAYLOAD_CHARS })
}
