//! The audit log: one entry for every change, with who, in which request, and what; and never a secret.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::appliance::Running;
use crate::installation::{Installation, MASTER_SECRET, PANEL_KEY, data, faulty_fields, refusal};

/// A change over HTTP: method, path, body, and its audit action; `None` where nothing changes.
type Step = (&'static str, &'static str, Value, Option<&'static str>);

fn bearer() -> String {
    format!("Bearer {MASTER_SECRET}")
}

async fn audit(bitcall: &Installation, query: &str) -> Value {
    let path = format!("/api/admin/audit?{query}");
    data(&bitcall.send("GET", &path, &[("authorization", &bearer())], "").await)
}

/// The digest by which a secret is named.
fn digest(secret: &str) -> String {
    hexadecimal(&Sha256::digest(secret)[..4])
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

const CREDENTIAL: &str = "credential of the tenant";
const DEFAULT_CREDENTIAL: &str = "credential of the platform";
const SHARED: &str = "secret of the relay";
const PASSWORD: &str = "correct horse battery";

/// Every route that changes something, in an order that works. `{key}` is the id of acme's second key, `{api-key}` its first in clear.
fn steps() -> Vec<Step> {
    let turn = |credential| json!([{ "urls": ["turn:turn.acme.com"], "username": "u", "credential": credential }]);
    let sip = json!({ "username": "101", "domain": "acme.sip.bitcall.internal", "password": PASSWORD });
    let plan = json!({ "name": "Gold", "price": 9, "currency": "EUR", "interval": "month", "entitlements": {
        "customBranding": true, "subdomainAccess": true, "customDomainAccess": true, "popupMode": true,
        "audioClips": true, "transfer": true, "maxApiKeys": 5, "maxSessions": 5,
        "sipHostOverride": true, "wssOverride": true, "iceOverride": true } });
    let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
    let certificate = json!({ "certificate": made.cert.pem(), "key": made.signing_key.serialize_pem() });
    vec![
        ("POST", "/api/tenant/provision", json!({ "tenantId": "acme", "planId": "pro" }), Some("tenant.provision")),
        (
            "PATCH",
            "/api/tenant/config",
            json!({ "tenantId": "acme", "iceServers": turn(CREDENTIAL), "branding": { "displayName": "Acme" } }),
            Some("tenant.config"),
        ),
        ("PATCH", "/api/tenant/config", json!({ "tenantId": "acme", "branding": { "displayName": "Acme" } }), None),
        ("POST", "/api/tenant/api-keys", json!({ "tenantId": "acme", "label": "Staging" }), Some("key.create")),
        (
            "POST",
            "/api/tenant/api-keys/{key}/rotate",
            json!({ "tenantId": "acme", "overlapSeconds": 600 }),
            Some("key.rotate"),
        ),
        ("DELETE", "/api/tenant/api-keys/{key}", json!({ "tenantId": "acme" }), Some("key.revoke")),
        ("DELETE", "/api/tenant/api-keys/{key}", json!({ "tenantId": "acme" }), None),
        (
            "POST",
            "/api/tenant/extensions",
            json!({ "tenantId": "acme", "username": "101", "password": PASSWORD }),
            Some("extension.add"),
        ),
        (
            "POST",
            "/api/tenant/extensions",
            json!({ "tenantId": "acme", "username": "101", "resetPassword": true }),
            Some("extension.password"),
        ),
        ("DELETE", "/api/tenant/extensions/{username}", json!({ "tenantId": "acme" }), Some("extension.remove")),
        ("PATCH", "/api/tenant/plan", json!({ "tenantId": "acme", "planId": "enterprise" }), Some("tenant.plan")),
        (
            "PATCH",
            "/api/admin/tenants/{tenantId}",
            json!({
                "features": { "authLink": true },
                "iceServers": turn("another credential"),
                "wss": "wss://pbx.acme.com",
            }),
            Some("tenant.override"),
        ),
        (
            "POST",
            "/api/tenant/subdomains",
            json!({ "tenantId": "acme", "subdomain": "phones" }),
            Some("subdomain.assign"),
        ),
        ("DELETE", "/api/tenant/subdomains", json!({ "tenantId": "acme" }), Some("subdomain.remove")),
        (
            "POST",
            "/api/tenant/domains",
            json!({ "tenantId": "acme", "domain": "phone.acme.com" }),
            Some("domain.claim"),
        ),
        ("POST", "/api/tenant/domains/recheck", json!({ "tenantId": "acme" }), None),
        ("POST", "/api/admin/domains/sync", json!({ "domains": ["phone.acme.com"] }), None),
        ("POST", "/api/internal/domains/sync", json!({ "domains": ["phone.acme.com"] }), None),
        ("POST", "/api/admin/domains/{domain}/activate", Value::Null, Some("domain.activate")),
        ("POST", "/api/admin/domains/{domain}/activate", Value::Null, None),
        ("DELETE", "/api/tenant/domains", json!({ "tenantId": "acme" }), Some("domain.release")),
        ("POST", "/api/admin/tenants/{tenantId}/disable", Value::Null, Some("tenant.disable")),
        ("POST", "/api/admin/tenants/{tenantId}/disable", Value::Null, None),
        ("POST", "/api/admin/tenants/{tenantId}/enable", Value::Null, Some("tenant.enable")),
        ("PUT", "/api/admin/plans/{planId}", plan, Some("plan.set")),
        ("DELETE", "/api/admin/plans/{planId}", Value::Null, Some("plan.remove")),
        (
            "PATCH",
            "/api/admin/settings/transport-defaults",
            json!({ "iceServers": [
                { "urls": ["turn:turn.acme.com"], "username": "u", "credential": DEFAULT_CREDENTIAL },
                { "urls": ["turn:turn.acme.com"], "secret": SHARED },
            ] }),
            Some("transport.defaults"),
        ),
        ("POST", "/api/tenant/auth-link", json!({ "tenantId": "acme", "sip": sip }), Some("link.create")),
        ("POST", "/api/auth/link", json!({ "sip": sip }), Some("link.create")),
        ("POST", "/api/app/auth-link", json!({ "sip": sip }), Some("link.create")),
        ("POST", "/api/auth/redeem", json!({ "token": "{token}" }), Some("link.redeem")),
        // Frequent, and it changes no tenant setting.
        ("POST", "/api/auth/handoff", json!({ "payload": "eA" }), None),
        ("POST", "/api/app/handoff", json!({ "payload": "eA" }), None),
        ("PUT", "/api/admin/certificates/{name}", certificate, Some("certificate.import")),
        ("DELETE", "/api/admin/certificates/{name}", json!({}), Some("certificate.remove")),
        ("POST", "/api/admin/certificates/{name}/renew", Value::Null, None),
        ("POST", "/api/internal/certificates/sync", Value::Null, None),
        (
            "POST",
            "/api/webphone/live-calls",
            json!({ "session": "{session}", "clientId": "c", "sequence": 1, "calls": [] }),
            None,
        ),
        ("DELETE", "/api/admin/tenants/{tenantId}", json!({ "dryRun": true }), None),
    ]
}

#[tokio::test]
async fn every_change_leaves_exactly_one_entry_and_no_secret_in_it() {
    let bitcall = Installation::serving().await;
    let (mut key_id, mut token) = (String::new(), String::new());
    let (mut first_key, mut secrets) = (String::new(), vec![PANEL_KEY.to_owned(), MASTER_SECRET.to_owned()]);
    secrets.extend([CREDENTIAL, "another credential", DEFAULT_CREDENTIAL, SHARED, PASSWORD].map(str::to_owned));
    let steps = steps();
    for (number, (method, path, body, _)) in steps.iter().enumerate() {
        let path = path.replace("{key}", &key_id).replace("{username}", "101");
        let path = path.replace("{tenantId}", "acme").replace("{planId}", "gold");
        let path = path.replace("{domain}", "phone.acme.com").replace("{name}", "a.example");
        let id = format!("step-{number}");
        let bearer = bearer();
        let headers = [
            ("x-request-id", id.as_str()),
            ("x-bitcall-panel-key", PANEL_KEY),
            ("authorization", &bearer),
            ("x-bitcall-key", &first_key),
        ];
        let mut body = if body.is_null() { String::new() } else { body.to_string().replace("{token}", &token) };
        if body.contains("{session}") {
            body = body.replace("{session}", &bitcall.page_session(&first_key).await);
        }
        let answer = bitcall.send(method, &path, &headers, &body).await;
        if path.ends_with("/renew") {
            // ACME is not configured here.
            assert_eq!(refusal(&answer), (409, "CERTIFICATES_NOT_AUTOMATIC".into()));
            continue;
        }
        let data = data(&answer);
        if let Some(key) = data["apiKey"].as_str() {
            secrets.push(key.to_owned());
            if first_key.is_empty() {
                key.clone_into(&mut first_key);
            } else if key_id.is_empty() {
                data["id"].as_str().unwrap().clone_into(&mut key_id);
            }
        }
        secrets.extend(data["password"].as_str().map(str::to_owned));
        if let Some(found) = data["token"].as_str() {
            found.clone_into(&mut token);
            secrets.push(token.clone());
        }
    }
    let log = audit(&bitcall, "limit=1000").await;
    let entries = log["entries"].as_array().unwrap();
    for (number, (method, path, _, action)) in steps.iter().enumerate() {
        let found: Vec<_> = entries.iter().filter(|entry| entry["requestId"] == format!("step-{number}")).collect();
        let actions: Vec<_> = found.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
        assert_eq!(actions, Vec::from_iter(*action), "{method} {path}");
        let Some(entry) = found.first() else { continue };
        let by = match path.split('/').nth(2) {
            Some("tenant") => format!("panel key {}…", digest(PANEL_KEY)),
            Some("admin") => format!("master secret {}…", digest(MASTER_SECRET)),
            _ if *path == "/api/auth/redeem" => "anyone".to_owned(),
            _ => entry["actor"]["id"].as_str().unwrap().to_owned(),
        };
        assert_eq!(entry["by"], by.as_str(), "{method} {path}");
        // A password change is audited without any value.
        assert!(entry["before"] != entry["after"] || entry["action"] == "extension.password", "{entry}");
        let is_of_acme = !["/plans/", "transport-defaults", "/certificates/"].iter().any(|part| path.contains(part));
        assert_eq!(entry["tenantId"], if is_of_acme { json!("acme") } else { Value::Null }, "{method} {path}");
    }
    assert_eq!(entries.len(), steps.iter().filter(|step| step.3.is_some()).count());

    let renamed = entries.iter().find(|entry| entry["action"] == "tenant.config").unwrap();
    assert_eq!(renamed["after"]["settings"]["displayName"], "Acme");
    assert_eq!(renamed["after"]["settings"].as_object().unwrap().len(), 2, "only what differs: {renamed}");
    tells_no_secret(&bitcall, &log.to_string(), &secrets);
    knows_every_route(&bitcall, &steps).await;
}

/// Neither a secret in clear nor a hash that a guess could be checked against.
fn tells_no_secret(bitcall: &Installation, log: &str, secrets: &[String]) {
    let pepper = std::fs::read(bitcall.data().join("key-pepper")).unwrap();
    for secret in secrets {
        let keyed = Hmac::<Sha256>::new_from_slice(&pepper).unwrap().chain_update(secret).finalize().into_bytes();
        for shape in [secret.clone(), hexadecimal(&keyed), hexadecimal(&Sha256::digest(secret))] {
            assert!(!log.contains(&shape), "{secret}: {shape} in {log}");
        }
    }
    // The digests of an extension's password have 32 and 64 digits.
    let mut words = log.split(|c: char| !c.is_ascii_hexdigit());
    assert!(words.all(|word| word.len() < 32), "{log}");
}

/// A route that is added is added here.
async fn knows_every_route(bitcall: &Installation, steps: &[Step]) {
    let document = bitcall.send("GET", "/api/openapi.json", &[], "").await.json();
    let tried = |method: &str, path: &str| {
        let pattern = path.replace("/{id}", "/{key}");
        steps.iter().any(|step| step.0.eq_ignore_ascii_case(method) && step.1 == pattern)
    };
    let mut untried = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let methods = operations.as_object().unwrap().keys().filter(|method| *method != "get");
        untried.extend(methods.filter(|method| !tried(method, path)).map(|method| format!("{method} {path}")));
    }
    assert_eq!(untried, [""; 0], "routes that change something and are not told here");
}

#[tokio::test]
async fn commands_are_audited_with_their_unix_user() {
    let mut bitcall = Installation::new();
    let done = |arguments: &[&str]| assert_eq!(bitcall.bitcall(arguments).exit, 0, "{arguments:?}");
    done(&["tenant", "provision", "acme", "--plan", "pro"]);
    done(&["extension", "add", "acme", "101"]);
    done(&["tenant", "provision", "acme", "--if-missing"]);
    let log = || bitcall.bitcall(&["audit", "--json"]).json()["entries"].take();
    assert_eq!(log().as_array().unwrap().len(), 2, "what changes nothing is not told");
    bitcall.start().await;
    let key = bitcall.bitcall(&["key", "create", "acme", "--json"]).json()["id"].as_str().unwrap().to_owned();
    let done = |arguments: &[&str]| assert_eq!(bitcall.bitcall(arguments).exit, 0, "{arguments:?}");
    done(&["key", "revoke", "acme", &key]);
    done(&["extension", "remove", "acme", "101"]);
    let log = bitcall.bitcall(&["audit", "--json"]).json()["entries"].take();
    let actions: Vec<_> = log.as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["extension.remove", "key.revoke", "key.create", "extension.add", "tenant.provision"]);
    let uid = rustix::process::getuid().as_raw();
    for entry in log.as_array().unwrap() {
        assert_eq!(entry["actor"], json!({ "kind": "user", "uid": uid }));
        assert!(entry["by"].as_str().unwrap().starts_with(&format!("uid {uid} (")), "{entry}");
        assert_ne!(entry["requestId"], "");
    }
    let ids: std::collections::HashSet<_> = log.as_array().unwrap().iter().map(|entry| &entry["requestId"]).collect();
    assert_eq!(ids.len(), 5, "each in a request of its own");
}

