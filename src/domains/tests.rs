//! Domains on a real store, with DNS and certificates as the test says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _, join_all};
use tokio::sync::{Semaphore, broadcast};

use super::life::Look;
use super::outside::{Certificates, Eyes};
use super::{Domains, Recheck};
use crate::hostname::Hostname;
use crate::tenancy::{
    AuditSearch, Certificate, CertificateStage, Claim, Defaults, DomainLoss, DomainStatus, Names, NewTenant,
    OperatorChange, Phase, PlanChange, Platform, RecordObservation, Refusal, RequestContext, RoutingMatch, TenantId,
    TlsStatus, TransportDefaults,
};
use crate::timestamp::Timestamp;

/// DNS as a table of tokens at names, and of names that lead here.
#[derive(Default)]
struct Dns {
    tokens: Mutex<HashMap<Hostname, String>>,
    here: Mutex<BTreeSet<Hostname>>,
    broken: AtomicBool,
    looks: AtomicUsize,
    under_way: Mutex<HashMap<Hostname, usize>>,
    most_at_once: AtomicUsize,
    /// Looks wait here where there is one.
    gate: Mutex<Option<Arc<Semaphore>>>,
}

impl Dns {
    fn publish(&self, claim: &Claim) {
        self.tokens.lock().unwrap().insert(claim.domain.clone(), claim.token.clone());
        self.here.lock().unwrap().insert(claim.domain.clone());
    }

    fn answer(&self, domain: &Hostname, token: &str) -> Look {
        if self.broken.load(Ordering::SeqCst) {
            return Look { unsure: Some("nobody answers".into()), ..Look::default() };
        }
        let published = self.tokens.lock().unwrap().get(domain).cloned();
        let here = self.here.lock().unwrap().contains(domain);
        Look {
            txt: RecordObservation {
                matched: Some(published.as_deref() == Some(token)),
                observed: published.into_iter().collect(),
            },
            cname: RecordObservation { matched: Some(here), observed: Vec::new() },
            way: here.then_some(RoutingMatch::Cname),
            ..Look::default()
        }
    }
}

impl Eyes for Dns {
    fn look<'a>(&'a self, domain: &'a Hostname, token: &'a str) -> BoxFuture<'a, Look> {
        async move {
            {
                let mut under_way = self.under_way.lock().unwrap();
                let same = under_way.entry(domain.clone()).or_default();
                *same += 1;
                assert_eq!(*same, 1, "one look at a name at a time");
                let all = under_way.values().sum();
                self.most_at_once.fetch_max(all, Ordering::SeqCst);
            }
            let gate = self.gate.lock().unwrap().clone();
            match gate {
                Some(gate) => gate.acquire().await.unwrap().forget(),
                None => tokio::task::yield_now().await,
            }
            self.looks.fetch_add(1, Ordering::SeqCst);
            *self.under_way.lock().unwrap().get_mut(domain).unwrap() -= 1;
            self.answer(domain, token)
        }
        .boxed()
    }
}

struct Authority {
    automatic: bool,
    wanted: Mutex<BTreeSet<Hostname>>,
    retried: Mutex<Vec<Hostname>>,
    there: Mutex<HashMap<Hostname, Certificate>>,
    news: broadcast::Sender<Hostname>,
}

impl Authority {
    fn issues(&self, domain: &Hostname) {
        let expires_at = Some(Timestamp::now().after(Duration::from_hours(24 * 90)));
        let certificate = Certificate { stage: CertificateStage::Issued, problem: None, next_try_at: None, expires_at };
        self.reports(domain, certificate);
    }

    fn holds_back(&self, domain: &Hostname) {
        let problem = Some("Another server answers on port 80".to_owned());
        let next_try_at = Some(Timestamp::now().after(Duration::from_mins(5)));
        let stage = CertificateStage::Preflight;
        self.reports(domain, Certificate { stage, problem, next_try_at, expires_at: None });
    }

    fn reports(&self, domain: &Hostname, certificate: Certificate) {
        self.there.lock().unwrap().insert(domain.clone(), certificate);
        let _ = self.news.send(domain.clone());
    }

    fn wants(&self, domain: &Hostname) -> bool {
        self.wanted.lock().unwrap().contains(domain)
    }
}

impl Certificates for Authority {
    fn are_automatic(&self) -> bool {
        self.automatic
    }

