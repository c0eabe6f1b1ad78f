//! Subdomains: checked, given to one tenant only, replaced, taken back.

use serde_json::{Value, json};

use crate::installation::{Answer, Installation, faulty_fields, refusal};

async fn assign(bitcall: &Installation, tenant: &str, name: &str) -> Answer {
    bitcall.panel("POST", "/api/tenant/subdomains", json!({ "tenantId": tenant, "subdomain": name })).await
}

async fn check(bitcall: &Installation, tenant: &str, name: &str) -> Value {
    let name: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    let path = format!("/api/tenant/subdomains/check?tenantId={tenant}&value={name}");
    bitcall.done("GET", &path, Value::Null).await
}

async fn subdomain(bitcall: &Installation, tenant: &str) -> Value {
    let path = format!("/api/tenant?tenantId={tenant}");
    bitcall.done("GET", &path, Value::Null).await["domains"]["subdomain"].take()
}

/// Whose app is at a name.
async fn leads_to(bitcall: &Installation, host: &str) -> Value {
    let answer = bitcall.send("GET", "/api/app/bootstrap", &[("host", host)], "").await;
    answer.json()["data"]["tenantId"].take()
}

#[tokio::test]
async fn a_subdomain_serves_its_tenant_from_assignment_to_removal() {
    let mut bitcall = Installation::serving().await;
    bitcall.tenant("acme_corp", "pro").await;
    assert_eq!(
        check(&bitcall, "acme_corp", "Acme").await,
        json!({ "value": "Acme", "normalized": "acme", "unicode": "acme", "available": true, "reason": null,
                "message": null, "host": "acme.bitcall.example" })
    );
    let given = bitcall.done("POST", "/api/tenant/subdomains", json!({ "tenantId": "acme_corp", "subdomain": "Acme" }));
    assert_eq!(
        given.await,
        json!({ "tenantId": "acme_corp", "subdomain": "acme", "unicode": "acme", "host": "acme.bitcall.example" })
    );
    assert_eq!(leads_to(&bitcall, "acme.bitcall.example").await, "acme_corp");
    assert_eq!(subdomain(&bitcall, "acme_corp").await, "acme");
    let bearer = format!("Bearer {}", crate::installation::MASTER_SECRET);
    let list = bitcall.send("GET", "/api/admin/tenants", &[("authorization", &bearer)], "").await.json();
    assert_eq!(list["data"]["tenants"][0]["subdomain"], "acme");

    bitcall.kill();
    bitcall.start().await;
    assert_eq!(leads_to(&bitcall, "acme.bitcall.example").await, "acme_corp", "also after kill -9");
    assert_eq!(check(&bitcall, "acme_corp", "acme").await["available"], true, "it could have what it has");

    let replaced = assign(&bitcall, "acme_corp", "acme-phones").await;
    assert_eq!(replaced.status, 200);
    assert_eq!(leads_to(&bitcall, "acme.bitcall.example").await, Value::Null, "one subdomain per tenant");
    assert_eq!(leads_to(&bitcall, "acme-phones.bitcall.example").await, "acme_corp");
    bitcall.tenant("other", "pro").await;
    assert_eq!(assign(&bitcall, "other", "acme").await.status, 200, "what was given up is free");

    for (removed, name) in [(true, json!("acme-phones")), (false, Value::Null)] {
        let gone = bitcall.done("DELETE", "/api/tenant/subdomains", json!({ "tenantId": "acme_corp" })).await;
        assert_eq!(gone, json!({ "tenantId": "acme_corp", "subdomain": name, "removed": removed }));
        assert_eq!(leads_to(&bitcall, "acme-phones.bitcall.example").await, Value::Null);
    }
    assert_eq!(subdomain(&bitcall, "acme_corp").await, Value::Null);
}

