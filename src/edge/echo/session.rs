//! One call to the echo: an ICE-lite, DTLS-SRTP endpoint that sends back every RTP
//! packet it receives. Sans-IO, around str0m in RTP mode, so nothing is decoded.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::change::SdpOffer;
use str0m::format::{Codec, FormatParams};
use str0m::media::Frequency;
use str0m::net::{DatagramRecv, Protocol, Receive, Transmit};
use str0m::rtp::{RtpPacket, RtpWrite, SeqNo, Ssrc};
use str0m::{Candidate, Event, Input, Output, Rtc};
use tracing::debug;

/// A browser repeats its ICE consent checks every few seconds, on hold too. This much silence
/// means that it is gone; it is long enough for a reloading page or a change of network to come back.
const MEDIA_TIMEOUT: Duration = Duration::from_secs(30);

pub struct Session {
    rtc: Rtc,
    /// The caller's certificate. Another one in a re-INVITE means another peer connection: a reloaded page.
    fingerprint: String,
    /// When the caller was last heard.
    heard: Instant,
    timeout: Instant,
    outgoing: VecDeque<Transmit>,
    stream: Option<Stream>,
    failed: bool,
}

/// What keeps the sent stream continuous when the received one starts anew.
struct Stream {
    ssrc: Ssrc,
    /// Added to received numbers, wrapping.
    sequence_offset: u64,
    time_offset: u32,
    last_sequence: u64,
    last_time: u32,
}

impl Session {
    /// Takes the first offer of a call. `local` are bound sockets; `public` are further addresses that lead to them.
    /// The error says in words what is wrong with the offer.
    pub fn answer(
        offer: &str,
        local: &[SocketAddr],
        public: &[SocketAddr],
        now: Instant,
    ) -> Result<(Self, String), String> {
        let fingerprint = fingerprint(offer).ok_or("no a=fingerprint: the echo speaks WebRTC only")?;
        let offer = SdpOffer::from_sdp_string(&without_candidates(offer)).map_err(|e| e.to_string())?;
        let mut rtc = endpoint(local, now)?;
        let answer = rtc.sdp_api().accept_offer(offer).map_err(|e| e.to_string())?.to_sdp_string();
        if !answer.lines().any(|line| line.starts_with("a=rtpmap:")) {
            return Err("no audio codec in common".to_owned());
        }
        let answer = with_public_candidates(&answer, public);
        let mut session =
            Self { rtc, fingerprint, heard: now, timeout: now, outgoing: VecDeque::new(), stream: None, failed: false };
        session.drain(now);
        Ok((session, answer))
    }

    /// Takes a further offer of the same call.
    pub fn reanswer(
        &mut self,
        offer: &str,
        local: &[SocketAddr],
        public: &[SocketAddr],
        now: Instant,
    ) -> Result<String, String> {
        let anew = self.failed
            || !self.rtc.is_alive()
            || fingerprint(offer).is_some_and(|fingerprint| fingerprint != self.fingerprint);
        if anew {
            let (session, answer) = Self::answer(offer, local, public, now)?;
            *self = session;
            return Ok(answer);
        }
        let offer = SdpOffer::from_sdp_string(&without_candidates(offer)).map_err(|e| e.to_string())?;
        for address in local {
            add_candidate(&mut self.rtc, *address);
        }
        let answer = self.rtc.sdp_api().accept_offer(offer).map_err(|e| e.to_string())?.to_sdp_string();
        self.drain(now);
        Ok(with_public_candidates(&answer, public))
    }

    /// Whether this datagram belongs to this call.
    pub fn accepts(&self, local: SocketAddr, remote: SocketAddr, bytes: &[u8], now: Instant) -> bool {
        input(local, remote, bytes, now).is_some_and(|input| self.rtc.accepts(&input))
    }

    pub fn receive(&mut self, local: SocketAddr, remote: SocketAddr, bytes: &[u8], now: Instant) {
        let Some(input) = input(local, remote, bytes, now) else { return };
        self.heard = now;
        // An error is a packet that makes no sense; whether the call can go on is seen by `is_alive`.
        if let Err(error) = self.rtc.handle_input(input) {
            debug!(%error, "datagram not understood");
        }
        self.drain(now);
    }

    /// Lets time pass.
    pub fn advance(&mut self, now: Instant) {
        if !self.failed && now >= self.timeout {
            if let Err(error) = self.rtc.handle_input(Input::Timeout(now)) {
                debug!(%error, "media engine stopped");
            }
            self.drain(now);
        }
    }

