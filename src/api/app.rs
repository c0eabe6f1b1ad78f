//! What the standalone app asks for before anybody has signed in: whose app it is
//! at this address, and the manifest by which a browser installs it (W3C Web
//! Application Manifest).
//!
//! Whoever may open the page may read this, and pages of other origins may not: no answer has CORS headers. So nothing
//! in it is secret, and by a query alone nobody finds out which tenants there are.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Method;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, VARY};
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use bitcall_wire::config::{Branding, RuntimeConfig, ThemeStart};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::ApiState;
use super::access::Audience;
use super::code::Code;
use super::endpoint::{ApiRequest, Endpoint, Success, success};
use super::error::ApiError;
use super::form::{Form, text};
use super::runtime_caller;
use crate::tenancy::{PublicApp, Refusal};

/// Characters that launchers show.
const SHORT_NAME: usize = 12;
/// The page's background before it is drawn, in either theme.
const LIGHT: &str = "#ffffff";
const DARK: &str = "#14161b";
/// A handset within the middle four fifths, which no mask cuts.
const HANDSET: &str = "M8.6 6.6c.5-.5 1.3-.4 1.7.2l.9 1.5c.3.5.2 1-.1 1.4l-.7.7c.7 1.4 1.8 2.5 3.2 3.2l.7-.7c.4-.3.9-.4 1.4-.1l1.5.9\
    c.6.4.7 1.2.2 1.7l-.9.9c-.5.5-1.3.7-2 .5-3.3-1-6.3-4-7.3-7.3-.2-.7 0-1.5.5-2z";

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::new(
            Method::GET,
            "/api/app/bootstrap",
            Audience::Anyone,
            "The standalone app's configuration: of the tenant that the host name leads to, else of `tenant`",
            tenant,
            bootstrap,
        )
        .refuses(&[Code::AppTenantNotFound, Code::AppTenantDisabled]),
    ]
}

/// `GET /api/app/bootstrap`
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Bootstrap {
    tenant_id: String,
    /// Without the relays that take credentials: those come with a redeemed token.
    config: RuntimeConfig,
    /// Where this app is opened, by its best address.
    app_url: String,
    /// For the page's `<link rel=manifest>`; null where the app cannot be installed.
    manifest_url: Option<String>,
}

#[allow(clippy::option_option)] // nothing can be wrong with a form whose only field may be absent
fn tenant(form: &mut Form) -> Option<Option<String>> {
    Some(form.optional("tenant", text()))
}

async fn bootstrap(request: ApiRequest, named: Option<String>) -> Result<Success<Bootstrap>, ApiError> {
    let platform = &request.state.platform;
    let app = platform.public_app(&request.authority, named.as_deref())?;
    let defaults = platform.defaults();
    Ok(success(Bootstrap {
        tenant_id: app.tenant.to_string(),
        config: app.effective.public_config(&app.tenant, &defaults, request.context.at),
        app_url: defaults.app_url_of(&app.tenant, app.host.as_deref()),
        manifest_url: app.effective.capabilities.installable.then(|| address(&app, "/api/app/manifest.json", &[])),
    }))
}

/// Not in the envelope: a browser reads it.
pub async fn manifest(State(state): State<Arc<ApiState>>, parts: Parts) -> Result<Response, ApiError> {
    let authority = runtime_caller::authority(&parts.uri, &parts.headers).unwrap_or_default();
    let mut query = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let named = query.find_map(|(name, value)| (name == "tenant").then_some(value));
    let app = state.platform.public_app(authority, named.as_deref())?;
    if !app.effective.capabilities.installable {
        return Err(Refusal::AppNotInstallable.into());
    }
    let manifest = manifest_of(&app);
    let mut response = manifest.to_string().into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/manifest+json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("Host"));
    Ok(response)
}

fn manifest_of(app: &PublicApp) -> Value {
    let (branding, theme) = (&app.effective.branding, app.effective.behavior.theme.start);
    let name = &branding.display_name;
    let page = |query: &[(&str, &str)]| address(app, "/app/", query);
    let handler = |scheme: &str| {
        // The browser puts the escaped address in the place of %s, which must not be escaped itself.
        let page = page(&[]);
        let separator = if page.contains('?') { '&' } else { '?' };
        json!({ "protocol": scheme, "url": format!("{page}{separator}dial=%s") })
    };
    json!({
        "id": page(&[]),
        "name": name,
        "short_name": shortened(name),
        "description": format!("Calls with {name}"),
        "start_url": page(&[("source", "installed")]),
        "scope": "/app/",
        "display": "standalone",
        "theme_color": branding.theme_color,
        "background_color": if theme == ThemeStart::Dark { DARK } else { LIGHT },
        "categories": ["business", "communication"],
        "icons": icons(branding),
        "launch_handler": { "client_mode": "focus-existing" },
        "protocol_handlers": [handler("tel"), handler("web+tel")],
        "shortcuts": [
            { "name": "Keypad", "url": page(&[("view", "keypad")]) },
            { "name": "Recents", "url": page(&[("view", "recents")]) },
        ],
    })
}

/// The tenant's logo, and behind it an icon that every browser can use: of a logo neither size nor shape is known.
fn icons(branding: &Branding) -> Vec<Value> {
    let logo = branding.logo_light.as_ref().or(branding.logo_dark.as_ref());
    let logo = logo.map(|src| json!({ "src": src, "sizes": "any", "purpose": "any" }));
    let drawn = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24'><path fill='{}' d='M0 0h24v24H0z'/>\
         <path fill='#fff' d='{HANDSET}'/></svg>",
        branding.theme_color
    );
    let escaped: String = url::form_urlencoded::byte_serialize(drawn.as_bytes()).collect();
    let src = format!("data:image/svg+xml,{}", escaped.replace('+', "%20"));
    let drawn = |purpose| json!({ "src": src, "sizes": "any", "type": "image/svg+xml", "purpose": purpose });
    logo.into_iter().chain([drawn("any"), drawn("maskable")]).collect()
}

/// The part of the name that fits under an icon.
fn shortened(name: &str) -> &str {
    let first = name.split_whitespace().next().unwrap_or(name);
    let end = first.char_indices().nth(SHORT_NAME).map_or(first.len(), |(end, _)| end);
    if name.chars().count() <= SHORT_NAME { name } else { first.get(..end).unwrap_or(first) }
}

/// An address at this server, on which the same app is found again.
fn address(app: &PublicApp, path: &str, query: &[(&str, &str)]) -> String {
    let mut pairs = url::form_urlencoded::Serializer::new(String::new());
    if app.host.is_none() {
        pairs.append_pair("tenant", app.tenant.as_str());
    }
    match pairs.extend_pairs(query).finish() {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}
