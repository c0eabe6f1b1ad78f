#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use proptest::prelude::*;

use super::super::{schedule, words};
use super::*;

const DAY: Duration = Duration::from_hours(24);
const HOUR: Duration = Duration::from_hours(1);
const INGRESS: &str = "in.example";

/// A claim, its clock, and what was told and wanted.
struct Story {
    claim: Claim,
    now: Timestamp,
    automatic: bool,
    effects: Vec<Effect>,
}

impl Story {
    fn new() -> Self {
        let now = Timestamp(1_770_000_000_000);
        let domain = "phone.acme.com".parse().unwrap();
        let claim = Claim::new("acme".parse().unwrap(), domain, "token".into(), now);
        let mut story = Self { claim, now, automatic: true, effects: Vec::new() };
        story.hears(&Event::Certificate(None));
        story
    }

    /// One that is in use.
    fn active() -> Self {
        let mut story = Self::new();
        story.look(good());
        story.certified(90);
        assert_eq!(story.at(), (DomainStatus::Active, TlsStatus::Active, Phase::Active));
        story.effects.clear();
        story
    }

    fn hears(&mut self, event: &Event) -> Vec<Effect> {
        let moment = Moment { now: self.now, chance: 0.5, automatic_certificates: self.automatic };
        let (claim, effects) = step(&self.claim, event, &moment);
        self.claim = claim;
        self.effects.extend(effects.clone());
        effects
    }

    fn look(&mut self, look: Look) -> Vec<Effect> {
        self.hears(&Event::Looked(look))
    }

    fn certified(&mut self, days: u32) -> Vec<Effect> {
        let certificate = certificate(CertificateStage::Issued, Some(self.now.after(DAY * days)));
        self.hears(&Event::Certificate(Some(certificate)))
    }

    fn stage(&mut self, stage: CertificateStage, problem: Option<&str>) {
        let expires_at = self.claim.certificate.as_ref().and_then(|certificate| certificate.expires_at);
        let certificate = Certificate { problem: problem.map(str::to_owned), ..certificate(stage, expires_at) };
        self.hears(&Event::Certificate(Some(certificate)));
    }

    fn after(&mut self, time: Duration) -> &mut Self {
        self.now = self.now.after(time);
        self
    }

    /// To the moment of the next check, which must be there and to come.
    fn until_next_check(&mut self) -> &mut Self {
        let next = self.claim.next_check_at.unwrap();
        assert!(next > self.now, "{next} at {}", self.now);
        self.now = next;
        self
    }

    fn at(&self) -> (DomainStatus, TlsStatus, Phase) {
        (self.claim.status, self.claim.tls_status, self.claim.phase)
    }

    fn reported(&self, report: Report) -> usize {
        self.effects.iter().filter(|effect| **effect == Effect::Report(report)).count()
    }
}

fn certificate(stage: CertificateStage, expires_at: Option<Timestamp>) -> Certificate {
    Certificate { stage, problem: None, next_try_at: None, expires_at }
}

fn seen(matched: Option<bool>) -> RecordObservation {
    RecordObservation { matched, observed: matched.iter().map(ToString::to_string).collect() }
}

fn look(txt: Option<bool>, here: Option<bool>) -> Look {
    let way = (here == Some(true)).then_some(RoutingMatch::Cname);
    let unsure = (txt.is_none() || here.is_none()).then(|| "a lookup timed out".to_owned());
    Look { txt: seen(txt), cname: seen(here), way, unsure, ..Look::default() }
}

fn good() -> Look {
    look(Some(true), Some(true))
}

fn nothing() -> Look {
    look(Some(false), Some(false))
}

/// Its TXT record may have gone since; it is not asked for any more.
fn elsewhere() -> Look {
    look(Some(false), Some(false))
}

fn dark() -> Look {
    look(None, None)
}

fn problem(blocks: bool) -> DnsProblem {
    DnsProblem { kind: "caa_forbids".into(), message: "The CAA record forbids it; add one.".into(), blocks }
}

