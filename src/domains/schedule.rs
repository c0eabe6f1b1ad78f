//! When the next look at a domain's DNS is due, and how long things may take.

use std::time::Duration;

use super::life::Moment;
use crate::tenancy::{Claim, DomainStatus};
use crate::timestamp::Timestamp;

/// After the claim was made, and the unit of the looks after it. Not at once: a resolver that is asked
/// before the records are there remembers that they are not (RFC 2308).
pub const FIRST_LOOK: Duration = Duration::from_mins(1);
/// Between two checks that a tenant asks for.
pub const RECHECK_PAUSE: Duration = Duration::from_secs(30);
/// For a proof, from the claim on.
pub const UNPROVED: Duration = Duration::from_hours(14 * 24);
/// After so long without anything better it is looked at as a paused one.
pub const PATIENCE: Duration = Duration::from_hours(7 * 24);
/// Looks that must see a domain lead elsewhere, one after the other.
pub const AWAY_LOOKS: u32 = 3;
/// And so long, before it counts as moved.
pub const AWAY_GRACE: Duration = Duration::from_hours(2 * 24);
/// So long it is served afterwards.
pub const SERVED_AFTER_MOVE: Duration = Duration::from_hours(7 * 24);
/// Between two looks at whether a tenant may have a domain again.
pub const BARRED: Duration = Duration::from_hours(6);

const DOUBLINGS: u32 = 12;
const ON_FIRST_DAY: Duration = Duration::from_hours(1);
const AFTER_FIRST_DAY: Duration = Duration::from_hours(6);
const FIRST_DAY: Duration = Duration::from_hours(24);
const PAUSED: Duration = Duration::from_hours(7 * 24);
const UNSURE: Duration = Duration::from_mins(10);
const VERIFIED: Duration = Duration::from_mins(10);
const AWAY: Duration = Duration::from_hours(1);
const ACTIVE: Duration = Duration::from_hours(6);

/// After a look.
pub fn next_look(claim: &Claim, moment: &Moment) -> Timestamp {
    let pause = match claim.status {
        _ if claim.unsure.is_some() => UNSURE,
        DomainStatus::Pending if claim.paused.is_some() => PAUSED,
        DomainStatus::Pending => {
            let trying = claim.trying_since.map_or(Duration::ZERO, |since| since.until(moment.now));
            let longest = if trying >= FIRST_DAY { AFTER_FIRST_DAY } else { ON_FIRST_DAY };
            (FIRST_LOOK * 2_u32.saturating_pow(claim.fruitless.min(DOUBLINGS))).min(longest)
        }
        DomainStatus::Verified => VERIFIED,
        DomainStatus::Active if claim.away.is_some() && claim.moved_at.is_none() => AWAY,
        DomainStatus::Active => ACTIVE,
    };
    let next = moment.now.after(spread(pause, moment.chance));
    // A last look, just when the claim's time is over.
    match claim.expires_at {
        Some(end) if moment.now < end => next.min(end),
        _ => next,
    }
}

/// A tenth less or more, so that many domains claimed or looked at together do not stay together.
fn spread(pause: Duration, chance: f64) -> Duration {
    pause.mul_f64(0.9 + 0.2 * chance.clamp(0.0, 1.0))
}
