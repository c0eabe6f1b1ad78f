//! Custom domains from the claim to the certificate, with a DNS resolver, pebble, and real TLS handshakes.

use hickory_resolver::proto::rr::RecordType;
use serde_json::Value;

use crate::appliance::{bitcall, run};
use crate::rig::acme_installation::{AcmeInstallation, AcmeOptions};
use crate::rig::pebble::{Pebble, PebbleOptions};
use crate::rig::ports::Ports;
use crate::rig::resolver::Resolver;
use crate::rig::wait::until;

const INGRESS: &str = "in.bitcall.test";
const DOMAIN: &str = "phone.acme.com";

struct DomainSetup {
    dns: Resolver,
    ordering: AcmeInstallation,
    _pebble: Pebble,
    /// Nobody else may have them while the server is down.
    _ports: Ports,
}

impl DomainSetup {
    /// With a tenant that claims [`DOMAIN`], and its records in DNS. `more` are further lines of `[dns]`.
    async fn new(more: &str) -> Self {
        Self::with(Resolver::start().await, Ports::reserve(), more).await
    }

    /// The same, with the server's own DNS for the base domain, to which the domain's challenges are delegated.
    async fn delegated() -> Self {
        let (dns, ports) = (Resolver::start().await, Ports::reserve());
        let own = format!("127.0.0.1:{}", ports.take());
        dns.delegate("bitcall.test", &own);
        dns.cname(&format!("_acme-challenge.{DOMAIN}"), &format!("{DOMAIN}._acme.bitcall.test"));
        let more = format!("listen = '{own}'\naddresses = '127.0.0.1'\n[domains]\nbase = 'bitcall.test'");
        Self::with(dns, ports, &more).await
    }

    async fn with(dns: Resolver, ports: Ports, more: &str) -> Self {
        let (http_port, tls_port) = (ports.take(), ports.take());
        dns.addresses(INGRESS, &["127.0.0.1"]);
        let resolver = dns.address();
        let options = PebbleOptions { http_port, tls_port, dns: &resolver, external_account: None, life: None };
        let pebble = Pebble::start(&options).await;
        let mut ordering = AcmeInstallation::new(&AcmeOptions {
            public_url: &format!("https://{INGRESS}"),
            directories: &[pebble.directory()],
            trust: pebble.root(),
            https_port: tls_port,
            redirect_port: Some(http_port),
            acme: "",
            more: &format!("[dns]\nresolvers = '{resolver}'\n{more}"),
        });
        tokio::task::block_in_place(|| ordering.start());
        let setup = Self { dns, ordering, _pebble: pebble, _ports: ports };
        setup.bitcall(&["tenant", "provision", "acme", "--plan", "enterprise"]);
        let claim = setup.json(&["domain", "add", "acme", DOMAIN]);
        setup.dns.txt(&format!("_bitcall-challenge.{DOMAIN}"), claim["txt"]["value"].as_str().unwrap());
        setup.dns.cname(DOMAIN, INGRESS);
        setup
    }

