//! A browser's media side: full ICE, DTLS and SRTP over a real UDP socket.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc};
use tokio::net::UdpSocket;

const REPLY_TIMEOUT: Duration = Duration::from_secs(20);
const OPUS: u8 = 111;

pub struct Media {
    rtc: Rtc,
    socket: UdpSocket,
    address: SocketAddr,
    mid: Option<Mid>,
    pending: Option<SdpPendingOffer>,
    said: u64,
    heard: Vec<Vec<u8>>,
    closed: bool,
}

impl Media {
    /// On an address of a real interface, as a browser without flags; on loopback where there is none.
    pub fn bind() -> Self {
        let interfaces = if_addrs::get_if_addrs().unwrap();
        let real = interfaces.iter().find(|i| !i.is_loopback() && i.is_oper_up() && i.ip().is_ipv4());
        let ip = real.map_or(IpAddr::from([127, 0, 0, 1]), if_addrs::Interface::ip);
        let socket = std::net::UdpSocket::bind((ip, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let mut rtc = Rtc::builder().set_rtp_mode(true).clear_codecs().enable_opus(true, false).build(Instant::now());
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        let socket = UdpSocket::from_std(socket).unwrap();
        Self { rtc, socket, address, mid: None, pending: None, said: 0, heard: Vec::new(), closed: false }
    }

    pub fn offer(&mut self) -> String {
        let mut change = self.rtc.sdp_api();
        self.mid = Some(change.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None));
        let (offer, pending) = change.apply().unwrap();
        self.pending = Some(pending);
        offer.to_sdp_string()
    }

    pub fn answer(&mut self, sdp: &str) {
        let answer = SdpAnswer::from_sdp_string(sdp).unwrap();
        self.rtc.sdp_api().accept_answer(self.pending.take().unwrap(), answer).unwrap();
    }

    /// Sends and receives until there is nothing to do before the returned time.
    async fn drain(&mut self) -> Instant {
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(at) => return at,
                Output::Transmit(datagram) => {
                    let _ = self.socket.send_to(&datagram.contents, datagram.destination).await;
                }
                Output::Event(Event::RtpPacket(packet)) => self.heard.push(packet.payload.to_vec()),
                Output::Event(Event::Closed) => self.closed = true,
                Output::Event(_) => {}
            }
        }
    }

    /// Lets one datagram arrive or one time-out pass, at the latest at `until`.
    async fn step(&mut self, until: Instant) {
        let next = self.drain().await.min(until);
        let mut buffer = [0; 2000];
        let input = tokio::select! {
            received = self.socket.recv_from(&mut buffer) => {
                let (length, source) = received.unwrap();
                let contents = buffer[..length].try_into().unwrap();
                let destination = self.address;
                Input::Receive(Instant::now(), Receive { proto: Protocol::Udp, source, destination, contents })
            }
            () = tokio::time::sleep_until(next.into()) => Input::Timeout(Instant::now()),
        };
        self.rtc.handle_input(input).unwrap();
    }

    /// Sends `count` packets, one every 20 ms, until all of them have come back in order.
    pub async fn hear_oneself(&mut self, count: u64) {
        let give_up = Instant::now() + REPLY_TIMEOUT;
        while !self.rtc.is_connected() {
            assert!(Instant::now() < give_up, "no connection");
            self.step(give_up).await;
        }
        let words: Vec<Vec<u8>> = (0..count).map(|n| format!("word {n}").into_bytes()).collect();
        for word in &words {
            self.said += 1;
            let (number, time) = (self.said, u32::try_from(self.said).unwrap() * 960);
            let mut api = self.rtc.direct_api();
            let stream = api.stream_tx_by_mid(self.mid.unwrap(), None).unwrap();
            let packet = RtpWrite::new(OPUS.into(), number.into(), time, Instant::now(), word.clone());
            stream.write_rtp(packet);
            let next = Instant::now() + Duration::from_millis(20);
            while Instant::now() < next {
                self.step(next).await;
            }
        }
        while self.heard.len() < words.len() {
            assert!(Instant::now() < give_up, "{} of {count} words came back", self.heard.len());
            self.step(give_up).await;
        }
        assert_eq!(std::mem::take(&mut self.heard), words);
    }

    /// Waits until the other side has closed the media.
    pub async fn closed(&mut self) {
        let give_up = Instant::now() + REPLY_TIMEOUT;
        while !self.closed {
            assert!(Instant::now() < give_up, "media was not closed");
            self.step(give_up).await;
        }
    }
}
