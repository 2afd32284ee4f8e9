//! The ufw engine: one rule a block and direction, any number of changes by one run of ufw, then
//! read back.
//!
//! ufw's exit status says nothing (0 while inactive, for a skipped rule, for a lost update), so
//! every batch is a loop: look, do what is missing, look again. Only what the last look finds in
//! the rules file and reached in the kernel is called a block.

pub mod files;
pub mod lock;
pub mod plan;
pub mod view;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use protocol::{Target, Text, Untrusted};
use slog::{Logger, error, info, warn};

use crate::program::Program;
use crate::ufw::files::{RulesFiles, complaint};
use crate::ufw::lock::{Held, HostLock};
use crate::ufw::plan::Plan;
use crate::ufw::view::{Blind, View, enabled};
use crate::{Allowed, Change, Effect, Firewall, Found, Mark, Stamp, conntrack};

/// ufw on this host.
#[derive(Debug)]
pub struct Ufw {
    cut_connections: bool,
    lock: HostLock,
    files: RulesFiles,
    view: Option<View>,
    /// Set while the files change by our own hand alone.
    changing: Arc<AtomicBool>,
    /// Whether rules stand in files and kernel that ufw itself has not loaded yet.
    unsettled: bool,
    replaced: bool,
    log: Logger,
}

impl Ufw {
    /// The engine; touches nothing yet.
    pub fn new(cut_connections: bool, ledger: &Path, log: Logger) -> Self {
        Self {
            cut_connections,
            lock: HostLock::default(),
            files: RulesFiles::new(ledger),
            view: None,
            changing: Arc::default(),
            unsettled: false,
            replaced: false,
            log,
        }
    }

    /// Looks and does what is lacking until nothing is, or the rounds are over, all while nobody
    /// else's ufw can write. A run that failed is undone and tried again.
    fn advance(&mut self, changes: &[Change], progress: &mut Progress) -> Result<View, Trouble> {
        let held = self.hold(PATIENCE)?;
        enabled().map_err(Trouble::Off)?;
        // A target without any rule needs one, whatever the kernel says: two programs are saved.
        let mut view = self.read(false, Some(&held))?;
        if changes.iter().any(|change| change.is_block() && view.knows(change.target())) {
            view = self.read(true, Some(&held))?;
        }
        for round in 0..ROUNDS {
            match Plan::of(&view, changes, &mut progress.touched, round == 0) {
                Some(plan) => {
                    progress.failed = self.commit(&view, &plan, &held).err();
                    self.unsettled = plan.is_quick();
                }
                None if view.kernel_read => break,
                None => {}
            }
            view = self.read(true, Some(&held))?;
        }
        self.sweep(&view);
        Ok(view)
    }

    /// Keeps every other ufw out from here on.
    fn hold(&mut self, patience: Duration) -> Result<Hold, Trouble> {
        let lock = self.lock.take(patience).map_err(Trouble::Busy)?;
        self.check_files().map_err(Trouble::Busy)?;
        self.changing.store(self.stamp().is_current(), Ordering::Relaxed);
        Ok(Hold { lock, changing: self.changing() })
    }

    /// Bind mounts do not follow when another file comes into the place of one.
    fn check_files(&mut self) -> Result<(), Text> {
        self.replaced |= !RulesFiles::writable() || lock::is_removed();
        if self.replaced { Err(Text::truncated(REPLACED)) } else { Ok(()) }
    }

    /// Stages a plan in the files and has it loaded; puts the files back if that fails.
    fn commit(&mut self, view: &View, plan: &Plan, held: &Hold) -> Result<(), Text> {
        // ufw empties its file before it writes it: without a copy, a crash then costs every rule.
        if !plan.is_quick() {
            self.keep_copies(view)?;
        }
        let run =
            |(program, arguments): &(Program, Vec<String>)| self.run(*program, arguments, held);
        let done = self.stage(plan).and_then(|()| plan.runs.iter().try_for_each(run));
        if done.is_err() {
            for (which, family) in view.families.iter().enumerate() {
                // Also where we staged nothing: ufw may have broken off in its own writing.
                let same = files::read(which).is_ok_and(|now| now.text() == family.rules.text());
                if !same && let Err(error) = files::write(which, family.rules.text()) {
                    error!(self.log, "rules file not put back"; "file" => files::path(which), "why" => %error);
                }
            }
        }
        done
    }

    fn stage(&self, plan: &Plan) -> Result<(), Text> {
        for (which, text) in &plan.texts {
            let Some(text) = text else {
                return Err(complaint(files::path(*which), &NOT_UFWS));
            };
            files::write(*which, text).map_err(|error| complaint(files::path(*which), &error))?;
        }
        Ok(())
    }

