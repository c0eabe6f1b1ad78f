//! What `log.filter = "debug"` tells an administrator: refusals with their reasons, registrations and calls; and no secrets.

use serde_json::Value;

use crate::appliance::{Serve, exchange_http2, request, wait_until, write_configuration};

#[tokio::test(flavor = "multi_thread")]
async fn debug_is_about_bitcall_and_names_what_was_refused_and_why() {
    let directory = tempfile::tempdir().unwrap();
    write_configuration(directory.path(), "");
    let config = directory.path().join("bitcall.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("[log]\n", "[log]\nfilter = 'debug'\n")).unwrap();
    let serve = Serve::start_in(directory);
    let key = format!("bk_live_{}", "a".repeat(32));
    let headers = [("origin", "https://crm.acme.com"), ("x-bitcall-panel-key", "wrong-panel-key")];
    for path in [format!("/api/webphone/config?key={key}"), "/api/tenant?tenantId=acme".to_owned()] {
        exchange_http2(serve.connect(&["h2"]).await, request(&path, &headers)).await;
    }
    let refusals = wait_until("two refusals", || {
        let log = serve.running.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let refusals: Vec<_> = lines.filter(|line| line["message"] == "request refused").collect();
        (refusals.len() == 2).then_some(refusals)
    });
    assert_eq!(
        (&refusals[0]["code"], &refusals[1]["code"]),
        (&"WEBPHONE_INVALID_KEY".into(), &"PANEL_UNAUTHORIZED".into())
    );
    assert_eq!(refusals[0]["origin"], "https://crm.acme.com");
    assert_eq!(refusals[0]["path"], "/api/webphone/config?key=redacted");
    assert!(refusals.iter().all(|line| line["client"] == "127.0.0.1" && line["reason"].is_string()), "{refusals:#?}");
    let log = serve.running.log();
    for secret in [key.as_str(), "wrong-panel-key"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let (target, level) = (line["target"].as_str().unwrap(), line["level"].as_str().unwrap());
        assert!(target.starts_with("bitcall") || ["WARN", "ERROR"].contains(&level), "of a library: {line}");
    }
}
