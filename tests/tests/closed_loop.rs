//! The whole loop: sshd's lines, what Filebeat makes of them, the shipped rule, its alert, the shipped
//! action and connector, the block with real packets, and what Kibana is told of it in the end.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tests::audit_log::{FIELDS, PRIVD, WEBHOOKD, document, documents, logging_world, valid};
use tests::node::base64_of;
use tests::world::{ATTACKER, KIBANA, SERVER, SERVER6};
use tests::{Kibana, World, auth_log, detection};

/// One line of sshd, seconds ago.
type Line = (i64, String);

const NOW: &str = "2026-01-14T10:32:00Z";

/// What the pipelines find in each line: event, user, address; None where there is no `source.ip`, and
/// whether a rule may count it.
#[test]
fn each_line_becomes_what_filebeats_pipeline_makes_of_it() {
    let from = format!("from {ATTACKER} port 29160");
    for (message, found, counts) in [
        (format!("Failed password for root {from} ssh2"), Some(("Failed", "root")), true),
        // The pattern leaves a blank in front.
        (
            format!("Failed password for invalid user admin {from} ssh2"),
            Some(("Failed", " admin")),
            true,
        ),
        (
            format!("Failed publickey for root {from} ssh2: RSA SHA256:x"),
            Some(("Failed", "root")),
            true,
        ),
        (format!("Invalid user test {from}"), Some(("Invalid", "test")), true),
        (format!("Invalid user  {from}"), Some(("Invalid", "")), true),
        (
            format!("Accepted publickey for root {from} ssh2: RSA SHA256:x"),
            Some(("Accepted", "root")),
            false,
        ),
        (
            format!(
                "error: maximum authentication attempts exceeded for root {from} ssh2 [preauth]"
            ),
            Some(("error:", "root")),
            false,
        ),
        // rsyslog's RepeatedMsgReduction hides two failures from every rule.
        (
            format!("message repeated 2 times: [ Failed password for root {from} ssh2]"),
            Some(("message", "root")),
            false,
        ),
        (
            format!(
                "Connection closed by authenticating user root {ATTACKER} port 29160 [preauth]"
            ),
            None,
            false,
        ),
        (
            format!("Disconnected from authenticating user root {ATTACKER} port 29160 [preauth]"),
            None,
            false,
        ),
        (
            format!(
                "pam_unix(sshd:auth): authentication failure; ruser= rhost={ATTACKER} user=root"
            ),
            None,
            false,
        ),
        ("Server listening on :: port 22.".to_owned(), None, false),
    ] {
        let document = auth_log::document(&line(NOW, &message)).expect("a line");
        let of = |key: &str| document[key].as_str();
        assert_eq!(of("source.ip"), found.map(|_| ATTACKER), "{message}");
        assert_eq!(of("system.auth.ssh.event").zip(of("user.name")), found, "{message}");
        assert_eq!(of("event.outcome") == Some("failure"), counts, "{message}");
        assert_eq!(of("event.dataset"), Some("system.auth"));
    }
    let named =
        auth_log::document(&line(NOW, "Failed password for root from evil.example port 1 ssh2"));
    let named = named.unwrap();
    assert_eq!((&named["source.domain"], named.get("source.ip")), (&json!("evil.example"), None));
}

/// Nobody but who is in never-block is safe from this: who guesses may write any address into the name.
#[test]
fn a_name_that_ends_like_a_line_is_taken_for_it_and_never_block_is_what_helps() {
    let victim = "198.51.100.77";
    let name = format!("x from {victim} port 22 ssh2");
    let lines: Vec<Line> = (0..20)
        .map(|n| {
            (n, format!("Failed password for invalid user {name} from {ATTACKER} port 7 ssh2"))
        })
        .collect();
    let mut rule = shipped("rule-guide.json");
    assert_eq!(alerted(&rule, &lines), [(victim.to_owned(), 20)]);
    let mut exclusion = shipped("exclusion.json");
    exclusion["query"]["terms"]["source.ip"] = json!(["198.51.100.0/24"]);
    rule["filters"] = json!([exclusion]);
    assert_eq!(alerted(&rule, &lines), []);
}

