//! baresip as the far end: registered at Kamailio, with a tone as its microphone.
//!
//! What it hears is taken off the wire at its RTP port. Its own recording stops at times when a call on hold is resumed,
//! while packets go on to arrive.

use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::kamailio::Kamailio;
use super::process::Process;
use super::sound::{self, from_mu_law};
use super::wait::until;

pub struct Baresip {
    pub username: String,
    process: Process,
    control: TcpStream,
    pending: Vec<u8>,
    /// Writes [`CAPTURE`].
    _capture: Process,
    dir: TempDir,
}

/// The packets to baresip's RTP port, in the file format of pcap.
const CAPTURE: &str = "rtp.pcap";
/// Samples per second of PCMU, baresip's only codec.
const RATE: u32 = 8_000;

impl Baresip {
    /// Registers as Kamailio's subscriber `n`, with a microphone that hears
    /// `hz`. With `answers` it takes every call at once.
    pub async fn start(kamailio: &Kamailio, n: u8, hz: u32, answers: bool) -> Self {
        let dir = tempfile::Builder::new().prefix("bitcall-baresip-").tempdir().unwrap();
        // For SIP it takes this port and, for TLS, the next one.
        let sip = kamailio.ports().take_media();
        let control = kamailio.ports().take();
        let (rtp_first, rtp_last) = (kamailio.ports().take_media(), kamailio.ports().take_media());
        let (username, password) = Kamailio::subscriber(n);
        let mode = if answers { "auto" } else { "manual" };
        let server = format!("127.0.0.1:{}", kamailio.sip_port);
        let account = format!(
            "<sip:{username}@{domain}>;auth_pass={password};outbound=\"sip:{server}\";\
             answermode={mode};regint=60;audio_codecs=PCMU\n",
            domain = Kamailio::DOMAIN,
        );
        let config = format!(
            "module_path /usr/lib/baresip/modules\n\
             sip_listen 127.0.0.1:{sip}\n\
             net_interface 127.0.0.1\n\
             audio_source ausine,{hz}\n\
             audio_player aubridge,nowhere\n\
             audio_alert aubridge,nowhere\n\
             ausrc_channels 2\n\
             auplay_channels 1\n\
             ausrc_srate 48000\n\
             auplay_srate 8000\n\
             rtp_ports {rtp_first}-{rtp_last}\n\
             ctrl_tcp_listen 127.0.0.1:{control}\n\
             module g711.so\n\
             module ausine.so\n\
             module aubridge.so\n\
             module_app account.so\n\
             module_app menu.so\n\
             module_app ctrl_tcp.so\n",
            rtp_last = rtp_last + 2,
        );
        std::fs::write(dir.path().join("accounts"), account).unwrap();
        std::fs::write(dir.path().join("config"), config).unwrap();
        std::fs::write(dir.path().join("contacts"), "").unwrap();
        let mut command = Command::new("tcpdump");
        command.args(["-i", "lo", "-Z", "root", "-U", "-s", "0", "-w"]).arg(dir.path().join(CAPTURE));
        command.arg(format!("udp and dst portrange {rtp_first}-{}", rtp_last + 2));
        let mut capture = Process::start("tcpdump", dir.path(), &command);
        until("tcpdump to listen", async || {
            capture.assert_running();
            let log = capture.log();
            if log.contains("listening on") { Ok(()) } else { Err(log) }
        })
        .await;
        let mut command = Command::new("baresip");
        command.arg("-f").arg(dir.path());
        let mut process = Process::start("baresip", dir.path(), &command);
        let control = until("baresip's control port", async || {
            process.assert_running();
            TcpStream::connect(("127.0.0.1", control)).await.map_err(|e| e.to_string())
        })
        .await;
        let this = Self { username, process, control, pending: Vec::new(), _capture: capture, dir };
        until("baresip to be registered", async || {
            let log = this.process.log();
            if log.contains("200 OK") { Ok(()) } else { Err(log) }
        })
        .await;
        this
    }

    /// Calls `user` through Kamailio.
    pub async fn dials(&mut self, user: &str) {
        self.command("dial", &format!("sip:{user}@sip.test")).await;
    }

    pub async fn hangs_up(&mut self) {
        self.command("hangup", "").await;
    }

    /// Connects the far end of its call with `user` (REFER).
    pub async fn transfers(&mut self, user: &str) {
        self.command("transfer", &format!("sip:{user}@sip.test")).await;
    }

