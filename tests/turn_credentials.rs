//! Time-limited TURN credentials from a shared secret.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::installation::{Installation, data};
use crate::rig::coturn::Coturn;

const SECRET: &str = "what the relay and Bitcall know";
const CREDENTIAL_LIFETIME_S: u64 = 12 * 3600;

async fn with_relay(relay: &Coturn) -> (Installation, String) {
    let bitcall = Installation::serving().await;
    let key = bitcall.tenant("acme", "enterprise").await;
    let servers = json!([{ "urls": ["stun:stun.acme.com"] }, { "urls": [relay.url()], "secret": SECRET }]);
    bitcall.done("PATCH", "/api/tenant/config", json!({ "tenantId": "acme", "iceServers": servers })).await;
    (bitcall, key)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn text<'a>(server: &'a Value, field: &str) -> &'a str {
    server[field].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn issued_turn_credentials_work_and_wrong_or_expired_ones_do_not() {
    let relay = Coturn::sharing(SECRET).await;
    let (bitcall, key) = with_relay(&relay).await;
    let before = now();
    let config = data(&bitcall.runtime(&key, None).await);
    assert_eq!(config["iceServers"][0], json!({ "urls": ["stun:stun.acme.com"] }));
    let told = &config["iceServers"][1];
    let (until, tenant) = text(told, "username").split_once(':').unwrap();
    assert!((before..=now()).contains(&(until.parse::<u64>().unwrap() - CREDENTIAL_LIFETIME_S)) && tenant == "acme");

    assert!(relay.allocates(text(told, "username"), text(told, "credential")), "{}", relay.log());
    let longer = format!("{}:acme", now() + 2 * CREDENTIAL_LIFETIME_S);
    assert!(!relay.allocates(&longer, text(told, "credential")), "nobody prolongs it");
    let over = format!("{}:acme", now() - 1);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET.as_bytes());
    assert!(!relay.allocates(&over, &STANDARD.encode(hmac::sign(&key, over.as_bytes()))), "its time is over");
}

#[tokio::test]
async fn every_runtime_answer_has_turn_credentials_and_never_the_secret() {
    let relay = Coturn::sharing(SECRET).await;
    let (bitcall, key) = with_relay(&relay).await;
    let origin = ("origin", "https://crm.acme.com");
    let origins = json!({ "tenantId": "acme", "origins": { "allowedOrigins": [origin.1] } });
    let profile = bitcall.done("PATCH", "/api/tenant/config", origins).await;
    assert!(!profile.to_string().contains(SECRET));

    let by_the_router = bitcall.send("GET", "/api/webphone/config", &[("x-bitcall-key", &key), origin], "").await;
    assert_eq!(by_the_router.headers["cache-control"], "private, no-store");
    let made = bitcall.send("POST", "/api/auth/handoff", &[("x-bitcall-key", &key)], "{\"payload\":\"eA\"}").await;
    let token = json!({ "token": data(&made)["token"] }).to_string();
    let redeemed = bitcall.send("POST", "/api/auth/redeem", &[], &token).await;
    for config in [data(&bitcall.runtime(&key, None).await), data(&by_the_router), data(&redeemed)["config"].take()] {
        let told = &config["iceServers"][1];
        assert!(text(told, "username").ends_with(":acme") && text(told, "credential").len() == 28, "{told}");
        assert!(!config.to_string().contains(SECRET));
    }
}

/// The tenant's name can be guessed; its key cannot, and a token is redeemed once.
#[tokio::test]
async fn the_app_gets_no_turn_credentials_before_a_token_is_redeemed() {
    let bitcall = Installation::serving().await;
    let key = bitcall.tenant("acme", "enterprise").await;
    bitcall.done("POST", "/api/tenant/subdomains", json!({ "tenantId": "acme", "subdomain": "acme" })).await;
    let servers = json!([
        { "urls": ["stun:stun.acme.com"] },
        { "urls": ["turn:one.acme.com"], "secret": SECRET },
        { "urls": ["turn:two.acme.com"], "username": "u", "credential": SECRET },
    ]);
    bitcall.done("PATCH", "/api/tenant/config", json!({ "tenantId": "acme", "iceServers": servers })).await;
    for (host, path) in
        [(bitcall.address(), "/api/app/bootstrap?tenant=acme"), ("acme.bitcall.example", "/api/app/bootstrap")]
    {
        let app = data(&bitcall.send("GET", path, &[("host", host)], "").await);
        assert_eq!(app["config"]["iceServers"], json!([{ "urls": ["stun:stun.acme.com"] }]), "{host}");
    }
    let made = bitcall.send("POST", "/api/auth/handoff", &[("x-bitcall-key", &key)], "{\"payload\":\"eA\"}").await;
    let token = json!({ "token": data(&made)["token"] }).to_string();
    let redeemed = data(&bitcall.send("POST", "/api/auth/redeem", &[], &token).await);
    assert_eq!(redeemed["config"]["iceServers"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn turn_credentials_are_made_per_request() {
    let relay = Coturn::sharing(SECRET).await;
    let (bitcall, key) = with_relay(&relay).await;
    let username = async || {
        let config = data(&bitcall.runtime(&key, None).await);
        text(&config["iceServers"][1], "username").to_owned()
    };
    let first = username().await;
    // They count in seconds: so at the latest after one they differ.
    while username().await == first {}
}
