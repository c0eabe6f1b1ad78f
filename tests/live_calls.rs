//! Live calls: reports, counts and limits.

use serde_json::{Value, json};

use crate::installation::{Answer, Installation, MASTER_SECRET, data, faulty_fields, refusal};

fn call(id: &str, state: &str) -> Value {
    json!({ "callId": id, "number": "102", "direction": "outbound", "state": state, "seconds": 5 })
}

async fn report(bitcall: &Installation, key: &str, client: &str, sequence: u64, calls: Value) -> Answer {
    let body = json!({ "key": key, "clientId": client, "sequence": sequence, "calls": calls }).to_string();
    // As navigator.sendBeacon does.
    let headers = [("content-type", "text/plain;charset=UTF-8")];
    bitcall.send("POST", "/api/webphone/live-calls", &headers, &body).await
}

async fn of_tenant(bitcall: &Installation, id: &str) -> Value {
    bitcall.done("GET", &format!("/api/tenant/live-calls?tenantId={id}"), Value::Null).await
}

async fn of_all(bitcall: &Installation, query: &str) -> Value {
    let bearer = format!("Bearer {MASTER_SECRET}");
    let path = format!("/api/admin/live-calls{query}");
    data(&bitcall.send("GET", &path, &[("authorization", &bearer)], "").await)
}

