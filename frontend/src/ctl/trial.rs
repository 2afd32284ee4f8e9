//! Addresses that nobody has, to be blocked and lifted again.

use std::net::IpAddr;

use ipnet::IpNet;
use protocol::Target;

use crate::privd_client::{PrivdClient, PrivdError};

/// A documentation address that is not blocked now, if there is one; best one that policy lets be
/// blocked.
pub(super) async fn free_address(privd: &PrivdClient) -> Result<Option<Target>, PrivdError> {
    let mut refused = None;
    for address in ADDRESSES {
        let Ok(target) = address.parse() else { continue };
        let shown = privd.show(target).await?;
        match shown.block {
            Some(_) => {}
            None if shown.verdict.outcome.enforced().is_some() => return Ok(Some(target)),
            None => refused = refused.or(Some(target)),
        }
    }
    Ok(refused)
}

/// Whether no host has it.
pub(super) fn is_nobodys(address: IpAddr) -> bool {
    let networks = NETWORKS.iter().filter_map(|text| text.parse::<IpNet>().ok());
    networks.into_iter().any(|network| network.contains(&address))
}

/// One in each documentation network.
const ADDRESSES: [&str; 4] = ["192.0.2.254", "198.51.100.254", "203.0.113.254", "2001:db8::fe"];
/// RFC 5737, RFC 3849 and RFC 9637.
const NETWORKS: [&str; 5] =
    ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_documentation_is_nobodys() {
        for text in ADDRESSES {
            let address: IpAddr = text.parse().unwrap();
            assert!(is_nobodys(address), "{text}");
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        for text in ["192.0.3.1", "198.51.101.1", "10.0.0.1", "2001:db9::1", "::1"] {
            assert!(!is_nobodys(text.parse().unwrap()), "{text}");
        }
    }
}
