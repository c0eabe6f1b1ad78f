//! Drivers against a certificate authority: several appliances on one store, authorities that hang, and limits.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../../tests/rig/authority.rs"]
#[allow(dead_code)] // The behaviour tests use the rest of it.
mod authority;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::certs::leaf::Leaf;
use crate::certs::order::Method;
use crate::certs::progress::{ProblemKind, Stage};
use crate::certs::{Addresses, CertResolver, Limits, Reachability, Seal};
use crate::store::{Record, RedbStore, Revision};
use authority::{Authority, Fault, Resource};

const NAME: &str = "phone.example.test";

/// A store that several appliances share.
struct Site {
    store: Arc<dyn Store>,
    seal: Seal,
    _directory: tempfile::TempDir,
}

/// One appliance; it ends with the value, as by `kill -9`.
struct Appliance {
    certs: Certs,
    cert_resolver: Arc<CertResolver>,
    task: JoinHandle<()>,
}

impl Site {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(RedbStore::open(&directory.path().join("store")).unwrap());
        Self { store, seal: Seal::new(["a store key"]).unwrap(), _directory: directory }
    }

    async fn appliance(&self, holder: &str, authorities: &[&Authority], limits: Limits) -> Appliance {
        self.with_preflight(Box::new(()), holder, authorities, limits).await
    }

    async fn with_preflight(
        &self,
        preflight: Box<dyn Preflight>,
        holder: &str,
        authorities: &[&Authority],
        limits: Limits,
    ) -> Appliance {
        let cert_resolver = CertResolver::new(Some(self.seal.clone()), "", true);
        let certificate_store =
            CertificateStore::open(Arc::clone(&self.store), Some(self.seal.clone()), Arc::clone(&cert_resolver))
                .await
                .unwrap();
        let settings = AcmeSettings {
            rules: Rules {
                directories: authorities.iter().map(|authority| authority.directory()).collect(),
                methods: vec![Method::Http01],
                zone: None,
            },
            profile: None,
            contact: None,
            bindings: HashMap::new(),
            limits,
            preflight,
            holder: holder.to_owned(),
        };
        let http_client = http_client(authorities);
        let certs = Certs::open(Arc::clone(&self.store), certificate_store, http_client, settings).await.unwrap();
        let task = tokio::spawn(certs.clone().run());
        Appliance { certs, cert_resolver, task }
    }
}

/// A store in which somebody else writes the record of [`NAME`]'s order first, once for each time it is set.
struct ContendedStore {
    store: Arc<dyn Store>,
    contended: AtomicBool,
}

impl Store for ContendedStore {
    fn get<'a>(&'a self, key: &str) -> BoxFuture<'a, Result<Option<Record>, store::Error>> {
        self.store.get(key)
    }

    fn scan<'a>(&'a self, prefix: &str) -> BoxFuture<'a, Result<Vec<(String, Record)>, store::Error>> {
        self.store.scan(prefix)
    }

    fn keys<'a>(
        &'a self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<String>, store::Error>> {
        self.store.keys(prefix, after, limit)
    }

    fn scan_back<'a>(
        &'a self,
        from: &str,
        to: &str,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(String, Record)>, store::Error>> {
        self.store.scan_back(from, to, limit)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Revision, store::Error>> {
        let key = order_key(&NAME.parse().unwrap());
        if batch.requires(&key) && self.contended.swap(false, Ordering::Relaxed) {
            return std::future::ready(Err(store::Error::Conflict(key))).boxed();
        }
        self.store.commit(batch)
    }
}

impl Appliance {
    fn want(&self, name: &str) {
        self.certs.want(Wanted { name: name.parse().unwrap(), wildcard: false, delegated: false });
    }

    fn progress(&self, name: &str) -> Progress {
        self.certs.progress(&name.parse().unwrap()).unwrap()
    }

    fn serial(&self, name: &str) -> Option<String> {
        Leaf::read(&self.cert_resolver.certificate_for(name)?).map(|leaf| leaf.serial)
    }

