//! A firewall and a clock that a test holds in its hand, a real ledger, and the orders of peers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use firewall::program::Program;
use firewall::ufw::view::FileStates;
use firewall::{Allowed, Change, Effect, Firewall, Found, Mark, Stamp};
use ledger::Ledger;
use logging::{Audit, Journal};
use policy::Role;
use policy::config::Config;
use privd::clock::Now;
use privd::enforcer::{Enforcer, Order};
use privd::peer::Peer;
use protocol::{
    Block, EventId, Lift, Outcome, Reloaded, Reply, Shown, Target, Targets, Term, Text, Unblock,
    Until, Which,
};
use slog::{Discard, Logger, o};
use tempfile::TempDir;

pub(crate) const START: u64 = 1_790_000_000;
pub(crate) const ATTACKER: &str = "198.51.100.7";

/// What the firewall holds, and how it behaves.
#[derive(Default)]
pub(crate) struct Rules {
    pub(crate) held: BTreeMap<Target, Mark>,
    /// Each batch that came.
    pub(crate) runs: Vec<Vec<Change>>,
    /// Whom a look found in force.
    pub(crate) cut: Vec<Target>,
    pub(crate) off: bool,
    pub(crate) busy: bool,
    /// It can be looked at and not be changed.
    pub(crate) refuses: bool,
    /// Only a fresh start helps.
    pub(crate) replaced: bool,
}

struct Fake(Arc<Mutex<Rules>>);

impl Firewall for Fake {
    fn look(&mut self) -> Result<(), Text> {
        if self.0.lock().unwrap().off { Err(Text::truncated("off")) } else { Ok(()) }
    }

    fn name(&self) -> &'static str {
        "fake"
    }

    fn programs(&self) -> &'static [Program] {
        &[]
    }

    fn load(&mut self, _: &[(Target, Mark)]) -> Result<(), Text> {
        Ok(())
    }

    fn judge(&mut self, blocks: &[(Target, Mark)]) -> Vec<Effect> {
        let rules = self.0.lock().unwrap();
        let effect = |(target, _): &(Target, Mark)| match rules.held.contains_key(target) {
            true => Effect::Already(Text::default()),
            false => Effect::Unverified(Text::default()),
        };
        blocks.iter().map(effect).collect()
    }

    fn others_changed(&self) -> bool {
        true
    }

    fn reads_all(&self) -> bool {
        true
    }

    fn is_lost(&self) -> bool {
        false
    }

    fn allowed_sources(&mut self) -> Result<Vec<Allowed>, Text> {
        Ok(Vec::new())
    }

    fn apply(&mut self, changes: &[Change]) -> Vec<Effect> {
        if changes.is_empty() {
            return Vec::new();
        }
        let mut rules = self.0.lock().unwrap();
        if rules.off || rules.refuses || rules.busy {
            let trouble = if rules.busy { Effect::Pending } else { Effect::Unavailable };
            return vec![trouble(Text::truncated("not now")); changes.len()];
        }
        rules.runs.push(changes.to_vec());
        let done = |change: &Change| {
            let before = match change {
                Change::Block { target, mark, .. } => rules.held.insert(*target, *mark).is_some(),
                Change::Lift(target) => rules.held.remove(target).is_none(),
            };
            if before { Effect::Already(Text::default()) } else { Effect::Done(Text::default()) }
        };
        changes.iter().map(done).collect()
    }

    fn cut(&self, targets: &[Target]) -> Vec<Text> {
        self.0.lock().unwrap().cut.extend(targets);
        Vec::new()
    }

    fn is_unsettled(&self) -> bool {
        false
    }

    fn settle(&mut self) {}

    fn retire(&mut self) -> Result<(), Text> {
        Ok(())
    }

    fn found(&mut self) -> Result<Vec<Found>, Text> {
        Ok(self.known())
    }

    fn known(&mut self) -> Vec<Found> {
        let rules = self.0.lock().unwrap();
        rules.held.iter().map(|(target, mark)| Found { target: *target, mark: *mark }).collect()
    }

    fn stamp(&self) -> Stamp {
        Stamp::Files(FileStates::now())
    }

    fn changing(&self) -> Arc<AtomicBool> {
        Arc::default()
    }

    fn replaced(&self) -> bool {
        self.0.lock().unwrap().replaced
    }
}

