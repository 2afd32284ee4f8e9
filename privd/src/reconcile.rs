//! What the enforcer does without being asked: it looks whether what should be in force is, ends
//! what is over, and takes away what nobody wants.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::{BlockInfo, MAX_TARGETS, Target, Text, Until};
use slog::{info, warn};

use crate::batch::{Batch, Why, marked};
use crate::clock::Now;
use crate::enforcer::Enforcer;
use crate::judgement::MEMORY;
use crate::recover;
use crate::snapshot::Snapshot;
use firewall::{Change, Effect, Mark};
use ledger::{Entry, Live};

impl Enforcer {
    /// Reads everything back, and decides when to look again.
    pub(crate) fn look(&mut self, now: Now) {
        let looked = self.engine.look();
        // Also while the firewall is off: what is protected is asked for all the same.
        let gathered = self.gather();
        let health = looked.and(gathered);
        if health.as_ref().err() != self.state.problem.as_ref() {
            match &health {
                Ok(()) => info!(self.log, "blocks can be put in force again"),
                Err(problem) => warn!(self.log, "no block can be put in force"; "why" => %problem),
            }
        }
        let healthy = health.is_ok();
        let every = self.state.config.reconcile_every;
        // `ufw reload` and `enable` have no chains for two seconds.
        let next = if healthy { every } else { every.min(AILING) };
        self.next_look = now.steady.saturating_add(next);
        if healthy && self.state.problem.is_some() {
            self.next_upkeep = now.steady;
        }
        self.state.problem = health.err();
        if healthy {
            self.adopt(now);
            self.forget(now);
        }
        self.sweep = true;
        let came = self.judge_when_due(now);
        // Whoever loaded their rules may not have cut what was open.
        let problems = self.engine.cut(&came);
        if let Some(problem) = problems.iter().find(|problem| !problem.is_empty()) {
            warn!(self.log, "connections of blocks that came into force"; "why" => %problem);
        }
        self.publish();
        self.retire(now);
    }

    /// Once every block is in force here, and stays so, the engine before lets go of its own.
    pub(crate) fn retire(&mut self, now: Now) {
        let whole =
            |state: &Snapshot| state.problem.is_none() && state.blocks.read().missing().is_empty();
        if self.retiring.is_none() || !self.adopted || !whole(&self.state) {
            return;
        }
        let confirmed = self.engine.confirm();
        self.judge(now);
        self.publish();
        if !whole(&self.state) {
            return;
        }
        let Some((mut before, said)) = self.retiring.take() else { return };
        if let Err(problem) = confirmed.and_then(|()| before.retire()) {
            if problem != said {
                warn!(self.log, "what another engine held stays for now"; "engine" => before.name(),
                    "why" => %problem);
            }
            self.retiring = Some((before, problem));
        }
    }

    /// Judges all blocks where there is reason to; what holds them and was lost is made anew first.
    /// Returns those that have come into force.
    fn judge_when_due(&mut self, now: Now) -> Vec<Target> {
        let every = self.state.config.reconcile_every.max(self.pause());
        let due = now.steady >= self.judged.saturating_add(every);
        if !due && !self.engine.others_changed() && !self.engine.is_lost() {
            return Vec::new();
        }
        let mut came = self.judge(now);
        if !self.engine.is_lost() {
            return came;
        }
        let missing: Vec<Target> = self.state.blocks.read().missing().iter().copied().collect();
        if self.load_again(now) {
            came.extend(self.judge(now));
            self.tell_of(&missing);
        }
        came
    }

    /// Whether blocks that were missing are there again.
    fn tell_of(&self, missing: &[Target]) {
        let blocks = self.state.blocks.read();
        let found = missing.iter().filter_map(|target| blocks.get(*target));
        let now: Vec<_> =
            found.map(|live| (live.info.target, Some(live.event), live.info.in_force)).collect();
        drop(blocks);
        if !now.is_empty() {
            self.journal.restored(&now);
        }
    }

    /// Puts everything in force at once; whether that was done.
    fn load_again(&mut self, now: Now) -> bool {
        if !self.adopted || !self.state.config.enforce || self.state.problem.is_some() {
            return false;
        }
        if let Err(wait) = self.repairs.take(now.steady) {
            let wait = Duration::from_secs(u64::from(wait));
            self.next_look = self.next_look.min(now.steady.saturating_add(wait));
            return false;
        }
        let blocks = self.state.blocks.read();
        let due = recover::due(blocks.iter(), now.wall);
        drop(blocks);
        if let Err(problem) = self.engine.load(&due) {
            warn!(self.log, "blocks could not be put in force at once; it is tried again"; "why" => %problem);
            self.next_look = self.next_look.min(now.steady.saturating_add(AILING));
            return false;
        }
        // What was loaded is read back like everything else.
        self.engine.look().is_ok()
    }

