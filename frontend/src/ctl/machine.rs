//! This machine: its names and its addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use nix::errno::Errno;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::unistd::gethostname;
use protocol::canonical;

use crate::ctl::certificate::San;

/// What is known of this machine.
pub(super) struct Machine {
    /// The host name, without its domain.
    pub(super) name: String,
    /// Every name it has; the fully qualified first.
    names: Vec<String>,
    /// Every address that others may reach it by, the one it speaks from first.
    addresses: Vec<IpAddr>,
}

impl Machine {
    /// Asks the kernel and /etc/hosts. DNS is not asked: it may be away, and then an installation
    /// would hang on it.
    pub(super) fn read() -> Result<Self, Errno> {
        let name = gethostname()?;
        let name = name.to_string_lossy().into_owned();
        let interfaces = getifaddrs()?;
        let mut addresses: Vec<IpAddr> = interfaces.filter_map(|found| address(&found)).collect();
        let spoken = [speaks_from(V4_ELSEWHERE), speaks_from(V6_ELSEWHERE)];
        addresses.sort_by_key(|address| !spoken.contains(&Some(*address)));
        addresses.dedup();
        // No file, no further names.
        let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        let names = names(&name, &hosts, &addresses);
        let name = name.split('.').next().unwrap_or_default().to_owned();
        Ok(Self { name, names, addresses })
    }

    /// All that a certificate of this host should name, the best for a URL first: an address needs
    /// no DNS on Kibana's side.
    pub(super) fn sans(&self) -> Vec<San> {
        let names = self.names.iter().map(String::as_str).chain(["localhost"]);
        // What no certificate can name ("my host") is left out.
        let names = names.filter_map(|name| name.parse().ok());
        let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let addresses = self.addresses.iter().copied().map(San::Address);
        addresses.chain(names).chain(loopback.map(San::Address)).collect()
    }

    /// Whether others, if they reach this host by that name, are right.
    pub(super) fn is_called(&self, name: &San) -> bool {
        // Which domain others know it in, the host itself need not know.
        let short = |name: &str| {
            name.strip_prefix(&self.name.to_ascii_lowercase())
                .is_some_and(|rest| rest.starts_with('.'))
        };
        let in_a_domain = matches!(name, San::Name(name) if short(name));
        !name.is_local() && (in_a_domain || self.sans().contains(name))
    }

    /// Whether it has that address.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.addresses.contains(&canonical(address))
    }

    /// The addresses that allow-clients does not cover as shipped.
    pub(super) fn public_addresses(&self) -> Vec<IpAddr> {
        let public = |address: &&IpAddr| match address {
            IpAddr::V4(address) => !address.is_private() && !address.is_loopback(),
            IpAddr::V6(address) => !address.is_unique_local() && !address.is_loopback(),
        };
        self.addresses.iter().filter(public).copied().collect()
    }
}

/// An interface's address, unless only this host or its wire can use it: a link-local one works with
/// a zone alone, which no certificate can name.
fn address(found: &InterfaceAddress) -> Option<IpAddr> {
    let storage = found.address.as_ref()?;
    let v4 = || storage.as_sockaddr_in().map(|socket| IpAddr::V4(socket.ip()));
    let v6 = || storage.as_sockaddr_in6().map(|socket| IpAddr::V6(socket.ip()));
    v4().or_else(v6).map(canonical).filter(|address| is_reachable(*address))
}

/// Whether others can reach a host by such an address.
pub(super) const fn is_reachable(address: IpAddr) -> bool {
    !match address {
        IpAddr::V4(address) => {
            address.is_loopback() || address.is_link_local() || address.is_unspecified()
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unicast_link_local() || address.is_unspecified()
        }
    }
}

/// The address this host takes towards the internet. Nothing is sent.
fn speaks_from(elsewhere: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match elsewhere {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((elsewhere, DISCARD)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

/// The host name and all that stands in its lines of /etc/hosts; what has a domain comes first.
fn names(host: &str, hosts: &str, addresses: &[IpAddr]) -> Vec<String> {
    let mut names = vec![host.to_owned()];
    for line in hosts.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let address = words.next().and_then(|word| word.parse().ok());
        let words: Vec<&str> = words.collect();
        if words.contains(&host) || address.is_some_and(|address| addresses.contains(&address)) {
            names.extend(words.into_iter().map(str::to_owned));
        }
    }
    // The short form of `srv.example.org`.
    names.extend(host.split_once('.').map(|(short, _)| short.to_owned()));
    names.sort_by_key(|name| !name.contains('.'));
    names
}

/// TEST-NET-1 and its IPv6 sibling: routed as the internet is, and nobody's.
const V4_ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const V6_ELSEWHERE: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
/// A port; no packet goes there.
const DISCARD: u16 = 9;

#[cfg(test)]
impl Machine {
    /// One of these names and addresses.
    pub(super) fn with(name: &str, names: &[&str], addresses: &[&str]) -> Self {
        let name = name.to_owned();
        let names = [&*name].iter().chain(names).map(|name| (*name).to_owned()).collect();
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Self { name, names, addresses }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_this_host_is_found_and_no_other() {
        let hosts = "127.0.0.1 localhost\n127.0.1.1 srv.example.org srv # us\n\
                     203.0.113.10 www.example.org\n203.0.113.11 other\n#10.0.0.1 srv old\n";
        let own = ["203.0.113.10".parse().unwrap()];
        let found = names("srv", hosts, &own);
        assert_eq!(found, ["srv.example.org", "www.example.org", "srv", "srv"]);
        assert_eq!(names("srv.example.org", "", &[]), ["srv.example.org", "srv"]);
    }

    #[test]
    fn the_certificate_names_what_others_reach_first_and_loopback_last() {
        let host = Machine {
            name: "srv".into(),
            names: vec!["srv.example.org".into(), "my host".into()],
            addresses: vec!["203.0.113.10".parse().unwrap()],
        };
        let sans: Vec<String> = host.sans().iter().map(ToString::to_string).collect();
        assert_eq!(sans, ["203.0.113.10", "srv.example.org", "localhost", "127.0.0.1", "::1"]);
    }

    #[test]
    fn what_others_can_reach_and_what_is_public() {
        let addresses = ["203.0.113.10", "10.0.0.1", "2001:db8::1", "fd00::1"];
        let addresses: Vec<IpAddr> = addresses.map(|text| text.parse().unwrap()).into();
        assert!(addresses.iter().all(|address| is_reachable(*address)));
        for text in ["127.0.0.1", "127.1.2.3", "169.254.1.1", "::1", "fe80::1", "0.0.0.0", "::"] {
            assert!(!is_reachable(text.parse().unwrap()), "{text}");
        }
        let host = Machine { name: String::new(), names: Vec::new(), addresses };
        let public: Vec<String> = host.public_addresses().iter().map(IpAddr::to_string).collect();
        assert_eq!(public, ["203.0.113.10", "2001:db8::1"]);
    }

    #[test]
    fn this_very_machine_can_be_read() {
        let host = Machine::read().unwrap();
        assert!(!host.name.is_empty() && host.sans().len() >= 3);
    }
}
