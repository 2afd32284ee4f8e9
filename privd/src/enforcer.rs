//! The one thread that owns ledger and firewall. It takes whatever has queued up as one batch:
//! blocks before lifts before repairs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use protocol::{
    Block, Enforced, Lift, LiftOutcome, Outcome, Reply, Target, Text, Unblock, Until, Verdict,
};
use slog::{Logger, error, info, warn};

use crate::audit;
use crate::clock;
use crate::config::Limits;
use crate::engine::{Change, Effect, Firewall, RuleId};
use crate::ledger::{Ledger, Record};
use crate::peer::Peer;
use crate::policy::{self, Asker};
use crate::protected::Protected;
use crate::snapshot::{Live, Published, Snapshot};

/// What the enforcer is asked to do.
pub enum Order {
    /// Put targets in force, then answer.
    Block(Peer, Block, Answer),
    /// Lift blocks, then answer.
    Unblock(Peer, Unblock, Answer),
    /// Use other bounds from now on.
    Reload(Box<Limits>, bool),
    /// Finish what has queued up and end.
    Stop,
}

/// Sends the reply to the peer that asked; never blocks.
pub type Answer = Box<dyn FnOnce(Reply) + Send>;

/// Owns everything that changes the host.
pub struct Enforcer {
    engine: Box<dyn Firewall>,
    ledger: Ledger,
    reconcile_every: Duration,
    next_look: Instant,
    state: Snapshot,
    published: Arc<Published>,
    log: Logger,
}

impl Enforcer {
    /// Takes over the engine and the ledger with its blocks, of which none counts as in force
    /// before it was looked at.
    #[must_use]
    pub fn new(
        engine: Box<dyn Firewall>,
        ledger: Ledger,
        records: BTreeMap<Target, Record>,
        settings: (Arc<Limits>, bool, Duration),
        log: Logger,
    ) -> Self {
        let live = |(target, record)| (target, Live { record, in_force: false });
        let (limits, enforce, reconcile_every) = settings;
        let state = Snapshot {
            blocks: Arc::new(records.into_iter().map(live).collect()),
            protected: Arc::default(),
            limits,
            enforce,
            problem: None,
            stamp: engine.stamp(),
            verified_at: None,
        };
        let published = Arc::new(Published::new(state.clone()));
        Self { engine, ledger, reconcile_every, next_look: Instant::now(), state, published, log }
    }

