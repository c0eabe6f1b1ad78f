//! When the next look at a domain's DNS is due, and how long things may take.

use std::time::Duration;

use crate::tenancy::{Claim, DomainStatus};
use crate::timestamp::Timestamp;

/// After the claim was made, and the unit of the looks after it. Not at once: a resolver that is asked
/// before the records are there remembers that they are not (RFC 2308).
pub const FIRST_CHECK_DELAY: Duration = Duration::from_mins(1);
/// Between two checks that a tenant asks for.
pub const MIN_RECHECK_INTERVAL: Duration = Duration::from_secs(30);
/// For a proof, from the claim on.
pub const PROOF_TIMEOUT: Duration = Duration::from_hours(14 * 24);
/// After so long without anything better it is looked at as a paused one.
pub const PAUSE_AFTER: Duration = Duration::from_hours(7 * 24);
/// Looks that must see a domain lead elsewhere, one after the other.
pub const MIN_AWAY_CHECKS: u32 = 3;
/// And so long, before it counts as moved.
pub const AWAY_GRACE_PERIOD: Duration = Duration::from_hours(2 * 24);
/// So long it is served afterwards.
pub const SERVED_AFTER_MOVE: Duration = Duration::from_hours(7 * 24);
/// Between two looks at whether a tenant may have a domain again.
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

/// The world around a step.
#[derive(Clone, Copy, Debug)]
pub struct StepContext {
    pub now: Timestamp,
    /// From 0 to 1: keeps the looks at many domains apart.
    pub chance: f64,
    /// Whether this server gets certificates by itself.
    pub automatic_certificates: bool,
}

/// After a look.
pub fn next_check(claim: &Claim, context: &StepContext) -> Timestamp {
    let pause = match claim.status {
        _ if claim.unsure.is_some() => UNSURE_CHECK_INTERVAL,
        DomainStatus::Pending if claim.paused.is_some() => PAUSED_CHECK_INTERVAL,
        DomainStatus::Pending => {
            let trying = claim.trying_since.map_or(Duration::ZERO, |since| since.until(context.now));
            let longest = if trying >= FIRST_DAY { MAX_INTERVAL_AFTER_FIRST_DAY } else { MAX_INTERVAL_ON_FIRST_DAY };
            (FIRST_CHECK_DELAY * 2_u32.saturating_pow(claim.fruitless.min(MAX_DOUBLINGS))).min(longest)
        }
        DomainStatus::Verified => VERIFIED_CHECK_INTERVAL,
        DomainStatus::Active if claim.away.is_some() && claim.moved_at.is_none() => AWAY_CHECK_INTERVAL,
        DomainStatus::Active => ACTIVE_CHECK_INTERVAL,
    };
    let next = context.now.after(spread(pause, context.chance));
    // A last look, just when the claim's time is over.
    match claim.expires_at {
        Some(end) if context.now < end => next.min(end),
        _ => next,
    }
}

/// A tenth less or more, so that many domains claimed or looked at together do not stay together.
fn spread(pause: Duration, chance: f64) -> Duration {
    pause.mul_f64(0.9 + 0.2 * chance.clamp(0.0, 1.0))
}
