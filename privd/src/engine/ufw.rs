//! The ufw engine: one rule a block and direction, made by ufw itself, then read back.
//!
//! ufw's exit status says nothing (0 while inactive, for a skipped rule, for a lost update), so
//! every change is a loop: look, do what is missing, look again. Only what the second look finds in
//! the rules file and reached in the kernel is called a block.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use protocol::{Target, Text, Untrusted};
use slog::{Logger, warn};

use crate::engine::chains::{KernelStanding, Path};
use crate::engine::rules_file::{Direction, FileStanding, RulesFile, Tuple, block_arguments};
use crate::engine::{Change, Effect, Firewall, comment, conntrack};
use crate::program::Program;
use crate::protected::Network;

/// ufw on this host.
#[derive(Debug)]
pub struct Ufw {
    cut_connections: bool,
    view: Option<View>,
    stamp: Stamp,
    log: Logger,
}

impl Ufw {
    /// The engine; touches nothing yet.
    pub fn new(cut_connections: bool, log: Logger) -> Self {
        Self { cut_connections, view: None, stamp: Stamp::default(), log }
    }

    /// Looks and does what is lacking until nothing is, or the rounds are over. A rule that another
    /// ufw run overwrote, or that is in the file and not in the kernel, takes a second round.
    fn advance(&mut self, changes: &[Change], progress: &mut [Progress]) -> Result<View, Text> {
        enabled()?;
        // A target without any rule needs one, whatever the kernel says: two programs are saved.
        let mut view = View::read(false)?;
        if changes.iter().any(|change| view.knows(change.target())) {
            (self.stamp, view) = (Stamp::now(), View::read(true)?);
        }
        for _ in 0..ROUNDS {
            let mut ran = false;
            for (change, progress) in changes.iter().zip(progress.iter_mut()) {
                for arguments in view.steps(change) {
                    if progress.failed.is_none() {
                        // Once more, lest a rule that was to move stays deleted.
                        let done = self.run(&arguments).or_else(|_| self.run(&arguments));
                        progress.failed = done.err();
                        progress.ran = true;
                        ran = true;
                    }
                }
            }
            if !ran && view.kernel_read {
                break;
            }
            // The stamp comes first: a write in between makes it old, never the view.
            (self.stamp, view) = (Stamp::now(), View::read(true)?);
        }
        Ok(view)
    }

    fn run(&self, arguments: &[String]) -> Result<(), Text> {
        let shown = arguments.join(" ");
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let problem = match Program::Ufw.run(&arguments) {
            Ok(output) if output.success => return Ok(()),
            Ok(output) => Untrusted(output.complaint()).to_string(),
            Err(error) => error.to_string(),
        };
        warn!(self.log, "ufw failed"; "arguments" => %Untrusted(&shown), "why" => problem);
        Err(Text::truncated("ufw failed; its words are in the log of webhook-privd"))
    }
}

impl Firewall for Ufw {
    fn look(&mut self) -> Result<(), Text> {
        self.view = None;
        enabled()?;
        let (stamp, view) = (Stamp::now(), View::read(true)?);
        let health = view.health();
        (self.stamp, self.view) = (stamp, Some(view));
        health
    }

    fn judge(&self, target: Target) -> Effect {
        match &self.view {
            Some(view) => view.block_effect(target, &Progress::default()),
            None => Effect::Unavailable(Text::truncated("ufw's rules could not be read back")),
        }
    }

    fn allowed_sources(&mut self) -> Result<Vec<Network>, Text> {
        let view = View::read(false)?;
        let files = std::iter::once(&view.v4).chain(&view.v6);
        let rules = files.flat_map(|family| family.rules.allowed_sources());
        Ok(rules.map(|(net, tuple)| Network { net, rule: tuple.text().to_owned() }).collect())
    }

