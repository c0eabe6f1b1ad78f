//! Tenants' names: subdomains and claims on domains, asked for, given and taken back.
//!
//! A name is held by a record of its own, which is written in one batch with
//! the tenant that has it, on the condition that nobody holds it yet. So of all who want a
//! name at once exactly one gets it, in however many processes they ask.

use std::sync::Arc;

use serde::Serialize;

use super::{Platform, no_randomness, stored_form};
use crate::hostname::{BadName, Hostname, Label};
use crate::store::{self, Batch, Revision};
use crate::tenancy::audit::AuditAction;
use crate::tenancy::claim::Claim;
use crate::tenancy::id::TenantId;
use crate::tenancy::plan::Entitlements;
use crate::tenancy::records;
use crate::tenancy::refusal::{InvalidValue, Refusal};
use crate::tenancy::request_context::RequestContext;
use crate::tenancy::tenant::Tenant;
use crate::tenancy::tenant_state::TenantState;

/// What would become of the wish for a subdomain.
pub struct CheckedSubdomain {
    /// None where the text is no label.
    pub label: Option<Label>,
    /// Why the tenant cannot have it.
    pub obstacle: Option<Refusal>,
}

impl Platform {
    /// Whether a tenant could have a subdomain now. The one that it has already, it could.
    pub async fn check_subdomain(&self, id: &TenantId, wish: &str) -> Result<CheckedSubdomain, Refusal> {
        let state = self.tenant(id)?;
        let label: Label = match wish.parse() {
            Ok(label) => label,
            Err(BadName(why)) => {
                let obstacle = Some(InvalidValue::new(why).at("value").into());
                return Ok(CheckedSubdomain { label: None, obstacle });
            }
        };
        if state.tenant.subdomain.as_ref() == Some(&label) {
            return Ok(CheckedSubdomain { label: Some(label), obstacle: None });
        }
        let rights = &self.values_of(&state).rights;
        let mut obstacle = self.defaults().names.may_have_subdomain(&label, rights).err();
        if obstacle.is_none() {
            let holder = self.0.store.get(&records::subdomain_key(&label)).await.map_err(Refusal::Unavailable)?;
            obstacle = holder.map(|_| Refusal::SubdomainInUse(label.to_string()));
        }
        Ok(CheckedSubdomain { label: Some(label), obstacle })
    }

    /// Gives a tenant a subdomain, in the place of the one it has. The one it has again is no error.
    pub async fn assign_subdomain(
        &self,
        context: &RequestContext,
        id: &TenantId,
        label: Label,
    ) -> Result<Arc<TenantState>, Refusal> {
        let names = &self.defaults().names;
        let (state, ()) = self
            .change_names(context, id, "subdomain.assign", None, |tenant, rights| {
                if tenant.subdomain.as_ref() != Some(&label) {
                    names.may_have_subdomain(&label, rights)?;
                    tenant.subdomain = Some(label.clone());
                }
                Ok(())
            })
            .await?;
        Ok(state)
    }

    /// Takes a tenant's subdomain back: which it was, if it had one.
    pub async fn remove_subdomain(&self, context: &RequestContext, id: &TenantId) -> Result<Option<Label>, Refusal> {
        let rule = |tenant: &mut Tenant, _: &Entitlements| Ok(tenant.subdomain.take());
        Ok(self.change_names(context, id, "subdomain.remove", None, rule).await?.1)
    }

    /// What the TXT record of a tenant's domain must hold: always the same, so that whoever has
    /// published it need not do it again.
    pub fn claim_token(&self, id: &TenantId, domain: &Hostname) -> Result<String, Refusal> {
        self.0.pepper.text("domain claim", &format!("{id}/{domain}")).map_err(no_randomness)
    }

    /// Makes a claim for its tenant, which gives up the one it had. `answer` is told whether it is a new one.
    pub async fn claim_domain<A: Serialize>(
        &self,
        context: &RequestContext,
        new: &Claim,
        answer: impl Fn(&Claim, bool) -> A,
    ) -> Result<A, Refusal> {
        let (names, id, domain) = (&self.defaults().names, &new.tenant, &new.domain);
        let context = &context.with_answer(&answer(new, true), id)?;
        let (_, is_new) = self
            .change_names(context, id, "domain.claim", Some(new), |tenant, rights| {
                if tenant.custom_domain.as_ref() == Some(domain) {
                    return Ok(false);
                }
                names.may_claim(domain, rights)?;
                tenant.custom_domain = Some(domain.clone());
                tenant.lost_domain = None;
                Ok(true)
            })
            .await?;
        // Somebody may have removed it again meanwhile: then it was here for a moment.
        let known = self.claim(id)?.filter(|claim| !is_new && claim.domain == *domain);
        Ok(answer(known.as_deref().unwrap_or(new), is_new))
    }

