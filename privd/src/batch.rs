//! One batch: what each target needs, why, and what came of it.

use std::collections::HashMap;

use protocol::{Block, BlockInfo, Enforced, EventId, LiftOutcome, Outcome, Target, Text, Until};

use crate::clock::Now;
use crate::peer::Peer;
use firewall::{Change, Effect, Mark};
use ledger::{Blocks, Ended, Entry, Live};

/// What one target of a request needs.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Nothing; this is the answer.
    Settled(Outcome, Text),
    /// The item with this index.
    Item(usize),
    /// The same, named once more: that the block begins is told once.
    Again(usize),
}

/// Why something is done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Why {
    /// A request makes a block that was not there.
    New,
    /// A request asks for what the ledger knows, or for its end.
    Asked,
    /// Somebody took the rules away.
    Missing,
    /// The block's time has come.
    Expired,
    /// The target has become protected.
    Protected,
    /// The rules are ours and nobody's block: another ufw wrote back what it had read before.
    Orphaned,
}

impl Why {
    /// As it stands in the log.
    pub const fn words(self) -> &'static str {
        match self {
            Self::New | Self::Asked => "asked for",
            Self::Missing => "it was missing from the firewall",
            Self::Expired => "its time has come",
            Self::Protected => "it has become protected",
            Self::Orphaned => "no block has these rules",
        }
    }
}

/// One target.
#[derive(Debug)]
pub struct Item {
    /// Why it is here.
    pub why: Why,
    /// What is to be done.
    pub change: Change,
    /// What came of it.
    pub effect: Option<Effect>,
    /// The block that begins or is meant, or the one that goes.
    live: Option<Live>,
}

impl Item {
    /// The request that made the block which is meant, where the block is known.
    pub fn event(&self) -> Option<EventId> {
        self.live.as_ref().map(|live| live.event)
    }
}

/// One item for each target, whoever asked.
#[derive(Debug, Default)]
pub struct Batch {
    /// In the order in which they are done.
    pub items: Vec<Item>,
    /// What else goes into the ledger when all is done.
    pub entry: Entry,
    index: HashMap<Target, usize>,
    new: usize,
}

impl Batch {
    /// A target that another request of the batch has brought.
    pub fn planned(&mut self, target: Target, adopt: bool) -> Option<Plan> {
        let index = *self.index.get(&target)?;
        let item = self.items.get_mut(index)?;
        if let Change::Block { adopt: adopts, .. } = &mut item.change
            && adopt
            && !*adopts
        {
            // Who has a rule taken over is told it as who begins a block is.
            *adopts = true;
            return Some(Plan::Item(index));
        }
        Some(Plan::Again(index))
    }

    /// Puts a block in force; `adopt`: and takes over the administrator's rule for it.
    pub fn add(&mut self, why: Why, live: Live, adopt: bool) -> Plan {
        let (target, mark) = marked(&live);
        let change = Change::Block { target, mark, adopt };
        Plan::Item(self.push(Item { why, change, effect: None, live: Some(live) }))
    }

    /// Removes a block.
    pub fn lift(&mut self, why: Why, target: Target) {
        let change = Change::Lift(target);
        self.push(Item { why, change, effect: None, live: None });
    }

    fn push(&mut self, item: Item) -> usize {
        let (items, target) = (&mut self.items, item.change.target());
        *self.index.entry(target).or_insert_with(|| {
            self.new = self.new.saturating_add(usize::from(item.why == Why::New));
            items.push(item);
            items.len().saturating_sub(1)
        })
    }

    /// Blocks that the ledger does not have yet.
    pub const fn new_blocks(&self) -> usize {
        self.new
    }

    /// What is to be durable before anything is tried: blocks that begin, and blocks that are to
    /// go. Should privd end before their rules are gone, these are nobody's and go later.
    pub fn begin(&mut self, blocks: &Blocks) -> Entry {
        let mut entry = std::mem::take(&mut self.entry);
        for item in &mut self.items {
            let target = item.change.target();
            match (item.change.is_block(), blocks.get(target)) {
                (true, _) if item.why == Why::New => entry.added.extend(item.live.clone()),
                (false, Some(live)) => {
                    entry.removed.push(target);
                    if let (Why::Expired, Until::At(last)) = (item.why, live.info.until) {
                        let offences = live.info.offences.saturating_add(1);
                        entry.ended.push((target, Some(Ended { offences, last })));
                    }
                    item.live = Some(live.clone());
                }
                _ => {}
            }
        }
        entry
    }

    /// What could not be made durable is not tried.
    pub fn give_up(&mut self, problem: &Text) {
        for item in &mut self.items {
            if item.why == Why::New || !item.change.is_block() && item.live.take().is_some() {
                item.effect = Some(Effect::Failed(problem.clone()));
            }
        }
    }

    /// What the engine is to do.
    pub fn changes(&self) -> Vec<Change> {
        let open = self.items.iter().filter(|item| item.effect.is_none());
        open.map(|item| item.change).collect()
    }

