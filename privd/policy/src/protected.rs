//! What must never be blocked: this host's own addresses, its gateways, its name servers, what the
//! administrator's ufw rules allow, and what the configuration lists.

use std::fs;
use std::iter::repeat;
use std::net::IpAddr;

use firewall::Allowed;
use hosttext::settings;
use ipnet::{IpNet, Ipv4Net};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;
use protocol::{Refusal, Target, canonical};

/// Everything that is protected now, in the order in which reasons are given.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Protected(Vec<(Refusal, Allowed)>);

impl Protected {
    /// Collects what is protected on this host now.
    ///
    /// # Errors
    /// The host's own addresses cannot be listed; then nothing may be blocked.
    pub fn gather(never_block: &[IpNet], allowed: Vec<Allowed>) -> Result<Self, nix::Error> {
        let host = own_addresses()?.into_iter().map(|network| (Refusal::OwnAddress, network));
        let gateways = settings::gateways(&text(ROUTE4), &text(ROUTE6)).into_iter();
        let gateways =
            gateways.map(|address| (Refusal::Gateway, self::host(address, "the routing table")));
        let of =
            |path: &'static str| settings::resolvers(&text(path)).into_iter().zip(repeat(path));
        let resolvers = RESOLVERS.into_iter().flat_map(of);
        let resolvers =
            resolvers.map(|(address, path)| (Refusal::Resolver, self::host(address, path)));
        Ok(Self::of(host.chain(gateways).chain(resolvers), never_block, allowed))
    }

    fn of(
        host: impl Iterator<Item = (Refusal, Allowed)>,
        never_block: &[IpNet],
        allowed: Vec<Allowed>,
    ) -> Self {
        let listed = |net: &IpNet| Allowed { net: *net, rule: "never-block".to_owned() };
        let listed = never_block.iter().map(|net| (Refusal::NeverBlock, listed(net)));
        let allowed = allowed.into_iter().map(|network| (Refusal::UfwAllow, network));
        Self(reserved().chain(host).chain(listed).chain(allowed).collect())
    }

    /// What would be protected on a host without addresses.
    #[cfg(test)]
    pub fn without_host(never_block: &[IpNet], allowed: Vec<Allowed>) -> Self {
        Self::of(std::iter::empty(), never_block, allowed)
    }

    /// Everything, with the reason.
    pub fn all(&self) -> impl Iterator<Item = &(Refusal, Allowed)> {
        self.0.iter()
    }

    /// The first reason why this target is protected, with where that stands.
    pub fn covers(&self, target: Target) -> Option<(Refusal, &str)> {
        let inner = embedded_v4(target);
        let nat64: IpNet = NAT64.parse().unwrap_or_default();
        if target.net().contains(&nat64) {
            return Some((Refusal::Reserved, "all of IPv4 behind NAT64"));
        }
        self.0
            .iter()
            .find(|(_, network)| {
                target.overlaps(network.net) || inner.is_some_and(|v4| v4.overlaps(network.net))
            })
            .map(|(refusal, network)| (*refusal, network.rule.as_str()))
    }
}

fn reserved() -> impl Iterator<Item = (Refusal, Allowed)> {
    RESERVED.iter().filter_map(|(net, rule)| {
        let net = net.parse().ok()?;
        Some((Refusal::Reserved, Allowed { net, rule: (*rule).to_owned() }))
    })
}

/// Addresses of the interfaces, and the broadcast addresses of their IPv4 networks.
fn own_addresses() -> Result<Vec<Allowed>, nix::Error> {
    let mut found = Vec::new();
    for interface in getifaddrs()? {
        let name = format!("interface {}", interface.interface_name);
        let Some(address) = interface.address.as_ref().and_then(ip) else { continue };
        let mask = interface.netmask.as_ref().and_then(ip);
        let network = mask.and_then(|mask| IpNet::with_netmask(address, mask).ok());
        if let Some(IpNet::V4(network)) = network
            && network.prefix_len() < POINT_TO_POINT
        {
            found.push(host(network.broadcast().into(), &name));
        }
        found.push(host(address, &name));
    }
    Ok(found)
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
}

