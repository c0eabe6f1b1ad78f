//! The agent: what must outlive a page.
//!
//! It keeps the socket, the registration and the list of calls of one person,
//! for all pages of theirs that are attached to it. It runs in a
//! `SharedWorker`, or in the page where the browser has none.
//!
//! Like the user agent below it ([`bitcall_sip::ua`]) it does no I/O: pages'
//! messages, socket events and the time go in; messages to pages, socket
//! commands and the next deadline come out.
//!
//! - [`Agent`] joins the two halves and is what a driver holds.
//! - [`CallList`] is the half that knows pages and calls: who owns which call, who
//!   may ring, what is asked of whose media.
//! - `driver` does the input and output: ports, `WebSocket`, timers (WASM only).

mod agent;
mod call_entry;
mod call_list;
#[cfg(target_arch = "wasm32")]
mod driver;
mod pages;
mod sdp;

pub use agent::{Agent, Input, Output};
pub use call_list::{CallList, CallListOutput};
pub use pages::PortId;
