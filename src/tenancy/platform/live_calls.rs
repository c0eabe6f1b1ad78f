//! Live calls: heard from phones, read by panel and administrator from one rule.

use std::sync::{Arc, MutexGuard, PoisonError};

use super::Platform;
use crate::tenancy::act::Act;
use crate::tenancy::fault::Refusal;
use crate::tenancy::id::TenantId;
use crate::tenancy::live::Live;
use crate::tenancy::live_calls::{Heard, LiveCall, LiveCalls, Report};

/// What a tenant's phones are doing now.
#[derive(Clone, Debug)]
pub struct Usage {
    pub live: Arc<Live>,
    /// What one phone may have at a time.
    pub max_sessions: u32,
    /// Oldest first.
    pub calls: Vec<LiveCall>,
}

impl Usage {
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
    pub fn hear_of_calls(&self, act: &Act, id: &TenantId, report: Report) -> Result<bool, Refusal> {
        let mut calls = self.live_calls();
        // Under the lock: who is disabled or removed meanwhile is forgotten after this, not before.
        if !self.tenant(id)?.tenant.enabled {
            return Err(Refusal::TenantDisabled);
        }
        match calls.hear(id, report, self.0.started.elapsed(), act.at) {
            Heard::News => Ok(true),
            Heard::Outdated => Ok(false),
            Heard::NoRoom => Err(Refusal::TooManyClients),
        }
    }

    pub fn usage_of(&self, id: &TenantId) -> Result<Usage, Refusal> {
        let live = self.tenant(id)?;
        let max_sessions = self.in_effect(&live).effective.capabilities.max_sessions;
        let calls = self.live_calls().of(id, self.0.started.elapsed());
        Ok(Usage { live, max_sessions, calls })
    }

    /// Of all tenants that have calls now, in the order of their ids.
    pub fn usage(&self) -> Vec<Usage> {
        let mut busy = self.live_calls().tenants(self.0.started.elapsed());
        busy.sort_unstable();
        // Who was removed meanwhile has none.
        busy.iter().filter_map(|id| self.usage_of(id).ok()).filter(|usage| !usage.calls.is_empty()).collect()
    }

    pub(super) fn live_calls(&self) -> MutexGuard<'_, LiveCalls> {
        self.0.live_calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