    fn want(&self, domain: &Hostname, _: bool) {
        self.wanted.lock().unwrap().insert(domain.clone());
    }

    fn retry_preflight(&self, domain: &Hostname) {
        self.retried.lock().unwrap().push(domain.clone());
    }

    fn release<'a>(&'a self, domain: &'a Hostname) -> BoxFuture<'a, ()> {
        self.wanted.lock().unwrap().remove(domain);
        self.there.lock().unwrap().remove(domain);
        std::future::ready(()).boxed()
    }

    fn sweep(&self) -> BoxFuture<'_, ()> {
        let wanted = self.wanted.lock().unwrap();
        self.there.lock().unwrap().retain(|domain, _| wanted.contains(domain));
        std::future::ready(()).boxed()
    }

    fn of(&self, domain: &Hostname) -> Option<Certificate> {
        self.there.lock().unwrap().get(domain).cloned()
    }

    fn news(&self) -> broadcast::Receiver<Hostname> {
        self.news.subscribe()
    }
}

struct House {
    _directory: tempfile::TempDir,
    platform: Platform,
    dns: Arc<Dns>,
    authority: Arc<Authority>,
    domains: Domains,
}

impl House {
    async fn new() -> Self {
        Self::with(true).await
    }

    async fn with(automatic: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let names = Names { base: None, ingress: "in.example".into(), public_host: "phone.example".into() };
        let defaults = Defaults {
            public_url: "https://phone.example".parse().unwrap(),
            edge_domain: "sip.example".into(),
            turn_lifetime: Duration::from_hours(12),
            transport: TransportDefaults::default(),
            names,
        };
        let platform = Platform::open(directory.path(), defaults).await.unwrap();
        let (news, _) = broadcast::channel(16);
        let authority =
            Authority { automatic, wanted: Mutex::default(), retried: Mutex::default(), there: Mutex::default(), news };
        let (dns, authority) = (Arc::<Dns>::default(), Arc::new(authority));
        let domains = Domains::new(platform.clone(), dns.clone(), authority.clone());
        Self { _directory: directory, platform, dns, authority, domains }
    }

    /// With a tenant whose domain is proved and leads here, and has no certificate yet.
    async fn with_verified() -> (Self, TenantId, Claim) {
        let house = Self::new().await;
        let acme = house.tenant("acme").await;
        let (claim, _) = house.claim(&acme, "phone.acme.com").await.unwrap();
        house.dns.publish(&claim);
        house.domains.sync(&context(), &claim.domain).await.unwrap();
        (house, acme, claim)
    }

    async fn tenant(&self, id: &str) -> TenantId {
        let new = NewTenant { plan_id: Some("enterprise".into()), ..NewTenant::named(id.parse().unwrap()) };
        self.platform.provision(&context(), new, |_| ()).await.unwrap();
        id.parse().unwrap()
    }

    async fn claim(&self, tenant: &TenantId, domain: &str) -> Result<(Claim, bool), Refusal> {
        let told = Arc::new(Mutex::new(None));
        let domain = domain.parse().unwrap();
        let answer = |claim: &Claim, new: bool| *told.lock().unwrap() = Some((claim.clone(), new));
        self.domains.claim(&context(), tenant, &domain, answer).await?;
        Ok(told.lock().unwrap().take().unwrap())
    }

    fn now(&self, domain: &Hostname) -> Arc<Claim> {
        self.platform.claim_on(domain).unwrap()
    }

    /// Changes a claim as time would have.
    async fn set(&self, domain: &Hostname, change: impl Fn(&mut Claim)) {
        let rule = |claim: &Claim| {
            let mut claim = claim.clone();
            change(&mut claim);
            (claim, None, ())
        };
        self.platform.step_claim(&context(), domain, rule).await.unwrap().unwrap();
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let claims = || self.platform.claims();
        tokio::time::timeout(Duration::from_secs(30), waiting)
            .await
            .unwrap_or_else(|_| panic!("{what}: {:?}", claims()));
    }

    async fn actions(&self) -> Vec<String> {
        let search = AuditSearch { tenant: None, action: None, since: None, until: None, before: None, limit: 1000 };
        let page = self.platform.audit(&search).await.unwrap();
        let told = page.entries.into_iter().rev().map(|(_, entry)| entry.action);
        told.filter(|action| action.starts_with("domain.")).collect()
    }
}

fn context() -> RequestContext {
    RequestContext::of_bitcall()
}