#[tokio::test]
async fn an_unavailable_subdomain_is_refused_with_its_reason_and_changes_nothing() {
    let bitcall = Installation::serving().await;
    bitcall.tenant("acme", "pro").await;
    bitcall.tenant("other", "pro").await;
    bitcall.tenant("poor", "free").await;
    assert_eq!(assign(&bitcall, "other", "taken").await.status, 200);
    assert_eq!(assign(&bitcall, "acme", "mine").await.status, 200);
    for (tenant, name, status, code) in [
        ("acme", "taken", 409, "SUBDOMAIN_IN_USE"),
        ("acme", "TAKEN", 409, "SUBDOMAIN_IN_USE"),
        ("acme", "www", 409, "SUBDOMAIN_RESERVED"),
        ("acme", "ns4", 409, "SUBDOMAIN_RESERVED"),
        ("acme", "in", 409, "SUBDOMAIN_RESERVED"),
        ("poor", "poor", 403, "SUBDOMAIN_NOT_ALLOWED"),
        ("acme", "", 400, "VALIDATION_ERROR"),
        ("acme", "a.b", 400, "VALIDATION_ERROR"),
        ("acme", "a_b", 400, "VALIDATION_ERROR"),
        ("acme", "-a", 400, "VALIDATION_ERROR"),
        ("acme", "xn--0", 400, "VALIDATION_ERROR"),
        ("acme", "a/b", 400, "VALIDATION_ERROR"),
    ] {
        assert_eq!(refusal(&assign(&bitcall, tenant, name).await), (status, code.into()), "{name}");
        let checked = check(&bitcall, tenant, name).await;
        assert_eq!((&checked["available"], &checked["reason"]), (&json!(false), &json!(code)), "{name}");
        assert!(!checked["message"].as_str().unwrap().is_empty());
    }
    assert_eq!(subdomain(&bitcall, "acme").await, "mine");
    assert_eq!(faulty_fields(&assign(&bitcall, "acme", "a b").await), ["subdomain"]);
    let unknown = assign(&bitcall, "nobody", "nobody").await;
    assert_eq!(refusal(&unknown), (404, "TENANT_NOT_FOUND".into()));
}

#[tokio::test]
async fn an_internationalised_subdomain_is_the_same_in_unicode_and_punycode() {
    let bitcall = Installation::serving().await;
    bitcall.tenant("acme", "pro").await;
    bitcall.tenant("other", "pro").await;
    let checked = check(&bitcall, "acme", "BÜCHER").await;
    assert_eq!((&checked["normalized"], &checked["unicode"]), (&json!("xn--bcher-kva"), &json!("bücher")));
    assert_eq!(checked["host"], "xn--bcher-kva.bitcall.example");
    assert_eq!(assign(&bitcall, "acme", "bücher").await.status, 200);
    for spelling in ["Bücher", "xn--bcher-kva", "bu\u{308}cher"] {
        let answer = assign(&bitcall, "other", spelling).await;
        assert_eq!(refusal(&answer), (409, "SUBDOMAIN_IN_USE".into()), "{spelling}");
    }
    assert_eq!(leads_to(&bitcall, "xn--bcher-kva.bitcall.example:8443").await, "acme");
}

#[tokio::test]
async fn concurrent_claims_of_one_subdomain_have_one_winner() {
    let bitcall = Installation::serving().await;
    for number in 0..8 {
        bitcall.tenant(&format!("t{number}"), "pro").await;
    }
    for round in 0..10 {
        let (name, former) = (format!("prize{round}"), format!("own{round}"));
        let tenants: Vec<_> = (0..8).map(|number| format!("t{number}")).collect();
        let options = tenants.iter().map(|tenant| assign(&bitcall, tenant, &name));
        let answers = futures_util::future::join_all(options).await;
        let winners: Vec<_> = tenants.iter().zip(&answers).filter(|(_, answer)| answer.status == 200).collect();
        assert_eq!(winners.len(), 1, "round {round}");
        for answer in answers.iter().filter(|answer| answer.status != 200) {
            assert_eq!(refusal(answer), (409, "SUBDOMAIN_IN_USE".into()));
        }
        let winner = winners[0].0;
        assert_eq!(leads_to(&bitcall, &format!("{name}.bitcall.example")).await, *winner.as_str());
        // The next round starts with a winner who has to give up a name.
        assert_eq!(assign(&bitcall, winner, &former).await.status, 200);
    }
}

