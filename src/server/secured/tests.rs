#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;

type Server = Secured<DuplexStream>;

/// The two ends before they have spoken; at most `pipe` bytes are on the way in each direction.
fn ends(
    pipe: usize,
    version: &'static SupportedProtocolVersion,
) -> (impl Future<Output = io::Result<TlsStream<DuplexStream>>>, impl Future<Output = io::Result<Server>>) {
    let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = made.signing_key.serialize_der().try_into().unwrap();
    let config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (here, there) = duplex(pipe);
    let connector = TlsConnector::from(Arc::new(client));
    let name = "a.example".try_into().unwrap();
    (connector.connect(name, here), Secured::accept(there, Arc::new(config)))
}

async fn connected() -> (TlsStream<DuplexStream>, Server) {
    let (client, server) = ends(1 << 20, &TLS13);
    let (client, server) = tokio::join!(client, server);
    (client.unwrap(), server.unwrap())
}

fn is_at_rest(server: &Server) -> bool {
    let held = [&server.incoming, &server.held.plaintext, &server.held.outgoing];
    held.iter().all(|buffer| buffer.capacity() == 0)
}

/// Bytes that tell when one is missing.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|index| u8::try_from(index % 251).unwrap()).collect()
}

#[tokio::test]
async fn everything_arrives_in_both_directions_however_small_the_pieces() {
    for version in [&TLS12, &TLS13] {
        for pipe in [1, 7, 1_000, 20_000, 1 << 20] {
            let (client, server) = ends(pipe, version);
            let size = if pipe < 100 { 3_000 } else { 300_000 };
            let all = bytes(size);
            let sending = async {
                let mut client = client.await.unwrap();
                client.write_all(&all).await.unwrap();
                client.flush().await.unwrap();
                let mut echo = vec![0; size];
                client.read_exact(&mut echo).await.unwrap();
                assert!(echo == all);
                client.shutdown().await.unwrap();
                assert_eq!(client.read(&mut [0; 10]).await.unwrap(), 0, "the farewell was answered");
            };
            let echoing = async {
                let mut server = server.await.unwrap();
                let mut received = vec![0; size];
                server.read_exact(&mut received).await.unwrap();
                server.write_all(&received).await.unwrap();
                server.flush().await.unwrap();
                assert_eq!(server.read(&mut [0; 10]).await.unwrap(), 0);
                server.shutdown().await.unwrap();
                assert!(is_at_rest(&server));
            };
            tokio::join!(sending, echoing);
        }
    }
}

#[tokio::test]
async fn a_connection_that_rests_holds_no_buffer() {
    let (mut client, mut server) = connected().await;
    assert!(is_at_rest(&server));
    client.write_all(b"hello").await.unwrap();
    client.flush().await.unwrap();
    let mut some = [0; 3];
    server.read_exact(&mut some).await.unwrap();
    assert!(!is_at_rest(&server), "two more bytes wait to be read");
    server.read_exact(&mut some[..2]).await.unwrap();
    server.write_all(b"hello").await.unwrap();
    server.flush().await.unwrap();
    assert!(is_at_rest(&server));
    let waiting = tokio::time::timeout(Duration::ZERO, server.read(&mut some)).await;
    assert!(waiting.is_err() && is_at_rest(&server), "also while it waits for the peer");
}

#[tokio::test]
async fn keys_change_whenever_the_peer_wants() {
    let (mut client, mut server) = connected().await;
    for _ in 0..3 {
        client.get_mut().1.refresh_traffic_keys().unwrap();
        client.write_all(b"hello").await.unwrap();
        client.flush().await.unwrap();
        let mut some = [0; 5];
        server.read_exact(&mut some).await.unwrap();
        server.write_all(&some).await.unwrap();
        server.flush().await.unwrap();
        client.read_exact(&mut some).await.unwrap();
        assert_eq!(&some, b"hello");
    }
}

#[tokio::test]
async fn a_peer_that_leaves_without_farewell_is_an_error_and_one_that_takes_leave_is_not() {
    let (client, mut server) = connected().await;
    drop(client);
    assert_eq!(server.read(&mut [0; 10]).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn nonsense_is_answered_by_an_alert_and_never_by_a_panic() {
    let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], made.signing_key.serialize_der().try_into().unwrap())
        .unwrap();
    let config = Arc::new(config);
    for nonsense in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16, 3, 1, 0, 4, 1, 0, 0, 0], &[0x16, 3, 1, 0xff, 0xff], &[0; 64]]
    {
        let (mut here, there) = duplex(1 << 16);
        here.write_all(nonsense).await.unwrap();
        here.shutdown().await.unwrap();
        assert!(Secured::accept(there, config.clone()).await.is_err());
        let mut answer = Vec::new();
        here.read_to_end(&mut answer).await.unwrap();
        assert!(answer.is_empty() || (answer[0] == 21 && answer.len() == 7), "{answer:?}");
    }
    // Within a connection: each byte in turn is another than the client sent.
    for wrong in 0..40 {
        let (client, mut server) = connected().await;
        let (mut raw, mut session) = client.into_inner();
        std::io::Write::write_all(&mut session.writer(), b"hello world").unwrap();
        let mut wire = Vec::new();
        session.write_tls(&mut wire).unwrap();
        let length = wire.len();
        wire[wrong % length] ^= 0x55;
        raw.write_all(&wire).await.unwrap();
        raw.shutdown().await.unwrap();
        let mut some = [0; 100];
        // The version stands there for old times' sake, and nobody looks at it (RFC 8446 section 5.1).
        if let Ok(count) = server.read(&mut some).await {
            assert!(&some[..count] == b"hello world" && (1..3).contains(&(wrong % length)), "{wrong}");
        } else {
            let _ = server.write_all(b"late").await;
            let _ = server.shutdown().await;
        }
    }
}
