//! Every route of the API × every credential, against one table.
//!
//! The routes, and whom each is for, come from the document that the server itself serves, so a
//! new route is tried from the day it is declared. What each audience lets in stands here.

use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::net::UnixStream;

use crate::appliance;
use crate::installation::{Answer, Installation, MASTER_SECRET, PANEL_KEY, data, refusal, send};

/// Where each audience's routes lie. A route that lies nowhere, or asks for another credential, is a mistake.
const SURFACES: &[(&str, &[Audience])] = &[
    ("/api/tenant", &[Audience::Panel]),
    ("/api/admin/", &[Audience::Admin]),
    ("/api/internal/", &[Audience::Admin]),
    ("/api/webphone/", &[Audience::Runtime]),
    ("/api/app/", &[Audience::Runtime, Audience::AcceptAnyCertificate]),
    ("/api/auth/", &[Audience::Runtime, Audience::AcceptAnyCertificate]),
];

const ALLOWED: &str = "https://crm.acme.com";
const FOREIGN: &str = "https://evil.example";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Audience {
    Panel,
    Admin,
    Runtime,
    /// No header decides, but what is sent.
    AcceptAnyCertificate,
}

/// Let in, or refused with this code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    In,
    Panel,
    Admin,
    Missing,
    Invalid,
    Origin,
    Disabled,
}
use Outcome::{Admin, Disabled, In, Invalid, Missing, Origin, Panel};

impl Outcome {
    fn refusal(self) -> Option<(StatusCode, &'static str)> {
        Some(match self {
            In => return None,
            Panel => (StatusCode::UNAUTHORIZED, "PANEL_UNAUTHORIZED"),
            Admin => (StatusCode::UNAUTHORIZED, "ADMIN_UNAUTHORIZED"),
            Missing => (StatusCode::UNAUTHORIZED, "WEBPHONE_MISSING_KEY"),
            Invalid => (StatusCode::UNAUTHORIZED, "WEBPHONE_INVALID_KEY"),
            Origin => (StatusCode::FORBIDDEN, "WEBPHONE_ORIGIN_FORBIDDEN"),
            Disabled => (StatusCode::FORBIDDEN, "WEBPHONE_TENANT_DISABLED"),
        })
    }

    fn of(answer: &Answer) -> Self {
        let code = if answer.body.is_empty() { Value::Null } else { answer.json()["error"]["code"].clone() };
        let all = [Panel, Admin, Missing, Invalid, Origin, Disabled];
        let found =
            all.into_iter().find(|outcome| outcome.refusal() == Some((answer.status, code.as_str().unwrap_or(""))));
        let unauthorised = matches!(answer.status, StatusCode::UNAUTHORIZED);
        assert!(found.is_some() || !unauthorised, "{} {code}: a refusal that the table does not know", answer.status);
        found.unwrap_or(In)
    }
}

/// What a caller sends, and what it gets on the routes for panel, administration and phones.
struct Row {
    who: &'static str,
    headers: Vec<(&'static str, String)>,
    /// `key` among the request's fields: in the query of a GET, in the body else.
    field: Option<String>,
    outcomes: [Outcome; 3],
}

impl Row {
    fn outcome(&self, audience: Audience) -> Outcome {
        self.outcomes.get(audience as usize).copied().unwrap_or(In)
    }
}

fn row(who: &'static str, headers: &[(&'static str, &str)], outcomes: [Outcome; 3]) -> Row {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Row { who, headers, field: None, outcomes }
}

fn by_field(who: &'static str, key: &str, outcomes: [Outcome; 3]) -> Row {
    Row { field: Some(key.to_owned()), ..row(who, &[], outcomes) }
}

/// The API keys of the tenants that the test makes.
struct Keys {
    acme: String,
    revoked: String,
    /// Of a tenant that allows no foreign page.
    other: String,
    disabled: String,
}

