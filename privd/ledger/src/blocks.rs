//! The live blocks, in such order that nothing done for one of them goes through all: there may be a
//! million.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use ipnet::IpNet;
use protocol::{Target, Until};

use crate::Live;

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

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_over_is_found_by_its_end_also_after_the_end_has_changed() {
        let mut blocks: Blocks = [
            live("192.0.2.1", Until::At(99)),
            live("192.0.2.2", Until::At(100)),
            live("192.0.2.3", Until::At(101)),
            live("2001:db8::/64", Until::Permanent),
        ]
        .into_iter()
        .collect();
        let over = |blocks: &Blocks| blocks.over(100).collect::<Vec<_>>();
        assert_eq!(over(&blocks), [target("192.0.2.1"), target("192.0.2.2")]);
        blocks.insert(live("192.0.2.1", Until::At(200)));
        blocks.remove(target("192.0.2.2"));
        assert!(over(&blocks).is_empty());
        assert_eq!(blocks.len(), 3);
    }

    #[test]
    fn what_is_not_in_force_is_known_without_going_through_all() {
        let mut blocks: Blocks = ["192.0.2.1", "192.0.2.2"]
            .map(|text| live(text, Until::Permanent))
            .into_iter()
            .collect();
        assert_eq!(blocks.missing().len(), 2);
        assert_eq!(blocks.note(target("192.0.2.1"), true), Some(false));
        assert_eq!(blocks.note(target("192.0.2.9"), true), None, "there is no such block");
        assert_eq!(blocks.missing().iter().copied().collect::<Vec<_>>(), [target("192.0.2.2")]);
        blocks.remove(target("192.0.2.2"));
        assert!(blocks.missing().is_empty());
    }

    #[test]
    fn the_narrowest_block_around_a_target_is_found() {
        let blocks: Blocks = ["192.0.2.0/24", "192.0.2.0/30", "198.51.100.7"]
            .map(|text| live(text, Until::Permanent))
            .into_iter()
            .collect();
        let around = |text: &str| blocks.around(target(text)).map(|live| live.info.target);
        assert_eq!(around("192.0.2.1"), Some(target("192.0.2.0/30")));
        assert_eq!(around("192.0.2.9"), Some(target("192.0.2.0/24")));
        assert_eq!(around("198.51.100.7"), Some(target("198.51.100.7")));
        assert_eq!(around("198.51.100.8"), None);
    }
}
