//! Domains of the tenants' own, from the claim to the padlock.
//!
//! [`domain_state`] decides, as a pure step function; [`owner_text`] says it to the owner.
//! [`Domains`] does what was decided: it asks DNS through [`interfaces::DomainResolver`], gets
//! certificates through [`CertificateProvider`], and keeps the facts by [`crate::tenancy`].
//! Its [worker](Domains::keep) looks at each domain when that is due, many at a time and never twice at once.

mod adapters;
mod domain_state;
mod driver;
mod interfaces;
mod owner_text;
mod schedule;
#[cfg(test)]
mod tests;
mod worker;

pub use adapters::NoCertificates;
pub use driver::{Domains, Recheck};
pub use interfaces::CertificateProvider;
pub use owner_text::{loss, next_action, next_action_without};