    /// What the engine did.
    pub fn take(&mut self, effects: Vec<Effect>) {
        let open = self.items.iter_mut().filter(|item| item.effect.is_none());
        open.zip(effects).for_each(|(item, effect)| item.effect = Some(effect));
    }

    /// The blocks that hold, those included whose rules stood already: whoever made them may not have
    /// cut what was open. With the words about each.
    pub fn standing(&mut self) -> impl Iterator<Item = (Target, &mut Text)> {
        self.items.iter_mut().filter_map(|item| match (item.change, &mut item.effect) {
            (Change::Block { target, .. }, Some(Effect::Done(words) | Effect::Already(words))) => {
                Some((target, words))
            }
            _ => None,
        })
    }

    /// Whether something is still to be done as soon as it can be.
    pub fn is_pending(&self) -> bool {
        self.items.iter().any(|item| matches!(item.effect, Some(Effect::Pending(_))))
    }

    /// What turned out otherwise: a new block that could not even be tried is taken back (one that was
    /// tried stays, to be finished), and a block that could not be lifted lives on.
    pub fn settle(&self) -> Entry {
        let mut entry = Entry::default();
        for item in &self.items {
            let target = item.change.target();
            match (&item.effect, item.change.is_block()) {
                (Some(Effect::Unavailable(_)), true) if item.why == Why::New => {
                    entry.removed.push(target);
                }
                (Some(effect), false) if !effect.holds() => {
                    entry.added.extend(item.live.clone());
                    entry.immune.push((target, None));
                }
                _ => {}
            }
        }
        entry
    }

    /// The answer about a target that was to be blocked.
    pub fn outcome(&self, plan: Plan) -> (Outcome, Text) {
        let (index, first) = match plan {
            Plan::Settled(outcome, words) => return (outcome, words),
            Plan::Item(index) => (index, true),
            Plan::Again(index) => (index, false),
        };
        let item = self.items.get(index);
        let enforced = item.and_then(|item| item.live.as_ref()).map(Live::enforced);
        match (item.and_then(|item| item.effect.clone()), enforced) {
            (Some(Effect::Done(words)), Some(enforced)) if first => {
                (Outcome::Blocked(enforced), words)
            }
            (Some(Effect::Done(words) | Effect::Already(words)), Some(enforced)) => {
                (Outcome::AlreadyBlocked(enforced), words)
            }
            (Some(Effect::Unverified(words)), _) => (Outcome::Unverified, words),
            (Some(Effect::Pending(words)), _) => (Outcome::Pending, words),
            (Some(Effect::Unavailable(words)), _) => (Outcome::Unavailable, words),
            (Some(Effect::Failed(words)), _) => (Outcome::Failed, words),
            _ => (Outcome::Failed, Text::truncated("the engine gave no answer")),
        }
    }

    /// The answer about a target that was to be lifted.
    pub fn lifted(&self, target: Target) -> (LiftOutcome, Text) {
        let item = self.index.get(&target).and_then(|index| self.items.get(*index));
        let was_live = item.is_some_and(|item| item.live.is_some());
        match item.and_then(|item| item.effect.clone()) {
            Some(Effect::Done(words)) => (LiftOutcome::Lifted, words),
            Some(Effect::Already(words)) if was_live => (LiftOutcome::Lifted, words),
            Some(Effect::Already(words)) => (LiftOutcome::NotBlocked, words),
            Some(
                Effect::Failed(words)
                | Effect::Unverified(words)
                | Effect::Pending(words)
                | Effect::Unavailable(words),
            ) => (LiftOutcome::Failed, words),
            None => (LiftOutcome::Failed, Text::truncated("the engine gave no answer")),
        }
    }
}

/// A block as the firewall takes it.
pub fn marked(live: &Live) -> (Target, Mark) {
    (live.info.target, Mark::new(live.event, live.info.until))
}

