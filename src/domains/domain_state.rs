//! The state machine of a claimed domain: one pure step from the claim and an event to the next claim and the effects
//! to carry out. Nothing here reads DNS, a clock or random numbers.
//!
//! Two rules hold throughout. Only answers count: a lookup that failed changes no conclusion. And a domain in use does
//! not flap: only several checks over days mark it as moved, and it is served for some days after that.

use super::schedule::{self, StepContext};
use crate::tenancy::{
    Certificate, CertificateStage, Claim, ClaimPhase, DnsProblem, DomainStatus, MovedAway, RecordObservation,
    RoutingMatch, TlsStatus,
};
use crate::timestamp::Timestamp;

/// An event that concerns a claim.
#[derive(Clone, Debug, PartialEq)]
pub enum DomainEvent {
    /// Its next check may be due.
    Due,
    /// A DNS check has ended.
    DnsChecked(DnsCheck),
    /// The certificate state has changed; `None` when there is no certificate and no order.
    Certificate(Option<Certificate>),
    /// The tenant asks for a check.
    RecheckAsked,
    /// The operator asks for a check.
    SyncAsked,
    /// The operator activates the domain without regard to DNS.
    ActivatedByHand,
    /// The tenant may not use a custom domain now, with the reason.
    Barred(String),
}

/// The result of one DNS check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsCheck {
    pub txt: RecordObservation,
    /// Matched where `way` is set.
    pub cname: RecordObservation,
    pub way: Option<RoutingMatch>,
    pub problems: Vec<DnsProblem>,
    /// Which lookups failed, and why. Then nothing is concluded from records that were not found.
    pub unsure: Option<String>,
    pub challenge_delegated: bool,
}

/// What the driver has to carry out after a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DomainEffect {
    /// Check DNS.
    CheckDns,
    /// Order a certificate and keep it renewed. Idempotent. With a delegated challenge also for the names below.
    OrderCertificate {
        delegated: bool,
    },
    /// Repeat the preflight check that holds back the order.
    RetryPreflight,
    ReleaseCertificate,
    /// End the claim, which was not proved in time.
    Expire,
    /// Write it to the log and to the audit log.
    ReportTransition(DomainTransition),
}

/// A change of state that is reported to the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DomainTransition {
    Verified,
    Active,
    ActivatedByHand,
    /// It points elsewhere and is still served.
    Moved,
    /// It points here again.
    Returned,
    /// It pointed elsewhere for so long that it is no longer served.
    Stopped,
    Paused,
}

/// The claim after the event, and the effects to carry out.
pub fn step(claim: &Claim, event: &DomainEvent, context: &StepContext) -> (Claim, Vec<DomainEffect>) {
    let mut state = DomainState { claim: claim.clone(), context, effects: Vec::new() };
    match event {
        DomainEvent::Due => state.due(),
        DomainEvent::DnsChecked(check) => state.dns_checked(check),
        DomainEvent::Certificate(certificate) => state.claim.certificate.clone_from(certificate),
        DomainEvent::RecheckAsked => state.recheck_asked(),
        DomainEvent::SyncAsked => state.request_check(),
        DomainEvent::ActivatedByHand => state.activated_by_hand(),
        DomainEvent::Barred(why) => state.barred(why),
    }
    state.update_derived();
    (state.claim, state.effects)
}

struct DomainState<'a> {
    claim: Claim,
    context: &'a StepContext,
    effects: Vec<DomainEffect>,
}