#[test]
fn ten_failures_in_five_minutes_are_an_alert_and_nine_or_older_ones_are_none() {
    let failed = |user: &str, address: &str, ago: i64| {
        (ago, format!("Failed password for {user} from {address} port 29160 ssh2"))
    };
    let nobody = |address: &str, ago| (ago, format!("Invalid user x from {address} port 29160"));
    let times = |count: i64, make: &dyn Fn(i64) -> Vec<Line>| -> Vec<Line> {
        (0..count).flat_map(|n| make(n * 20)).collect()
    };
    let root = |ago| vec![failed("root", ATTACKER, ago)];
    // The first guess of a connection, of a user that there is not, is told twice.
    let guess = |ago| vec![nobody(ATTACKER, ago), failed("invalid user x", ATTACKER, ago)];
    let (guide, wide) = (&shipped("rule-guide.json"), &shipped("rule-wide.json"));
    for (rule, lines, count) in [
        (guide, times(9, &root), None),
        (guide, times(10, &root), Some(10)),
        (guide, times(9, &guess), None),
        (guide, times(10, &guess), Some(10)),
        // Keys alone are accepted: nobody gets as far as a password.
        (guide, times(15, &|ago| vec![nobody(ATTACKER, ago)]), None),
        (wide, times(9, &guess), None),
        (wide, times(10, &guess), Some(20)),
        // In the last five minutes are 15 of 40.
        (wide, times(40, &root), None),
        // Each address counts for itself.
        (
            guide,
            times(9, &|ago| {
                vec![failed("root", ATTACKER, ago), failed("root", "198.51.100.9", ago)]
            }),
            None,
        ),
        (wide, (0..20).flat_map(|_| root(1)).collect(), Some(20)),
        (wide, (0..19).flat_map(|_| root(1)).collect(), None),
    ] {
        let expected: Vec<_> =
            count.map(|count| (ATTACKER.to_owned(), count)).into_iter().collect();
        assert_eq!(alerted(rule, &lines), expected, "{} {}", rule["rule_id"], lines.len());
    }
}

#[test]
fn from_the_lines_of_sshd_to_the_block_and_to_the_document_in_kibana() {
    let address6 = tests::world::ATTACKER6;
    for (rule, action, attacker, server, failures) in [
        ("rule-guide.json", "action.json", ATTACKER, SERVER, 10),
        ("rule-wide.json", "action-summary.json", address6, SERVER6, 20),
    ] {
        let world = logging_world("block-for = \"1d\"");
        let mut kibana = Kibana::at(&world.kibana);
        let (rule, template) = (shipped(rule), shipped(action));
        let template = template["params"]["body"].as_str().unwrap();
        let lines: Vec<Line> = (0..failures)
            .map(|ago| (ago, format!("Failed password for root from {attacker} port 29160 ssh2")))
            .collect();
        // One failure less is no alert: nobody is called.
        assert_eq!(alerted(&rule, &lines[1..]), []);
        assert!(world.attacker_connects(server));
        let groups = alerted(&rule, &lines);
        assert_eq!(groups, [(attacker.to_owned(), failures.cast_unsigned())]);

        let alerts = json!({
            "rule": "threshold",
            "mode": if action == "action.json" { "alert" } else { "summary" },
            "addresses": groups.iter().map(|(address, _)| address).collect::<Vec<_>>(),
            "counts": groups.iter().map(|(_, count)| count).collect::<Vec<_>>(),
            "of": { "rule_id": rule["rule_id"], "name": rule["name"],
                "severity": rule["severity"], "risk_score": rule["risk_score"],
                "threshold": rule["threshold"] },
        });
        let judgements = kibana.runs(&connector(&world), template, &alerts);
        let [judgement] = &judgements[..] else { panic!("{judgements:?}") };
        assert_eq!(judgement.message, None, "{judgement:?}");
        assert_eq!(judgement.answer["output"], format!("Blocked IP: {attacker}"));
        assert!(!world.attacker_connects(server), "{attacker} is out");

        the_documents_are_in_the_words_of_ecs(&world, &rule, attacker);
    }
}

