//! When the next DNS check of a domain is due, and the time limits of a claim.

use std::time::Duration;

use crate::tenancy::{Claim, DomainStatus};
use crate::timestamp::Timestamp;

/// From the claim to its first check, and the first step of the backoff. Not at once: a resolver that is asked before
/// the records exist caches the negative answer (RFC 2308).
pub const FIRST_CHECK_DELAY: Duration = Duration::from_mins(1);
/// Between two checks that a tenant requests.
pub const MIN_RECHECK_INTERVAL: Duration = Duration::from_secs(30);
/// From the claim to its proof.
pub const PROOF_TIMEOUT: Duration = Duration::from_hours(14 * 24);
/// Without progress for this long, a claim is paused and checked at the interval of paused ones.
pub const PAUSE_AFTER: Duration = Duration::from_hours(7 * 24);
/// Consecutive checks that must find that a domain points elsewhere.
pub const MIN_AWAY_CHECKS: u32 = 3;
/// And the time it must point elsewhere before it counts as moved.
pub const AWAY_GRACE_PERIOD: Duration = Duration::from_hours(2 * 24);
/// How long a moved domain is still served.
pub const SERVED_AFTER_MOVE: Duration = Duration::from_hours(7 * 24);
/// Between two checks whether a tenant may use a custom domain again.
pub const BARRED_CHECK_INTERVAL: Duration = Duration::from_hours(6);

const MAX_DOUBLINGS: u32 = 12;
const MAX_INTERVAL_ON_FIRST_DAY: Duration = Duration::from_hours(1);
const MAX_INTERVAL_AFTER_FIRST_DAY: Duration = Duration::from_hours(6);
const FIRST_DAY: Duration = Duration::from_hours(24);
const PAUSED_CHECK_INTERVAL: Duration = Duration::from_hours(7 * 24);
const UNSURE_CHECK_INTERVAL: Duration = Duration::from_mins(10);
const VERIFIED_CHECK_INTERVAL: Duration = Duration::from_mins(10);
const AWAY_CHECK_INTERVAL: Duration = Duration::from_hours(1);
const ACTIVE_CHECK_INTERVAL: Duration = Duration::from_hours(6);

/// What a step needs besides the claim and the event.
#[derive(Clone, Copy, Debug)]
pub struct StepContext {
    pub now: Timestamp,
    /// A random number from 0 to 1 that spreads the checks of many domains.
    pub chance: f64,
    /// Whether this server orders certificates itself.
    pub automatic_certificates: bool,
}

/// The time of the next check, after one has ended.
pub fn next_check(claim: &Claim, context: &StepContext) -> Timestamp {
    let pause = match claim.status {
        _ if claim.unsure.is_some() => UNSURE_CHECK_INTERVAL,
        DomainStatus::Pending if claim.paused.is_some() => PAUSED_CHECK_INTERVAL,
        DomainStatus::Pending => {
            let trying = claim.trying_since.map_or(Duration::ZERO, |since| since.until(context.now));
            let longest = if trying >= FIRST_DAY { MAX_INTERVAL_AFTER_FIRST_DAY } else { MAX_INTERVAL_ON_FIRST_DAY };
            (FIRST_CHECK_DELAY * 2_u32.saturating_pow(claim.checks_without_progress.min(MAX_DOUBLINGS))).min(longest)
        }
        DomainStatus::Verified => VERIFIED_CHECK_INTERVAL,
        DomainStatus::Active if claim.away.is_some() && claim.moved_at.is_none() => AWAY_CHECK_INTERVAL,
        DomainStatus::Active => ACTIVE_CHECK_INTERVAL,
    };
    let next = context.now.after(spread(pause, context.chance));
    // The last check is made when the claim expires.
    match claim.expires_at {
        Some(end) if context.now < end => next.min(end),
        _ => next,
    }
}

/// Varies the interval by up to 10 %, so that domains claimed or checked together do not stay in step.
fn spread(pause: Duration, chance: f64) -> Duration {
    pause.mul_f64(0.9 + 0.2 * chance.clamp(0.0, 1.0))
}
