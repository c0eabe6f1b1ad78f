//! What the agent knows of a call's `RTCPeerConnection`: which one it is, what the far end knows of it,
//! and whether sound can flow.

use bitcall_sip::ua::Millis;

/// ICE may have a path for this long without DTLS, in the first connection of a call.
const DTLS_TIMEOUT_MS: u64 = 5_000;
/// The same after a call was picked up: servers that make no second handshake within a dialog answer the
/// re-INVITE, ICE connects, and DTLS never does.
const PICK_UP_DTLS_TIMEOUT_MS: u64 = 1_000;
/// A connection that picks a call up must be connected within this time after the far end's agreement.
const PICK_UP_TIMEOUT_MS: u64 = 10_000;
/// Disconnected ICE often recovers by itself. After this time it is restarted.
const ICE_DISCONNECTED_TIMEOUT_MS: u64 = 3_000;
/// Further restarts without success are unlikely to help. The call then stays until somebody hangs up.
const MAX_ICE_RESTARTS: u32 = 3;
/// Delay of a second offer after a pick-up. Measured with browsers in the ICE-controlled role: media
/// resumes after this time with a second offer, and after 6.7 s without one.
const SECOND_OFFER_DELAY_MS: u64 = 3_900;

/// The connections of a call are numbered. A page that takes the call over starts a new one, and so does a
/// far end with which the present one cannot work.
#[derive(Debug)]
pub struct Connection {
    current: u32,
    /// The far end has a description of this one.
    described: u32,
    /// The far end and we agreed on this one.
    agreed: u32,
    transport: Transport,
    restart_at: Option<Millis>,
    /// ICE restarts since the last time that it was connected.
    restarts: u32,
    /// A pick-up must be connected by then.
    connected_by: Option<Millis>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    New,
    /// ICE has a path, and DTLS must follow by then.
    Ice {
        dtls_by: Millis,
    },
    Connected,
}

/// What a time-out of the connection requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionTimeout {
    RestartIce,
    /// No sound can flow: another connection, or another way to pick the call up, is needed.
    NoMedia,
}

impl Connection {
    pub fn new() -> Connection {
        Connection {
            current: 1,
            described: 0,
            agreed: 0,
            transport: Transport::New,
            restart_at: None,
            restarts: 0,
            connected_by: None,
        }
    }

    /// The page makes another connection from now on.
    pub fn replace(&mut self) {
        self.current += 1;
        self.reset();
    }

    /// Time-outs of an earlier exchange count no more.
    fn reset(&mut self) {
        self.transport = Transport::New;
        self.restart_at = None;
        self.restarts = 0;
        self.connected_by = None;
    }

    /// A description of the present connection was sent.
    pub fn sent(&mut self) {
        self.described = self.current;
    }

    /// The far end agreed to the description that it has. False if that is of an earlier connection.
    pub fn accepted(&mut self, now: Millis) -> bool {
        let current = self.is_described();
        if current && self.agreed != self.current {
            self.agreed = self.current;
            if self.is_pick_up() {
                self.restart_at = Some(now.plus(SECOND_OFFER_DELAY_MS));
                self.connected_by = Some(now.plus(PICK_UP_TIMEOUT_MS));
            }
        }
        current
    }

    /// The far end has a description of the present connection.
    pub fn is_described(&self) -> bool {
        self.described == self.current
    }

    /// The far end agreed to the present connection, so a refused offer changes nothing.
    pub fn is_agreed(&self) -> bool {
        self.agreed == self.current
    }

    /// It is not the call's first connection.
    pub fn is_pick_up(&self) -> bool {
        self.current > 1
    }

    pub fn is_connected(&self) -> bool {
        self.transport == Transport::Connected
    }

    pub fn ice_connected(&mut self, now: Millis) {
        if !matches!(self.transport, Transport::Ice { .. }) {
            self.await_dtls(now);
        }
    }

    /// Some far ends begin the DTLS handshake of early media only with their final answer.
    pub fn call_answered(&mut self, now: Millis) {
        if matches!(self.transport, Transport::Ice { .. }) {
            self.await_dtls(now);
        }
    }

    fn await_dtls(&mut self, now: Millis) {
        let timeout_ms = if self.is_pick_up() { PICK_UP_DTLS_TIMEOUT_MS } else { DTLS_TIMEOUT_MS };
        self.transport = Transport::Ice { dtls_by: now.plus(timeout_ms) };
    }

    pub fn connected(&mut self) {
        self.reset();
        self.transport = Transport::Connected;
    }

    pub fn disconnected(&mut self, now: Millis) {
        self.restart_at = Some(now.plus(ICE_DISCONNECTED_TIMEOUT_MS));
    }

    pub fn failed(&mut self, now: Millis) {
        self.restart_at = Some(now);
    }

    /// Takes what is due.
    pub fn take_timeout(&mut self, now: Millis) -> Option<ConnectionTimeout> {
        let dtls_by = match self.transport {
            Transport::Ice { dtls_by } => Some(dtls_by),
            Transport::New | Transport::Connected => None,
        };
        if [dtls_by, self.connected_by].into_iter().flatten().any(|by| by <= now) {
            self.reset();
            return Some(ConnectionTimeout::NoMedia);
        }
        self.restart_at.take_if(|at| *at <= now)?;
        if self.restarts >= MAX_ICE_RESTARTS {
            return None;
        }
        self.restarts += 1;
        Some(ConnectionTimeout::RestartIce)
    }

    pub fn next_timeout(&self) -> Option<Millis> {
        let dtls_by = match self.transport {
            Transport::Ice { dtls_by } => Some(dtls_by),
            Transport::New | Transport::Connected => None,
        };
        [dtls_by, self.connected_by, self.restart_at].into_iter().flatten().min()
    }
}
