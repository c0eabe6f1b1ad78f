//! When a description is good enough to be sent.
//!
//! There is no trickle ICE with SIP servers, so a description must hold its
//! candidates. Browsers say "complete" after 135 ms at best and after 40 s at
//! worst (an unreachable STUN server, a VPN interface), while the last useful
//! candidate is there after about 12 ms. So: the first server-reflexive or
//! relayed candidate sends; without servers, a few quiet milliseconds after
//! the last host candidate do; nothing waits longer than [`PATIENCE_MS`] after
//! the first host candidate.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use wasm_bindgen::JsCast;
use web_sys::{RtcPeerConnection, RtcPeerConnectionIceEvent};

use crate::browser::{Listener, Signal, Timer};

/// Candidates of several interfaces come in one burst; this long after the last one it is over.
const QUIET_MS: i32 = 6;
/// With ICE servers: how long they may take after the first host candidate.
const PATIENCE_MS: i32 = 700;
/// A machine without any network has loopback candidates only.
const LOOPBACK_MS: i32 = 60;
/// No candidate at all (no network, or all of it filtered): then the description goes as it is.
const NOTHING_MS: i32 = 2_000;

/// What the browser told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// Reachable from this machine only.
    Loopback,
    Host,
    /// Server-reflexive, peer-reflexive or relayed.
    Beyond,
    Complete,
}

/// What follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Send,
    /// Send after so many milliseconds, if nothing else comes; replaces an earlier wait.
    WaitAgain(i32),
    KeepWaiting,
}

/// The rule, without a browser.
#[derive(Clone, Copy, Debug)]
struct Rule {
    /// STUN or TURN servers are configured.
    servers: bool,
    hosts: u32,
}

impl Rule {
    fn step(&mut self, found: Found) -> Then {
        match found {
            Found::Beyond | Found::Complete => Then::Send,
            // The others are on their way; alone it would make a call without sound.
            Found::Loopback if self.hosts == 0 => Then::WaitAgain(LOOPBACK_MS),
            Found::Loopback => Then::KeepWaiting,
            Found::Host => {
                self.hosts += 1;
                match (self.servers, self.hosts) {
                    (false, _) => Then::WaitAgain(QUIET_MS),
                    (true, 1) => Then::WaitAgain(PATIENCE_MS),
                    (true, _) => Then::KeepWaiting,
                }
            }
        }
    }
}

/// Watches one gathering. Start it before `setLocalDescription`.
pub struct Gathering {
    enough: Signal,
    _candidates: Listener,
    _timer: Rc<RefCell<Option<Timer>>>,
}

impl Gathering {
    pub fn watch(connection: &RtcPeerConnection, servers: bool) -> Gathering {
        let enough = Signal::untold();
        let timer = Rc::new(RefCell::new(Some(Timer::after(NOTHING_MS, {
            let enough = enough.clone();
            move || enough.tell()
        }))));
        let rule = Cell::new(Rule { servers, hosts: 0 });
        let candidates = Listener::new(connection, "icecandidate", {
            let enough = enough.clone();
            let timer = Rc::clone(&timer);
            move |event| {
                let candidate = event
                    .unchecked_into::<RtcPeerConnectionIceEvent>()
                    .candidate()
                    .map(|candidate| candidate.candidate());
                let mut now = rule.get();
                let then = now.step(kind(candidate.as_deref()));
                rule.set(now);
                match then {
                    Then::Send => enough.tell(),
                    Then::WaitAgain(milliseconds) => {
                        let enough = enough.clone();
                        *timer.borrow_mut() = Some(Timer::after(milliseconds, move || enough.tell()));
                    }
                    Then::KeepWaiting => {}
                }
            }
        });
        Gathering { enough, _candidates: candidates, _timer: timer }
    }

    pub async fn enough(&self) {
        self.enough.wait().await;
    }
}

/// Reads a `candidate` attribute (RFC 8839 §5.1); none, or an empty one, ends the gathering.
fn kind(candidate: Option<&str>) -> Found {
    match candidate {
        None | Some("") => Found::Complete,
        Some(line) => {
            let mut words = line.split_ascii_whitespace();
            let address = words.nth(4).unwrap_or_default();
            let loopback = address.starts_with("127.") || address == "::1";
            match words.by_ref().find(|word| *word == "typ") {
                Some(_) if words.next() != Some("host") => Found::Beyond,
                _ if loopback => Found::Loopback,
                _ => Found::Host,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "candidate:1 1 udp 2122260223 192.0.2.7 50000 typ host generation 0";
    const REFLEXIVE: &str = "candidate:2 1 udp 1686052607 198.51.100.9 50000 typ srflx raddr 0.0.0.0 rport 0";

    #[test]
    fn without_servers_a_quiet_moment_after_the_last_host_candidate_sends() {
        let mut rule = Rule { servers: false, hosts: 0 };
        assert_eq!(rule.step(kind(Some(HOST))), Then::WaitAgain(QUIET_MS));
        assert_eq!(rule.step(kind(Some(HOST))), Then::WaitAgain(QUIET_MS));
    }

    #[test]
    fn a_loopback_candidate_alone_does_not_send_while_others_are_on_their_way() {
        let loopback = HOST.replace("192.0.2.7", "127.0.0.1");
        let mut rule = Rule { servers: false, hosts: 0 };
        assert_eq!(rule.step(kind(Some(&loopback))), Then::WaitAgain(LOOPBACK_MS));
        assert_eq!(rule.step(kind(Some(HOST))), Then::WaitAgain(QUIET_MS));
        assert_eq!(rule.step(kind(Some(&loopback))), Then::KeepWaiting);
    }

    #[test]
    fn with_servers_the_first_candidate_from_beyond_the_nat_sends() {
        let mut rule = Rule { servers: true, hosts: 0 };
        assert_eq!(rule.step(kind(Some(HOST))), Then::WaitAgain(PATIENCE_MS));
        // A second interface must not push the deadline out.
        assert_eq!(rule.step(kind(Some(HOST))), Then::KeepWaiting);
        assert_eq!(rule.step(kind(Some(REFLEXIVE))), Then::Send);
    }

    #[test]
    fn the_end_of_gathering_sends() {
        let mut rule = Rule { servers: true, hosts: 0 };
        assert_eq!(rule.step(kind(None)), Then::Send);
        assert_eq!(kind(Some("")), Found::Complete);
    }
}
