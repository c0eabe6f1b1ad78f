//! Tenants: made, read, changed, listed.

use axum::extract::State as With;
use axum::response::Response;
use bitcall_wire::config::{IceServer, ThemeStart};
use serde_json::Value;
use url::Url;

use super::State;
use super::access::{Admin, Panel};
use super::answer::done;
use super::body::Input;
use super::error::ApiError;
use super::form::{self, Form, Wrong, boolean, choice, line, object, parsed, text};
use super::views::{NewTenantView, Profile, TenantLine, TenantList};
use crate::tenancy::{Change, Invalid, NewTenant, OriginPattern, SettingsChange};

pub async fn provision(_: Panel, With(state): With<State>, input: Input) -> Result<Response, ApiError> {
    let new = input.read(|form| {
        let tenant_id = form.required("tenantId", parsed);
        let display_name = form.optional("displayName", line(MAX_NAME));
        let plan_id = form.optional("planId", |value| {
            let id = text(value)?;
            if state.platform.has_plan(&id) {
                Ok(id)
            } else {
                Err(Invalid::new("names no plan of the catalogue").into())
            }
        });
        let api_key_label = form.optional("apiKeyLabel", line(MAX_LABEL));
        let mut allowed_origins = None;
        form.section("origins", |form| allowed_origins = form.optional("allowedOrigins", origins));
        Some(NewTenant {
            tenant_id: tenant_id?,
            display_name,
            plan_id,
            api_key_label,
            allowed_origins: allowed_origins.unwrap_or_default(),
        })
    })?;
    Ok(done(NewTenantView::from(state.platform.provision(new).await?)))
}

pub async fn show(_: Panel, With(state): With<State>, input: Input) -> Result<Response, ApiError> {
    let (id, ()) = input.read_for_tenant(|_| Some(()))?;
    let live = state.platform.tenant(&id)?;
    Ok(done(Profile::of(&live, &state.platform)))
}

pub async fn change(_: Panel, With(state): With<State>, input: Input) -> Result<Response, ApiError> {
    let (id, change) = input.read_for_tenant(|form| Some(settings(form)))?;
    let live = state.platform.change_settings(&id, change).await?;
    Ok(done(Profile::of(&live, &state.platform)))
}

/// `q` is looked for in id and display name; `limit` and `offset` cut out a page.
pub async fn list(_: Admin, With(state): With<State>, input: Input) -> Result<Response, ApiError> {
    let (q, enabled, limit, offset) = input.read(|form| {
        Some((
            form.optional("q", text),
            form.optional("enabled", yes_or_no),
            form.optional("limit", |value| number(&value, 1..=MAX_PAGE)),
            form.optional("offset", |value| number(&value, 0..=usize::MAX)),
        ))
    })?;
    let q = q.unwrap_or_default().to_lowercase();
    let mut found = state.platform.tenants();
    found.retain(|live| {
        enabled.is_none_or(|enabled| live.tenant.enabled == enabled)
            && (live.tenant.id.as_str().contains(&q)
                || live.effective.branding.display_name.to_lowercase().contains(&q))
    });
    let page = found.iter().skip(offset.unwrap_or(0)).take(limit.unwrap_or(DEFAULT_PAGE));
    let tenants = page.map(|live| TenantLine::from(live.as_ref())).collect();
    Ok(done(TenantList { tenants, total: found.len() }))
}

/// The sections of `PATCH /api/tenant/config`.
fn settings(form: &mut Form) -> SettingsChange {
    let mut change = SettingsChange::default();
    form.section("branding", |form| {
        change.display_name = form.change("displayName", line(MAX_NAME));
        change.logo_light = form.change("logoLight", image);
        change.logo_dark = form.change("logoDark", image);
        change.theme_color = form.change("themeColor", colour);
        change.header_mode = form.change("headerMode", choice(&["logo", "name", "both"]));
    });
    form.section("origins", |form| change.allowed_origins = form.change("allowedOrigins", origins));
    form.section("app", |form| {
        change.popup_mode = form.change("popupMode", boolean);
        change.installable = form.change("installable", boolean);
        change.audio_clips = form.change("audioClips", boolean);
    });
    form.section("behavior", |form| {
        form.section("host", |form| {
            change.sign_in = form.change("mode", choice(&["confirm", "autologin", "prefilled"]));
        });
        change.session_restore = form.change("sessionRestore", choice(&["auto", "off"]));
        form.section("theme", |form| {
            change.theme_start = form.change("start", choice::<ThemeStart>(&["system", "light", "dark"]));
            change.theme_lock = form.change("lock", boolean);
        });
        change.cookie_mode = form.change("cookieMode", choice(&["isolated"]));
    });
    form.section("sip", |form| {
        change.sip_domain = form.change("domain", sip_domain);
        let server = form.change("server", sip_domain);
        match (&change.sip_domain, &server) {
            (Change::Keep, _) => change.sip_domain = server,
            (domain, server) if *server != Change::Keep && domain != server => {
                form.fault("server", "is another name of domain, and contradicts it");
            }
            _ => {}
        }
        change.dtmf = form.change("dtmf", choice(&["rfc2833", "rfc4733", "info"]));
    });
    change.wss = form.change("wss", wss);
    change.ice_servers = form.change("iceServers", |value| form::list(value, 0..=MAX_SERVERS, ice_server));
    change
}

