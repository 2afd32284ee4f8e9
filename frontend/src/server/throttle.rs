//! Keeps what anybody who reaches the port can cause from filling the log.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One line a second, the others counted.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<Count>);

#[derive(Debug, Default)]
struct Count {
    last: Option<Instant>,
    suppressed: u64,
}

impl Throttle {
    /// How many lines before this one were not said; None if this one is not, either.
    pub fn pass(&self, now: Instant) -> Option<u64> {
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
        let (throttle, now) = (Throttle::default(), Instant::now());
        let said = [0, 1, 999, 1000, 1001, 3000, 4000]
            .map(|milliseconds| throttle.pass(now + Duration::from_millis(milliseconds)));
        assert_eq!(said, [Some(0), None, None, Some(2), None, Some(1), Some(0)]);
    }
}
