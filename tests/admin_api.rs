//! The admin API: search, raw and effective reads, overrides, disable and enable, deletion.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::installation::{Installation, data, faulty_fields, refusal};

#[tokio::test]
async fn tenants_are_listed_and_searched_in_pages() {
    let bitcall = Installation::serving().await;
    for n in 0..7 {
        let plan = if n % 2 == 0 { "pro" } else { "free" };
        let new = json!({ "tenantId": format!("t{n}"), "displayName": format!("Firma ÄRGER {n}"), "planId": plan });
        bitcall.done("POST", "/api/tenant/provision", new).await;
    }
    let list =
        async |query: &str| data(&bitcall.admin("GET", &format!("/api/admin/tenants?{query}"), Value::Null).await);
    let ids = |page: &Value| -> Vec<String> {
        let tenants = page["tenants"].as_array().unwrap();
        tenants.iter().map(|tenant| tenant["tenantId"].as_str().unwrap().to_owned()).collect()
    };
    let first = list("q=%C3%A4rger&planId=pro&limit=3").await;
    assert_eq!((ids(&first), &first["total"]), (vec!["t0".into(), "t2".into(), "t4".into()], &json!(4)));
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = list(&format!("q=%C3%A4rger&planId=pro&limit=3&cursor={cursor}")).await;
    assert_eq!((ids(&second), &second["total"], &second["nextCursor"]), (vec!["t6".into()], &json!(4), &Value::Null));
    assert_eq!(list("q=T3").await["total"], 1, "ids too, and in any case");
    data(&bitcall.admin("POST", "/api/admin/tenants/t3/disable", Value::Null).await);
    assert_eq!(ids(&list("enabled=false").await), ["t3"]);
    assert_eq!(list("enabled=true").await["total"], 6);
    assert_eq!(list("q=nothing").await, json!({ "tenants": [], "total": 0, "nextCursor": null }));
    let wrong = bitcall.admin("GET", "/api/admin/tenants?limit=0&enabled=maybe&offset=3", Value::Null).await;
    assert_eq!(faulty_fields(&wrong), ["enabled", "limit", "offset"]);
}

