//! Is the connection alive, in both directions?
//!
//! A double CRLF asks for a single one (RFC 5626 §4.4.1, RFC 7118 §6). Servers
//! that never answer it are asked by OPTIONS, and remembered. Any response
//! proves both directions; a request from the far end proves only one, so it
//! does not count.

use serde::{Deserialize, Serialize};

use super::interface::{Limits, Millis};

/// Reply deadline when something smells: shorter than the person's patience.
const PROBE: u64 = 2_500;

#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct KeepAlive {
    /// When to ask next; None while there is no connection.
    ask_at: Option<Millis>,
    /// The question under way.
    asked: Option<Asked>,
    /// By server URL: does it answer CRLF?
    habits: Vec<(String, Habit)>,
    /// The server wants us to ask at least this often (`Flow-Timer`), in milliseconds.
    flow_timer: Option<u64>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Asked {
    by: Question,
    until: Millis,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Habit {
    AnswersCrlf,
    /// It let CRLF pass but answered OPTIONS.
    IgnoresCrlf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Question {
    Crlf,
    Options,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pulse {
    Ask(Question),
    Dead,
}

impl KeepAlive {
    pub(super) fn start(&mut self, limits: &Limits, now: Millis) {
        self.asked = None;
        self.flow_timer = None;
        self.ask_at = Some(now.plus(limits.ping));
    }

    pub(super) fn stop(&mut self) {
        self.ask_at = None;
        self.asked = None;
    }

    /// `Flow-Timer` in seconds (RFC 5626 §4.4): the server gives up a flow that is silent for longer.
    pub(super) fn limit(&mut self, seconds: u32) {
        self.flow_timer = Some(u64::from(seconds.max(10)) * 800);
    }

    /// Something smells: ask now, and do not wait long.
    pub(super) fn probe(&mut self, server: &str, now: Millis) -> Option<Pulse> {
        self.ask_at?;
        match &mut self.asked {
            Some(asked) => {
                asked.until = asked.until.min(now.plus(PROBE));
                None
            }
            None => Some(self.ask(self.question(server), now.plus(PROBE))),
        }
    }

    /// The far end answered: a CRLF, or a SIP response.
    pub(super) fn answered(&mut self, by: Question, server: &str, limits: &Limits, now: Millis) {
        if self.ask_at.is_none() {
            return;
        }
        match (by, self.asked.map(|asked| asked.by)) {
            (Question::Crlf, _) => self.learn(server, Habit::AnswersCrlf),
            (Question::Options, Some(Question::Options)) if self.habit(server) != Some(Habit::AnswersCrlf) => {
                self.learn(server, Habit::IgnoresCrlf);
            }
            _ => {}
        }
        self.asked = None;
        let pause = self.flow_timer.map_or(limits.ping, |flow| flow.min(limits.ping));
        self.ask_at = Some(now.plus(pause));
    }

    pub(super) fn deadline(&self) -> Option<Millis> {
        match self.asked {
            Some(asked) => Some(asked.until),
            None => self.ask_at,
        }
    }

    pub(super) fn due(&mut self, server: &str, limits: &Limits, now: Millis) -> Option<Pulse> {
        match self.asked {
            Some(asked) if asked.until <= now => {
                // Silence after the first CRLF may be the server's habit: ask in words before giving up.
                if asked.by == Question::Crlf && self.habit(server) != Some(Habit::AnswersCrlf) {
                    return Some(self.ask(Question::Options, now.plus(limits.pong)));
                }
                self.stop();
                Some(Pulse::Dead)
            }
            None if self.ask_at.is_some_and(|at| at <= now) => {
                Some(self.ask(self.question(server), now.plus(limits.pong)))
            }
            _ => None,
        }
    }

    fn ask(&mut self, by: Question, until: Millis) -> Pulse {
        self.asked = Some(Asked { by, until });
        Pulse::Ask(by)
    }

    fn question(&self, server: &str) -> Question {
        match self.habit(server) {
            Some(Habit::IgnoresCrlf) => Question::Options,
            _ => Question::Crlf,
        }
    }

    fn habit(&self, server: &str) -> Option<Habit> {
        self.habits.iter().find(|(url, _)| url == server).map(|(_, habit)| *habit)
    }

    fn learn(&mut self, server: &str, habit: Habit) {
        self.habits.retain(|(url, _)| url != server);
        self.habits.push((server.into(), habit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { register_seconds: 600, session_seconds: 0, ring: 0, recovery: 0, ping: 25_000, pong: 8_000 };

    #[test]
    fn a_server_that_answers_crlf_is_dead_when_it_stops() {
        let mut alive = KeepAlive::default();
        alive.start(&LIMITS, Millis(0));
        assert_eq!(alive.due("a", &LIMITS, Millis(24_999)), None);
        assert_eq!(alive.due("a", &LIMITS, Millis(25_000)), Some(Pulse::Ask(Question::Crlf)));
        alive.answered(Question::Crlf, "a", &LIMITS, Millis(25_010));
        assert_eq!(alive.due("a", &LIMITS, Millis(50_010)), Some(Pulse::Ask(Question::Crlf)));
        assert_eq!(alive.due("a", &LIMITS, Millis(58_009)), None);
        assert_eq!(alive.due("a", &LIMITS, Millis(58_010)), Some(Pulse::Dead));
    }

    #[test]
    fn a_server_that_ignores_crlf_is_asked_by_options_and_remembered() {
        let mut alive = KeepAlive::default();
        alive.start(&LIMITS, Millis(0));
        alive.due("a", &LIMITS, Millis(25_000));
        assert_eq!(alive.due("a", &LIMITS, Millis(33_000)), Some(Pulse::Ask(Question::Options)));
        alive.answered(Question::Options, "a", &LIMITS, Millis(33_010));
        // Also over a reconnect; another server is asked its own way.
        alive.start(&LIMITS, Millis(40_000));
        assert_eq!(alive.probe("a", Millis(40_000)), Some(Pulse::Ask(Question::Options)));
        alive.start(&LIMITS, Millis(40_000));
        assert_eq!(alive.probe("b", Millis(40_000)), Some(Pulse::Ask(Question::Crlf)));
    }

    #[test]
    fn silence_to_both_questions_is_death() {
        let mut alive = KeepAlive::default();
        alive.start(&LIMITS, Millis(0));
        alive.due("a", &LIMITS, Millis(25_000));
        alive.due("a", &LIMITS, Millis(33_000));
        assert_eq!(alive.due("a", &LIMITS, Millis(41_000)), Some(Pulse::Dead));
    }

    #[test]
    fn a_probe_asks_at_once_and_shortens_a_question_under_way() {
        let mut alive = KeepAlive::default();
        alive.start(&LIMITS, Millis(0));
        alive.answered(Question::Crlf, "a", &LIMITS, Millis(0));
        alive.due("a", &LIMITS, Millis(25_000));
        assert_eq!(alive.probe("a", Millis(25_100)), None);
        assert_eq!(alive.deadline(), Some(Millis(27_600)));
    }
}
