//! How long something took, each time: counts below fixed bounds.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Counts of durations by size, as a Prometheus histogram has them.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Durations {
    /// How many fit under each bound and under none before it; the last fit under no bound.
    counts: [u64; PLACES],
    /// All of them together, in microseconds.
    sum_micros: u64,
}

impl Durations {
    /// Counts one more.
    pub fn note(&mut self, took: Duration) {
        let bounds = BOUNDS.map(|bound| Duration::from_millis(bound.into()));
        let place = bounds.partition_point(|bound| *bound < took);
        if let Some(count) = self.counts.get_mut(place) {
            *count = count.saturating_add(1);
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sum_micros = self.sum_micros.saturating_add(micros);
    }

    /// How many fit under each bound, in milliseconds, and under none before it; last, under none at all.
    pub fn counts(&self) -> impl Iterator<Item = (Option<u32>, u64)> {
        let bounds = BOUNDS.into_iter().map(Some).chain([None]);
        bounds.zip(self.counts)
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// How long all of them took together.
    #[must_use]
    pub const fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_micros)
    }
}

/// In milliseconds. A change of a rule takes tens of them, a run of ufw hundreds, one among 10,000 rules
/// a thousand.
const BOUNDS: [u32; 11] = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000];
/// One for each bound, and one for what exceeds all.
const PLACES: usize = BOUNDS.len() + 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_under_the_first_bound_that_it_does_not_exceed() {
        let mut durations = Durations::default();
        for micros in [0, 5_000, 5_001, 9_999_999, 10_000_000, 10_000_001, 3_600_000_000] {
            durations.note(Duration::from_micros(micros));
        }
        let counts: Vec<_> = durations.counts().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counts, [(Some(5), 2), (Some(10), 1), (Some(10_000), 2), (None, 2)]);
        assert_eq!(durations.count(), 7);
        assert_eq!(durations.sum(), Duration::from_micros(3_630_010_001));
    }
}
