//! The life cycle of custom domains, with real DNS messages.

use hickory_resolver::proto::rr::RecordType;
use serde_json::{Value, json};

use crate::installation::{Answer, Installation, data, refusal};
use crate::rig::resolver::Resolver;

pub const INGRESS: &str = "in.bitcall.example";

/// A server whose resolver knows only its ingress host.
pub async fn serving() -> (Installation, Resolver) {
    let resolver = Resolver::start().await;
    resolver.addresses(INGRESS, &["192.0.2.10"]);
    let bitcall = Installation::serving_with(&format!("[dns]\nresolvers = ['{}']\n", resolver.address())).await;
    (bitcall, resolver)
}

/// A claim; its token.
pub async fn claim(bitcall: &Installation, tenant: &str, domain: &str) -> String {
    let made = bitcall.done("POST", "/api/tenant/domains", json!({ "tenantId": tenant, "domain": domain })).await;
    made["txt"]["value"].as_str().unwrap().to_owned()
}

async fn shown(bitcall: &Installation, tenant: &str) -> Value {
    bitcall.done("GET", &format!("/api/tenant/domains?tenantId={tenant}"), Value::Null).await
}

async fn sync(bitcall: &Installation, domain: &str) -> Value {
    let mut synced = data(&bitcall.admin("POST", "/api/admin/domains/sync", json!({ "domains": [domain] })).await);
    synced["domains"][0].take()
}

async fn recheck(bitcall: &Installation, tenant: &str) -> Answer {
    bitcall.panel("POST", "/api/tenant/domains/recheck", json!({ "tenantId": tenant })).await
}

/// Whose app is at a name.
async fn leads_to(bitcall: &Installation, host: &str) -> Value {
    let answer = bitcall.send("GET", "/api/app/bootstrap", &[("host", host)], "").await;
    answer.json()["data"]["tenantId"].take()
}

fn at(view: &Value) -> [&str; 3] {
    let text = |pointer| view.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer} of {view}"));
    [text("/status"), text("/tlsStatus"), text("/automation/phase")]
}

fn next(view: &Value) -> &str {
    assert!(view["automation"]["nextCheckAt"].is_string(), "{view}");
    view["nextAction"].as_str().unwrap()
}

#[tokio::test]
async fn a_domain_reports_each_missing_step_and_becomes_active() {
    let (bitcall, dns) = serving().await;
    bitcall.tenant("acme", "enterprise").await;
    let token = claim(&bitcall, "acme", "phone.acme.com").await;

    let view = data(&recheck(&bitcall, "acme").await);
    assert_eq!(at(&view), ["pending", "pending", "dns_pending"]);
    assert_eq!((&view["txt"]["matched"], &view["cname"]["matched"]), (&json!(false), &json!(false)));
    assert!(next(&view).contains(&token) && next(&view).contains(INGRESS), "{}", next(&view));

    dns.txt("_bitcall-challenge.phone.acme.com", "of somebody else");
    let view = sync(&bitcall, "phone.acme.com").await;
    assert_eq!((at(&view)[2], &view["txt"]["observed"]), ("dns_pending", &json!(["of somebody else"])));

    dns.txt("_bitcall-challenge.phone.acme.com", &token);
    let view = sync(&bitcall, "phone.acme.com").await;
    assert_eq!((at(&view)[2], &view["txt"]["matched"]), ("dns_partial", &json!(true)));
    assert!(view["verifiedAt"].is_string() && view["automation"]["expiresAt"].is_null(), "{view}");
    assert!(next(&view).contains("CNAME") && !next(&view).contains(&token), "{}", next(&view));
    assert_eq!(leads_to(&bitcall, "phone.acme.com").await, Value::Null);

    dns.cname("phone.acme.com", INGRESS);
    let view = sync(&bitcall, "phone.acme.com").await;
    assert_eq!(at(&view), ["active", "external", "active"], "{view}");
    assert_eq!((&view["cname"]["way"], &view["cname"]["matched"]), (&json!("cname"), &json!(true)));
    assert_eq!(leads_to(&bitcall, "phone.acme.com").await, "acme");
    assert_eq!(shown(&bitcall, "acme").await, view);
    let profile = bitcall.done("GET", "/api/tenant?tenantId=acme", Value::Null).await;
    assert_eq!(profile["domains"]["customDomainStatus"], "active");
}

