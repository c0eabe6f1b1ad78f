#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use proptest::prelude::*;

use super::super::{owner_text, schedule};
use super::*;

const DAY: Duration = Duration::from_hours(24);
const HOUR: Duration = Duration::from_hours(1);
const INGRESS: &str = "in.example";

/// A claim, its clock and all effects so far.
struct EventSequence {
    claim: Claim,
    now: Timestamp,
    automatic: bool,
    effects: Vec<DomainEffect>,
}

impl EventSequence {
    fn new() -> Self {
        let now = Timestamp(1_770_000_000_000);
        let domain = "phone.acme.com".parse().unwrap();
        let claim = Claim::new("acme".parse().unwrap(), domain, "token".into(), now);
        let mut sequence = Self { claim, now, automatic: true, effects: Vec::new() };
        sequence.apply(&DomainEvent::Certificate(None));
        sequence
    }

    /// With an active domain.
    fn active() -> Self {
        let mut sequence = Self::new();
        sequence.check(good());
        sequence.certified(90);
        assert_eq!(sequence.state(), (DomainStatus::Active, TlsStatus::Active, ClaimPhase::Active));
        sequence.effects.clear();
        sequence
    }

    fn apply(&mut self, event: &DomainEvent) -> Vec<DomainEffect> {
        let context = StepContext { now: self.now, chance: 0.5, automatic_certificates: self.automatic };
        let (claim, effects) = step(&self.claim, event, &context);
        self.claim = claim;
        self.effects.extend(effects.clone());
        effects
    }

    fn check(&mut self, check: DnsCheck) -> Vec<DomainEffect> {
        self.apply(&DomainEvent::DnsChecked(check))
    }

    fn certified(&mut self, days: u32) -> Vec<DomainEffect> {
        let certificate = certificate(CertificateStage::Issued, Some(self.now.after(DAY * days)));
        self.apply(&DomainEvent::Certificate(Some(certificate)))
    }

    fn stage(&mut self, stage: CertificateStage, problem: Option<&str>) {
        let expires_at = self.claim.certificate.as_ref().and_then(|certificate| certificate.expires_at);
        let certificate = Certificate { problem: problem.map(str::to_owned), ..certificate(stage, expires_at) };
        self.apply(&DomainEvent::Certificate(Some(certificate)));
    }

    fn after(&mut self, time: Duration) -> &mut Self {
        self.now = self.now.after(time);
        self
    }

    /// Advances the clock to the next check, which must be in the future.
    fn until_next_check(&mut self) -> &mut Self {
        let next = self.claim.next_check_at.unwrap();
        assert!(next > self.now, "{next} at {}", self.now);
        self.now = next;
        self
    }

    fn state(&self) -> (DomainStatus, TlsStatus, ClaimPhase) {
        (self.claim.status, self.claim.tls_status, self.claim.phase)
    }

    fn reported(&self, report: DomainTransition) -> usize {
        self.effects.iter().filter(|effect| **effect == DomainEffect::ReportTransition(report)).count()
    }
}

fn certificate(stage: CertificateStage, expires_at: Option<Timestamp>) -> Certificate {
    Certificate { stage, problem: None, next_try_at: None, expires_at }
}

fn seen(matched: Option<bool>) -> RecordObservation {
    RecordObservation { matched, observed: matched.iter().map(ToString::to_string).collect() }
}

fn dns_check(txt: Option<bool>, here: Option<bool>) -> DnsCheck {
    let way = (here == Some(true)).then_some(RoutingMatch::Cname);
    let unsure = (txt.is_none() || here.is_none()).then(|| "a lookup timed out".to_owned());
    DnsCheck { txt: seen(txt), cname: seen(here), way, unsure, ..DnsCheck::default() }
}

fn good() -> DnsCheck {
    dns_check(Some(true), Some(true))
}

fn nothing() -> DnsCheck {
    dns_check(Some(false), Some(false))
}

/// The TXT record of a proved domain may be missing; it is not required any more.
fn elsewhere() -> DnsCheck {
    dns_check(Some(false), Some(false))
}

fn dark() -> DnsCheck {
    dns_check(None, None)
}

fn problem(blocks: bool) -> DnsProblem {
    DnsProblem { kind: "caa_forbids".into(), message: "The CAA record forbids it; add one.".into(), blocks }
}

