#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, Mid};

const ECHO: &str = "192.0.2.1:4000";
const CALLER: &str = "192.0.2.2:5000";

/// A browser's stand-in: a full ICE agent that offers one audio line.
struct Caller {
    rtc: Rtc,
    mid: Mid,
    heard: Vec<(u8, Vec<u8>)>,
    sent: u64,
}

impl Caller {
    fn new(now: Instant) -> Self {
        let mut config = Rtc::builder().set_rtp_mode(true).clear_codecs().enable_opus(true, false);
        config.codec_config().add_config(
            110.into(),
            None,
            Codec::Tele,
            Frequency::FORTY_EIGHT_KHZ,
            None,
            FormatParams::default(),
        );
        let mut rtc = config.build(now);
        rtc.add_local_candidate(Candidate::host(CALLER.parse().unwrap(), "udp").unwrap());
        Self { rtc, mid: Mid::from("none"), heard: Vec::new(), sent: 0 }
    }

    fn offer(&mut self) -> (String, SdpPendingOffer) {
        let mut change = self.rtc.sdp_api();
        self.mid = change.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None);
        let (offer, pending) = change.apply().unwrap();
        (offer.to_sdp_string(), pending)
    }

    fn hold(&mut self) -> (String, SdpPendingOffer) {
        let mut change = self.rtc.sdp_api();
        change.set_direction(self.mid, Direction::Inactive);
        let (offer, pending) = change.apply().unwrap();
        (offer.to_sdp_string(), pending)
    }

    fn accept(&mut self, pending: SdpPendingOffer, answer: &str) {
        self.rtc.sdp_api().accept_answer(pending, SdpAnswer::from_sdp_string(answer).unwrap()).unwrap();
    }

    fn say(&mut self, payload_type: u8, payload: &[u8], now: Instant) {
        self.sent += 1;
        let (sequence, time) = (SeqNo::from(100 + self.sent), u32::try_from(self.sent).unwrap() * 960);
        let mut api = self.rtc.direct_api();
        let stream = api.stream_tx_by_mid(self.mid, None).unwrap();
        stream.write_rtp(RtpWrite::new(payload_type.into(), sequence, time, now, payload.to_vec()));
    }

    /// Everything that wants to go out.
    fn drain(&mut self) -> Vec<Transmit> {
        let mut out = Vec::new();
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(_) => return out,
                Output::Transmit(datagram) => out.push(datagram),
                Output::Event(Event::RtpPacket(packet)) => {
                    self.heard.push((*packet.header.payload_type, packet.payload.to_vec()));
                }
                Output::Event(_) => {}
            }
        }
    }
}

/// Carries datagrams between both ends while `milliseconds` pass, in steps of 10.
fn pass(caller: &mut Caller, echo: &mut Session, now: &mut Instant, milliseconds: u64) {
    for _ in 0..milliseconds / 10 {
        *now += Duration::from_millis(10);
        caller.rtc.handle_input(Input::Timeout(*now)).unwrap();
        for datagram in caller.drain() {
            let (local, remote) = (datagram.destination, datagram.source);
            if echo.accepts(local, remote, &datagram.contents, *now) {
                echo.receive(local, remote, &datagram.contents, *now);
            }
        }
        echo.advance(*now);
        while let Some(datagram) = echo.poll_transmit() {
            if let Some(input) = input(datagram.destination, datagram.source, &datagram.contents, *now) {
                caller.rtc.handle_input(input).unwrap();
                for datagram in caller.drain() {
                    echo.receive(datagram.destination, datagram.source, &datagram.contents, *now);
                }
            }
        }
    }
}

fn local() -> Vec<SocketAddr> {
    vec![ECHO.parse().unwrap()]
}

fn call() -> (Caller, Session, Instant) {
    let mut now = Instant::now();
    let mut caller = Caller::new(now);
    let (offer, pending) = caller.offer();
    let (mut echo, answer) = Session::answer(&offer, &local(), &[], now).unwrap();
    caller.accept(pending, &answer);
    pass(&mut caller, &mut echo, &mut now, 2000);
    assert!(caller.rtc.is_connected());
    (caller, echo, now)
}

#[test]
fn rtp_is_returned_byte_for_byte_dtmf_included() {
    let (mut caller, mut echo, mut now) = call();
    for n in 0..50_u8 {
        caller.say(111, &[n, 1, 2, 3], now);
        pass(&mut caller, &mut echo, &mut now, 20);
    }
    caller.say(110, &[5, 0x8a, 3, 0xc0], now);
    pass(&mut caller, &mut echo, &mut now, 100);
    let mut expected: Vec<(u8, Vec<u8>)> = (0..50).map(|n| (111, vec![n, 1, 2, 3])).collect();
    expected.push((110, vec![5, 0x8a, 3, 0xc0]));
    assert_eq!(caller.heard, expected);
}

#[test]
fn hold_is_answered_and_nothing_comes_back_meanwhile() {
    let (mut caller, mut echo, mut now) = call();
    let (offer, pending) = caller.hold();
    let answer = echo.reanswer(&offer, &local(), &[], now).unwrap();
    assert!(answer.contains("a=inactive"), "{answer}");
    caller.accept(pending, &answer);
    pass(&mut caller, &mut echo, &mut now, 500);
    assert_eq!(caller.heard, []);
    assert!(!echo.is_lost(now + Duration::from_secs(20)));
}

