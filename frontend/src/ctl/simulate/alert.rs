//! What Kibana's rules offer to a template, made from the documents of alerts.

use clap::ValueEnum;

use crate::ctl::simulate::SimulateError;
use crate::ctl::simulate::mustache::{Budget, MOST_ALERTS, TooMuch, Value, expanded, object};

/// How a rule calls its action.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(in crate::ctl) enum Mode {
    /// Once for each alert
    Each,
    /// Once for all alerts
    Summary,
}

/// The variables of each action that a run of the rule schedules.
pub(super) fn actions(
    alerts: Value,
    mode: Option<Mode>,
    budget: &Budget,
) -> Result<Vec<Value>, SimulateError> {
    if alerts.at(&["context"]).is_some() {
        return if mode.is_some() { Err(SimulateError::ModeOfVariables) } else { Ok(vec![alerts]) };
    }
    let documents = documents(alerts, budget)?;
    Ok(match mode {
        Some(Mode::Summary) => vec![variables(documents, true)],
        Some(Mode::Each) | None => {
            documents.into_iter().map(|document| variables(vec![document], false)).collect()
        }
    })
}

/// One document, a list of them, a hit of a search, or its whole answer.
fn documents(alerts: Value, budget: &Budget) -> Result<Vec<Value>, SimulateError> {
    if let Some(hits) = alerts.at(&["hits", "hits"]) {
        return documents(hits.clone(), budget);
    }
    let list = match alerts {
        Value::List(list) => list,
        one => vec![one],
    };
    if list.is_empty() || !list.iter().all(|one| matches!(one, Value::Object(_))) {
        return Err(SimulateError::NoAlert);
    }
    if list.len() > MOST_ALERTS {
        return Err(TooMuch::Many.into());
    }
    list.into_iter().map(|hit| Ok(document(hit, budget)?)).collect()
}

/// A hit has its names beside its fields.
fn document(hit: Value, budget: &Budget) -> Result<Value, TooMuch> {
    let Value::Object(hit) = hit else { return Ok(hit) };
    match hit.get("_source") {
        Some(Value::Object(source)) => {
            let names = hit.iter().filter(|(key, _)| key == "_id" || key == "_index").cloned();
            let fields = source.iter().cloned();
            expanded(Value::Object(names.chain(fields).collect()), budget)
        }
        _ => expanded(Value::Object(hit), budget),
    }
}

