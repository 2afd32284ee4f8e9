//! Until when whoever works here may be silent. What can take long is announced, with the deadline
//! that it has itself: so a slow ufw is told from work that does not move.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Does what may take as long as this.
pub fn during<T>(longest: Duration, work: impl FnOnce() -> T) -> T {
    announce(longest);
    let done = work();
    announce(Duration::ZERO);
    done
}

fn announce(longest: Duration) {
    let due = BEGAN.elapsed().saturating_add(longest);
    DUE.store(u64::try_from(due.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// How long something more should have been heard for.
pub fn lateness() -> Duration {
    BEGAN.elapsed().saturating_sub(Duration::from_millis(DUE.load(Ordering::Relaxed)))
}

/// The clock that stands still while the host sleeps, as systemd's watchdog does.
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
/// Milliseconds from there. There is one worker in a process.
static DUE: AtomicU64 = AtomicU64::new(0);