    fn apply(&mut self, changes: &[Change]) -> Vec<Effect> {
        if changes.is_empty() {
            return Vec::new();
        }
        self.view = None;
        let mut progress = vec![Progress::default(); changes.len()];
        let view = match self.advance(changes, &mut progress) {
            Ok(view) => view,
            Err(problem) => return vec![Effect::Unavailable(problem); changes.len()],
        };
        let cut = |target| conntrack::cut(target).err().unwrap_or_default();
        let effect = |(change, progress): (&Change, &Progress)| match change {
            Change::Lift(target) => view.lift_effect(*target, progress),
            Change::Block(target, _) => match view.block_effect(*target, progress) {
                // Also where the rules stood already: whoever made them may not have cut.
                Effect::Done(_) if self.cut_connections => Effect::Done(cut(*target)),
                Effect::Already(_) if self.cut_connections => Effect::Already(cut(*target)),
                effect => effect,
            },
        };
        let effects = changes.iter().zip(&progress).map(effect).collect();
        self.view = Some(view);
        effects
    }

    fn stamp(&self) -> Stamp {
        self.stamp.clone()
    }
}

/// How far one change has come.
#[derive(Clone, Debug, Default)]
struct Progress {
    ran: bool,
    failed: Option<Text>,
}

/// One look at everything that makes a block a block.
#[derive(Debug)]
struct View {
    v4: Family,
    /// None: ufw does no IPv6 here.
    v6: Option<Family>,
    kernel_read: bool,
}

/// One rules file, and the ways of packets where the kernel was read: out, then in.
#[derive(Debug)]
struct Family {
    rules: RulesFile,
    paths: Option<[Path; 2]>,
}

impl View {
    fn read(kernel: bool) -> Result<Self, Text> {
        let ipv6 = setting(DEFAULTS, "IPV6")?.as_deref() == Some("yes")
            && fs::exists(PROC_IPV6).unwrap_or(false);
        let family = |file, program, ipv6| {
            let rules = rules_of(file)?;
            let paths = if kernel { Some(paths(program, ipv6)?) } else { None };
            Ok(Family { rules, paths })
        };
        let v4 = family(USER_RULES, Program::Iptables, false)?;
        let v6 = ipv6.then(|| family(USER6_RULES, Program::Ip6tables, true)).transpose()?;
        Ok(Self { v4, v6, kernel_read: kernel })
    }

    fn of(&self, target: Target) -> Option<&Family> {
        if target.is_ipv6() { self.v6.as_ref() } else { Some(&self.v4) }
    }

    /// Whether ufw's chains are in the kernel and reached.
    fn health(&self) -> Result<(), Text> {
        for path in std::iter::once(&self.v4).chain(&self.v6).flat_map(|one| &one.paths).flatten() {
            // Any address does: only the way to ufw's chain is looked at.
            let problem = match path.standing(Target::host([192, 0, 2, 1].into())) {
                KernelStanding::NoChain => "are not in the kernel",
                KernelStanding::NotReached => "are not reached by packets",
                _ => continue,
            };
            return Err(Text::truncated(&format!(
                "ufw's chains {problem}: another program flushed them; run `ufw reload`"
            )));
        }
        Ok(())
    }

    /// Whether there is a rule for exactly this target already.
    fn knows(&self, target: Target) -> bool {
        let present = |direction: &Direction| {
            let standing = self.of(target).map(|family| family.rules.standing(target, *direction));
            standing.is_some_and(|standing| standing != FileStanding::Absent)
        };
        Direction::BOTH.iter().any(present)
    }

