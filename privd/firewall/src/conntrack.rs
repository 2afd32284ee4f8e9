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
use crate::{Change, Effect};

/// Forgets every connection from and to the targets whose block holds, those included whose rules
/// stood already: whoever made them may not have cut. What stopped it goes into the effect's words;
/// the block itself holds.
pub fn cut(changes: &[Change], effects: &mut [Effect]) {
    let all = changes.iter().filter(|change| change.is_block()).count();
    // Two programs a target are quicker than a listing only for a few.
    let open = if all > FEW { [open("ipv4"), open("ipv6")] } else { [None, None] };
    for (change, effect) in changes.iter().zip(effects) {
        let (Change::Block(target, _), Effect::Done(words) | Effect::Already(words)) =
            (change, effect)
        else {
            continue;
        };
        let known = open.get(usize::from(target.is_ipv6())).and_then(Option::as_ref);
        let connected = |open: &Addresses| match target.is_host() {
            true => open.contains(&target.net().addr()),
            false => open.iter().any(|one| target.net().contains(one)),
        };
        if known.is_none_or(connected)
            && let Err(problem) = forget(*target)
        {
            *words = problem;
        }
    }
}

type Addresses = HashSet<IpAddr>;

/// Everyone with a connection; None if there are too many to list.
fn open(family: &str) -> Option<Addresses> {
    let listing = Program::Conntrack.run(&["-L", "-f", family]).ok()?;
    listing.success.then(|| connections::addresses(&listing.text))
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
