//! What may be blocked, and as what: pure decisions over values.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv6Net};
use protocol::{Refusal, Target};

use crate::config::Config;
use crate::peer::Role;
use crate::protected::Protected;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// The peer's role: the operator is not bound by width.
    pub role: Role,
    /// The address that webhookd was asked from.
    pub requester: Option<IpAddr>,
}

/// A refusal and what stands behind it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Denial {
    /// The published reason.
    pub refusal: Refusal,
    /// Where it stands; empty where the reason says all.
    pub detail: String,
}

/// Decides about one target; the answer is what to enforce.
///
/// # Errors
/// The reason why not, in the published order.
pub fn decide(
    target: Target,
    asker: Asker,
    protected: &Protected,
    config: &Config,
) -> Result<Target, Denial> {
    if let Some((refusal, rule)) = protected.covers(target) {
        return Err(Denial { refusal, detail: rule.to_owned() });
    }
    if asker.requester.is_some_and(|requester| target.overlaps(Target::host(requester).net())) {
        return Err(Denial { refusal: Refusal::Requester, detail: String::new() });
    }
    let (widest, key) = match target.net() {
        IpNet::V4(_) => (config.widest_v4.0, "widest-v4"),
        IpNet::V6(_) => (config.widest_v6.0, "widest-v6"),
    };
    if asker.role != Role::Operator && target.net().prefix_len() < widest {
        return Err(Denial { refusal: Refusal::TooWide, detail: format!("{key} = {widest}") });
    }
    let wider = widened(target, config);
    // The network around the host may hold what the host alone does not.
    let spared = protected.covers(wider).is_some()
        || asker.requester.is_some_and(|requester| wider.overlaps(Target::host(requester).net()));
    Ok(if spared { target } else { wider })
}

/// The network of `ipv6-prefix` around an IPv6 host; anything else as it is.
pub fn widened(target: Target, config: &Config) -> Target {
    match target.net() {
        IpNet::V6(net) if target.is_host() => Ipv6Net::new(net.addr(), config.ipv6_prefix.0)
            .ok()
            .and_then(|net| Target::network(net.trunc().into()).ok())
            .unwrap_or(target),
        _ => target,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(target: &str, role: Role, ipv6_prefix: u8) -> Result<String, Refusal> {
        let never = ["192.0.2.9/32".parse().unwrap(), "2001:db8:9::1/128".parse().unwrap()];
        let protected = Protected::without_host(&never, Vec::new());
        let asker = Asker { role, requester: Some("10.0.0.9".parse().unwrap()) };
        let config =
            Config { ipv6_prefix: crate::config::Within(ipv6_prefix), ..Config::default() };
        decide(target.parse().unwrap(), asker, &protected, &config)
            .map(|target| target.to_string())
            .map_err(|denial| denial.refusal)
    }

    #[test]
    fn an_ordinary_address_is_enforced_as_itself() {
        assert_eq!(asked("198.51.100.7", Role::Frontend, 128).unwrap(), "198.51.100.7");
        assert_eq!(asked("198.51.100.0/24", Role::Frontend, 128).unwrap(), "198.51.100.0/24");
        assert_eq!(asked("2001:db8::7", Role::Frontend, 128).unwrap(), "2001:db8::7");
    }

    #[test]
    fn the_requester_and_what_is_protected_are_refused_to_everyone() {
        for role in [Role::Frontend, Role::Operator] {
            assert_eq!(asked("10.0.0.9", role, 128), Err(Refusal::Requester));
            assert_eq!(asked("10.0.0.0/24", role, 128), Err(Refusal::Requester));
            assert_eq!(asked("192.0.2.0/24", role, 128), Err(Refusal::NeverBlock));
            assert_eq!(asked("127.0.0.1", role, 128), Err(Refusal::Reserved));
        }
    }

    #[test]
    fn width_binds_the_frontend_and_not_the_operator() {
        assert_eq!(asked("198.51.0.0/23", Role::Frontend, 128), Err(Refusal::TooWide));
        assert_eq!(asked("2001:db8::/47", Role::Frontend, 128), Err(Refusal::TooWide));
        assert!(asked("2001:db8::/48", Role::Frontend, 128).is_ok());
        assert_eq!(asked("198.51.0.0/16", Role::Operator, 128).unwrap(), "198.51.0.0/16");
    }

    #[test]
    fn an_ipv6_host_takes_its_network_along_unless_that_holds_a_protected_one() {
        assert_eq!(asked("2001:db8:1:2::7", Role::Frontend, 64).unwrap(), "2001:db8:1:2::/64");
        assert_eq!(asked("2001:db8:9::7", Role::Frontend, 64).unwrap(), "2001:db8:9::7");
        assert_eq!(asked("198.51.100.7", Role::Frontend, 64).unwrap(), "198.51.100.7");
    }
}
