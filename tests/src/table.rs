//! The table of nftables in which webhook-privd has its blocks, as nft lists it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::place::Place;

/// The table at one moment.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Whether there is one.
    pub exists: bool,
    /// What is in its sets, each as `webhookctl list` names it, with the seconds that the kernel will
    /// keep it yet; None: for ever.
    pub blocks: BTreeMap<String, Option<u64>>,
    /// The sets by which either chain drops packets, as `from v4_32`.
    pub drops: BTreeSet<String>,
    /// Whether it sleeps, and drops nothing.
    pub dormant: bool,
}

impl Table {
    /// Reads it.
    #[must_use]
    pub fn now(place: &Place) -> Self {
        let output = place.run(&["nft", "--json", "list", "table", "inet", "webhookd"]);
        let listing: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let mut table = Self::default();
        for one in listing["nftables"].as_array().into_iter().flatten() {
            table.exists |= one["table"]["name"] == "webhookd";
            table.dormant |= one["table"]["flags"].to_string().contains("dormant");
            for element in one["set"]["elem"].as_array().into_iter().flatten() {
                let element = &element["elem"];
                let target = target(&one["set"]["name"], &element["val"]);
                table.blocks.insert(target, element["expires"].as_u64());
            }
            let expressions = one["rule"]["expr"].as_array();
            if let Some([condition, verdict]) = expressions.map(Vec::as_slice) {
                let (condition, set) = (&condition["match"], &condition["match"]["right"]);
                let chain = one["rule"]["chain"].as_str().unwrap();
                let left = condition["left"].to_string();
                let field = ["saddr", "daddr"].into_iter().find(|field| left.contains(field));
                if verdict.get("drop").is_some()
                    && let Some(field) = field
                {
                    let set = &set.as_str().unwrap()[1..];
                    table.drops.insert(format!("{chain} {field} {set}"));
                }
            }
        }
        table
    }

    /// What a block lacks; None: it is in force.
    #[must_use]
    pub fn lacks(&self, target: &str) -> Option<String> {
        if self.dormant {
            return Some(format!("{target}: the table sleeps"));
        }
        if !self.blocks.contains_key(target) {
            return Some(format!("{target}: not in the table"));
        }
        let set = set(target);
        let chain = |chain: &&str| !self.drops.contains(&format!("{chain} {set}"));
        let lacking =
            ["prerouting saddr", "prerouting daddr", "output daddr"].into_iter().find(chain)?;
        Some(format!("{target}: chain {lacking} has no rule for {set}"))
    }
}

/// The set that a target is in.
#[must_use]
pub fn set(target: &str) -> String {
    let (family, whole) = if target.contains(':') { ("v6", "128") } else { ("v4", "32") };
    let prefix = target.split_once('/').map_or(whole, |(_, prefix)| prefix);
    format!("{family}_{prefix}")
}

/// An element of a set, as a target.
fn target(set: &Value, element: &Value) -> String {
    let (_, prefix) = set.as_str().unwrap().split_once('_').unwrap();
    let address = element.as_str().unwrap();
    let whole = if address.contains(':') { "128" } else { "32" };
    if prefix == whole { address.to_owned() } else { format!("{address}/{prefix}") }
}
