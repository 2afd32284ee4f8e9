//! What readers answer from while the enforcer is busy: an immutable picture, replaced as a whole.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};

use protocol::{BlockInfo, Enforced, Target, Text};

use crate::config::Config;
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
    /// The configuration in force.
    pub config: Arc<Config>,
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
    pub fn in_force(&self, target: Target) -> Option<Enforced> {
        [policy::widened(target, &self.config), target].into_iter().find_map(|target| {
            let live = self.blocks.get(&target).filter(|live| live.in_force)?;
            Some(live.enforced(target))
        })
    }

    /// The narrowest live block that covers `target`.
    pub fn around(&self, target: Target) -> Option<(Target, &Live)> {
        let covering = self.blocks.iter().filter(|(block, _)| block.net().contains(&target.net()));
        let narrowest = covering.max_by_key(|(block, _)| block.net().prefix_len());
        narrowest.map(|(block, live)| (*block, live))
    }
}

impl Live {
    /// How the target is blocked.
    pub const fn enforced(&self, target: Target) -> Enforced {
        Enforced { target, until: self.record.until }
    }

    /// The block as a peer is told of it.
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
    /// Requests that wait for the enforcer, its present ones included.
    pub queued: AtomicU64,
}

impl Published {
    /// Starts with a first picture.
    pub fn new(first: Snapshot) -> Self {
        Self { current: RwLock::new(Arc::new(first)), queued: AtomicU64::new(0) }
    }

    /// The current picture; it stays as it is while it is held.
    pub fn read(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the picture.
    pub fn publish(&self, next: Snapshot) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }
}