#[tokio::test]
async fn the_log_is_searched_and_paged_from_the_newest_on() {
    let bitcall = Installation::serving().await;
    for tenant in ["acme", "other"] {
        bitcall.tenant(tenant, "enterprise").await;
        for label in ["a", "b", "c"] {
            bitcall.done("POST", "/api/tenant/api-keys", json!({ "tenantId": tenant, "label": label })).await;
        }
    }
    let all = audit(&bitcall, "").await["entries"].take();
    assert_eq!(all.as_array().unwrap().len(), 8);
    let mut paged = Vec::new();
    let mut query = "limit=3".to_owned();
    loop {
        let mut page = audit(&bitcall, &query).await;
        paged.append(page["entries"].as_array_mut().unwrap());
        let Some(next) = page["next"].as_str() else { break };
        query = format!("limit=3&cursor={next}");
    }
    assert_eq!(Value::Array(paged), all);
    let count = async |query: &str| audit(&bitcall, query).await["entries"].as_array().unwrap().len();
    assert_eq!(count("tenantId=acme").await, 4);
    assert_eq!(count("tenantId=acme&action=key.create").await, 3);
    assert_eq!(count("tenantId=nobody").await, 0);
    assert_eq!(count("action=key.create&limit=2").await, 2);
    let third = all[2]["at"].as_str().unwrap();
    let (since, until) = (count(&format!("since={third}")).await, count(&format!("until={third}")).await);
    assert!(since >= 3 && since + until == 8, "the moment itself belongs to one side: {since} {until}");
    assert_eq!(count("since=2999-01-01T00:00:00Z").await, 0);
    assert_eq!(count("until=1969-12-31T23:59:59%2B01:00").await, 0);
    for wrong in ["since=yesterday", "until=2026-01-01", "limit=0", "limit=1001", "cursor=x", "tenantId=A%20B"] {
        let answer =
            bitcall.send("GET", &format!("/api/admin/audit?{wrong}"), &[("authorization", &bearer())], "").await;
        assert_eq!(faulty_fields(&answer), [wrong.split_once('=').unwrap().0]);
    }
}

