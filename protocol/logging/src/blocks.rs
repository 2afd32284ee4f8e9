//! The documents of webhook-privd: what became of an address that was to be blocked or let in.

use std::fmt;
use std::net::IpAddr;

use protocol::{Block, EventId, Lift, LiftOutcome, Outcome, Target, Until, Verdict};

use crate::action::Action;
use crate::document::{Document, Level};
use crate::field;

/// Who asked webhook-privd, as the kernel says.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Process id at the time of `connect`.
    pub pid: i32,
    /// Login uid of the person behind a root shell (pam_loginuid(8)), if there is one.
    pub login: Option<u32>,
}

impl Asker {
    pub(crate) fn login(&self) -> String {
        self.login.map_or_else(|| "-".to_owned(), |uid| uid.to_string())
    }
}

impl fmt::Display for Asker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "uid {} gid {} pid {}", self.uid, self.gid, self.pid)
    }
}

impl Document {
    /// About one target of a request for blocks.
    #[must_use]
    pub fn verdict(block: &Block, verdict: &Verdict, asker: &Asker) -> Self {
        let refusal = match verdict.outcome {
            Outcome::Refused(refusal) => refusal.name(),
            _ => "",
        };
        let (outcome, name) = (&verdict.outcome, verdict.outcome.name());
        let document = of(outcome.into(), verdict.target, block.requester, name)
            .asked_by(asker)
            .text(field::EVENT, &block.event.to_string())
            .text(field::REASON, &block.reason)
            .text(field::RULE, &block.rule_name)
            .text("webhookd.alert_id", &block.alert_id)
            .text(field::REFUSAL, refusal)
            .text(field::DETAIL, &verdict.detail);
        match verdict.outcome.enforced() {
            None => document,
            Some(enforced) => document
                .text("webhookd.enforced_as", &enforced.target.to_string())
                .until(enforced.until),
        }
    }

    /// About one target of a request for lifts.
    #[must_use]
    pub fn lift(lift: &Lift, event: EventId, asker: &Asker) -> Self {
        let action = match lift.outcome {
            LiftOutcome::Lifted => Action::Unblocked,
            LiftOutcome::NotBlocked => Action::NotBlocked,
            LiftOutcome::Failed => Action::UnblockFailed,
        };
        let document = Self::unasked(action, lift.target, Some(event), lift.outcome.name());
        document.text(field::DETAIL, &lift.detail).asked_by(asker)
    }

    /// About a block that nobody asked about now; `event` is of the request that made it, if that
    /// is known.
    #[must_use]
    pub fn unasked(
        action: Action,
        target: Target,
        event: Option<EventId>,
        outcome: &'static str,
    ) -> Self {
        let event = event.map_or_else(String::new, |event| event.to_string());
        of(action, target, None, outcome).text(field::EVENT, &event)
    }

    /// Behind a root shell `user.id` is the person who logged in, and `user.effective.id` root.
    #[must_use]
    pub fn asked_by(self, asker: &Asker) -> Self {
        self.text("user.id", &asker.login.unwrap_or(asker.uid).to_string())
            .text(field::EFFECTIVE_USER, &asker.uid.to_string())
            .text("group.id", &asker.gid.to_string())
            .number(field::PEER_PID, asker.pid)
    }

    /// When the block ends; one without an end has no date that says so.
    #[must_use]
    pub fn until(self, end: Until) -> Self {
        match end {
            Until::Permanent => self,
            Until::At(time) => self.time(field::UNTIL, time),
        }
    }
}

fn of(action: Action, target: Target, client: Option<IpAddr>, outcome: &'static str) -> Document {
    let host = target.is_host().then(|| target.net().addr());
    Document::new(Level::Info, action, &format!("{target} {outcome}"))
        .about(&target.to_string(), host, client)
        .text(field::OUTCOME, outcome)
}

impl From<&Outcome> for Action {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Blocked(_) => Self::Blocked,
            Outcome::AlreadyBlocked(_) => Self::AlreadyBlocked,
            Outcome::WouldBlock(_) => Self::WouldBlock,
            Outcome::Invalid | Outcome::Refused(_) => Self::BlockRefused,
            Outcome::OverQuota { .. } => Self::BlockOverQuota,
            Outcome::Failed | Outcome::Unverified => Self::BlockFailed,
            Outcome::Pending => Self::BlockPending,
            Outcome::Unavailable => Self::BlockUnavailable,
        }
    }
}