    /// Brings every block up to what was read back last; returns those that have come into force.
    pub(crate) fn judge(&mut self, now: Now) -> Vec<Target> {
        let started = (self.clock)().steady;
        let blocks = self.state.blocks.read();
        let all: Vec<(Target, Mark)> = blocks.iter().map(marked).collect();
        drop(blocks);
        let effects = self.engine.judge(&all);
        if self.state.problem.is_none() {
            self.state.verified_at = Some(now.wall);
        }
        let came = self.note(now, all.into_iter().map(|(target, _)| target).zip(effects).collect());
        self.judged = now.steady;
        self.judging_took = (self.clock)().steady.saturating_sub(started);
        came
    }

    /// Between two judgements of all blocks.
    pub(crate) fn pause(&self) -> Duration {
        self.judging_took.saturating_mul(PAUSE)
    }

    /// While another engine holds what it held, what is lifted here must be lifted there too.
    pub(crate) fn lift_in_both(&mut self, changes: &[Change], effects: &mut [Effect]) {
        let Some((other, _)) = &mut self.retiring else { return };
        let is_lift = |change: &Change| !change.is_block();
        let lifts: Vec<Change> = changes.iter().copied().filter(is_lift).collect();
        let there = other.apply(&lifts);
        let here = changes.iter().zip(effects).filter(|(change, _)| is_lift(change));
        for ((_, effect), there) in here.zip(there) {
            // One that is off drops nothing.
            if effect.holds() && !there.holds() && !matches!(there, Effect::Unavailable(_)) {
                *effect = there;
            }
        }
    }

    /// Notes what was read back; returns the blocks that have come into force. Where one was lost
    /// since, all is looked at again; what cannot be mended waits for the next look.
    pub(crate) fn note(&mut self, now: Now, effects: Vec<(Target, Effect)>) -> Vec<Target> {
        let mut came = Vec::new();
        let mut lost = 0_u64;
        let mut blocks = self.state.blocks.write();
        for (target, effect) in effects {
            let before = blocks.note(target, effect.holds());
            let drifted = before == Some(true) && !effect.holds();
            lost = lost
                .saturating_add(u64::from(drifted && !matches!(effect, Effect::Unavailable(_))));
            if before == Some(false) && effect.holds() {
                came.push(target);
            }
        }
        drop(blocks);
        if lost > 0 {
            self.state.drift = self.state.drift.saturating_add(lost);
            warn!(self.log, "blocks are missing from the firewall"; "blocks" => lost, "since_start" => self.state.drift);
            self.next_look = now.steady;
        }
        came
    }

    /// A block that this process began was timed by a clock that turns out wrong when it is set:
    /// its times move along. What an earlier run left in the ledger stays.
    pub(crate) fn mind_the_clock(&mut self, now: Now) {
        let passed = now.steady.saturating_sub(self.began.steady).as_secs();
        let expected = self.began.wall.saturating_add(passed);
        if now.wall.abs_diff(expected) < STEP {
            return;
        }
        let moved = |time: u64| time.saturating_add(now.wall).saturating_sub(expected);
        let blocks = self.state.blocks.read();
        let of_this_run = blocks.iter().filter(|live| live.of_this_run);
        let shifted = of_this_run.cloned().map(|mut live| {
            live.info.since = moved(live.info.since);
            if let Until::At(end) = live.info.until {
                live.info.until = Until::At(moved(end));
            }
            live
        });
        let entry = Entry { added: shifted.collect(), ..Entry::default() };
        drop(blocks);
        warn!(self.log, "the clock was set: blocks begun since the start move along";
            "from" => expected, "to" => now.wall, "blocks" => entry.added.len());
        self.began = Now { wall: now.wall, steady: now.steady };
        // The others end at another moment than the firewall was told.
        (self.judged, self.next_look) = (Duration::ZERO, now.steady);
        if !entry.is_empty() {
            // Logged where it fails; the blocks keep the times they had.
            let _ = self.commit(entry);
        }
        self.publish();
    }

    /// Takes blocks over that the ledger does not know, because it is new: their rules say when
    /// they end.
    fn adopt(&mut self, now: Now) {
        if self.adopted {
            return;
        }
        // Whichever engine holds them: the other one is about to let go of its own.
        let mut all = match self.engine.found() {
            Ok(found) => found,
            Err(problem) => {
                warn!(self.log, "what is in force cannot be adopted; it is tried again"; "why" => %problem);
                return;
            }
        };
        if let Some((other, _)) = &mut self.retiring
            && other.look().is_ok()
            && let Ok(found) = other.found()
        {
            all.extend(found);
        }
        let mut found = BTreeMap::new();
        for rule in all {
            if self.state.blocks.read().get(rule.target).is_none() {
                found.entry(rule.target).or_insert(rule.mark);
            }
        }
        let adopted = found.into_iter().map(|(target, mark)| {
            let info = BlockInfo {
                target,
                since: now.wall,
                until: mark.until(),
                reason: Text::truncated(ADOPTED),
                rule_name: Text::default(),
                alert_id: Text::default(),
                peer_uid: 0,
                peer_pid: 0,
                requester: None,
                offences: 0,
                in_force: false,
            };
            Live { info, event: mark.event(), of_this_run: false }
        });
        let added: Vec<Live> = adopted.collect();
        self.spare = true;
        if !added.is_empty() {
            let told = added.iter().map(|live| (live.info.target, live.event, live.info.until));
            self.journal.adopted(told);
        }
        // Logged where it fails; then it is tried again.
        let _ = self.commit(Entry { added, adopted: true, ..Entry::default() });
    }