    fn run(&self, program: Program, arguments: &[String], held: &Hold) -> Result<(), Text> {
        let shown = arguments.join(" ");
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let problem = match program.run_with(&arguments, held.lock.file(), None) {
            Ok(output) if output.success => return Ok(()),
            Ok(output) => Untrusted(output.complaint()).to_string(),
            Err(error) => error.to_string(),
        };
        warn!(self.log, "a program failed"; "path" => program.path(), "arguments" => %Untrusted(&shown),
            "why" => problem);
        let words = format!("{} failed; its words are in the log of webhook-privd", program.name());
        Err(Text::truncated(&words))
    }

    /// Reads files and kernel, and makes verified copies durable. What looks damaged is judged again
    /// under ufw's lock, when no ufw can be in the middle of writing it, and after a moment in which
    /// an editor would have finished; then it is restored.
    fn read(&mut self, kernel: bool, held: Option<&Hold>) -> Result<View, Trouble> {
        let mut taken = None;
        let mut before = None;
        // Each file may be damaged, more than once if somebody is at it just now.
        for _ in 0..READS {
            match View::read(kernel) {
                Ok(view) => {
                    if let Err(problem) = self.keep_copies(&view) {
                        error!(self.log, "no verified copy of a rules file"; "why" => %problem);
                    }
                    return Ok(view);
                }
                Err(Blind::Failed(problem)) => return Err(Trouble::Off(problem)),
                Err(Blind::Damaged(..)) if held.is_none() && taken.is_none() => {
                    taken = Some(self.hold(PATIENCE)?);
                }
                Err(Blind::Damaged(which, problem)) => {
                    if before.replace(which) != Some(which) {
                        std::thread::sleep(MOMENT);
                        continue;
                    }
                    before = None;
                    self.files.restore(which).map_err(|error| {
                        let words = format!("{problem}, and not restored: {error}");
                        Trouble::Off(Text::truncated(&words))
                    })?;
                    error!(self.log, "a rules file was damaged: restored from the verified copy";
                        "file" => files::path(which), "why" => %problem);
                }
            }
        }
        Err(Trouble::Off(Text::truncated("ufw's rules files are damaged again and again")))
    }

    fn keep_copies(&mut self, view: &View) -> Result<(), Text> {
        for (which, family) in view.families.iter().enumerate() {
            self.files.keep(which, &family.rules).map_err(|error| {
                let file = files::path(which);
                Text::truncated(&format!(
                    "no copy of {file} can be made beside the ledger: {error}"
                ))
            })?;
        }
        Ok(())
    }

    /// Removes what killed ufw runs left in the kernel. Only under the lock: a running ufw has such a
    /// chain for a moment.
    fn sweep(&self, view: &View) {
        for (program, chain) in &view.strays {
            let gone = ["-F", "-X"]
                .iter()
                .all(|verb| program.run(&[verb, chain]).is_ok_and(|output| output.success));
            info!(self.log, "stray chain of a killed ufw"; "chain" => chain, "removed" => gone);
        }
    }
}