/// Each field of both documents, none left over; what changes from run to run is looked at by `valid`.
fn the_documents_are_in_the_words_of_ecs(world: &World, rule: &Value, attacker: &str) {
    let blocked = document(world, PRIVD, "ip-blocked");
    let accepted = document(world, WEBHOOKD, "webhook-accepted");
    valid("webhook-privd", &blocked);
    valid("webhookd", &accepted);
    assert_eq!(blocked["event.id"], accepted["event.id"]);
    let mut expected = json!({
        "event.action": "ip-blocked", "event.kind": "event",
        "event.category": ["network", "intrusion_detection", "configuration"],
        "event.type": ["denied", "creation"], "event.outcome": "success",
        "event.module": "webhookd", "event.dataset": "webhookd.audit",
        "event.provider": "webhook-privd", "service.name": "webhook-privd",
        "process.name": "webhook-privd", "ecs.version": "8.17.0", "log.level": "info",
        "observer.type": "firewall", "observer.product": world.engine.name(),
        "source.ip": attacker, "source.address": attacker, "client.ip": KIBANA,
        "related.ip": [attacker, KIBANA], "message": format!("{attacker} blocked"),
        "rule.name": rule["name"], "webhookd.outcome": "blocked",
        "webhookd.enforced_as": attacker, "user.id": "4711", "user.effective.id": "4711",
        "group.id": "4711", "process.pid": world.daemons().0,
        "webhookd.peer.pid": world.daemons().1,
    });
    let vary = [
        "@timestamp",
        "event.id",
        "event.reason",
        "host.hostname",
        "observer.hostname",
        "service.version",
        "webhookd.alert_id",
        "webhookd.until",
    ];
    for key in vary.into_iter().filter(|key| blocked.get(key).is_some()) {
        expected[key] = blocked[key].clone();
    }
    assert_eq!(blocked, expected);
    for document in [&blocked, &accepted] {
        for (field, allowed) in ALLOWED {
            let values = match &document[field] {
                Value::Array(values) => values.clone(),
                one => vec![one.clone()],
            };
            assert!(
                values.iter().all(|value| allowed.contains(&value.as_str().unwrap())),
                "{field} of {document}"
            );
            assert!(FIELDS.iter().any(|(name, kind)| *name == field && *kind == "keyword"));
        }
    }
    // What was done is no reason to do it again.
    let mut told: Vec<Value> =
        [PRIVD, WEBHOOKD].into_iter().flat_map(|log| documents(world, log)).collect();
    for rule in ["rule-guide.json", "rule-wide.json"].map(shipped) {
        for document in &mut told {
            document["_index"] = json!("filebeat-8.17.0");
        }
        let many: Vec<Value> = (0..100).flat_map(|_| told.clone()).collect();
        assert_eq!(detection::run(&rule, &many, Timestamp::now()), []);
    }
}

/// A file of packaging/elastic/kibana.
fn shipped(name: &str) -> Value {
    tests::shipped::json(&format!("kibana/{name}"))
}

/// The shipped connector with what is in capitals replaced.
fn connector(world: &World) -> Value {
    let ca = base64_of(&world.directory.path().join("cert.pem"));
    let text = tests::shipped::text("kibana/connector-bearer.json")
        .replace("https://HOST:", "https://10.9.0.1:");
    let text = text.replace("BASE64_OF_CA_PEM", &ca).replace("TOKEN", &world.token);
    serde_json::from_str(&text).unwrap()
}

/// Whom the rule's next run alerts of.
fn alerted(rule: &Value, lines: &[Line]) -> Vec<detection::Group> {
    let now: Timestamp = NOW.parse().unwrap();
    let documents: Vec<Value> = lines
        .iter()
        .map(|(ago, message)| {
            let at = (now - SignedDuration::from_secs(*ago)).to_string();
            auth_log::document(&line(&at, message)).unwrap()
        })
        .collect();
    detection::run(rule, &documents, now)
}

/// As rsyslog writes it into auth.log.
fn line(at: &str, message: &str) -> String {
    format!("{at} web-01 sshd[3430]: {message}")
}

/// What ECS 8.17 allows for its categorization fields (elastic/ecs, docs/reference/
/// ecs-allowed-values-event-{kind,category,type,outcome}.md).
const ALLOWED: [(&str, &[&str]); 4] = [
    (
        "event.kind",
        &["alert", "asset", "enrichment", "event", "metric", "pipeline_error", "signal", "state"],
    ),
    (
        "event.category",
        &[
            "api",
            "authentication",
            "configuration",
            "database",
            "driver",
            "email",
            "file",
            "host",
            "iam",
            "intrusion_detection",
            "library",
            "malware",
            "network",
            "package",
            "process",
            "registry",
            "session",
            "threat",
            "vulnerability",
            "web",
        ],
    ),
    (
        "event.type",
        &[
            "access",
            "admin",
            "allowed",
            "change",
            "connection",
            "creation",
            "deletion",
            "denied",
            "device",
            "end",
            "error",
            "group",
            "indicator",
            "info",
            "installation",
            "protocol",
            "start",
            "user",
        ],
    ),
    ("event.outcome", &["failure", "success", "unknown"]),
];
