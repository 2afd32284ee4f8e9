//! The daemons as they run: their capabilities as the kernel has them, and what they see of the
//! host. A unit that was edited, or is not used, shows here.

use std::fs;
use std::path::Path;

use landlock::{AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, Scope};

use crate::ctl::check::finding::{Finding, Findings, Unmade};
use crate::ctl::check::host::Host;
use crate::ctl::check::{firewall, units};
use crate::ctl::outside::{Unreadable, read};

pub(super) fn confinement(host: &Host) -> Findings {
    let mut findings = privd(host.status()?.pid)?;
    if Host::is_booted() {
        findings.extend(match units::main_pid("webhookd.service") {
            Some(pid) => frontend(pid)?,
            None => vec![Finding::problem("webhookd does not run", "systemctl start webhookd")],
        });
    } else {
        findings.push(Finding::note("webhookd was not looked at: systemd does not run here"));
    }
    findings.extend(landlock());
    Ok(findings)
}

/// What the daemons take from themselves, so far as the kernel and their units let them. It does not
/// show on a process: they log it.
fn landlock() -> Vec<Finding> {
    let kernel = || Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    if kernel().handle_access(AccessFs::Execute).is_err() {
        return vec![Finding::note(NO_LANDLOCK)];
    }
    let units = ["webhookd", "webhook-privd"];
    let forbidding = units.into_iter().filter(|unit| units::forbids_landlock(unit));
    let forbidding = forbidding.map(|unit| {
        let what = format!("the unit of {unit} forbids landlock_restrict_self");
        Finding::problem(what, mend(unit))
    });
    let mut findings: Vec<Finding> = forbidding.collect();
    if findings.is_empty() {
        let connections = kernel().handle_access(AccessNet::ConnectTcp).is_ok();
        let signals = kernel().scope(Scope::Signal).is_ok();
        findings.push(match (connections, signals) {
            (_, true) => Finding::ok(format!("{LANDLOCK}, connections, signals")),
            (true, false) => Finding::ok(format!("{LANDLOCK}, connections (6.12: signals too)")),
            (false, false) => {
                Finding::ok(format!("{LANDLOCK} (6.7: connections too; 6.12: signals)"))
            }
        });
    }
    findings
}

fn privd(pid: u32) -> Findings {
    let raw = if firewall::is_legacy_here()? { NET_RAW } else { 0 };
    let mut wrong = judge(&Process::read(pid)?, NET_ADMIN | raw, Host::is_booted());
    let private = format!("/proc/{pid}/root/run/systemd/private");
    if Path::new(&private).exists() {
        wrong.push("sees PID 1's socket, /run/systemd/private: a root shell for who asks".into());
    }
    let mounts = read(format!("/proc/{pid}/mountinfo"))?;
    if !is_read_only(&mounts, ROOT_AT_BOOT) {
        wrong.push(format!("can write {ROOT_AT_BOOT}, which root runs at the next boot"));
    }
    Ok(told("webhook-privd", pid, "CAP_NET_ADMIN alone, /run and /etc closed to it", wrong))
}

fn frontend(pid: u32) -> Findings {
    let mut wrong = judge(&Process::read(pid)?, 0, true);
    let network = |pid: &str| {
        let path = format!("/proc/{pid}/ns/net");
        fs::read_link(&path).map_err(|source| Unreadable { path: path.into(), source })
    };
    if network(&pid.to_string())? == network("self")? {
        wrong.push("has the host's network: it can connect anywhere".into());
    }
    Ok(told("webhookd", pid, "no capability, and no network but its listener", wrong))
}

fn told(name: &str, pid: u32, well: &str, wrong: Vec<String>) -> Vec<Finding> {
    let mend = mend(name);
    let told = wrong.into_iter().map(|what| format!("{name} (pid {pid}) {what}"));
    let mut findings: Vec<Finding> = told.map(|what| Finding::problem(what, &*mend)).collect();
    if findings.is_empty() {
        findings.push(Finding::ok(format!("{name} (pid {pid}): {well}")));
    }
    findings
}

fn mend(name: &str) -> String {
    format!("systemctl cat {name}.service, undo what was added\nsystemctl restart {name}")
}

/// Whether privd may use raw sockets as it runs.
pub(super) fn privd_has_net_raw(host: &Host) -> bool {
    let process = host.status().and_then(|status| Process::read(status.pid));
    process.is_ok_and(|process| process.bounding & NET_RAW != 0)
}