#[rustfmt::skip] // a table
fn table(keys: &Keys, own_origin: &str) -> Vec<Row> {
    let panel = "x-bitcall-panel-key";
    let bearer = "authorization";
    let key = "x-bitcall-key";
    let master = &format!("Bearer {MASTER_SECRET}");
    let acme = keys.acme.as_str();
    vec![
        row("nobody", &[], [Panel, Admin, Missing]),
        row("a page, with nothing", &[("origin", ALLOWED)], [Panel, Admin, Missing]),

        row("the panel key", &[(panel, PANEL_KEY)], [In, Admin, Missing]),
        row("the panel key, from a page", &[(panel, PANEL_KEY), ("origin", FOREIGN)], [In, Admin, Missing]),
        row("a wrong panel key", &[(panel, "the panel key of another")], [Panel, Admin, Missing]),
        row("an empty panel key", &[(panel, "")], [Panel, Admin, Missing]),
        row("half the panel key", &[(panel, &PANEL_KEY[..12])], [Panel, Admin, Missing]),
        row("the panel key and more", &[(panel, &format!("{PANEL_KEY}x"))], [Panel, Admin, Missing]),
        row("the panel key as bearer", &[(bearer, &format!("Bearer {PANEL_KEY}"))], [Panel, Admin, Missing]),
        row("the panel key as a tenant's", &[(key, PANEL_KEY)], [Panel, Admin, Invalid]),

        row("the master secret", &[(bearer, master)], [Panel, In, Missing]),
        row("the master secret of a bearer in small letters", &[(bearer, &format!("bearer {MASTER_SECRET}"))], [Panel, In, Missing]),
        row("a wrong master secret", &[(bearer, "Bearer of bad news")], [Panel, Admin, Missing]),
        row("an empty master secret", &[(bearer, "Bearer ")], [Panel, Admin, Missing]),
        row("the master secret without its scheme", &[(bearer, MASTER_SECRET)], [Panel, Admin, Missing]),
        row("the master secret by another scheme", &[(bearer, &format!("Basic {MASTER_SECRET}"))], [Panel, Admin, Missing]),
        row("the master secret as panel key", &[(panel, MASTER_SECRET)], [Panel, Admin, Missing]),
        row("the master secret as a tenant's key", &[(key, MASTER_SECRET)], [Panel, Admin, Invalid]),
        row("both of the operator's secrets", &[(panel, PANEL_KEY), (bearer, master)], [In, In, Missing]),
        row("both, each in the other's place", &[(panel, MASTER_SECRET), (bearer, &format!("Bearer {PANEL_KEY}"))], [Panel, Admin, Missing]),

        row("a tenant's key", &[(key, acme)], [Panel, Admin, In]),
        by_field("a tenant's key as a field", acme, [Panel, Admin, In]),
        row("a tenant's key on its page", &[(key, acme), ("origin", ALLOWED)], [Panel, Admin, In]),
        row("a tenant's key on our own page", &[(key, acme), ("origin", own_origin)], [Panel, Admin, In]),
        row("a tenant's key on a foreign page", &[(key, acme), ("origin", FOREIGN)], [Panel, Admin, Origin]),
        row("a tenant's key on a page without an origin", &[(key, acme), ("origin", "null")], [Panel, Admin, Origin]),
        row("another tenant's key on the page", &[(key, &keys.other), ("origin", ALLOWED)], [Panel, Admin, Origin]),
        row("a revoked key", &[(key, &keys.revoked)], [Panel, Admin, Invalid]),
        row("a disabled tenant's key", &[(key, &keys.disabled)], [Panel, Admin, Disabled]),
        row("an unknown key", &[(key, "bk_live_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")], [Panel, Admin, Invalid]),
        row("a key that is none", &[(key, "acme")], [Panel, Admin, Invalid]),
        row("an empty key", &[(key, "")], [Panel, Admin, Missing]),
        row("a tenant's key as panel key", &[(panel, acme)], [Panel, Admin, Missing]),
        row("a tenant's key as bearer", &[(bearer, &format!("Bearer {acme}"))], [Panel, Admin, Missing]),
        row("a tenant's key beside a wrong panel key", &[(key, acme), (panel, "wrong")], [Panel, Admin, In]),
    ]
}