/// As a Security rule has them; what the documents do not tell is missing.
fn variables(documents: Vec<Value>, summary: bool) -> Value {
    let of_first = |path: &[&str]| {
        let found = documents.first().and_then(|first| first.at(path));
        found.cloned().unwrap_or(Value::Null)
    };
    let rule = |key: &str| of_first(&["kibana", "alert", "rule", key]);
    let (rule_id, name) = (rule("uuid"), rule("name"));
    // In a summary it is the rule's.
    let id = if summary { rule_id.clone() } else { of_first(&["kibana", "alert", "uuid"]) };
    let parameters = match rule("parameters") {
        Value::Object(parameters) => parameters.into_members(),
        _ => Vec::new(),
    };
    let own = [
        ("id", rule_id.clone()),
        ("rule_id", rule("rule_id")),
        ("name", name.clone()),
        ("type", rule("type")),
        ("severity", of_first(&["kibana", "alert", "severity"])),
        ("risk_score", of_first(&["kibana", "alert", "risk_score"])),
    ];
    let own = own.into_iter().filter(|(_, value)| *value != Value::Null);
    let own = own.map(|(key, value)| (key.to_owned(), value));
    let context_rule = Value::Object(parameters.into_iter().chain(own).collect());
    let count = u32::try_from(documents.len()).unwrap_or(u32::MAX);
    let mut members = vec![
        (
            "date".to_owned(),
            Value::text(&jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()),
        ),
        ("spaceId".to_owned(), Value::text("default")),
        ("alertId".to_owned(), rule_id.clone()),
        ("alertName".to_owned(), name.clone()),
        ("rule".to_owned(), object([("id", rule_id), ("name", name), ("tags", rule("tags"))])),
        ("alertInstanceId".to_owned(), id.clone()),
        (
            "alert".to_owned(),
            object([
                ("id", id.clone()),
                ("uuid", id),
                ("actionGroup", Value::text("default")),
                ("actionGroupName", Value::text("Default")),
                ("flapping", Value::Bool(false)),
            ]),
        ),
        ("state".to_owned(), object([("signals_count", Value::Number(count.into()))])),
    ];
    let list = Value::List(documents);
    if summary {
        let group = |list: Value, count: u32| {
            object([("count", Value::Number(count.into())), ("data", list)])
        };
        let none = || group(Value::List(Vec::new()), 0);
        let groups = object([
            ("new", group(list.clone(), count)),
            ("ongoing", none()),
            ("recovered", none()),
            ("all", group(list.clone(), count)),
        ]);
        members.push(("alerts".to_owned(), groups));
    }
    members.push(("context".to_owned(), object([("rule", context_rule), ("alerts", list)])));
    Value::Object(members.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::simulate::mustache::render;

    fn value(json: &str) -> Value {
        serde_json::from_str(json).unwrap()
    }

    fn rendered(template: &str, alerts: &str, mode: Option<Mode>) -> Vec<String> {
        let budget = Budget::new();
        let actions = actions(value(alerts), mode, &budget).unwrap();
        let texts = actions.into_iter().map(|variables| render(template, variables, &budget));
        texts.collect::<Result<_, _>>().unwrap()
    }

    const ALERT: &str = r#"{"kibana.alert.uuid":"u-1","kibana.alert.rule":{"uuid":"r-1","name":"SSH"},
        "kibana.alert.rule.rule_id":"ssh","source.ip":"198.51.100.7"}"#;

    #[test]
    fn a_document_is_wrapped_as_kibana_wraps_it_however_it_is_given() {
        let template = "{{context.alerts.0.source.ip}} {{alert.id}} {{rule.name}} \
                        {{context.rule.rule_id}} {{state.signals_count}}{{alerts.new.count}}";
        let hit = format!(r#"{{"_index":"x","_id":"u-1","_source":{ALERT}}}"#);
        for alerts in [
            ALERT.to_owned(),
            format!("[{ALERT}]"),
            hit.clone(),
            format!(r#"{{"took":1,"hits":{{"total":{{}},"hits":[{hit}]}}}}"#),
        ] {
            let expected = ["198.51.100.7 u-1 SSH ssh 1"];
            assert_eq!(rendered(template, &alerts, None), expected, "{alerts}");
            assert_eq!(rendered(template, &alerts, Some(Mode::Each)), expected);
            let expected = ["198.51.100.7 r-1 SSH ssh 11"];
            assert_eq!(rendered(template, &alerts, Some(Mode::Summary)), expected);
        }
        let two = format!("[{ALERT},{}]", ALERT.replace("100.7", "100.8"));
        let template = "{{#context.alerts}}{{source.ip}} {{/context.alerts}}";
        assert_eq!(rendered(template, &two, None), ["198.51.100.7 ", "198.51.100.8 "]);
        let summary = rendered(template, &two, Some(Mode::Summary));
        assert_eq!(summary, ["198.51.100.7 198.51.100.8 "]);
        // What is replaced stands once.
        let whole = rendered("{{{context.alerts.asJSON}}}", r#"{"source.ip":"a"}"#, None);
        assert_eq!(whole, [r#"[{"source":{"ip":"a"}}]"#]);
    }

    #[test]
    fn whole_variables_stay_as_they_are_and_what_is_no_alert_is_refused() {
        let variables = r#"{"context":{"group":"198.51.100.7"}}"#;
        assert_eq!(rendered("{{context.group}}", variables, None), ["198.51.100.7"]);
        assert!(actions(value(variables), Some(Mode::Each), &Budget::new()).is_err());
        for json in ["7", "null", "[]", "[1]", r#"{"hits":{"hits":[]}}"#] {
            let refused = actions(value(json), None, &Budget::new());
            assert!(matches!(refused, Err(SimulateError::NoAlert)), "{json}");
        }
    }

    #[test]
    fn sections_in_each_other_over_one_list_end_soon() {
        let list = format!(r#"{{"context":{{"a":[{}]}}}}"#, ["1"; 100].join(","));
        let sections = |depth: usize, inner: &str| {
            let (open, close) = ("{{#context.a}}".repeat(depth), "{{/context.a}}".repeat(depth));
            format!("{open}{inner}{close}")
        };
        for inner in ["", "x", "{{context.a}}", "{{{context.a.asJSON}}}"] {
            let hurried = Budget::lasting(std::time::Duration::from_millis(200));
            let error = render(&sections(60, inner), value(&list), &hurried).unwrap_err();
            assert!(error.to_string().contains("give a smaller part"), "{error}");
        }
        let many = format!("[{}]", vec!["{}"; MOST_ALERTS + 1].join(","));
        let error = actions(value(&many), None, &Budget::new()).unwrap_err().to_string();
        assert!(error.contains("more than 10000 alerts"), "{error}");
    }
}
