//! A Chromium without the flag that allows ICE on 127.0.0.1. Only its microphone is fake and allowed without a prompt.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use thirtyfour::{Capabilities, ChromiumCapabilities, WebDriver};

const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
];

/// Offers the made microphone's beeps; done when all candidates are there.
const OFFER: &str = "
    const done = arguments[arguments.length - 1];
    (async () => {
        const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
        const stream = await navigator.mediaDevices.getUserMedia({ audio });
        const pc = window.pc = new RTCPeerConnection();
        stream.getTracks().forEach((track) => pc.addTrack(track, stream));
        // Sound that nobody plays is not decoded, and has no energy.
        pc.ontrack = (event) => {
            window.sound = new Audio();
            window.sound.srcObject = event.streams[0];
            window.sound.play();
        };
        await pc.setLocalDescription();
        while (pc.iceGatheringState !== 'complete') {
            await new Promise((next) => { pc.onicegatheringstatechange = next; });
        }
        return pc.localDescription.sdp;
    })().then(done, (error) => done('error: ' + error));";

const ANSWER: &str = "
    const done = arguments[arguments.length - 1];
    window.pc.setRemoteDescription({ type: 'answer', sdp: arguments[0] })
        .then(() => done('ok'), (error) => done('error: ' + error));";

const HEARD: &str = "
    const done = arguments[arguments.length - 1];
    window.pc.getStats().then((stats) => {
        const seen = { energy: 0, packets: 0, state: window.pc.connectionState, address: '' };
        for (const one of stats.values()) {
            if (one.type === 'inbound-rtp') {
                seen.energy = one.totalAudioEnergy || 0;
                seen.packets = one.packetsReceived;
            }
            if (one.type === 'transport' && one.selectedCandidatePairId) {
                seen.address = stats.get(stats.get(one.selectedCandidatePairId).remoteCandidateId).address;
            }
        }
        done(seen);
    });";

pub struct Browser {
    session: WebDriver,
    driver: Child,
}

/// What the browser receives.
#[derive(Debug)]
pub struct Heard {
    /// Of the received sound, added up; silence adds nothing.
    pub energy: f64,
    pub packets: u64,
    /// Where it comes from.
    pub address: String,
}

impl Browser {
    /// At a page that may use the microphone.
    pub async fn open(url: &str) -> Self {
        let start = || {
            let mut driver = Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).spawn().unwrap();
            let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
            let port = lines
                .map_while(Result::ok)
                .find_map(|line| line.split("successfully on port ").nth(1)?.trim_end_matches('.').parse::<u16>().ok());
            (driver, port.expect("chromedriver says its port"))
        };
        let (driver, port) = tokio::task::spawn_blocking(start).await.unwrap();
        let mut wanted: Capabilities = ChromiumCapabilities::new().into();
        wanted.set("browserName", "chrome").unwrap();
        wanted.set("goog:chromeOptions", json!({ "args": FLAGS })).unwrap();
        let session = WebDriver::new(format!("http://127.0.0.1:{port}"), wanted).await.unwrap();
        session.set_script_timeout(Duration::from_secs(30)).await.unwrap();
        session.goto(url).await.unwrap();
        Self { session, driver }
    }

    async fn run(&self, script: &str, arguments: Vec<Value>) -> Value {
        let value = self.session.execute_async(script, arguments).await.unwrap().json().clone();
        assert!(!value.as_str().is_some_and(|text| text.starts_with("error: ")), "{value}");
        value
    }

    pub async fn offer(&self) -> String {
        self.run(OFFER, vec![]).await.as_str().unwrap().to_owned()
    }

    pub async fn answer(&self, sdp: &str) {
        self.run(ANSWER, vec![json!(sdp)]).await;
    }

    /// Waits until sound with energy has arrived for a while.
    pub async fn hear_sound(&self) -> Heard {
        let give_up = Instant::now() + Duration::from_secs(30);
        loop {
            let seen = self.run(HEARD, vec![]).await;
            let heard = Heard {
                energy: seen["energy"].as_f64().unwrap(),
                packets: seen["packets"].as_u64().unwrap(),
                address: seen["address"].as_str().unwrap().to_owned(),
            };
            if heard.energy > 0.001 && heard.packets > 50 {
                return heard;
            }
            assert!(Instant::now() < give_up, "{seen}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn close(self) {
        self.session.clone().quit().await.unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
