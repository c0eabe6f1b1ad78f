//! Behaviour tests: the real binary, real browsers, real SIP servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod api_keys;
mod appliance;
mod assets;
mod config_faults;
mod demo;
mod durability;
mod edge;
mod installation;
mod origins;
mod provisioning;
mod serve_tls;
