//! Custom domains of tenants, from the claim to the certificate.
//!
//! [`domain_state`] decides what follows from an event, as a pure step function; [`owner_text`] describes the state to
//! the owner. [`Domains`] carries out the decisions: it checks DNS with an [`interfaces::DomainResolver`], orders
//! certificates from a [`CertificateProvider`] and stores the claims in [`crate::tenancy`]. Its
//! [worker](Domains::run) checks each domain when that is due, many at a time and each one at most once at a time.

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
