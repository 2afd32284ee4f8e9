//! What webhook-privd tells of each request: one line and one document a target, of which a caller can
//! cause only so many that changed nothing.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use protocol::{Block, EventId, Lift, Outcome, Target, Unblock, Until, Untrusted, Verdict};
use slog::{Logger, error, info, o, warn};

use crate::blocks::Asker;
use crate::{Action, Audit, Document, Level, Limiter, Suppressed, field};

/// Where webhook-privd's lines and documents go.
#[derive(Debug)]
pub struct Journal {
    /// The lines.
    pub log: Logger,
    audit: Audit,
    unchanged: Limiter,
    failed: Limiter,
    asked: Limiter,
    ended: Limiter,
    strangers: Limiter,
    unserved: Limiter,
}

impl Journal {
    /// A journal in which nothing was left out yet.
    #[must_use]
    pub const fn new(log: Logger, audit: Audit) -> Self {
        Self {
            log,
            audit,
            unchanged: Limiter::often("requests that changed nothing"),
            failed: Limiter::often("changes that failed"),
            asked: Limiter::often("questions of webhookd"),
            ended: Limiter::often("breaches of the protocol"),
            // Anyone who may reach the socket can cause these.
            strangers: Limiter::new("connections refused", 1, Duration::from_secs(1)),
            unserved: Limiter::new("connections not served", 1, Duration::from_secs(1)),
        }
    }

    /// The audit log: to be opened anew, and for who counts what it lost.
    #[must_use]
    pub const fn audit(&self) -> &Audit {
        &self.audit
    }

    /// Tells of what was left out for a minute, or, where `now` is None, at all: the daemon ends.
    pub fn settle(&self, now: Option<Instant>) {
        let Self { unchanged, failed, asked, ended, strangers, unserved, .. } = self;
        for kind in [unchanged, failed, asked, ended, strangers, unserved] {
            kind.settle(now, Action::BlocksSuppressed, &self.log, &self.audit);
        }
    }

    /// One a verdict; of very many the lines are one, as journald keeps 10,000 of a service in half a
    /// minute (`RateLimitBurst=`, journald.conf(5)), and drops what comes after.
    pub fn blocked(&self, asker: &Asker, block: &Block, verdicts: &[Verdict]) {
        let log = LazyCell::new(|| {
            let requester = block.requester.map(|address| address.to_string());
            self.log.new(o!(
                "alert" => Untrusted(&block.alert_id).to_string(),
                "reason" => Untrusted(&block.reason).to_string(),
                "rule" => Untrusted(&block.rule_name).to_string(),
                "requester" => requester.unwrap_or_else(|| "-".to_owned()),
                "login_uid" => asker.login(),
                "peer" => asker.to_string(),
                "event" => block.event.to_string(),
            ))
        });
        let many = verdicts.len() > MANY_LINES;
        if many && let Some(suppressed) = self.admit_all(verdicts) {
            info!(log, "block"; "targets" => verdicts.len(), "outcomes" => counted(verdicts.iter().map(|verdict| verdict.outcome.name())), suppressed);
        }
        for verdict in verdicts {
            let Some(suppressed) = self.admit(&verdict.outcome) else { continue };
            let (outcome, detail) = (verdict.outcome.name(), Untrusted(&verdict.detail));
            let why = match verdict.outcome {
                Outcome::Refused(refusal) => refusal.name(),
                _ => "",
            };
            if !many {
                info!(log, "block"; "target" => %verdict.target, "outcome" => outcome,
                    "why" => why, "detail" => %detail, suppressed);
            }
            let document = Document::verdict(block, verdict, asker);
            self.audit.record(document.suppressed(suppressed));
        }
    }

    /// A change of the firewall is always told: the quota bounds these.
    fn admit(&self, outcome: &Outcome) -> Option<Suppressed> {
        let limiter = match outcome {
            Outcome::Blocked(_) => return Some(Suppressed(0)),
            Outcome::Failed | Outcome::Unverified => &self.failed,
            _ => &self.unchanged,
        };
        limiter.admit(Instant::now())
    }

    /// One line for all verdicts: told each time where one of them changed the firewall.
    fn admit_all(&self, verdicts: &[Verdict]) -> Option<Suppressed> {
        let gravest = verdicts.iter().min_by_key(|one| match one.outcome {
            Outcome::Blocked(_) => 0,
            Outcome::Failed | Outcome::Unverified => 1,
            _ => 2,
        });
        gravest.and_then(|one| self.admit(&one.outcome))
    }

    /// One a lift; of very many as with [`Journal::blocked`].
    pub fn lifted(&self, asker: &Asker, unblock: &Unblock, lifts: &[Lift]) {
        let log = self.log.new(o!(
            "login_uid" => asker.login(),
            "peer" => asker.to_string(),
            "event" => unblock.event.to_string(),
        ));
        let many = lifts.len() > MANY_LINES;
        for lift in lifts {
            if !many {
                info!(log, "unblock"; "target" => %lift.target, "outcome" => lift.outcome.name(),
                    "detail" => %Untrusted(&lift.detail));
            }
            self.audit.record(Document::lift(lift, unblock.event, asker));
        }
        let outcomes = counted(lifts.iter().map(|lift| lift.outcome.name()));
        info!(log, "unblock"; "targets" => lifts.len(), "outcomes" => outcomes);
    }

