//! The tenant that a request turns out to concern, for the access log: the listener puts an empty [`ConcernedTenant`] into
//! the request's extensions where it wants to know, and the API fills it in.

use std::sync::{Arc, OnceLock};

use axum::http::request::Parts;

use crate::tenancy::TenantId;

/// Clones are filled in together, by the first that is.
#[derive(Clone, Debug, Default)]
pub struct ConcernedTenant(Arc<OnceLock<TenantId>>);

impl ConcernedTenant {
    /// Where the listener wants to know.
    pub fn of(parts: &Parts) -> Option<Self> {
        parts.extensions.get().cloned()
    }

    pub fn set(&self, tenant: &TenantId) {
        self.0.get_or_init(|| tenant.clone());
    }

    pub fn get(&self) -> Option<&TenantId> {
        self.0.get()
    }
}
