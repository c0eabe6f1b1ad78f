//! Key, origin and CORS checks of the runtime configuration.

use serde_json::json;

use crate::installation::{Answer, Installation, data, refusal};

fn allowed(answer: &Answer) -> Option<&str> {
    answer.headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap())
}

async fn with_origins(origins: &[&str]) -> (Installation, String) {
    let bitcall = Installation::serving().await;
    let key = bitcall.tenant("acme", "pro").await;
    let change = json!({ "tenantId": "acme", "origins": { "allowedOrigins": origins } });
    bitcall.done("PATCH", "/api/tenant/config", change).await;
    (bitcall, key)
}

#[tokio::test]
async fn only_allowed_origins_may_read_the_configuration() {
    let (bitcall, key) =
        with_origins(&["https://crm.acme.com", "https://*.shops.example", "http://localhost:3000"]).await;
    for origin in
        ["https://crm.acme.com", "https://one.shops.example", "https://a.b.shops.example", "http://localhost:3000"]
    {
        let answer = bitcall.runtime(&key, Some(origin)).await;
        assert_eq!(data(&answer)["tenantId"], "acme");
        assert_eq!(allowed(&answer), Some(origin), "exactly this origin");
        assert_eq!(answer.headers["vary"], "Origin");
        assert_eq!(answer.headers["cache-control"], "private, no-store");
        assert!(answer.headers.contains_key("x-request-id"));
    }
    for origin in [
        "https://acme.com",
        "http://crm.acme.com",
        "https://crm.acme.com:8443",
        "https://crm.acme.com.evil.example",
        "https://shops.example",
        "https://evilshops.example",
        "http://localhost:3001",
        "null",
        "",
    ] {
        let answer = bitcall.runtime(&key, Some(origin)).await;
        assert_eq!(refusal(&answer), (403, "WEBPHONE_ORIGIN_FORBIDDEN".into()), "{origin}");
        assert_eq!(allowed(&answer), None, "{origin}");
        assert_eq!(answer.headers["vary"], "Origin");
        assert!(answer.headers["cache-control"].to_str().unwrap().contains("no-store"));
    }
}

#[tokio::test]
async fn a_tenant_without_origins_serves_only_the_servers_own_pages() {
    let (bitcall, key) = with_origins(&[]).await;
    let foreign = bitcall.runtime(&key, Some("https://crm.acme.com")).await;
    assert_eq!(refusal(&foreign), (403, "WEBPHONE_ORIGIN_FORBIDDEN".into()));
    assert_eq!(data(&bitcall.runtime(&key, None).await)["tenantId"], "acme");
    // The server is behind a TLS proxy: it is reached by HTTP, and its pages by HTTPS.
    assert_eq!(data(&bitcall.runtime(&key, Some("https://phone.example.com")).await)["tenantId"], "acme");
}

#[tokio::test]
async fn the_servers_own_origin_is_configured_and_not_what_a_request_says() {
    let (bitcall, key) = with_origins(&[]).await;
    let other = bitcall.tenant("other", "pro").await;
    let subdomain = json!({ "tenantId": "acme", "subdomain": "acme" });
    bitcall.done("POST", "/api/tenant/subdomains", subdomain).await;
    for id in ["acme", "other"] {
        bitcall.sip_elsewhere(id).await;
    }
    let report = async |key: &str, host: &str, origin: &str| {
        let session = bitcall.page_session(key).await;
        let body = json!({ "key": key, "session": session, "clientId": "c", "sequence": 1, "calls": [] }).to_string();
        let headers = [("host", host), ("origin", origin), ("content-type", "text/plain")];
        bitcall.send("POST", "/api/webphone/live-calls", &headers, &body).await.status.as_u16()
    };
    for (host, origin) in [
        ("evil.com", "http://evil.com"),
        ("evil.com", "https://evil.com"),
        (bitcall.address(), &bitcall.origin()),
        ("phone.example.com", "http://phone.example.com"),
        ("phone.example.com:8443", "https://phone.example.com:8443"),
        ("nobody.bitcall.example", "https://nobody.bitcall.example"),
    ] {
        assert_eq!(report(&key, host, origin).await, 403, "{host} {origin}");
    }
    for host in ["phone.example.com", "acme.bitcall.example"] {
        assert_eq!(report(&key, host, &format!("https://{host}")).await, 200, "{host}");
        assert_eq!(report(&key, "127.0.0.1", &format!("https://{host}")).await, 200, "{host} by a proxy of that name");
    }
    assert_eq!(
        report(&other, "acme.bitcall.example", "https://acme.bitcall.example").await,
        403,
        "another tenant's name"
    );
}

#[tokio::test]
async fn the_phones_page_names_who_may_frame_it_each_time() {
    let (bitcall, key) =
        with_origins(&["https://crm.acme.com", "https://*.shops.example", "http://localhost:3000"]).await;
    let framed_by = async |query: &str| {
        let page = bitcall.send("GET", &format!("/webphone/{query}"), &[("if-none-match", "*")], "").await;
        assert_eq!((page.status.as_u16(), page.headers.get("etag")), (200, None));
        assert_eq!(page.headers["cache-control"], "private, no-cache, no-transform");
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        policy.split_once("frame-ancestors ").unwrap_or_else(|| panic!("{policy}")).1.to_owned()
    };
    let own = "https://phone.example.com";
    let all = format!("{own} https://crm.acme.com https://*.shops.example http://localhost:3000");
    assert_eq!(framed_by(&format!("?key={key}")).await, all);
    // By its public name alone nothing is told of a tenant.
    for query in ["", "?key=", "?key=bk_live_wrong", "?tenant=acme", "?tenant=nobody"] {
        assert_eq!(framed_by(query).await, "'none'", "{query}");
    }
    for (origin, shown) in
        [("https://a;sandbox", own.to_owned()), ("https://b.acme.com", format!("{own} https://b.acme.com"))]
    {
        let change = json!({ "tenantId": "acme", "origins": { "allowedOrigins": [origin] } });
        let answer = bitcall.panel("PATCH", "/api/tenant/config", change).await;
        if answer.status.is_success() {
            assert_eq!(framed_by(&format!("?key={key}")).await, shown);
        }
    }
}

