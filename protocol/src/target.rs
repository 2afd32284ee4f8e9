//! The canonical address or network.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::TargetError;

/// One host or one network, in the only form it has.
///
/// Invariants: no host bits below the prefix; never every address; IPv4-mapped IPv6
/// (`::ffff:a.b.c.d`, RFC 4291 2.5.5.2) has become IPv4, because ufw takes such a rule and it never
/// matches a packet. 6to4, Teredo and NAT64 addresses stay IPv6: packets really carry them.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "WireTarget", into = "WireTarget")]
pub struct Target(IpNet);

impl Target {
    /// The target for one address.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        Self(IpNet::from(canonical(address)))
    }

    /// The target for a network.
    ///
    /// # Errors
    /// Host bits, a prefix of zero, or an IPv6 network around the IPv4-mapped range.
    pub fn network(network: IpNet) -> Result<Self, TargetError> {
        if network != network.trunc() {
            return Err(TargetError::HostBits(network.trunc()));
        }
        let network = match network {
            IpNet::V4(_) => network,
            IpNet::V6(v6) => unmapped(v6)?,
        };
        if network.prefix_len() == 0 { Err(TargetError::Everything) } else { Ok(Self(network)) }
    }

    /// The network, a single host included.
    #[must_use]
    pub const fn net(self) -> IpNet {
        self.0
    }

    /// Whether this is one address.
    #[must_use]
    pub fn is_host(self) -> bool {
        self.0.prefix_len() == self.0.max_prefix_len()
    }

    /// Whether this is IPv6.
    #[must_use]
    pub const fn is_ipv6(self) -> bool {
        matches!(self.0, IpNet::V6(_))
    }

    /// Whether the two share an address.
    #[must_use]
    pub fn overlaps(self, other: IpNet) -> bool {
        self.0.contains(&other) || other.contains(&self.0)
    }
}

impl fmt::Display for Target {
    /// A host without its prefix, a network with it: as ufw writes them.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_host() { self.0.addr().fmt(formatter) } else { self.0.fmt(formatter) }
    }
}

impl FromStr for Target {
    type Err = TargetError;

    /// Parses `198.51.100.7`, `198.51.100.0/24`, `2001:db8::7`, `2001:db8::/48`.
    fn from_str(text: &str) -> Result<Self, TargetError> {
        let Some((address, prefix)) = text.split_once('/') else {
            return text.parse().map(Self::host).map_err(|_| TargetError::Syntax);
        };
        let address: IpAddr = address.parse().map_err(|_| TargetError::Syntax)?;
        // "+24" and "024" parse as numbers; nobody means them.
        if !prefix.bytes().all(|byte| byte.is_ascii_digit())
            || (prefix.len() > 1 && prefix.starts_with('0'))
        {
            return Err(TargetError::Syntax);
        }
        let prefix = prefix.parse().map_err(|_| TargetError::Syntax)?;
        Self::network(IpNet::new(address, prefix).map_err(|_| TargetError::Syntax)?)
    }
}

/// The address a packet really carries: IPv4-mapped IPv6 becomes IPv4. A dual-stack socket shows
/// IPv4 clients in the mapped form, so peers' addresses pass through here too.
#[must_use]
pub fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// The bytes of a target: family, address, prefix.
#[derive(Clone, Copy, Deserialize, Serialize)]
enum WireTarget {
    V4([u8; 4], u8),
    V6([u8; 16], u8),
}

impl From<Target> for WireTarget {
    fn from(target: Target) -> Self {
        match target.0 {
            IpNet::V4(net) => Self::V4(net.addr().octets(), net.prefix_len()),
            IpNet::V6(net) => Self::V6(net.addr().octets(), net.prefix_len()),
        }
    }
}

impl TryFrom<WireTarget> for Target {
    type Error = TargetError;

    fn try_from(wire: WireTarget) -> Result<Self, TargetError> {
        let network = match wire {
            WireTarget::V4(octets, prefix) => IpNet::new(Ipv4Addr::from(octets).into(), prefix),
            WireTarget::V6(octets, prefix) => IpNet::new(Ipv6Addr::from(octets).into(), prefix),
        };
        let network = network.map_err(|_| TargetError::Syntax)?;
        let target = Self::network(network)?;
        // The sender is our own code: a form that had to be canonicalised is a defect there.
        if target.0 == network { Ok(target) } else { Err(TargetError::Syntax) }
    }
}