#[tokio::test]
async fn panel_administrator_and_command_line_count_the_same_calls() {
    let bitcall = Installation::serving().await;
    let (acme, other) = (bitcall.tenant("acme", "pro").await, bitcall.tenant("other", "pro").await);
    bitcall.tenant("idle", "free").await;
    for (key, client, calls) in [
        (&acme, "a", json!([call("1", "active"), call("2", "held")])),
        (&acme, "b", json!([call("1", "ringing")])),
        (&other, "a", json!([call("1", "active")])),
    ] {
        assert_eq!(data(&report(&bitcall, key, client, 1, calls).await), json!({ "accepted": true }));
    }
    let mine = of_tenant(&bitcall, "acme").await;
    assert_eq!((&mine["liveCalls"], &mine["activeClients"], &mine["maxSessions"]), (&json!(3), &json!(2), &json!(2)));
    let first = &mine["calls"][0];
    assert_eq!((&first["number"], &first["direction"]), (&json!("102"), &json!("outbound")));
    assert!(first["startedAt"].as_str().unwrap().ends_with('Z'));

    let active = of_all(&bitcall, "?activeOnly=true").await;
    assert_eq!((&active["liveCalls"], &active["activeClients"], &active["total"]), (&json!(4), &json!(3), &json!(2)));
    assert_eq!(active["tenants"][0], mine, "one rule");
    let all = of_all(&bitcall, "").await;
    let counts: Vec<_> = all["tenants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tenant| (tenant["tenantId"].as_str().unwrap(), &tenant["liveCalls"]))
        .collect();
    assert_eq!(counts, [("acme", &json!(3)), ("idle", &json!(0)), ("other", &json!(1))]);
    let one = of_all(&bitcall, "?tenantId=other").await;
    assert_eq!((&one["liveCalls"], &one["total"]), (&json!(1), &json!(1)));
    let (first, last) = (of_all(&bitcall, "?limit=2").await, of_all(&bitcall, "?limit=2&cursor=idle").await);
    assert_eq!((&first["nextCursor"], &last["nextCursor"]), (&json!("idle"), &Value::Null));
    assert_eq!(last["tenants"][0]["tenantId"], "other");

    let said = bitcall.bitcall(&["calls", "--json"]).json();
    assert_eq!((&said["liveCalls"], &said["tenants"]), (&json!(4), &active["tenants"]));
    let said = bitcall.bitcall(&["calls", "acme"]);
    assert!(said.exit == 0 && said.out.contains("ringing") && said.out.contains("3 calls in 2 phones"), "{said:?}");
    let nobody = bitcall.bitcall(&["calls", "idle"]);
    assert_eq!(nobody.out.trim(), "nobody is in a call");
    assert_eq!(bitcall.bitcall(&["calls", "nowhere"]).exit, 1);
}

#[tokio::test]
async fn a_call_ends_with_the_report_that_no_longer_has_it_and_no_late_one_revives_it() {
    let bitcall = Installation::serving().await;
    let key = bitcall.tenant("acme", "pro").await;
    report(&bitcall, &key, "a", 1, json!([call("1", "ringing")])).await;
    report(&bitcall, &key, "a", 3, json!([])).await;
    let late = report(&bitcall, &key, "a", 2, json!([call("1", "active")])).await;
    assert_eq!(data(&late), json!({ "accepted": false }));
    let now = of_tenant(&bitcall, "acme").await;
    assert_eq!((&now["liveCalls"], &now["activeClients"], &now["calls"]), (&json!(0), &json!(0), &json!([])));
}

#[tokio::test]
async fn who_may_not_use_the_tenants_phone_may_not_report_calls() {
    let bitcall = Installation::serving().await;
    let key = bitcall.tenant("acme", "pro").await;
    let body = json!({ "clientId": "a", "sequence": 1, "calls": [call("1", "active")] });
    let post = async |headers: &[(&str, &str)], body: &Value| {
        bitcall.send("POST", "/api/webphone/live-calls", headers, &body.to_string()).await
    };
    assert_eq!(refusal(&post(&[], &body).await), (401, "WEBPHONE_MISSING_KEY".into()));
    let wrong = [("x-bitcall-key", "bk_live_wrong")];
    assert_eq!(refusal(&post(&wrong, &body).await), (401, "WEBPHONE_INVALID_KEY".into()));
    let foreign = [("x-bitcall-key", key.as_str()), ("origin", "https://evil.example")];
    assert_eq!(refusal(&post(&foreign, &body).await), (403, "WEBPHONE_ORIGIN_FORBIDDEN".into()));
    let own = [("x-bitcall-key", key.as_str()), ("origin", "https://phone.example.com")];
    assert_eq!(post(&own, &body).await.status, 200, "the phone's own page");
    assert_eq!(of_tenant(&bitcall, "acme").await["liveCalls"], 1);
}

#[tokio::test]
async fn a_report_that_makes_no_sense_names_what_is_wrong_and_counts_nothing() {
    let bitcall = Installation::serving().await;
    let key = bitcall.tenant("acme", "pro").await;
    let bad = json!([{ "callId": "", "direction": "up", "state": "lost", "seconds": -1, "number": "1".repeat(129) }]);
    let answer = report(&bitcall, &key, "a", 1, bad).await;
    let fields = ["callId", "direction", "number", "seconds", "state"].map(|field| format!("calls[0].{field}"));
    assert_eq!(faulty_fields(&answer), fields);
    let many: Vec<_> = (0..17).map(|number| call(&number.to_string(), "active")).collect();
    assert_eq!(faulty_fields(&report(&bitcall, &key, "a", 1, json!(many)).await), ["calls"]);
    let nameless = report(&bitcall, &key, " ", 1, json!([])).await;
    assert_eq!(faulty_fields(&nameless), ["clientId"]);
    let declared = [("content-type", "application/xml")];
    let answer = bitcall.send("POST", "/api/webphone/live-calls", &declared, "{}").await;
    assert_eq!(refusal(&answer), (415, "UNSUPPORTED_MEDIA_TYPE".into()));
    let elsewhere = bitcall.send("POST", "/api/auth/redeem", &[("content-type", "text/plain")], "{}").await;
    assert_eq!(refusal(&elsewhere), (415, "UNSUPPORTED_MEDIA_TYPE".into()), "texts are taken from beacons only");
    assert_eq!(of_tenant(&bitcall, "acme").await["liveCalls"], 0);
}
