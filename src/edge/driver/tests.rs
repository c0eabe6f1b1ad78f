//! The WebSocket side, played over an in-memory pipe.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use tokio::io::DuplexStream;
use tokio::task::JoinHandle;

use super::*;
use crate::edge::{Edge, StoredCredentials};

struct EmptyDirectory;

impl ExtensionDirectory for EmptyDirectory {
    fn serves(&self, domain: &str) -> bool {
        domain == "acme.test"
    }

    fn credentials(&self, _: &str, _: &str) -> Option<StoredCredentials> {
        None
    }

    fn phone_session(&self, _: &str, _: &str) -> Option<String> {
        None
    }
}

type Client = WebSocketStream<DuplexStream>;

fn edge(limits: EdgeLimits) -> Edge {
    Edge::new(Arc::new(EmptyDirectory), EdgeOptions { limits, ..EdgeOptions::default() })
}

/// A client, and the server's side of its connection. The pipe holds `buffer` bytes.
async fn connect_with(edge: &Edge, buffer: usize) -> (Client, JoinHandle<()>) {
    let (near, far) = tokio::io::duplex(buffer);
    let edge = edge.clone();
    let served =
        tokio::spawn(
            async move { edge.serve(far, "192.0.2.1:5".parse().unwrap(), "192.0.2.1".parse().unwrap()).await },
        );
    (WebSocketStream::from_raw_socket(near, Role::Client, None).await, served)
}

async fn connect(edge: &Edge) -> (Client, JoinHandle<()>) {
    connect_with(edge, 64 * 1024).await
}

/// The code the server closes with, whatever it says before.
async fn close_code(client: &mut Client) -> Option<CloseCode> {
    while let Some(Ok(message)) = client.next().await {
        if let Message::Close(frame) = message {
            return frame.map(|frame| frame.code);
        }
    }
    None
}

fn options(n: usize) -> String {
    format!(
        "OPTIONS sip:acme.test SIP/2.0\r\nVia: SIP/2.0/WSS x.invalid;branch=z9hG4bK{n}\r\nMax-Forwards: 70\r\n\
         From: <sip:a@acme.test>;tag=1\r\nTo: <sip:acme.test>\r\nCall-ID: {n}\r\nCSeq: 1 OPTIONS\r\n\r\n"
    )
}

#[tokio::test]
async fn text_and_binary_messages_are_sip_alike_and_the_keep_alive_is_answered() {
    let edge = edge(EdgeLimits::default());
    let (mut client, _) = connect(&edge).await;
    client.send(Message::text(options(1))).await.unwrap();
    assert!(client.next().await.unwrap().unwrap().into_text().unwrap().starts_with("SIP/2.0 200 OK\r\n"));
    client.send(Message::binary(options(2).into_bytes())).await.unwrap();
    assert!(client.next().await.unwrap().unwrap().is_text());
    client.send(Message::text("\r\n\r\n")).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Message::text("\r\n"));
    client.send(Message::Ping(Bytes::from_static(b"x"))).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"x")));
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_the_connection() {
    let edge = edge(EdgeLimits::default());
    let (mut client, served) = connect_with(&edge, 1024 * 1024).await;
    client.send(Message::text("x".repeat(MAX_MESSAGE_BYTES + 1))).await.unwrap();
    served.await.unwrap();
    assert_eq!(statistics(&edge.shared).connections, 0);
}

#[tokio::test]
async fn a_silent_connection_is_pinged_and_kept_when_it_answers_and_dropped_when_not() {
    // Long against what a busy machine takes to answer, short against a person's patience.
    let interval = Duration::from_millis(400);
    let edge = edge(EdgeLimits { ping_interval: interval, write_timeout: interval, ..EdgeLimits::default() });
    let (mut client, served) = connect(&edge).await;
    for _ in 0..2 {
        // Reading answers pings.
        assert_eq!(client.next().await.unwrap().unwrap(), Message::Ping(Bytes::new()));
    }
    assert_eq!(statistics(&edge.shared).connections, 1);
    // Nobody reads any more: the browser is gone, its TCP connection is not.
    tokio::time::timeout(Duration::from_secs(10), async {
        while statistics(&edge.shared).connections > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    drop(client);
    served.await.unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_and_delays_no_other() {
    let edge = edge(EdgeLimits { write_timeout: Duration::from_millis(20), ..EdgeLimits::default() });
    let (mut slow, served) = connect_with(&edge, 1024).await;
    let (mut other, _) = connect(&edge).await;
    // It asks and asks, but takes no answer.
    let mut n = 0;
    while slow.send(Message::text(options(n))).await.is_ok() {
        n += 1;
        other.send(Message::text(options(n))).await.unwrap();
        assert!(other.next().await.unwrap().unwrap().is_text());
    }
    served.await.unwrap();
    assert_eq!(statistics(&edge.shared).connections, 1);
}

/// More than the burst of a network on whose connections nobody has signed in.
#[tokio::test]
async fn messages_that_come_too_fast_are_all_answered_only_later_and_in_order() {
    const MESSAGES: usize = 1_100;
    let edge = edge(EdgeLimits::default());
    let (client, _) = connect(&edge).await;
    let (mut sink, mut stream) = client.split();
    let sending = tokio::spawn(async move {
        for n in 0..MESSAGES {
            sink.send(Message::text(options(n))).await.unwrap();
        }
        sink
    });
    for n in 0..MESSAGES {
        let answer = stream.next().await.unwrap().unwrap().into_text().unwrap();
        assert!(answer.contains(&format!("Call-ID: {n}\r\n")), "{n}: {answer}");
    }
    drop(sending.await.unwrap());
}

#[tokio::test]
async fn a_full_edge_closes_with_1013_and_one_shutting_down_with_1012() {
    let edge = edge(EdgeLimits { connections: 1, ..EdgeLimits::default() });
    let (mut first, served) = connect(&edge).await;
    first.send(Message::text("\r\n\r\n")).await.unwrap();
    first.next().await.unwrap().unwrap();
    let (mut second, _) = connect(&edge).await;
    assert_eq!(close_code(&mut second).await, Some(CloseCode::Again));

    let going = tokio::spawn({
        let edge = edge.clone();
        async move { edge.shutdown(Duration::from_secs(10)).await }
    });
    assert_eq!(close_code(&mut first).await, Some(CloseCode::Restart));
    while first.next().await.is_some() {}
    going.await.unwrap();
    served.await.unwrap();
    let (mut late, _) = connect(&edge).await;
    assert_eq!(close_code(&mut late).await, Some(CloseCode::Again));
}

#[tokio::test]
async fn a_dropped_future_leaves_no_connection_behind() {
    let edge = edge(EdgeLimits::default());
    let (mut client, served) = connect(&edge).await;
    client.send(Message::text("\r\n\r\n")).await.unwrap();
    client.next().await.unwrap().unwrap();
    assert_eq!(statistics(&edge.shared).connections, 1);
    served.abort();
    assert!(served.await.unwrap_err().is_cancelled());
    assert_eq!(statistics(&edge.shared).connections, 0);
}

#[tokio::test]
async fn the_tasks_end_with_the_last_edge() {
    let edge = edge(EdgeLimits::default());
    let shared = Arc::downgrade(&edge.shared);
    drop(edge);
    assert!(shared.upgrade().is_none());
}
