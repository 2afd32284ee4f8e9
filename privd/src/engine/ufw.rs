//! The ufw engine: one rule a block and direction, made by ufw itself, then read back.
//!
//! ufw's exit status says nothing (0 while inactive, for a skipped rule, for a lost update), so
//! every change is a loop: look, do what is missing, look again. Only what the second look finds in
//! the rules file and reached in the kernel is called a block.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use protocol::{Target, Text, Untrusted};
use slog::{Logger, warn};

use crate::engine::chains::{Chains, KernelStanding, Path};
use crate::engine::rules_file::{Direction, FileStanding, RulesFile, Tuple, block_arguments};
use crate::engine::{Change, Effect, Firewall, conntrack};
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
    #[must_use]
    pub fn new(cut_connections: bool, log: Logger) -> Self {
        Self { cut_connections, view: None, stamp: Stamp::default(), log }
    }

    /// Looks and does what is lacking until nothing is, or the rounds are over. A rule that another
    /// ufw run overwrote, or that is in the file and not in the kernel, takes a second round.
    fn advance_all(&mut self, changes: &[Change], progress: &mut [Progress]) -> Result<(), Text> {
        enabled()?;
        let mut view = View::files_first(changes)?;
        for _ in 0..ROUNDS {
            let mut ran = false;
            for (change, progress) in changes.iter().zip(progress.iter_mut()) {
                if progress.failed.is_some() {
                    continue;
                }
                match self.advance(&view, change) {
                    Ok(false) => continue,
                    Ok(true) => progress.ran = true,
                    Err(problem) => progress.failed = Some(problem),
                }
                ran = true;
            }
            if !ran && view.kernel_read {
                break;
            }
            (self.stamp, view) = View::stamped()?;
        }
        self.view = Some(view);
        Ok(())
    }

    /// Does what one change lacks, as seen in `view`. Returns whether ufw ran.
    fn advance(&self, view: &View, change: &Change) -> Result<bool, Text> {
        let mut ran = false;
        for direction in Direction::BOTH {
            for arguments in steps(view, change, direction) {
                ran = true;
                self.run(&arguments)?;
            }
        }
        Ok(ran)
    }

    fn run(&self, arguments: &[String]) -> Result<(), Text> {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let shown = arguments.join(" ");
        match Program::Ufw.run(&arguments) {
            Ok(output) if output.success => Ok(()),
            Ok(output) => {
                let complaint = Untrusted(output.complaint());
                warn!(self.log, "ufw failed"; "arguments" => %Untrusted(&shown), "said" => %complaint);
                Err(Text::truncated("ufw failed; its words are in the log of webhook-privd"))
            }
            Err(error) => {
                warn!(self.log, "ufw gave no result"; "arguments" => %Untrusted(&shown), "error" => %error);
                Err(Text::truncated(&error.to_string()))
            }
        }
    }

    fn cut(&self, targets: &[Target]) -> Option<Text> {
        if !self.cut_connections || targets.is_empty() {
            return None;
        }
        let warning = conntrack::cut(targets).err()?;
        warn!(self.log, "connections not cut"; "why" => %warning);
        Some(warning)
    }
}

