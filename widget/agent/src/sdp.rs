//! What the agent reads in a session description (RFC 8866): the direction of audio, and which transport
//! it describes. The rest is for the page's `RTCPeerConnection`.

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

/// The ICE credentials (RFC 8839 §5.4) and the DTLS fingerprint (RFC 8122 §5) of a description. Two
/// descriptions with the same ones are of the same transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportIdentity(Vec<String>);

impl TransportIdentity {
    pub fn of(sdp: &str) -> TransportIdentity {
        let mut lines: Vec<String> = sdp
            .lines()
            .map(str::trim_end)
            .filter(|line| ["a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:"].iter().any(|name| line.starts_with(name)))
            .map(str::to_owned)
            .collect();
        // They may stand in the session, in each media section, or in both.
        lines.sort_unstable();
        lines.dedup();
        TransportIdentity(lines)
    }
}

/// True if the far end keeps its DTLS association and makes no new handshake (RFC 4145 §4).
pub fn keeps_connection(sdp: &str) -> bool {
    sdp.lines().any(|line| line.trim_end() == "a=connection:existing")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SdpSection {
    Session,
    Audio,
    Other,
}

/// With ICE, `0.0.0.0` and port 9 only mean that there is no default candidate yet (RFC 8839 §4.2.1).
fn is_ice_placeholder(sdp: &str, line: &str) -> bool {
    line.starts_with("c=") && sdp.contains("a=ice-ufrag:") && sdp.contains("m=audio 9 ")
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
    fn descriptions_with_the_same_keys_are_of_one_transport() {
        let sdp = |ufrag: &str, key: &str| {
            format!("v=0\r\na=fingerprint:sha-256 {key}\r\nm=audio 9 X 0\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:p\r\n")
        };
        let of = |text: &str| TransportIdentity::of(text);
        assert_eq!(of(&sdp("u", "AA")), of(&format!("{}a=sendonly\r\n", sdp("u", "AA"))));
        assert_ne!(of(&sdp("u", "AA")), of(&sdp("v", "AA")));
        assert_ne!(of(&sdp("u", "AA")), of(&sdp("u", "BB")));
    }

    #[test]
    fn a_zero_address_means_hold_only_without_ice() {
        assert!(is_hold("v=0\r\nm=audio 9 X 0\r\nc=IN IP4 0.0.0.0\r\n"));
        assert!(!is_hold("v=0\r\nm=audio 9 X 0\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:x\r\na=sendrecv\r\n"));
        // A relay passes a hold of RFC 2543 on with ICE and a port of its own.
        assert!(is_hold("v=0\r\nm=audio 5000 X 0\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:x\r\n"));
    }
}
