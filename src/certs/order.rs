//! The life of one name's certificate: ordered, issued, renewed. A pure core: [`resume`] and [`advance`] take the
//! state, the time and what has happened, and give the next state with its effects. The driver stores the next
//! state, carries out the effects, does the work that a running state asks for, and reports its [`Outcome`].
//!
//! Each state is a type whose transitions consume it, see [`State`]. A state that could not be stored is lost
//! with its transition; the driver then continues from the stored record. For that, whatever must not be done
//! twice is stored before it is done: the private key before the order is finalized, so that a certificate
//! that was issued is downloaded after a crash and not ordered again.

mod before_order;
mod messages;
mod placed_order;
mod record;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

pub use before_order::{PlacingOrder, Waiting};
pub use messages::{
    AuthorizationStatus, AuthorizationView, ChosenChallenge, DirectoryBackoff, IssuedCertificate, OrderCommand,
    OrderEffect, OrderStatus, OrderView, Outcome, RenewalWindow,
};
pub use placed_order::PlacedOrder;
pub use record::{NameRecord, OrderRecord};
pub use state::{Running, State};

use self::before_order::WaitReason;
use super::acme_error::{AcmeError, Kind};
use super::progress::Wanted;
use super::schedule::{Moment, back_off};
use crate::hostname::Hostname;

const MIN_RETRY_DELAY: Duration = Duration::from_secs(3);
/// The shortest back-off, however soon the certificate expires.
const MIN_BACKOFF_NEAR_EXPIRY: Duration = Duration::from_mins(10);
const BLOCKED_RETRY_DELAY: Duration = Duration::from_hours(1);
/// The longest Retry-After that is honoured.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(7 * 24);

/// A challenge type (RFC 8555 section 8, RFC 8737).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    Http01,
    TlsAlpn01,
    Dns01,
}

/// Where a connection to a name ends, as far as a preflight check can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reachability {
    Here,
    /// Another server answers: which, and what has to change.
    Elsewhere(AcmeError),
    /// Nothing can be concluded: why, as the end of a sentence that begins with the name.
    Unknown(String),
}

/// What the administrator has set, and what this machine can do.
#[derive(Clone, Debug)]
pub struct Rules {
    /// URLs of ACME directories, in the order in which they are tried.
    pub directories: Vec<String>,
    /// The challenge methods that are possible here, in the order in which they are tried.
    pub methods: Vec<Method>,
    /// The zone that this server's DNS is authoritative for.
    pub zone: Option<Hostname>,
}

impl Rules {
    /// The methods by which control of this name can be proved.
    pub fn methods(&self, wanted: &Wanted) -> Vec<Method> {
        let dns = self.dns_serves(wanted);
        // A wildcard is proved by DNS-01 only, which then proves the name itself as well.
        let wildcard = wanted.wildcard && dns;
        let possible = |method: &&Method| if **method == Method::Dns01 { dns } else { !wildcard };
        self.methods.iter().filter(possible).copied().collect()
    }

    /// The names that the certificate is ordered for.
    pub fn names(&self, wanted: &Wanted) -> Vec<String> {
        let wildcard = (wanted.wildcard && self.dns_serves(wanted)).then(|| format!("*.{}", wanted.name));
        std::iter::once(wanted.name.to_string()).chain(wildcard).collect()
    }

    fn dns_serves(&self, wanted: &Wanted) -> bool {
        let in_zone =
            || self.zone.as_ref().is_some_and(|zone| &wanted.name == zone || wanted.name.is_below(zone.as_str()));
        self.methods.contains(&Method::Dns01) && (wanted.delegated || in_zone())
    }
}

/// Applies `commands` to a waiting name, and goes on if its time has come. `unavailable`: directories that are not
/// used now, by any name.
pub fn resume(
    mut name: NameRecord,
    waiting: Waiting,
    commands: &[OrderCommand],
    unavailable: &BTreeMap<String, DirectoryBackoff>,
    rules: &Rules,
    moment: Moment,
) -> OrderRecord {
    let mut cx = Context { name: &mut name, rules, moment, effects: Vec::new() };
    let waiting = commands.iter().fold(waiting, |waiting, command| waiting.command(&mut cx, command));
    let state = waiting.due(&mut cx, unavailable);
    OrderRecord { name, state }
}

