//! SIP for Bitcall, sans-IO: messages, digest, transactions, dialogs and a user agent.

pub mod ua;