    /// Gives up a tenant's claim: of which domain, if there was one.
    pub async fn release_domain(&self, context: &RequestContext, id: &TenantId) -> Result<Option<Hostname>, Refusal> {
        let rule = |tenant: &mut Tenant, _: &Entitlements| {
            tenant.lost_domain = None;
            Ok(tenant.custom_domain.take())
        };
        Ok(self.change_names(context, id, "domain.release", None, rule).await?.1)
    }

    /// A tenant's claim on a domain of its own.
    pub fn claim(&self, id: &TenantId) -> Result<Option<Arc<Claim>>, Refusal> {
        let snapshot = self.snapshot();
        let state = snapshot.tenant(id.as_str()).ok_or_else(|| Refusal::TenantNotFound(id.to_string()))?;
        Ok(snapshot.claim(&state.tenant.id).cloned())
    }

    /// All claims, in the order of their domains.
    pub fn claims(&self) -> Vec<Arc<Claim>> {
        self.snapshot().claims().cloned().collect()
    }

    /// The tenant whose subdomain or domain this is, whether it leads to it yet or not.
    pub fn holder(&self, host: &Hostname) -> Option<TenantId> {
        self.snapshot().holder(host.as_str()).cloned()
    }

    /// The names that lead to a tenant now.
    pub fn hosts(&self, state: &TenantState) -> Vec<String> {
        self.snapshot().hosts(state)
    }

    /// Applies a rule to a tenant, and lets the records that hold its names follow. A domain that
    /// is new to it is held by `claim`.
    async fn change_names<T>(
        &self,
        context: &RequestContext,
        id: &TenantId,
        action: &'static str,
        claim: Option<&Claim>,
        rule: impl Fn(&mut Tenant, &Entitlements) -> Result<T, Refusal>,
    ) -> Result<(Arc<TenantState>, T), Refusal> {
        let tenant_key = records::tenant_key(id.as_str());
        let mut state = self.tenant(id)?;
        loop {
            context.expects(state.revision)?;
            let mut tenant = state.tenant.clone();
            let outcome = rule(&mut tenant, &self.values_of(&state).rights)?;
            if tenant == state.tenant {
                return Ok((state, outcome));
            }
            tenant.updated_at = context.at;
            let action = AuditAction::on(id, action, state.tenant.audit_value(), tenant.audit_value());
            let batch =
                Batch::new().require_revision(&tenant_key, state.revision).put(&tenant_key, stored_form(&tenant)?);
            let batch = hand_over(batch, &state.tenant, &tenant, claim)?;
            let (subdomain, domain) = (tenant.subdomain.clone(), tenant.custom_domain.clone());
            let claim = claim.filter(|claim| Some(&claim.domain) == domain.as_ref()).cloned();
            let follow = |platform: &Self, revision| platform.publish_with_claim(tenant, claim, revision);
            match self.commit(context, action, batch, follow).await {
                Ok(state) => return Ok((state, outcome)),
                Err(store::Error::Conflict(key)) => {
                    let seen = state.revision;
                    state = self.reload(id).await?;
                    if key != tenant_key && state.revision == seen {
                        return Err(match (subdomain, domain) {
                            (Some(label), _) if key == records::subdomain_key(&label) => {
                                Refusal::SubdomainInUse(label.to_string())
                            }
                            (_, domain) => Refusal::CustomDomainInUse(domain.map(String::from).unwrap_or_default()),
                        });
                    }
                }
                Err(error) => return Err(Refusal::Unavailable(error)),
            }
        }
    }

    pub(super) fn publish_with_claim(
        &self,
        tenant: Tenant,
        claim: Option<Claim>,
        revision: Revision,
    ) -> Arc<TenantState> {
        let mut snapshot = self.snapshot_mut();
        let state = TenantState::new(tenant, revision, snapshot.defaults());
        let state = snapshot.put_tenant(state);
        if let Some(claim) = claim {
            snapshot.put_claim(Arc::new(claim), revision);
        }
        state
    }
}

/// Lets go of the names that the tenant had, and takes those that it gets.
fn hand_over(mut batch: Batch, before: &Tenant, after: &Tenant, claim: Option<&Claim>) -> Result<Batch, Refusal> {
    if before.subdomain != after.subdomain {
        if let Some(label) = &before.subdomain {
            batch = batch.remove(records::subdomain_key(label));
        }
        if let Some(label) = &after.subdomain {
            let key = records::subdomain_key(label);
            batch = batch.require_absent(&key).put(&key, stored_form(&after.id)?);
        }
    }
    if before.custom_domain != after.custom_domain {
        if let Some(domain) = &before.custom_domain {
            batch = batch.remove(records::claim_key(domain));
        }
        if let Some(claim) = claim {
            let key = records::claim_key(&claim.domain);
            batch = batch.require_absent(&key).put(&key, stored_form(claim)?);
        }
    }
    Ok(batch)
}
