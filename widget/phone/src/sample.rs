//! A call to start from, for tests.

use bitcall_wire::seam::{Call, CallState, Direction, Hold};

pub fn call(id: &str, state: CallState) -> Call {
    Call {
        id: id.to_owned(),
        direction: Direction::Outbound,
        number: "102".to_owned(),
        display_name: None,
        requested_caller_id: None,
        state,
        hold: Hold::None,
        remote_held: false,
        muted: false,
        started_at: 0,
        answered_at: None,
        page: None,
        detached: false,
    }
}
