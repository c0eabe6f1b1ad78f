//! One request on its way to one or several devices: the stateful proxy's response context
//! (RFC 3261 section 16.7), with the client transactions of its branches.
//!
//! A pure state machine. WebSocket is a reliable transport, so nothing is retransmitted; timers
//! only decide when to give up.

use std::time::{Duration, Instant};

use bitcall_sip::message::{Header, Method, Request, Response};

use super::ConnectionId;

/// 64*T1: how long a branch may say nothing at all (timers B and F), and an ACK may take (timer H).
pub const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(32);
/// How long a phone may ring after its last sign of life (timer C: more than three minutes).
const TIMER_C: Duration = Duration::from_secs(185);

/// What has to be sent.
#[derive(Debug)]
pub enum Action {
    /// To the one who asked.
    Respond(Response),
    /// To a branch's device: ACK or CANCEL.
    Forward { to: ConnectionId, request: Request },
}

pub struct Branch {
    pub to: ConnectionId,
    /// As it was forwarded, without its body.
    request: Request,
    /// The Via we put on it.
    via: String,
    state: State,
    /// CANCEL is to be sent, with this Reason, as soon as it may be (section 9.1: not before a provisional response).
    cancel: Option<CancelReason>,
}

/// The Reason of a CANCEL (RFC 3326), if there is anything to say.
type CancelReason = Option<String>;

/// Lets the other phones of a call that was answered elsewhere not show it as missed.
const ANSWERED_ELSEWHERE_REASON: &str = "SIP;cause=200;text=\"Call completed elsewhere\"";

enum State {
    /// Nothing heard.
    Calling { until: Instant },
    /// A provisional response was heard.
    Proceeding { until: Instant },
    /// CANCEL was sent.
    Cancelled { until: Instant },
    /// A final response; kept while it may still be chosen.
    Finished(Option<Response>),
}

enum Phase {
    /// No final response was passed on.
    Open,
    /// A 2xx was passed on. Those of other branches may still follow it (RFC 6026).
    Accepted { until: Instant },
    /// Another final response was passed on; an INVITE's ACK is awaited.
    Rejected { until: Instant },
    /// The one who asked is gone; only the branches are tidied up.
    Abandoned,
}

pub struct Fork {
    /// As it was received, without its body: what answers are made from.
    request: Request,
    invite: bool,
    tag: String,
    branches: Vec<Branch>,
    phase: Phase,
    cancelled: bool,
}

impl Fork {
    /// `tag` goes into the answers that are made here.
    pub fn new(mut request: Request, tag: String) -> Self {
        request.clear_body();
        let invite = request.method() == Method::Invite;
        Self { request, invite, tag, branches: Vec::new(), phase: Phase::Open, cancelled: false }
    }

    /// The request was sent to a device; `via` is the Via it carries for this branch. Returns the branch's number.
    pub fn add_branch(&mut self, to: ConnectionId, mut request: Request, via: String, now: Instant) -> usize {
        request.clear_body();
        let state = State::Calling { until: now + TRANSACTION_TIMEOUT };
        self.branches.push(Branch { to, request, via, state, cancel: None });
        self.branches.len() - 1
    }

    pub fn branches(&self) -> &[Branch] {
        &self.branches
    }

    /// Whether nothing can follow any more.
    pub fn is_over(&self, now: Instant) -> bool {
        match self.phase {
            Phase::Open => false,
            // Over a reliable transport a 2xx is not lost, so that one from each branch is all that follows.
            Phase::Accepted { until } => self.all_finished() || now >= until,
            Phase::Rejected { until } => !self.invite || now >= until,
            Phase::Abandoned => self.all_finished(),
        }
    }

    fn all_finished(&self) -> bool {
        self.branches.iter().all(|branch| matches!(branch.state, State::Finished(_)))
    }