#[tokio::test]
async fn flattened_cnames_match_and_are_reported_as_flattened() {
    let (bitcall, dns) = serving().await;
    bitcall.tenant("acme", "enterprise").await;
    let token = claim(&bitcall, "acme", "acme.com").await;
    dns.txt("_bitcall-challenge.acme.com", &token);
    dns.addresses("acme.com", &["192.0.2.99"]);
    let view = sync(&bitcall, "acme.com").await;
    assert_eq!((at(&view)[2], &view["cname"]["way"]), ("dns_partial", &Value::Null));
    assert!(view["problems"][0]["message"].as_str().unwrap().contains("192.0.2.99"), "{view}");
    dns.addresses("acme.com", &["192.0.2.10"]);
    let view = sync(&bitcall, "acme.com").await;
    assert_eq!((at(&view)[0], &view["cname"]["way"]), ("active", &json!("flattened")), "{view}");
}

#[tokio::test]
async fn dns_failures_are_reported_and_change_no_state() {
    let (bitcall, dns) = serving().await;
    bitcall.tenant("acme", "enterprise").await;
    let token = claim(&bitcall, "acme", "phone.acme.com").await;
    dns.txt("_bitcall-challenge.phone.acme.com", &token);
    dns.cname("phone.acme.com", INGRESS);
    assert_eq!(at(&sync(&bitcall, "phone.acme.com").await)[0], "active");
    for name in ["phone.acme.com", "_bitcall-challenge.phone.acme.com"] {
        dns.fails(name, true);
    }
    let view = sync(&bitcall, "phone.acme.com").await;
    assert_eq!(at(&view), ["active", "external", "active"]);
    assert_eq!((&view["txt"]["matched"], &view["cname"]["matched"]), (&json!(true), &json!(true)));
    assert!(view["checks"]["unsure"].is_string(), "{view}");
    assert_eq!(leads_to(&bitcall, "phone.acme.com").await, "acme");
}

#[tokio::test]
async fn one_check_that_finds_a_domain_moved_does_not_deactivate_it() {
    let (bitcall, dns) = serving().await;
    bitcall.tenant("acme", "enterprise").await;
    let token = claim(&bitcall, "acme", "phone.acme.com").await;
    dns.txt("_bitcall-challenge.phone.acme.com", &token);
    dns.cname("phone.acme.com", INGRESS);
    assert_eq!(at(&sync(&bitcall, "phone.acme.com").await)[0], "active");
    dns.remove("phone.acme.com", RecordType::CNAME);
    dns.remove("_bitcall-challenge.phone.acme.com", RecordType::TXT);
    for _ in 0..5 {
        let view = sync(&bitcall, "phone.acme.com").await;
        assert_eq!(at(&view), ["active", "external", "active"]);
        assert!(next(&view).contains("CNAME"), "but it is told: {}", next(&view));
    }
    assert_eq!(leads_to(&bitcall, "phone.acme.com").await, "acme");
}

#[tokio::test]
async fn a_tenant_may_ask_for_a_check_every_30_seconds() {
    let (bitcall, _dns) = serving().await;
    bitcall.tenant("acme", "enterprise").await;
    assert_eq!(refusal(&recheck(&bitcall, "acme").await), (404, "DOMAIN_NOT_FOUND".into()));
    claim(&bitcall, "acme", "phone.acme.com").await;
    let first = data(&recheck(&bitcall, "acme").await);
    let refused = recheck(&bitcall, "acme").await;
    assert_eq!(refusal(&refused), (429, "RECHECK_TOO_SOON".into()));
    let moment = refused.json()["error"]["recheckAvailableAt"].take();
    assert_eq!(moment, first["automation"]["recheckAvailableAt"]);
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    let problem = [("x-bitcall-panel-key", crate::installation::PANEL_KEY), ("accept", "application/problem+json")];
    let told = bitcall.send("POST", "/api/tenant/domains/recheck", &problem, r#"{"tenantId":"acme"}"#).await.json();
    assert_eq!(told["recheckAvailableAt"], moment);
    bitcall.done("PATCH", "/api/tenant/plan", json!({ "tenantId": "acme", "planId": "pro" })).await;
    assert_eq!(refusal(&recheck(&bitcall, "acme").await), (403, "CUSTOM_DOMAIN_NOT_ALLOWED".into()));
}

#[tokio::test]
async fn a_verified_claim_takes_a_domain_from_an_unverified_one() {
    let (bitcall, dns) = serving().await;
    for tenant in ["squatter", "owner"] {
        bitcall.tenant(tenant, "enterprise").await;
    }
    claim(&bitcall, "squatter", "phone.acme.com").await;
    let order = json!({ "tenantId": "owner", "domain": "phone.acme.com" });
    let refused = bitcall.panel("POST", "/api/tenant/domains", order.clone()).await;
    assert_eq!(refusal(&refused), (409, "CUSTOM_DOMAIN_IN_USE".into()));
    let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("_bitcall-challenge.phone.acme.com"), "{message}");
    let token = message.split('"').nth(1).unwrap();

    dns.txt("_bitcall-challenge.phone.acme.com", token);
    let won = bitcall.done("POST", "/api/tenant/domains", order.clone()).await;
    assert_eq!((&won["created"], at(&won)[2], &won["txt"]["value"]), (&json!(true), "dns_partial", &json!(token)));
    let lost = shown(&bitcall, "squatter").await;
    assert_eq!(lost["configured"], false);
    assert!(lost["lastError"].as_str().unwrap().contains("another tenant"), "{lost}");
    // Proved, it is nobody else's.
    let back =
        bitcall.panel("POST", "/api/tenant/domains", json!({ "tenantId": "squatter", "domain": "phone.acme.com" }));
    let back = back.await;
    assert_eq!(refusal(&back), (409, "CUSTOM_DOMAIN_IN_USE".into()));
    assert!(!back.json()["error"]["message"].as_str().unwrap().contains('"'), "there is nothing to publish");
}

