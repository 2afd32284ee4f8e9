//! The one thread that owns ledger and firewall. It takes whatever has queued up as one batch,
//! which is one entry in the ledger and one run of the firewall's tool.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use logging::Journal;
use protocol::{
    Block, Durations, Lift, LiftOutcome, Outcome, Reloaded, Reply, Target, Text, Unblock, Verdict,
    Which,
};
use slog::{Logger, error};

use crate::audit;
use crate::batch::{Batch, Plan};
use crate::clock::{Clock, Now};
use crate::peer::Peer;
use crate::reconcile::UPKEEP_PAUSE;
use crate::recover;
use crate::snapshot::{Published, Shared, Snapshot};
use firewall::{Change, Firewall, pulse};
use ledger::{Ledger, Records};
use policy::config::Config;
use policy::quota::Bucket;

/// What the enforcer is asked to do.
pub enum Order {
    /// Put targets in force, then answer.
    Block(Peer, Block, Answer),
    /// Lift blocks, then answer.
    Unblock(Peer, Unblock, Answer),
    /// Use another configuration from now on, then answer whoever asked.
    Reload(Box<Config>, Option<Answer>),
    /// Somebody wrote the firewall's files.
    Look,
    /// Finish what has queued up and end.
    Stop,
}

impl Order {
    const fn is_block(&self) -> bool {
        matches!(self, Self::Block(..))
    }
}

/// Sends the reply to the peer that asked; never blocks.
pub type Answer = Box<dyn FnOnce(Reply) + Send>;

/// Why the enforcer ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// It was told to.
    Stopped,
    /// The firewall's files were replaced: a fresh start sees the new ones. What was being asked is
    /// unanswered, so that it is asked again.
    Replaced,
}

/// Owns everything that changes the host.
pub struct Enforcer {
    pub(crate) engine: Box<dyn Firewall>,
    pub(crate) ledger: Ledger,
    pub(crate) clock: Clock,
    /// When this process and the clock that it trusts began; moves with a step of the clock.
    pub(crate) began: Now,
    pub(crate) adopted: bool,
    pub(crate) quota: Bucket,
    /// Requests for blocks in the last batch.
    asked_last: usize,
    /// When ufw last had time to take over.
    settled: Duration,
    /// Runs that put back what others took away.
    pub(crate) repairs: Bucket,
    /// Times since boot.
    pub(crate) next_look: Duration,
    /// When all blocks were judged last, and how long that took.
    pub(crate) judged: Duration,
    pub(crate) judging_took: Duration,
    /// The engine that held the blocks before, until all of them are in force in this one; and what
    /// it said last of why it keeps them.
    pub(crate) retiring: Option<(Box<dyn Firewall>, Text)>,
    /// Not before this is anything done that nobody asked for.
    pub(crate) next_upkeep: Duration,
    /// Whether a look found reason to go through all blocks.
    pub(crate) sweep: bool,
    /// What is to go was put off by a batch, so that somebody is blocked sooner; and whether that batch
    /// was to go through all blocks.
    pub(crate) put_off: Option<bool>,
    /// Whether a live block may be of what is protected.
    pub(crate) spare: bool,
    /// Whether the table is nearly full, which has been said.
    pub(crate) filling: bool,
    pub(crate) state: Snapshot,
    pub(crate) published: Arc<Published>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) log: Logger,
}

