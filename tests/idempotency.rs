//! `Idempotency-Key`: repeated requests run once.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::installation::{Answer, Installation, PANEL_KEY, data, faulty_fields, refusal, send};

async fn made(bitcall: &Installation, path: &str, key: &str, body: &Value) -> Answer {
    let headers = [("x-bitcall-panel-key", PANEL_KEY), ("idempotency-key", key)];
    bitcall.send("POST", path, &headers, &body.to_string()).await
}

fn is_replayed(answer: &Answer) -> bool {
    answer.headers.get("idempotency-replayed").is_some_and(|value| value == "true")
}

#[tokio::test]
async fn a_repeated_idempotency_key_creates_once_and_returns_the_same_secret() {
    let mut bitcall = Installation::serving().await;
    let requests = [
        ("/api/tenant/provision", json!({ "tenantId": "acme", "planId": "pro", "apiKeyLabel": "First" })),
        ("/api/tenant/api-keys", json!({ "tenantId": "acme", "label": "Second" })),
        ("/api/tenant/extensions", json!({ "tenantId": "acme", "username": "101" })),
    ];
    let mut first = Vec::new();
    for (n, (path, body)) in requests.iter().enumerate() {
        let answer = made(&bitcall, path, &format!("request-{n}"), body).await;
        data(&answer);
        assert!(!is_replayed(&answer));
        first.push(answer);
    }
    for restarted in [false, true] {
        if restarted {
            bitcall.kill();
            bitcall.start().await;
        }
        for (n, (path, body)) in requests.iter().enumerate() {
            let again = made(&bitcall, path, &format!("request-{n}"), body).await;
            assert_eq!((again.status, &again.body), (first[n].status, &first[n].body), "{path}");
            assert!(is_replayed(&again), "{path}");
        }
    }
    let tenant = bitcall.done("GET", "/api/tenant?tenantId=acme", Value::Null).await;
    assert_eq!(tenant["apiKeys"].as_array().unwrap().len(), 2);
    // Fields in another order are the same request.
    let same = r#"{"label":"Second","tenantId":"acme"}"#;
    let headers = [("x-bitcall-panel-key", PANEL_KEY), ("idempotency-key", "request-1")];
    assert!(is_replayed(&bitcall.send("POST", "/api/tenant/api-keys", &headers, same).await));
}

#[tokio::test]
async fn an_idempotency_key_belongs_to_one_request() {
    let bitcall = Installation::serving().await;
    data(&made(&bitcall, "/api/tenant/provision", "k", &json!({ "tenantId": "acme" })).await);
    for (path, body) in [
        ("/api/tenant/provision", json!({ "tenantId": "other" })),
        ("/api/tenant/provision", json!({ "tenantId": "acme", "planId": "pro" })),
        ("/api/tenant/api-keys", json!({ "tenantId": "acme" })),
    ] {
        let answer = made(&bitcall, path, "k", &body).await;
        assert_eq!(refusal(&answer), (422, "IDEMPOTENCY_KEY_REUSED".into()), "{path} {body}");
    }
    let long = "x".repeat(256);
    for strange in [" ", "with space", &long, "ümlaut"] {
        let answer = made(&bitcall, "/api/tenant/provision", strange, &json!({ "tenantId": "other" })).await;
        assert_eq!(faulty_fields(&answer), ["Idempotency-Key"], "{strange:?}");
    }
    assert_eq!(bitcall.bitcall(&["tenant", "list", "--json"]).json()["total"], 1);
}

#[tokio::test]
async fn one_api_keys_idempotency_keys_are_not_in_the_way_of_anothers() {
    let bitcall = Installation::serving().await;
    let page = bitcall.tenant("acme", "pro").await;
    let back_end = bitcall.done("POST", "/api/tenant/api-keys", json!({ "tenantId": "acme" })).await;
    let handoff = async |key: &str, payload: &str| {
        let headers = [("x-bitcall-key", key), ("idempotency-key", "order-1")];
        bitcall.send("POST", "/api/auth/handoff", &headers, &json!({ "payload": payload }).to_string()).await
    };
    let first = handoff(&page, "cGFnZQ").await;
    data(&first);
    let other = handoff(back_end["apiKey"].as_str().unwrap(), "YmFjayBlbmQ").await;
    assert_ne!(data(&other)["token"], data(&first)["token"]);
    assert!(is_replayed(&handoff(&page, "cGFnZQ").await));
}

#[tokio::test]
async fn a_refused_request_may_be_retried_with_the_same_idempotency_key() {
    let bitcall = Installation::serving().await;
    let body = json!({ "tenantId": "acme", "username": "101" });
    let early = made(&bitcall, "/api/tenant/extensions", "k", &body).await;
    assert_eq!(refusal(&early), (404, "TENANT_NOT_FOUND".into()));
    bitcall.tenant("acme", "pro").await;
    let now = made(&bitcall, "/api/tenant/extensions", "k", &body).await;
    assert_eq!((data(&now)["created"].clone(), is_replayed(&now)), (json!(true), false));
}

#[tokio::test]
async fn concurrent_requests_with_one_idempotency_key_run_once() {
    let bitcall = Installation::serving().await;
    bitcall.tenant("acme", "enterprise").await;
    let body = json!({ "tenantId": "acme", "label": "Once" });
    let answers = join_all((0..20).map(|_| made(&bitcall, "/api/tenant/api-keys", "k", &body))).await;
    let done: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(done.iter().filter(|answer| !is_replayed(answer)).count(), 1);
    assert!(done.iter().all(|answer| answer.body == done[0].body));
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(refusal(answer), (409, "IDEMPOTENCY_IN_PROGRESS".into()));
        assert_eq!(answer.headers["retry-after"], "1");
    }
    let tenant = bitcall.done("GET", "/api/tenant?tenantId=acme", Value::Null).await;
    assert_eq!(tenant["apiKeys"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn retries_with_one_idempotency_key_create_once_across_crashes() {
    let mut bitcall = Installation::serving().await;
    for round in 0..10 {
        let ids: Vec<_> = (0..16).map(|n| format!("t{round}-{n}")).collect();
        let address = bitcall.address().to_owned();
        let ask = async |address: &str, id: &str| {
            let headers = [("x-bitcall-panel-key", PANEL_KEY), ("idempotency-key", id)];
            send(address, "POST", "/api/tenant/provision", &headers, &json!({ "tenantId": id }).to_string()).await
        };
        let storm = join_all(ids.iter().map(|id| ask(&address, id)));
        let kill = async {
            tokio::time::sleep(std::time::Duration::from_millis(round)).await;
            bitcall.kill();
        };
        let (answered, ()) = tokio::join!(storm, kill);
        bitcall.start().await;
        for (id, answered) in ids.iter().zip(answered) {
            let again = ask(bitcall.address(), id).await.expect("the server answers");
            let key = data(&again)["apiKey"].clone();
            if let Some(answered) = answered {
                assert_eq!(data(&answered)["apiKey"], key, "an answer that was given stands");
                assert!(is_replayed(&again));
            }
            assert_eq!(bitcall.runtime(key.as_str().unwrap(), None).await.status, 200, "the shown key works");
        }
    }
}
