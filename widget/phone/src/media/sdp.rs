//! The parts of a session description that the browser offers no API for.

mod sections;

pub use sections::{AgreedForm, ConnectionForm, RejectedSections, RemoteDescription};

/// Whether host candidates contain mDNS names (`.local`) instead of addresses. SIP servers cannot resolve
/// those.
pub fn hides_addresses(sdp: &str) -> bool {
    sdp.lines()
        .filter_map(|line| line.strip_prefix("a=candidate:"))
        .filter_map(|candidate| candidate.split_ascii_whitespace().nth(4))
        .any(|address| address.rsplit('.').next() == Some("local"))
}

/// The `setup` line of the far end in an answer, from the agreed descriptions. A remote description that was
/// an offer has no DTLS role yet (RFC 5763 §5): the far end has the opposite of ours.
pub fn remote_role(remote: &str, local: &str) -> &'static str {
    let has = |sdp: &str, role: &str| sdp.lines().any(|line| line == role);
    if has(remote, "a=setup:passive") || (!has(remote, "a=setup:active") && has(local, "a=setup:active")) {
        "a=setup:passive"
    } else {
        "a=setup:active"
    }
}

/// The agreed remote description as an answer, also if it was an offer.
pub fn as_answer(remote: &str, local: &str) -> String {
    let role = remote_role(remote, local);
    // By lines: `str::replace` would add the standard library's string search to the module.
    let mut answer = String::with_capacity(remote.len());
    for line in remote.split_inclusive('\n') {
        match line.strip_prefix("a=setup:actpass") {
            Some(end) => answer.extend([role, end]),
            None => answer.push_str(line),
        }
    }
    answer
}

/// The codec that is in use by the agreed descriptions, e.g. `opus`: the first of the far end that is also
/// ours, digits and comfort noise aside.
pub fn codec_in_use(remote: &str, local: &str) -> Option<String> {
    let ours = codecs(local);
    codecs(remote).into_iter().find(|codec| codec != "telephone-event" && codec != "cn" && ours.contains(codec))
}

/// The names of the codecs, in lower case, in the order of the `m=` line.
fn codecs(sdp: &str) -> Vec<String> {
    let formats = sdp.lines().find_map(|line| line.strip_prefix("m=audio ")).unwrap_or_default();
    let name = |format: &str| {
        let mut maps = sdp.lines().filter_map(|line| line.strip_prefix("a=rtpmap:")?.split_once(' '));
        let mapped = maps.find(|(number, _)| *number == format).and_then(|(_, codec)| codec.split('/').next());
        // Static payload types need no mapping (RFC 3551 §6).
        let name = mapped.or(match format {
            "0" => Some("pcmu"),
            "8" => Some("pcma"),
            "9" => Some("g722"),
            _ => None,
        });
        name.map(str::to_ascii_lowercase)
    };
    formats.split_ascii_whitespace().skip(2).filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_becomes_an_answer_with_the_other_dtls_role() {
        let offer = "v=0\r\nm=audio 9 X 0\r\na=setup:actpass\r\n";
        let ours = |role: &str| format!("v=0\r\nm=audio 9 X 0\r\na=setup:{role}\r\n");
        assert_eq!(as_answer(offer, &ours("active")), ours("passive"));
        assert_eq!(as_answer(offer, &ours("passive")), ours("active"));
        assert_eq!(as_answer(&ours("active"), &ours("actpass")), ours("active"), "an answer stays as it is");
        assert_eq!(remote_role(&ours("passive"), &ours("actpass")), "a=setup:passive");
    }

    #[test]
    fn mdns_names_in_candidates_are_detected() {
        let with = |address: &str| format!("v=0\r\na=candidate:1 1 udp 2122260223 {address} 50000 typ host\r\n");
        assert!(hides_addresses(&with("0b6c7a3e-1f2d.local")));
        assert!(!hides_addresses(&with("192.0.2.7")));
        assert!(!hides_addresses("v=0\r\n"));
    }

    #[test]
    fn the_codec_in_use_is_the_far_ends_first_that_is_ours_too() {
        let ours = "m=audio 9 X 111 9 0 8\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:9 G722/8000\r\n";
        let of = |remote: &str| codec_in_use(remote, ours);
        assert_eq!(of("m=audio 9 X 0 8 9\r\n").as_deref(), Some("pcmu"), "static payload types");
        assert_eq!(of("m=audio 9 X 107 0\r\na=rtpmap:107 OPUS/48000/2\r\n").as_deref(), Some("opus"));
        let with_events = "m=audio 9 X 101 13 3 8\r\na=rtpmap:101 telephone-event/8000\r\na=rtpmap:13 CN/8000\r\n";
        assert_eq!(of(with_events).as_deref(), Some("pcma"));
        assert_eq!(of("v=0\r\n"), None);
    }
}
