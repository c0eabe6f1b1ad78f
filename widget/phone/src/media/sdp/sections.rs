//! The media sections of session descriptions (RFC 8866 §5.14).
//!
//! The browser's connection only ever knows one section, audio. A [`RemoteDescription`] is reduced to its
//! first usable audio section before the browser gets it, in the form that the connection has agreed on: a
//! gateway may leave out of a re-INVITE what the browser requires to stay the same. [`RejectedSections`] are
//! the others, which our answer rejects in the offer's order (RFC 3264 §6) and our later offers repeat
//! (RFC 3264 §8: a description never has fewer sections than the one before).

/// A description of the far end that has a usable audio section.
pub struct RemoteDescription<'a> {
    session: Vec<&'a str>,
    before: Vec<Section<'a>>,
    audio: Section<'a>,
    after: Vec<Section<'a>>,
}

/// The lines of one section, its `m=` line first.
type Section<'a> = Vec<&'a str>;

/// What a description of the far end is adapted to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionForm {
    /// The `mid` of the connection's transceiver, once it has one.
    pub mid: Option<String>,
    /// `None` until an offer was answered.
    pub agreed: Option<AgreedForm>,
    /// Whether our offer sends and receives, for an answer to it.
    pub offered: Option<(bool, bool)>,
}

/// What stays the same after the first answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgreedForm {
    pub bundled: bool,
    pub rtcp_mux: bool,
    /// The `setup` line of the far end's next description (RFC 8842 §5.5: the DTLS association and its roles stay).
    pub setup: &'static str,
}

impl<'a> RemoteDescription<'a> {
    /// Selects the section at the index `preferred`, or where that is not usable the first that is. `None` if
    /// there is none: the far end offers no audio, or not by DTLS-SRTP.
    pub fn parse(sdp: &'a str, preferred: usize) -> Option<RemoteDescription<'a>> {
        let (session, mut sections) = split(sdp);
        let preferred = Some(preferred).filter(|at| sections.get(*at).is_some_and(|audio| is_usable(audio, &session)));
        let at = preferred.or_else(|| sections.iter().position(|audio| is_usable(audio, &session)))?;
        let after = sections.split_off(at + 1);
        let audio = sections.pop()?;
        Some(RemoteDescription { session, before: sections, audio, after })
    }

    /// The description with its audio section only, as `form` requires it.
    pub fn for_connection(&self, form: &ConnectionForm) -> String {
        let own_mid = value(&self.audio, "a=mid:");
        let mid = form.mid.as_deref().or(own_mid);
        let bundled = form.agreed.map_or_else(|| self.is_bundled(), |agreed| agreed.bundled);
        let mut sdp = String::new();
        for line in &self.session {
            if !is_group(line) && direction_of(line).is_none() {
                push(&mut sdp, &[line]);
            }
        }
        if let Some(mid) = mid.filter(|_| bundled) {
            push(&mut sdp, &["a=group:BUNDLE ", mid]);
        }
        for line in &self.audio {
            let replaced = line.starts_with("a=mid:")
                || direction_of(line).is_some()
                || (form.agreed.is_some() && line.starts_with("a=setup:"));
            if !replaced {
                push(&mut sdp, &[line]);
            }
        }
        if let Some(mid) = mid {
            push(&mut sdp, &["a=mid:", mid]);
        }
        push(&mut sdp, &[direction_line(self.direction(form.offered))]);
        if let Some(agreed) = &form.agreed {
            push(&mut sdp, &[agreed.setup]);
            if agreed.rtcp_mux && !self.audio.contains(&"a=rtcp-mux") {
                push(&mut sdp, &["a=rtcp-mux"]);
            }
        }
        sdp
    }

    /// The candidates of the audio section (RFC 8839 §5.1), without the `a=`.
    pub fn candidates(&self) -> impl Iterator<Item = &str> {
        self.audio.iter().filter_map(|line| line.strip_prefix("a=")).filter(|line| line.starts_with("candidate:"))
    }

    /// The DTLS fingerprints (RFC 8122 §5) of the media section where it has some, else of the session.
    pub fn fingerprints(&self) -> Vec<String> {
        let of = |lines: &Section| -> Vec<String> {
            let values = lines.iter().filter_map(|line| line.strip_prefix("a=fingerprint:"));
            values.map(|value| value.trim_ascii().to_ascii_lowercase()).collect()
        };
        Some(of(&self.audio)).filter(|own| !own.is_empty()).unwrap_or_else(|| of(&self.session))
    }

    pub fn rejected_sections(&self) -> RejectedSections {
        let reject = |sections: &[Section]| sections.iter().map(RejectedSection::of).collect();
        RejectedSections { before: reject(&self.before), after: reject(&self.after) }
    }

    /// Our answer to this offer, from the one that the browser made for the audio section: with the offer's
    /// sections, and with `mid` and BUNDLE only where the offer has them (RFC 9143 §7.3).
    pub fn answer(&self, own: &str) -> String {
        self.rejected_sections().join(own, value(&self.audio, "a=mid:"), self.is_bundled())
    }

    fn is_bundled(&self) -> bool {
        let mid = value(&self.audio, "a=mid:");
        let mut groups = self.session.iter().filter_map(|line| line.strip_prefix("a=group:BUNDLE "));
        mid.is_some() && groups.any(|group| group.split_ascii_whitespace().any(|member| Some(member) == mid))
    }

    /// Whether the far end sends, and receives: by the section's attribute, else by that of the session, else
    /// both (RFC 8866 §6.7). An answer allows no more than the offer (RFC 3264 §6.1); browsers refuse one that does.
    fn direction(&self, offered: Option<(bool, bool)>) -> (bool, bool) {
        let of = |lines: &Section| lines.iter().find_map(|line| direction_of(line));
        let (sends, receives) = of(&self.audio).or_else(|| of(&self.session)).unwrap_or((true, true));
        let (we_send, we_receive) = offered.unwrap_or((true, true));
        (sends && we_receive, receives && we_send && !self.is_held_by_address())
    }

    /// `c=IN IP4 0.0.0.0` puts us on hold (RFC 2543 §B.5). With ICE and port 9 it only means that there is no
    /// default candidate (RFC 8840 §4.1.1).
    fn is_held_by_address(&self) -> bool {
        let connection = value(&self.audio, "c=").or_else(|| value(&self.session, "c="));
        let ice = value(&self.audio, "a=ice-ufrag:").or_else(|| value(&self.session, "a=ice-ufrag:"));
        let address = connection.and_then(|line| line.split_ascii_whitespace().nth(2));
        address == Some("0.0.0.0") && !(ice.is_some() && media_line(&self.audio).nth(1) == Some("9"))
    }
}

/// The sections of a dialog besides the audio section, in their order. They have port 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RejectedSections {
    before: Vec<RejectedSection>,
    after: Vec<RejectedSection>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct RejectedSection {
    media_line: String,
    mid: Option<String>,
}

impl RejectedSections {
    /// The index of the audio section.
    pub fn audio_index(&self) -> usize {
        self.before.len()
    }

