//! What a batch of changes lacks: one staged edit of the rules files, and what loads it.
//!
//! One run of ufw loads any edit, in 0.2 s. A few drops that only come in front are put into the
//! kernel by iptables, in hundredths of a second, and ufw's run follows when there is time.

use std::net::Ipv4Addr;

use hosttext::Direction;
use hosttext::chains::KernelStanding;
use hosttext::edit::Edit;
use hosttext::mark::Mark;
use hosttext::rules_file::FileStanding;
use hosttext::tuple::{self, Tuple};
use protocol::{EventId, Target, Until};

use crate::Change;
use crate::program::Program;
use crate::ufw::view::View;

/// Texts to be staged, then programs to be run.
#[derive(Debug)]
pub struct Plan {
    /// Which file, and its text; None for a file that cannot be changed.
    pub texts: Vec<(usize, Option<String>)>,
    /// One run of ufw, or two where none of ours stays; or iptables, once a chain.
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
        let spare = draft.take_spare()?.arguments()?;
        draft.with(vec![run("prepend", spare)])
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
    /// Whether a drop stands in the file and not in the kernel.
    unloaded: bool,
    /// Drops that are in the kernel alone, and go.
    stale: Vec<(Target, Direction)>,
}

impl<'a> Draft<'a> {
    fn new(view: &'a View) -> Self {
        let families = view.families.iter().zip([false, true]);
        let edits = families.map(|(family, ipv6)| Edit::new(&family.rules, ipv6)).collect();
        Self { view, edits, fresh: Vec::new(), unloaded: false, stale: Vec::new() }
    }

    /// What one change lacks in one direction; whether anything.
    fn add(&mut self, change: &Change, direction: Direction) -> bool {
        let target = change.target();
        let which = usize::from(target.is_ipv6());
        let Some(family) = self.view.of(target) else { return false };
        match (change, family.rules.standing(target, direction)) {
            (Change::Block { mark, .. }, FileStanding::Absent) => {
                self.fresh.push((target, direction, *mark));
            }
            // A drop of ours for an earlier block: its comment would tell when that one ended. Or the
            // administrator's, to be taken over: ours goes in front in the same edit, and the kernel
            // gets both in one step.
            (
                Change::Block { mark, adopt, .. },
                FileStanding::First(tuple) | FileStanding::Late(tuple),
            ) if match tuple.mark() {
                Some(theirs) => theirs != *mark,
                None => *adopt && tuple.is_plain_deny(),
            } =>
            {
                self.take_out(which, tuple);
                self.fresh.push((target, direction, *mark));
            }
            (Change::Block { .. }, FileStanding::Late(tuple)) => {
                self.edits.get_mut(which).into_iter().for_each(|edit| edit.move_first(tuple));
            }
            (Change::Block { .. }, FileStanding::First(_))
                if family.kernel(target, direction) == Some(KernelStanding::Absent) =>
            {
                self.unloaded = true;
            }
            (Change::Lift(_), FileStanding::First(tuple) | FileStanding::Late(tuple))
                if tuple.mark().is_some() =>
            {
                self.take_out(which, tuple);
            }
            (Change::Lift(_), FileStanding::Absent) => {
                let kernel = family.kernel(target, direction);
                let drops = Some(KernelStanding::Dropped);
                if !matches!(kernel, Some(KernelStanding::Bypassed(_))) && kernel != drops {
                    return false;
                }
                self.stale.push((target, direction));
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
        adds && !self.unloaded && self.edits.iter().all(Edit::is_empty)
    }

    fn finish_quickly(mut self) -> Option<Plan> {
        let mut runs = Vec::new();
        for ipv6 in [false, true] {
            for direction in Direction::BOTH {
                let here = |(target, towards, _): &&(Target, Direction, Mark)| {
                    target.is_ipv6() == ipv6 && *towards == direction
                };
                let targets = self.fresh.iter().filter(here).map(|(target, ..)| target.to_string());
                let targets = targets.collect::<Vec<_>>().join(",");
                if !targets.is_empty() {
                    runs.push(in_kernel("-I", ipv6, direction, &targets));
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

    fn finish(mut self) -> Option<Plan> {
        let moved = !self.edits.iter().all(Edit::is_empty);
        let runs = if let Some((target, direction, mark)) = self.fresh.pop() {
            self.put_fresh_first();
            let comment = mark.to_string();
            vec![run("prepend", tuple::arguments("deny", None, target, direction, Some(&comment)))]
        } else if !moved && !self.unloaded {
            let stale = self.stale.iter().map(|(target, direction)| {
                in_kernel("-D", target.is_ipv6(), *direction, &target.to_string())
            });
            let runs: Vec<_> = stale.collect();
            return if runs.is_empty() { None } else { self.with(runs) };
        } else if let Some(tuple) = self.take_spare() {
            vec![run("prepend", tuple.arguments()?)]
        } else {
            vec![run("prepend", for_nobody()), run("delete", for_nobody())]
        };
        self.with(runs)
    }

    fn with(self, runs: Vec<(Program, Vec<String>)>) -> Option<Plan> {
        let texts = self.edits.iter().enumerate().filter(|(_, edit)| !edit.is_empty());
        let texts = texts.map(|(which, edit)| (which, edit.text())).collect();
        Some(Plan { texts, runs })
    }

    /// Takes out a drop of ours that stays: in front it drops what it dropped before. Into an empty
    /// set ufw would not load.
    fn take_spare(&mut self) -> Option<&'a Tuple> {
        for (family, edit) in self.view.families.iter().zip(&mut self.edits) {
            for (target, _, tuple) in family.rules.ours() {
                let (direction, _) = tuple.whole()?;
                let first = FileStanding::First(tuple);
                if edit.takes_out(tuple) || family.rules.standing(target, direction) != first {
                    continue;
                }
                edit.take_out(tuple);
                if edit.leaves_rules() {
                    return Some(tuple);
                }
                edit.leave(tuple);
            }
        }
        None
    }
}

fn run(verb: &str, arguments: Vec<String>) -> (Program, Vec<String>) {
    (Program::Ufw, std::iter::once(verb.to_owned()).chain(arguments).collect())
}

/// None of ours stays that could be given to ufw: a rule for an address that nobody has (RFC 5737)
/// comes for a moment. Should it stay, it is one of ours that is nobody's block.
fn for_nobody() -> Vec<String> {
    let nobody = Target::host(Ipv4Addr::new(192, 0, 2, 255).into());
    let mark = Mark::new(EventId(0), Until::Permanent).to_string();
    tuple::arguments("deny", None, nobody, Direction::In, Some(&mark))
}

/// Puts drops in front in the kernel, as they are in the file, or takes one away.
fn in_kernel(
    verb: &str,
    ipv6: bool,
    direction: Direction,
    targets: &str,
) -> (Program, Vec<String>) {
    let (program, chains) =
        if ipv6 { (Program::Ip6tables, "ufw6") } else { (Program::Iptables, "ufw") };
    let (chain, side) = match direction {
        Direction::In => ("input", "-s"),
        Direction::Out => ("output", "-d"),
    };
    let chain = format!("{chains}-user-{chain}");
    // -w: legacy iptables has a lock.
    let words = ["-w", "5", verb, &chain, side, targets, "-j", "DROP"];
    (program, words.map(str::to_owned).to_vec())
}

/// Rules; above; above, one run of ufw costs less than the adding up of many small batches saves.
const FEW: usize = 128;
