//! The comment that marks our rules: `webhookd:ID`, or `webhookd:ID:TIME` where the block ends.
//!
//! An alphabet that ufw keeps as it is: it mistreats quotes and anything beyond ASCII (measured).

use std::fmt;
use std::str::FromStr;

use protocol::{EventId, Until};

/// What our comments begin with.
pub const PREFIX: &str = "webhookd:";

/// What a comment of ours says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mark {
    event: EventId,
    until: Until,
}

impl Mark {
    /// The mark of a block.
    pub const fn new(event: EventId, until: Until) -> Self {
        Self { event: EventId(event.0 >> LOW_BITS << LOW_BITS), until }
    }

    /// The event that made the block, as far as a comment holds it: 12 digits.
    pub const fn event(&self) -> EventId {
        self.event
    }

    /// When the block ends.
    pub const fn until(&self) -> Until {
        self.until
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{PREFIX}{:.DIGITS$}", self.event.to_string())?;
        match self.until {
            Until::Permanent => Ok(()),
            Until::At(time) => write!(formatter, ":{time}"),
        }
    }
}

impl FromStr for Mark {
    type Err = ();

    fn from_str(comment: &str) -> Result<Self, ()> {
        let text = comment.strip_prefix(PREFIX).ok_or(())?;
        let (id, time) = text.split_once(':').map_or((text, None), |(id, time)| (id, Some(time)));
        if id.len() != DIGITS || !id.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(());
        }
        let head = u128::from_str_radix(id, 16).map_err(drop)?;
        let until = match time {
            None => Until::Permanent,
            Some(time) => Until::At(time.parse().map_err(drop)?),
        };
        Ok(Self::new(EventId(head << LOW_BITS), until))
    }
}

/// Digits of the event id in a comment.
const DIGITS: usize = 12;
/// Bits of the event id that are not in a comment.
const LOW_BITS: u32 = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_survives_being_a_comment() {
        let event = EventId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        for (until, text) in [
            (Until::Permanent, "webhookd:0123456789ab"),
            (Until::At(1_790_000_000), "webhookd:0123456789ab:1790000000"),
        ] {
            let mark = Mark::new(event, until);
            assert_eq!(mark.to_string(), text);
            assert_eq!(text.parse(), Ok(mark));
        }
    }

    #[test]
    fn what_is_no_mark_is_refused() {
        for text in [
            "",
            "webhookd:",
            "webhookd:012",
            "webhookd:0123456789ax",
            "webhookd:+123456789ab",
            "webhookd:0123456789ab:",
            "webhookd:0123456789ab:soon",
            "webhookd:0123456789ab:-1",
            "mine",
        ] {
            assert!(text.parse::<Mark>().is_err(), "{text}");
        }
    }
}
