//! Rate limits per address, key, tenant and origin.

use serde_json::Value;

use crate::installation::{Answer, Installation, PANEL_KEY, data, refusal};

/// `name;param=value` of a member of a list.
fn parameter(answer: &Answer, header: &str, policy: &str, name: &str) -> Option<u64> {
    let list = answer.headers.get(header)?.to_str().unwrap();
    let member = list.split(',').map(str::trim).find(|member| member.starts_with(&format!("\"{policy}\"")))?;
    member.split(';').find_map(|parameter| parameter.strip_prefix(&format!("{name}=")))?.parse().ok()
}

fn is_limited(answer: &Answer, policy: &str) -> bool {
    if answer.status != 429 {
        return false;
    }
    assert_eq!(refusal(answer), (429, "RATE_LIMITED".into()));
    let wait: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait));
    assert_eq!(parameter(answer, "ratelimit", policy, "r"), Some(0), "{:?}", answer.headers);
    assert_eq!(parameter(answer, "ratelimit", policy, "t"), Some(wait));
    true
}

#[tokio::test]
async fn each_api_key_has_its_own_rate_limit() {
    let bitcall = Installation::serving_with("[limits]\nrequests_per_key = 3\n").await;
    let (acme, other) = (bitcall.tenant("acme", "pro").await, bitcall.tenant("other", "pro").await);
    for _ in 0..3 {
        assert_eq!(bitcall.runtime(&acme, None).await.status, 200);
    }
    let fourth = bitcall.runtime(&acme, None).await;
    assert!(is_limited(&fourth, "key"));
    assert_eq!(parameter(&fourth, "ratelimit-policy", "key", "q"), Some(3));
    assert_eq!(parameter(&fourth, "ratelimit-policy", "key", "w"), Some(60));
    assert_eq!(bitcall.runtime(&other, None).await.status, 200);
}

#[tokio::test]
async fn keys_share_the_tenants_limit_and_pages_share_the_origins_limit() {
    let limits = "[limits]\nrequests_per_tenant = 4\nrequests_per_origin = 2\n";
    let bitcall = Installation::serving_with(limits).await;
    let origin = "https://crm.acme.com";
    let mut keys = Vec::new();
    for tenant in ["acme", "other", "third"] {
        keys.push(bitcall.tenant(tenant, "pro").await);
        let body = serde_json::json!({ "tenantId": tenant, "origins": { "allowedOrigins": [origin] } });
        bitcall.done("PATCH", "/api/tenant/config", body).await;
    }
    let second = bitcall.done("POST", "/api/tenant/api-keys", serde_json::json!({ "tenantId": "acme" })).await;
    let second = second["apiKey"].as_str().unwrap();
    for key in [&keys[0], second, &keys[0], second] {
        assert_eq!(bitcall.runtime(key, None).await.status, 200);
    }
    assert!(is_limited(&bitcall.runtime(second, None).await, "tenant"));
    for key in &keys[1..] {
        assert_eq!(bitcall.runtime(key, Some(origin)).await.status, 200);
    }
    let third = bitcall.runtime(&keys[1], Some(origin)).await;
    assert!(is_limited(&third, "origin"));
    assert_eq!(third.headers["access-control-allow-origin"], origin, "the page may read it");
    assert_eq!(bitcall.runtime(&keys[1], None).await.status, 200);
}

#[tokio::test]
async fn an_address_is_limited_on_every_route_and_the_control_socket_is_not() {
    let bitcall = Installation::serving_with("[limits]\nrequests_per_address = 20\n").await;
    let key = bitcall.tenant("acme", "pro").await;
    let mut left = 19;
    for _ in 0..9 {
        let answer = bitcall.panel("GET", "/api/tenant?tenantId=acme", Value::Null).await;
        data(&answer);
        let remaining = parameter(&answer, "ratelimit", "address", "r").expect("every answer tells");
        assert!(remaining <= left, "{remaining} after {left}");
        left = remaining;
    }
    let limited = async || {
        for _ in 0..40 {
            let answer = bitcall.runtime(&key, None).await;
            if is_limited(&answer, "address") {
                return;
            }
        }
        panic!("there is an end");
    };
    limited().await;
    assert!(is_limited(&bitcall.panel("GET", "/api/tenant?tenantId=acme", Value::Null).await, "address"));
    assert!(is_limited(&bitcall.send("GET", "/api/nowhere", &[], "").await, "address"));
    for _ in 0..30 {
        bitcall.bitcall(&["tenant", "show", "acme", "--json"]).json();
    }
    // Behind a proxy on this machine everybody has an address of their own.
    let path = format!("/api/webphone/config?key={key}");
    let forwarded = [("x-forwarded-for", "198.51.100.1, 192.0.2.7")];
    assert_eq!(bitcall.send("GET", &path, &forwarded, "").await.status, 200);
}

#[tokio::test]
async fn wrong_credentials_are_limited_per_address_and_valid_api_keys_are_not() {
    let bitcall = Installation::serving_with("[limits]\nwrong_credentials_per_address = 5\n").await;
    let key = bitcall.tenant("acme", "pro").await;
    for n in 0..5 {
        let missing = bitcall.send("GET", "/api/tenant", &[], "").await;
        assert_eq!(refusal(&missing), (401, "PANEL_UNAUTHORIZED".into()), "nothing was guessed");
        let wrong = bitcall.send("GET", "/api/tenant", &[("x-bitcall-panel-key", "guess")], "").await;
        assert_eq!(refusal(&wrong), (401, "PANEL_UNAUTHORIZED".into()), "{n}");
    }
    let none = bitcall.send("GET", "/api/admin/tenants", &[], "").await;
    assert!(is_limited(&none, "wrong-credentials"), "nor on the operator's other routes");
    for guess in [PANEL_KEY, "guess"] {
        let answer = bitcall.send("GET", "/api/tenant", &[("x-bitcall-panel-key", guess)], "").await;
        assert!(is_limited(&answer, "wrong-credentials"), "the right one is not told from a wrong one");
    }
    assert!(is_limited(&bitcall.runtime("bk_live_guess", None).await, "wrong-credentials"));
    assert_eq!(bitcall.runtime(&key, None).await.status, 200);
    bitcall.bitcall(&["tenant", "show", "acme", "--json"]).json();
}

#[tokio::test]
async fn zero_switches_the_limits_off() {
    let names = ["address", "key", "tenant", "origin"];
    let mut limits = String::from("[limits]\nwrong_credentials_per_address = 0\n");
    limits.extend(names.map(|name| format!("requests_per_{name} = 0\n")));
    let bitcall = Installation::serving_with(&limits).await;
    bitcall.tenant("acme", "pro").await;
    let answer = bitcall.panel("GET", "/api/tenant?tenantId=acme", Value::Null).await;
    assert!(!answer.headers.contains_key("ratelimit") && !answer.headers.contains_key("ratelimit-policy"));
}
