//! sipp as the far end: plain RTP, scripted SIP, one call each.
//!
//! The scenarios are in `sipp/`. An `answer` echoes the audio it gets, so a
//! phone that hears its own tone has proven both directions.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::kamailio::Kamailio;
use super::ports::has_udp_socket;
use super::process::Process;
use super::wait::until;

pub struct Sipp {
    /// What a phone behind Kamailio dials to reach it.
    pub number: String,
    process: Process,
    messages: PathBuf,
    _dir: TempDir,
}

impl Sipp {
    /// Waits for a call and treats it as `sipp/<scenario>.xml` says.
    pub async fn called(kamailio: &Kamailio, scenario: &str) -> Self {
        Self::called_with(kamailio, scenario, &[]).await
    }

    /// With values for the scenario's `{{key}}`s.
    pub async fn called_with(kamailio: &Kamailio, scenario: &str, keys: &[(&str, &str)]) -> Self {
        let mut this = Self::start(kamailio, scenario, keys, None);
        let port: u16 = this.number.trim_start_matches('0').parse().unwrap();
        until("sipp to listen", async || {
            this.process.assert_running();
            if has_udp_socket(port) { Ok(()) } else { Err(this.process.log()) }
        })
        .await;
        this
    }

    /// Calls `user` through Kamailio, at once.
    pub fn calls(kamailio: &Kamailio, user: &str, scenario: &str) -> Self {
        Self::calls_with(kamailio, user, scenario, &[])
    }

    /// With values for the scenario's `{{key}}`s.
    pub fn calls_with(kamailio: &Kamailio, user: &str, scenario: &str, keys: &[(&str, &str)]) -> Self {
        Self::start(kamailio, scenario, keys, Some(user))
    }

    fn start(kamailio: &Kamailio, scenario: &str, keys: &[(&str, &str)], user: Option<&str>) -> Self {
        let dir = tempfile::Builder::new().prefix("bitcall-sipp-").tempdir().unwrap();
        let port = kamailio.ports().take();
        let media = kamailio.ports().take_media();
        let kept = format!("tests/rig/sipp/{scenario}.xml");
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join(kept);
        let mut text = std::fs::read_to_string(&kept).unwrap();
        for (key, value) in keys {
            text = text.replace(&format!("{{{{{key}}}}}"), value);
        }
        // Those without a value are left out.
        let is_key = |line: &&str| line.trim().starts_with("{{") && line.trim().ends_with("}}");
        let text: String = text.split_inclusive('\n').filter(|line| !is_key(line)).collect();
        let file = dir.path().join("scenario.xml");
        std::fs::write(&file, text).unwrap();
        let messages = dir.path().join("messages.log");
        let mut command = Command::new("sipp");
        command
            .current_dir(dir.path())
            .args(["-i", "127.0.0.1", "-mi", "127.0.0.1", "-ci", "127.0.0.1"])
            .args(["-p", &port.to_string(), "-mp", &media.to_string(), "-rtp_echo"])
            .args(["-m", "1", "-nostdin", "-trace_msg", "-message_file"])
            .arg(&messages)
            .arg("-sf")
            .arg(file);
        if let Some(user) = user {
            command.args(["-s", user]).arg(format!("127.0.0.1:{}", kamailio.sip_port));
        }
        Self {
            number: Kamailio::number_of(port),
            process: Process::start(&format!("sipp-{scenario}"), dir.path(), &command),
            messages,
            _dir: dir,
        }
    }

    /// Every message sent and received so far.
    pub fn messages(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.messages).unwrap_or_default()).into_owned()
    }

    /// Messages received so far that contain all of `parts`.
    pub fn received(&self, parts: &[&str]) -> Vec<String> {
        self.logged("message received", parts)
    }

    /// Messages sent so far that contain all of `parts`.
    pub fn sent(&self, parts: &[&str]) -> Vec<String> {
        self.logged("message sent", parts)
    }

    fn logged(&self, direction: &str, parts: &[&str]) -> Vec<String> {
        let log = self.messages();
        log.split("----------------------------------------------- ")
            .filter(|m| m.contains(direction) && parts.iter().all(|p| m.contains(p)))
            .map(str::to_owned)
            .collect()
    }

    /// Waits until a message with all of `parts` has come in.
    pub async fn receives(&self, parts: &[&str]) -> String {
        until(&format!("sipp to receive {parts:?}"), async || self.received(parts).pop().ok_or_else(|| self.messages()))
            .await
    }

    /// Continues a scenario that waits for a MESSAGE within its call.
    pub async fn goes_on(&self) {
        let invite = self.receives(&["INVITE sip:"]).await;
        let call = invite.lines().find_map(|line| line.strip_prefix("Call-ID: ")).unwrap().trim();
        let (port, turn) = (self.number.trim_start_matches('0'), self.received(&["MESSAGE sip:"]).len() + 1);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let own = socket.local_addr().unwrap();
        let message = format!(
            "MESSAGE sip:far@127.0.0.1:{port} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKgo{turn}\r\n\
             From: <sip:test@{own}>;tag=go\r\nTo: <sip:far@127.0.0.1:{port}>\r\nCall-ID: {call}\r\n\
             CSeq: {turn} MESSAGE\r\nContent-Length: 0\r\n\r\n"
        );
        socket.send_to(message.as_bytes(), format!("127.0.0.1:{port}")).unwrap();
        until("sipp to go on", async || match self.received(&["MESSAGE sip:"]).len() {
            n if n >= turn => Ok(()),
            _ => Err(self.messages()),
        })
        .await;
    }

    /// Waits for the scenario's end and fails the test unless all went as written.
    pub async fn succeeds(mut self) {
        let status = until("sipp's scenario to end", async || {
            self.process.ended().ok_or_else(|| {
                let log = std::fs::read_to_string(&self.messages);
                log.unwrap_or_default()
            })
        })
        .await;
        assert!(status.success(), "sipp says {status}:\n{}", self.messages());
    }
}

impl Drop for Sipp {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("──── sipp's messages ────\n{}", self.messages());
        }
    }
}
