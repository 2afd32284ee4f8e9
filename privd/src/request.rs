//! What requests need, target by target: policy, quota and ledger asked, nothing changed yet.

use std::sync::Arc;

use protocol::{Block, Lift, LiftOutcome, Outcome, Target, Text, Unblock};

use crate::batch::{Batch, Plan, Why, new_block};
use crate::clock::Now;
use crate::enforcer::{Enforcer, MEMORY};
use crate::peer::{Peer, Role};
use crate::policy::{self, Asker};

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
        let config = Arc::clone(&self.state.config);
        let asker = Asker { role: peer.role, requester: block.requester, wall: now.wall };
        let decided =
            policy::decide(target, asker, &self.state.protected, &self.state.immune, &config);
        let target = match decided {
            Ok(target) => target,
            Err(denial) => {
                let detail = Text::truncated(&denial.detail);
                return Plan::Settled(Outcome::Refused(denial.refusal), detail);
            }
        };
        if let Some(plan) = batch.planned(target) {
            return plan;
        }
        let live = self.state.blocks.get(&target).filter(|live| !live.is_over(now.wall));
        if let Some(live) = live {
            if live.info.in_force && current {
                return Plan::Settled(Outcome::AlreadyBlocked(live.enforced()), Text::default());
            }
            if !config.enforce {
                return Plan::Settled(Outcome::WouldBlock(live.enforced()), Text::default());
            }
            return batch.add(Why::Asked, live.clone());
        }
        let offences = self.offences(now, target);
        let term = policy::term(block.term, peer.role, offences, &config);
        let wanted = new_block(target, (peer, block), offences, term, now);
        if !config.enforce {
            return Plan::Settled(Outcome::WouldBlock(wanted.enforced()), Text::default());
        }
        let taken = self.state.blocks.len().saturating_add(batch.new_blocks());
        if peer.role == Role::Frontend && taken >= config.max_blocks {
            let detail = format!("the table is full: max-blocks = {}", config.max_blocks);
            return Plan::Settled(Outcome::Unavailable, Text::truncated(&detail));
        }
        if peer.role == Role::Frontend
            && let Err(retry_after_seconds) = self.quota.take(now.steady)
        {
            return Plan::Settled(Outcome::OverQuota { retry_after_seconds }, Text::default());
        }
        if self.state.immune.contains_key(&target) {
            batch.entry.immune.push((target, None));
        }
        batch.add(Why::New, wanted)
    }

    /// Blocks of this target that ended by themselves, one that is ending now included.
    fn offences(&self, now: Now, target: Target) -> u32 {
        if let Some(over) = self.state.blocks.get(&target) {
            return over.info.offences.saturating_add(1);
        }
        let ended = self.ended.get(&target);
        let fresh = ended.filter(|ended| ended.last.saturating_add(MEMORY) > now.wall);
        fresh.map_or(0, |ended| ended.offences)
    }

    pub(crate) fn plan_lifts(&self, now: Now, unblock: &Unblock, batch: &mut Batch) -> Vec<Target> {
        let targets: Vec<Target> = match &unblock.targets {
            Some(targets) => targets.as_slice().to_vec(),
            None => self.state.blocks.keys().copied().collect(),
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
            && let Some(around) = self.state.around(target)
        {
            let words =
                format!("it lies in {}, which is blocked: unblock that", around.info.target);
            detail = Text::truncated(&words);
        }
        Lift { target, outcome, detail }
    }
}
