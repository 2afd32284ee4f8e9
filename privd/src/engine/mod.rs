//! The firewall behind one trait whose verb is a batch.

pub mod chains;
pub mod conntrack;
pub mod rules_file;
pub mod ufw;

use protocol::{EventId, Target, Text};

use crate::engine::ufw::Stamp;
use crate::protected::Network;

/// A packet filter that can hold blocks.
pub trait Firewall: Send {
    /// Reads everything back, changing nothing; [`Firewall::judge`] answers from it.
    ///
    /// # Errors
    /// Why blocks cannot be put in force at all, and what to run.
    fn look(&mut self) -> Result<(), Text>;

    /// Whether a block is in force, as read back last: by [`Firewall::look`] or at the end of
    /// [`Firewall::apply`].
    fn judge(&self, target: Target) -> Effect;

    /// What the administrator's own rules allow in: never to be blocked.
    ///
    /// # Errors
    /// The rules cannot be read; then nothing may be blocked.
    fn allowed_sources(&mut self) -> Result<Vec<Network>, Text>;

    /// Makes all changes and reads each one back; one effect a change, in order.
    fn apply(&mut self, changes: &[Change]) -> Vec<Effect>;

    /// Identifies the state that was read back last.
    fn stamp(&self) -> Stamp;
}

/// One change to the firewall.
#[derive(Clone, Debug)]
pub enum Change {
    /// Put this target in force; the rules' comment leads back to the event.
    Block(Target, EventId),
    /// Remove our rules for this target.
    Lift(Target),
}

impl Change {
    /// Whom it is about.
    pub const fn target(&self) -> Target {
        match self {
            Self::Block(target, _) | Self::Lift(target) => *target,
        }
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
    /// The firewall is off.
    Unavailable(Text),
}

impl Effect {
    /// Whether things are as wanted.
    pub const fn holds(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Already(_))
    }
}

/// The comment that marks our rules in `ufw status`: 12 digits of the event id, in an alphabet that
/// ufw keeps as it is (it mistreats quotes and anything beyond ASCII).
pub fn comment(event: EventId) -> String {
    let digits: String = event.to_string().chars().take(12).collect();
    format!("{COMMENT_PREFIX}{digits}")
}

/// What our comments begin with.
pub const COMMENT_PREFIX: &str = "webhookd:";
