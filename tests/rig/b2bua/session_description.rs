//! Session descriptions: what a browser's says, and those that Asterisk writes.

use std::fmt::Write as _;

/// Codecs of every leg in the order in which the server prefers them, with the payload types that it offers (`allow=ulaw,alaw,g722,opus`).
pub const CODECS: [(&str, u8); 4] = [("PCMU", 0), ("PCMA", 8), ("G722", 9), ("opus", 107)];
/// Payload type of telephone-event in the server's offers.
const EVENTS: u8 = 101;

/// The audio section of a browser's description.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Known codecs with their payload types, in the order of the `m=` line.
    pub codecs: Vec<(&'static str, u8)>,
    /// Payload type of telephone-event at 8 kHz.
    events: Option<u8>,
    /// `sendrecv`, `sendonly`, `recvonly` or `inactive`.
    pub direction: String,
    pub fingerprint: String,
    pub setup: String,
    pub mid: String,
    pub ufrag: String,
    pwd: String,
    /// `a=candidate:` and `a=ssrc:` lines.
    candidates: Vec<String>,
    pub sources: Vec<String>,
}

impl Remote {
    /// The error says what is missing.
    pub fn read(sdp: &str) -> Result<Self, String> {
        let start = sdp.find("m=audio ").ok_or("no audio section")?;
        let section = &sdp[start..];
        let section = section[1..].find("\nm=").map_or(section, |end| &section[..=end]);
        let session = &sdp[..sdp.find("\nm=").unwrap_or(start)];
        let lines = || section.lines().chain(session.lines()).map(str::trim_end);
        let attribute =
            |name: &str| lines().find_map(|line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'));
        let needed = |name: &str| attribute(name).map(str::to_owned).ok_or(format!("no a={name}"));
        let all = |name: &str| {
            let starts = format!("a={name}:");
            section.lines().map(str::trim_end).filter(|line| line.starts_with(&starts)).map(str::to_owned).collect()
        };
        let types = section.lines().next().unwrap_or_default().split_whitespace().skip(3);
        let types: Vec<u8> = types.filter_map(|number| number.parse().ok()).collect();
        let maps: Vec<(u8, &str)> = types
            .iter()
            .filter_map(|number| {
                let start = format!("a=rtpmap:{number} ");
                let mapped = section.lines().find_map(|line| line.trim_end().strip_prefix(&start));
                Some((*number, mapped?))
            })
            .collect();
        let codec = |(number, map): &(u8, &str)| {
            let name = map.split('/').next()?;
            let (known, _) = CODECS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
            Some((*known, *number))
        };
        let directions = ["sendrecv", "sendonly", "recvonly", "inactive"];
        let direction = lines().find_map(|line| directions.into_iter().find(|d| line.strip_prefix("a=") == Some(d)));
        Ok(Self {
            codecs: maps.iter().filter_map(codec).collect(),
            events: maps.iter().find(|(_, map)| map.eq_ignore_ascii_case("telephone-event/8000")).map(|(n, _)| *n),
            direction: direction.unwrap_or("sendrecv").to_owned(),
            fingerprint: needed("fingerprint")?,
            setup: needed("setup")?,
            mid: needed("mid")?,
            ufrag: needed("ice-ufrag")?,
            pwd: needed("ice-pwd")?,
            candidates: all("candidate"),
            sources: all("ssrc"),
        })
    }

    pub fn payload_type(&self, codec: &str) -> Option<u8> {
        self.codecs.iter().find(|(name, _)| *name == codec).map(|(_, number)| *number)
    }

    /// The same connection as the media engine gets to see it: always with sound both ways, and with PCMU only, because
    /// nothing else is ever passed on.
    pub fn for_engine(&self, mid: &str, fingerprint: &str, setup: &str, sources: &[String]) -> String {
        let usable = |line: &&String| {
            let mut fields = line.split(' ');
            let udp = fields.nth(2).is_some_and(|protocol| protocol.eq_ignore_ascii_case("udp"));
            // Not a `….local` name.
            udp && fields.nth(1).is_some_and(|address| address.parse::<std::net::IpAddr>().is_ok())
        };
        let mut text = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {mid}\r\n\
             m=audio 9 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\n\
             a=fingerprint:{fingerprint}\r\na=setup:{setup}\r\na=mid:{mid}\r\na=sendrecv\r\na=rtcp-mux\r\n\
             a=rtpmap:0 PCMU/8000\r\n",
            self.ufrag, self.pwd
        );
        for line in self.candidates.iter().filter(usable).chain(sources) {
            text.push_str(line);
            text.push_str("\r\n");
        }
        text
    }