    /// Where readers find the current state.
    #[must_use]
    pub fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published)
    }

    /// Works until told to stop, or until nobody can send orders any more.
    pub fn run(mut self, orders: &Receiver<Order>) {
        self.next_look = self.reconcile();
        loop {
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
                    Order::Reload(limits, enforce) => {
                        self.state.limits = Arc::from(limits);
                        self.state.enforce = enforce;
                    }
                    Order::Stop => stop = true,
                }
            }
            self.block(blocks);
            for (peer, unblock, answer) in lifts {
                self.unblock(peer, &unblock, answer);
            }
            if stop {
                return;
            }
            if Instant::now() >= self.next_look {
                self.next_look = self.reconcile();
            }
        }
    }

    fn block(&mut self, jobs: Vec<(Peer, Block, Answer)>) {
        if jobs.is_empty() {
            return;
        }
        let gathered = self.gather();
        let mut changes = Changes::default();
        let mut planned = Vec::with_capacity(jobs.len());
        for (peer, block, _) in &jobs {
            let asker = Asker { role: peer.role, requester: block.requester };
            let plan = |target: &Target| match &gathered {
                Ok(()) => self.plan(*target, asker, block, &mut changes),
                Err(problem) => Plan::Done(Outcome::Unavailable, problem.clone()),
            };
            planned.push(block.targets.as_slice().iter().map(plan).collect::<Vec<_>>());
        }
        let effects = self.engine.apply(&changes.list);
        let settled = self.settle(&jobs, &planned, &changes, &effects);
        // Another ufw run may have erased older blocks meanwhile: all are judged by the same look.
        if !changes.list.is_empty() && !self.judge() {
            self.next_look = Instant::now();
        }
        self.publish();
        for ((peer, block, answer), plans) in jobs.into_iter().zip(planned) {
            let verdicts: Vec<Verdict> = block
                .targets
                .as_slice()
                .iter()
                .zip(plans)
                .map(|(target, plan)| {
                    let (outcome, detail) = self.outcome(plan, &changes, &effects, &settled);
                    Verdict { target: *target, outcome, detail }
                })
                .collect();
            audit::blocked(&self.log, &peer, &block, &verdicts);
            self.published.left();
            answer(Reply::Block(verdicts));
        }
    }

    /// Decides what one target needs.
    fn plan(&self, target: Target, asker: Asker, block: &Block, changes: &mut Changes) -> Plan {
        let limits = &self.state.limits;
        let enforced = match policy::decide(target, asker, &self.state.protected, limits) {
            Ok(enforced) => enforced,
            Err(denial) => {
                return Plan::Done(
                    Outcome::Refused(denial.refusal),
                    Text::truncated(&denial.detail),
                );
            }
        };
        let live = self.state.blocks.get(&enforced);
        if let Some(live) = live.filter(|live| live.in_force)
            && self.state.stamp.is_current()
        {
            let enforced = Enforced { target: enforced, until: live.record.until };
            return Plan::Done(Outcome::AlreadyBlocked(enforced), Text::default());
        }
        if !self.state.enforce {
            let enforced = Enforced { target: enforced, until: Until::Permanent };
            return Plan::Done(Outcome::WouldBlock(enforced), Text::default());
        }
        let known = live.is_some() || changes.index.contains_key(&enforced);
        let taken = self.state.blocks.len().saturating_add(changes.fresh);
        if !known && taken >= limits.max_blocks {
            let detail = format!("the table is full: max-blocks = {}", limits.max_blocks);
            return Plan::Done(Outcome::Unavailable, Text::truncated(&detail));
        }
        changes.fresh = changes.fresh.saturating_add(usize::from(!known));
        Plan::Change(changes.add(enforced, RuleId::of(block.event)))
    }

    /// Brings ledger and state up to what was read back. None: the ledger holds it all.
    fn settle(
        &mut self,
        jobs: &[(Peer, Block, Answer)],
        planned: &[Vec<Plan>],
        changes: &Changes,
        effects: &[Effect],
    ) -> Option<Text> {
        let mut rows: BTreeMap<Target, Record> = BTreeMap::new();
        for ((peer, block, _), plans) in jobs.iter().zip(planned) {
            for plan in plans {
                let Plan::Change(index) = plan else { continue };
                let (Some(effect), Some(target)) = (effects.get(*index), changes.target(*index))
                else {
                    continue;
                };
                let holds = matches!(effect, Effect::Enforced { .. } | Effect::AlreadyEnforced);
                if holds && !self.state.blocks.contains_key(&target) {
                    rows.entry(target).or_insert_with(|| record(peer, block));
                }
            }
        }
        let rows: Vec<(Target, Record)> = rows.into_iter().collect();
        if !rows.is_empty()
            && let Err(problem) = self.ledger.commit(&rows, &[])
        {
            error!(self.log, "ledger not written"; "error" => %problem);
            return Some(Text::truncated(
                "in force, but not in the ledger: the disk may be full; see the log of webhook-privd",
            ));
        }
        let blocks = Arc::make_mut(&mut self.state.blocks);
        for (target, record) in rows {
            blocks.insert(target, Live { record, in_force: false });
        }
        None
    }

    fn outcome(
        &self,
        plan: Plan,
        changes: &Changes,
        effects: &[Effect],
        unsettled: &Option<Text>,
    ) -> (Outcome, Text) {
        let index = match plan {
            Plan::Done(outcome, detail) => return (outcome, detail),
            Plan::Change(index) => index,
        };
        let (Some(effect), Some(target)) = (effects.get(index), changes.target(index)) else {
            return (Outcome::Failed, Text::truncated("the engine gave no answer"));
        };
        let live = self.state.blocks.get(&target);
        let until = live.map_or(Until::Permanent, |live| live.record.until);
        let enforced = Enforced { target, until };
        match effect {
            Effect::Enforced { .. } | Effect::AlreadyEnforced if live.is_none() => {
                (Outcome::Failed, unsettled.clone().unwrap_or_default())
            }
            Effect::Enforced { warning } => {
                (Outcome::Blocked(enforced), warning.clone().unwrap_or_default())
            }
            Effect::AlreadyEnforced => (Outcome::AlreadyBlocked(enforced), Text::default()),
            Effect::Unverified(detail) => (Outcome::Unverified, detail.clone()),
            Effect::Unavailable(detail) => (Outcome::Unavailable, detail.clone()),
            Effect::Failed(detail) => (Outcome::Failed, detail.clone()),
            Effect::Lifted { .. } | Effect::NothingToLift => {
                (Outcome::Failed, Text::truncated("the engine mixed up its answers"))
            }
        }
    }

    fn unblock(&mut self, peer: Peer, unblock: &Unblock, answer: Answer) {
        let targets: Vec<Target> = match &unblock.targets {
            Some(targets) => targets.as_slice().to_vec(),
            None => self.state.blocks.keys().copied().collect(),
        };
        let changes: Vec<Change> =
            targets.iter().map(|target| Change::Lift { target: *target }).collect();
        let effects = self.engine.apply(&changes);
        let gone: Vec<Target> = targets
            .iter()
            .zip(&effects)
            .filter(|(target, effect)| {
                matches!(effect, Effect::Lifted { .. } | Effect::NothingToLift)
                    && self.state.blocks.contains_key(target)
            })
            .map(|(target, _)| *target)
            .collect();
        let committed = if gone.is_empty() { Ok(()) } else { self.ledger.commit(&[], &gone) };
        if let Err(problem) = &committed {
            error!(self.log, "ledger not written"; "error" => %problem);
        } else {
            let blocks = Arc::make_mut(&mut self.state.blocks);
            for target in &gone {
                blocks.remove(target);
            }
        }
        if !self.judge() {
            self.next_look = Instant::now();
        }
        self.publish();
        let lifts: Vec<Lift> = targets
            .iter()
            .zip(effects)
            .map(|(target, effect)| {
                lift(*target, effect, gone.contains(target), committed.is_err())
            })
            .collect();
        audit::lifted(&self.log, &peer, unblock, &lifts);
        self.published.left();
        answer(Reply::Unblock(lifts));
    }

    /// Looks at every block, puts back what is missing, and says when to look again.
    fn reconcile(&mut self) -> Instant {
        let health = self.gather().and_then(|()| self.engine.look());
        if health.as_ref().err() != self.state.problem.as_ref() {
            match &health {
                Ok(()) => info!(self.log, "blocks can be put in force again"),
                Err(problem) => warn!(self.log, "no block can be put in force"; "why" => %problem),
            }
        }
        self.state.problem = health.err();
        self.judge();
        let again = self.repair();
        self.state.verified_at = Some(clock::now());
        self.publish();
        let pause = if again { Duration::ZERO } else { self.reconcile_every };
        let now = Instant::now();
        now.checked_add(pause).unwrap_or(now)
    }

    /// Puts back some of what is missing. True: there is more, and it can be done.
    fn repair(&mut self) -> bool {
        if !self.state.enforce || self.state.problem.is_some() {
            return false;
        }
        let missing = self.state.blocks.iter().filter(|(_, live)| !live.in_force);
        let missing = missing.map(|(target, live)| Change::Block {
            target: *target,
            id: RuleId::of(live.record.event),
        });
        let missing: Vec<Change> = missing.take(REPAIRS).collect();
        if missing.is_empty() {
            return false;
        }
        let effects = self.engine.apply(&missing);
        self.judge();
        let repaired = effects.iter().filter(|effect| matches!(effect, Effect::Enforced { .. }));
        let repaired = repaired.count();
        let left = self.state.blocks.values().filter(|live| !live.in_force).count();
        warn!(self.log, "blocks were missing from the firewall"; "put_back" => repaired, "left" => left);
        // Where nothing could be put back, trying again at once would only burn the machine.
        repaired > 0 && left > 0
    }

    /// Brings `in_force` of every block up to what was read back last. True: all are.
    fn judge(&mut self) -> bool {
        let mut all = true;
        for (target, live) in Arc::make_mut(&mut self.state.blocks) {
            live.in_force = self.engine.judge(*target) == Effect::AlreadyEnforced;
            all &= live.in_force;
        }
        all
    }

    fn gather(&mut self) -> Result<(), Text> {
        let allowed = self.engine.allowed_sources()?;
        let protected =
            Protected::gather(&self.state.limits.never_block, allowed).map_err(|errno| {
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
    Done(Outcome, Text),
    /// The change with this index.
    Change(usize),
}

/// The changes of one batch, one for each target whoever asked.
#[derive(Default)]
struct Changes {
    list: Vec<Change>,
    index: HashMap<Target, usize>,
    fresh: usize,
}

impl Changes {
    fn add(&mut self, target: Target, id: RuleId) -> usize {
        *self.index.entry(target).or_insert_with(|| {
            self.list.push(Change::Block { target, id });
            self.list.len().saturating_sub(1)
        })
    }

    fn target(&self, index: usize) -> Option<Target> {
        match self.list.get(index)? {
            Change::Block { target, .. } | Change::Lift { target } => Some(*target),
        }
    }
}

fn record(peer: &Peer, block: &Block) -> Record {
    Record {
        since: clock::now(),
        until: Until::Permanent,
        event: block.event,
        peer_uid: peer.uid,
        peer_pid: peer.pid,
        requester: block.requester,
        reason: block.reason.clone(),
        rule_name: block.rule_name.clone(),
        alert_id: block.alert_id.clone(),
    }
}

fn lift(target: Target, effect: Effect, was_live: bool, ledger_failed: bool) -> Lift {
    let (outcome, detail) = match effect {
        _ if was_live && ledger_failed => (
            LiftOutcome::Failed,
            Text::truncated("the ledger cannot be written; it will come back"),
        ),
        Effect::Lifted { remains } => (LiftOutcome::Lifted, remains.unwrap_or_default()),
        Effect::NothingToLift if was_live => (LiftOutcome::Lifted, Text::default()),
        Effect::NothingToLift => (LiftOutcome::NotBlocked, Text::default()),
        Effect::Failed(detail) | Effect::Unverified(detail) | Effect::Unavailable(detail) => {
            (LiftOutcome::Failed, detail)
        }
        Effect::Enforced { .. } | Effect::AlreadyEnforced => {
            (LiftOutcome::Failed, Text::truncated("the engine mixed up its answers"))
        }
    };
    Lift { target, outcome, detail }
}

/// Orders taken into one batch at most.
const BATCH: usize = 1024;
/// Blocks put back in one look, so that requests wait seconds at most.
const REPAIRS: usize = 10;
