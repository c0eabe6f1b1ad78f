//! Phone → server, `POST /api/webphone/live-calls`: which calls the phone is in.
//!
//! Every report tells all of them and has a number that grows, so none is missed
//! for long and none counts twice. The server forgets a phone that falls silent.

use std::time::Duration;

use serde::Serialize;

use crate::agent_protocol::CallDirection;

/// How often a phone that is in a call reports without news.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(20);

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallReport<'a> {
    /// The tenant's API key: a page that closes can set no header.
    pub key: &'a str,
    /// Unique for the life of one page.
    pub client_id: &'a str,
    pub sequence: u32,
    pub calls: &'a [ReportedCall],
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportedCall {
    pub call_id: String,
    pub number: Option<String>,
    pub direction: CallDirection,
    pub state: ReportedCallState,
    /// Since the call began, by the phone's own clock.
    pub seconds: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReportedCallState {
    Ringing,
    Active,
    Held,
}
