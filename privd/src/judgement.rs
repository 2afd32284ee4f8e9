//! What a target would need, and what an alert would be told of it: read from a snapshot, nothing
//! changed, no process started.

use ledger::Live;
use protocol::{Block, Enforced, Outcome, ProtectedNet, Shown, Target, Term, Text, Until, Verdict};

use crate::snapshot::Snapshot;
use policy::Role;
use policy::{self, Asker, Denial};

/// What one target needs, as far as policy and ledger say.
#[derive(Debug)]
pub enum Need {
    /// Nothing: policy says no.
    Denied(Denial),
    /// It has a live block, which may have to be looked at again.
    Live(Box<Live>),
    /// A new block.
    New {
        /// How it would be blocked.
        enforced: Enforced,
        /// How many of its blocks ended by themselves before.
        offences: u32,
    },
}

impl Snapshot {
    /// Decides about one target; `wish` is how long the asker would have it blocked.
    pub fn need(&self, target: Target, asker: Asker, wish: Option<Term>) -> Need {
        let decided =
            policy::decide(target, asker, &self.protected, &self.immune.read(), &self.config);
        let target = match decided {
            Ok(target) => target,
            Err(denial) => return Need::Denied(denial),
        };
        let blocks = self.blocks.read();
        if let Some(live) = blocks.get(target).filter(|live| !live.is_over(asker.wall)) {
            return Need::Live(Box::new(live.clone()));
        }
        drop(blocks);
        let offences = self.offences(target, asker.wall);
        let until = match policy::term(wish, asker.role, offences, &self.config) {
            Term::Permanent => Until::Permanent,
            Term::Seconds(seconds) => {
                Until::At(asker.wall.saturating_add(u64::from(seconds.get())))
            }
        };
        Need::New { enforced: Enforced { target, until }, offences }
    }

    /// Why the frontend gets no further block beside these many new ones, if so.
    pub fn full(&self, role: Role, new: usize) -> Option<Text> {
        let most = self.config.max_blocks();
        let full = role == Role::Frontend && self.blocks.read().len().saturating_add(new) >= most;
        full.then(|| Text::truncated(&format!("the table is full: max-blocks = {most}")))
    }

    /// What an alert would be told of each target of such a request at this time; the quota aside,
    /// which only asking can tell.
    pub fn judge(&self, block: &Block, wall: u64) -> Vec<Verdict> {
        let requester = block.requester;
        let asker = Asker { role: Role::Frontend, requester, wall, exact: false };
        let targets = block.targets.as_slice().iter();
        targets.map(|target| self.verdict(*target, asker, block.term)).collect()
    }

    /// All about one target at this time.
    pub fn show(&self, target: Target, wall: u64) -> Shown {
        let asker = Asker { role: Role::Frontend, requester: None, wall, exact: false };
        let enforced = policy::widened(target, &self.config);
        Shown {
            block: self.blocks.read().around(target).map(|live| live.info.clone()),
            offences: self.offences(enforced, wall).max(self.offences(target, wall)),
            immune_until: policy::immunity(target, &self.immune.read(), wall)
                .map(|(_, until)| until),
            verdict: self.verdict(target, asker, None),
        }
    }

    /// Everything that no alert may block, as far as one reply holds it.
    pub fn protected_nets(&self) -> Vec<ProtectedNet> {
        let nets = self.protected.all().take(ProtectedNet::MOST);
        nets.map(|(refusal, network)| {
            let rule = &network.rule;
            let end = rule.floor_char_boundary(ProtectedNet::RULE_BYTES);
            let rule = Text::truncated(rule.get(..end).unwrap_or_default());
            ProtectedNet { net: network.net, refusal: *refusal, rule }
        })
        .collect()
    }

    fn verdict(&self, target: Target, asker: Asker, wish: Option<Term>) -> Verdict {
        let (outcome, detail) = match (self.need(target, asker, wish), &self.problem) {
            // Said also while nothing can be blocked: it is what will be said after.
            (Need::Denied(denial), _) => {
                (Outcome::Refused(denial.refusal), Text::truncated(&denial.detail))
            }
            (_, Some(problem)) => (Outcome::Unavailable, problem.clone()),
            (Need::Live(live), None) if live.info.in_force => {
                (Outcome::AlreadyBlocked(live.enforced()), Text::default())
            }
            (Need::Live(live), None) => (Outcome::WouldBlock(live.enforced()), Text::default()),
            (Need::New { enforced, .. }, None) => {
                // In observe mode no block takes a place.
                let full = if self.config.enforce { self.full(asker.role, 0) } else { None };
                full.map_or_else(
                    || (Outcome::WouldBlock(enforced), Text::default()),
                    |words| (Outcome::Unavailable, words),
                )
            }
        };
        Verdict { target, outcome, detail }
    }

    /// Blocks of this target that ended by themselves before its live one, or at all; one that is
    /// ending now included.
    fn offences(&self, target: Target, wall: u64) -> u32 {
        match self.blocks.read().get(target) {
            Some(over) if over.is_over(wall) => over.info.offences.saturating_add(1),
            Some(live) => live.info.offences,
            None => {
                let ended = self.ended.read();
                let ended = ended.get(&target);
                let fresh = ended.filter(|ended| ended.last.saturating_add(MEMORY) > wall);
                fresh.map_or(0, |ended| ended.offences)
            }
        }
    }
}

/// Seconds after which an offence is forgotten: 90 days.
pub(crate) const MEMORY: u64 = 90 * 86_400;
