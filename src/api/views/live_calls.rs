//! Answers about the calls that are up now.

use schemars::JsonSchema;
use serde::Serialize;

use super::Rfc3339;
use crate::tenancy::{CallState, CallUsage, Direction, LiveCall};

/// `GET /api/tenant/live-calls`
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageView {
    tenant_id: String,
    enabled: bool,
    /// A call between two phones of the tenant is two: each takes a line.
    live_calls: usize,
    /// Phones in a call.
    active_clients: usize,
    /// What one phone may have at a time.
    max_sessions: u32,
    /// Oldest first.
    calls: Vec<LiveCallView>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct LiveCallView {
    client_id: String,
    call_id: String,
    number: Option<String>,
    direction: Direction,
    state: CallState,
    started_at: Rfc3339,
}

impl From<&CallUsage> for UsageView {
    fn from(usage: &CallUsage) -> Self {
        let tenant = &usage.state.tenant;
        Self {
            tenant_id: tenant.id.to_string(),
            enabled: tenant.enabled,
            live_calls: usage.calls.len(),
            active_clients: usage.active_clients(),
            max_sessions: usage.max_sessions,
            calls: usage.calls.iter().map(LiveCallView::from).collect(),
        }
    }
}

impl From<&LiveCall> for LiveCallView {
    fn from(call: &LiveCall) -> Self {
        Self {
            client_id: call.client_id.clone(),
            call_id: call.call_id.clone(),
            number: call.number.clone(),
            direction: call.direction,
            state: call.state,
            started_at: Rfc3339(call.started_at),
        }
    }
}

/// `GET /api/admin/live-calls`
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageList {
    /// Of all tenants that were asked for, not only of this page.
    pub live_calls: usize,
    pub active_clients: usize,
    /// In the order of their ids.
    pub tenants: Vec<UsageView>,
    /// Of all tenants that were asked for.
    pub total: usize,
    /// Where the next page starts; null on the last one.
    pub next_cursor: Option<String>,
}

/// `POST /api/webphone/live-calls`
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "HeardView")]
pub struct ReportReceipt {
    /// False for a report that a later one has overtaken.
    pub accepted: bool,
}
