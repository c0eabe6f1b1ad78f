//! A sample call for tests.

use bitcall_wire::agent_protocol::{CallDirection, CallSnapshot, CallState, HoldState, RecordingState};

pub fn call(id: &str, state: CallState) -> CallSnapshot {
    CallSnapshot {
        id: id.to_owned(),
        direction: CallDirection::Outbound,
        number: "102".to_owned(),
        display_name: None,
        requested_caller_id: None,
        state,
        hold: HoldState::None,
        remote_held: false,
        muted: false,
        recording: RecordingState::Off,
        voice: true,
        rings: false,
        started_at: 0,
        answered_at: None,
        page: None,
        detached: false,
        transfer: None,
        consults_for: None,
        referral: None,
        diverted_from: None,
        auto_answer: false,
        headers: Vec::new(),
    }
}
