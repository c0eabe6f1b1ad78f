//! Domains of the tenants' own: claimed by one tenant, with what to publish in DNS, and given up.

use serde_json::{Value, json};

use crate::domain_lifecycle::serving;
use crate::installation::{Answer, Installation, MASTER_SECRET, faulty_fields, refusal};

async fn claim(bitcall: &Installation, tenant: &str, domain: &str) -> Answer {
    bitcall.panel("POST", "/api/tenant/domains", json!({ "tenantId": tenant, "domain": domain })).await
}

async fn shown(bitcall: &Installation, tenant: &str) -> Value {
    bitcall.done("GET", &format!("/api/tenant/domains?tenantId={tenant}"), Value::Null).await
}

#[tokio::test]
async fn a_claim_answers_the_dns_records_to_add() {
    let mut bitcall = Installation::serving().await;
    bitcall.tenant("acme_corp", "enterprise").await;
    let order = json!({ "tenantId": "acme_corp", "domain": "Phone.Acme.com." });
    let mut made = bitcall.done("POST", "/api/tenant/domains", order.clone()).await;
    let token = made["txt"]["value"].as_str().unwrap().to_owned();
    assert!(token.len() >= 26, "128 bits at the least: {token}");
    assert!(made["createdAt"].as_str().unwrap().ends_with('Z'));
    assert!(made["nextAction"].as_str().unwrap().contains("TXT"));
    assert!(made["nextAction"].as_str().unwrap().contains(&token), "it is told what to publish");
    for moment in ["nextCheckAt", "expiresAt"] {
        assert!(made["automation"][moment].take().as_str().unwrap().ends_with('Z'), "{moment}");
    }
    for field in ["createdAt", "nextAction"] {
        made.as_object_mut().unwrap().remove(field);
    }
    let mut expected = json!({
        "tenantId": "acme_corp", "configured": true, "created": true, "domain": "phone.acme.com",
        "domainUnicode": "phone.acme.com", "status": "pending", "tlsStatus": "pending", "lastError": "",
        "verifiedAt": null, "checks": { "lastCheckedAt": null, "unsure": null }, "problems": [],
        "automation": { "phase": "dns_pending", "paused": null, "nextCheckAt": null, "recheckAvailableAt": null,
                        "expiresAt": null, "movedAt": null, "activatedByHandAt": null },
        "txt": { "host": "_bitcall-challenge.phone.acme.com", "value": token, "matched": null, "observed": [] },
        "cname": { "host": "phone.acme.com", "value": "in.bitcall.example", "matched": null, "observed": [], "way": null },
    });
    assert_eq!(made, expected);

    expected["created"] = json!(false);
    bitcall.kill();
    bitcall.start().await;
    for mut again in [bitcall.done("POST", "/api/tenant/domains", order).await, shown(&bitcall, "acme_corp").await] {
        for moment in ["nextCheckAt", "expiresAt"] {
            again["automation"][moment].take();
        }
        for field in ["createdAt", "nextAction"] {
            again.as_object_mut().unwrap().remove(field);
        }
        assert_eq!(again, expected, "the same claim with the same token, also after kill -9");
    }
    let read = bitcall.done("GET", "/api/tenant?tenantId=acme_corp", Value::Null).await;
    let domains = json!({ "subdomain": null, "customDomain": "phone.acme.com", "customDomainStatus": "pending",
                          "customDomainTlsStatus": "pending", "hosts": [] });
    assert_eq!(read["domains"], domains);
    let bearer = format!("Bearer {MASTER_SECRET}");
    let list = bitcall.send("GET", "/api/admin/tenants", &[("authorization", &bearer)], "").await.json();
    let line = &list["data"]["tenants"][0];
    assert_eq!((&line["customDomain"], &line["customDomainStatus"]), (&json!("phone.acme.com"), &json!("pending")));
    let app = bitcall.send("GET", "/api/app/bootstrap", &[("host", "phone.acme.com")], "").await;
    assert_eq!(refusal(&app), (404, "APP_TENANT_NOT_FOUND".into()), "a claim that is not proved leads nowhere");
}

#[tokio::test]
async fn without_a_claim_the_answer_has_the_same_fields() {
    let bitcall = Installation::serving().await;
    bitcall.tenant("acme", "enterprise").await;
    let none = shown(&bitcall, "acme").await;
    assert_eq!((&none["configured"], &none["domain"], &none["status"]), (&json!(false), &Value::Null, &Value::Null));
    assert_eq!(none["cname"]["value"], "in.bitcall.example");
    assert_eq!(claim(&bitcall, "acme", "phone.acme.com").await.status, 200);
    let some = shown(&bitcall, "acme").await;
    let fields = |view: &Value| view.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&none), fields(&some));
    for (removed, domain) in [(true, json!("phone.acme.com")), (false, Value::Null)] {
        let gone = bitcall.done("DELETE", "/api/tenant/domains", json!({ "tenantId": "acme" })).await;
        assert_eq!(gone, json!({ "tenantId": "acme", "domain": domain, "removed": removed }));
        assert_eq!(shown(&bitcall, "acme").await, none);
    }
}

