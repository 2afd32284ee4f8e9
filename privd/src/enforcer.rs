//! The one thread that owns ledger and firewall. It takes whatever has queued up as one batch:
//! blocks before lifts before repairs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use protocol::{
    Block, BlockInfo, Lift, LiftOutcome, Outcome, Reply, Target, Text, Unblock, Until, Verdict,
};
use slog::{Logger, error, info, warn};

use crate::audit;
use crate::clock;
use crate::config::Config;
use crate::engine::{Change, Effect, Firewall};
use crate::ledger::{Ledger, Live};
use crate::peer::Peer;
use crate::policy::{self, Asker};
use crate::protected::Protected;
use crate::snapshot::{Published, Snapshot};

/// What the enforcer is asked to do.
pub enum Order {
    /// Put targets in force, then answer.
    Block(Peer, Block, Answer),
    /// Lift blocks, then answer.
    Unblock(Peer, Unblock, Answer),
    /// Use another configuration from now on.
    Reload(Box<Config>),
    /// Finish what has queued up and end.
    Stop,
}

/// Sends the reply to the peer that asked; never blocks.
pub type Answer = Box<dyn FnOnce(Reply) + Send>;

/// Owns everything that changes the host.
pub struct Enforcer {
    engine: Box<dyn Firewall>,
    ledger: Ledger,
    next_look: Instant,
    repairs: usize,
    state: Snapshot,
    published: Arc<Published>,
    log: Logger,
}

impl Enforcer {
    /// Takes over the engine and the ledger with its blocks, of which none counts as in force
    /// before it was looked at.
    pub fn new(
        engine: Box<dyn Firewall>,
        ledger: Ledger,
        blocks: BTreeMap<Target, Live>,
        config: Config,
        log: Logger,
    ) -> Self {
        let state = Snapshot {
            blocks: Arc::new(blocks),
            protected: Arc::default(),
            config: Arc::new(config),
            problem: None,
            stamp: engine.stamp(),
            verified_at: None,
        };
        let published = Arc::new(Published::new(state.clone()));
        Self { engine, ledger, next_look: Instant::now(), repairs: 0, state, published, log }
    }

