//! Points in time, in words.

use crate::time::UnixTime;

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

/// A day of the Gregorian calendar.
struct Date {
    year: u64,
    /// From 1 on.
    month: u64,
    /// From 1 on.
    day: u64,
}

impl Date {
    /// Finds the day of a moment, in UTC.
    fn of(moment: UnixTime) -> Self {
        // Days since 1 March of the year 0, in cycles of 400 years, which are all alike; a year
        // that begins in March has its leap day at its end.
        let days = moment.as_secs() / 86_400 + 719_468;
        let (cycle, of_cycle) = (days / 146_097, days % 146_097);
        let year = (of_cycle - of_cycle / 1_460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
        let of_year = of_cycle - (365 * year + year / 4 - year / 100);
        let from_march = (5 * of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        Self {
            year: cycle * 400 + year + u64::from(month <= 2),
            month,
            day: of_year - (153 * from_march + 2) / 5 + 1,
        }
    }

    fn month_name(&self) -> &'static str {
        usize::try_from(self.month - 1).ok().and_then(|at| MONTHS.get(at)).unwrap_or(&"")
    }
}

/// Writes a moment as in “24 November 2026”, the day in UTC.
#[must_use]
pub(super) fn day(moment: UnixTime) -> String {
    let date = Date::of(moment);
    format!("{} {} {}", date.day, date.month_name(), date.year)
}

/// Writes a moment as in “24 November 2026, 19:05 UTC”.
#[must_use]
pub(super) fn day_and_time(moment: UnixTime) -> String {
    let minutes = moment.as_secs() / 60;
    format!("{}, {:02}:{:02} UTC", day(moment), minutes / 60 % 24, minutes % 60)
}

/// Writes a moment for machines (RFC 3339).
#[must_use]
pub(super) fn rfc3339(moment: UnixTime) -> String {
    let Date { year, month, day } = Date::of(moment);
    let secs = moment.as_secs();
    let (hour, minute, second) = (secs / 3_600 % 24, secs / 60 % 60, secs % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Says how long ago a moment was, as in “5 minutes ago”; rounded down.
#[must_use]
pub(super) fn ago(moment: UnixTime, now: UnixTime) -> String {
    let secs = now.since(moment);
    let (count, unit) = match secs {
        0..60 => return "just now".to_owned(),
        60..3_600 => (secs / 60, "minute"),
        3_600..86_400 => (secs / 3_600, "hour"),
        _ => (secs / 86_400, "day"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_said_as_people_say_them() {
        for (secs, expected, machine) in [
            (0, "1 January 1970, 00:00 UTC", "1970-01-01T00:00:00Z"),
            (951_782_399, "28 February 2000, 23:59 UTC", "2000-02-28T23:59:59Z"),
            (951_782_400, "29 February 2000, 00:00 UTC", "2000-02-29T00:00:00Z"),
            (951_868_800, "1 March 2000, 00:00 UTC", "2000-03-01T00:00:00Z"),
            (1_800_000_000, "15 January 2027, 08:00 UTC", "2027-01-15T08:00:00Z"),
            (4_107_542_399, "28 February 2100, 23:59 UTC", "2100-02-28T23:59:59Z"),
            (4_107_542_400, "1 March 2100, 00:00 UTC", "2100-03-01T00:00:00Z"),
            (1_798_761_599, "31 December 2026, 23:59 UTC", "2026-12-31T23:59:59Z"),
        ] {
            let moment = UnixTime::from_secs(secs);
            assert_eq!(
                (day_and_time(moment).as_str(), rfc3339(moment).as_str()),
                (expected, machine)
            );
        }
        // Somebody's nonsense in a row must not keep the page from being shown.
        assert!(day_and_time(UnixTime::from_secs(u64::MAX)).ends_with(" UTC"));
    }

    #[test]
    fn times_ago_are_rounded_down() {
        let now = UnixTime::from_secs(1_800_000_000);
        for (secs, expected) in [
            (0, "just now"),
            (59, "just now"),
            (60, "1 minute ago"),
            (119, "1 minute ago"),
            (3_599, "59 minutes ago"),
            (3_600, "1 hour ago"),
            (86_399, "23 hours ago"),
            (86_400, "1 day ago"),
            (604_800, "7 days ago"),
        ] {
            assert_eq!(ago(now.minus(secs), now), expected);
        }
        assert_eq!(ago(now.plus(5), now), "just now");
    }
}
