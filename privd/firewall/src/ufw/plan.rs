//! What a batch of changes lacks: one staged edit of the rules files, and what loads it.
//!
//! One run of ufw loads any edit, in 0.2 s. A few drops that only come in front are put into the
//! kernel by iptables, in hundredths of a second, and ufw's run follows when there is time.

use hosttext::Direction;
use hosttext::chains::KernelStanding;
use hosttext::edit::Edit;
use hosttext::mark::Mark;
use hosttext::rules_file::FileStanding;
use hosttext::tuple::{self, Tuple};
use protocol::Target;

use crate::Change;
use crate::program::Program;
use crate::ufw::view::View;

/// Texts to be staged, then programs to be run.
#[derive(Debug)]
pub struct Plan {
    /// Which file, and its text; None for a file that cannot be changed.
    pub texts: Vec<(usize, Option<String>)>,
    /// One run of ufw, or up to three to lift the very last; or iptables, once a chain.
    pub runs: Vec<(Program, Vec<String>)>,
}

impl Plan {
    /// Whether ufw has yet to load what is staged.
    pub fn is_quick(&self) -> bool {
        !self.runs.iter().any(|(program, _)| matches!(program, Program::Ufw))
    }

    /// The run that has ufw read, write and load its files again; None: there is no drop of ours
    /// that could be given to it.
    pub fn settling(view: &View) -> Option<Self> {
        let mut draft = Draft::new(view);
        let (_, tuple) = draft.take_spare()?;
        let arguments = tuple.arguments()?;
        draft.with(vec![(Program::Ufw, run("prepend", arguments))])
    }

    /// The plan for what is lacking; None: nothing is. Marks the changes it is about. `quick`: ufw's
    /// run may follow later.
    pub fn of(view: &View, changes: &[Change], touched: &mut [bool], quick: bool) -> Option<Self> {
        let mut draft = Draft::new(view);
        for (change, touched) in changes.iter().zip(touched) {
            for direction in Direction::BOTH {
                *touched |= draft.add(change, direction);
            }
        }
        if quick && draft.only_adds_a_few() { draft.finish_quickly() } else { draft.finish() }
    }
}

