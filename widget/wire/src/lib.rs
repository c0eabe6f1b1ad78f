//! The messages that cross a border of the phone: server → loader → phone
//! ([`config`]), host page ↔ phone ([`host_protocol`]), phone ↔ agent ([`agent_protocol`]), phone → server
//! ([`call_reports`]).
//!
//! Both sides of every border compile these types (the loader, which is plain
//! JavaScript, follows them by hand), so a field that one side forgets is a
//! compile error and not a silent `undefined`. What other programs read too is
//! JSON with camelCase names. Unknown fields are ignored on reading, so that a loader
//! from yesterday's cache and a phone from today understand each other.
//!
//! [`number`] is the rule both sides share for what can be called.

pub mod agent_protocol;
pub mod call_reports;
pub mod config;
pub mod host_protocol;
pub mod number;
