//! Time: of the wall, which may be set, and since boot, which only passes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// One moment on both clocks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Now {
    /// Seconds since the Unix epoch; 0 on a clock set before it.
    pub wall: u64,
    /// Time since boot, suspension included (clock_gettime(2), `CLOCK_BOOTTIME`).
    pub steady: Duration,
}

/// Where the time comes from: the system, or in tests a hand that moves it.
pub type Clock = Box<dyn Fn() -> Now + Send>;

/// The system's time.
pub fn now() -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let steady = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
    Now { wall, steady }
}
