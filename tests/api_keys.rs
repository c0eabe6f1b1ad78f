//! API keys: shown once, stored as hashes, limited by the plan, revoked at once.

use serde_json::{Value, json};

use crate::installation::{Installation, refusal};

#[tokio::test]
async fn a_key_works_from_the_moment_it_is_shown_until_it_is_revoked() {
    let bitcall = Installation::serving().await;
    let first = bitcall.tenant("acme", "pro").await;
    let made = bitcall.done("POST", "/api/tenant/api-keys", json!({ "tenantId": "acme", "label": "Staging" })).await;
    let second = made["apiKey"].as_str().unwrap();
    assert_eq!((&made["label"], &made["prefix"]), (&json!("Staging"), &json!("bk_live_")));
    assert_ne!(first, second);
    assert_eq!(bitcall.runtime(second, None).await.status, 200);

    let path = format!("/api/tenant/api-keys/{}", made["id"].as_str().unwrap());
    for _ in 0..2 {
        let revoked = bitcall.done("DELETE", &path, json!({ "tenantId": "acme" })).await;
        assert_eq!(revoked, json!({ "id": made["id"], "revoked": true }), "repeating is safe");
        assert_eq!(refusal(&bitcall.runtime(second, None).await), (401, "WEBPHONE_INVALID_KEY".into()));
    }
    assert_eq!(bitcall.runtime(&first, None).await.status, 200);
    let read = bitcall.done("GET", "/api/tenant?tenantId=acme", Value::Null).await;
    assert_eq!(read["apiKeys"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_last_key_cannot_be_revoked() {
    let bitcall = Installation::serving().await;
    let key = bitcall.tenant("acme", "pro").await;
    let read = bitcall.done("GET", "/api/tenant?tenantId=acme", Value::Null).await;
    let path = format!("/api/tenant/api-keys/{}", read["apiKeys"][0]["id"].as_str().unwrap());
    let answer = bitcall.panel("DELETE", &path, json!({ "tenantId": "acme" })).await;
    assert_eq!(refusal(&answer), (409, "LAST_API_KEY".into()));
    assert_eq!(bitcall.runtime(&key, None).await.status, 200);
}

#[tokio::test]
async fn the_plans_limit_holds_also_when_many_keys_are_asked_for_at_once() {
    let bitcall = Installation::serving().await;
    bitcall.tenant("acme", "pro").await;
    let create = || bitcall.panel("POST", "/api/tenant/api-keys", json!({ "tenantId": "acme" }));
    let answers = futures_util::future::join_all((0..16).map(|_| create())).await;
    let (made, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!(made.len(), 2, "three keys in all");
    assert!(refused.iter().all(|answer| refusal(answer) == (409, "API_KEY_LIMIT_REACHED".into())));
    let read = bitcall.done("GET", "/api/tenant?tenantId=acme", Value::Null).await;
    assert_eq!(read["apiKeys"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn keys_belong_to_their_tenant() {
    let bitcall = Installation::serving().await;
    bitcall.tenant("acme", "pro").await;
    bitcall.tenant("other", "pro").await;
    bitcall.done("POST", "/api/tenant/api-keys", json!({ "tenantId": "acme" })).await;
    let read = bitcall.done("GET", "/api/tenant?tenantId=acme", Value::Null).await;
    let path = format!("/api/tenant/api-keys/{}", read["apiKeys"][0]["id"].as_str().unwrap());
    let answer = bitcall.panel("DELETE", &path, json!({ "tenantId": "other" })).await;
    assert_eq!(refusal(&answer), (404, "API_KEY_NOT_FOUND".into()));
    assert_eq!(bitcall.done("GET", "/api/tenant?tenantId=acme", Value::Null).await, read);
}

#[tokio::test]
async fn neither_keys_nor_passwords_are_on_the_disk() {
    let bitcall = Installation::serving().await;
    let key = bitcall.tenant("acme", "pro").await;
    let extension = json!({ "tenantId": "acme", "username": "101", "password": "correct horse battery" });
    bitcall.done("POST", "/api/tenant/extensions", extension).await;
    assert_eq!(bitcall.runtime(&key, None).await.status, 200);
    let mut found_tenant = false;
    for file in std::fs::read_dir(bitcall.data()).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let bytes = std::fs::read(path).unwrap();
        let holds = |needle: &str| bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
        assert!(!holds(&key) && !holds(&key["bk_live_".len()..]) && !holds("correct horse battery"));
        found_tenant |= holds("acme");
    }
    assert!(found_tenant, "the search finds what is there");
}

#[tokio::test]
async fn the_last_use_of_a_key_is_told_to_the_hour() {
    let bitcall = Installation::serving().await;
    let key = bitcall.tenant("acme", "pro").await;
    assert_eq!(bitcall.runtime(&key, None).await.status, 200);
    let read = bitcall.done("GET", "/api/tenant?tenantId=acme", Value::Null).await;
    let used = read["apiKeys"][0]["lastUsedAt"].as_str().unwrap();
    assert!(used.ends_with(":00:00.000Z"), "{used}");
}
