//! The one WebAssembly module that browsers load.
//!
//! Phone and agent are two programs that talk by messages, and run in two
//! places: the phone in the page (`widget/phone/start.js`), the agent in a
//! `SharedWorker` (`widget/agent/worker.js`). They travel together because
//! much of both is the same: allocator, strings, maps, the bindings to
//! JavaScript, the messages. Fetched once, run twice.

// Linked for what they export to JavaScript.
pub use bitcall_agent as agent;
pub use bitcall_phone as phone;
