//! The media end of the echo: every caller hears what they say.
//!
//! [`session`] is one call, sans-IO; [`sockets`] are the machine's addresses; this
//! file is the one task that runs all calls. Sockets are shared by the calls and exist
//! only while there is one: an idle server has no open UDP port.

mod session;
mod sockets;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use tokio::sync::mpsc;
use tracing::{debug, error, warn};

use session::Session;
use sockets::Sockets;

/// Names one call to the echo; chosen by the one who gives the commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// What the echo is told to do.
#[derive(Debug)]
pub enum EchoCommand {
    /// Answer this SDP offer, of a new call or within one (hold, ICE restart, a reloaded page).
    Offer { call: CallId, sdp: String },
    /// The call is over.
    End { call: CallId },
}

/// What the echo reports.
#[derive(Debug)]
pub enum EchoEvent {
    /// The answer to the offer; or the reason why there is none, in words for the log. A call that was up stays up.
    Answer { call: CallId, sdp: Result<String, String> },
    /// Nothing has been heard from the caller's media for too long.
    Lost { call: CallId },
}

/// Where media is received.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// Addresses that lead to this machine from outside (NAT), offered besides its own.
    pub public: Vec<IpAddr>,
    /// UDP port on all addresses; 0 for one of the system's choice.
    pub port: u16,
}

/// Larger than any datagram a browser sends over an Internet path.
const MAX_DATAGRAM_BYTES: usize = 2048;

/// Runs the echo until the sender of `commands` is gone.
pub async fn run(
    addresses: Addresses,
    mut commands: mpsc::UnboundedReceiver<EchoCommand>,
    notify: impl Fn(EchoEvent) + Send,
) {
    while let Some(command) = commands.recv().await {
        if let EchoCommand::Offer { call, sdp } = command {
            let mut server = EchoServer::new(&addresses);
            server.offer(call, &sdp, &notify);
            server.run(&mut commands, &notify).await;
        }
    }
}

/// The calls that are up, and their sockets.
struct EchoServer<'a> {
    addresses: &'a Addresses,
    sockets: Sockets,
    sessions: HashMap<CallId, Session>,
    /// Which call's datagrams came from where, so that most need no search.
    sources: HashMap<SocketAddr, CallId>,
}

impl<'a> EchoServer<'a> {
    fn new(addresses: &'a Addresses) -> Self {
        Self { addresses, sockets: Sockets::default(), sessions: HashMap::new(), sources: HashMap::new() }
    }

    async fn run(&mut self, commands: &mut mpsc::UnboundedReceiver<EchoCommand>, notify: &(impl Fn(EchoEvent) + Send)) {
        let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
        while !self.sessions.is_empty() {
            let next = self.sessions.values().map(Session::next_timeout).min().unwrap_or_else(Instant::now);
            tokio::select! {
                command = commands.recv() => match command {
                    Some(EchoCommand::Offer { call, sdp }) => self.offer(call, &sdp, notify),
                    Some(EchoCommand::End { call }) => self.end(call),
                    None => return,
                },
                (local, remote, length) = self.sockets.receive(&mut buffer) => {
                    self.datagram(local, remote, buffer.get(..length).unwrap_or_default());
                }
                () = tokio::time::sleep_until(next.into()) => {}
            }
            self.advance(Instant::now(), notify);
        }
    }

    fn offer(&mut self, call: CallId, sdp: &str, notify: &impl Fn(EchoEvent)) {
        let now = Instant::now();
        // Networks come and go (a cable, a VPN): every offer is answered with the addresses of this moment.
        self.sockets.refresh(self.addresses.port);
        let local = self.sockets.addresses();
        let answer = if local.is_empty() {
            Err("no UDP socket could be bound".to_owned())
        } else {
            let public = self.sockets.advertised(&self.addresses.public);
            // A fault in the media engine must cost one call, not all of them.
            catch_unwind(AssertUnwindSafe(|| match self.sessions.remove(&call) {
                Some(mut session) => {
                    let answer = session.reanswer(sdp, &local, &public, now);
                    self.sessions.insert(call, session);
                    answer
                }
                None => Session::answer(sdp, &local, &public, now).map(|(session, answer)| {
                    self.sessions.insert(call, session);
                    answer
                }),
            }))
            .unwrap_or_else(|_| Err("the media engine failed".to_owned()))
        };
        if let Err(reason) = &answer {
            debug!(call = call.0, reason, "offer refused");
        }
        notify(EchoEvent::Answer { call, sdp: answer });
    }

    fn end(&mut self, call: CallId) {
        if let Some(mut session) = self.sessions.remove(&call) {
            session.close();
            send_all(&self.sockets, &mut session);
        }
        self.sources.retain(|_, owner| *owner != call);
    }

    fn datagram(&mut self, local: SocketAddr, remote: SocketAddr, bytes: &[u8]) {
        let now = Instant::now();
        let known = self.sources.get(&remote).copied();
        let owner =
            known.filter(|call| self.sessions.get(call).is_some_and(|s| s.accepts(local, remote, bytes, now))).or_else(
                || self.sessions.iter().find(|(_, s)| s.accepts(local, remote, bytes, now)).map(|(call, _)| *call),
            );
        let Some(call) = owner else { return };
        if known != Some(call) {
            // A caller has a handful of addresses; a longer list is made by someone who guesses.
            if self.sources.values().filter(|owner| **owner == call).count() >= 64 {
                self.sources.retain(|_, owner| *owner != call);
            }
            self.sources.insert(remote, call);
        }
        let Some(session) = self.sessions.get_mut(&call) else { return };
        if catch_unwind(AssertUnwindSafe(|| session.receive(local, remote, bytes, now))).is_err() {
            error!(call = call.0, "the media engine failed on a datagram");
            session.fail();
        }
    }

    /// Lets time pass for the calls that wait for it, sends what they have to say, ends those that are lost.
    fn advance(&mut self, now: Instant, notify: &impl Fn(EchoEvent)) {
        let mut lost = Vec::new();
        for (&call, session) in &mut self.sessions {
            if catch_unwind(AssertUnwindSafe(|| session.advance(now))).is_err() {
                error!(call = call.0, "the media engine failed");
                session.fail();
            }
            send_all(&self.sockets, session);
            if session.is_lost(now) {
                lost.push(call);
            }
        }
        for call in lost {
            debug!(call = call.0, "media lost");
            self.end(call);
            notify(EchoEvent::Lost { call });
        }
    }
}

fn send_all(sockets: &Sockets, session: &mut Session) {
    while let Some(datagram) = session.poll_transmit() {
        if let Err(error) = sockets.send(datagram.source, datagram.destination, &datagram.contents) {
            // Unreachable candidates are daily business; a full buffer costs one packet, like any network.
            if error.kind() == std::io::ErrorKind::WouldBlock {
                warn!("datagram dropped: the socket's buffer is full");
            } else {
                debug!(%error, "datagram not sent");
            }
        }
    }
}
