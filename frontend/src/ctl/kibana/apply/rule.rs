//! The rule that all hosts share: what is this host's in it, and nothing else, is changed.
//!
//! Kibana changes a rule without any condition, and its lists are written whole: of two hosts that
//! read before the other has written, the later one takes the earlier one's action away. So what was
//! written is looked at again after a while, longer than another takes from reading to writing, and
//! put there again where it is gone.

use std::time::Duration;

use aws_lc_rs::rand;
use serde_json::{Map, Value};

use crate::ctl::https::Method;
use crate::ctl::kibana::apply::ApplyError;
use crate::ctl::kibana::apply::api::{Api, Reply};
use crate::ctl::kibana::apply::report::{Outcome, Ruled};
use crate::ctl::kibana::definitions::{self, NETWORKS, Which};

/// What is this host's in the rule.
pub(super) struct Part {
    pub(super) which: Which,
    /// The ids that its connector may have: its action is the one that names one of them.
    pub(super) ids: Vec<String>,
    /// With its connector's id; None where it is to have none.
    pub(super) action: Option<Value>,
    /// None where there is nothing that it never blocks.
    pub(super) exclusion: Option<Value>,
    /// How its exclusion is found again.
    pub(super) label: String,
}

/// What of a rule is to be written, its lists whole, and how that is told.
struct Merged {
    patch: Map<String, Value>,
    ruled: Ruled,
}

impl Part {
    /// Says what would be done.
    pub(super) fn foretell(&self, api: &Api) -> Result<Ruled, ApplyError> {
        let there = self.there(api)?;
        Ok(match (there, &self.action) {
            (Some(there), _) => self.merge(&there).ruled,
            (None, Some(_)) => self.made(Outcome::Created),
            (None, None) => self.made(Outcome::Absent),
        })
    }

    /// Does it. It stands when this returns.
    pub(super) fn join(&self, api: &Api) -> Result<Ruled, ApplyError> {
        let mut first: Option<Ruled> = None;
        for _ in 0..ATTEMPTS {
            let written = match (self.there(api)?, &self.action) {
                (None, Some(action)) => self.create(api, action)?,
                (None, None) => return Ok(first.unwrap_or_else(|| self.made(Outcome::Absent))),
                (Some(there), _) => {
                    let merged = self.merge(&there);
                    if merged.patch.is_empty() {
                        return Ok(first.unwrap_or(merged.ruled));
                    }
                    self.write(api, &there, merged)?
                }
            };
            // Who was overtaken tries again at once.
            let Some(written) = written else { continue };
            let overtook = written.overtook;
            first.get_or_insert(written).overtook |= overtook;
            std::thread::sleep(pause()?);
        }
        Err(ApplyError::Unsettled)
    }

    fn there(&self, api: &Api) -> Result<Option<Value>, ApplyError> {
        let rule = definitions::rule(self.which);
        let id = text(&rule, "rule_id");
        api.get(&format!("{RULES}?rule_id={id}"), "look at the rule")
    }

    fn create(&self, api: &Api, action: &Value) -> Result<Option<Ruled>, ApplyError> {
        let what = "make the rule";
        let rule = definitions::rule_with(self.which, action.clone(), self.exclusion.clone());
        match api.write(Method::POST, RULES, &rule, what)? {
            Reply::Done(_) => Ok(Some(self.made(Outcome::Created))),
            Reply::Conflict => Ok(None),
            Reply::Missing => Err(ApplyError::Unexpected(what)),
            Reply::Invalid(message) => Err(ApplyError::Refused { what, status: 400, message }),
        }
    }

    fn write(&self, api: &Api, there: &Value, merged: Merged) -> Result<Option<Ruled>, ApplyError> {
        let what = "change the rule";
        let Merged { mut patch, mut ruled } = merged;
        patch.insert("rule_id".to_owned(), text(there, "rule_id").into());
        match api.write(Method::PATCH, RULES, &patch.into(), what)? {
            Reply::Done(now) => {
                let revision = |rule: &Value| rule.get("revision").and_then(Value::as_u64);
                let next = revision(there).map(|revision| revision.saturating_add(1));
                ruled.overtook = next.is_some() && revision(&now) > next;
                Ok(Some(ruled))
            }
            Reply::Conflict | Reply::Missing => Ok(None),
            Reply::Invalid(message) => Err(ApplyError::Refused { what, status: 400, message }),
        }
    }

    /// Of a rule that is not there, or was not.
    fn made(&self, outcome: Outcome) -> Ruled {
        let rule = definitions::rule(self.which);
        Ruled {
            rule_id: text(&rule, "rule_id"),
            name: text(&rule, "name"),
            outcome,
            enabled: true,
            action: outcome,
            excluded: self.exclusion.as_ref().map(networks).unwrap_or_default(),
            included: Vec::new(),
            others: 0,
            overtook: false,
        }
    }

