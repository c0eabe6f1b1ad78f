//! The standalone app finds its tenant by the name it is opened at, or by the
//! query, and browsers install it from the tenant's manifest.

use serde_json::{Value, json};

use crate::installation::{Answer, Installation, data, refusal};

async fn at(bitcall: &Installation, host: &str, path: &str) -> Answer {
    bitcall.send("GET", path, &[("host", host)], "").await
}

async fn with_subdomain() -> Installation {
    let bitcall = Installation::serving().await;
    bitcall.tenant("acme", "pro").await;
    bitcall.tenant("other", "pro").await;
    bitcall.done("POST", "/api/tenant/subdomains", json!({ "tenantId": "acme", "subdomain": "acme" })).await;
    bitcall
}

const BOOTSTRAP: &str = "/api/app/bootstrap";
const MANIFEST: &str = "/api/app/manifest.json";

#[tokio::test]
async fn bootstrap_by_host_and_by_query_are_the_same() {
    let bitcall = with_subdomain().await;
    let config = json!({ "tenantId": "acme", "app": { "popupMode": false }, "branding": { "displayName": "Acme" } });
    bitcall.done("PATCH", "/api/tenant/config", config).await;
    let by_name = data(&at(&bitcall, "acme.bitcall.example", BOOTSTRAP).await);
    let address = bitcall.address().to_owned();
    let by_query = data(&at(&bitcall, &address, &format!("{BOOTSTRAP}?tenant=acme")).await);
    assert_eq!(by_name["tenantId"], "acme");
    assert_eq!(by_name["config"], by_query["config"]);
    assert_eq!(by_name["config"]["branding"]["displayName"], "Acme");
    assert_eq!(by_name["config"]["capabilities"]["popupMode"], false, "effective values");
    assert_eq!(by_name["appUrl"], "https://acme.bitcall.example/app/");
    assert_eq!(by_name["manifestUrl"], MANIFEST);
    assert_eq!(by_query["appUrl"], "https://phone.example.com/app/?tenant=acme");
    assert_eq!(by_query["manifestUrl"], format!("{MANIFEST}?tenant=acme"));
    for spelling in ["ACME.Bitcall.Example", "acme.bitcall.example:8443", "acme.bitcall.example."] {
        assert_eq!(data(&at(&bitcall, spelling, BOOTSTRAP).await)["tenantId"], "acme", "{spelling}");
    }
    let same = data(&at(&bitcall, "acme.bitcall.example", &format!("{BOOTSTRAP}?tenant=acme")).await);
    assert_eq!(same, by_name);
}

#[tokio::test]
async fn bootstrap_for_an_unknown_host_reveals_nothing() {
    let bitcall = with_subdomain().await;
    let address = bitcall.address().to_owned();
    for (host, path) in [
        (address.as_str(), BOOTSTRAP.to_owned()),
        (&address, format!("{BOOTSTRAP}?tenant=")),
        (&address, format!("{BOOTSTRAP}?tenant=../acme")),
        ("nobody.bitcall.example", BOOTSTRAP.to_owned()),
        ("nobody.bitcall.example", format!("{BOOTSTRAP}?tenant=acme")),
        ("acme.bitcall.example", format!("{BOOTSTRAP}?tenant=other")),
        ("evil-acme.bitcall.example.evil.com", BOOTSTRAP.to_owned()),
        ("a.acme.bitcall.example", BOOTSTRAP.to_owned()),
        ("acme", BOOTSTRAP.to_owned()),
        ("[::1]:80", BOOTSTRAP.to_owned()),
    ] {
        let answer = at(&bitcall, host, &path).await;
        assert_eq!(refusal(&answer), (404, "APP_TENANT_NOT_FOUND".into()), "{host} {path}");
        let manifest = at(&bitcall, host, &path.replace(BOOTSTRAP, MANIFEST)).await;
        assert_eq!(refusal(&manifest), (404, "APP_TENANT_NOT_FOUND".into()), "{host} {path}");
    }
    let unknown = at(&bitcall, &address, &format!("{BOOTSTRAP}?tenant=acme&x=1")).await;
    assert_eq!(refusal(&unknown), (400, "VALIDATION_ERROR".into()));
}

