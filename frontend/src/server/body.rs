//! What a body asks for: addresses from documented fields only.
//!
//! | field | form |
//! |---|---|
//! | `ip` | one address or network, as a string |
//! | `ips` | a list of them |
//! | `duration` | optional: `"1h"`, `"90m"`, `"7d"`, `"permanent"`, or seconds as a whole number; without it, or longer than that, policy decides |
//! | `reason`, `rule_name`, `alert_id` | optional strings |

use protocol::{MAX_TARGETS, Target, Term, Text};
use serde_json::Value;

use crate::term::{self, TermError};

/// What one body asks for.
#[derive(Debug, PartialEq)]
pub struct Alert {
    /// The addresses in the body's order, each once.
    pub candidates: Vec<Candidate>,
    /// For how long; None leaves it to policy.
    pub term: Option<Term>,
    /// Why.
    pub reason: Text,
    /// The detection rule's name.
    pub rule_name: Text,
    /// The alert's id.
    pub alert_id: Text,
}

/// One address as it was written, and what it means.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// As written, without blanks around it.
    pub text: String,
    /// The target, or what is wrong with the text.
    pub target: Result<Target, String>,
}

impl Alert {
    /// Understands a body.
    ///
    /// # Errors
    /// A sentence that names the likely mistake and the template that works.
    pub fn parse(body: &[u8]) -> Result<Self, BodyError> {
        let value: Value =
            serde_json::from_slice(body).map_err(|error| BodyError::NotJson(error.to_string()))?;
        let object = match value {
            Value::Object(object) => object,
            Value::String(text) => return Err(BodyError::JsonString(text)),
            _ => return Err(BodyError::NotAnObject),
        };
        let texts = match (object.get("ip"), object.get("ips")) {
            (Some(Value::String(text)), None) => vec![text.as_str()],
            (None, Some(Value::Array(values))) => {
                let texts =
                    values.iter().map(|value| value.as_str().ok_or(BodyError::WrongType("ips")));
                texts.collect::<Result<_, _>>()?
            }
            (Some(_), Some(_)) => return Err(BodyError::Both),
            (Some(_), None) => return Err(BodyError::WrongType("ip")),
            (None, Some(_)) => return Err(BodyError::WrongType("ips")),
            (None, None) => return Err(BodyError::Missing),
        };
        let text = |key: &str| match object.get(key) {
            None | Some(Value::Null) => Ok(Text::default()),
            Some(Value::String(text)) => Ok(Text::truncated(text)),
            Some(_) => Err(BodyError::NotText(key.to_owned())),
        };
        Ok(Self {
            candidates: candidates(&texts)?,
            term: term(object.get("duration"))?,
            reason: text("reason")?,
            rule_name: text("rule_name")?,
            alert_id: text("alert_id")?,
        })
    }
}

fn term(value: Option<&Value>) -> Result<Option<Term>, TermError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        // A variable that is not filled renders to nothing.
        Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
        Some(Value::String(text)) => term::parse(text).map(Some),
        // Neither negative nor with a point.
        Some(Value::Number(number)) => {
            number.as_u64().ok_or(TermError::Unreadable).and_then(term::from_seconds).map(Some)
        }
        Some(_) => Err(TermError::Unreadable),
    }
}

fn candidates(texts: &[&str]) -> Result<Vec<Candidate>, BodyError> {
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for text in texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
        if text.contains("{{") {
            return Err(BodyError::Unrendered);
        }
        if seen.insert(text) {
            let target = text.parse().map_err(|error| format!("{error}"));
            candidates.push(Candidate { text: text.to_owned(), target });
        }
    }
    match candidates.len() {
        0 => Err(BodyError::Empty),
        count if count > MAX_TARGETS => Err(BodyError::TooMany(count)),
        _ => Ok(candidates),
    }
}

/// Why a body asks for nothing: each sentence is what an operator reads in Kibana.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum BodyError {
    /// Not JSON at all.
    #[error("the body is not JSON ({0}); {GOOD}")]
    NotJson(String),
    /// Kibana wraps a body that is not JSON into a JSON string.
    #[error(
        "the template rendered to something that is not JSON (a comma or quotes too few or too many?); {GOOD}"
    )]
    JsonString(String),
    /// A list, a number.
    #[error("the body must be a JSON object; {GOOD}")]
    NotAnObject,
    /// Neither field.
    #[error("missing or invalid 'ip'; {GOOD}")]
    Missing,
    /// Both fields.
    #[error("the body has both 'ip' and 'ips'; send one of them")]
    Both,
    /// A number, an object.
    #[error("missing or invalid '{0}': 'ip' is a string, 'ips' a list of strings; {GOOD}")]
    WrongType(&'static str),
    /// A text field of another type.
    #[error("'{0}' must be a string")]
    NotText(String),
    /// A duration that is none.
    #[error(
        "missing or invalid 'duration': {0}; write for example {{\"duration\":\"1h\"}}, also \"7d\", \
         \"permanent\" or seconds as a whole number"
    )]
    Term(#[from] TermError),
    /// Nothing but blanks.
    #[error(
        "missing or invalid 'ip': it is empty. Security rules never fill {{{{context.source.ip}}}}; {GOOD}"
    )]
    Empty,
    /// Kibana's Test button sends templates as they are.
    #[error(
        "the template was not rendered: Kibana's Test button sends it as it is. To try the \
         connector, send {{\"ip\":\"203.0.113.45\"}}"
    )]
    Unrendered,
    /// Over the cap.
    #[error("{0} addresses; at most {MAX_TARGETS} in one body")]
    TooMany(usize),
}

