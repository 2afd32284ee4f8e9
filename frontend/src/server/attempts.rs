//! Slows down who guesses tokens, each source for itself.
//!
//! A misconfigured Kibana is no guesser: a rule run has up to 100 alerts, each sent three times. So
//! many are free, and one more every tenth of a second. No token of 32 characters is guessed so.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::server::places::Source;

/// What the sources have failed lately, in bounded memory.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<Failures>);

/// When nothing of it counts any more, each failure a tenth of a second later.
#[derive(Debug, Default)]
struct Failures {
    /// Who is not in it has failed nothing that counts.
    of: HashMap<Source, Instant>,
    /// Of all that find no room in it.
    others: Option<Instant>,
}

impl Attempts {
    /// Begins an attempt. It counts as failed from here on, ahead of any comparison, so that no number
    /// of attempts at the same time gets past the limit.
    ///
    /// # Errors
    /// Too many have failed; one is free after this many whole seconds.
    pub fn begin(&self, source: Source, now: Instant) -> Result<Attempt<'_>, u32> {
        let mut failures = self.failures();
        let own = failures.have_room(source, now);
        let before = if own { failures.of.get(&source).copied() } else { failures.others };
        let before = before.unwrap_or(now).max(now);
        let after = before.checked_add(PRICE).unwrap_or(before);
        let over = after.saturating_duration_since(now).saturating_sub(FREE);
        if !over.is_zero() {
            let wait = over.as_nanos().div_ceil(Duration::from_secs(1).as_nanos());
            return Err(u32::try_from(wait).unwrap_or(u32::MAX));
        }
        if own {
            failures.of.insert(source, after);
        } else {
            failures.others = Some(after);
        }
        Ok(Attempt { attempts: self, source: own.then_some(source), now })
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failures {
    /// Whether the source may have an entry of its own. For its sake only those are forgotten whose
    /// failures count no more.
    fn have_room(&mut self, source: Source, now: Instant) -> bool {
        if self.of.len() >= SOURCES && !self.of.contains_key(&source) {
            self.of.retain(|_, until| *until > now);
        }
        self.of.len() < SOURCES || self.of.contains_key(&source)
    }
}

/// One attempt, failed unless it is said to be right.
#[derive(Debug)]
#[must_use]
pub struct Attempt<'a> {
    attempts: &'a Attempts,
    /// None among the others.
    source: Option<Source>,
    now: Instant,
}

impl Attempt<'_> {
    /// It was right, and counts no more.
    pub fn was_right(self) {
        let mut failures = self.attempts.failures();
        let back = |until: Instant| until.checked_sub(PRICE);
        match self.source {
            None => failures.others = failures.others.and_then(back),
            Some(source) => {
                let left = failures.of.remove(&source).and_then(back);
                // Who has never failed leaves nothing behind.
                if let Some(left) = left.filter(|left| *left > self.now) {
                    failures.of.insert(source, left);
                }
            }
        }
    }
}

/// What one failure costs: ten a second are free for good.
const PRICE: Duration = Duration::from_millis(100);
/// So much may have failed: 300 attempts, a hundred alerts of a Kibana that sends each three times.
const FREE: Duration = Duration::from_secs(30);
/// Sources with an entry of their own.
const SOURCES: usize = 4096;

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn source(number: u32) -> Source {
        Source::of(IpAddr::from(Ipv4Addr::from_bits(number)))
    }

    fn fail(attempts: &Attempts, number: u32, now: Instant) -> Result<(), u32> {
        attempts.begin(source(number), now).map(drop)
    }

    #[test]
    fn three_hundred_failures_are_free_and_then_ten_a_second() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let after = |milliseconds| now + Duration::from_millis(milliseconds);
        for _ in 0..300 {
            fail(&attempts, 1, now).unwrap();
        }
        assert_eq!(fail(&attempts, 1, now), Err(1));
        assert_eq!(fail(&attempts, 1, after(99)), Err(1));
        assert_eq!(fail(&attempts, 1, after(100)), Ok(()));
        let free = (100..10_100).filter(|then| fail(&attempts, 1, after(*then)).is_ok());
        assert_eq!(free.count(), 99);
        // Others have failed nothing.
        fail(&attempts, 2, now).unwrap();
        // No more than those are ever free at once.
        let later = now + Duration::from_secs(3600);
        assert_eq!((0..400).filter(|_| fail(&attempts, 1, later).is_ok()).count(), 300);
    }

    #[test]
    fn what_is_right_costs_nothing_and_leaves_nothing_behind() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..1000 {
            attempts.begin(source(1), now).unwrap().was_right();
        }
        assert!(attempts.failures().of.is_empty());
        // Among failures, too.
        for _ in 0..299 {
            fail(&attempts, 1, now).unwrap();
        }
        for _ in 0..1000 {
            attempts.begin(source(1), now).unwrap().was_right();
        }
        fail(&attempts, 1, now).unwrap();
        assert!(attempts.begin(source(1), now).is_err(), "the right one of a source that guesses");
    }

    #[test]
    fn attempts_at_the_same_time_do_not_get_past_the_limit() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let passed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| (0..1000).filter(|_| fail(&attempts, 1, now).is_ok()).count())
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(passed, 300);
    }

    #[test]
    fn many_sources_take_bounded_memory_and_none_that_has_failed_is_forgotten() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let many = u32::try_from(SOURCES).unwrap();
        for number in 0..many {
            for _ in 0..300 {
                fail(&attempts, number, now).unwrap();
            }
        }
        // Who comes now shares one account with all others.
        let free = (many..many + 1000).filter(|number| fail(&attempts, *number, now).is_ok());
        assert_eq!(free.count(), 300);
        assert_eq!(attempts.failures().of.len(), SOURCES);
        assert!(fail(&attempts, 0, now).is_err() && fail(&attempts, many - 1, now).is_err());
        // A right one among them is given back to all.
        let later = now + Duration::from_millis(100);
        attempts.begin(source(many + 7), later).unwrap().was_right();
        fail(&attempts, many + 8, later).unwrap();
        // When nothing counts any more there is room again.
        let much_later = now + FREE;
        fail(&attempts, many, much_later).unwrap();
        assert_eq!(attempts.failures().of.len(), 1);
    }
}
