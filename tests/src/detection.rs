//! A threshold rule of Elastic Security over documents: who would be in an alert of one run of it.
//!
//! It knows as much of a rule as the shipped ones use, and panics at the rest.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use protocol::Target;
use serde_json::Value;

/// A group over the threshold: its address, and how many documents it has.
pub type Group = (String, u64);

/// One run of a rule at a moment, the groups in the order of their addresses. A document has its
/// fields under dotted names.
///
/// # Panics
/// At what it does not know.
#[must_use]
pub fn run(rule: &Value, documents: &[Value], now: Timestamp) -> Vec<Group> {
    assert_eq!((&rule["type"], &rule["language"]), (&"threshold".into(), &"kuery".into()));
    assert_eq!((&rule["to"], rule["enabled"].as_bool()), (&"now".into(), Some(true)));
    let query = Query::parsed(text(&rule["query"]));
    let began = now - back(text(&rule["from"]));
    let threshold = &rule["threshold"];
    assert_eq!(threshold["cardinality"], Value::Array(Vec::new()));
    let [field] = list(&threshold["field"])[..] else { panic!("one field: {threshold}") };
    let mut groups = BTreeMap::<_, u64>::new();
    for document in documents {
        let at: Timestamp = text(&document["@timestamp"]).parse().unwrap();
        let counts = at > began
            && at <= now
            && list(&rule["index"]).iter().any(|index| is_in(index, document))
            && query.finds(document)
            && rule["filters"].as_array().unwrap().iter().all(|filter| leaves(filter, document));
        if let (true, Some(address)) = (counts, document[field].as_str()) {
            *groups.entry(address.to_owned()).or_default() += 1;
        }
    }
    let over = groups.into_iter().filter(|(_, count)| Some(*count) >= threshold["value"].as_u64());
    let most = rule["max_signals"].as_u64().unwrap().try_into().unwrap();
    over.take(most).collect()
}

/// A query in KQL: terms that all hold, `FIELD : "VALUE"`, or of several values `FIELD : ("A" or "B")`.
#[derive(Debug)]
pub struct Query<'text>(pub Vec<(&'text str, Vec<&'text str>)>);

impl<'text> Query<'text> {
    /// Understands a query.
    ///
    /// # Panics
    /// At what is not of that form.
    #[must_use]
    pub fn parsed(query: &'text str) -> Self {
        let quoted = |value: &'text str| {
            let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            let inner = inner.unwrap_or_else(|| panic!("a value stands in quotes: {value}"));
            assert!(!inner.contains(['"', '\\', '*']), "a plain value: {value}");
            inner
        };
        let term = |term: &'text str| {
            let (field, value) = term.split_once(" : ").unwrap_or_else(|| panic!("{term}?"));
            let name = |byte: u8| byte.is_ascii_alphanumeric() || b"._@".contains(&byte);
            assert!(field.bytes().all(name), "a field is a name: {term}");
            match value.strip_prefix('(').and_then(|value| value.strip_suffix(')')) {
                Some(several) => (field, several.split(" or ").map(quoted).collect()),
                None => (field, vec![quoted(value)]),
            }
        };
        Self(query.split(" and ").map(term).collect())
    }

    /// Whether a document is found. A field with several values has each of them.
    #[must_use]
    pub fn finds(&self, document: &Value) -> bool {
        let is = |one: &Value, values: &[&str]| values.iter().any(|value| one == value);
        self.0.iter().all(|(field, values)| match &document[field] {
            Value::Array(all) => all.iter().any(|one| is(one, values)),
            one => is(one, values),
        })
    }
}

/// `now-5m`.
fn back(from: &str) -> SignedDuration {
    let minutes = from.strip_prefix("now-").and_then(|from| from.strip_suffix('m'));
    let minutes = minutes.unwrap_or_else(|| panic!("not in minutes: {from}"));
    SignedDuration::from_mins(minutes.parse().unwrap())
}

/// `filebeat-*`.
fn is_in(index: &str, document: &Value) -> bool {
    let prefix = index.strip_suffix('*').unwrap_or_else(|| panic!("no pattern: {index}"));
    text(&document["_index"]).starts_with(prefix)
}

/// A filter that leaves out what is in one of its networks does not.
fn leaves(filter: &Value, document: &Value) -> bool {
    let meta = &filter["meta"];
    assert_eq!((&meta["negate"], &meta["disabled"]), (&true.into(), &false.into()), "{filter}");
    let query = filter["query"].as_object().unwrap();
    assert!(query.len() == 1, "one query: {filter}");
    let terms = query["terms"].as_object().unwrap();
    terms.iter().all(|(field, networks)| {
        let networks: Vec<Target> =
            list(networks).iter().map(|network| network.parse().unwrap()).collect();
        let address: Option<Target> = document[field].as_str().map(|text| text.parse().unwrap());
        address.is_none_or(|address| !networks.iter().any(|one| one.overlaps(address.net())))
    })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn list(value: &Value) -> Vec<&str> {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}")).iter().map(text).collect()
}
