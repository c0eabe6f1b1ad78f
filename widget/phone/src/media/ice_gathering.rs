//! When a session description has enough candidates to be sent.
//!
//! SIP servers do not support trickle ICE, so a description must contain its candidates. Browsers report the
//! end of gathering after 135 ms at best and after 40 s at worst (unreachable STUN server, VPN interface),
//! while the last useful candidate arrives after about 12 ms (measured). Therefore the first
//! server-reflexive or relayed candidate is enough; without ICE servers, a pause after the last host
//! candidate is. With ICE servers nothing waits longer than [`SERVER_CANDIDATES_TIMEOUT_MS`] after the first
//! host candidate.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use wasm_bindgen::JsCast;
use web_sys::{RtcPeerConnection, RtcPeerConnectionIceEvent};

use crate::browser::{BrowserTimer, Completion, EventListener};

/// Host candidates of several interfaces arrive in one burst. A pause of this length means that the burst is
/// over.
const HOST_CANDIDATES_IDLE_MS: i32 = 6;
/// With ICE servers: how long reflexive and relayed candidates may take after the first host candidate.
const SERVER_CANDIDATES_TIMEOUT_MS: i32 = 700;
/// How long to wait for other candidates after a loopback candidate. A machine without a network has no
/// others.
const LOOPBACK_ONLY_TIMEOUT_MS: i32 = 60;
/// Without any candidate (no network, or all are filtered) the description is sent as it is after this time.
const NO_CANDIDATES_TIMEOUT_MS: i32 = 2_000;

/// A candidate, or the end of gathering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CandidateKind {
    /// Reachable from this machine only.
    Loopback,
    Host,
    /// Server-reflexive, peer-reflexive or relayed.
    ReflexiveOrRelayed,
    EndOfCandidates,
}

/// What to do after a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GatheringStep {
    SendNow,
    /// Send after so many milliseconds unless another step follows. Replaces a running timer.
    RestartTimer(i32),
    KeepWaiting,
}

/// Decides after which candidate a description is sent. Needs no browser.
#[derive(Clone, Copy, Debug)]
struct SendRule {
    /// STUN or TURN servers are configured.
    has_servers: bool,
    host_candidates: u32,
}

impl SendRule {
    fn on_candidate(&mut self, kind: CandidateKind) -> GatheringStep {
        match kind {
            CandidateKind::ReflexiveOrRelayed | CandidateKind::EndOfCandidates => GatheringStep::SendNow,
            // Other candidates may follow. A description with only this one would make a call without
            // audio.
            CandidateKind::Loopback if self.host_candidates == 0 => {
                GatheringStep::RestartTimer(LOOPBACK_ONLY_TIMEOUT_MS)
            }
            CandidateKind::Loopback => GatheringStep::KeepWaiting,
            CandidateKind::Host => {
                self.host_candidates += 1;
                match (self.has_servers, self.host_candidates) {
                    (false, _) => GatheringStep::RestartTimer(HOST_CANDIDATES_IDLE_MS),
                    (true, 1) => GatheringStep::RestartTimer(SERVER_CANDIDATES_TIMEOUT_MS),
                    (true, _) => GatheringStep::KeepWaiting,
                }
            }
        }
    }
}

/// Observes one gathering. Start it before `setLocalDescription`.
pub struct IceGathering {
    enough: Completion,
    _candidates: EventListener,
    _timer: Rc<RefCell<Option<BrowserTimer>>>,
}

