//! Hand-off tokens and auth links: one-time, short-lived, bound to their tenant.

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};

use crate::installation::{Answer, Installation, MASTER_SECRET, data, faulty_fields, refusal, send};

async fn handoff(bitcall: &Installation, key: &str, payload: &str) -> Value {
    let body = json!({ "payload": payload }).to_string();
    data(&bitcall.send("POST", "/api/auth/handoff", &[("x-bitcall-key", key)], &body).await)
}

async fn redeem(bitcall: &Installation, token: &Value) -> Answer {
    bitcall.send("POST", "/api/auth/redeem", &[], &json!({ "token": token }).to_string()).await
}

#[tokio::test]
async fn a_hand_off_token_carries_the_ciphertext_once() {
    let bitcall = Installation::serving().await;
    let key = bitcall.tenant("acme", "pro").await;
    let made = handoff(&bitcall, &key, "Y2lwaGVydGV4dA").await;
    let url = format!("https://phone.example.com/app/?tenant=acme#token={}", made["token"].as_str().unwrap());
    assert_eq!(made["url"], url, "the page adds its key to the fragment");
    assert!(made["expiresAt"].as_str().unwrap().ends_with('Z'));

    let told = data(&redeem(&bitcall, &made["token"]).await);
    let shown =
        json!({ "kind": told["kind"], "tenantId": told["tenantId"], "payload": told["payload"], "sip": told["sip"] });
    assert_eq!(shown, json!({ "kind": "handoff", "tenantId": "acme", "payload": "Y2lwaGVydGV4dA", "sip": null }));
    assert_eq!(told["config"], data(&bitcall.runtime(&key, None).await), "what every phone of the tenant is told");

    assert_eq!(refusal(&redeem(&bitcall, &made["token"]).await), (410, "TOKEN_INVALID".into()));
}