#[tokio::test]
async fn every_route_accepts_exactly_its_credentials() {
    let (bitcall, keys) = some_tenants().await;
    let routes = Route::all(&bitcall).await;
    let before = everything(&bitcall).await;
    let rows = table(&keys, "https://phone.example.com");
    let mut wrong = Vec::new();
    // Who must be refused tries it on a tenant that exists; who is let in, on one that does not.
    let (refused, admitted): (Vec<_>, Vec<_>) = routes
        .iter()
        .flat_map(|route| rows.iter().map(move |row| (route, row)))
        .partition(|(route, row)| row.outcome(route.audience) != In);
    for (target, attempts) in [("acme", refused), ("nobody", admitted)] {
        for (route, row) in attempts {
            let answer = route.tried(&bitcall, row, target).await;
            let (expected, found) = (row.outcome(route.audience), Outcome::of(&answer));
            if expected != found {
                wrong.push(format!(
                    "{} {}: {}: expected {expected:?}, got {found:?} ({})",
                    route.method, route.path, row.who, answer.status
                ));
            }
            let origin = row.headers.iter().find_map(|(name, value)| (*name == "origin").then_some(value.as_str()));
            if let Some(problem) = route.misinforms_browsers(&answer, found, origin) {
                wrong.push(format!("{} {}: {}: {problem}", route.method, route.path, row.who));
            }
            if !route.statuses.contains(&answer.status.as_str().to_owned()) {
                wrong.push(format!(
                    "{} {}: {}: {} is not in the document",
                    route.method, route.path, row.who, answer.status
                ));
            }
        }
        if target == "acme" {
            assert_eq!(everything(&bitcall).await, before, "who was refused has changed nothing");
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), routes.len() * rows.len(), wrong.join("\n"));
}

#[tokio::test]
async fn the_control_socket_counts_as_operator_and_not_as_tenant() {
    let bitcall = Installation::serving().await;
    for route in Route::all(&bitcall).await {
        let (target, body) = route.request(None, "nobody");
        let request = hyper::Request::builder()
            .method(route.method.as_str())
            .uri(target)
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(http_body_util::Full::new(bytes::Bytes::from(body)))
            .unwrap();
        let stream = UnixStream::connect(bitcall.socket()).await.unwrap();
        let (parts, body) = appliance::exchange(stream, request).await.into_parts();
        let answer = Answer { status: parts.status, headers: parts.headers, body };
        let expected = if route.audience == Audience::Runtime { Missing } else { In };
        assert_eq!(Outcome::of(&answer), expected, "{} {}", route.method, route.path);
    }
}

/// What each runtime route needs an API key to be good for. A new route has to be entered.
const PURPOSES: &[(&str, &[&str])] = &[
    ("GET /api/webphone/config", &["pages"]),
    ("POST /api/webphone/live-calls", &["pages"]),
    ("POST /api/auth/link", &["backend"]),
    ("POST /api/app/auth-link", &["backend"]),
    ("POST /api/auth/handoff", &["pages", "backend"]),
    ("POST /api/app/handoff", &["pages", "backend"]),
];

