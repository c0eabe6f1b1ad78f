//! Phone → server, `POST /api/webphone/live-calls`: which calls the phone is in.
//!
//! Every report tells all of them and has a number that grows, so none is missed
//! for long and none counts twice. The server forgets a phone that falls silent.

use std::time::Duration;

use serde::Serialize;

use crate::seam::Direction;

/// How often a phone that is in a call reports without news.
pub const HEARTBEAT: Duration = Duration::from_secs(20);

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report<'a> {
    /// The tenant's API key: a page that closes can set no header.
    pub key: &'a str,
    /// Unique for the life of one page.
    pub client_id: &'a str,
    pub sequence: u32,
    pub calls: &'a [LiveCall],
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveCall {
    pub call_id: String,
    pub number: Option<String>,
    pub direction: Direction,
    pub state: State,
    /// Since the call began, by the phone's own clock.
    pub seconds: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ringing,
    Active,
    Held,
}