/// An enforcer, what it works on, and the time.
pub(crate) struct Bench {
    pub(crate) enforcer: Option<Enforcer>,
    pub(crate) rules: Arc<Mutex<Rules>>,
    pub(crate) now: Arc<Mutex<Now>>,
    pub(crate) directory: TempDir,
}

impl Bench {
    pub(crate) fn new(privd_toml: &str) -> Self {
        let now = Now { wall: START, steady: Duration::from_secs(1000) };
        let mut bench = Self {
            enforcer: None,
            rules: Arc::default(),
            now: Arc::new(Mutex::new(now)),
            directory: tempfile::tempdir().unwrap(),
        };
        bench.start(privd_toml);
        bench
    }

    /// Starts, or starts again after what might have been a crash.
    pub(crate) fn start(&mut self, privd_toml: &str) {
        self.enforcer = None;
        let opened = Ledger::open(&self.directory.path().join("ledger.redb")).unwrap();
        let clock = Arc::clone(&self.now);
        let mut enforcer = Enforcer::new(
            Box::new(Fake(Arc::clone(&self.rules))),
            opened,
            config(privd_toml),
            Box::new(move || *clock.lock().unwrap()),
            Arc::new(Journal::new(Logger::root(Discard, o!()), Audit::default())),
        );
        enforcer.turn(std::iter::empty());
        self.enforcer = Some(enforcer);
    }

    pub(crate) fn turn(&mut self, orders: Vec<Order>) {
        let enforcer = self.enforcer.as_ref().unwrap();
        let published = enforcer.published();
        // What the sessions count up.
        let asked =
            orders.iter().filter(|order| matches!(order, Order::Block(..) | Order::Unblock(..)));
        published.queued.fetch_add(asked.count().try_into().unwrap(), Ordering::Relaxed);
        self.obey(orders);
    }

    /// Does what sessions have ordered.
    pub(crate) fn obey(&mut self, orders: Vec<Order>) {
        self.enforcer.as_mut().unwrap().turn(orders.into_iter());
    }

    /// Lets time pass, and gives the enforcer its turn.
    pub(crate) fn pass(&mut self, seconds: u64) {
        self.advance(seconds);
        self.turn(Vec::new());
    }

    /// Lets time pass.
    pub(crate) fn advance(&self, seconds: u64) {
        let mut now = self.now.lock().unwrap();
        now.wall += seconds;
        now.steady += Duration::from_secs(seconds);
    }

    pub(crate) fn block(
        &mut self,
        role: Role,
        targets: &[&str],
        term: Option<Term>,
    ) -> Vec<Outcome> {
        let (order, answer) = block(role, targets, term);
        self.turn(vec![order]);
        outcomes(&answer)
    }

    /// The outcome of an alert about one address.
    pub(crate) fn alert(&mut self, target: &str) -> Outcome {
        self.block(Role::Frontend, &[target], None).remove(0)
    }

    pub(crate) fn unblock(&mut self, target: &str, immune_for: u32) -> Vec<Lift> {
        let (order, answer) = unblock(Some(target), immune_for);
        self.turn(vec![order]);
        let Reply::Unblock(lifts) = answer.try_recv().unwrap() else { panic!() };
        lifts
    }

    /// What an alert would be told of one address.
    pub(crate) fn judged(&self, target: &str) -> Outcome {
        let snapshot = self.enforcer.as_ref().unwrap().published().read();
        let wall = self.now.lock().unwrap().wall;
        let judged = snapshot.judge(&request(&[target], None), wall).remove(0).outcome;
        let shown = snapshot.show(target.parse().unwrap(), wall).verdict.outcome;
        assert_eq!(judged, shown, "{target}");
        judged
    }