    fn merge(&self, there: &Value) -> Merged {
        let mut patch = Map::new();
        let (actions, action, others) = self.with_action(list(there, "actions"));
        if action.is_change() {
            patch.insert("actions".to_owned(), actions.into());
        }
        let filters = list(there, "filters");
        let is_ours = |filter: &&Value| {
            filter.pointer("/meta/alias").and_then(Value::as_str) == Some(&*self.label)
        };
        let before = filters.iter().find(is_ours);
        let (had, has) = (before.map(networks), self.exclusion.as_ref().map(networks));
        let (had, has) = (had.unwrap_or_default(), has.unwrap_or_default());
        let less = |from: &[String], what: &[String]| -> Vec<String> {
            from.iter().filter(|network| !what.contains(network)).cloned().collect()
        };
        let (excluded, included) = (less(&has, &had), less(&had, &has));
        if !excluded.is_empty() || !included.is_empty() || before.is_some_and(|it| !is_in_force(it))
        {
            let mut kept: Vec<Value> =
                filters.iter().filter(|filter| !is_ours(filter)).cloned().collect();
            kept.extend(self.exclusion.clone());
            patch.insert("filters".to_owned(), kept.into());
        }
        let changed = if patch.is_empty() { Outcome::Unchanged } else { Outcome::Changed };
        let ruled = Ruled {
            rule_id: text(there, "rule_id"),
            name: text(there, "name"),
            outcome: changed,
            enabled: there.get("enabled").and_then(Value::as_bool).unwrap_or_default(),
            action,
            excluded,
            included,
            others,
            overtook: false,
        };
        Merged { patch, ruled }
    }

    /// The actions with this host's as it is to be, what that changed, and how many are others'.
    fn with_action(&self, mut actions: Vec<Value>) -> (Vec<Value>, Outcome, usize) {
        let is_ours = |action: &Value| self.ids.contains(&text(action, "id"));
        let others = actions.iter().filter(|action| !is_ours(action)).count();
        let there = actions.iter_mut().find(|action| is_ours(action));
        let outcome = match (&self.action, there) {
            (None, None) => Outcome::Absent,
            (None, Some(_)) => {
                actions.retain(|action| !is_ours(action));
                Outcome::Removed
            }
            (Some(action), None) => {
                actions.push(action.clone());
                Outcome::Created
            }
            // Its uuid and what somebody added to it stay.
            (Some(action), Some(there)) => {
                let mut outcome = Outcome::Unchanged;
                if let Some(there) = there.as_object_mut() {
                    for (key, ours) in action.as_object().into_iter().flatten() {
                        if there.get(key) != Some(ours) {
                            there.insert(key.clone(), ours.clone());
                            outcome = Outcome::Changed;
                        }
                    }
                }
                outcome
            }
        };
        (actions, outcome, others)
    }
}

fn list(rule: &Value, key: &str) -> Vec<Value> {
    rule.get(key).and_then(Value::as_array).cloned().unwrap_or_default()
}

