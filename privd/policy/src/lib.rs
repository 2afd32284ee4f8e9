//! What may be blocked, and as what: pure decisions over values.
//!
//! The values are what root's [`config`] says, what is [`protected`], and how much the frontend may
//! ask for ([`quota`]).

pub mod config;
pub mod protected;
pub mod quota;

use std::collections::BTreeMap;
use std::iter::successors;
use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use ipnet::{IpNet, Ipv6Net};
use protocol::{Refusal, Target, Term};

use crate::config::Config;
use crate::protected::Protected;

/// What a peer may ask.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// webhookd: `Block`, without taking rules over, and `Status`.
    Frontend,
    /// uid 0: every verb.
    Operator,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// The peer's role: the operator is not bound by width and immunity.
    pub role: Role,
    /// The address that webhookd was asked from.
    pub requester: Option<IpAddr>,
    /// When it asks, in seconds since the Unix epoch.
    pub wall: u64,
    /// Whether just the target is meant: a rule that is taken over names no network around it.
    pub exact: bool,
}

/// A refusal and what stands behind it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Denial {
    /// The published reason.
    pub refusal: Refusal,
    /// Where it stands; empty where the reason says all.
    pub detail: String,
}

/// What alerts may not put back: targets that an operator lifted, and until when (seconds since the
/// Unix epoch).
pub type Immune = BTreeMap<Target, u64>;

/// Decides about one target; the answer is what to enforce.
///
/// # Errors
/// The reason why not, in the published order.
pub fn decide(
    target: Target,
    asker: Asker,
    protected: &Protected,
    immune: &Immune,
    config: &Config,
) -> Result<Target, Denial> {
    spares(target, asker, protected, immune)?;
    let (widest, key) = match target.net() {
        IpNet::V4(_) => (config.widest_v4.0, "widest-v4"),
        IpNet::V6(_) => (config.widest_v6.0, "widest-v6"),
    };
    if asker.role != Role::Operator && target.net().prefix_len() < widest {
        return Err(Denial { refusal: Refusal::TooWide, detail: format!("{key} = {widest}") });
    }
    if asker.exact {
        return Ok(target);
    }
    // The network around the host may hold what the host alone does not.
    let wider = widened(target, config);
    Ok(spares(wider, asker, protected, immune).map_or(target, |()| wider))
}

/// Whether a block would hit nobody that is to be spared.
fn spares(
    target: Target,
    asker: Asker,
    protected: &Protected,
    immune: &Immune,
) -> Result<(), Denial> {
    if let Some((refusal, rule)) = protected.covers(target) {
        return Err(Denial { refusal, detail: rule.to_owned() });
    }
    if asker.requester.is_some_and(|requester| target.overlaps(Target::host(requester).net())) {
        return Err(Denial { refusal: Refusal::Requester, detail: String::new() });
    }
    if asker.role != Role::Frontend {
        return Ok(());
    }
    immunity(target, immune, asker.wall).map_or(Ok(()), |(lifted, until)| {
        let end = UNIX_EPOCH.checked_add(Duration::from_secs(until)).unwrap_or(UNIX_EPOCH);
        let end = humantime::format_rfc3339_seconds(end);
        let detail = format!("{lifted} was unblocked by hand: no alert blocks it before {end}");
        Err(Denial { refusal: Refusal::NeverBlock, detail })
    })
}

/// What an operator lifted that shares an address with this target, and until when (seconds since
/// the Unix epoch) no alert puts it back.
pub fn immunity(target: Target, immune: &Immune, wall: u64) -> Option<(Target, u64)> {
    if immune.is_empty() {
        return None;
    }
    // Looked up, not gone through: there may be as many as there were blocks.
    let around = successors(Some(target.net()), IpNet::supernet).filter_map(|net| {
        let target = Target::network(net).ok()?;
        immune.get_key_value(&target)
    });
    let inside = immune.range(target..);
    let inside = inside.take_while(|(lifted, _)| target.net().contains(&lifted.net().addr()));
    let lifted = around.chain(inside).find(|(_, until)| **until > wall);
    lifted.map(|(lifted, until)| (*lifted, *until))
}