    /// When [`Fork::expire`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Accepted { until } | Phase::Rejected { until } => Some(until),
            Phase::Open | Phase::Abandoned => None,
        };
        let branches = self.branches.iter().filter_map(|branch| match branch.state {
            State::Calling { until } | State::Proceeding { until } | State::Cancelled { until } => Some(until),
            State::Finished(_) => None,
        });
        branches.chain(phase).min()
    }

    /// A response arrived on a branch; our Via has been taken off it.
    pub fn response(&mut self, branch: usize, response: Response, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        let invite = self.invite;
        let Some(state) = self.branches.get_mut(branch) else { return actions };
        if response.is_provisional() {
            let until = if invite { now + TIMER_C } else { now + TRANSACTION_TIMEOUT };
            match state.state {
                State::Calling { .. } => {
                    state.state = State::Proceeding { until };
                    if let Some(reason) = state.cancel.take() {
                        state.send_cancel(reason.as_deref(), now, &mut actions);
                    }
                }
                State::Proceeding { .. } if invite => state.state = State::Proceeding { until },
                _ => {}
            }
            if response.status() != 100 && invite && matches!(self.phase, Phase::Open) {
                actions.push(Action::Respond(response));
            }
            return actions;
        }
        if response.is_success() {
            state.state = State::Finished(None);
            match self.phase {
                Phase::Open => {
                    self.phase = Phase::Accepted { until: now + TRANSACTION_TIMEOUT };
                    actions.push(Action::Respond(response));
                    self.cancel_branches(Some(ANSWERED_ELSEWHERE_REASON), now, &mut actions);
                }
                // Every 2xx to an INVITE reaches the caller, who ends the calls it does not want (section 16.7 step 5).
                Phase::Accepted { .. } | Phase::Rejected { .. } if invite => actions.push(Action::Respond(response)),
                _ => {}
            }
            return actions;
        }
        if invite {
            actions.push(Action::Forward { to: state.to, request: state.ack(&response) });
        }
        if matches!(state.state, State::Finished(_)) {
            return actions;
        }
        // 6xx speaks for the person, not for one device (section 16.7 step 5).
        let everywhere = (response.status() >= 600).then(|| format!("SIP;cause={}", response.status()));
        state.state = State::Finished(Some(response));
        if everywhere.is_some() && matches!(self.phase, Phase::Open) {
            self.cancel_branches(everywhere.as_deref(), now, &mut actions);
        }
        self.choose(now, &mut actions);
        actions
    }

    /// The caller sent CANCEL, perhaps with a Reason.
    pub fn cancel(&mut self, reason: Option<&str>, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.invite && matches!(self.phase, Phase::Open) {
            self.cancelled = true;
            self.cancel_branches(reason, now, &mut actions);
            self.choose(now, &mut actions);
        }
        actions
    }

    /// The one who asked is gone.
    pub fn abandon(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.invite && matches!(self.phase, Phase::Open) {
            self.cancel_branches(None, now, &mut actions);
        }
        self.phase = Phase::Abandoned;
        actions
    }

    /// The ACK to a rejected INVITE arrived.
    pub fn acknowledged(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Rejected { .. }) {
            self.phase = Phase::Rejected { until: now };
        }
    }

    /// A connection is gone: what was asked on it is not answered any more.
    pub fn connection_lost(&mut self, connection: ConnectionId, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        for index in 0..self.branches.len() {
            let lost = self.branches.get(index).is_some_and(|branch| branch.to == connection);
            if lost {
                self.give_up(index, 480, "Temporarily Unavailable");
            }
        }
        self.choose(now, &mut actions);
        actions
    }

    /// Lets time pass.
    pub fn expire(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        for index in 0..self.branches.len() {
            let Some(branch) = self.branches.get_mut(index) else { continue };
            match branch.state {
                State::Calling { until } | State::Cancelled { until } if until <= now => {
                    self.give_up(index, 408, "Request Timeout");
                }
                State::Proceeding { until } if until <= now => {
                    if self.invite {
                        branch.send_cancel(None, now, &mut actions);
                    } else {
                        self.give_up(index, 408, "Request Timeout");
                    }
                }
                _ => {}
            }
        }
        self.choose(now, &mut actions);
        actions
    }

    fn give_up(&mut self, index: usize, status: u16, reason: &str) {
        let (status, reason) = if self.cancelled { (487, "Request Terminated") } else { (status, reason) };
        let response = self.request.response(status, reason, Some(&self.tag));
        if let Some(branch) = self.branches.get_mut(index)
            && !matches!(branch.state, State::Finished(_))
        {
            branch.state = State::Finished(Some(response));
        }
    }

    fn cancel_branches(&mut self, reason: Option<&str>, now: Instant, actions: &mut Vec<Action>) {
        if !self.invite {
            return;
        }
        for branch in &mut self.branches {
            match branch.state {
                State::Calling { .. } => branch.cancel = Some(reason.map(str::to_owned)),
                State::Proceeding { .. } => branch.send_cancel(reason, now, actions),
                State::Cancelled { .. } | State::Finished(_) => {}
            }
        }
    }

    /// Passes the best response on once all branches have one (section 16.7 steps 6 to 8).
    fn choose(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if !matches!(self.phase, Phase::Open) || !self.all_finished() {
            return;
        }
        let cancelled = self.cancelled;
        let responses: Vec<Response> = self
            .branches
            .iter_mut()
            .filter_map(|branch| match &mut branch.state {
                State::Finished(response) => response.take(),
                _ => None,
            })
            .collect();
        let best = responses.iter().enumerate().min_by_key(|(_, response)| rank(response.status(), cancelled));
        self.phase = Phase::Rejected { until: now + TRANSACTION_TIMEOUT };
        let Some((chosen, best)) = best else { return };
        let mut answer = best.clone();
        // 503 would make the caller avoid this proxy, and 408 to anything but INVITE comes too late to be of use (RFC 4320).
        if answer.status() == 503 {
            answer = self.request.response(500, "Server Internal Error", Some(&self.tag));
        } else if answer.status() == 408 && !self.invite {
            return;
        }
        if matches!(answer.status(), 401 | 407) {
            for (_, other) in responses.iter().enumerate().filter(|(index, _)| *index != chosen) {
                for header in [Header::WwwAuthenticate, Header::ProxyAuthenticate] {
                    for challenge in other.values(header) {
                        answer.append(header, challenge);
                    }
                }
            }
        }
        actions.push(Action::Respond(answer));
    }
}