#[tokio::test]
async fn the_phone_gets_a_configuration_only_for_a_page_that_its_tenant_allows() {
    let (bitcall, key) = with_origins(&["https://crm.acme.com"]).await;
    let asked = async |page: &str, headers: &[(&str, &str)]| {
        let page: String = url::form_urlencoded::byte_serialize(page.as_bytes()).collect();
        bitcall.send("GET", &format!("/api/webphone/config?key={key}&pageOrigin={page}"), headers, "").await
    };
    for page in ["https://crm.acme.com", "https://phone.example.com"] {
        assert_eq!(data(&asked(page, &[]).await)["tenantId"], "acme", "{page}");
    }
    let own = [("origin", "https://phone.example.com")];
    for page in ["https://evil.acme.com", "http://crm.acme.com", "null", ""] {
        for headers in [&[][..], &own] {
            let refused = asked(page, headers).await;
            assert_eq!(refusal(&refused), (403, "WEBPHONE_ORIGIN_FORBIDDEN".into()), "{page}");
        }
    }
    let from_elsewhere = asked("https://crm.acme.com", &[("origin", "https://evil.acme.com")]).await;
    assert_eq!(refusal(&from_elsewhere), (403, "WEBPHONE_ORIGIN_FORBIDDEN".into()));
}

#[tokio::test]
async fn an_origin_taken_away_is_refused_at_once() {
    let (bitcall, key) = with_origins(&["https://crm.acme.com"]).await;
    assert_eq!(bitcall.runtime(&key, Some("https://crm.acme.com")).await.status, 200);
    let change = json!({ "tenantId": "acme", "origins": { "allowedOrigins": ["https://new.acme.com"] } });
    bitcall.done("PATCH", "/api/tenant/config", change).await;
    assert_eq!(bitcall.runtime(&key, Some("https://crm.acme.com")).await.status, 403);
    assert_eq!(bitcall.runtime(&key, Some("https://new.acme.com")).await.status, 200);
}

#[tokio::test]
async fn a_missing_or_wrong_key_is_readable_by_every_origin() {
    let (bitcall, _) = with_origins(&["https://crm.acme.com"]).await;
    let without = bitcall.send("GET", "/api/webphone/config", &[("origin", "https://x.com")], "").await;
    assert_eq!(refusal(&without), (401, "WEBPHONE_MISSING_KEY".into()));
    assert_eq!(allowed(&without), Some("*"), "so that the page can say what is wrong");
    let empty = bitcall.runtime("", None).await;
    assert_eq!(refusal(&empty), (401, "WEBPHONE_MISSING_KEY".into()));
    for wrong in ["bk_live_wrong", "%00%ff", "bk_live_", "x"] {
        let answer = bitcall.runtime(wrong, Some("https://crm.acme.com")).await;
        assert_eq!(refusal(&answer), (401, "WEBPHONE_INVALID_KEY".into()), "{wrong}");
    }
}

#[tokio::test]
async fn the_key_may_come_in_a_header_after_a_preflight() {
    let (bitcall, key) = with_origins(&["https://crm.acme.com"]).await;
    let path = "/api/webphone/config";
    let ask = async |path: &str, origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "GET"),
            ("access-control-request-headers", "x-bitcall-key"),
        ];
        bitcall.send("OPTIONS", path, &headers, "").await
    };
    let granted = ask(path, "https://crm.acme.com").await;
    assert_eq!(granted.headers["x-content-type-options"], "nosniff");
    assert_eq!(granted.status, 204);
    assert_eq!(allowed(&granted), Some("https://crm.acme.com"));
    assert!(granted.headers["access-control-allow-headers"].to_str().unwrap().contains("x-bitcall-key"));
    assert!(granted.headers["access-control-allow-methods"].to_str().unwrap().contains("GET"));
    let foreign = ask(path, "https://evil.example").await;
    assert_eq!(allowed(&foreign), Some("https://evil.example"), "without a key, it tells nothing of any tenant");
    assert_eq!(allowed(&ask(&format!("{path}?key={key}"), "https://crm.acme.com").await), Some("https://crm.acme.com"));
    assert_eq!(allowed(&ask(&format!("{path}?key={key}"), "https://evil.example").await), None);
    assert_eq!(allowed(&ask(&format!("{path}?key=bk_live_x"), "https://crm.acme.com").await), None);

    let headers = [("origin", "https://crm.acme.com"), ("x-bitcall-key", key.as_str())];
    let answer = bitcall.send("GET", path, &headers, "").await;
    assert_eq!(data(&answer)["tenantId"], "acme");
    assert_eq!(allowed(&answer), Some("https://crm.acme.com"));
}

#[tokio::test]
async fn browsers_may_not_read_any_other_route() {
    let (bitcall, key) = with_origins(&["https://crm.acme.com"]).await;
    let headers = [("origin", "https://crm.acme.com"), ("x-bitcall-key", key.as_str())];
    for path in ["/api/tenant?tenantId=acme", "/api/admin/tenants", "/api/nowhere"] {
        for method in ["GET", "OPTIONS"] {
            let answer = bitcall.send(method, path, &headers, "").await;
            assert_eq!(allowed(&answer), None, "{method} {path}");
        }
    }
}
