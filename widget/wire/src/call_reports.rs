//! Phone → server, `POST /api/webphone/live-calls`: the current calls of the phone.
//!
//! Each report contains all calls, so that a lost report is corrected by the next
//! one. Its sequence number increases, so that the server can ignore a report that
//! arrives late. The server removes the calls of a phone that stops reporting.

use std::time::Duration;

use serde::Serialize;

use crate::agent_protocol::CallDirection;

/// Interval of the reports of a phone in a call when nothing changes.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(20);

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallReport<'a> {
    /// The tenant's API key. It is in the body because a page that closes cannot set headers.
    pub key: &'a str,
    /// The text by which the server knows this phone as signed in.
    pub session: &'a str,
    /// Unique per page load.
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
    /// Seconds since the start of the call, by the phone's clock.
    pub seconds: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReportedCallState {
    Ringing,
    Active,
    Held,
}
