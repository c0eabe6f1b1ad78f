//! The embedded files: content coding, caching by `ETag` and hash, security headers.

use std::io::Read as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hyper::{Method, Response, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;

use crate::appliance::{Running, bitcall, exchange, header, request};

struct Site {
    address: String,
    _running: Running,
    _directory: tempfile::TempDir,
}

impl Site {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = bitcall();
        command.env("TMPDIR", directory.path()).args(["demo", "--json", "--listen", "127.0.0.1:0"]);
        let mut running = Running::start(&mut command, &directory.path().join("log"));
        let address = running.wait_for("the JSON line", |line| {
            Some(line.strip_prefix("{\"url\":\"http://")?.split_once('"')?.0.to_owned())
        });
        Self { address, _running: running, _directory: directory }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response<Bytes> {
        let stream = TcpStream::connect(&self.address).await.unwrap();
        exchange(stream, request(path, headers)).await
    }
}

#[tokio::test]
async fn every_content_coding_decodes_to_the_same_file_and_accept_encoding_is_honoured() {
    let site = Site::start();
    let plain = site.get("/webphone/loader.js", &[]).await;
    assert_eq!(plain.status(), StatusCode::OK);
    assert_eq!(header(&plain, "content-encoding"), "");
    assert_eq!(header(&plain, "content-type"), "text/javascript; charset=utf-8");
    assert_eq!(header(&plain, "cache-control"), "public, max-age=300");
    for (accepts, coding) in [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip, deflate", "gzip"),
        ("br;q=0, gzip;q=0.5", "gzip"),
        ("*", "br"),
        ("identity", ""),
        ("br;q=0, *;q=0", ""),
    ] {
        let answer = site.get("/webphone/loader.js", &[("accept-encoding", accepts)]).await;
        assert_eq!(header(&answer, "content-encoding"), coding, "{accepts}");
        assert_eq!(header(&answer, "vary"), "Accept-Encoding");
        assert_eq!(header(&answer, "content-length"), answer.body().len().to_string());
        assert!(decode(answer.body(), coding) == plain.body()[..], "{coding} is another file");
    }
}

fn decode(bytes: &[u8], coding: &str) -> Vec<u8> {
    let mut decoded = Vec::new();
    match coding {
        "br" => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut decoded),
        "gzip" => flate2::read::GzDecoder::new(bytes).read_to_end(&mut decoded),
        _ => (&mut &bytes[..]).read_to_end(&mut decoded),
    }
    .unwrap();
    decoded
}

#[tokio::test]
async fn if_none_match_is_answered_with_304_for_every_content_coding() {
    let site = Site::start();
    let first = site.get("/", &[("accept-encoding", "br")]).await;
    assert_eq!(header(&first, "cache-control"), "no-cache");
    let brotli = header(&first, "etag").to_owned();
    let plain = header(&site.get("/", &[]).await, "etag").to_owned();
    assert_ne!(brotli, plain, "a strong tag names one sequence of bytes");
    for tag in [&brotli, &plain, &format!("W/{plain}"), &format!("\"other\", {brotli}"), &"*".to_owned()] {
        let again = site.get("/", &[("if-none-match", tag), ("accept-encoding", "br")]).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{tag}");
        assert!(again.body().is_empty());
        assert_eq!(header(&again, "etag"), brotli);
    }
    let changed = site.get("/", &[("if-none-match", "\"other\"")]).await;
    assert_eq!(changed.status(), StatusCode::OK);
}

#[tokio::test]
async fn files_with_a_content_hash_in_their_name_are_immutable() {
    let site = Site::start();
    let page = site.get("/", &[]).await;
    let page = std::str::from_utf8(page.body()).unwrap();
    let start = page.find("/site-").expect("the page names its files by their content");
    let name: String = page[start..].chars().take_while(|c| c.is_ascii_alphanumeric() || "/-._".contains(*c)).collect();
    let file = site.get(&name, &[]).await;
    assert_eq!(file.status(), StatusCode::OK, "{name}");
    assert_eq!(header(&file, "cache-control"), "public, max-age=31536000, immutable");
}

#[tokio::test]
async fn pages_carry_a_restrictive_content_security_policy() {
    let site = Site::start();
    for (path, inline_scripts) in [("/", 0), ("/webphone/", 1)] {
        let page = site.get(path, &[]).await;
        assert_eq!(page.status(), StatusCode::OK);
        let policy = header(&page, "content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe-inline"), "{path}: {policy}");
        assert!(policy.ends_with("frame-ancestors 'none'"), "{path} without a tenant's key: {policy}");
        assert_eq!(header(&page, "x-content-type-options"), "nosniff");
        let html = std::str::from_utf8(page.body()).unwrap();
        let inline =
            html.split("<script").skip(1).filter_map(|script| script.split("</script>").next()?.split_once('>'));
        let inline: Vec<_> = inline.filter(|(attributes, _)| !attributes.contains("src=")).collect();
        assert_eq!(inline.len(), inline_scripts, "{path}");
        for (_, script) in inline {
            let hash = format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(script)));
            assert!(policy.contains(&hash), "{path}: {policy} without the hash of\n{script}");
        }
    }
}

#[tokio::test]
async fn the_loader_may_be_loaded_by_cross_origin_isolated_pages() {
    let site = Site::start();
    let loader = site.get("/webphone/loader.js", &[("origin", "https://shop.example")]).await;
    assert_eq!(header(&loader, "access-control-allow-origin"), "*");
    assert_eq!(header(&loader, "cross-origin-resource-policy"), "cross-origin");
}

#[tokio::test]
async fn an_unknown_path_is_a_json_404_with_a_request_id() {
    let site = Site::start();
    for path in ["/nothing", "/webphone/../Cargo.toml", "/api/nothing"] {
        let answer = site.get(path, &[]).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(body["ok"], false);
        assert_eq!(body["error"]["code"], "NOT_FOUND");
        assert_ne!(header(&answer, "x-request-id"), "");
    }
    let moved = site.get("/webphone", &[]).await;
    assert_eq!((moved.status().as_u16(), header(&moved, "location")), (308, "/webphone/"));

    let stream = TcpStream::connect(&site.address).await.unwrap();
    let mut post = request("/", &[]);
    *post.method_mut() = Method::POST;
    let answer = exchange(stream, post).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "allow")), (405, "GET, HEAD"));
    let stream = TcpStream::connect(&site.address).await.unwrap();
    let mut head = request("/", &[]);
    *head.method_mut() = Method::HEAD;
    let answer = exchange(stream, head).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_ne!(header(&answer, "content-length"), "0");
    assert!(answer.body().is_empty());
}