/// The IPv4 address inside a NAT64 (RFC 6052) or 6to4 (RFC 3056) address: blocking the one is a
/// way to hit the other.
fn embedded_v4(target: Target) -> Option<Target> {
    let IpNet::V6(net) = target.net() else { return None };
    let [a, b, c, d, e, f, g, h, .., w, x, y, z] = net.addr().octets();
    let (octets, skipped) = match (a, b) {
        (0x00, 0x64) if [c, d, e, f, g, h] == [0xff, 0x9b, 0, 0, 0, 0] => ([w, x, y, z], 96),
        (0x20, 0x02) => ([c, d, e, f], 16),
        _ => return None,
    };
    let prefix = net.prefix_len().checked_sub(skipped)?.min(32);
    Target::network(Ipv4Net::new(octets.into(), prefix).ok()?.trunc().into()).ok()
}

fn host(address: IpAddr, rule: &str) -> Allowed {
    Allowed { net: IpNet::from(canonical(address)), rule: rule.to_owned() }
}

/// A file that is not there protects nothing.
fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// RFC 3021: two hosts and no broadcast address.
const POINT_TO_POINT: u8 = 31;
/// Ranges that no remote host has (RFC 6890), and IPv6 forms that ufw takes and no packet carries.
const RESERVED: [(&str, &str); 8] = [
    ("0.0.0.0/8", "this network"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved and broadcast"),
    ("::/96", "unspecified, loopback and IPv4-compatible"),
    ("fe80::/10", "link-local"),
    ("ff00::/8", "multicast"),
];
/// RFC 6052.
const NAT64: &str = "64:ff9b::/96";
const ROUTE4: &str = "/proc/net/route";
const ROUTE6: &str = "/proc/net/ipv6_route";
/// The second names the servers behind systemd-resolved's stub.
const RESOLVERS: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(set: &Protected, target: &str) -> Option<Refusal> {
        set.covers(target.parse().unwrap()).map(|(refusal, _)| refusal)
    }

    #[test]
    fn what_is_gathered_on_a_host_holds_its_own_addresses_and_every_list() {
        let never: IpNet = "198.51.100.0/24".parse().unwrap();
        let allowed = Allowed { net: "192.0.2.0/24".parse().unwrap(), rule: "allow".to_owned() };
        let set = Protected::gather(&[never], vec![allowed]).unwrap();
        assert_eq!(covered(&set, "198.51.100.7"), Some(Refusal::NeverBlock));
        assert_eq!(covered(&set, "192.0.2.7"), Some(Refusal::UfwAllow));
        // Begins as NAT64's prefix does, and is not in it.
        assert_eq!(covered(&set, "64:ff9c::192.0.2.7"), None);
        let has = |refusal| set.all().any(|(why, _)| *why == refusal);
        assert!(has(Refusal::Reserved) && has(Refusal::OwnAddress) && has(Refusal::NeverBlock));
    }

    #[test]
    fn what_no_remote_host_has_is_reserved() {
        let set = Protected::without_host(&[], Vec::new());
        for target in [
            "127.0.0.1",
            "0.0.0.1",
            "169.254.1.1",
            "224.0.0.1",
            "239.1.1.1",
            "255.255.255.255",
            "240.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "::1.2.3.4",
            "126.0.0.0/7",
            "64:ff9b::7f00:1",
            "2002:7f00:1::1",
            "64:ff9b::/64",
            "64:ff9b::/48",
        ] {
            assert_eq!(covered(&set, target), Some(Refusal::Reserved), "{target}");
        }
        assert_eq!(covered(&set, "198.51.100.7"), None);
        assert_eq!(covered(&set, "2001:db8::7"), None);
    }

    #[test]
    fn lists_protect_by_overlap_in_both_directions() {
        let never = ["192.0.2.0/24".parse().unwrap(), "2001:db8:1::/48".parse().unwrap()];
        let allowed = vec![host("203.0.113.9".parse().unwrap(), "allow any any")];
        let set = Protected::without_host(&never, allowed);
        for (target, expected) in [
            ("192.0.2.77", Some(Refusal::NeverBlock)),
            ("192.0.2.0/25", Some(Refusal::NeverBlock)),
            ("192.0.0.0/16", Some(Refusal::NeverBlock)),
            ("2001:db8:1::5", Some(Refusal::NeverBlock)),
            ("2001:db8::/32", Some(Refusal::NeverBlock)),
            ("203.0.113.0/24", Some(Refusal::UfwAllow)),
            ("203.0.113.10", None),
            ("192.0.3.1", None),
        ] {
            assert_eq!(covered(&set, target), expected, "{target}");
        }
    }

    #[test]
    fn loopback_of_this_machine_is_among_its_own_addresses() {
        assert!(own_addresses().unwrap().iter().any(|network| network.net.addr().is_loopback()));
    }
}
