//! What readers answer from while the enforcer is busy: a picture, replaced as a whole, and the tables
//! beside it, which the enforcer keeps up to date.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

use protocol::{Durations, Enforced, Target, Text};

use crate::clock;
use firewall::Stamp;
use ledger::{Blocks, Ended};
use policy::config::Config;
use policy::protected::Protected;
use policy::{self, Immune};

/// The state after the enforcer's last change or look.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The engine's name.
    pub firewall: &'static str,
    /// Every live block.
    pub blocks: Shared<Blocks>,
    /// Blocks that ended by themselves.
    pub ended: Shared<HashMap<Target, Ended>>,
    /// What alerts may not put back.
    pub immune: Shared<Immune>,
    /// What was protected then.
    pub protected: Arc<Protected>,
    /// The configuration in force.
    pub config: Arc<Config>,
    /// Why nothing can be blocked, if so.
    pub problem: Option<Text>,
    /// The state of the rules that `blocks` was read back from.
    pub stamp: Stamp,
    /// Blocks that were found missing since the start.
    pub drift: u64,
    /// Live blocks that were not in force: one that is just being put in force is none yet.
    pub not_in_force: usize,
    /// When that was, in seconds since the Unix epoch.
    pub verified_at: Option<u64>,
    /// How long each batch of changes took.
    pub changes: Durations,
}

impl Snapshot {
    /// The block that already covers `target`, provided that nobody touched the rules since they
    /// were read back.
    pub fn in_force(&self, target: Target) -> Option<Enforced> {
        let wall = clock::now().wall;
        [policy::widened(target, &self.config), target].into_iter().find_map(|target| {
            let blocks = self.blocks.read();
            let live = blocks.get(target)?;
            (live.info.in_force && !live.is_over(wall)).then(|| live.enforced())
        })
    }
}

/// A table that the enforcer alone writes, a moment at a time, and that is too large to be copied for
/// each picture.
#[derive(Debug, Default)]
pub struct Shared<T>(Arc<RwLock<T>>);

impl<T> Shared<T> {
    /// The first state of it.
    pub fn new(table: T) -> Self {
        Self(Arc::new(RwLock::new(table)))
    }

    /// As it is now; nothing is written while this is held.
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the enforcer.
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// The place where the current snapshot is found.
#[derive(Debug)]
pub struct Published {
    current: RwLock<Arc<Snapshot>>,
    /// Requests that wait for the enforcer, its present ones included.
    pub queued: AtomicU64,
    /// Held by each request until its reply is with the peer, or will never be.
    pub untold: Arc<()>,
    /// Whether the firewall's files are being changed by our own hand alone.
    changing: Arc<AtomicBool>,
}

impl Published {
    /// Starts with a first picture.
    pub fn new(first: Snapshot, changing: Arc<AtomicBool>) -> Self {
        let (current, queued) = (RwLock::new(Arc::new(first)), AtomicU64::new(0));
        Self { current, queued, untold: Arc::default(), changing }
    }

    /// The current picture; it stays as it is while it is held.
    pub fn read(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the picture.
    pub fn publish(&self, next: Snapshot) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        self.changing.store(false, Ordering::Relaxed);
    }

    /// Waits until every reply is with its peer, but not for ever: there are peers that do not read.
    /// Returns how many are not.
    pub fn tell_all(&self, within: Duration) -> usize {
        let begun = Instant::now();
        loop {
            let untold = Arc::strong_count(&self.untold).saturating_sub(1);
            if untold == 0 || begun.elapsed() >= within {
                return untold;
            }
            thread::sleep(TELLING);
        }
    }

    /// Whether what a picture says of the firewall is so: nobody but us wrote since.
    pub fn holds(&self, picture: &Snapshot) -> bool {
        self.changing.load(Ordering::Relaxed) || picture.stamp.is_current()
    }
}

/// Between two looks at whether all was told.
const TELLING: Duration = Duration::from_millis(1);
