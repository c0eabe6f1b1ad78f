//! Plans: what a tenant is entitled to, and what the operator bills for it.
//!
//! Bitcall bills nobody: price, currency and interval are kept and shown for the operator's panel.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};

use super::refusal::InvalidValue;

/// One entry of the plan catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    pub id: String,
    pub name: String,
    /// Whether the catalogue still offers it. Tenants keep a retired plan.
    pub status: CatalogueStatus,
    /// In units of [`Self::currency`] per [`Self::interval`].
    pub price: Price,
    /// ISO 4217, upper case.
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
    /// Not for new tenants nor for a change of plan; those who have it keep it.
    Retired,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Interval {
    Month,
    Year,
}

/// An amount of money in hundredths; as JSON a number, `29` or `9.9`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(from = "f64")]
pub struct Price {
    hundredths: u32,
}

impl Price {
    pub const fn whole(units: u32) -> Self {
        Self { hundredths: units.saturating_mul(100) }
    }
}

impl From<f64> for Price {
    /// To the nearest hundredth.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // rounded, and `as` saturates
    fn from(amount: f64) -> Self {
        Self { hundredths: (amount * 100.0).round() as u32 }
    }
}

impl Serialize for Price {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.hundredths % 100 {
            0 => serializer.serialize_u32(self.hundredths / 100),
            _ => serializer.serialize_f64(f64::from(self.hundredths) / 100.0),
        }
    }
}

impl JsonSchema for Price {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Price".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0 })
    }
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

/// An entry of the catalogue to be made, or to replace the one of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPlan {
    /// See [`checked_id`].
    pub id: String,
    pub name: String,
    pub status: CatalogueStatus,
    pub price: Price,
    pub currency: String,
    pub interval: Interval,
    pub entitlements: Entitlements,
    /// Whether it becomes the default plan; where nothing is said it stays what it is.
    pub is_default: Option<bool>,
}

/// A plan's name for good: 1 to 48 of `a-z 0-9 _ -`, starting and ending with a letter or digit.
pub fn checked_id(id: &str) -> Result<(), InvalidValue> {
    // The same rule as for tenants, so that both can stand in paths and keys.
    id.parse::<super::id::TenantId>().map(drop)
}

/// What a new store starts with. Every plan may use a PBX of its own: that is
/// what a self-hosted phone is for; an operator who sells otherwise changes the catalogue.
pub fn seeds() -> [Plan; 3] {
    let free = free();
    let enterprise = Plan {
        id: "enterprise".into(),
        name: "Enterprise".into(),
        price: Price::whole(99),
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
        price: Price::whole(29),
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
        price: Price::whole(0),
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
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn exactly_one_seeded_plan_is_the_default() {
        let plans = seeds();
        assert_eq!(plans.iter().filter(|plan| plan.is_default).count(), 1);
    }

    #[test]
    fn prices_are_kept_to_the_hundredth_and_shown_as_they_were_written() {
        for text in ["0", "29", "9.9", "9.99", "1000000", "0.01"] {
            let price: Price = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&price).unwrap(), text);
        }
        assert_eq!(serde_json::from_str::<Price>("9.999").unwrap(), Price::whole(10));
    }
}
