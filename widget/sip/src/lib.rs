//! A sans-IO SIP user agent (RFC 3261). Its inputs are received bytes, commands and the current
//! time; its outputs are bytes to send, events and the next deadline. It runs natively and as WASM.
//!
//! [`message`] and [`uri`] parse and write SIP messages; a proxy or registrar needs only these and
//! [`digest`].

mod dialog;
pub mod digest;
mod encoded_word;
mod header_values;
pub mod message;
mod mime_encoding;
mod multipart;
mod request_template;
mod time;
pub mod transaction;
pub mod ua;
pub mod uri;
