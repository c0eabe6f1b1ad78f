//! Domains of the tenants' own from the claim to the padlock: real DNS messages, a real ACME server, real handshakes.

use hickory_resolver::proto::rr::RecordType;
use serde_json::Value;

use crate::appliance::{bitcall, run};
use crate::rig::ordering::{Ordering, Wishes};
use crate::rig::pebble::{Pebble, Surroundings};
use crate::rig::ports::Ports;
use crate::rig::resolver::Resolver;
use crate::rig::wait::until;

const INGRESS: &str = "in.bitcall.test";
const DOMAIN: &str = "phone.acme.com";

struct World {
    dns: Resolver,
    ordering: Ordering,
    _pebble: Pebble,
    /// Nobody else may have them while the server is down.
    _ports: Ports,
}

impl World {
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
        let surroundings = Surroundings { http_port, tls_port, dns: &resolver, external_account: None, life: None };
        let pebble = Pebble::start(&surroundings).await;
        let mut ordering = Ordering::new(&Wishes {
            public_url: &format!("https://{INGRESS}"),
            directories: &[pebble.directory()],
            trust: pebble.root(),
            https_port: tls_port,
            redirect_port: Some(http_port),
            acme: "",
            more: &format!("[dns]\nresolvers = '{resolver}'\n{more}"),
        });
        tokio::task::block_in_place(|| ordering.start());
        let world = Self { dns, ordering, _pebble: pebble, _ports: ports };
        world.bitcall(&["tenant", "provision", "acme", "--plan", "enterprise"]);
        let claim = world.json(&["domain", "add", "acme", DOMAIN]);
        world.dns.txt(&format!("_bitcall-challenge.{DOMAIN}"), claim["txt"]["value"].as_str().unwrap());
        world.dns.cname(DOMAIN, INGRESS);
        world
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
async fn from_the_moment_that_dns_is_right_a_domain_has_its_padlock_until_it_is_given_up() {
    let world = World::new("").await;
    assert!(world.ordering.served(DOMAIN).await.is_err(), "nobody has proved it yet");
    let seen = world.json(&["domain", "check", "acme"]);
    assert_eq!((&seen["right"], &seen["txt"]["matched"]), (&true.into(), &true.into()), "{seen}");
    let first = world.ordering.until_served(DOMAIN, "Pebble").await;
    assert_eq!(first.names, [DOMAIN]);
    let view = world.until_phase("active").await;
    assert_eq!((&view["status"], &view["tlsStatus"]), (&"active".into(), &"active".into()));
    let line = world.certificate().unwrap();
    assert_eq!(
        (&line["tenantId"], &line["status"], &line["stage"]),
        (&"acme".into(), &"active".into(), &"issued".into())
    );
    assert_eq!(line["serial"].as_str().unwrap().trim_start_matches('0'), first.serial.trim_start_matches('0'));
    assert!(line["renewAt"].as_str().unwrap() < line["notAfter"].as_str().unwrap(), "{line}");

    world.bitcall(&["cert", "renew", DOMAIN]);
    until("the renewed certificate", async || {
        let served = world.ordering.served(DOMAIN).await?;
        if served.serial == first.serial { Err(world.ordering.log()) } else { Ok(()) }
    })
    .await;
    assert_eq!(world.json(&["cert", "sync"])["removed"], Value::Array(Vec::new()), "it is needed");

    world.bitcall(&["domain", "remove", "acme"]);
    until("the certificate to be gone", async || match world.ordering.served(DOMAIN).await {
        Ok(served) => Err(format!("{served:?}")),
        Err(_) => Ok(()),
    })
    .await;
    assert_eq!(world.certificate(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_challenges_are_delegated_once_has_a_padlock_for_the_names_below_it_too() {
    let world = World::delegated().await;
    world.bitcall(&["domain", "sync"]);
    let served = world.ordering.until_served(DOMAIN, "Pebble").await;
    let mut names = served.names.clone();
    names.sort_unstable();
    assert_eq!(names, [format!("*.{DOMAIN}"), DOMAIN.to_owned()]);
    assert_eq!(world.ordering.served(&format!("berlin.{DOMAIN}")).await, Ok(served));
    world.until_phase("active").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_kill_9_on_the_way_the_padlock_comes_all_the_same() {
    let mut world = World::new("").await;
    world.bitcall(&["domain", "sync"]);
    world.ordering.kill();
    tokio::task::block_in_place(|| world.ordering.start());
    world.ordering.until_served(DOMAIN, "Pebble").await;
    world.until_phase("active").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_deleted_tenant_the_certificate_goes_too() {
    let world = World::new("").await;
    world.bitcall(&["domain", "sync"]);
    world.ordering.until_served(DOMAIN, "Pebble").await;
    world.bitcall(&["tenant", "delete", "acme", "--yes"]);
    until("the certificate to be gone", async || match world.ordering.served(DOMAIN).await {
        Ok(served) => Err(format!("{served:?}")),
        Err(_) => Ok(()),
    })
    .await;
    assert_eq!(world.certificate(), None);
    let data = world.ordering.place().join("data");
    until("the domain to be nowhere in the store's files", async || {
        let bytes = ["bitcall.redb", "bitcall.journal"].map(|file| std::fs::read(data.join(file)).unwrap()).concat();
        let at = bytes.windows(DOMAIN.len()).position(|window| window == DOMAIN.as_bytes());
        at.map_or(Ok(()), |at| Err(String::from_utf8_lossy(&bytes[at.saturating_sub(80)..at + 80]).into_owned()))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_forbids_the_authority_blocks_and_is_named() {
    let world = World::new("caa = 'letsencrypt.org'").await;
    world.dns.caa("acme.com", "digicert.com");
    let synced = world.json(&["domain", "sync"]);
    let view = &synced["domains"][0];
    assert_eq!((&view["status"], &view["automation"]["phase"]), (&"verified".into(), &"blocked".into()), "{view}");
    let next = view["nextAction"].as_str().unwrap();
    assert!(next.contains("acme.com") && next.contains("letsencrypt.org"), "the record to add: {next}");
    world.dns.caa("acme.com", "letsencrypt.org");
    world.bitcall(&["domain", "sync"]);
    world.until_phase("active").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_caa_cannot_be_looked_up_that_is_told_and_the_certificate_comes_all_the_same() {
    let world = World::new("caa = 'letsencrypt.org'").await;
    world.dns.fails_for(DOMAIN, RecordType::CAA, true);
    world.bitcall(&["domain", "sync"]);
    world.ordering.until_served(DOMAIN, "Pebble").await;
    world.until_phase("active").await;
    let (status, stdout, stderr) = tokio::task::block_in_place(|| {
        let file = world.ordering.file();
        run(bitcall().args(["domain", "check", "acme", "--json", "--config"]).arg(file))
    });
    let view: Value = serde_json::from_str(&stdout).unwrap();
    let problem = &view["problems"][0];
    assert_eq!((&problem["kind"], &problem["blocks"]), (&"caa_unknown".into(), &false.into()), "{view}");
    assert!(problem["message"].as_str().unwrap().contains("SERVFAIL"), "{view}");
    assert_eq!(status.code(), Some(3), "no \"no\": {stderr}");
    world.dns.fails_for(DOMAIN, RecordType::CAA, false);
    assert_eq!(world.json(&["domain", "check", "acme"])["right"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_failed_is_told_with_its_reason_and_the_next_try() {
    let world = World::new("").await;
    // Nobody listens there: the authority will not get through.
    world.dns.addresses(INGRESS, &["127.0.0.9"]);
    world.bitcall(&["domain", "sync"]);
    let view = world.until_phase("backoff").await;
    assert_eq!((&view["status"], &view["tlsStatus"]), (&"verified".into(), &"failed".into()));
    let (next, error) = (view["nextAction"].as_str().unwrap(), view["lastError"].as_str().unwrap());
    assert!(!error.is_empty() && next.contains("tried again at"), "{next}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_padlock_that_files_hide_is_told_to_the_domains_owner_until_it_shows() {
    let mut world = World::new("").await;
    let put = |world: &World, name: &str| {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        std::fs::write(world.ordering.place().join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(world.ordering.place().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    };
    put(&world, DOMAIN);
    let file = world.ordering.file();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text + "\n[tls]\ncertificate = 'cert.pem'\nkey = 'key.pem'\n").unwrap();
    world.ordering.kill();
    tokio::task::block_in_place(|| world.ordering.start());
    world.bitcall(&["domain", "sync"]);
    let view = until("the problem", async || {
        let view = world.json(&["domain", "show", "acme"]);
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
    put(&world, "localhost");
    world.ordering.serve().running.signal(rustix::process::Signal::HUP);
    until("the end of it", async || {
        let view = world.json(&["domain", "show", "acme"]);
        if view["lastError"] == "" { Ok(()) } else { Err(view.to_string()) }
    })
    .await;
    assert!(world.ordering.served(DOMAIN).await.unwrap().issuer.contains("Pebble"));
}
