//! Waiting for a condition instead of for a time.

use std::time::{Duration, Instant};

/// Waits until `condition` holds.
///
/// # Panics
/// After `seconds`, naming what was waited for.
pub fn until(what: &str, seconds: u64, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !condition() {
        assert!(Instant::now() < deadline, "after {seconds} s still not: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