impl DomainState<'_> {
    fn now(&self) -> Timestamp {
        self.context.now
    }

    fn due(&mut self) {
        if self.claim.next_check_at.is_none_or(|next| next <= self.now()) {
            self.effects.push(DomainEffect::CheckDns);
        }
    }

    fn recheck_asked(&mut self) {
        let now = self.now();
        if self.claim.recheck_available_at.is_some_and(|available_at| now < available_at) {
            return;
        }
        self.claim.recheck_available_at = Some(now.after(schedule::MIN_RECHECK_INTERVAL));
        self.restart_attempts();
        self.request_check();
    }

    /// A tenant or the operator expects that a problem is solved.
    fn request_check(&mut self) {
        self.effects.push(DomainEffect::CheckDns);
        if self.claim.certificate.as_ref().is_some_and(Certificate::held_back) {
            self.effects.push(DomainEffect::RetryPreflight);
        }
    }

    fn activated_by_hand(&mut self) {
        let claim = &mut self.claim;
        if claim.status == DomainStatus::Active && claim.moved_at.is_none() {
            return;
        }
        claim.status = DomainStatus::Active;
        claim.activated_by_hand_at = Some(self.context.now);
        (claim.away, claim.moved_at, claim.expires_at) = (None, None, None);
        self.restart_attempts();
        self.report(DomainTransition::ActivatedByHand);
        self.order_certificate();
    }

    fn barred(&mut self, why: &str) {
        self.claim.barred = Some(why.to_owned());
        self.claim.next_check_at = Some(self.now().after(schedule::BARRED_CHECK_INTERVAL));
        self.expire_if_over();
    }

    fn dns_checked(&mut self, check: &DnsCheck) {
        let claim = &mut self.claim;
        claim.last_checked_at = Some(self.context.now);
        claim.barred = None;
        claim.unsure.clone_from(&check.unsure);
        let sure = check.unsure.is_none();
        // A record that was found counts even if another lookup failed.
        let txt = conclusion(&check.txt, sure);
        let here = if check.way.is_some() { Some(true) } else { conclusion(&check.cname, sure) };
        let is_improved = is_better(txt, claim.txt.matched) || is_better(here, claim.cname.matched);
        if txt.is_some() {
            claim.txt = RecordObservation { matched: txt, observed: check.txt.observed.clone() };
        }
        if here.is_some() {
            claim.cname = RecordObservation { matched: here, observed: check.cname.observed.clone() };
            claim.way = check.way;
        }
        if sure {
            claim.problems.clone_from(&check.problems);
            claim.challenge_delegated = check.challenge_delegated;
        }
        if is_improved {
            self.restart_attempts();
        }
        match self.claim.status {
            DomainStatus::Pending => self.update_pending(txt, sure),
            DomainStatus::Verified | DomainStatus::Active => self.update_proved(txt, here),
        }
        if self.claim.status != DomainStatus::Pending && self.claim.moved_at.is_none() {
            self.order_certificate();
        }
        self.claim.next_check_at = Some(schedule::next_check(&self.claim, self.context));
    }

    /// For a domain that was not proved or did not point here.
    fn update_pending(&mut self, txt: Option<bool>, sure: bool) {
        let now = self.now();
        let claim = &mut self.claim;
        match txt {
            Some(true) => {
                claim.verified_at.get_or_insert(now);
                claim.expires_at = None;
            }
            // The domain is not in use yet: the proof and the routing must hold at the same time.
            Some(false) => claim.verified_at = None,
            None => {}
        }
        if claim.txt.matched == Some(true) && claim.cname.matched == Some(true) {
            claim.status = DomainStatus::Verified;
            claim.away = None;
            self.report(DomainTransition::Verified);
            return;
        }
        if !sure {
            return;
        }
        self.claim.checks_without_progress = self.claim.checks_without_progress.saturating_add(1);
        self.expire_if_over();
        self.pause_if_too_long();
    }

    /// For a domain that was proved and pointed here.
    fn update_proved(&mut self, txt: Option<bool>, here: Option<bool>) {
        let now = self.now();
        let claim = &mut self.claim;
        if claim.activated_by_hand_at.is_some() {
            // The manual activation holds until DNS confirms the domain.
            if txt == Some(true) && here == Some(true) {
                claim.activated_by_hand_at = None;
                claim.verified_at = Some(now);
                self.report(DomainTransition::Verified);
            }
            return;
        }
        match here {
            Some(true) => {
                claim.away = None;
                if claim.moved_at.take().is_some() {
                    self.report(DomainTransition::Returned);
                }
            }
            Some(false) => self.count_away(),
            None => {}
        }
    }

    fn count_away(&mut self) {
        let now = self.now();
        let claim = &mut self.claim;
        let before = claim.away.unwrap_or(MovedAway { since: now, checks: 0 });
        let away = MovedAway { checks: before.checks.saturating_add(1), ..before };
        claim.away = Some(away);
        if away.checks < schedule::MIN_AWAY_CHECKS {
            return;
        }
        if claim.status == DomainStatus::Verified {
            // The domain is not in use yet, so no grace period is needed.
            self.stop_serving();
        } else if let Some(moved) = claim.moved_at {
            if moved.until(now) >= schedule::SERVED_AFTER_MOVE {
                self.stop_serving();
                self.report(DomainTransition::Stopped);
            }
        } else if away.since.until(now) >= schedule::AWAY_GRACE_PERIOD {
            claim.moved_at = Some(now);
            self.report(DomainTransition::Moved);
        }
    }

    /// Makes the domain pending again. It has to be proved again unless its TXT record is still found.
    fn stop_serving(&mut self) {
        let claim = &mut self.claim;
        claim.status = DomainStatus::Pending;
        (claim.away, claim.moved_at, claim.certificate) = (None, None, None);
        if claim.txt.matched != Some(true) {
            claim.verified_at = None;
        }
        self.restart_attempts();
        self.effects.push(DomainEffect::ReleaseCertificate);
    }

    fn expire_if_over(&mut self) {
        if !self.claim.is_proved() && self.claim.expires_at.is_some_and(|end| end <= self.now()) {
            self.effects.push(DomainEffect::Expire);
        }
    }

    fn pause_if_too_long(&mut self) {
        let now = self.now();
        let claim = &mut self.claim;
        let trying = claim.trying_since.get_or_insert(now).until(now);
        if claim.paused.is_none() && trying >= schedule::PAUSE_AFTER {
            let days = schedule::PAUSE_AFTER.as_secs() / 86_400;
            claim.paused = Some(format!("nothing has got better in {days} days; a recheck goes on with it"));
            self.report(DomainTransition::Paused);
        }
    }

    fn restart_attempts(&mut self) {
        self.claim.trying_since = Some(self.context.now);
        self.claim.checks_without_progress = 0;
        self.claim.paused = None;
    }

    fn order_certificate(&mut self) {
        let blocked = self.claim.problems.iter().any(|problem| problem.blocks);
        if self.context.automatic_certificates && !blocked {
            self.effects.push(DomainEffect::OrderCertificate { delegated: self.claim.challenge_delegated });
        }
    }

    fn report(&mut self, report: DomainTransition) {
        self.effects.push(DomainEffect::ReportTransition(report));
    }

    /// Updates the fields that follow from the others.
    fn update_derived(&mut self) {
        let now = self.now();
        let ready = !self.context.automatic_certificates
            || self.claim.certificate.as_ref().is_some_and(|certificate| certificate.in_service(now));
        if self.claim.status == DomainStatus::Verified && ready {
            self.claim.status = DomainStatus::Active;
            self.report(DomainTransition::Active);
        }
        let claim = &mut self.claim;
        if claim.is_proved() {
            claim.expires_at = None;
        } else {
            claim.expires_at.get_or_insert(now.after(schedule::PROOF_TIMEOUT));
        }
        claim.tls_status = tls_status(claim, self.context);
        claim.phase = phase(claim, now);
        claim.last_error = last_error(claim);
        let retry = claim.certificate.as_ref().and_then(|certificate| certificate.next_try_at);
        let next = claim.next_check_at.get_or_insert(now.after(schedule::FIRST_CHECK_DELAY));
        // DNS is checked before the order is retried.
        let waits = matches!(claim.phase, ClaimPhase::Backoff | ClaimPhase::Preflight);
        if let Some(retry) = retry.filter(|retry| waits && now < *retry) {
            *next = retry.min(*next);
        }
    }
}

