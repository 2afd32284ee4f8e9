//! Times as programs and people read them.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use protocol::Until;

/// A time for programs, given in seconds since the Unix epoch: RFC 3339.
#[must_use]
pub fn rfc3339(seconds: u64) -> String {
    timestamp(seconds).map_or_else(|| seconds.to_string(), |time| time.to_string())
}

/// A time for people: local zone, to the second.
#[must_use]
pub fn local(seconds: u64) -> String {
    match timestamp(seconds) {
        Some(time) => time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        None => seconds.to_string(),
    }
}

/// The end of a block for programs.
#[must_use]
pub fn until_rfc3339(until: Until) -> String {
    shown(until, rfc3339)
}

/// The end of a block for people: `until 2026-11-24 05:48:28 (in 23 hours)`, or `permanent`.
#[must_use]
pub fn until(until: Until, now: u64) -> String {
    match until {
        Until::Permanent => "permanent".to_owned(),
        Until::At(seconds) => format!("until {} ({})", local(seconds), distance(seconds, now)),
    }
}

/// A time for people and how far it is from now: `2026-11-20 05:48:28 (3 days ago)`.
#[must_use]
pub fn told(seconds: u64, now: u64) -> String {
    format!("{} ({})", local(seconds), distance(seconds, now))
}

/// How long a block still has, in words: `1 day 3 hours`, or `permanent`.
#[must_use]
pub fn left(until: Until, now: u64) -> String {
    shown(until, |end| in_words(end.saturating_sub(now)))
}

/// The same where there is little room: `1d 3h`.
#[must_use]
pub fn left_short(until: Until, now: u64) -> String {
    shown(until, |end| {
        duration(end.saturating_sub(now), |count, unit| {
            format!("{count}{}", unit.get(..1).unwrap_or(unit))
        })
    })
}

/// A number of seconds in the largest two units that are next to each other: `1 day 3 hours`.
#[must_use]
pub fn in_words(seconds: u64) -> String {
    duration(seconds, |count, unit| {
        let plural = if count == 1 { "" } else { "s" };
        format!("{count} {unit}{plural}")
    })
}

/// Seconds since the Unix epoch; zero for a clock before it.
#[must_use]
pub fn now() -> u64 {
    u64::try_from(Timestamp::now().as_second()).unwrap_or_default()
}

fn distance(seconds: u64, now: u64) -> String {
    match (seconds.checked_sub(now), now.saturating_sub(seconds)) {
        (Some(0), _) => "now".to_owned(),
        (Some(left), _) => format!("in {}", in_words(left)),
        (None, ago) => format!("{} ago", in_words(ago)),
    }
}

fn duration(seconds: u64, word: fn(u64, &str) -> String) -> String {
    let mut rest = seconds;
    let counts = UNITS.map(|(unit, length)| {
        let count = rest.checked_div(length).unwrap_or_default();
        rest = rest.checked_rem(length).unwrap_or_default();
        (unit, count)
    });
    let largest = counts.iter().position(|(_, count)| *count > 0);
    // None at all is a number of the smallest unit.
    let from = largest.unwrap_or_else(|| counts.len().saturating_sub(1));
    let shown = counts.iter().skip(from).take(2);
    let shown = shown.filter(|(_, count)| *count > 0 || largest.is_none());
    shown.map(|(unit, count)| word(*count, unit)).collect::<Vec<_>>().join(" ")
}

fn shown(until: Until, time: impl Fn(u64) -> String) -> String {
    match until {
        Until::Permanent => "permanent".to_owned(),
        Until::At(seconds) => time(seconds),
    }
}

fn timestamp(seconds: u64) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}

/// In seconds. A month has no length of its own.
const UNITS: [(&str, u64); 5] =
    [("year", 31_536_000), ("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_as_a_time() {
        assert_eq!(until_rfc3339(Until::At(1_790_000_000)), "2026-09-21T14:13:20Z");
        assert_eq!(until_rfc3339(Until::Permanent), "permanent");
        // Whatever the zone, its offset is less than a day.
        let local = local(1_790_000_000);
        assert!(local.starts_with("2026-09-2") && local.ends_with(":20"), "{local}");
    }

    #[test]
    fn a_duration_is_told_in_two_units_at_most() {
        for (seconds, words, short) in [
            (0, "0 seconds", "0s"),
            (1, "1 second", "1s"),
            (59, "59 seconds", "59s"),
            (60, "1 minute", "1m"),
            (3_599, "59 minutes 59 seconds", "59m 59s"),
            (3_600, "1 hour", "1h"),
            (3_601, "1 hour", "1h"),
            (97_200, "1 day 3 hours", "1d 3h"),
            (7 * 86_400, "7 days", "7d"),
            (400 * 86_400, "1 year 35 days", "1y 35d"),
            (u64::from(u32::MAX), "136 years 70 days", "136y 70d"),
        ] {
            assert_eq!(in_words(seconds), words);
            assert_eq!(left(Until::At(1_000 + seconds), 1_000), words);
            assert_eq!(left_short(Until::At(1_000 + seconds), 1_000), short);
        }
        assert_eq!(left(Until::Permanent, 0), "permanent");
        assert_eq!(left_short(Until::Permanent, 0), "permanent");
        assert_eq!(left(Until::At(1), 2), "0 seconds");
    }

    #[test]
    fn a_time_is_told_with_how_far_it_is() {
        let at = |seconds| local(seconds);
        let now = 1_790_000_000;
        let end = now + 23 * 3_600;
        assert_eq!(until(Until::At(end), now), format!("until {} (in 23 hours)", at(end)));
        assert_eq!(until(Until::At(now), now), format!("until {} (now)", at(now)));
        assert_eq!(until(Until::Permanent, now), "permanent");
        assert_eq!(told(now - 259_200, now), format!("{} (3 days ago)", at(now - 259_200)));
    }

    #[test]
    fn a_time_beyond_every_calendar_is_shown_as_a_number() {
        assert_eq!(rfc3339(u64::MAX), "18446744073709551615");
        assert_eq!(local(u64::MAX), "18446744073709551615");
    }
}
