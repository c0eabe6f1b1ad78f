//! Tenants are made, read, changed and listed: by the panel's HTTP API and by
//! the command line, and nothing is written when anything is wrong.

use serde_json::{Value, json};

use crate::appliance::{self, Serve};
use crate::installation::{Answer, Installation, MASTER_SECRET, PANEL_KEY, data, faulty_fields, refusal};

#[tokio::test]
async fn a_new_tenant_is_read_back_with_every_field_of_the_contract() {
    let bitcall = Installation::serving().await;
    let order =
        json!({ "tenantId": "acme_corp", "displayName": "Acme Support", "planId": "pro", "apiKeyLabel": "CRM" });
    let made = bitcall.done("POST", "/api/tenant/provision", order).await;
    assert_eq!(made["tenantId"], "acme_corp");
    assert!(made["apiKey"].as_str().unwrap().starts_with("bk_live_"));
    assert_eq!(made["apiKeyMeta"]["label"], "CRM");
    assert_eq!(made["apiKeyMeta"]["prefix"], "bk_live_");
    assert!(made["apiKeyMeta"]["id"].as_str().unwrap().starts_with("key_"));
    assert_eq!(made["planId"], "pro");
    assert_eq!(
        made["plan"],
        json!({ "planId": "pro", "name": "Pro", "status": "active", "catalogStatus": "active",
                "isDefaultProvision": false, "billing": { "price": 29, "currency": "EUR", "interval": "month" } })
    );

    let read = bitcall.done("GET", "/api/tenant?tenantId=acme_corp", Value::Null).await;
    assert_eq!(read["tenantId"], "acme_corp");
    assert_eq!(read["enabled"], true);
    assert_eq!(read["plan"]["planId"], "pro");
    assert_eq!(read["plan"]["status"], "active");
    let expected = json!({ "customBranding": true, "subdomainAccess": true, "customDomainAccess": false, "popupMode": true,
                           "audioClips": true, "transfer": true, "maxApiKeys": 3, "maxSessions": 2 });
    for (right, value) in expected.as_object().unwrap() {
        assert_eq!(&read["plan"]["entitlements"][right], value, "{right}");
    }
    assert_eq!(
        read["branding"],
        json!({ "displayName": "Acme Support", "logoLight": null, "logoDark": null,
                "themeColor": "#14b8a6", "headerMode": "both" })
    );
    assert_eq!(
        read["domains"],
        json!({ "subdomain": null, "customDomain": null, "customDomainStatus": null, "customDomainTlsStatus": null,
                "hosts": [] })
    );
    let key = &read["apiKeys"][0];
    assert_eq!(
        (&key["id"], &key["label"], &key["prefix"]),
        (&made["apiKeyMeta"]["id"], &json!("CRM"), &json!("bk_live_"))
    );
    assert_eq!(key["lastUsedAt"], Value::Null);
    let created = key["createdAt"].as_str().unwrap();
    assert!(created.len() == 24 && created.ends_with('Z') && created.as_bytes()[19] == b'.', "{created}");
    assert_eq!(
        read["capabilities"],
        json!({ "maxSessions": 2, "transferBlind": true, "popupMode": true, "installable": true, "audioClips": true,
                "recording": true })
    );
    assert!(!read.to_string().contains(made["apiKey"].as_str().unwrap()), "the key is shown once only");
}

#[tokio::test]
async fn provisioning_an_existing_tenant_is_a_conflict_and_changes_nothing() {
    let bitcall = Installation::serving().await;
    bitcall.tenant("acme", "pro").await;
    let before = bitcall.done("GET", "/api/tenant?tenantId=acme", Value::Null).await;
    let again = bitcall.panel("POST", "/api/tenant/provision", json!({ "tenantId": "acme", "planId": "free" })).await;
    assert_eq!(refusal(&again), (409, "TENANT_EXISTS".into()));
    assert_eq!(bitcall.done("GET", "/api/tenant?tenantId=acme", Value::Null).await, before);

    bitcall.tenant("a_b", "free").await;
    let alike = bitcall.panel("POST", "/api/tenant/provision", json!({ "tenantId": "a-b" })).await;
    assert_eq!(refusal(&alike), (409, "TENANT_ID_TAKEN".into()), "both would be a-b in domain names");
}