#[tokio::test]
async fn audit_prints_a_table_of_the_matching_entries() {
    let bitcall = Installation::serving().await;
    assert_eq!(bitcall.bitcall(&["audit"]).out, "there are no such changes\n");
    bitcall.tenant("acme", "pro").await;
    let name = |name| json!({ "tenantId": "acme", "branding": { "displayName": name } });
    bitcall.done("PATCH", "/api/tenant/config", name("Old")).await;
    bitcall.done("PATCH", "/api/tenant/config", name("New")).await;
    let table = bitcall.bitcall(&["audit", "--since", "2h", "--tenant", "acme", "--limit", "1"]).out;
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 2, "{table}");
    for word in ["panel key ", "tenant.config", "acme", "settings.displayName: Old → New"] {
        assert!(lines[1].contains(word), "{word} in {table}");
    }
    assert_eq!(bitcall.bitcall(&["audit", "--action", "tenant.provision"]).out.lines().count(), 2);
    assert_eq!(bitcall.bitcall(&["audit", "--since", "soon"]).exit, 2);

    let headers = [("authorization", bearer())];
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    data(&bitcall.send("DELETE", "/api/admin/tenants/acme", &headers, "").await);
    let gone = bitcall.bitcall(&["audit", "--tenant", "acme", "--json"]).json()["entries"].take();
    assert_eq!(gone.as_array().unwrap().len(), 1, "what was told of it went with it: {gone}");
    assert_eq!((&gone[0]["action"], &gone[0]["tenantId"]), (&json!("tenant.delete"), &Value::Null));
    assert_eq!(bitcall.bitcall(&["audit", "--tenant", "other"]).out, "there are no such changes\n");
}