#[test]
fn a_domain_with_both_records_and_a_certificate_is_active() {
    let mut sequence = EventSequence::new();
    sequence.check(nothing());
    assert_eq!(sequence.state(), (DomainStatus::Pending, TlsStatus::Pending, ClaimPhase::DnsPending));
    sequence.check(dns_check(Some(true), Some(false)));
    assert_eq!(sequence.state(), (DomainStatus::Pending, TlsStatus::Pending, ClaimPhase::DnsPartial));
    assert!(
        owner_text::next_action(&sequence.claim, INGRESS)
            .contains("CNAME record phone.acme.com with the value in.example")
    );
    let effects = sequence.check(good());
    assert_eq!(sequence.state(), (DomainStatus::Verified, TlsStatus::Pending, ClaimPhase::Verified));
    assert!(effects.contains(&DomainEffect::OrderCertificate { delegated: false }), "{effects:?}");
    for (stage, phase) in [
        (CertificateStage::Waiting, ClaimPhase::Verified),
        (CertificateStage::Preflight, ClaimPhase::Preflight),
        (CertificateStage::Ordering, ClaimPhase::Ordering),
        (CertificateStage::Challenge, ClaimPhase::Challenge),
        (CertificateStage::Finalizing, ClaimPhase::Finalizing),
    ] {
        sequence.stage(stage, None);
        assert_eq!((sequence.claim.status, sequence.claim.phase), (DomainStatus::Verified, phase));
    }
    assert_eq!(sequence.claim.tls_status, TlsStatus::Issuing);
    let next_try_at = Some(sequence.now.after(Duration::from_mins(5)));
    let problem = Some("Another server answers on port 80".to_owned());
    let held = Certificate { problem, next_try_at, ..certificate(CertificateStage::Preflight, None) };
    sequence.apply(&DomainEvent::Certificate(Some(held)));
    assert_eq!(sequence.state(), (DomainStatus::Verified, TlsStatus::Pending, ClaimPhase::Preflight));
    let next = owner_text::next_action(&sequence.claim, INGRESS);
    assert!(next.starts_with("Another server answers on port 80. It is looked at again at "), "{next}");
    assert!(next.ends_with("at once after a recheck."), "{next}");
    assert_eq!(sequence.apply(&DomainEvent::RecheckAsked), [DomainEffect::CheckDns, DomainEffect::RetryPreflight]);
    assert_eq!(sequence.apply(&DomainEvent::SyncAsked), [DomainEffect::CheckDns, DomainEffect::RetryPreflight]);
    sequence.certified(90);
    assert_eq!(sequence.state(), (DomainStatus::Active, TlsStatus::Active, ClaimPhase::Active));
    sequence.stage(CertificateStage::Renewing, None);
    assert_eq!(sequence.state(), (DomainStatus::Active, TlsStatus::Active, ClaimPhase::Renewing));
    assert_eq!((sequence.reported(DomainTransition::Verified), sequence.reported(DomainTransition::Active)), (1, 1));
}

#[test]
fn a_domain_is_verified_only_while_both_records_match() {
    let mut sequence = EventSequence::new();
    sequence.check(dns_check(Some(false), Some(true)));
    assert_eq!(sequence.state().2, ClaimPhase::DnsPartial);
    assert!(owner_text::next_action(&sequence.claim, INGRESS).contains("TXT record _bitcall-challenge.phone.acme.com"));
    sequence.check(dns_check(Some(true), Some(false)));
    assert!(sequence.claim.verified_at.is_some());
    sequence.check(dns_check(Some(false), Some(true)));
    assert_eq!((sequence.state().0, sequence.claim.verified_at), (DomainStatus::Pending, None));
    assert!(sequence.claim.expires_at.is_some(), "and its time runs again");
}

#[test]
fn with_external_certificates_a_verified_domain_is_active_at_once() {
    let mut sequence = EventSequence::new();
    sequence.automatic = false;
    let effects = sequence.check(good());
    assert_eq!(sequence.state(), (DomainStatus::Active, TlsStatus::External, ClaimPhase::Active));
    assert_eq!(
        effects,
        [
            DomainEffect::ReportTransition(DomainTransition::Verified),
            DomainEffect::ReportTransition(DomainTransition::Active)
        ],
        "nothing is wanted"
    );
}

