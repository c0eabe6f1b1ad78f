//! The phone's side of a call: ICE, DTLS and SRTP by str0m, on a socket of its own, and the far end's sound.
//!
//! Its habits are those of a leg of Asterisk 22: it keeps the order of codecs of its last answer, whoever wrote it; it never
//! transcodes; it makes one DTLS handshake.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpWrite, SeqNo};
use str0m::{Candidate, Event, Input, Output, Rtc};
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::far_end::{Party, SAMPLES_PER_PACKET};
use super::network::Network;
use super::session_description::{CODECS, Formats, Local, Remote, answer_to};

const PACKET_INTERVAL: Duration = Duration::from_millis(20);
/// The only codec of far ends.
const FAR_END_CODEC: &str = "PCMU";
const PAYLOAD_TYPE: u8 = 0;
/// First bytes of DTLS records (RFC 7983).
const DTLS: std::ops::RangeInclusive<u8> = 20..=63;

/// A leg with the task that runs its media until this is dropped.
pub struct Leg {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    network: Network,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    rtc: Rtc,
    address: SocketAddr,
    party: Arc<Party>,
    /// The media engine's name of the audio section, and the one in messages.
    engine_mid: Mid,
    mid: String,
    /// The offer that the phone has not answered yet.
    pending: Option<SdpPendingOffer>,
    version: u64,
    /// The phone's certificate, and which of us begins the handshake. Both stay as they were at first.
    fingerprint: String,
    setup: &'static str,
    /// Of the phone; another one is an ICE restart (RFC 8445 §9).
    ufrag: String,
    dtls_up: bool,
    /// Codecs of the last answer.
    order: Vec<&'static str>,
    codec: Option<&'static str>,
    direction: &'static str,
    sources: Vec<String>,
    packets: u64,
}

/// What the media engine has chosen by itself.
struct Engine {
    ufrag: String,
    pwd: String,
    fingerprint: String,
    source: u32,
}

impl Leg {
    /// The answer to a phone that calls.
    pub fn answers(offer: &str, party: &Arc<Party>) -> Result<(Self, String), String> {
        let remote = Remote::read(offer)?;
        let order: Vec<_> =
            CODECS.map(|(name, _)| name).into_iter().filter(|c| remote.payload_type(c).is_some()).collect();
        let (socket, mut state) = State::new(party);
        state.mid.clone_from(&remote.mid);
        state.fingerprint.clone_from(&remote.fingerprint);
        state.setup = opposite_of(&remote.setup);
        let answer = state.answer(&remote, order)?;
        Ok((Self::run(socket, state), answer))
    }

    /// The offer to a phone that is called.
    pub fn offers(party: &Arc<Party>) -> (Self, String) {
        let (socket, mut state) = State::new(party);
        let mut change = state.rtc.sdp_api();
        state.engine_mid = change.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None);
        let (offer, pending) = change.apply().unwrap();
        state.pending = Some(pending);
        "audio-0".clone_into(&mut state.mid);
        let offer = state.description(Formats::of_an_offer(), &Engine::read(&offer.to_sdp_string()), "actpass");
        (Self::run(socket, state), offer)
    }

    /// The phone's answer to [`Self::offers`].
    pub fn accept(&self, answer: &str) -> Result<(), String> {
        let remote = Remote::read(answer)?;
        let mut state = self.state();
        let Some(pending) = state.pending.take() else { return Err("answered twice".to_owned()) };
        let for_engine = remote.for_engine(&state.engine_mid, &remote.fingerprint, &remote.setup, &remote.sources);
        let for_engine = SdpAnswer::from_sdp_string(&for_engine).map_err(|e| e.to_string())?;
        state.rtc.sdp_api().accept_answer(pending, for_engine).map_err(|e| e.to_string())?;
        state.fingerprint.clone_from(&remote.fingerprint);
        state.ufrag.clone_from(&remote.ufrag);
        state.setup = opposite_of(&remote.setup);
        state.sources.clone_from(&remote.sources);
        state.direction = answer_to(&remote.direction);
        state.order = remote.codecs.iter().map(|(name, _)| *name).collect();
        // Until the next offer the leg goes on with what the bridge wanted of it.
        state.codec = CODECS.map(|(name, _)| name).into_iter().find(|codec| state.order.contains(codec));
        self.shared.changed.notify_one();
        Ok(())
    }

    /// The answer to a re-INVITE or UPDATE.
    pub fn answers_again(&self, offer: &str) -> Result<String, String> {
        let remote = Remote::read(offer)?;
        let mut state = self.state();
        let order: Vec<_> = state.order.iter().copied().filter(|codec| remote.payload_type(codec).is_some()).collect();
        let answer = state.answer(&remote, order);
        self.shared.changed.notify_one();
        answer
    }

    /// Whether this offer needs another leg: no handshake was made yet, and the phone has other keys than it had.
    pub fn is_outdated_by(&self, offer: &str) -> bool {
        let state = self.state();
        Remote::read(offer).is_ok_and(|remote| !state.dtls_up && remote.fingerprint != state.fingerprint)
    }

    pub fn party(&self) -> Arc<Party> {
        Arc::clone(&self.state().party)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    fn run(socket: UdpSocket, state: State) -> Self {
        let network = Network::new(socket, Arc::clone(&state.party));
        let shared = Arc::new(Shared { network, state: Mutex::new(state), changed: Notify::new() });
        let task = tokio::spawn(run(Arc::clone(&shared)));
        Self { shared, task }
    }
}

