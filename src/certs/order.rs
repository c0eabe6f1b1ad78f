//! One name's way to a certificate and to its successors, as a pure function
//! `(course, event, moment) → (course, effects)`. The driver carries the effects
//! out one after the other and reports what came of each as the next event.
//!
//! The private key is stored before the authority hears of it, so that what was bought can be collected
//! after a crash, and is never bought twice.

mod order_state;
mod running;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;
use std::time::Duration;

pub use order_state::{CurrentCertificate, OrderState, PlacedOrder, PreflightFailures, State, WaitReason};
pub use words::{
    AuthorizationStatus, AuthorizationView, Collected, DirectoryBackoff, Effect, Event, OrderStatus, OrderView,
};

use super::acme_error::{AcmeError, Kind};
use super::progress::Wanted;
use super::schedule::{self, Moment, back_off};
use crate::hostname::Hostname;
use crate::timestamp::Timestamp;

/// Between two looks at whether a name leads here by now. They cost nobody anything.
const MIN_PREFLIGHT_INTERVAL: Duration = Duration::from_mins(1);
const MAX_PREFLIGHT_INTERVAL: Duration = Duration::from_mins(10);
const DAY: Duration = Duration::from_hours(24);
const MIN_RETRY_DELAY: Duration = Duration::from_secs(3);
/// No hurry makes anybody ask more often.
const MIN_BACKOFF_NEAR_EXPIRY: Duration = Duration::from_mins(10);
const BLOCKED_RETRY_DELAY: Duration = Duration::from_hours(1);
/// Nobody is believed who wants more patience than this.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(7 * 24);

/// How the authority may convince itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    Http01,
    TlsAlpn01,
    Dns01,
}

/// What a look has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reachability {
    Here,
    /// Another server answers: what was seen, and what has to change.
    Elsewhere(AcmeError),
    /// Nothing can be concluded: why, as the end of a sentence that begins with the name.
    Unknown(String),
}

/// The answer to one authorization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its place in the order.
    pub authorization: usize,
    pub method: Method,
    /// Whether the authority has yet to hear that it may look.
    pub accept: bool,
}

/// What the administrator has set, and what this machine can do.
#[derive(Clone, Debug)]
pub struct Rules {
    /// In the order in which they are tried.
    pub directories: Vec<String>,
    /// The possible ones, in the order in which they are tried.
    pub methods: Vec<Method>,
    /// The zone that our own DNS server answers for.
    pub zone: Option<Hostname>,
}

impl Rules {
    /// How this name can be proved.
    pub fn methods(&self, wanted: &Wanted) -> Vec<Method> {
        let dns = self.dns_serves(wanted);
        // Only DNS-01 proves a wildcard, and then it does for the name itself, too.
        let wild = wanted.wildcard && dns;
        let fits = |method: &&Method| if **method == Method::Dns01 { dns } else { !wild };
        self.methods.iter().filter(fits).copied().collect()
    }

    /// What the certificate is for.
    pub fn names(&self, wanted: &Wanted) -> Vec<String> {
        let wildcard = (wanted.wildcard && self.dns_serves(wanted)).then(|| format!("*.{}", wanted.name));
        std::iter::once(wanted.name.to_string()).chain(wildcard).collect()
    }

    fn dns_serves(&self, wanted: &Wanted) -> bool {
        let zone =
            || self.zone.as_ref().is_some_and(|zone| &wanted.name == zone || wanted.name.is_below(zone.as_str()));
        self.methods.contains(&Method::Dns01) && (wanted.delegated || zone())
    }
}

/// The whole of it.
pub fn step(course: OrderState, event: Event, rules: &Rules, moment: Moment) -> (OrderState, Vec<Effect>) {
    let (mut course, state) = course.without_state();
    let mut step = Step { course: &mut course, rules, moment, effects: Vec::new() };
    let next = step.take(state, event);
    let mut effects = step.effects;
    course.state = next;
    effects.push(course.pending(rules));
    (course, effects)
}