#[test]
fn a_problem_that_forbids_certificates_blocks_the_order_until_it_is_solved() {
    let mut sequence = EventSequence::new();
    let effects = sequence.check(DnsCheck { problems: vec![problem(true)], ..good() });
    assert_eq!(sequence.state(), (DomainStatus::Verified, TlsStatus::Pending, ClaimPhase::Blocked));
    assert!(!effects.iter().any(|effect| matches!(effect, DomainEffect::OrderCertificate { .. })));
    assert_eq!(owner_text::next_action(&sequence.claim, INGRESS), "The CAA record forbids it; add one.");
    let effects = sequence.check(good());
    assert_eq!(sequence.state().2, ClaimPhase::Verified);
    assert!(effects.contains(&DomainEffect::OrderCertificate { delegated: false }));
}

#[test]
fn a_failed_order_shows_its_reason_and_the_next_attempt() {
    let mut sequence = EventSequence::new();
    sequence.check(good());
    let retry = sequence.now.after(HOUR);
    for (stage, phase) in
        [(CertificateStage::Backoff, ClaimPhase::Backoff), (CertificateStage::Blocked, ClaimPhase::Blocked)]
    {
        let problem = Some("the authority could not connect to port 80".into());
        let failed = Certificate { stage, problem, next_try_at: Some(retry), expires_at: None };
        sequence.apply(&DomainEvent::Certificate(Some(failed)));
        assert_eq!(sequence.state(), (DomainStatus::Verified, TlsStatus::Failed, phase));
        let told = owner_text::next_action(&sequence.claim, INGRESS);
        assert!(told.contains("port 80") && told.contains(&retry.to_string()), "{told}");
    }
    assert_eq!(sequence.claim.last_error, "the authority could not connect to port 80");
}

#[test]
fn an_unserved_certificate_is_reported_and_the_domain_stays_active() {
    let mut sequence = EventSequence::active();
    sequence.stage(CertificateStage::Issued, Some("Who asks is shown another one; take it away."));
    assert_eq!(sequence.state(), (DomainStatus::Active, TlsStatus::Active, ClaimPhase::Active));
    assert_eq!(sequence.claim.last_error, "Who asks is shown another one; take it away.");
    assert_eq!(owner_text::next_action(&sequence.claim, INGRESS), sequence.claim.last_error);
    sequence.stage(CertificateStage::Issued, None);
    assert_eq!(sequence.claim.last_error, "");
    assert_eq!(owner_text::next_action(&sequence.claim, INGRESS), "Nothing: the domain is in use.");
}

#[test]
fn an_expired_certificate_is_shown_as_expired() {
    let mut sequence = EventSequence::active();
    sequence.after(DAY * 91).stage(CertificateStage::Backoff, Some("no answer"));
    assert_eq!(sequence.state(), (DomainStatus::Active, TlsStatus::Expired, ClaimPhase::Backoff));
}

#[test]
fn an_active_domain_is_moved_after_several_checks_over_days_and_stopped_days_later() {
    let mut sequence = EventSequence::active();
    let left = sequence.now;
    while sequence.claim.moved_at.is_none() {
        sequence.until_next_check().check(elsewhere());
        assert_eq!(sequence.claim.status, DomainStatus::Active);
    }
    assert!(
        left.until(sequence.now) >= schedule::AWAY_GRACE_PERIOD
            && sequence.claim.away.unwrap().checks >= schedule::MIN_AWAY_CHECKS
    );
    assert_eq!(sequence.state(), (DomainStatus::Active, TlsStatus::Active, ClaimPhase::Moved));
    assert_eq!(sequence.reported(DomainTransition::Moved), 1);
    assert!(sequence.claim.may_be_taken_over());
    let moved = sequence.now;
    while sequence.claim.status == DomainStatus::Active {
        sequence.until_next_check().check(elsewhere());
    }
    assert!(moved.until(sequence.now) >= schedule::SERVED_AFTER_MOVE);
    assert_eq!(sequence.state(), (DomainStatus::Pending, TlsStatus::Pending, ClaimPhase::DnsPending));
    assert_eq!(sequence.claim.verified_at, None, "to be proved again");
    assert!(sequence.effects.contains(&DomainEffect::ReleaseCertificate));
    assert_eq!((sequence.reported(DomainTransition::Stopped), sequence.reported(DomainTransition::Moved)), (1, 1));
}

