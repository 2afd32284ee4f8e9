//! What webhookd takes from itself once it has its listener, beside what its unit takes: nobody else
//! can say it, as systemd has no directive for either.
//!
//! The listener is a socket of the host's network. Shut down, it could be made a connection to
//! anybody. Landlock refuses that to connect(2); TCP Fast Open connects by sending, where Landlock
//! does not look (tried on 6.18), and so the flag that asks for it is refused by a filter of ours.

use std::collections::BTreeMap;

use landlock::{
    AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetCreated, RulesetError, RulesetStatus, Scope,
};
use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use slog::{Logger, info, warn};

/// Gives up for good what serving never needs. Where the kernel lacks some of it, this is said, and
/// webhookd does without.
///
/// Must run while the process has one thread: both belong to threads, and new ones inherit them.
pub fn enter(log: &Logger) {
    if let Err(error) = refuse_fast_open() {
        warn!(log, "TCP Fast Open is not refused"; "why" => %error);
    }
    match enter_domain() {
        Ok(RulesetStatus::FullyEnforced) => info!(log, "confined by Landlock"),
        Ok(RulesetStatus::PartiallyEnforced) => {
            info!(log, "confined by Landlock, as far as this kernel has it"; "but" => LATER)
        }
        Ok(RulesetStatus::NotEnforced) => {
            warn!(log, "not confined by Landlock"; "why" => NO_LANDLOCK)
        }
        Err(error) => warn!(log, "not confined by Landlock"; "why" => %error),
    }
}

/// A Landlock domain that starts no program (kernel 5.13), connects and binds no TCP socket (6.7),
/// and whose signals and abstract sockets end at it (6.12; systemd's own is a path). What it may
/// read and write is for the unit's mounts.
fn enter_domain() -> Result<RulesetStatus, RulesetError> {
    let entered = Ruleset::default()
        .handle_access(AccessFs::Execute)?
        .handle_access(AccessNet::ConnectTcp | AccessNet::BindTcp)?
        .scope(Scope::Signal | Scope::AbstractUnixSocket)?
        .create()
        .and_then(RulesetCreated::restrict_self)?;
    Ok(entered.ruleset)
}

/// Every call that sends with flags. io_uring, which would go around the filter, is refused by
/// the unit.
fn refuse_fast_open() -> Result<(), seccompiler::Error> {
    let flag = u64::try_from(libc::MSG_FASTOPEN).unwrap_or_default();
    let refused = |argument| -> Result<Vec<SeccompRule>, seccompiler::Error> {
        let asked = SeccompCmpOp::MaskedEq(flag);
        let asked = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, asked, flag)?;
        Ok(vec![SeccompRule::new(vec![asked])?])
    };
    let rules = BTreeMap::from([
        (libc::SYS_sendto, refused(3)?),
        (libc::SYS_sendmsg, refused(2)?),
        (libc::SYS_sendmmsg, refused(3)?),
    ]);
    let refusal = SeccompAction::Errno(u32::try_from(libc::EACCES).unwrap_or_default());
    let architecture = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal, architecture)?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)
}

const LATER: &str =
    "connections are refused from kernel 6.7 on, signals and abstract sockets from 6.12";
const NO_LANDLOCK: &str = "the kernel has none (before 5.13, or not in lsm=) or the unit forbids its \
    calls; whoever takes this process over makes its listener a connection to anybody";

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::{Ipv4Addr, SocketAddr, TcpListener};
    use std::os::fd::AsRawFd;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};
    use std::process::Command;
    use std::thread;

    use landlock::{CompatLevel, Compatible};
    use nix::sys::signal::kill;
    use nix::sys::socket::{MsgFlags, Shutdown, SockaddrIn, connect, sendto, shutdown};
    use nix::unistd::Pid;

    use super::*;

    fn listen() -> io::Result<TcpListener> {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
    }

    /// What who took webhookd over tries, and the error that it gets, in a thread that one which may
    /// have been confined starts: as workers are started.
    fn tried(confined: bool) -> [Option<i32>; 6] {
        let attempts = move || {
            let [connecting, sending, other] = [(); 3].map(|()| listen().unwrap());
            let SocketAddr::V4(address) = other.local_addr().unwrap() else { panic!() };
            let address = SockaddrIn::from(address);
            let name = format!("webhookd-test-{}-{confined}", std::process::id());
            let name = UnixAddr::from_abstract_name(name).unwrap();
            let _engine = UnixListener::bind_addr(&name).unwrap();
            if confined {
                enter(&Logger::root(slog::Discard, slog::o!()));
            }
            let attempts = move || {
                let fast_open = MsgFlags::from_bits_retain(libc::MSG_FASTOPEN);
                for own in [&connecting, &sending] {
                    shutdown(own.as_raw_fd(), Shutdown::Both).unwrap();
                }
                [
                    connect(connecting.as_raw_fd(), &address).map_err(io::Error::from).err(),
                    sendto(sending.as_raw_fd(), b"hello", &address, fast_open)
                        .map_err(io::Error::from)
                        .err(),
                    listen().err(),
                    Command::new("true").status().err(),
                    kill(Pid::parent(), None).map_err(io::Error::from).err(),
                    UnixStream::connect_addr(&name).err(),
                ]
            };
            thread::spawn(attempts).join().unwrap()
        };
        let errors = thread::spawn(attempts).join().unwrap();
        errors.map(|error| error.and_then(|error| error.raw_os_error()))
    }

    #[test]
    fn nobody_is_connected_to_and_no_program_is_started_or_signalled() {
        let kernel = || Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        let from_6_7_on = kernel().handle_access(AccessNet::ConnectTcp).ok().map(|_| libc::EACCES);
        let from_6_12_on = kernel().scope(Scope::Signal).ok().map(|_| libc::EPERM);
        let refused = Some(libc::EACCES);
        assert_eq!(tried(false), [None; 6]);
        let expected = [from_6_7_on, refused, from_6_7_on, refused, from_6_12_on, from_6_12_on];
        assert_eq!(tried(true), expected);
    }
}
