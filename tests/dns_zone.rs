//! The authoritative DNS server for the base domain, queried by `dig` and attacked with malformed queries and floods.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::appliance::{Serve, bitcall, run, write_configuration};

const ZONE: &str = "[domains]\nbase = 'bitcall.example'\n\
                    [dns]\nlisten = '127.0.0.1:0'\naddresses = ['192.0.2.1', '2001:db8::1']\n\
                    nameservers = ['ns1.bitcall.example', 'ns.elsewhere.example']\ncaa = 'letsencrypt.org'\n";

/// bitcall.example, SOA; number 7.
const QUERY: &[u8] = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x07bitcall\x07example\0\0\x06\0\x01";

struct Named {
    serve: Serve,
    port: String,
}

impl Named {
    fn serving(more: &str) -> Self {
        let mut serve = Serve::start(&format!("{ZONE}{more}"));
        let address = serve.address("dns");
        Self { serve, port: address.rsplit_once(':').unwrap().1.to_owned() }
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Everything that `dig` has to say.
    fn dig(&self, arguments: &[&str]) -> String {
        self.dig_at("127.0.0.1", arguments)
    }

    fn dig_at(&self, address: &str, arguments: &[&str]) -> String {
        let mut command = Command::new("dig");
        let server = format!("@{address}");
        command.args([&server, "-p", &self.port, "+tries=2", "+time=5"]).args(arguments);
        let (status, said, complaint) = run(&mut command);
        assert!(status.success(), "dig {arguments:?}: {said}{complaint}");
        said
    }

    /// The data of the answers.
    fn short(&self, arguments: &[&str]) -> Vec<String> {
        let arguments = [&["+short"], arguments].concat();
        self.dig(&arguments).lines().map(str::to_owned).collect()
    }
}

#[test]
fn the_base_domain_and_its_wildcard_resolve_over_udp_and_tcp() {
    let named = Named::serving("");
    for transport in ["+notcp", "+tcp"] {
        let ask = |name: &str, kind: &str| named.short(&[transport, name, kind]);
        assert_eq!(ask("bitcall.example", "NS"), ["ns1.bitcall.example.", "ns.elsewhere.example."]);
        assert_eq!(ask("bitcall.example", "CAA"), ["0 issue \"letsencrypt.org\""]);
        for name in [
            "bitcall.example",
            "acme.bitcall.example",
            "ACME.bitcall.example",
            "a.b.bitcall.example",
            "ns1.bitcall.example",
        ] {
            assert_eq!(ask(name, "A"), ["192.0.2.1"], "{name}");
            assert_eq!(ask(name, "AAAA"), ["2001:db8::1"], "{name}");
        }
        let soa = ask("bitcall.example", "SOA");
        assert!(soa[0].starts_with("ns1.bitcall.example. hostmaster.bitcall.example. "), "{soa:?}");
        let said = named.dig(&[transport, "acme.bitcall.example", "A"]);
        assert!(said.contains("status: NOERROR") && said.contains("flags: qr aa rd;"), "{said}");
        assert!(!said.contains("WARNING: Message") && !said.contains("malformed"), "{said}");
    }
    let glue = named.dig(&["bitcall.example", "NS", "+noall", "+additional"]);
    assert!(glue.contains("ns1.bitcall.example.") && glue.contains("192.0.2.1"), "{glue}");
}

#[test]
fn aaaa_queries_and_ipv6_listeners_work_as_ipv4() {
    for listen in ["[::1]:0", "[::]:0"] {
        let mut serve = Serve::start(&ZONE.replace("127.0.0.1:0", listen));
        let port = serve.address("dns").rsplit_once(':').unwrap().1.to_owned();
        let named = Named { serve, port };
        for transport in ["+notcp", "+tcp"] {
            let said = named.dig_at("::1", &["-6", transport, "+short", "acme.bitcall.example", "AAAA"]);
            assert_eq!(said.trim(), "2001:db8::1", "{listen} {transport}");
        }
    }
}

#[test]
fn on_a_wildcard_address_each_answer_comes_from_the_queried_address() {
    let mut serve = Serve::start(&ZONE.replace("127.0.0.1:0", "0.0.0.0:0"));
    let port = serve.address("dns").rsplit_once(':').unwrap().1.to_owned();
    let named = Named { serve, port };
    // All of 127.0.0.0/8 is local, and without IP_PKTINFO the kernel would answer from 127.0.0.1.
    for address in ["127.0.0.1", "127.0.0.2", "127.31.4.1"] {
        let said = named.dig_at(address, &["+notcp", "+short", "acme.bitcall.example", "A"]);
        assert_eq!(said.trim(), "192.0.2.1", "{address}");
    }
}

#[test]
fn the_soa_serial_grows_over_a_restart() {
    let mut named = Named::serving("");
    let serial = |named: &Named| -> u64 {
        let soa = named.short(&["bitcall.example", "SOA"]).remove(0);
        soa.split(' ').nth(2).unwrap().parse().unwrap()
    };
    let first = serial(&named);
    named.serve.running.signal(Signal::TERM);
    assert!(named.serve.running.ended().success());
    let mut serve = Serve::start_in(named.serve.directory.take().unwrap());
    let port = serve.address("dns").rsplit_once(':').unwrap().1.to_owned();
    assert!(serial(&Named { serve, port }) >= first);
}

#[test]
fn negative_answers_carry_the_soa() {
    let named = Named::serving("");
    for (name, kind, status) in [
        ("bitcall.example", "MX", "NOERROR"),
        ("acme.bitcall.example", "TXT", "NOERROR"),
        ("_acme-challenge.bitcall.example", "TXT", "NOERROR"),
        ("phone.acme.com._acme.bitcall.example", "TXT", "NOERROR"),
        ("x.ns1.bitcall.example", "A", "NXDOMAIN"),
    ] {
        let said = named.dig(&[name, kind]);
        assert!(said.contains(&format!("status: {status}")) && said.contains("flags: qr aa"), "{name}: {said}");
        assert!(said.contains("ANSWER: 0, AUTHORITY: 1") && said.contains("SOA"), "{name}: {said}");
    }
}

#[test]
fn queries_outside_the_zone_are_refused() {
    let named = Named::serving("");
    for question in [["acme.com", "A"], [".", "NS"], ["example", "SOA"], ["notbitcall.example", "A"]] {
        let said = named.dig(&question);
        assert!(said.contains("status: REFUSED") && said.contains("ANSWER: 0, AUTHORITY: 0"), "{said}");
    }
    let said = named.dig(&["bitcall.example", "AXFR"]);
    assert!(said.contains("Transfer failed"), "{said}");
    let said = named.dig(&["-c", "CH", "version.bind", "TXT"]);
    assert!(said.contains("status: REFUSED"), "{said}");
    let any = named.dig(&["bitcall.example", "ANY", "+notcp"]);
    assert!(any.contains("ANSWER: 1,") && any.contains("RFC8482"), "{any}");
    let said = named.dig(&["bitcall.example", "SOA", "+edns=1", "+noednsneg"]);
    assert!(said.contains("status: BADVERS"), "{said}");
}

#[test]
fn malformed_queries_and_idle_connections_do_not_stop_the_server() {
    let named = Named::serving("");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(named.address()).unwrap();
    // Reproducible noise (xorshift), some of it behind a valid query header.
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    for round in 0..20_000_usize {
        let mut datagram: Vec<u8> = (0..round % 90)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[0]
            })
            .collect();
        if round % 2 == 0 && datagram.len() > 12 {
            datagram[2..12].copy_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        }
        let _ = socket.send(&datagram);
    }
    // More connections than the limit, all idle or sending malformed queries.
    let mut silent: Vec<_> = (0..300).map(|_| TcpStream::connect(named.address()).unwrap()).collect();
    silent[0].write_all(&[0xFF, 0xFF]).unwrap();
    silent[1].write_all(&[0, 4, 1, 2]).unwrap();
    assert_eq!(named.short(&["acme.bitcall.example", "A"]), ["192.0.2.1"]);
    let before = Instant::now();
    let answered =
        std::iter::repeat_with(|| named.short(&["+tcp", "+time=3", "+tries=5", "acme.bitcall.example", "A"]))
            .find(|answer| !answer.is_empty());
    assert_eq!(answered.unwrap(), ["192.0.2.1"]);
    assert!(before.elapsed() < Duration::from_secs(20), "{:?}", before.elapsed());
    assert!(!named.serve.running.log().contains("panicked"), "{}", named.serve.running.log());
}