#[test]
fn both_records_and_a_certificate_make_a_domain_active() {
    let mut story = Story::new();
    story.look(nothing());
    assert_eq!(story.at(), (DomainStatus::Pending, TlsStatus::Pending, Phase::DnsPending));
    story.look(look(Some(true), Some(false)));
    assert_eq!(story.at(), (DomainStatus::Pending, TlsStatus::Pending, Phase::DnsPartial));
    assert!(
        words::next_action(&story.claim, INGRESS).contains("CNAME record phone.acme.com with the value in.example")
    );
    let effects = story.look(good());
    assert_eq!(story.at(), (DomainStatus::Verified, TlsStatus::Pending, Phase::Verified));
    assert!(effects.contains(&Effect::WantCertificate { delegated: false }), "{effects:?}");
    for (stage, phase) in [
        (CertificateStage::Waiting, Phase::Verified),
        (CertificateStage::Preflight, Phase::Preflight),
        (CertificateStage::Ordering, Phase::Ordering),
        (CertificateStage::Challenge, Phase::Challenge),
        (CertificateStage::Finalizing, Phase::Finalizing),
    ] {
        story.stage(stage, None);
        assert_eq!((story.claim.status, story.claim.phase), (DomainStatus::Verified, phase));
    }
    assert_eq!(story.claim.tls_status, TlsStatus::Issuing);
    let next_try_at = Some(story.now.after(Duration::from_mins(5)));
    let problem = Some("Another server answers on port 80".to_owned());
    let held = Certificate { problem, next_try_at, ..certificate(CertificateStage::Preflight, None) };
    story.hears(&Event::Certificate(Some(held)));
    assert_eq!(story.at(), (DomainStatus::Verified, TlsStatus::Pending, Phase::Preflight));
    let next = words::next_action(&story.claim, INGRESS);
    assert!(next.starts_with("Another server answers on port 80. It is looked at again at "), "{next}");
    assert!(next.ends_with("at once after a recheck."), "{next}");
    assert_eq!(story.hears(&Event::RecheckAsked), [Effect::Look, Effect::RetryPreflight]);
    assert_eq!(story.hears(&Event::SyncAsked), [Effect::Look, Effect::RetryPreflight]);
    story.certified(90);
    assert_eq!(story.at(), (DomainStatus::Active, TlsStatus::Active, Phase::Active));
    story.stage(CertificateStage::Renewing, None);
    assert_eq!(story.at(), (DomainStatus::Active, TlsStatus::Active, Phase::Renewing));
    assert_eq!((story.reported(Report::Verified), story.reported(Report::Active)), (1, 1));
}

#[test]
fn one_record_alone_proves_nothing_in_whatever_order_they_come_and_go() {
    let mut story = Story::new();
    story.look(look(Some(false), Some(true)));
    assert_eq!(story.at().2, Phase::DnsPartial);
    assert!(words::next_action(&story.claim, INGRESS).contains("TXT record _bitcall-challenge.phone.acme.com"));
    story.look(look(Some(true), Some(false)));
    assert!(story.claim.verified_at.is_some());
    story.look(look(Some(false), Some(true)));
    assert_eq!((story.at().0, story.claim.verified_at), (DomainStatus::Pending, None));
    assert!(story.claim.expires_at.is_some(), "and its time runs again");
}

#[test]
fn where_others_get_the_certificates_a_proved_domain_is_active_at_once() {
    let mut story = Story::new();
    story.automatic = false;
    let effects = story.look(good());
    assert_eq!(story.at(), (DomainStatus::Active, TlsStatus::External, Phase::Active));
    assert_eq!(effects, [Effect::Report(Report::Verified), Effect::Report(Report::Active)], "nothing is wanted");
}

#[test]
fn what_forbids_a_certificate_blocks_until_it_is_gone() {
    let mut story = Story::new();
    let effects = story.look(Look { problems: vec![problem(true)], ..good() });
    assert_eq!(story.at(), (DomainStatus::Verified, TlsStatus::Pending, Phase::Blocked));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::WantCertificate { .. })));
    assert_eq!(words::next_action(&story.claim, INGRESS), "The CAA record forbids it; add one.");
    let effects = story.look(good());
    assert_eq!(story.at().2, Phase::Verified);
    assert!(effects.contains(&Effect::WantCertificate { delegated: false }));
}

#[test]
fn a_failed_order_is_told_with_its_reason_and_the_next_try() {
    let mut story = Story::new();
    story.look(good());
    let retry = story.now.after(HOUR);
    for (stage, phase) in [(CertificateStage::Backoff, Phase::Backoff), (CertificateStage::Blocked, Phase::Blocked)] {
        let problem = Some("the authority could not connect to port 80".into());
        let failed = Certificate { stage, problem, next_try_at: Some(retry), expires_at: None };
        story.hears(&Event::Certificate(Some(failed)));
        assert_eq!(story.at(), (DomainStatus::Verified, TlsStatus::Failed, phase));
        let told = words::next_action(&story.claim, INGRESS);
        assert!(told.contains("port 80") && told.contains(&retry.to_string()), "{told}");
    }
    assert_eq!(story.claim.last_error, "the authority could not connect to port 80");
}