/// The lower, the better: 6xx first, then by class; within the 4xx first what lets the caller try again, and what a person
/// understands before what only says that a device was silent.
fn rank(status: u16, cancelled: bool) -> (u16, u16) {
    let class = match status {
        487 if cancelled => 0,
        600.. => 1,
        _ => status / 100,
    };
    let within = match status {
        401 | 407 | 415 | 420 | 484 => 0,
        486 => 1,
        408 | 480 | 487 => 3,
        _ => 2,
    };
    (class, within)
}

impl Branch {
    fn send_cancel(&mut self, reason: Option<&str>, now: Instant, actions: &mut Vec<Action>) {
        let mut request = self.like_invite(Method::Cancel, self.request.value(Header::To).unwrap_or_default());
        if let Some(reason) = reason {
            request.append(Header::Reason, reason);
        }
        self.state = State::Cancelled { until: now + TRANSACTION_TIMEOUT };
        actions.push(Action::Forward { to: self.to, request });
    }

    /// The ACK to a final response that is not a 2xx (section 17.1.1.3).
    fn ack(&self, response: &Response) -> Request {
        self.like_invite(Method::Ack, response.value(Header::To).unwrap_or_default())
    }

    fn like_invite(&self, method: Method<'_>, to: &str) -> Request {
        let invite = &self.request;
        let mut request = Request::new(method, invite.uri_text());
        request.append(Header::Via, &self.via);
        request.append(Header::MaxForwards, "70");
        for header in [Header::From, Header::CallId] {
            request.append(header, invite.value(header).unwrap_or_default());
        }
        request.append(Header::To, to);
        let number = invite.cseq().map_or(0, |cseq| cseq.number);
        request.append(Header::CSeq, &format!("{number} {method}"));
        for route in invite.values(Header::Route) {
            request.append(Header::Route, route);
        }
        request
    }
}