/// A block that a request begins.
pub fn new_block(
    Enforced { target, until }: Enforced,
    offences: u32,
    (peer, block): (&Peer, &Block),
    now: Now,
) -> Live {
    let info = BlockInfo {
        target,
        since: now.wall,
        until,
        reason: block.reason.clone(),
        rule_name: block.rule_name.clone(),
        alert_id: block.alert_id.clone(),
        peer_uid: peer.uid,
        peer_pid: peer.pid,
        requester: block.requester,
        offences,
        in_force: false,
    };
    Live { info, event: block.event, of_this_run: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(target: &str) -> Live {
        let info = BlockInfo {
            target: target.parse().unwrap(),
            since: 0,
            until: Until::At(100),
            reason: Text::default(),
            rule_name: Text::default(),
            alert_id: Text::default(),
            peer_uid: 0,
            peer_pid: 0,
            requester: None,
            offences: 1,
            in_force: false,
        };
        Live { info, event: EventId(7), of_this_run: false }
    }

    fn words() -> Text {
        Text::truncated("words")
    }

    /// Every effect, and whether it leaves things as wanted.
    fn effects() -> [(Effect, bool); 6] {
        [
            (Effect::Done(words()), true),
            (Effect::Already(words()), true),
            (Effect::Failed(words()), false),
            (Effect::Unverified(words()), false),
            (Effect::Pending(words()), false),
            (Effect::Unavailable(words()), false),
        ]
    }

    #[test]
    fn each_effect_on_a_block_has_its_answer() {
        for (effect, holds) in effects() {
            let mut batch = Batch::default();
            let live = live("198.51.100.7");
            let plan = batch.add(Why::New, live.clone(), false);
            assert_eq!(batch.items[0].event(), Some(EventId(7)));
            let expected = match effect {
                Effect::Done(_) => Outcome::Blocked(live.enforced()),
                Effect::Already(_) => Outcome::AlreadyBlocked(live.enforced()),
                Effect::Failed(_) => Outcome::Failed,
                Effect::Unverified(_) => Outcome::Unverified,
                Effect::Pending(_) => Outcome::Pending,
                Effect::Unavailable(_) => Outcome::Unavailable,
            };
            batch.take(vec![effect.clone()]);
            assert_eq!(batch.outcome(plan), (expected, words()), "{effect:?}");
            assert_eq!(batch.standing().count(), usize::from(holds), "{effect:?}");
            assert_eq!(batch.is_pending(), matches!(effect, Effect::Pending(_)));
            let taken_back = matches!(effect, Effect::Unavailable(_));
            assert_eq!(batch.settle().removed.len(), usize::from(taken_back), "{effect:?}");
        }
    }

    #[test]
    fn a_block_that_is_asked_for_many_times_at_once_begins_once() {
        let mut batch = Batch::default();
        let live = live("198.51.100.7");
        let first = batch.add(Why::New, live.clone(), false);
        let again = batch.planned(live.info.target, false).unwrap();
        assert_eq!((batch.changes().len(), batch.new_blocks()), (1, 1));
        batch.take(vec![Effect::Done(words())]);
        assert_eq!(batch.outcome(first).0, Outcome::Blocked(live.enforced()));
        assert_eq!(batch.outcome(again.clone()).0, Outcome::AlreadyBlocked(live.enforced()));
        batch.items[0].effect = Some(Effect::Failed(words()));
        assert_eq!(batch.outcome(again).0, Outcome::Failed);
    }

    #[test]
    fn each_effect_on_a_lift_has_its_answer_and_what_could_not_be_lifted_lives_on() {
        for (effect, holds) in effects() {
            for known in [true, false] {
                let (mut batch, live) = (Batch::default(), live("198.51.100.7"));
                let target = live.info.target;
                let blocks: Blocks = known.then(|| live.clone()).into_iter().collect();
                batch.lift(Why::Expired, target);
                let entry = batch.begin(&blocks);
                let ended = known.then_some((target, Some(Ended { offences: 2, last: 100 })));
                assert_eq!(entry.ended, Vec::from_iter(ended));
                batch.take(vec![effect.clone()]);
                let expected = match effect {
                    Effect::Already(_) if !known => LiftOutcome::NotBlocked,
                    _ if holds => LiftOutcome::Lifted,
                    _ => LiftOutcome::Failed,
                };
                assert_eq!(batch.lifted(target), (expected, words()), "{effect:?}");
                let back = batch.settle().added;
                assert_eq!(back.len(), usize::from(known && !holds), "{effect:?}");
                assert_eq!(batch.standing().count(), 0, "nothing is cut where a block goes");
            }
        }
    }

    #[test]
    fn what_could_not_be_made_durable_is_not_tried() {
        let (mut batch, gone) = (Batch::default(), live("198.51.100.9"));
        let new = batch.add(Why::New, live("198.51.100.7"), false);
        let known = batch.add(Why::Missing, live("198.51.100.8"), false);
        batch.lift(Why::Asked, gone.info.target);
        batch.lift(Why::Orphaned, "198.51.100.10".parse().unwrap());
        let entry = batch.begin(&[gone.clone()].into_iter().collect());
        let targets =
            |lives: &[Live]| -> Vec<Target> { lives.iter().map(|live| live.info.target).collect() };
        assert_eq!(targets(&entry.added), targets(&[live("198.51.100.7")]), "only what is new");
        assert_eq!(entry.removed, [gone.info.target]);
        batch.give_up(&words());
        // What the ledger need not know is done all the same: rules that vanished, and nobody's.
        assert_eq!(batch.changes().len(), 2);
        batch.take(vec![Effect::Done(words()), Effect::Done(words())]);
        assert_eq!(batch.outcome(new), (Outcome::Failed, words()));
        assert!(matches!(batch.outcome(known).0, Outcome::Blocked(_)));
        assert_eq!(batch.lifted(gone.info.target), (LiftOutcome::Failed, words()));
    }

    #[test]
    fn each_reason_has_words_of_its_own() {
        let all = [Why::New, Why::Missing, Why::Expired, Why::Protected, Why::Orphaned];
        let words: std::collections::HashSet<&str> = all.map(Why::words).into_iter().collect();
        assert!(words.len() == all.len() && words.iter().all(|words| words.contains(' ')));
        assert_eq!(Why::Asked.words(), Why::New.words());
    }
}
