//! `webhookctl simulate` says what Kibana would send and be answered: compared with what it is made of,
//! and with what really happens then.

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::node::connector;
use tests::world::{AS_WEBHOOKD, ATTACKER, KIBANA};
use tests::{Kibana, World};

#[test]
fn each_template_renders_byte_for_byte_as_in_kibana_and_is_answered_as_foretold() {
    let world = World::with("never-block = [\"198.19.0.0/24\"]", "ufw allow 22/tcp");
    let (mut kibana, connector) = (Kibana::at(&world.kibana), connector(&world));
    let mut compared = 0;
    for template in TEMPLATES {
        world.write("template", template);
        for alerts in runs() {
            let foretold: Vec<Value> = kibana
                .offers(template, &alerts)
                .into_iter()
                .map(|(variables, rendered)| {
                    let foretold = simulated(&world, &variables);
                    assert_eq!(foretold["body"], rendered.wire, "{template} {alerts}");
                    foretold
                })
                .collect();
            let judgements = kibana.runs(&connector, template, &alerts);
            assert_eq!(judgements.len(), foretold.len());
            // One after the other: what the first blocks is blocked already for the second.
            let alone = foretold.len() == 1;
            for (judgement, foretold) in judgements.iter().zip(&foretold) {
                assert_eq!(judgement.status, foretold["status"].as_u64(), "{template} {alerts}");
                if alone {
                    assert_eq!(judgement.answer, foretold["answer"], "{template} {alerts}");
                }
                compared += 1;
            }
        }
    }
    assert!(compared > 200, "{compared}");
}

/// What `simulate` says of the template with these variables.
fn simulated(world: &World, variables: &str) -> Value {
    world.write("variables", variables);
    let (template, alert) = (world.path("template"), world.path("variables"));
    let arguments = ["simulate", &template, "--alert", &alert, "--requester", KIBANA, "--json"];
    let (text, _) = world.ctl_folded(&arguments);
    let foretold: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    foretold[0].clone()
}

/// Rules of each kind, in each of their ways.
fn runs() -> Vec<Value> {
    let (first, second) = ("198.18.0.7", "198.19.0.23");
    let both = [first, second];
    vec![
        json!({ "rule": "threshold", "addresses": [first] }),
        json!({ "rule": "threshold", "addresses": both, "mode": "summary" }),
        json!({ "rule": "threshold", "addresses": [first], "grouped": false }),
        json!({ "rule": "query", "addresses": both }),
        json!({ "rule": "esQuery", "addresses": both }),
        json!({ "rule": "indexThreshold", "addresses": [first] }),
        json!({ "rule": "customThreshold", "addresses": [second], "recovered": true }),
    ]
}

