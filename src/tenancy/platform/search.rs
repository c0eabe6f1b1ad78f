//! Tenants found among many: a page of those that match, and how many there are.

use std::sync::Arc;

use super::Platform;
use crate::tenancy::tenant_state::TenantState;

/// Tenants looked through at a time: some 0.2 ms.
const TENANTS_PER_SLICE: usize = 4096;

/// What is looked for; everything that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Part of the id or of the name for people, in lower case; empty fits all.
    pub text: String,
    pub enabled: Option<bool>,
    pub plan_id: Option<String>,
}

/// One page of the tenants that match, in the order of their ids.
#[derive(Debug, Default)]
pub struct SearchPage {
    pub tenants: Vec<Arc<TenantState>>,
    /// Of all that match, before and after this page too.
    pub total: usize,
    /// Whether some come after this page.
    pub more: bool,
}

impl Platform {
    /// At most `limit` tenants that match and whose ids come after `after`.
    ///
    /// Memory is looked through in portions, between which changes and other requests have their turn.
    pub async fn search(&self, search: &Search, after: Option<&str>, limit: usize) -> SearchPage {
        let mut found = SearchPage::default();
        let mut last: Option<Arc<TenantState>> = None;
        loop {
            let portion = self.search_slice(search, after, limit, last.as_deref(), &mut found);
            match portion {
                Some(end) => last = Some(end),
                None => return found,
            }
            tokio::task::yield_now().await;
        }
    }

    /// Looks through the tenants that come after `last`; the last one of the portion, if there may be more.
    fn search_slice(
        &self,
        search: &Search,
        after: Option<&str>,
        limit: usize,
        last: Option<&TenantState>,
        found: &mut SearchPage,
    ) -> Option<Arc<TenantState>> {
        let snapshot = self.snapshot();
        let mut end = None;
        let from = last.map(|state| state.tenant.id.as_str());
        for (seen, state) in snapshot.tenants_after(from).take(TENANTS_PER_SLICE).enumerate() {
            if search.fits(state) {
                found.total += 1;
                if after.is_none_or(|after| state.tenant.id.as_str() > after) {
                    if found.tenants.len() < limit {
                        found.tenants.push(Arc::clone(state));
                    } else {
                        found.more = true;
                    }
                }
            }
            if seen == TENANTS_PER_SLICE - 1 {
                end = Some(Arc::clone(state));
            }
        }
        end
    }
}

impl Search {
    fn fits(&self, state: &TenantState) -> bool {
        let tenant = &state.tenant;
        self.enabled.is_none_or(|enabled| tenant.enabled == enabled)
            && self.plan_id.as_ref().is_none_or(|plan| tenant.plan_id == *plan)
            && (self.text.is_empty()
                || tenant.id.as_str().contains(&self.text)
                || state.lower_name().contains(&self.text))
    }
}
