//! Bodies that Kibana posts. A second reader, which knows nothing of the first, says which texts stand
//! in documented fields; what the first one takes must be among them.

use std::collections::HashSet;
use std::fmt;

use frontend::server::body::Alert;
use protocol::MAX_TARGETS;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// No address is taken that does not stand in a documented field, and none twice.
pub(crate) fn fuzz(bytes: &[u8]) {
    let Ok(alert) = Alert::parse(bytes) else { return };
    assert!(alert.candidates.len() <= MAX_TARGETS);
    let text = std::str::from_utf8(bytes).unwrap();
    let mut words = HashSet::new();
    collect(text, "", 0, &mut words);
    let mut seen = HashSet::new();
    for candidate in &alert.candidates {
        let Ok(target) = candidate.target else { continue };
        assert!(words.contains(&candidate.text), "{candidate:?} is in no documented field");
        assert_eq!(candidate.text.parse(), Ok(target));
        assert!(seen.insert(target), "{target} twice");
    }
}

/// Every value, duplicate keys too, which serde_json's own type drops.
enum Value {
    Text(String),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
    Other,
}

impl Value {
    /// Adds the words of its texts that stand in documented fields below `path`.
    fn collect(&self, path: &str, layer: u8, words: &mut HashSet<String>) {
        match self {
            Self::Text(text) => collect(text, path, layer + 1, words),
            Self::List(values) => values.iter().for_each(|one| one.collect(path, layer, words)),
            Self::Object(members) => {
                if TERMS.iter().any(|terms| documented(path, terms))
                    && !members.iter().any(|(key, value)| key == "field" && value.says_source())
                {
                    return;
                }
                for (key, value) in members {
                    let dot = if path.is_empty() { "" } else { "." };
                    value.collect(&format!("{path}{dot}{key}"), layer, words);
                }
            }
            Self::Other => {}
        }
    }

    fn says_source(&self) -> bool {
        match self {
            Self::Text(text) => text == "source.ip",
            Self::List(values) => values.iter().any(Self::says_source),
            Self::Object(members) => members.iter().any(|(_, value)| value.says_source()),
            Self::Other => false,
        }
    }
}

/// A text is a list of addresses and nothing else, or JSON, or several pieces of it.
fn collect(text: &str, path: &str, layer: u8, words: &mut HashSet<String>) {
    if layer > 4 {
        return;
    }
    if takes_addresses(path) {
        let bare = text.trim();
        let bare = bare.strip_prefix('[').and_then(|bare| bare.strip_suffix(']')).unwrap_or(bare);
        let split = || bare.split([',', ' ', '\t', '\n', '\r']).filter(|word| !word.is_empty());
        let is_address = |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':' | '/');
        if split().all(|word| word.chars().all(is_address)) {
            words.extend(split().map(str::to_owned));
        }
    }
    let mut rest = text.trim();
    while !rest.is_empty() {
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        let Some(Ok(value)) = values.next() else { return };
        value.collect(path, layer, words);
        let after = rest[values.byte_offset()..].trim_start();
        rest = after.strip_prefix(',').unwrap_or(after).trim_start();
    }
}

/// Whether README.md's table has an address at this path: nested and dotted keys read the same.
fn takes_addresses(path: &str) -> bool {
    if matches!(path, "" | "ip" | "ips") || CONTAINERS.contains(&path) {
        return true;
    }
    ADDRESSES.iter().any(|field| documented(path, field))
        || TERMS.iter().any(|terms| documented(path, &format!("{terms}.value")))
}

/// Whether the path is this field's, in the body or in documents in it.
fn documented(path: &str, field: &str) -> bool {
    if path == field {
        return true;
    }
    let inside = CONTAINERS.iter().chain(&["alert", "data", "_source", "fields"]);
    inside.into_iter().any(|outer| {
        let rest = path.strip_prefix(outer).and_then(|rest| rest.strip_prefix('.'));
        rest.is_some_and(|rest| documented(rest, field))
    })
}

const ADDRESSES: [&str; 5] = [
    "source.ip",
    "context.source.ip",
    "grouping.source.ip",
    "context.grouping.source.ip",
    "kibana.alert.grouping.source.ip",
];
const TERMS: [&str; 7] = [
    "threshold_result.terms",
    "kibana.alert.threshold_result.terms",
    "signal.threshold_result.terms",
    "kibana.alert.suppression.terms",
    "kibana.alert.group",
    "group",
    "context.group",
];
const CONTAINERS: [&str; 8] = [
    "alerts",
    "context.alerts",
    "alerts.all.data",
    "alerts.new.data",
    "alerts.ongoing.data",
    "hits",
    "hits.hits",
    "context.hits",
];

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = sequence.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Value::Object(members))
    }
}
