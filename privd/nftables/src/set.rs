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
    /// goes to them.
    #[must_use]
    pub fn script(self) -> String {
        let (name, family) = (self.name(), if self.v6 { "ip6" } else { "ip" });
        let kind = if self.v6 { "ipv6_addr" } else { "ipv4_addr" };
        let mask =
            if self.prefix == self.bits() { String::new() } else { format!(" & {}", self.mask()) };
        format!(
            "add set inet webhookd {name} {{ type {kind}; flags timeout; counter; }}\n\
             add rule inet webhookd from {family} saddr{mask} @{name} drop\n\
             add rule inet webhookd to {family} daddr{mask} @{name} drop\n"
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