    /// The ufw runs that a change lacks.
    fn steps(&self, change: &Change) -> Vec<Vec<String>> {
        let target = change.target();
        let Some(family) = self.of(target) else { return Vec::new() };
        let run = |verb: &str, arguments: Vec<String>| {
            std::iter::once(verb.to_owned()).chain(arguments).collect::<Vec<_>>()
        };
        // prepend of a tuple that exists is skipped, so what is to move is deleted first. The
        // comment among the arguments keeps `delete` from taking anybody else's rule.
        let again = |tuple: &Tuple, direction| {
            let arguments = tuple.arguments(target, direction);
            vec![run("delete", arguments.clone()), run("prepend", arguments)]
        };
        let step = |direction| match (change, family.rules.standing(target, direction)) {
            (Change::Block(_, event), FileStanding::Absent) => {
                let mut arguments = block_arguments("deny", None, target, direction);
                arguments.extend(["comment".to_owned(), comment(*event)]);
                vec![run("prepend", arguments)]
            }
            // A comment that cannot be read could not be given back.
            (Change::Block(..), FileStanding::Late(tuple) | FileStanding::First(tuple))
                if tuple.comment.is_err() =>
            {
                Vec::new()
            }
            (Change::Block(..), FileStanding::Late(tuple)) => again(tuple, direction),
            (Change::Block(..), FileStanding::First(tuple))
                if family.kernel(target, direction) == Some(KernelStanding::Absent) =>
            {
                again(tuple, direction)
            }
            (Change::Lift(_), FileStanding::First(tuple) | FileStanding::Late(tuple))
                if tuple.is_ours() =>
            {
                vec![run("delete", tuple.arguments(target, direction))]
            }
            _ => Vec::new(),
        };
        Direction::BOTH.into_iter().flat_map(step).collect()
    }

    fn block_effect(&self, target: Target, progress: &Progress) -> Effect {
        let Some(family) = self.of(target) else {
            return Effect::Unavailable(Text::truncated(
                "IPv6 is off in ufw; set IPV6=yes in /etc/default/ufw, then run `ufw reload`",
            ));
        };
        let obstacle =
            Direction::BOTH.into_iter().find_map(|direction| family.obstacle(target, direction));
        match (obstacle, &progress.failed) {
            (None, _) if progress.ran => Effect::Done(Text::default()),
            (None, _) => Effect::Already(Text::default()),
            (Some(Effect::Unverified(_)), Some(failure)) => Effect::Failed(failure.clone()),
            (Some(obstacle), _) => obstacle,
        }
    }

    fn lift_effect(&self, target: Target, progress: &Progress) -> Effect {
        let mut remains = Text::default();
        for direction in Direction::BOTH {
            let standing = self.of(target).map(|family| family.rules.standing(target, direction));
            let Some(FileStanding::First(tuple) | FileStanding::Late(tuple)) = standing else {
                continue;
            };
            if tuple.is_ours() {
                let words = Text::truncated("our rule is still in ufw's rules file");
                return Effect::Failed(progress.failed.clone().unwrap_or(words));
            }
            let rule = Untrusted(tuple.text());
            remains =
                Text::truncated(&format!("the administrator's rule `{rule}` still blocks it"));
        }
        if progress.ran { Effect::Done(remains) } else { Effect::Already(remains) }
    }
}

impl Family {
    fn kernel(&self, target: Target, direction: Direction) -> Option<KernelStanding<'_>> {
        let [out, input] = self.paths.as_ref()?;
        Some(if direction == Direction::In { input } else { out }.standing(target))
    }

    /// What keeps a block from being one in one direction.
    fn obstacle(&self, target: Target, direction: Direction) -> Option<Effect> {
        let passed =
            |rule: &str| format!("the rule `{}` lets the address through", Untrusted(rule));
        let words = match (self.rules.standing(target, direction), self.kernel(target, direction)) {
            (FileStanding::Absent, _) => "the rule did not stay in ufw's rules file".into(),
            (FileStanding::Late(tuple) | FileStanding::Conflict(tuple), _) => passed(tuple.text()),
            (FileStanding::First(_), Some(KernelStanding::Dropped)) => return None,
            (FileStanding::First(_), Some(KernelStanding::Bypassed(rule))) => passed(rule),
            (FileStanding::First(_), Some(KernelStanding::NotReached)) => {
                "nothing leads to ufw's chains: run `ufw reload`".into()
            }
            (FileStanding::First(_), Some(KernelStanding::NoChain)) => {
                let words = "ufw's chains are not in the kernel: run `ufw reload`";
                return Some(Effect::Unavailable(Text::truncated(words)));
            }
            (FileStanding::First(_), Some(KernelStanding::Absent) | None) => {
                "the rule is in ufw's rules file and not in the kernel".into()
            }
        };
        Some(Effect::Unverified(Text::truncated(&words)))
    }
}

