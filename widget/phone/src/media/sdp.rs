//! The little of a description's text that the browser does not tell.

/// The far end's DTLS identity: its `a=fingerprint` (RFC 8122 §5), of the
/// media section where it has one, else of the session.
///
/// When it changes in a re-offer, another endpoint answers from now on (a
/// reloaded page, a transfer), and only a fresh connection can talk to it.
pub fn fingerprint(sdp: &str) -> Option<String> {
    sdp.lines()
        .filter_map(|line| line.strip_prefix("a=fingerprint:"))
        .next_back()
        .map(|value| value.trim().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_sections_fingerprint_wins_and_case_does_not_matter() {
        let sdp = "v=0\r\na=fingerprint:sha-256 AA:BB\r\nm=audio 9 X 0\r\na=fingerprint:SHA-256 CC:dd\r\n";
        assert_eq!(fingerprint(sdp).as_deref(), Some("sha-256 cc:dd"));
    }

    #[test]
    fn plain_rtp_has_no_fingerprint() {
        assert_eq!(fingerprint("v=0\r\nm=audio 9 RTP/AVP 0\r\n"), None);
    }
}