/// Whoever has shown neither a key nor a token can only guess.
#[tokio::test]
async fn a_guessed_tenant_is_answered_as_one_without_settings() {
    let bitcall = Installation::serving().await;
    bitcall.done("POST", "/api/tenant/provision", json!({ "tenantId": "known" })).await;
    bitcall.tenant("shown", "enterprise").await;
    let branding = json!({ "displayName": "Out of business", "themeColor": "#0f766e" });
    bitcall.tenant("disabled", "enterprise").await;
    bitcall.done("PATCH", "/api/tenant/config", json!({ "tenantId": "disabled", "branding": branding })).await;
    data(&bitcall.admin("POST", "/api/admin/tenants/disabled/disable", Value::Null).await);
    for path in [BOOTSTRAP, MANIFEST] {
        let ask = async |tenant: &str| {
            let answer = bitcall.send("GET", &format!("{path}?tenant={tenant}"), &[], "").await;
            let mut headers = answer.headers.clone();
            assert_eq!(answer.status, 200, "{path} {tenant}");
            for changing in ["x-request-id", "date", "ratelimit", "content-length"] {
                headers.remove(changing);
            }
            (headers, String::from_utf8(answer.body.to_vec()).unwrap())
        };
        let (known, unknown) = (ask("known").await, ask("guess").await);
        assert_eq!(known.0, unknown.0, "{path}");
        assert_eq!(known.1.replace("known", "guess"), unknown.1, "{path}");
        let disabled = ask("disabled").await;
        assert_eq!(disabled.0, unknown.0, "{path}");
        assert_eq!(disabled.1.replace("disabled", "guess"), unknown.1, "{path}");
        // A tenant with settings shows them in the same form.
        let shown = serde_json::from_str::<Value>(&ask("shown").await.1).unwrap();
        assert_eq!(fields(&shown), fields(&serde_json::from_str(&unknown.1).unwrap()), "{path}");
    }
    // At the name of a tenant there is no other.
    let nobody = at(&bitcall, "nobody.bitcall.example", &format!("{BOOTSTRAP}?tenant=guess")).await;
    assert_eq!(refusal(&nobody), (404, "APP_TENANT_NOT_FOUND".into()));
}

