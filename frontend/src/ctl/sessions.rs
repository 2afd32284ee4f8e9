//! Who is logged in over SSH: whom a false alert would lock out.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;

use procfs::net::{TcpNetEntry, TcpState, tcp, tcp6};
use procfs::process::{FDTarget, Process, all_processes};
use procfs::{ProcError, ProcResult};
use protocol::canonical;

use crate::ctl::machine::is_reachable;

/// The SSH sessions of one moment.
pub(super) struct Sessions {
    /// The other ends of all, the asker's too.
    pub(super) peers: BTreeSet<IpAddr>,
    /// Where who asks is logged in from.
    pub(super) own: Option<IpAddr>,
}

impl Sessions {
    /// Those that are open now and logged in.
    ///
    /// A connection that has not logged in yet does not count: on a host that is being attacked, that
    /// is the attacker.
    pub(super) fn now() -> ProcResult<Self> {
        let mut remote = HashMap::new();
        for table in [tcp(), tcp6()] {
            let entries = match table {
                // A host without IPv6.
                Err(ProcError::NotFound(_)) => continue,
                entries => entries?,
            };
            remote.extend(entries.iter().filter_map(established));
        }
        // A process that ended, or is not ours to look at, has no session.
        let processes = all_processes()?.flatten().filter(is_session);
        let found = processes.filter_map(|process| connection(&process, &remote));
        let reachable = |peer: IpAddr| Some(canonical(peer)).filter(|peer| is_reachable(*peer));
        // A daemon of another name than OpenSSH's leaves it as well.
        let own = ancestors().find_map(|process| ssh_client(&process)).and_then(reachable);
        Ok(Self { peers: found.filter_map(reachable).chain(own).collect(), own })
    }
}

/// This process and those above it: sudo clears the environment, the login shell still has it.
fn ancestors() -> impl Iterator<Item = Process> {
    let parent = |process: &Process| Process::new(process.stat().ok()?.ppid).ok();
    std::iter::successors(Process::myself().ok(), parent)
}

/// `SSH_CONNECTION=CLIENT PORT SERVER PORT`, as sshd(8) tells the shell that it starts.
fn ssh_client(process: &Process) -> Option<IpAddr> {
    let variables = process.environ().ok()?;
    client(variables.get(OsStr::new("SSH_CONNECTION"))?.to_str()?)
}

/// A link-local address carries its zone.
fn client(variable: &str) -> Option<IpAddr> {
    variable.split_whitespace().next()?.split('%').next()?.parse().ok()
}

fn established(entry: &TcpNetEntry) -> Option<(u64, IpAddr)> {
    (entry.state == TcpState::Established).then(|| (entry.inode, entry.remote_address.ip()))
}

/// Whether it is an sshd that serves somebody who is logged in. The program must be root's: any
/// user can name a process as he likes.
fn is_session(process: &Process) -> bool {
    let served = || {
        let program = process.exe().ok()?;
        // So the kernel shows it after an upgrade.
        let name = program.file_name()?.to_str()?.trim_end_matches(" (deleted)").to_owned();
        let owner = std::fs::metadata(format!("/proc/{}/exe", process.pid())).ok()?.uid();
        let title = process.cmdline().ok()?.join(" ");
        Some(owner == 0 && PROGRAMS.contains(&name.as_str()) && is_logged_in(&name, &title))
    };
    served().unwrap_or(false)
}

/// What sshd calls itself: `sshd: root@pts/0`, `sshd: root@notty`, `sshd: root`; before the login
/// and for what is no session `sshd: [accepted]`, `sshd: root [net]`, `sshd: root [priv]`,
/// `sshd: /usr/sbin/sshd -D [listener] ...`.
fn is_logged_in(name: &str, title: &str) -> bool {
    let who = title.strip_prefix(name).and_then(|title| title.strip_prefix(": "));
    who.is_some_and(|who| !who.starts_with('[') && !who.contains(" ["))
}

/// The connection that a session came in by is the first it opened; forwarded ones come later.
fn connection(process: &Process, remote: &HashMap<u64, IpAddr>) -> Option<IpAddr> {
    let open = process.fd().ok()?.flatten().filter_map(|open| match open.target {
        FDTarget::Socket(inode) => remote.get(&inode).map(|peer| (open.fd, *peer)),
        _ => None,
    });
    open.min_by_key(|(descriptor, _)| *descriptor).map(|(_, peer)| peer)
}

/// OpenSSH's, before and from 9.8.
const PROGRAMS: [&str; 2] = ["sshd", "sshd-session"];

#[cfg(test)]
mod tests {
    use super::*;

    /// As OpenSSH 9.2 showed them.
    #[test]
    fn only_who_is_logged_in_has_a_session() {
        for (title, logged_in) in [
            ("sshd: root@pts/0", true),
            ("sshd: root@notty\0\0", true),
            ("sshd: root", true),
            ("sshd: anna@example.org@pts/1", true),
            ("sshd: [accepted]", false),
            ("sshd: [net]", false),
            ("sshd: root [net]", false),
            ("sshd: anna@example.org [priv]", false),
            ("sshd: anna@example.org [net]      ", false),
            ("sshd: unknown [priv]", false),
            ("sshd: /usr/sbin/sshd -D [listener] 1 of 10-100 startups", false),
            ("/usr/sbin/sshd -D -R", false),
            ("sshd-session: root@pts/0", false),
            ("", false),
        ] {
            assert_eq!(is_logged_in("sshd", title), logged_in, "{title}");
        }
        assert!(is_logged_in("sshd-session", "sshd-session: root@pts/0"));
    }

    #[test]
    fn the_environment_names_the_client_first() {
        let expected = Some("203.0.113.9".parse().unwrap());
        assert_eq!(client("203.0.113.9 51234 203.0.113.10 22"), expected);
        assert_eq!(client("fe80::1%eth0 1 fe80::2%eth0 22"), "fe80::1".parse().ok());
        assert_eq!(client(""), None);
        assert_eq!(client("nonsense"), None);
    }

    #[test]
    fn the_processes_above_are_asked_up_to_the_first() {
        let pids: Vec<i32> = ancestors().map(|process| process.pid).collect();
        assert!(pids.len() > 1, "{pids:?}");
    }
}