const TEMPLATES: &[&str] = &[
    // The shipped ones.
    r#"{"ip":"{{context.alerts.0.source.ip}}","rule_name":"{{context.rule.name}}","alert_id":"{{alert.id}}"}"#,
    r#"{"rule_name":"{{rule.name}}","alerts":{{{context.alerts.asJSON}}}}"#,
    r#"{{#ParseHjson}}{"rule_name":"{{rule.name}}","ips":[{{#context.alerts}}"{{source.ip}}",{{/context.alerts}}]}{{/ParseHjson}}"#,
    // Samples of what people write.
    r#"{"ip":"{{context.alerts.0.source.ip}}","rule":"{{context.rule.name}}","count":{{context.alerts.0.kibana.alert.threshold_result.count}},"alert_id":"{{alert.id}}"}"#,
    r#"{"ip":"{{context.source.ip}}"}"#,
    r#"{"ip":"{{#context.alerts}}{{source.ip}}{{/context.alerts}}"}"#,
    r#"{"ip":"{{#context.alerts}}{{source.ip}} {{/context.alerts}}"}"#,
    r#"{"ips":[{{#context.alerts}}"{{source.ip}}",{{/context.alerts}}]}"#,
    r#"{"ip":"{{context.alerts.0.source.ip}}"}"#,
    r#"{"ip":{{{context.alerts.0.source.ip.asJSON}}}}"#,
    r#"{"ip":"{{context.alerts.0.source.ip}}","port":{{context.alerts.0.source.port}}}"#,
    r#"{"ip":{{context.alerts.0.source.ip}}}"#,
    r#"{"ip":"{{context.alerts.0.source.ip}"}"#,
    r#"{"ip":"{{alert.id}}"}"#,
    r#"{"ip":"{{#context.alerts}}{{#kibana.alert.threshold_result.terms}}{{value}}{{/kibana.alert.threshold_result.terms}}{{/context.alerts}}"}"#,
    "{{context.alerts.0.source.ip}}",
    r#"{"alerts":{{context.alerts.asJSON}}}"#,
    r#"{"alerts":"{{context.alerts.asJSON}}"}"#,
    r#"{"alerts":"{{context.alerts}}"}"#,
    r#"{"alerts":[{{{context.alerts}}}]}"#,
    "{{{context.alerts.asJSON}}}",
    r#"{"alerts":{"new":{{{alerts.new}}}}}"#,
    r#"{"hits":{{{context.hits.asJSON}}}}"#,
    r#"{"ip":"{{context.hits.0._source.source.ip}}"}"#,
    r#"{"ip":"{{context.group}}","alert":{"actionGroup":"{{alert.actionGroup}}"}}"#,
    r#"{"grouping":{{{context.grouping}}},"alert":{{{alert}}}}"#,
    // All that mustache has.
    "{{.}}",
    "{{{.}}}",
    "{\n  {{! a comment }}\n  {{#context}}\n  \"ip\": \"{{alerts.0.source.ip}}\"\n  {{/context}}\n}\n",
    r#"{"ip":"{{^context.alerts}}none{{/context.alerts}}{{^context.nothing}}198.18.0.7{{/context.nothing}}"}"#,
    r#"{{=<% %>=}}{"ip":"<% context.alerts.0.source.ip %>","x":"{{y}}"}"#,
    r#"{"ip":"{{& context.alerts.0.source.ip }}","n":"{{context.alerts.length}}","r":"{{{rule.name}}}"}"#,
    r#"{"ip":"{{context.alerts.00.source.ip}}{{>other}}{{}}"}"#,
    r#"{"ip":"{{#context.alerts}}{{#source}}{{ip}}{{rule.name}}{{/source}}{{/context.alerts}}"}"#,
    r#"{"flags":"{{alert.flapping}}{{#alert.flapping}}x{{/alert.flapping}}","tags":"{{#tags}}[{{.}}]{{/tags}}"}"#,
    "  {\"ip\":\"198.18.0.7\"}\u{a0}\n",
    "é🙂{{#context.alerts}}{{/context}}",
    "é🙂{{/context.alerts}}",
    "é🙂{{#context.alerts}}",
    "{{=x=}}",
    // Hjson as people write it.
    r#"{{#ParseHjson}}{"ip":"{{context.alerts.0.source.ip}}"{{/ParseHjson}}"#,
    "{{#ParseHjson}}\n# a comment\n{\n  ip: {{context.alerts.0.source.ip}} \n  // another\n  n: 17,\n  /* more */ x: [1 , 2.50, true, null, -0, 1e3,]\n}\n{{/ParseHjson}}",
    "{{#ParseHjson}}\nip: 198.18.0.7\nrule_name: 'it''s'\n{{/ParseHjson}}",
    "{{#ParseHjson}}{ip:\"198.18.0.7\", reason: 'single \"quotes\"', b: \"\\u00e9\\n\"}{{/ParseHjson}}",
    "{{#ParseHjson}}{ip: 198.18.0.7}{{/ParseHjson}}",
    "{{#ParseHjson}}{\"2\":1,\"b\":2,\"1\":3,\"b\":4}{{/ParseHjson}}",
    "{{#ParseHjson}}[\n  198.18.0.7\n  198.18.0.8\n]{{/ParseHjson}}",
    "{{#ParseHjson}}{\"ip\":\"198.18.0.7\"} x{{/ParseHjson}}",
    "{{#ParseHjson}}{{/ParseHjson}}",
    "{{#ParseHjson}}7{{/ParseHjson}}",
    "{{#ParseHjson}}{a b: 1}{{/ParseHjson}}",
    "{{#ParseHjson}}{: 1}{{/ParseHjson}}",
    "{{#ParseHjson}}{\n\"a\" 1}{{/ParseHjson}}",
    "{{#ParseHjson}}{a: \"x\ny\"}{{/ParseHjson}}",
    "{{#ParseHjson}}{a: \"\\u00zz\"}{{/ParseHjson}}",
    "{{#ParseHjson}}{a: \"\\x\"}{{/ParseHjson}}",
    "{{#ParseHjson}}{a: '''x}{{/ParseHjson}}",
    "{{#ParseHjson}}[1, 2\n-0.5e1 ,0x,007,1., 5 # five\n]{{/ParseHjson}}",
    "{{#ParseHjson}}[1 -2.50, true\nnull\n 01 , 1e3]{{/ParseHjson}}",
    "{{#ParseHjson}}[,]{{/ParseHjson}}",
    "{{#ParseHjson}}{a: [}{{/ParseHjson}}",
    "{{#ParseHjson}}{é🙂: ü\n}}{{/ParseHjson}}",
    "{{#ParseHjson}}{/* open {{/ParseHjson}}",
    "{{#ParseHjson}}{\n  reason:\n    '''\n    two\n    lines\n    '''\n  ip: \"198.18.0.7\"\n}{{/ParseHjson}}",
];

