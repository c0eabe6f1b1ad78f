//! Certificates from pebble, which validates challenges for real: from the start of `bitcall serve` to a TLS handshake
//! with the issued certificate.

use std::time::Duration;

use crate::rig::acme_installation::{AcmeInstallation, AcmeOptions};
use crate::rig::pebble::{Pebble, PebbleOptions};
use crate::rig::ports::Ports;
use crate::rig::wait::until;

/// Below the base domain, but too deep for its wildcard.
const NAME: &str = "phone.office.bitcall.test";

/// A server for [`NAME`], and a pebble that finds it by asking the server's own DNS; `acme` are lines of
/// `[acme]`.
async fn issued(external_account: Option<(&str, &str)>, acme: &str) -> (AcmeInstallation, Pebble) {
    issued_for(None, external_account, acme).await
}

/// The same with another life of certificates than pebble's own.
async fn issued_for(
    life: Option<Duration>,
    external_account: Option<(&str, &str)>,
    acme: &str,
) -> (AcmeInstallation, Pebble) {
    let ports = Ports::reserve();
    let (http_port, tls_port, dns_port) = (ports.take(), ports.take(), ports.take());
    let dns = format!("127.0.0.1:{dns_port}");
    let pebble = Pebble::start(&PebbleOptions { http_port, tls_port, dns: &dns, external_account, life }).await;
    let mut ordering = AcmeInstallation::new(&AcmeOptions {
        public_url: &format!("https://{NAME}"),
        directories: &[pebble.directory()],
        trust: pebble.root(),
        https_port: tls_port,
        redirect_port: Some(http_port),
        acme,
        more: &format!("[domains]\nbase = 'bitcall.test'\n[dns]\nlisten = '{dns}'\naddresses = '127.0.0.1'"),
    });
    if let Some((id, key)) = external_account {
        ordering.secret("eab", &format!("{} {id} {key}\n", pebble.directory()));
    }
    ordering.start();
    (ordering, pebble)
}

#[tokio::test]
async fn dns_01_obtains_a_wildcard_for_the_base_domain() {
    let (ordering, _pebble) = issued(None, "challenges = 'dns-01'").await;
    let served = ordering.until_served("acme.bitcall.test", "Pebble").await;
    assert_eq!(sorted(&served.names), ["*.bitcall.test", "bitcall.test"]);
    assert_eq!(ordering.served("bitcall.test").await, Ok(served.clone()));
    assert_eq!(ordering.served("other.bitcall.test").await, Ok(served));
    let deep = ordering.until_served(NAME, "Pebble").await;
    assert_eq!(deep.names, [NAME], "one label, and no further");
    assert!(!ordering.log().contains("no certificate yet"), "without a stumble: {}", ordering.log());
    assert!(ordering.served("nobody.example").await.is_err(), "unknown names are refused");
}

#[tokio::test]
async fn tls_alpn_01_is_answered_on_the_https_listener() {
    let (ordering, _pebble) = issued(None, "challenges = 'tls-alpn-01'").await;
    let served = ordering.until_served(NAME, "Pebble").await;
    assert_eq!(served.names, [NAME]);
    assert!(served.chain > 1, "with the intermediate");
    assert!(!ordering.log().contains("no certificate yet"), "without a stumble: {}", ordering.log());
}

#[tokio::test]
async fn http_01_is_answered_on_the_redirect_listener() {
    let (ordering, _pebble) = issued(None, "challenges = 'http-01'").await;
    let served = ordering.until_served(NAME, "Pebble").await;
    assert_eq!(served.names, [NAME]);
}

#[tokio::test]
async fn external_account_binding_is_used_where_required() {
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let (ordering, _pebble) = issued(Some(("kid-1", key)), "eab_file = 'eab'").await;
    ordering.until_served(NAME, "Pebble").await;
    assert!(!ordering.log().contains(key), "the key is nobody else's business");
}

#[tokio::test]
async fn certificates_of_45_and_6_days_are_renewed_after_two_thirds_of_their_lifetime() {
    for days in [45, 6] {
        let life = Duration::from_hours(24 * days);
        let (ordering, _pebble) = issued_for(Some(life), None, "").await;
        ordering.until_served(NAME, "Pebble").await;
        let entry = ordering.certificate(NAME);
        let moment = |field: &str| {
            let text = entry[field].as_str().unwrap();
            time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).unwrap()
        };
        let left = |field: &str| (moment(field) - time::OffsetDateTime::now_utc()).as_seconds_f64();
        let part = left("notAfter") / life.as_secs_f64();
        assert!((0.99..1.01).contains(&part), "{days} days: {entry}");
        let part = left("renewAt") / life.as_secs_f64();
        assert!((0.64..0.70).contains(&part), "pebble suggests nothing; {days} days: {entry}");
        // Pebble cannot backdate certificates, so the renewal is started by hand.
        let first = ordering.served(NAME).await.unwrap();
        ordering.bitcall(&["cert", "renew", NAME]);
        until("the next certificate", async || {
            let served = ordering.served(NAME).await?;
            if served.serial == first.serial { Err(ordering.log()) } else { Ok(()) }
        })
        .await;
    }
}

#[tokio::test]
async fn a_restart_serves_the_stored_certificate_and_orders_no_other() {
    let (mut ordering, pebble) = issued(None, "").await;
    let served = ordering.until_served(NAME, "Pebble").await;
    let orders = |pebble: &Pebble| pebble.log().matches("POST /order-plz").count();
    let before = orders(&pebble);
    ordering.kill();
    ordering.start();
    assert_eq!(ordering.served(NAME).await, Ok(served));
    assert_eq!(orders(&pebble), before);
}

#[tokio::test]
async fn certificate_and_account_keys_are_sealed_in_the_store() {
    let (ordering, _pebble) = issued(None, "").await;
    ordering.until_served(NAME, "Pebble").await;
    let files = std::fs::read_dir(ordering.place().join("data")).unwrap().map(|entry| entry.unwrap().path());
    let store: Vec<u8> = files.filter(|path| path.is_file()).flat_map(|path| std::fs::read(path).unwrap()).collect();
    let holds = |what: &[u8]| store.windows(what.len()).any(|window| window == what);
    assert!(holds(b"acme-account/"), "this is where the account is");
    // What instant-acme writes down of an account, and what every PKCS #8 key on P-256 has in it, plain and in base64.
    for trace in
        [&b"key_pkcs8"[..], &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a], b"PRIVATE KEY"]
    {
        // The certificate itself names its kind of key, but lies there in base64.
        assert!(!holds(trace), "{trace:?}");
    }
}

fn sorted(names: &[String]) -> Vec<&str> {
    let mut names: Vec<_> = names.iter().map(String::as_str).collect();
    names.sort_unstable();
    names
}