    /// Waits for an event of this type, e.g. `CALL_ESTABLISHED`.
    pub async fn event(&mut self, wanted: &str) -> Value {
        let mut seen = Vec::new();
        until(&format!("baresip's event {wanted}"), async || {
            let message = self.next_message().await;
            if message["event"] == true && message["type"] == wanted {
                return Ok(message);
            }
            seen.push(message.to_string());
            Err(seen.join("\n"))
        })
        .await
    }

    /// Waits until the last half second that arrived is mostly a tone of `hz`.
    pub async fn hears(&self, hz: u32) {
        let mut before = 0;
        until(&format!("baresip to hear {hz} Hz"), async || {
            let samples = self.arrived();
            let grows = samples.len() > std::mem::replace(&mut before, samples.len());
            let share = share_at_the_end(&samples, hz);
            if grows && share > 0.5 { Ok(()) } else { Err(format!("{share} of the energy; more arrives: {grows}")) }
        })
        .await;
    }

    /// Waits until nothing of a tone of `hz` arrives any more: the last half second has none of it, or no
    /// packets came for a second.
    pub async fn hears_no_more(&self, hz: u32) {
        let mut since = tokio::time::Instant::now();
        let mut length = 0;
        until(&format!("baresip to hear no more of {hz} Hz"), async || {
            let samples = self.arrived();
            if samples.len() != length {
                length = samples.len();
                since = tokio::time::Instant::now();
            }
            let share = share_at_the_end(&samples, hz);
            if share < 0.01 || since.elapsed().as_secs_f64() > 1.0 {
                Ok(())
            } else {
                Err(format!("{share} of the energy"))
            }
        })
        .await;
    }

    /// Waits until baresip has decoded this digit (and no other one first).
    pub async fn hears_digit(&mut self, digit: &str) {
        let event = self.event("CALL_DTMF_START").await;
        assert_eq!(event["param"], digit, "{event}");
    }

    /// What has arrived, in the order of arrival.
    fn arrived(&self) -> Vec<i16> {
        const FILE_HEADER: usize = 24;
        const PACKET_HEADER: usize = 16;
        /// Ethernet, IPv4 and UDP.
        const HEADERS: usize = 14 + 20 + 8;
        const RTP_HEADER: usize = 12;
        let bytes = std::fs::read(self.dir.path().join(CAPTURE)).unwrap_or_default();
        let mut rest = bytes.get(FILE_HEADER..).unwrap_or_default();
        let mut samples = Vec::new();
        while let Some(length) = rest.get(8..12) {
            let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
            let Some(packet) = rest.get(PACKET_HEADER..PACKET_HEADER + length) else { break };
            rest = &rest[PACKET_HEADER + length..];
            // Version 2 without padding, extension and CSRCs; payload type 0.
            if let Some([0x80, payload_type, ..]) = packet.get(HEADERS..)
                && payload_type % 128 == 0
            {
                samples.extend(packet.iter().skip(HEADERS + RTP_HEADER).map(|byte| from_mu_law(*byte)));
            }
        }
        samples
    }

    async fn command(&mut self, command: &str, params: &str) {
        let text = json!({ "command": command, "params": params }).to_string();
        let framed = format!("{}:{text},", text.len());
        self.control.write_all(framed.as_bytes()).await.unwrap();
    }

    /// The next netstring of the control connection. Cancel-safe: what was read
    /// stays in `pending`.
    async fn next_message(&mut self) -> Value {
        loop {
            if let Some(message) = take_netstring(&mut self.pending) {
                return message;
            }
            let n = self.control.read_buf(&mut self.pending).await.unwrap();
            assert!(n > 0, "baresip closed its control connection:\n{}", self.process.log());
        }
    }
}

/// The share of the last half second's energy that lies at `hz`.
fn share_at_the_end(samples: &[i16], hz: u32) -> f64 {
    let half = usize::try_from(RATE / 2).unwrap();
    let last = samples.len().checked_sub(half).map(|start| &samples[start..]);
    last.map_or(0.0, |last| sound::share_at(last, RATE, f64::from(hz)))
}

fn take_netstring(pending: &mut Vec<u8>) -> Option<Value> {
    let colon = pending.iter().position(|b| *b == b':')?;
    let length: usize = std::str::from_utf8(&pending[..colon]).unwrap().parse().unwrap();
    let end = colon + 1 + length;
    if pending.len() <= end {
        return None;
    }
    let message = serde_json::from_slice(&pending[colon + 1..end]).unwrap();
    pending.drain(..=end);
    Some(message)
}
