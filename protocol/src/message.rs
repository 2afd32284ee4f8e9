//! The messages: requests of the unprivileged side, replies of privd.
//!
//! bincode numbers variants in order and is not self-describing: a change of order, of a field or
//! of a type changes the bytes, breaks the golden tests below and must raise [`VERSION`](crate::VERSION).

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Durations, Refusal, Target, Term, Text, Until, Verdict};

/// The most targets in one request.
pub const MAX_TARGETS: usize = 10_000;

/// A message that travels as a frame of its own.
pub trait Message: Serialize + DeserializeOwned {
    /// Cap on the payload, in bytes.
    const MAX_BYTES: usize;
}

/// A request with the id that its reply will carry.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RequestFrame {
    /// Chosen by the asking side, unique among its requests in flight.
    pub id: u64,
    /// What is asked.
    pub request: Request,
}

impl Message for RequestFrame {
    // 10,000 IPv6 targets of 21 bytes and three texts are 213 kB.
    const MAX_BYTES: usize = 512 << 10;
}

/// A reply with the id of its request.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ReplyFrame {
    /// The request's id.
    pub id: u64,
    /// The answer.
    pub reply: Reply,
}

impl Message for ReplyFrame {
    // 10,000 verdicts with a sentence of 200 bytes each are 3 MB.
    const MAX_BYTES: usize = 8 << 20;
}

/// The verbs.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Request {
    /// Put targets in force.
    Block(Block),
    /// Lift blocks.
    Unblock(Unblock),
    /// One page of live blocks.
    List(List),
    /// All about one target.
    Show(Target),
    /// The daemon's state.
    Status,
    /// What an alert would be told of these targets now; nothing changes.
    Judge(Block),
    /// Read the configuration file again, as at SIGHUP.
    Reload,
    /// Everything that no alert may block now.
    Protected,
    /// What the kernel's table of the nftables engine has of these targets now.
    Elements(Targets),
}

impl Request {
    /// The verb as it stands in the log.
    #[must_use]
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Block(_) => "block",
            Self::Unblock(_) => "unblock",
            Self::List(_) => "list",
            Self::Show(_) => "show",
            Self::Status => "status",
            Self::Judge(_) => "judge",
            Self::Reload => "reload",
            Self::Protected => "protected",
            Self::Elements(_) => "elements",
        }
    }
}

/// The answers, one for each verb, and two refusals.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Reply {
    /// One verdict a target, in the request's order.
    Block(Vec<Verdict>),
    /// One line a target lifted or asked for.
    Unblock(Vec<Lift>),
    /// One page.
    List(Page),
    /// What is known.
    Show(Box<Shown>),
    /// The state.
    Status(Box<Status>),
    /// One verdict a target, in the request's order.
    Judge(Vec<Verdict>),
    /// What came of it.
    Reload(Reloaded),
    /// At most [`ProtectedNet::MOST`], in the order in which reasons are given.
    Protected(Vec<ProtectedNet>),
    /// One a target, in the request's order, None where there is none; or why the kernel did not
    /// tell.
    Elements(Result<Vec<Option<Element>>, Text>),
    /// This peer may not use this verb.
    Forbidden,
    /// Too much waits already; nothing was done, and asking again later may work.
    Busy,
}

impl Reply {
    /// The same outcomes with no words about each: for a reply over its cap, so that whoever asked learns
    /// what was done all the same.
    #[must_use]
    pub fn without_details(mut self) -> Self {
        match &mut self {
            Self::Block(verdicts) | Self::Judge(verdicts) => {
                verdicts.iter_mut().for_each(|verdict| verdict.detail = Text::default());
            }
            Self::Unblock(lifts) | Self::Reload(Reloaded::Done { lifted: lifts }) => {
                lifts.iter_mut().for_each(|lift| lift.detail = Text::default());
            }
            _ => {}
        }
        self
    }
}

/// Asks for targets to be blocked.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Block {
    /// Ties the lines of both daemons' logs together.
    pub event: EventId,
    /// Who asked webhookd; never blocked by its own request. None for webhookctl.
    pub requester: Option<IpAddr>,
    /// What to block.
    pub targets: Targets,
    /// For how long; None: as policy says, which only an operator's wish may exceed.
    pub term: Option<Term>,
    /// Why, in the requester's words.
    pub reason: Text,
    /// The detection rule's name.
    pub rule_name: Text,
    /// The alert's id.
    pub alert_id: Text,
    /// Whether a `deny from` rule of the administrator's for exactly a target's packets becomes ours.
    /// Then just the target is blocked, whatever `ipv6-prefix` says. Only uid 0 may ask that; otherwise
    /// such a rule stays the administrator's.
    pub adopt: bool,
}

/// Between 1 and [`MAX_TARGETS`] targets.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "Vec<Target>")]
pub struct Targets(Vec<Target>);

impl Targets {
    /// The targets, in the request's order.
    #[must_use]
    pub fn as_slice(&self) -> &[Target] {
        &self.0
    }
}

impl TryFrom<Vec<Target>> for Targets {
    type Error = TargetCount;

    fn try_from(targets: Vec<Target>) -> Result<Self, TargetCount> {
        if targets.is_empty() || targets.len() > MAX_TARGETS {
            Err(TargetCount(targets.len()))
        } else {
            Ok(Self(targets))
        }
    }
}

/// No target, or too many.
#[derive(Debug, thiserror::Error)]
#[error("{0} targets; a request carries 1 to {MAX_TARGETS}")]
pub struct TargetCount(usize);

