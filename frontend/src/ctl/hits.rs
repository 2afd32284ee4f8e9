//! How many packets the kernel has dropped for each block, as far as this process may ask it.
//!
//! With ufw the counters start anew when it loads its rules: at its start and with each change of
//! them; with nftables when webhook-privd starts. So they tell who still tries, not who ever tried.

use std::collections::HashMap;

use protocol::{MAX_TARGETS, Target, Targets};

use crate::ctl::engine::Engine;
use crate::ctl::program;
use crate::privd_client::{PrivdClient, PrivdError};

/// The counters of blocks.
#[derive(Debug, Default)]
pub(super) struct Hits(HashMap<Target, u64>);

impl Hits {
    /// Asks for these blocks' counters. What is not told (to who is not root, on a host without
    /// ufw's chains) is not counted, and nothing fails.
    pub(super) async fn read(privd: &PrivdClient, blocked: &[Target]) -> Result<Self, PrivdError> {
        Ok(match Engine::of(&privd.status().await?) {
            Engine::Ufw => Self::of_ufw(),
            Engine::Nftables => Self::of_nftables(privd, blocked).await?,
        })
    }

    /// webhook-privd looks each one up: nft would list a set to the end.
    async fn of_nftables(privd: &PrivdClient, blocked: &[Target]) -> Result<Self, PrivdError> {
        let mut hits = HashMap::new();
        for some in blocked.chunks(MAX_TARGETS) {
            let Ok(targets) = Targets::try_from(some.to_vec()) else { continue };
            let elements = privd.elements(targets).await?.unwrap_or_default();
            let counted = some.iter().zip(elements);
            hits.extend(counted.filter_map(|(target, found)| Some((*target, found?.packets))));
        }
        Ok(Self(hits))
    }

    /// Of the rules that drop all that one source sends, in both families.
    pub(super) fn of_ufw() -> Self {
        let mut hits = HashMap::new();
        for (program, chain) in CHAINS {
            let printed = program::run(program, &["-v", "-S", chain]);
            let text = printed.ok().filter(|printed| printed.success).map(|printed| printed.text);
            for line in text.iter().flat_map(|text| text.lines()) {
                if let Some((source, packets)) = parse(line) {
                    // A packet meets the first rule that drops it, so another counts nothing.
                    hits.entry(source).or_insert(packets);
                }
            }
        }
        Self(hits)
    }

    /// Packets, or None where they are not counted.
    pub(super) fn of(&self, target: Target) -> Option<u64> {
        self.0.get(&target).copied()
    }
}

impl FromIterator<(Target, u64)> for Hits {
    fn from_iter<I: IntoIterator<Item = (Target, u64)>>(counters: I) -> Self {
        Self(counters.into_iter().collect())
    }
}

/// `-A CHAIN -s SOURCE -c PACKETS BYTES -j DROP`, as `iptables -v -S` of 1.8 prints a rule that asks
/// for nothing but the source.
fn parse(line: &str) -> Option<(Target, u64)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let ["-A", _, "-s", source, "-c", packets, _, "-j", "DROP"] = *words else { return None };
    let source: Target = source.parse().ok()?;
    Some((source, packets.parse().ok()?))
}

/// Where ufw keeps what comes in and was asked for by its user.
const CHAINS: [(&str, &str); 2] =
    [("iptables", "ufw-user-input"), ("ip6tables", "ufw6-user-input")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_drops_a_source_and_asks_for_nothing_else_is_counted() {
        for (line, expected) in [
            ("-A ufw-user-input -s 203.0.113.7/32 -c 12 720 -j DROP", Some(("203.0.113.7", 12))),
            ("-A ufw-user-input -s 198.51.100.0/24 -c 0 0 -j DROP", Some(("198.51.100.0/24", 0))),
            ("-A ufw6-user-input -s 2001:db8::/64 -c 1 80 -j DROP", Some(("2001:db8::/64", 1))),
            ("-N ufw-user-input", None),
            ("-A ufw-user-input -s 203.0.113.7/32 -j DROP", None),
            ("-A ufw-user-input -s 203.0.113.7/32 -c 1 60 -j ACCEPT", None),
            ("-A ufw-user-input -s 203.0.113.7/32 -p tcp -m tcp --dport 22 -c 1 60 -j DROP", None),
            ("-A ufw-user-input -d 203.0.113.7/32 -c 1 60 -j DROP", None),
            ("-A ufw-user-input -s 203.0.113.7/32 -i eth0 -c 1 60 -j DROP", None),
        ] {
            let expected = expected.map(|(source, packets)| (source.parse().unwrap(), packets));
            assert_eq!(parse(line), expected, "{line}");
        }
    }
}