/// The template that works for a Security rule with one action for each alert.
const GOOD: &str = "in the action's body write {\"ip\":\"{{context.alerts.0.source.ip}}\"}";

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(body: &str) -> Vec<String> {
        let alert = Alert::parse(body.as_bytes()).unwrap();
        let shown = |candidate: &Candidate| match &candidate.target {
            Ok(target) => target.to_string(),
            Err(error) => format!("{}: {error}", candidate.text),
        };
        alert.candidates.iter().map(shown).collect()
    }

    #[test]
    fn one_address_or_several_are_understood() {
        assert_eq!(targets(r#"{"ip":"203.0.113.45"}"#), ["203.0.113.45"]);
        assert_eq!(targets(r#"{"ip":" 2001:DB8::7 ","x":[1]}"#), ["2001:db8::7"]);
        assert_eq!(
            targets(r#"{"ips":["203.0.113.45","",  "198.51.100.0/24","203.0.113.45"]}"#),
            ["203.0.113.45", "198.51.100.0/24"]
        );
        assert_eq!(targets(r#"{"ip":"example"}"#), ["example: not an IP address or network"]);
    }

    #[test]
    fn a_duration_is_a_text_or_whole_seconds_or_absent() {
        for (duration, expected) in [
            ("\" \"", None),
            ("\"1h\"", Some(Term::Seconds(3_600))),
            ("\"90m\"", Some(Term::Seconds(5_400))),
            ("\"7d\"", Some(Term::Seconds(604_800))),
            ("\"permanent\"", Some(Term::Permanent)),
            ("1", Some(Term::Seconds(1))),
            ("4294967295", Some(Term::Seconds(u32::MAX))),
            ("null", None),
        ] {
            let body = format!("{{\"ip\":\"203.0.113.45\",\"duration\":{duration}}}");
            assert_eq!(Alert::parse(body.as_bytes()).unwrap().term, expected, "{body}");
        }
        assert_eq!(Alert::parse(br#"{"ip":"203.0.113.45"}"#).unwrap().term, None);
    }

    #[test]
    fn a_duration_that_is_none_is_named_with_an_example() {
        for duration in [
            "0",
            "-1",
            "1.5",
            "3600.0",
            "4294967296",
            "1e9",
            "true",
            "[]",
            "{}",
            "[\"1h\"]",
            "\"0s\"",
            "\"3600\"",
            "\"1.5s\"",
            "\"soon\"",
            "\"137y\"",
            "\"{{x}}\"",
        ] {
            let body = format!("{{\"ip\":\"203.0.113.45\",\"duration\":{duration}}}");
            let error = Alert::parse(body.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("'duration'"), "{body}: {error}");
            assert!(error.contains("{\"duration\":\"1h\"}"), "{body}: {error}");
        }
    }

    #[test]
    fn each_mistake_is_named() {
        for (body, words) in [
            ("", "not JSON"),
            ("{\"ip\":}", "not JSON"),
            ("\"{\\\"ip\\\":}\"", "rendered to something that is not JSON"),
            ("[]", "must be a JSON object"),
            ("{}", "missing or invalid 'ip'"),
            ("{\"ip\":7}", "missing or invalid 'ip'"),
            ("{\"ips\":\"x\"}", "missing or invalid 'ips'"),
            ("{\"ips\":[7]}", "missing or invalid 'ips'"),
            ("{\"ip\":\"\"}", "never fill {{context.source.ip}}"),
            ("{\"ips\":[]}", "it is empty"),
            ("{\"ip\":\"1.2.3.4\",\"ips\":[]}", "both"),
            ("{\"ip\":\"{{context.alerts.0.source.ip}}\"}", "Test button"),
            ("{\"ip\":\"1.2.3.4\",\"reason\":7}", "'reason' must be a string"),
        ] {
            let error = Alert::parse(body.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(words), "{body}: {error}");
        }
    }

    #[test]
    fn more_addresses_than_a_request_carries_are_refused() {
        let addresses: Vec<String> =
            (0..=MAX_TARGETS).map(|n| format!("10.{}.{}.1", n / 256, n % 256)).collect();
        let body = serde_json::json!({ "ips": addresses }).to_string();
        assert_eq!(Alert::parse(body.as_bytes()), Err(BodyError::TooMany(10_001)));
    }
}
