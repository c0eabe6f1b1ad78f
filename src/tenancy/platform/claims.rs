//! Claims on domains after they were made: stepped forward by what is seen of
//! them, ended when they are not proved, and taken over by who proves them.
//!
//! Each change is made on the condition that the claim is still the one that it
//! was decided on; so of a proof and an end that come at once, one counts.

use std::sync::Arc;

use super::{Platform, stored_form};
use crate::hostname::Hostname;
use crate::store::{self, Batch, Revision};
use crate::tenancy::act::Act;
use crate::tenancy::audit::{AuditEntry, Deed};
use crate::tenancy::claim::{Claim, Lost, LostDomain};
use crate::tenancy::fault::Refusal;
use crate::tenancy::id::TenantId;
use crate::tenancy::live::Live;
use crate::tenancy::records::{self, decode, encode};

/// A claim that a rule has changed, or left as it was.
pub struct Stepped<T> {
    pub claim: Arc<Claim>,
    pub outcome: T,
}

impl Platform {
    /// The claim on a domain.
    pub fn claim_on(&self, domain: &Hostname) -> Option<Arc<Claim>> {
        self.snapshot().claim_on(domain).map(|(_, claim)| Arc::clone(claim))
    }

    /// Why a tenant may not use a domain of its own now, in the middle of a sentence.
    pub fn barred_from_domains(&self, id: &TenantId) -> Option<&'static str> {
        let live = self.tenant(id).ok()?;
        if !live.tenant.enabled {
            return Some("the tenant is disabled");
        }
        let rights = &self.in_effect(&live).rights;
        (!rights.custom_domain_access).then_some("the tenant's plan does not include a domain of its own")
    }

    /// Applies a rule to the claim on a domain, as often as it takes to not overwrite anybody. The rule's
    /// text is the action that the audit is told, where it is worth telling. Nothing when there is no claim.
    pub async fn step_claim<T>(
        &self,
        act: &Act,
        domain: &Hostname,
        rule: impl Fn(&Claim) -> (Claim, Option<&'static str>, T),
    ) -> Result<Option<Stepped<T>>, Refusal> {
        let key = records::claim_key(domain);
        loop {
            let Some((revision, before)) = self.snapshot().claim_on(domain).cloned() else { return Ok(None) };
            let (after, action, outcome) = rule(&before);
            if after == *before {
                return Ok(Some(Stepped { claim: before, outcome }));
            }
            let batch = Batch::new().require_revision(&key, revision).put(&key, stored_form(&after)?);
            let deed = action.map(|action| Deed::on(&after.tenant, action, before.told(), after.told()));
            let is_told = deed.is_some();
            let follow = move |platform: &Self, revision| {
                let claim = Arc::new(after);
                platform.snapshot_mut().put_claim(Arc::clone(&claim), revision);
                // What is not worth telling is not worth waking anybody for.
                if is_told {
                    platform.0.changed.send_replace(());
                }
                claim
            };
            match self.commit_maybe_told(act, deed, batch, follow).await {
                Ok(claim) => return Ok(Some(Stepped { claim, outcome })),
                Err(store::Error::Conflict(_)) => {
                    self.reload_claim(&before, revision).await?;
                }
                Err(error) => return Err(Refusal::Unavailable(error)),
            }
        }
    }

    /// Ends a claim that was not proved in time; false when it has been proved meanwhile, or is gone.
    pub async fn expire_claim(&self, act: &Act, domain: &Hostname) -> Result<bool, Refusal> {
        loop {
            let Some((revision, claim)) = self.snapshot().claim_on(domain).cloned() else { return Ok(false) };
            let is_over = claim.expires_at.is_some_and(|end| end <= act.at) && !claim.is_proved();
            let Some(holder) = self.tenant(&claim.tenant).ok().filter(|_| is_over) else { return Ok(false) };
            let loser = without_domain(&holder, Lost::Expired, act);
            let deed = Deed::on(&claim.tenant, "domain.expire", claim.told(), serde_json::Value::Null);
            let tenant_key = records::tenant_key(claim.tenant.as_str());
            let batch = Batch::new()
                .require_revision(records::claim_key(domain), revision)
                .require_revision(&tenant_key, holder.revision)
                .put(&tenant_key, stored_form(&loser)?)
                .remove(records::claim_key(domain));
            match self.commit(act, deed, batch, |platform, revision| platform.publish(loser, revision)).await {
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
    pub async fn take_over_claim(&self, act: &Act, id: &TenantId, new: &Claim) -> Result<Arc<Claim>, Refusal> {
        let domain = &new.domain;
        let in_use = || Refusal::CustomDomainInUse(domain.to_string());
        loop {
            let (winner, found) = (self.tenant(id)?, self.snapshot().claim_on(domain).cloned());
            act.expects(winner.revision)?;
            self.defaults().names.may_claim(domain, &self.in_effect(&winner).rights)?;
            let (revision, old) = found.filter(|(_, old)| old.may_be_taken_over()).ok_or_else(in_use)?;
            if old.tenant == *id {
                return Ok(old);
            }
            let holder = self.tenant(&old.tenant)?;
            let loser = without_domain(&holder, Lost::Superseded, act);
            let mut tenant = winner.tenant.clone();
            tenant.custom_domain = Some(domain.clone());
            tenant.lost_domain = None;
            tenant.updated_at = act.at;
            let (winner_key, loser_key) = (records::tenant_key(id.as_str()), records::tenant_key(old.tenant.as_str()));
            let mut batch = Batch::new()
                .require_revision(records::claim_key(domain), revision)
                .require_revision(&winner_key, winner.revision)
                .require_revision(&loser_key, holder.revision);
            if let Some(given_up) = &winner.tenant.custom_domain {
                batch = batch.remove(records::claim_key(given_up));
            }
            let lost = Deed::on(&old.tenant, "domain.supersede", old.told(), serde_json::Value::Null);
            let lost = AuditEntry::of(act, lost);
            batch = batch
                .put(&winner_key, stored_form(&tenant)?)
                .put(&loser_key, stored_form(&loser)?)
                .put(records::claim_key(domain), stored_form(new)?)
                .put(self.audit_key(&lost), encode(&lost).map_err(Refusal::Unavailable)?);
            let deed = Deed::on(id, "domain.claim", winner.tenant.told(), tenant.told());
            let claim = new.clone();
            let follow = move |platform: &Self, revision| {
                platform.publish(loser, revision);
                platform.publish_with_claim(tenant, Some(claim), revision);
            };
            match self.commit(act, deed, batch, follow).await {
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
        let _turn = self.turn().await;
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
fn without_domain(live: &Live, why: Lost, act: &Act) -> crate::tenancy::tenant::Tenant {
    let mut tenant = live.tenant.clone();
    tenant.lost_domain = tenant.custom_domain.take().map(|domain| LostDomain { domain, why, at: act.at });
    tenant.updated_at = act.at;
    tenant
}
