//! The catalogue of plans. Exactly one plan is the default, always: another
//! takes its place in the same batch, and it can be neither retired nor removed.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Platform, decode, no_such_plan, stored_form};
use crate::store::{self, Batch, Revision};
use crate::tenancy::audit::AuditAction;
use crate::tenancy::entitlement::Entitlement;
use crate::tenancy::plan::{CatalogueStatus, NewPlan, Plan, checked_id};
use crate::tenancy::records;
use crate::tenancy::refusal::Refusal;
use crate::tenancy::request_context::RequestContext;

impl Platform {
    /// The cheapest first.
    pub fn plans(&self) -> Vec<Arc<Plan>> {
        let mut plans: Vec<_> = self.snapshot().plans().cloned().collect();
        plans.sort_by(|one, other| (one.price, &one.id).cmp(&(other.price, &other.id)));
        plans
    }

    /// The ids of the plans on offer that include a right, the cheapest first.
    pub fn plans_with(&self, right: Entitlement) -> Vec<String> {
        let offered =
            |plan: &Arc<Plan>| plan.status == CatalogueStatus::Active && right.is_granted_by(&plan.entitlements);
        self.plans().into_iter().filter(offered).map(|plan| plan.id.clone()).collect()
    }

    /// How many tenants have this plan.
    pub fn tenants_on_plan(&self, id: &str) -> usize {
        self.snapshot().tenants().filter(|state| state.tenant.plan_id == id).count()
    }

    /// Makes a plan, or replaces the one of this name; its tenants have the new rights at once.
    pub async fn set_plan(&self, context: &RequestContext, new: NewPlan) -> Result<Arc<Plan>, Refusal> {
        checked_id(&new.id).map_err(|invalid| invalid.at("planId"))?;
        loop {
            let gate = self.close_write_gate().await;
            let catalogue = self.catalogue().await?;
            let (plan, batch) = decide(&catalogue, new.clone())?;
            let before = catalogue.iter().find(|(known, _)| known.id == plan.id).map(|(known, _)| known);
            if before == Some(&plan) {
                return Ok(Arc::new(plan));
            }
            let old_default = catalogue.iter().map(|(known, _)| known).find(|known| known.is_default);
            let displaced = old_default.filter(|old| plan.is_default && old.id != plan.id).cloned();
            let mut audited = before.map_or(Value::Null, audit_value);
            if let (Some(old), Value::Object(_)) = (&displaced, &audited) {
                audited["defaultPlan"] = old.id.clone().into();
            }
            let action = AuditAction::on_platform("plan.set", audited, audit_value(&plan));
            let follow = move |platform: &Self, _| {
                let mut snapshot = platform.snapshot_mut();
                if let Some(old) = displaced {
                    snapshot.put_plan(Plan { is_default: false, ..old });
                }
                snapshot.put_plan(plan.clone());
                Arc::new(plan)
            };
            match self.commit_in(gate, context, action, batch, follow).await {
                Ok(plan) => return Ok(plan),
                Err(store::Error::Conflict(_)) => {}
                Err(error) => return Err(Refusal::Unavailable(error)),
            }
        }
    }

    pub async fn remove_plan(&self, context: &RequestContext, id: &str) -> Result<(), Refusal> {
        loop {
            let gate = self.close_write_gate().await;
            let catalogue = self.catalogue().await?;
            let Some((plan, revision)) = catalogue.iter().find(|(plan, _)| plan.id == id) else {
                return Err(Refusal::PlanNotFound(id.to_owned()));
            };
            if plan.is_default {
                return Err(Refusal::DefaultPlan(id.to_owned()));
            }
            let tenants = self.tenants_on_plan(id);
            if tenants > 0 {
                return Err(Refusal::PlanInUse { id: id.to_owned(), tenants });
            }
            let key = records::plan_key(id);
            let batch = Batch::new().require_revision(&key, *revision).remove(&key);
            let action = AuditAction::on_platform("plan.remove", audit_value(plan), Value::Null);
            let removed = id.to_owned();
            let follow = move |platform: &Self, _| platform.snapshot_mut().remove_plan(&removed);
            match self.commit_in(gate, context, action, batch, follow).await {
                Err(store::Error::Conflict(_)) => {}
                outcome => return outcome.map_err(Refusal::Unavailable),
            }
        }
    }

    /// The plan that a tenant is to have from now on, whose plan was `current` (none for a new one).
    pub(super) fn assignable(&self, id: &str, current: Option<&str>) -> Result<Arc<Plan>, Refusal> {
        let plan = self.snapshot().plan(id).cloned().ok_or_else(no_such_plan)?;
        match plan.status {
            CatalogueStatus::Retired if current != Some(id) => Err(Refusal::PlanRetired(id.to_owned())),
            _ => Ok(plan),
        }
    }

    /// As the store has it now.
    async fn catalogue(&self) -> Result<Vec<(Plan, Revision)>, Refusal> {
        let records = self.0.store.scan(records::PLANS).await.map_err(Refusal::Unavailable)?;
        let plans = records.into_iter().map(|(key, record)| Ok((decode(&key, &record.bytes)?, record.revision)));
        plans.collect::<Result<_, _>>().map_err(Refusal::Unavailable)
    }
}

/// What the catalogue's rules make of a plan that is to be set, and the batch that does it.
fn decide(catalogue: &[(Plan, Revision)], new: NewPlan) -> Result<(Plan, Batch), Refusal> {
    let current = catalogue.iter().find(|(plan, _)| plan.id == new.id);
    let was_default = current.is_some_and(|(plan, _)| plan.is_default);
    let is_default = new.is_default.unwrap_or(was_default);
    if (was_default && !is_default) || (is_default && new.status == CatalogueStatus::Retired) {
        return Err(Refusal::DefaultPlan(new.id));
    }
    let NewPlan { id, name, status, price, currency, interval, entitlements, is_default: _ } = new;
    let plan = Plan { id, name, status, price, currency, interval, is_default, entitlements };
    let key = records::plan_key(&plan.id);
    let mut batch = match current {
        Some((_, revision)) => Batch::new().require_revision(&key, *revision),
        None => Batch::new().require_absent(&key),
    };
    batch = batch.put(&key, stored_form(&plan)?);
    for (old, revision) in catalogue.iter().filter(|(old, _)| is_default && old.is_default && old.id != plan.id) {
        let key = records::plan_key(&old.id);
        let old = Plan { is_default: false, ..old.clone() };
        batch = batch.require_revision(&key, *revision).put(&key, stored_form(&old)?);
    }
    Ok((plan, batch))
}

fn audit_value(plan: &Plan) -> Value {
    json!(plan)
}
