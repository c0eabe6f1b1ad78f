//! A SIP user agent without I/O: bytes, commands and the time go in; bytes, events and the next
//! deadline come out. It runs natively and as WASM.
//!
//! [`message`] and [`uri`] read and write what is on the wire; a proxy or registrar needs nothing more.

mod dialog;
pub mod digest;
mod header_values;
pub mod message;
mod request_template;
mod time;
pub mod transaction;
pub mod ua;
pub mod uri;
