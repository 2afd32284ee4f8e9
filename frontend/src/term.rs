//! Durations as people write them, in an alert's body and on webhookctl's command line.

use protocol::Term;

/// Reads the term of a block: `1h`, `90m`, `7d`, `permanent`.
///
/// # Errors
/// What is wrong with it, without an example.
pub fn parse(text: &str) -> Result<Term, TermError> {
    if text.trim() == "permanent" {
        return Ok(Term::Permanent);
    }
    seconds(text).and_then(lasting)
}

/// The term of a block as a number of seconds.
///
/// # Errors
/// It is zero, or more than the wire carries.
pub fn from_seconds(seconds: u64) -> Result<Term, TermError> {
    u32::try_from(seconds).map_err(|_| TermError::TooLong).and_then(lasting)
}

/// Reads a duration of whole seconds, which may be none: `10m`, `0s`.
///
/// # Errors
/// As [`parse`].
pub fn seconds(text: &str) -> Result<u32, TermError> {
    // humantime 2.4 panics where the sum is exactly 2^64 s, which takes over 20 bytes to write.
    if text.len() > MAX_BYTES {
        return Err(TermError::Unreadable);
    }
    let duration = humantime::parse_duration(text).map_err(|_| TermError::Unreadable)?;
    if duration.subsec_nanos() > 0 {
        return Err(TermError::Fraction);
    }
    u32::try_from(duration.as_secs()).map_err(|_| TermError::TooLong)
}

fn lasting(seconds: u32) -> Result<Term, TermError> {
    Term::seconds(seconds).ok_or(TermError::Zero)
}

/// Why a text or a number is no term. The caller adds an example that fits the place.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum TermError {
    /// Neither a duration nor `permanent`.
    #[error("not a duration")]
    Unreadable,
    /// Part of a second.
    #[error("not a whole number of seconds")]
    Fraction,
    /// A block that would end at once.
    #[error("a block cannot last for no time")]
    Zero,
    /// Over `u32::MAX` seconds.
    #[error("longer than 136 years")]
    TooLong,
}

/// Room for `1day 12hours 30min`.
const MAX_BYTES: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_is_read_as_people_write_it() {
        for (text, term) in [
            ("1s", Term::seconds(1).unwrap()),
            ("90m", Term::seconds(5_400).unwrap()),
            ("1h", Term::seconds(3_600).unwrap()),
            (" 1h 30m ", Term::seconds(5_400).unwrap()),
            ("1day 12hours 30min", Term::seconds(131_400).unwrap()),
            ("7d", Term::seconds(604_800).unwrap()),
            ("4294967295s", Term::seconds(u32::MAX).unwrap()),
            ("permanent", Term::Permanent),
            (" permanent ", Term::Permanent),
        ] {
            assert_eq!(parse(text), Ok(term), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_term_is_refused_with_the_reason() {
        for (text, error) in [
            ("", TermError::Unreadable),
            ("3600", TermError::Unreadable),
            ("-1h", TermError::Unreadable),
            ("1 fortnight", TermError::Unreadable),
            ("forever", TermError::Unreadable),
            ("{{context.duration}}", TermError::Unreadable),
            ("1h\u{0}", TermError::Unreadable),
            ("１h", TermError::Unreadable),
            ("99999999999999999y", TermError::Unreadable),
            ("0", TermError::Zero),
            ("0s", TermError::Zero),
            ("500ms", TermError::Fraction),
            ("1.5s", TermError::Fraction),
            ("4294967296s", TermError::TooLong),
            ("137y", TermError::TooLong),
        ] {
            assert_eq!(parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_text_on_which_humantime_panics_is_refused_before() {
        for text in ["18446744073709551615s 1000ms", "30500568904943w7h15s1000ms"] {
            assert_eq!(parse(text), Err(TermError::Unreadable), "{text}");
        }
    }

    #[test]
    fn a_number_of_seconds_is_a_term_unless_it_is_zero_or_too_large() {
        assert_eq!(from_seconds(1), Ok(Term::seconds(1).unwrap()));
        assert_eq!(from_seconds(4_294_967_295), Ok(Term::seconds(u32::MAX).unwrap()));
        assert_eq!(from_seconds(0), Err(TermError::Zero));
        assert_eq!(from_seconds(4_294_967_296), Err(TermError::TooLong));
    }

    #[test]
    fn a_duration_that_is_no_term_may_be_none() {
        assert_eq!(seconds("0s"), Ok(0));
        assert_eq!(seconds("10m"), Ok(600));
        assert_eq!(seconds("permanent"), Err(TermError::Unreadable));
    }
}
