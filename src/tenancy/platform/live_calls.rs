//! Live calls: reported by phones, read by panel and administrator by one rule.

use std::sync::{Arc, MutexGuard, PoisonError};

use super::Platform;
use crate::tenancy::id::TenantId;
use crate::tenancy::live_calls::{LiveCall, LiveCalls, ReportOutcome, ReportedCalls};
use crate::tenancy::refusal::Refusal;
use crate::tenancy::request_context::RequestContext;
use crate::tenancy::tenant_state::TenantState;

/// What a tenant's phones are doing now.
#[derive(Clone, Debug)]
pub struct CallUsage {
    pub state: Arc<TenantState>,
    /// What one phone may have at a time.
    pub max_sessions: u32,
    /// Oldest first.
    pub calls: Vec<LiveCall>,
}

impl CallUsage {
    /// Phones in a call.
    pub fn active_clients(&self) -> usize {
        let mut clients: Vec<_> = self.calls.iter().map(|call| call.client_id.as_str()).collect();
        clients.sort_unstable();
        clients.dedup();
        clients.len()
    }
}

impl Platform {
    /// A phone's report; true when it was news.
    pub fn report_calls(
        &self,
        context: &RequestContext,
        id: &TenantId,
        report: ReportedCalls,
    ) -> Result<bool, Refusal> {
        let mut calls = self.live_calls();
        // Under the lock: who is disabled or removed meanwhile is forgotten after this, not before.
        if !self.tenant(id)?.tenant.enabled {
            return Err(Refusal::TenantDisabled);
        }
        match calls.take_report(id, report, self.0.started.elapsed(), context.at) {
            ReportOutcome::News => Ok(true),
            ReportOutcome::Outdated => Ok(false),
            ReportOutcome::NoRoom => Err(Refusal::TooManyClients),
        }
    }

    pub fn usage_of(&self, id: &TenantId) -> Result<CallUsage, Refusal> {
        let state = self.tenant(id)?;
        let max_sessions = self.values_of(&state).effective.capabilities.max_sessions;
        let calls = self.live_calls().of(id, self.0.started.elapsed());
        Ok(CallUsage { state, max_sessions, calls })
    }

    /// Of all tenants that have calls now, in the order of their ids.
    pub fn usage(&self) -> Vec<CallUsage> {
        let mut busy = self.live_calls().tenants(self.0.started.elapsed());
        busy.sort_unstable();
        // Who was removed meanwhile has none.
        busy.iter().filter_map(|id| self.usage_of(id).ok()).filter(|usage| !usage.calls.is_empty()).collect()
    }

    pub(super) fn live_calls(&self) -> MutexGuard<'_, LiveCalls> {
        self.0.live_calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
