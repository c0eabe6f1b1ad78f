//! Plans: what a tenant is entitled to, and what the operator bills for it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One entry of the plan catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    pub id: String,
    pub name: String,
    /// Whether the catalogue still offers it. Tenants keep a retired plan.
    pub status: CatalogueStatus,
    /// In whole units of [`Self::currency`] per [`Self::interval`].
    pub price: u32,
    /// ISO 4217.
    pub currency: String,
    pub interval: Interval,
    /// The plan of tenants that are provisioned without naming one. Exactly one plan is.
    pub is_default: bool,
    pub entitlements: Entitlements,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CatalogueStatus {
    Active,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Interval {
    Month,
    Year,
}

#[allow(clippy::struct_excessive_bools)] // a list of independent rights, each with its own name
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entitlements {
    pub custom_branding: bool,
    pub subdomain_access: bool,
    pub custom_domain_access: bool,
    pub popup_mode: bool,
    pub audio_clips: bool,
    pub transfer: bool,
    pub max_api_keys: u32,
    /// Concurrent calls per phone.
    pub max_sessions: u32,
    /// May point the phone at a SIP domain of its own.
    pub sip_host_override: bool,
    pub wss_override: bool,
    pub ice_override: bool,
}

/// What a new store starts with. Every plan may use a PBX of its own: that is
/// what a self-hosted phone is for; an operator who sells otherwise changes the catalogue.
pub fn seeds() -> [Plan; 3] {
    let free = free();
    let enterprise = Plan {
        id: "enterprise".into(),
        name: "Enterprise".into(),
        price: 99,
        is_default: false,
        entitlements: Entitlements {
            custom_branding: true,
            subdomain_access: true,
            custom_domain_access: true,
            audio_clips: true,
            max_api_keys: 20,
            max_sessions: 6,
            ..free.entitlements.clone()
        },
        ..free.clone()
    };
    let pro = Plan {
        id: "pro".into(),
        name: "Pro".into(),
        price: 29,
        entitlements: Entitlements {
            custom_domain_access: false,
            max_api_keys: 3,
            max_sessions: 2,
            ..enterprise.entitlements.clone()
        },
        ..enterprise.clone()
    };
    [free, pro, enterprise]
}

/// The seeded default plan; also what a tenant has whose plan is missing in the catalogue.
pub fn free() -> Plan {
    Plan {
        id: "free".into(),
        name: "Free".into(),
        status: CatalogueStatus::Active,
        price: 0,
        currency: "EUR".into(),
        interval: Interval::Month,
        is_default: true,
        entitlements: Entitlements {
            custom_branding: false,
            subdomain_access: false,
            custom_domain_access: false,
            popup_mode: true,
            audio_clips: false,
            transfer: true,
            max_api_keys: 2,
            max_sessions: 2,
            sip_host_override: true,
            wss_override: true,
            ice_override: true,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_seeded_plan_is_the_default() {
        let plans = seeds();
        assert_eq!(plans.iter().filter(|plan| plan.is_default).count(), 1);
    }
}