fn origins(value: Value) -> Result<Vec<OriginPattern>, Wrong> {
    let mut origins: Vec<OriginPattern> = Vec::new();
    for origin in form::list(value, 0..=MAX_ORIGINS, parsed)? {
        if !origins.contains(&origin) {
            origins.push(origin);
        }
    }
    Ok(origins)
}

/// An address that the phone page may load images from.
fn image(value: Value) -> Result<String, Wrong> {
    let text = text(value)?;
    match Url::parse(&text) {
        Ok(url) if url.scheme() == "https" && text.len() <= MAX_URL => Ok(url.into()),
        _ => Err(Invalid::new(format!("must be an https:// address of at most {MAX_URL} characters")).into()),
    }
}

fn colour(value: Value) -> Result<String, Wrong> {
    let text = text(value)?.to_ascii_lowercase();
    let digits = text.strip_prefix('#').unwrap_or_default();
    match (digits.len(), digits.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        (6, true) => Ok(text),
        (3, true) => Ok(digits.chars().fold(String::from("#"), |text, digit| format!("{text}{digit}{digit}"))),
        _ => Err(Invalid::new("must be a colour as #14b8a6").into()),
    }
}

fn sip_domain(value: Value) -> Result<String, Wrong> {
    let text = text(value)?.to_ascii_lowercase();
    let shape = || Invalid::new("must be a host name or address, as sip.example.com");
    let plain = !text.is_empty()
        && text.len() <= 255
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b':' | b'[' | b']'));
    // `Url` knows what a host and a port are; `http` makes it ask for exactly these.
    match Url::parse(&format!("http://{text}/")) {
        Ok(url) if plain && url.has_host() => Ok(text),
        _ => Err(shape().into()),
    }
}

/// One address or several, in fail-over order.
fn wss(value: Value) -> Result<Vec<String>, Wrong> {
    match value {
        Value::String(_) => Ok(vec![wss_address(value)?]),
        several => form::list(several, 1..=MAX_SERVERS, wss_address),
    }
}

fn wss_address(value: Value) -> Result<String, Wrong> {
    let text = text(value)?;
    match Url::parse(&text) {
        Ok(url)
            if matches!(url.scheme(), "ws" | "wss")
                && url.has_host()
                && url.fragment().is_none()
                && text.len() <= MAX_URL =>
        {
            Ok(url.into())
        }
        _ => Err(Invalid::new("must be a wss:// (or ws://) address, as wss://pbx.example.com/ws").into()),
    }
}

fn ice_server(value: Value) -> Result<IceServer, Wrong> {
    object(value, |form| {
        let urls = form.required("urls", |value| match value {
            Value::String(_) => Ok(vec![ice_address(value)?]),
            several => form::list(several, 1..=MAX_SERVERS, ice_address),
        });
        let username = form.optional("username", text);
        let credential = form.optional("credential", text);
        let urls = urls?;
        let relays = urls.iter().any(|url| url.starts_with("turn"));
        if relays && (username.is_none() || credential.is_none()) {
            form.fault("credential", "is missing: turn servers need username and credential");
        }
        Some(IceServer { urls, username, credential })
    })
}

fn ice_address(value: Value) -> Result<String, Wrong> {
    let text = text(value)?;
    let host = ["stun:", "stuns:", "turn:", "turns:"].iter().find_map(|scheme| text.strip_prefix(scheme));
    match host {
        Some(host) if !host.is_empty() && !host.contains(char::is_whitespace) && text.len() <= MAX_URL => Ok(text),
        _ => Err(Invalid::new("must start with stun:, stuns:, turn: or turns: and name a host").into()),
    }
}

fn yes_or_no(value: Value) -> Result<bool, Wrong> {
    match value.as_str() {
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        _ => boolean(value),
    }
}

fn number(value: &Value, allowed: std::ops::RangeInclusive<usize>) -> Result<usize, Wrong> {
    let number = match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64().and_then(|number| usize::try_from(number).ok()),
    };
    number
        .filter(|number| allowed.contains(number))
        .ok_or_else(|| Invalid::new(format!("must be a number from {} to {}", allowed.start(), allowed.end())).into())
}

const MAX_NAME: usize = 80;
pub const MAX_LABEL: usize = 80;
const MAX_URL: usize = 2048;
const MAX_ORIGINS: usize = 100;
const MAX_SERVERS: usize = 8;
const DEFAULT_PAGE: usize = 100;
const MAX_PAGE: usize = 1000;
