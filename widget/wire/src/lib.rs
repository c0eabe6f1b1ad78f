//! The message types of the phone's interfaces: server → loader → phone
//! ([`config`]), host page ↔ phone ([`host_protocol`]), phone ↔ agent ([`agent_protocol`]), phone → server
//! ([`call_reports`]).
//!
//! Both sides of each interface compile these types, so that a missing field is a
//! compile error; tables and types of the loader, which is JavaScript, are made from them.
//! Messages that other programs read are JSON with camelCase names. Unknown fields
//! are ignored, so that a cached older loader works with a newer phone.
//!
//! [`number`] and [`call_headers`] validate what can be called and how, for the phone and the agent; [`text`] is about what
//! other people have written; [`small_map`] is for both, too.

pub mod agent_protocol;
pub mod call_headers;
pub mod call_reports;
pub mod config;
pub mod encoding;
pub mod host_protocol;
pub mod number;
pub mod small_map;
pub mod text;