#[test]
fn a_moved_domain_that_points_here_again_is_active() {
    let mut sequence = EventSequence::active();
    while sequence.claim.moved_at.is_none() {
        sequence.until_next_check().check(elsewhere());
    }
    sequence.until_next_check().check(dns_check(Some(false), Some(true)));
    assert_eq!(sequence.state(), (DomainStatus::Active, TlsStatus::Active, ClaimPhase::Active));
    assert_eq!((sequence.claim.away, sequence.reported(DomainTransition::Returned)), (None, 1));
}

#[test]
fn failed_checks_neither_count_as_away_nor_reset_the_count() {
    let mut sequence = EventSequence::active();
    sequence.check(elsewhere());
    sequence.after(DAY * 30).check(dark());
    assert_eq!((sequence.state().2, sequence.claim.away.unwrap().checks), (ClaimPhase::Active, 1));
    sequence.check(elsewhere());
    assert_eq!(sequence.state().2, ClaimPhase::Active);
    sequence.check(elsewhere());
    assert_eq!(sequence.state().2, ClaimPhase::Moved, "three bad ones, over more than the grace");
}

#[test]
fn an_unproved_claim_backs_off_is_paused_and_expires() {
    let mut sequence = EventSequence::new();
    let made = sequence.now;
    let mut checks = Vec::new();
    while !sequence.effects.contains(&DomainEffect::Expire) {
        let before = sequence.now;
        sequence.until_next_check();
        assert_eq!(sequence.apply(&DomainEvent::Due), [DomainEffect::CheckDns]);
        sequence.check(nothing());
        checks.push(before.until(sequence.now));
    }
    assert_eq!(made.until(sequence.now), schedule::PROOF_TIMEOUT, "not before, and not much after");
    assert_eq!(sequence.reported(DomainTransition::Paused), 1);
    assert!(checks[0] <= Duration::from_mins(2) && checks.len() < 80, "{} looks: {checks:?}", checks.len());
    assert_eq!(sequence.claim.phase, ClaimPhase::Paused);
}

#[test]
fn a_recheck_ends_the_pause_and_has_a_minimum_interval() {
    let mut sequence = EventSequence::new();
    while sequence.claim.paused.is_none() {
        sequence.until_next_check().check(dns_check(Some(true), Some(false)));
    }
    assert_eq!(sequence.state().2, ClaimPhase::Paused);
    assert!(owner_text::next_action(&sequence.claim, INGRESS).contains("recheck"));
    assert_eq!(sequence.after(HOUR).apply(&DomainEvent::RecheckAsked), [DomainEffect::CheckDns]);
    assert_eq!(sequence.state().2, ClaimPhase::DnsPartial);
    assert_eq!(sequence.apply(&DomainEvent::RecheckAsked), []);
    assert_eq!(
        sequence.after(schedule::MIN_RECHECK_INTERVAL).apply(&DomainEvent::RecheckAsked),
        [DomainEffect::CheckDns]
    );
}

#[test]
fn activation_by_hand_overrides_dns_until_dns_confirms_it() {
    let mut sequence = EventSequence::new();
    let effects = sequence.apply(&DomainEvent::ActivatedByHand);
    assert!(effects.contains(&DomainEffect::OrderCertificate { delegated: false }));
    assert_eq!(sequence.state(), (DomainStatus::Active, TlsStatus::Pending, ClaimPhase::Active));
    for _ in 0..100 {
        sequence.until_next_check().check(nothing());
        assert_eq!(sequence.state().0, DomainStatus::Active);
    }
    assert!(!sequence.claim.may_be_taken_over());
    assert!(owner_text::next_action(&sequence.claim, INGRESS).contains("by hand"));
    assert_eq!(sequence.apply(&DomainEvent::ActivatedByHand), [], "again is no news");
    sequence.check(good());
    assert_eq!(sequence.claim.activated_by_hand_at, None);
    assert!(sequence.claim.verified_at.is_some());
}

