//! The way back to a server that stands before the present one in the list.
//!
//! The list is in the order of preference, so a user agent that had to leave a server goes back to it. Every now and
//! then it opens a second connection to the servers before the present one. Once one is open it registers there, and
//! keeps the present connection, with its registration, until REGISTER is accepted: a server that opens connections but
//! does not work costs nothing.
//!
//! The requests of a dialog follow its route set (RFC 3261 §12.2.1.1), which leads through the server where the dialog
//! was made, and through the connection that is registered there. So nothing changes while a call is up on the present
//! server. A call that has lost its signalling with its server and cannot be reached through the present one is the
//! opposite case: it comes back with its own server only, which is then tried much more often.

use serde::{Deserialize, Serialize};

use super::UserAgent;
use super::context::TransactionUser;
use super::interface::{Millis, Output, TransportId};
use super::reconnect_backoff::OPEN_TIMEOUT_MS;

/// Longest delay before the first attempt; doubled after each failed one. Half of it is random, so that not all clients
/// of a server that is back come at once.
const MIN_DELAY_MS: u64 = 60_000;
const MAX_DELAY_MS: u64 = 600_000;
/// Delay while a call waits for its server.
const CALL_DELAY_MS: u64 = 5_000;

#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Failback {
    state: FailbackState,
    /// Failed attempts since we left the better server.
    failures: u32,
}

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
enum FailbackState {
    /// The present server is the first one, or does not work either.
    #[default]
    Idle,
    Waiting {
        until: Millis,
    },
    /// A second connection is being opened, to this server.
    Opening {
        id: TransportId,
        server: usize,
        until: Millis,
    },
    /// REGISTER is sent over the second connection, which is the one in use. The previous one is still open.
    Registering {
        previous: TransportId,
        previous_server: usize,
    },
}

impl Failback {
    /// The connection that is kept until the better server has accepted REGISTER.
    pub(super) fn previous(&self) -> Option<TransportId> {
        match self.state {
            FailbackState::Registering { previous, .. } => Some(previous),
            _ => None,
        }
    }

    /// Returns the second connection, which is to be closed.
    fn stop(&mut self) -> Option<TransportId> {
        match std::mem::take(&mut self.state) {
            FailbackState::Opening { id, .. } => Some(id),
            FailbackState::Registering { previous, .. } => Some(previous),
            FailbackState::Idle | FailbackState::Waiting { .. } => None,
        }
    }
}

impl UserAgent {
    /// Whether a call needs the present connection.
    fn has_attached_call(&self) -> bool {
        if self.has_detached_call() {
            self.calls.iter().any(|call| call.is_active() && !call.is_detached())
        } else {
            self.calls.iter().any(|call| !call.is_over())
        }
    }

    fn has_detached_call(&self) -> bool {
        self.calls.iter().any(|call| call.is_active() && call.is_detached())
    }

    pub(super) fn failback_deadline(&self) -> Option<Millis> {
        match self.failback.state {
            FailbackState::Waiting { until } => (!self.has_attached_call()).then_some(until),
            FailbackState::Opening { until, .. } => Some(until),
            FailbackState::Idle | FailbackState::Registering { .. } => None,
        }
    }

    /// The present server has accepted REGISTER.
    pub(super) fn on_server_accepted(&mut self, now: Millis) {
        if let Some(previous) = self.failback.previous() {
            self.failback = Failback::default();
            self.context.push(Output::CloseTransport { id: previous });
        }
        if self.backoff.server_index() == 0 {
            self.failback.state = FailbackState::Idle;
        } else if matches!(self.failback.state, FailbackState::Idle) {
            self.failback.failures = 0;
            self.wait_for_better_server(now);
        }
    }

    fn wait_for_better_server(&mut self, now: Millis) {
        let delay = if self.has_detached_call() {
            CALL_DELAY_MS
        } else {
            (MIN_DELAY_MS << self.failback.failures.min(8)).min(MAX_DELAY_MS)
        };
        let until = now.plus(delay / 2 + self.context.random.up_to(delay / 2));
        self.failback.state = FailbackState::Waiting { until };
    }