/// A step under way.
struct Step<'a> {
    /// Its state is the one that each handler consumes, and gives back the next one of.
    course: &'a mut OrderState,
    rules: &'a Rules,
    moment: Moment,
    effects: Vec<Effect>,
}

impl Step<'_> {
    fn take(&mut self, state: State, event: Event) -> State {
        let now = self.moment.now;
        match (state, event) {
            (state, Event::Wanted(wanted)) => self.wanted(state, wanted),
            (State::Resting { why, placed, .. }, Event::Renew) => {
                if let Some(held) = &mut self.course.held {
                    held.facts.renew_at = now;
                }
                State::Resting { until: now, why, placed }
            }
            // It costs none of the authority's limits.
            (State::Resting { why: WaitReason::Preflight, placed, .. }, Event::RetryPreflight) => {
                State::Resting { until: now, why: WaitReason::Preflight, placed }
            }
            (state @ State::Resting { until, .. }, Event::Due(_)) if until > now => state,
            (State::Resting { placed: Some(placed), .. }, Event::Due(_)) => State::Reviewing { placed, at: now },
            (state @ State::Resting { .. }, Event::Due(closed)) => self.due(state, &closed),
            (State::Looking { directory }, Event::Looked(seen)) => self.looked(directory, &seen),
            (State::Opening { directory }, Event::OpenedAccount) => {
                let replacing = self
                    .course
                    .held
                    .as_ref()
                    .is_some_and(|held| held.id.is_some() && held.facts.directory == directory);
                State::Ordering { directory, replacing }
            }
            (State::Ordering { directory, .. }, Event::Order(view)) => self.placed(directory, &view),
            // The server will not have it as a replacement: then as an order like any other, once.
            (State::Ordering { directory, replacing: true }, Event::Failed(trouble))
                if !trouble.passes() && trouble.kind != Kind::AccountGone =>
            {
                State::Ordering { directory, replacing: false }
            }
            (State::Opening { directory } | State::Ordering { directory, .. }, Event::Failed(trouble)) => {
                self.failed(&directory, &trouble)
            }
            (state @ State::Asking { .. }, Event::Suggested { start, end, ask_again }) => {
                self.suggested(state, start, end, ask_again)
            }
            (state @ State::Asking { .. }, Event::Failed(trouble)) => {
                let again = trouble.retry_after.filter(|_| trouble.passes());
                if let Some(held) = &mut self.course.held {
                    held.ask_at = self.moment.no_earlier(schedule::ask_again(again));
                }
                self.rest_until_renewal().unwrap_or(state)
            }
            (state, event) => self.running(state, event),
        }
    }

    fn wanted(&mut self, mut state: State, wanted: Wanted) -> State {
        if wanted == self.course.wanted {
            return state;
        }
        let now = self.moment.now;
        self.course.wanted = wanted;
        let names = self.rules.names(&self.course.wanted);
        if let State::Resting { until, why, placed: None } = &mut state {
            match &mut self.course.held {
                // What it covers is not enough any more.
                Some(held) if !names.iter().all(|name| held.facts.names.contains(name)) => {
                    held.facts.renew_at = now;
                    *until = now;
                }
                None if *why == WaitReason::Blocked => *until = now,
                _ => {}
            }
        }
        state
    }

    /// The rest is over: what for?
    fn due(&mut self, state: State, closed: &BTreeMap<String, DirectoryBackoff>) -> State {
        let now = self.moment.now;
        if let Some(held) = &self.course.held
            && held.facts.renew_at > now
        {
            return match &held.id {
                Some(id) if held.ask_at <= now => {
                    State::Asking { directory: held.facts.directory.clone(), id: id.clone() }
                }
                _ => self.rest_until_renewal().unwrap_or(state),
            };
        }
        self.begin(closed)
    }

    fn begin(&mut self, closed: &BTreeMap<String, DirectoryBackoff>) -> State {
        let now = self.moment.now;
        if self.rules.methods(&self.course.wanted).is_empty() {
            let message = format!(
                "No kind of challenge is possible for {}: listen on port 443 or 80, or delegate _acme-challenge.{} to this server.",
                self.course.wanted.name, self.course.wanted.name
            );
            self.course.problem = Some(AcmeError::new(Kind::Refused, message).problem(now));
            return rest(self.moment.about(Duration::from_hours(1)), WaitReason::Blocked, None);
        }
        let names = self.rules.names(&self.course.wanted);
        let free = self.course.history.free_at(now, names.len());
        if free > now {
            let message = format!(
                "As many attempts for {} were made as the certificate authority's limits allow; the next one is made at {free}.",
                self.course.wanted.name
            );
            // What went wrong before says more.
            self.course.problem.get_or_insert(AcmeError::new(Kind::RateLimited, message).problem(now));
            return rest(free, WaitReason::Backoff, None);
        }
        let count = self.rules.directories.len();
        let in_turn = (0..count).filter_map(|n| self.rules.directories.get((self.course.turn + n) % count));
        let mut soonest: Option<(Timestamp, Option<&AcmeError>)> = None;
        for directory in in_turn {
            let ours = self.course.holds.get(directory).copied().unwrap_or(now);
            let closed = closed.get(directory).filter(|closed| closed.until > ours);
            let from = closed.map_or(ours, |closed| closed.until);
            if from <= now {
                return State::Looking { directory: directory.clone() };
            }
            if soonest.is_none_or(|(soonest, _)| from < soonest) {
                soonest = Some((from, closed.map(|closed| &closed.why)));
            }
        }
        if let Some((_, Some(why))) = soonest {
            self.course.problem = Some(why.problem(now));
        }
        let until = soonest.map_or_else(|| self.moment.about(back_off(u32::MAX)), |(soonest, _)| soonest);
        rest(until, WaitReason::Backoff, None)
    }

    /// Whether the name leads here, by each method: an order is placed unless all of them would go astray.
    fn looked(&mut self, directory: String, seen: &[(Method, Reachability)]) -> State {
        let now = self.moment.now;
        let possible = self.rules.methods(&self.course.wanted);
        let count = possible.len().max(1);
        let sight = |index: usize| {
            let method = possible.get(index)?;
            seen.iter().find(|(seen, _)| seen == method).map(|(_, sight)| sight)
        };
        let in_turn = || (0..possible.len()).map(|n| (self.course.method.wrapping_add(n)) % count);
        let promising = in_turn().find(|index| !matches!(sight(*index), Some(Reachability::Elsewhere(_))));
        let sure = in_turn().find(|index| matches!(sight(*index), Some(Reachability::Here)));
        // After a failure each method gets its turn: what is seen from here was not enough.
        let chosen = if self.course.failures == 0 { sure.or(promising) } else { promising };
        if let Some(index) = chosen {
            (self.course.method, self.course.astray) = (index, None);
            return State::Opening { directory };
        }
        let astray = self.course.astray.get_or_insert(PreflightFailures { since: now, looks: 0 });
        if astray.since.until(now) >= DAY {
            // What is seen from here need not be what the world sees.
            astray.since = now;
            return State::Opening { directory };
        }
        astray.looks = astray.looks.saturating_add(1);
        let wait = back_off(astray.looks).clamp(MIN_PREFLIGHT_INTERVAL, MAX_PREFLIGHT_INTERVAL);
        let troubles = seen.iter().filter_map(|(_, sight)| match sight {
            Reachability::Elsewhere(trouble) => Some(trouble),
            _ => None,
        });
        let message = troubles.clone().map(|trouble| trouble.message.as_str()).collect::<Vec<_>>().join(" ");
        let kind = troubles.map(|trouble| trouble.kind).next().unwrap_or(Kind::Unauthorized);
        self.course.problem = Some(AcmeError::new(kind, message).problem(now));
        rest(self.moment.about(wait), WaitReason::Preflight, None)
    }

    /// An attempt came to nothing before there was an order, or with it.
    fn failed(&mut self, directory: &str, trouble: &AcmeError) -> State {
        let Moment { now, .. } = self.moment;
        self.effects.push(Effect::Withdraw);
        self.course.failures = self.course.failures.saturating_add(1);
        self.course.problem = Some(trouble.problem(now));
        let failures = self.course.failures;
        let (wait, why) = match trouble.kind {
            Kind::Refused | Kind::Unsupported | Kind::Account | Kind::Caa => {
                (BLOCKED_RETRY_DELAY.max(back_off(failures)), WaitReason::Blocked)
            }
            Kind::RateLimited => (trouble.retry_after.unwrap_or(BLOCKED_RETRY_DELAY), WaitReason::Backoff),
            Kind::Dns | Kind::Connection | Kind::Unauthorized => return self.unproved(),
            _ => (back_off(failures), WaitReason::Backoff),
        };
        let wait = self.in_time(wait);
        if trouble.kind == Kind::AccountGone {
            self.effects.push(Effect::ForgetAccount { directory: directory.to_owned() });
        }
        let until = match trouble.retry_after {
            Some(said) if why == WaitReason::Backoff => {
                self.moment.no_earlier(said.clamp(MIN_RETRY_DELAY, MAX_RETRY_AFTER))
            }
            Some(said) => self.moment.no_earlier(said.clamp(wait, MAX_RETRY_AFTER.max(wait))),
            None => self.moment.about(wait),
        };
        self.course.holds.retain(|known, hold| *hold > now && self.rules.directories.contains(known));
        self.course.holds.insert(directory.to_owned(), until);
        // Another directory need not share the opinion.
        self.course.turn = self.course.turn.wrapping_add(1);
        let holds = &self.course.holds;
        let free = |directory: &String| holds.get(directory).copied().unwrap_or(now);
        let soonest = self.rules.directories.iter().map(free).min().unwrap_or(until);
        rest(soonest.max(now.after(MIN_RETRY_DELAY)), why, None)
    }

    /// The authority looked, and did not see what we showed: another method soon, and all of them again later.
    fn unproved(&mut self) -> State {
        let methods = u32::try_from(self.rules.methods(&self.course.wanted).len()).unwrap_or(1).max(1);
        self.course.method = self.course.method.wrapping_add(1);
        let until = if self.course.failures.is_multiple_of(methods) {
            self.moment.about(self.in_time(back_off(2 + self.course.failures / methods)))
        } else {
            self.moment.now.after(MIN_RETRY_DELAY)
        };
        rest(until, WaitReason::Backoff, None)
    }

    /// Not longer than leaves several tries before the certificate that is there expires: back-off for one of
    /// three months is too slow for one of six days.
    fn in_time(&self, wait: Duration) -> Duration {
        let left = self.course.held.as_ref().map_or(Duration::ZERO, |held| self.moment.now.until(held.facts.not_after));
        if left.is_zero() { wait } else { wait.min((left / 8).max(MIN_BACKOFF_NEAR_EXPIRY)) }
    }

    fn suggested(&mut self, state: State, start: Timestamp, end: Timestamp, ask_again: Option<Duration>) -> State {
        let now = self.moment.now;
        let extra = self.course.history.suggestion_at(now);
        if let Some(held) = &mut self.course.held {
            held.ask_at = self.moment.no_earlier(schedule::ask_again(ask_again));
            // A window that stays keeps the moment that was picked in it.
            if held.window != Some((start, end)) || held.facts.renew_at > end {
                held.window = Some((start, end));
                let last = held.facts.not_after;
                held.facts.renew_at = schedule::within(start, end, self.moment).max(extra).min(last);
            }
        }
        self.rest_until_renewal().unwrap_or(state)
    }

    /// None where there is no certificate.
    fn rest_until_renewal(&self) -> Option<State> {
        let held = self.course.held.as_ref()?;
        let until = match held.id {
            Some(_) => held.facts.renew_at.min(held.ask_at),
            None => held.facts.renew_at,
        };
        Some(rest(until, WaitReason::Issued, None))
    }
}

fn rest(until: Timestamp, why: WaitReason, placed: Option<PlacedOrder>) -> State {
    State::Resting { until, why, placed }
}