impl Firewall for Ufw {
    fn name(&self) -> &'static str {
        "ufw"
    }

    fn look(&mut self) -> Result<(), Text> {
        self.view = None;
        enabled()?;
        let (stamp, view) = View::stamped()?;
        let health = view.health();
        (self.stamp, self.view) = (stamp, Some(view));
        health
    }

    fn judge(&self, target: Target) -> Effect {
        match &self.view {
            Some(view) => view.block_effect(target, Progress::default()),
            None => Effect::Unavailable(Text::truncated("ufw's rules could not be read back")),
        }
    }

    fn allowed_sources(&mut self) -> Result<Vec<Network>, Text> {
        let files = Files::read()?;
        let rules = files.rules4.allowed_sources().chain(files.rules6.allowed_sources());
        Ok(rules.map(|(net, tuple)| Network { net, rule: tuple.text().to_owned() }).collect())
    }

    fn apply(&mut self, changes: &[Change]) -> Vec<Effect> {
        if changes.is_empty() {
            return Vec::new();
        }
        self.view = None;
        let mut progress = vec![Progress::default(); changes.len()];
        let advanced = self.advance_all(changes, &mut progress);
        let view = match (advanced, &self.view) {
            (Ok(()), Some(view)) => view,
            (Ok(()), None) => return vec![Effect::Failed(Text::default()); changes.len()],
            (Err(problem), _) => return vec![Effect::Unavailable(problem); changes.len()],
        };
        let effects = changes.iter().zip(progress).map(|(change, progress)| match change {
            Change::Block { target, .. } => view.block_effect(*target, progress),
            Change::Lift { target } => view.lift_effect(*target, progress),
        });
        let mut effects: Vec<Effect> = effects.collect();
        let fresh: Vec<Target> = changes
            .iter()
            .zip(&effects)
            .filter_map(|(change, effect)| match (change, effect) {
                (Change::Block { target, .. }, Effect::Enforced { .. }) => Some(*target),
                _ => None,
            })
            .collect();
        if let Some(text) = self.cut(&fresh) {
            for effect in &mut effects {
                if let Effect::Enforced { warning } = effect {
                    *warning = Some(text.clone());
                }
            }
        }
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

/// The ufw runs that a change lacks in one direction.
fn steps(view: &View, change: &Change, direction: Direction) -> Vec<Vec<String>> {
    let verb = |verb: &[&str], arguments: Vec<String>| {
        verb.iter().map(|word| (*word).to_owned()).chain(arguments).collect::<Vec<_>>()
    };
    // prepend of a tuple that exists is skipped, so what is to move is deleted first. The comment
    // among the arguments keeps `delete` from taking anybody else's rule.
    let again = |tuple: &Tuple, target: Target| {
        let arguments = tuple.arguments(target, direction);
        vec![verb(&["delete"], arguments.clone()), verb(&["prepend"], arguments)]
    };
    match change {
        Change::Block { target, .. } if target.is_ipv6() && !view.files.ipv6 => Vec::new(),
        Change::Block { target, id } => match view.files.of(*target).standing(*target, direction) {
            FileStanding::Absent => {
                let mut arguments = block_arguments("deny", None, *target, direction);
                arguments.extend(["comment".to_owned(), id.comment()]);
                vec![verb(&["prepend"], arguments)]
            }
            FileStanding::Late(tuple) => again(tuple, *target),
            FileStanding::First(tuple) => match view.kernel_standing(*target, direction) {
                Some(KernelStanding::Absent) => again(tuple, *target),
                _ => Vec::new(),
            },
            FileStanding::Conflict(_) => Vec::new(),
        },
        Change::Lift { target } => match view.files.of(*target).standing(*target, direction) {
            FileStanding::First(tuple) | FileStanding::Late(tuple) if tuple.is_ours() => {
                vec![verb(&["delete"], tuple.arguments(*target, direction))]
            }
            _ => Vec::new(),
        },
    }
}

/// Both rules files, and whether ufw does IPv6 at all.
#[derive(Debug)]
struct Files {
    rules4: RulesFile,
    rules6: RulesFile,
    ipv6: bool,
}

impl Files {
    fn read() -> Result<Self, Text> {
        let ipv6 = setting(DEFAULTS, "IPV6")? == Some("yes".to_owned())
            && fs::exists(PROC_IPV6).unwrap_or(false);
        Ok(Self {
            rules4: RulesFile::parse(&text_of(USER_RULES)?),
            rules6: if ipv6 {
                RulesFile::parse(&text_of(USER6_RULES)?)
            } else {
                RulesFile::default()
            },
            ipv6,
        })
    }

    const fn of(&self, target: Target) -> &RulesFile {
        if target.is_ipv6() { &self.rules6 } else { &self.rules4 }
    }
}

/// One look at everything that makes a block a block.
#[derive(Debug)]
struct View {
    files: Files,
    kernel4: Option<[Path; 2]>,
    kernel6: Option<[Path; 2]>,
    kernel_read: bool,
}

impl View {
    /// The stamp is taken first: a write in between makes it old, never the view.
    fn stamped() -> Result<(Stamp, Self), Text> {
        Ok((Stamp::now(), Self::read()?))
    }

    fn read() -> Result<Self, Text> {
        let files = Files::read()?;
        let kernel4 = Some(paths(Program::Iptables, false)?);
        let kernel6 = files.ipv6.then(|| paths(Program::Ip6tables, true)).transpose()?;
        Ok(Self { files, kernel4, kernel6, kernel_read: true })
    }

    /// The files alone where that decides: a target without any rule needs one, whatever the
    /// kernel says. Saves two programs on the usual road.
    fn files_first(changes: &[Change]) -> Result<Self, Text> {
        let files = Files::read()?;
        let undecided = changes.iter().any(|change| match change {
            Change::Block { target, .. } => Direction::BOTH.iter().any(|direction| {
                files.of(*target).standing(*target, *direction) != FileStanding::Absent
            }),
            Change::Lift { .. } => false,
        });
        if undecided {
            Self::read()
        } else {
            Ok(Self { files, kernel4: None, kernel6: None, kernel_read: false })
        }
    }

    /// Whether ufw's chains are in the kernel and reached.
    fn health(&self) -> Result<(), Text> {
        for (family, paths) in [("IPv4", &self.kernel4), ("IPv6", &self.kernel6)] {
            for path in paths.iter().flatten() {
                // Any address does: only the way to ufw's chain is looked at.
                let problem = match path.standing(Target::host([192, 0, 2, 1].into())) {
                    KernelStanding::NoChain => "are not in the kernel",
                    KernelStanding::NotReached => "are not reached",
                    _ => continue,
                };
                let start = path.start();
                return Err(Text::truncated(&format!(
                    "ufw's {family} chains {problem} from {start}: another program flushed them; \
                     run `ufw reload`"
                )));
            }
        }
        Ok(())
    }

    fn kernel_standing(&self, target: Target, direction: Direction) -> Option<KernelStanding<'_>> {
        let paths = if target.is_ipv6() { &self.kernel6 } else { &self.kernel4 };
        let path = paths.iter().flatten().find(|path| path.direction() == direction)?;
        Some(path.standing(target))
    }

    fn block_effect(&self, target: Target, progress: Progress) -> Effect {
        if target.is_ipv6() && !self.files.ipv6 {
            return Effect::Unavailable(Text::truncated(
                "IPv6 is off in ufw; set IPV6=yes in /etc/default/ufw, then run `ufw reload`",
            ));
        }
        for direction in Direction::BOTH {
            match (self.obstacle(target, direction), progress.failed.clone()) {
                (None, _) => {}
                (Some(Effect::Unverified(_)), Some(failure)) => return Effect::Failed(failure),
                (Some(problem), _) => return problem,
            }
        }
        if progress.ran { Effect::Enforced { warning: None } } else { Effect::AlreadyEnforced }
    }

    /// What keeps a block from being one in one direction.
    fn obstacle(&self, target: Target, direction: Direction) -> Option<Effect> {
        let rules = self.files.of(target);
        let unverified = |words: String| Some(Effect::Unverified(Text::truncated(&words)));
        if !rules.committed {
            return unverified("ufw's rules file has no COMMIT: it was cut short".to_owned());
        }
        match rules.standing(target, direction) {
            FileStanding::First(_) => {}
            FileStanding::Absent => {
                return unverified("the rule did not stay in ufw's rules file".to_owned());
            }
            FileStanding::Late(tuple) | FileStanding::Conflict(tuple) => {
                let rule = Untrusted(tuple.text());
                return unverified(format!("ufw's rule `{rule}` lets the address through"));
            }
        }
        match self.kernel_standing(target, direction)? {
            KernelStanding::Dropped => None,
            KernelStanding::Absent => {
                unverified("the rule is in ufw's rules file and not in the kernel".to_owned())
            }
            KernelStanding::Bypassed(rule) => {
                let rule = Untrusted(rule);
                unverified(format!("the rule `{rule}` comes first and lets the address through"))
            }
            KernelStanding::NotReached => {
                unverified("nothing leads to ufw's chains: run `ufw reload`".to_owned())
            }
            KernelStanding::NoChain => Some(Effect::Unavailable(Text::truncated(
                "ufw's chains are not in the kernel: run `ufw reload`",
            ))),
        }
    }

    fn lift_effect(&self, target: Target, progress: Progress) -> Effect {
        let rules = self.files.of(target);
        let mut remains = None;
        for direction in Direction::BOTH {
            match rules.standing(target, direction) {
                FileStanding::First(tuple) | FileStanding::Late(tuple) if tuple.is_ours() => {
                    let words = Text::truncated("our rule is still in ufw's rules file");
                    return Effect::Failed(progress.failed.unwrap_or(words));
                }
                FileStanding::First(tuple) | FileStanding::Late(tuple) => {
                    let rule = Untrusted(tuple.text());
                    let words = format!("the administrator's rule `{rule}` still blocks it");
                    remains = Some(Text::truncated(&words));
                }
                FileStanding::Absent | FileStanding::Conflict(_) => {}
            }
        }
        if progress.ran { Effect::Lifted { remains } } else { Effect::NothingToLift }
    }
}

