//! Moments as the API writes them: RFC 3339, UTC, milliseconds.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

const FORMAT: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// Milliseconds since 1970, UTC. Stored as a number, shown as RFC 3339 by `Display`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// The text is no moment as RFC 3339 writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a moment as in RFC 3339, such as 2026-03-14T12:00:00Z")]
pub struct InvalidTimestamp;

impl Timestamp {
    pub fn now() -> Self {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
    }

    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)))
    }

    pub fn before(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Nothing when `later` is earlier.
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or_default())
    }
}

/// Any offset; what is finer than a millisecond is cut off.
impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| InvalidTimestamp)?;
        Ok(Self(i64::try_from(moment.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .ok()
            .and_then(|moment| moment.format(FORMAT).ok());
        out.write_str(text.as_deref().unwrap_or("1970-01-01T00:00:00.000Z"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_rfc_3339_utc_with_milliseconds() {
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp(1_773_489_600_007).to_string(), "2026-03-14T12:00:00.007Z");
    }

    #[test]
    fn timestamps_are_read_with_any_offset() {
        let noon = Ok(Timestamp(1_773_489_600_007));
        for text in ["2026-03-14T12:00:00.007Z", "2026-03-14T13:00:00.0079+01:00", "2026-03-14t12:00:00.007z"] {
            assert_eq!(text.parse(), noon, "{text}");
        }
        for text in ["", "yesterday", "2026-03-14", "2026-03-14T12:00:00", "2026-02-30T12:00:00Z"] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }
}
