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

/// The end of a block for people.
#[must_use]
pub fn until_local(until: Until) -> String {
    shown(until, local)
}

fn shown(until: Until, time: fn(u64) -> String) -> String {
    match until {
        Until::Permanent => "permanent".to_owned(),
        Until::At(seconds) => time(seconds),
    }
}

fn timestamp(seconds: u64) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_as_a_time() {
        assert_eq!(until_rfc3339(Until::At(1_790_000_000)), "2026-09-21T14:13:20Z");
        assert_eq!(until_rfc3339(Until::Permanent), "permanent");
        assert_eq!(until_local(Until::Permanent), "permanent");
        // Whatever the zone, its offset is less than a day.
        let local = until_local(Until::At(1_790_000_000));
        assert!(local.starts_with("2026-09-2") && local.ends_with(":20"), "{local}");
    }

    #[test]
    fn a_time_beyond_every_calendar_is_shown_as_a_number() {
        assert_eq!(rfc3339(u64::MAX), "18446744073709551615");
        assert_eq!(local(u64::MAX), "18446744073709551615");
    }
}