impl Enforcer {
    /// Takes over the engine and the ledger with its blocks, of which none counts as in force
    /// before it was looked at.
    pub fn new(
        engine: Box<dyn Firewall>,
        (ledger, records): (Ledger, Records),
        config: Config,
        clock: Clock,
        journal: Arc<Journal>,
    ) -> Self {
        let now = clock();
        let quota = Bucket::new(config.max_new_blocks_per_minute(), now.steady);
        let state = Snapshot {
            firewall: engine.name(),
            not_in_force: records.blocks.missing().len(),
            blocks: Shared::new(records.blocks),
            ended: Shared::new(records.ended),
            immune: Shared::new(records.immune),
            protected: Arc::default(),
            config: Arc::new(config),
            problem: None,
            stamp: engine.stamp(),
            drift: 0,
            verified_at: None,
            changes: Durations::default(),
        };
        let published = Arc::new(Published::new(state.clone(), engine.changing()));
        Self {
            engine,
            ledger,
            clock,
            began: now,
            adopted: records.adopted,
            quota,
            asked_last: 0,
            settled: now.steady,
            repairs: Bucket::new(REPAIRS_PER_MINUTE, now.steady),
            next_look: now.steady,
            judged: Duration::ZERO,
            judging_took: Duration::ZERO,
            retiring: None,
            next_upkeep: now.steady,
            sweep: false,
            put_off: None,
            spare: true,
            filling: false,
            state,
            published,
            log: journal.log.clone(),
            journal,
        }
    }

    /// Before anybody is served: has the engine put in force at once what the ledger says, and lets
    /// another engine's rules go when all of it is.
    pub fn load(&mut self, other: Box<dyn Firewall>) {
        self.retiring = Some((other, Text::default()));
        let now = (self.clock)();
        if !self.adopted || !self.state.config.enforce {
            return;
        }
        let due = recover::due(self.state.blocks.read().iter(), now.wall);
        if let Err(problem) = self.engine.load(&due) {
            error!(self.log, "blocks could not be put in force at once; it is tried again"; "why" => %problem);
        }
    }

