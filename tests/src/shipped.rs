//! What packaging/elastic ships.

use std::fs;
use std::path::PathBuf;

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Value, json};

/// A file or folder there.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/elastic")).join(name)
}

/// The text of a file.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A file of JSON.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn json(name: &str) -> Value {
    serde_json::from_str(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A file of YAML.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn yaml(name: &str) -> Value {
    parsed(&text(name))
}

/// The only document of a text in YAML.
///
/// # Panics
/// When there is none, or more.
#[must_use]
pub fn parsed(text: &str) -> Value {
    let documents = Yaml::load_from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let [document] = &documents[..] else { panic!("one document: {text}") };
    json_of(document)
}

fn json_of(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => json!(value),
        Yaml::Value(Scalar::Integer(value)) => json!(value),
        Yaml::Value(Scalar::String(value)) => json!(value),
        Yaml::Sequence(values) => values.iter().map(json_of).collect(),
        Yaml::Mapping(pairs) => {
            let pair =
                |(key, value): (&Yaml, _)| (key.as_str().unwrap().to_owned(), json_of(value));
            Value::Object(pairs.iter().map(pair).collect())
        }
        other => panic!("neither text nor list nor keys: {other:?}"),
    }
}
