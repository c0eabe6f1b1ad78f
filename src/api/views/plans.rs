//! The catalogue of plans as it is shown.

use schemars::JsonSchema;
use serde::Serialize;

use crate::tenancy::{CatalogueStatus, Entitlements, Interval, Plan, Price};

/// `GET /api/admin/plans`
#[derive(Serialize, JsonSchema)]
pub struct PlanList {
    /// The cheapest first.
    pub plans: Vec<CataloguePlan>,
}

/// `PUT /api/admin/plans/{planId}`
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CataloguePlan {
    #[serde(flatten)]
    pub plan: PlanEntry,
    /// How many tenants have it.
    pub tenant_count: usize,
}

/// One plan.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanEntry {
    plan_id: String,
    name: String,
    status: CatalogueStatus,
    price: Price,
    currency: String,
    interval: Interval,
    /// Whether tenants get it that are made without naming a plan.
    is_default: bool,
    entitlements: Entitlements,
}

impl From<&Plan> for PlanEntry {
    fn from(plan: &Plan) -> Self {
        Self {
            plan_id: plan.id.clone(),
            name: plan.name.clone(),
            status: plan.status,
            price: plan.price,
            currency: plan.currency.clone(),
            interval: plan.interval,
            is_default: plan.is_default,
            entitlements: plan.entitlements.clone(),
        }
    }
}

/// `DELETE /api/admin/plans/{planId}`
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemovedPlan {
    pub plan_id: String,
    pub removed: bool,
}
