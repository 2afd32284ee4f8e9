//! What a template can name, prepared as Kibana does it.

use crate::ctl::simulate::mustache::budget::{Budget, TooMuch};
use crate::ctl::simulate::mustache::value::{Object, Value};

/// The variables with Kibana's functions beside them, in which `{"source.ip": x}` is also found as
/// `source` with `ip` in it.
///
/// # Errors
/// That takes too much.
pub(super) fn prepared(variables: Value, budget: &Budget) -> Result<Value, TooMuch> {
    let lambdas = LAMBDAS.iter().map(|name| ((*name).to_owned(), Value::Lambda(name)));
    Ok(match with_dots(variables, true, 0, budget)? {
        Value::Object(object) => Value::Object(lambdas.chain(object.into_members()).collect()),
        other => other,
    })
}

/// An alert's document with `source` in place of `source.ip`.
///
/// # Errors
/// That takes too much.
pub(in crate::ctl::simulate) fn expanded(
    document: Value,
    budget: &Budget,
) -> Result<Value, TooMuch> {
    with_dots(document, false, 0, budget)
}

/// An object of these members.
pub(in crate::ctl::simulate) fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn with_dots(value: Value, keep: bool, depth: usize, budget: &Budget) -> Result<Value, TooMuch> {
    budget.allows(depth)?;
    let inside = |value| with_dots(value, keep, depth.saturating_add(1), budget);
    Ok(match value {
        Value::List(values) => {
            Value::List(values.into_iter().map(inside).collect::<Result<_, _>>()?)
        }
        Value::Object(object) => {
            let (mut whole, mut dotted) = (Vec::new(), Vec::new());
            for (key, value) in object.into_members() {
                if !key.contains('.') {
                    whole.push((key, value));
                    continue;
                }
                if keep {
                    budget.spend(value.weight())?;
                    whole.push((key.clone(), value.clone()));
                }
                dotted.push((key, value));
            }
            let mut object: Object = whole.into_iter().collect();
            for (key, value) in dotted {
                merge_at(&mut object, &key.split('.').collect::<Vec<_>>(), value, budget)?;
            }
            let members = object.into_members().into_iter();
            let members = members.map(|(key, value)| Ok((key, inside(value)?)));
            Value::Object(members.collect::<Result<_, TooMuch>>()?)
        }
        other => other,
    })
}

/// Puts a value where a path leads, among what is there. Deeper than any alert is nowhere.
fn merge_at(
    object: &mut Object,
    path: &[&str],
    value: Value,
    budget: &Budget,
) -> Result<(), TooMuch> {
    if path.len() > MAX_DEPTH {
        return Ok(());
    }
    budget.spend(0)?;
    let nested = path.iter().skip(1).rev().fold(value, |inner, key| object_of(key, inner));
    match path.first().and_then(|key| object.entry(key)) {
        Some(place) => merge(place, nested, budget),
        None => Ok(()),
    }
}

fn object_of(key: &str, value: Value) -> Value {
    object([(key, value)])
}

/// lodash's `merge`: objects and lists member by member.
fn merge(target: &mut Value, source: Value, budget: &Budget) -> Result<(), TooMuch> {
    match (target, source) {
        (Value::Object(target), Value::Object(source)) => {
            for (key, value) in source.into_members() {
                // A key is looked for among all.
                budget.spend(0)?;
                if let Some(place) = target.entry(&key) {
                    merge(place, value, budget)?;
                }
            }
        }
        (Value::List(target), Value::List(source)) => {
            let beyond = target.len();
            for (index, value) in source.into_iter().enumerate() {
                match target.get_mut(index) {
                    Some(place) if index < beyond => merge(place, value, budget)?,
                    _ => target.push(value),
                }
            }
        }
        (target, source) => *target = source,
    }
    Ok(())
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
            assert_eq!(with_dots(value(json), true, 0, &Budget::new()).unwrap().json(), kept);
            assert_eq!(expanded(value(json), &Budget::new()).unwrap().json(), replaced);
        }
        let deep = format!("{{\"{}\":1}}", "a.".repeat(1_000_000));
        assert_eq!(expanded(value(&deep), &Budget::new()).unwrap().json(), "{}");
    }

    #[test]
    fn what_grows_without_end_is_given_up_soon_and_overflows_no_stack() {
        let nested = |key: &str| {
            let text = format!("{}1{}", format!("{{\"{key}\":").repeat(120), "}".repeat(120));
            value(&text)
        };
        // Each level is there twice, so that there are 2^120 of the last.
        assert_eq!(prepared(nested("a.b"), &Budget::new()), Err(TooMuch::Large));
        let deep = ["a"; MAX_DEPTH].join(".");
        assert_eq!(expanded(nested(&deep), &Budget::new()), Err(TooMuch::Deep));
        // Each key is looked for among all.
        let members: Vec<String> = (0..200_000).map(|n| format!("\"k{n}.a\":1")).collect();
        let many = value(&format!("{{{}}}", members.join(",")));
        let hurried = Budget::lasting(std::time::Duration::from_millis(100));
        assert_eq!(expanded(many, &hurried), Err(TooMuch::Long));
    }
}
