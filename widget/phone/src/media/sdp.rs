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

/// The description without its candidates (RFC 8839 §5.1), as if they followed later.
pub fn without_candidates(sdp: &str) -> String {
    let stays = |line: &&str| !line.starts_with("a=candidate:") && !line.starts_with("a=end-of-candidates");
    sdp.split_inclusive('\n').filter(stays).collect()
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
}
