//! `conntrack -L`: who has a connection open.

use std::collections::HashSet;
use std::net::IpAddr;

/// Every address that is source or destination of an entry, in either direction.
pub fn addresses(listing: &str) -> HashSet<IpAddr> {
    let words = listing.split_ascii_whitespace();
    words
        .filter_map(|word| word.strip_prefix("src=").or_else(|| word.strip_prefix("dst=")))
        .filter_map(|address| address.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_of_both_directions_are_found() {
        let listing = "tcp      6 431999 ESTABLISHED src=203.0.113.7 dst=203.0.113.1 sport=4242 \
            dport=22 src=203.0.113.1 dst=203.0.113.7 sport=22 dport=4242 [ASSURED] mark=0 use=1\n\
            udp      17 29 src=10.0.0.2 dst=10.9.9.9 sport=5 dport=53 [UNREPLIED] src=192.0.2.5 \
            dst=10.0.0.2 sport=53 dport=5 mark=0 use=1\n";
        let mut found: Vec<String> = addresses(listing).iter().map(IpAddr::to_string).collect();
        found.sort();
        assert_eq!(found, ["10.0.0.2", "10.9.9.9", "192.0.2.5", "203.0.113.1", "203.0.113.7"]);
        assert!(addresses("garbage src= dst=x srcx=1.2.3.4").is_empty());
    }
}
