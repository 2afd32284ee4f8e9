//! Ends the connections that a new block would otherwise leave alive.
//!
//! ufw's before.rules accept packets of established connections ahead of every deny (measured), so
//! a block needs its entries in the connection table gone, in both directions: on the next packet
//! from either side the flow counts as new and meets the drop.

use std::collections::HashSet;
use std::net::IpAddr;

use hosttext::connections;
use protocol::{Target, Text};

use crate::program::Program;

/// Forgets every connection from and to the targets; for each, what stopped it.
pub fn cut(targets: &[Target]) -> Vec<Text> {
    // Two programs a target are quicker than a listing only for a few.
    let open = if targets.len() > FEW { [open("ipv4"), open("ipv6")] } else { [None, None] };
    let cut = |target: &Target| {
        let known = open.get(usize::from(target.is_ipv6())).and_then(Option::as_ref);
        let connected = |open: &Addresses| match target.is_host() {
            true => open.contains(&target.net().addr()),
            false => open.iter().any(|one| target.net().contains(one)),
        };
        if known.is_none_or(connected) { forget(*target).err() } else { None }.unwrap_or_default()
    };
    targets.iter().map(cut).collect()
}

type Addresses = HashSet<IpAddr>;

/// Everyone with a connection; None if they cannot be listed.
fn open(family: &str) -> Option<Addresses> {
    let mut open = Addresses::new();
    let mut take = |line: &str| open.extend(connections::addresses(line));
    // An attacker can have any number of entries: they are taken one by one.
    let done = Program::Conntrack.run_with(&["-L", "-f", family], None, Some(&mut take));
    done.is_ok_and(|output| output.success).then_some(open)
}

fn forget(target: Target) -> Result<(), Text> {
    let family = if target.is_ipv6() { "ipv6" } else { "ipv4" };
    let forget = |side| {
        // Exit status 1 means that nothing matched.
        match Program::Conntrack.run(&["-D", "-f", family, side, &target.to_string()]) {
            Ok(output) if output.success || output.text.contains(NONE_MATCHED) => Ok(()),
            Ok(output) => Err(unable(output.complaint())),
            Err(error) => Err(unable(&error.to_string())),
        }
    };
    // Both sides in any case.
    let (from, to) = (forget("-s"), forget("-d"));
    from.and(to)
}

fn unable(why: &str) -> Text {
    let why = protocol::Untrusted(why);
    Text::truncated(&format!("open connections could not be cut ({why}); is conntrack installed?"))
}

/// conntrack 1.4's words for "no entry matched", in the C locale.
const NONE_MATCHED: &str = "0 flow entries have been deleted";
/// Targets.
const FEW: usize = 2;
