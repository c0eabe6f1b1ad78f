//! The agent's board, tried from outside: pages speak, the user agent speaks,
//! and what comes out is looked at.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod accounts;
mod calls;
mod hold;
mod pages;
mod reload;
mod test_call_list;
