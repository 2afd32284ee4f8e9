//! The live blocks, in such order that nothing done for one of them goes through all: there may be a
//! million.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use firewall::Mark;
use ipnet::IpNet;
use ledger::Live;
use protocol::{Target, Until};

/// Live blocks by target, by end, and those that are not in force.
#[derive(Clone, Debug, Default)]
pub struct Blocks {
    /// Apart, so that the tree, which is never full, holds little.
    by_target: BTreeMap<Target, Box<Live>>,
    /// Ends in seconds since the Unix epoch.
    ends: BTreeSet<(u64, Target)>,
    missing: BTreeSet<Target>,
}

impl Blocks {
    /// The block of exactly this target.
    pub fn get(&self, target: Target) -> Option<&Live> {
        self.by_target.get(&target).map(Box::as_ref)
    }

    /// The narrowest block that covers a target.
    pub fn around(&self, target: Target) -> Option<&Live> {
        let net = target.net();
        let wider = (0..=net.prefix_len()).rev().filter_map(|prefix| {
            let net = IpNet::new(net.addr(), prefix).ok()?.trunc();
            self.get(Target::network(net).ok()?)
        });
        wider.into_iter().next()
    }

    /// All, in the order of their targets.
    pub fn iter(&self) -> impl Iterator<Item = &Live> {
        self.by_target.values().map(Box::as_ref)
    }

    /// Those behind a target, in order.
    pub fn after(&self, target: Option<Target>) -> impl Iterator<Item = &Live> {
        let start = target.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_target.range((start, Bound::Unbounded)).map(|(_, live)| live.as_ref())
    }

    /// Those whose time has come.
    pub fn over(&self, wall: u64) -> impl Iterator<Item = Target> {
        self.ends.iter().take_while(move |(end, _)| *end <= wall).map(|(_, target)| *target)
    }

    /// Those that are not in force.
    pub const fn missing(&self) -> &BTreeSet<Target> {
        &self.missing
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_target.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_target.is_empty()
    }

    /// Adds one, or changes what is known of it.
    pub fn insert(&mut self, live: Live) {
        let target = live.info.target;
        self.remove(target);
        if let Until::At(end) = live.info.until {
            self.ends.insert((end, target));
        }
        if !live.info.in_force {
            self.missing.insert(target);
        }
        self.by_target.insert(target, Box::new(live));
    }

    /// Removes one.
    pub fn remove(&mut self, target: Target) {
        let Some(live) = self.by_target.remove(&target) else { return };
        if let Until::At(end) = live.info.until {
            self.ends.remove(&(end, target));
        }
        self.missing.remove(&target);
    }

    /// Notes whether one is in force; what was noted before, where there is such a block.
    pub fn note(&mut self, target: Target, in_force: bool) -> Option<bool> {
        let live = self.by_target.get_mut(&target)?;
        let before = std::mem::replace(&mut live.info.in_force, in_force);
        if in_force {
            self.missing.remove(&target);
        } else {
            self.missing.insert(target);
        }
        Some(before)
    }
}

/// Those of a ledger's blocks that are to be in the firewall now, as it takes them.
pub fn due<'a>(blocks: impl Iterator<Item = &'a Live>, wall: u64) -> Vec<(Target, Mark)> {
    let live = blocks.filter(|live| !live.is_over(wall));
    live.map(|live| (live.info.target, Mark::new(live.event, live.info.until))).collect()
}

impl FromIterator<Live> for Blocks {
    fn from_iter<I: IntoIterator<Item = Live>>(all: I) -> Self {
        let mut blocks = Self::default();
        all.into_iter().for_each(|live| blocks.insert(live));
        blocks
    }
}

#[cfg(test)]
mod tests {
    use protocol::{BlockInfo, EventId, Text};

    use super::*;

    fn live(target: &str, until: Until) -> Live {
        let info = BlockInfo {
            target: target.parse().unwrap(),
            since: 0,
            until,
            reason: Text::default(),
            rule_name: Text::default(),
            alert_id: Text::default(),
            peer_uid: 0,
            peer_pid: 0,
            requester: None,
            offences: 0,
            in_force: false,
        };
        Live { info, event: EventId(7), of_this_run: false }
    }

    #[test]
    fn what_is_over_is_not_put_into_the_firewall() {
        let ends = [Until::At(99), Until::At(100), Until::At(101), Until::Permanent];
        let blocks: Vec<Live> = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::/64"]
            .into_iter()
            .zip(ends)
            .map(|(target, until)| live(target, until))
            .collect();
        let due: Vec<Target> = due(blocks.iter(), 100).into_iter().map(|due| due.0).collect();
        assert_eq!(due, [blocks[2].info.target, blocks[3].info.target]);
    }
}
