//! Who is logged in over SSH: whom a false alert would lock out.

use std::collections::{BTreeSet, HashMap};
use std::env;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;

use procfs::net::{TcpNetEntry, TcpState, tcp, tcp6};
use procfs::process::{FDTarget, Process, all_processes};
use procfs::{ProcError, ProcResult};
use protocol::canonical;

use crate::ctl::init::host::is_reachable;

/// The remote addresses of the SSH sessions that are open now and logged in.
///
/// A connection that has not logged in yet does not count: on a host that is being attacked, that
/// is the attacker.
pub(super) fn peers() -> ProcResult<BTreeSet<IpAddr>> {
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
    // Through sudo there is no such variable; from a daemon of another name there is.
    let own = ["SSH_CONNECTION", "SSH_CLIENT"].into_iter().find_map(|name| env::var(name).ok());
    let peers = found.chain(own.as_deref().and_then(first_address));
    Ok(peers.map(canonical).filter(|peer| is_reachable(*peer)).collect())
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

/// `203.0.113.9 51234 203.0.113.10 22`.
fn first_address(variable: &str) -> Option<IpAddr> {
    variable.split_whitespace().next()?.parse().ok()
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
        assert_eq!(first_address("203.0.113.9 51234 203.0.113.10 22"), expected);
        assert_eq!(first_address("203.0.113.9 51234 22"), expected);
        assert_eq!(first_address(""), None);
        assert_eq!(first_address("nonsense"), None);
    }
}
