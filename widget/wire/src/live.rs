//! Phone → server, `POST /api/webphone/live-calls`: which calls the phone is in.
//!
//! Every report tells all of them and has a number that grows, so none is missed
//! for long and none counts twice. The server forgets a phone that falls silent.

use std::time::Duration;

/// How often a phone that is in a call reports without news.
pub const HEARTBEAT: Duration = Duration::from_secs(20);
