//! A back-to-back user agent with the habits of Asterisk 22, which cannot be installed from packages.
//!
//! Phones register over WebSocket, all for one account. Every call is a leg to here and a scripted far end, which plays a tone and recognises
//! those it hears. What it does as Asterisk does:
//!
//! * Each leg keeps the order of codecs of its last answer, and a further offer is answered in that order. Nothing is ever
//!   transcoded: a leg whose first codec is not the far end's is silent.
//! * There is one DTLS handshake in a dialog. Another fingerprint is answered by `a=connection:existing`; ICE connects, DTLS does not.
//! * An INVITE with `Replaces` (RFC 3891) goes on with the far end of the old dialog, which gets a BYE. Its Request-URI must be an
//!   extension all the same, which the server's own Contact is not.
//! * A far end that declines is a 403 with `Reason: Q.850;cause=21`.
//! * A connected line changes by UPDATE with another `P-Asserted-Identity`.
//! * Every call has a session timer, which this side refreshes in some calls and the phone in others.
//! * Early media comes with the same 183 several times.
//! * `Transfer()` asks the phone by REFER to call somebody else, and names only the number.
//! * A call that is transferred to 700 is parked; who calls 701 goes on with it.
//! * A restart forgets all dialogs and registrations.
//! * A caller rings on all phones of the account; when one has answered, the others get a CANCEL with `Q.850;cause=26`.
//! * A phone beyond `max_contacts` is refused by a bare 403.
//! * A phone gets an OPTIONS every few seconds, and after each REGISTER a NOTIFY for which it never subscribed.
//!
//! Two habits are those of other servers, which let devices through: early media of one device and the answer of another, and a
//! call that goes on at another endpoint.
//!
//! When a test fails, all messages are printed below the failure.

mod far_end;
mod leg;
mod network;
mod server;
mod session_description;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

use self::far_end::{EarlyMedia, Party, WhenCalled};
use self::server::Server;
use super::wait::until;

/// How often the phone is asked for its options.
const OPTIONS_INTERVAL: Duration = Duration::from_secs(2);

pub struct B2bua {
    server: Arc<Mutex<Server>>,
    port: u16,
    tasks: Vec<JoinHandle<()>>,
}

/// A far end, for the test to use.
pub struct FarEnd {
    party: Arc<Party>,
    server: Arc<Mutex<Server>>,
}

