//! What the enforcer knows, and how that changes: durable first, then for everyone to read.

use std::sync::Arc;

use protocol::Text;
use slog::{error, warn};

use crate::enforcer::Enforcer;
use ledger::Entry;
use policy::protected::Protected;

impl Enforcer {
    /// Makes an entry durable, and then the state that everyone reads.
    pub(crate) fn commit(&mut self, entry: Entry) -> Result<(), Text> {
        self.write(&entry)?;
        self.absorb(entry);
        Ok(())
    }

    pub(crate) fn write(&mut self, entry: &Entry) -> Result<(), Text> {
        self.ledger.commit(entry).map_err(|problem| {
            error!(self.log, "ledger not written"; "error" => %problem);
            Text::truncated(UNWRITTEN)
        })
    }

    pub(crate) fn absorb(&mut self, entry: Entry) {
        self.adopted |= entry.adopted;
        let mut blocks = self.state.blocks.write();
        entry.removed.iter().for_each(|target| blocks.remove(*target));
        entry.added.into_iter().for_each(|live| blocks.insert(live));
        drop(blocks);
        let mut all = self.state.ended.write();
        for (target, ended) in entry.ended {
            match ended {
                Some(ended) => drop(all.insert(target, ended)),
                None => drop(all.remove(&target)),
            }
        }
        drop(all);
        let mut immune = self.state.immune.write();
        for (target, until) in entry.immune {
            match until {
                Some(until) => drop(immune.insert(target, until)),
                None => drop(immune.remove(&target)),
            }
        }
    }

    pub(crate) fn gather(&mut self) -> Result<(), Text> {
        let allowed = self.engine.allowed_sources()?;
        let protected =
            Protected::gather(&self.state.config.never_block, allowed).map_err(|errno| {
                Text::truncated(&format!("own addresses cannot be listed: {errno}"))
            })?;
        if protected != *self.state.protected {
            self.spare = true;
            self.state.protected = Arc::new(protected);
        }
        Ok(())
    }

    pub(crate) fn publish(&mut self) {
        self.warn_of_a_full_table();
        self.state.stamp = self.engine.stamp();
        self.state.not_in_force = self.state.blocks.read().missing().len();
        self.published.publish(self.state.clone());
    }

    /// Once each time that it fills up so far: there is time left to raise the number.
    fn warn_of_a_full_table(&mut self) {
        let (live, most) = (self.state.blocks.read().len(), self.state.config.max_blocks());
        let before = self.filling;
        self.filling = live.saturating_mul(100) > most.saturating_mul(NEARLY_FULL);
        if self.filling && !before {
            warn!(self.log, "more than 80 % of max-blocks are live; where all are, no alert is obeyed: raise it in privd.toml";
                "live_blocks" => live, "max_blocks" => most);
        }
    }
}

const UNWRITTEN: &str =
    "the ledger cannot be written: is the disk full? See the log of webhook-privd";
/// Per cent of `max-blocks`.
const NEARLY_FULL: usize = 80;
