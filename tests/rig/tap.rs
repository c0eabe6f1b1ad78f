//! A WebSocket proxy between phone and SIP server: forwards all frames, records their times, and can inject frames,
//! change those of the server, and break connections.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt as _, StreamExt as _, stream};
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

/// Turns a message of the server into what the phone gets instead.
type Edit = Box<dyn Fn(&str) -> Vec<String> + Send>;

/// What happens to the connections that are open.
#[derive(Clone, Debug)]
enum Injection {
    Message(Message),
    Cut,
    /// Nothing passes any more, and nobody is told.
    Freeze,
}

pub struct Tap {
    port: u16,
    accepted: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
    frames: Arc<Mutex<Vec<TappedFrame>>>,
    injected: broadcast::Sender<Injection>,
    edit: Arc<Mutex<Option<Edit>>>,
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
        let edit = Arc::new(Mutex::new(None));
        let edits = Arc::clone(&edit);
        let counts = (Arc::clone(&accepted), Arc::clone(&ended));
        let task = tokio::spawn(async move {
            while let Ok((phone, _)) = listener.accept().await {
                phone.set_nodelay(true).ok();
                counts.0.fetch_add(1, Ordering::SeqCst);
                let passing = pass(phone, upstream.clone(), Arc::clone(&noted), says.subscribe(), Arc::clone(&edits));
                let ended = Arc::clone(&counts.1);
                tokio::spawn(async move {
                    passing.await;
                    ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self { port, accepted, ended, frames, injected, edit, task }
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

    /// From now on each message of the server passes through `edit`.
    pub fn edit(&self, edit: impl Fn(&str) -> Vec<String> + Send + 'static) {
        *self.edit.lock().unwrap() = Some(Box::new(edit));
    }

    /// Sends a frame of our own to every connected phone.
    pub fn say(&self, message: Message) {
        self.injected.send(Injection::Message(message)).unwrap();
    }

    /// Cuts the connections that are open, without a word of WebSocket.
    pub fn cut(&self) {
        self.injected.send(Injection::Cut).unwrap();
    }

    /// From now on the connections that are open are half-open: neither side gets anything or hears of an end.
    pub fn freeze(&self) {
        self.injected.send(Injection::Freeze).unwrap();
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
    mut injected: broadcast::Receiver<Injection>,
    edit: Arc<Mutex<Option<Edit>>>,
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
                    // The server knows nothing of a CANCEL that an edit has made.
                    if edit.lock().unwrap().is_some() && text.starts_with("SIP/2.0 ") && text.contains(" CANCEL\r\n") {
                        continue;
                    }
                }
                to_server.send(message).await
            }
            message = from_server.next() => {
                let Some(Ok(message)) = message else { return };
                let edited = match (&message, &*edit.lock().unwrap()) {
                    (Message::Text(text), Some(edit)) => edit(text).into_iter().map(Message::text).collect(),
                    _ => vec![message],
                };
                to_phone.send_all(&mut stream::iter(edited.into_iter().map(Ok))).await
            }
            Ok(injection) = injected.recv() => match injection {
                Injection::Message(message) => to_phone.send(message).await,
                Injection::Cut => return,
                Injection::Freeze => std::future::pending().await,
            },
        };
        if done.is_err() {
            return;
        }
    }
}
