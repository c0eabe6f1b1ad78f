//! The one thing the agent reads in a description: which way audio flows.
//! Everything else in it is between the browsers.

/// True when whoever wrote this will not listen to us: it says `sendonly` or
/// `inactive` (RFC 3264 §8.4), or the old `c=… 0.0.0.0` (RFC 2543).
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

/// With ICE, `0.0.0.0` only says that no default candidate was chosen (RFC 8839 §4.2.1).
fn is_ice_placeholder(sdp: &str, line: &str) -> bool {
    line.starts_with("c=") && sdp.contains("a=ice-ufrag:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audio_sections_direction_wins_over_the_sessions() {
        assert!(is_hold("v=0\r\na=sendrecv\r\nm=audio 9 X 0\r\na=sendonly\r\n"));
        assert!(!is_hold("v=0\r\na=inactive\r\nm=audio 9 X 0\r\na=sendrecv\r\n"));
        assert!(is_hold("v=0\r\na=inactive\r\nm=audio 9 X 0\r\n"));
        assert!(!is_hold("v=0\r\nm=audio 9 X 0\r\n"));
        assert!(!is_hold("v=0\r\nm=audio 9 X 0\r\nm=video 9 X 0\r\na=inactive\r\n"));
    }

    #[test]
    fn a_zero_address_holds_only_without_ice() {
        assert!(is_hold("v=0\r\nm=audio 9 X 0\r\nc=IN IP4 0.0.0.0\r\n"));
        assert!(!is_hold("v=0\r\nm=audio 9 X 0\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:x\r\na=sendrecv\r\n"));
    }
}