#[test]
fn a_barred_tenant_sees_the_reason_and_keeps_the_state() {
    let mut sequence = EventSequence::active();
    sequence.claim.certificate.as_mut().unwrap().next_try_at = Some(sequence.now.after(DAY));
    let before = sequence.claim.clone();
    sequence.apply(&DomainEvent::Barred("the tenant's plan does not include a domain of its own".into()));
    assert_eq!((sequence.state().2, sequence.claim.status), (ClaimPhase::Blocked, DomainStatus::Active));
    let told = owner_text::next_action(&sequence.claim, INGRESS);
    assert!(told.ends_with("does not include a domain of its own."), "{told}");
    sequence.check(good());
    assert_eq!((sequence.claim.phase, &sequence.claim.last_error), (before.phase, &before.last_error));
}

#[test]
fn a_stored_claim_without_a_next_check_is_due() {
    let kept = r#"{"tenant":"acme","domain":"phone.acme.com","token":"t","status":"pending","tlsStatus":"pending",
        "lastError":"","claimedAt":1,"verifiedAt":null,"lastCheckedAt":null,"phase":"dns_pending","paused":null,
        "nextCheckAt":null,"recheckAvailableAt":null,"txt":{"matched":null,"observed":[]},
        "cname":{"matched":null,"observed":[]}}"#;
    let mut sequence = EventSequence::new();
    sequence.claim = serde_json::from_str(kept).unwrap();
    assert_eq!(sequence.apply(&DomainEvent::Due), [DomainEffect::CheckDns]);
    sequence.check(nothing());
    assert_eq!(sequence.state().2, ClaimPhase::DnsPending, "and has its full time from now on");
    assert_eq!(sequence.claim.expires_at, Some(sequence.now.after(schedule::PROOF_TIMEOUT)));
}

fn any_matched() -> impl Strategy<Value = Option<bool>> {
    prop_oneof![Just(None), Just(Some(false)), Just(Some(true))]
}

fn any_look() -> impl Strategy<Value = DnsCheck> {
    (any_matched(), any_matched(), any::<bool>(), any::<bool>(), proptest::option::of(any::<bool>())).prop_map(
        |(txt, here, unsure, delegated, trouble)| {
            let mut check = dns_check(txt, here);
            if unsure {
                check.unsure.get_or_insert("a server did not answer".into());
            }
            check.challenge_delegated = delegated;
            check.problems = trouble.map(problem).into_iter().collect();
            check
        },
    )
}

fn any_event() -> impl Strategy<Value = DomainEvent> {
    let stages = vec![
        CertificateStage::Waiting,
        CertificateStage::Preflight,
        CertificateStage::Ordering,
        CertificateStage::Challenge,
        CertificateStage::Finalizing,
        CertificateStage::Issued,
        CertificateStage::Renewing,
        CertificateStage::Backoff,
        CertificateStage::Blocked,
    ];
    let certificate = (proptest::sample::select(stages), any::<bool>(), proptest::option::of(0..100_i64)).prop_map(
        |(stage, told, days)| {
            let moment = |days: i64| Timestamp(1_770_000_000_000 + days * 86_400_000);
            Certificate {
                stage,
                problem: told.then(|| "it failed".to_owned()),
                next_try_at: told.then(|| moment(days.unwrap_or(3) / 2)),
                expires_at: days.map(moment),
            }
        },
    );
    prop_oneof![
        6 => any_look().prop_map(DomainEvent::DnsChecked),
        2 => Just(DomainEvent::DnsChecked(dns_check(Some(true), Some(true)))),
        3 => proptest::option::of(certificate).prop_map(DomainEvent::Certificate),
        1 => Just(DomainEvent::Due),
        1 => Just(DomainEvent::RecheckAsked),
        1 => Just(DomainEvent::SyncAsked),
        1 => Just(DomainEvent::ActivatedByHand),
        1 => Just(DomainEvent::Barred("the tenant is disabled".into())),
    ]
}

fn any_sequence() -> impl Strategy<Value = Vec<(DomainEvent, u64)>> {
    // Minutes between events, from none to days.
    proptest::collection::vec((any_event(), prop_oneof![Just(0), 1..60_u64, 60..10_000_u64]), 1..60)
}

