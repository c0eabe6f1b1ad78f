//! The agent: the part of the phone that continues when a page is closed or reloaded.
//!
//! It keeps the WebSocket, the registration and the calls of one account for all
//! pages that are attached to it. It runs in a `SharedWorker`, or in the page if
//! the browser has none.
//!
//! Like the user agent ([`bitcall_sip::ua`]) it does no I/O. Its inputs are messages
//! of pages, socket events and the time; its outputs are messages to pages, socket
//! commands and the next deadline.
//!
//! - [`Agent`] connects the call list with the user agent. The driver calls it.
//! - [`CallList`] handles pages and calls: which page owns a call, which page may
//!   ring, and the media requests to each page.
//! - `driver` does the I/O: ports, `WebSocket`, timers (WASM only).

mod agent;
mod call;
mod call_list;
mod clock;
mod conference;
#[cfg(target_arch = "wasm32")]
mod driver;
mod pages;
mod sdp;

pub use agent::{Agent, Input, Output};
pub use call_list::{CallList, CallListOutput};
pub use clock::{AgentClock, ClockChange, ClockReading};
pub use pages::PortId;
