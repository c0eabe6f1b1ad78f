//! Tests of the user agent; the test acts as server and far end. One subject per file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod test_user_agent;

mod caller_ids;
mod cancel_races;
mod failback;
mod forks;
mod incoming_calls;
mod interleavings;
mod keep_alive;
mod liberal_reading;
mod messages;
mod other_requests;
mod outgoing_calls;
mod reconnects;
mod referrals;
mod registers;
mod session_changes;
mod transfers;