impl IceGathering {
    pub fn start(connection: &RtcPeerConnection, has_servers: bool) -> IceGathering {
        let enough = Completion::pending();
        let timer = Rc::new(RefCell::new(Some(BrowserTimer::after(NO_CANDIDATES_TIMEOUT_MS, {
            let enough = enough.clone();
            move || enough.complete()
        }))));
        let rule = Cell::new(SendRule { has_servers, host_candidates: 0 });
        let candidates = EventListener::new(connection, "icecandidate", {
            let enough = enough.clone();
            let timer = Rc::clone(&timer);
            move |event| {
                let candidate = event
                    .unchecked_into::<RtcPeerConnectionIceEvent>()
                    .candidate()
                    .map(|candidate| candidate.candidate());
                let mut now = rule.get();
                let step = now.on_candidate(parse_candidate(candidate.as_deref()));
                rule.set(now);
                match step {
                    GatheringStep::SendNow => enough.complete(),
                    GatheringStep::RestartTimer(milliseconds) => {
                        let enough = enough.clone();
                        *timer.borrow_mut() = Some(BrowserTimer::after(milliseconds, move || enough.complete()));
                    }
                    GatheringStep::KeepWaiting => {}
                }
            }
        });
        IceGathering { enough, _candidates: candidates, _timer: timer }
    }

    pub async fn ready(&self) {
        self.enough.wait().await;
    }
}

/// Reads a `candidate` attribute (RFC 8839 §5.1); none, or an empty one, ends the gathering.
fn parse_candidate(candidate: Option<&str>) -> CandidateKind {
    match candidate {
        None | Some("") => CandidateKind::EndOfCandidates,
        Some(line) => {
            let mut words = line.split_ascii_whitespace();
            let address = words.nth(4).unwrap_or_default();
            let loopback = address.starts_with("127.") || address == "::1";
            match words.by_ref().find(|word| *word == "typ") {
                Some(_) if words.next() != Some("host") => CandidateKind::ReflexiveOrRelayed,
                _ if loopback => CandidateKind::Loopback,
                _ => CandidateKind::Host,
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
    fn without_ice_servers_gathering_ends_shortly_after_the_last_host_candidate() {
        let mut rule = SendRule { has_servers: false, host_candidates: 0 };
        assert_eq!(
            rule.on_candidate(parse_candidate(Some(HOST))),
            GatheringStep::RestartTimer(HOST_CANDIDATES_IDLE_MS)
        );
        assert_eq!(
            rule.on_candidate(parse_candidate(Some(HOST))),
            GatheringStep::RestartTimer(HOST_CANDIDATES_IDLE_MS)
        );
    }

    #[test]
    fn a_loopback_candidate_alone_does_not_end_gathering() {
        let loopback = HOST.replace("192.0.2.7", "127.0.0.1");
        let mut rule = SendRule { has_servers: false, host_candidates: 0 };
        assert_eq!(
            rule.on_candidate(parse_candidate(Some(&loopback))),
            GatheringStep::RestartTimer(LOOPBACK_ONLY_TIMEOUT_MS)
        );
        assert_eq!(
            rule.on_candidate(parse_candidate(Some(HOST))),
            GatheringStep::RestartTimer(HOST_CANDIDATES_IDLE_MS)
        );
        assert_eq!(rule.on_candidate(parse_candidate(Some(&loopback))), GatheringStep::KeepWaiting);
    }

    #[test]
    fn with_ice_servers_the_first_reflexive_candidate_ends_gathering() {
        let mut rule = SendRule { has_servers: true, host_candidates: 0 };
        assert_eq!(
            rule.on_candidate(parse_candidate(Some(HOST))),
            GatheringStep::RestartTimer(SERVER_CANDIDATES_TIMEOUT_MS)
        );
        // A second interface must not push the deadline out.
        assert_eq!(rule.on_candidate(parse_candidate(Some(HOST))), GatheringStep::KeepWaiting);
        assert_eq!(rule.on_candidate(parse_candidate(Some(REFLEXIVE))), GatheringStep::SendNow);
    }

    #[test]
    fn the_browsers_end_of_gathering_ends_gathering() {
        let mut rule = SendRule { has_servers: true, host_candidates: 0 };
        assert_eq!(rule.on_candidate(parse_candidate(None)), GatheringStep::SendNow);
        assert_eq!(parse_candidate(Some("")), CandidateKind::EndOfCandidates);
    }
}