/// What a check says about one record; `None` when nothing can be concluded.
fn conclusion(seen: &RecordObservation, sure: bool) -> Option<bool> {
    seen.matched.filter(|matched| *matched || sure)
}

fn is_better(now: Option<bool>, before: Option<bool>) -> bool {
    now == Some(true) && before != Some(true)
}

fn tls_status(claim: &Claim, context: &StepContext) -> TlsStatus {
    if claim.status == DomainStatus::Pending {
        return TlsStatus::Pending;
    }
    if !context.automatic_certificates {
        return TlsStatus::External;
    }
    let Some(certificate) = &claim.certificate else { return TlsStatus::Pending };
    if certificate.in_service(context.now) {
        return TlsStatus::Active;
    }
    if certificate.expires_at.is_some() {
        return TlsStatus::Expired;
    }
    match certificate.stage {
        CertificateStage::Waiting | CertificateStage::Issued => TlsStatus::Pending,
        CertificateStage::Preflight if certificate.held_back() => TlsStatus::Pending,
        CertificateStage::Backoff | CertificateStage::Blocked => TlsStatus::Failed,
        _ => TlsStatus::Issuing,
    }
}

fn phase(claim: &Claim, now: Timestamp) -> ClaimPhase {
    if claim.barred.is_some() {
        return ClaimPhase::Blocked;
    }
    if claim.paused.is_some() {
        return ClaimPhase::Paused;
    }
    if claim.status == DomainStatus::Pending {
        let seen = [&claim.txt, &claim.cname].map(|seen| seen.matched == Some(true));
        return if seen.contains(&true) { ClaimPhase::DnsPartial } else { ClaimPhase::DnsPending };
    }
    if claim.moved_at.is_some() {
        return ClaimPhase::Moved;
    }
    let in_service = claim.certificate.as_ref().is_some_and(|certificate| certificate.in_service(now));
    if !in_service && claim.problems.iter().any(|problem| problem.blocks) && claim.tls_status != TlsStatus::External {
        return ClaimPhase::Blocked;
    }
    let at_rest = if claim.status == DomainStatus::Active { ClaimPhase::Active } else { ClaimPhase::Verified };
    let Some(certificate) = &claim.certificate else { return at_rest };
    match certificate.stage {
        CertificateStage::Waiting | CertificateStage::Issued => at_rest,
        CertificateStage::Backoff => ClaimPhase::Backoff,
        CertificateStage::Blocked => ClaimPhase::Blocked,
        _ if in_service => ClaimPhase::Renewing,
        CertificateStage::Preflight => ClaimPhase::Preflight,
        CertificateStage::Ordering | CertificateStage::Renewing => ClaimPhase::Ordering,
        CertificateStage::Challenge => ClaimPhase::Challenge,
        CertificateStage::Finalizing => ClaimPhase::Finalizing,
    }
}

/// The most important problem, or an empty text.
fn last_error(claim: &Claim) -> String {
    let held_back = || claim.certificate.as_ref().is_some_and(Certificate::held_back);
    let troubled = match claim.phase {
        // An active domain can have a valid certificate that is not served.
        ClaimPhase::Active | ClaimPhase::Backoff | ClaimPhase::Blocked => true,
        ClaimPhase::Preflight => held_back(),
        _ => false,
    };
    let of_certificate = claim.certificate.as_ref().filter(|_| troubled).and_then(|found| found.problem.as_ref());
    let of_dns = claim.problems.first().map(|problem| &problem.message);
    let found = claim.barred.as_ref().or(of_certificate).or(of_dns).or(claim.unsure.as_ref());
    found.cloned().unwrap_or_default()
}

#[cfg(test)]
#[path = "domain_state/tests.rs"]
mod tests;
