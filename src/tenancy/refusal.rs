//! Why the rules said no. The codes are part of the API's contract.

use super::entitlement::Entitlement;
use crate::store;

/// One field that was not accepted, by its path in the request (`branding.themeColor`).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FieldError {
    pub field: String,
    pub message: String,
}

impl FieldError {
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// Why one value is not acceptable, as the end of a sentence that starts with the field's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidValue(pub String);

impl InvalidValue {
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    pub fn at(self, field: impl Into<String>) -> FieldError {
        FieldError::new(field, self.0)
    }
}

/// A request that the rules, or the store, turned down. Nothing was written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    #[error("{}", faults_in_words(.0))]
    Validation(Vec<FieldError>),
    #[error("there is no tenant {0:?}")]
    TenantNotFound(String),
    #[error("the tenant {0} exists already")]
    TenantExists(String),
    /// Both would have the same label in domain names.
    #[error("a tenant exists whose id differs from {0} in - and _ only: the two would share a SIP domain")]
    TenantAlike(String),
    #[error("the tenant has no API key {0:?}")]
    ApiKeyNotFound(String),
    #[error("the plan allows {0} API keys; revoke one first or change the plan")]
    ApiKeyLimitReached(u32),
    #[error("{0} API keys of the tenant are being replaced already; revoke those that nobody uses any more")]
    TooManyRetiringKeys(usize),
    #[error("the API key {0:?} has been replaced already and retires")]
    ApiKeyRetiring(String),
    #[error("this is the tenant's last API key; create another one before revoking it")]
    LastApiKey,
    #[error("there is no plan {0:?}")]
    PlanNotFound(String),
    #[error("{tenants} tenants have the plan {id}; give them another one first, or retire the plan")]
    PlanInUse { id: String, tenants: usize },
    #[error(
        "the plan {0} is the default one, which is neither removed nor retired; make another plan the default first"
    )]
    DefaultPlan(String),
    #[error("the plan {0} is retired: only tenants that have it already keep it")]
    PlanRetired(String),
    #[error("the tenant has no extension {0:?}")]
    ExtensionNotFound(String),
    #[error("the extension {0} exists already, with another password")]
    ExtensionExists(String),
    #[error("the tenant's plan does not allow to change {field}")]
    NotEntitled { field: &'static str, right: Entitlement },
    #[error("the tenant does not have {0} switched on")]
    FeatureDisabled(&'static str),
    #[error("the tenant is disabled")]
    TenantDisabled,
    /// Neither the name nor the query leads to a tenant, or they contradict each other.
    #[error("this address leads to no tenant's app; open the tenant's own, or add ?tenant=…")]
    AppNotFound,
    #[error("the tenant's app cannot be installed")]
    AppNotInstallable,
    /// Unknown, used or expired: nobody learns which.
    #[error("the token is not valid; it may have been used, or its time is over")]
    TokenInvalid,
    #[error("it was changed since the version in If-Match; read it again")]
    Outdated,
    #[error("this Idempotency-Key was used for another request; take a new one for each")]
    KeyReused,
    #[error("the request with this Idempotency-Key is still being done; ask again in a moment")]
    StillAtWork,
    #[error("too many phones of this agent, page or network report calls")]
    TooManyClients,
    #[error("the report is of no phone that is signed in; load the phone's page anew")]
    NoPhoneSession,
    #[error("the tenant's plan does not include a subdomain")]
    SubdomainNotAllowed,
    #[error("this server has no base domain: `domains.base` is not set")]
    NoBaseDomain,
    #[error("the subdomain {0} is reserved")]
    SubdomainReserved(String),
    #[error("the subdomain {0} belongs to another tenant")]
    SubdomainInUse(String),
    #[error("the tenant's plan does not include a domain of its own")]
    CustomDomainNotAllowed,
    #[error("the domain {0} is claimed by another tenant")]
    CustomDomainInUse(String),
    #[error(
        "the domain {domain} is claimed by another tenant, which has not proved it; to have it, publish the {proof} and claim it again"
    )]
    CustomDomainUnproved { domain: String, proof: String },
    /// The store failed; the same request may work later.
    #[error("the change could not be stored: {0}")]
    Unavailable(store::Error),
}

impl Refusal {
    /// The right that the tenant's plan would have to include.
    pub fn missing_right(&self) -> Option<Entitlement> {
        match self {
            Self::NotEntitled { right, .. } => Some(*right),
            Self::SubdomainNotAllowed => Some(Entitlement::SubdomainAccess),
            Self::CustomDomainNotAllowed => Some(Entitlement::CustomDomainAccess),
            _ => None,
        }
    }
}

impl From<FieldError> for Refusal {
    fn from(fault: FieldError) -> Self {
        Self::Validation(vec![fault])
    }
}

fn faults_in_words(faults: &[FieldError]) -> String {
    faults.iter().map(|fault| format!("{} {}", fault.field, fault.message)).collect::<Vec<_>>().join("; ")
}