impl Firewall for Ufw {
    fn name(&self) -> &'static str {
        "ufw"
    }

    fn programs(&self) -> &'static [Program] {
        &[Program::Ufw, Program::Iptables, Program::Ip6tables, Program::Conntrack]
    }

    /// ufw has loaded them itself.
    fn load(&mut self, _: &[(Target, Mark)]) -> Result<(), Text> {
        Ok(())
    }

    fn look(&mut self) -> Result<(), Text> {
        self.view = None;
        self.check_files()?;
        enabled()?;
        let mut view = self.read(true, None).map_err(Trouble::words)?;
        if !view.strays.is_empty()
            && let Ok(held) = self.hold(PATIENCE)
        {
            view = self.read(true, Some(&held)).map_err(Trouble::words)?;
            self.sweep(&view);
        }
        let health = view.health();
        self.view = Some(view);
        health
    }

    fn judge(&mut self, blocks: &[(Target, Mark)]) -> Vec<Effect> {
        let effect = |(target, _): &(Target, Mark)| match &self.view {
            Some(view) => view.block_effect(*target, false, None),
            None => Effect::Unavailable(Text::truncated("ufw's rules could not be read back")),
        };
        blocks.iter().map(effect).collect()
    }

    /// A rule has its place among all rules.
    fn others_changed(&self) -> bool {
        true
    }

    fn reads_all(&self) -> bool {
        true
    }

    /// What is missing is put back rule by rule.
    fn is_lost(&self) -> bool {
        false
    }

    fn cut(&self, targets: &[Target]) -> Vec<Text> {
        if self.cut_connections { conntrack::cut(targets) } else { Vec::new() }
    }

    fn found(&mut self) -> Result<Vec<Found>, Text> {
        Ok(self.known())
    }

    fn known(&mut self) -> Vec<Found> {
        let families = self.view.iter().flat_map(|view| &view.families);
        let ours = families.flat_map(|family| family.rules.ours());
        ours.map(|(target, mark, _)| Found { target, mark }).collect()
    }

    fn allowed_sources(&mut self) -> Result<Vec<Allowed>, Text> {
        match &self.view {
            Some(view) if view.stamp == view::FileStates::now() => Ok(view.allowed_sources()),
            _ => self.read(false, None).map(|view| view.allowed_sources()).map_err(Trouble::words),
        }
    }

    fn apply(&mut self, changes: &[Change]) -> Vec<Effect> {
        if changes.is_empty() {
            return Vec::new();
        }
        let mut progress = Progress { touched: vec![false; changes.len()], failed: None };
        let view = match self.advance(changes, &mut progress) {
            Ok(view) => view,
            Err(Trouble::Off(problem)) => {
                self.view = None;
                // What was begun and cannot be read back may well stand: it is looked at again.
                let begun = progress.touched.contains(&true);
                let effect = if begun { Effect::Pending } else { Effect::Unavailable };
                return vec![effect(problem); changes.len()];
            }
            Err(Trouble::Busy(problem)) => return vec![Effect::Pending(problem); changes.len()],
        };
        let failed = progress.failed.as_ref();
        let effect = |(change, ran): (&Change, &bool)| match change {
            Change::Lift(target) => view.lift_effect(*target, *ran, failed),
            Change::Block { target, .. } => view.block_effect(*target, *ran, failed),
        };
        let effects = changes.iter().zip(&progress.touched).map(effect).collect();
        self.view = Some(view);
        effects
    }

    fn is_unsettled(&self) -> bool {
        self.unsettled
    }

    fn settle(&mut self) {
        // Another ufw at work is no reason to keep requests waiting.
        let Ok(held) = self.hold(MOMENT) else { return };
        let Ok(view) = self.read(false, Some(&held)) else { return };
        self.unsettled = false;
        if let Some(plan) = Plan::settling(&view)
            && self.commit(&view, &plan, &held).is_err()
        {
            error!(
                self.log,
                "ufw does not take its own files again; what is blocked is in the kernel"
            );
        }
        self.view = self.read(true, Some(&held)).ok();
    }

    fn confirm(&mut self) -> Result<(), Text> {
        // Held by a ufw of ours, too, that has outlived its privd.
        let held = self.hold(MOMENT).map_err(Trouble::words)?;
        self.view = Some(self.read(true, Some(&held)).map_err(Trouble::words)?);
        Ok(())
    }

    fn retire(&mut self) -> Result<(), Text> {
        if (0..files::RULES.len()).all(|which| !Path::new(files::path(which)).exists()) {
            // Not installed.
            return Ok(());
        }
        self.confirm()?;
        let ours: Vec<Change> =
            self.known().into_iter().map(|found| Change::Lift(found.target)).collect();
        let effects = self.apply(&ours);
        effects.into_iter().find_map(Effect::problem).map_or(Ok(()), Err)
    }

    fn stamp(&self) -> Stamp {
        let states = self.view.as_ref().map(|view| view.stamp.clone());
        Stamp::Files(states.unwrap_or_default())
    }

    fn changing(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.changing)
    }

    fn replaced(&self) -> bool {
        self.replaced
    }
}

/// ufw's lock. While it is held nobody but us writes the files, and once it is not, anybody may.
struct Hold {
    lock: Held,
    changing: Arc<AtomicBool>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.changing.store(false, Ordering::Relaxed);
    }
}

/// How far a batch has come.
#[derive(Debug)]
struct Progress {
    /// Which changes a run was about.
    touched: Vec<bool>,
    /// What went wrong in the last run.
    failed: Option<Text>,
}

/// Why a batch cannot even be tried.
enum Trouble {
    /// The firewall is off, or cannot be read.
    Off(Text),
    /// Not now: it is tried again.
    Busy(Text),
}

impl Trouble {
    fn words(self) -> Text {
        let (Self::Off(words) | Self::Busy(words)) = self;
        words
    }
}

const REPLACED: &str = "ufw's rules files were replaced by others (ufw reset, sed -i) or became \
    read-only, or its lock was removed: webhook-privd must be started afresh to see them";
const NOT_UFWS: &str = "ufw never wrote this file; run any `ufw allow ...` once";
/// A ufw run takes 0.2 s, and several may stand in the lock's queue.
const PATIENCE: Duration = Duration::from_secs(30);
/// In which a file that is being written is whole again.
const MOMENT: Duration = Duration::from_millis(100);
/// Attempts to read whole files.
const READS: usize = 8;
/// Look-and-do rounds before giving up on a batch.
const ROUNDS: usize = 3;
