//! Moments and choices that a seed brings back.

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A stream of numbers from a seed.
#[derive(Clone, Copy, Debug)]
pub struct Random(u64);

impl Random {
    /// From `WEBHOOKD_SEED` if that is set, else from the clock; printed either way. Each test has
    /// moments of its own.
    ///
    /// # Panics
    /// When `WEBHOOKD_SEED` is not a number.
    #[must_use]
    pub fn seeded(what: &str) -> Self {
        let seed = match std::env::var("WEBHOOKD_SEED") {
            Ok(seed) => seed.parse().expect("WEBHOOKD_SEED is a number"),
            Err(_) => {
                u64::from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos())
            }
        };
        eprintln!("{what}: WEBHOOKD_SEED={seed} brings these moments back");
        Self(what.bytes().fold(seed, |mixed, byte| mixed.rotate_left(8) ^ u64::from(byte)))
    }

    /// From a number that another stream gave: the moments of another process or thread.
    #[must_use]
    pub const fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// One number of a range.
    pub fn from(&mut self, range: Range<u64>) -> u64 {
        // splitmix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        range.start + (mixed ^ (mixed >> 31)) % (range.end - range.start)
    }

    /// Waits for a time below `milliseconds`: the one wait for a time in these tests, because the
    /// moment is what is tried.
    pub fn pause(&mut self, milliseconds: u64) {
        std::thread::sleep(Duration::from_micros(self.from(0..milliseconds * 1000)));
    }
}

/// How often something is tried: a tenth unless `WEBHOOKD_LONG` is 1.
#[must_use]
pub fn times(long: u64) -> u64 {
    if at_length() { long } else { long / 10 }
}

/// Whether everything is tried at full length.
#[must_use]
pub fn at_length() -> bool {
    std::env::var("WEBHOOKD_LONG").is_ok_and(|long| long == "1")
}