fn on(plan: &str) -> OperatorChange {
    OperatorChange { plan: PlanChange { plan_id: Some(plan.into()), status: None }, ..OperatorChange::default() }
}

#[tokio::test]
async fn a_domain_whose_dns_is_right_is_active_as_soon_as_its_certificate_is_there() {
    let house = House::new().await;
    let acme = house.tenant("acme").await;
    let (claim, new) = house.claim(&acme, "phone.acme.com").await.unwrap();
    assert!(new && claim.next_check_at.is_some() && claim.expires_at.is_some());
    tokio::spawn(house.domains.clone().keep());
    house.dns.publish(&claim);
    let Recheck::Done(seen) = house.domains.recheck(&context(), &acme).await.unwrap() else { panic!() };
    assert_eq!((seen.status, seen.phase), (DomainStatus::Verified, Phase::Verified));
    assert!(house.authority.wants(&claim.domain));
    assert!(house.platform.hosts(&house.platform.tenant(&acme).unwrap()).is_empty());
    house.authority.issues(&claim.domain);
    house.until("active", |house| house.now(&claim.domain).status == DomainStatus::Active).await;
    assert_eq!(house.now(&claim.domain).tls_status, TlsStatus::Active);
    assert_eq!(house.platform.hosts(&house.platform.tenant(&acme).unwrap()), ["phone.acme.com"]);
    assert_eq!(house.actions().await, ["domain.claim", "domain.verify", "domain.active"]);
}

#[tokio::test]
async fn a_recheck_looks_again_whether_the_certificate_need_be_held_back() {
    let (house, acme, claim) = House::with_verified().await;
    tokio::spawn(house.domains.clone().keep());
    house.authority.holds_back(&claim.domain);
    house.until("held back", |house| house.now(&claim.domain).phase == Phase::Preflight).await;
    assert_eq!(*house.authority.retried.lock().unwrap(), []);
    assert!(matches!(house.domains.recheck(&context(), &acme).await.unwrap(), Recheck::Done(_)));
    assert_eq!(*house.authority.retried.lock().unwrap(), std::slice::from_ref(&claim.domain));
}