/// The names of all fields, however deep.
fn fields(value: &Value) -> Vec<String> {
    match value {
        Value::Object(object) => {
            object.iter().flat_map(|(name, value)| std::iter::once(name.clone()).chain(fields(value))).collect()
        }
        Value::Array(values) => values.first().map(fields).unwrap_or_default(),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn bootstrap_is_not_readable_cross_origin_and_not_cached() {
    let bitcall = with_subdomain().await;
    let config = json!({ "tenantId": "acme", "origins": { "allowedOrigins": ["https://crm.acme.com"] } });
    bitcall.done("PATCH", "/api/tenant/config", config).await;
    for path in [BOOTSTRAP, MANIFEST] {
        for (host, origin) in
            [("acme.bitcall.example", "https://crm.acme.com"), ("nobody.bitcall.example", "https://x.com")]
        {
            let answer = bitcall.send("GET", path, &[("host", host), ("origin", origin)], "").await;
            assert!(!answer.headers.contains_key("access-control-allow-origin"), "{path} {host}");
            assert!(answer.headers["cache-control"].to_str().unwrap().contains("no-store"), "{path} {host}");
            let asked = bitcall.send("OPTIONS", path, &[("host", host), ("origin", origin)], "").await;
            assert!(!asked.headers.contains_key("access-control-allow-origin"), "{path} {host}");
        }
    }
}

#[tokio::test]
async fn a_subdomain_without_entitlement_is_kept_but_not_served() {
    let bitcall = with_subdomain().await;
    let profile = bitcall.done("GET", "/api/tenant?tenantId=acme", Value::Null).await;
    assert_eq!(profile["domains"]["hosts"], json!(["acme.bitcall.example"]));
    for (plan, found, hosts) in [("free", 404, json!([])), ("pro", 200, json!(["acme.bitcall.example"]))] {
        bitcall.done("PATCH", "/api/tenant/plan", json!({ "tenantId": "acme", "planId": plan })).await;
        assert_eq!(at(&bitcall, "acme.bitcall.example", BOOTSTRAP).await.status, found, "{plan}");
        let profile = bitcall.done("GET", "/api/tenant?tenantId=acme", Value::Null).await;
        assert_eq!(profile["domains"]["subdomain"], "acme", "{plan}");
        assert_eq!(profile["domains"]["hosts"], hosts, "{plan}");
    }
}

#[tokio::test]
async fn the_manifest_installs_the_tenants_own_app() {
    let bitcall = with_subdomain().await;
    let config = json!({ "tenantId": "acme", "branding": { "displayName": "Acme Support Center", "themeColor": "#0f766e",
                         "logoLight": "https://cdn.acme.com/logo.svg" } });
    bitcall.done("PATCH", "/api/tenant/config", config).await;
    let answer = at(&bitcall, "acme.bitcall.example", MANIFEST).await;
    assert_eq!(
        (answer.status.as_u16(), answer.headers["content-type"].to_str().unwrap()),
        (200, "application/manifest+json")
    );
    assert_eq!(answer.headers["vary"], "Host");
    let manifest = answer.json();
    for (field, value) in [
        ("name", "Acme Support Center"),
        ("short_name", "Acme"),
        ("theme_color", "#0f766e"),
        ("display", "standalone"),
        ("scope", "/app/"),
        ("id", "/app/"),
        ("start_url", "/app/?source=installed"),
    ] {
        assert_eq!(manifest[field], value, "{field}");
    }
    let handlers = json!([
        { "protocol": "tel", "url": "/app/?dial=%s" },
        { "protocol": "web+tel", "url": "/app/?dial=%s" },
    ]);
    assert_eq!(manifest["protocol_handlers"], handlers);
    assert_eq!(manifest["shortcuts"].as_array().unwrap().len(), 2);
    let icons = manifest["icons"].as_array().unwrap();
    assert_eq!(icons[0]["src"], "https://cdn.acme.com/logo.svg");
    let drawn = icons[1]["src"].as_str().unwrap();
    let drawn = drawn.strip_prefix("data:image/svg+xml,").expect("an icon that needs no request");
    assert!(drawn.contains("%230f766e") && !drawn.contains([' ', '#', '+']), "{drawn}");
    assert!(icons.iter().any(|icon| icon["purpose"] == "maskable"));

    let address = bitcall.address().to_owned();
    let by_query = at(&bitcall, &address, &format!("{MANIFEST}?tenant=other")).await.json();
    assert_eq!((&by_query["name"], &by_query["short_name"]), (&json!("other"), &json!("other")));
    assert_eq!(by_query["id"], "/app/?tenant=other", "one app per tenant, also on one address");
    assert_eq!(by_query["start_url"], "/app/?tenant=other&source=installed");
    assert_eq!(by_query["protocol_handlers"][0]["url"], "/app/?tenant=other&dial=%s");
}

#[tokio::test]
async fn an_app_that_must_not_be_installed_has_no_manifest() {
    let bitcall = with_subdomain().await;
    bitcall.done("PATCH", "/api/tenant/config", json!({ "tenantId": "acme", "app": { "installable": false } })).await;
    let manifest = at(&bitcall, "acme.bitcall.example", MANIFEST).await;
    assert_eq!(refusal(&manifest), (404, "APP_NOT_INSTALLABLE".into()));
    let app = data(&at(&bitcall, "acme.bitcall.example", BOOTSTRAP).await);
    assert_eq!((&app["manifestUrl"], &app["config"]["capabilities"]["installable"]), (&Value::Null, &json!(false)));
}