impl B2bua {
    /// Domain of the addresses of record.
    pub const DOMAIN: &'static str = "sip.test";
    pub const USERNAME: &'static str = "agent1";
    pub const PASSWORD: &'static str = "secret1";

    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Arc::new(Mutex::new(Server::new(port)));
        let (serving, asking) = (Arc::clone(&server), Arc::clone(&server));
        let accepting = async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, Arc::clone(&serving)));
            }
        };
        let qualifying = async move {
            let mut interval = tokio::time::interval(OPTIONS_INTERVAL);
            loop {
                interval.tick().await;
                asking.lock().unwrap().ask_for_options();
            }
        };
        Self { server, port, tasks: vec![tokio::spawn(accepting), tokio::spawn(qualifying)] }
    }

    pub fn ws(&self) -> String {
        format!("ws://127.0.0.1:{}/ws", self.port)
    }

    /// A far end that plays a tone of `hz` and answers at once.
    pub fn far_end(&self, number: &str, name: &str, hz: u32) -> FarEnd {
        self.add(Party::new(number, name, hz, WhenCalled::Answers))
    }

    /// One that rings until [`FarEnd::answers`].
    pub fn ringing_far_end(&self, number: &str, name: &str, hz: u32) -> FarEnd {
        self.add(Party::new(number, name, hz, WhenCalled::Rings))
    }

    /// One that rings, while a tone of `early_hz` is heard. The answer has other keys than the early media; `forked`: because it
    /// is that of another device.
    pub fn far_end_after_early_media(&self, number: &str, name: &str, hz: u32, early_hz: u32, forked: bool) -> FarEnd {
        let announcement = Arc::new(Party::new(number, "Announcement", early_hz, WhenCalled::Rings));
        let mut party = Party::new(number, name, hz, WhenCalled::Rings);
        party.early = Some(EarlyMedia { party: announcement, forked });
        self.add(party)
    }

    /// One that answers at once, and refuses to be put on hold.
    pub fn far_end_that_refuses_hold(&self, number: &str, name: &str, hz: u32) -> FarEnd {
        self.add(Party::new(number, name, hz, WhenCalled::AnswersAndRefusesHold))
    }

    /// One that answers at once, over a network that loses 3 % of the packets of the media in either way and delays each
    /// of the others by up to 150 ms.
    pub fn far_end_over_unsteady_network(&self, number: &str, name: &str, hz: u32) -> FarEnd {
        let mut party = Party::new(number, name, hz, WhenCalled::Answers);
        party.unsteady = true;
        self.add(party)
    }

    /// One where a person declines every call.
    pub fn declining_far_end(&self, number: &str, name: &str) -> FarEnd {
        self.add(Party::new(number, name, 0, WhenCalled::Declines))
    }

    /// The number is not known any more.
    pub fn forgets(&self, number: &str) {
        self.state().parties.remove(number);
    }

    fn add(&self, party: Party) -> FarEnd {
        let party = Arc::new(party);
        self.state().add_party(&party);
        FarEnd { party, server: Arc::clone(&self.server) }
    }

    /// The account may have no more than `n` contacts; there is no more room for others until they have signed out.
    pub fn limits_contacts(&self, n: usize) {
        self.state().max_contacts = n;
    }

    /// All WebSocket connections break, without a word.
    pub fn cut_connections(&self) {
        self.state().cut_connections();
    }

    /// All connections break, and every call and registration is forgotten.
    pub fn restarts(&self) {
        self.state().restart();
    }

    /// Messages of the phone so far that contain all of `parts`.
    pub fn received(&self, parts: &[&str]) -> Vec<String> {
        self.state().received(parts)
    }

    /// Message number `n` (from 1) of the phone with all of `parts`, once it has come.
    pub async fn receives(&self, n: usize, parts: &[&str]) -> String {
        until(&format!("message {n} of the phone with {parts:?}"), async || {
            self.received(parts).into_iter().nth(n - 1).ok_or_else(|| self.state().trace())
        })
        .await
    }

    /// Calls that the phone has with far ends.
    pub fn calls(&self) -> usize {
        self.state().calls()
    }

    fn state(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap()
    }
}

impl Drop for B2bua {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        let Ok(mut server) = self.server.lock() else { return };
        server.cut_connections();
        if std::thread::panicking() {
            eprintln!("──── messages between phone and B2BUA ────\n{}", server.trace());
        }
    }
}

impl FarEnd {
    /// Calls the phone; all phones, if there are several.
    pub fn calls(&self) {
        self.server.lock().unwrap().call_phones(&self.party);
    }

    /// Answers the call for which it rings.
    pub fn answers(&self) {
        self.server.lock().unwrap().answer(&self.party);
    }

    pub fn hangs_up(&self) {
        self.server.lock().unwrap().hang_up(&self.party);
    }

    /// The way of the media is gone, as in another network, until the phone looks for one by an ICE restart.
    pub fn loses_path(&self) {
        self.party.set_path_lost(true);
    }

    /// Goes on at another endpoint, with other keys, and asks the phone to follow by a re-INVITE.
    pub fn moves(&self) {
        self.server.lock().unwrap().move_call(&self.party);
    }

    /// The dialplan sends the phone to `number`.
    pub fn transfers_to(&self, number: &str) {
        self.server.lock().unwrap().transfer(&self.party, number);
    }

    /// From now on the phone talks with somebody else, e.g. after a transfer. The tone stays.
    pub fn becomes(&self, name: &str, number: &str) {
        self.server.lock().unwrap().change_connected_line(&self.party, name, number);
    }

    /// Refreshes the session (RFC 4028).
    pub fn refreshes(&self) {
        self.server.lock().unwrap().refresh(&self.party);
    }