    /// Blocks that end, or are to, without being asked for, and why: one line each; of very many as
    /// with [`Journal::blocked`].
    pub fn ended(&self, blocks: &[(Action, Target, Option<EventId>, &'static str)]) {
        let outcome = |action| if action == Action::UnblockFailed { "failed" } else { "lifted" };
        let many = blocks.len() > MANY_LINES;
        for (action, target, event, why) in blocks {
            let outcome = outcome(*action);
            if !many {
                info!(self.log, "unblock"; "target" => %target, "outcome" => outcome, "why" => why);
            }
            let document = Document::unasked(*action, *target, *event, outcome);
            self.audit.record(document.text(field::REASON, why));
        }
        if many {
            let outcomes = counted(blocks.iter().map(|(action, ..)| outcome(*action)));
            let why = counted(blocks.iter().map(|(.., why)| *why));
            info!(self.log, "unblock"; "targets" => blocks.len(), "outcomes" => outcomes, "why" => why);
        }
    }

    /// Blocks that were missing from the firewall, and whether they are there again: a line for all,
    /// a document for each.
    pub fn restored(&self, blocks: &[(Target, Option<EventId>, bool)]) {
        let left = blocks.iter().filter(|(.., there)| !there).count();
        let put_back = blocks.len().saturating_sub(left);
        warn!(self.log, "blocks were missing from the firewall"; "put_back" => put_back, "left" => left);
        for (target, event, there) in blocks {
            let (action, outcome) = if *there {
                (Action::Restored, "blocked")
            } else {
                (Action::RestoreFailed, "failed")
            };
            // What cannot be put back is tried again and again.
            let admitted =
                if *there { Some(Suppressed(0)) } else { self.failed.admit(Instant::now()) };
            let Some(suppressed) = admitted else { continue };
            let document = Document::unasked(action, *target, *event, outcome);
            self.audit.record(document.suppressed(suppressed));
        }
    }

    /// Blocks that were taken over from the firewall's rules: a line for all, a document for each.
    pub fn adopted(&self, blocks: impl ExactSizeIterator<Item = (Target, EventId, Until)>) {
        warn!(self.log, "blocks adopted from the firewall's rules"; "blocks" => blocks.len());
        for (target, event, until) in blocks {
            let document = Document::unasked(Action::Adopted, target, Some(event), "adopted");
            self.audit.record(document.until(until));
        }
    }

    /// A verb that changes nothing; all but root may ask as often as they like, and fill no disk.
    pub fn asked(&self, asker: &Asker, verb: &'static str, outcome: &'static str) {
        let admitted =
            if asker.uid == 0 { Some(Suppressed(0)) } else { self.asked.admit(Instant::now()) };
        let Some(suppressed) = admitted else { return };
        info!(self.log, "request"; "verb" => verb, "outcome" => outcome, "peer" => %asker,
            "login_uid" => asker.login(), suppressed);
    }

    /// A verb that the peer's account may not use.
    pub fn forbidden(&self, asker: &Asker, verb: &'static str) {
        let Some(suppressed) = self.ended.admit(Instant::now()) else { return };
        warn!(self.log, "request"; "verb" => verb, "outcome" => "forbidden", "peer" => %asker, suppressed);
        let document = Document::new(Level::Warn, Action::RequestForbidden, "a verb was refused")
            .text(field::VERB, verb)
            .asked_by(asker)
            .suppressed(suppressed);
        self.audit.record(document);
    }

    /// A connection that ends for the peer's fault.
    pub fn broken_off(&self, asker: &Asker, what: &'static str, why: &protocol::FrameError) {
        if let Some(suppressed) = self.ended.admit(Instant::now()) {
            warn!(self.log, "{}", what; "why" => %why, "peer" => %asker, suppressed);
        }
    }

    /// A connection that this host has no descriptor, thread or memory for.
    pub fn not_served(&self, error: &io::Error) {
        if let Some(suppressed) = self.unserved.admit(Instant::now()) {
            error!(self.log, "connection not served"; "error" => %error, suppressed);
        }
    }

    /// A connection that is not to be served.
    pub fn turned_away(&self, why: &str) {
        let Some(suppressed) = self.strangers.admit(Instant::now()) else { return };
        warn!(self.log, "connection refused"; "why" => why, suppressed);
        let document = Document::new(Level::Warn, Action::PeerRefused, "a connection was refused");
        self.audit.record(document.text(field::REASON, why).suppressed(suppressed));
    }
}

/// Each name with how often it comes: `blocked 9997, refused 3`.
fn counted(outcomes: impl Iterator<Item = &'static str>) -> String {
    let mut counts = BTreeMap::<&str, usize>::new();
    for outcome in outcomes {
        let count = counts.entry(outcome).or_default();
        *count = count.saturating_add(1);
    }
    let counts: Vec<String> =
        counts.into_iter().map(|(outcome, count)| format!("{outcome} {count}")).collect();
    counts.join(", ")
}

/// Verdicts or lifts of one request.
const MANY_LINES: usize = 1_000;

#[cfg(test)]
mod tests {
    use protocol::{Enforced, Text};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::Value;
    use slog::{Discard, Drain, Never, OwnedKVList, Record};

    use super::*;
    use crate::Origin;

    const WEBHOOKD: Asker = Asker { uid: 999, gid: 999, pid: 7, login: None };

    /// The actions of the documents that a journal writes while it is used.
    fn written(work: impl FnOnce(&Journal)) -> Vec<(String, u64)> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.ndjson");
        let log = Logger::root(Discard, o!());
        let origin = Origin { program: "tests", version: "1", firewall: None };
        work(&Journal::new(log.clone(), Audit::open(Some(&path), origin, &log).unwrap()));
        let text = std::fs::read_to_string(path).unwrap();
        let told = text.lines().map(|line| {
            let document: Value = serde_json::from_str(line).unwrap();
            let suppressed = document["webhookd.suppressed"].as_u64().unwrap_or(0);
            (document["event.action"].as_str().unwrap().to_owned(), suppressed)
        });
        told.collect()
    }

    fn block(targets: Vec<Target>) -> Block {
        Block {
            event: EventId(1),
            requester: None,
            targets: targets.try_into().unwrap(),
            term: None,
            reason: Text::default(),
            rule_name: Text::default(),
            alert_id: Text::default(),
            adopt: false,
        }
    }

    fn ask(journal: &Journal, outcome: Outcome) {
        let target: Target = "198.51.100.7".parse().unwrap();
        let block = block(vec![target]);
        let verdict = Verdict { target, outcome, detail: Text::default() };
        journal.blocked(&WEBHOOKD, &block, &[verdict]);
    }

    #[test]
    fn a_flood_of_what_changes_nothing_hides_neither_a_change_nor_a_failure() {
        let target = "198.51.100.7".parse().unwrap();
        let enforced = Enforced { target, until: Until::Permanent };
        let told = written(|journal| {
            (0..10_000).for_each(|_| ask(journal, Outcome::AlreadyBlocked(enforced)));
            ask(journal, Outcome::Failed);
            (0..300).for_each(|_| ask(journal, Outcome::Blocked(enforced)));
            ask(journal, Outcome::Pending);
            journal.settle(None);
        });
        let count = |action: &str| told.iter().filter(|(name, _)| name == action).count();
        assert!(count("ip-already-blocked") <= 200, "{told:?}");
        assert_eq!((count("ip-block-failed"), count("ip-blocked")), (1, 300));
        let left_out: u64 = told.iter().map(|(_, suppressed)| suppressed).sum();
        let of_the_kind = count("ip-already-blocked") + count("ip-block-pending");
        assert_eq!(of_the_kind + usize::try_from(left_out).unwrap(), 10_001);
    }

    /// Counts lines.
    struct Lines(Arc<AtomicUsize>);

    impl Drain for Lines {
        type Ok = ();
        type Err = Never;

        fn log(&self, _: &Record<'_>, _: &OwnedKVList) -> Result<(), Never> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    #[test]
    fn of_requests_with_very_many_targets_each_change_is_told_and_a_flood_of_others_is_not() {
        let lines = Arc::new(AtomicUsize::new(0));
        let journal = Journal::new(Logger::root(Lines(Arc::clone(&lines)), o!()), Audit::default());
        let target: Target = "198.51.100.7".parse().unwrap();
        let targets = vec![target; MANY_LINES + 1];
        let refused = Outcome::Refused(protocol::Refusal::Reserved);
        let verdict = Verdict { target, outcome: refused, detail: Text::default() };
        let mut verdicts = vec![verdict; targets.len()];
        let block = block(targets);
        (0..500).for_each(|_| journal.blocked(&WEBHOOKD, &block, &verdicts));
        let of_refusals = lines.swap(0, Ordering::Relaxed);
        assert!((1..=200).contains(&of_refusals), "{of_refusals} lines");
        // A failure among them is of another kind.
        verdicts[1].outcome = Outcome::Failed;
        journal.blocked(&WEBHOOKD, &block, &verdicts);
        assert_eq!(lines.swap(0, Ordering::Relaxed), 1);
        verdicts[MANY_LINES].outcome =
            Outcome::Blocked(Enforced { target, until: Until::Permanent });
        (0..500).for_each(|_| journal.blocked(&WEBHOOKD, &block, &verdicts));
        assert_eq!(lines.load(Ordering::Relaxed), 500);
    }

    #[test]
    fn webhookd_and_strangers_fill_no_log() {
        let told = written(|journal| {
            for _ in 0..1_000 {
                journal.forbidden(&WEBHOOKD, "unblock");
                journal.turned_away("uid 4712 may not connect");
            }
        });
        let count = |action: &str| told.iter().filter(|(name, _)| name == action).count();
        assert!((100..=200).contains(&count("ip-request-forbidden")));
        assert!((1..=5).contains(&count("ip-peer-refused")));
    }
}