    /// Where readers find the current state.
    pub fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published)
    }

    /// Works until told to stop, or until only a fresh start helps.
    pub fn run(mut self, orders: &Receiver<Order>) -> End {
        let now = (self.clock)();
        self.look(now);
        let mut queue = self.who_has_waited(orders);
        loop {
            self.wait_for_more(&mut queue, orders);
            let stop = self.turn(queue.into_iter());
            if self.engine.replaced() {
                return End::Replaced;
            }
            if stop {
                return End::Stopped;
            }
            self.notice();
            let wait = self.next_look.saturating_sub((self.clock)().steady).min(TICK);
            let wait = if self.put_off.is_some() { Duration::ZERO } else { wait };
            let first = match pulse::during(wait, || orders.recv_timeout(wait)) {
                Ok(order) => Some(order),
                Err(RecvTimeoutError::Timeout) => {
                    self.settle();
                    None
                }
                Err(RecvTimeoutError::Disconnected) => return End::Stopped,
            };
            queue = first.into_iter().chain(orders.try_iter().take(BATCH)).collect();
            self.journal.settle(Some(Instant::now()));
        }
    }

    /// Who asked while no webhook-privd ran comes ahead of what became due meanwhile.
    fn who_has_waited(&self, orders: &Receiver<Order>) -> Vec<Order> {
        let end = (self.clock)().steady.saturating_add(FIRST);
        let left = || end.saturating_sub((self.clock)().steady);
        std::iter::from_fn(|| orders.recv_timeout(left()).ok()).take(BATCH).collect()
    }

    /// Now and then, when nobody waits, ufw takes over what was put in force without it. Not more
    /// often: each run empties its file for a moment, and another ufw may read it just then.
    fn settle(&mut self) {
        let now = (self.clock)();
        let due = self.settled.saturating_add(self.state.config.reconcile_every);
        if now.steady >= due && self.put_off.is_none() && self.engine.is_unsettled() {
            self.settled = now.steady;
            self.engine.settle();
            self.judge(now);
            self.publish();
        }
    }

    /// What no file tells of shows within a moment too, unless looking takes so long that there would
    /// be time for nothing else.
    fn notice(&mut self) {
        let now = (self.clock)().steady;
        if now >= self.judged.saturating_add(self.pause()) && !self.state.stamp.is_current() {
            self.next_look = self.next_look.min(now);
        }
    }

    /// Clients that were answered together ask again within moments of each other: without this
    /// they would fall into two groups, of which each waits for the other's run.
    fn wait_for_more(&mut self, queue: &mut Vec<Order>, orders: &Receiver<Order>) {
        let blocks = |queue: &[Order]| queue.iter().filter(|order| order.is_block()).count();
        let end = (self.clock)().steady.saturating_add(TOGETHER);
        while (1..self.asked_last).contains(&blocks(queue)) {
            let left = end.saturating_sub((self.clock)().steady);
            let Ok(order) = orders.recv_timeout(left) else { break };
            queue.push(order);
        }
        self.asked_last = blocks(queue);
    }

    /// Does what was ordered and what is due; whether it is to be the last time.
    pub fn turn(&mut self, queue: impl Iterator<Item = Order>) -> bool {
        let now = (self.clock)();
        self.mind_the_clock(now);
        let (mut blocks, mut lifts, mut stop) = (Vec::new(), Vec::new(), false);
        let mut reloads = Vec::new();
        for order in queue {
            match order {
                Order::Block(peer, block, answer) => blocks.push((peer, block, answer)),
                Order::Unblock(peer, unblock, answer) => lifts.push((peer, unblock, answer)),
                Order::Reload(mut config, answer) => {
                    // Another engine takes over at a restart; until then this one's bounds hold.
                    config.firewall = self.state.config.firewall;
                    self.quota.change(config.max_new_blocks_per_minute(), now.steady);
                    self.state.config = Arc::from(config);
                    (self.next_look, self.next_upkeep) = (now.steady, now.steady);
                    reloads.extend(answer);
                }
                Order::Look if self.state.stamp.is_current() => {}
                Order::Look => self.next_look = now.steady,
                Order::Stop => stop = true,
            }
        }
        let doubtful = self.state.problem.is_some() && !blocks.is_empty();
        if doubtful || now.steady >= self.next_look {
            self.look(now);
        }
        // Blocks before lifts: a target of both is lifted by a batch of its own.
        let asked: HashSet<Target> =
            blocks.iter().flat_map(|(_, block, _)| block.targets.as_slice()).copied().collect();
        let overlaps = |unblock: &Unblock| match &unblock.which {
            Which::Targets(targets) => targets.as_slice().iter().any(|one| asked.contains(one)),
            Which::All | Which::Rule(_) => !asked.is_empty(),
        };
        let (later, lifts) = lifts.into_iter().partition(|(_, unblock, _)| overlaps(unblock));
        let spared = if reloads.is_empty() { Vec::new() } else { self.to_be_spared() };
        let urgent = !blocks.is_empty() && reloads.is_empty();
        let batch = self.work(now, blocks, lifts, urgent);
        if !self.engine.replaced() {
            let lift = |target: Target| match &self.state.problem {
                Some(problem) => {
                    Lift { target, outcome: LiftOutcome::Failed, detail: problem.clone() }
                }
                None => self.lift(target, &batch),
            };
            let lifted: Vec<Lift> = spared.into_iter().map(lift).collect();
            let reloaded = Reloaded::Done { lifted };
            reloads.into_iter().for_each(|answer| answer(Reply::Reload(reloaded.clone())));
        }
        if !later.is_empty() && !self.engine.replaced() {
            self.work(now, Vec::new(), later, false);
        }
        stop
    }

    /// One batch: what was asked for, and what is due by itself. Beside what is urgent, nothing that
    /// goes.
    fn work(
        &mut self,
        now: Now,
        blocks: Vec<(Peer, Block, Answer)>,
        lifts: Vec<(Peer, Unblock, Answer)>,
        urgent: bool,
    ) -> Batch {
        let mut batch = Batch::default();
        let gathered = match self.state.problem.clone() {
            Some(problem) => Err(problem),
            None if blocks.is_empty() => Ok(()),
            None => self.gather(),
        };
        let current = self.state.stamp.is_current();
        let mut plans = Vec::with_capacity(blocks.len());
        for (peer, block, _) in &blocks {
            let plan = |target: &Target| match &gathered {
                Ok(()) => self.plan(now, *target, (peer, block), current, &mut batch),
                Err(problem) => Plan::Settled(Outcome::Unavailable, problem.clone()),
            };
            plans.push(block.targets.as_slice().iter().map(plan).collect::<Vec<_>>());
        }
        let lifted: Vec<Vec<Target>> =
            lifts.iter().map(|(_, unblock, _)| self.plan_lifts(now, unblock, &mut batch)).collect();
        self.add_upkeep(now, urgent, &mut batch);
        self.carry_out(now, &mut batch);
        if self.engine.replaced() {
            return batch;
        }
        // Telling of ten thousand takes as long as blocking them: who asked need not wait for it.
        let mut told_later = Vec::new();
        for ((peer, block, answer), plans) in blocks.into_iter().zip(plans) {
            let verdict = |(target, plan): (&Target, Plan)| {
                let (outcome, detail) = batch.outcome(plan);
                Verdict { target: *target, outcome, detail }
            };
            let targets = block.targets.as_slice().iter();
            let verdicts: Vec<Verdict> = targets.zip(plans).map(verdict).collect();
            if verdicts.len() > MANY {
                told_later.push((peer.asker(), block, verdicts.clone()));
            } else {
                self.journal.blocked(&peer.asker(), &block, &verdicts);
            }
            self.published.queued.fetch_sub(1, Ordering::Relaxed);
            answer(Reply::Block(verdicts));
        }
        for ((peer, unblock, answer), targets) in lifts.into_iter().zip(lifted) {
            let lifts: Vec<Lift> =
                targets.iter().map(|target| self.lift(*target, &batch)).collect();
            self.journal.lifted(&peer.asker(), &unblock, &lifts);
            self.published.queued.fetch_sub(1, Ordering::Relaxed);
            answer(Reply::Unblock(lifts));
        }
        for (asker, block, verdicts) in told_later {
            self.journal.blocked(&asker, &block, &verdicts);
        }
        batch
    }

    /// Durable first, then in the firewall, then read back, then the ledger again for what turned
    /// out otherwise.
    fn carry_out(&mut self, now: Now, batch: &mut Batch) {
        if batch.items.is_empty() && batch.entry.is_empty() {
            return;
        }
        let begun = batch.begin(&self.state.blocks.read());
        if !begun.is_empty()
            && let Err(problem) = self.commit(begun)
        {
            batch.give_up(&problem);
        }
        let changes = batch.changes();
        let started = (self.clock)().steady;
        let mut effects = self.engine.apply(&changes);
        self.lift_in_both(&changes, &mut effects);
        if !changes.is_empty() {
            self.state.changes.note((self.clock)().steady.saturating_sub(started));
        }
        batch.take(effects.clone());
        let settled = batch.settle();
        if !settled.is_empty() {
            // If this fails, what is said now holds until the next start; then the ledger's word does.
            let _ = self.write(&settled);
            self.absorb(settled);
        }
        if audit::upkeep(&self.journal, &batch.items) {
            self.next_upkeep = now.steady.saturating_add(UPKEEP_PAUSE);
        }
        if batch.is_pending() {
            self.next_look = now.steady.saturating_add(TICK);
        }
        if self.engine.reads_all() {
            self.judge(now);
        } else {
            // What others did to the rest is looked at when nobody waits for it.
            let changed = changes.iter().map(Change::target).zip(effects);
            self.note(now, changed.collect());
        }
        self.publish();
        self.retire(now);
        // Last: with many connections it takes a while, and what is blocked is known by now.
        let (targets, words): (Vec<Target>, Vec<&mut Text>) = batch.standing().unzip();
        let problems = self.engine.cut(&targets);
        problems.into_iter().zip(words).for_each(|(problem, words)| *words = problem);
    }
}

/// Verdicts of one request.
const MANY: usize = 1_000;
/// Orders taken into one batch at most.
const BATCH: usize = 1024;
/// From a start until those who waited for it have asked again.
const FIRST: Duration = Duration::from_millis(50);
/// A tenth of a ufw run, for which a batch waits to be as large as the one before.
const TOGETHER: Duration = Duration::from_millis(20);
/// Blocks end within two of these.
const TICK: Duration = Duration::from_secs(1);
/// Somebody who keeps taking our rules away is met at this rate, not in a race.
const REPAIRS_PER_MINUTE: u32 = 12;
