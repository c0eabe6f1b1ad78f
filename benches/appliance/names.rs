//! Processor time per answer of the DNS server, beside Knot and NSD from Debian with the same zone, one worker
//! each and without rate limits: tenants' names by the wildcard, and the apex.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::appliance::{Serve, wait_until};
use crate::kernel::{cpu_nanoseconds, free_port};
use crate::table::{Row, median};

const SOCKETS: usize = 16;
const ROUNDS: usize = 9;
const QUESTIONS: usize = 32_000;

/// What `bitcall` serves by the configuration above.
const ZONE: &str = "\
$ORIGIN bench.example.
@ 3600 SOA ns1 hostmaster 1 3600 600 1209600 60
@ 3600 NS ns1
@ 300 A 192.0.2.1
@ 300 AAAA 2001:db8::1
@ 300 CAA 0 issue \"letsencrypt.org\"
ns1 300 A 192.0.2.1
ns1 300 AAAA 2001:db8::1
* 300 A 192.0.2.1
* 300 AAAA 2001:db8::1
";

pub fn answers() -> Vec<Row> {
    let mut serve = Serve::start(
        "[domains]\nbase = 'bench.example'\n\
         [dns]\nlisten = '127.0.0.1:0'\naddresses = ['192.0.2.1', '2001:db8::1']\ncaa = 'letsencrypt.org'\n\
         answers_per_network = 0",
    );
    let address = serve.address("dns").parse().unwrap();
    let knot = Peer::knot();
    let nsd = Peer::nsd();
    let contestants =
        [(address, vec![serve.running.id()]), (knot.address, knot.processes()), (nsd.address, nsd.processes())];
    let mut rows = Vec::new();
    for (what, names) in [("a tenant's A by the wildcard", TENANTS), ("the apex's SOA", APEX)] {
        let mut samples = [const { Vec::new() }; 3];
        for round in 0..=ROUNDS {
            for ((address, processes), samples) in contestants.iter().zip(&mut samples) {
                let cost = ask(*address, names, processes);
                // The first round warms up.
                if round > 0 {
                    samples.push(cost);
                }
            }
        }
        let [ours, knot, nsd] = samples.map(median);
        rows.push(Row::reported(format!("DNS over UDP, {what}: CPU; Knot"), "µs", ours, knot));
        rows.push(Row::reported("  the same; NSD", "µs", ours, nsd));
    }
    rows
}

/// What is asked for: the type, and the label before the zone's for each number.
type Names = (u16, fn(usize) -> Option<String>);
const TENANTS: Names = (1, |number| Some(format!("tenant-{}", number % 1000)));
const APEX: Names = (6, |_| None);

/// Every socket asks again as soon as it was answered. Microseconds of the server's CPU per answer.
fn ask(address: SocketAddr, names: Names, processes: &[u32]) -> f64 {
    let each = QUESTIONS / SOCKETS;
    let before = cpu_nanoseconds(processes);
    std::thread::scope(|scope| {
        // One thread holds all of them, so that the server is not left without a processor.
        scope.spawn(|| {
            let sockets: Vec<_> = (0..SOCKETS)
                .map(|_| {
                    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                    socket.connect(address).unwrap();
                    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                    socket
                })
                .collect();
            let mut answer = [0; 1500];
            for number in 0..each {
                for socket in &sockets {
                    socket.send(&query(number, names)).unwrap();
                }
                for socket in &sockets {
                    let length = socket.recv(&mut answer).unwrap();
                    assert!(length > 40 && answer[3] % 16 == 0 && answer[7] > 0, "an answer with records");
                }
            }
        });
    });
    (cpu_nanoseconds(processes) - before) / ((each * SOCKETS) as f64) / 1000.0
}

fn query(number: usize, (kind, label): Names) -> Vec<u8> {
    let id = u16::try_from(number % 65_536).unwrap().to_be_bytes();
    let mut bytes = vec![id[0], id[1], 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    let label = label(number);
    for label in label.as_deref().into_iter().chain(["bench", "example"]) {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&kind.to_be_bytes());
    // Class IN; an OPT record with room for 1232 bytes, as resolvers send it.
    bytes.extend_from_slice(&[0, 1, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    bytes
}

struct Peer {
    child: Child,
    address: SocketAddr,
    _directory: TempDir,
}

impl Peer {
    fn knot() -> Self {
        let (directory, address) = prepared();
        let root = directory.path().display();
        let text = format!(
            "server:\n  listen: {ip}@{port}\n  rundir: {root}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
             database:\n  storage: {root}\n\
             zone:\n  - domain: bench.example\n    file: {root}/zone\n    zonefile-sync: -1\n    journal-content: none\n",
            ip = address.ip(),
            port = address.port(),
        );
        fs::write(directory.path().join("knot.conf"), text).unwrap();
        let mut command = Command::new("/usr/sbin/knotd");
        command.arg("-c").arg(directory.path().join("knot.conf"));
        Self::start(&mut command, address, directory)
    }

    fn nsd() -> Self {
        let (directory, address) = prepared();
        let root = directory.path().display();
        let text = format!(
            "server:\n  ip-address: {ip}@{port}\n  server-count: 1\n  username: \"\"\n  chroot: \"\"\n  zonesdir: \"{root}\"\n  \
             pidfile: \"{root}/pid\"\n  xfrdfile: \"{root}/xfrd\"\n  xfrdir: \"{root}\"\n  zonelistfile: \"{root}/list\"\n  \
             database: \"\"\n  rrl-ratelimit: 0\n\
             remote-control:\n  control-enable: no\n\
             zone:\n  name: \"bench.example\"\n  zonefile: \"zone\"\n",
            ip = address.ip(),
            port = address.port(),
        );
        fs::write(directory.path().join("nsd.conf"), text).unwrap();
        let mut command = Command::new("/usr/sbin/nsd");
        command.arg("-d").arg("-c").arg(directory.path().join("nsd.conf"));
        Self::start(&mut command, address, directory)
    }

    fn start(command: &mut Command, address: SocketAddr, directory: TempDir) -> Self {
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn();
        let peer =
            Self { child: child.expect("the packages knot and nsd are installed"), address, _directory: directory };
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        wait_until("an answer of a DNS server", || {
            socket.send_to(&query(0, APEX), address).ok()?;
            let mut answer = [0; 1500];
            socket.recv(&mut answer).ok().filter(|_| answer[3] % 16 == 0)
        });
        peer
    }

    /// With its children, which do NSD's work.
    fn processes(&self) -> Vec<u32> {
        let mut found = vec![self.child.id()];
        let mut next = 0;
        while let Some(process) = found.get(next) {
            for task in fs::read_dir(format!("/proc/{process}/task")).unwrap() {
                let children = fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default();
                found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            }
            next += 1;
        }
        found
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        let _ = self.child.wait();
    }
}

fn prepared() -> (TempDir, SocketAddr) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("zone"), ZONE).unwrap();
    (directory, SocketAddr::from(([127, 0, 0, 1], free_port())))
}