#[tokio::test]
async fn a_second_recheck_in_a_row_is_refused_with_its_moment() {
    let house = House::new().await;
    let acme = house.tenant("acme").await;
    assert!(matches!(house.domains.recheck(&context(), &acme).await.unwrap(), Recheck::Nothing));
    house.claim(&acme, "phone.acme.com").await.unwrap();
    assert!(matches!(house.domains.recheck(&context(), &acme).await.unwrap(), Recheck::Done(_)));
    let Recheck::TooSoon(moment) = house.domains.recheck(&context(), &acme).await.unwrap() else { panic!() };
    assert!(moment > Timestamp::now());
    assert_eq!(house.dns.looks.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_is_due_is_looked_at_many_at_a_time_and_no_name_twice_at_once() {
    let house = House::new().await;
    let mut claims = Vec::new();
    for number in 0..80 {
        let tenant = house.tenant(&format!("t{number}")).await;
        let (claim, _) = house.claim(&tenant, &format!("phone{number}.acme.com")).await.unwrap();
        house.set(&claim.domain, |claim| claim.next_check_at = Some(Timestamp(0))).await;
        claims.push(claim);
    }
    let gate = Arc::new(Semaphore::new(0));
    *house.dns.gate.lock().unwrap() = Some(Arc::clone(&gate));
    tokio::spawn(house.domains.clone().keep());
    house.until("as many as may be", |house| house.dns.most_at_once.load(Ordering::SeqCst) == 32).await;
    // Those that are under way already among them: their second look waits.
    let asked = join_all(claims.iter().map(async |claim| house.domains.sync(&context(), &claim.domain).await));
    gate.add_permits(1000);
    assert!(asked.await.iter().all(|looked| looked.as_ref().is_ok_and(Option::is_some)));
    let looked_at = |claim: &Claim| claim.next_check_at.unwrap() > Timestamp::now();
    house.until("all", |house| claims.iter().all(|claim| looked_at(&house.now(&claim.domain)))).await;
    assert!(house.dns.looks.load(Ordering::SeqCst) >= 112, "80 that were asked for, and the 32 before them");
    assert_eq!(house.dns.most_at_once.load(Ordering::SeqCst), 32);
}

#[tokio::test]
async fn a_sweep_looks_at_all_domains() {
    let house = House::with(false).await;
    tokio::spawn(house.domains.clone().keep());
    let mut claims = Vec::new();
    for number in 0..50 {
        let tenant = house.tenant(&format!("t{number}")).await;
        let (claim, _) = house.claim(&tenant, &format!("phone{number}.acme.com")).await.unwrap();
        house.dns.publish(&claim);
        claims.push(claim);
    }
    assert_eq!(house.domains.sync_all(), 50);
    let active = |house: &House| claims.iter().all(|claim| house.now(&claim.domain).status == DomainStatus::Active);
    house.until("all active", active).await;
    assert!(claims.iter().all(|claim| house.now(&claim.domain).tls_status == TlsStatus::External));
}

#[tokio::test]
async fn dns_that_does_not_answer_changes_nothing() {
    let house = House::with(false).await;
    let acme = house.tenant("acme").await;
    let (claim, _) = house.claim(&acme, "phone.acme.com").await.unwrap();
    house.dns.publish(&claim);
    house.domains.sync(&context(), &claim.domain).await.unwrap();
    house.dns.broken.store(true, Ordering::SeqCst);
    for _ in 0..10 {
        let seen = house.domains.sync(&context(), &claim.domain).await.unwrap().unwrap();
        assert_eq!((seen.status, seen.phase, seen.away), (DomainStatus::Active, Phase::Active, None));
        assert_eq!(seen.unsure.as_deref(), Some("nobody answers"));
    }
}

#[tokio::test]
async fn after_a_restart_the_certificates_are_wanted_again_and_what_came_meanwhile_is_seen() {
    let (house, _, claim) = House::with_verified().await;
    house.authority.wanted.lock().unwrap().clear();
    house.authority.issues(&claim.domain);
    let again = Domains::new(house.platform.clone(), house.dns.clone(), house.authority.clone());
    tokio::spawn(again.keep());
    house.until("active", |house| house.now(&claim.domain).status == DomainStatus::Active).await;
    assert!(house.authority.wants(&claim.domain));
}

#[tokio::test]
async fn a_domain_that_is_given_up_needs_no_certificate_any_more() {
    let (house, acme, claim) = House::with_verified().await;
    tokio::spawn(house.domains.clone().keep());
    house.until("wanted", |house| house.authority.wants(&claim.domain)).await;
    // The worker has seen the claim once it has heard of its certificate.
    house.authority.issues(&claim.domain);
    house.until("active", |house| house.now(&claim.domain).status == DomainStatus::Active).await;
    house.platform.release_domain(&context(), &acme).await.unwrap();
    house.until("released", |house| !house.authority.wants(&claim.domain)).await;
}

#[tokio::test]
async fn who_proves_a_domain_gets_it_from_whom_only_claims_it() {
    let house = House::with(false).await;
    let (squatter, owner) = (house.tenant("squatter").await, house.tenant("owner").await);
    let (claimed, _) = house.claim(&squatter, "phone.acme.com").await.unwrap();
    let refused = house.claim(&owner, "phone.acme.com").await.unwrap_err();
    assert!(matches!(refused, Refusal::CustomDomainUnproved { .. }), "{refused:?}");
    let token = house.platform.claim_token(&owner, &claimed.domain).unwrap();
    assert!(refused.to_string().contains(&token) && token != claimed.token, "it says what to publish: {refused}");
    house.dns.broken.store(true, Ordering::SeqCst);
    assert!(house.claim(&owner, "phone.acme.com").await.is_err(), "what cannot be asked proves nothing");
    house.dns.broken.store(false, Ordering::SeqCst);

    house.dns.tokens.lock().unwrap().insert(claimed.domain.clone(), token);
    let (won, new) = house.claim(&owner, "phone.acme.com").await.unwrap();
    assert!(new && won.tenant == owner && won.verified_at.is_some() && won.phase == Phase::DnsPartial, "{won:?}");
    assert_eq!(*house.now(&claimed.domain), won);
    assert!(house.platform.claim(&squatter).unwrap().is_none());
    let lost = house.platform.tenant(&squatter).unwrap().tenant.lost_domain.clone().unwrap();
    assert_eq!((lost.domain, lost.why), (claimed.domain.clone(), DomainLoss::Superseded));
    let refused = house.claim(&squatter, "phone.acme.com").await.unwrap_err();
    assert!(matches!(refused, Refusal::CustomDomainInUse(_)), "what is proved stays: {refused:?}");
    assert_eq!(house.actions().await, ["domain.claim", "domain.supersede", "domain.claim"]);
}

#[tokio::test]
async fn of_two_owners_at_once_who_prove_a_domain_one_gets_it() {
    for _ in 0..10 {
        let house = House::with(false).await;
        let squatter = house.tenant("squatter").await;
        let (claimed, _) = house.claim(&squatter, "phone.acme.com").await.unwrap();
        let one = house.tenant("one").await;
        let token = house.platform.claim_token(&one, &claimed.domain).unwrap();
        house.dns.tokens.lock().unwrap().insert(claimed.domain.clone(), token);
        let claims = join_all((0..4).map(|_| house.claim(&one, "phone.acme.com"))).await;
        assert!(claims.iter().any(Result::is_ok), "{claims:?}");
        assert_eq!(house.now(&claimed.domain).tenant, one);
    }
}

#[tokio::test]
async fn a_claim_that_is_not_proved_in_time_ends_and_its_tenant_is_told() {
    let house = House::new().await;
    let acme = house.tenant("acme").await;
    let (claim, _) = house.claim(&acme, "phone.acme.com").await.unwrap();
    house.set(&claim.domain, |claim| claim.expires_at = Some(Timestamp(1))).await;
    house.dns.broken.store(true, Ordering::SeqCst);
    assert!(house.domains.sync(&context(), &claim.domain).await.unwrap().is_some(), "not in the dark");
    house.dns.broken.store(false, Ordering::SeqCst);
    assert!(house.domains.sync(&context(), &claim.domain).await.unwrap().is_none());
    assert!(house.platform.claim(&acme).unwrap().is_none() && house.platform.claim_on(&claim.domain).is_none());
    let lost = house.platform.tenant(&acme).unwrap().tenant.lost_domain.clone().unwrap();
    assert_eq!((lost.why, lost.domain.as_str()), (DomainLoss::Expired, "phone.acme.com"));
    let (again, new) = house.claim(&acme, "phone.acme.com").await.unwrap();
    assert!(new && again.token == claim.token, "what was published meanwhile is good");
    assert!(house.platform.tenant(&acme).unwrap().tenant.lost_domain.is_none());
    assert_eq!(house.actions().await, ["domain.claim", "domain.expire", "domain.claim"]);
}

#[tokio::test]
async fn a_tenant_without_the_right_is_neither_looked_up_nor_served() {
    let house = House::with(false).await;
    let acme = house.tenant("acme").await;
    let (claim, _) = house.claim(&acme, "phone.acme.com").await.unwrap();
    house.dns.publish(&claim);
    house.domains.sync(&context(), &claim.domain).await.unwrap();
    house.platform.change_as_operator(&context(), &acme, on("pro")).await.unwrap();
    let refused = house.domains.recheck(&context(), &acme).await.err().unwrap();
    assert!(matches!(refused, Refusal::CustomDomainNotAllowed));
    let barred = house.domains.sync(&context(), &claim.domain).await.unwrap().unwrap();
    assert_eq!(barred.phase, Phase::Blocked);
    assert_eq!(house.dns.looks.load(Ordering::SeqCst), 1);
    assert!(house.platform.hosts(&house.platform.tenant(&acme).unwrap()).is_empty());
    house.platform.change_as_operator(&context(), &acme, on("enterprise")).await.unwrap();
    let back = house.domains.sync(&context(), &claim.domain).await.unwrap().unwrap();
    assert_eq!((back.status, back.phase), (DomainStatus::Active, Phase::Active));
}

#[tokio::test]
async fn the_operator_activates_by_hand_and_again_is_no_news() {
    let house = House::with(false).await;
    let acme = house.tenant("acme").await;
    let (claim, _) = house.claim(&acme, "phone.acme.com").await.unwrap();
    for _ in 0..2 {
        let active = house.domains.activate(&context(), &claim.domain).await.unwrap().unwrap();
        assert_eq!(active.status, DomainStatus::Active);
    }
    assert_eq!(house.platform.hosts(&house.platform.tenant(&acme).unwrap()), ["phone.acme.com"]);
    assert_eq!(house.actions().await, ["domain.claim", "domain.activate"]);
    assert!(house.domains.activate(&context(), &"nobody.example".parse().unwrap()).await.unwrap().is_none());
}
