//! What the platform sets for all tenants' SIP, WebSocket and ICE, and who inherits it.

use serde_json::{Value, json};

use crate::installation::{Installation, data, faulty_fields};

const DEFAULTS: &str = "/api/admin/settings/transport-defaults";

#[tokio::test]
async fn tenants_without_their_own_have_the_platforms_transport_at_once() {
    let bitcall = Installation::serving().await;
    let inherits = bitcall.tenant("inherits", "pro").await;
    let custom = bitcall.tenant("custom", "pro").await;
    let own = json!({ "tenantId": "custom", "sip": { "domain": "sip.custom.com" }, "wss": "wss://pbx.custom.com/",
                      "iceServers": [] });
    bitcall.done("PATCH", "/api/tenant/config", own).await;
    let phone = async |key: &str| data(&bitcall.runtime(key, None).await);
    let (before, of_custom) = (phone(&inherits).await, phone(&custom).await);

    let unset = data(&bitcall.admin("GET", DEFAULTS, Value::Null).await);
    assert_eq!(
        unset,
        json!({ "sip": { "domain": null, "dtmf": null }, "wss": null, "iceServers": null,
                "effective": { "mode": "edge", "sip": { "domain": null, "dtmf": "rfc2833" },
                               "wss": ["wss://phone.example.com/sip"], "iceServers": [] } })
    );
    let change = json!({ "sip": { "server": "sip.platform.com", "dtmf": "info" }, "wss": "wss://pbx.platform.com/",
                         "iceServers": [{ "urls": "stun:stun.platform.com" },
                                        { "urls": "turn:turn.platform.com", "username": "u", "credential": "hush-c" },
                                        { "urls": "turn:turn.platform.com", "secret": "hush-s" }] });
    let set = data(&bitcall.admin("PATCH", DEFAULTS, change).await);
    assert_eq!(set, data(&bitcall.admin("GET", DEFAULTS, Value::Null).await));
    assert_eq!(set["sip"], json!({ "domain": "sip.platform.com", "dtmf": "info" }));
    assert_eq!(set["effective"]["mode"], "platform");
    let [stun, password, secret] = [0, 1, 2].map(|index| set["iceServers"][index].clone());
    assert_eq!((&stun["hasCredential"], &stun["hasSecret"]), (&json!(false), &json!(false)));
    assert_eq!((&password["hasCredential"], &password["username"]), (&json!(true), &json!("u")));
    assert_eq!(secret["hasSecret"], true);
    assert!(!set.to_string().contains("hush"), "secrets are written, never read");

    let after = phone(&inherits).await;
    assert_eq!(after["sip"], json!({ "domain": "sip.platform.com", "dtmf": "info" }));
    assert_eq!(after["wss"], json!(["wss://pbx.platform.com/"]));
    assert_eq!(after["iceServers"][1]["credential"], "hush-c", "the phone needs it");
    assert!(!after.to_string().contains("hush-s"), "no phone gets a shared secret");
    let profile = bitcall.done("GET", "/api/tenant?tenantId=inherits", Value::Null).await;
    assert_eq!(profile["transport"]["mode"], "platform");
    assert!(!profile.to_string().contains("hush"), "{profile}");
    let now = phone(&custom).await;
    for field in ["wss", "iceServers"] {
        assert_eq!(now[field], of_custom[field], "what is the tenant's own stays");
    }
    assert_eq!(now["sip"], json!({ "domain": "sip.custom.com", "dtmf": "info" }), "and what is not is inherited");

    data(&bitcall.admin("PATCH", DEFAULTS, json!({ "sip": null, "wss": null, "iceServers": null })).await);
    assert_eq!(phone(&inherits).await, before);
}

#[tokio::test]
async fn a_turn_server_has_a_password_or_a_shared_secret_and_never_both() {
    let bitcall = Installation::serving().await;
    bitcall.tenant("acme", "pro").await;
    let relay = |more: Value| {
        let mut server = json!({ "urls": ["turn:turn.acme.com"] });
        server.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "tenantId": "acme", "iceServers": [server] })
    };
    for (more, fault) in [
        (json!({}), "iceServers[0].credential"),
        (json!({ "username": "u" }), "iceServers[0].credential"),
        (json!({ "secret": "" }), "iceServers[0].secret"),
        (json!({ "secret": "s", "username": "u" }), "iceServers[0].secret"),
        (json!({ "secret": "s", "username": "u", "credential": "c" }), "iceServers[0].secret"),
    ] {
        let answer = bitcall.panel("PATCH", "/api/tenant/config", relay(more.clone())).await;
        assert!(faulty_fields(&answer).contains(&fault.to_owned()), "{more}");
    }
    for more in [json!({ "secret": "s" }), json!({ "username": "u", "credential": "c", "secret": null })] {
        bitcall.done("PATCH", "/api/tenant/config", relay(more)).await;
    }
}

#[test]
fn the_command_sets_shows_and_resets_and_reads_secrets_from_files() {
    let bitcall = Installation::new();
    let file = bitcall.data().parent().unwrap().join("turn-secret");
    std::fs::write(&file, "hush-secret\n").unwrap();
    let ice = format!("turn:turn.platform.com,secret-file={}", file.display());
    let set = bitcall.bitcall(&[
        "transport",
        "set",
        "--sip-domain",
        "sip.platform.com",
        "--dtmf",
        "info",
        "--wss",
        "wss://a.com/",
        "--wss",
        "wss://b.com/",
        "--ice",
        "stun:stun.platform.com",
        "--ice",
        &ice,
        "--json",
    ]);
    let set = set.json();
    assert_eq!(set["wss"], json!(["wss://a.com/", "wss://b.com/"]));
    assert_eq!(set["iceServers"][1]["hasSecret"], true);
    let shown = bitcall.bitcall(&["transport", "show"]).out;
    assert!(shown.contains("sip.platform.com") && shown.contains("(shared secret)"), "{shown}");
    assert!(!shown.contains("hush"), "{shown}");
    let reset = bitcall.bitcall(&["transport", "set", "--reset", "sip.domain", "--reset", "wss", "--json"]).json();
    assert_eq!((&reset["sip"]["domain"], &reset["wss"]), (&Value::Null, &Value::Null));
    assert_eq!(reset["sip"]["dtmf"], "info", "what was not named stays");
    for (command, why) in [
        (&["transport", "set"][..], "nothing is to be changed"),
        (&["transport", "set", "--ice", "turn:x,password=hush"], "credential-file="),
        (&["transport", "set", "--ice", "turn:x,secret-file=nowhere"], "nowhere"),
        (&["transport", "set", "--wss", "https://no"], "--wss must be"),
        (&["transport", "set", "--reset", "nonsense"], "nonsense"),
    ] {
        let said = bitcall.bitcall(command);
        assert!(said.exit == 2 && said.err.contains(why), "{command:?} {said:?}");
    }
}
