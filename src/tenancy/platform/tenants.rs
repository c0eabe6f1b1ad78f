//! Tenants: made, read, changed.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::keys::NewKey;
use super::{Platform, no_such_plan, stored_form};
use crate::store::{self, Batch};
use crate::tenancy::audit::AuditAction;
use crate::tenancy::id::TenantId;
use crate::tenancy::key::{ApiKey, ApiKeyMeta};
use crate::tenancy::origin::OriginPattern;
use crate::tenancy::plan::Plan;
use crate::tenancy::records;
use crate::tenancy::refusal::{FieldError, Refusal};
use crate::tenancy::request_context::RequestContext;
use crate::tenancy::settings::{Change, Settings, SettingsChange};
use crate::tenancy::tenant::{PlanStatus, Tenant};
use crate::tenancy::tenant_state::TenantState;

/// A tenant to be made.
#[derive(Clone, Debug)]
pub struct NewTenant {
    pub tenant_id: TenantId,
    pub display_name: Option<String>,
    /// The catalogue's default plan when none is named.
    pub plan_id: Option<String>,
    pub api_key: NewKey,
    pub allowed_origins: Vec<OriginPattern>,
}

impl NewTenant {
    pub fn named(tenant_id: TenantId) -> Self {
        Self { tenant_id, display_name: None, plan_id: None, api_key: NewKey::default(), allowed_origins: Vec::new() }
    }
}

/// A change of what a tenant pays for; what is not given stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanChange {
    pub plan_id: Option<String>,
    pub status: Option<PlanStatus>,
}

/// What only the operator may change, and everything that the tenant may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperatorChange {
    pub settings: SettingsChange,
    pub plan: PlanChange,
    pub enabled: Option<bool>,
}

/// A tenant as it is about to be made.
pub struct Provisioned {
    pub tenant: Tenant,
    pub plan: Arc<Plan>,
    pub api_key: ApiKey,
    pub api_key_meta: ApiKeyMeta,
}

impl Platform {
    pub fn tenant(&self, id: &TenantId) -> Result<Arc<TenantState>, Refusal> {
        let snapshot = self.snapshot();
        snapshot.tenant(id.as_str()).cloned().ok_or_else(|| Refusal::TenantNotFound(id.to_string()))
    }

    /// In the order of their ids.
    pub fn tenants(&self) -> Vec<Arc<TenantState>> {
        self.snapshot().tenants().cloned().collect()
    }

    /// Makes a tenant with its first API key, which is shown to `answer` and never again.
    pub async fn provision<A: Serialize>(
        &self,
        context: &RequestContext,
        new: NewTenant,
        answer: impl FnOnce(&Provisioned) -> A,
    ) -> Result<A, Refusal> {
        let id = new.tenant_id;
        if self.tenant(&id).is_ok() {
            return Err(Refusal::TenantExists(id.to_string()));
        }
        let default_plan = || self.snapshot().default_plan().map(|plan| plan.id.clone());
        let plan_id = new.plan_id.or_else(default_plan).ok_or_else(no_such_plan)?;
        let plan = self.assignable(&plan_id, None)?;
        let (api_key, stored) = self.new_key(context, new.api_key)?;
        let tenant = Tenant {
            id: id.clone(),
            enabled: true,
            plan_id: plan.id.clone(),
            plan_status: PlanStatus::Active,
            settings: Settings {
                display_name: new.display_name,
                allowed_origins: new.allowed_origins,
                ..Settings::default()
            },
            subdomain: None,
            custom_domain: None,
            lost_domain: None,
            api_keys: vec![stored.clone()],
            revoked_keys: Vec::new(),
            created_at: context.at,
            updated_at: context.at,
        };
        let made = Provisioned { tenant, plan, api_key, api_key_meta: stored.meta(None) };
        let answer = answer(&made);
        let context = context.with_answer(&answer, &id)?;
        let tenant = made.tenant;
        let action = AuditAction::on(&id, "tenant.provision", Value::Null, tenant.audit_value());
        let (tenant_key, label_key) = (records::tenant_key(id.as_str()), records::label_key(&id.dns_label()));
        let plan_key = records::plan_key(&tenant.plan_id);
        let removal_key = records::removal_key(&id);
        let batch = Batch::new()
            .require_absent(&tenant_key)
            .require_absent(&label_key)
            .require_absent(&removal_key)
            .require_present(&plan_key)
            .put(&tenant_key, stored_form(&tenant)?)
            .put(&label_key, stored_form(&id)?);
        match self.commit(&context, action, batch, |platform, revision| platform.publish(tenant, revision)).await {
            Ok(_) => Ok(answer),
            Err(store::Error::Conflict(key)) if key == label_key => Err(Refusal::TenantAlike(id.to_string())),
            Err(store::Error::Conflict(key)) if key == plan_key => Err(no_such_plan()),
            // The records of a deleted tenant with this id must be gone before another one has it.
            Err(store::Error::Conflict(key)) if key == removal_key => {
                self.finish_removal(&id).await.map_err(Refusal::Unavailable)?;
                let error = format!("a tenant {id} is just being deleted; try again");
                Err(Refusal::Unavailable(store::Error::Failed(error)))
            }
            Err(store::Error::Conflict(_)) => Err(Refusal::TenantExists(id.to_string())),
            Err(error) => Err(Refusal::Unavailable(error)),
        }
    }

