//! One look at everything that makes a block a block: the rules files and the kernel.

use std::fs;
use std::os::unix::fs::MetadataExt;

use hosttext::Direction;
use hosttext::chains::{KernelStanding, Path};
use hosttext::rules_file::{FileStanding, RulesFile};
use hosttext::settings;
use protocol::{Target, Text, Untrusted};

use crate::program::Program;
use crate::ufw::files::{self, CONF, RULES, Unreadable, complaint};
use crate::{Allowed, Effect};

/// What was read.
#[derive(Debug)]
pub struct View {
    /// IPv4, then IPv6 where ufw does any.
    pub families: Vec<Family>,
    /// Whether the kernel was read too.
    pub kernel_read: bool,
    /// The state of the files just before they were read: a write since makes it old.
    pub stamp: FileStates,
    /// Chains that a killed ufw left behind, with the program that shows them.
    pub strays: Vec<(Program, String)>,
}

/// One rules file, and the ways of packets where the kernel was read: out, then in.
#[derive(Debug)]
pub struct Family {
    /// The file.
    pub rules: RulesFile,
    paths: Option<[Path; 2]>,
}

/// Why there is no view.
#[derive(Debug)]
pub enum Blind {
    /// This file (0 is IPv4, 1 is IPv6) is not whole, or is just being written.
    Damaged(usize, Text),
    /// In words.
    Failed(Text),
}

impl View {
    /// Reads the files and, if asked to, the kernel.
    ///
    /// # Errors
    /// A file is damaged, or something cannot be read.
    pub fn read(kernel: bool) -> Result<Self, Blind> {
        let ipv6 = setting(DEFAULTS, "IPV6").map_err(Blind::Failed)?.as_deref() == Some("yes")
            && fs::exists(PROC_IPV6).unwrap_or(false);
        let stamp = FileStates::now();
        let mut view =
            Self { families: Vec::new(), kernel_read: kernel, stamp, strays: Vec::new() };
        for which in 0..=usize::from(ipv6) {
            let rules = files::read(which).map_err(|problem| match problem {
                Unreadable::Damaged(damage) => Blind::Damaged(
                    which,
                    Text::truncated(&format!("{} {damage}", files::path(which))),
                ),
                Unreadable::Failed(error) => Blind::Failed(complaint(files::path(which), &error)),
            })?;
            let paths =
                if kernel { Some(view.paths(which == 1).map_err(Blind::Failed)?) } else { None };
            view.families.push(Family { rules, paths });
        }
        Ok(view)
    }

    fn paths(&mut self, ipv6: bool) -> Result<[Path; 2], Text> {
        let program = if ipv6 { Program::Ip6tables } else { Program::Iptables };
        match program.run(&["-S"]) {
            Ok(output) if output.success => {
                let strays = Path::strays(&output.text).map(|chain| (program, chain.to_owned()));
                self.strays.extend(strays);
                Ok(Path::both(&output.text, ipv6))
            }
            Ok(output) => Err(complaint(program.path(), &Untrusted(output.complaint()))),
            Err(error) => Err(Text::truncated(&error.to_string())),
        }
    }

    /// The family of a target; None: ufw does no IPv6 here.
    pub fn of(&self, target: Target) -> Option<&Family> {
        self.families.get(usize::from(target.is_ipv6()))
    }

    /// Whether ufw's chains are in the kernel and reached.
    ///
    /// # Errors
    /// They are not.
    pub fn health(&self) -> Result<(), Text> {
        for path in self.families.iter().flat_map(|family| &family.paths).flatten() {
            // Any address does: only the way to ufw's chain is looked at.
            let problem = match path.standing(Target::host([192, 0, 2, 1].into())) {
                KernelStanding::NoChain => "are not in the kernel",
                KernelStanding::NotReached => "are not reached by packets",
                _ => continue,
            };
            return Err(Text::truncated(&format!(
                "ufw's chains {problem}: another program flushed them; {START_ANEW}"
            )));
        }
        Ok(())
    }

    /// Whom the administrator's rules let in.
    pub fn allowed_sources(&self) -> Vec<Allowed> {
        let rules = self.families.iter().flat_map(|family| family.rules.allowed_sources());
        rules.map(|(net, tuple)| Allowed { net, rule: tuple.text().to_owned() }).collect()
    }