/// A plan in the making. `ufw prepend` loads both files only if it is given a rule that is not in
/// them, so one rule is held back from the edit, to be given to ufw: the newest, or else one that
/// can be put in front without changing what is let through.
struct Draft<'a> {
    view: &'a View,
    edits: Vec<Edit<'a>>,
    /// The drops that are new, not yet in their edits.
    fresh: Vec<(Target, Direction, Mark)>,
    /// The last drop that stands too late, not yet moved in its edit.
    late: Option<(usize, &'a Tuple)>,
    /// A drop that stands in the file and not in the kernel.
    unloaded: Option<(usize, &'a Tuple)>,
    /// The drops of ours that go, the last one first.
    lifted: Vec<(usize, &'a Tuple)>,
}

impl<'a> Draft<'a> {
    fn new(view: &'a View) -> Self {
        let families = view.families.iter().zip([false, true]);
        let edits = families.map(|(family, ipv6)| Edit::new(&family.rules, ipv6)).collect();
        Self { view, edits, fresh: Vec::new(), late: None, unloaded: None, lifted: Vec::new() }
    }

    /// What one change lacks in one direction; whether anything.
    fn add(&mut self, change: &Change, direction: Direction) -> bool {
        let target = change.target();
        let which = usize::from(target.is_ipv6());
        let Some(family) = self.view.of(target) else { return false };
        match (change, family.rules.standing(target, direction)) {
            (Change::Block(_, mark), FileStanding::Absent) => {
                self.fresh.push((target, direction, *mark));
            }
            // A drop of ours for an earlier block: its comment would tell when that one ended.
            (Change::Block(_, mark), FileStanding::First(tuple) | FileStanding::Late(tuple))
                if tuple.mark().is_some_and(|theirs| theirs != *mark) =>
            {
                self.take_out(which, tuple);
                self.fresh.push((target, direction, *mark));
            }
            (Change::Block(..), FileStanding::Late(tuple)) => {
                let before = self.late.replace((which, tuple));
                self.move_first(before);
            }
            (Change::Block(..), FileStanding::First(tuple))
                if family.kernel(target, direction) == Some(KernelStanding::Absent) =>
            {
                self.unloaded = Some((which, tuple));
            }
            (Change::Lift(_), FileStanding::First(tuple) | FileStanding::Late(tuple))
                if tuple.mark().is_some() =>
            {
                self.take_out(which, tuple);
                self.lifted.push((which, tuple));
            }
            _ => return false,
        }
        true
    }

    fn take_out(&mut self, which: usize, tuple: &Tuple) {
        self.edits.get_mut(which).into_iter().for_each(|edit| edit.take_out(tuple));
    }

    /// Whether nothing moves and nothing goes.
    fn only_adds_a_few(&self) -> bool {
        let adds = (1..=FEW).contains(&self.fresh.len());
        adds && self.late.is_none()
            && self.unloaded.is_none()
            && self.edits.iter().all(Edit::is_empty)
    }

    fn finish_quickly(mut self) -> Option<Plan> {
        let mut runs = Vec::new();
        for (which, (program, chains)) in PROGRAMS.into_iter().enumerate() {
            for direction in Direction::BOTH {
                let here = |(target, towards, _): &&(Target, Direction, Mark)| {
                    usize::from(target.is_ipv6()) == which && *towards == direction
                };
                let targets = self.fresh.iter().filter(here).map(|(target, ..)| target.to_string());
                let targets = targets.collect::<Vec<_>>().join(",");
                let (chain, side) = match direction {
                    Direction::In => ("input", "-s"),
                    Direction::Out => ("output", "-d"),
                };
                let chain = format!("{chains}-user-{chain}");
                // In front, as in the file; -w: legacy iptables has a lock.
                let words = ["-w", "5", "-I", &chain, side, &targets, "-j", "DROP"];
                if !targets.is_empty() {
                    runs.push((program, words.map(str::to_owned).to_vec()));
                }
            }
        }
        self.put_fresh_first();
        self.with(runs)
    }

    fn put_fresh_first(&mut self) {
        for (target, direction, mark) in self.fresh.drain(..) {
            if let Some(edit) = self.edits.get_mut(usize::from(target.is_ipv6())) {
                edit.put_first(target, direction, mark);
            }
        }
    }

    fn move_first(&mut self, drop: Option<(usize, &Tuple)>) {
        if let Some((which, tuple)) = drop
            && let Some(edit) = self.edits.get_mut(which)
        {
            edit.move_first(tuple);
        }
    }

    fn finish(mut self) -> Option<Plan> {
        let mut runs = Vec::new();
        let late = self.late.take();
        if let Some((target, direction, mark)) = self.fresh.pop() {
            self.put_fresh_first();
            self.move_first(late);
            let comment = mark.to_string();
            let drop = tuple::arguments("deny", None, target, direction, Some(&comment));
            runs.push(run("prepend", drop));
        } else if late.is_none() && self.unloaded.is_none() && self.lifted.is_empty() {
            return None;
        } else if let Some((_, tuple)) = self.take_spare() {
            self.move_first(late);
            runs.push(run("prepend", tuple.arguments()?));
        } else if let Some((which, tuple)) = late.or(self.unloaded) {
            self.edits.get_mut(which)?.take_out(tuple);
            runs.push(run("prepend", tuple.arguments()?));
        } else {
            self.lift_the_last(&mut runs)?;
        }
        self.with(runs.into_iter().map(|run| (Program::Ufw, run)).collect())
    }

    fn with(self, runs: Vec<(Program, Vec<String>)>) -> Option<Plan> {
        let texts = self.edits.iter().enumerate().filter(|(_, edit)| !edit.is_empty());
        let texts = texts.map(|(which, edit)| (which, edit.text())).collect();
        Some(Plan { texts, runs })
    }

    /// Takes out a drop of ours that stays: in front it drops what it dropped before.
    fn take_spare(&mut self) -> Option<(usize, &'a Tuple)> {
        let families = self.view.families.iter().zip(&mut self.edits).enumerate();
        for (which, (family, edit)) in families {
            for (target, _, tuple) in family.rules.ours() {
                let (direction, _) = tuple.whole()?;
                let first = FileStanding::First(tuple);
                if edit.takes_out(tuple) || family.rules.standing(target, direction) != first {
                    continue;
                }
                edit.take_out(tuple);
                if edit.leaves_rules() {
                    return Some((which, tuple));
                }
                edit.leave(tuple);
            }
        }
        None
    }

    /// None of ours stays: one that goes is put in front once more, so that all is loaded, and
    /// deleted by its own run. Into an empty set ufw would not load, so there another waits.
    fn lift_the_last(&mut self, runs: &mut Vec<Vec<String>>) -> Option<()> {
        let (which, last) = self.lifted.pop()?;
        runs.push(run("prepend", last.arguments()?));
        runs.push(run("delete", last.arguments()?));
        let edit = self.edits.get_mut(which)?;
        if !edit.leaves_rules()
            && let Some((_, other)) = self.lifted.iter().rfind(|(family, _)| *family == which)
        {
            edit.leave(other);
            runs.push(run("delete", other.arguments()?));
        }
        Some(())
    }
}

fn run(verb: &str, arguments: Vec<String>) -> Vec<String> {
    std::iter::once(verb.to_owned()).chain(arguments).collect()
}

/// What loads each file, and how its chains are called.
const PROGRAMS: [(Program, &str); 2] = [(Program::Iptables, "ufw"), (Program::Ip6tables, "ufw6")];
/// Rules; above, one run of ufw costs less than the adding up of many small batches saves.
const FEW: usize = 128;
