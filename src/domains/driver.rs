//! Carries out the steps of [`domain_state`] for one claim at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde::Serialize;
use tokio::sync::{OwnedMutexGuard, Semaphore, watch};

use super::domain_state::{self, DomainEffect, DomainEvent, DomainTransition};
use super::interfaces::{CertificateProvider, DomainResolver};
use super::owner_text;
use super::schedule::{self, StepContext};
use crate::hostname::Hostname;
use crate::tenancy::{Claim, DomainStatus, Platform, Refusal, RequestContext, TenantId, challenge_host};
use crate::timestamp::Timestamp;

/// Domains that are checked at the same time.
pub(super) const MAX_CONCURRENT_CHECKS: usize = 32;

/// A handle on the custom domains of all tenants. Cloning is cheap.
#[derive(Clone)]
pub struct Domains(pub(super) Arc<DomainsShared>);

pub(super) struct DomainsShared {
    pub(super) platform: Platform,
    resolver: Arc<dyn DomainResolver>,
    pub(super) certificates: Arc<dyn CertificateProvider>,
    /// Serializes the checks and takeovers of each domain.
    locks: Mutex<HashMap<Hostname, Weak<tokio::sync::Mutex<()>>>>,
    lookups: Semaphore,
    /// Makes the worker check all domains.
    pub(super) sweeps: watch::Sender<()>,
}

/// The outcome of a tenant's request for a check.
pub enum Recheck {
    Done(Arc<Claim>),
    /// The last request is too recent; the next is allowed at this time.
    TooSoon(Timestamp),
    /// The tenant claims no domain.
    Nothing,
}

impl Domains {
    pub fn new(
        platform: Platform,
        resolver: Arc<dyn DomainResolver>,
        certificates: Arc<dyn CertificateProvider>,
    ) -> Self {
        let lookups = Semaphore::new(MAX_CONCURRENT_CHECKS);
        let sweeps = watch::Sender::new(());
        Self(Arc::new(DomainsShared { platform, resolver, certificates, locks: Mutex::default(), lookups, sweeps }))
    }

    /// Claims a domain for a tenant, which gives up the one it had. If another tenant has claimed it without proof,
    /// the domain goes to the tenant whose TXT record is published. `answer` is called with whether the claim is new.
    pub async fn claim<A: Serialize>(
        &self,
        context: &RequestContext,
        id: &TenantId,
        domain: &Hostname,
        answer: impl Fn(&Claim, bool) -> A,
    ) -> Result<A, Refusal> {
        let platform = &self.0.platform;
        let token = platform.claim_token(id, domain)?;
        let new = Claim::new(id.clone(), domain.clone(), token, context.at);
        let (new, _) = domain_state::step(&new, &DomainEvent::Certificate(None), &self.step_context());
        match platform.claim_domain(context, &new, &answer).await {
            Err(Refusal::CustomDomainInUse(name)) => match platform.claim_on(domain) {
                Some(claim) if claim.may_be_taken_over() => self.take_over(context, new, &answer).await,
                _ => Err(Refusal::CustomDomainInUse(name)),
            },
            outcome => outcome,
        }
    }

    async fn take_over<A: Serialize>(
        &self,
        context: &RequestContext,
        new: Claim,
        answer: &impl Fn(&Claim, bool) -> A,
    ) -> Result<A, Refusal> {
        let Claim { tenant, domain, token, .. } = &new;
        let _lock = self.lock_domain(domain).await;
        let _permit = self.0.lookups.acquire().await;
        if let Some(known) = self.0.platform.claim_on(domain).filter(|claim| claim.tenant == *tenant) {
            return Ok(answer(&known, false));
        }
        let seen = self.0.resolver.check(domain, token).await.txt;
        if seen.matched != Some(true) {
            let proof = owner_text::proof(&challenge_host(domain), token);
            return Err(Refusal::CustomDomainUnproved { domain: domain.to_string(), proof });
        }
        let proved = Claim { verified_at: Some(context.at), expires_at: None, txt: seen, ..new.clone() };
        let (proved, _) = domain_state::step(&proved, &DomainEvent::Certificate(None), &self.step_context());
        let context = context.with_answer(&answer(&proved, true), tenant)?;
        let claim = self.0.platform.take_over_claim(&context, tenant, &proved).await?;
        tracing::info!(%domain, %tenant, "a domain went to the tenant that proved it");
        Ok(answer(&claim, true))
    }

