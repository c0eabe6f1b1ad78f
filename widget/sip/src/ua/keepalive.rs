//! Keep-alive: checks that the connection works in both directions.
//!
//! A double CRLF is answered with a single one (RFC 5626 §4.4.1, RFC 7118 §6). A server
//! that does not answer it is probed by OPTIONS; this is stored per server. Any response
//! proves both directions; a request from the server proves only one, so it does not count.

use serde::{Deserialize, Serialize};

use super::interface::{Millis, TimerConfig};

/// Time-out of a probe when the connection may be lost, e.g. because the user pressed "Retry".
const QUICK_PROBE_TIMEOUT_MS: u64 = 2_500;

#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Keepalive {
    /// Time of the next probe; None without a connection.
    next_probe_at: Option<Millis>,
    /// The probe that is not answered yet.
    pending: Option<PendingProbe>,
    /// Whether a server answers CRLF, by server URL.
    crlf_support: Vec<(String, CrlfSupport)>,
    /// Longest interval between probes according to the server's `Flow-Timer`.
    flow_timer_ms: Option<u64>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct PendingProbe {
    probe: KeepaliveProbe,
    deadline: Millis,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum CrlfSupport {
    AnswersCrlf,
    /// It did not answer CRLF but answered OPTIONS.
    IgnoresCrlf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum KeepaliveProbe {
    Crlf,
    Options,
}

/// What the caller must do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeepaliveAction {
    Send(KeepaliveProbe),
    Dead,
}

impl Keepalive {
    pub(super) fn start(&mut self, timers: &TimerConfig, now: Millis) {
        self.pending = None;
        self.flow_timer_ms = None;
        self.next_probe_at = Some(now.plus(timers.keepalive_interval_ms));
    }

    pub(super) fn stop(&mut self) {
        self.next_probe_at = None;
        self.pending = None;
    }

    /// `Flow-Timer` in seconds (RFC 5626 §4.4): the server closes a connection that is idle for longer. Probes are sent at 80 % of it.
    pub(super) fn set_flow_timer(&mut self, seconds: u32) {
        self.flow_timer_ms = Some(u64::from(seconds.max(10)) * 800);
    }

    /// The connection may be lost: probe now, with a short time-out.
    pub(super) fn probe(&mut self, server: &str, now: Millis) -> Option<KeepaliveAction> {
        self.next_probe_at?;
        match &mut self.pending {
            Some(pending) => {
                pending.deadline = pending.deadline.min(now.plus(QUICK_PROBE_TIMEOUT_MS));
                None
            }
            None => Some(self.start_probe(self.choose_probe(server), now.plus(QUICK_PROBE_TIMEOUT_MS))),
        }
    }

    /// A CRLF or a SIP response was received.
    pub(super) fn on_response(&mut self, probe: KeepaliveProbe, server: &str, timers: &TimerConfig, now: Millis) {
        if self.next_probe_at.is_none() {
            return;
        }
        match (probe, self.pending.map(|pending| pending.probe)) {
            (KeepaliveProbe::Crlf, _) => self.set_crlf_support(server, CrlfSupport::AnswersCrlf),
            (KeepaliveProbe::Options, Some(KeepaliveProbe::Options))
                if self.crlf_support_of(server) != Some(CrlfSupport::AnswersCrlf) =>
            {
                self.set_crlf_support(server, CrlfSupport::IgnoresCrlf);
            }
            _ => {}
        }
        self.pending = None;
        let interval_ms = self
            .flow_timer_ms
            .map_or(timers.keepalive_interval_ms, |flow_timer_ms| flow_timer_ms.min(timers.keepalive_interval_ms));
        self.next_probe_at = Some(now.plus(interval_ms));
    }

    pub(super) fn deadline(&self) -> Option<Millis> {
        match self.pending {
            Some(pending) => Some(pending.deadline),
            None => self.next_probe_at,
        }
    }

    pub(super) fn due(&mut self, server: &str, timers: &TimerConfig, now: Millis) -> Option<KeepaliveAction> {
        match self.pending {
            Some(pending) if pending.deadline <= now => {
                // The server may not support CRLF keep-alive: probe by OPTIONS before the connection counts as dead.
                if pending.probe == KeepaliveProbe::Crlf
                    && self.crlf_support_of(server) != Some(CrlfSupport::AnswersCrlf)
                {
                    return Some(self.start_probe(KeepaliveProbe::Options, now.plus(timers.keepalive_timeout_ms)));
                }
                self.stop();
                Some(KeepaliveAction::Dead)
            }
            None if self.next_probe_at.is_some_and(|at| at <= now) => {
                Some(self.start_probe(self.choose_probe(server), now.plus(timers.keepalive_timeout_ms)))
            }
            _ => None,
        }
    }

    fn start_probe(&mut self, probe: KeepaliveProbe, until: Millis) -> KeepaliveAction {
        self.pending = Some(PendingProbe { probe, deadline: until });
        KeepaliveAction::Send(probe)
    }

    fn choose_probe(&self, server: &str) -> KeepaliveProbe {
        match self.crlf_support_of(server) {
            Some(CrlfSupport::IgnoresCrlf) => KeepaliveProbe::Options,
            _ => KeepaliveProbe::Crlf,
        }
    }

    fn crlf_support_of(&self, server: &str) -> Option<CrlfSupport> {
        self.crlf_support.iter().find(|(url, _)| url == server).map(|(_, support)| *support)
    }

    fn set_crlf_support(&mut self, server: &str, support: CrlfSupport) {
        self.crlf_support.retain(|(url, _)| url != server);
        self.crlf_support.push((server.into(), support));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMERS: TimerConfig = TimerConfig {
        register_expires_seconds: 600,
        session_expires_seconds: 0,
        ring_timeout_ms: 0,
        recovery_timeout_ms: 0,
        keepalive_interval_ms: 25_000,
        keepalive_timeout_ms: 8_000,
    };

    #[test]
    fn a_server_that_stops_answering_crlf_is_dead() {
        let mut keepalive = Keepalive::default();
        keepalive.start(&TIMERS, Millis(0));
        assert_eq!(keepalive.due("a", &TIMERS, Millis(24_999)), None);
        assert_eq!(keepalive.due("a", &TIMERS, Millis(25_000)), Some(KeepaliveAction::Send(KeepaliveProbe::Crlf)));
        keepalive.on_response(KeepaliveProbe::Crlf, "a", &TIMERS, Millis(25_010));
        assert_eq!(keepalive.due("a", &TIMERS, Millis(50_010)), Some(KeepaliveAction::Send(KeepaliveProbe::Crlf)));
        assert_eq!(keepalive.due("a", &TIMERS, Millis(58_009)), None);
        assert_eq!(keepalive.due("a", &TIMERS, Millis(58_010)), Some(KeepaliveAction::Dead));
    }

    #[test]
    fn a_server_that_ignores_crlf_is_probed_by_options_from_then_on() {
        let mut keepalive = Keepalive::default();
        keepalive.start(&TIMERS, Millis(0));
        keepalive.due("a", &TIMERS, Millis(25_000));
        assert_eq!(keepalive.due("a", &TIMERS, Millis(33_000)), Some(KeepaliveAction::Send(KeepaliveProbe::Options)));
        keepalive.on_response(KeepaliveProbe::Options, "a", &TIMERS, Millis(33_010));
        // The result is kept after a reconnect and is separate for each server.
        keepalive.start(&TIMERS, Millis(40_000));
        assert_eq!(keepalive.probe("a", Millis(40_000)), Some(KeepaliveAction::Send(KeepaliveProbe::Options)));
        keepalive.start(&TIMERS, Millis(40_000));
        assert_eq!(keepalive.probe("b", Millis(40_000)), Some(KeepaliveAction::Send(KeepaliveProbe::Crlf)));
    }

    #[test]
    fn a_server_that_answers_neither_crlf_nor_options_is_dead() {
        let mut keepalive = Keepalive::default();
        keepalive.start(&TIMERS, Millis(0));
        keepalive.due("a", &TIMERS, Millis(25_000));
        keepalive.due("a", &TIMERS, Millis(33_000));
        assert_eq!(keepalive.due("a", &TIMERS, Millis(41_000)), Some(KeepaliveAction::Dead));
    }

    #[test]
    fn a_quick_probe_shortens_the_deadline_of_a_pending_probe() {
        let mut keepalive = Keepalive::default();
        keepalive.start(&TIMERS, Millis(0));
        keepalive.on_response(KeepaliveProbe::Crlf, "a", &TIMERS, Millis(0));
        keepalive.due("a", &TIMERS, Millis(25_000));
        assert_eq!(keepalive.probe("a", Millis(25_100)), None);
        assert_eq!(keepalive.deadline(), Some(Millis(27_600)));
    }
}
