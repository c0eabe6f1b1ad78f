//! The plan catalogue, tenants' plans, and billing status.

use serde_json::{Value, json};

use crate::installation::{Installation, data, faulty_fields, refusal};

fn gold() -> Value {
    json!({ "name": "Gold", "price": 49.9, "currency": "EUR", "interval": "year",
            "entitlements": { "customBranding": true, "maxApiKeys": 5, "maxSessions": 4 } })
}

async fn plans(bitcall: &Installation) -> Vec<Value> {
    let mut listed = data(&bitcall.admin("GET", "/api/admin/plans", Value::Null).await);
    listed["plans"].as_array_mut().unwrap().drain(..).collect()
}

async fn rights(bitcall: &Installation, tenant: &str) -> Value {
    bitcall.done("GET", &format!("/api/tenant?tenantId={tenant}"), Value::Null).await["plan"].take()
}

#[tokio::test]
async fn a_plan_is_made_and_its_tenants_have_what_it_grants_at_once() {
    let bitcall = Installation::serving().await;
    let made = data(&bitcall.admin("PUT", "/api/admin/plans/gold", gold()).await);
    assert_eq!(
        made,
        json!({ "planId": "gold", "name": "Gold", "status": "active", "price": 49.9, "currency": "EUR",
                "interval": "year", "isDefault": false, "tenantCount": 0,
                "entitlements": { "customBranding": true, "subdomainAccess": false, "customDomainAccess": false,
                                  "popupMode": false, "audioClips": false, "transfer": false, "maxApiKeys": 5,
                                  "maxSessions": 4, "sipHostOverride": false, "wssOverride": false,
                                  "iceOverride": false } })
    );
    let key = bitcall.tenant("acme", "gold").await;
    assert_eq!(data(&bitcall.runtime(&key, None).await)["capabilities"]["maxSessions"], 4);
    let mut more = gold();
    more["entitlements"]["maxSessions"] = json!(7);
    let changed = data(&bitcall.admin("PUT", "/api/admin/plans/gold", more).await);
    assert_eq!((&changed["tenantCount"], &changed["entitlements"]["maxSessions"]), (&json!(1), &json!(7)));
    assert_eq!(data(&bitcall.runtime(&key, None).await)["capabilities"]["maxSessions"], 7);
    let ids: Vec<_> = plans(&bitcall).await.iter().map(|plan| plan["planId"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, ["free", "pro", "gold", "enterprise"], "the cheapest first");
}

#[tokio::test]
async fn an_invalid_plan_is_refused_by_field_and_not_stored() {
    let bitcall = Installation::serving().await;
    let before = plans(&bitcall).await;
    let wrong = json!({ "name": "", "price": -1, "currency": "euro", "interval": "day", "status": "new", "free": true,
                        "entitlements": { "maxApiKeys": 0, "flying": true } });
    let answer = bitcall.admin("PUT", "/api/admin/plans/gold", wrong).await;
    assert_eq!(
        faulty_fields(&answer),
        [
            "currency",
            "entitlements.flying",
            "entitlements.maxApiKeys",
            "entitlements.maxSessions",
            "free",
            "interval",
            "name",
            "price",
            "status"
        ]
    );
    assert_eq!(faulty_fields(&bitcall.admin("PUT", "/api/admin/plans/Not%20An%20Id", gold()).await), ["planId"]);
    assert_eq!(plans(&bitcall).await, before);
}

#[tokio::test]
async fn there_is_one_default_plan_and_a_plan_in_use_is_not_removed() {
    let bitcall = Installation::serving().await;
    let admin = async |method: &str, plan: &str, body: Value| {
        refusal(&bitcall.admin(method, &format!("/api/admin/plans/{plan}"), body).await)
    };
    let with = |field: &str, value: Value| {
        let mut plan = gold();
        plan[field] = value;
        plan
    };
    data(&bitcall.admin("PUT", "/api/admin/plans/gold", with("isDefault", json!(true))).await);
    let defaults: Vec<_> = plans(&bitcall).await.into_iter().filter(|plan| plan["isDefault"] == true).collect();
    assert_eq!((defaults.len(), &defaults[0]["planId"]), (1, &json!("gold")));
    let made = bitcall.done("POST", "/api/tenant/provision", json!({ "tenantId": "acme" })).await;
    assert_eq!(made["planId"], "gold");
    assert_eq!(admin("PUT", "gold", with("isDefault", json!(false))).await, (409, "DEFAULT_PLAN".into()));
    assert_eq!(admin("PUT", "gold", with("status", json!("retired"))).await, (409, "DEFAULT_PLAN".into()));
    assert_eq!(admin("DELETE", "gold", Value::Null).await, (409, "DEFAULT_PLAN".into()));
    assert_eq!(admin("DELETE", "nothing", Value::Null).await, (404, "PLAN_NOT_FOUND".into()));
    bitcall.tenant("other", "pro").await;
    assert_eq!(admin("DELETE", "pro", Value::Null).await, (409, "PLAN_IN_USE".into()));
    data(&bitcall.admin("DELETE", "/api/admin/plans/free", Value::Null).await);
    assert_eq!(admin("DELETE", "free", Value::Null).await, (404, "PLAN_NOT_FOUND".into()));
}

#[tokio::test]
async fn billing_changes_the_plan_and_unpaid_tenants_lose_entitlements() {
    let bitcall = Installation::serving().await;
    bitcall.tenant("acme", "free").await;
    let bill = async |plan: &str, status: Value| {
        bitcall
            .panel("PATCH", "/api/tenant/plan", json!({ "tenantId": "acme", "planId": plan, "status": status }))
            .await
    };
    let profile = data(&bill("enterprise", Value::Null).await);
    assert_eq!((&profile["plan"]["planId"], &profile["plan"]["status"]), (&json!("enterprise"), &json!("active")));
    assert_eq!(profile["capabilities"]["maxSessions"], 6);
    for (status, sessions) in [("past_due", 6), ("canceled", 2), ("trialing", 6), ("paused", 2), ("active", 6)] {
        data(&bill("enterprise", json!(status)).await);
        let plan = rights(&bitcall, "acme").await;
        assert_eq!((&plan["planId"], &plan["status"]), (&json!("enterprise"), &json!(status)), "the plan is kept");
        assert_eq!(plan["entitlements"]["maxSessions"], sessions, "{status}");
    }
    assert_eq!(faulty_fields(&bill("gold", Value::Null).await), ["planId"]);
    assert_eq!(faulty_fields(&bill("pro", json!("rich")).await), ["status"]);
    let mut retired = gold();
    retired["status"] = json!("retired");
    data(&bitcall.admin("PUT", "/api/admin/plans/gold", retired).await);
    assert_eq!(refusal(&bill("gold", Value::Null).await), (409, "PLAN_RETIRED".into()));
    let new = json!({ "tenantId": "new", "planId": "gold" });
    assert_eq!(refusal(&bitcall.panel("POST", "/api/tenant/provision", new).await), (409, "PLAN_RETIRED".into()));
}

#[test]
fn plan_commands_manage_the_catalogue_with_stable_exit_codes() {
    let bitcall = Installation::new();
    let made = bitcall
        .bitcall(&[
            "plan",
            "set",
            "gold",
            "--price",
            "49.5",
            "--grant",
            "custom-branding",
            "--max-sessions",
            "9",
            "--json",
        ])
        .json();
    assert_eq!((&made["name"], &made["price"]), (&json!("gold"), &json!(49.5)));
    let changed =
        bitcall.bitcall(&["plan", "set", "gold", "--name", "Gold", "--withhold", "transfer", "--json"]).json();
    assert_eq!(changed["entitlements"]["customBranding"], true, "what was not named stays");
    assert_eq!((&changed["entitlements"]["maxSessions"], &changed["price"]), (&json!(9), &json!(49.5)));
    let table = bitcall.bitcall(&["plan", "list"]).out;
    assert!(table.contains("gold") && table.contains("49.5 EUR / month"), "{table}");
    assert!(bitcall.bitcall(&["plan", "show", "gold"]).out.contains("custom-branding"));
    bitcall.bitcall(&["tenant", "provision", "acme", "--plan", "gold", "--json"]).json();
    for (command, exit, hint) in [
        (&["plan", "remove", "gold"][..], 5, "tenant list --plan"),
        (&["plan", "remove", "free"], 5, "plan set --default"),
        (&["plan", "remove", "nothing"], 1, "plan list"),
        (&["plan", "show", "nothing"], 1, "plan list"),
        (&["plan", "set", "gold", "--grant", "flying"], 2, ""),
        (&["plan", "set", "Not An Id"], 2, ""),
        (&["tenant", "plan", "acme", "nothing"], 2, ""),
    ] {
        let said = bitcall.bitcall(command);
        assert!(said.exit == exit && said.out.is_empty() && said.err.contains(hint), "{command:?} {said:?}");
    }
    let told = bitcall.bitcall(&["tenant", "plan", "acme", "--status", "canceled", "--json"]).json();
    assert_eq!((&told["plan"]["planId"], &told["plan"]["status"]), (&json!("gold"), &json!("canceled")));
    assert_eq!(told["plan"]["entitlements"]["maxSessions"], 2);
    assert_eq!(bitcall.bitcall(&["tenant", "plan", "acme", "pro", "--json"]).json()["plan"]["planId"], "pro");
    assert_eq!(bitcall.bitcall(&["tenant", "list", "--plan", "gold", "--json"]).json()["total"], 0);
    assert_eq!(bitcall.bitcall(&["plan", "remove", "gold"]).exit, 0);
}
