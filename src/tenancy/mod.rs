//! The domain model and its rules: tenants, plans, keys, extensions, and the
//! values that are in effect for a tenant. No HTTP and no command line in here.
//!
//! [`Platform`] is the way in. It keeps the whole model in memory, indexed for
//! its readers, and the store is only written through it: a runtime request
//! ([`Platform::admit`]) or a SIP registration
//! ([`Platform::credentials`]) never waits for a disk.
//!
//! # State of one process
//!
//! One process owns the store today. This state lives in its memory only; where two appliances share a store, each
//! has to go elsewhere:
//!
//! | state | today | with a shared store |
//! |---|---|---|
//! | write gate (`PlatformShared::write_gate`) | a lock held shared by every change until memory has followed, and alone by a deletion's first phase | conditions in every batch: key uses, too, require their tenant's record |
//! | order of extension changes (`PlatformShared::extension_change`) | a lock | the revision of each record, compared by the snapshot |
//! | running idempotent requests (`PlatformShared::running_requests`) | a set of names | a record with a lease |
//! | pending tokens (`PlatformShared::pending_tokens`) | an index of the token records, for limits and expiry | counted in the store; expiry by lease |
//! | kept answers (`PlatformShared::kept_answers`) | an index of their records, for limits | counted in the store; expiry by lease |
//! | live calls (`PlatformShared::live_calls`) | a map with time-outs | records with a lease per phone |
//! | ACME challenges (`certs`) | a map that listeners and DNS answer from | records, read by every appliance before it answers |
//! | snapshot | follows this process's own commits | follows the store's watch, from the last revision seen |
//! | rate limits (`crate::rate_limiter`) | per process | per appliance, each with its share of the quota |

mod app;
mod audit;
mod caller_shares;
mod claim;
mod effective;
mod entitlement;
mod extension;
mod id;
mod idempotency;
mod key;
mod live_calls;
mod name_index;
mod names;
mod origin;
mod phone_session;
mod plan;
mod platform;
mod records;
mod refusal;
mod request_context;
mod runtime;
mod settings;
mod snapshot;
mod tenant;
mod tenant_state;
#[cfg(test)]
mod tests;
mod token;
mod transport;
mod turn_credentials;

pub use app::PublicApp;
pub use audit::{AuditEntry, AuditId, AuditSearch};
pub use claim::{
    Certificate, CertificateStage, Claim, ClaimPhase, DnsProblem, DomainLoss, DomainStatus, LostDomain, MovedAway,
    RecordObservation, RoutingMatch, TlsStatus, challenge_host,
};
pub use effective::{Defaults, Effective, Transport, TransportMode};
pub use entitlement::{Entitlement, withheld};
pub use extension::{Extension, MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH, NewExtension, checked_password};
pub use id::{TenantId, Username};
pub use idempotency::Idempotency;
pub use key::{ApiKey, ApiKeyMeta, KeyId, KeyPurpose};
pub use live_calls::{CallState, Direction, LiveCall, MAX_CALLS, ReportedCall, ReportedCalls};
pub use names::Names;
pub use origin::{OriginPattern, has_host_name};
pub use plan::{CatalogueStatus, Entitlements, Interval, NewPlan, Plan, Price};
pub use platform::{
    AddedExtension, CallUsage, IssuedToken, NewKey, NewTenant, OpenError, OperatorChange, PlanChange, Platform,
    Provisioned, RedeemedToken, Search, TokenContent, accept_loss, store_file,
};
pub use refusal::{FieldError, InvalidValue, Refusal};
pub use request_context::{Actor, RequestContext};
pub use runtime::RuntimeRefusal;
pub use settings::{Change, OperatorOverrides, Settings, SettingsChange};
pub use tenant::{PlanStatus, Tenant};
pub use tenant_state::{KeyState, TenantState};
pub use token::{SipCredentials, Token, resembles_secret};
pub use transport::{IceEntry, TransportChange, TransportDefaults};
