//! The direction of audio in a session description (RFC 8866).
//! The agent reads nothing else in it; the rest is for the page's `RTCPeerConnection`.

/// True if the description puts us on hold: its audio is `sendonly` or `inactive`
/// (RFC 3264 §8.4), or it has the older `c=… 0.0.0.0` (RFC 2543).
pub fn is_hold(sdp: &str) -> bool {
    let mut session = None;
    let mut audio = None;
    let mut section = SdpSection::Session;
    for line in sdp.lines() {
        let line = line.trim_end();
        if let Some(media) = line.strip_prefix("m=") {
            section = if media.starts_with("audio") && section != SdpSection::Audio {
                SdpSection::Audio
            } else {
                SdpSection::Other
            };
        }
        let held = match line {
            "a=sendonly" | "a=inactive" | "c=IN IP4 0.0.0.0" if !is_ice_placeholder(sdp, line) => true,
            "a=sendrecv" | "a=recvonly" => false,
            _ => continue,
        };
        match section {
            SdpSection::Session => session = Some(held),
            SdpSection::Audio => audio = Some(held),
            SdpSection::Other => {}
        }
    }
    audio.or(session).unwrap_or(false)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SdpSection {
    Session,
    Audio,
    Other,
}

/// With ICE, `0.0.0.0` only means that there is no default candidate yet (RFC 8839 §4.2.1).
fn is_ice_placeholder(sdp: &str, line: &str) -> bool {
    line.starts_with("c=") && sdp.contains("a=ice-ufrag:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_direction_of_the_audio_section_overrides_the_session() {
        assert!(is_hold("v=0\r\na=sendrecv\r\nm=audio 9 X 0\r\na=sendonly\r\n"));
        assert!(!is_hold("v=0\r\na=inactive\r\nm=audio 9 X 0\r\na=sendrecv\r\n"));
        assert!(is_hold("v=0\r\na=inactive\r\nm=audio 9 X 0\r\n"));
        assert!(!is_hold("v=0\r\nm=audio 9 X 0\r\n"));
        assert!(!is_hold("v=0\r\nm=audio 9 X 0\r\nm=video 9 X 0\r\na=inactive\r\n"));
    }

    #[test]
    fn a_zero_address_means_hold_only_without_ice() {
        assert!(is_hold("v=0\r\nm=audio 9 X 0\r\nc=IN IP4 0.0.0.0\r\n"));
        assert!(!is_hold("v=0\r\nm=audio 9 X 0\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:x\r\na=sendrecv\r\n"));
    }
}
