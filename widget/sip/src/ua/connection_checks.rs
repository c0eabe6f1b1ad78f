//! Whether the connection and the registration still work: keep-alive, and the checks that the driver asks for
//! because the network may have changed or the computer has slept.

use super::UserAgent;
use super::context::TransactionUser;
use super::interface::{Millis, RegisterFailure, RegisterFailureKind};
use super::keepalive::{KeepaliveAction, KeepaliveProbe};
use super::registration::RegistrationTimer;

impl UserAgent {
    pub(super) fn server(&self) -> &str {
        self.backoff.server(&self.context.config.servers).unwrap_or_default()
    }

    pub(super) fn on_keepalive_action(&mut self, action: KeepaliveAction, now: Millis) {
        match action {
            KeepaliveAction::Send(KeepaliveProbe::Crlf) => self.context.send(b"\r\n\r\n".to_vec()),
            KeepaliveAction::Send(KeepaliveProbe::Options) => {
                let mut uri = String::from("sip:");
                uri.push_str(&self.context.config.domain);
                let to = {
                    let mut to = String::from("<");
                    to.push_str(&uri);
                    to.push('>');
                    to
                };
                let template = self.context.template("OPTIONS", &uri, &to);
                self.context.request(template, TransactionUser::Nobody, now);
            }
            KeepaliveAction::Dead => {
                let failure = RegisterFailure { kind: RegisterFailureKind::ConnectionLost, status: None };
                self.close_transport(failure, now);
            }
        }
    }

    /// The connection may be lost: checks it now, or connects now.
    pub(super) fn probe(&mut self, now: Millis) {
        if !self.register_client.is_wanted() {
            return;
        }
        if self.backoff.is_waiting() {
            self.connect(now);
        } else if self.context.transport.is_some() {
            if !self.register_client.is_registered && !self.register_client.is_pending {
                // A retry of REGISTER is pending: send it now. Its response also proves the connection.
                self.send_register(now);
                return;
            }
            self.probe_connection(now);
        }
    }

    fn probe_connection(&mut self, now: Millis) {
        let server = self.server().to_owned();
        if let Some(action) = self.keepalive.probe(&server, now) {
            self.on_keepalive_action(action, now);
        }
    }

    /// The driver was stopped. The server has not waited: the connection may be gone, and the registration may have
    /// lapsed.
    pub(super) fn on_woke(&mut self, asleep_ms: u64, now: Millis) {
        if !self.register_client.is_wanted() {
            return;
        }
        if self.context.transport.is_none() {
            if self.backoff.is_waiting() && self.register_client.refusal().is_none() {
                self.connect(now);
            }
            return;
        }
        let is_over = |at: Option<Millis>| at.is_some_and(|at| at <= now.plus(asleep_ms));
        let is_due =
            self.register_client.is_registered || is_over(self.register_client.timers.at(RegistrationTimer::Register));
        if is_due && !self.register_client.is_pending {
            self.send_register(now);
        }
        if is_over(self.register_client.timers.at(RegistrationTimer::Lapse)) {
            self.on_lapsed(now);
        }
        self.probe_connection(now);
        for call in &mut self.calls {
            call.on_woke(&mut self.context, now);
        }
    }

    pub(super) fn on_online(&mut self, online: bool, now: Millis) {
        self.backoff.is_offline = !online;
        if online {
            self.try_better_server_now(now);
        }
        if online || self.context.transport.is_some() {
            self.probe(now);
        }
    }
}
