//! The parts of a session description that the browser offers no API for.

/// The DTLS fingerprint of the far end (`a=fingerprint`, RFC 8122 §5): of the media section where it has
/// one, else of the session.
///
/// When it changes in a re-offer, another endpoint has taken over (a reloaded page, a transfer), which needs
/// a new connection.
pub fn fingerprint(sdp: &str) -> Option<String> {
    sdp.lines()
        .filter_map(|line| line.strip_prefix("a=fingerprint:"))
        .next_back()
        .map(|value| value.trim().to_ascii_lowercase())
}

/// Whether host candidates contain mDNS names (`.local`) instead of addresses. SIP servers cannot resolve
/// those.
pub fn hides_addresses(sdp: &str) -> bool {
    sdp.lines()
        .filter_map(|line| line.strip_prefix("a=candidate:"))
        .filter_map(|candidate| candidate.split_ascii_whitespace().nth(4))
        .any(|address| address.rsplit('.').next() == Some("local"))
}

/// The agreed remote description as an answer, also if it was an offer: then it has no DTLS role yet (RFC
/// 5763 §5), and gets the opposite of ours.
pub fn as_answer(remote: &str, local: &str) -> String {
    let active = local.lines().any(|line| line.starts_with("a=setup:active"));
    let role = if active { "a=setup:passive" } else { "a=setup:active" };
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
    }

    #[test]
    fn the_fingerprint_of_the_media_section_overrides_that_of_the_session() {
        let sdp = "v=0\r\na=fingerprint:sha-256 AA:BB\r\nm=audio 9 X 0\r\na=fingerprint:SHA-256 CC:dd\r\n";
        assert_eq!(fingerprint(sdp).as_deref(), Some("sha-256 cc:dd"));
    }

    #[test]
    fn mdns_names_in_candidates_are_detected() {
        let with = |address: &str| format!("v=0\r\na=candidate:1 1 udp 2122260223 {address} 50000 typ host\r\n");
        assert!(hides_addresses(&with("0b6c7a3e-1f2d.local")));
        assert!(!hides_addresses(&with("192.0.2.7")));
        assert!(!hides_addresses("v=0\r\n"));
    }

    #[test]
    fn an_sdp_without_dtls_has_no_fingerprint() {
        assert_eq!(fingerprint("v=0\r\nm=audio 9 RTP/AVP 0\r\n"), None);
    }
}
