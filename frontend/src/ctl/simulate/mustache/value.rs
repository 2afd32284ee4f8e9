//! Values as JavaScript has them: the order of keys, numbers without a type, texts of everything.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// What a variable of a template can be.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::ctl::simulate) enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Self>),
    Object(Object),
    /// One of Kibana's own functions.
    Lambda(&'static str),
}

/// Keys and values in JavaScript's order: those that are numbers first, then as they came.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::ctl::simulate) struct Object(Vec<(String, Value)>);

impl Value {
    pub(in crate::ctl::simulate) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// `String(value)` after Kibana's preparation: objects are JSON, lists are joined by commas.
    pub(in crate::ctl::simulate) fn shown(&self) -> String {
        match self {
            Self::Null | Self::Lambda(_) => String::new(),
            Self::Bool(bool) => bool.to_string(),
            Self::Number(value) => number(*value),
            Self::Text(text) => text.clone(),
            Self::List(values) => values.iter().map(Self::shown).collect::<Vec<_>>().join(","),
            Self::Object(_) => self.json(),
        }
    }

    /// `JSON.stringify(value)`.
    pub(in crate::ctl::simulate) fn json(&self) -> String {
        match self {
            Self::Null | Self::Lambda(_) => "null".to_owned(),
            Self::Bool(bool) => bool.to_string(),
            Self::Number(value) => number(*value),
            Self::Text(text) => quoted(text),
            Self::List(values) => {
                format!("[{}]", values.iter().map(Self::json).collect::<Vec<_>>().join(","))
            }
            Self::Object(object) => {
                // Functions are left out.
                let data = object.iter().filter(|(_, value)| !matches!(value, Self::Lambda(_)));
                let members = data.map(|(key, value)| format!("{}:{}", quoted(key), value.json()));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }
        }
    }

    /// Whether a section of it is shown.
    pub(in crate::ctl::simulate) fn is_truthy(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(bool) => *bool,
            Self::Number(number) => *number != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(_) | Self::Object(_) | Self::Lambda(_) => true,
        }
    }

    /// Bytes that a copy of it takes, roughly.
    pub(in crate::ctl::simulate) fn weight(&self) -> usize {
        let inner = match self {
            Self::Text(text) => text.len(),
            Self::List(values) => values.iter().map(Self::weight).fold(0, usize::saturating_add),
            Self::Object(object) => {
                let members =
                    object.iter().map(|(key, value)| value.weight().saturating_add(key.len()));
                members.fold(0, usize::saturating_add)
            }
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Lambda(_) => 0,
        };
        inner.saturating_add(size_of::<Self>())
    }

    /// What a dotted path leads to.
    pub(in crate::ctl::simulate) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |value, key| match value {
            Self::Object(object) => object.get(key),
            _ => None,
        })
    }
}

impl Object {
    pub(in crate::ctl::simulate) fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub(in crate::ctl::simulate) fn iter(&self) -> impl Iterator<Item = &(String, Value)> {
        self.0.iter()
    }

    pub(in crate::ctl::simulate) fn into_members(self) -> Vec<(String, Value)> {
        self.0
    }

    /// The place of a key, which is null where it is new.
    pub(in crate::ctl::simulate) fn entry(&mut self, key: &str) -> Option<&mut Value> {
        if self.get(key).is_none() {
            let place = match index(key) {
                None => self.0.len(),
                Some(new) => {
                    let before = |(name, _): &(String, Value)| index(name).is_some_and(|i| i < new);
                    self.0.iter().take_while(|member| before(member)).count()
                }
            };
            self.0.insert(place, (key.to_owned(), Value::Null));
        }
        self.0.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value)
    }
}

/// The last of members with the same name counts, at the place of the first.
impl FromIterator<(String, Value)> for Object {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(members: I) -> Self {
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut object: Vec<(String, Value)> = Vec::new();
        for (key, value) in members {
            match places.get(&key).and_then(|place| object.get_mut(*place)) {
                Some(member) => member.1 = value,
                None => {
                    places.insert(key.clone(), object.len());
                    object.push((key, value));
                }
            }
        }
        object.sort_by_key(|(key, _)| index(key).map_or((true, 0), |index| (false, index)));
        Self(object)
    }
}