    /// The serial number of what is served for the name, once it is another one than `before`.
    async fn until_served(&self, name: &str, before: Option<&String>) -> String {
        until(|| self.serial(name).filter(|serial| Some(serial) != before)).await
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits until there is something.
async fn until<T>(value: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(value) = value() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited for too long");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn one_of_two_appliances_orders_a_name_and_both_serve_it() {
    let (site, authority) = (Site::new(), Authority::start().await);
    let one = site.appliance("one", &[&authority], Limits::default()).await;
    let two = site.appliance("two", &[&authority], Limits::default()).await;
    // So that the second one finds the order under way.
    authority.set_stuck(true);
    one.want(NAME);
    two.want(NAME);
    let at_work = |appliance: &Appliance| (appliance.progress(NAME).stage == Stage::Finalizing).then_some(());
    until(|| at_work(&one)).await;
    until(|| at_work(&two)).await;
    authority.set_stuck(false);
    let served = one.until_served(NAME, None).await;
    assert_eq!(two.until_served(NAME, None).await, served);
    assert_eq!((authority.asked(Resource::NewOrder), authority.bought()), (1, 1));
    let facts = |appliance: &Appliance| appliance.progress(NAME).certificate.unwrap();
    until(|| (two.progress(NAME).stage == Stage::Issued).then_some(())).await;
    assert_eq!(facts(&one), facts(&two), "also when it is renewed");
}

#[tokio::test]
async fn one_of_two_appliances_renews_a_certificate_and_both_serve_it() {
    let (site, authority) = (Site::new(), Authority::start().await);
    authority.suggest_nothing();
    authority.age(Duration::from_hours(70 * 24));
    let one = site.appliance("one", &[&authority], Limits::default()).await;
    let two = site.appliance("two", &[&authority], Limits::default()).await;
    one.want(NAME);
    two.want(NAME);
    for appliance in [&one, &two] {
        until(|| appliance.serial(NAME).filter(|serial| serial.ends_with("02"))).await;
        until(|| (appliance.progress(NAME).stage == Stage::Issued).then_some(())).await;
    }
    assert_eq!(authority.bought(), 2, "the old one and its successor");
}

#[tokio::test]
async fn a_renewal_is_not_lost_when_the_record_could_not_be_written() {
    let (mut site, authority) = (Site::new(), Authority::start().await);
    let contended = Arc::new(ContendedStore { store: Arc::clone(&site.store), contended: AtomicBool::new(false) });
    site.store = Arc::clone(&contended) as Arc<dyn Store>;
    let one = site.appliance("one", &[&authority], Limits::default()).await;
    one.want(NAME);
    let first = one.until_served(NAME, None).await;
    until(|| (one.progress(NAME).stage == Stage::Issued).then_some(())).await;
    contended.contended.store(true, Ordering::Relaxed);
    one.certs.renew(&NAME.parse().unwrap());
    one.until_served(NAME, Some(&first)).await;
    assert!(!contended.contended.load(Ordering::Relaxed), "the first write was refused");
}

#[tokio::test]
async fn a_directory_that_hangs_does_not_delay_another() {
    let (site, hanging, good) = (Site::new(), Authority::start().await, Authority::start().await);
    hanging.fail(Resource::Directory, Fault::StallBefore);
    let accounts = Arc::new(accounts(&site, &[&hanging, &good]));
    let waiting = tokio::spawn({
        let (accounts, directory) = (Arc::clone(&accounts), hanging.directory());
        async move { accounts.session(&directory).await.map(|_| ()) }
    });
    hanging.stalled().await;
    let other = good.directory();
    let session = tokio::time::timeout(Duration::from_secs(10), accounts.session(&other)).await;
    assert!(session.expect("it need not wait").is_ok());
    assert!(!waiting.is_finished());
    waiting.abort();
}

#[tokio::test]
async fn concurrent_calls_share_one_failed_attempt_to_open_an_account() {
    let (site, authority) = (Site::new(), Authority::start().await);
    authority.fail(Resource::Directory, Fault::Html { status: 503, retry_after: None });
    let (accounts, directory) = (accounts(&site, &[&authority]), authority.directory());
    let (one, two) = tokio::join!(accounts.session(&directory), accounts.session(&directory));
    assert!(one.is_err() && two.is_err());
    assert_eq!(authority.asked(Resource::Directory), 1);
    assert!(accounts.session(&directory).await.is_ok(), "whoever comes later does");
}

#[tokio::test]
async fn a_new_name_shows_why_the_directory_is_not_used_now() {
    let (site, authority) = (Site::new(), Authority::start().await);
    authority.fail(Resource::Directory, Fault::Html { status: 503, retry_after: Some(60) });
    let one = site.appliance("one", &[&authority], Limits::default()).await;
    let waiting = |name| Some(one.progress(name)).filter(|progress| progress.stage == Stage::Backoff);
    let why = |progress: Progress| progress.problem.map(|problem| (problem.kind, problem.message));
    one.want("first.example.test");
    let first = why(until(|| waiting("first.example.test")).await).unwrap();
    assert_eq!(first.0, ProblemKind::CaUnreachable);
    one.want(NAME);
    assert_eq!(why(until(|| waiting(NAME)).await), Some(first));
    assert_eq!(authority.asked(Resource::Directory), 1);
}

#[tokio::test]
async fn first_certificates_below_the_base_domain_are_limited_per_week_and_renewals_are_not() {
    let (site, authority) = (Site::new(), Authority::start().await);
    authority.suggest_nothing();
    let limits = || Limits { base: Some("bitcall.test".parse().unwrap()), new_names_per_week: 3 };
    let names: Vec<_> = (0..5).map(|n| format!("t{n}.bitcall.test")).collect();
    let one = site.appliance("one", &[&authority], limits()).await;
    let settled = |appliance: &Appliance| {
        let stages = names.iter().map(|name| appliance.progress(name).stage);
        stages.filter(|stage| !matches!(stage, Stage::Issued | Stage::Backoff)).count() == 0
    };
    for name in &names {
        one.want(name);
    }
    until(|| settled(&one).then_some(())).await;
    assert_eq!(authority.bought(), 3);
    let check = |appliance: &Appliance| {
        let waiting: Vec<_> = names.iter().filter(|name| appliance.serial(name).is_none()).collect();
        assert_eq!(waiting.len(), 2);
        for name in &waiting {
            let progress = appliance.progress(name);
            let problem = progress.problem.unwrap();
            assert_eq!(problem.kind, ProblemKind::RateLimited);
            let next = progress.next_try_at.unwrap();
            assert!(problem.message.contains("it goes on at 20"), "{}", problem.message);
            let days = Timestamp::now().until(next).as_secs_f64() / 86_400.0;
            assert!((6.9..7.01).contains(&days), "{days}");
        }
        waiting[0].clone()
    };
    let waiting = check(&one);
    one.want("elsewhere.example.test");
    one.until_served("elsewhere.example.test", None).await;
    drop(one);

    let one = site.appliance("one", &[&authority], limits()).await;
    for name in &names {
        one.want(name);
    }
    one.certs.renew(&waiting.parse().unwrap());
    let lucky = names.iter().find(|name| one.serial(name).is_some()).unwrap();
    let first = one.serial(lucky);
    one.certs.renew(&lucky.parse().unwrap());
    one.until_served(lucky, first.as_ref()).await;
    until(|| settled(&one).then_some(())).await;
    check(&one);
    assert_eq!(authority.bought(), 5, "three first ones, one elsewhere, one renewal");
}

/// Any name has this address.
struct NameAddress(Arc<Mutex<std::net::SocketAddr>>);

impl Preflight for NameAddress {
    fn addresses<'a>(&'a self, _: &'a Hostname, _: Method) -> BoxFuture<'a, Addresses> {
        let address = *self.0.lock().unwrap();
        std::future::ready(Addresses::Known(vec![address])).boxed()
    }

    fn zone(&self) -> BoxFuture<'_, Reachability> {
        std::future::ready(Reachability::Here).boxed()
    }
}

#[tokio::test]
async fn no_order_is_placed_for_a_name_that_another_server_answers_for() {
    let (site, authority) = (Site::new(), Authority::start().await);
    // It answers, but by TLS.
    let other: std::net::SocketAddr =
        authority.directory()["https://".len()..].split('/').next().unwrap().parse().unwrap();
    let address = Arc::new(Mutex::new(other));
    let one =
        site.with_preflight(Box::new(NameAddress(Arc::clone(&address))), "one", &[&authority], Limits::default()).await;
    one.want(NAME);
    let held = until(|| Some(one.progress(NAME)).filter(|progress| progress.problem.is_some())).await;
    assert_eq!(held.stage, Stage::Preflight);
    let problem = held.problem.unwrap();
    assert_eq!(problem.kind, ProblemKind::Unauthorized);
    assert!(problem.message.contains(&format!("port {}", other.port())), "{}", problem.message);
    let wait = Timestamp::now().until(held.next_try_at.unwrap());
    assert!(wait > Duration::from_secs(30) && wait < Duration::from_mins(2), "{wait:?}");
    assert_eq!(authority.asked(Resource::NewOrder), 0);
    // Nothing answers there any more, which proves nothing.
    *address.lock().unwrap() = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    one.certs.retry_preflight(&NAME.parse().unwrap());
    one.until_served(NAME, None).await;
    assert_eq!(one.progress(NAME).problem, None);
}

fn accounts(site: &Site, authorities: &[&Authority]) -> Accounts {
    let http_client = http_client(authorities);
    Accounts::new(Arc::clone(&site.store), site.seal.clone(), http_client, None, HashMap::new(), Limits::default())
}

/// One that trusts these authorities.
fn http_client(authorities: &[&Authority]) -> AcmeHttpClient {
    let bundle = tempfile::NamedTempFile::new().unwrap();
    let roots = authorities.iter().map(|authority| std::fs::read_to_string(authority.root()).unwrap());
    std::fs::write(bundle.path(), roots.collect::<String>()).unwrap();
    AcmeHttpClient::new(Some(bundle.path())).unwrap()
}
