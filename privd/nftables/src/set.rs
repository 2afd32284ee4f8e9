//! Our sets: one for each length of prefix that is in use, each a hash of addresses.
//!
//! An interval set would hold networks of all lengths in one, but takes no two that overlap, and a
//! /25 may be blocked beside the /24 around it.

use std::net::IpAddr;

use ipnet::IpNet;
use protocol::Target;

/// The set of the targets of one family and one prefix length.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Set {
    v6: bool,
    prefix: u8,
}

impl Set {
    /// Where a target belongs.
    #[must_use]
    pub fn of(target: Target) -> Self {
        let net = target.net();
        Self { v6: matches!(net, IpNet::V6(_)), prefix: net.prefix_len() }
    }

    /// The set of that name, if it can be one of ours: `v4_32`, `v6_64`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let (v6, prefix) = match name.split_once('_')? {
            ("v4", prefix) => (false, prefix),
            ("v6", prefix) => (true, prefix),
            _ => return None,
        };
        let set = Self { v6, prefix: prefix.parse().ok()? };
        (set.prefix <= set.bits() && set.name() == name).then_some(set)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> String {
        format!("{}_{}", if self.v6 { "v6" } else { "v4" }, self.prefix)
    }

    /// The lines of nft's language that declare it, and drop what comes from its targets and what
    /// goes to them, from this host and from those behind it.
    #[must_use]
    pub fn script(self) -> String {
        let (name, family) = (self.name(), if self.v6 { "ip6" } else { "ip" });
        let kind = if self.v6 { "ipv6_addr" } else { "ipv4_addr" };
        let mask =
            if self.prefix == self.bits() { String::new() } else { format!(" & {}", self.mask()) };
        format!(
            "add set inet webhookd {name} {{ type {kind}; flags timeout; counter; }}\n\
             add rule inet webhookd prerouting {family} saddr{mask} @{name} drop\n\
             add rule inet webhookd prerouting {family} daddr{mask} @{name} drop\n\
             add rule inet webhookd output {family} daddr{mask} @{name} drop\n"
        )
    }

    fn mask(self) -> IpAddr {
        let all: IpAddr = if self.v6 { [0xff; 16].into() } else { [0xff; 4].into() };
        IpNet::new(all, self.prefix).map_or(all, |net| net.network())
    }

    const fn bits(self) -> u8 {
        if self.v6 { 128 } else { 32 }
    }

    /// A target as the kernel keeps it.
    pub(crate) fn key(self, target: Target) -> Vec<u8> {
        match target.net() {
            IpNet::V4(net) => net.addr().octets().to_vec(),
            IpNet::V6(net) => net.addr().octets().to_vec(),
        }
    }

    pub(crate) fn target(self, key: &[u8]) -> Option<Target> {
        let address: IpAddr = if self.v6 {
            <[u8; 16]>::try_from(key).ok()?.into()
        } else {
            <[u8; 4]>::try_from(key).ok()?.into()
        };
        Target::network(IpNet::new(address, self.prefix).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    #[test]
    fn targets_of_one_family_and_length_share_a_set_whose_name_says_both() {
        for (text, name) in [
            ("198.51.100.7", "v4_32"),
            ("198.51.100.0/24", "v4_24"),
            ("2001:db8::7", "v6_128"),
            ("2001:db8::/48", "v6_48"),
        ] {
            let set = Set::of(target(text));
            assert_eq!(set.name(), name);
            assert_eq!(Set::named(name), Some(set));
        }
    }

    #[test]
    fn no_other_name_is_one_of_ours() {
        for name in ["", "v4", "v4_", "v4_33", "v4_032", "v4_+8", "v6_129", "v5_1", "V4_32", "_32"]
        {
            assert_eq!(Set::named(name), None, "{name}");
        }
    }

    #[test]
    fn a_network_is_looked_for_by_the_masked_address() {
        let script = Set::of(target("2001:db8::/48")).script();
        let rule = "add rule inet webhookd prerouting ip6 saddr & ffff:ffff:ffff:: @v6_48 drop\n";
        assert!(script.contains(rule), "{script}");
        let script = Set::of(target("198.51.100.7")).script();
        assert!(script.contains("prerouting ip saddr @v4_32 drop\n"), "{script}");
        assert!(script.contains("output ip daddr @v4_32 drop\n"), "{script}");
    }

    proptest! {
        #[test]
        fn a_target_is_the_same_after_the_kernel_kept_it(address: IpAddr, prefix in 0_u8..=128) {
            let longest = if address.is_ipv4() { 32 } else { 128 };
            let net = IpNet::new(address, prefix.min(longest)).unwrap().trunc();
            if let Ok(target) = Target::network(net) {
                let set = Set::of(target);
                prop_assert_eq!(set.target(&set.key(target)), Some(target));
                prop_assert_eq!(set.target(&[0; 5]), None);
            }
        }
    }
}
