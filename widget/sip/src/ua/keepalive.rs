//! Is the connection alive, in both directions?
//!
//! A double CRLF asks for a single one (RFC 5626 §4.4.1, RFC 7118 §6). Servers
//! that never answer it are asked by OPTIONS, and remembered. Any response
//! proves both directions; a request from the far end proves only one, so it
//! does not count.

use serde::{Deserialize, Serialize};

use super::interface::{Millis, TimerConfig};

/// Reply deadline when something smells: shorter than the person's patience.
const QUICK_PROBE_TIMEOUT_MS: u64 = 2_500;

#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Keepalive {
    /// When to ask next; None while there is no connection.
    next_probe_at: Option<Millis>,
    /// The question under way.
    pending: Option<PendingProbe>,
    /// By server URL: does it answer CRLF?
    crlf_support: Vec<(String, CrlfSupport)>,
    /// The server wants us to ask at least this often (`Flow-Timer`), in milliseconds.
    flow_timer: Option<u64>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct PendingProbe {
    probe: KeepaliveProbe,
    deadline: Millis,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum CrlfSupport {
    AnswersCrlf,
    /// It let CRLF pass but answered OPTIONS.
    IgnoresCrlf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum KeepaliveProbe {
    Crlf,
    Options,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeepaliveAction {
    Send(KeepaliveProbe),
    Dead,
}

impl Keepalive {
    pub(super) fn start(&mut self, limits: &TimerConfig, now: Millis) {
        self.pending = None;
        self.flow_timer = None;
        self.next_probe_at = Some(now.plus(limits.ping));
    }

    pub(super) fn stop(&mut self) {
        self.next_probe_at = None;
        self.pending = None;
    }

    /// `Flow-Timer` in seconds (RFC 5626 §4.4): the server gives up a flow that is silent for longer.
    pub(super) fn set_flow_timer(&mut self, seconds: u32) {
        self.flow_timer = Some(u64::from(seconds.max(10)) * 800);
    }

    /// Something smells: ask now, and do not wait long.
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

    /// The far end answered: a CRLF, or a SIP response.
    pub(super) fn on_response(&mut self, probe: KeepaliveProbe, server: &str, limits: &TimerConfig, now: Millis) {
        if self.next_probe_at.is_none() {
            return;
        }
        match (probe, self.pending.map(|pending| pending.probe)) {
            (KeepaliveProbe::Crlf, _) => self.remember(server, CrlfSupport::AnswersCrlf),
            (KeepaliveProbe::Options, Some(KeepaliveProbe::Options))
                if self.support(server) != Some(CrlfSupport::AnswersCrlf) =>
            {
                self.remember(server, CrlfSupport::IgnoresCrlf);
            }
            _ => {}
        }
        self.pending = None;
        let pause = self.flow_timer.map_or(limits.ping, |flow| flow.min(limits.ping));
        self.next_probe_at = Some(now.plus(pause));
    }

    pub(super) fn deadline(&self) -> Option<Millis> {
        match self.pending {
            Some(pending) => Some(pending.deadline),
            None => self.next_probe_at,
        }
    }

    pub(super) fn due(&mut self, server: &str, limits: &TimerConfig, now: Millis) -> Option<KeepaliveAction> {
        match self.pending {
            Some(pending) if pending.deadline <= now => {
                // Silence after the first CRLF may be the server's habit: ask in words before giving up.
                if pending.probe == KeepaliveProbe::Crlf && self.support(server) != Some(CrlfSupport::AnswersCrlf) {
                    return Some(self.start_probe(KeepaliveProbe::Options, now.plus(limits.pong)));
                }
                self.stop();
                Some(KeepaliveAction::Dead)
            }
            None if self.next_probe_at.is_some_and(|at| at <= now) => {
                Some(self.start_probe(self.choose_probe(server), now.plus(limits.pong)))
            }
            _ => None,
        }
    }

    fn start_probe(&mut self, probe: KeepaliveProbe, until: Millis) -> KeepaliveAction {
        self.pending = Some(PendingProbe { probe, deadline: until });
        KeepaliveAction::Send(probe)
    }

    fn choose_probe(&self, server: &str) -> KeepaliveProbe {
        match self.support(server) {
            Some(CrlfSupport::IgnoresCrlf) => KeepaliveProbe::Options,
            _ => KeepaliveProbe::Crlf,
        }
    }

    fn support(&self, server: &str) -> Option<CrlfSupport> {
        self.crlf_support.iter().find(|(url, _)| url == server).map(|(_, support)| *support)
    }

    fn remember(&mut self, server: &str, support: CrlfSupport) {
        self.crlf_support.retain(|(url, _)| url != server);
        self.crlf_support.push((server.into(), support));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: TimerConfig =
        TimerConfig { register_seconds: 600, session_seconds: 0, ring: 0, recovery: 0, ping: 25_000, pong: 8_000 };

    #[test]
    fn a_server_that_answers_crlf_is_dead_when_it_stops() {
        let mut alive = Keepalive::default();
        alive.start(&LIMITS, Millis(0));
        assert_eq!(alive.due("a", &LIMITS, Millis(24_999)), None);
        assert_eq!(alive.due("a", &LIMITS, Millis(25_000)), Some(KeepaliveAction::Send(KeepaliveProbe::Crlf)));
        alive.on_response(KeepaliveProbe::Crlf, "a", &LIMITS, Millis(25_010));
        assert_eq!(alive.due("a", &LIMITS, Millis(50_010)), Some(KeepaliveAction::Send(KeepaliveProbe::Crlf)));
        assert_eq!(alive.due("a", &LIMITS, Millis(58_009)), None);
        assert_eq!(alive.due("a", &LIMITS, Millis(58_010)), Some(KeepaliveAction::Dead));
    }

    #[test]
    fn a_server_that_ignores_crlf_is_asked_by_options_and_remembered() {
        let mut alive = Keepalive::default();
        alive.start(&LIMITS, Millis(0));
        alive.due("a", &LIMITS, Millis(25_000));
        assert_eq!(alive.due("a", &LIMITS, Millis(33_000)), Some(KeepaliveAction::Send(KeepaliveProbe::Options)));
        alive.on_response(KeepaliveProbe::Options, "a", &LIMITS, Millis(33_010));
        // Also over a reconnect; another server is asked its own way.
        alive.start(&LIMITS, Millis(40_000));
        assert_eq!(alive.probe("a", Millis(40_000)), Some(KeepaliveAction::Send(KeepaliveProbe::Options)));
        alive.start(&LIMITS, Millis(40_000));
        assert_eq!(alive.probe("b", Millis(40_000)), Some(KeepaliveAction::Send(KeepaliveProbe::Crlf)));
    }

    #[test]
    fn silence_to_both_questions_is_death() {
        let mut alive = Keepalive::default();
        alive.start(&LIMITS, Millis(0));
        alive.due("a", &LIMITS, Millis(25_000));
        alive.due("a", &LIMITS, Millis(33_000));
        assert_eq!(alive.due("a", &LIMITS, Millis(41_000)), Some(KeepaliveAction::Dead));
    }

    #[test]
    fn a_probe_asks_at_once_and_shortens_a_question_under_way() {
        let mut alive = Keepalive::default();
        alive.start(&LIMITS, Millis(0));
        alive.on_response(KeepaliveProbe::Crlf, "a", &LIMITS, Millis(0));
        alive.due("a", &LIMITS, Millis(25_000));
        assert_eq!(alive.probe("a", Millis(25_100)), None);
        assert_eq!(alive.deadline(), Some(Millis(27_600)));
    }
}
