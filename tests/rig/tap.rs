//! A WebSocket proxy between phone and SIP server: forwards all frames, records their times, and can inject frames.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::{accept_hdr_async, client_async};

/// A frame from the phone.
#[derive(Clone, Debug)]
pub struct TappedFrame {
    /// When it arrived, in ms since the epoch.
    pub at: f64,
    pub text: String,
}

pub struct Tap {
    port: u16,
    accepted: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
    frames: Arc<Mutex<Vec<TappedFrame>>>,
    injected: broadcast::Sender<Message>,
    task: JoinHandle<()>,
}

impl Tap {
    /// In front of `upstream`, a `ws://` URL.
    pub async fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let frames = Arc::new(Mutex::new(Vec::new()));
        let (injected, _) = broadcast::channel(64);
        let (noted, says, upstream) = (Arc::clone(&frames), injected.clone(), upstream.to_owned());
        let (accepted, ended) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let counts = (Arc::clone(&accepted), Arc::clone(&ended));
        let task = tokio::spawn(async move {
            while let Ok((phone, _)) = listener.accept().await {
                phone.set_nodelay(true).ok();
                counts.0.fetch_add(1, Ordering::SeqCst);
                let passing = pass(phone, upstream.clone(), Arc::clone(&noted), says.subscribe());
                let ended = Arc::clone(&counts.1);
                tokio::spawn(async move {
                    passing.await;
                    ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self { port, accepted, ended, frames, injected, task }
    }

    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// How many connections there were so far, and how many of them are over.
    pub fn connections(&self) -> (usize, usize) {
        (self.accepted.load(Ordering::SeqCst), self.ended.load(Ordering::SeqCst))
    }

    /// What the phone has sent so far.
    pub fn frames(&self) -> Vec<TappedFrame> {
        self.frames.lock().unwrap().clone()
    }

    /// When the first frame that begins with `start` came after `since`.
    pub fn first_after(&self, since: f64, start: &str) -> Option<f64> {
        let frames = self.frames.lock().unwrap();
        frames.iter().find(|f| f.at >= since && f.text.starts_with(start)).map(|f| f.at)
    }

    /// Sends a frame of our own to every connected phone.
    pub fn say(&self, message: Message) {
        self.injected.send(message).unwrap();
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Milliseconds since the epoch, as a page's clock has them.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() * 1000.0
}

#[expect(clippy::result_large_err, reason = "the library's signature")]
async fn pass(
    phone: TcpStream,
    upstream: String,
    frames: Arc<Mutex<Vec<TappedFrame>>>,
    mut injected: broadcast::Receiver<Message>,
) {
    let sip = |_: &Request, mut answer: Response| {
        answer.headers_mut().insert("sec-websocket-protocol", "sip".parse().unwrap());
        Ok(answer)
    };
    let mut request = upstream.as_str().into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "sip".parse().unwrap());
    let address = request.uri().authority().unwrap().to_string();
    let Ok(server) = TcpStream::connect(address).await else { return };
    server.set_nodelay(true).ok();
    let (Ok(phone), Ok((server, _))) = (accept_hdr_async(phone, sip).await, client_async(request, server).await) else {
        return;
    };
    let (mut to_phone, mut from_phone) = phone.split();
    let (mut to_server, mut from_server) = server.split();
    loop {
        let done = tokio::select! {
            message = from_phone.next() => {
                let Some(Ok(message)) = message else { return };
                if let Message::Text(text) = &message {
                    frames.lock().unwrap().push(TappedFrame { at: now(), text: text.to_string() });
                }
                to_server.send(message).await
            }
            message = from_server.next() => {
                let Some(Ok(message)) = message else { return };
                to_phone.send(message).await
            }
            Ok(message) = injected.recv() => to_phone.send(message).await,
        };
        if done.is_err() {
            return;
        }
    }
}