#[tokio::test]
async fn a_key_for_pages_and_one_for_back_ends_open_their_own_routes_only() {
    let (bitcall, keys) = some_tenants().await;
    let made = async |purpose: &str| {
        let body = json!({ "tenantId": "acme", "purpose": purpose });
        bitcall.done("POST", "/api/tenant/api-keys", body).await["apiKey"].as_str().unwrap().to_owned()
    };
    let limited = [("pages", made("pages").await), ("backend", made("backend").await)];
    let routes: Vec<_> =
        Route::all(&bitcall).await.into_iter().filter(|route| route.audience == Audience::Runtime).collect();
    assert_eq!(routes.len(), PURPOSES.len());
    for route in routes {
        let name = format!("{} {}", route.method, route.path);
        let (_, good_for) = PURPOSES.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name}?"));
        for (purpose, key) in &limited {
            let answer = route.tried(&bitcall, &by_field(purpose, key, [In; 3]), "acme").await;
            let code = if answer.status == 403 { refusal(&answer).1 } else { String::new() };
            assert_eq!(code != "API_KEY_PURPOSE", good_for.contains(purpose), "{name} by a key for {purpose}");
            if code == "API_KEY_PURPOSE" {
                let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
                let command = format!("bitcall key create acme --for {}", good_for[0]);
                assert!(message.contains(&command), "{message}");
                assert!(route.statuses.contains(&"403".to_owned()));
            }
        }
        let both = route.tried(&bitcall, &by_field("both", &keys.acme, [In; 3]), "acme").await;
        assert!(both.status != 403 || refusal(&both).1 != "API_KEY_PURPOSE", "{name}");
    }
    let frame = async |key: &str| {
        let page = bitcall.send("GET", &format!("/webphone/?key={key}"), &[], "").await;
        page.headers["content-security-policy"].to_str().unwrap().to_owned()
    };
    assert!(frame(&limited[0].1).await.contains(ALLOWED));
    assert!(frame(&limited[1].1).await.contains("frame-ancestors 'none'"), "no page for a key of back ends");
    // A page may read why it gets nothing, and a foreign one learns nothing of the key.
    let refused = bitcall.runtime(&limited[1].1, Some(ALLOWED)).await;
    assert_eq!(refused.headers["access-control-allow-origin"], ALLOWED);
    assert_eq!(refusal(&bitcall.runtime(&limited[1].1, Some(FOREIGN)).await).1, "WEBPHONE_ORIGIN_FORBIDDEN");
}

#[tokio::test]
async fn cors_is_granted_on_runtime_routes_only() {
    let (bitcall, _) = some_tenants().await;
    for route in Route::all(&bitcall).await {
        let (target, _) = route.request(None, "acme");
        if route.audience == Audience::AcceptAnyCertificate {
            continue; // There is no tenant whose pages these could be.
        }
        // Without a key, a preflight must not tell which origins the tenants allow.
        let granted = route.audience == Audience::Runtime;
        for origin in [ALLOWED, FOREIGN] {
            let asked = [
                ("origin", origin),
                ("access-control-request-method", route.method.as_str()),
                ("access-control-request-headers", "x-bitcall-key"),
            ];
            let answer = bitcall.send("OPTIONS", &target, &asked, "").await;
            let allowed = answer.headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap());
            assert_eq!(allowed, granted.then_some(origin), "{} {} for {origin}", route.method, route.path);
        }
    }
}

/// One operation of the served document.
struct Route {
    method: String,
    path: String,
    audience: Audience,
    /// That the document lists.
    statuses: Vec<String>,
}