#[test]
fn a_body_is_judged_and_nothing_is_changed() {
    let mut world = World::with("never-block = [\"192.0.2.0/24\"]", "ufw allow 22/tcp");
    world.block(ATTACKER);
    let before = world.ufw("status numbered");
    let run = |body: &str, arguments: &[&str]| {
        world.write("body", body);
        world.ctl_folded(&[&["simulate", &world.path("body")], arguments].concat())
    };
    for (body, arguments, code, words) in [
        (
            r#"{"ips":["203.0.113.7","198.51.100.7","192.0.2.1"]}"#,
            &[][..],
            0,
            &[
                "Kibana would be answered 207",
                "203.0.113.7  is blocked already, for good",
                "198.51.100.7  would be blocked, for good",
                "Refused to block 192.0.2.1: it is listed in never-block",
                "Nothing was changed.",
            ][..],
        ),
        (r#"{"ip":"198.51.100.7","duration":"1h"}"#, &[], 0, &["would be blocked, until 20"]),
        (r#"{"ip":"192.0.2.1"}"#, &[], 1, &["answered 422: Refused to block 192.0.2.1"]),
        (r#"{"ip":"10.9.0.2"}"#, &[], 1, &["422"]),
        (
            r#"{"ip":"198.51.100.9"}"#,
            &["--requester", "198.51.100.9"],
            1,
            &["the address that asked"],
        ),
        (
            r#"{"ip":"198.51.100.9"}"#,
            &["--content-type", "text/plain"],
            1,
            &["400: content-type must be"],
        ),
        (r#"{"ip":""}"#, &[], 1, &["400: missing or invalid 'ip': it is empty"]),
        (r#"{"ip":"x\u001b[2J"}"#, &[], 1, &["400", r"x\u{1b}[2J"]),
        ("no JSON", &[], 1, &["answered 400: the body is not JSON"]),
        (
            r#"{"ip":"{{context.alerts.0.source.ip}}"}"#,
            &[],
            1,
            &["400: the template was not rendered", "add --alert FILE"],
        ),
        (
            r#"{"ip":"198.51.100.7","alert":{"actionGroup":"recovered"}}"#,
            &[],
            0,
            &["answered 200: Nothing to block"],
        ),
    ] {
        let (text, status) = run(body, arguments);
        assert_eq!(status, code, "{body}: {text}");
        for words in words {
            assert!(flat(&text).contains(&flat(words)), "{body}: no `{words}` in {text}");
        }
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
    assert_eq!(world.ufw("status numbered"), before);
    assert_eq!(world.ctl_json("list").as_array().unwrap().len(), 1);

    // Without webhook-privd or its permission there is what the body says, and why not more.
    let program = ["/mnt/webhookctl", "simulate", &world.path("body")];
    world.write("body", r#"{"ip":"198.51.100.7"}"#);
    let refused = world.confined.run(&[&AS_WEBHOOKD[..], &program].concat());
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{told}");
    let told = flat(&told);
    assert!(told.contains("could not be asked") && told.contains("sudo webhookctl"), "{told}");
    world.stop_privd(Signal::SIGKILL);
    let run = world.confined.run(&program);
    let text = [run.stdout, run.stderr].concat();
    let text = flat(&String::from_utf8_lossy(&text));
    assert_eq!(run.status.code(), Some(2), "{text}");
    for words in ["The body names: 198.51.100.7", "systemctl status webhook-privd"] {
        assert!(text.contains(words), "no `{words}` in {text}");
    }
    // A mistake in the body needs nobody else.
    world.write("body", "{");
    assert_eq!(world.ctl_folded(&["simulate", &world.path("body")]).1, 1);
}

#[test]
fn an_alerts_document_is_enough_from_a_file_or_from_standard_input() {
    let world = World::new();
    let at = |name: &str| world.path(name);
    world.write("template", TEMPLATES[0]);
    let alert = |ip: &str| json!({ "kibana.alert.uuid": "u-1", "kibana.alert.rule.name": "SSH \"x\"", "source.ip": ip });
    world.write("alert", &alert("198.51.100.7").to_string());
    let (text, code) = world.ctl_folded(&["simulate", &at("template"), "--alert", &at("alert")]);
    assert_eq!(code, 0, "{text}");
    let body = r#"{"ip":"198.51.100.7","rule_name":"SSH \"x\"","alert_id":"u-1"}"#;
    assert!(flat(&text).contains(&format!("Kibana would send: {}", flat(body))), "{text}");
    let piped = format!("/mnt/webhookctl simulate {} --alert - < {}", at("template"), at("alert"));
    assert_eq!(world.confined.sh(&piped), text);
    let piped = format!("/mnt/webhookctl simulate - --alert {} < {}", at("alert"), at("template"));
    assert_eq!(world.confined.sh(&piped), text);

    // Two alerts are two calls, or one.
    let both = json!([alert("198.51.100.7"), alert("198.51.100.8")]);
    world.write("alerts", &both.to_string());
    let alerts = ["simulate", &at("template"), "--alert", &at("alerts")];
    let (text, code) = world.ctl_folded(&alerts);
    assert_eq!((code, text.matches("Kibana would be answered 200").count()), (0, 2), "{text}");
    world.write("template", TEMPLATES[1]);
    let (text, code) = world.ctl_folded(&[&alerts[..], &["--mode", "summary"]].concat());
    assert_eq!((code, text.matches("would be blocked").count()), (0, 2), "{text}");

    for (template, alert, code, words) in [
        (
            "{{#FormatDate}}x{{/FormatDate}}",
            "{}",
            2,
            "Kibana's FormatDate, which cannot be simulated",
        ),
        ("{}", "no JSON", 1, "is not JSON"),
        ("{}", "[]", 1, "no alert is in it"),
    ] {
        world.write("template", template);
        world.write("alert", alert);
        let (text, status) =
            world.ctl_folded(&["simulate", &at("template"), "--alert", &at("alert")]);
        assert_eq!(status, code, "{template}: {text}");
        assert!(flat(&text).contains(words), "{template}: no `{words}` in {text}");
    }
    for (arguments, words) in [
        (&["simulate", "/nowhere"][..], "/nowhere cannot be read"),
        (&["simulate", "-", "--alert", "-"], "cannot both come from standard input"),
        (&["simulate", "/nowhere", "--mode", "each"], "--alert"),
        (&["simulate", "/dev/zero"], "is larger than a body may be"),
    ] {
        let (text, code) = world.ctl_folded(arguments);
        assert_eq!(code, 1, "{arguments:?}: {text}");
        assert!(flat(&text).contains(words), "{arguments:?}: no `{words}` in {text}");
    }
}

/// What was folded, in one line.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