#[test]
fn pipelined_tcp_queries_are_answered_in_order() {
    let named = Named::serving("");
    let mut stream = TcpStream::connect(named.address()).unwrap();
    let message = [&[0, u8::try_from(QUERY.len()).unwrap()], QUERY].concat();
    stream.write_all(&message.repeat(3)).unwrap();
    for _ in 0..3 {
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!((answer[1], answer[3] & 0xF, answer[7]), (7, 0, 1));
    }
}

#[test]
fn queries_over_the_rate_limit_are_truncated_or_dropped() {
    let named = Named::serving("answers_per_network = 20\n");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(named.address()).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    for _ in 0..200 {
        socket.send(QUERY).unwrap();
    }
    let (mut whole, mut cut) = (0, 0);
    let mut answer = [0; 1500];
    while let Ok(length) = socket.recv(&mut answer) {
        if answer[2] & 2 == 0 {
            whole += 1;
        } else {
            cut += 1;
            assert_eq!(&answer[12..length], &QUERY[12..], "nothing but the question, no longer than it came");
        }
    }
    assert!((20..60).contains(&whole), "{whole} were answered");
    assert!((40..160).contains(&cut), "{cut} were sent to TCP");
    assert_eq!(named.short(&["+tcp", "acme.bitcall.example", "A"]), ["192.0.2.1"]);
}

#[test]
fn an_open_tcp_connection_does_not_delay_shutdown() {
    let mut named = Named::serving("");
    let _open = TcpStream::connect(named.address()).unwrap();
    let before = Instant::now();
    named.serve.running.signal(Signal::TERM);
    assert!(named.serve.running.ended().success());
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
}

#[test]
fn an_unservable_zone_is_reported_before_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bitcall.toml");
    let said = |command: &str, more: &str| {
        write_configuration(directory.path(), more);
        let (status, _, stderr) = run(bitcall().arg(command).arg("--config").arg(&file));
        assert!(!status.success(), "{more}");
        stderr
    };
    let stderr = said("check", "[dns]\nlisten = '127.0.0.1:53'");
    assert!(stderr.contains("`domains.base` names the zone"), "{stderr}");
    let stderr = said("check", "[dns]\nhostmaster = 'nobody'\ncaa = 'not a name'");
    for part in [":14: ", "`dns.hostmaster` must be a mail address", ":15: ", "`dns.caa`"] {
        assert!(stderr.contains(part), "{part} in {stderr}");
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let stderr = said("serve", &ZONE.replace("127.0.0.1:0", &address.to_string()));
    assert!(stderr.contains(&format!("DNS cannot listen on {address}")) && stderr.contains("hint: "), "{stderr}");
}