    /// Immunities that are over, and offences that are long ago.
    fn forget(&mut self, now: Now) {
        let immune = self.state.immune.read();
        let over = immune.iter().filter(|(_, until)| **until <= now.wall);
        let over = over.map(|(target, _)| (*target, None)).collect();
        drop(immune);
        let ended = self.state.ended.read();
        let mut old: Vec<_> = ended.iter().map(|(target, ended)| (ended.last, *target)).collect();
        drop(ended);
        old.sort_unstable();
        let too_many = old.len().saturating_sub(MOST_ENDED);
        let long_ago = old.partition_point(|(last, _)| last.saturating_add(MEMORY) <= now.wall);
        old.truncate(too_many.max(long_ago));
        let entry = Entry {
            immune: over,
            ended: old.into_iter().map(|(_, target)| (target, None)).collect(),
            ..Entry::default()
        };
        if !entry.is_empty() {
            let _ = self.commit(entry);
        }
    }

    /// Live blocks of what is protected, as many as one reply can tell of.
    pub(crate) fn to_be_spared(&self) -> Vec<Target> {
        let blocks = self.state.blocks.read();
        let targets = blocks.iter().map(|live| live.info.target);
        let protected = targets.filter(|target| self.state.protected.covers(*target).is_some());
        protected.take(MAX_TARGETS).collect()
    }

    /// Adds to a batch what is due: beside other work it costs no run of its own, but ufw takes as long
    /// for what goes as for what comes, and so an urgent batch puts that off; the next one does not.
    pub(crate) fn add_upkeep(&mut self, now: Now, urgent: bool, batch: &mut Batch) {
        let sweep = std::mem::take(&mut self.sweep);
        let put_off = self.put_off.take();
        if now.steady < self.next_upkeep || self.state.problem.is_some() {
            return;
        }
        if urgent && put_off.is_none() {
            self.put_off = Some(sweep);
        } else {
            self.add_ends(now, sweep || put_off == Some(true), batch);
        }
        if sweep {
            self.add_missing(now, batch);
        }
    }

    /// What is over; in a sweep also what is not to be blocked, and what is nobody's.
    fn add_ends(&mut self, now: Now, sweep: bool, batch: &mut Batch) {
        self.state.blocks.read().over(now.wall).for_each(|target| batch.lift(Why::Expired, target));
        if !sweep {
            return;
        }
        if self.spare {
            let spared = self.to_be_spared();
            self.spare = !spared.is_empty();
            spared.into_iter().for_each(|target| batch.lift(Why::Protected, target));
        }
        let found = self.engine.known().into_iter().map(|rule| rule.target);
        let blocks = self.state.blocks.read();
        let orphans = found.filter(|target| self.adopted && blocks.get(*target).is_none());
        orphans.for_each(|target| batch.lift(Why::Orphaned, target));
    }

    fn add_missing(&mut self, now: Now, batch: &mut Batch) {
        let blocks = self.state.blocks.read();
        let missing = blocks.missing();
        if missing.is_empty() || !self.state.config.enforce {
            return;
        }
        // What is about to go may have been put off.
        let stays = |live: &&Live| {
            !live.is_over(now.wall) && self.state.protected.covers(live.info.target).is_none()
        };
        match self.repairs.take(now.steady) {
            Ok(()) => {
                let lives = missing.iter().filter_map(|target| blocks.get(*target));
                for live in lives.filter(stays) {
                    batch.add(Why::Missing, live.clone(), false);
                }
            }
            Err(wait) => {
                let wait = Duration::from_secs(u64::from(wait));
                self.next_look = self.next_look.min(now.steady.saturating_add(wait));
            }
        }
    }
}

const ADOPTED: &str = "adopted from the firewall: the ledger did not know it";
/// Between looks while no block can be put in force.
const AILING: Duration = Duration::from_secs(5);
/// Judging all blocks takes one part in so many of the time.
const PAUSE: u32 = 20;
/// Offences that are remembered.
const MOST_ENDED: usize = 100_000;
/// Seconds by which the clock may drift from the time since boot before that counts as being set.
const STEP: u64 = 30;
/// Before what failed without being asked for is tried again.
pub(crate) const UPKEEP_PAUSE: Duration = Duration::from_secs(10);