#[tokio::test]
async fn an_admin_read_shows_raw_and_effective_values() {
    let bitcall = Installation::serving().await;
    bitcall.tenant("small", "free").await;
    let change = json!({ "tenantId": "small", "branding": { "themeColor": "#ff0000" }, "app": { "audioClips": true } });
    bitcall.done("PATCH", "/api/tenant/config", change).await;
    let read = data(&bitcall.admin("GET", "/api/admin/tenants/small", Value::Null).await);
    assert_eq!(
        (&read["raw"]["branding"]["themeColor"], &read["effective"]["branding"]["themeColor"]),
        (&json!("#ff0000"), &json!("#14b8a6")),
        "kept, but the plan has no branding"
    );
    assert_eq!(
        (&read["raw"]["app"]["audioClips"], &read["effective"]["capabilities"]["audioClips"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(
        (&read["raw"]["sip"]["domain"], &read["effective"]["transport"]["sip"]["domain"]),
        (&Value::Null, &json!("small.sip.bitcall.internal"))
    );
    assert_eq!(
        (&read["planId"], &read["plan"]["name"], &read["planStatus"]),
        (&json!("free"), &json!("Free"), &json!("active"))
    );
    assert_eq!(read["apiKeys"].as_array().unwrap().len(), 1);
    assert_eq!(
        refusal(&bitcall.admin("GET", "/api/admin/tenants/nobody", Value::Null).await),
        (404, "TENANT_NOT_FOUND".into())
    );
    assert_eq!(
        refusal(&bitcall.admin("GET", "/api/admin/tenants/Not%20An%20Id", Value::Null).await),
        (404, "TENANT_NOT_FOUND".into())
    );
}

#[tokio::test]
async fn only_an_admin_patch_overrides_the_plan() {
    let bitcall = Installation::serving().await;
    let poor = json!({ "name": "Poor", "price": 0, "currency": "EUR", "interval": "month",
                       "entitlements": { "maxApiKeys": 1, "maxSessions": 1 } });
    data(&bitcall.admin("PUT", "/api/admin/plans/poor", poor).await);
    let key = bitcall.tenant("acme", "poor").await;
    let own = json!({ "sip": { "domain": "sip.acme.com" }, "wss": "wss://pbx.acme.com/" });
    let mut by_tenant = own.clone();
    by_tenant["tenantId"] = json!("acme");
    let refused = bitcall.panel("PATCH", "/api/tenant/config", by_tenant.clone()).await;
    assert_eq!(refusal(&refused), (403, "NOT_ENTITLED".into()));
    let read = data(&bitcall.admin("PATCH", "/api/admin/tenants/acme", own).await);
    assert_eq!(read["raw"]["byOperator"], json!({ "sipDomain": true, "wss": true, "iceServers": false }));
    let phone = data(&bitcall.runtime(&key, None).await);
    assert_eq!((&phone["sip"]["domain"], &phone["wsUrl"]), (&json!("sip.acme.com"), &json!("wss://pbx.acme.com/")));
    assert_eq!(
        refusal(&bitcall.panel("PATCH", "/api/tenant/config", by_tenant).await).0,
        403,
        "still not the tenant's"
    );

    let all = json!({ "planId": "pro", "planStatus": "past_due", "enabled": false, "features": { "authLink": true },
                      "branding": { "displayName": "Acme" }, "wss": null });
    let read = data(&bitcall.admin("PATCH", "/api/admin/tenants/acme", all).await);
    assert_eq!(
        (&read["planId"], &read["planStatus"], &read["enabled"]),
        (&json!("pro"), &json!("past_due"), &json!(false))
    );
    assert_eq!(read["effective"]["features"]["authLink"], true);
    assert_eq!(read["effective"]["transport"]["wss"], json!(["wss://phone.example.com/sip"]));
    assert_eq!(refusal(&bitcall.runtime(&key, None).await), (403, "WEBPHONE_TENANT_DISABLED".into()));

    let wrong = json!({ "planId": "nothing", "branding": { "displayName": "Other" } });
    assert_eq!(faulty_fields(&bitcall.admin("PATCH", "/api/admin/tenants/acme", wrong).await), ["planId"]);
    let wrong = json!({ "planStatus": "rich", "features": { "authLink": 1, "x": true }, "tenantId": "acme" });
    assert_eq!(
        faulty_fields(&bitcall.admin("PATCH", "/api/admin/tenants/acme", wrong).await),
        ["features.authLink", "features.x", "planStatus", "tenantId"]
    );
    let read = data(&bitcall.admin("GET", "/api/admin/tenants/acme", Value::Null).await);
    assert_eq!(read["raw"]["branding"]["displayName"], "Acme", "nothing of a refused change is written");
    let by_panel = json!({ "tenantId": "acme", "features": { "authLink": false } });
    assert_eq!(faulty_fields(&bitcall.panel("PATCH", "/api/tenant/config", by_panel).await), ["features"]);
}

#[tokio::test]
async fn a_disabled_tenant_is_shut_out_at_once_and_let_in_again() {
    let bitcall = Installation::serving().await;
    let key = bitcall.tenant("acme", "pro").await;
    let switch =
        async |verb: &str| data(&bitcall.admin("POST", &format!("/api/admin/tenants/acme/{verb}"), Value::Null).await);
    for _ in 0..2 {
        assert_eq!(switch("disable").await, json!({ "tenantId": "acme", "enabled": false }));
        assert_eq!(refusal(&bitcall.runtime(&key, None).await), (403, "WEBPHONE_TENANT_DISABLED".into()));
    }
    for _ in 0..2 {
        assert_eq!(switch("enable").await, json!({ "tenantId": "acme", "enabled": true }));
        assert_eq!(bitcall.runtime(&key, None).await.status, 200);
    }
    let nobody = bitcall.admin("POST", "/api/admin/tenants/nobody/disable", Value::Null).await;
    assert_eq!(refusal(&nobody), (404, "TENANT_NOT_FOUND".into()));
}

#[tokio::test]
async fn a_dry_run_lists_what_a_deletion_removes() {
    let bitcall = Installation::serving().await;
    let key = bitcall.tenant("acme", "pro").await;
    bitcall.done("POST", "/api/tenant/extensions", json!({ "tenantId": "acme", "username": "101" })).await;
    let delete = async |dry_run: bool| {
        bitcall.admin("DELETE", &format!("/api/admin/tenants/acme?dryRun={dry_run}"), Value::Null).await
    };
    let planned = data(&delete(true).await);
    assert_eq!((&planned["dryRun"], &planned["deleted"]), (&json!(true), &json!(false)));
    assert_eq!(
        (&planned["removed"]["apiKeys"], &planned["removed"]["extensions"], &planned["removed"]["auditEntries"]),
        (&json!(1), &json!(1), &json!(2))
    );
    assert_eq!(bitcall.runtime(&key, None).await.status, 200);
    let done = data(&delete(false).await);
    assert_eq!((&done["dryRun"], &done["deleted"]), (&json!(false), &json!(true)));
    assert_eq!(done["removed"]["extensions"], planned["removed"]["extensions"]);
    assert_eq!(refusal(&bitcall.runtime(&key, None).await), (401, "WEBPHONE_INVALID_KEY".into()));
    assert_eq!(refusal(&delete(false).await), (404, "TENANT_NOT_FOUND".into()));
    bitcall.tenant("acme", "free").await;
}

#[tokio::test]
async fn tenant_commands_cover_the_admin_api_and_deletion_asks_first() {
    let bitcall = Installation::serving().await;
    bitcall.tenant("acme", "pro").await;
    let set = bitcall.bitcall(&[
        "tenant",
        "config",
        "acme",
        "--name",
        "Acme",
        "--logo-light",
        "https://l.com/l.svg",
        "--logo-dark",
        "https://l.com/d.svg",
        "--accent",
        "#ff0000",
        "--header",
        "logo",
        "--origin",
        "https://crm.acme.com",
        "--origin",
        "https://*.acme.com",
        "--popup",
        "off",
        "--installable",
        "off",
        "--audio-clips",
        "on",
        "--sign-in",
        "autologin",
        "--session-restore",
        "off",
        "--theme",
        "dark",
        "--theme-lock",
        "on",
        "--cookie-mode",
        "isolated",
        "--decline-status",
        "603",
        "--redirects",
        "any-domain",
        "--referrals",
        "ask",
        "--auto-answer",
        "on",
        "--message-replies",
        "on",
        "--caller-id-header",
        "remote-party-id",
        "--hold-music",
        "off",
        "--hold-music-url",
        "https://cdn.acme.com/hold.ogg",
        "--recording",
        "off",
        "--auto-record",
        "on",
        "--record-stereo",
        "on",
        "--record-beep",
        "on",
        "--record-announcement",
        "https://cdn.acme.com/recorded.mp3",
        "--clip",
        "Opening hours=https://cdn.acme.com/hours.ogg",
        "--clip",
        "Way=https://cdn.acme.com/way.wav",
        "--sip-domain",
        "sip.acme.com",
        "--dtmf",
        "info",
        "--wss",
        "wss://pbx.acme.com/",
        "--ice",
        "stun:stun.acme.com",
        "--json",
    ]);
    set.json();
    let raw = bitcall.bitcall(&["tenant", "show", "acme", "--raw", "--json"]).json()["raw"].take();
    assert_eq!(
        raw,
        json!({ "branding": { "displayName": "Acme", "logoLight": "https://l.com/l.svg", "logoDark": "https://l.com/d.svg",
                              "themeColor": "#ff0000", "headerMode": "logo" },
                "origins": { "allowedOrigins": ["https://crm.acme.com", "https://*.acme.com"] },
                "app": { "popupMode": false, "installable": false, "audioClips": true, "recording": false },
                "behavior": { "host": { "mode": "autologin" }, "sessionRestore": "off",
                              "theme": { "start": "dark", "lock": true }, "cookieMode": "isolated",
                              "calls": { "declineStatus": 603, "redirects": "any-domain", "referrals": "ask", "autoAnswer": true,
                                         "messageReplies": true,
                                         "callerIdHeader": "remote-party-id" },
                              "holdMusic": { "enabled": false, "url": "https://cdn.acme.com/hold.ogg" },
                              "recording": { "autoRecord": true, "stereo": true, "beep": true,
                                             "announcement": "https://cdn.acme.com/recorded.mp3" },
                              "clips": [{ "name": "Opening hours", "url": "https://cdn.acme.com/hours.ogg" },
                                        { "name": "Way", "url": "https://cdn.acme.com/way.wav" }] },
                "sip": { "domain": "sip.acme.com", "dtmf": "info" }, "wss": ["wss://pbx.acme.com/"],
                "iceServers": [{ "urls": ["stun:stun.acme.com"], "username": null, "hasCredential": false,
                                 "hasSecret": false }],
                "features": { "authLink": null },
                "byOperator": { "sipDomain": false, "wss": false, "iceServers": false } })
    );
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(br#"{ "branding": { "displayName": "From a file" }, "wss": null }"#).unwrap();
    let path = file.path().to_str().unwrap();
    let by_file =
        ["tenant", "config", "acme", "--json-file", path, "--accent", "#00ff00", "--operator", "--auth-link", "on"];
    assert_eq!(bitcall.bitcall(&by_file).exit, 0);
    let shown = bitcall.bitcall(&["tenant", "show", "acme", "--raw"]).out;
    assert!(shown.contains("From a file") && shown.contains("#00ff00"), "{shown}");
    assert!(shown.contains("Opening hours, Way"), "{shown}");
    let unnamed = bitcall.bitcall(&["tenant", "config", "acme", "--clip", "https://cdn.acme.com/hours.ogg"]);
    assert!(unnamed.exit == 2 && unnamed.err.contains("it has the form NAME=URL"), "{}", unnamed.err);
    let plain = bitcall.bitcall(&["tenant", "config", "acme", "--clip", "Hours=http://cdn.acme.com/hours.ogg"]);
    assert!(plain.err.contains("--clip") && plain.err.contains("https://"), "{}", plain.err);
    let record = bitcall.bitcall(&["tenant", "show", "acme", "--raw", "--json"]).json();
    assert_eq!((&record["raw"]["wss"], &record["raw"]["features"]["authLink"]), (&Value::Null, &json!(true)));
    assert_eq!(bitcall.bitcall(&["tenant", "config", "acme"]).exit, 2, "nothing is to be changed");
    assert_eq!(bitcall.bitcall(&["tenant", "config", "acme", "--auth-link", "on"]).exit, 2, "the operator's alone");

    for _ in 0..2 {
        assert_eq!(bitcall.bitcall(&["tenant", "disable", "acme"]).exit, 0);
    }
    assert_eq!(bitcall.bitcall(&["tenant", "list", "--disabled", "--json"]).json()["total"], 1);
    assert_eq!(bitcall.bitcall(&["tenant", "enable", "acme", "--json"]).json()["enabled"], true);

    let asked = bitcall.bitcall(&["tenant", "delete", "acme"]);
    assert!(asked.exit == 2 && asked.err.contains("--yes"), "{asked:?}");
    assert_eq!(bitcall.bitcall(&["tenant", "delete", "acme", "--dry-run", "--json"]).json()["deleted"], false);
    assert_eq!(bitcall.bitcall(&["tenant", "delete", "acme", "--yes", "--json"]).json()["deleted"], true);
    assert_eq!(bitcall.bitcall(&["tenant", "delete", "acme", "--yes"]).exit, 1);
    assert_eq!(bitcall.bitcall(&["tenant", "show", "acme"]).exit, 1);
}