/// For how long a block is to hold: what the offences so far deserve. The frontend may shorten
/// that, an operator chooses.
pub fn term(wish: Option<Term>, role: Role, offences: u32, config: &Config) -> Term {
    let index = usize::try_from(offences).unwrap_or(usize::MAX);
    let terms = &config.block_for;
    let deserved = terms.get(index).or_else(|| terms.last()).copied().unwrap_or(Term::Permanent);
    match (wish, role) {
        (None, _) => deserved,
        (Some(wish), Role::Operator) => wish,
        (Some(wish), Role::Frontend) => wish.min(deserved),
    }
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
    use proptest::prelude::*;

    use super::*;
    use crate::config::Within;

    const NEVER: [&str; 2] = ["192.0.2.9/32", "2001:db8:9::1/128"];
    const REQUESTER: &str = "10.0.0.9";
    const LIFTED: &str = "198.51.100.77";

    fn asked(target: &str, role: Role, ipv6_prefix: u8) -> Result<String, Refusal> {
        let config = Config { ipv6_prefix: Within(ipv6_prefix), ..Config::default() };
        let decided = decision(target.parse().unwrap(), role, &config);
        decided.map(|target| target.to_string()).map_err(|denial| denial.refusal)
    }

    fn decision(target: Target, role: Role, config: &Config) -> Result<Target, Denial> {
        let never = NEVER.map(|net| net.parse().unwrap());
        let protected = Protected::without_host(&never, Vec::new());
        let immune = Immune::from([(LIFTED.parse().unwrap(), 1000)]);
        let asker =
            Asker { role, requester: Some(REQUESTER.parse().unwrap()), wall: 999, exact: false };
        decide(target, asker, &protected, &immune, config)
    }

    #[test]
    fn an_ordinary_address_is_enforced_as_itself() {
        assert_eq!(asked("198.51.100.7", Role::Frontend, 128).unwrap(), "198.51.100.7");
        assert_eq!(asked("203.0.113.0/24", Role::Frontend, 128).unwrap(), "203.0.113.0/24");
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
        assert_eq!(asked("203.0.112.0/23", Role::Frontend, 128), Err(Refusal::TooWide));
        assert_eq!(asked("2001:db8::/47", Role::Frontend, 128), Err(Refusal::TooWide));
        assert!(asked("2001:db8::/48", Role::Frontend, 128).is_ok());
        assert_eq!(asked("203.0.0.0/16", Role::Operator, 128).unwrap(), "203.0.0.0/16");
    }

    #[test]
    fn what_was_lifted_by_hand_is_immune_against_the_frontend_for_its_time() {
        for target in [LIFTED, "198.51.100.0/24"] {
            assert_eq!(asked(target, Role::Frontend, 128), Err(Refusal::NeverBlock), "{target}");
            assert!(asked(target, Role::Operator, 128).is_ok(), "{target}");
        }
        let asker = Asker { role: Role::Frontend, requester: None, wall: 1000, exact: false };
        let immune = Immune::from([(LIFTED.parse().unwrap(), 1000)]);
        let protected = Protected::default();
        let target = LIFTED.parse().unwrap();
        assert!(decide(target, asker, &protected, &immune, &Config::default()).is_ok(), "over");
    }

    #[test]
    fn an_ipv6_host_takes_its_network_along_unless_that_holds_a_protected_one() {
        assert_eq!(asked("2001:db8:1:2::7", Role::Frontend, 64).unwrap(), "2001:db8:1:2::/64");
        assert_eq!(asked("2001:db8:9::7", Role::Frontend, 64).unwrap(), "2001:db8:9::7");
        assert_eq!(asked("198.51.100.7", Role::Frontend, 64).unwrap(), "198.51.100.7");
    }

    /// Near everything that is protected, wherever that is.
    fn any_target() -> impl Strategy<Value = Target> {
        let v4 = prop_oneof![
            any::<u32>(),
            Just([192, 0, 2, 9]).prop_map(u32::from_be_bytes),
            Just([10, 0, 0, 9]).prop_map(u32::from_be_bytes),
            Just([198, 51, 100, 77]).prop_map(u32::from_be_bytes),
            Just([127, 0, 0, 1]).prop_map(u32::from_be_bytes),
        ];
        let near4 = (v4, 0_u32..1024, 8_u8..=32)
            .prop_map(|(base, off, prefix)| (std::net::Ipv4Addr::from(base ^ off).into(), prefix));
        let base6: u128 = "2001:db8:9::1".parse::<std::net::Ipv6Addr>().unwrap().into();
        let v6 = prop_oneof![any::<u128>(), Just(base6), Just(1_u128), Just(0xfe80 << 112)];
        let near6 = (v6, any::<u32>(), 16_u8..=128).prop_map(|(base, off, prefix)| {
            (std::net::Ipv6Addr::from(base ^ u128::from(off)).into(), prefix)
        });
        prop_oneof![near4, near6].prop_filter_map("canonical", |(address, prefix)| {
            let net: IpNet = IpNet::new(address, prefix).ok()?;
            Target::network(net.trunc()).ok()
        })
    }

    proptest! {
        #[test]
        fn no_accepted_target_ever_overlaps_a_protected_one(
            target in any_target(), operator in any::<bool>(), ipv6_prefix in 32_u8..=128
        ) {
            let role = if operator { Role::Operator } else { Role::Frontend };
            let config = Config { ipv6_prefix: Within(ipv6_prefix), ..Config::default() };
            if let Ok(accepted) = decision(target, role, &config) {
                prop_assert!(accepted.net().contains(&target.net()));
                let spared = NEVER.iter().copied().chain(["127.0.0.0/8", "::1/128", "fe80::/10", "10.0.0.9/32"]);
                for net in spared {
                    prop_assert!(!accepted.overlaps(net.parse().unwrap()), "{accepted} hits {net}");
                }
                if !operator {
                    prop_assert!(!accepted.overlaps("198.51.100.77/32".parse().unwrap()));
                    let widest = if accepted.is_ipv6() { config.widest_v6.0.min(ipv6_prefix) } else { 24 };
                    prop_assert!(accepted.net().prefix_len() >= widest);
                }
            }
        }
    }
}