#[tokio::test]
async fn a_domain_that_cannot_be_claimed_is_refused_with_its_reason_and_changes_nothing() {
    let (bitcall, _dns) = serving().await;
    bitcall.tenant("acme", "enterprise").await;
    bitcall.tenant("other", "enterprise").await;
    bitcall.tenant("poor", "pro").await;
    assert_eq!(claim(&bitcall, "other", "phone.other.com").await.status, 200);
    assert_eq!(claim(&bitcall, "acme", "phone.acme.com").await.status, 200);
    let before = shown(&bitcall, "acme").await;
    for domain in ["phone.other.com", "PHONE.other.com", "phone.other.com."] {
        assert_eq!(refusal(&claim(&bitcall, "acme", domain).await), (409, "CUSTOM_DOMAIN_IN_USE".into()), "{domain}");
    }
    for bad in [
        "",
        "acme",
        "localhost",
        "192.0.2.1",
        "2001:db8::1",
        "[::1]",
        "https://acme.com",
        "acme.com/phone",
        "acme.com:443",
        "*.acme.com",
        "a_b.acme.com",
        "a..acme.com",
        "bitcall.example",
        "acme.bitcall.example",
        "a.b.bitcall.example",
        "in.bitcall.example",
        "phone.example.com",
    ] {
        assert_eq!(faulty_fields(&claim(&bitcall, "acme", bad).await), ["domain"], "{bad}");
    }
    assert_eq!(refusal(&claim(&bitcall, "poor", "poor.com").await), (403, "CUSTOM_DOMAIN_NOT_ALLOWED".into()));
    assert_eq!(shown(&bitcall, "acme").await, before);
}

#[tokio::test]
async fn claiming_another_domain_releases_the_previous_one() {
    let bitcall = Installation::serving().await;
    bitcall.tenant("acme", "enterprise").await;
    bitcall.tenant("other", "enterprise").await;
    assert_eq!(claim(&bitcall, "acme", "old.acme.com").await.status, 200);
    let first = shown(&bitcall, "acme").await;
    assert_eq!(claim(&bitcall, "acme", "bücher.example").await.status, 200);
    let second = shown(&bitcall, "acme").await;
    assert_eq!(
        (&second["domain"], &second["domainUnicode"]),
        (&json!("xn--bcher-kva.example"), &json!("bücher.example"))
    );
    assert_eq!(second["txt"]["host"], "_bitcall-challenge.xn--bcher-kva.example");
    assert_ne!(first["txt"]["value"], second["txt"]["value"]);
    assert_eq!(claim(&bitcall, "other", "old.acme.com").await.status, 200);
    assert_ne!(shown(&bitcall, "other").await["txt"]["value"], first["txt"]["value"], "a token is one tenant's");
}

#[tokio::test]
async fn concurrent_claims_of_one_domain_have_one_winner() {
    let (bitcall, _dns) = serving().await;
    let tenants: Vec<_> = (0..8).map(|number| format!("t{number}")).collect();
    for tenant in &tenants {
        bitcall.tenant(tenant, "enterprise").await;
    }
    for round in 0..10 {
        let domain = format!("phone{round}.acme.com");
        let answers =
            futures_util::future::join_all(tenants.iter().map(|tenant| claim(&bitcall, tenant, &domain))).await;
        let winners: Vec<_> = tenants.iter().zip(&answers).filter(|(_, answer)| answer.status == 200).collect();
        assert_eq!(winners.len(), 1, "round {round}");
        for answer in answers.iter().filter(|answer| answer.status != 200) {
            assert_eq!(refusal(answer), (409, "CUSTOM_DOMAIN_IN_USE".into()));
        }
        assert_eq!(shown(&bitcall, winners[0].0).await["domain"], domain);
    }
}

#[tokio::test]
async fn concurrent_equal_claims_of_one_tenant_make_one_claim() {
    let bitcall = Installation::serving().await;
    bitcall.tenant("acme", "enterprise").await;
    let claims = (0..8).map(|_| claim(&bitcall, "acme", "phone.acme.com"));
    let answers: Vec<_> = futures_util::future::join_all(claims).await.iter().map(Answer::json).collect();
    assert_eq!(answers.iter().filter(|answer| answer["data"]["created"] == true).count(), 1);
    let token = &shown(&bitcall, "acme").await["txt"]["value"];
    assert!(answers.iter().all(|answer| answer["data"]["txt"]["value"] == *token), "{answers:?}");
}

#[tokio::test]
async fn the_command_line_does_the_same() {
    let (bitcall, _dns) = serving().await;
    bitcall.tenant("acme", "enterprise").await;
    bitcall.tenant("other", "enterprise").await;
    let added = bitcall.bitcall(&["domain", "add", "acme", "phone.acme.com"]);
    assert_eq!(added.exit, 0, "{added:?}");
    for told in ["_bitcall-challenge.phone.acme.com", "in.bitcall.example", "pending"] {
        assert!(added.out.contains(told), "{}", added.out);
    }
    assert_eq!(bitcall.bitcall(&["domain", "show", "acme", "--json"]).json()["domain"], "phone.acme.com");
    assert_eq!(bitcall.bitcall(&["domain", "add", "other", "phone.acme.com"]).exit, 5);
    assert_eq!(bitcall.bitcall(&["domain", "add", "other", "no domain"]).exit, 2);
    assert_eq!(bitcall.bitcall(&["domain", "add", "other", "a.other.com"]).exit, 0);
    let list = bitcall.bitcall(&["domain", "list", "--json"]).json();
    let names: Vec<_> =
        list["domains"].as_array().unwrap().iter().map(|line| line["domain"].as_str().unwrap()).collect();
    assert_eq!((names, &list["total"]), (vec!["a.other.com", "phone.acme.com"], &json!(2)));
    assert_eq!(bitcall.bitcall(&["domain", "remove", "acme", "--json"]).json()["removed"], true);
    let none = bitcall.bitcall(&["domain", "show", "acme"]);
    assert_eq!((none.exit, none.out.trim()), (0, "acme has no domain of its own"));
}