    /// Sends a text, in the call if there is one.
    pub fn says(&self, text: &str) {
        self.server.lock().unwrap().say(&self.party, text);
    }

    /// It plays a tone of `hz` from now on.
    pub fn plays(&self, hz: u32) {
        self.party.set_tone(hz);
    }

    /// Waits until the last half second that arrived is mostly a tone of `hz`.
    pub async fn hears(&self, hz: u32) {
        until(&format!("{} to hear {hz} Hz", self.party.name), async || match self.party.share_of(hz) {
            Some(share) if share > 0.5 => Ok(()),
            Some(share) => Err(format!("{share} of the energy")),
            None => Err("no sound arrives".to_owned()),
        })
        .await;
    }

    /// The share of `hz` in the last half second, from 0 to 1; `None` when less than that has come without a gap.
    pub fn share(&self, hz: u32) -> Option<f64> {
        self.party.share_of(hz)
    }

    /// Waits until nothing but silence has arrived for one second.
    pub async fn hears_silence(&self) {
        self.party.listen();
        until(&format!("{} to hear silence", self.party.name), async || match self.party.silence() {
            (_, longest) if longest >= Duration::from_secs(1) => Ok(()),
            (heard, longest) => Err(format!("{longest:?} at most, in {heard} samples")),
        })
        .await;
    }

    /// Waits until each of these tones was a tenth or more of half a second's energy, one after another or together.
    pub async fn hears_notes(&self, notes: &[u32]) {
        let mut missing = notes.to_vec();
        until(&format!("{} to hear notes of {notes:?} Hz", self.party.name), async || {
            missing.retain(|hz| self.party.share_of(*hz).unwrap_or(0.0) < 0.1);
            if missing.is_empty() { Ok(()) } else { Err(format!("not heard yet: {missing:?}")) }
        })
        .await;
    }

    /// Begins to listen for silences.
    pub fn listens(&self) {
        self.party.listen();
    }

    /// The longest silence since [`Self::listens`].
    pub fn longest_silence(&self) -> Duration {
        self.party.silence().1
    }

    /// Listens to the next `samples` samples of 8 kHz, and returns how long the longest silence in them was.
    pub async fn longest_silence_in(&self, samples: usize) -> Duration {
        self.party.listen();
        until(&format!("{} to hear {samples} samples", self.party.name), async || match self.party.silence() {
            (heard, longest) if heard >= samples => Ok(longest),
            (heard, _) => Err(format!("{heard} samples")),
        })
        .await
    }

    /// Waits until nothing of a tone of `hz` has arrived for one second.
    pub async fn hears_no_more(&self, hz: u32) {
        let mut since = Instant::now();
        until(&format!("{} to hear no more of {hz} Hz", self.party.name), async || {
            let share = self.party.share_of(hz).unwrap_or(0.0);
            if share > 0.01 {
                since = Instant::now();
            }
            if since.elapsed() > Duration::from_secs(1) { Ok(()) } else { Err(format!("{share} of the energy")) }
        })
        .await;
    }
}

#[expect(clippy::result_large_err, reason = "the library's signature")]
async fn serve(socket: TcpStream, server: Arc<Mutex<Server>>) {
    socket.set_nodelay(true).ok();
    let sip = |_: &Request, mut answer: Response| {
        answer.headers_mut().insert("sec-websocket-protocol", "sip".parse().unwrap());
        Ok(answer)
    };
    let Ok(mut socket) = accept_hdr_async(socket, sip).await else { return };
    let (sender, mut to_send) = mpsc::unbounded_channel();
    let connection = server.lock().unwrap().opened(sender);
    loop {
        let done = tokio::select! {
            received = socket.next() => {
                let Some(Ok(message)) = received else { break };
                if message.is_text() || message.is_binary() {
                    server.lock().unwrap().on_message(connection, &message.into_data());
                }
                Ok(())
            }
            message = to_send.recv() => {
                let Some(message) = message else { return };
                socket.send(message).await
            }
        };
        if done.is_err() {
            break;
        }
    }
    server.lock().unwrap().closed(connection);
}
