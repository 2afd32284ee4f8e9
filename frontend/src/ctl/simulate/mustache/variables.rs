//! What a template can name, prepared as Kibana does it.

use crate::ctl::simulate::mustache::value::{Object, Value};

/// The variables with Kibana's functions beside them, in which `{"source.ip": x}` is also found as
/// `source` with `ip` in it.
pub(super) fn prepared(variables: Value) -> Value {
    let lambdas = LAMBDAS.iter().map(|name| ((*name).to_owned(), Value::Lambda(name)));
    match with_dots(variables, true) {
        Value::Object(object) => Value::Object(lambdas.chain(object.into_members()).collect()),
        other => other,
    }
}

/// An alert's document with `source` in place of `source.ip`.
pub(in crate::ctl::simulate) fn expanded(document: Value) -> Value {
    with_dots(document, false)
}

/// An object of these members.
pub(in crate::ctl::simulate) fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn with_dots(value: Value, keep: bool) -> Value {
    match value {
        Value::List(values) => {
            Value::List(values.into_iter().map(|value| with_dots(value, keep)).collect())
        }
        Value::Object(object) => {
            let members: Vec<(String, Value)> = object.into_members();
            let (dotted, mut whole): (Vec<_>, Vec<_>) =
                members.iter().cloned().partition(|(key, _)| key.contains('.'));
            if keep {
                whole = members;
            }
            let mut object: Object = whole.into_iter().collect();
            for (key, value) in dotted {
                merge_at(&mut object, &key.split('.').collect::<Vec<_>>(), value);
            }
            let members = object.into_members().into_iter();
            Value::Object(members.map(|(key, value)| (key, with_dots(value, keep))).collect())
        }
        other => other,
    }
}

/// Puts a value where a path leads, among what is there. Deeper than any alert is nowhere.
fn merge_at(object: &mut Object, path: &[&str], value: Value) {
    if path.len() > MAX_DEPTH {
        return;
    }
    let nested = path.iter().skip(1).rev().fold(value, |inner, key| object_of(key, inner));
    if let Some(place) = path.first().and_then(|key| object.entry(key)) {
        merge(place, nested);
    }
}

fn object_of(key: &str, value: Value) -> Value {
    object([(key, value)])
}

/// lodash's `merge`: objects and lists member by member.
fn merge(target: &mut Value, source: Value) {
    match (target, source) {
        (Value::Object(target), Value::Object(source)) => {
            for (key, value) in source.into_members() {
                if let Some(place) = target.entry(&key) {
                    merge(place, value);
                }
            }
        }
        (Value::List(target), Value::List(source)) => {
            let beyond = target.len();
            for (index, value) in source.into_iter().enumerate() {
                match target.get_mut(index) {
                    Some(place) if index < beyond => merge(place, value),
                    _ => target.push(value),
                }
            }
        }
        (target, source) => *target = source,
    }
}

/// Kibana's functions (`mustache_lambdas.ts`).
pub(super) const LAMBDAS: [&str; 6] =
    ["EvalMath", PARSE_HJSON, "FormatDate", "FormatNumber", "EncodeURI", "EncodeURIComponent"];
/// The one that templates for lists need.
pub(super) const PARSE_HJSON: &str = "ParseHjson";
/// Names in a dotted key.
const MAX_DEPTH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn value(json: &str) -> Value {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn dotted_keys_are_found_as_paths() {
        for (json, kept, replaced) in [
            (
                r#"{"source.ip":"a"}"#,
                r#"{"source.ip":"a","source":{"ip":"a"}}"#,
                r#"{"source":{"ip":"a"}}"#,
            ),
            (
                r#"{"a.b":1,"a":{"c":[{"d.e":2}]}}"#,
                r#"{"a.b":1,"a":{"c":[{"d.e":2,"d":{"e":2}}],"b":1}}"#,
                r#"{"a":{"c":[{"d":{"e":2}}],"b":1}}"#,
            ),
            (
                r#"{"a.b":[1],"a":{"b":[2,3]}}"#,
                r#"{"a.b":[1],"a":{"b":[1,3]}}"#,
                r#"{"a":{"b":[1,3]}}"#,
            ),
        ] {
            assert_eq!(with_dots(value(json), true).json(), kept);
            assert_eq!(expanded(value(json)).json(), replaced);
        }
        let deep = format!("{{\"{}\":1}}", "a.".repeat(1_000_000));
        assert_eq!(expanded(value(&deep)).json(), "{}");
    }
}
