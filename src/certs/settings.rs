//! The settings by which certificates are ordered.

use std::collections::HashMap;

use super::account::Limits;
use super::client::ExternalAccountBinding;
use super::order::Rules;
use super::preflight::Preflight;

/// See [`Certs::open`](super::Certs::open).
pub struct AcmeSettings {
    pub rules: Rules,
    /// The certificate profile to order, from authorities that offer it.
    pub profile: Option<String>,
    /// Mail address for the authorities.
    pub contact: Option<String>,
    /// External accounts by directory.
    pub bindings: HashMap<String, ExternalAccountBinding>,
    /// Limits in addition to those of [`quotas`](super::quotas).
    pub limits: Limits,
    pub preflight: Box<dyn Preflight>,
    /// The name of this appliance in leases; it stays the same after a restart.
    pub holder: String,
}