/// Identifies a state of the rules files: equal stamps mean that nobody wrote in between.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Stamp(Vec<(u64, u64, i64, i64)>);

impl Stamp {
    /// The state of the files now.
    #[must_use]
    pub fn now() -> Self {
        let identity = |path: &&str| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.ino(), metadata.size(), metadata.ctime(), metadata.ctime_nsec()))
        };
        Self([USER_RULES, USER6_RULES, CONF].iter().filter_map(identity).collect())
    }

    /// Whether nobody wrote since.
    #[must_use]
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

fn text_of(path: &str) -> Result<String, Text> {
    let unreadable = |error: io::Error| Text::truncated(&format!("{path} cannot be read: {error}"));
    let size = fs::metadata(path).map_err(unreadable)?.size();
    if size > MAX_FILE {
        return Err(unreadable(io::Error::other("larger than 64 MiB")));
    }
    Ok(String::from_utf8_lossy(&fs::read(path).map_err(unreadable)?).into_owned())
}

fn paths(program: Program, ipv6: bool) -> Result<[Path; 2], Text> {
    match program.run(&["-S"]) {
        Ok(output) if output.success => {
            let chains = Chains::parse(&output.stdout);
            Ok(Direction::BOTH.map(|direction| chains.path(ipv6, direction)))
        }
        Ok(output) => {
            let complaint = Untrusted(output.complaint());
            Err(Text::truncated(&format!("{} -S failed: {complaint}", program.path())))
        }
        Err(error) => Err(Text::truncated(&error.to_string())),
    }
}

const USER_RULES: &str = "/etc/ufw/user.rules";
const USER6_RULES: &str = "/etc/ufw/user6.rules";
const CONF: &str = "/etc/ufw/ufw.conf";
const DEFAULTS: &str = "/etc/default/ufw";
/// What ufw itself looks for before it does IPv6.
const PROC_IPV6: &str = "/proc/sys/net/ipv6";
/// Bytes: 500,000 rules.
const MAX_FILE: u64 = 64 << 20;
/// Look-and-do rounds before giving up on a change.
const ROUNDS: usize = 3;
