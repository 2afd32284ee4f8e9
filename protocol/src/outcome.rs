//! The closed list of outcomes: the same words in answers, metrics and audit documents.

use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::{Target, Text};

/// What became of one target of a [`Request::Block`](crate::Request::Block).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Verdict {
    /// The target as it was asked for.
    pub target: Target,
    /// What became of it.
    pub outcome: Outcome,
    /// More for the operator, in words: which rule stands in the way, what to run. Often empty.
    pub detail: Text,
}

/// One of the things that can become of a target. [`Outcome::name`] gives the published word.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Outcome {
    /// In force since this request, and read back.
    Blocked(Enforced),
    /// Was in force before this request, or begins by another that is handled with it.
    AlreadyBlocked(Enforced),
    /// Observe mode: would have been blocked.
    WouldBlock(Enforced),
    /// Not an address. Only webhookd says this: what reaches the wire is an address.
    Invalid,
    /// Policy says no.
    Refused(Refusal),
    /// Too many new blocks a minute.
    OverQuota {
        /// Whole seconds until there is room again.
        retry_after_seconds: u32,
    },
    /// The firewall's tool failed.
    Failed,
    /// The tool ran, yet the block could not be read back as effective.
    Unverified,
    /// Not finished in time; the work goes on.
    Pending,
    /// Nothing can be blocked now: privd away, firewall inactive, table full.
    Unavailable,
}

impl Outcome {
    /// Every published word.
    pub const NAMES: [&str; 10] = [
        "blocked",
        "already-blocked",
        "would-block",
        "invalid",
        "refused",
        "over-quota",
        "failed",
        "unverified",
        "pending",
        "unavailable",
    ];

    /// The published word: answers, metrics and audit documents use it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Blocked(_) => "blocked",
            Self::AlreadyBlocked(_) => "already-blocked",
            Self::WouldBlock(_) => "would-block",
            Self::Invalid => "invalid",
            Self::Refused(_) => "refused",
            Self::OverQuota { .. } => "over-quota",
            Self::Failed => "failed",
            Self::Unverified => "unverified",
            Self::Pending => "pending",
            Self::Unavailable => "unavailable",
        }
    }

    /// How the target is in force, or in observe mode would be.
    #[must_use]
    pub const fn enforced(&self) -> Option<Enforced> {
        match self {
            Self::Blocked(enforced)
            | Self::AlreadyBlocked(enforced)
            | Self::WouldBlock(enforced) => Some(*enforced),
            _ => None,
        }
    }

    /// Why policy says no, where it does.
    #[must_use]
    pub const fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused(refusal) => Some(*refusal),
            _ => None,
        }
    }
}

/// How a block is in force.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Enforced {
    /// What the firewall drops: the target, or a network around it.
    pub target: Target,
    /// When it ends.
    pub until: Until,
}

/// When a block ends.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Until {
    /// Never by itself.
    Permanent,
    /// At this time, in seconds since the Unix epoch.
    At(u64),
}

/// For how long a block is to hold.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Term {
    /// This many seconds.
    Seconds(NonZeroU32),
    /// Until it is lifted; the longest there is.
    Permanent,
}

impl Term {
    /// A number of seconds; None for none at all.
    #[must_use]
    pub fn seconds(seconds: u32) -> Option<Self> {
        NonZeroU32::new(seconds).map(Self::Seconds)
    }
}

/// Why policy refuses a target.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Refusal {
    /// Loopback, unspecified, multicast, link-local, broadcast or otherwise not a remote host.
    Reserved,
    /// An address of this host.
    OwnAddress,
    /// A default gateway of this host.
    Gateway,
    /// A name server that this host uses.
    Resolver,
    /// Listed in `never-block`.
    NeverBlock,
    /// The source of an inbound ufw allow or limit rule.
    UfwAllow,
    /// The address that asked for the block.
    Requester,
    /// Wider than `widest-v4` or `widest-v6`.
    TooWide,
}

impl Refusal {
    /// Every reason there is.
    pub const ALL: [Self; 8] = [
        Self::Reserved,
        Self::OwnAddress,
        Self::Gateway,
        Self::Resolver,
        Self::NeverBlock,
        Self::UfwAllow,
        Self::Requester,
        Self::TooWide,
    ];

    /// The published word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::OwnAddress => "own-address",
            Self::Gateway => "gateway",
            Self::Resolver => "resolver",
            Self::NeverBlock => "never-block",
            Self::UfwAllow => "ufw-allow",
            Self::Requester => "requester",
            Self::TooWide => "too-wide",
        }
    }

    /// A sentence's end: "198.51.100.7 is ...".
    #[must_use]
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::Reserved => "in a range that no remote host has",
            Self::OwnAddress => "an address of this host",
            Self::Gateway => "this host's default gateway",
            Self::Resolver => "a name server of this host",
            Self::NeverBlock => "listed in never-block",
            Self::UfwAllow => "allowed by a ufw rule of the administrator",
            Self::Requester => "the address that asked for the block",
            Self::TooWide => "a network wider than the configuration permits",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_outcome() -> [Outcome; 10] {
        let enforced =
            Enforced { target: "198.51.100.7".parse().unwrap(), until: Until::Permanent };
        [
            Outcome::Blocked(enforced),
            Outcome::AlreadyBlocked(enforced),
            Outcome::WouldBlock(enforced),
            Outcome::Invalid,
            Outcome::Refused(Refusal::Gateway),
            Outcome::OverQuota { retry_after_seconds: 7 },
            Outcome::Failed,
            Outcome::Unverified,
            Outcome::Pending,
            Outcome::Unavailable,
        ]
    }

    #[test]
    fn each_outcome_has_its_published_word() {
        assert_eq!(every_outcome().map(|outcome| outcome.name()), Outcome::NAMES);
    }

    #[test]
    fn only_what_is_in_force_says_how_and_only_a_refusal_says_why() {
        for (place, outcome) in every_outcome().iter().enumerate() {
            assert_eq!(outcome.enforced().is_some(), place < 3, "{outcome:?}");
            assert_eq!(outcome.refusal(), (place == 4).then_some(Refusal::Gateway), "{outcome:?}");
        }
    }

    #[test]
    fn each_refusal_explains_itself_in_words_of_its_own() {
        for reason in Refusal::ALL {
            assert_eq!(reason.to_string(), reason.name());
            assert!(reason.explanation().contains(' '), "{reason}");
            let same = |other: &&Refusal| other.explanation() == reason.explanation();
            assert_eq!(Refusal::ALL.iter().filter(same).count(), 1, "{reason}");
        }
    }

    #[test]
    fn refusal_names_are_distinct() {
        let mut names: Vec<_> = Refusal::ALL.iter().map(|reason| reason.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Refusal::ALL.len());
    }
}