    pub(crate) fn shown(&self, target: &str) -> Shown {
        let snapshot = self.enforcer.as_ref().unwrap().published().read();
        snapshot.show(target.parse().unwrap(), self.now.lock().unwrap().wall)
    }

    pub(crate) fn reload(&mut self, privd_toml: &str) -> Vec<(String, &'static str)> {
        let (sender, receiver) = channel();
        let answer = Box::new(move |reply| sender.send(reply).unwrap());
        self.turn(vec![Order::Reload(Box::new(config(privd_toml)), Some(answer))]);
        let Reply::Reload(Reloaded::Done { lifted }) = receiver.try_recv().unwrap() else {
            panic!()
        };
        lifted.into_iter().map(|lift| (lift.target.to_string(), lift.outcome.name())).collect()
    }

    /// The live blocks and when they end, from the ledger's copy that readers see.
    pub(crate) fn live(&self) -> Vec<(String, Until)> {
        let snapshot = self.enforcer.as_ref().unwrap().published().read();
        let blocks = snapshot.blocks.read();
        blocks.iter().map(|live| (live.info.target.to_string(), live.info.until)).collect()
    }

    pub(crate) fn held(&self) -> Vec<String> {
        self.rules.lock().unwrap().held.keys().map(ToString::to_string).collect()
    }

    pub(crate) fn runs(&self) -> usize {
        self.rules.lock().unwrap().runs.len()
    }

    pub(crate) fn with_rules(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.rules.lock().unwrap());
    }
}

pub(crate) fn config(privd_toml: &str) -> Config {
    toml::from_str(privd_toml).unwrap()
}

pub(crate) fn peer(role: Role) -> Peer {
    let uid = if role == Role::Operator { 0 } else { 4711 };
    Peer { uid, gid: uid, pid: 1, role }
}

pub(crate) fn request(targets: &[&str], term: Option<Term>) -> Block {
    let targets: Vec<Target> = targets.iter().map(|target| target.parse().unwrap()).collect();
    Block {
        event: EventId(u128::MAX / 3),
        requester: None,
        targets: Targets::try_from(targets).unwrap(),
        term,
        reason: Text::truncated("why"),
        rule_name: Text::default(),
        alert_id: Text::default(),
        adopt: false,
    }
}

pub(crate) fn block(role: Role, targets: &[&str], term: Option<Term>) -> (Order, Receiver<Reply>) {
    order(role, request(targets, term))
}

pub(crate) fn order(role: Role, request: Block) -> (Order, Receiver<Reply>) {
    let (sender, receiver) = channel();
    (
        Order::Block(peer(role), request, Box::new(move |reply| sender.send(reply).unwrap())),
        receiver,
    )
}

pub(crate) fn unblock(target: Option<&str>, immune_for: u32) -> (Order, Receiver<Reply>) {
    let targets = target.map(|target| Targets::try_from(vec![target.parse().unwrap()]).unwrap());
    lift(targets.map_or(Which::All, Which::Targets), immune_for)
}

pub(crate) fn lift(which: Which, immune_for: u32) -> (Order, Receiver<Reply>) {
    let request = Unblock { event: EventId(1), which, immune_for };
    let (sender, receiver) = channel();
    let answer = Box::new(move |reply| sender.send(reply).unwrap());
    (Order::Unblock(peer(Role::Operator), request, answer), receiver)
}

pub(crate) fn outcomes(answer: &Receiver<Reply>) -> Vec<Outcome> {
    let Reply::Block(verdicts) = answer.try_recv().unwrap() else { panic!() };
    verdicts.into_iter().map(|verdict| verdict.outcome).collect()
}

pub(crate) fn until(outcome: &Outcome) -> Until {
    outcome.enforced().unwrap_or_else(|| panic!("{outcome:?}")).until
}