    /// What describes the server's side of the answer to this offer.
    pub fn answered_with(&self, order: &[&'static str]) -> Formats {
        let codecs = order.iter().filter_map(|name| Some((*name, self.payload_type(name)?))).collect();
        Formats { codecs, events: self.events }
    }
}

/// The formats of a description that the server writes.
pub struct Formats {
    codecs: Vec<(&'static str, u8)>,
    events: Option<u8>,
}

impl Formats {
    pub fn of_an_offer() -> Self {
        Self { codecs: CODECS.to_vec(), events: Some(EVENTS) }
    }
}

/// The server's side of a leg.
pub struct Local<'a> {
    pub version: u64,
    pub port: u16,
    pub formats: Formats,
    pub direction: &'a str,
    pub mid: &'a str,
    /// `new` until the DTLS association is up, then `existing` (RFC 4145).
    pub connection: &'a str,
    pub setup: &'a str,
    pub fingerprint: &'a str,
    pub ufrag: &'a str,
    pub pwd: &'a str,
    pub source: u32,
}

impl Local<'_> {
    /// As `res_pjsip_sdp_rtp` of Asterisk 22 writes it for an endpoint with `webrtc=yes`.
    pub fn write(&self) -> String {
        let Self { version, port, direction, mid, connection, setup, fingerprint, ufrag, pwd, source, .. } = self;
        let numbers = self.formats.codecs.iter().map(|(_, number)| *number).chain(self.formats.events);
        let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
        let mut text = format!(
            "v=0\r\no=- 1 {version} IN IP4 127.0.0.1\r\ns=Asterisk\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             a=msid-semantic:WMS *\r\na=group:BUNDLE {mid}\r\n\
             m=audio {port} UDP/TLS/RTP/SAVPF {}\r\na=connection:{connection}\r\na=setup:{setup}\r\n\
             a=fingerprint:{fingerprint}\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n\
             a=candidate:H7f000001 1 UDP 2130706431 127.0.0.1 {port} typ host\r\n",
            numbers.join(" ")
        );
        for (name, number) in &self.formats.codecs {
            let rate = if *name == "opus" { "48000/2" } else { "8000" };
            writeln!(text, "a=rtpmap:{number} {name}/{rate}\r").unwrap();
        }
        if let Some(number) = self.formats.events {
            write!(text, "a=rtpmap:{number} telephone-event/8000\r\na=fmtp:{number} 0-16\r\n").unwrap();
        }
        write!(
            text,
            "a=ptime:20\r\na=maxptime:60\r\na={direction}\r\na=rtcp-mux\r\na=ssrc:{source} cname:b2bua\r\n\
             a=msid:b2bua {mid}\r\na=rtcp-fb:* transport-cc\r\na=mid:{mid}\r\n"
        )
        .unwrap();
        text
    }
}

/// The direction that answers an offer's: what is not sent is not received, and the other way round (RFC 3264 section 6.1).
pub fn answer_to(direction: &str) -> &'static str {
    match direction {
        "sendonly" => "recvonly",
        "recvonly" => "sendonly",
        "inactive" => "inactive",
        _ => "sendrecv",
    }
}