#[tokio::test]
async fn audit_follow_shows_each_entry_once_in_order_and_old_ones_only_up_to_the_limit() {
    let bitcall = Installation::serving().await;
    bitcall.bitcall(&["tenant", "provision", "older"]);
    bitcall.bitcall(&["tenant", "provision", "before"]);
    let directory = tempfile::tempdir().unwrap();
    let mut command = bitcall.command();
    let mut following =
        Running::start(command.args(["audit", "--follow", "--limit", "1", "--json"]), &directory.path().join("log"));
    let told = |line: &str| Some(serde_json::from_str::<Value>(line).ok()?["tenantId"].as_str()?.to_owned());
    following.wait_for("what was there", |line| told(line).filter(|tenant| tenant == "before"));
    for tenant in ["one", "two", "three"] {
        bitcall.bitcall(&["tenant", "provision", tenant]);
    }
    following.wait_for("the last change", |line| told(line).filter(|tenant| tenant == "three"));
    bitcall.bitcall(&["tenant", "provision", "four"]);
    following.wait_for("the next change", |line| told(line).filter(|tenant| tenant == "four"));
    let all: Vec<_> = following.log().lines().filter_map(told).collect();
    assert_eq!(all, ["before", "one", "two", "three", "four"]);
    let key = bitcall.bitcall(&["key", "create", "one", "--json"]).json()["id"].as_str().unwrap().to_owned();
    bitcall.bitcall(&["key", "revoke", "one", &key]);
    let audit = bitcall.bitcall(&["audit", "--tenant", "one"]).out;
    assert!(audit.contains(&format!("+{key}")) && audit.contains(&format!("-{key}")), "{audit}");
}
