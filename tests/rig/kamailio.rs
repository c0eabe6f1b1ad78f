//! An outside PBX: Kamailio with SIP over secure WebSocket, and rtpengine
//! between the browser's encrypted media and plain RTP.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::ports::Ports;
use super::process::Process;
use super::wait::until;

const CONFIG: &str = include_str!("kamailio.cfg");
const TLS: &str = "[server:default]\nmethod = TLSv1.2+\nverify_certificate = no\n";

pub struct Kamailio {
    /// SIP over UDP, for far ends.
    pub sip_port: u16,
    ws_port: u16,
    secure_port: u16,
    defines: Vec<String>,
    ports: Ports,
    server: Process,
    _media: Process,
    dir: TempDir,
}

impl Kamailio {
    /// The SIP domain, and the realm.
    pub const DOMAIN: &'static str = "sip.test";

    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With switches of `kamailio.cfg`, e.g. `WITH_SHA256`.
    pub async fn start_with(switches: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("bitcall-sip-").tempdir().unwrap();
        let ports = Ports::reserve();
        let (sip_port, ws_port, secure_port, control) = (ports.take(), ports.take(), ports.take(), ports.take());
        std::fs::write(dir.path().join("kamailio.cfg"), CONFIG).unwrap();
        write_certificate(dir.path());

        let (first, last) = ports.range();
        let mut command = Command::new("rtpengine");
        command
            .args(["--config-file=none", "--table=-1", "--foreground", "--log-stderr"])
            .args(["--interface=127.0.0.1", "--dtls-passive", "--log-level=5"])
            .arg(format!("--listen-ng=127.0.0.1:{control}"))
            .arg(format!("--port-min={first}"))
            .arg(format!("--port-max={last}"));
        let media = Process::start("rtpengine", dir.path(), &command);

        let mut defines = vec![
            format!("RIG_SIP_PORT={sip_port}"),
            format!("RIG_WS_PORT={ws_port}"),
            format!("RIG_WSS_PORT={secure_port}"),
            format!("RIG_RTPENGINE=\"udp:127.0.0.1:{control}\""),
            format!("RIG_TLS=\"{}\"", dir.path().join("tls.cfg").display()),
        ];
        defines.extend(switches.iter().map(ToString::to_string));
        let server = start_server(dir.path(), &defines);
        let mut this = Self { sip_port, ws_port, secure_port, defines, ports, server, _media: media, dir };
        this.ready().await;
        this
    }

    /// Without TLS, for a [`super::tap::Tap`] in between.
    pub fn ws(&self) -> String {
        format!("ws://127.0.0.1:{}", self.ws_port)
    }

    pub fn wss(&self) -> String {
        format!("wss://127.0.0.1:{}", self.secure_port)
    }

    /// `(username, password)` of subscriber `n`, from 1 to 20.
    pub fn subscriber(n: u8) -> (String, String) {
        (format!("agent{n}"), format!("secret{n}"))
    }

    /// The number that Kamailio routes to UDP port `port`.
    pub fn number_of(port: u16) -> String {
        format!("00{port}")
    }

    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn log(&self) -> String {
        self.server.log()
    }

    /// Kills it: all registrations and connections are lost.
    pub fn stop(&mut self) {
        self.server.kill();
    }

    /// Starts it again at the same address after [`Self::stop`].
    pub async fn start_again(&mut self) {
        self.server = start_server(self.dir.path(), &self.defines);
        self.ready().await;
    }

    async fn ready(&mut self) {
        let address = ("127.0.0.1", self.secure_port);
        let server = &mut self.server;
        until("Kamailio to listen", async || {
            server.assert_running();
            TcpStream::connect(address).await.map(drop).map_err(|e| e.to_string())
        })
        .await;
    }
}

fn start_server(dir: &Path, defines: &[String]) -> Process {
    let mut command = Command::new("kamailio");
    command.args(["-DD", "-E", "-m", "32", "-M", "8", "-f"]);
    command.arg(dir.join("kamailio.cfg")).arg("-w").arg(dir).arg("-Y").arg(dir);
    for define in defines {
        command.arg("-A").arg(define);
    }
    Process::start("kamailio", dir, &command)
}

fn write_certificate(dir: &Path) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".into(), "localhost".into()]);
    let made = made.unwrap();
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = format!("{TLS}certificate = {}\nprivate_key = {}\n", cert.display(), key.display());
    std::fs::write(dir.join("tls.cfg"), tls).unwrap();
}
