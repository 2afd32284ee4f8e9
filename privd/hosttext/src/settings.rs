//! Small texts of the host: `NAME=value` files, routes, name servers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The last value of a `NAME=value` line, in lower case, as ufw reads `ufw.conf` and
/// `/etc/default/ufw`.
pub fn value(text: &str, name: &str) -> Option<String> {
    let mut values = text.lines().filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim().eq_ignore_ascii_case(name))
            .then(|| value.trim().trim_matches(['"', '\'']).to_ascii_lowercase())
    });
    values.next_back()
}

/// Default gateways from `/proc/net/route` and `/proc/net/ipv6_route` (proc(5)): hexadecimal, IPv4
/// in the host's byte order.
pub fn gateways(route4: &str, route6: &str) -> Vec<IpAddr> {
    let v4 = route4.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, "00000000", gateway, _, _, _, _, "00000000", ..] = fields.as_slice() else {
            return None;
        };
        let bits = u32::from_str_radix(gateway, 16).ok()?;
        Some(IpAddr::from(Ipv4Addr::from(bits.to_ne_bytes())))
    });
    let v6 = route6.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [destination, "00", _, _, gateway, ..] = fields.as_slice() else { return None };
        let bits = u128::from_str_radix(gateway, 16).ok()?;
        let default = destination.bytes().all(|digit| digit == b'0');
        default.then(|| IpAddr::from(Ipv6Addr::from(bits)))
    });
    v4.chain(v6).filter(|gateway| !gateway.is_unspecified()).collect()
}

/// `nameserver` lines of resolv.conf(5).
pub fn resolvers(text: &str) -> Vec<IpAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let ("nameserver", server) = (words.next()?, words.next()?) else { return None };
        // A link-local server carries its zone.
        server.split('%').next()?.parse().ok()
    });
    servers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(addresses: &[IpAddr]) -> Vec<String> {
        addresses.iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn the_last_value_counts_without_quotes_and_case() {
        let text = "# ENABLED=no\nenabled=no\nENABLED = \"Yes\"\nLOGLEVEL=low\n";
        assert_eq!(value(text, "ENABLED").as_deref(), Some("yes"));
        assert_eq!(value(text, "LOGLEVEL").as_deref(), Some("low"));
        assert_eq!(value(text, "IPV6"), None);
    }

    #[test]
    fn the_default_gateways_are_read_from_both_tables() {
        let route4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
            tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n";
        let route6 = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
            20010db8000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n\
            20010db8000000000000000000000000 40 00000000000000000000000000000000 00 \
            00000000000000000000000000000000 00000100 00000001 00000000 00000001 eth0\n";
        assert_eq!(texts(&gateways(route4, route6)), ["192.0.2.1", "2001:db8::1"]);
        assert!(gateways("", "garbage\n\n00").is_empty());
    }

    #[test]
    fn name_servers_are_read_with_and_without_a_zone() {
        let text = "# nameserver 9.9.9.9\nnameserver 192.0.2.53\n nameserver fe80::1%eth0\n\
            search example.org\nnameserver\nnameserver x\n";
        assert_eq!(texts(&resolvers(text)), ["192.0.2.53", "fe80::1"]);
    }
}
