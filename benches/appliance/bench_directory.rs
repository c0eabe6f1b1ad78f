//! The directory that measured servers run in: on the disk with one certificate for all of them.

use std::fs;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::UnixStream;

use crate::appliance::{Serve, write_configuration};

pub struct BenchDirectory {
    pub temp: TempDir,
}

impl BenchDirectory {
    pub fn prepare() -> Self {
        // Not in /tmp, which may be no disk.
        let temp = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        fs::write(temp.path().join("cert.pem"), made.cert.pem()).unwrap();
        fs::write(temp.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        Self { temp }
    }

    /// `bitcall serve` with its defaults, on ports that the system chooses.
    pub fn serve(&self) -> Serve {
        let certificate = self.temp.path().join("cert.pem");
        let key = self.temp.path().join("key.pem");
        // It counts for its rate limits as ever, only to a number that no client here reaches.
        let limits = ["address", "key", "tenant", "origin"].map(|name| format!("requests_per_{name} = 4000000000\n"));
        let limits = limits.concat() + "max_connections_per_address = 0\n";
        let tls = format!("{limits}[tls]\ncertificate = '{}'\nkey = '{}'", certificate.display(), key.display());
        write_configuration(self.temp.path(), &tls);
        let file = self.temp.path().join("bitcall.toml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("[listen]", "[listen]\nhttp = '127.0.0.1:0'")).unwrap();
        Serve::start_with(&file)
    }
}

/// A connection to the control socket, kept open.
pub struct ControlClient(SendRequest<Full<Bytes>>);

impl ControlClient {
    pub async fn open(serve: &Serve) -> Self {
        let stream = UnixStream::connect(serve.socket()).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    /// A request that must succeed; the envelope's data.
    pub async fn call(&mut self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        self.0.ready().await.unwrap();
        let (parts, body) = self.0.send_request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        assert!(parts.status.is_success(), "{method} {path}: {} {:?}", parts.status, body);
        let mut answer: Value = serde_json::from_slice(&body).unwrap();
        answer["data"].take()
    }
}

/// Makes a tenant; where its runtime configuration is, and what is there.
pub async fn provision(serve: &Serve) -> (String, Vec<u8>) {
    let order = serde_json::json!({ "tenantId": "bench" });
    let made = ControlClient::open(serve).await.call("POST", "/api/tenant/provision", &order).await;
    let path = format!("/api/webphone/config?key={}", made["apiKey"].as_str().unwrap());
    let config = serve.get(&path, &[]).await;
    assert!(config.status().is_success());
    (path, config.body().to_vec())
}
