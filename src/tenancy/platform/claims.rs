//! Claims on domains after they were made: stepped forward by what is seen of
//! them, ended when they are not proved, and taken over by who proves them.
//!
//! Each change is made on the condition that the claim is still the one that it
//! was decided on; so of a proof and an end that come at once, one counts.

use std::sync::Arc;

use super::{Platform, stored_form};
use crate::hostname::Hostname;
use crate::store::{self, Batch, Revision};
use crate::tenancy::audit::{AuditAction, AuditEntry};
use crate::tenancy::claim::{Claim, DomainLoss, LostDomain};
use crate::tenancy::id::TenantId;
use crate::tenancy::records::{self, decode, encode};
use crate::tenancy::refusal::Refusal;
use crate::tenancy::request_context::RequestContext;
use crate::tenancy::tenant_state::TenantState;

/// A claim that a rule has changed, or left as it was.
pub struct ClaimStep<T> {
    pub claim: Arc<Claim>,
    pub outcome: T,
}

impl Platform {
    /// The claim on a domain.
    pub fn claim_on(&self, domain: &Hostname) -> Option<Arc<Claim>> {
        self.snapshot().claim_on(domain).map(|(_, claim)| Arc::clone(claim))
    }

    /// Why a tenant may not use a domain of its own now, in the middle of a sentence.
    pub fn domain_obstacle(&self, id: &TenantId) -> Option<&'static str> {
        let state = self.tenant(id).ok()?;
        if !state.tenant.enabled {
            return Some("the tenant is disabled");
        }
        let rights = &self.values_of(&state).rights;
        (!rights.custom_domain_access).then_some("the tenant's plan does not include a domain of its own")
    }

    /// Applies a rule to the claim on a domain, as often as it takes to not overwrite anybody. The rule's
    /// text is the action that the audit is told, where it is worth telling. Nothing when there is no claim.
    pub async fn step_claim<T>(
        &self,
        context: &RequestContext,
        domain: &Hostname,
        rule: impl Fn(&Claim) -> (Claim, Option<&'static str>, T),
    ) -> Result<Option<ClaimStep<T>>, Refusal> {
        let key = records::claim_key(domain);
        loop {
            let Some((revision, before)) = self.snapshot().claim_on(domain).cloned() else { return Ok(None) };
            let (after, action, outcome) = rule(&before);
            if after == *before {
                return Ok(Some(ClaimStep { claim: before, outcome }));
            }
            let batch = Batch::new().require_revision(&key, revision).put(&key, stored_form(&after)?);
            let action =
                action.map(|action| AuditAction::on(&after.tenant, action, before.audit_value(), after.audit_value()));
            let is_told = action.is_some();
            let follow = move |platform: &Self, revision| {
                let claim = Arc::new(after);
                platform.snapshot_mut().put_claim(Arc::clone(&claim), revision);
                // What is not worth telling is not worth waking anybody for.
                if is_told {
                    platform.0.changed.send_replace(());
                }
                claim
            };
            match self.commit_with_audit(context, action, batch, follow).await {
                Ok(claim) => return Ok(Some(ClaimStep { claim, outcome })),
                Err(store::Error::Conflict(_)) => {
                    self.reload_claim(&before, revision).await?;
                }
                Err(error) => return Err(Refusal::Unavailable(error)),
            }
        }
    }

    /// Ends a claim that was not proved in time; false when it has been proved meanwhile, or is gone.
    pub async fn expire_claim(&self, context: &RequestContext, domain: &Hostname) -> Result<bool, Refusal> {
        loop {
            let Some((revision, claim)) = self.snapshot().claim_on(domain).cloned() else { return Ok(false) };
            let is_over = claim.expires_at.is_some_and(|end| end <= context.at) && !claim.is_proved();
            let Some(holder) = self.tenant(&claim.tenant).ok().filter(|_| is_over) else { return Ok(false) };
            let loser = without_domain(&holder, DomainLoss::Expired, context);
            let action = AuditAction::on(&claim.tenant, "domain.expire", claim.audit_value(), serde_json::Value::Null);
            let tenant_key = records::tenant_key(claim.tenant.as_str());
            let batch = Batch::new()
                .require_revision(records::claim_key(domain), revision)
                .require_revision(&tenant_key, holder.revision)
                .put(&tenant_key, stored_form(&loser)?)
                .remove(records::claim_key(domain));
            match self.commit(context, action, batch, |platform, revision| platform.publish(loser, revision)).await {
                Ok(_) => return Ok(true),
                Err(store::Error::Conflict(_)) => {
                    self.reload(&claim.tenant).await?;
                    self.reload_claim(&claim, revision).await?;
                }
                Err(error) => return Err(Refusal::Unavailable(error)),
            }
        }
    }

    /// Gives a domain that another tenant claims, and may lose, to one that has proved it. The new claim.
    pub async fn take_over_claim(
        &self,
        context: &RequestContext,
        id: &TenantId,
        new: &Claim,
    ) -> Result<Arc<Claim>, Refusal> {
        let domain = &new.domain;
        let in_use = || Refusal::CustomDomainInUse(domain.to_string());
        loop {
            let (winner, found) = (self.tenant(id)?, self.snapshot().claim_on(domain).cloned());
            context.expects(winner.revision)?;
            self.defaults().names.may_claim(domain, &self.values_of(&winner).rights)?;
            let (revision, old) = found.filter(|(_, old)| old.may_be_taken_over()).ok_or_else(in_use)?;
            if old.tenant == *id {
                return Ok(old);
            }
            let holder = self.tenant(&old.tenant)?;
            let loser = without_domain(&holder, DomainLoss::Superseded, context);
            let mut tenant = winner.tenant.clone();
            tenant.custom_domain = Some(domain.clone());
            tenant.lost_domain = None;
            tenant.updated_at = context.at;
            let (winner_key, loser_key) = (records::tenant_key(id.as_str()), records::tenant_key(old.tenant.as_str()));
            let mut batch = Batch::new()
                .require_revision(records::claim_key(domain), revision)
                .require_revision(&winner_key, winner.revision)
                .require_revision(&loser_key, holder.revision);
            if let Some(given_up) = &winner.tenant.custom_domain {
                batch = batch.remove(records::claim_key(given_up));
            }
            let lost = AuditAction::on(&old.tenant, "domain.supersede", old.audit_value(), serde_json::Value::Null);
            let lost = AuditEntry::of(context, lost);
            batch = batch
                .put(&winner_key, stored_form(&tenant)?)
                .put(&loser_key, stored_form(&loser)?)
                .put(records::claim_key(domain), stored_form(new)?)
                .put(self.audit_key(&lost), encode(&lost).map_err(Refusal::Unavailable)?);
            let action = AuditAction::on(id, "domain.claim", winner.tenant.audit_value(), tenant.audit_value());
            let claim = new.clone();
            let follow = move |platform: &Self, revision| {
                platform.publish(loser, revision);
                platform.publish_with_claim(tenant, Some(claim), revision);
            };
            match self.commit(context, action, batch, follow).await {
                Ok(()) => return self.claim_on(domain).ok_or_else(in_use),
                Err(store::Error::Conflict(_)) => {
                    self.reload(id).await?;
                    self.reload(&old.tenant).await?;
                    self.reload_claim(&old, revision).await?;
                }
                Err(error) => return Err(Refusal::Unavailable(error)),
            }
        }
    }

    /// Reads a claim again that somebody has changed since `seen`.
    async fn reload_claim(&self, claim: &Claim, seen: Revision) -> Result<(), Refusal> {
        let _gate = self.enter_write_gate().await;
        let key = records::claim_key(&claim.domain);
        match self.0.store.get(&key).await.map_err(Refusal::Unavailable)? {
            Some(record) => {
                let found: Claim = decode(&key, &record.bytes).map_err(Refusal::Unavailable)?;
                self.snapshot_mut().put_claim(Arc::new(found), record.revision);
            }
            None => self.snapshot_mut().forget_claim(&claim.tenant, seen),
        }
        Ok(())
    }
}

/// The tenant after it has lost its domain.
fn without_domain(state: &TenantState, why: DomainLoss, context: &RequestContext) -> crate::tenancy::tenant::Tenant {
    let mut tenant = state.tenant.clone();
    tenant.lost_domain = tenant.custom_domain.take().map(|domain| LostDomain { domain, why, at: context.at });
    tenant.updated_at = context.at;
    tenant
}