/// Identifies a state of the rules files: equal stamps mean that nobody wrote in between.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Stamp(Vec<Option<(u64, u64, i64, i64)>>);

impl Stamp {
    /// The state of the files now.
    pub fn now() -> Self {
        let identity = |path: &&str| {
            let file = fs::metadata(path).ok()?;
            Some((file.ino(), file.size(), file.ctime(), file.ctime_nsec()))
        };
        let files = [USER_RULES, USER6_RULES, CONF, DEFAULTS, BEFORE_RULES, BEFORE6_RULES];
        Self(files.iter().map(identity).collect())
    }

    /// Whether nobody wrote since.
    pub fn is_current(&self) -> bool {
        *self == Self::now()
    }
}

fn enabled() -> Result<(), Text> {
    if setting(CONF, "ENABLED")?.as_deref() == Some("yes") {
        Ok(())
    } else {
        Err(Text::truncated("ufw is inactive: run `ufw allow OpenSSH`, then `ufw enable`"))
    }
}

/// The last value of a `NAME=value` line, in lower case, as ufw reads its files.
fn setting(path: &str, name: &str) -> Result<Option<String>, Text> {
    let text = text_of(path)?;
    let mut values = text.lines().filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim().eq_ignore_ascii_case(name))
            .then(|| value.trim().trim_matches(['"', '\'']).to_ascii_lowercase())
    });
    Ok(values.next_back())
}

/// A file without its end must not be built upon: ufw would make the loss permanent. Another ufw
/// may be writing it at this moment, so it gets a second look.
fn rules_of(path: &str) -> Result<RulesFile, Text> {
    for _ in 0..LOOKS {
        let rules = RulesFile::parse(&text_of(path)?);
        if rules.committed {
            return Ok(rules);
        }
        std::thread::sleep(LOOK_PAUSE);
    }
    Err(Text::truncated(&format!("{path} was cut short (no COMMIT); restore it from a copy")))
}

fn text_of(path: &str) -> Result<String, Text> {
    let failed = |error: io::Error| Text::truncated(&format!("{path} cannot be read: {error}"));
    if fs::metadata(path).map_err(failed)?.size() > MAX_FILE {
        return Err(failed(io::Error::other("larger than 64 MiB")));
    }
    Ok(String::from_utf8_lossy(&fs::read(path).map_err(failed)?).into_owned())
}

fn paths(program: Program, ipv6: bool) -> Result<[Path; 2], Text> {
    match program.run(&["-S"]) {
        Ok(output) if output.success => Ok(Path::both(&output.text, ipv6)),
        Ok(output) => {
            let complaint = Untrusted(output.complaint());
            Err(Text::truncated(&format!("{} -S failed: {complaint}", program.path())))
        }
        Err(error) => Err(Text::truncated(&error.to_string())),
    }
}

const USER_RULES: &str = "/etc/ufw/user.rules";
const USER6_RULES: &str = "/etc/ufw/user6.rules";
const BEFORE_RULES: &str = "/etc/ufw/before.rules";
const BEFORE6_RULES: &str = "/etc/ufw/before6.rules";
const CONF: &str = "/etc/ufw/ufw.conf";
const DEFAULTS: &str = "/etc/default/ufw";
/// What ufw itself looks for before it does IPv6.
const PROC_IPV6: &str = "/proc/sys/net/ipv6";
/// Bytes: 500,000 rules.
const MAX_FILE: u64 = 64 << 20;
/// A file that is being written is whole again well within these.
const LOOKS: usize = 10;
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// Look-and-do rounds before giving up on a change.
const ROUNDS: usize = 3;