#[test]
fn a_certificate_that_is_there_and_not_served_is_told_and_the_domain_stays_in_use() {
    let mut story = Story::active();
    story.stage(CertificateStage::Issued, Some("Who asks is shown another one; take it away."));
    assert_eq!(story.at(), (DomainStatus::Active, TlsStatus::Active, Phase::Active));
    assert_eq!(story.claim.last_error, "Who asks is shown another one; take it away.");
    assert_eq!(words::next_action(&story.claim, INGRESS), story.claim.last_error);
    story.stage(CertificateStage::Issued, None);
    assert_eq!(story.claim.last_error, "");
    assert_eq!(words::next_action(&story.claim, INGRESS), "Nothing: the domain is in use.");
}

#[test]
fn a_certificate_whose_time_is_over_is_told() {
    let mut story = Story::active();
    story.after(DAY * 91).stage(CertificateStage::Backoff, Some("no answer"));
    assert_eq!(story.at(), (DomainStatus::Active, TlsStatus::Expired, Phase::Backoff));
}

#[test]
fn an_active_domain_moves_only_after_several_looks_over_days_and_is_served_for_days_more() {
    let mut story = Story::active();
    let left = story.now;
    while story.claim.moved_at.is_none() {
        story.until_next_check().look(elsewhere());
        assert_eq!(story.claim.status, DomainStatus::Active);
    }
    assert!(left.until(story.now) >= schedule::AWAY_GRACE && story.claim.away.unwrap().looks >= schedule::AWAY_LOOKS);
    assert_eq!(story.at(), (DomainStatus::Active, TlsStatus::Active, Phase::Moved));
    assert_eq!(story.reported(Report::Moved), 1);
    assert!(story.claim.may_be_taken_over());
    let moved = story.now;
    while story.claim.status == DomainStatus::Active {
        story.until_next_check().look(elsewhere());
    }
    assert!(moved.until(story.now) >= schedule::SERVED_AFTER_MOVE);
    assert_eq!(story.at(), (DomainStatus::Pending, TlsStatus::Pending, Phase::DnsPending));
    assert_eq!(story.claim.verified_at, None, "to be proved again");
    assert!(story.effects.contains(&Effect::ReleaseCertificate));
    assert_eq!((story.reported(Report::Stopped), story.reported(Report::Moved)), (1, 1));
}

#[test]
fn a_domain_that_comes_back_is_as_before() {
    let mut story = Story::active();
    while story.claim.moved_at.is_none() {
        story.until_next_check().look(elsewhere());
    }
    story.until_next_check().look(look(Some(false), Some(true)));
    assert_eq!(story.at(), (DomainStatus::Active, TlsStatus::Active, Phase::Active));
    assert_eq!((story.claim.away, story.reported(Report::Returned)), (None, 1));
}

#[test]
fn looks_in_the_dark_between_bad_ones_neither_count_nor_forgive() {
    let mut story = Story::active();
    story.look(elsewhere());
    story.after(DAY * 30).look(dark());
    assert_eq!((story.at().2, story.claim.away.unwrap().looks), (Phase::Active, 1));
    story.look(elsewhere());
    assert_eq!(story.at().2, Phase::Active);
    story.look(elsewhere());
    assert_eq!(story.at().2, Phase::Moved, "three bad ones, over more than the grace");
}

#[test]
fn an_unproved_claim_is_looked_at_ever_more_rarely_pauses_and_ends() {
    let mut story = Story::new();
    let made = story.now;
    let mut looks = Vec::new();
    while !story.effects.contains(&Effect::Expire) {
        let before = story.now;
        story.until_next_check();
        assert_eq!(story.hears(&Event::Due), [Effect::Look]);
        story.look(nothing());
        looks.push(before.until(story.now));
    }
    assert_eq!(made.until(story.now), schedule::UNPROVED, "not before, and not much after");
    assert_eq!(story.reported(Report::Paused), 1);
    assert!(looks[0] <= Duration::from_mins(2) && looks.len() < 80, "{} looks: {looks:?}", looks.len());
    assert_eq!(story.claim.phase, Phase::Paused);
}