fn text(rule: &Value, key: &str) -> String {
    rule.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// What a filter of ours leaves out.
fn networks(filter: &Value) -> Vec<String> {
    let networks = filter.pointer(NETWORKS).and_then(Value::as_array).into_iter().flatten();
    networks.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// A filter of ours may have been switched off or turned round in the rule's form.
fn is_in_force(filter: &Value) -> bool {
    let is = |place| filter.pointer(place).and_then(Value::as_bool).unwrap_or_default();
    is("/meta/negate") && !is("/meta/disabled")
}

/// Not the same for all: hosts that were set up together would meet again and again.
fn pause() -> Result<Duration, ApplyError> {
    let mut byte = [0];
    rand::fill(&mut byte).map_err(|_| ApplyError::Random)?;
    let [byte] = byte;
    Ok(PAUSE.saturating_add(STEP.saturating_mul(byte.into())))
}

const RULES: &str = "/api/detection_engine/rules";
const ATTEMPTS: usize = 8;
/// From reading a rule to having written it Kibana takes a second at most, unless it is overloaded.
const PAUSE: Duration = Duration::from_millis(1_500);
/// Up to 255 of these come on top.
const STEP: Duration = Duration::from_millis(4);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ctl::kibana::here::Here;
    use crate::ctl::simulate::Mode;

    fn part(host: &str, never: &[&str]) -> Part {
        let never = never.iter().map(|text| text.parse().unwrap()).collect();
        let here = Here::new(host, "a:5001", "token".into(), None, never);
        Part {
            which: Which::Wide,
            ids: vec![here.connector.clone()],
            action: Some(definitions::action(Mode::Each, &here.connector)),
            exclusion: definitions::exclusion(&here),
            label: definitions::label(&here.connector),
        }
    }

    /// What Kibana has after a host has joined.
    fn joined(mut rule: Value, part: &Part) -> Value {
        for (key, value) in part.merge(&rule).patch {
            rule[key] = value;
        }
        rule
    }

    fn fresh() -> Value {
        let mut rule = definitions::rule(Which::Wide);
        rule["enabled"] = json!(true);
        rule
    }

    #[test]
    fn three_hosts_have_an_action_and_an_exclusion_each_in_any_order() {
        let hosts = [("a", &["10.0.0.0/8"][..]), ("b", &[]), ("c", &["10.0.0.0/8", "::2"])];
        let parts = hosts.map(|(host, never)| part(host, never));
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let rule = order.into_iter().fold(fresh(), |rule, host| joined(rule, &parts[host]));
            let ids: Vec<_> = list(&rule, "actions").iter().map(|it| text(it, "id")).collect();
            assert_eq!((ids.len(), list(&rule, "filters").len()), (3, 2), "{rule:#}");
            for part in &parts {
                let merged = part.merge(&rule);
                assert!(merged.patch.is_empty() && merged.ruled.others == 2, "{:?}", merged.patch);
            }
        }
    }

    #[test]
    fn what_others_have_in_the_rule_stays_to_the_letter() {
        let mut rule = joined(fresh(), &part("a", &["10.0.0.0/8"]));
        rule["query"] = json!("mine");
        rule["actions"].as_array_mut().unwrap().insert(0, json!({ "id": "mail", "uuid": "u" }));
        rule["filters"].as_array_mut().unwrap().push(json!({ "meta": { "alias": "mine" } }));
        let with_b = joined(rule.clone(), &part("b", &["192.0.2.0/24"]));
        assert_eq!(with_b["query"], "mine");
        for key in ["actions", "filters"] {
            let before = list(&rule, key);
            assert_eq!(list(&with_b, key)[..before.len()], before, "{key}");
        }
        // And an action of its own keeps its uuid.
        let mut changed = with_b.clone();
        changed["actions"][2]["uuid"] = json!("of b");
        changed["actions"][2]["params"]["body"] = json!("old");
        let merged = part("b", &["192.0.2.0/24"]).merge(&changed);
        assert_eq!(merged.ruled.action, Outcome::Changed);
        assert_eq!(merged.patch["actions"][2]["uuid"], "of b");
        assert!(!merged.patch.contains_key("filters"));
    }

    #[test]
    fn who_leaves_takes_his_action_and_exclusion_along_and_nothing_else() {
        let hosts = [("a", &["10.0.0.0/8"][..]), ("b", &["::3"]), ("c", &[])];
        let parts = hosts.map(|(host, never)| part(host, never));
        let rule = parts.iter().fold(fresh(), joined);
        let [a, b, c] = parts;
        let leaving = |part: Part| Part { action: None, exclusion: None, ..part };
        let gone = leaving(b);
        let merged = gone.merge(&rule);
        assert_eq!((merged.ruled.action, merged.ruled.others), (Outcome::Removed, 2));
        assert_eq!(merged.ruled.included, ["::3"]);
        let without = joined(rule, &gone);
        assert_eq!(without, joined(joined(fresh(), &a), &c));
        assert!(gone.merge(&without).patch.is_empty());
        // The last one leaves a rule that calls nobody.
        let empty = [leaving(a), leaving(c)].iter().fold(without, joined);
        assert_eq!((&empty["actions"], &empty["filters"]), (&json!([]), &json!([])));
    }

    #[test]
    fn an_exclusion_follows_never_block_and_is_gone_with_it() {
        let rule =
            joined(joined(fresh(), &part("a", &["10.0.0.0/8", "::2"])), &part("b", &["::3"]));
        let merged = part("a", &["::2", "::4"]).merge(&rule);
        let told = (merged.ruled.excluded.as_slice(), merged.ruled.included.as_slice());
        assert_eq!(told, (&["::4".to_owned()][..], &["10.0.0.0/8".to_owned()][..]));
        assert_eq!(list(&rule, "filters").len(), 2);
        let rule = joined(rule, &part("a", &[]));
        assert_eq!(list(&rule, "filters").len(), 1, "b's stays");
        // Order is nothing; to be switched off or turned round is.
        let ab = joined(fresh(), &part("a", &["::2", "::4"]));
        assert!(part("a", &["::4", "::2"]).merge(&ab).patch.is_empty());
        for (key, value) in [("disabled", true), ("negate", false)] {
            let mut off = ab.clone();
            off["filters"][0]["meta"][key] = json!(value);
            assert!(!part("a", &["::2", "::4"]).merge(&off).patch.is_empty(), "{key}");
        }
    }
}