    /// When [`Session::advance`] and [`Session::is_lost`] are to be called next, at the latest.
    pub fn next_timeout(&self) -> Instant {
        let lost = self.heard + MEDIA_TIMEOUT;
        if self.failed || !self.rtc.is_alive() { lost } else { self.timeout.min(lost) }
    }

    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outgoing.pop_front()
    }

    /// Whether the caller is gone.
    pub fn is_lost(&self, now: Instant) -> bool {
        now >= self.heard + MEDIA_TIMEOUT
    }

    /// Tells the caller's media side that it is over.
    pub fn close(&mut self) {
        if !self.failed && self.rtc.close().is_ok() {
            self.drain(self.heard);
        }
    }

    /// The engine broke an invariant: it is not touched again. A re-INVITE may still save the call.
    pub fn fail(&mut self) {
        self.failed = true;
    }

    fn drain(&mut self, now: Instant) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.timeout = at;
                    return;
                }
                Ok(Output::Transmit(datagram)) => self.outgoing.push_back(datagram),
                Ok(Output::Event(Event::RtpPacket(packet))) => self.send_back(&packet, now),
                Ok(Output::Event(_)) => {}
                Err(error) => {
                    // The call itself goes on until the caller hangs up or is lost, for a reloading page comes back.
                    debug!(%error, "media engine stopped");
                    self.failed = true;
                    return;
                }
            }
        }
    }

    fn send_back(&mut self, packet: &RtpPacket, now: Instant) {
        let Some(mid) = self.rtc.direct_api().stream_rx(&packet.header.ssrc).map(|stream| stream.mid()) else { return };
        let (sequence, time) = self.continue_stream(packet);
        let mut api = self.rtc.direct_api();
        // No stream when the caller does not want to hear (hold).
        let Some(out) = api.stream_tx_by_mid(mid, None) else { return };
        let payload = std::sync::Arc::clone(&packet.payload);
        out.write_rtp(
            RtpWrite::new(packet.header.payload_type, SeqNo::from(sequence), time, now, payload)
                .marker(packet.header.marker),
        );
    }

    /// Sequence number and time-stamp for the packet on its way back. Gaps stay gaps; a new source is appended to the old one.
    fn continue_stream(&mut self, packet: &RtpPacket) -> (u64, u32) {
        let (sequence, time) = (*packet.seq_no, packet.header.timestamp);
        let (sequence_offset, time_offset) = match &self.stream {
            Some(stream) if stream.ssrc == packet.header.ssrc => (stream.sequence_offset, stream.time_offset),
            // 20 ms at 48 kHz after the last packet: the listener needs no more than a plausible step.
            Some(stream) => (
                (stream.last_sequence + 1).wrapping_sub(sequence),
                stream.last_time.wrapping_add(960).wrapping_sub(time),
            ),
            // The receiver takes the first number for the start of the rollover counter (RFC 3711 section 3.3.1).
            None => ((sequence & 0xffff).wrapping_sub(sequence), 0),
        };
        let sequence = sequence.wrapping_add(sequence_offset);
        let time = time.wrapping_add(time_offset);
        let highest = self.stream.as_ref().map_or(sequence, |stream| stream.last_sequence.max(sequence));
        self.stream = Some(Stream {
            ssrc: packet.header.ssrc,
            sequence_offset,
            time_offset,
            last_sequence: highest,
            last_time: time,
        });
        (sequence, time)
    }
}

/// An endpoint with the codecs every browser has. What they mean does not matter here, as packets go back unopened.
fn endpoint(local: &[SocketAddr], now: Instant) -> Result<Rtc, String> {
    let mut config = Rtc::builder()
        .set_ice_lite(true)
        .set_rtp_mode(true)
        .clear_codecs()
        .enable_opus(true, false)
        .enable_g722(true, false)
        .enable_pcmu(true, false)
        .enable_pcma(true, false);
    for (payload_type, rate) in [(110, Frequency::FORTY_EIGHT_KHZ), (126, Frequency::EIGHT_KHZ)] {
        config.codec_config().add_config(payload_type.into(), None, Codec::Tele, rate, None, FormatParams::default());
    }
    let mut rtc = config.build(now);
    let mut some = false;
    for address in local {
        some |= add_candidate(&mut rtc, *address);
    }
    if some { Ok(rtc) } else { Err("no usable address".to_owned()) }
}

fn add_candidate(rtc: &mut Rtc, address: SocketAddr) -> bool {
    match Candidate::host(address, "udp") {
        Ok(candidate) => rtc.add_local_candidate(candidate).is_some(),
        Err(error) => {
            debug!(%error, %address, "address not usable for ICE");
            false
        }
    }
}

fn input(local: SocketAddr, remote: SocketAddr, bytes: &[u8], now: Instant) -> Option<Input<'_>> {
    let contents = DatagramRecv::try_from(bytes).ok()?;
    Some(Input::Receive(now, Receive { proto: Protocol::Udp, source: remote, destination: local, contents }))
}

/// The offer's certificate fingerprint, comparable.
fn fingerprint(offer: &str) -> Option<String> {
    offer.lines().find_map(|line| line.strip_prefix("a=fingerprint:")).map(|value| value.trim().to_ascii_lowercase())
}

/// A lite endpoint waits for the caller's checks and sends none, so it needs no candidates. Left out,
/// those that are host names (`….local`) or TCP cannot disturb.
fn without_candidates(offer: &str) -> String {
    let mut kept = String::with_capacity(offer.len());
    for line in offer.split_inclusive('\n') {
        if !line.starts_with("a=candidate:") {
            kept.push_str(line);
        }
    }
    kept
}

/// Adds the addresses under which the outside reaches our sockets. To ICE here they do not exist: NAT
/// has turned them into ours before a datagram arrives.
fn with_public_candidates(answer: &str, public: &[SocketAddr]) -> String {
    let mut lines: Vec<String> = answer.lines().map(str::to_owned).collect();
    let Some(last) = lines.iter().rposition(|line| line.starts_with("a=candidate:")) else {
        return answer.to_owned();
    };
    for (index, address) in public.iter().enumerate() {
        // RFC 8445 section 5.1.2.1: host preference 126, just below the machine's own addresses.
        let priority = (126_u32 << 24) + (u32::try_from(index).map_or(0, |i| 1000_u32.saturating_sub(i)) << 8) + 255;
        let line = format!("a=candidate:public{index} 1 udp {priority} {} {} typ host", address.ip(), address.port());
        lines.insert(last + 1 + index, line);
    }
    let mut text = lines.join("\r\n");
    text.push_str("\r\n");
    text
}

#[cfg(test)]
mod tests;