#[tokio::test]
async fn the_operator_activates_a_domain_whatever_dns_says() {
    let (bitcall, dns) = serving().await;
    bitcall.tenant("acme", "enterprise").await;
    let token = claim(&bitcall, "acme", "phone.acme.com").await;
    let unknown = bitcall.admin("POST", "/api/admin/domains/nobody.example/activate", Value::Null).await;
    assert_eq!(refusal(&unknown), (404, "DOMAIN_NOT_FOUND".into()));
    for _ in 0..2 {
        let view = data(&bitcall.admin("POST", "/api/admin/domains/Phone.Acme.com/activate", Value::Null).await);
        assert_eq!(at(&view), ["active", "external", "active"]);
        assert!(view["automation"]["activatedByHandAt"].is_string());
    }
    assert_eq!(leads_to(&bitcall, "phone.acme.com").await, "acme");
    let view = sync(&bitcall, "phone.acme.com").await;
    assert_eq!((at(&view)[0], &view["txt"]["matched"]), ("active", &json!(false)));
    dns.txt("_bitcall-challenge.phone.acme.com", &token);
    dns.cname("phone.acme.com", INGRESS);
    let view = sync(&bitcall, "phone.acme.com").await;
    assert_eq!((at(&view)[0], &view["automation"]["activatedByHandAt"]), ("active", &Value::Null), "DNS says it too");
}

#[tokio::test]
async fn a_sync_checks_all_domains_and_reports_unclaimed_names() {
    let (bitcall, dns) = serving().await;
    for number in 0..3 {
        let (tenant, domain) = (format!("t{number}"), format!("phone{number}.acme.com"));
        bitcall.tenant(&tenant, "enterprise").await;
        let token = claim(&bitcall, &tenant, &domain).await;
        dns.txt(&format!("_bitcall-challenge.{domain}"), &token);
        dns.cname(&domain, INGRESS);
    }
    let some = json!({ "domains": ["phone0.acme.com", "PHONE0.acme.com.", "nobody.example"] });
    let synced = data(&bitcall.admin("POST", "/api/internal/domains/sync", some).await);
    assert_eq!(synced["unknown"], json!(["nobody.example"]));
    assert_eq!(at(&synced["domains"][0])[0], "active");
    let started = data(&bitcall.admin("POST", "/api/internal/domains/sync", json!({})).await);
    assert_eq!((&started["started"], &started["domains"]), (&json!(3), &json!([])));
    crate::rig::wait::until("all are active", async || {
        let list = data(&bitcall.admin("GET", "/api/admin/domains", Value::Null).await);
        let active = list["domains"].as_array().unwrap().iter().filter(|line| line["status"] == "active").count();
        if active == 3 { Ok(()) } else { Err(list.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn a_repeated_claim_with_an_idempotency_key_is_one_claim() {
    let (bitcall, _dns) = serving().await;
    bitcall.tenant("acme", "enterprise").await;
    let headers = [("x-bitcall-panel-key", crate::installation::PANEL_KEY), ("idempotency-key", "once")];
    let body = json!({ "tenantId": "acme", "domain": "phone.acme.com" }).to_string();
    let first = bitcall.send("POST", "/api/tenant/domains", &headers, &body).await;
    assert_eq!(data(&first)["created"], true);
    let again = bitcall.send("POST", "/api/tenant/domains", &headers, &body).await;
    assert_eq!((again.json(), again.headers["idempotency-replayed"].to_str().unwrap()), (first.json(), "true"));
}
