//! API keys: shown once, stored as hashes, limited by the plan, replaced with an overlap, revoked at once.

use serde_json::{Value, json};

use crate::installation::{Installation, faulty_fields, refusal};
use crate::rig::wait::until;

#[tokio::test]
async fn a_key_works_from_creation_to_revocation() {
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
async fn a_keys_purpose_is_shown_and_stays_over_restart_and_rotation() {
    let mut bitcall = Installation::serving().await;
    bitcall.bitcall(&["tenant", "provision", "acme", "--plan", "pro", "--key-for", "backend", "--json"]).json();
    let made = bitcall.bitcall(&["key", "create", "acme", "--for", "pages", "--json"]).json();
    assert_eq!(made["purpose"], "pages");
    let listed = bitcall.bitcall(&["key", "list", "acme"]);
    assert!(listed.out.contains("back ends") && listed.out.contains("pages"), "{listed:?}");
    bitcall.kill();
    bitcall.start().await;
    let path = format!("/api/tenant/api-keys/{}/rotate", made["id"].as_str().unwrap());
    let new = bitcall.done("POST", &path, json!({ "tenantId": "acme" })).await;
    assert_eq!((&new["purpose"], &new["replaced"]["purpose"]), (&json!("pages"), &json!("pages")));
    let purposes = bitcall.done("GET", "/api/tenant?tenantId=acme", Value::Null).await["apiKeys"].take();
    let purposes: Vec<_> = purposes.as_array().unwrap().iter().map(|key| key["purpose"].clone()).collect();
    assert_eq!(purposes, ["backend", "pages", "pages"]);
    let wrong = bitcall.panel("POST", "/api/tenant/api-keys", json!({ "tenantId": "acme", "purpose": "all" })).await;
    assert_eq!(faulty_fields(&wrong), ["purpose"]);
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
async fn the_plans_key_limit_holds_under_concurrency() {
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
async fn a_rotated_key_works_until_the_end_of_its_overlap() {
    let bitcall = Installation::serving().await;
    let old = bitcall.tenant("acme", "free").await;
    let id = |key: &Value| key["id"].as_str().unwrap().to_owned();
    let keys = async || bitcall.done("GET", "/api/tenant?tenantId=acme", Value::Null).await["apiKeys"].take();
    let first = keys().await[0].take();
    assert_eq!(first["retiresAt"], Value::Null);
    let rotate = async |key: &Value, body: Value| {
        bitcall.panel("POST", &format!("/api/tenant/api-keys/{}/rotate", id(key)), body).await
    };
    let answer = rotate(&first, json!({ "tenantId": "acme", "overlapSeconds": 2 })).await;
    assert_eq!(answer.status, 200);
    let made = answer.json()["data"].take();
    let new = made["apiKey"].as_str().unwrap();
    assert_eq!(made["label"], first["label"]);
    assert_eq!(made["replaced"]["id"], first["id"]);
    let both = keys().await;
    assert_eq!(both.as_array().unwrap().len(), 2);
    assert_eq!((&both[0]["retiresAt"], &both[1]["retiresAt"]), (&made["replaced"]["retiresAt"], &Value::Null));
    assert_eq!(bitcall.runtime(&old, None).await.status, 200);
    assert_eq!(bitcall.runtime(new, None).await.status, 200);
    let again = rotate(&first, json!({ "tenantId": "acme" })).await;
    assert_eq!(refusal(&again), (409, "API_KEY_RETIRING".into()));

    let refused = until("the end of the overlap", async || match bitcall.runtime(&old, None).await {
        answer if answer.status == 200 => Err("still valid".to_owned()),
        answer => Ok(refusal(&answer)),
    });
    assert_eq!(refused.await, (401, "WEBPHONE_INVALID_KEY".into()));
    assert_eq!(bitcall.runtime(new, None).await.status, 200);
    assert_eq!(keys().await.as_array().unwrap().len(), 1);
    let unknown = rotate(&first, json!({ "tenantId": "acme" })).await;
    assert_eq!(refusal(&unknown), (404, "API_KEY_NOT_FOUND".into()));
    for overlap in [json!(-1), json!("1h"), json!(2_592_001), json!(1.5)] {
        let answer = rotate(&made, json!({ "tenantId": "acme", "overlapSeconds": overlap })).await;
        assert_eq!(faulty_fields(&answer), ["overlapSeconds"]);
    }
}

#[tokio::test]
async fn keys_are_rotated_from_the_command_line_for_as_long_as_wanted() {
    let bitcall = Installation::serving().await;
    let old = bitcall.tenant("acme", "free").await;
    let keys = || bitcall.bitcall(&["key", "list", "acme", "--json"]).json()["apiKeys"].take();
    let id = keys()[0]["id"].as_str().unwrap().to_owned();
    let made = bitcall.bitcall(&["key", "rotate", "acme", &id, "--overlap", "0", "--json"]).json();
    assert_eq!(bitcall.runtime(&old, None).await.status, 401);
    assert_eq!(bitcall.runtime(made["apiKey"].as_str().unwrap(), None).await.status, 200);
    let said = bitcall.bitcall(&["key", "rotate", "acme", made["id"].as_str().unwrap()]);
    assert!(said.exit == 0 && said.out.contains("bk_live_") && said.out.contains("valid until"), "{said:?}");
    let table = bitcall.bitcall(&["key", "list", "acme"]).out;
    assert!(table.contains("RETIRES") && table.lines().count() == 3, "{table}");
    assert_eq!(bitcall.bitcall(&["key", "rotate", "acme", &id]).exit, 1, "it is gone");
    assert_eq!(bitcall.bitcall(&["key", "rotate", "acme", made["id"].as_str().unwrap()]).exit, 5, "it retires");
    assert_eq!(bitcall.bitcall(&["key", "rotate", "acme", &id, "--overlap", "long"]).exit, 2);
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
async fn api_keys_and_passwords_are_never_on_disk_in_clear() {
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
async fn last_used_at_is_coarse_to_the_hour() {
    let bitcall = Installation::serving().await;
    let key = bitcall.tenant("acme", "pro").await;
    assert_eq!(bitcall.runtime(&key, None).await.status, 200);
    let read = bitcall.done("GET", "/api/tenant?tenantId=acme", Value::Null).await;
    let used = read["apiKeys"][0]["lastUsedAt"].as_str().unwrap();
    assert!(used.ends_with(":00:00.000Z"), "{used}");
}