    pub async fn change_settings(
        &self,
        context: &RequestContext,
        id: &TenantId,
        change: SettingsChange,
    ) -> Result<Arc<TenantState>, Refusal> {
        self.check_sip_domain(id, &change)?;
        let (state, ()) = self
            .change(context, id, "tenant.config", |tenant, rights| tenant.change_settings(change.clone(), rights))
            .await?;
        Ok(state)
    }

    /// What billing says about a tenant: the rights follow at once.
    pub async fn change_plan(
        &self,
        context: &RequestContext,
        id: &TenantId,
        change: PlanChange,
    ) -> Result<Arc<TenantState>, Refusal> {
        let rule = |tenant: &mut Tenant, _: &_| self.apply_plan(tenant, &change);
        let (state, ()) = self.change(context, id, "tenant.plan", rule).await?;
        Ok(state)
    }

    /// Everything that can be changed of a tenant, at once, by whom no plan restrains.
    pub async fn change_as_operator(
        &self,
        context: &RequestContext,
        id: &TenantId,
        change: OperatorChange,
    ) -> Result<Arc<TenantState>, Refusal> {
        self.check_sip_domain(id, &change.settings)?;
        let rule = |tenant: &mut Tenant, _: &_| {
            self.apply_plan(tenant, &change.plan)?;
            tenant.enabled = change.enabled.unwrap_or(tenant.enabled);
            tenant.settings.apply(change.settings.clone(), true);
            Ok(())
        };
        let (state, ()) = self.change(context, id, "tenant.override", rule).await?;
        Ok(state)
    }

    /// On every surface at once: phones, pages, links, registrations. Again is no error.
    pub async fn enable(
        &self,
        context: &RequestContext,
        id: &TenantId,
        enabled: bool,
    ) -> Result<Arc<TenantState>, Refusal> {
        let action = if enabled { "tenant.enable" } else { "tenant.disable" };
        let rule = |tenant: &mut Tenant, _: &_| {
            tenant.enabled = enabled;
            Ok(())
        };
        let (state, ()) = self.change(context, id, action, rule).await?;
        Ok(state)
    }

    /// The domain of another tenant on the built-in edge would send this one's phones, with their passwords' digests,
    /// there.
    fn check_sip_domain(&self, id: &TenantId, change: &SettingsChange) -> Result<(), Refusal> {
        let Change::Set(domain) = &change.sip_domain else { return Ok(()) };
        let defaults = self.defaults();
        let (host, own) = (domain.split(':').next().unwrap_or_default(), defaults.edge_domain_of(id));
        let label = host.strip_suffix(&defaults.edge_domain).and_then(|label| label.strip_suffix('.'));
        if host == own || label.is_none_or(|label| label.contains('.')) {
            return Ok(());
        }
        let message = format!("{host} is the domain of another tenant on this server; this one's is {own}");
        Err(Refusal::Validation(vec![FieldError::new("sip.domain", message)]))
    }

    fn apply_plan(&self, tenant: &mut Tenant, change: &PlanChange) -> Result<(), Refusal> {
        if let Some(plan_id) = &change.plan_id {
            self.assignable(plan_id, Some(&tenant.plan_id))?;
            tenant.plan_id.clone_from(plan_id);
        }
        tenant.plan_status = change.status.unwrap_or(tenant.plan_status);
        Ok(())
    }
}
