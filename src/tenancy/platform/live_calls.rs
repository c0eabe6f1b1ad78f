//! Live calls: reported by phones, read by panel and administrator by one rule.

use std::sync::{Arc, MutexGuard, PoisonError};

use super::{Platform, no_randomness};
use crate::tenancy::effective::TransportMode;
use crate::tenancy::id::TenantId;
use crate::tenancy::live_calls::{LiveCall, LiveCalls, MAX_CALLS, ReportOutcome, ReportedCalls, Reporter};
use crate::tenancy::phone_session::{self, PhoneSession};
use crate::tenancy::refusal::Refusal;
use crate::tenancy::request_context::RequestContext;
use crate::tenancy::tenant_state::TenantState;
use crate::timestamp::Timestamp;

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
    /// A phone's report in its session; true when it was news.
    pub fn report_calls(
        &self,
        context: &RequestContext,
        id: &TenantId,
        session: &str,
        report: ReportedCalls,
    ) -> Result<bool, Refusal> {
        let mut calls = self.live_calls();
        // Under the lock: who is disabled or removed meanwhile is forgotten after this, not before.
        let state = self.tenant(id)?;
        if !state.tenant.enabled {
            return Err(Refusal::TenantDisabled);
        }
        let values = self.values_of(&state);
        let session = self.phone_session(id, session, context.at).ok_or(Refusal::NoPhoneSession)?;
        // The edge has seen each phone of such a tenant sign in.
        if values.effective.transport.mode == TransportMode::Edge && matches!(session, PhoneSession::Page(_)) {
            return Err(Refusal::NoPhoneSession);
        }
        let max_calls = usize::try_from(values.rights.max_sessions).unwrap_or(MAX_CALLS).min(MAX_CALLS);
        let reporter = Reporter { tenant: id.clone(), session, network: context.source, max_calls };
        match calls.take_report(reporter, report, self.0.started.elapsed(), context.at) {
            ReportOutcome::News => Ok(true),
            ReportOutcome::Outdated => Ok(false),
            ReportOutcome::NoRoom => Err(Refusal::TooManyClients),
        }
    }

    /// A session for the phone of a page that is given the runtime configuration.
    pub fn new_page_session(&self, id: &TenantId) -> Result<String, Refusal> {
        phone_session::for_page(&self.0.pepper, id).map_err(no_randomness)
    }

    /// The session of an extension that has just proved its password on the edge.
    pub fn extension_session(&self, domain: &str, username: &str, now: Timestamp) -> Option<String> {
        let snapshot = self.snapshot();
        let tenant = &snapshot.on_edge(domain)?.tenant.id;
        let extension = snapshot.extension(tenant.as_str(), username)?;
        phone_session::for_extension(&self.0.pepper, tenant, extension, now).ok()
    }

    fn phone_session(&self, id: &TenantId, text: &str, now: Timestamp) -> Option<PhoneSession> {
        let snapshot = self.snapshot();
        let extension = |username: &str| snapshot.extension(id.as_str(), username).map(Arc::as_ref);
        phone_session::opened(&self.0.pepper, id, extension, text, now)
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
