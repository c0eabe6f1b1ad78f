//! `bitcall domain`: output for people and scripts, and exit codes.

use std::process::Command;

use serde_json::json;

use crate::domain_lifecycle::{INGRESS, claim, serving};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn domain_check_shows_expected_and_observed_records() {
    let (bitcall, dns) = serving().await;
    bitcall.tenant("acme", "enterprise").await;
    assert_eq!(bitcall.bitcall(&["domain", "check", "acme"]).exit, 1, "it has none");
    let token = claim(&bitcall, "acme", "phone.acme.com").await;

    let wrong = bitcall.bitcall(&["domain", "check", "acme"]);
    assert_eq!(wrong.exit, 1, "{wrong:?}");
    for told in ["_bitcall-challenge.phone.acme.com", token.as_str(), INGRESS, "dns_pending", "pending"] {
        assert!(wrong.out.contains(told), "{told} in {}", wrong.out);
    }
    assert!(wrong.err.contains("hint: Create the TXT record"), "{}", wrong.err);

    dns.txt("_bitcall-challenge.phone.acme.com", "something else");
    let seen = bitcall.bitcall(&["domain", "check", "phone.acme.com", "--json"]);
    assert_eq!(seen.exit, 1);
    let view: serde_json::Value = serde_json::from_str(&seen.out).unwrap();
    assert_eq!((&view["right"], &view["txt"]["observed"]), (&json!(false), &json!(["something else"])));

    dns.txt("_bitcall-challenge.phone.acme.com", &token);
    dns.cname("phone.acme.com", INGRESS);
    let right = bitcall.bitcall(&["domain", "check", "acme", "--json"]).json();
    assert_eq!((&right["right"], &right["status"]), (&json!(true), &json!("active")));
    let text = bitcall.bitcall(&["domain", "check", "phone.acme.com"]);
    assert_eq!((text.exit, text.err.as_str()), (0, ""));

    dns.fails("phone.acme.com", true);
    let unsure = bitcall.bitcall(&["domain", "check", "acme"]);
    assert_eq!(unsure.exit, 3, "{unsure:?}");
    assert_eq!(bitcall.bitcall(&["domain", "check", "nobody.example"]).exit, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_without_a_server_too() {
    let (mut bitcall, dns) = serving().await;
    bitcall.tenant("acme", "enterprise").await;
    let token = claim(&bitcall, "acme", "phone.acme.com").await;
    dns.txt("_bitcall-challenge.phone.acme.com", &token);
    dns.cname("phone.acme.com", INGRESS);
    bitcall.kill();
    assert_eq!(bitcall.bitcall(&["domain", "recheck", "acme", "--json"]).json()["status"], "active");
    assert_eq!(bitcall.bitcall(&["domain", "recheck", "acme"]).exit, 3, "too soon: trying again may help");
    assert_eq!(bitcall.bitcall(&["domain", "sync", "--json"]).json()["active"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn domain_sync_checks_in_parallel_and_prints_only_data() {
    let (bitcall, dns) = serving().await;
    for number in 0..60 {
        let (tenant, domain) = (format!("t{number}"), format!("phone{number}.acme.com"));
        bitcall.tenant(&tenant, "enterprise").await;
        let token = claim(&bitcall, &tenant, &domain).await;
        dns.txt(&format!("_bitcall-challenge.{domain}"), &token);
        if number % 3 != 0 {
            dns.cname(&domain, INGRESS);
        }
    }
    let synced = bitcall.bitcall(&["domain", "sync", "--json"]);
    assert_eq!(synced.err, "", "no bar where nobody watches");
    let data = synced.json();
    assert_eq!((&data["total"], &data["active"], &data["pending"]), (&json!(60), &json!(40), &json!(20)));
    assert_eq!(data["domains"].as_array().unwrap().len(), 60);
    let text = bitcall.bitcall(&["domain", "sync"]).out;
    assert!(text.contains("60 domains: 40 active, 0 verified, 20 pending"), "{text}");
    assert_eq!(
        text.lines().filter(|line| line.contains("dns_partial")).count(),
        20,
        "who has something to do is listed"
    );
    assert_eq!(bitcall.bitcall(&["domain", "sync", "nobody.example"]).exit, 1);
    let terminal = at_a_terminal(&bitcall.command(), "domain sync");
    assert!(terminal.contains("looking") && terminal.contains("/60"), "a bar for who watches: {terminal:?}");
    assert_eq!(bitcall.bitcall(&["domain", "sync", "phone1.acme.com", "--json"]).json()["total"], 1);
    assert_eq!(bitcall.bitcall(&["domain", "activate", "phone0.acme.com", "--json"]).json()["status"], "active");
    assert_eq!(bitcall.bitcall(&["domain", "activate", "nobody.example"]).exit, 1);
}

/// What a person sees, on standard output and standard error.
fn at_a_terminal(command: &Command, arguments: &str) -> String {
    let mut script = Command::new("script");
    let line = format!("{} {arguments}", command.get_program().to_str().unwrap());
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env("TERM", "xterm");
    script.current_dir(command.get_current_dir().unwrap());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    crate::appliance::run(&mut script).1
}