#[tokio::test]
async fn concurrent_provisioning_of_one_tenant_has_one_winner() {
    let bitcall = Installation::serving().await;
    let order = || bitcall.panel("POST", "/api/tenant/provision", json!({ "tenantId": "acme" }));
    let answers = futures_util::future::join_all((0..20).map(|_| order())).await;
    let (made, refused): (Vec<&Answer>, Vec<&Answer>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!(made.len(), 1);
    assert!(refused.iter().all(|answer| refusal(answer) == (409, "TENANT_EXISTS".into())));
    let key = data(made[0])["apiKey"].as_str().unwrap().to_owned();
    assert_eq!(bitcall.runtime(&key, None).await.status, 200, "the key that was given out is the stored one");
}

#[tokio::test]
async fn panel_routes_accept_only_the_panel_key() {
    let bitcall = Installation::serving().await;
    let api_key = bitcall.tenant("acme", "pro").await;
    let bearer = format!("Bearer {MASTER_SECRET}");
    let key_bearer = format!("Bearer {PANEL_KEY}");
    let callers: [&[(&str, &str)]; 7] = [
        &[],
        &[("x-bitcall-panel-key", "")],
        &[("x-bitcall-panel-key", "wrong")],
        &[("x-bitcall-panel-key", &api_key)],
        &[("x-bitcall-panel-key", MASTER_SECRET)],
        &[("authorization", &bearer)],
        &[("x-bitcall-key", &api_key)],
    ];
    let routes = [
        ("POST", "/api/tenant/provision"),
        ("GET", "/api/tenant?tenantId=acme"),
        ("PATCH", "/api/tenant/config"),
        ("POST", "/api/tenant/api-keys"),
        ("DELETE", "/api/tenant/api-keys/key_x"),
        ("GET", "/api/tenant/extensions?tenantId=acme"),
        ("POST", "/api/tenant/extensions"),
        ("DELETE", "/api/tenant/extensions/101"),
    ];
    for (method, path) in routes {
        for caller in callers {
            let answer = bitcall.send(method, path, caller, "").await;
            assert_eq!(refusal(&answer), (401, "PANEL_UNAUTHORIZED".into()), "{method} {path} {caller:?}");
        }
    }
    for caller in [&[][..], &[("x-bitcall-panel-key", PANEL_KEY)], &[("authorization", &key_bearer)]] {
        let answer = bitcall.send("GET", "/api/admin/tenants", caller, "").await;
        assert_eq!(refusal(&answer), (401, "ADMIN_UNAUTHORIZED".into()), "{caller:?}");
    }
    let path = "/api/admin/tenants?q=AC&enabled=true";
    let listed = data(&bitcall.send("GET", path, &[("authorization", &bearer)], "").await);
    assert_eq!(listed["total"], 1);
    assert_eq!(
        listed["tenants"][0],
        json!({ "tenantId": "acme", "enabled": true, "planId": "pro", "planStatus": "active", "displayName": "acme",
                "subdomain": null, "customDomain": null, "customDomainStatus": null, "customDomainTlsStatus": null,
                "apiKeyCount": 1 })
    );
}

#[tokio::test]
async fn changed_settings_show_in_panel_and_runtime_reads() {
    let bitcall = Installation::serving().await;
    let key = bitcall.tenant("acme", "pro").await;
    let change = json!({
        "tenantId": "acme",
        "branding": { "displayName": " Acme ", "logoLight": "https://cdn.acme.com/l.svg", "themeColor": "#0F766E", "headerMode": "logo" },
        "origins": { "allowedOrigins": ["https://CRM.acme.com:443/", "https://crm.acme.com", "https://*.acme.com"] },
        "app": { "popupMode": false, "installable": false, "audioClips": true },
        "behavior": { "host": { "mode": "autologin" }, "sessionRestore": "off", "theme": { "start": "dark", "lock": true },
                      "calls": { "declineStatus": 480, "redirects": "never", "referrals": "refuse", "autoAnswer": true, "messageReplies": true,
                                 "callerIdHeader": "from" },
                      "holdMusic": { "enabled": false, "url": "https://cdn.acme.com/hold.mp3" },
                      "recording": { "autoRecord": true, "stereo": true, "beep": false, "announcement": "https://cdn.acme.com/r.mp3" },
                      "clips": [{ "name": " Hours ", "url": "https://cdn.acme.com/hours.ogg" }] },
        "sip": { "server": "PBX.acme.com", "dtmf": "info" },
        "wss": "wss://pbx.acme.com:7443/ws",
        "iceServers": [{ "urls": "stun:stun.acme.com" }, { "urls": ["turn:turn.acme.com"], "username": "u", "credential": "c" }],
    });
    let panel = bitcall.done("PATCH", "/api/tenant/config", change).await;
    assert_eq!(panel, bitcall.done("GET", "/api/tenant?tenantId=acme", Value::Null).await);
    assert_eq!(panel["origins"]["allowedOrigins"], json!(["https://crm.acme.com", "https://*.acme.com"]));
    assert_eq!(panel["transport"]["mode"], "custom");

    let phone = data(&bitcall.runtime(&key, Some("https://crm.acme.com")).await);
    assert_eq!(phone["branding"]["displayName"], "Acme");
    assert_eq!(phone["branding"]["themeColor"], "#0f766e");
    assert_eq!(phone["behavior"]["host"]["mode"], "autologin");
    assert_eq!(phone["behavior"]["theme"], json!({ "start": "dark", "lock": true }));
    assert_eq!(
        phone["behavior"]["recording"],
        json!({ "autoRecord": true, "stereo": true, "beep": false, "announcement": "https://cdn.acme.com/r.mp3" })
    );
    assert_eq!(phone["behavior"]["clips"], json!([{ "name": "Hours", "url": "https://cdn.acme.com/hours.ogg" }]));
    assert_eq!(
        phone["behavior"]["calls"],
        json!({ "declineStatus": 480, "redirects": "never", "referrals": "refuse", "autoAnswer": true, "messageReplies": true, "callerIdHeader": "from" })
    );
    assert_eq!(phone["behavior"]["holdMusic"], json!({ "enabled": false, "url": "https://cdn.acme.com/hold.mp3" }));
    assert_eq!(phone["sip"], json!({ "domain": "pbx.acme.com", "dtmf": "info" }));
    assert_eq!(phone["wss"], json!(["wss://pbx.acme.com:7443/ws"]));
    assert_eq!(phone["wsUrl"], "wss://pbx.acme.com:7443/ws");
    assert_eq!(phone["iceServers"][1]["credential"], "c");
    for (here, there) in [("branding", "branding"), ("capabilities", "capabilities"), ("behavior", "behavior")] {
        assert_eq!(panel[here], phone[there], "both show the effective values");
    }

    let reset = json!({ "tenantId": "acme", "sip": null, "wss": null, "iceServers": null, "branding": { "displayName": null },
                        "behavior": { "calls": null, "holdMusic": null, "clips": null } });
    let panel = bitcall.done("PATCH", "/api/tenant/config", reset).await;
    assert_eq!(
        panel["transport"],
        json!({ "mode": "edge", "sip": { "domain": "acme.sip.bitcall.internal", "dtmf": "rfc2833" },
                "wss": ["wss://phone.example.com/sip"], "iceServers": [] })
    );
    assert_eq!(
        panel["behavior"]["calls"],
        json!({ "declineStatus": 486, "redirects": "same-domain", "referrals": "own-domain", "autoAnswer": false, "messageReplies": false, "callerIdHeader": "p-asserted-identity" })
    );
    assert_eq!(panel["behavior"]["holdMusic"], json!({ "enabled": true, "url": null }));
    assert_eq!(panel["behavior"]["clips"], json!([]));
    assert_eq!(panel["branding"]["displayName"], "acme");
    assert_eq!(panel["branding"]["headerMode"], "logo", "what was not mentioned stays");
}

#[tokio::test]
async fn values_that_mislead_people_or_reach_other_tenants_are_refused() {
    let bitcall = Installation::serving().await;
    bitcall.tenant("acme", "pro").await;
    let edge = |tenant: &str| format!("{tenant}.sip.bitcall.internal");
    for (field, change) in [
        ("branding.displayName", json!({ "branding": { "displayName": "Bank \u{202e}kcalb" } })),
        ("branding.displayName", json!({ "branding": { "displayName": "Ac\u{200b}me" } })),
        ("branding.logoLight", json!({ "branding": { "logoLight": "https://user:pw@cdn.acme.com/logo.svg" } })),
        (
            "behavior.holdMusic.url",
            json!({ "behavior": { "holdMusic": { "url": "https://user:pw@cdn.acme.com/a.mp3" } } }),
        ),
        (
            "behavior.clips[0].url",
            json!({ "behavior": { "clips": [{ "name": "A", "url": "http://cdn.acme.com/a.mp3" }] } }),
        ),
        ("behavior.clips[0].name", json!({ "behavior": { "clips": [{ "url": "https://cdn.acme.com/a.mp3" }] } })),
        ("origins.allowedOrigins[0]", json!({ "origins": { "allowedOrigins": ["https://*.co.uk"] } })),
        ("wss", json!({ "wss": "wss://user:pw@pbx.acme.com" })),
        ("sip.domain", json!({ "sip": { "domain": edge("other") } })),
        ("sip.domain", json!({ "sip": { "domain": edge("other") + ":5061" } })),
    ] {
        let mut order = json!({ "tenantId": "acme" });
        order.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let answer = bitcall.panel("PATCH", "/api/tenant/config", order).await;
        assert_eq!(faulty_fields(&answer), [field], "{change}");
    }
    for (name, domain) in [("می\u{200c}خواهم", edge("acme")), ("Zoë 👩\u{200d}💻", "pbx.acme.com".to_owned())]
    {
        let change = json!({ "tenantId": "acme", "branding": { "displayName": name }, "sip": { "domain": domain } });
        bitcall.done("PATCH", "/api/tenant/config", change).await;
    }
}

#[tokio::test]
async fn branding_is_stored_but_not_effective_without_entitlement() {
    let bitcall = Installation::serving().await;
    bitcall.tenant("small", "free").await;
    let change = json!({ "tenantId": "small", "branding": { "displayName": "Small", "themeColor": "#ff0000" }, "app": { "audioClips": true } });
    let panel = bitcall.done("PATCH", "/api/tenant/config", change).await;
    assert_eq!(panel["branding"]["themeColor"], "#14b8a6");
    assert_eq!(panel["branding"]["displayName"], "Small");
    assert_eq!(panel["capabilities"]["audioClips"], false);
}

#[tokio::test]
async fn every_invalid_field_is_named_and_nothing_is_written() {
    let bitcall = Installation::serving().await;
    bitcall.tenant("acme", "pro").await;
    let before = bitcall.done("GET", "/api/tenant?tenantId=acme", Value::Null).await;
    let change = json!({
        "tenantId": "acme",
        "branding": { "displayName": "Good", "logoLight": "http://plain", "themeColor": "red", "headerMode": 7, "slogan": "x" },
        "origins": { "allowedOrigins": ["https://ok.com", "nope", 5, "https://*.com"] },
        "app": { "popupMode": "yes" },
        "behavior": { "host": { "mode": "psychic" }, "theme": [] },
        "sip": { "domain": "a b", "server": "other.com", "dtmf": "shout" },
        "wss": ["https://pbx.acme.com", "wss://ok"],
        "iceServers": [{ "urls": "turn:x" }, { "url": "stun:x" }],
        "uiUrl": "https://evil.example",
        "enabled": false,
    });
    let answer = bitcall.panel("PATCH", "/api/tenant/config", change).await;
    assert_eq!(
        faulty_fields(&answer),
        [
            "app.popupMode",
            "behavior.host.mode",
            "behavior.theme",
            "branding.headerMode",
            "branding.logoLight",
            "branding.slogan",
            "branding.themeColor",
            "enabled",
            "iceServers[0].credential",
            "iceServers[1].url",
            "iceServers[1].urls",
            "origins.allowedOrigins[1]",
            "origins.allowedOrigins[2]",
            "origins.allowedOrigins[3]",
            "sip.domain",
            "sip.dtmf",
            "uiUrl",
            "wss[0]",
        ]
    );
    let new = json!({ "tenantId": "Bad Id", "planId": 7, "displayName": "", "apiKeyLabel": ["x"], "admin": true });
    let answer = bitcall.panel("POST", "/api/tenant/provision", new).await;
    assert_eq!(faulty_fields(&answer), ["admin", "apiKeyLabel", "displayName", "planId", "tenantId"]);
    let new = json!({ "tenantId": "other", "planId": "gold" });
    let answer = bitcall.panel("POST", "/api/tenant/provision", new).await;
    assert_eq!(faulty_fields(&answer), ["planId"], "no such plan");
    let extension = json!({ "tenantId": "acme", "username": "A b", "password": 12 });
    let answer = bitcall.panel("POST", "/api/tenant/extensions", extension).await;
    assert_eq!(faulty_fields(&answer), ["password", "username"]);
    let short = json!({ "tenantId": "acme", "username": "101", "password": "short" });
    let answer = bitcall.panel("POST", "/api/tenant/extensions", short).await;
    assert_eq!(faulty_fields(&answer), ["password"]);

    assert_eq!(bitcall.done("GET", "/api/tenant?tenantId=acme", Value::Null).await, before);
    let extensions = bitcall.done("GET", "/api/tenant/extensions?tenantId=acme", Value::Null).await;
    assert_eq!(extensions["extensions"], json!([]));
}

#[tokio::test]
async fn the_query_of_a_change_is_ignored() {
    let bitcall = Installation::serving().await;
    bitcall.tenant("acme", "pro").await;
    let path = "/api/tenant/extensions?tenantId=acme&username=101&password=correct-horse-battery";
    let answer = bitcall.send("POST", path, &[("x-bitcall-panel-key", PANEL_KEY)], "").await;
    assert_eq!(refusal(&answer), (400, "MISSING_TENANT_ID".into()), "URLs end up in logs");
    let extensions = bitcall.done("GET", "/api/tenant/extensions?tenantId=acme", Value::Null).await;
    assert_eq!(extensions["extensions"], json!([]));
}

#[tokio::test]
async fn malformed_requests_are_refused_in_the_envelope() {
    let bitcall = Installation::serving().await;
    bitcall.tenant("acme", "pro").await;
    let huge = format!("{{\"tenantId\":\"acme\",\"x\":\"{}\"}}", "x".repeat(1 << 20));
    for (method, path, body, status, code) in [
        ("PATCH", "/api/tenant/config", "{", 400, "VALIDATION_ERROR"),
        ("PATCH", "/api/tenant/config", "[]", 400, "VALIDATION_ERROR"),
        ("PATCH", "/api/tenant/config", "{\"tenantId\":\"acme\"} trailing", 400, "VALIDATION_ERROR"),
        ("PATCH", "/api/tenant/config", &huge, 413, "PAYLOAD_TOO_LARGE"),
        ("PATCH", "/api/tenant/config", "{}", 400, "MISSING_TENANT_ID"),
        ("PATCH", "/api/tenant/config", "", 400, "MISSING_TENANT_ID"),
        ("PATCH", "/api/tenant/config", "{\"tenantId\":null}", 400, "MISSING_TENANT_ID"),
        ("PATCH", "/api/tenant/config", "{\"tenantId\":[1]}", 400, "VALIDATION_ERROR"),
        ("PATCH", "/api/tenant/config", "{\"tenantId\":\"nobody\"}", 404, "TENANT_NOT_FOUND"),
        ("GET", "/api/tenant", "", 400, "MISSING_TENANT_ID"),
        ("GET", "/api/tenant?tenantId=..%2f", "", 404, "TENANT_NOT_FOUND"),
        ("GET", "/api/tenant/nowhere", "", 404, "NOT_FOUND"),
        ("GET", "/api", "", 404, "NOT_FOUND"),
        ("PUT", "/api/tenant", "", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/api/tenant/provision", "", 405, "METHOD_NOT_ALLOWED"),
    ] {
        let answer = bitcall.send(method, path, &[("x-bitcall-panel-key", PANEL_KEY)], body).await;
        assert_eq!(refusal(&answer), (status, code.into()), "{method} {path}");
        assert_eq!(answer.headers["content-type"], "application/json");
        assert!(answer.headers.contains_key("x-request-id"));
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
        assert_eq!(answer.headers.contains_key("allow"), status == 405);
    }
}

#[tokio::test]
async fn every_answer_has_a_request_id_of_its_own_or_the_callers() {
    let bitcall = Installation::serving().await;
    let id = async |given: &[(&str, &str)]| {
        let answer = bitcall.send("GET", "/api/tenant", given, "").await;
        answer.headers["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_ne!(id(&[]).await, id(&[]).await);
    assert_eq!(id(&[("x-request-id", "panel-4711")]).await, "panel-4711");
    assert_ne!(id(&[("x-request-id", "with space")]).await, "with space");
}

#[tokio::test]
async fn commands_behave_the_same_offline_by_socket_and_remote() {
    let mut bitcall = Installation::new();
    let made = bitcall
        .bitcall(&["tenant", "provision", "acme", "--plan", "pro", "--origin", "https://crm.acme.com", "--json"])
        .json();
    let in_process = bitcall.bitcall(&["tenant", "show", "acme", "--json"]).json();
    assert_eq!(in_process["origins"]["allowedOrigins"], json!(["https://crm.acme.com"]));

    bitcall.start().await;
    let key = made["apiKey"].as_str().unwrap();
    assert_eq!(bitcall.runtime(key, Some("https://crm.acme.com")).await.status, 200);
    let by_socket = bitcall.bitcall(&["tenant", "show", "acme", "--json"]).json();
    let from_afar = bitcall.bitcall(&["tenant", "show", "acme", "--json", "--server", &bitcall.origin()]).json();
    for field in ["tenantId", "plan", "branding", "origins", "transport", "createdAt"] {
        assert_eq!(by_socket[field], in_process[field], "{field}");
        assert_eq!(from_afar[field], in_process[field], "{field}");
    }
    let listed = bitcall.bitcall(&["tenant", "list", "--json", "--server", &format!("{}/", bitcall.origin())]).json();
    assert_eq!(listed["total"], 1);

    let added = bitcall.bitcall(&["extension", "add", "acme", "101", "--name", "Anna", "--json"]).json();
    assert!(added["password"].as_str().unwrap().len() >= 20);
    assert_eq!(added["domain"], "acme.sip.bitcall.internal");
    let table = bitcall.bitcall(&["extension", "list", "acme"]);
    assert!(table.out.contains("101") && table.out.contains("Anna"), "{table:?}");
    assert!(!table.out.contains(added["password"].as_str().unwrap()));
}

#[test]
fn concurrent_offline_commands_wait_for_the_store() {
    let bitcall = Installation::new();
    std::thread::scope(|scope| {
        for n in 0..4 {
            let id = format!("tenant{n}");
            let bitcall = &bitcall;
            scope.spawn(move || assert_eq!(bitcall.bitcall(&["tenant", "provision", &id]).exit, 0));
        }
    });
    assert_eq!(bitcall.bitcall(&["tenant", "list", "--json"]).json()["total"], 4);
}

#[tokio::test]
async fn a_remote_server_must_prove_who_it_is() {
    let serve = Serve::start("");
    let url = format!("https://localhost:{}", serve.https.rsplit_once(':').unwrap().1);
    let directory = serve.place();
    let secret = |name| std::fs::read_to_string(directory.join(name)).unwrap();
    let ask = |ca: &[&str]| {
        let mut command = appliance::bitcall();
        command.args(["tenant", "list", "--json", "--server", &url]).args(ca);
        command.env("BITCALL_PANEL_KEY", secret("panel_key")).env("APP_MASTER_SECRET", secret("master_secret"));
        appliance::run(&mut command)
    };
    let (status, out, err) = ask(&[]);
    assert_eq!((status.code(), out.as_str()), (Some(3), ""));
    assert!(err.contains("--ca"), "{err}");
    let certificate = directory.join("data/tls/development-localhost.crt");
    let (status, out, err) = ask(&["--ca", certificate.to_str().unwrap()]);
    assert_eq!(status.code(), Some(0), "{err}");
    let listed: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(listed, json!({ "tenants": [], "total": 0 }));
}

#[tokio::test]
async fn exit_codes_tell_scripts_what_happened_and_repeating_is_safe() {
    let mut bitcall = Installation::new();
    let exit = |args: &[&str]| {
        let said = bitcall.bitcall(args);
        // Standard output is for data alone.
        assert!(said.exit == 0 || (said.out.is_empty() && said.err.starts_with("error: ")), "{args:?} {said:?}");
        said.exit
    };
    assert_eq!(exit(&["tenant", "provision", "acme"]), 0);
    assert_eq!(exit(&["tenant", "provision", "acme"]), 5);
    assert_eq!(exit(&["tenant", "provision", "acme", "--if-missing"]), 0);
    assert_eq!(exit(&["tenant", "provision", "Not An Id"]), 2);
    assert_eq!(exit(&["tenant", "show", "nobody"]), 1);
    assert_eq!(exit(&["key", "revoke", "acme", "key_nothing"]), 1);
    assert_eq!(exit(&["key", "create", "acme"]), 0);
    assert_eq!(exit(&["key", "create", "acme"]), 5, "the free plan has two");
    assert_eq!(exit(&["extension", "add", "acme", "101"]), 0);
    assert_eq!(exit(&["extension", "add", "acme", "101"]), 5);
    assert_eq!(exit(&["extension", "add", "acme", "101", "--reset-password"]), 0);
    assert_eq!(exit(&["extension", "remove", "acme", "101"]), 0);
    assert_eq!(exit(&["extension", "remove", "acme", "101"]), 0);
    assert_eq!(exit(&["tenant", "list", "--socket", "nowhere.sock"]), 3);
    assert_eq!(exit(&["tenant", "list", "--server", "http://127.0.0.1:9"]), 3);
    assert_eq!(exit(&["tenant", "list", "--server", "http://phone.example.com"]), 2, "keys never travel in clear");
    let nowhere = bitcall.bitcall(&["tenant", "list", "--server", "https://nowhere.invalid"]);
    assert_eq!(nowhere.exit, 3);
    assert!(nowhere.err.contains("no host nowhere.invalid\n hint: "), "{nowhere:?}");
    assert_eq!(exit(&["tenant", "explode"]), 2);
    bitcall.start().await;
    let from_afar = ["tenant", "show", "acme", "--server", &bitcall.origin()];
    assert_eq!(bitcall.bitcall_with("wrong", &from_afar).exit, 4);
}