    /// Where readers find the current state.
    pub fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published)
    }

    /// Works until told to stop, or until nobody can send orders any more.
    pub fn run(mut self, orders: &Receiver<Order>) {
        loop {
            if Instant::now() >= self.next_look {
                self.reconcile();
            }
            let wait = self.next_look.saturating_duration_since(Instant::now());
            let first = match orders.recv_timeout(wait) {
                Ok(order) => Some(order),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let (mut blocks, mut lifts, mut stop) = (Vec::new(), Vec::new(), false);
            for order in first.into_iter().chain(orders.try_iter().take(BATCH)) {
                match order {
                    Order::Block(peer, block, answer) => blocks.push((peer, block, answer)),
                    Order::Unblock(peer, unblock, answer) => lifts.push((peer, unblock, answer)),
                    Order::Reload(config) => {
                        self.state.config = Arc::from(config);
                        self.next_look = Instant::now();
                    }
                    Order::Stop => stop = true,
                }
            }
            if !blocks.is_empty() {
                self.block(blocks);
            }
            for (peer, unblock, answer) in lifts {
                self.unblock(&peer, &unblock, answer);
            }
            if stop {
                return;
            }
        }
    }

    fn block(&mut self, jobs: Vec<(Peer, Block, Answer)>) {
        let gathered = self.gather();
        let mut batch = Batch::default();
        let mut plans = Vec::with_capacity(jobs.len());
        for (peer, block, _) in &jobs {
            let plan = |target: &Target| match &gathered {
                Ok(()) => self.plan(*target, peer, block, &mut batch),
                Err(problem) => Plan::Settled(Outcome::Unavailable, problem.clone()),
            };
            plans.push(block.targets.as_slice().iter().map(plan).collect::<Vec<_>>());
        }
        let effects = self.engine.apply(&batch.changes);
        self.remember(&mut batch, &effects);
        self.judge_and_publish();
        for ((peer, block, answer), plans) in jobs.into_iter().zip(plans) {
            let verdict = |(target, plan): (&Target, Plan)| {
                let (outcome, detail) = match plan {
                    Plan::Settled(outcome, detail) => (outcome, detail),
                    Plan::Change(index) => self.outcome(&batch, effects.get(index), index),
                };
                Verdict { target: *target, outcome, detail }
            };
            let targets = block.targets.as_slice().iter();
            let verdicts: Vec<Verdict> = targets.zip(plans).map(verdict).collect();
            audit::blocked(&self.log, &peer, &block, &verdicts);
            self.published.queued.fetch_sub(1, Ordering::Relaxed);
            answer(Reply::Block(verdicts));
        }
    }

    /// Decides what one target needs.
    fn plan(&self, target: Target, peer: &Peer, block: &Block, batch: &mut Batch) -> Plan {
        let config = &self.state.config;
        let asker = Asker { role: peer.role, requester: block.requester };
        let target = match policy::decide(target, asker, &self.state.protected, config) {
            Ok(target) => target,
            Err(denial) => {
                let detail = Text::truncated(&denial.detail);
                return Plan::Settled(Outcome::Refused(denial.refusal), detail);
            }
        };
        let live = self.state.blocks.get(&target);
        if let Some(live) = live.filter(|live| live.info.in_force)
            && self.state.stamp.is_current()
        {
            return Plan::Settled(Outcome::AlreadyBlocked(live.enforced()), Text::default());
        }
        let wanted = live.cloned().unwrap_or_else(|| new_block(target, peer, block));
        if !config.enforce {
            return Plan::Settled(Outcome::WouldBlock(wanted.enforced()), Text::default());
        }
        let known = live.is_some() || batch.index.contains_key(&target);
        let taken = self.state.blocks.len().saturating_add(batch.fresh);
        if !known && taken >= config.max_blocks {
            let detail = format!("the table is full: max-blocks = {}", config.max_blocks);
            return Plan::Settled(Outcome::Unavailable, Text::truncated(&detail));
        }
        batch.fresh = batch.fresh.saturating_add(usize::from(!known));
        Plan::Change(batch.add(wanted))
    }

    /// Brings ledger and state up to what was read back: durable before anyone is answered.
    fn remember(&mut self, batch: &mut Batch, effects: &[Effect]) {
        let fresh = batch.wanted.iter().zip(effects).filter(|(live, effect)| {
            // What ufw was asked for and may have half done stays on the list, to be finished.
            let tried = matches!(effect, Effect::Unverified(_) | Effect::Failed(_));
            (effect.holds() || tried) && !self.state.blocks.contains_key(&live.info.target)
        });
        let rows: Vec<Live> = fresh.map(|(live, _)| live.clone()).collect();
        if rows.is_empty() {
            return;
        }
        if let Err(problem) = self.ledger.commit(&rows, &[]) {
            error!(self.log, "ledger not written"; "error" => %problem);
            batch.unwritten = true;
            return;
        }
        let live = rows.into_iter().map(|live| (live.info.target, live));
        Arc::make_mut(&mut self.state.blocks).extend(live);
    }

    fn outcome(&self, batch: &Batch, effect: Option<&Effect>, index: usize) -> (Outcome, Text) {
        let target = batch.wanted.get(index).map(|live| live.info.target);
        let live = target.and_then(|target| self.state.blocks.get(&target));
        let enforced = live.map(Live::enforced);
        match (effect, enforced) {
            (Some(Effect::Done(words)), Some(enforced)) => {
                (Outcome::Blocked(enforced), words.clone())
            }
            (Some(Effect::Already(words)), Some(enforced)) => {
                (Outcome::AlreadyBlocked(enforced), words.clone())
            }
            (Some(Effect::Unverified(words)), _) => (Outcome::Unverified, words.clone()),
            (Some(Effect::Unavailable(words)), _) => (Outcome::Unavailable, words.clone()),
            (Some(Effect::Failed(words)), _) => (Outcome::Failed, words.clone()),
            (Some(Effect::Done(_) | Effect::Already(_)) | None, _) => {
                let words = if batch.unwritten { UNWRITTEN } else { "the engine gave no answer" };
                (Outcome::Failed, Text::truncated(words))
            }
        }
    }

    fn unblock(&mut self, peer: &Peer, unblock: &Unblock, answer: Answer) {
        let targets: Vec<Target> = match &unblock.targets {
            Some(targets) => targets.as_slice().to_vec(),
            None => self.state.blocks.keys().copied().collect(),
        };
        let changes: Vec<Change> = targets.iter().copied().map(Change::Lift).collect();
        let effects = self.engine.apply(&changes);
        let holds = targets.iter().zip(&effects).filter(|(_, effect)| effect.holds());
        let gone = holds.map(|(target, _)| *target);
        let gone: Vec<Target> =
            gone.filter(|target| self.state.blocks.contains_key(target)).collect();
        let committed = if gone.is_empty() { Ok(()) } else { self.ledger.commit(&[], &gone) };
        match &committed {
            Err(problem) => error!(self.log, "ledger not written"; "error" => %problem),
            Ok(()) => {
                let blocks = Arc::make_mut(&mut self.state.blocks);
                gone.iter().for_each(|target| drop(blocks.remove(target)));
            }
        }
        self.judge_and_publish();
        let lift = |(target, effect): (&Target, Effect)| {
            let was_live = gone.contains(target);
            let (outcome, detail) = match effect {
                _ if was_live && committed.is_err() => {
                    (LiftOutcome::Failed, Text::truncated(UNWRITTEN))
                }
                Effect::Done(words) => (LiftOutcome::Lifted, words),
                Effect::Already(words) if was_live => (LiftOutcome::Lifted, words),
                Effect::Already(words) => (LiftOutcome::NotBlocked, words),
                Effect::Failed(words) | Effect::Unverified(words) | Effect::Unavailable(words) => {
                    (LiftOutcome::Failed, words)
                }
            };
            Lift { target: *target, outcome, detail }
        };
        let lifts: Vec<Lift> = targets.iter().zip(effects).map(lift).collect();
        audit::lifted(&self.log, peer, unblock, &lifts);
        self.published.queued.fetch_sub(1, Ordering::Relaxed);
        answer(Reply::Unblock(lifts));
    }

    /// Looks at every block, puts back what is missing, and decides when to look again.
    fn reconcile(&mut self) {
        let health = self.engine.look().and_then(|()| self.gather());
        if health.as_ref().err() != self.state.problem.as_ref() {
            match &health {
                Ok(()) => info!(self.log, "blocks can be put in force again"),
                Err(problem) => warn!(self.log, "no block can be put in force"; "why" => %problem),
            }
        }
        if health.is_ok() {
            self.state.verified_at = Some(clock::now());
        }
        self.state.problem = health.err();
        let now = Instant::now();
        self.next_look = now.checked_add(self.state.config.reconcile_every).unwrap_or(now);
        let missing = self.judge();
        if missing > 0 && self.state.config.enforce && self.state.problem.is_none() {
            self.repair(missing);
        }
        self.publish();
    }

    fn repair(&mut self, missing: usize) {
        let protected = &self.state.protected;
        let lacking =
            self.state.blocks.iter().filter(|(target, live)| {
                !live.info.in_force && protected.covers(**target).is_none()
            });
        let mut changes: Vec<Change> =
            lacking.map(|(target, live)| Change::Block(*target, live.event)).collect();
        // Others come first each time, so that what cannot be mended does not hide what can.
        let first = self.repairs.checked_rem(changes.len()).unwrap_or(0);
        changes.rotate_left(first);
        changes.truncate(REPAIRS);
        self.repairs = self.repairs.wrapping_add(REPAIRS);
        self.engine.apply(&changes);
        let left = self.judge();
        let put_back = missing.saturating_sub(left);
        warn!(self.log, "blocks were missing from the firewall"; "put_back" => put_back, "left" => left);
        // Where nothing could be put back, trying again at once would only burn the machine.
        if left > 0 && put_back > 0 {
            self.next_look = Instant::now();
        }
    }

    /// Brings every block up to what was read back last; returns how many are not in force.
    fn judge(&mut self) -> usize {
        let mut missing = 0_usize;
        for (target, live) in Arc::make_mut(&mut self.state.blocks) {
            live.info.in_force = self.engine.judge(*target).holds();
            missing = missing.saturating_add(usize::from(!live.info.in_force));
        }
        missing
    }

    /// Another ufw run may have erased older blocks meanwhile: all are judged by the same look.
    fn judge_and_publish(&mut self) {
        if self.judge() > 0 {
            self.next_look = Instant::now();
        }
        self.publish();
    }

    fn gather(&mut self) -> Result<(), Text> {
        let allowed = self.engine.allowed_sources()?;
        let protected =
            Protected::gather(&self.state.config.never_block, allowed).map_err(|errno| {
                Text::truncated(&format!("own addresses cannot be listed: {errno}"))
            })?;
        self.state.protected = Arc::new(protected);
        Ok(())
    }

    fn publish(&mut self) {
        self.state.stamp = self.engine.stamp();
        self.published.publish(self.state.clone());
    }
}

