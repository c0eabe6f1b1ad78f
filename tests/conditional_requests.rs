//! `ETag`, If-None-Match and If-Match on tenant reads and changes.

use serde_json::{Value, json};

use crate::installation::{Answer, Installation, PANEL_KEY, data, refusal};

const PATH: &str = "/api/tenant?tenantId=acme";

async fn ask(bitcall: &Installation, method: &str, path: &str, header: (&str, &str), body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    bitcall.send(method, path, &[("x-bitcall-panel-key", PANEL_KEY), header], &body).await
}

fn tag(answer: &Answer) -> String {
    answer.headers["etag"].to_str().unwrap().to_owned()
}

fn named(name: &str) -> Value {
    json!({ "tenantId": "acme", "branding": { "displayName": name } })
}

#[tokio::test]
async fn if_none_match_on_the_current_version_is_304() {
    let mut bitcall = Installation::serving().await;
    bitcall.tenant("acme", "pro").await;
    let first = bitcall.panel("GET", PATH, Value::Null).await;
    assert!(tag(&first).starts_with('"'), "a strong one: {}", tag(&first));
    bitcall.kill();
    bitcall.start().await;
    let known = ask(&bitcall, "GET", PATH, ("if-none-match", &tag(&first)), &Value::Null).await;
    assert_eq!((known.status.as_u16(), known.body.len()), (304, 0), "over a restart too");
    assert_eq!(tag(&known), tag(&first));

    let changed = bitcall.panel("PATCH", "/api/tenant/config", named("New")).await;
    let now = ask(&bitcall, "GET", PATH, ("if-none-match", &tag(&first)), &Value::Null).await;
    assert_eq!(now.status, 200);
    assert_eq!((tag(&now), &now.body), (tag(&changed), &changed.body), "the change's answer is what is read next");
    let head = ask(&bitcall, "HEAD", PATH, ("accept", "*/*"), &Value::Null).await;
    assert_eq!((head.status.as_u16(), tag(&head), head.body.len()), (200, tag(&now), 0));
}

#[tokio::test]
async fn if_match_on_an_old_version_is_412_and_changes_nothing() {
    let bitcall = Installation::serving().await;
    bitcall.tenant("acme", "pro").await;
    let read = tag(&bitcall.panel("GET", PATH, Value::Null).await);
    let config = "/api/tenant/config";
    data(&ask(&bitcall, "PATCH", config, ("if-match", &read), &named("First")).await);
    for (method, path, body) in [
        ("PATCH", config, named("Second")),
        ("POST", "/api/tenant/api-keys", json!({ "tenantId": "acme" })),
        ("DELETE", "/api/tenant/api-keys/key_x", json!({ "tenantId": "acme" })),
    ] {
        let late = ask(&bitcall, method, path, ("if-match", &read), &body).await;
        assert_eq!(refusal(&late), (412, "PRECONDITION_FAILED".into()), "{method} {path}");
    }
    let weak = ask(&bitcall, "PATCH", config, ("if-match", "W/\"1\", \"nonsense\""), &named("Second")).await;
    assert_eq!(refusal(&weak), (412, "PRECONDITION_FAILED".into()));
    let tenant = bitcall.done("GET", PATH, Value::Null).await;
    assert_eq!((&tenant["branding"]["displayName"], tenant["apiKeys"].as_array().unwrap().len()), (&json!("First"), 1));
    let any = ask(&bitcall, "PATCH", config, ("if-match", "*"), &named("Second")).await;
    let again = ask(&bitcall, "PATCH", config, ("if-match", &format!("{read}, {}", tag(&any))), &named("Third")).await;
    assert_eq!(data(&again)["branding"]["displayName"], "Third", "one of several versions is enough");
}

#[tokio::test]
async fn key_use_does_not_change_the_tenants_etag() {
    let bitcall = Installation::serving().await;
    let key = bitcall.tenant("acme", "pro").await;
    let read = tag(&bitcall.panel("GET", PATH, Value::Null).await);
    assert_eq!(bitcall.runtime(&key, None).await.status, 200);
    let now = ask(&bitcall, "GET", PATH, ("if-none-match", &read), &Value::Null).await;
    assert_eq!(now.status, 200, "the answer shows when");
    data(&ask(&bitcall, "PATCH", "/api/tenant/config", ("if-match", &read), &named("New")).await);
}
