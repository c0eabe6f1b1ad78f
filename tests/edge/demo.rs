//! `bitcall demo` as these tests need it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

pub struct Demo {
    child: Child,
    pub url: String,
    pub wss: String,
    pub domain: String,
    pub panel_key: String,
    pub key: String,
    pub tenant_id: String,
    /// User name and password of each extension.
    pub extensions: Vec<(String, String)>,
}

impl Demo {
    pub async fn start() -> Self {
        let start = || {
            let mut child = Command::new(env!("CARGO_BIN_EXE_bitcall"))
                .args(["demo", "--json", "--listen", "127.0.0.1:0"])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            (child, serde_json::from_str::<Value>(&line).unwrap())
        };
        let (child, ready) = tokio::task::spawn_blocking(start).await.unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let extensions = ready["extensions"].as_array().unwrap();
        Self {
            child,
            url: text(&ready["url"]),
            wss: text(&ready["sip"]["wss"]),
            domain: text(&ready["sip"]["domain"]),
            panel_key: text(&ready["panelKey"]),
            key: text(&ready["apiKey"]),
            tenant_id: text(&ready["tenantId"]),
            extensions: extensions.iter().map(|e| (text(&e["username"]), text(&e["password"]))).collect(),
        }
    }

    /// A WebSocket with this subprotocol.
    pub async fn open_socket(&self, subprotocol: &str) -> Result<WebSocketStream<TcpStream>, String> {
        let mut request = self.wss.as_str().into_client_request().unwrap();
        let host = request.uri().authority().unwrap().as_str().to_owned();
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_str(subprotocol).unwrap());
        let tcp = TcpStream::connect(host).await.unwrap();
        let (socket, response) =
            tokio_tungstenite::client_async(request, tcp).await.map_err(|error| error.to_string())?;
        assert_eq!(response.headers()["Sec-WebSocket-Protocol"], subprotocol);
        Ok(socket)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