/// What one target needs.
enum Plan {
    /// Nothing; this is the answer.
    Settled(Outcome, Text),
    /// The change with this index.
    Change(usize),
}

/// The changes of one batch, one for each target whoever asked, and what the ledger is to hold.
#[derive(Default)]
struct Batch {
    changes: Vec<Change>,
    wanted: Vec<Live>,
    index: HashMap<Target, usize>,
    fresh: usize,
    unwritten: bool,
}

impl Batch {
    fn add(&mut self, live: Live) -> usize {
        *self.index.entry(live.info.target).or_insert_with(|| {
            self.changes.push(Change::Block(live.info.target, live.event));
            self.wanted.push(live);
            self.changes.len().saturating_sub(1)
        })
    }
}

fn new_block(target: Target, peer: &Peer, block: &Block) -> Live {
    let info = BlockInfo {
        target,
        since: clock::now(),
        until: Until::Permanent,
        reason: block.reason.clone(),
        rule_name: block.rule_name.clone(),
        alert_id: block.alert_id.clone(),
        peer_uid: peer.uid,
        peer_pid: peer.pid,
        requester: block.requester,
        in_force: false,
    };
    Live { info, event: block.event }
}

const UNWRITTEN: &str =
    "the ledger cannot be written: is the disk full? See the log of webhook-privd";
/// Orders taken into one batch at most.
const BATCH: usize = 1024;
/// Blocks put back in one look, so that requests wait seconds at most.
const REPAIRS: usize = 10;
