//! The life of a claimed domain: one pure step from its facts and an event to
//! its next facts and what is to be done. Nothing here asks DNS, a clock or a die.
//!
//! Two rules run through all of it. Only what was seen counts: a lookup that
//! could not be made changes no verdict. And a domain that is in use does not
//! flap: it takes several looks over days to call it moved, and days more to
//! stop serving it.

use super::schedule;
use crate::tenancy::{
    Certificate, CertificateStage, Claim, DnsProblem, DomainStatus, MovedAway, Phase, RecordObservation, RoutingMatch,
    TlsStatus,
};
use crate::timestamp::Timestamp;

/// The world around a step.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub now: Timestamp,
    /// From 0 to 1: keeps the looks at many domains apart.
    pub chance: f64,
    /// Whether this server gets certificates by itself.
    pub automatic_certificates: bool,
}

/// What may happen to a claim.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Its next check may be due.
    Due,
    /// DNS was asked.
    Looked(Look),
    /// News from who gets certificates; nothing when there is none and none is being got.
    Certificate(Option<Certificate>),
    /// The tenant asks for a check.
    RecheckAsked,
    /// The operator asks for a check.
    SyncAsked,
    /// The operator says that it is in order, whatever DNS says.
    ActivatedByHand,
    /// The tenant may not use a domain of its own now: why.
    Barred(String),
}

/// What one look at DNS saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    pub txt: RecordObservation,
    /// Matched where `way` is known.
    pub cname: RecordObservation,
    pub way: Option<RoutingMatch>,
    pub problems: Vec<DnsProblem>,
    /// Which lookup could not be made, and why: then nothing follows from what was not seen.
    pub unsure: Option<String>,
    pub challenge_delegated: bool,
}

/// What is to be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask DNS.
    Look,
    /// Get a certificate, and keep it new; again is no harm. With a delegated challenge for the names below, too.
    WantCertificate {
        delegated: bool,
    },
    /// See now whether the certificate that is held back need be.
    RetryPreflight,
    ReleaseCertificate,
    /// End the claim: it was not proved in time.
    Expire,
    /// Tell the operator.
    Report(Report),
}

/// What an operator wants to know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    Verified,
    Active,
    ActivatedByHand,
    /// It leads elsewhere by now, and is still served.
    Moved,
    /// It leads here again.
    Returned,
    /// It led elsewhere for so long that it is no longer served.
    Stopped,
    Paused,
}

/// The next facts, and what is to be done.
pub fn step(claim: &Claim, event: &Event, moment: &Moment) -> (Claim, Vec<Effect>) {
    let mut life = Life { claim: claim.clone(), moment, effects: Vec::new() };
    match event {
        Event::Due => life.due(),
        Event::Looked(look) => life.looked(look),
        Event::Certificate(certificate) => life.claim.certificate.clone_from(certificate),
        Event::RecheckAsked => life.recheck_asked(),
        Event::SyncAsked => life.look_now(),
        Event::ActivatedByHand => life.activated_by_hand(),
        Event::Barred(why) => life.barred(why),
    }
    life.follow();
    (life.claim, life.effects)
}

struct Life<'a> {
    claim: Claim,
    moment: &'a Moment,
    effects: Vec<Effect>,
}