#[tokio::test]
async fn used_and_unknown_tokens_get_the_same_refusal() {
    let bitcall = Installation::serving().await;
    let key = bitcall.tenant("acme", "pro").await;
    let made = handoff(&bitcall, &key, "eA").await;
    assert_eq!(redeem(&bitcall, &made["token"]).await.status, 200);
    let used = redeem(&bitcall, &made["token"]).await;
    let made_up = ["bt_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "x", "", "\u{0}", "ä/../"];
    for unknown in made_up {
        let answer = redeem(&bitcall, &json!(unknown)).await;
        assert_eq!((answer.status, &answer.body), (used.status, &used.body), "{unknown:?}");
    }
    assert_eq!(refusal(&used), (410, "TOKEN_INVALID".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_concurrent_redemptions_have_one_winner_in_1000_of_1000_rounds() {
    let bitcall = Installation::serving().await;
    let key = bitcall.tenant("acme", "pro").await;
    let address = bitcall.address();
    let round = async |number: usize| {
        let made = handoff(&bitcall, &key, &format!("round{number}")).await;
        let body = json!({ "token": made["token"] }).to_string();
        let attempt = || {
            let (address, body) = (address.to_owned(), body.clone());
            tokio::spawn(async move { send(&address, "POST", "/api/auth/redeem", &[], &body).await.unwrap() })
        };
        let answers = join_all([attempt(), attempt()]).await.into_iter().map(Result::unwrap);
        let (won, lost): (Vec<_>, Vec<_>) = answers.partition(|answer| answer.status == 200);
        assert_eq!((won.len(), lost.len()), (1, 1), "round {number}");
        assert_eq!(data(&won[0])["payload"], format!("round{number}"));
        assert_eq!(refusal(&lost[0]), (410, "TOKEN_INVALID".into()));
        1
    };
    let rounds = stream::iter((0..1000).map(round)).buffer_unordered(16);
    assert_eq!(rounds.fold(0, async |sum, one| sum + one).await, 1000);
}

#[tokio::test]
async fn tokens_survive_a_crash_and_redemptions_too() {
    let mut bitcall = Installation::serving().await;
    let key = bitcall.tenant("acme", "pro").await;
    let (used, kept) = (handoff(&bitcall, &key, "dXNlZA").await, handoff(&bitcall, &key, "a2VwdA").await);
    assert_eq!(redeem(&bitcall, &used["token"]).await.status, 200);
    bitcall.kill();
    bitcall.start().await;
    assert_eq!(refusal(&redeem(&bitcall, &used["token"]).await), (410, "TOKEN_INVALID".into()));
    assert_eq!(data(&redeem(&bitcall, &kept["token"]).await)["payload"], "a2VwdA");
}

#[tokio::test]
async fn pages_hand_off_from_origins_that_the_tenant_allows() {
    let bitcall = Installation::serving().await;
    let key = bitcall.tenant("acme", "pro").await;
    let origins = json!({ "tenantId": "acme", "origins": { "allowedOrigins": ["https://crm.acme.com"] } });
    bitcall.done("PATCH", "/api/tenant/config", origins).await;
    for path in ["/api/auth/handoff", "/api/app/handoff"] {
        // As a page would send it without a preflight: the key in the body.
        let body = json!({ "key": key, "payload": "eA" }).to_string();
        let allowed = bitcall.send("POST", path, &[("origin", "https://crm.acme.com")], &body).await;
        assert_eq!(allowed.status, 200);
        assert_eq!(allowed.headers["access-control-allow-origin"], "https://crm.acme.com");
        let foreign = bitcall.send("POST", path, &[("origin", "https://evil.example")], &body).await;
        assert_eq!(refusal(&foreign), (403, "WEBPHONE_ORIGIN_FORBIDDEN".into()));
        let keyless = bitcall.send("POST", path, &[], &json!({ "payload": "eA" }).to_string()).await;
        assert_eq!(refusal(&keyless), (401, "WEBPHONE_MISSING_KEY".into()));
    }
    let foreign = [("origin", "https://crm.acme.com")];
    let redeemed = bitcall.send("POST", "/api/auth/redeem", &foreign, "{\"token\":\"bt_x\"}").await;
    assert!(!redeemed.headers.contains_key("access-control-allow-origin"), "only pages of this server may read it");
}

#[tokio::test]
async fn an_invalid_or_oversized_ciphertext_is_refused() {
    let bitcall = Installation::serving().await;
    let key = bitcall.tenant("acme", "pro").await;
    let long = "a".repeat(8193);
    for payload in [json!(""), json!("a b"), json!("a+/="), json!(long), json!(7), json!(null)] {
        let body = json!({ "payload": payload }).to_string();
        let answer = bitcall.send("POST", "/api/auth/handoff", &[("x-bitcall-key", &key)], &body).await;
        assert_eq!(faulty_fields(&answer), ["payload"], "{payload}");
    }
    let answer = bitcall.send("POST", "/api/auth/redeem", &[], "{}").await;
    assert_eq!(faulty_fields(&answer), ["token"]);
}

/// A request from another address, as a reverse proxy on this machine passes it on.
async fn from(bitcall: &Installation, address: &str, path: &str, key: &str, body: &Value) -> Answer {
    let headers = [("x-forwarded-for", address), ("x-bitcall-key", key)];
    bitcall.send("POST", path, &headers, &body.to_string()).await
}

#[tokio::test]
async fn a_caller_with_very_many_tokens_loses_the_oldest_of_its_own_and_nobody_else_loses_any() {
    const LINK: &str = "/api/auth/link";
    const HANDOFF: &str = "/api/auth/handoff";
    let mut bitcall = Installation::serving().await;
    let key = bitcall.tenant("acme", "pro").await;
    let other = bitcall.tenant("other", "pro").await;
    for id in ["acme", "other"] {
        let on = json!({ "features": { "authLink": true } });
        bitcall.admin("PATCH", &format!("/api/admin/tenants/{id}"), on).await;
    }
    let back_end =
        bitcall.done("POST", "/api/tenant/api-keys", json!({ "tenantId": "acme", "purpose": "backend" })).await;
    let back_end = back_end["apiKey"].as_str().unwrap();
    let (sip, payload) =
        (json!({ "sip": { "username": "101", "password": "correct horse battery" } }), json!({ "payload": "eA" }));
    let ask = async |address: &str, path: &str, key: &str| {
        let answer = from(&bitcall, address, path, key, if path == LINK { &sip } else { &payload }).await;
        data(&answer)["token"].clone()
    };
    let mut others = Vec::new();
    for (address, key) in [("192.0.2.2", key.as_str()), ("192.0.2.1", back_end), ("192.0.2.1", other.as_str())] {
        others.extend([ask(address, LINK, key).await, ask(address, HANDOFF, key).await]);
    }
    let by_panel = json!({ "tenantId": "acme", "sip": sip["sip"] });
    others.push(bitcall.done("POST", "/api/tenant/auth-link", by_panel).await["token"].clone());

    let mut floods = Vec::new();
    for path in [LINK, HANDOFF] {
        let first = ask("192.0.2.1", path, &key).await;
        let flood = stream::iter((0..520).map(|_| ask("192.0.2.1", path, &key))).buffer_unordered(16);
        let rest: Vec<_> = flood.collect().await;
        floods.push((first, rest));
    }
    bitcall.kill();
    bitcall.start().await;
    for token in &others {
        assert_eq!(redeem(&bitcall, token).await.status, 200, "what others made is good, also after a restart");
    }
    for (first, rest) in &floods {
        assert_eq!(refusal(&redeem(&bitcall, first).await), (410, "TOKEN_INVALID".into()), "the oldest had to go");
        assert_eq!(redeem(&bitcall, rest.last().unwrap()).await.status, 200, "the latest is good");
    }
}

#[tokio::test]
async fn an_auth_link_signs_in_where_links_are_allowed() {
    let bitcall = Installation::serving().await;
    let key = bitcall.tenant("acme", "pro").await;
    let sip = json!({ "username": "101", "domain": "pbx.acme.com", "password": "correct horse battery" });
    let ask = async |path: &str, sip: &Value| {
        let body = json!({ "sip": sip, "ttlSeconds": 600 }).to_string();
        bitcall.send("POST", path, &[("x-bitcall-key", &key)], &body).await
    };
    assert_eq!(refusal(&ask("/api/auth/link", &sip).await), (403, "FEATURE_DISABLED".into()));
    let said = bitcall.bitcall(&["link", "create", "acme", "--username", "101", "--password-file", "bitcall.toml"]);
    assert!(said.exit == 4 && said.err.contains("hint:"), "{said:?}");

    let bearer = format!("Bearer {MASTER_SECRET}");
    let on = json!({ "features": { "authLink": true } }).to_string();
    assert_eq!(bitcall.send("PATCH", "/api/admin/tenants/acme", &[("authorization", &bearer)], &on).await.status, 200);
    for path in ["/api/auth/link", "/api/app/auth-link"] {
        let made = data(&ask(path, &sip).await);
        assert!(
            made["url"]
                .as_str()
                .unwrap()
                .ends_with(&format!("/app/?tenant=acme#token={}", made["token"].as_str().unwrap()))
        );
        let told = data(&redeem(&bitcall, &made["token"]).await);
        assert_eq!((&told["kind"], &told["payload"]), (&json!("link"), &Value::Null));
        let given = json!({ "username": "101", "domain": "pbx.acme.com", "password": "correct horse battery", "HA1Password": null });
        assert_eq!(told["sip"], given);
    }
    let ha1 = "0123456789abcdef0123456789abcdef";
    let made = data(&ask("/api/auth/link", &json!({ "username": "101", "HA1Password": ha1 })).await);
    assert_eq!(data(&redeem(&bitcall, &made["token"]).await)["sip"]["HA1Password"], ha1);

    let both = json!({ "username": "101", "password": "x", "HA1Password": ha1 });
    assert_eq!(faulty_fields(&ask("/api/auth/link", &both).await), ["sip.password"]);
    assert_eq!(faulty_fields(&ask("/api/auth/link", &json!({ "username": "101" })).await), ["sip.password"]);
    let said = bitcall.bitcall(&[
        "link",
        "create",
        "acme",
        "--username",
        "101",
        "--password-file",
        "bitcall.toml",
        "--ttl",
        "15m",
        "--json",
    ]);
    assert_eq!(data(&redeem(&bitcall, &said.json()["token"]).await)["sip"]["username"], "101");
}

#[tokio::test]
async fn a_disabled_tenant_has_its_own_error_and_no_live_calls() {
    let bitcall = Installation::serving().await;
    let key = bitcall.tenant("acme", "pro").await;
    let made = handoff(&bitcall, &key, "eA").await;
    bitcall.sip_elsewhere("acme").await;
    let session = bitcall.page_session(&key).await;
    let call = json!({ "callId": "1", "direction": "inbound", "state": "active", "seconds": 1 });
    let report = json!({ "key": key, "session": session, "clientId": "a", "sequence": 1, "calls": [call] }).to_string();
    assert_eq!(bitcall.send("POST", "/api/webphone/live-calls", &[], &report).await.status, 200);
    let live =
        async || bitcall.done("GET", "/api/tenant/live-calls?tenantId=acme", Value::Null).await["liveCalls"].clone();
    assert_eq!(live().await, 1);
    let bearer = format!("Bearer {MASTER_SECRET}");
    let operator = [("authorization", bearer.as_str())];
    assert_eq!(bitcall.send("POST", "/api/admin/tenants/acme/disable", &operator, "").await.status, 200);
    assert_eq!(live().await, 0);
    assert_eq!(refusal(&redeem(&bitcall, &made["token"]).await), (403, "APP_TENANT_DISABLED".into()));
    let answer = bitcall.send("POST", "/api/webphone/live-calls", &[], &report).await;
    assert_eq!(refusal(&answer), (403, "WEBPHONE_TENANT_DISABLED".into()));
    assert_eq!(bitcall.send("DELETE", "/api/admin/tenants/acme", &operator, "").await.status, 200);
    assert_eq!(refusal(&redeem(&bitcall, &made["token"]).await), (410, "TOKEN_INVALID".into()));
}

#[tokio::test]
async fn a_token_is_bound_to_its_tenant() {
    let bitcall = Installation::serving().await;
    let key = bitcall.tenant("acme", "pro").await;
    bitcall.tenant("other", "pro").await;
    for id in ["acme", "other"] {
        bitcall.done("POST", "/api/tenant/subdomains", json!({ "tenantId": id, "subdomain": id })).await;
    }
    let made = handoff(&bitcall, &key, "eA").await;
    assert!(made["url"].as_str().unwrap().starts_with("https://acme.bitcall.example/app/#token="), "{made}");
    let at = async |host: &str| {
        let body = json!({ "token": made["token"] }).to_string();
        bitcall.send("POST", "/api/auth/redeem", &[("host", host)], &body).await
    };
    assert_eq!(refusal(&at("other.bitcall.example").await), (410, "TOKEN_INVALID".into()));
    assert_eq!(data(&at("acme.bitcall.example").await)["tenantId"], "acme");
}
