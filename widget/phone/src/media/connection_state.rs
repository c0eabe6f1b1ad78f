//! The state of a connection as the agent needs it: ICE alone says nothing about DTLS (RFC 8827 §6.5), and a
//! connection whose DTLS is not up carries no sound.

use bitcall_wire::agent_protocol::MediaState;
use web_sys::{RtcIceConnectionState, RtcPeerConnectionState};

/// `None` before ICE has a path, and while a path is looked for again. The browser reports the two states one
/// after the other, so each event is judged by both.
pub fn media_state(connection: RtcPeerConnectionState, ice: RtcIceConnectionState) -> Option<MediaState> {
    use {RtcIceConnectionState as Ice, RtcPeerConnectionState as Connection};
    match (connection, ice) {
        (Connection::Connected, _) => Some(MediaState::Connected),
        (Connection::Failed, _) | (_, Ice::Failed) => Some(MediaState::Failed),
        (Connection::Disconnected, _) | (_, Ice::Disconnected) => Some(MediaState::Disconnected),
        (_, Ice::Connected | Ice::Completed) => Some(MediaState::IceConnected),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use {RtcIceConnectionState as Ice, RtcPeerConnectionState as Connection};

    #[test]
    fn a_call_is_connected_only_with_ice_and_dtls() {
        assert_eq!(media_state(Connection::New, Ice::New), None);
        assert_eq!(media_state(Connection::Connecting, Ice::Checking), None);
        assert_eq!(media_state(Connection::Connecting, Ice::Completed), Some(MediaState::IceConnected));
        assert_eq!(media_state(Connection::Connected, Ice::Completed), Some(MediaState::Connected));
    }

    #[test]
    fn a_failure_of_either_is_one() {
        assert_eq!(media_state(Connection::Failed, Ice::Connected), Some(MediaState::Failed), "DTLS");
        assert_eq!(media_state(Connection::Connecting, Ice::Failed), Some(MediaState::Failed));
        assert_eq!(media_state(Connection::Disconnected, Ice::Checking), Some(MediaState::Disconnected));
        assert_eq!(media_state(Connection::Connecting, Ice::Disconnected), Some(MediaState::Disconnected));
    }
}