/// What the kernel says of a process.
#[derive(Debug, Default)]
struct Process {
    effective: u64,
    permitted: u64,
    bounding: u64,
    no_new_privileges: bool,
    filtered: bool,
}

impl Process {
    fn read(pid: u32) -> Result<Self, Unmade> {
        Ok(Self::parse(&read(format!("/proc/{pid}/status"))?))
    }

    /// proc(5). What is missing counts as the worst.
    fn parse(text: &str) -> Self {
        let field = |name| {
            let mut lines = text.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim())
        };
        let set = |name| {
            field(name).and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(u64::MAX)
        };
        Self {
            effective: set("CapEff"),
            permitted: set("CapPrm"),
            bounding: set("CapBnd"),
            no_new_privileges: field("NoNewPrivs") == Some("1"),
            filtered: field("Seccomp") == Some("2"),
        }
    }
}

fn judge(process: &Process, expected: u64, filter_expected: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for (set, held) in
        [("CapEff", process.effective), ("CapPrm", process.permitted), ("CapBnd", process.bounding)]
    {
        if held != expected {
            wrong.push(format!("has {set} {held:x} instead of {expected:x}"));
        }
    }
    if !process.no_new_privileges {
        wrong.push("may gain privileges (NoNewPrivs 0)".into());
    }
    if filter_expected && !process.filtered {
        wrong.push("may use every system call (Seccomp 0)".into());
    }
    wrong
}

/// Whether the mount that holds the path, by mountinfo of proc(5), is read-only. Mounts made later
/// stand later, and hide what was there.
fn is_read_only(mounts: &str, path: &str) -> bool {
    let mut best: Option<(usize, bool)> = None;
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(4);
        let (Some(point), Some(options)) = (fields.next(), fields.next()) else { continue };
        let longer = best.is_none_or(|(length, _)| point.len() >= length);
        if Path::new(path).starts_with(point) && longer {
            best = Some((point.len(), options.split(',').any(|option| option == "ro")));
        }
    }
    best.is_some_and(|(_, read_only)| read_only)
}

const LANDLOCK: &str = "Landlock of this kernel closes: other processes' files";
const NO_LANDLOCK: &str = "the kernel has no Landlock (5.13, and `landlock` in lsm=): webhook-privd, \
    taken over, would get out of its mount view, and webhookd could make its listener a connection";
const NET_ADMIN: u64 = 1 << 12;
const NET_RAW: u64 = 1 << 13;
/// ufw runs what stands here as root when it starts.
const ROOT_AT_BOOT: &str = "/etc/ufw/before.rules";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_is_held_against_what_is_promised() {
        let text = "Name:\tx\nCapPrm:\t0000000000001000\nCapEff:\t0000000000001000\n\
            CapBnd:\t0000000000001000\nNoNewPrivs:\t1\nSeccomp:\t2\n";
        assert_eq!(judge(&Process::parse(text), NET_ADMIN, true), Vec::<String>::new());
        assert_eq!(judge(&Process::parse(text), 0, true).len(), 3);
        let wrong =
            judge(&Process::parse(&text.replace("Seccomp:\t2", "Seccomp:\t0")), NET_ADMIN, true);
        assert_eq!(wrong, ["may use every system call (Seccomp 0)"]);
        let wrong =
            judge(&Process::parse(&text.replace("CapBnd:\t0", "CapBnd:\t8")), NET_ADMIN, true);
        assert_eq!(wrong, ["has CapBnd 8000000000001000 instead of 1000"]);
        assert_eq!(judge(&Process::parse(""), NET_ADMIN, true).len(), 5);
    }

    #[test]
    fn the_mount_that_holds_a_path_decides() {
        let mounts = "1 0 8:1 / / rw,relatime - ext4 /dev/a rw\n\
            2 1 8:1 /etc /etc ro,relatime - ext4 /dev/a rw\n\
            3 2 8:1 /etc/ufw/user.rules /etc/ufw/user.rules rw - ext4 /dev/a rw\n";
        assert!(is_read_only(mounts, ROOT_AT_BOOT));
        assert!(!is_read_only(mounts, "/etc/ufw/user.rules"));
        assert!(!is_read_only(mounts, "/etcetera"));
        let again = format!("{mounts}4 2 8:1 /etc/ufw /etc/ufw rw - ext4 /dev/a rw\n");
        assert!(!is_read_only(&again, ROOT_AT_BOOT));
        assert!(!is_read_only("", ROOT_AT_BOOT));
    }
}
