//! One document: an action, its fields, each bounded.

use std::fmt::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use slog::{KV, Record, Serde, Serializer, Value};

use crate::action::Action;
use crate::{Suppressed, field};

/// What somebody did and what became of it. A field without a value is left out.
#[derive(Debug)]
pub struct Document {
    pub(crate) level: Level,
    message: String,
    action: Action,
    outcome: &'static str,
    fields: Vec<(&'static str, Field)>,
}

/// `log.level`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// As it should be.
    Info,
    /// Somebody should look.
    Warn,
}

#[derive(Debug)]
enum Field {
    Text(String),
    Number(i64),
    List(Vec<String>),
}

impl Document {
    /// A document with the action's own outcome. The message is ours: what came from outside has
    /// fields of its own.
    #[must_use]
    pub fn new(level: Level, action: Action, message: &str) -> Self {
        let outcome = action.row().outcome;
        Self { level, message: bounded(message), action, outcome, fields: Vec::new() }
    }

    /// Another `event.outcome` than the table's: `success`, `failure` or `unknown`.
    #[must_use]
    pub const fn outcome(mut self, outcome: &'static str) -> Self {
        self.outcome = outcome;
        self
    }

    /// A text, from wherever; without one there is no field.
    #[must_use]
    pub fn text(self, key: &'static str, text: &str) -> Self {
        if text.is_empty() { self } else { self.with(key, Field::Text(bounded(text))) }
    }

    /// A number.
    #[must_use]
    pub fn number(self, key: &'static str, number: impl Into<i64>) -> Self {
        self.with(key, Field::Number(number.into()))
    }

    /// A list of words; an empty one is no field.
    #[must_use]
    pub fn list(self, key: &'static str, words: &[String]) -> Self {
        let words: Vec<String> = words.iter().map(|word| bounded(word)).collect();
        if words.is_empty() { self } else { self.with(key, Field::List(words)) }
    }

    /// A moment, in seconds since the Unix epoch.
    #[must_use]
    pub fn time(self, key: &'static str, seconds: u64) -> Self {
        let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        self.text(key, &time.map_or_else(String::new, rfc3339))
    }

    /// The address or network that this is about, and who asked.
    ///
    /// `source.ip` is of Elasticsearch's type `ip`, which holds no network: that stands in
    /// `source.address` alone, as ECS has it for what is no address.
    #[must_use]
    pub fn about(self, target: &str, host: Option<IpAddr>, client: Option<IpAddr>) -> Self {
        let text = |address: Option<IpAddr>| address.map(|address| address.to_string());
        let related: Vec<String> = [host, client].into_iter().filter_map(text).collect();
        self.text(field::SOURCE, target)
            .text("source.ip", &text(host).unwrap_or_default())
            .text(field::CLIENT, &text(client).unwrap_or_default())
            .list("related.ip", &related)
    }

    /// How many were left out before it.
    #[must_use]
    pub fn suppressed(self, Suppressed(count): Suppressed) -> Self {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        if count == 0 { self } else { self.number(field::SUPPRESSED, count) }
    }

    fn with(mut self, key: &'static str, field: Field) -> Self {
        self.fields.push((key, field));
        self
    }
}

impl KV for Document {
    fn serialize(&self, record: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        let row = self.action.row();
        let list = |words: &[&str]| -> Serde<Vec<String>> {
            Serde(words.iter().map(|word| (*word).to_owned()).collect())
        };
        let level = if self.level == Level::Info { "info" } else { "warn" };
        serializer.emit_str("log.level", level)?;
        serializer.emit_str("message", &self.message)?;
        serializer.emit_str(field::ACTION, row.name)?;
        list(row.category).serialize(record, "event.category", serializer)?;
        list(row.kind).serialize(record, "event.type", serializer)?;
        serializer.emit_str("event.outcome", self.outcome)?;
        for (key, field) in &self.fields {
            match field {
                Field::Text(text) => serializer.emit_str(key, text)?,
                Field::Number(number) => serializer.emit_i64(key, *number)?,
                Field::List(words) => Serde(words.clone()).serialize(record, key, serializer)?,
            }
        }
        Ok(())
    }
}

/// UTC with milliseconds. humantime panics at what lies before 1970, and writes nothing after 9999.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let mut text = String::new();
    let _ = write!(text, "{}", humantime::format_rfc3339_millis(time.max(UNIX_EPOCH)));
    text
}

/// As much of a text as a document holds; the rest is counted.
fn bounded(text: &str) -> String {
    match text.split_at_checked(text.floor_char_boundary(MAX_BYTES)) {
        None | Some((_, "")) => text.to_owned(),
        Some((shown, rest)) => format!("{shown}...({} bytes more)", rest.len()),
    }
}

/// Bytes of a text. Elasticsearch leaves longer keywords than this out of its index by ECS's mapping
/// (`ignore_above`).
const MAX_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_at_a_character_and_the_rest_counted() {
        assert_eq!(bounded(&"x".repeat(1024)).len(), 1024);
        let text = bounded(&format!("x{}", "é".repeat(100_000)));
        assert!(text.starts_with("xéé") && text.ends_with("é...(198978 bytes more)"), "{text}");
        assert!(text.len() < 1100);
    }

    #[test]
    fn a_time_that_nobody_means_panics_nowhere() {
        let day = Duration::from_secs(86_400);
        assert_eq!(rfc3339(UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(UNIX_EPOCH - day), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            rfc3339(UNIX_EPOCH + Duration::from_millis(1_795_472_758_042)),
            "2026-11-23T22:25:58.042Z"
        );
        for seconds in [253_402_300_800, u64::MAX] {
            let document =
                Document::new(Level::Info, Action::Blocked, "x").time("webhookd.until", seconds);
            assert!(document.fields.is_empty());
        }
    }

    #[test]
    fn a_network_is_no_address_and_nothing_empty_is_a_field() {
        let document = |target, host: Option<&str>| {
            let host = host.map(|host| host.parse().unwrap());
            let document =
                Document::new(Level::Info, Action::Blocked, "x").about(target, host, None);
            document.fields.iter().map(|(key, _)| *key).collect::<Vec<_>>()
        };
        assert_eq!(document("198.51.100.0/24", None), ["source.address"]);
        let all = ["source.address", "source.ip", "related.ip"];
        assert_eq!(document("198.51.100.7", Some("198.51.100.7")), all);
    }
}