impl Drop for Leg {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    fn new(party: &Arc<Party>) -> (UdpSocket, Self) {
        party.set_path_lost(false);
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let mut rtc = Rtc::builder().set_rtp_mode(true).clear_codecs().enable_pcmu(true, false).build(Instant::now());
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        let state = Self {
            rtc,
            address,
            party: Arc::clone(party),
            engine_mid: Mid::from("0"),
            mid: String::new(),
            pending: None,
            version: 0,
            fingerprint: String::new(),
            setup: "actpass",
            ufrag: String::new(),
            dtls_up: false,
            order: Vec::new(),
            codec: None,
            direction: "sendrecv",
            sources: Vec::new(),
            packets: 0,
        };
        (UdpSocket::from_std(socket).unwrap(), state)
    }

    /// Takes an offer. A new fingerprint in it changes nothing: the association stays the one of before.
    fn answer(&mut self, remote: &Remote, order: Vec<&'static str>) -> Result<String, String> {
        if order.is_empty() {
            return Err("no codec in common".to_owned());
        }
        if !remote.sources.is_empty() {
            self.sources.clone_from(&remote.sources);
        }
        if std::mem::replace(&mut self.ufrag, remote.ufrag.clone()) != remote.ufrag {
            self.party.set_path_lost(false);
        }
        let offer = remote.for_engine(&self.engine_mid, &self.fingerprint, opposite_of(self.setup), &self.sources);
        let offer = SdpOffer::from_sdp_string(&offer).map_err(|e| e.to_string())?;
        let answer = self.rtc.sdp_api().accept_offer(offer).map_err(|e| e.to_string())?;
        self.mid.clone_from(&remote.mid);
        self.direction = answer_to(&remote.direction);
        self.codec = order.first().copied();
        let formats = remote.answered_with(&order);
        self.order = order;
        Ok(self.description(formats, &Engine::read(&answer.to_sdp_string()), self.setup))
    }

    fn description(&mut self, formats: Formats, engine: &Engine, setup: &str) -> String {
        self.version += 1;
        let local = Local {
            version: self.version,
            port: self.address.port(),
            formats,
            direction: self.direction,
            mid: &self.mid,
            connection: if self.dtls_up { "existing" } else { "new" },
            setup,
            fingerprint: &engine.fingerprint,
            ufrag: &engine.ufrag,
            pwd: &engine.pwd,
            source: engine.source,
        };
        local.write()
    }

    fn receive(&mut self, source: SocketAddr, bytes: &[u8]) {
        let again = self.dtls_up && bytes.first().is_some_and(|first| DTLS.contains(first));
        let Ok(contents) = bytes.try_into() else { return };
        // Before the phone's answer is here nothing can be checked; the browser repeats its packets.
        if again || self.pending.is_some() {
            return;
        }
        let input = Receive { proto: Protocol::Udp, source, destination: self.address, contents };
        // Errors are packets that make no sense.
        self.rtc.handle_input(Input::Receive(Instant::now(), input)).ok();
    }

    /// The far end's next 20 ms, where both legs have the same codec.
    fn play(&mut self) {
        let sends = matches!(self.direction, "sendrecv" | "sendonly");
        if !self.dtls_up || !sends || self.codec != Some(FAR_END_CODEC) {
            return;
        }
        self.packets += 1;
        let payload = self.party.plays(self.packets);
        let time = u32::try_from(self.packets * SAMPLES_PER_PACKET as u64).unwrap();
        let mut api = self.rtc.direct_api();
        if let Some(stream) = api.stream_tx_by_mid(self.engine_mid, None) {
            let number = SeqNo::from(self.packets);
            stream.write_rtp(RtpWrite::new(PAYLOAD_TYPE.into(), number, time, Instant::now(), payload));
        }
        self.rtc.handle_input(Input::Timeout(Instant::now())).ok();
    }

    /// Sends what wants to go out, and says until when nothing has to be done.
    fn drain(&mut self, network: &Network) -> Instant {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => return at,
                Ok(Output::Transmit(datagram)) => {
                    network.send(&datagram.contents, datagram.destination);
                }
                Ok(Output::Event(Event::Connected)) => self.dtls_up = true,
                Ok(Output::Event(Event::RtpPacket(packet))) => {
                    if self.codec == Some(FAR_END_CODEC) && *packet.header.payload_type == PAYLOAD_TYPE {
                        self.party.hear(&packet.payload, Instant::now());
                    }
                }
                Ok(Output::Event(_)) => {}
                Err(error) => {
                    eprintln!("media of the call with {} has ended: {error}", self.party.number);
                    return Instant::now() + Duration::from_hours(1);
                }
            }
        }
    }
}

/// Who begins the DTLS handshake when the other side says this; whoever is asked to choose begins.
fn opposite_of(setup: &str) -> &'static str {
    if setup == "active" { "passive" } else { "active" }
}

async fn run(shared: Arc<Shared>) {
    let mut packets = tokio::time::interval(PACKET_INTERVAL);
    packets.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        let next = shared.state.lock().unwrap().drain(&shared.network);
        tokio::select! {
            (source, datagram) = shared.network.receive() => {
                shared.state.lock().unwrap().receive(source, &datagram);
            }
            () = tokio::time::sleep_until(next.into()) => {
                shared.state.lock().unwrap().rtc.handle_input(Input::Timeout(Instant::now())).ok();
            }
            _ = packets.tick() => shared.state.lock().unwrap().play(),
            () = shared.changed.notified() => {}
        }
    }
}

impl Engine {
    fn read(sdp: &str) -> Self {
        let value = |name: &str| {
            let found = sdp.lines().find_map(|line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'));
            found.unwrap_or_else(|| panic!("no a={name} in:\n{sdp}")).trim_end().to_owned()
        };
        let source = value("ssrc").split(' ').next().unwrap().parse().unwrap();
        Self { ufrag: value("ice-ufrag"), pwd: value("ice-pwd"), fingerprint: value("fingerprint"), source }
    }
}
