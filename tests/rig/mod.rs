//! Everything a behaviour test needs around the binary: real browsers, a real
//! SIP server with a media proxy, real far ends. Each test starts its own and
//! loses them when it ends; nothing listens outside loopback, no port is fixed.
//!
//! When a test fails, what every process wrote is printed below the failure.

// The benchmarks share this directory and use other parts of it than the tests do.
#![allow(dead_code)]

pub mod acme_installation;
pub mod authority;
pub mod b2bua;
pub mod baresip;
pub mod bitcall;
pub mod browser;
pub mod browsing_context;
pub mod coturn;
pub mod fault_proxy;
pub mod firefox;
pub mod host;
pub mod http;
pub mod https_file;
pub mod kamailio;
pub mod office;
pub mod pebble;
pub mod ports;
pub mod process;
pub mod resolver;
pub mod sipp;
pub mod sound;
pub mod tap;
pub mod test_bed;
pub mod tone_sender;
pub mod wait;
