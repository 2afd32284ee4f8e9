//! What this process may do, reduced to what it needs and then looked at again.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;

use caps::{CapSet, Capability, CapsHashSet};
use landlock::{AccessFs, Ruleset, RulesetAttr, RulesetCreated, RulesetStatus, Scope};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::{self, AccessFlags, access};
use slog::{Logger, info, warn};

use firewall::program::Program;
use firewall::ufw::files::RulesFiles;
use firewall::ufw::lock;

/// Whether this is root at all: what comes before the capabilities are dropped needs it.
///
/// # Errors
/// It is not.
pub fn check_root() -> Result<(), PrivilegeError> {
    let root = unistd::geteuid().is_root();
    root.then_some(()).ok_or(PrivilegeError::Wrong(NOT_ROOT))
}

/// Keeps `CAP_NET_ADMIN` alone, for this process and every program it starts, and verifies it. A
/// legacy iptables works through a raw socket: with that, `CAP_NET_RAW` stays as well. Without `ufw`,
/// whose engine it is, no iptables is needed, but to take away what that held before.
///
/// Must run while the process has one thread: capabilities belong to threads.
///
/// # Errors
/// One of them is lacking, or any set does not read back as it was asked for.
pub fn drop_all_but_needed(ufw: bool) -> Result<(), PrivilegeError> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    let mut only = CapsHashSet::from([Capability::CAP_NET_ADMIN]);
    let raw = ufw || permitted.contains(&Capability::CAP_NET_RAW);
    if raw && Program::iptables_is_legacy() {
        only.insert(Capability::CAP_NET_RAW);
    }
    // A unit has done it all, and need not permit the calls.
    if verify(&only).is_ok() {
        return Ok(());
    }
    if !permitted.contains(&Capability::CAP_NET_ADMIN) {
        return Err(PrivilegeError::Wrong(NO_NET_ADMIN));
    }
    if !permitted.is_superset(&only) {
        return Err(PrivilegeError::Wrong(LEGACY));
    }
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETGID)? {
        unistd::setgroups(&[])?;
    }
    caps::clear(None, CapSet::Ambient)?;
    // uid 0 gains the whole bounding set at each exec (capabilities(7)), so this is what bounds
    // ufw and its children. Dropping from it needs CAP_SETPCAP; systemd has done it already.
    for capability in caps::read(None, CapSet::Bounding)? {
        if !only.contains(&capability) {
            caps::drop(None, CapSet::Bounding, capability)
                .map_err(|_| PrivilegeError::Wrong(TOO_MANY))?;
        }
    }
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &only)?;
    caps::set(None, CapSet::Permitted, &only)?;
    prctl::set_no_new_privs()?;
    verify(&only)
}

fn verify(only: &CapsHashSet) -> Result<(), PrivilegeError> {
    for (set, expected) in [
        (CapSet::Permitted, only),
        (CapSet::Effective, only),
        (CapSet::Bounding, only),
        (CapSet::Ambient, &CapsHashSet::new()),
    ] {
        if caps::read(None, set)? != *expected {
            return Err(PrivilegeError::NotDropped(set));
        }
    }
    // systemd 257 leaves there what the bounding set permits, 252 nothing.
    if !caps::read(None, CapSet::Inheritable)?.is_subset(only) {
        return Err(PrivilegeError::NotDropped(CapSet::Inheritable));
    }
    if prctl::get_no_new_privs()? { Ok(()) } else { Err(PrivilegeError::Wrong(NEW_PRIVILEGES)) }
}

/// Enters a Landlock domain, which every program it starts inherits: the kernel then refuses to trace
/// what is outside, and so `/proc/PID/root`, `fd` and `mem` of every other process. Through these uid 0
/// leaves the mount view, for that of any root process with no more capabilities. From kernel 6.12 on
/// signals and abstract sockets (systemd's own is a path) end at the domain as well.
///
/// There is no domain without a right that it governs. Files are governed by the mount view; so it
/// is one that lacks its capability anyway, and no path keeps it: to make block devices.
///
/// Must run while the process has one thread: domains belong to threads. Where the kernel lacks it,
/// this is said, and the daemon does without.
pub fn enter_domain(log: &Logger) {
    let entered = Ruleset::default()
        .handle_access(AccessFs::MakeBlock)
        .and_then(|ruleset| ruleset.scope(Scope::Signal | Scope::AbstractUnixSocket))
        .and_then(Ruleset::create)
        .and_then(RulesetCreated::restrict_self);
    match entered.map(|entered| entered.ruleset) {
        Ok(RulesetStatus::FullyEnforced) => info!(log, "confined by Landlock"),
        Ok(RulesetStatus::PartiallyEnforced) => info!(log, "confined by Landlock"; "but" => LATER),
        Ok(RulesetStatus::NotEnforced) => {
            warn!(log, "not confined by Landlock"; "why" => NO_LANDLOCK)
        }
        Err(error) => warn!(log, "not confined by Landlock"; "why" => %error),
    }
}

