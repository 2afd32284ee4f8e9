//! Everything a Kibana template can render, and everything that it must not lead to.

use proptest::prelude::*;
use protocol::Target;

use super::*;

/// Each address of a body as it was understood, or the text and what is wrong with it.
fn understood(body: &str) -> Vec<String> {
    let alert = Alert::parse(body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error}"));
    let shown = |candidate: &Candidate| match &candidate.target {
        Ok(target) => target.to_string(),
        Err(error) => format!("{} {error}", candidate.text),
    };
    alert.candidates.iter().map(shown).collect()
}

fn refused(body: &str) -> String {
    Alert::parse(body.as_bytes()).expect_err(body).to_string()
}

/// As Kibana sends a text that is not JSON.
fn as_kibana_sends(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// Two alerts of a threshold rule as `{{{context.alerts.asJSON}}}` renders them, spread over lines.
const TWO_ALERTS: &str = include_str!("two_alerts.json");

const ONE: &[&str] = &["203.0.113.7"];
const TWO: &[&str] = &["203.0.113.7", "198.51.100.23"];

#[test]
fn what_kibana_renders_from_templates_that_work_is_understood() {
    let compact: serde_json::Value = serde_json::from_str(TWO_ALERTS).unwrap();
    for (body, expected) in [
        (
            r#"{"ip":"203.0.113.7","rule":"SSH brute force \"block\"","count":17,"alert_id":"8f14e45fceea167a5a36dedd4bea2543aa11"}"#,
            ONE,
        ),
        (
            r#"{"ip":"203.0.113.7","rule":"SSH brute force \"block\"","count":17,"alert_id":"6f1c3b1e-6a0e-4f6c-9a39-3c0f7f4d2a11"}"#,
            ONE,
        ),
        (r#"{"ip":"203.0.113.7,198.51.100.23"}"#, TWO),
        (r#"{"ip":["203.0.113.7","198.51.100.23"]}"#, TWO),
        (r#"{"ips":["203.0.113.7","198.51.100.23"]}"#, TWO),
        (r#"{"ip":"203.0.113.7"}"#, ONE),
        (r#""203.0.113.7""#, ONE),
        ("203.0.113.7", ONE),
        (TWO_ALERTS, TWO),
        (&compact.to_string(), TWO),
        // Template A with its row of labels, some of them empty.
        (
            r#"{"ip":"203.0.113.7","alert_id":"8f14","rule_id":"","rule_name":"SSH","count":"","date":"2026-01-14T10:32:04.512Z"}"#,
            ONE,
        ),
    ] {
        assert_eq!(understood(body), expected, "{body}");
    }
}

#[test]
fn each_documented_form_of_each_field_is_understood() {
    for (body, expected) in [
        // Lists within a text.
        (r#"{"ips":"203.0.113.7, 198.51.100.23"}"#, TWO),
        (r#"{"ip":" 203.0.113.7\n198.51.100.23 "}"#, TWO),
        (r#"{"ips":"[\"203.0.113.7\",\"198.51.100.23\"]"}"#, TWO),
        (r#"{"ips":"\"203.0.113.7\",\"198.51.100.23\""}"#, TWO),
        (r#"{"ips":"[203.0.113.7,198.51.100.23]"}"#, TWO),
        (r#"{"ips":[["203.0.113.7"],[[null,"198.51.100.23"]]]}"#, TWO),
        (r#"{"ips":["203.0.113.7,198.51.100.23",""]}"#, TWO),
        // Both fields, and either type in either.
        (r#"{"ip":"203.0.113.7","ips":["198.51.100.23","203.0.113.7"]}"#, TWO),
        (r#"{"ips":"203.0.113.7"}"#, ONE),
        (r#"{"ip":["203.0.113.7",null,""," "]}"#, ONE),
        (r#"{"ip":null,"ips":"203.0.113.7"}"#, ONE),
        // A body without an object.
        (r#"["203.0.113.7","198.51.100.23"]"#, TWO),
        (r#"[{"ip":"203.0.113.7"},{"ip":"198.51.100.23"}]"#, TWO),
        (r#"[[{"source":{"ip":"203.0.113.7"}}],null,"198.51.100.23"]"#, TWO),
        (r#""203.0.113.7,198.51.100.23""#, TWO),
        ("203.0.113.7 198.51.100.23", TWO),
        (r#""[\"203.0.113.7\",\"198.51.100.23\"]""#, TWO),
        (r#""{\"ip\":\"203.0.113.7\"}""#, ONE),
        (r#"{"ip":"203.0.113.7"},{"ip":"198.51.100.23"}"#, TWO),
        ("{\"ip\":\"203.0.113.7\"}\n{\"ip\":\"198.51.100.23\"}\n", TWO),
        (r#""{\"source\":{\"ip\":\"203.0.113.7\"}},{\"source.ip\":\"198.51.100.23\"}""#, TWO),
        // A document without a wrapper: nested, dotted, mixed.
        (r#"{"source":{"ip":"203.0.113.7"}}"#, ONE),
        (r#"{"source.ip":["203.0.113.7","198.51.100.23"]}"#, TWO),
        (r#"{"source":[{"ip":"203.0.113.7"},{"ip":"198.51.100.23"}]}"#, TWO),
        (
            r#"{"kibana.alert":{"threshold_result":{"terms":[{"field":"source.ip","value":"203.0.113.7"}]}}}"#,
            ONE,
        ),
        (
            r#"{"kibana":{"alert.threshold_result.terms":{"value":"203.0.113.7","field":"source.ip"}}}"#,
            ONE,
        ),
        (
            r#"{"signal":{"threshold_result":{"terms":[{"field":"source.ip","value":["203.0.113.7","198.51.100.23"]}]}}}"#,
            TWO,
        ),
        (
            r#"{"threshold_result":{"terms":[{"field":"user.name","value":"198.51.100.23"},{"field":"source.ip","value":"203.0.113.7"}]}}"#,
            ONE,
        ),
        (
            r#"{"kibana.alert.suppression.terms":[{"field":["source.ip"],"value":["203.0.113.7"]}]}"#,
            ONE,
        ),
        (r#"{"kibana.alert.group":[{"field":"source.ip","value":"203.0.113.7"}]}"#, ONE),
        (r#"{"kibana":{"alert":{"grouping":{"source":{"ip":"203.0.113.7"}}}}}"#, ONE),
        (r#"{"group":[{"field":"source.ip","value":"203.0.113.7"}]}"#, ONE),
        (
            r#"{"context":{"group":[{"field":"host.ip","value":"198.51.100.23"},{"field":"source.ip","value":"203.0.113.7"}]}}"#,
            ONE,
        ),
        (r#"{"context":{"grouping":{"source.ip":"203.0.113.7"}}}"#, ONE),
        (r#"{"grouping":{"source":{"ip":"203.0.113.7"}}}"#, ONE),
        (r#"{"context.source.ip":"203.0.113.7"}"#, ONE),
        // Wrappers.
        (r#"{"alerts":{"source":{"ip":"203.0.113.7"}}}"#, ONE),
        (
            r#"{"alerts":[[{"source":{"ip":"203.0.113.7"}}],null,{"source":{"ip":null}},{"source.ip":"198.51.100.23"}]}"#,
            TWO,
        ),
        (r#"{"alert":{"source":{"ip":"203.0.113.7"}}}"#, ONE),
        (
            r#"{"context":{"alerts":[{"source":{"ip":"203.0.113.7"}},{"source":{"ip":"198.51.100.23"}}]}}"#,
            TWO,
        ),
        (r#"{"data":[{"source":{"ip":"203.0.113.7"}}]}"#, ONE),
        (
            r#"{"alerts":{"new":{"count":1,"data":[{"source.ip":"203.0.113.7"}]},"ongoing":{"data":[{"source.ip":"198.51.100.23"}]},"recovered":{"data":[{"source.ip":"192.0.2.1"}]}}}"#,
            TWO,
        ),
        (
            r#"{"alerts":{"all":{"count":2,"data":[{"source.ip":"203.0.113.7"},{"source.ip":"198.51.100.23"}]}}}"#,
            TWO,
        ),
        // Hits.
        (r#"{"hits":[{"_id":"x","_source":{"source":{"ip":"203.0.113.7"}}}]}"#, ONE),
        (
            r#"{"context":{"hits":[{"_source":{"source.ip":"203.0.113.7"},"fields":{"source.ip":["203.0.113.7"]}},{"fields":{"source.ip":["198.51.100.23"]}}]}}"#,
            TWO,
        ),
        (
            r#"{"hits":{"total":{"value":1},"hits":[{"_source":{"source":{"ip":"203.0.113.7"}}}]}}"#,
            ONE,
        ),
        (r#"{"_source":{"source":{"ip":"203.0.113.7"}}}"#, ONE),
        // Wrappers in quotes: a list of objects renders without brackets.
        (
            r#"{"alerts":"{\"source\":{\"ip\":\"203.0.113.7\"}},{\"source\":{\"ip\":\"198.51.100.23\"}}"}"#,
            TWO,
        ),
        (r#"{"alerts":"[{\"source.ip\":\"203.0.113.7\"}]"}"#, ONE),
        (r#"{"alerts":["203.0.113.7","198.51.100.23"]}"#, TWO),
        (r#"{"context.hits":"{\"_source\":{\"source\":{\"ip\":\"203.0.113.7\"}}}"}"#, ONE),
        (r#"{"ip":"203.0.113.7","alerts":"2 new ones"}"#, ONE),
    ] {
        assert_eq!(understood(body), expected, "{body}");
    }
}

#[test]
fn an_address_is_taken_from_nowhere_else() {
    for body in [
        r#"{"IP":"203.0.113.7"}"#,
        r#"{"related":{"ip":["203.0.113.7"]}}"#,
        r#"{"host":{"ip":"203.0.113.7"}}"#,
        r#"{"destination.ip":"203.0.113.7"}"#,
        r#"{"source":{"address":"203.0.113.7","nat":{"ip":"203.0.113.7"}}}"#,
        r#"{"source":"203.0.113.7"}"#,
        r#"{"message":"Failed password for root from 203.0.113.7 port 22"}"#,
        r#"{"context":{"ip":"203.0.113.7","message":"203.0.113.7"}}"#,
        r#"{"context":{"group":"203.0.113.7"}}"#,
        r#"{"group":"{\"field\":\"source.ip\",\"value\":\"203.0.113.7\"}"}"#,
        r#"{"kibana.alert.threshold_result.terms":[{"field":"destination.ip","value":"203.0.113.7"}]}"#,
        r#"{"kibana.alert.threshold_result.terms":[{"value":"203.0.113.7"}]}"#,
        r#"{"alerts":[{"ip":"203.0.113.7","ips":["203.0.113.7"],"data":"203.0.113.7"}]}"#,
        r#"{"hits":[{"_source":{"ip":"203.0.113.7","fields":{"ip":"203.0.113.7"}}}]}"#,
        r#"{"data":"203.0.113.7","fields":"203.0.113.7","alert":"203.0.113.7"}"#,
        r#"{"alerts":[{"alerts":[{"source.ip":"203.0.113.7"}],"context":{"source.ip":"203.0.113.7"}}]}"#,
        r#"{"alerts":{"recovered":{"data":[{"source.ip":"203.0.113.7"}]}}}"#,
        r#"{"alerts":"blocked 203.0.113.7"}"#,
    ] {
        let words = refused(body);
        assert!(
            words.contains("no field that an address") || words.contains("name no `source.ip`"),
            "{body}: {words}"
        );
    }
}

#[test]
fn nothing_that_a_user_name_says_has_any_effect() {
    let deep = "[".repeat(1_000);
    for name in ["8.8.8.8", "{{x}}", "\u{1b}", "[8.8.8.8,9.9.9.9]", "{\"ip\":", &deep] {
        let term = |field: &str, value: &str| serde_json::json!({"field": field, "value": value});
        let document = serde_json::json!({ "kibana.alert.threshold_result.terms":
            [term("user.name", name), term("source.ip", "203.0.113.7"), term("user.name", name)],
            "user": {"name": name}, "message": name, "kibana.alert.status": "active" });
        let body = serde_json::json!({ "alerts": [document], "context": {"group": name} });
        assert_eq!(understood(&body.to_string()), ONE, "{body}");
    }
}

#[test]
fn a_recovered_notification_blocks_nobody() {
    for body in [
        r#"{"alert":{"actionGroup":"recovered"},"ip":"203.0.113.7"}"#,
        r#"{"ip":"203.0.113.7","alert":{"actionGroup":"recovered"}}"#,
        r#"{"ips":["203.0.113.7"],"alert.actionGroup":" Recovered "}"#,
        r#"{"actionGroup":"recovered","alerts":[{"source.ip":"203.0.113.7"}]}"#,
        r#"{"alerts":[{"source.ip":"203.0.113.7"}],"alert.actionGroupName":"Recovered"}"#,
        r#"{"alertActionGroup":"recovered"}"#,
        r#"{"alert.actionGroup":"recovered","ip":"{{x}}"}"#,
        r#"{"context":{"hits":[{"_source":{"source.ip":"203.0.113.7"}}]},"alert":{"id":"x","actionGroup":"recovered"}}"#,
        r#"{"kibana":{"alert":{"status":"recovered"}},"source":{"ip":"203.0.113.7"}}"#,
        r#"{"source.ip":"203.0.113.7","kibana.alert.status":["recovered"]}"#,
        r#"{"source.ip":"203.0.113.7","kibana.alert.action_group":"recovered"}"#,
        r#"{"alerts":[{"source.ip":"203.0.113.7","kibana":{"alert":{"status":"recovered"}}}]}"#,
        r#"{"hits":[{"fields":{"source.ip":["203.0.113.7"]},"_source":{"kibana.alert.status":"recovered"}}]}"#,
    ] {
        assert_eq!(understood(body), [""; 0], "{body}");
    }
}

#[test]
fn a_recovered_document_is_left_out_and_the_others_stay() {
    let recovered = r#"{"source.ip":"203.0.113.7","kibana.alert.status":"recovered"}"#;
    let active = r#"{"kibana.alert.status":"active","source.ip":"198.51.100.23"}"#;
    let again = r#"{"source.ip":"203.0.113.7"}"#;
    for (documents, expected) in [
        (vec![recovered, active], &["198.51.100.23"][..]),
        (vec![active, recovered], &["198.51.100.23"]),
        (vec![recovered, again, active], TWO),
        (vec![again, recovered, active], TWO),
    ] {
        let body = format!("{{\"alerts\":[{}]}}", documents.join(","));
        assert_eq!(understood(&body), expected, "{body}");
    }
    // Broken off inside a text: what it says of itself is not said of the others.
    let body = r#"{"alerts":"{\"kibana.alert.status\":\"recovered\",","ip":"203.0.113.7"}"#;
    assert_eq!(understood(body)[1..], *ONE);
}

#[test]
fn what_cannot_be_understood_is_answered_with_the_template_that_works() {
    let each = "{\"ip\":\"{{context.alerts.0.source.ip}}\"}";
    let all = "{\"alerts\":{{{context.alerts.asJSON}}}}";
    let attempt = "{\"ip\":\"203.0.113.45\",\"duration\":\"1m\"}";
    for (body, words, template) in [
        ("", "never fill {{context.source.ip}}", each),
        (r#""""#, "never fill {{context.source.ip}}", each),
        (r#"{"ip":""}"#, "never fill {{context.source.ip}}", each),
        (r#"{"ip":null,"ips":["",null]}"#, "never fill {{context.source.ip}}", each),
        (r#"{"ips":[]}"#, "it is empty", each),
        (r#"{"alerts":[]}"#, "name no `source.ip`", all),
        (r#"{"alerts":[{"host":{"ip":"203.0.113.7"}}]}"#, "group by `source.ip`", all),
        (r#"{"ips":["203.0.113.7","198.51.100.23",]}"#, "comma too many", "{{#ParseHjson}}"),
        (r#"{"ip":"203.0.113.7","port":}"#, "a value is missing", each),
        (
            r#"error rendering mustache template "{"ip":"{{context.alerts.0.source.ip}"}": Unclosed tag at 38"#,
            "could not render the template (Unclosed tag at 38)",
            each,
        ),
        (
            r#"{"alerts":[{\"_id\":\"8f14e45fceea167a5a36dedd4bea2543aa11\",\"_index\":\".internal\"}]}"#,
            "write three",
            all,
        ),
        (r#"{"ip":203.0.113.7}"#, "no quotes", each),
        ("ip=203.0.113.7", "is a form", each),
        (
            r#"{"ip":"{{context.alerts.0.source.ip}}","rule":"{{context.rule.name}}"}"#,
            "not rendered",
            attempt,
        ),
        (r#"{"alerts":{{{context.alerts.asJSON}}}}"#, "not rendered", attempt),
        (r#"{"alerts":"{{context.alerts}}","ip":"203.0.113.7"}"#, "not rendered", attempt),
        (r#"{"ips":["203.0.113.7","{{x}}"]}"#, "not rendered", attempt),
        ("7", "must be a JSON object", each),
        ("null", "must be a JSON object", each),
        ("what is this", "is not JSON", each),
    ] {
        for body in [body.to_owned(), as_kibana_sends(body)] {
            let sentence = refused(&body);
            assert!(sentence.contains(words) && sentence.contains(template), "{body}: {sentence}");
            assert!(sentence.len() <= 300, "{} {sentence}", sentence.len());
        }
    }
    assert_eq!(Alert::parse(b"{\"ip\":\"\xff\"}"), Err(BodyError::NotUtf8));
}

#[test]
fn what_is_no_address_has_an_entry_of_its_own_and_the_others_stay() {
    for (body, words) in [
        (r#"{"ip":"203.0.113.7198.51.100.23","ips":["203.0.113.7"]}"#, "without a separator"),
        (r#"{"ips":["8f14e45fceea167a5a36dedd4bea2543aa11","203.0.113.7"]}"#, "{{alert.id}}"),
        (r#"{"ips":[7,"203.0.113.7"]}"#, "7 not a text"),
        (r#"{"ips":[-1.5,"203.0.113.7"]}"#, "-1.5 not a text"),
        (r#"{"ips":[true,"203.0.113.7"]}"#, "true not a text"),
        (r#"{"ips":[{"source":{"ip":"198.51.100.23"}},"203.0.113.7"]}"#, "{...} is an object"),
        (r#"{"ips":["{\"ip\":\"198.51.100.23\"}","203.0.113.7"]}"#, "{...} is an object"),
        (r#"{"ips":["[\"198.51.100.23\",]","203.0.113.7"]}"#, "comma too many"),
        (r#"{"alerts":[{"source":{"ip":7}},{"source":{"ip":"203.0.113.7"}}]}"#, "7 not a text"),
        (r#"{"alerts":"{\"source\":{\"ip\":\"198.51.","ip":"203.0.113.7"}"#, "ends too early"),
        (r#"["x","203.0.113.7"]"#, "x not an IP address"),
    ] {
        let mut understood = understood(body);
        let good = understood.iter().position(|one| one == "203.0.113.7").expect(body);
        understood.remove(good);
        assert!(understood.len() == 1 && understood[0].contains(words), "{body}: {understood:?}");
    }
    // A body that is nothing but such a text.
    for (body, words) in [
        ("203.0.113.7198.51.100.23", "without a separator"),
        ("8f14e45fceea167a5a36dedd4bea2543aa11", "{{alert.id}}"),
        ("attacker.example.org", "host name"),
    ] {
        for body in [body.to_owned(), as_kibana_sends(body)] {
            let understood = understood(&body);
            assert!(understood.len() == 1 && understood[0].contains(words), "{understood:?}");
        }
    }
}

#[test]
fn one_address_in_many_fields_and_spellings_is_asked_for_once() {
    let body = r#"{"ip":"2001:DB8::7","ips":["2001:db8:0:0::7","2001:db8::7/128"],
        "alerts":[{"source.ip":"2001:db8::7","source":{"ip":"2001:db8::7"}}]}"#;
    let alert = Alert::parse(body.as_bytes()).unwrap();
    assert_eq!(alert.candidates.len(), 1);
    assert_eq!(alert.candidates[0].text, "2001:DB8::7");
}

#[test]
fn the_labels_are_the_bodys_own_or_else_the_first_alerts() {
    let alert = Alert::parse(TWO_ALERTS.as_bytes()).unwrap();
    assert_eq!(&*alert.rule_name, "SSH brute force \"block\"");
    assert_eq!(&*alert.alert_id, "8f14e45fceea167a5a36dedd4bea2543aa11");
    assert_eq!(&*alert.reason, "event created high alert SSH brute force \"block\".");
    let body = r#"{"alerts":[{"source.ip":"203.0.113.7","kibana.alert":{"reason":"r1","uuid":"u1",
        "rule":{"name":"n1"}}},{"kibana.alert.reason":"r2"}],"alert":{"id":"i"},"rule":{"name":"n"},
        "reason":"r","rule_name":"","alert_id":null}"#;
    let alert = Alert::parse(body.as_bytes()).unwrap();
    assert_eq!((&*alert.reason, &*alert.rule_name, &*alert.alert_id), ("r", "n", "i"));
    for key in ["reason", "rule_name", "alert_id"] {
        for value in ["7", "true", "[]", "{}", "[\"x\"]"] {
            let words = refused(&format!("{{\"ip\":\"203.0.113.7\",\"{key}\":{value}}}"));
            assert_eq!(words, format!("'{key}' must be a string"));
        }
    }
}

#[test]
fn a_duration_is_a_text_or_whole_seconds_or_absent() {
    for (duration, expected) in [
        ("\" \"", None),
        ("\"1h\"", Term::seconds(3_600)),
        ("\"90m\"", Term::seconds(5_400)),
        ("\"7d\"", Term::seconds(604_800)),
        ("\"permanent\"", Some(Term::Permanent)),
        ("1", Term::seconds(1)),
        ("4294967295", Term::seconds(u32::MAX)),
        ("null", None),
    ] {
        let body = format!("{{\"ip\":\"203.0.113.45\",\"duration\":{duration}}}");
        assert_eq!(Alert::parse(body.as_bytes()).unwrap().term, expected, "{body}");
    }
    assert_eq!(Alert::parse(br#"{"ip":"203.0.113.45"}"#).unwrap().term, None);
    // Of an alert document it is something else.
    let body = br#"{"alerts":[{"source.ip":"203.0.113.45","duration":7}]}"#;
    assert_eq!(Alert::parse(body).unwrap().term, None);
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
        let error = refused(&format!("{{\"ip\":\"203.0.113.45\",\"duration\":{duration}}}"));
        assert!(error.contains("'duration'"), "{duration}: {error}");
        assert!(error.contains("{\"duration\":\"1h\"}"), "{duration}: {error}");
    }
    let two = r#"[{"ip":"203.0.113.7","duration":"1h"},{"ip":"203.0.113.8","duration":"2h"}]"#;
    assert!(refused(two).contains("names two"));
}

#[test]
fn more_addresses_than_a_request_carries_are_refused() {
    let addresses = |count: usize| {
        let addresses: Vec<String> =
            (0..count).map(|n| format!("198.{}.{}.7", n / 256, n % 256)).collect();
        serde_json::json!({ "ips": addresses, "ip": &addresses })
    };
    assert_eq!(understood(&addresses(MAX_TARGETS).to_string()).len(), MAX_TARGETS);
    let body = addresses(MAX_TARGETS + 1).to_string();
    assert_eq!(Alert::parse(body.as_bytes()), Err(BodyError::TooMany));
}

#[test]
fn a_body_that_nests_too_deep_is_refused_wherever_it_does() {
    let nest = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for depth in [65, 1_000, 100_000] {
        for (before, after) in
            [("", ""), ("{\"ips\":", "}"), ("{\"x\":", ",\"ip\":\"203.0.113.7\"}")]
        {
            let body = format!("{before}{}{after}", nest(depth));
            for body in [as_kibana_sends(&body), body] {
                assert_eq!(Alert::parse(body.as_bytes()), Err(BodyError::TooDeep), "{depth}");
            }
        }
        assert_eq!(Alert::parse("[".repeat(depth).as_bytes()), Err(BodyError::TooDeep));
    }
    // Brackets in a text, after a quote of its own, are no levels.
    let inside =
        format!("{{\"x\":{},\"y\":\"\\\"{}\",\"ip\":\"203.0.113.7\"}}", nest(63), "[".repeat(100));
    assert_eq!(understood(&inside), ONE);
    // JSON in a text in a text.
    let mut body = r#"{"ip":"203.0.113.7"}"#.to_owned();
    for expected in [true, true, false, false] {
        assert_eq!(Alert::parse(body.as_bytes()).is_ok(), expected, "{body}");
        body = as_kibana_sends(&body);
    }
}

/// JSON that has addresses, but no documented field as its key leads there.
fn decoy() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        decoy_address().prop_map(|address| format!("\"{address}\"")),
        decoy_address().prop_map(|address| format!("\"from {address} port 22\"")),
        decoy_address()
            .prop_map(|address| format!("\"{{\\\"source\\\":{{\\\"ip\\\":\\\"{address}\\\"}}}}\"")),
        Just("\"{{x}}\"".to_owned()),
        Just("\"recovered\"".to_owned()),
        Just("null".to_owned()),
        Just("-1.5e3".to_owned()),
        Just("true".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let key = prop::sample::select(vec![
            "ip",
            "ips",
            "source",
            "source.ip",
            "alerts",
            "_source",
            "kibana.alert.status",
            "value",
            "field",
            "",
            "x",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|all| format!("[{}]", all.join(","))),
            prop::collection::vec((key, inner), 0..4).prop_map(object),
        ]
    })
}

fn decoy_address() -> impl Strategy<Value = String> {
    (0..=255_u8).prop_map(|last| format!("203.0.113.{last}"))
}

fn object(pairs: Vec<(&str, String)>) -> String {
    let pairs: Vec<String> =
        pairs.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!("{{{}}}", pairs.join(","))
}

/// Fields of an alert document with addresses that nobody asks to block.
fn decoys() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let key = prop::sample::select(vec![
        "related.ip",
        "related",
        "host.ip",
        "host",
        "destination",
        "destination.ip",
        "message",
        "client.ip",
        "source.address",
        "source.nat.ip",
        "source.ip.x",
        "event",
        "event.original",
        "threat.indicator.ip",
        "kibana.alert.rule.parameters",
        "kibana.alert.original_event",
        "signal.rule",
        "sourceip",
        "Source.ip",
        "",
        ".",
        "user",
    ]);
    prop::collection::vec((key, decoy()), 0..6)
}

/// A document and the one address it has.
fn document() -> impl Strategy<Value = (String, String)> {
    let shape = prop::sample::select(vec![
        ("source.ip", "\"@\""),
        ("source.ip", "[null,\"@\",\"\"]"),
        ("source", "{\"address\":\"203.0.113.1\",\"ip\":\"@\",\"nat\":{\"ip\":\"203.0.113.2\"}}"),
        (
            "kibana.alert",
            "{\"threshold_result\":{\"terms\":[{\"value\":\"@\",\"field\":\"source.ip\"},{\"value\":\"203.0.113.3\",\"field\":\"host.ip\"}]}}",
        ),
        ("signal.threshold_result", "{\"terms\":[{\"field\":\"source.ip\",\"value\":[\"@\"]}]}"),
        ("_source", "{\"source\":{\"ip\":\"@\"},\"host\":{\"ip\":\"203.0.113.4\"}}"),
        ("fields", "{\"source.ip\":[\"@\"],\"host.ip\":[\"203.0.113.5\"]}"),
        ("kibana.alert.grouping.source.ip", "\"@\""),
    ]);
    (decoys(), shape, 0..=255_u8).prop_flat_map(|(mut pairs, (key, value), last)| {
        let address = format!("198.51.100.{last}");
        pairs.push((key, value.replace('@', &address)));
        Just(pairs).prop_shuffle().prop_map(move |pairs| (object(pairs), address.clone()))
    })
}

proptest! {
    #[test]
    fn a_body_yields_the_addresses_of_its_documented_fields_and_no_others(
        documents in prop::collection::vec(document(), 1..4),
        wrapper in prop::sample::select(vec![
            "@", "[@]", "{\"alerts\":[@]}", "{\"context\":{\"alerts\":[@],\"message\":\"203.0.113.9\"}}",
            "{\"hits\":{\"hits\":[@]}}", "{\"related\":{\"ip\":\"203.0.113.9\"},\"data\":[[@]]}",
        ]),
    ) {
        let texts: Vec<&str> = documents.iter().map(|(text, _)| text.as_str()).collect();
        let body = wrapper.replace('@', &texts.join(","));
        let found: std::collections::BTreeSet<String> = understood(&body).into_iter().collect();
        let expected = documents.iter().map(|(_, address)| address.clone()).collect();
        prop_assert_eq!(found, expected, "{}", body);
    }

    #[test]
    fn no_body_is_too_strange_to_be_answered(body in "[\\[\\]{}\",:\\\\ 0-9a-z.]{0,60}") {
        if let Ok(alert) = Alert::parse(body.as_bytes()) {
            for target in alert.candidates.iter().filter_map(|one| one.target.as_ref().ok()) {
                let shown = Target::to_string(target);
                prop_assert!(!shown.is_empty());
            }
        }
    }
}
