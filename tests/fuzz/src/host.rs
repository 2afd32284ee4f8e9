//! Small texts of the host: routes, name servers, ufw's settings, conntrack's list.

use std::net::IpAddr;

use hosttext::{connections, settings};

/// Every address that is understood stands in the text, in the form that the text has.
pub(crate) fn fuzz(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for server in settings::resolvers(&text) {
        let words = text.split_ascii_whitespace().filter_map(|word| word.split('%').next());
        assert!(
            words.filter_map(|word| word.parse().ok()).any(|address: IpAddr| server == address)
        );
    }
    for address in connections::addresses(&text) {
        let mut words = text.split_ascii_whitespace().filter_map(|word| word.get(4..));
        assert!(words.any(|word| word.parse() == Ok(address)));
    }
    for gateway in settings::gateways(&text, &text) {
        assert!(!gateway.is_unspecified());
        let mut numbers =
            text.split_ascii_whitespace().filter_map(|word| u128::from_str_radix(word, 16).ok());
        let number = match gateway {
            IpAddr::V4(address) => u32::from_ne_bytes(address.octets()).into(),
            IpAddr::V6(address) => address.to_bits(),
        };
        assert!(numbers.any(|one| one == number), "{gateway}");
    }
    for name in ["ENABLED", "IPV6", "LOGLEVEL"] {
        if let Some(value) = settings::value(&text, name) {
            assert!(text.to_ascii_lowercase().contains(&value));
            assert!(!value.contains('\n'));
        }
    }
}
