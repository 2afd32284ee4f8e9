//! Small texts of the host: routes, name servers, ufw's settings, conntrack's list.

use std::net::IpAddr;

use hosttext::{connections, settings};

/// Every address that is understood stands in the text, in the form that the text has.
pub(crate) fn fuzz(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for server in settings::resolvers(&text) {
        assert!(lines(&text).any(|words| {
            let address = words.get(1).and_then(|word| word.split('%').next()?.parse().ok());
            words[0] == "nameserver" && address == Some(server)
        }));
    }
    for address in connections::addresses(&text) {
        let mut words = text.split_ascii_whitespace().filter_map(|word| word.get(4..));
        assert!(words.any(|word| word.parse() == Ok(address)));
    }
    for gateway in settings::gateways(&text, &text) {
        assert!(!gateway.is_unspecified());
        let number = match gateway {
            IpAddr::V4(address) => u32::from_ne_bytes(address.octets()).into(),
            IpAddr::V6(address) => address.to_bits(),
        };
        // proc(5): destination and gateway of IPv4, destination, its prefix and the next hop of IPv6.
        let at = if gateway.is_ipv4() { [1, 2] } else { [0, 4] };
        assert!(lines(&text).any(|words| {
            let [to, by] = at.map(|at| words.get(at).copied().unwrap_or("x"));
            to.bytes().all(|digit| digit == b'0') && u128::from_str_radix(by, 16) == Ok(number)
        }));
    }
    for name in ["ENABLED", "IPV6", "LOGLEVEL"] {
        if let Some(value) = settings::value(&text, name) {
            assert!(text.to_ascii_lowercase().contains(&value));
            assert!(!value.contains('\n'));
        }
    }
}

fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = text.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    lines.filter(|words| !words.is_empty())
}
