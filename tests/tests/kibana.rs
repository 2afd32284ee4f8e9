//! Kibana's own client: what templates render to, what becomes of it here, and what an operator reads
//! there. The samples are those of a Security rule in both of its modes and of other rules.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::node::{connector, merged};
use tests::world::KIBANA;
use tests::{Judgement, Kibana, Standing, World};

use Mode::{Each, NoSource, Query, Summary};
use Then::{Blocks, Says};

/// The two attackers of a sample; each row has two addresses of its own in their place.
const FIRST: &str = "203.0.113.7";
const SECOND: &str = "198.51.100.23";

/// What the Test button is told to send.
const TRY: &str = r#"{"ip":"203.0.113.45","duration":"1m"}"#;
/// The templates A, B and C of the README: for each alert, for whole alerts, for many.
const ONE_EACH: &str = r#"{"ip":"{{context.alerts.0.source.ip}}","rule_name":"{{context.rule.name}}","alert_id":"{{alert.id}}"}"#;
const WHOLE: &str = r#"{"rule_name":"{{rule.name}}","alerts":{{{context.alerts.asJSON}}}}"#;
const LIST: &str = r#"{{#ParseHjson}}{"rule_name":"{{rule.name}}","ips":[{{#context.alerts}}"{{source.ip}}",{{/context.alerts}}]}{{/ParseHjson}}"#;

/// How a rule calls its action.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    /// For each alert; here there is one.
    Each,
    /// Once for both alerts.
    Summary,
    /// For one alert whose `source.ip` has both addresses, of a rule that keeps all fields.
    Query,
    /// For one alert of a rule that is not grouped by `source.ip`.
    NoSource,
}

#[derive(Debug)]
enum Then {
    /// These are blocked, and nothing else is.
    Blocks(&'static [&'static str]),
    /// 400, and the operator reads these words.
    Says(&'static [&'static str]),
}

/// A template, what Kibana makes of it (where that is short), and what becomes of that.
type Sample = (Mode, &'static str, &'static str, Then);

