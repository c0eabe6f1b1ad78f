//! Memory at rest, and of each idle WebSocket on the edge.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::appliance::connect;
use crate::bench_directory::{BenchDirectory, provision};
use crate::kernel::{raise_file_limit, resident_kib};
use crate::peers::Nginx;
use crate::table::Row;

const SOCKETS: usize = 3_000;

pub async fn at_rest() -> Vec<Row> {
    let bench_directory = BenchDirectory::prepare();
    let serve = bench_directory.serve();
    provision(&serve).await;
    let idle = resident_kib(serve.running.id());
    let nginx = Nginx::start(&bench_directory, b"{}", false);
    let theirs: u64 = nginx.processes().into_iter().map(resident_kib).sum();
    vec![Row {
        theirs: format!("{:.1} MiB", theirs as f64 / 1024.0),
        ..Row::below("idle `serve` with one tenant: resident; nginx", "MiB", idle as f64 / 1024.0, 15.2)
    }]
}

/// Each socket has sent a REGISTER and got its challenge, so that its buffers are as large as a phone's.
pub async fn idle_sockets(tls: bool) -> Vec<Row> {
    raise_file_limit();
    let bench_directory = BenchDirectory::prepare();
    let mut serve = bench_directory.serve();
    provision(&serve).await;
    let address = if tls { serve.https.clone() } else { serve.address("http") };
    // A few first, so that what is allocated once does not count.
    let mut sockets: Vec<Box<dyn Send>> = Vec::new();
    for index in 0..50 {
        sockets.push(idle_socket(&address, tls, index).await);
    }
    let before = resident_kib(serve.running.id());
    for index in 0..SOCKETS {
        sockets.push(idle_socket(&address, tls, index + 50).await);
    }
    let after = resident_kib(serve.running.id());
    let each = (after - before) as f64 / SOCKETS as f64;
    let (transport, limit) = if tls { ("TLS", 13.7) } else { ("plain", 10.7) };
    vec![Row::below(format!("idle WebSocket on the edge, {transport}: resident each"), "KiB", each, limit)]
}

async fn idle_socket(address: &str, tls: bool, index: usize) -> Box<dyn Send> {
    if tls {
        Box::new(register(connect(address, &["http/1.1"]).await, index).await)
    } else {
        Box::new(register(TcpStream::connect(address).await.unwrap(), index).await)
    }
}

async fn register<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, index: usize) -> S {
    let handshake = "GET /sip HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: sip\r\n\r\n";
    stream.write_all(handshake.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    read_until(&mut stream, "\r\n\r\n", "101 Switching").await;
    let message = format!(
        "REGISTER sip:bench.sip.bitcall.internal SIP/2.0\r\nVia: SIP/2.0/WSS x.invalid;branch=z9hG4bK{index}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:101@bench.sip.bitcall.internal>;tag=a{index}\r\n\
         To: <sip:101@bench.sip.bitcall.internal>\r\nCall-ID: {index}@bench\r\nCSeq: 1 REGISTER\r\n\
         Contact: <sip:101@x.invalid;transport=ws>;expires=600\r\nContent-Length: 0\r\n\r\n"
    );
    let mut frame = vec![0x81, 0xFE];
    frame.extend_from_slice(&u16::try_from(message.len()).unwrap().to_be_bytes());
    // A mask of zeros leaves the text as it is (RFC 6455 section 5.3).
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(message.as_bytes());
    stream.write_all(&frame).await.unwrap();
    stream.flush().await.unwrap();
    read_until(&mut stream, "\r\n\r\n", "401 ").await;
    stream
}

async fn read_until<S: AsyncRead + Unpin>(stream: &mut S, end: &str, wanted: &str) {
    let mut all = Vec::new();
    while !String::from_utf8_lossy(&all).contains(end) {
        let mut some = [0; 4096];
        let count = stream.read(&mut some).await.unwrap();
        assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&all));
        all.extend_from_slice(&some[..count]);
    }
    let text = String::from_utf8_lossy(&all);
    assert!(text.contains(wanted), "{text}");
}
