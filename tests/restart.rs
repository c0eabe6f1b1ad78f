//! The end of `bitcall serve`, and its next start: nobody who only listens holds it up, and nobody is refused meanwhile.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream as BlockingStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::appliance::{Running, Serve, bitcall, request, write_configuration};

/// Far longer than a test waits for the end.
const DRAIN_TIMEOUT: &str = "drain_timeout = '10m'";
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// A close frame without a mask (RFC 6455 section 5.5.1) with the code 1012, Service Restart.
const CLOSE_SERVICE_RESTART: [u8; 2] = 1012_u16.to_be_bytes();

#[tokio::test]
async fn connections_without_an_open_request_do_not_hold_up_the_end() {
    let mut serve = Serve::start(DRAIN_TIMEOUT);
    let silent = TcpStream::connect(&serve.https).await.unwrap();
    let silent_tls = serve.connect(&["http/1.1"]).await;
    let silent_http2 = serve.connect(&["h2"]).await;
    // Acknowledges neither GOAWAY nor ping.
    let mut deaf_http2 = serve.connect(&["h2"]).await;
    deaf_http2.write_all(HTTP2_PREFACE).await.unwrap();
    let mut half_a_header = serve.connect(&["http/1.1"]).await;
    half_a_header.write_all(b"GET / HTTP/1.1\r\nhost: local").await.unwrap();
    let (mut idle_http2, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(serve.connect(&["h2"]).await)).await.unwrap();
    let told = tokio::spawn(connection);
    idle_http2.send_request(request("https://localhost/", &[])).await.unwrap();
    let mut phone = serve.connect(&["http/1.1"]).await;
    phone
        .write_all(b"GET /sip HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: sip\r\n\r\n")
        .await
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(phone.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));

    serve.running.signal(Signal::TERM);
    let mut frame = [0; 4];
    phone.read_exact(&mut frame).await.unwrap();
    assert_eq!((frame[0], &frame[2..]), (0x88, &CLOSE_SERVICE_RESTART[..]), "{frame:?}");
    told.await.unwrap().unwrap();
    assert!(serve.running.ended().success());
    assert!(serve.running.log().contains("every open request was answered"), "{}", serve.running.log());
    drop((silent, silent_tls, silent_http2, deaf_http2, half_a_header, phone));
}

#[tokio::test]
async fn on_a_socket_of_systemd_a_restart_refuses_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let directory = tempfile::tempdir().unwrap();
    write_configuration(directory.path(), "");
    let file = directory.path().join("bitcall.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace("[listen]", &format!("[listen]\nhttp = '{address}'"));
    std::fs::write(&file, text).unwrap();

    let mut first = start_with_socket(&listener, directory.path());
    first.wait_for("ready", |line| line.contains("ready").then_some(()));
    assert!(loader(address).await.starts_with("HTTP/1.1 200"));
    first.signal(Signal::TERM);
    assert!(first.ended().success());
    BlockingStream::connect(address).expect("connections wait while nobody serves");
    let waiting = tokio::spawn(loader(address));
    let mut second = start_with_socket(&listener, directory.path());
    assert!(waiting.await.unwrap().starts_with("HTTP/1.1 200"));
    second.signal(Signal::TERM);
    assert!(second.ended().success());
}

#[test]
fn on_sockets_of_systemd_a_restart_loses_no_dns_query() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).unwrap();
    let directory = tempfile::tempdir().unwrap();
    write_configuration(directory.path(), "");
    let file = directory.path().join("bitcall.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let zone = "[domains]\nbase = 'bitcall.example'\n[dns]\naddresses = '203.0.113.5'";
    std::fs::write(&file, format!("{text}\n{zone}\nlisten = '{address}'\n")).unwrap();
    let start = || start_with_dns_sockets(&tcp, &udp, directory.path());
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let ask = |id: u8| client.send(&soa_query(id)).unwrap();
    let answered = || {
        let mut answer = [0; 512];
        let length = client.recv(&mut answer).expect("an answer by UDP");
        assert!(length > 12 && answer[3].is_multiple_of(16), "without an error");
        answer[1]
    };

    let mut first = start();
    ask(1);
    assert_eq!(answered(), 1);
    first.signal(Signal::TERM);
    assert!(first.ended().success());
    ask(2);
    let mut stream = BlockingStream::connect(address).expect("connections wait while nobody serves");
    let query = soa_query(3);
    stream.write_all(&[&[0, u8::try_from(query.len()).unwrap()], query.as_slice()].concat()).unwrap();
    let mut second = start();
    assert_eq!(answered(), 2, "the query has waited");
    let mut answer = [0; 4];
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.read_exact(&mut answer).expect("an answer by TCP");
    assert_eq!(answer[3], 3);
    assert!(!second.log().contains("nobody answers"), "{}", second.log());
    second.signal(Signal::TERM);
    assert!(second.ended().success());
}

/// For the SOA record of bitcall.example (RFC 1035 section 4.1).
fn soa_query(id: u8) -> Vec<u8> {
    let header = [0, id, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    [&header[..], b"\x07bitcall\x07example\0", &[0, 6, 0, 1]].concat()
}

/// As systemd does: the sockets are descriptors 3 and 4.
fn start_with_dns_sockets(tcp: &TcpListener, udp: &UdpSocket, directory: &Path) -> Running {
    let mut command =
        with_sockets("LISTEN_FDS=2 LISTEN_PID=$$ exec \"$0\" serve --config \"$1\" 3<&0 4<&1 1>&2", directory);
    let passed = |socket: OwnedFd| Stdio::from(socket);
    let output = Some(passed(udp.try_clone().unwrap().into()));
    Running::start_with(&mut command, passed(tcp.try_clone().unwrap().into()), output, &directory.join("log"))
}

/// As systemd does: the socket is descriptor 3, and the environment says so (`sd_listen_fds(3)`).
fn start_with_socket(listener: &TcpListener, directory: &Path) -> Running {
    let mut command = with_sockets("LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" serve --config \"$1\" 3<&0", directory);
    let input = Stdio::from(OwnedFd::from(listener.try_clone().unwrap()));
    Running::start_with(&mut command, input, None, &directory.join("log"))
}

fn with_sockets(script: &str, directory: &Path) -> Command {
    let bitcall = bitcall();
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(bitcall.get_program()).arg(directory.join("bitcall.toml"));
    command.envs(bitcall.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

async fn loader(address: std::net::SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET /webphone/loader.js HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
