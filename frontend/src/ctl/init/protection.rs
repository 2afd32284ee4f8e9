//! Whom `init` puts into never-block: who is logged in now, and where this host's detection is fed
//! from.

use std::net::{IpAddr, ToSocketAddrs};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use protocol::canonical;
use serde::Serialize;

use crate::ctl::certificate::San;
use crate::ctl::init::outputs::{Named, Outputs};
use crate::ctl::machine::{Machine, is_reachable};
use crate::ctl::sessions::Sessions;

/// What was found, before anything is written.
#[derive(Debug, Default)]
pub(super) struct Protection {
    pub(super) entries: Vec<Entry>,
    /// Sentences for the operator.
    pub(super) notes: Vec<String>,
}

/// An address for never-block.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    pub(super) address: IpAddr,
    pub(super) why: String,
}

impl Protection {
    /// Looks around. A host that shows no processes, or whose resolver is away, is set up all the
    /// same.
    pub(super) fn of(machine: &Machine) -> Self {
        let mut protection = Self::default();
        match Sessions::now() {
            Ok(sessions) if sessions.peers.is_empty() => {
                protection.notes.push("No SSH session is open that would be protected.".to_owned());
            }
            Ok(sessions) => {
                for peer in sessions.peers {
                    protection.add(machine, peer, "who has an SSH session open now");
                }
            }
            Err(why) => {
                protection.notes.push(format!("SSH sessions could not be looked for: {why}."));
            }
        }
        let outputs = Outputs::read();
        protection.notes.extend(outputs.notes);
        for (named, addresses) in resolved(outputs.named, PATIENCE) {
            if addresses.is_empty() {
                protection.notes.push(format!(
                    "{}, {}, cannot be resolved now: never-block has no address of it.",
                    named.host, named.by
                ));
            }
            for address in addresses {
                let name = match &named.host {
                    San::Name(name) => format!(" ({name})"),
                    San::Address(_) => String::new(),
                };
                protection.add(machine, address, &format!("{}{name}", named.by));
            }
        }
        protection
    }

    /// What this host has itself is never blocked in any case.
    fn add(&mut self, machine: &Machine, address: IpAddr, why: &str) {
        let address = canonical(address);
        let known = self.entries.iter().any(|entry| entry.address == address);
        if !known && is_reachable(address) && !machine.has(address) {
            self.entries.push(Entry { address, why: why.to_owned() });
        }
    }
}

/// The addresses of each, by the host's own resolver; none for a name that it does not find in time.
fn resolved(named: Vec<Named>, patience: Duration) -> Vec<(Named, Vec<IpAddr>)> {
    let deadline = Instant::now().checked_add(patience).unwrap_or_else(Instant::now);
    let asked = named.into_iter().take(MOST_NAMES).map(|named| {
        let (sender, answer) = channel();
        let host = named.host.clone();
        // The resolver has no deadline of ours. What it has not answered ends with the command.
        std::thread::spawn(move || {
            let _ = sender.send(look_up(&host));
        });
        (named, answer)
    });
    // Asked all at once, then waited for.
    let asked: Vec<_> = asked.collect();
    let waited = asked.into_iter().map(|(named, answer)| {
        let left = deadline.saturating_duration_since(Instant::now());
        (named, answer.recv_timeout(left).unwrap_or_default())
    });
    waited.collect()
}

fn look_up(host: &San) -> Vec<IpAddr> {
    match host {
        San::Address(address) => vec![*address],
        San::Name(name) => {
            let found = (name.as_str(), 0).to_socket_addrs();
            let mut addresses: Vec<IpAddr> =
                found.into_iter().flatten().map(|found| found.ip()).collect();
            addresses.sort_unstable();
            addresses.dedup();
            addresses.truncate(MOST_ADDRESSES);
            addresses
        }
    }
}

/// For all names together: an installation waits for this.
const PATIENCE: Duration = Duration::from_secs(5);
/// A cluster names some of its nodes, not all.
const MOST_NAMES: usize = 64;
/// Of one name.
const MOST_ADDRESSES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn named(host: &str) -> Named {
        Named { host: host.parse().unwrap(), by: "Filebeat's output".into() }
    }

    #[test]
    fn an_address_needs_no_resolver_and_a_name_that_is_none_has_no_address() {
        let found = resolved(vec![named("192.0.2.5"), named("no-such-host.invalid")], PATIENCE);
        let addresses: Vec<Vec<IpAddr>> = found.into_iter().map(|found| found.1).collect();
        assert_eq!(addresses, [vec!["192.0.2.5".parse::<IpAddr>().unwrap()], vec![]]);
    }

    #[test]
    fn what_the_host_has_itself_and_what_is_known_needs_no_entry() {
        let machine = Machine::with("srv", &[], &["203.0.113.10"]);
        let mut protection = Protection::default();
        for address in
            ["203.0.113.10", "127.0.0.1", "198.51.100.1", "::ffff:198.51.100.1", "fe80::1"]
        {
            protection.add(&machine, address.parse().unwrap(), "why");
        }
        let entries: Vec<String> =
            protection.entries.iter().map(|entry| entry.address.to_string()).collect();
        assert_eq!(entries, ["198.51.100.1"]);
    }
}