impl Life<'_> {
    fn now(&self) -> Timestamp {
        self.moment.now
    }

    fn due(&mut self) {
        if self.claim.next_check_at.is_none_or(|next| next <= self.now()) {
            self.effects.push(Effect::Look);
        }
    }

    fn recheck_asked(&mut self) {
        let now = self.now();
        if self.claim.recheck_available_at.is_some_and(|moment| now < moment) {
            return;
        }
        self.claim.recheck_available_at = Some(now.after(schedule::RECHECK_PAUSE));
        self.try_anew();
        self.look_now();
    }

    /// Somebody has mended something, or believes so.
    fn look_now(&mut self) {
        self.effects.push(Effect::Look);
        if self.claim.certificate.as_ref().is_some_and(Certificate::held_back) {
            self.effects.push(Effect::RetryPreflight);
        }
    }

    fn activated_by_hand(&mut self) {
        let claim = &mut self.claim;
        if claim.status == DomainStatus::Active && claim.moved_at.is_none() {
            return;
        }
        claim.status = DomainStatus::Active;
        claim.activated_by_hand_at = Some(self.moment.now);
        (claim.away, claim.moved_at, claim.expires_at) = (None, None, None);
        self.try_anew();
        self.report(Report::ActivatedByHand);
        self.want_certificate();
    }

    fn barred(&mut self, why: &str) {
        self.claim.barred = Some(why.to_owned());
        self.claim.next_check_at = Some(self.now().after(schedule::BARRED));
        self.expire_if_over();
    }

    fn looked(&mut self, look: &Look) {
        let claim = &mut self.claim;
        claim.last_checked_at = Some(self.moment.now);
        claim.barred = None;
        claim.unsure.clone_from(&look.unsure);
        let sure = look.unsure.is_none();
        // What was found was found, also by a look that could not ask for everything.
        let txt = verdict(&look.txt, sure);
        let here = if look.way.is_some() { Some(true) } else { verdict(&look.cname, sure) };
        let better = better(txt, claim.txt.matched) || better(here, claim.cname.matched);
        if txt.is_some() {
            claim.txt = RecordObservation { matched: txt, observed: look.txt.observed.clone() };
        }
        if here.is_some() {
            claim.cname = RecordObservation { matched: here, observed: look.cname.observed.clone() };
            claim.way = look.way;
        }
        if sure {
            claim.problems.clone_from(&look.problems);
            claim.challenge_delegated = look.challenge_delegated;
        }
        if better {
            self.try_anew();
        }
        match self.claim.status {
            DomainStatus::Pending => self.looked_at_pending(txt, sure),
            DomainStatus::Verified | DomainStatus::Active => self.looked_at_ours(txt, here),
        }
        if self.claim.status != DomainStatus::Pending && self.claim.moved_at.is_none() {
            self.want_certificate();
        }
        self.claim.next_check_at = Some(schedule::next_look(&self.claim, self.moment));
    }

    /// A domain that was not proved, or did not lead here, or both.
    fn looked_at_pending(&mut self, txt: Option<bool>, sure: bool) {
        let now = self.now();
        let claim = &mut self.claim;
        match txt {
            Some(true) => {
                claim.verified_at.get_or_insert(now);
                claim.expires_at = None;
            }
            // Not in use yet: it has to be proved together with leading here.
            Some(false) => claim.verified_at = None,
            None => {}
        }
        if claim.txt.matched == Some(true) && claim.cname.matched == Some(true) {
            claim.status = DomainStatus::Verified;
            claim.away = None;
            self.report(Report::Verified);
            return;
        }
        if !sure {
            return;
        }
        self.claim.fruitless = self.claim.fruitless.saturating_add(1);
        self.expire_if_over();
        self.pause_if_too_long();
    }

    /// A domain that was proved and led here.
    fn looked_at_ours(&mut self, txt: Option<bool>, here: Option<bool>) {
        let now = self.now();
        let claim = &mut self.claim;
        if claim.activated_by_hand_at.is_some() {
            // The operator's word stands until DNS confirms it.
            if txt == Some(true) && here == Some(true) {
                claim.activated_by_hand_at = None;
                claim.verified_at = Some(now);
                self.report(Report::Verified);
            }
            return;
        }
        match here {
            Some(true) => {
                claim.away = None;
                if claim.moved_at.take().is_some() {
                    self.report(Report::Returned);
                }
            }
            Some(false) => self.seen_elsewhere(),
            None => {}
        }
    }

    fn seen_elsewhere(&mut self) {
        let now = self.now();
        let claim = &mut self.claim;
        let before = claim.away.unwrap_or(MovedAway { since: now, looks: 0 });
        let away = MovedAway { looks: before.looks.saturating_add(1), ..before };
        claim.away = Some(away);
        if away.looks < schedule::AWAY_LOOKS {
            return;
        }
        if claim.status == DomainStatus::Verified {
            // Nobody uses it yet: there is nothing to be careful with.
            self.stop();
        } else if let Some(moved) = claim.moved_at {
            if moved.until(now) >= schedule::SERVED_AFTER_MOVE {
                self.stop();
                self.report(Report::Stopped);
            }
        } else if away.since.until(now) >= schedule::AWAY_GRACE {
            claim.moved_at = Some(now);
            self.report(Report::Moved);
        }
    }

    /// It is pending again, and has to be proved again unless its TXT record is still seen.
    fn stop(&mut self) {
        let claim = &mut self.claim;
        claim.status = DomainStatus::Pending;
        (claim.away, claim.moved_at, claim.certificate) = (None, None, None);
        if claim.txt.matched != Some(true) {
            claim.verified_at = None;
        }
        self.try_anew();
        self.effects.push(Effect::ReleaseCertificate);
    }

    fn expire_if_over(&mut self) {
        if !self.claim.is_proved() && self.claim.expires_at.is_some_and(|end| end <= self.now()) {
            self.effects.push(Effect::Expire);
        }
    }

    fn pause_if_too_long(&mut self) {
        let now = self.now();
        let claim = &mut self.claim;
        let trying = claim.trying_since.get_or_insert(now).until(now);
        if claim.paused.is_none() && trying >= schedule::PATIENCE {
            let days = schedule::PATIENCE.as_secs() / 86_400;
            claim.paused = Some(format!("nothing has got better in {days} days; a recheck goes on with it"));
            self.report(Report::Paused);
        }
    }

    fn try_anew(&mut self) {
        self.claim.trying_since = Some(self.moment.now);
        self.claim.fruitless = 0;
        self.claim.paused = None;
    }

    fn want_certificate(&mut self) {
        let blocked = self.claim.problems.iter().any(|problem| problem.blocks);
        if self.moment.automatic_certificates && !blocked {
            self.effects.push(Effect::WantCertificate { delegated: self.claim.challenge_delegated });
        }
    }

    fn report(&mut self, report: Report) {
        self.effects.push(Effect::Report(report));
    }

    /// What the other facts amount to.
    fn follow(&mut self) {
        let now = self.now();
        let ready = !self.moment.automatic_certificates
            || self.claim.certificate.as_ref().is_some_and(|certificate| certificate.in_service(now));
        if self.claim.status == DomainStatus::Verified && ready {
            self.claim.status = DomainStatus::Active;
            self.report(Report::Active);
        }
        let claim = &mut self.claim;
        if claim.is_proved() {
            claim.expires_at = None;
        } else {
            claim.expires_at.get_or_insert(now.after(schedule::UNPROVED));
        }
        claim.tls_status = tls_status(claim, self.moment);
        claim.phase = phase(claim, now);
        claim.last_error = last_error(claim);
        let retry = claim.certificate.as_ref().and_then(|certificate| certificate.next_try_at);
        let next = claim.next_check_at.get_or_insert(now.after(schedule::FIRST_LOOK));
        // DNS is asked before the authority is.
        let waits = matches!(claim.phase, Phase::Backoff | Phase::Preflight);
        if let Some(retry) = retry.filter(|retry| waits && now < *retry) {
            *next = retry.min(*next);
        }
    }
}