#[tokio::test]
async fn a_subdomain_that_moves_between_tenants_never_belongs_to_both() {
    let bitcall = Installation::serving().await;
    for tenant in ["a", "b"] {
        bitcall.tenant(tenant, "pro").await;
    }
    let play = async |tenant: &'static str| {
        for _ in 0..20 {
            assign(&bitcall, tenant, "ball").await;
            bitcall.done("DELETE", "/api/tenant/subdomains", json!({ "tenantId": tenant })).await;
        }
    };
    tokio::join!(play("a"), play("b"));
    assert_eq!(leads_to(&bitcall, "ball.bitcall.example").await, Value::Null);
    assert_eq!(assign(&bitcall, "b", "ball").await.status, 200, "nobody holds it any more");
    assert_eq!(leads_to(&bitcall, "ball.bitcall.example").await, "b");
}

#[tokio::test]
async fn the_command_line_does_the_same() {
    let bitcall = Installation::serving().await;
    bitcall.tenant("acme", "pro").await;
    bitcall.tenant("other", "pro").await;
    let free = bitcall.bitcall(&["subdomain", "check", "acme", "acme"]);
    assert_eq!((free.exit, free.out.trim()), (0, "acme.bitcall.example is available"));
    let set = bitcall.bitcall(&["subdomain", "set", "acme", "acme", "--json"]).json();
    assert_eq!(set["host"], "acme.bitcall.example");
    let taken = bitcall.bitcall(&["subdomain", "check", "other", "acme", "--json"]);
    assert_eq!(taken.exit, 1, "{taken:?}");
    assert_eq!(serde_json::from_str::<Value>(&taken.out).unwrap()["reason"], "SUBDOMAIN_IN_USE");
    let conflict = bitcall.bitcall(&["subdomain", "set", "other", "acme"]);
    assert_eq!((conflict.exit, conflict.out.as_str()), (5, ""), "{conflict:?}");
    for removed in [true, false] {
        let gone = bitcall.bitcall(&["subdomain", "remove", "acme", "--json"]).json();
        assert_eq!(gone["removed"], removed);
    }
}

#[tokio::test]
async fn deletion_frees_a_subdomain_and_disabling_does_not() {
    let bitcall = Installation::serving().await;
    bitcall.tenant("acme", "enterprise").await;
    bitcall.tenant("other", "enterprise").await;
    assert_eq!(assign(&bitcall, "acme", "acme").await.status, 200);
    let claim = async |tenant: &str| {
        let order = json!({ "tenantId": tenant, "domain": "phone.acme.com" });
        bitcall.panel("POST", "/api/tenant/domains", order).await.status.as_u16()
    };
    assert_eq!(claim("acme").await, 200);
    let bearer = format!("Bearer {}", crate::installation::MASTER_SECRET);
    let admin = async |method: &str, path: &str| {
        bitcall.send(method, path, &[("authorization", &bearer)], "").await.status.as_u16()
    };

    assert_eq!(admin("POST", "/api/admin/tenants/acme/disable").await, 200);
    let app = bitcall.send("GET", "/api/app/bootstrap", &[("host", "acme.bitcall.example")], "").await;
    assert_eq!(refusal(&app), (403, "APP_TENANT_DISABLED".into()));
    assert_eq!((assign(&bitcall, "other", "acme").await.status.as_u16(), claim("other").await), (409, 409));

    assert_eq!(admin("DELETE", "/api/admin/tenants/acme").await, 200);
    assert_eq!(leads_to(&bitcall, "acme.bitcall.example").await, Value::Null);
    assert_eq!((assign(&bitcall, "other", "acme").await.status.as_u16(), claim("other").await), (200, 200));
    assert_eq!(leads_to(&bitcall, "acme.bitcall.example").await, "other");
}