    /// Whether there is a rule for exactly this target already.
    pub fn knows(&self, target: Target) -> bool {
        let present = |direction: &Direction| {
            let standing = self.of(target).map(|family| family.rules.standing(target, *direction));
            standing.is_some_and(|standing| standing != FileStanding::Absent)
        };
        Direction::BOTH.iter().any(present)
    }

    /// How a block stands. `ran`: a run of this batch was about it; `failed`: what went wrong in it.
    pub fn block_effect(&self, target: Target, ran: bool, failed: Option<&Text>) -> Effect {
        let Some(family) = self.of(target) else {
            return Effect::Unavailable(Text::truncated(
                "IPv6 is off in ufw; set IPV6=yes in /etc/default/ufw, then run `ufw reload`",
            ));
        };
        let obstacle =
            Direction::BOTH.into_iter().find_map(|direction| family.obstacle(target, direction));
        match (obstacle, failed) {
            (None, _) if ran => Effect::Done(Text::default()),
            (None, _) => Effect::Already(Text::default()),
            (Some(Effect::Unverified(_)), Some(failure)) => Effect::Failed(failure.clone()),
            (Some(obstacle), _) => obstacle,
        }
    }

    /// How a lift stands.
    pub fn lift_effect(&self, target: Target, ran: bool, failed: Option<&Text>) -> Effect {
        let mut remains = Text::default();
        for (direction, family) in Direction::BOTH.into_iter().zip([self.of(target); 2]) {
            let Some(family) = family else { continue };
            let problem = match family.rules.standing(target, direction) {
                FileStanding::First(tuple) | FileStanding::Late(tuple)
                    if tuple.mark().is_none() =>
                {
                    let rule = Untrusted(tuple.text());
                    let words = format!("the administrator's rule `{rule}` still blocks it");
                    remains = Text::truncated(&words);
                    continue;
                }
                FileStanding::First(_) | FileStanding::Late(_) => "in ufw's rules file",
                _ if family.kernel(target, direction) == Some(KernelStanding::Dropped) => {
                    "in the kernel"
                }
                _ => continue,
            };
            let words = Text::truncated(&format!("our rule is still {problem}"));
            return Effect::Failed(failed.cloned().unwrap_or(words));
        }
        if ran { Effect::Done(remains) } else { Effect::Already(remains) }
    }
}

impl Family {
    /// How the kernel stands to a block; None where it was not read.
    pub fn kernel(&self, target: Target, direction: Direction) -> Option<KernelStanding<'_>> {
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
                format!("nothing leads to ufw's chains: {START_ANEW}")
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
pub struct FileStates(Vec<Option<(u64, u64, i64, i64)>>);

impl FileStates {
    /// The state of the files now.
    pub fn now() -> Self {
        let identity = |path: &&str| {
            let file = fs::metadata(path).ok()?;
            Some((file.ino(), file.size(), file.ctime(), file.ctime_nsec()))
        };
        let files = RULES.iter().chain(&OTHERS);
        Self(files.map(identity).collect())
    }
}

/// Whether ufw is on.
///
/// # Errors
/// It is not, and what to run.
pub fn enabled() -> Result<(), Text> {
    if setting(CONF, "ENABLED")?.as_deref() == Some("yes") {
        Ok(())
    } else {
        Err(Text::truncated("ufw is inactive: run `ufw allow OpenSSH`, then `ufw enable`"))
    }
}

fn setting(path: &str, name: &str) -> Result<Option<String>, Text> {
    let bytes = files::bytes_of(path).map_err(|error| complaint(path, &error))?;
    Ok(settings::value(&String::from_utf8_lossy(&bytes), name))
}

const DEFAULTS: &str = "/etc/default/ufw";
/// What else decides how packets go, beside the rules files.
const OTHERS: [&str; 4] = [CONF, DEFAULTS, "/etc/ufw/before.rules", "/etc/ufw/before6.rules"];
/// What ufw itself looks for before it does IPv6.
const PROC_IPV6: &str = "/proc/sys/net/ipv6";

/// `ufw reload` alone does not: where a chain of its own still stands it adds none of the jumps, and
/// closes INPUT for everybody (measured).
const START_ANEW: &str = "run `/lib/ufw/ufw-init flush-all`, then `ufw reload`";
