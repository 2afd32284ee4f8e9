//! Templates and alerts that `webhookctl simulate` is given.

use frontend::ctl::simulate::posted;
use serde::de::IgnoredAny;

/// What is posted is JSON, whatever the template; and a variable cannot leave its quotes.
pub(crate) fn fuzz(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (template, alerts) =
        text.split_once('\0').unwrap_or((&text, "{\"source\":{\"ip\":\"203.0.113.7\"}}"));
    for summary in [false, true] {
        for body in posted(template, alerts, summary).into_iter().flatten() {
            assert!(serde_json::from_str::<IgnoredAny>(&body).is_ok(), "{body:?}");
        }
    }
    for body in posted(QUOTED, alerts, false).into_iter().flatten() {
        let value: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert!(value["ip"].is_string() && value["reason"].is_string(), "{body}");
        assert_eq!(value.as_object().map(serde_json::Map::len), Some(2), "{body}");
    }
}

const QUOTED: &str =
    r#"{"ip":"{{context.alerts.0.source.ip}}","reason":"{{context.rule.name}}{{context.alerts}}"}"#;
