//! The call list, and the agent around it, tested through their public interfaces: messages of pages and events of the user agent
//! go in, and its outputs are asserted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod accounts;
mod agent_with_server;
mod auto_answer;
mod calls;
mod conference;
mod far_end;
mod hold;
mod interleavings;
mod pages;
mod referrals;
mod reload;
mod takeover;
mod test_call_list;
mod transfers;
mod voice;
