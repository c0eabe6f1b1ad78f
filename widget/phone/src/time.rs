//! Formats times of day, durations and days. Pure: the caller passes the current time and the time zone.

/// The person's time zone and clock format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalClock {
    /// Minutes to add to UTC.
    pub offset_minutes: i32,
    /// "14:05" instead of "2:05 pm".
    pub is_24_hour: bool,
}

const MINUTE_S: u64 = 60;
const HOUR_S: u64 = 60 * MINUTE_S;
const DAY_S: u64 = 24 * HOUR_S;
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// `04:32`, or `1:04:32` from an hour on.
pub fn format_timer(seconds: u64) -> String {
    let (h, m, s) = (seconds / HOUR_S, seconds / MINUTE_S % 60, seconds % 60);
    if h > 0 { format!("{h}:{m:02}:{s:02}") } else { format!("{m:02}:{s:02}") }
}

/// `2 min 14 s`.
pub fn format_duration(seconds: u64) -> String {
    let (h, m, s) = (seconds / HOUR_S, seconds / MINUTE_S % 60, seconds % 60);
    match (h, m) {
        (0, 0) => format!("{s} s"),
        (0, _) if s == 0 => format!("{m} min"),
        (0, _) => format!("{m} min {s} s"),
        _ => format!("{h} h {m} min"),
    }
}

impl LocalClock {
    /// `14:05` or `2:05 pm`.
    pub fn clock(self, millis: u64) -> String {
        let second = self.local_seconds(millis) % DAY_S;
        let (h, m) = (second / HOUR_S, second / MINUTE_S % 60);
        if self.is_24_hour {
            return format!("{h:02}:{m:02}");
        }
        let half = if h < 12 { "am" } else { "pm" };
        format!("{}:{m:02} {half}", (h + 11) % 12 + 1)
    }

    /// `2026-11-22 13:00:05`.
    pub fn stamp(self, millis: u64) -> String {
        let (year, month, date) = civil_from_days(self.day(millis));
        let second = self.local_seconds(millis) % DAY_S;
        let (h, m, s) = (second / HOUR_S, second / MINUTE_S % 60, second % 60);
        format!("{year}-{month:02}-{date:02} {h:02}:{m:02}:{s:02}")
    }

    /// Days since 1970-01-01 in local time.
    pub fn day(self, millis: u64) -> u64 {
        self.local_seconds(millis) / DAY_S
    }

    /// `Today`, `Yesterday`, a weekday within the last week, else a date.
    pub fn day_name(self, day: u64, now: u64) -> String {
        let today = self.day(now);
        match today.checked_sub(day) {
            Some(0) => "Today".to_owned(),
            Some(1) => "Yesterday".to_owned(),
            Some(2..=6) => name_at(&WEEKDAYS, day % 7).to_owned(),
            _ => {
                let (year, month, date) = civil_from_days(day);
                let name = name_at(&MONTHS, month - 1);
                if civil_from_days(today).0 == year {
                    format!("{date} {name}")
                } else {
                    format!("{date} {name} {year}")
                }
            }
        }
    }

    fn local_seconds(self, millis: u64) -> u64 {
        (millis / 1000).saturating_add_signed(i64::from(self.offset_minutes) * 60)
    }
}

fn name_at(names: &[&'static str], index: u64) -> &'static str {
    usize::try_from(index).ok().and_then(|index| names.get(index)).copied().unwrap_or_default()
}

/// Year, month (1–12) and day of month (Hinnant, "chrono-Compatible Low-Level Date Algorithms",
/// `civil_from_days`).
fn civil_from_days(day: u64) -> (u64, u64, u64) {
    let z = day + 719_468;
    let era = z / 146_097;
    let doe = z % 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let date = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + u64::from(month <= 2), month, date)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 1_795_348_800_000; // 2026-11-22 12:00 UTC, a Sunday

    #[test]
    fn a_timer_has_a_fixed_width_below_an_hour() {
        assert_eq!(format_timer(0), "00:00");
        assert_eq!(format_timer(272), "04:32");
        assert_eq!(format_timer(3872), "1:04:32");
    }

    #[test]
    fn durations_are_written_with_units() {
        assert_eq!(format_duration(9), "9 s");
        assert_eq!(format_duration(120), "2 min");
        assert_eq!(format_duration(134), "2 min 14 s");
        assert_eq!(format_duration(3700), "1 h 1 min");
    }

    #[test]
    fn the_time_follows_the_users_12_or_24_hour_clock() {
        let utc = LocalClock { offset_minutes: 0, is_24_hour: true };
        assert_eq!(utc.clock(NOON), "12:00");
        let berlin = LocalClock { offset_minutes: 60, is_24_hour: true };
        assert_eq!(berlin.clock(NOON), "13:00");
        let denver = LocalClock { offset_minutes: -420, is_24_hour: false };
        assert_eq!(denver.clock(NOON), "5:00 am");
        assert_eq!(LocalClock { offset_minutes: 0, is_24_hour: false }.clock(NOON), "12:00 pm");
    }

    #[test]
    fn recent_days_are_named_relative_to_today() {
        let zone = LocalClock::default();
        let today = zone.day(NOON);
        assert_eq!(zone.day_name(today, NOON), "Today");
        assert_eq!(zone.day_name(today - 1, NOON), "Yesterday");
        assert_eq!(zone.day_name(today - 2, NOON), "Friday");
        assert_eq!(zone.day_name(today - 10, NOON), "12 November");
        assert_eq!(zone.day_name(today - 400, NOON), "18 October 2025");
        assert_eq!(zone.day_name(0, NOON), "1 January 1970");
    }

    #[test]
    fn days_change_at_local_midnight() {
        let auckland = LocalClock { offset_minutes: 780, is_24_hour: true };
        assert_eq!(auckland.day(NOON), LocalClock::default().day(NOON) + 1);
    }
}