/// A key that is an index, which JavaScript puts first.
fn index(key: &str) -> Option<u32> {
    let index: u32 = key.parse().ok()?;
    (index < u32::MAX && index.to_string() == key).then_some(index)
}

/// A text as JSON, as both languages write it.
pub(in crate::ctl::simulate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// `String(number)`: ECMAScript 2024, 6.1.6.1.20.
fn number(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    // The shortest digits that mean this number, as JavaScript has them.
    let scientific = format!("{:e}", number.abs());
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let digits = digits.replace('.', "");
    let point = exponent.parse::<i32>().unwrap_or_default().saturating_add(1);
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or_default());
    let split = |at: i32| digits.split_at_checked(usize::try_from(at).unwrap_or_default());
    let text = if (count..=21).contains(&point) {
        format!("{digits}{}", zeros(point.saturating_sub(count)))
    } else if (1..=21).contains(&point) {
        let (whole, part) = split(point).unwrap_or((&digits, ""));
        format!("{whole}.{part}")
    } else if (-5..=0).contains(&point) {
        format!("0.{}{digits}", zeros(point.saturating_neg()))
    } else {
        let (first, rest) = split(1).unwrap_or((&digits, ""));
        let dot = if rest.is_empty() { "" } else { "." };
        format!("{first}{dot}{rest}e{:+}", point.saturating_sub(1))
    };
    if number < 0.0 { format!("-{text}") } else { text }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, bool: bool) -> Result<Value, E> {
        Ok(Value::Bool(bool))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Value, E> {
        self.visit_str_as_number(&number.to_string())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Value, E> {
        self.visit_str_as_number(&number.to_string())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Value::Object(members.into_iter().collect()))
    }
}

impl ValueVisitor {
    /// The nearest number that JavaScript has.
    fn visit_str_as_number<E: serde::de::Error>(self, digits: &str) -> Result<Value, E> {
        digits.parse().map(Value::Number).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(json: &str) -> Value {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn numbers_are_written_as_javascript_writes_them() {
        for (json, expected) in [
            ("17", "17"),
            ("-17", "-17"),
            ("1.0", "1"),
            ("-0.0", "0"),
            ("1.50", "1.5"),
            ("1e3", "1000"),
            ("123456789012345678901", "123456789012345680000"),
            ("9007199254740993", "9007199254740992"),
            ("1e21", "1e+21"),
            ("1.5e300", "1.5e+300"),
            ("0.000001", "0.000001"),
            ("0.0000001", "1e-7"),
            ("1.25e-9", "1.25e-9"),
            ("0.1", "0.1"),
            ("100.25", "100.25"),
        ] {
            assert_eq!(value(json).shown(), expected, "{json}");
        }
    }

    #[test]
    fn everything_has_a_text_and_is_json_in_javascripts_order() {
        for (json, shown, written) in [
            ("null", "", "null"),
            ("true", "true", "true"),
            (r#""a\"b\n\u001f\u007fé""#, "a\"b\n\u{1f}\u{7f}é", "\"a\\\"b\\n\\u001f\u{7f}é\""),
            (r#"["a",null,[1,[2]],{"b":1}]"#, r#"a,,1,2,{"b":1}"#, r#"["a",null,[1,[2]],{"b":1}]"#),
            (
                r#"{"b":1,"a":[],"10":2,"2":3,"b":4,"01":5}"#,
                r#"{"2":3,"10":2,"b":4,"a":[],"01":5}"#,
                r#"{"2":3,"10":2,"b":4,"a":[],"01":5}"#,
            ),
        ] {
            assert_eq!((&*value(json).shown(), &*value(json).json()), (shown, written), "{json}");
        }
    }
}
