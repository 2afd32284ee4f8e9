//! What is likely wrong with a template whose result is not JSON.
//!
//! Kibana sends such a result as a JSON string where Content-Type is application/json, other
//! clients as it is; either way this is the text that the template rendered to.

use protocol::{Target, Untrusted};
use serde_json::Error;

/// A mistake in a template, each with the template that works.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Mistake {
    /// Mustache's own words in place of the body.
    #[error("Kibana could not render the template ({0}): mend its braces and tags, or {EACH}")]
    Mustache(String),
    /// Hjson's own words in place of the body.
    #[error("Kibana's ParseHjson could not read what is inside it ({0}); {ALL}")]
    Hjson(String),
    /// Kibana's Test button sends templates as they are.
    #[error("the template was not rendered: {TRY}")]
    Unrendered,
    /// An editor's way of quoting, which JSON does not have.
    #[error("the template has triple quotes, which are not JSON: write one quote each; {EACH}")]
    TripleQuotes,
    /// `ip=203.0.113.45`.
    #[error("the body is a form (name=value) and not JSON; {EACH}")]
    Form,
    /// `{{context.alerts.asJSON}}`, which escapes the quotes.
    #[error("two braces around asJSON escape its quotes: write three; {ALL}")]
    TwoBraces,
    /// `"{{{context.alerts.asJSON}}}"`.
    #[error("quotes around {{{{{{...asJSON}}}}}}, which brings its own: leave them out; {ALL}")]
    QuotedJson,
    /// `"port":{{source.port}}` of an alert without one.
    #[error(
        "a value is missing: a variable without quotes was empty. Put it in quotes, as in \
         {{\"port\":\"{{{{context.alerts.0.source.port}}}}\"}}; {EACH}"
    )]
    NoValue,
    /// A loop that writes a comma after each.
    #[error(
        "a comma too many: a loop writes one after the last, too. Wrap it: \
         {{{{#ParseHjson}}}}{{\"ips\":[{{{{#context.alerts}}}}\"{{{{source.ip}}}}\",\
         {{{{/context.alerts}}}}]}}{{{{/ParseHjson}}}}"
    )]
    Comma,
    /// `{"ip":203.0.113.45}`.
    #[error("the address has no quotes; {EACH}")]
    NoQuotes,
    /// `{'ip':'203.0.113.45'}`.
    #[error("the quotes are not JSON's: write \" and not ' or a curly one; {EACH}")]
    OtherQuotes,
    /// A brace or bracket that is not closed.
    #[error("the body is not JSON: it ends too early, a }} or ] or \" is missing; {EACH}")]
    BrokenOff,
    /// Anything else.
    #[error("the body is not JSON ({0}); {EACH}")]
    NotJson(String),
}

impl Mistake {
    /// The likely mistake behind a text, from its words and from where reading it as JSON ended.
    #[must_use]
    pub fn of(text: &str, error: &Error) -> Self {
        let text = text.trim_start_matches(char::is_whitespace);
        // The template, which stands between, is as the operator wrote it.
        let words = || Untrusted(text.rsplit_once("\": ").map_or(text, |(_, words)| words));
        if text.starts_with("error rendering mustache template") {
            Self::Mustache(words().to_string())
        } else if text.starts_with("error parsing Hjson") {
            Self::Hjson(words().to_string())
        } else if text.contains("{{") {
            Self::Unrendered
        } else if text.contains("\"\"\"") {
            Self::TripleQuotes
        } else if text.split_once('=').is_some_and(|(name, _)| is_name(name)) {
            Self::Form
        } else {
            Self::at(text, error)
        }
    }

    /// The likely mistake, from what stands around the place.
    fn at(text: &str, error: &Error) -> Self {
        let Some((before, after)) = text.split_at_checked(offset(text, error)) else {
            return Self::NotJson(error.to_string());
        };
        let previous = before.trim_end().chars().next_back();
        let next = after.chars().next();
        match (previous, next) {
            _ if error.is_eof() => Self::BrokenOff,
            (Some('{' | '['), Some('\\')) => Self::TwoBraces,
            (Some(':'), Some('}' | ',' | ']')) => Self::NoValue,
            (Some(','), Some('}' | ']' | ',')) | (Some('['), Some(',')) => Self::Comma,
            _ if after.trim() == "," => Self::Comma,
            (_, Some('\'' | '\u{2018}'..='\u{201f}')) => Self::OtherQuotes,
            _ if ["\"[{\"", "\"{\"", "\"[\""].iter().any(|end| before.ends_with(end)) => {
                Self::QuotedJson
            }
            _ if bare_word(before, after).parse::<Target>().is_ok() => Self::NoQuotes,
            _ => Self::NotJson(error.to_string()),
        }
    }
}

/// Where reading ended, in bytes.
fn offset(text: &str, error: &Error) -> usize {
    let lines = text.split_inclusive('\n').take(error.line().saturating_sub(1));
    let start: usize = lines.map(str::len).sum();
    start.saturating_add(error.column().saturating_sub(1))
}