impl Route {
    async fn all(bitcall: &Installation) -> Vec<Self> {
        let document = bitcall.send("GET", "/api/openapi.json", &[], "").await.json();
        let mut routes = Vec::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let method = method.to_uppercase();
                let audience = audience(&operation["security"])
                    .unwrap_or_else(|| panic!("{method} {path}: whom is it for? {}", operation["security"]));
                let surface = SURFACES.iter().find(|(prefix, _)| path.starts_with(prefix));
                let right = surface.is_some_and(|(_, audiences)| audiences.contains(&audience));
                assert!(right, "{method} {path} is for {audience:?}, and lies on another surface");
                let statuses = operation["responses"].as_object().unwrap().keys().cloned().collect();
                routes.push(Self { method, path: path.clone(), audience, statuses });
            }
        }
        assert!(routes.len() >= 10, "the document lists the API");
        routes
    }

    /// Path with query, and body, of a request about `target`.
    fn request(&self, key: Option<&str>, target: &str) -> (String, String) {
        let path: Vec<_> = self.path.split('/').map(|part| if part.starts_with('{') { target } else { part }).collect();
        let path = path.join("/");
        let tenant = (self.audience == Audience::Panel).then_some(("tenantId", target));
        let fields = tenant.into_iter().chain(key.map(|key| ("key", key)));
        if self.method == "GET" {
            let query: Vec<_> = fields.map(|(name, value)| format!("{name}={value}")).collect();
            (format!("{path}?{}", query.join("&")), String::new())
        } else {
            let body: serde_json::Map<_, _> = fields.map(|(name, value)| (name.to_owned(), json!(value))).collect();
            (path, Value::Object(body).to_string())
        }
    }

    async fn tried(&self, bitcall: &Installation, row: &Row, target: &str) -> Answer {
        let (target, body) = self.request(row.field.as_deref(), target);
        let mut headers: Vec<_> = row.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        headers.push(("content-type", "application/json"));
        send(bitcall.address(), &self.method, &target, &headers, &body).await.expect("the server answers")
    }

    /// What a page could read and must not, or must be able to read and cannot.
    fn misinforms_browsers(&self, answer: &Answer, outcome: Outcome, origin: Option<&str>) -> Option<String> {
        let told = answer.headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap());
        let right = match (self.audience, outcome) {
            (Audience::Panel | Audience::Admin, _) | (_, Origin) => told.is_none(),
            // There is no tenant to protect, and the page may read its mistake.
            (Audience::Runtime, Missing | Invalid) => told == origin.map(|_| "*"),
            (Audience::Runtime, _) => told == origin,
            (Audience::AcceptAnyCertificate, _) => true,
        };
        (!right).then(|| format!("Access-Control-Allow-Origin is {told:?} for a page of {origin:?}"))
    }
}

fn audience(security: &Value) -> Option<Audience> {
    let scheme = match security.as_array()?.as_slice() {
        [] => return Some(Audience::AcceptAnyCertificate),
        [scheme] => scheme,
        _ => return None,
    };
    let (name, _) = scheme.as_object().filter(|schemes| schemes.len() == 1)?.iter().next()?;
    match name.as_str() {
        "panelKey" => Some(Audience::Panel),
        "masterSecret" => Some(Audience::Admin),
        "tenantKey" => Some(Audience::Runtime),
        _ => None,
    }
}

async fn some_tenants() -> (Installation, Keys) {
    let bitcall = Installation::serving().await;
    let acme = bitcall.tenant("acme", "enterprise").await;
    let origins = json!({ "tenantId": "acme", "origins": { "allowedOrigins": [ALLOWED] } });
    bitcall.done("PATCH", "/api/tenant/config", origins).await;
    let second = bitcall.done("POST", "/api/tenant/api-keys", json!({ "tenantId": "acme" })).await;
    let revoking = format!("/api/tenant/api-keys/{}", second["id"].as_str().unwrap());
    bitcall.done("DELETE", &revoking, json!({ "tenantId": "acme" })).await;
    bitcall.done("POST", "/api/tenant/extensions", json!({ "tenantId": "acme", "username": "acme" })).await;
    let other = bitcall.tenant("other", "free").await;
    let disabled = bitcall.tenant("asleep", "free").await;
    data(&bitcall.admin("POST", "/api/admin/tenants/asleep/disable", Value::Null).await);
    let keys = Keys { acme, revoked: second["apiKey"].as_str().unwrap().to_owned(), other, disabled };
    (bitcall, keys)
}

/// All that a caller who is refused could have changed.
async fn everything(bitcall: &Installation) -> Value {
    let list = bitcall.bitcall(&["tenant", "list", "--json"]).json();
    let mut acme = bitcall.done("GET", "/api/tenant?tenantId=acme", Value::Null).await;
    for key in acme["apiKeys"].as_array_mut().unwrap() {
        // A key is used by being tried.
        key["lastUsedAt"].take();
    }
    let extensions = bitcall.done("GET", "/api/tenant/extensions?tenantId=acme", Value::Null).await;
    json!([list, acme, extensions])
}
