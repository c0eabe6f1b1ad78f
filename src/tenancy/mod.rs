//! The domain model and its rules: tenants, plans, keys, extensions, and the
//! values that are in effect for a tenant. No HTTP and no command line in here.
//!
//! [`Platform`] is the way in. It keeps the whole model in memory, indexed for
//! its readers, and the store is only written through it: a runtime request
//! ([`Platform::runtime_config`]) or a SIP registration
//! ([`Platform::credentials`]) never waits for a disk.

mod act;
mod app;
mod audit;
mod claim;
mod effective;
mod extension;
mod fault;
mod id;
mod key;
mod live;
mod live_calls;
mod name_index;
mod names;
mod origin;
mod plan;
mod platform;
mod records;
mod replay;
mod runtime;
mod settings;
mod snapshot;
mod tenant;
#[cfg(test)]
mod tests;
mod token;
mod transport;
mod turn;

pub use act::{Act, Actor};
pub use app::App;
pub use audit::{AuditEntry, AuditId, AuditSearch};
pub use claim::{
    Away, Certificate, CertificateStage, Claim, DnsProblem, DomainStatus, Lost, LostDomain, Phase, Seen, TlsStatus,
    Way, challenge_host,
};
pub use effective::{Defaults, Effective, Transport, TransportMode};
pub use extension::{Extension, MAX_PASSWORD, MIN_PASSWORD, NewExtension, checked_password};
pub use fault::{Fault, Invalid, Refusal};
pub use id::{TenantId, Username};
pub use key::{ApiKey, ApiKeyMeta, KeyId};
pub use live::{Live, LiveKey};
pub use live_calls::{CallState, Direction, LiveCall, MAX_CALLS, Report, ReportedCall};
pub use names::Names;
pub use origin::OriginPattern;
pub use plan::{CatalogueStatus, Entitlements, Interval, NewPlan, Plan, Price};
pub use platform::{
    AddedExtension, Carried, Issued, NewTenant, OpenError, OperatorChange, PlanChange, Platform, Provisioned, Redeemed,
    Search, Usage, store_file,
};
pub use replay::Begun;
pub use runtime::RuntimeRefusal;
pub use settings::{ByOperator, Change, Settings, SettingsChange};
pub use tenant::{PlanStatus, Tenant};
pub use token::{SipCredentials, Token};
pub use transport::{IceEntry, TransportChange, TransportDefaults};