/// What stands at a place without quotes, up to what may stand around a value.
fn bare_word(before: &str, after: &str) -> String {
    let around = |c: char| c.is_whitespace() || matches!(c, '"' | ',' | '[' | ']' | '{' | '}');
    let start = before.rsplit(around).next().unwrap_or_default();
    let end = after.split(around).next().unwrap_or_default();
    format!("{}{end}", start.strip_prefix(':').unwrap_or(start))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The template for a Security rule with one action for each alert.
pub(super) const EACH: &str =
    "in the action's body write {\"ip\":\"{{context.alerts.0.source.ip}}\"}";

/// The template for any number of alerts.
pub(super) const ALL: &str = "in the action's body write {\"alerts\":{{{context.alerts.asJSON}}}}";

/// For Kibana's Test button. A try is not to leave a block of a day.
pub(super) const TRY: &str = "Kibana's Test button sends it as it is. To try the connector, send \
    {\"ip\":\"203.0.113.45\",\"duration\":\"1m\"}";

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn mistake(text: &str) -> Mistake {
        Mistake::of(text, &serde_json::from_str::<Value>(text).unwrap_err())
    }

    #[test]
    fn each_mistake_is_recognised() {
        for (text, expected) in [
            (r#"{"ip":"203.0.113.7","port":}"#, Mistake::NoValue),
            (r#"{"port":,"ip":"203.0.113.7"}"#, Mistake::NoValue),
            ("{\"ip\":\"203.0.113.7\",\n \"port\": \n}", Mistake::NoValue),
            (r#"{"ips":["203.0.113.7","198.51.100.23",]}"#, Mistake::Comma),
            (r#"{"ips":["203.0.113.7",,]}"#, Mistake::Comma),
            (r#"{"ips":[,"203.0.113.7"]}"#, Mistake::Comma),
            (r#"{"ip":"203.0.113.7",}"#, Mistake::Comma),
            (r#"{"ip":"203.0.113.7"},"#, Mistake::Comma),
            (r#"{"ip":203.0.113.7}"#, Mistake::NoQuotes),
            (r#"{"ip": 203.0.113.7,"rule":"x"}"#, Mistake::NoQuotes),
            (r#"{"ips":[203.0.113.7,198.51.100.23]}"#, Mistake::NoQuotes),
            (r#"{"ip":2001:db8::7}"#, Mistake::NoQuotes),
            (r#"{"ip":fe80::7}"#, Mistake::NoQuotes),
            (r#"{"ip":::7}"#, Mistake::NoQuotes),
            (r#"{'ip':'203.0.113.7'}"#, Mistake::OtherQuotes),
            ("{\u{201c}ip\u{201d}:1}", Mistake::OtherQuotes),
            (r#"{"alerts":[{\"_id\":\"8f\"}]}"#, Mistake::TwoBraces),
            (r#"{"alert":{\"_id\":\"8f\"}}"#, Mistake::TwoBraces),
            (r#"{"alerts":"[{"_id":"8f"}]"}"#, Mistake::QuotedJson),
            (r#"{"alert":"{"_id":"8f"}"}"#, Mistake::QuotedJson),
            (r#"{"ips":"["203.0.113.7"]"}"#, Mistake::QuotedJson),
            (r#"{"ip":"""203.0.113.7"""}"#, Mistake::TripleQuotes),
            ("ip=203.0.113.7&rule=x", Mistake::Form),
            (r#"{"alerts":{{{context.alerts.asJSON}}}}"#, Mistake::Unrendered),
            (r#"{"ip":"203.0.113.7""#, Mistake::BrokenOff),
            (r#"{"ip":"203"#, Mistake::BrokenOff),
        ] {
            assert_eq!(mistake(text), expected, "{text}");
        }
        for text in ["{\"ip\":\"203.0.113.7\"} x", "{\"ip\" \"203.0.113.7\"}", "what is this"] {
            assert!(matches!(mistake(text), Mistake::NotJson(_)), "{text}: {:?}", mistake(text));
        }
    }

    #[test]
    fn kibanas_own_words_are_kept_without_the_template() {
        let text = "error rendering mustache template \"{\"ip\":\"{{x}\"}\": Unclosed tag at 38";
        assert_eq!(mistake(text), Mistake::Mustache("Unclosed tag at 38".to_owned()));
        let text = "error parsing Hjson \"{\"ips\":[\"{{x}}\"\": End of input\u{1b}";
        assert_eq!(mistake(text), Mistake::Hjson("End of input\\u{1b}".to_owned()));
    }

    #[test]
    fn each_sentence_fits_into_kibanas_log_and_shows_a_template() {
        for text in [
            "error rendering mustache template \"{{x}\": Unclosed tag at 38",
            "error parsing Hjson \"{\": End of input",
            "{{x}}",
            "\"\"\"",
            "a=b",
            "{\\\"a\\\":1}",
            "\"{\"a",
            "{\"a\":}",
            "[1,]",
            "{'a'}",
            "{",
            "{\"ip\":203.0.113.7}",
            "nothing",
        ] {
            let sentence = mistake(text).to_string();
            assert!(sentence.len() <= 300, "{text}: {} {sentence}", sentence.len());
            assert!(sentence.contains("{\"ip") || sentence.contains("{\"alerts\""), "{sentence}");
        }
    }
}
