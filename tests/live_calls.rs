//! Live calls: reports, counts and limits.

use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};

use crate::installation::{Answer, Installation, MASTER_SECRET, data, faulty_fields, refusal};

fn call(id: &str, state: &str) -> Value {
    json!({ "callId": id, "number": "102", "direction": "outbound", "state": state, "seconds": 5 })
}

/// The phone of one page, which signs in at a SIP server that is not this one.
struct Phone<'a> {
    bitcall: &'a Installation,
    key: &'a str,
    session: String,
    client: &'a str,
}

impl<'a> Phone<'a> {
    async fn of(bitcall: &'a Installation, key: &'a str, client: &'a str) -> Self {
        Self { bitcall, key, session: bitcall.page_session(key).await, client }
    }

    async fn report(&self, sequence: u64, calls: Value) -> Answer {
        let Self { key, session, client, .. } = self;
        let body = json!({ "key": key, "session": session, "clientId": client, "sequence": sequence, "calls": calls });
        // As navigator.sendBeacon does.
        let headers = [("content-type", "text/plain;charset=UTF-8")];
        self.bitcall.send("POST", "/api/webphone/live-calls", &headers, &body.to_string()).await
    }
}

/// A tenant whose phones sign in elsewhere; its API key.
async fn with_own_pbx(bitcall: &Installation, id: &str) -> String {
    let key = bitcall.tenant(id, "pro").await;
    bitcall.sip_elsewhere(id).await;
    key
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
    let (acme, other) = (with_own_pbx(&bitcall, "acme").await, with_own_pbx(&bitcall, "other").await);
    bitcall.tenant("idle", "free").await;
    for (key, client, calls) in [
        (&acme, "a", json!([call("1", "active"), call("2", "held")])),
        (&acme, "b", json!([call("1", "ringing")])),
        (&other, "a", json!([call("1", "active")])),
    ] {
        assert_eq!(data(&Phone::of(&bitcall, key, client).await.report(1, calls).await), json!({ "accepted": true }));
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
    let key = with_own_pbx(&bitcall, "acme").await;
    let phone = Phone::of(&bitcall, &key, "a").await;
    phone.report(1, json!([call("1", "ringing")])).await;
    phone.report(3, json!([])).await;
    let late = phone.report(2, json!([call("1", "active")])).await;
    assert_eq!(data(&late), json!({ "accepted": false }));
    let now = of_tenant(&bitcall, "acme").await;
    assert_eq!((&now["liveCalls"], &now["activeClients"], &now["calls"]), (&json!(0), &json!(0), &json!([])));
}

#[tokio::test]
async fn who_may_not_use_the_tenants_phone_may_not_report_calls() {
    let bitcall = Installation::serving().await;
    let key = with_own_pbx(&bitcall, "acme").await;
    let session = bitcall.page_session(&key).await;
    let body = json!({ "session": session, "clientId": "a", "sequence": 1, "calls": [call("1", "active")] });
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
    let key = with_own_pbx(&bitcall, "acme").await;
    let phone = Phone::of(&bitcall, &key, "a").await;
    let bad = json!([{ "callId": "", "direction": "up", "state": "lost", "seconds": -1, "number": "1".repeat(129) }]);
    let answer = phone.report(1, bad).await;
    let fields = ["callId", "direction", "number", "seconds", "state"].map(|field| format!("calls[0].{field}"));
    assert_eq!(faulty_fields(&answer), fields);
    let many: Vec<_> = (0..17).map(|number| call(&number.to_string(), "active")).collect();
    assert_eq!(faulty_fields(&phone.report(1, json!(many)).await), ["calls"]);
    let nameless = Phone { client: " ", ..phone }.report(1, json!([])).await;
    assert_eq!(faulty_fields(&nameless), ["clientId"]);
    let declared = [("content-type", "application/xml")];
    let answer = bitcall.send("POST", "/api/webphone/live-calls", &declared, "{}").await;
    assert_eq!(refusal(&answer), (415, "UNSUPPORTED_MEDIA_TYPE".into()));
    let elsewhere = bitcall.send("POST", "/api/auth/redeem", &[("content-type", "text/plain")], "{}").await;
    assert_eq!(refusal(&elsewhere), (415, "UNSUPPORTED_MEDIA_TYPE".into()), "texts are taken from beacons only");
    assert_eq!(of_tenant(&bitcall, "acme").await["liveCalls"], 0);
}

#[tokio::test]
async fn who_has_a_key_and_no_phone_session_reports_nothing() {
    let bitcall = Installation::serving().await;
    let (key, other) = (with_own_pbx(&bitcall, "acme").await, with_own_pbx(&bitcall, "other").await);
    let on_edge = bitcall.tenant("edge", "pro").await;
    let calls = || json!([call("1", "active")]);
    let foreign = Phone { key: &key, ..Phone::of(&bitcall, &other, "a").await };
    let made_up = Phone { session: "page.abcdefghijkmnpqr.abcdefghijkmnpqrstuvwxyz23456789".into(), ..foreign };
    // On the built-in edge a phone has a session by its sign-in only.
    let not_signed_in = Phone::of(&bitcall, &on_edge, "a").await;
    for phone in [Phone { key: &key, ..Phone::of(&bitcall, &other, "a").await }, made_up, not_signed_in] {
        assert_eq!(refusal(&phone.report(1, calls()).await), (403, "PHONE_SESSION_INVALID".into()));
    }
    let body = json!({ "key": key, "clientId": "a", "sequence": 1, "calls": calls() }).to_string();
    assert_eq!(faulty_fields(&bitcall.send("POST", "/api/webphone/live-calls", &[], &body).await), ["session"]);
    assert_eq!(of_all(&bitcall, "").await["liveCalls"], 0);

    let phone = Phone::of(&bitcall, &key, "a").await;
    assert_eq!(data(&phone.report(1, calls()).await), json!({ "accepted": true }));
    let second = Phone { client: "b", ..phone };
    assert_eq!(refusal(&second.report(1, calls()).await), (429, "TOO_MANY_CLIENTS".into()), "a page is one phone");
}

#[tokio::test]
async fn one_address_makes_up_few_phones_with_few_calls_and_keeps_nobody_elses_out() {
    let bitcall = Installation::serving().await;
    let key = with_own_pbx(&bitcall, "acme").await;
    let many: Vec<_> = (0..16).map(|number| call(&number.to_string(), "active")).collect();
    let tell = async |address: &str, calls: &[Value]| {
        let session = bitcall.page_session(&key).await;
        let body = json!({ "key": key, "session": session, "clientId": session, "sequence": 1, "calls": calls });
        bitcall.send("POST", "/api/webphone/live-calls", &[("x-forwarded-for", address)], &body.to_string()).await
    };
    let flood = stream::iter((0..300).map(|_| tell("192.0.2.1", &many))).buffer_unordered(16);
    let answers: Vec<_> = flood.collect().await;
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status != 200).collect();
    assert_eq!(refused.len(), 50);
    assert!(refused.iter().all(|answer| refusal(answer) == (429, "TOO_MANY_CLIENTS".into())));
    let now = of_tenant(&bitcall, "acme").await;
    assert_eq!(
        (&now["activeClients"], &now["liveCalls"]),
        (&json!(250), &json!(500)),
        "two for each, as the plan has it"
    );
    assert_eq!(tell("192.0.2.2", &many[..1]).await.status, 200);
    assert_eq!(of_tenant(&bitcall, "acme").await["liveCalls"], 501);
}
