//! Limits on request bodies: not read without a credential, limited in size and in time.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::installation::{Installation, PANEL_KEY, faulty_fields, refusal};

/// Sends `head` and nothing of the body that it announces; the status and code of the answer.
async fn answered_to_the_head(bitcall: &Installation, head: &str) -> (u16, String) {
    let head = format!("{head}\r\nhost: x\r\n\r\n");
    let address = bitcall.address().to_owned();
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        status_and_code(&mut stream)
    })
    .await
    .unwrap()
}

/// Of an answer after which the server closes the connection, because it will not read the rest.
fn status_and_code(stream: &mut TcpStream) -> (u16, String) {
    let mut text = Vec::new();
    stream.read_to_end(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    let body: serde_json::Value = serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap();
    (status, body["error"]["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn two_host_headers_are_refused() {
    let bitcall = Installation::serving().await;
    let head = "GET /api/openapi.json HTTP/1.1\r\nconnection: close\r\nhost: y";
    assert_eq!(answered_to_the_head(&bitcall, head).await, (400, "BAD_REQUEST".into()));
}

#[tokio::test]
async fn a_request_refused_by_its_headers_is_answered_before_its_body() {
    let bitcall = Installation::serving().await;
    let key = format!("x-bitcall-panel-key: {PANEL_KEY}\r\n");
    for (head, status, code) in [
        ("content-length: 60000".to_owned(), 401, "PANEL_UNAUTHORIZED"),
        ("transfer-encoding: chunked".to_owned(), 401, "PANEL_UNAUTHORIZED"),
        ("expect: 100-continue\r\ncontent-length: 60000".to_owned(), 401, "PANEL_UNAUTHORIZED"),
        (format!("{key}content-length: 65537"), 413, "PAYLOAD_TOO_LARGE"),
        (format!("{key}content-length: 9223372036854775807"), 413, "PAYLOAD_TOO_LARGE"),
        (format!("{key}content-type: text/xml\r\ncontent-length: 60000"), 415, "UNSUPPORTED_MEDIA_TYPE"),
    ] {
        let answer = answered_to_the_head(&bitcall, &format!("POST /api/tenant/provision HTTP/1.1\r\n{head}")).await;
        assert_eq!(answer, (status, code.into()), "{head}");
    }
    let read = format!("GET /api/tenant?tenantId=acme HTTP/1.1\r\n{key}content-length: 20");
    assert_eq!(answered_to_the_head(&bitcall, &read).await, (400, "VALIDATION_ERROR".into()), "a read has no body");
}

#[tokio::test]
async fn a_body_over_the_limit_is_cut_with_413() {
    let bitcall = Installation::serving().await;
    let address = bitcall.address().to_owned();
    let (taken, answer) = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let head = format!(
            "POST /api/tenant/provision HTTP/1.1\r\nhost: x\r\nx-bitcall-panel-key: {PANEL_KEY}\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let chunk = format!("{:x}\r\n{}\r\n", 8192, " ".repeat(8192));
        let mut sent = 0;
        stream.set_nonblocking(true).unwrap();
        let mut first = [0];
        // Until the answer begins; what the kernel takes besides is not the server's.
        while !matches!(stream.peek(&mut first), Ok(1)) && sent < 1000 {
            match stream.write(chunk.as_bytes()) {
                Ok(written) if written == chunk.len() => sent += 1,
                _ => break,
            }
            std::thread::yield_now();
        }
        stream.set_nonblocking(false).unwrap();
        (sent * 8192, status_and_code(&mut stream))
    })
    .await
    .unwrap();
    assert_eq!(answer, (413, "PAYLOAD_TOO_LARGE".into()));
    assert!(taken < 8 << 20, "{taken} bytes were sent");
}

#[tokio::test]
async fn a_body_that_does_not_arrive_in_time_is_answered_with_408() {
    let bitcall = Installation::serving_with("[limits]\nrequest_timeout = '1s'\n").await;
    let head =
        format!("POST /api/tenant/provision HTTP/1.1\r\nx-bitcall-panel-key: {PANEL_KEY}\r\ncontent-length: 100");
    assert_eq!(answered_to_the_head(&bitcall, &head).await, (408, "REQUEST_TIMEOUT".into()));
}

#[tokio::test]
async fn ambiguous_json_is_refused() {
    let bitcall = Installation::serving().await;
    bitcall.tenant("acme", "pro").await;
    let key = [("x-bitcall-panel-key", PANEL_KEY)];
    let twice = r#"{"tenantId":"acme","branding":{"displayName":"A","displayName":"B"},"tenantId":"acme"}"#;
    let answer = bitcall.send("PATCH", "/api/tenant/config", &key, twice).await;
    assert_eq!(faulty_fields(&answer), ["branding.displayName", "tenantId"]);
    let answer = bitcall.send("GET", "/api/tenant?tenantId=acme&tenantId=other", &key, "").await;
    assert_eq!(faulty_fields(&answer), ["tenantId"]);
    for deep in [format!("{{\"tenantId\":{}", "[".repeat(60_000)), "{\"a\":".repeat(12_000), "[".repeat(60_000)] {
        let answer = bitcall.send("PATCH", "/api/tenant/config", &key, &deep).await;
        assert_eq!(refusal(&answer), (400, "VALIDATION_ERROR".into()));
    }
    let tenant = bitcall.done("GET", "/api/tenant?tenantId=acme", json!(null)).await;
    assert_eq!(tenant["branding"]["displayName"], "acme");
}

#[tokio::test]
async fn invalid_utf_8_is_refused() {
    let bitcall = Installation::serving().await;
    let address = bitcall.address().to_owned();
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let body = b"{\"tenantId\":\"\xff\xfe\"}";
        let head = format!(
            "POST /api/tenant/provision HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-bitcall-panel-key: {PANEL_KEY}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        status_and_code(&mut stream)
    });
    assert_eq!(answer.await.unwrap(), (400, "VALIDATION_ERROR".into()));
}

#[tokio::test]
async fn head_is_answered_as_get_without_the_body() {
    let bitcall = Installation::serving().await;
    let key = bitcall.tenant("acme", "pro").await;
    for path in ["/api/tenant?tenantId=acme", "/api/openapi.json", &format!("/api/webphone/config?key={key}")] {
        let headers = [("x-bitcall-panel-key", PANEL_KEY)];
        let (get, head) =
            (bitcall.send("GET", path, &headers, "").await, bitcall.send("HEAD", path, &headers, "").await);
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
        assert_eq!(head.headers["content-length"], get.body.len().to_string(), "{path}");
        assert_eq!(head.headers["content-type"], get.headers["content-type"], "{path}");
    }
}