/// Ends a running state by the outcome of its work. `commands`: those that came meanwhile.
pub fn advance(
    mut name: NameRecord,
    outcome: Outcome,
    commands: &[OrderCommand],
    rules: &Rules,
    moment: Moment,
) -> (OrderRecord, Vec<OrderEffect>) {
    for command in commands {
        match command {
            OrderCommand::Want(wanted) => name.wanted = wanted.clone(),
            // An attempt is under way.
            OrderCommand::Renew | OrderCommand::RetryPreflight => {}
        }
    }
    let mut cx = Context { name: &mut name, rules, moment, effects: Vec::new() };
    let state = match outcome {
        Outcome::ReachabilityChecked(state, results) => state.checked(&mut cx, &results).into(),
        Outcome::AccountOpened(state, result) => state.opened(&mut cx, result).into(),
        Outcome::OrderPlaced(state, result) => state.placed(&mut cx, result),
        Outcome::OrderPolled(state, result) => state.polled(&mut cx, result),
        Outcome::AuthorizationsRead(state, result) => state.read(&mut cx, result),
        Outcome::ChallengesAnswered(state, result) => state.answered(&mut cx, result),
        Outcome::KeyGenerated(state, result) => state.generated(&mut cx, result),
        Outcome::OrderFinalized(state, result) => state.finalized(&mut cx, result),
        Outcome::Downloaded(state, result) => state.downloaded(&mut cx, result),
        Outcome::RenewalInfoRead(state, result) => state.read(&mut cx, result).into(),
    };
    let effects = cx.effects;
    (OrderRecord { name, state }, effects)
}

/// What a transition reads and changes besides its state.
struct Context<'a> {
    name: &'a mut NameRecord,
    rules: &'a Rules,
    moment: Moment,
    effects: Vec<OrderEffect>,
}

impl Context<'_> {
    /// An attempt failed, with an order or before there was one. Its error decides how long to wait, and whether
    /// another directory or another method comes next.
    fn attempt_failed(&mut self, directory: &str, error: &AcmeError) -> Waiting {
        let Moment { now, .. } = self.moment;
        self.effects.push(OrderEffect::WithdrawChallenges);
        self.name.failures = self.name.failures.saturating_add(1);
        self.name.problem = Some(error.problem(now));
        let failures = self.name.failures;
        let (wait, reason) = match error.kind {
            Kind::Refused | Kind::Unsupported | Kind::Account | Kind::Caa => {
                (BLOCKED_RETRY_DELAY.max(back_off(failures)), WaitReason::Blocked)
            }
            Kind::RateLimited => (error.retry_after.unwrap_or(BLOCKED_RETRY_DELAY), WaitReason::Backoff),
            Kind::Dns | Kind::Connection | Kind::Unauthorized => return self.validation_failed(),
            Kind::Unreachable
            | Kind::Unwell
            | Kind::Slow
            | Kind::AlreadyReplaced
            | Kind::AccountGone
            | Kind::Missing
            | Kind::NotReady
            | Kind::Internal => (back_off(failures), WaitReason::Backoff),
        };
        let wait = self.limited_by_expiry(wait);
        if error.kind == Kind::AccountGone {
            self.effects.push(OrderEffect::ForgetAccount { directory: directory.to_owned() });
        }
        let until = match error.retry_after {
            Some(retry_after) if reason == WaitReason::Backoff => {
                self.moment.no_earlier(retry_after.clamp(MIN_RETRY_DELAY, MAX_RETRY_AFTER))
            }
            Some(retry_after) => self.moment.no_earlier(retry_after.clamp(wait, MAX_RETRY_AFTER.max(wait))),
            None => self.moment.about(wait),
        };
        let directories = &self.rules.directories;
        let backoffs = &mut self.name.directory_backoffs;
        backoffs.retain(|directory, until| *until > now && directories.contains(directory));
        backoffs.insert(directory.to_owned(), until);
        // Another directory may still accept the order.
        self.name.next_directory = self.name.next_directory.wrapping_add(1);
        let free_at = |directory: &String| backoffs.get(directory).copied().unwrap_or(now);
        let soonest = directories.iter().map(free_at).min().unwrap_or(until);
        Waiting::failed(soonest.max(now.after(MIN_RETRY_DELAY)), reason)
    }

    /// The authority's validation failed: another method comes soon, and after the last one a longer wait.
    fn validation_failed(&mut self) -> Waiting {
        let methods = u32::try_from(self.rules.methods(&self.name.wanted).len()).unwrap_or(1).max(1);
        self.name.next_method = self.name.next_method.wrapping_add(1);
        let until = if self.name.failures.is_multiple_of(methods) {
            self.moment.about(self.limited_by_expiry(back_off(2 + self.name.failures / methods)))
        } else {
            self.moment.now.after(MIN_RETRY_DELAY)
        };
        Waiting::failed(until, WaitReason::Backoff)
    }

    /// Leaves time for several attempts before the current certificate expires: a back-off that suits three
    /// months is too slow for a certificate of six days.
    fn limited_by_expiry(&self, wait: Duration) -> Duration {
        let certificate = self.name.certificate.as_ref();
        let left = certificate.map_or(Duration::ZERO, |certificate| self.moment.now.until(certificate.facts.not_after));
        if left.is_zero() { wait } else { wait.min((left / 8).max(MIN_BACKOFF_NEAR_EXPIRY)) }
    }
}