#[test]
fn a_reloaded_page_continues_the_call_with_a_new_peer_connection() {
    let (_, mut echo, mut now) = call();
    let mut reloaded = Caller::new(now);
    let (offer, pending) = reloaded.offer();
    let answer = echo.reanswer(&offer, &local(), &[], now).unwrap();
    reloaded.accept(pending, &answer);
    pass(&mut reloaded, &mut echo, &mut now, 2000);
    reloaded.say(111, b"again", now);
    pass(&mut reloaded, &mut echo, &mut now, 100);
    assert_eq!(reloaded.heard, [(111, b"again".to_vec())]);
}

#[test]
fn an_ice_restart_is_answered_with_new_credentials_and_sound_goes_on() {
    let (mut caller, mut echo, mut now) = call();
    let mut change = caller.rtc.sdp_api();
    change.ice_restart(true);
    let (offer, pending) = change.apply().unwrap();
    let answer = echo.reanswer(&offer.to_sdp_string(), &local(), &[], now).unwrap();
    caller.accept(pending, &answer);
    pass(&mut caller, &mut echo, &mut now, 2000);
    caller.say(111, b"still here", now);
    pass(&mut caller, &mut echo, &mut now, 100);
    assert_eq!(caller.heard, [(111, b"still here".to_vec())]);
}

#[test]
fn a_caller_whose_media_vanishes_is_lost_after_half_a_minute() {
    let (_, mut echo, now) = call();
    echo.advance(now + Duration::from_secs(29));
    assert!(!echo.is_lost(now + Duration::from_secs(29)));
    assert!(echo.is_lost(now + Duration::from_secs(31)));
    assert!(echo.next_timeout() <= now + Duration::from_secs(31));
}

#[test]
fn candidates_with_host_names_or_tcp_do_not_disturb() {
    let now = Instant::now();
    let (offer, _) = Caller::new(now).offer();
    let offer = offer.replacen(
        "a=candidate:",
        "a=candidate:1 1 udp 2113937151 0ea5b6f2-1c3e.local 54400 typ host generation 0\r\n\
         a=candidate:2 1 tcp 1518280447 192.0.2.9 9 typ host tcptype active\r\na=candidate:",
        1,
    );
    assert!(offer.contains(".local"));
    Session::answer(&offer, &local(), &[], now).unwrap();
}

#[test]
fn the_answer_offers_own_addresses_and_then_the_public_ones() {
    let now = Instant::now();
    let (offer, _) = Caller::new(now).offer();
    let public = ["203.0.113.5:4000".parse().unwrap()];
    let (_, answer) = Session::answer(&offer, &local(), &public, now).unwrap();
    let candidates: Vec<&str> = answer.lines().filter(|line| line.starts_with("a=candidate:")).collect();
    assert_eq!(candidates.len(), 2, "{answer}");
    assert!(candidates[0].contains("192.0.2.1 4000 typ host"), "{answer}");
    assert!(candidates[1].contains("203.0.113.5 4000 typ host"), "{answer}");
    assert!(answer.contains("a=ice-lite"), "{answer}");
    SdpAnswer::from_sdp_string(&answer).unwrap();
}

#[test]
fn offers_that_cannot_be_answered_are_refused_with_a_reason() {
    let now = Instant::now();
    let refused = |offer: &str| Session::answer(offer, &local(), &[], now).err().expect("refused");
    assert!(refused("").contains("fingerprint"));
    assert!(
        refused("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n").contains("fingerprint")
    );
    assert!(!refused("a=fingerprint:sha-256 00\r\n").is_empty());
    let (offer, _) = Caller::new(now).offer();
    assert_eq!(
        refused(&offer.replace("opus", "speex").replace("telephone-event", "other")),
        "no audio codec in common"
    );
}

#[test]
fn garbage_datagrams_neither_stop_the_call_nor_belong_to_it() {
    let (mut caller, mut echo, mut now) = call();
    for bytes in [&b""[..], b"\0", b"hello", &[22; 60], &[128; 40], &[0x80, 0, 0, 0, 0x21, 0x12, 0xa4, 0x42]] {
        let stranger = "198.51.100.9:9".parse().unwrap();
        assert!(!echo.accepts(ECHO.parse().unwrap(), stranger, bytes, now), "{bytes:?}");
        // Even from the caller's own address.
        echo.receive(ECHO.parse().unwrap(), CALLER.parse().unwrap(), bytes, now);
    }
    caller.say(111, b"fine", now);
    pass(&mut caller, &mut echo, &mut now, 100);
    assert_eq!(caller.heard, [(111, b"fine".to_vec())]);
}

#[test]
fn a_call_in_which_nothing_happens_wakes_the_machine_rarely() {
    let (_, mut echo, now) = call();
    let end = now + Duration::from_secs(20);
    let mut wakes = 0;
    let mut at = echo.next_timeout();
    while at < end {
        wakes += 1;
        assert!(wakes < 2000, "more than a hundred times a second");
        echo.advance(at);
        while echo.poll_transmit().is_some() {}
        at = echo.next_timeout().max(at);
    }
}