/// Asks for blocks to be lifted.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Unblock {
    /// Ties the lines of the log together.
    pub event: EventId,
    /// Which blocks.
    pub which: Which,
    /// For how many seconds the frontend cannot put them back.
    pub immune_for: u32,
}

/// Which blocks are to be lifted; of those that a word means, [`MAX_TARGETS`] at a time.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Which {
    /// Every one.
    All,
    /// Those of these targets.
    Targets(Targets),
    /// Those whose detection rule has exactly this name.
    Rule(Text),
}

/// Asks for a page of live blocks, in the order of their addresses.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct List {
    /// The last target of the page before; None starts.
    pub after: Option<Target>,
    /// How many at most; privd sends [`Page::MAX_BLOCKS`] at most.
    pub limit: u16,
}

/// Joins the lines that the two daemons log about one request: `event.id` in ECS.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct EventId(pub u128);

impl fmt::Display for EventId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

/// What became of one block that was to be lifted.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Lift {
    /// The target.
    pub target: Target,
    /// What became of it.
    pub outcome: LiftOutcome,
    /// More in words; often empty.
    pub detail: Text,
}

/// What can become of a block that is to be lifted.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum LiftOutcome {
    /// Our rules are gone, read back.
    Lifted,
    /// We had no such block.
    NotBlocked,
    /// Our rules could not be removed.
    Failed,
}

impl LiftOutcome {
    /// The published word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lifted => "lifted",
            Self::NotBlocked => "not-blocked",
            Self::Failed => "failed",
        }
    }
}

/// Part of the list of live blocks.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Page {
    /// Ordered by target.
    pub blocks: Vec<BlockInfo>,
    /// How many live blocks there are in all.
    pub total: u64,
    /// Whether another page follows the last target here.
    pub more: bool,
}

impl Page {
    /// Rows in one page at most: three full texts each keep it under the frame's cap.
    pub const MAX_BLOCKS: u16 = 1_000;
}

/// One live block.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct BlockInfo {
    /// What is dropped.
    pub target: Target,
    /// Since when, in seconds since the Unix epoch.
    pub since: u64,
    /// When it ends.
    pub until: Until,
    /// Why, in the requester's words.
    pub reason: Text,
    /// The detection rule's name.
    pub rule_name: Text,
    /// The alert's id.
    pub alert_id: Text,
    /// Uid of the process that asked privd.
    pub peer_uid: u32,
    /// Pid of the process that asked privd, at that time.
    pub peer_pid: i32,
    /// The address that asked webhookd; None for webhookctl.
    pub requester: Option<IpAddr>,
    /// How many blocks of this target ended by themselves before.
    pub offences: u32,
    /// Whether it was in force when last looked at.
    pub in_force: bool,
}

/// All that is known about one target.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Shown {
    /// The live block of exactly this target, or the narrowest one around it.
    pub block: Option<BlockInfo>,
    /// How many earlier blocks of it ended by themselves, forgotten ones not counted.
    pub offences: u32,
    /// Until when alerts cannot put it back, in seconds since the Unix epoch; None: they can.
    pub immune_until: Option<u64>,
    /// What an alert would be told of it now, as [`Request::Judge`] says.
    pub verdict: Verdict,
}

/// What came of reading the configuration file again.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Reloaded {
    /// Its policy is in force.
    Done {
        /// What became of each live block that has become protected; of [`MAX_TARGETS`] at most, and
        /// those after them are lifted all the same.
        lifted: Vec<Lift>,
    },
    /// It cannot be used, and why; the old policy stays in force.
    Mistake(Text),
}

/// A network that no alert may block.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ProtectedNet {
    /// The network; a host has the longest prefix.
    pub net: IpNet,
    /// The published reason.
    pub refusal: Refusal,
    /// Where that stands: a rule, an interface, a file; at most [`ProtectedNet::RULE_BYTES`].
    pub rule: Text,
}

impl ProtectedNet {
    /// Networks in one reply at most: with their rules they stay under the frame's cap.
    pub const MOST: usize = 40_000;
    /// Bytes of a rule at most.
    pub const RULE_BYTES: usize = 160;
}

/// A target in the kernel's table of the nftables engine.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Element {
    /// Packets from it and to it that were dropped since it was put there.
    pub packets: u64,
    /// Seconds after which the kernel itself takes it out; None: never.
    pub seconds_left: Option<u64>,
}

/// privd's state.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Status {
    /// privd's release.
    pub version: Text,
    /// privd's process id.
    pub pid: u32,
    /// The engine: `ufw` or `nftables`.
    pub firewall: Text,
    /// False in observe mode.
    pub enforce: bool,
    /// None when blocks can be put in force; otherwise why not, and what to run.
    pub problem: Option<Text>,
    /// Live blocks.
    pub live_blocks: u64,
    /// Live blocks that were not in force when last looked at.
    pub not_in_force: u64,
    /// `max-blocks`.
    pub max_blocks: u64,
    /// Requests waiting for the firewall.
    pub queued: u64,
    /// Blocks that were found missing from the firewall since privd started, each time counted.
    pub drift: u64,
    /// When rules and kernel were last read back, in seconds since the Unix epoch.
    pub verified_at: Option<u64>,
    /// How long each batch of changes took, read back included, since privd started.
    pub changes: Durations,
    /// Lines of privd's audit log that could not be written since it started.
    pub lost_lines: u64,
}

#[cfg(test)]
mod tests;