    /// The network is another one: a better server may be reachable now.
    pub(super) fn try_better_server_now(&mut self, now: Millis) {
        if let FailbackState::Waiting { until } = &mut self.failback.state {
            *until = now;
        }
    }

    /// Handles the timer, if it is due.
    pub(super) fn on_failback_tick(&mut self, now: Millis) -> bool {
        if self.failback_deadline().is_none_or(|deadline| deadline > now) {
            return false;
        }
        match self.failback.state {
            FailbackState::Opening { id, .. } => {
                self.context.push(Output::CloseTransport { id });
                self.on_better_server_failed(now);
            }
            _ if self.backoff.is_offline || !self.register_client.is_registered => self.wait_for_better_server(now),
            _ => self.open_better_server(0, now),
        }
        true
    }

    fn open_better_server(&mut self, server: usize, now: Millis) {
        let Some(url) = self.context.config.servers.get(server).cloned() else {
            return;
        };
        let id = self.backoff.next_id();
        self.failback.state = FailbackState::Opening { id, server, until: now.plus(OPEN_TIMEOUT_MS) };
        self.context.push(Output::Connect { id, url });
    }

    /// The second connection could not be opened: tries the next server before the present one, or waits.
    fn on_better_server_failed(&mut self, now: Millis) {
        match self.failback.state {
            FailbackState::Opening { server, .. } if server + 1 < self.backoff.server_index() => {
                self.open_better_server(server + 1, now);
            }
            _ => {
                self.failback.failures = self.failback.failures.saturating_add(1);
                self.wait_for_better_server(now);
            }
        }
    }

    /// A connection was opened. False: it is not the second one.
    pub(super) fn on_better_server_open(&mut self, opened: TransportId, now: Millis) -> bool {
        let FailbackState::Opening { id, server, .. } = self.failback.state else {
            return false;
        };
        if id != opened {
            return false;
        }
        let present = self.context.transport.filter(|_| !self.has_attached_call() && !self.register_client.is_pending);
        let Some(previous) = present else {
            self.context.push(Output::CloseTransport { id });
            self.wait_for_better_server(now);
            return true;
        };
        let previous_server = self.backoff.server_index();
        self.use_connection(id, server, now);
        self.failback.state = FailbackState::Registering { previous, previous_server };
        self.send_register(now);
        true
    }

    /// Requests go over this open connection from now on.
    fn use_connection(&mut self, id: TransportId, server: usize, now: Millis) {
        // Requests over the other one get no response.
        self.on_transport_lost(now);
        self.context.client_requests.retain(|client| client.owner != TransactionUser::Register);
        self.register_client.is_registered = false;
        self.backoff.switch_to(id, server);
        let url = self.server().to_owned();
        self.context.open(id, &url);
        self.keepalive.start(&self.context.config.timers, now);
    }

    /// The better server has not accepted REGISTER yet, and does not work or must not be waited for: returns to the
    /// connection that is still open. False: there is none.
    pub(super) fn return_to_previous_connection(&mut self, now: Millis) -> bool {
        let FailbackState::Registering { previous, previous_server } = self.failback.state else {
            return false;
        };
        if let Some(id) = self.context.transport {
            self.context.push(Output::CloseTransport { id });
        }
        self.use_connection(previous, previous_server, now);
        self.failback.failures = self.failback.failures.saturating_add(1);
        self.wait_for_better_server(now);
        // Where the servers share their bindings, the REGISTER has already moved ours (RFC 5626 §6.2).
        self.send_register(now);
        true
    }

    /// A connection was closed. False: it is not a second one.
    pub(super) fn on_second_connection_closed(&mut self, closed: TransportId, now: Millis) -> bool {
        match self.failback.state {
            FailbackState::Opening { id, .. } if id == closed => self.on_better_server_failed(now),
            FailbackState::Registering { previous, .. } if previous == closed => {
                // What follows for the one in use is the same as after any reconnect.
                self.failback = Failback::default();
                self.register_client.report_lost(&mut self.context);
            }
            _ => return false,
        }
        true
    }

    /// The connection in use is lost or given up.
    pub(super) fn stop_failback(&mut self) {
        if let Some(id) = self.failback.stop() {
            self.context.push(Output::CloseTransport { id });
        }
    }
}
