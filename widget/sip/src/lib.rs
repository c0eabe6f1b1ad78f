//! SIP for Bitcall, sans-IO: messages, digest, transactions, dialogs and a user agent.

mod time;
pub mod transaction;
pub mod ua;
