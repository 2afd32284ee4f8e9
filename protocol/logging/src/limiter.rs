//! How often a caller can cause a line: so often, and the rest is counted.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use slog::{KV, Logger, Record, Serializer, warn};

use crate::{Action, Audit, Document, Level, field};

/// Bounds the lines of one kind, and loses none of them from the count.
#[derive(Debug)]
pub struct Limiter {
    kind: &'static str,
    most: u32,
    span: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When the present span began.
    began: Option<Instant>,
    /// Lines in it.
    written: u32,
    /// Lines that were left out since one was written, and when the first of them was.
    suppressed: u64,
    since: Option<Instant>,
}

impl Limiter {
    /// At most so many lines in each `span`; `kind` is how the log calls them.
    #[must_use]
    pub const fn new(kind: &'static str, most: u32, span: Duration) -> Self {
        let state = State { began: None, written: 0, suppressed: 0, since: None };
        Self { kind, most, span, state: Mutex::new(state) }
    }

    /// What a busy hour may need, and no flood: a hundred at a time, twenty a second.
    #[must_use]
    pub const fn often(kind: &'static str) -> Self {
        Self::new(kind, 100, Duration::from_secs(5))
    }

    /// Whether a line may be written now; it tells how many were left out before it.
    pub fn admit(&self, now: Instant) -> Option<Suppressed> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = state.began.map(|began| now.saturating_duration_since(began));
        if elapsed.is_none_or(|elapsed| elapsed >= self.span) {
            state.began = Some(now);
            state.written = 0;
        }
        if state.written < self.most {
            state.written = state.written.saturating_add(1);
            return Some(state.take());
        }
        state.suppressed = state.suppressed.saturating_add(1);
        state.since.get_or_insert(now);
        None
    }

    /// Writes a line and a document of this action about lines that were left out and that no later
    /// one has told of: for a minute, or, where `now` is None, ever, as the daemon ends.
    pub fn settle(&self, now: Option<Instant>, action: Action, log: &Logger, audit: &Audit) {
        let Some(suppressed) = self.untold(now) else { return };
        warn!(log, "lines were left out"; "kind" => self.kind, suppressed);
        let document = Document::new(Level::Warn, action, "documents were left out");
        audit.record(document.text(field::KIND, self.kind).suppressed(suppressed));
    }

    fn untold(&self, now: Option<Instant>) -> Option<Suppressed> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let since = state.since?;
        let over = |now: Instant| now.saturating_duration_since(since) >= PATIENCE;
        now.is_none_or(over).then(|| state.take())
    }
}

impl State {
    fn take(&mut self) -> Suppressed {
        self.since = None;
        Suppressed(std::mem::take(&mut self.suppressed))
    }
}

/// Lines that were left out before this one: a key of the line where there were any.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Suppressed(pub u64);

impl KV for Suppressed {
    fn serialize(&self, _: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        if self.0 > 0 { serializer.emit_u64("suppressed", self.0) } else { Ok(()) }
    }
}

/// After the first line that was left out.
const PATIENCE: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_secs(5);

    #[test]
    fn so_many_are_written_in_a_span_and_the_next_one_counts_the_others() {
        let limiter = Limiter::new("tests", 3, SPAN);
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        for _ in 0..3 {
            assert_eq!(limiter.admit(at(0)), Some(Suppressed(0)));
        }
        assert!((1..=7).all(|now| limiter.admit(at(now)).is_none()));
        assert_eq!(limiter.admit(at(4_999)), None);
        assert_eq!(limiter.admit(at(5_000)), Some(Suppressed(8)));
        assert_eq!(limiter.admit(at(5_000)), Some(Suppressed(0)));
        // A clock that went back opens nothing.
        assert_eq!(limiter.admit(start), Some(Suppressed(0)));
        assert_eq!(limiter.admit(start), None);
    }

    #[test]
    fn what_a_kind_that_fell_silent_left_out_is_told_after_a_minute_and_once() {
        let limiter = Limiter::new("tests", 1, SPAN);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        limiter.admit(start);
        assert_eq!(limiter.untold(Some(at(3600))), None);
        limiter.admit(at(1));
        limiter.admit(at(2));
        assert_eq!(limiter.untold(Some(at(60))), None);
        assert_eq!(limiter.untold(Some(at(61))), Some(Suppressed(2)));
        assert_eq!(limiter.untold(Some(at(3600))), None);
        assert_eq!(limiter.admit(at(61)), Some(Suppressed(0)));
    }

    #[test]
    fn the_end_tells_at_once_and_no_line_is_counted_twice_or_lost() {
        let limiter = Limiter::new("tests", 2, SPAN);
        let start = Instant::now();
        let (mut written, mut told) = (0, 0);
        for millisecond in 0..20_000 {
            let now = start + Duration::from_millis(millisecond);
            if let Some(Suppressed(before)) = limiter.admit(now) {
                written += 1;
                told += before;
            }
        }
        told += limiter.untold(None).map_or(0, |Suppressed(rest)| rest);
        assert_eq!((written, written + told), (8, 20_000));
        assert_eq!(limiter.untold(None), None);
    }
}
