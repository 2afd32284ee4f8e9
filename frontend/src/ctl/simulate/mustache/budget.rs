//! How much a simulation may take: sections in each other over one list, and keys with dots within
//! keys with dots, grow without end from a few lines.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// What is left for all bodies of one command.
#[derive(Debug)]
pub(in crate::ctl::simulate) struct Budget {
    bytes: Cell<usize>,
    until: Option<Instant>,
}

impl Budget {
    pub(in crate::ctl::simulate) fn new() -> Self {
        Self::lasting(MOST_TIME)
    }

    /// One whose time is over sooner or later than that.
    pub(in crate::ctl::simulate) fn lasting(time: Duration) -> Self {
        Self { bytes: Cell::new(MOST_BYTES), until: Instant::now().checked_add(time) }
    }

    /// Takes so many bytes, and one for the step itself.
    ///
    /// # Errors
    /// There is not as much left, or the time is over.
    pub(super) fn spend(&self, bytes: usize) -> Result<(), TooMuch> {
        let left = self.bytes.get().checked_sub(bytes.saturating_add(1)).ok_or(TooMuch::Large)?;
        self.bytes.set(left);
        match self.until {
            Some(until) if Instant::now() < until => Ok(()),
            _ => Err(TooMuch::Long),
        }
    }

    /// Whether values may stand so deep in each other.
    ///
    /// # Errors
    /// They may not.
    pub(super) const fn allows(&self, depth: usize) -> Result<(), TooMuch> {
        if depth > MOST_DEPTH { Err(TooMuch::Deep) } else { Ok(()) }
    }
}

/// Why it is not simulated to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(in crate::ctl) enum TooMuch {
    #[error("the template and the alert make more than {} MiB of it; give a smaller part", MOST_BYTES >> 20)]
    Large,
    #[error("the template and the alert take more than {} s; give a smaller part", MOST_TIME.as_secs())]
    Long,
    #[error(
        "the alert has more than {MOST_DEPTH} levels, dots in keys counted; give a smaller part"
    )]
    Deep,
    #[error(
        "--alert: more than {MOST_ALERTS} alerts, and no run of a rule makes as many; give fewer"
    )]
    Many,
}

/// Several times what all bodies of the largest file have.
const MOST_BYTES: usize = 64 << 20;
const MOST_TIME: Duration = Duration::from_secs(10);
/// Twice what JSON may have here.
const MOST_DEPTH: usize = 256;
/// Kibana's own default is 1000 (`xpack.alerting.rules.run.alerts.max`).
pub(in crate::ctl::simulate) const MOST_ALERTS: usize = 10_000;