    /// Checks a tenant's domain at its request.
    pub async fn recheck(&self, context: &RequestContext, id: &TenantId) -> Result<Recheck, Refusal> {
        let platform = &self.0.platform;
        let Some(claim) = platform.claim(id)? else { return Ok(Recheck::Nothing) };
        if platform.domain_obstacle(id).is_some() {
            return Err(Refusal::CustomDomainNotAllowed);
        }
        let domain = &claim.domain;
        match self.apply(context, domain, &DomainEvent::RecheckAsked).await? {
            None => Ok(Recheck::Nothing),
            Some((_, effects)) if effects.contains(&DomainEffect::CheckDns) => {
                Ok(self.check_dns(context, domain).await?.map_or(Recheck::Nothing, Recheck::Done))
            }
            Some((claim, _)) => Ok(Recheck::TooSoon(claim.recheck_available_at.unwrap_or(context.at))),
        }
    }

    /// Checks a domain at the request of the operator. `None` when it is not claimed any more.
    pub async fn sync(&self, context: &RequestContext, domain: &Hostname) -> Result<Option<Arc<Claim>>, Refusal> {
        match self.apply(context, domain, &DomainEvent::SyncAsked).await? {
            Some(_) => self.check_dns(context, domain).await,
            None => Ok(None),
        }
    }

    /// Makes the worker check all domains. Returns their number.
    pub fn sync_all(&self) -> usize {
        self.0.sweeps.send_replace(());
        self.0.platform.claims().len()
    }

    /// Activates a domain by order of the operator, as if it were proved and pointed here. Idempotent.
    pub async fn activate(&self, context: &RequestContext, domain: &Hostname) -> Result<Option<Arc<Claim>>, Refusal> {
        Ok(self.apply(context, domain, &DomainEvent::ActivatedByHand).await?.map(|(claim, _)| claim))
    }

    /// Checks a domain if that is due.
    pub(super) async fn check_if_due(&self, domain: &Hostname) -> Result<(), Refusal> {
        let context = RequestContext::of_bitcall();
        let due = self.apply(&context, domain, &DomainEvent::Due).await?;
        if due.is_some_and(|(_, effects)| effects.contains(&DomainEffect::CheckDns)) {
            self.check_dns(&context, domain).await?;
        }
        Ok(())
    }

    /// Copies the state of the domain's certificate into its claim.
    pub(super) async fn update_certificate(&self, domain: &Hostname) -> Result<(), Refusal> {
        let news = DomainEvent::Certificate(self.0.certificates.certificate(domain));
        self.apply(&RequestContext::of_bitcall(), domain, &news).await?;
        Ok(())
    }

    /// Repeats the orders of all certificates that the claims need.
    pub fn order_all(&self) {
        self.0.platform.claims().iter().for_each(|claim| self.order_again(claim));
    }

    /// Repeats an order, because the process that made it may have ended.
    fn order_again(&self, claim: &Claim) {
        if claim.status != DomainStatus::Pending && self.0.certificates.are_automatic() {
            self.0.certificates.order(&claim.domain, claim.challenge_delegated);
        }
    }

    async fn check_dns(&self, context: &RequestContext, domain: &Hostname) -> Result<Option<Arc<Claim>>, Refusal> {
        let _lock = self.lock_domain(domain).await;
        let _permit = self.0.lookups.acquire().await;
        let Some(claim) = self.0.platform.claim_on(domain) else { return Ok(None) };
        let event = match self.0.platform.domain_obstacle(&claim.tenant) {
            Some(why) => DomainEvent::Barred(why.to_owned()),
            None => DomainEvent::DnsChecked(self.0.resolver.check(domain, &claim.token).await),
        };
        // The decision is made now, not when the request came in.
        let mut context = context.clone();
        context.at = Timestamp::now();
        let checked = self.apply(&context, domain, &event).await?.map(|(claim, _)| claim);
        if let Some(claim) = &checked {
            let Claim { tenant, status, last_error: error, next_check_at, .. } = &**claim;
            let next = next_check_at.map(|at| at.to_string());
            tracing::debug!(%domain, %tenant, ?status, %error, next, "the DNS of a domain was looked at");
        }
        Ok(checked)
    }