const SAMPLES: &[Sample] = &[
    (
        Each,
        r#"{"ip":"{{context.alerts.0.source.ip}}","rule":"{{context.rule.name}}","count":{{context.alerts.0.kibana.alert.threshold_result.count}},"alert_id":"{{alert.id}}"}"#,
        r#"{"ip":"203.0.113.7","rule":"SSH brute force \"block\"","count":17,"alert_id":"8f14e45fceea167a5a36dedd4bea2543aa11"}"#,
        Blocks(&[FIRST]),
    ),
    // In the other mode the second attacker is lost, and no receiver can know.
    (
        Summary,
        r#"{"ip":"{{context.alerts.0.source.ip}}","rule":"{{context.rule.name}}","count":{{context.alerts.0.kibana.alert.threshold_result.count}},"alert_id":"{{alert.id}}"}"#,
        r#"{"ip":"203.0.113.7","rule":"SSH brute force \"block\"","count":17,"alert_id":"6f1c3b1e-6a0e-4f6c-9a39-3c0f7f4d2a11"}"#,
        Blocks(&[FIRST]),
    ),
    (
        Each,
        r#"{"ip":"{{context.source.ip}}"}"#,
        r#"{"ip":""}"#,
        Says(&["{{context.source.ip}}", "context.alerts.0.source.ip"]),
    ),
    (
        Summary,
        r#"{"ip":"{{#context.alerts}}{{source.ip}}{{/context.alerts}}"}"#,
        r#"{"ip":"203.0.113.7198.51.100.23"}"#,
        Says(&["separator"]),
    ),
    (
        Summary,
        r#"{"ip":"{{#context.alerts}}{{source.ip}} {{/context.alerts}}"}"#,
        r#"{"ip":"203.0.113.7 198.51.100.23 "}"#,
        Blocks(&[FIRST, SECOND]),
    ),
    (
        Summary,
        r#"{"ips":[{{#context.alerts}}"{{source.ip}}",{{/context.alerts}}]}"#,
        r#"{"ips":["203.0.113.7","198.51.100.23",]}"#,
        Says(&["comma"]),
    ),
    (
        Query,
        r#"{"ip":"{{context.alerts.0.source.ip}}"}"#,
        r#"{"ip":"203.0.113.7,198.51.100.23"}"#,
        Blocks(&[FIRST, SECOND]),
    ),
    (
        Query,
        r#"{"ip":{{{context.alerts.0.source.ip.asJSON}}}}"#,
        r#"{"ip":["203.0.113.7","198.51.100.23"]}"#,
        Blocks(&[FIRST, SECOND]),
    ),
    (
        Summary,
        r#"{{#ParseHjson}}{"ips":[{{#context.alerts}}"{{source.ip}}",{{/context.alerts}}]}{{/ParseHjson}}"#,
        r#"{"ips":["203.0.113.7","198.51.100.23"]}"#,
        Blocks(&[FIRST, SECOND]),
    ),
    (
        Each,
        r#"{{#ParseHjson}}{"ip":"{{context.alerts.0.source.ip}}"{{/ParseHjson}}"#,
        "",
        Says(&["Hjson"]),
    ),
    (
        Each,
        r#"{"ip":"{{context.alerts.0.source.ip}}","port":{{context.alerts.0.source.port}}}"#,
        r#"{"ip":"203.0.113.7","port":}"#,
        Says(&["quotes"]),
    ),
    (Each, r#"{"ip":{{context.alerts.0.source.ip}}}"#, r#"{"ip":203.0.113.7}"#, Says(&["quotes"])),
    (
        NoSource,
        r#"{"ip":"{{context.alerts.0.source.ip}}"}"#,
        r#"{"ip":""}"#,
        Says(&["context.alerts.0.source.ip"]),
    ),
    (
        Each,
        r#"{"ip":"{{context.alerts.0.source.ip}"}"#,
        r#"error rendering mustache template "{"ip":"{{context.alerts.0.source.ip}"}": Unclosed tag at 38"#,
        Says(&["Unclosed tag"]),
    ),
    (
        Each,
        r#"{"ip":"{{alert.id}}"}"#,
        r#"{"ip":"8f14e45fceea167a5a36dedd4bea2543aa11"}"#,
        Says(&["{{alert.id}}"]),
    ),
    // In a summary the id is the rule's, a UUID.
    (
        Summary,
        r#"{"ip":"{{alert.id}}"}"#,
        r#"{"ip":"6f1c3b1e-6a0e-4f6c-9a39-3c0f7f4d2a11"}"#,
        Says(&["{{alert.id}}"]),
    ),
    (
        Each,
        r#"{"ip":"{{#context.alerts}}{{#kibana.alert.threshold_result.terms}}{{value}}{{/kibana.alert.threshold_result.terms}}{{/context.alerts}}"}"#,
        r#"{"ip":"203.0.113.7"}"#,
        Blocks(&[FIRST]),
    ),
    (Each, "{{context.alerts.0.source.ip}}", "203.0.113.7", Blocks(&[FIRST])),
    (Summary, r#"{"alerts":{{context.alerts.asJSON}}}"#, "", Says(&["{{{"])),
    (
        Summary,
        r#"{"rule":"{{rule.name}}","alerts":{{{context.alerts.asJSON}}}}"#,
        "",
        Blocks(&[FIRST, SECOND]),
    ),
    // Whole documents in text, with brackets and without.
    (Summary, r#"{"alerts":"{{context.alerts.asJSON}}"}"#, "", Blocks(&[FIRST, SECOND])),
    (Summary, r#"{"alerts":"{{context.alerts}}"}"#, "", Blocks(&[FIRST, SECOND])),
    (Summary, r#"{"alerts":[{{{context.alerts}}}]}"#, "", Blocks(&[FIRST, SECOND])),
    (Summary, "{{{context.alerts.asJSON}}}", "", Blocks(&[FIRST, SECOND])),
    (Summary, r#"{"alerts":{"new":{{{alerts.new}}}}}"#, "", Blocks(&[FIRST, SECOND])),
    // The event's other addresses stay what they are.
    (Query, WHOLE, "", Blocks(&[FIRST, SECOND])),
];

#[test]
fn each_sample_blocks_exactly_its_sources_or_tells_the_operator_what_to_mend() {
    let world = World::new();
    let (mut kibana, connector) = (Kibana::at(&world.kibana), connector(&world));
    let mut blocked = BTreeSet::new();
    for (row, (mode, template, rendered, then)) in SAMPLES.iter().enumerate() {
        let own = |text: &str| {
            let (first, second) = (format!("198.18.{row}.7"), format!("198.19.{row}.23"));
            text.replace(FIRST, &first).replace(SECOND, &second)
        };
        let mut judgements = kibana.runs(&connector, template, &mode.alerts(&own));
        let judgement = judgements.pop().unwrap();
        let shown =
            format!("{mode:?} {template}\n{:.300}\n{}", judgement.rendered, judgement.answer);
        assert_eq!(judgements.len(), 0, "{shown}");
        if !rendered.is_empty() {
            assert_eq!(judgement.rendered, own(rendered), "{shown}");
        }
        // What is no JSON comes as a JSON string.
        let is_json = serde_json::from_str::<Value>(&judgement.rendered).is_ok();
        let text = Value::from(judgement.rendered.as_str()).to_string();
        assert_eq!(judgement.wire, if is_json { judgement.rendered.clone() } else { text });
        match then {
            Blocks(addresses) => {
                assert_eq!(judgement.message, None, "{shown}");
                let addresses: BTreeSet<String> = addresses.iter().map(|ip| own(ip)).collect();
                assert_in_force(&world, &addresses);
                blocked.extend(addresses);
            }
            Says(words) => {
                let message = message(&judgement, "[400] Bad Request: ");
                for words in *words {
                    assert!(message.contains(words), "no {words} in {message}\n{shown}");
                }
                assert_eq!(judgement.again, Some((30, 30)), "{shown}");
            }
        }
        assert_eq!(listed(&world), blocked, "{shown}");
    }
}

#[test]
fn one_two_and_a_hundred_alerts_are_blocked_in_both_modes() {
    // More than the shipped quota: a whole test in one minute.
    let world = World::with("max-new-blocks-per-minute = 10000", "ufw allow 22/tcp");
    let mut kibana = Kibana::at(&world.kibana);
    let mut blocked = BTreeSet::new();
    for (row, (client, template, mode, count)) in [
        ("axios", ONE_EACH, "alert", 1),
        ("axios", ONE_EACH, "alert", 2),
        ("axios", ONE_EACH, "alert", 100),
        ("axios", WHOLE, "alert", 1),
        ("axios", WHOLE, "alert", 2),
        ("axios", WHOLE, "alert", 100),
        ("axios", WHOLE, "summary", 1),
        ("axios", WHOLE, "summary", 2),
        ("axios", WHOLE, "summary", 100),
        ("axios", LIST, "alert", 1),
        ("axios", LIST, "alert", 2),
        ("axios", LIST, "alert", 100),
        ("axios", LIST, "summary", 1),
        ("axios", LIST, "summary", 2),
        ("axios", LIST, "summary", 100),
        // Kibana 7.17's.
        ("axios-old", ONE_EACH, "alert", 2),
        ("axios-old", WHOLE, "alert", 2),
        ("axios-old", WHOLE, "summary", 100),
        ("axios-old", LIST, "alert", 2),
        ("axios-old", LIST, "summary", 2),
    ]
    .into_iter()
    .enumerate()
    {
        let addresses: BTreeSet<String> =
            (1..=count).map(|host| format!("198.18.{row}.{host}")).collect();
        let alerts =
            json!({ "rule": "threshold", "mode": mode, "addresses": addresses, "bytes": DOCUMENT });
        let connector = merged(connector(&world), &json!({ "client": client }));
        let judgements = kibana.runs(&connector, template, &alerts);
        let expected = if mode == "alert" { count } else { 1 };
        assert_eq!(judgements.len(), expected, "{client} {mode} {count} {template}");
        for judgement in judgements {
            let (sent, answer) = (judgement.wire.len(), &judgement.answer);
            assert_eq!(judgement.message, None, "{client} {mode} {count} {template}: {answer}");
            let documents = if mode == "alert" { 1 } else { count };
            assert!(template != WHOLE || sent > documents * DOCUMENT, "only {sent} bytes");
        }
        assert_in_force(&world, &addresses);
        blocked.extend(addresses);
        assert_eq!(listed(&world), blocked, "{client} {mode} {count} {template}");
    }
    assert!(blocked.len() > 600);
}

#[test]
fn the_documents_show_these_templates_and_no_others() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let shown = |file: &str, begins: &str, ends: &str| -> BTreeSet<String> {
        let text = fs::read_to_string(root.join(file)).unwrap();
        // The rest of the first line is about the block.
        let blocks = text.split(begins).skip(1).filter_map(|rest| rest.split_once('\n'));
        let blocks = blocks.map(|(_, block)| block.split(ends).next().unwrap());
        let templates = blocks.filter(|block| block.starts_with('{') && block.contains("{{"));
        templates.map(without_spaces).collect()
    };
    let all = BTreeSet::from([ONE_EACH, WHOLE, LIST].map(without_spaces));
    assert_eq!(shown("README.md", "\n```", "\n```"), all);
    let page = shown("packaging/man/webhookd.8", "\n.Bd ", "\n.Ed");
    let both = BTreeSet::from([ONE_EACH, WHOLE].map(without_spaces));
    assert!(page.is_superset(&both) && page.is_subset(&all), "{page:#?}");
}

#[test]
fn ten_thousand_addresses_in_a_body_are_answered_within_what_kibana_reads() {
    // Their rules are not what is asked about here.
    let quotas = "enforce = false\nmax-blocks = 100000\nmax-new-blocks-per-minute = 100000";
    let world = World::with(quotas, "ufw allow 22/tcp");
    let (mut kibana, connector) = (Kibana::at(&world.kibana), connector(&world));
    // About the longest text that an address has.
    let addresses: BTreeSet<String> = (0..10_000)
        .map(|host| format!("2001:db8:1234:5678:9abc:def1:abcd:{:x}", 0x1000 + host))
        .collect();
    for (rule, template) in
        [("threshold", LIST), ("esQuery", r#"{"hits":{{{context.hits.asJSON}}}}"#)]
    {
        let alerts = json!({ "rule": rule, "mode": "summary", "addresses": addresses });
        let judgement = one(kibana.runs(&connector, template, &alerts));
        assert_eq!((&judgement.message, judgement.again), (&None, None), "{template}");
        let results = judgement.answer["results"].as_array().expect("results");
        assert!(results.iter().all(|result| result["outcome"] == "would-block"), "{template}");
        let heard = results.iter().map(|result| result["ip"].as_str().unwrap().to_owned());
        assert_eq!(heard.collect::<BTreeSet<_>>(), addresses, "{template}");
        let bytes = judgement.answer.to_string().len();
        assert!(bytes < 1_000_000, "{bytes} bytes");
    }
}

#[test]
fn what_failed_comes_first_in_what_the_operator_reads() {
    let world = World::with("max-new-blocks-per-minute = 60", "ufw allow 22/tcp");
    let (mut kibana, connector) = (Kibana::at(&world.kibana), connector(&world));
    let addresses: Vec<String> = (1..=100).map(|host| format!("198.18.0.{host}")).collect();
    let alerts = json!({ "rule": "threshold", "mode": "summary", "addresses": addresses });
    let judgement = one(kibana.runs(&connector, LIST, &alerts));
    let message = message(&judgement, "[429] Too Many Requests: ");
    // While the first are counted there is room for a few more.
    let outcomes = judgement.answer["results"].as_array().unwrap().iter();
    let late = outcomes.filter(|result| result["outcome"] == "over-quota").count();
    assert!((30..=40).contains(&late), "{late}");
    let begins = &message[..200];
    for words in [
        format!("{late} over-quota"),
        format!("{} blocked", addresses.len() - late),
        "Too many new blocks a minute".to_owned(),
    ] {
        assert!(begins.contains(&words), "no `{words}` in {begins}");
    }
}

#[test]
fn rules_outside_security_name_the_address_in_other_fields() {
    let world = World::new();
    let (mut kibana, connector) = (Kibana::at(&world.kibana), connector(&world));
    let mut blocked = BTreeSet::new();
    for (row, (rule, template, count)) in [
        ("esQuery", r#"{"ip":"{{context.hits.0._source.source.ip}}"}"#, 1),
        ("esQuery", r#"{"hits":{{{context.hits.asJSON}}}}"#, 2),
        ("esQuery", r#"{"context":{"hits":[{{{context.hits}}}]}}"#, 2),
        ("indexThreshold", r#"{"ip":"{{context.group}}"}"#, 2),
        ("customThreshold", r#"{"ip":"{{context.grouping.source.ip}}"}"#, 2),
        ("customThreshold", r#"{"grouping":{{{context.grouping}}}}"#, 2),
        ("customThreshold", r#"{"group":{{{context.group.asJSON}}}}"#, 2),
        ("customThreshold", r#"{"context":{{{context}}}}"#, 2),
    ]
    .into_iter()
    .enumerate()
    {
        let addresses = [format!("198.18.{row}.7"), format!("198.19.{row}.23")];
        let alerts = json!({ "rule": rule, "addresses": addresses });
        for judgement in kibana.runs(&connector, template, &alerts) {
            assert_eq!(judgement.message, None, "{template}: {}", judgement.rendered);
        }
        let addresses: BTreeSet<String> = addresses.into_iter().take(count).collect();
        assert_in_force(&world, &addresses);
        blocked.extend(addresses);
        assert_eq!(listed(&world), blocked, "{template}");
    }
}

#[test]
fn a_recovered_notification_blocks_nobody() {
    let world = World::new();
    let (mut kibana, connector) = (Kibana::at(&world.kibana), connector(&world));
    for (rule, template) in [
        (
            "indexThreshold",
            r#"{"ip":"{{context.group}}","alert":{"actionGroup":"{{alert.actionGroup}}"}}"#,
        ),
        (
            "indexThreshold",
            r#"{"alert.actionGroup":"{{alert.actionGroup}}","ip":"{{context.group}}"}"#,
        ),
        ("indexThreshold", r#"{"alert":{{{alert}}},"ip":"{{context.group}}"}"#),
        (
            "esQuery",
            r#"{"hits":{{{context.hits.asJSON}}},"alert":{"actionGroup":"{{alert.actionGroup}}"}}"#,
        ),
    ] {
        let alerts = json!({ "rule": rule, "addresses": [FIRST], "recovered": true });
        let judgement = one(kibana.runs(&connector, template, &alerts));
        // Success: what is not would be repeated.
        assert_eq!(judgement.message, None, "{template}: {}", judgement.rendered);
        let said = judgement.answer["message"].as_str().unwrap();
        assert!(said.contains("recovered"), "{template}: {said}");
        let results = judgement.answer["results"].as_array();
        assert!(results.is_none_or(Vec::is_empty), "{template}: {results:?}");
        assert_eq!(listed(&world), BTreeSet::new(), "{template}");
    }
    // The same template blocks while the alert is active.
    let template = r#"{"ip":"{{context.group}}","alert":{"actionGroup":"{{alert.actionGroup}}"}}"#;
    let alerts = json!({ "rule": "indexThreshold", "addresses": [FIRST] });
    assert_eq!(one(kibana.runs(&connector, template, &alerts)).message, None);
    assert_in_force(&world, &BTreeSet::from([FIRST.to_owned()]));
}

#[test]
fn the_test_button_is_told_what_to_send_and_then_works() {
    let world = World::new();
    let (mut kibana, connector) = (Kibana::at(&world.kibana), connector(&world));
    for body in [
        r#"{"ip":"{{context.alerts.0.source.ip}}","rule":"{{context.rule.name}}"}"#,
        ONE_EACH,
        WHOLE,
        LIST,
        "{{context.alerts.0.source.ip}}",
    ] {
        let judgement = kibana.test_button(&connector, body);
        let message = message(&judgement, "[400] Bad Request: ");
        assert!(message.contains("Test button"), "{body}: {message}");
        assert!(message.contains(TRY), "{body}: {message}");
        assert_eq!(judgement.again, None, "the Test button repeats nothing");
    }
    assert_eq!(listed(&world), BTreeSet::new());
    // In this world that is the server's own network, but not its address.
    let judgement = kibana.test_button(&connector, TRY);
    assert_eq!(judgement.message, None, "{judgement:?}");
    assert_in_force(&world, &BTreeSet::from(["203.0.113.45".to_owned()]));
}

#[test]
fn a_connector_that_is_set_up_wrongly_is_told_how() {
    let world = World::new();
    let mut kibana = Kibana::at(&world.kibana);
    let right = |headers: Value| {
        let secret = json!({ "Authorization": world.bearer() });
        let config = json!({ "headers": headers });
        merged(
            connector(&world),
            &json!({ "config": config, "secrets": { "secretHeaders": secret } }),
        )
    };
    let without = |name: &str| {
        let mut connector = connector(&world);
        connector["config"].as_object_mut().unwrap().remove(name);
        connector
    };
    let at = |path: &str| json!({ "config": { "url": format!("https://10.9.0.1:5001{path}") } });
    let by = |method: &str| json!({ "config": { "method": method } });
    let typed = |value: &str| right(json!({ "Content-Type": value }));
    let base = connector(&world);
    for client in ["axios", "axios-old"] {
        for (connector, words) in [
            (
                without("headers"),
                "[400] Bad Request: content-type must be application/json: add the header `Content-Type: application/json`",
            ),
            (typed("text/plain"), "[400] Bad Request: content-type must be application/json"),
            (merged(base.clone(), &at("/")), "[404] Not Found: "),
            // Neither is ever answered with a redirect, which would lose the body.
            (merged(base.clone(), &at("/blockip/")), "[404] Not Found: "),
            (merged(base.clone(), &at("")), "[404] Not Found: "),
            (merged(base.clone(), &by("put")), "[405] Method Not Allowed: the webhook takes POST"),
            (merged(base.clone(), &by("get")), "[405] Method Not Allowed: the webhook takes POST"),
            (
                merged(base.clone(), &by("delete")),
                "[405] Method Not Allowed: the webhook takes POST",
            ),
        ] {
            let connector = merged(connector, &json!({ "client": client }));
            message(&kibana.test_button(&connector, r#"{"ip":"203.0.113.7"}"#), words);
        }
        assert_eq!(listed(&world), BTreeSet::new());
    }
    for (connector, address) in [
        (typed("application/json"), "198.18.0.1"),
        (typed("application/json; charset=utf-8"), "198.18.0.2"),
        (right(json!({ "content-type": "Application/JSON;charset=UTF-8" })), "198.18.0.3"),
    ] {
        let body = json!({ "ip": address }).to_string();
        assert_eq!(kibana.test_button(&connector, &body).message, None, "{connector}");
        assert_in_force(&world, &BTreeSet::from([address.to_owned()]));
    }
}

#[test]
fn kibana_repeats_what_may_pass_when_it_may_have_passed() {
    let mut world = World::with("max-new-blocks-per-minute = 2", "ufw allow 22/tcp");
    let (mut kibana, connector) = (Kibana::at(&world.kibana), connector(&world));
    let alerts = |addresses: &[&str], mode: &str| json!({ "rule": "threshold", "mode": mode, "addresses": addresses });

    // Final for the alert, and said three times: Kibana repeats that too.
    let refused = one(kibana.runs(&connector, ONE_EACH, &alerts(&[KIBANA], "alert")));
    let words = message(&refused, "[422] Unprocessable Entity: Refused to block 10.9.0.2");
    assert_eq!(refused.again, Some((30, 30)));
    let second = one(kibana.again());
    assert_eq!((second.message.as_ref(), second.again), (Some(&words), Some((0, 300))));
    let third = one(kibana.again());
    assert_eq!((third.message.as_ref(), third.again), (Some(&words), None));
    assert_eq!(kibana.again().len(), 0);

    // Some in force: done, whatever became of the others.
    let mixed = one(kibana.runs(&connector, LIST, &alerts(&["198.18.0.1", KIBANA], "summary")));
    assert_eq!((mixed.message, mixed.again), (None, None));
    assert_in_force(&world, &BTreeSet::from(["198.18.0.1".to_owned()]));

    // Nobody there to change the firewall.
    world.stop_privd(Signal::SIGKILL);
    let away = one(kibana.runs(&connector, ONE_EACH, &alerts(&["198.18.0.2"], "alert")));
    message(&away, "[503] Service Unavailable: ");
    assert_eq!(away.again, Some((30, 30)));
    world.start_privd();
    assert_eq!(one(kibana.again()).message, None);
    assert_in_force(&world, &BTreeSet::from(["198.18.0.2".to_owned()]));
    assert_eq!(kibana.again().len(), 0);

    // Too many: repeated at the moment that the answer names.
    let addresses = ["198.18.0.3", "198.18.0.4", "198.18.0.5", "198.18.0.6"];
    let many = one(kibana.runs(&connector, LIST, &alerts(&addresses, "summary")));
    message(&many, "[429] Too Many Requests: ");
    let (from, to) = many.again.unwrap();
    assert!(from == to && (1..=60).contains(&from), "{many:?}");
    // Told nothing, Kibana would choose any moment of the next five minutes by now.
    let second = one(kibana.again()).again.unwrap();
    assert!(second.0 == second.1 && second.0 <= from, "{second:?}");
}

impl Mode {
    fn alerts(self, own: &dyn Fn(&str) -> String) -> Value {
        let both = [own(FIRST), own(SECOND)];
        match self {
            Each => json!({ "rule": "threshold", "addresses": both[..1] }),
            Summary => json!({ "rule": "threshold", "addresses": both, "mode": "summary" }),
            Query => json!({ "rule": "query", "addresses": both }),
            NoSource => json!({ "rule": "threshold", "addresses": both[..1], "grouped": false }),
        }
    }
}

fn without_spaces(text: &str) -> String {
    text.split_whitespace().collect()
}

fn one(mut judgements: Vec<Judgement>) -> Judgement {
    assert_eq!(judgements.len(), 1);
    judgements.pop().unwrap()
}

/// What the operator reads; begins so.
fn message(judgement: &Judgement, begins: &str) -> String {
    let message = judgement.message.clone().unwrap_or_else(|| panic!("success: {judgement:?}"));
    assert!(message.starts_with(begins), "not {begins}: {message}");
    message
}

/// Checks that ufw's rules and the kernel deny these.
fn assert_in_force(world: &World, addresses: &BTreeSet<String>) {
    let standing = Standing::now(world);
    for address in addresses {
        let lacks = standing.lacks(address.parse::<IpAddr>().unwrap());
        assert_eq!(lacks, None, "{address}\n{}", world.logs());
    }
}

/// All that is blocked.
fn listed(world: &World) -> BTreeSet<String> {
    let list = world.ctl_json("list");
    let rows = list.as_array().unwrap_or_else(|| panic!("{list}"));
    rows.iter().map(|row| row["target"].as_str().unwrap().to_owned()).collect()
}

/// Bytes of an alert document, at the upper end of what real rules make.
const DOCUMENT: usize = 40_000;
