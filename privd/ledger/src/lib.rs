//! The ledger: every live block, what ended, and what may not come back yet, on disk before it is
//! acknowledged.
//!
//! The values are here, the file is in [`Ledger`]. It knows nothing of peers, policy or the
//! firewall.

mod blocks;
mod file;
mod tables;

use std::collections::{BTreeMap, HashMap};

use protocol::{BlockInfo, Enforced, EventId, Target, Until};

pub use crate::blocks::Blocks;
pub use crate::file::{Ledger, LedgerError};

/// A live block.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Live {
    /// What peers are told of it.
    pub info: BlockInfo,
    /// The request that made it.
    pub event: EventId,
    /// Whether this process began it: then its times are as wrong as the clock was.
    pub of_this_run: bool,
}

impl Live {
    /// How its target is blocked.
    pub const fn enforced(&self) -> Enforced {
        Enforced { target: self.info.target, until: self.info.until }
    }

    /// Whether its time has come.
    pub const fn is_over(&self, wall: u64) -> bool {
        matches!(self.info.until, Until::At(end) if end <= wall)
    }
}

/// What is remembered of a target whose blocks ended by themselves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ended {
    /// How many.
    pub offences: u32,
    /// When the last one did, in seconds since the Unix epoch.
    pub last: u64,
}

/// Everything that the ledger holds.
#[derive(Debug, Default)]
pub struct Records {
    /// Live blocks.
    pub blocks: Blocks,
    /// Ended ones.
    pub ended: HashMap<Target, Ended>,
    /// Until when alerts cannot put a target back.
    pub immune: BTreeMap<Target, u64>,
    /// False in a new ledger: the firewall may hold blocks that it does not know.
    pub adopted: bool,
}

/// Changes that become durable together.
#[derive(Debug, Default)]
pub struct Entry {
    /// Blocks that begin, or change.
    pub added: Vec<Live>,
    /// Blocks that are gone.
    pub removed: Vec<Target>,
    /// Offences to remember; None: to forget.
    pub ended: Vec<(Target, Option<Ended>)>,
    /// Immunities; None: over.
    pub immune: Vec<(Target, Option<u64>)>,
    /// Whether the firewall's rules have been taken over into this ledger.
    pub adopted: bool,
}

impl Entry {
    /// Whether there is nothing to write.
    pub const fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.removed.is_empty()
            && self.ended.is_empty()
            && self.immune.is_empty()
            && !self.adopted
    }
}
