//! Holds blocks in the host's firewall, behind one trait whose verb is a batch.
//!
//! This is the part of webhook-privd that changes the host. It knows nothing of peers, policy or
//! the ledger: changes go in, what became of each comes out, as it was read back. [`program`] is
//! the only file on the root side that starts programs.

pub mod conntrack;
pub mod nft;
pub mod program;
pub mod pulse;
pub mod ufw;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub use hosttext::mark::Mark;
use ipnet::IpNet;
use protocol::{Target, Text};

use crate::program::Program;
use crate::ufw::view::FileStates;
use nftables::connection::Connection;

/// A packet filter that can hold blocks.
pub trait Firewall: Send {
    /// Reads everything back, changing nothing; [`Firewall::judge`] answers from it.
    ///
    /// # Errors
    /// Why blocks cannot be put in force at all, and what to run.
    fn look(&mut self) -> Result<(), Text>;

    /// As it stands in the configuration.
    fn name(&self) -> &'static str;

    /// The programs that it starts.
    fn programs(&self) -> &'static [Program];

    /// Before anybody is served: makes these the only blocks that are in force, all at once, where
    /// that is quick; otherwise does nothing, and what is missing is put in force one look later.
    ///
    /// # Errors
    /// What went wrong; then nothing has changed.
    fn load(&mut self, blocks: &[(Target, Mark)]) -> Result<(), Text>;

    /// Whether blocks are in force, in their order; as read back last, by [`Firewall::look`] or at
    /// the end of [`Firewall::apply`], or just now.
    fn judge(&mut self, blocks: &[(Target, Mark)]) -> Vec<Effect>;

    /// Whether others changed what may concern blocks since all were judged.
    fn others_changed(&self) -> bool;

    /// Whether [`Firewall::apply`] reads all blocks back, so that judging them costs nothing more.
    fn reads_all(&self) -> bool;

    /// Whether all blocks are better put in force anew, by [`Firewall::load`]: what held them was
    /// taken away, and may have come back as it was long ago.
    fn is_lost(&self) -> bool;

    /// What the administrator's own rules allow in: never to be blocked.
    ///
    /// # Errors
    /// The rules cannot be read; then nothing may be blocked.
    fn allowed_sources(&mut self) -> Result<Vec<Allowed>, Text>;

    /// Makes all changes and reads each one back; one effect a change, in order.
    fn apply(&mut self, changes: &[Change]) -> Vec<Effect>;

    /// Ends what is open of blocks that hold; for each, what stopped it, or nothing at all where
    /// connections are not to be cut.
    fn cut(&self, targets: &[Target]) -> Vec<Text>;

    /// Whether [`Firewall::settle`] has something to do.
    fn is_unsettled(&self) -> bool;

    /// Has the firewall's tool take over what was put in force without it. Blocks that hold are not
    /// touched by this; [`Firewall::judge`] answers from what is read back.
    fn settle(&mut self);

    /// What of ours is in the firewall, whatever the ledger says.
    ///
    /// # Errors
    /// It cannot be listed.
    fn found(&mut self) -> Result<Vec<Found>, Text>;

    /// The same where it is known without asking for all of it, which may take a minute.
    fn known(&mut self) -> Vec<Found>;

    /// Reads back once more while nobody else is at work, not even what an earlier run of ours began.
    ///
    /// # Errors
    /// Somebody is, or as [`Firewall::look`].
    fn confirm(&mut self) -> Result<(), Text> {
        self.look()
    }

    /// Takes everything of ours out: another engine holds the blocks now.
    ///
    /// # Errors
    /// What went wrong.
    fn retire(&mut self) -> Result<(), Text>;

    /// Identifies the state that was read back last.
    fn stamp(&self) -> Stamp;

    /// True while the files change by our own hand alone: what was in force before, is. Whoever has
    /// learnt the new [`Firewall::stamp`] makes it false.
    fn changing(&self) -> Arc<AtomicBool>;

    /// Whether the firewall's files are no longer those that this process may write: then only a
    /// fresh start helps.
    fn replaced(&self) -> bool;
}

/// A state of the firewall that was read back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Stamp {
    /// That of ufw's files.
    Files(FileStates),
    /// The number of the last change to nf_tables.
    Generation(u32),
}

impl Stamp {
    /// Whether nobody changed anything since.
    pub fn is_current(&self) -> bool {
        match self {
            Self::Files(states) => *states == FileStates::now(),
            Self::Generation(seen) => {
                let now = Connection::open().and_then(|mut kernel| kernel.generation());
                now.is_ok_and(|now| now == *seen)
            }
        }
    }
}

/// A network that the administrator's rules let in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Allowed {
    /// The network.
    pub net: IpNet,
    /// The rule, for messages.
    pub rule: String,
}

/// A rule that carries our mark.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Found {
    /// Whom it drops.
    pub target: Target,
    /// What its comment says.
    pub mark: Mark,
}

/// One change to the firewall.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// Put a target in force.
    Block {
        /// Whom.
        target: Target,
        /// What its rules are marked with.
        mark: Mark,
        /// Whether the administrator's `deny from` rule for exactly these packets becomes ours.
        adopt: bool,
    },
    /// Remove our rules for this target.
    Lift(Target),
}

impl Change {
    /// Whom it is about.
    pub const fn target(&self) -> Target {
        match self {
            Self::Block { target, .. } | Self::Lift(target) => *target,
        }
    }

    /// Whether it is to drop packets.
    pub const fn is_block(&self) -> bool {
        matches!(self, Self::Block { .. })
    }
}

/// What a change came to, as read back. Each has words for what else is to be said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Effect {
    /// As wanted, by this batch.
    Done(Text),
    /// Was as wanted before.
    Already(Text),
    /// The tool failed.
    Failed(Text),
    /// The rules stand, yet are not effective.
    Unverified(Text),
    /// Not now; it is tried again.
    Pending(Text),
    /// The firewall is off.
    Unavailable(Text),
}

impl Effect {
    /// What is wrong, where something is.
    pub fn problem(self) -> Option<Text> {
        match self {
            Self::Done(_) | Self::Already(_) => None,
            Self::Failed(words)
            | Self::Unverified(words)
            | Self::Pending(words)
            | Self::Unavailable(words) => Some(words),
        }
    }

    /// Whether things are as wanted.
    pub const fn holds(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Already(_))
    }
}