    /// Our offer, from the one that the browser made for the audio section.
    pub fn offer(&self, own: &str) -> String {
        let (session, sections) = split(own);
        let mid = sections.iter().find_map(|section| value(section, "a=mid:"));
        self.join(own, mid, session.iter().any(|line| is_group(line)))
    }

    fn join(&self, own: &str, mid: Option<&str>, bundled: bool) -> String {
        let (session, sections) = split(own);
        let mut sdp = String::new();
        let grouped = session.iter().any(|line| is_group(line));
        for line in session.iter().filter(|line| !is_group(line)) {
            push(&mut sdp, &[line]);
        }
        if let Some(mid) = mid.filter(|_| grouped && bundled) {
            push(&mut sdp, &["a=group:BUNDLE ", mid]);
        }
        self.before.iter().for_each(|section| section.write(&mut sdp, mid));
        for line in sections.iter().flatten() {
            match mid {
                Some(mid) if line.starts_with("a=mid:") => push(&mut sdp, &["a=mid:", mid]),
                None if line.starts_with("a=mid:") => {}
                _ => push(&mut sdp, &[line]),
            }
        }
        self.after.iter().for_each(|section| section.write(&mut sdp, mid));
        sdp
    }
}

impl RejectedSection {
    /// The media, protocol and first format stay (RFC 3264 §6).
    fn of(section: &Section) -> RejectedSection {
        let mut words = media_line(section);
        let mut media_line = String::from("m=");
        media_line.push_str(words.next().unwrap_or_default());
        words.next();
        media_line.push_str(" 0");
        for word in words.take(2) {
            media_line.push(' ');
            media_line.push_str(word);
        }
        RejectedSection { media_line, mid: value(section, "a=mid:").map(str::to_owned) }
    }

