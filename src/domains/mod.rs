//! Domains of the tenants' own, from the claim to the padlock.
//!
//! [`life`] decides, as a pure step function; [`words`] says it to the owner.
//! [`Domains`] does what was decided: it asks DNS through [`outside::Eyes`], gets
//! certificates through [`Certificates`], and keeps the facts by [`crate::tenancy`].
//! Its [worker](Domains::keep) looks at each domain when that is due, many at a time and never twice at once.

mod life;
mod outside;
mod parties;
mod pass;
mod schedule;
#[cfg(test)]
mod tests;
mod words;
mod worker;

pub use outside::Certificates;
pub use parties::NoCertificates;
pub use pass::{Domains, Recheck};
pub use words::{loss, next_action, next_action_without};