    /// Applies an event to a claim, stores it and carries out the effects, except for the DNS check. `None` when there is
    /// no claim.
    async fn apply(
        &self,
        context: &RequestContext,
        domain: &Hostname,
        event: &DomainEvent,
    ) -> Result<Option<(Arc<Claim>, Vec<DomainEffect>)>, Refusal> {
        let step_context = self.step_context();
        let rule = |claim: &Claim| {
            let (after, effects) = domain_state::step(claim, event, &step_context);
            let action = effects.iter().rev().find_map(audit_action);
            (after, action, effects)
        };
        let platform = &self.0.platform;
        let Some(stepped) = platform.step_claim(context, domain, rule).await? else { return Ok(None) };
        for effect in &stepped.outcome {
            match effect {
                DomainEffect::CheckDns => {}
                DomainEffect::OrderCertificate { delegated } => self.0.certificates.order(domain, *delegated),
                DomainEffect::RetryPreflight => self.0.certificates.retry_preflight(domain),
                DomainEffect::ReleaseCertificate => self.0.certificates.release(domain).await,
                DomainEffect::ReportTransition(report) => log_transition(*report, &stepped.claim),
                DomainEffect::Expire => {
                    if platform.expire_claim(context, domain).await? {
                        tracing::info!(%domain, tenant = %stepped.claim.tenant, "a claim ended: it was not proved in time");
                        return Ok(None);
                    }
                }
            }
        }
        Ok(Some((stepped.claim, stepped.outcome)))
    }

    fn step_context(&self) -> StepContext {
        StepContext {
            now: Timestamp::now(),
            chance: f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX),
            automatic_certificates: self.0.certificates.are_automatic(),
        }
    }

    async fn lock_domain(&self, domain: &Hostname) -> OwnedMutexGuard<()> {
        let lock = {
            let mut all = self.0.locks.lock().unwrap_or_else(PoisonError::into_inner);
            let known = all.get(domain).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                // Locks that are no longer held would accumulate.
                all.retain(|_, lock| lock.strong_count() > 0);
                let lock = Arc::default();
                all.insert(domain.clone(), Arc::downgrade(&lock));
                lock
            })
        };
        lock.lock_owned().await
    }
}

/// The action of the audit entry.
fn audit_action(effect: &DomainEffect) -> Option<&'static str> {
    let DomainEffect::ReportTransition(report) = effect else { return None };
    Some(match report {
        DomainTransition::Verified => "domain.verify",
        DomainTransition::Active => "domain.active",
        DomainTransition::ActivatedByHand => "domain.activate",
        DomainTransition::Moved => "domain.move",
        DomainTransition::Returned => "domain.return",
        DomainTransition::Stopped => "domain.stop",
        DomainTransition::Paused => "domain.pause",
    })
}

fn log_transition(report: DomainTransition, claim: &Claim) {
    let Claim { domain, tenant, last_error: error, .. } = claim;
    match report {
        DomainTransition::Verified => tracing::info!(%domain, %tenant, "a domain is proved and leads here"),
        DomainTransition::Active => tracing::info!(%domain, %tenant, "a domain is in use"),
        DomainTransition::ActivatedByHand => tracing::info!(%domain, %tenant, "a domain was activated by hand"),
        DomainTransition::Moved => {
            let days = schedule::SERVED_AFTER_MOVE.as_secs() / 86_400;
            tracing::warn!(%domain, %tenant, %error, "a domain leads elsewhere; it is served for {days} days more");
        }
        DomainTransition::Returned => tracing::info!(%domain, %tenant, "a domain leads here again"),
        DomainTransition::Stopped => {
            tracing::warn!(%domain, %tenant, %error, "a domain is no longer served: it leads elsewhere");
        }
        DomainTransition::Paused => {
            tracing::info!(%domain, %tenant, "a domain is hardly looked at any more: nothing gets better");
        }
    }
}
