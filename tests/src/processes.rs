//! Processes of somebody else's: found, watched, killed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::until;

/// Waits for a child whose name begins so.
#[must_use]
pub fn child_of(parent: u32, name: &str) -> u32 {
    let mut found = None;
    until(&format!("process {parent} runs {name}"), 20, || {
        found = children(parent).into_iter().find(|child| name_of(*child).starts_with(name));
        found.is_some()
    });
    found.unwrap()
}

/// All below a process.
#[must_use]
pub fn descendants(parent: u32) -> Vec<u32> {
    let children = children(parent);
    let below: Vec<u32> = children.iter().flat_map(|child| descendants(*child)).collect();
    [children, below].concat()
}

/// The children of all its threads.
fn children(parent: u32) -> Vec<u32> {
    let lists = of_threads(parent, "children");
    lists.iter().flat_map(|list| list.split_whitespace()).map(|pid| pid.parse().unwrap()).collect()
}

/// What a file in /proc tells of each of its threads.
fn of_threads(pid: u32, file: &str) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.filter_map(|thread| fs::read_to_string(thread.path().join(file)).ok()).collect()
}

fn name_of(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default()
}

/// How many descriptors it has open; None: it has ended.
#[must_use]
pub fn descriptors(pid: u32) -> Option<usize> {
    Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count())
}

/// KiB that it has in memory: `VmRSS` now, `VmHWM` at most so far; None: it has ended.
#[must_use]
pub fn memory(pid: u32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// Sets a soft limit, which prlimit(1) can raise again, of a process that may be gone; as its own user,
/// since a container's root may be without CAP_SYS_RESOURCE.
///
/// # Panics
/// There is no such limit.
pub fn limit(pid: u32, what: &str, most: u64) {
    let most = if most == u64::MAX { "unlimited".to_owned() } else { most.to_string() };
    let (uid, gid) = fs::metadata(format!("/proc/{pid}"))
        .map_or((0, 0), |process| (process.uid(), process.gid()));
    let arguments = [format!("--pid={pid}"), format!("--{what}={most}:")];
    let mut prlimit = Command::new("prlimit");
    let output = prlimit.args(arguments).uid(uid).gid(gid).output().unwrap();
    assert!(output.status.success() || !runs(pid), "{output:?}");
}

/// Waits until it has ended, whoever reaps it.
pub fn ended(pid: u32) {
    until(&format!("process {pid} ends"), 30, || !runs(pid));
}

/// Waits until a process has no thread of this name any more.
pub fn thread_ended(pid: u32, name: &str) {
    until(&format!("{name} of process {pid} ends"), 30, || {
        !of_threads(pid, "comm").iter().any(|comm| comm.trim_end() == name)
    });
}

/// Whether it has not ended.
#[must_use]
pub fn runs(pid: u32) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !state.is_empty() && !state.contains(") Z ")
}

/// Waits until it waits for a file's lock.
pub fn waits_for_a_lock(pid: u32) {
    let words = format!(" {pid} ");
    until(&format!("process {pid} waits for a lock"), 20, || {
        let locks = fs::read_to_string("/proc/locks").unwrap();
        locks.lines().any(|lock| lock.contains("-> ") && lock.contains(&words))
    });
}

/// Sends a signal; a process that is gone takes none.
pub fn signal(pid: u32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid.try_into().unwrap()), signal);
}
