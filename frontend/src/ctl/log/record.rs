//! One document of an audit log, understood as far as it is shown.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use logging::{Action, field};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

/// What one line says. Its texts are from outside.
#[derive(Debug)]
pub(super) struct Record {
    /// When.
    pub(super) at: Timestamp,
    /// What.
    pub(super) action: Action,
    /// The rest.
    pub(super) fields: Fields,
    /// The line itself.
    pub(super) line: String,
}

impl Record {
    /// Understands a line; None for what is no record.
    pub(super) fn read(line: &[u8]) -> Option<Self> {
        let line = str::from_utf8(line).ok()?;
        let mut fields: Fields = serde_json::from_str(line).ok()?;
        let at = fields.at.take()?.parse().ok()?;
        let action = Action::named(&fields.action.take()?)?;
        Some(Self { at, action, fields, line: line.to_owned() })
    }

    /// Whether this is webhookd's word on a request that webhook-privd was asked about.
    pub(super) fn is_request(&self) -> bool {
        self.action == Action::RequestAccepted
    }

    /// Whether this is webhook-privd's word on one address of a request. What becomes of the block
    /// later bears the same event, and is not part of the request.
    pub(super) const fn is_verdict(&self) -> bool {
        matches!(
            self.action,
            Action::Blocked
                | Action::AlreadyBlocked
                | Action::WouldBlock
                | Action::BlockRefused
                | Action::BlockOverQuota
                | Action::BlockFailed
                | Action::BlockPending
                | Action::BlockUnavailable
        )
    }
}

/// The fields that are shown or chosen by, as they stand in the document.
#[derive(Debug, Default)]
pub(super) struct Fields {
    at: Option<String>,
    action: Option<String>,
    pub(super) event: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) source: Option<String>,
    pub(super) client: Option<String>,
    pub(super) rule: Option<String>,
    pub(super) user: Option<String>,
    pub(super) status: Option<u64>,
    pub(super) outcomes: Vec<String>,
    pub(super) refusal: Option<String>,
    pub(super) detail: Option<String>,
    pub(super) until: Option<String>,
    pub(super) pid: Option<i64>,
    pub(super) verb: Option<String>,
    pub(super) token: Option<String>,
    pub(super) addresses: Option<u64>,
    pub(super) suppressed: Option<u64>,
    pub(super) kind: Option<String>,
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Fields::default();
        while let Some(Key(key)) = map.next_key()? {
            match &*key {
                field::AT => fields.at = map.next_value()?,
                field::ACTION => fields.action = map.next_value()?,
                field::EVENT => fields.event = map.next_value()?,
                field::REASON => fields.reason = map.next_value()?,
                field::SOURCE => fields.source = map.next_value()?,
                field::CLIENT => fields.client = map.next_value()?,
                field::RULE => fields.rule = map.next_value()?,
                field::EFFECTIVE_USER => fields.user = map.next_value()?,
                field::STATUS => fields.status = map.next_value()?,
                field::OUTCOME => fields.outcomes = map.next_value::<Words>()?.into(),
                field::REFUSAL => fields.refusal = map.next_value()?,
                field::DETAIL => fields.detail = map.next_value()?,
                field::UNTIL => fields.until = map.next_value()?,
                field::PEER_PID => fields.pid = map.next_value()?,
                field::VERB => fields.verb = map.next_value()?,
                field::TOKEN => fields.token = map.next_value()?,
                field::ADDRESSES => fields.addresses = map.next_value()?,
                field::SUPPRESSED => fields.suppressed = map.next_value()?,
                field::KIND => fields.kind = map.next_value()?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(fields)
    }
}

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// webhook-privd says one, webhookd a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    One(String),
    Many(Vec<String>),
}

impl From<Words> for Vec<String> {
    fn from(words: Words) -> Self {
        match words {
            Words::One(word) => vec![word],
            Words::Many(words) => words,
        }
    }
}

/// A record of an action with fields as JSON, for unit tests.
#[cfg(test)]
pub(super) fn record(action: Action, fields: serde_json::Value) -> Record {
    let mut document = fields;
    let at = || serde_json::json!("2026-11-23T14:00:00.042Z");
    let fields = document.as_object_mut().unwrap();
    fields.entry(field::AT).or_insert_with(at);
    fields.insert(field::ACTION.to_owned(), action.name().into());
    Record::read(document.to_string().as_bytes()).unwrap()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_read_whoever_wrote_it() {
        let one = record(Action::Blocked, json!({ "webhookd.outcome": "blocked", "x": [{}] }));
        assert_eq!(
            (&one.fields.outcomes[..], one.at.as_second()),
            (&["blocked".to_owned()][..], 1_795_442_400)
        );
        let two =
            record(Action::RequestAccepted, json!({ "webhookd.outcome": ["blocked", "refused"] }));
        assert_eq!(two.fields.outcomes, ["blocked", "refused"]);
        assert!(one.is_verdict() && !one.is_request() && two.is_request() && !two.is_verdict());
        // A key may be written with escapes.
        let line = br#"{"\u0040timestamp":"2026-11-23T14:00:00Z","event.action":"ip-expired"}"#;
        assert_eq!(Record::read(line).unwrap().action, Action::Expired);
    }

    #[test]
    fn what_is_no_document_of_ours_is_no_record() {
        let time = r#""@timestamp":"2026-11-23T14:00:00Z""#;
        for line in [
            String::new(),
            "text".to_owned(),
            "[]".to_owned(),
            "\u{0}".to_owned(),
            format!("{{{time}}}"),
            format!(r#"{{{time},"event.action":"ip-forged"}}"#),
            format!(r#"{{{time},"event.action":"ip-blocked""#),
            format!(r#"{{{time},"event.action":"ip-blocked"}} x"#),
            format!(r#"{{{time},"event.action":"ip-blocked","event.reason":{{}}}}"#),
            r#"{"@timestamp":"yesterday","event.action":"ip-blocked"}"#.to_owned(),
        ] {
            assert!(Record::read(line.as_bytes()).is_none(), "{line}");
        }
        assert!(Record::read(b"\xff").is_none());
    }
}
