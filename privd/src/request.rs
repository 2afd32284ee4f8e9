//! What requests need, target by target: policy, quota and ledger asked, nothing changed yet.

use protocol::{Block, Lift, LiftOutcome, MAX_TARGETS, Outcome, Target, Text, Unblock, Which};

use crate::batch::{Batch, Plan, Why, new_block};
use crate::clock::Now;
use crate::enforcer::Enforcer;
use crate::judgement::Need;
use crate::peer::Peer;
use policy::{Asker, Role};

impl Enforcer {
    /// Decides what one target needs.
    pub(crate) fn plan(
        &mut self,
        now: Now,
        target: Target,
        (peer, block): (&Peer, &Block),
        current: bool,
        batch: &mut Batch,
    ) -> Plan {
        let (requester, exact) = (block.requester, block.adopt);
        let asker = Asker { role: peer.role, requester, wall: now.wall, exact };
        let observing = !self.state.config.enforce;
        let wanted = match self.state.need(target, asker, block.term) {
            Need::Denied(denial) => {
                let detail = Text::truncated(&denial.detail);
                return Plan::Settled(Outcome::Refused(denial.refusal), detail);
            }
            Need::Live(live) => {
                if let Some(plan) = batch.planned(live.info.target, block.adopt) {
                    return plan;
                }
                let enforced = live.enforced();
                if live.info.in_force && current && !block.adopt {
                    return Plan::Settled(Outcome::AlreadyBlocked(enforced), Text::default());
                }
                if observing {
                    return Plan::Settled(Outcome::WouldBlock(enforced), Text::default());
                }
                return batch.add(Why::Asked, *live, block.adopt);
            }
            Need::New { enforced, offences } => new_block(enforced, offences, (peer, block), now),
        };
        let target = wanted.info.target;
        if let Some(plan) = batch.planned(target, block.adopt) {
            return plan;
        }
        if observing {
            return Plan::Settled(Outcome::WouldBlock(wanted.enforced()), Text::default());
        }
        if let Some(words) = self.state.full(peer.role, batch.new_blocks()) {
            return Plan::Settled(Outcome::Unavailable, words);
        }
        if peer.role == Role::Frontend
            && let Err(retry_after_seconds) = self.quota.take(now.steady)
        {
            return Plan::Settled(Outcome::OverQuota { retry_after_seconds }, Text::default());
        }
        if self.state.immune.read().contains_key(&target) {
            batch.entry.immune.push((target, None));
        }
        batch.add(Why::New, wanted, block.adopt)
    }

    pub(crate) fn plan_lifts(&self, now: Now, unblock: &Unblock, batch: &mut Batch) -> Vec<Target> {
        let blocks = self.state.blocks.read();
        let targets: Vec<Target> = match &unblock.which {
            Which::All => blocks.iter().take(MAX_TARGETS).map(|live| live.info.target).collect(),
            Which::Targets(targets) => targets.as_slice().to_vec(),
            Which::Rule(name) => {
                let of_it = blocks.iter().filter(|live| live.info.rule_name == *name);
                of_it.take(MAX_TARGETS).map(|live| live.info.target).collect()
            }
        };
        let until = now.wall.saturating_add(u64::from(unblock.immune_for));
        for target in &targets {
            batch.lift(Why::Asked, *target);
            batch.entry.immune.push((*target, (unblock.immune_for > 0).then_some(until)));
        }
        targets
    }

    /// What came of a lift that was asked for.
    pub(crate) fn lift(&self, target: Target, batch: &Batch) -> Lift {
        let (outcome, mut detail) = batch.lifted(target);
        if outcome == LiftOutcome::NotBlocked
            && detail.is_empty()
            && let Some(around) = self.state.blocks.read().around(target)
        {
            let words =
                format!("it lies in {}, which is blocked: unblock that", around.info.target);
            detail = Text::truncated(&words);
        }
        Lift { target, outcome, detail }
    }
}
