//! What of the configuration concerns the ordering of certificates.

use std::collections::HashMap;

use super::account::Limits;
use super::client::Binding;
use super::order::Rules;
use super::preflight::Preflight;

/// All of it.
pub struct Settings {
    pub rules: Rules,
    /// Of certificates, where an authority offers it.
    pub profile: Option<String>,
    /// Mail address for the authorities.
    pub contact: Option<String>,
    /// External accounts by directory.
    pub bindings: HashMap<String, Binding>,
    /// Besides those that hold for every installation.
    pub limits: Limits,
    /// Knows where an authority would look.
    pub scout: Box<dyn Preflight>,
    /// Names this appliance in leases; the same after every restart.
    pub holder: String,
}