fn unmapped(network: Ipv6Net) -> Result<IpNet, TargetError> {
    match (network.addr().to_ipv4_mapped(), network.prefix_len().checked_sub(MAPPED_PREFIX)) {
        (Some(address), Some(prefix)) => {
            let network = Ipv4Net::new(address, prefix).map_err(|_| TargetError::Syntax)?;
            Ok(network.into())
        }
        _ if network.contains(&Ipv4Addr::UNSPECIFIED.to_ipv6_mapped()) => {
            Err(TargetError::AroundMapped)
        }
        _ => Ok(network.into()),
    }
}

/// `::ffff:0:0/96`, RFC 4291 2.5.5.2.
const MAPPED_PREFIX: u8 = 96;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_form_has_one_reading() {
        for (text, reading) in [
            ("198.51.100.7", "198.51.100.7"),
            ("198.51.100.7/32", "198.51.100.7"),
            ("198.51.100.0/24", "198.51.100.0/24"),
            ("2001:DB8:0::7", "2001:db8::7"),
            ("2001:db8::/48", "2001:db8::/48"),
            ("::ffff:198.51.100.7", "198.51.100.7"),
            ("::ffff:c633:6407/128", "198.51.100.7"),
            ("::ffff:198.51.100.0/120", "198.51.100.0/24"),
            ("64:ff9b::198.51.100.7", "64:ff9b::c633:6407"),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!(target.to_string(), reading, "{text}");
            assert_eq!(target.is_ipv6(), reading.contains(':'), "{text}");
        }
    }

    #[test]
    fn what_is_ambiguous_is_refused() {
        for text in [
            "",
            " 198.51.100.7",
            "198.51.100.7 ",
            "010.0.0.1",
            "1.2.3",
            "16909060",
            "0x1.2.3.4",
            "198.51.100.7/33",
            "198.51.100.7/+32",
            "198.51.100.0/024",
            "198.51.100.7/",
            "198.51.100.7,198.51.100.8",
            "fe80::1%eth0",
            "2001:db8::/129",
            "example.org",
            "{{context.source.ip}}",
        ] {
            assert_eq!(text.parse::<Target>(), Err(TargetError::Syntax), "{text}");
        }
    }

    #[test]
    fn host_bits_are_refused_and_the_network_named() {
        let error = "198.51.100.7/24".parse::<Target>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "has host bits set below its prefix; the network is 198.51.100.0/24"
        );
        assert!(matches!("2001:db8::3/64".parse::<Target>(), Err(TargetError::HostBits(_))));
    }

    #[test]
    fn everything_and_what_lies_around_the_mapped_range_is_refused() {
        for text in ["0.0.0.0/0", "::/0", "::ffff:0:0/96"] {
            assert!(
                matches!(
                    text.parse::<Target>(),
                    Err(TargetError::Everything | TargetError::AroundMapped)
                ),
                "{text}"
            );
        }
        assert_eq!("::fffe:0:0/95".parse::<Target>(), Err(TargetError::AroundMapped));
    }

    #[test]
    fn overlap_is_symmetric_and_family_bound() {
        let target: Target = "198.51.100.0/24".parse().unwrap();
        assert!(target.overlaps("198.51.100.7/32".parse().unwrap()));
        assert!(target.overlaps("198.51.0.0/16".parse().unwrap()));
        assert!(!target.overlaps("198.51.101.0/24".parse().unwrap()));
        assert!(!target.overlaps("::/0".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn display_and_parse_are_inverse(bits in any::<u128>(), v6 in any::<bool>(), prefix in 0_u8..=128) {
            let address = if v6 {
                IpAddr::from(bits.to_be_bytes())
            } else {
                IpAddr::from(u32::try_from(bits & 0xffff_ffff).unwrap().to_be_bytes())
            };
            if let Ok(net) = IpNet::new(address, prefix)
                && let Ok(target) = Target::network(net.trunc())
            {
                prop_assert_eq!(target.to_string().parse::<Target>(), Ok(target));
                prop_assert_eq!(target.net(), target.net().trunc());
                prop_assert!(target.net().prefix_len() > 0);
            }
        }

        #[test]
        fn no_text_parses_to_a_network_it_does_not_spell(text in "[0-9a-f:./]{1,24}") {
            if let Ok(target) = text.parse::<Target>() {
                let again: Target = target.to_string().parse().unwrap();
                prop_assert_eq!(again, target);
            }
        }
    }
}
