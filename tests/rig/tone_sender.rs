//! Plain RTP that sends one tone to the source of each packet it receives.
//!
//! Unlike an echo it proves *which* description the media went to.

use std::f64::consts::TAU;

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::kamailio::Kamailio;
use super::sound::mu_law;

/// PCMU (RFC 3551): 20 ms at 8 kHz.
const SAMPLES: u16 = 160;
const RATE: f64 = 8_000.0;

pub struct ToneSender {
    pub port: u16,
    task: JoinHandle<()>,
}

impl ToneSender {
    /// On a port of Kamailio's block, where rtpengine looks for it. 0 Hz are packets of silence.
    pub async fn start(kamailio: &Kamailio, hz: u32) -> Self {
        let port = kamailio.ports().take_media();
        let socket = UdpSocket::bind(("127.0.0.1", port)).await.unwrap();
        let task = tokio::spawn(async move {
            let mut packet = [0_u8; 1500];
            for number in 0_u16.. {
                let Ok((_, sender)) = socket.recv_from(&mut packet).await else { return };
                socket.send_to(&note(number, hz), sender).await.ok();
            }
        });
        Self { port, task }
    }
}

impl Drop for ToneSender {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Packet `number` of an endless sine.
fn note(number: u16, hz: u32) -> Vec<u8> {
    let start = u32::from(number) * u32::from(SAMPLES);
    let mut packet = vec![0x80, 0];
    packet.extend(number.to_be_bytes());
    packet.extend(start.to_be_bytes());
    packet.extend((hz + 1).to_be_bytes()); // SSRC: another one for every note, and never 0.
    packet.extend((0..u32::from(SAMPLES)).map(|n| {
        let phase = TAU * f64::from(hz) * f64::from(start + n) / RATE;
        #[expect(clippy::cast_possible_truncation, reason = "bounded by the factor")]
        let sample = (phase.sin() * 8_000.0) as i16;
        mu_law(sample)
    }));
    packet
}
