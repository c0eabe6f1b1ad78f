//! A full disk: under the log file, and under the store.
//!
//! The store's disk is full for one process only: by the limit on the size of the files that it writes
//! (`setrlimit(2)`, `RLIMIT_FSIZE`), beyond which the kernel refuses every write.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use serde_json::json;

use crate::appliance::wait_until;
use crate::installation::{Answer, Installation, PANEL_KEY, refusal, send};

#[tokio::test]
async fn an_unwritable_log_stops_no_request() {
    let bitcall = Installation::new();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut server = bitcall.command().arg("serve").stdin(Stdio::null()).stderr(full).spawn().unwrap();
    wait_until("its control socket", || {
        assert!(server.try_wait().unwrap().is_none(), "it ended");
        std::os::unix::net::UnixStream::connect(bitcall.socket()).ok()
    });
    let made = bitcall.bitcall(&["tenant", "provision", "acme", "--json"]).json();
    assert_eq!(made["tenantId"], "acme");
    server.kill().unwrap();
    server.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_configurations_are_served_and_writing_goes_on_as_soon_as_there_is_room() {
    let bitcall = Installation::new();
    let config = bitcall.command().get_current_dir().unwrap().join("bitcall.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("ops = ''", "ops = '127.0.0.1:0'")).unwrap();

    let server = Server::start(&bitcall, "unlimited");
    server.is_ready().await;
    let key = server.provision("acme").await.json()["data"]["apiKey"].as_str().unwrap().to_owned();
    let size = std::fs::metadata(bitcall.data().join("bitcall.redb")).unwrap().len();
    server.limit_files(Some(size));
    let mut made = 0;
    let refused = loop {
        let answer = server.provision(&format!("tenant-{made}")).await;
        if !answer.status.is_success() {
            break answer;
        }
        made += 1;
        assert!(made < 5000, "the disk does not become full");
    };
    assert_eq!(refusal(&refused), (503, "STORE_UNAVAILABLE".into()));
    server.is_not_ready().await;
    assert_eq!(server.runtime(&key).await.status, 200);
    server.limit_files(None);
    server.is_ready().await;
    assert!(server.provision("room-again").await.status.is_success());
    assert!(server.provision(&format!("tenant-{made}")).await.status.is_success(), "what was refused was not done");
    server.stop();

    let server = Server::start(&bitcall, "0");
    server.is_not_ready().await;
    assert_eq!(server.runtime(&key).await.status, 200);
    assert_eq!(refusal(&server.provision("too-early").await), (503, "STORE_UNAVAILABLE".into()));
    server.limit_files(None);
    server.is_ready().await;
    assert!(server.provision("too-early").await.status.is_success());
    assert_eq!(server.runtime(&key).await.status, 200);
    server.stop();
}

struct Server {
    child: Child,
    http: String,
    ops: String,
}

impl Server {
    /// Its files can become as large as the shell's `ulimit -f` allows.
    fn start(bitcall: &Installation, limit: &str) -> Self {
        let inner = bitcall.command();
        let mut command = Command::new("sh");
        // Without this the kernel ends the process instead of refusing the write.
        command.args(["-c", "trap '' XFSZ; ulimit -S -f \"$1\"; exec \"$0\" serve"]);
        command.arg(inner.get_program()).arg(limit).current_dir(inner.get_current_dir().unwrap());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        // A pipe has no size.
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let (mut http, mut ops) = (None, None);
        let mut log = String::new();
        while !log.contains("\"ready\"") {
            let line = lines.next().unwrap_or_else(|| panic!("it ended:\n{log}"));
            let address = || Some(line.split_once("\"address\":\"")?.1.split_once('"')?.0.to_owned());
            if line.contains("\"protocol\":\"http\"") {
                http = address();
            } else if line.contains("\"protocol\":\"operations\"") {
                ops = address();
            }
            log += &line;
            log += "\n";
        }
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, http: http.unwrap(), ops: ops.unwrap() }
    }

    /// None: any size.
    fn limit_files(&self, bytes: Option<u64>) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        prlimit(Some(pid), Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
    }

    async fn provision(&self, id: &str) -> Answer {
        let body = json!({ "tenantId": id }).to_string();
        let headers = [("x-bitcall-panel-key", PANEL_KEY)];
        send(&self.http, "POST", "/api/tenant/provision", &headers, &body).await.unwrap()
    }

    async fn runtime(&self, key: &str) -> Answer {
        send(&self.http, "GET", &format!("/api/webphone/config?key={key}"), &[], "").await.unwrap()
    }

    async fn is_ready(&self) {
        self.readiness(200, "ready\n").await;
    }

    async fn is_not_ready(&self) {
        self.readiness(503, "not ready: the store cannot be written: ").await;
    }

    /// Asks until this is the answer.
    async fn readiness(&self, status: u16, text: &str) {
        loop {
            let answer = send(&self.ops, "GET", "/readyz", &[], "").await.unwrap();
            if answer.status == status && answer.body.starts_with(text.as_bytes()) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    fn stop(mut self) {
        rustix::process::kill_process(Pid::from_raw(self.child.id().cast_signed()).unwrap(), Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