#[test]
fn a_recheck_ends_the_pause_and_cannot_be_had_again_at_once() {
    let mut story = Story::new();
    while story.claim.paused.is_none() {
        story.until_next_check().look(look(Some(true), Some(false)));
    }
    assert_eq!(story.at().2, Phase::Paused);
    assert!(words::next_action(&story.claim, INGRESS).contains("recheck"));
    assert_eq!(story.after(HOUR).hears(&Event::RecheckAsked), [Effect::Look]);
    assert_eq!(story.at().2, Phase::DnsPartial);
    assert_eq!(story.hears(&Event::RecheckAsked), []);
    assert_eq!(story.after(schedule::RECHECK_PAUSE).hears(&Event::RecheckAsked), [Effect::Look]);
}

#[test]
fn the_operators_word_stands_whatever_dns_says_and_ends_when_dns_agrees() {
    let mut story = Story::new();
    let effects = story.hears(&Event::ActivatedByHand);
    assert!(effects.contains(&Effect::WantCertificate { delegated: false }));
    assert_eq!(story.at(), (DomainStatus::Active, TlsStatus::Pending, Phase::Active));
    for _ in 0..100 {
        story.until_next_check().look(nothing());
        assert_eq!(story.at().0, DomainStatus::Active);
    }
    assert!(!story.claim.may_be_taken_over());
    assert!(words::next_action(&story.claim, INGRESS).contains("by hand"));
    assert_eq!(story.hears(&Event::ActivatedByHand), [], "again is no news");
    story.look(good());
    assert_eq!(story.claim.activated_by_hand_at, None);
    assert!(story.claim.verified_at.is_some());
}

#[test]
fn who_may_not_have_a_domain_is_told_so_and_nothing_else_changes() {
    let mut story = Story::active();
    story.claim.certificate.as_mut().unwrap().next_try_at = Some(story.now.after(DAY));
    let before = story.claim.clone();
    story.hears(&Event::Barred("the tenant's plan does not include a domain of its own".into()));
    assert_eq!((story.at().2, story.claim.status), (Phase::Blocked, DomainStatus::Active));
    let told = words::next_action(&story.claim, INGRESS);
    assert!(told.ends_with("does not include a domain of its own."), "{told}");
    story.look(good());
    assert_eq!((story.claim.phase, &story.claim.last_error), (before.phase, &before.last_error));
}

#[test]
fn a_claim_of_a_server_that_never_looked_is_due() {
    let kept = r#"{"tenant":"acme","domain":"phone.acme.com","token":"t","status":"pending","tlsStatus":"pending",
        "lastError":"","claimedAt":1,"verifiedAt":null,"lastCheckedAt":null,"phase":"dns_pending","paused":null,
        "nextCheckAt":null,"recheckAvailableAt":null,"txt":{"matched":null,"observed":[]},
        "cname":{"matched":null,"observed":[]}}"#;
    let mut story = Story::new();
    story.claim = serde_json::from_str(kept).unwrap();
    assert_eq!(story.hears(&Event::Due), [Effect::Look]);
    story.look(nothing());
    assert_eq!(story.at().2, Phase::DnsPending, "and has its full time from now on");
    assert_eq!(story.claim.expires_at, Some(story.now.after(schedule::UNPROVED)));
}

fn any_matched() -> impl Strategy<Value = Option<bool>> {
    prop_oneof![Just(None), Just(Some(false)), Just(Some(true))]
}

fn any_look() -> impl Strategy<Value = Look> {
    (any_matched(), any_matched(), any::<bool>(), any::<bool>(), proptest::option::of(any::<bool>())).prop_map(
        |(txt, here, unsure, delegated, trouble)| {
            let mut look = look(txt, here);
            if unsure {
                look.unsure.get_or_insert("a server did not answer".into());
            }
            look.challenge_delegated = delegated;
            look.problems = trouble.map(problem).into_iter().collect();
            look
        },
    )
}

fn any_event() -> impl Strategy<Value = Event> {
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
        6 => any_look().prop_map(Event::Looked),
        2 => Just(Event::Looked(look(Some(true), Some(true)))),
        3 => proptest::option::of(certificate).prop_map(Event::Certificate),
        1 => Just(Event::Due),
        1 => Just(Event::RecheckAsked),
        1 => Just(Event::SyncAsked),
        1 => Just(Event::ActivatedByHand),
        1 => Just(Event::Barred("the tenant is disabled".into())),
    ]
}

fn any_story() -> impl Strategy<Value = Vec<(Event, u64)>> {
    // Minutes between events: from none to days.
    proptest::collection::vec((any_event(), prop_oneof![Just(0), 1..60_u64, 60..10_000_u64]), 1..60)
}