    /// A connection that was made later may have given our audio section the same `mid`: then it is left out
    /// here, because each is unique (RFC 5888 §4).
    fn write(&self, sdp: &mut String, audio_mid: Option<&str>) {
        push(sdp, &[&self.media_line]);
        push(sdp, &["c=IN IP4 0.0.0.0"]);
        push(sdp, &["a=inactive"]);
        if let Some(mid) = self.mid.as_deref().filter(|mid| Some(*mid) != audio_mid) {
            push(sdp, &["a=mid:", mid]);
        }
    }
}

impl AgreedForm {
    /// From the far end's last agreed description. `setup` is the line of its next one.
    pub fn of(remote: &str, setup: &'static str) -> AgreedForm {
        AgreedForm {
            bundled: remote.lines().any(is_group),
            rtcp_mux: remote.lines().any(|line| line == "a=rtcp-mux"),
            setup,
        }
    }
}

/// The lines before the first section, and the sections.
fn split(sdp: &str) -> (Vec<&str>, Vec<Section<'_>>) {
    let mut session = Vec::new();
    let mut sections: Vec<Section> = Vec::new();
    for line in sdp.lines().map(str::trim_ascii_end).filter(|line| !line.is_empty()) {
        if line.starts_with("m=") {
            sections.push(Vec::new());
        }
        sections.last_mut().unwrap_or(&mut session).push(line);
    }
    (session, sections)
}

/// Audio that is not disabled, over RTP with a DTLS fingerprint (RFC 5764).
fn is_usable(section: &Section, session: &Section) -> bool {
    let mut words = media_line(section);
    let audio = words.next() == Some("audio");
    let enabled = words.next().and_then(|port| port.split('/').next()).is_some_and(|port| port != "0");
    let rtp = words.next().is_some_and(|protocol| protocol.split('/').any(|part| part == "RTP"));
    let fingerprint = value(section, "a=fingerprint:").or_else(|| value(session, "a=fingerprint:"));
    audio && enabled && rtp && fingerprint.is_some()
}

/// The words of the `m=` line: media, port, protocol, formats.
fn media_line<'a>(section: &Section<'a>) -> impl Iterator<Item = &'a str> + use<'a> {
    section.first().and_then(|line| line.strip_prefix("m=")).unwrap_or_default().split_ascii_whitespace()
}

/// What follows `name` in the first line that begins with it.
fn value<'a>(lines: &[&'a str], name: &str) -> Option<&'a str> {
    lines.iter().find_map(|line| line.strip_prefix(name)).map(str::trim_ascii)
}

fn is_group(line: &str) -> bool {
    line.starts_with("a=group:")
}

/// Whether the far end sends and receives, if the line says so.
fn direction_of(line: &str) -> Option<(bool, bool)> {
    match line {
        "a=sendrecv" => Some((true, true)),
        "a=sendonly" => Some((true, false)),
        "a=recvonly" => Some((false, true)),
        "a=inactive" => Some((false, false)),
        _ => None,
    }
}

fn direction_line(direction: (bool, bool)) -> &'static str {
    match direction {
        (true, true) => "a=sendrecv",
        (true, false) => "a=sendonly",
        (false, true) => "a=recvonly",
        (false, false) => "a=inactive",
    }
}

