//! A token bucket: so many a minute, none lost to rounding.

use std::time::Duration;

/// Fills evenly and holds a minute's worth.
#[derive(Clone, Debug)]
pub struct Bucket {
    per_minute: u32,
    /// In sixty-thousandths of a token: each millisecond adds `per_minute` of them.
    level: u64,
    /// When `level` was right, as time since boot.
    at: Duration,
}

impl Bucket {
    /// A full bucket.
    pub fn new(per_minute: u32, now: Duration) -> Self {
        Self { per_minute, level: u64::from(per_minute).saturating_mul(TOKEN), at: now }
    }

    /// Takes one token.
    ///
    /// # Errors
    /// There is none; one is there after this many whole seconds.
    pub fn take(&mut self, now: Duration) -> Result<(), u32> {
        self.fill(now);
        match self.level.checked_sub(TOKEN) {
            Some(left) => {
                self.level = left;
                Ok(())
            }
            None => {
                let missing = TOKEN.saturating_sub(self.level);
                let wait = missing.div_ceil(u64::from(self.per_minute.max(1))).div_ceil(1000);
                Err(u32::try_from(wait).unwrap_or(u32::MAX))
            }
        }
    }

    /// Goes on at another rate, with what is left.
    pub fn change(&mut self, per_minute: u32, now: Duration) {
        self.fill(now);
        self.per_minute = per_minute;
        self.fill(now);
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_millis();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        let rate = u64::from(self.per_minute);
        self.level =
            self.level.saturating_add(passed.saturating_mul(rate)).min(rate.saturating_mul(TOKEN));
        // The rest of a millisecond counts the next time.
        self.at = self.at.saturating_add(Duration::from_millis(passed));
    }
}

/// The price of one token.
const TOKEN: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_minutes_worth_is_there_and_then_one_every_so_often() {
        let mut bucket = Bucket::new(3, at(0));
        for _ in 0..3 {
            bucket.take(at(0)).unwrap();
        }
        assert_eq!(bucket.take(at(0)), Err(20));
        assert_eq!(bucket.take(at(19_999)), Err(1));
        assert_eq!(bucket.take(at(20_000)), Ok(()));
        assert_eq!(bucket.take(at(20_000)), Err(20));
        // No more than a minute's worth is saved up.
        for _ in 0..3 {
            bucket.take(at(9_000_000)).unwrap();
        }
        assert!(bucket.take(at(9_000_000)).is_err());
    }

    #[test]
    fn asking_often_loses_nothing_to_rounding() {
        let mut bucket = Bucket::new(7, at(0));
        let taken = (0..600_000).filter(|now| bucket.take(at(*now)).is_ok()).count();
        // Seven saved up, and seven in each of ten minutes but for the last moment.
        assert_eq!(taken, 76);
    }

    #[test]
    fn another_rate_takes_no_more_along_than_it_holds() {
        let mut bucket = Bucket::new(100, at(0));
        bucket.change(2, at(0));
        assert!(bucket.take(at(0)).is_ok() && bucket.take(at(0)).is_ok());
        assert_eq!(bucket.take(at(0)), Err(30));
        bucket.change(600, at(0));
        assert_eq!(bucket.take(at(0)), Err(1));
    }
}
