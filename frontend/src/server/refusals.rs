//! Says what anybody who reaches the port can cause, without filling the log with it.

use std::fmt::Display;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use protocol::Untrusted;
use slog::{Logger, warn};

/// One line a second, the others counted.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<Count>);

#[derive(Debug, Default)]
struct Count {
    last: Option<Instant>,
    suppressed: u64,
}

impl Refusals {
    /// Notes that a client was refused before anything was judged that it asked for.
    pub fn note(&self, log: &Logger, client: IpAddr, why: &dyn Display) {
        if let Some(suppressed) = self.next(Instant::now()) {
            let why = why.to_string();
            warn!(log, "connection refused"; "why" => %Untrusted(&why), "client" => %client,
                "suppressed" => suppressed);
        }
    }

    /// How many lines went before this one unsaid; None if it does, too.
    fn next(&self, now: Instant) -> Option<u64> {
        let mut count = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if count.last.is_some_and(|last| now.saturating_duration_since(last) < LINE_PAUSE) {
            count.suppressed = count.suppressed.saturating_add(1);
            return None;
        }
        count.last = Some(now);
        Some(std::mem::take(&mut count.suppressed))
    }
}

/// Between two lines.
const LINE_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_second_says_how_many_were_not_said() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        let said: Vec<Option<u64>> = [0, 1, 999, 1000, 1001, 3000, 4000]
            .map(|milliseconds| refusals.next(now + Duration::from_millis(milliseconds)))
            .to_vec();
        assert_eq!(said, [Some(0), None, None, Some(2), None, Some(1), Some(0)]);
    }
}