/// Checks that the mounts around this process close the ways that uid 0 has even without
/// capabilities: writing what root runs at boot, and asking PID 1 for a root shell (measured:
/// `systemd-run` from an otherwise strict sandbox gave one). And that they leave what the engine
/// needs, which may be `ufw`.
///
/// # Errors
/// The way that is still open, or what is lacking, and what mends it.
pub fn check_mount_view(ufw: bool) -> Result<(), PrivilegeError> {
    let none = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let problem = match OpenOptions::new().append(true).open(ROOT_AT_BOOT) {
        Ok(_) => UFW_WRITABLE,
        Err(error) if none(&error) && ufw => NO_UFW,
        Err(error) if none(&error) && access(ETC, AccessFlags::W_OK).is_ok() => ETC_WRITABLE,
        Err(_) if Path::new(INIT_SOCKET).exists() => INIT_REACHABLE,
        Err(_) if ufw && !RulesFiles::writable() => RULES_READ_ONLY,
        Err(_) if ufw && !lock::is_apart() => SAME_LOCK,
        Err(_) => return Ok(()),
    };
    Err(PrivilegeError::Wrong(problem))
}

/// Why the daemon must not start.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// Something about the process or its surroundings is wrong.
    #[error("{0}")]
    Wrong(&'static str),
    /// The capability calls failed.
    #[error("capabilities cannot be changed: {0}")]
    Caps(#[from] caps::errors::CapsError),
    /// Another system call failed.
    #[error("privileges cannot be dropped: {0}")]
    Call(#[from] Errno),
    /// A set reads back as something else.
    #[error("the {0:?} capability set is not what it was set to")]
    NotDropped(CapSet),
}

const NOT_ROOT: &str = "must be started as root (it keeps CAP_NET_ADMIN alone)";
const NO_NET_ADMIN: &str = "has no CAP_NET_ADMIN, which every change of the firewall takes; allow it in the unit or container";
const LEGACY: &str = "iptables is the legacy one here, which needs CAP_NET_RAW and more: \
    /usr/share/webhookd/iptables-legacy.conf allows it and says how to use it. Better go over to \
    nft: `update-alternatives --set iptables /usr/sbin/iptables-nft`, and the same for ip6tables";
const TOO_MANY: &str = "the unit or container permits more than CAP_NET_ADMIN, and not to drop it: \
    take away what was added (the drop-in iptables-legacy.conf, where iptables is nft's again)";
const NEW_PRIVILEGES: &str = "no_new_privs did not stay set";
const NO_UFW: &str = "/etc/ufw/before.rules is missing: install ufw (`apt install ufw`), or have \
    privd.toml say `firewall = \"nftables\"`";
const UFW_WRITABLE: &str = "/etc/ufw/before.rules is writable here: who takes this process over \
    is root at the next boot. Start it by its unit, or with /etc/ufw read-only but for user.rules \
    and user6.rules";
const ETC_WRITABLE: &str = "/etc is writable here: who takes this process over is root at the next \
    boot. Start it by its unit, or with a read-only /etc";
const INIT_REACHABLE: &str = "/run/systemd/private is visible here: PID 1 would start a root \
    shell for whoever takes this process over. Start it by its unit, or with a private /run";
const RULES_READ_ONLY: &str = "/etc/ufw/user.rules and user6.rules must be writable here: start it \
    by its unit, or bind both; where their disk has become \
    read-only, mend that, then `systemctl start webhook-privd`";
const SAME_LOCK: &str = "ufw's lock is not bound apart: /run/webhook-privd-lock/host must be the \
    host's /run/ufw.lock, and /run/ufw.lock a file of its own. Start it by its unit, or with these \
    binds; otherwise a rule that somebody adds beside a block could be lost";
const LATER: &str =
    "it may signal root's processes and reach abstract sockets: that takes kernel 6.12";
const NO_LANDLOCK: &str = "the kernel has none (before 5.13, or not in lsm=) or the unit forbids its \
    calls; whoever takes this process over gets out of its mount view";
/// ufw runs what stands here as root when it starts.
const ROOT_AT_BOOT: &str = "/etc/ufw/before.rules";
/// Much else that root runs at boot stands here, also where there is no ufw.
const ETC: &str = "/etc";
/// PID 1 trusts every uid 0 on it.
const INIT_SOCKET: &str = "/run/systemd/private";
