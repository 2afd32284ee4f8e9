//! What readers answer from while the enforcer is busy: an immutable picture, replaced as a whole.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use protocol::{BlockInfo, Enforced, Target, Text};

use crate::config::Limits;
use crate::engine::ufw::Stamp;
use crate::ledger::Record;
use crate::policy;
use crate::protected::Protected;

/// The state after the enforcer's last change or look.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Every live block.
    pub blocks: Arc<BTreeMap<Target, Live>>,
    /// What was protected then.
    pub protected: Arc<Protected>,
    /// The bounds in force.
    pub limits: Arc<Limits>,
    /// False in observe mode.
    pub enforce: bool,
    /// Why nothing can be blocked, if so.
    pub problem: Option<Text>,
    /// The state of the rules that `blocks` was read back from.
    pub stamp: Stamp,
    /// When that was, in seconds since the Unix epoch.
    pub verified_at: Option<u64>,
}

/// One live block.
#[derive(Clone, Debug)]
pub struct Live {
    /// What the ledger holds.
    pub record: Record,
    /// Whether it was in force when last looked at.
    pub in_force: bool,
}

impl Snapshot {
    /// The block that already covers `target`, provided that nobody touched the rules since they
    /// were read back.
    #[must_use]
    pub fn in_force(&self, target: Target) -> Option<Enforced> {
        let wider = policy::widened(target, self.limits.ipv6_prefix);
        [wider, target].into_iter().find_map(|target| {
            let live = self.blocks.get(&target).filter(|live| live.in_force)?;
            Some(Enforced { target, until: live.record.until })
        })
    }

    /// The narrowest live block that covers `target`.
    #[must_use]
    pub fn around(&self, target: Target) -> Option<(Target, &Live)> {
        let covering = self.blocks.iter().filter(|(block, _)| block.net().contains(&target.net()));
        let narrowest = covering.max_by_key(|(block, _)| block.net().prefix_len());
        narrowest.map(|(block, live)| (*block, live))
    }
}

impl Live {
    /// The block as a peer is told of it.
    #[must_use]
    pub fn info(&self, target: Target) -> BlockInfo {
        BlockInfo {
            target,
            since: self.record.since,
            until: self.record.until,
            reason: self.record.reason.clone(),
            rule_name: self.record.rule_name.clone(),
            alert_id: self.record.alert_id.clone(),
            peer_uid: self.record.peer_uid,
            peer_pid: self.record.peer_pid,
            requester: self.record.requester,
            in_force: self.in_force,
        }
    }
}

/// The place where the current snapshot is found.
#[derive(Debug)]
pub struct Published {
    current: RwLock<Arc<Snapshot>>,
    queued: AtomicU64,
}

impl Published {
    /// Starts with a first picture.
    #[must_use]
    pub fn new(first: Snapshot) -> Self {
        Self { current: RwLock::new(Arc::new(first)), queued: AtomicU64::new(0) }
    }

    /// The current picture; it stays as it is while it is held.
    #[must_use]
    pub fn read(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the picture.
    pub fn publish(&self, next: Snapshot) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }

    /// Requests that wait for the enforcer, its present ones included.
    #[must_use]
    pub fn queued(&self) -> u64 {
        self.queued.load(Ordering::Relaxed)
    }

    /// One more waits.
    pub fn joined(&self) {
        self.queued.fetch_add(1, Ordering::Relaxed);
    }

    /// One was answered.
    pub fn left(&self) {
        self.queued.fetch_sub(1, Ordering::Relaxed);
    }
}