/// What a lookup must not change when it could not be made.
fn verdict_of(claim: &Claim) -> impl PartialEq + std::fmt::Debug + use<> {
    (
        (claim.status, claim.tls_status, claim.phase, claim.verified_at, claim.expires_at, claim.paused.clone()),
        (claim.txt.clone(), claim.cname.clone(), claim.way, claim.problems.clone(), claim.away, claim.moved_at),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn every_reachable_state_is_sound(events in any_story(), automatic in any::<bool>(), chance in 0.0..=1.0_f64) {
        let mut story = Story::new();
        story.automatic = automatic;
        let (mut good_looks, mut by_hand) = (0, false);
        let mut last_here = story.now;
        for (event, minutes) in events {
            story.after(Duration::from_mins(minutes));
            let before = story.claim.clone();
            let moment = Moment { now: story.now, chance, automatic_certificates: automatic };
            let (claim, effects) = step(&before, &event, &moment);
            story.claim = claim.clone();

            // One sentence and one moment, in every phase.
            let sentence = words::next_action(&claim, INGRESS);
            prop_assert!(sentence.ends_with('.') && sentence.len() > 5, "{:?}: {sentence:?}", claim.phase);
            let next = claim.next_check_at;
            prop_assert!(next.is_some());
            if let Event::Looked(_) | Event::Barred(_) = event {
                let pause = story.now.until(next.unwrap());
                prop_assert!(pause >= Duration::from_secs(50) || next == claim.expires_at || claim.phase == Phase::Backoff, "{pause:?}");
                prop_assert!(pause <= Duration::from_hours(8 * 24), "{pause:?}");
            }

            // Evidence.
            if let Event::Looked(look) = &event {
                good_looks += usize::from(look.txt.matched == Some(true));
                if look.way.is_some() {
                    last_here = story.now;
                }
            }
            by_hand |= event == Event::ActivatedByHand;
            if claim.status != DomainStatus::Pending {
                prop_assert!(claim.is_proved(), "{claim:?}");
                prop_assert!(good_looks > 0 || by_hand);
            }
            prop_assert_eq!(claim.is_proved(), claim.expires_at.is_none());
            if effects.contains(&Effect::Expire) {
                prop_assert!(!claim.is_proved() && before.claimed_at.until(story.now) >= schedule::UNPROVED);
                return Ok(());
            }

            // Nothing is concluded from what could not be asked.
            if matches!(&event, Event::Looked(look) if look.unsure.is_some() && look.txt.matched != Some(true) && look.way.is_none())
                && before.barred.is_none() && before.next_check_at.is_some()
            {
                // Time itself may have ended a certificate: compare with how it stands without the look.
                let idle = step(&before, &Event::SyncAsked, &moment).0;
                prop_assert_eq!(verdict_of(&claim), verdict_of(&idle));
            }

            // An active domain does not flap.
            if before.status == DomainStatus::Active && claim.status != DomainStatus::Active {
                let away = last_here.until(story.now);
                prop_assert!(away >= schedule::AWAY_GRACE + schedule::SERVED_AFTER_MOVE, "after {away:?}");
                prop_assert!(before.moved_at.is_some() && before.may_be_taken_over());
            }
            if before.moved_at.is_none() && claim.moved_at.is_some() {
                prop_assert!(last_here.until(story.now) >= schedule::AWAY_GRACE);
            }
            if claim.activated_by_hand_at == Some(story.now) {
                last_here = story.now;
            }

            // Certificates are wanted for what is proved, and never where nobody is to get them.
            if effects.iter().any(|effect| matches!(effect, Effect::WantCertificate { .. })) {
                prop_assert!(automatic && claim.is_proved() && claim.moved_at.is_none());
            }
            prop_assert_eq!(claim.phase == Phase::Moved, claim.moved_at.is_some() && claim.barred.is_none());
        }
    }

    #[test]
    fn from_wherever_it_is_a_domain_that_is_right_becomes_active(events in any_story()) {
        let mut story = Story::new();
        for (event, minutes) in events {
            story.after(Duration::from_mins(minutes));
            if story.hears(&event).contains(&Effect::Expire) {
                return Ok(());
            }
        }
        story.after(HOUR).look(good());
        story.certified(90);
        prop_assert_eq!(story.at(), (DomainStatus::Active, TlsStatus::Active, Phase::Active));
        prop_assert_eq!(&story.claim.last_error, "");
    }
}
