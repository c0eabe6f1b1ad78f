//! What the agent reads in a session description (RFC 8866): the direction of audio, the codec in use, and
//! which transport it describes. The rest is for the page's `RTCPeerConnection`.

/// True if the description puts us on hold: its audio is `sendonly` or `inactive`
/// (RFC 3264 §8.4), or it has the older `c=… 0.0.0.0` (RFC 2543 §B.5). What the audio section says overrides
/// the session.
pub fn is_hold(sdp: &str) -> bool {
    let mut place = SdpPlace::Session;
    let (mut direction, mut address) = (Overridable::default(), Overridable::default());
    let mut has_placeholder_port = false;
    for line in sdp.lines() {
        let line = line.trim_end();
        if let Some(media) = line.strip_prefix("m=") {
            let mut words = media.split_ascii_whitespace();
            let is_audio = words.next() == Some("audio");
            let port = words.next().unwrap_or_default();
            place = match place {
                SdpPlace::Audio | SdpPlace::AfterAudio => SdpPlace::AfterAudio,
                // Port 0: not used (RFC 3264 §8.2).
                _ if is_audio && port != "0" => {
                    has_placeholder_port = port == "9";
                    SdpPlace::Audio
                }
                _ => SdpPlace::BeforeAudio,
            };
        }
        match line {
            "a=sendonly" | "a=inactive" => direction.note(place, true),
            "a=sendrecv" | "a=recvonly" => direction.note(place, false),
            _ if line.starts_with("c=") => address.note(place, line.ends_with(" 0.0.0.0")),
            _ => {}
        }
    }
    // With ICE, `0.0.0.0` and port 9 only mean that there is no default candidate yet (RFC 8839 §4.2.1).
    let is_placeholder = has_placeholder_port && sdp.contains("a=ice-ufrag:");
    direction.is_held() || (address.is_held() && !is_placeholder)
}

/// The ICE credentials (RFC 8839 §5.4) and the DTLS fingerprint (RFC 8122 §5) of a description. Two
/// descriptions with the same ones are of the same transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportIdentity(Vec<String>);

impl TransportIdentity {
    pub fn of(sdp: &str) -> TransportIdentity {
        let mut lines: Vec<String> = Vec::new();
        for line in sdp.lines().map(str::trim_end) {
            let counts = ["a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:"].iter().any(|name| line.starts_with(name));
            // They may stand in the session, in each media section, or in both.
            if counts && let Err(place) = lines.binary_search_by(|known| known.as_str().cmp(line)) {
                lines.insert(place, line.to_owned());
            }
        }
        TransportIdentity(lines)
    }
}

/// True if the far end keeps its DTLS association and makes no new handshake (RFC 4145 §4).
pub fn keeps_connection(sdp: &str) -> bool {
    sdp.lines().any(|line| line.trim_end() == "a=connection:existing")
}

/// The codec that an answer has chosen, in lower case, e.g. `opus`: the first one (RFC 3264 §6.1), digits and
/// comfort noise aside.
pub fn codec_in_use(answer: &str) -> Option<String> {
    let mut lines = answer.lines();
    let formats = lines.find_map(|line| {
        let mut words = line.strip_prefix("m=audio ")?.split_ascii_whitespace();
        words.next().filter(|port| *port != "0").map(|_| words.skip(1))
    })?;
    // Static payload types need no mapping (RFC 3551 §6).
    let mut codecs = formats.filter_map(|format| match mapped(lines.clone(), format) {
        Some(codec) => Some(codec.to_ascii_lowercase()),
        None => match format {
            "0" => Some("pcmu".to_owned()),
            "8" => Some("pcma".to_owned()),
            "9" => Some("g722".to_owned()),
            _ => None,
        },
    });
    codecs.find(|codec| codec != "telephone-event" && codec != "cn")
}

/// The name of a payload type by the first `rtpmap` (RFC 8866 §6.6).
fn mapped<'a>(mut lines: impl Iterator<Item = &'a str>, format: &str) -> Option<&'a str> {
    lines.find_map(|line| {
        let (number, codec) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
        codec.split('/').next().filter(|_| number == format)
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SdpPlace {
    Session,
    BeforeAudio,
    /// The first audio section that is used.
    Audio,
    AfterAudio,
}

/// Whether something says "hold": first for the session, then for the audio section.
#[derive(Default)]
struct Overridable {
    session: Option<bool>,
    audio: Option<bool>,
}

impl Overridable {
    fn note(&mut self, place: SdpPlace, held: bool) {
        match place {
            SdpPlace::Session => self.session = Some(held),
            SdpPlace::Audio => self.audio = Some(held),
            SdpPlace::BeforeAudio | SdpPlace::AfterAudio => {}
        }
    }

    fn is_held(&self) -> bool {
        self.audio.or(self.session).unwrap_or(false)
    }
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
    fn an_audio_section_that_is_not_used_says_nothing() {
        assert!(!is_hold("v=0\r\nm=audio 0 X 0\r\na=inactive\r\nm=audio 9 X 0\r\na=sendrecv\r\n"));
        assert!(is_hold("v=0\r\nm=audio 0 X 0\r\nm=audio 9 X 0\r\na=sendonly\r\nm=audio 9 X 0\r\na=sendrecv\r\n"));
    }

    #[test]
    fn the_codec_in_use_is_the_first_one_of_the_answer() {
        let of = |answer: &str| codec_in_use(answer);
        assert_eq!(of("v=0\r\nm=audio 9 X 0 8 9\r\n").as_deref(), Some("pcmu"), "a static payload type");
        assert_eq!(
            of("m=audio 9 X 107 0\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:107 OPUS/48000/2\r\n").as_deref(),
            Some("opus")
        );
        let with_events = "m=audio 9 X 101 13 3 8\r\na=rtpmap:101 telephone-event/8000\r\na=rtpmap:13 CN/8000\r\n";
        assert_eq!(of(with_events).as_deref(), Some("pcma"));
        assert_eq!(of("m=audio 0 X 9\r\nm=audio 9 X 8\r\n").as_deref(), Some("pcma"), "not of an unused section");
        assert_eq!(of("v=0\r\n"), None);
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
        assert!(is_hold("v=0\r\nm=audio 5000 X 0\r\nc=IN IP4 0.0.0.0\r\na=sendrecv\r\n"), "also with a direction");
        assert!(!is_hold("v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 5000 X 0\r\nc=IN IP4 192.0.2.1\r\n"), "of the section");
        // A relay passes a hold of RFC 2543 on with ICE and a port of its own.
        assert!(is_hold("v=0\r\nm=audio 5000 X 0\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:x\r\n"));
    }
}