/// What a failed lookup must not change.
fn verdict_of(claim: &Claim) -> impl PartialEq + std::fmt::Debug + use<> {
    (
        (claim.status, claim.tls_status, claim.phase, claim.verified_at, claim.expires_at, claim.paused.clone()),
        (claim.txt.clone(), claim.cname.clone(), claim.way, claim.problems.clone(), claim.away, claim.moved_at),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn every_reachable_state_keeps_the_invariants(events in any_sequence(), automatic in any::<bool>(), chance in 0.0..=1.0_f64) {
        let mut sequence = EventSequence::new();
        sequence.automatic = automatic;
        let (mut good_checks, mut by_hand) = (0, false);
        let mut last_here = sequence.now;
        for (event, minutes) in events {
            sequence.after(Duration::from_mins(minutes));
            let before = sequence.claim.clone();
            let context = StepContext { now: sequence.now, chance, automatic_certificates: automatic };
            let (claim, effects) = step(&before, &event, &context);
            sequence.claim = claim.clone();

            // Every phase has one sentence and one time of the next check.
            let sentence = owner_text::next_action(&claim, INGRESS);
            prop_assert!(sentence.ends_with('.') && sentence.len() > 5, "{:?}: {sentence:?}", claim.phase);
            let next = claim.next_check_at;
            prop_assert!(next.is_some());
            if let DomainEvent::DnsChecked(_) | DomainEvent::Barred(_) = event {
                let pause = sequence.now.until(next.unwrap());
                prop_assert!(pause >= Duration::from_secs(50) || next == claim.expires_at || claim.phase == ClaimPhase::Backoff, "{pause:?}");
                prop_assert!(pause <= Duration::from_hours(8 * 24), "{pause:?}");
            }

            // A domain is in use only after a proof or a manual activation.
            if let DomainEvent::DnsChecked(check) = &event {
                good_checks += usize::from(check.txt.matched == Some(true));
                if check.way.is_some() {
                    last_here = sequence.now;
                }
            }
            by_hand |= event == DomainEvent::ActivatedByHand;
            if claim.status != DomainStatus::Pending {
                prop_assert!(claim.is_proved(), "{claim:?}");
                prop_assert!(good_checks > 0 || by_hand);
            }
            prop_assert_eq!(claim.is_proved(), claim.expires_at.is_none());
            if effects.contains(&DomainEffect::Expire) {
                prop_assert!(!claim.is_proved() && before.claimed_at.until(sequence.now) >= schedule::PROOF_TIMEOUT);
                return Ok(());
            }

            // A failed lookup changes no conclusion.
            if matches!(&event, DomainEvent::DnsChecked(check) if check.unsure.is_some() && check.txt.matched != Some(true) && check.way.is_none())
                && before.barred.is_none() && before.next_check_at.is_some()
            {
                // A certificate may have expired meanwhile, so compare with a step without a DNS check.
                let idle = step(&before, &DomainEvent::SyncAsked, &context).0;
                prop_assert_eq!(verdict_of(&claim), verdict_of(&idle));
            }

            // An active domain does not flap.
            if before.status == DomainStatus::Active && claim.status != DomainStatus::Active {
                let away = last_here.until(sequence.now);
                prop_assert!(away >= schedule::AWAY_GRACE_PERIOD + schedule::SERVED_AFTER_MOVE, "after {away:?}");
                prop_assert!(before.moved_at.is_some() && before.may_be_taken_over());
            }
            if before.moved_at.is_none() && claim.moved_at.is_some() {
                prop_assert!(last_here.until(sequence.now) >= schedule::AWAY_GRACE_PERIOD);
            }
            if claim.activated_by_hand_at == Some(sequence.now) {
                last_here = sequence.now;
            }

            // Certificates are ordered only for proved domains, and only if this server orders them.
            if effects.iter().any(|effect| matches!(effect, DomainEffect::OrderCertificate { .. })) {
                prop_assert!(automatic && claim.is_proved() && claim.moved_at.is_none());
            }
            prop_assert_eq!(claim.phase == ClaimPhase::Moved, claim.moved_at.is_some() && claim.barred.is_none());
        }
    }

    #[test]
    fn a_correct_domain_becomes_active_from_every_state(events in any_sequence()) {
        let mut sequence = EventSequence::new();
        for (event, minutes) in events {
            sequence.after(Duration::from_mins(minutes));
            if sequence.apply(&event).contains(&DomainEffect::Expire) {
                return Ok(());
            }
        }
        sequence.after(HOUR).check(good());
        sequence.certified(90);
        prop_assert_eq!(sequence.state(), (DomainStatus::Active, TlsStatus::Active, ClaimPhase::Active));
        prop_assert_eq!(&sequence.claim.last_error, "");
    }
}
