//! The user agent against a server and a far end played by the tests: one behaviour per file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod test_user_agent;

mod cancel_races;
mod forks;
mod incoming_calls;
mod interleavings;
mod keep_alive;
mod other_requests;
mod outgoing_calls;
mod reconnects;
mod registers;
mod session_changes;