    /// A command that must succeed; its output. The resolver goes on answering meanwhile.
    fn bitcall(&self, arguments: &[&str]) -> String {
        tokio::task::block_in_place(|| self.ordering.bitcall(arguments))
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.bitcall(&[arguments, &["--json"]].concat())).unwrap()
    }

    async fn until_phase(&self, phase: &str) -> Value {
        until(&format!("the phase {phase}"), async || {
            let view = self.json(&["domain", "show", "acme"]);
            if view["automation"]["phase"] == phase { Ok(view) } else { Err(view.to_string()) }
        })
        .await
    }

    /// The line of `bitcall cert list` for [`DOMAIN`].
    fn certificate(&self) -> Option<Value> {
        let list = self.json(&["cert", "list"]);
        list["certificates"].as_array().unwrap().iter().find(|line| line["name"] == DOMAIN).cloned()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verified_domain_gets_a_certificate_until_it_is_removed() {
    let setup = DomainSetup::new("").await;
    assert!(setup.ordering.served(DOMAIN).await.is_err(), "nobody has proved it yet");
    let seen = setup.json(&["domain", "check", "acme"]);
    assert_eq!((&seen["right"], &seen["txt"]["matched"]), (&true.into(), &true.into()), "{seen}");
    let first = setup.ordering.until_served(DOMAIN, "Pebble").await;
    assert_eq!(first.names, [DOMAIN]);
    let view = setup.until_phase("active").await;
    assert_eq!((&view["status"], &view["tlsStatus"]), (&"active".into(), &"active".into()));
    let line = setup.certificate().unwrap();
    assert_eq!(
        (&line["tenantId"], &line["status"], &line["stage"]),
        (&"acme".into(), &"active".into(), &"issued".into())
    );
    assert_eq!(line["serial"].as_str().unwrap().trim_start_matches('0'), first.serial.trim_start_matches('0'));
    assert!(line["renewAt"].as_str().unwrap() < line["notAfter"].as_str().unwrap(), "{line}");

    setup.bitcall(&["cert", "renew", DOMAIN]);
    until("the renewed certificate", async || {
        let served = setup.ordering.served(DOMAIN).await?;
        if served.serial == first.serial { Err(setup.ordering.log()) } else { Ok(()) }
    })
    .await;
    assert_eq!(setup.json(&["cert", "sync"])["removed"], Value::Array(Vec::new()), "it is needed");

    setup.bitcall(&["domain", "remove", "acme"]);
    until("the certificate to be gone", async || match setup.ordering.served(DOMAIN).await {
        Ok(served) => Err(format!("{served:?}")),
        Err(_) => Ok(()),
    })
    .await;
    assert_eq!(setup.certificate(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delegated_challenges_give_a_wildcard_certificate() {
    let setup = DomainSetup::delegated().await;
    setup.bitcall(&["domain", "sync"]);
    let served = setup.ordering.until_served(DOMAIN, "Pebble").await;
    let mut names = served.names.clone();
    names.sort_unstable();
    assert_eq!(names, [format!("*.{DOMAIN}"), DOMAIN.to_owned()]);
    assert_eq!(setup.ordering.served(&format!("berlin.{DOMAIN}")).await, Ok(served));
    setup.until_phase("active").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_continues_after_kill_9() {
    let mut setup = DomainSetup::new("").await;
    setup.bitcall(&["domain", "sync"]);
    setup.ordering.kill();
    tokio::task::block_in_place(|| setup.ordering.start());
    setup.ordering.until_served(DOMAIN, "Pebble").await;
    setup.until_phase("active").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_a_tenant_removes_its_certificate() {
    let mut setup = DomainSetup::new("").await;
    setup.bitcall(&["domain", "sync"]);
    setup.ordering.until_served(DOMAIN, "Pebble").await;
    setup.bitcall(&["tenant", "delete", "acme", "--yes"]);
    until("the certificate to be gone", async || match setup.ordering.served(DOMAIN).await {
        Ok(served) => Err(format!("{served:?}")),
        Err(_) => Ok(()),
    })
    .await;
    assert_eq!(setup.certificate(), None);
    // Freed pages keep their bytes until the file is rewritten, which needs the server stopped.
    let serve = tokio::task::block_in_place(|| setup.ordering.serve());
    serve.running.signal(rustix::process::Signal::TERM);
    assert!(serve.running.ended().success());
    let compacted = setup.json(&["store", "compact"]);
    assert!(compacted["bytesAfter"].as_u64() <= compacted["bytesBefore"].as_u64(), "{compacted}");
    let bytes = std::fs::read(setup.ordering.place().join("data/bitcall.redb")).unwrap();
    let at = bytes.windows(DOMAIN.len()).position(|window| window == DOMAIN.as_bytes());
    assert_eq!(at.map(|at| String::from_utf8_lossy(&bytes[at.saturating_sub(80)..at + 80])), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forbidding_caa_record_blocks_the_order_and_is_named() {
    let setup = DomainSetup::new("caa = 'letsencrypt.org'").await;
    setup.dns.caa("acme.com", "digicert.com");
    let synced = setup.json(&["domain", "sync"]);
    let view = &synced["domains"][0];
    assert_eq!((&view["status"], &view["automation"]["phase"]), (&"verified".into(), &"blocked".into()), "{view}");
    let next = view["nextAction"].as_str().unwrap();
    assert!(next.contains("acme.com") && next.contains("letsencrypt.org"), "the record to add: {next}");
    setup.dns.caa("acme.com", "letsencrypt.org");
    setup.bitcall(&["domain", "sync"]);
    setup.until_phase("active").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_caa_lookup_is_reported_and_does_not_block() {
    let setup = DomainSetup::new("caa = 'letsencrypt.org'").await;
    setup.dns.fails_for(DOMAIN, RecordType::CAA, true);
    setup.bitcall(&["domain", "sync"]);
    setup.ordering.until_served(DOMAIN, "Pebble").await;
    setup.until_phase("active").await;
    let (status, stdout, stderr) = tokio::task::block_in_place(|| {
        let file = setup.ordering.file();
        run(bitcall().args(["domain", "check", "acme", "--json", "--config"]).arg(file))
    });
    let view: Value = serde_json::from_str(&stdout).unwrap();
    let problem = &view["problems"][0];
    assert_eq!((&problem["kind"], &problem["blocks"]), (&"caa_unknown".into(), &false.into()), "{view}");
    assert!(problem["message"].as_str().unwrap().contains("SERVFAIL"), "{view}");
    assert_eq!(status.code(), Some(3), "no \"no\": {stderr}");
    setup.dns.fails_for(DOMAIN, RecordType::CAA, false);
    assert_eq!(setup.json(&["domain", "check", "acme"])["right"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_order_shows_its_reason_and_next_try() {
    let setup = DomainSetup::new("").await;
    // Nobody listens there, so validation fails.
    setup.dns.addresses(INGRESS, &["127.0.0.9"]);
    setup.bitcall(&["domain", "sync"]);
    let view = setup.until_phase("backoff").await;
    assert_eq!((&view["status"], &view["tlsStatus"]), (&"verified".into(), &"failed".into()));
    let (next, error) = (view["nextAction"].as_str().unwrap(), view["lastError"].as_str().unwrap());
    assert!(!error.is_empty() && next.contains("tried again at"), "{next}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_hidden_by_files_is_reported_to_the_domains_owner() {
    let mut setup = DomainSetup::new("").await;
    let put = |setup: &DomainSetup, name: &str| {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        std::fs::write(setup.ordering.place().join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(setup.ordering.place().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    };
    put(&setup, DOMAIN);
    let file = setup.ordering.file();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text + "\n[tls]\ncertificate = 'cert.pem'\nkey = 'key.pem'\n").unwrap();
    setup.ordering.kill();
    tokio::task::block_in_place(|| setup.ordering.start());
    setup.bitcall(&["domain", "sync"]);
    let view = until("the problem", async || {
        let view = setup.json(&["domain", "show", "acme"]);
        if view["lastError"] != "" && view["automation"]["phase"] == "active" {
            Ok(view)
        } else {
            Err(view.to_string())
        }
    })
    .await;
    let (error, next) = (view["lastError"].as_str().unwrap(), view["nextAction"].as_str().unwrap());
    assert!(error.contains(DOMAIN) && error.contains("another (serial") && error.contains("`[tls]`"), "{error}");
    assert_eq!(next, error, "there is nothing else to do");
    put(&setup, "localhost");
    setup.ordering.serve().running.signal(rustix::process::Signal::HUP);
    until("the end of it", async || {
        let view = setup.json(&["domain", "show", "acme"]);
        if view["lastError"] == "" { Ok(()) } else { Err(view.to_string()) }
    })
    .await;
    assert!(setup.ordering.served(DOMAIN).await.unwrap().issuer.contains("Pebble"));
}