/// What a look says of one record.
fn verdict(seen: &RecordObservation, sure: bool) -> Option<bool> {
    seen.matched.filter(|matched| *matched || sure)
}

fn better(now: Option<bool>, before: Option<bool>) -> bool {
    now == Some(true) && before != Some(true)
}

fn tls_status(claim: &Claim, moment: &Moment) -> TlsStatus {
    if claim.status == DomainStatus::Pending {
        return TlsStatus::Pending;
    }
    if !moment.automatic_certificates {
        return TlsStatus::External;
    }
    let Some(certificate) = &claim.certificate else { return TlsStatus::Pending };
    if certificate.in_service(moment.now) {
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

fn phase(claim: &Claim, now: Timestamp) -> Phase {
    if claim.barred.is_some() {
        return Phase::Blocked;
    }
    if claim.paused.is_some() {
        return Phase::Paused;
    }
    if claim.status == DomainStatus::Pending {
        let seen = [&claim.txt, &claim.cname].map(|seen| seen.matched == Some(true));
        return if seen.contains(&true) { Phase::DnsPartial } else { Phase::DnsPending };
    }
    if claim.moved_at.is_some() {
        return Phase::Moved;
    }
    let in_service = claim.certificate.as_ref().is_some_and(|certificate| certificate.in_service(now));
    if !in_service && claim.problems.iter().any(|problem| problem.blocks) && claim.tls_status != TlsStatus::External {
        return Phase::Blocked;
    }
    let at_rest = if claim.status == DomainStatus::Active { Phase::Active } else { Phase::Verified };
    let Some(certificate) = &claim.certificate else { return at_rest };
    match certificate.stage {
        CertificateStage::Waiting | CertificateStage::Issued => at_rest,
        CertificateStage::Backoff => Phase::Backoff,
        CertificateStage::Blocked => Phase::Blocked,
        _ if in_service => Phase::Renewing,
        CertificateStage::Preflight => Phase::Preflight,
        CertificateStage::Ordering | CertificateStage::Renewing => Phase::Ordering,
        CertificateStage::Challenge => Phase::Challenge,
        CertificateStage::Finalizing => Phase::Finalizing,
    }
}

/// The first of all that is wrong.
fn last_error(claim: &Claim) -> String {
    let held_back = || claim.certificate.as_ref().is_some_and(Certificate::held_back);
    let troubled = match claim.phase {
        // Where it is in use, its certificate may be there and not be served.
        Phase::Active | Phase::Backoff | Phase::Blocked => true,
        Phase::Preflight => held_back(),
        _ => false,
    };
    let of_certificate = claim.certificate.as_ref().filter(|_| troubled).and_then(|found| found.problem.as_ref());
    let of_dns = claim.problems.first().map(|problem| &problem.message);
    let found = claim.barred.as_ref().or(of_certificate).or(of_dns).or(claim.unsure.as_ref());
    found.cloned().unwrap_or_default()
}

#[cfg(test)]
#[path = "life/tests.rs"]
mod tests;
