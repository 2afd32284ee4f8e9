//! The firewall behind one trait whose verb is a batch.

pub mod chains;
pub mod conntrack;
pub mod rules_file;
pub mod ufw;

use protocol::{Target, Text};

use crate::engine::ufw::Stamp;
use crate::protected::Network;

/// A packet filter that can hold blocks.
pub trait Firewall: Send {
    /// The engine's name in the configuration.
    fn name(&self) -> &'static str;

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
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// Put this target in force.
    Block {
        /// What to drop.
        target: Target,
        /// Goes into the rule's comment.
        id: RuleId,
    },
    /// Remove our rules for this target.
    Lift {
        /// What is dropped.
        target: Target,
    },
}

/// The part of a rule's comment that leads back to the log: 12 hexadecimal digits of the event id.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RuleId(String);

impl RuleId {
    /// The id for the rules that one request makes.
    #[must_use]
    pub fn of(event: protocol::EventId) -> Self {
        Self(event.to_string().chars().take(12).collect())
    }

    /// The whole comment. Fixed alphabet: ufw mistreats quotes and anything beyond ASCII.
    #[must_use]
    pub fn comment(&self) -> String {
        format!("{COMMENT_PREFIX}{}", self.0)
    }
}

/// What a change came to, as read back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Effect {
    /// In force by this batch.
    Enforced {
        /// What did not go along with it: open connections that could not be cut.
        warning: Option<Text>,
    },
    /// Was in force before.
    AlreadyEnforced,
    /// Our rules are gone.
    Lifted {
        /// What still blocks the target: a rule of the administrator's.
        remains: Option<Text>,
    },
    /// There was nothing to lift.
    NothingToLift,
    /// The tool failed.
    Failed(Text),
    /// The rules stand, yet are not effective.
    Unverified(Text),
    /// The firewall is off.
    Unavailable(Text),
}

/// Marks our rules in `ufw status`.
pub const COMMENT_PREFIX: &str = "webhookd:";