/// Appends one line.
fn push(sdp: &mut String, parts: &[&str]) {
    sdp.extend(parts.iter().copied());
    sdp.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SESSION: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n";
    const FINGERPRINT: &str = "a=fingerprint:sha-256 AA:BB\r\n";
    const AUDIO: &str = "m=audio 4000 UDP/TLS/RTP/SAVPF 0 8\r\nc=IN IP4 192.0.2.1\r\na=fingerprint:sha-256 AA:BB\r\na=setup:actpass\r\na=rtcp-mux\r\n";
    const VIDEO: &str = "m=video 4002 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 192.0.2.1\r\n";
    const REJECTED_VIDEO: &str = "m=video 0 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n";
    /// The browser's answer or offer for the one section that it knows.
    const OWN: &str = "v=0\r\na=group:BUNDLE 0\r\nm=audio 5000 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=sendrecv\r\n";

    fn parse(sdp: &str) -> RemoteDescription<'_> {
        RemoteDescription::parse(sdp, 0).unwrap()
    }

    /// A connection whose section has the `mid` 0, in a group, with RTCP multiplexed.
    fn agreed() -> ConnectionForm {
        let agreed = AgreedForm { bundled: true, rtcp_mux: true, setup: "a=setup:actpass" };
        ConnectionForm { mid: Some("0".to_owned()), agreed: Some(agreed), offered: None }
    }

    fn has(sdp: &str, line: &str) -> bool {
        sdp.lines().any(|other| other == line)
    }

    #[test]
    fn the_connection_gets_the_first_usable_audio_section_only() {
        let disabled = "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\n";
        let second = "m=audio 4004 UDP/TLS/RTP/SAVPF 9\r\na=fingerprint:sha-256 CC\r\n";
        let offer = [SESSION, disabled, VIDEO, AUDIO, second].concat();
        let reduced = parse(&offer).for_connection(&ConnectionForm::default());
        assert_eq!(reduced.lines().filter(|line| line.starts_with("m=")).count(), 1, "{reduced}");
        assert!(has(&reduced, "m=audio 4000 UDP/TLS/RTP/SAVPF 0 8"), "{reduced}");
    }

    #[test]
    fn an_answer_rejects_the_other_sections_in_the_offers_order() {
        let data = "m=application 4006 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:d\r\n";
        let offer = [SESSION, "a=group:BUNDLE v a d\r\n", VIDEO, "a=mid:v\r\n", AUDIO, "a=mid:a\r\n", data].concat();
        let expected = [
            "v=0\r\na=group:BUNDLE a\r\n",
            REJECTED_VIDEO,
            "a=mid:v\r\nm=audio 5000 UDP/TLS/RTP/SAVPF 0\r\na=mid:a\r\na=sendrecv\r\n",
            "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\na=mid:d\r\n",
        ];
        assert_eq!(parse(&offer).answer(OWN), expected.concat());
    }

    #[test]
    fn our_later_offers_repeat_the_rejected_sections() {
        let offer = [SESSION, VIDEO, "a=mid:v\r\n", AUDIO].concat();
        let rejected = parse(&offer).rejected_sections();
        assert_eq!(rejected.audio_index(), 1);
        let expected = [
            "v=0\r\na=group:BUNDLE 0\r\n",
            REJECTED_VIDEO,
            "a=mid:v\r\nm=audio 5000 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=sendrecv\r\n",
        ];
        assert_eq!(rejected.offer(OWN), expected.concat());
        assert_eq!(RejectedSections::default().offer(OWN), OWN);
    }

    #[test]
    fn no_two_sections_of_our_offer_have_the_same_mid() {
        let offer = [SESSION, AUDIO, "a=mid:a\r\n", VIDEO, "a=mid:0\r\n"].concat();
        let ours = parse(&offer).rejected_sections().offer(OWN);
        assert_eq!(ours.lines().filter(|line| *line == "a=mid:0").count(), 1, "{ours}");
    }

    #[test]
    fn an_answer_is_reduced_to_the_section_of_our_audio() {
        let answer = [SESSION, "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\n", VIDEO, AUDIO].concat();
        let reduced = RemoteDescription::parse(&answer, 2).unwrap();
        assert!(has(&reduced.for_connection(&agreed()), "m=audio 4000 UDP/TLS/RTP/SAVPF 0 8"));
    }

    #[test]
    fn a_reinvite_without_mid_group_and_rtcp_mux_gets_those_of_the_connection() {
        let audio = "m=audio 4000 RTP/SAVPF 0\r\nc=IN IP4 192.0.2.1\r\na=setup:passive\r\n";
        let reinvite = [SESSION, FINGERPRINT, audio].concat();
        let shaped = parse(&reinvite).for_connection(&agreed());
        for line in ["a=group:BUNDLE 0", "a=mid:0", "a=rtcp-mux", "a=setup:actpass", "a=sendrecv"] {
            assert!(has(&shaped, line), "{line} is missing in {shaped}");
        }
        assert!(!has(&shaped, "a=setup:passive"), "{shaped}");
        let ours = parse(&reinvite).answer(OWN);
        assert!(!has(&ours, "a=mid:0") && !ours.lines().any(is_group), "not in the offer, not in the answer: {ours}");
    }

    #[test]
    fn a_first_offer_keeps_its_own_form() {
        let offer = [SESSION, "a=group:BUNDLE x\r\n", AUDIO, "a=mid:x\r\n"].concat();
        let shaped = parse(&offer).for_connection(&ConnectionForm::default());
        assert!(has(&shaped, "a=mid:x") && has(&shaped, "a=group:BUNDLE x") && has(&shaped, "a=setup:actpass"));
        let plain = [SESSION, AUDIO].concat();
        let shaped = parse(&plain).for_connection(&ConnectionForm::default());
        assert!(!shaped.lines().any(|line| is_group(line) || line.starts_with("a=mid:")), "{shaped}");
    }

    #[test]
    fn a_description_without_audio_over_dtls_srtp_is_not_usable() {
        let unusable = [
            "m=audio 4000 RTP/AVP 0\r\n",
            "m=audio 4000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n",
            "m=image 4000 udptl t38\r\n",
            "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\na=fingerprint:sha-256 AA\r\nm=image 4000 udptl t38\r\n",
            "m=video 4000 UDP/TLS/RTP/SAVPF 96\r\na=fingerprint:sha-256 AA\r\n",
            "",
        ];
        for sections in unusable {
            assert!(RemoteDescription::parse(&[SESSION, sections].concat(), 0).is_none(), "{sections}");
        }
    }

    #[test]
    fn the_direction_is_that_of_the_section_else_of_the_session() {
        let shaped = |session: &str, section: &str| {
            let offer = [SESSION, session, AUDIO, section].concat();
            let shaped = parse(&offer).for_connection(&agreed());
            let mut directions = shaped.lines().filter(|line| direction_of(line).is_some());
            let direction = directions.next().unwrap().to_owned();
            assert_eq!(directions.next(), None);
            direction
        };
        assert_eq!(shaped("", ""), "a=sendrecv");
        assert_eq!(shaped("a=inactive\r\n", ""), "a=inactive");
        assert_eq!(shaped("a=sendonly\r\n", "a=recvonly\r\n"), "a=recvonly");
    }

    #[test]
    fn an_answer_allows_no_more_than_our_offer() {
        let answer = [SESSION, AUDIO, "a=sendrecv\r\n"].concat();
        let shaped = |offered| parse(&answer).for_connection(&ConnectionForm { offered: Some(offered), ..agreed() });
        assert!(has(&shaped((true, false)), "a=recvonly"), "we hold");
        assert!(has(&shaped((false, false)), "a=inactive"));
        assert!(has(&shaped((true, true)), "a=sendrecv"));
    }

    #[test]
    fn a_zero_address_is_a_hold_unless_it_is_a_placeholder_of_ice() {
        let shaped = |media: &str, more: &str| {
            let audio = [media, "\r\n", FINGERPRINT, "c=IN IP4 0.0.0.0\r\n", more].concat();
            parse(&[SESSION, &audio].concat()).for_connection(&agreed())
        };
        let ice = "a=ice-ufrag:x\r\n";
        assert!(has(&shaped("m=audio 4000 RTP/SAVPF 0", ""), "a=sendonly"));
        assert!(has(&shaped("m=audio 4000 RTP/SAVPF 0", ice), "a=sendonly"), "a gateway that adds ICE");
        assert!(has(&shaped("m=audio 4000 RTP/SAVPF 0", "a=recvonly\r\n"), "a=inactive"));
        assert!(has(&shaped("m=audio 9 RTP/SAVPF 0", ice), "a=sendrecv"));
    }

    #[test]
    fn the_fingerprint_of_the_media_section_overrides_that_of_the_session() {
        let audio = "m=audio 4000 RTP/SAVPF 0\r\n";
        let of_session = [SESSION, FINGERPRINT, audio].concat();
        assert_eq!(parse(&of_session).fingerprints(), ["sha-256 aa:bb"]);
        let of_section = [&of_session, "a=fingerprint:SHA-256 CC:dd\r\n"].concat();
        assert_eq!(parse(&of_section).fingerprints(), ["sha-256 cc:dd"]);
    }

    #[test]
    fn lines_may_end_without_a_carriage_return_or_in_spaces() {
        let offer = "v=0\na=inactive \nm=audio 4000 RTP/SAVPF 0 \na=fingerprint:sha-256 AA\n";
        assert!(has(&parse(offer).for_connection(&agreed()), "a=inactive"));
    }
}
