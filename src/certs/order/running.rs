//! The part of a course in which the authority has an order.

use std::time::Duration;

use super::{
    AcmeError, Answer, AuthorizationStatus, AuthorizationView, Collected, CurrentCertificate, Effect, Event, Kind,
    Method, OrderStatus, OrderView, PlacedOrder, State, Step, WaitReason, rest,
};
use crate::certs::progress::Facts;
use crate::certs::schedule;

/// How long an authority may think over our answers. Those that retry by themselves do so for a while.
const VALIDATION_TIMEOUT: Duration = Duration::from_mins(10);
/// How long making a certificate is nothing unusual.
const NORMAL_PROCESSING_TIME: Duration = Duration::from_secs(12);
const PROCESSING_TIMEOUT: Duration = Duration::from_hours(24);
const MAX_COLLECT_ATTEMPTS: u32 = 20;
/// The first wait after a request that broke off.
const FIRST_RETRY_DELAY: Duration = Duration::from_secs(1);
/// Up to this long, the order just goes on later.
const MAX_IN_PLACE_WAIT: Duration = Duration::from_secs(20);

impl Step<'_> {
    /// An order was placed.
    pub(super) fn placed(&mut self, directory: String, view: &OrderView) -> State {
        let placed = PlacedOrder {
            directory,
            url: view.url.clone(),
            at: self.moment.now,
            names: self.rules.names(&self.course.wanted),
            key: None,
            finalized_at: None,
            told: 0,
            verdict: None,
            answered_at: None,
            polls: 0,
            stumbles: 0,
        };
        self.review(placed, view)
    }

    pub(super) fn running(&mut self, state: State, event: Event) -> State {
        let now = self.moment.now;
        match (state, event) {
            (State::Reviewing { placed, .. }, Event::Order(view)) => self.review(placed, &view),
            (State::Finalizing { mut placed }, Event::Order(view)) => {
                placed.finalized_at = Some(now);
                self.review(placed, &view)
            }
            (State::Authorizing { placed }, Event::Authorizations(found)) => self.authorize(placed, &found),
            (State::Answering { mut placed, .. }, Event::Answered) => {
                (placed.answered_at, placed.polls) = (Some(now), 0);
                self.look_again(placed, None)
            }
            (State::Keying { mut placed }, Event::KeyMade(key)) => {
                placed.key = Some(key);
                State::Finalizing { placed }
            }
            (State::Collecting { placed, .. }, Event::Collected(collected)) => self.collected(&placed, collected),
            // Made, but not to be had at once.
            (State::Collecting { mut placed, .. }, Event::Failed(trouble))
                if trouble.kind == Kind::Missing && placed.polls < MAX_COLLECT_ATTEMPTS =>
            {
                placed.polls += 1;
                let at = now.after(schedule::poll(placed.polls, trouble.retry_after));
                State::Collecting { placed, at }
            }
            (State::Finalizing { placed }, Event::Failed(trouble)) if trouble.kind == Kind::NotReady => {
                self.look_again(placed, trouble.retry_after)
            }
            (state, Event::Failed(trouble)) => match placed_in(state) {
                Ok(placed) => self.stumbled(placed, &trouble),
                Err(state) => state,
            },
            // Came too late to matter.
            (state, _) => state,
        }
    }

    /// How the order stands decides what to do next.
    fn review(&mut self, mut placed: PlacedOrder, view: &OrderView) -> State {
        let now = self.moment.now;
        placed.stumbles = 0;
        if matches!(view.status, OrderStatus::Ready | OrderStatus::Processing | OrderStatus::Valid) {
            placed.told = 0;
        }
        match view.status {
            OrderStatus::Pending if placed.answered_at.is_none() => State::Authorizing { placed },
            OrderStatus::Pending => {
                let overdue = placed.answered_at.is_some_and(|at| at.until(now) > VALIDATION_TIMEOUT);
                if overdue {
                    let message =
                        "The certificate authority accepted the answers to its challenges, but does not look at them.";
                    return self.over(&placed, &AcmeError::new(Kind::Slow, message));
                }
                self.look_again(placed, view.retry_after)
            }
            OrderStatus::Ready if placed.key.is_some() => State::Finalizing { placed },
            OrderStatus::Ready => State::Keying { placed },
            OrderStatus::Processing => self.processing(placed, view.retry_after),
            OrderStatus::Valid if placed.key.is_some() => {
                placed.polls = 0;
                State::Collecting { placed, at: now }
            }
            OrderStatus::Valid => {
                let message = "The certificate authority has made a certificate for a key that is not here.";
                self.over(&placed, &AcmeError::new(Kind::Internal, message))
            }
            OrderStatus::Invalid => {
                let trouble = view.error.clone().unwrap_or_else(|| {
                    AcmeError::new(
                        Kind::Unauthorized,
                        "The certificate authority gave the order up without saying why.",
                    )
                });
                placed.verdict = Some(trouble.problem(now));
                if placed.finalized_at.is_some() {
                    return self.over(&placed, &trouble);
                }
                // The authorizations know more, and how many of them failed.
                State::Authorizing { placed }
            }
        }
    }

    fn processing(&mut self, mut placed: PlacedOrder, retry_after: Option<Duration>) -> State {
        let now = self.moment.now;
        let since = *placed.finalized_at.get_or_insert(now);
        let waited = since.until(now);
        if waited < NORMAL_PROCESSING_TIME {
            return self.look_again(placed, retry_after);
        }
        let trouble = AcmeError::new(
            Kind::Slow,
            "The certificate authority has been making the certificate for unusually long; it is asked again and again.",
        );
        if waited > PROCESSING_TIMEOUT {
            return self.over(&placed, &trouble);
        }
        self.course.problem = Some(trouble.problem(now));
        let wait = retry_after.unwrap_or(waited / 4).clamp(NORMAL_PROCESSING_TIME, Duration::from_hours(1));
        rest(self.moment.no_earlier(wait), WaitReason::Backoff, Some(placed))
    }

    fn look_again(&self, mut placed: PlacedOrder, retry_after: Option<Duration>) -> State {
        placed.polls += 1;
        let at = self.moment.now.after(schedule::poll(placed.polls, retry_after));
        State::Reviewing { placed, at }
    }

    fn authorize(&mut self, mut placed: PlacedOrder, found: &[AuthorizationView]) -> State {
        let failed: Vec<_> = found.iter().filter(|view| view.status == AuthorizationStatus::Invalid).collect();
        placed.told = failed.len();
        if let Some(first) = failed.first() {
            let trouble = first.error.clone().unwrap_or_else(|| {
                AcmeError::new(
                    Kind::Unauthorized,
                    format!("The certificate authority could not verify {}.", first.name),
                )
            });
            return self.over(&placed, &trouble);
        }
        if let Some(problem) = placed.verdict.clone() {
            let message = problem.message;
            return self.over(&placed, &AcmeError::new(Kind::Unwell, message));
        }
        if found.iter().any(|view| view.status == AuthorizationStatus::Over) {
            let message = "An authorization of the order expired on the way.";
            return self.over(&placed, &AcmeError::new(Kind::Unwell, message));
        }
        let mut answers = Vec::new();
        for (authorization, view) in found.iter().enumerate() {
            if view.status == AuthorizationStatus::Valid {
                continue;
            }
            let Some((method, accept)) = self.choose(view) else {
                let message = format!(
                    "The certificate authority offers no challenge for {} that can be answered here.",
                    view.name
                );
                return self.over(&placed, &AcmeError::new(Kind::Refused, message));
            };
            answers.push(Answer { authorization, method, accept });
        }
        placed.told = answers.len();
        State::Answering { placed, answers }
    }

    /// The method whose turn it is, of those that both sides know; the one that is under way before all others.
    fn choose(&self, view: &AuthorizationView) -> Option<(Method, bool)> {
        let possible = self.rules.methods(&self.course.wanted);
        let ours = |(method, _): &&(Method, bool)| possible.contains(method);
        let under_way = view.offers.iter().filter(ours).find(|(_, accept)| !accept);
        let in_turn = || {
            let count = possible.len();
            let order = (0..count).filter_map(|n| possible.get((self.course.method + n) % count));
            order.into_iter().find_map(|method| view.offers.iter().find(|(offered, _)| offered == method))
        };
        under_way.or_else(in_turn).copied()
    }

    fn collected(&mut self, placed: &PlacedOrder, collected: Collected) -> State {
        let now = self.moment.now;
        let Collected { names, not_before, not_after, serial, id } = collected;
        if let Some(missing) = placed.names.iter().find(|name| !names.contains(name)) {
            let message = format!("The certificate authority made a certificate without {missing}.");
            return self.over(placed, &AcmeError::new(Kind::Refused, message));
        }
        let renew_at = schedule::renewal(not_before, not_after, self.moment.dice);
        let facts = Facts { names, not_before, not_after, renew_at, directory: placed.directory.clone(), serial };
        self.effects.push(Effect::Keep);
        self.effects.push(Effect::Withdraw);
        let course = &mut *self.course;
        course.history.issued(now);
        course.held = Some(CurrentCertificate { facts, id, window: None, ask_at: now });
        (course.failures, course.problem) = (0, None);
        course.holds.clear();
        self.rest_until_renewal().unwrap_or_else(|| rest(now, WaitReason::Issued, None))
    }

    /// A request broke off, or was refused, while the order stands.
    fn stumbled(&mut self, mut placed: PlacedOrder, trouble: &AcmeError) -> State {
        if !trouble.passes() {
            return self.over(&placed, trouble);
        }
        let moment = self.moment;
        placed.stumbles += 1;
        let wait =
            FIRST_RETRY_DELAY.saturating_mul(1 << (2 * (placed.stumbles - 1)).min(20)).min(Duration::from_hours(1));
        let at = match trouble.retry_after {
            Some(said) => moment.no_earlier(said.min(Duration::from_hours(24))),
            None => moment.about(wait),
        };
        if moment.now.until(at) <= MAX_IN_PLACE_WAIT {
            State::Reviewing { placed, at }
        } else {
            self.course.problem = Some(trouble.problem(moment.now));
            rest(at, WaitReason::Backoff, Some(placed))
        }
    }

    /// Nothing becomes of the order.
    fn over(&mut self, placed: &PlacedOrder, trouble: &AcmeError) -> State {
        // What nobody can know any more is counted as failed.
        for _ in 0..placed.told {
            self.course.history.failed(self.moment.now);
        }
        self.failed(&placed.directory, trouble)
    }
}

/// The order of a state that has one; else the state itself.
#[allow(clippy::result_large_err)] // both sides are moved once
fn placed_in(state: State) -> Result<PlacedOrder, State> {
    match state {
        State::Reviewing { placed, .. }
        | State::Authorizing { placed }
        | State::Answering { placed, .. }
        | State::Keying { placed }
        | State::Finalizing { placed }
        | State::Collecting { placed, .. } => Ok(placed),
        state @ (State::Resting { .. }
        | State::Looking { .. }
        | State::Opening { .. }
        | State::Ordering { .. }
        | State::Asking { .. }) => Err(state),
    }
}
