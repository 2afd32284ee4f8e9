//! The audit logs of both daemons: documents that Elasticsearch takes, that nobody forges, that no
//! rotation loses, and that stop no block when they cannot be written.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::audit_log::{
    LOGS, PRIVD, WEBHOOKD, check, configure, document, documents, logging_world, valid,
};
use tests::https::{JSON, exchange, request};
use tests::world::{ATTACKER, KIBANA, UID};
use tests::{Container, World, until};

#[test]
fn each_action_is_a_document_of_known_fields_and_allowed_values() {
    let mut world = logging_world("max-new-blocks-per-minute = 5\nreconcile-every = \"1s\"");
    let alert = json!({ "ip": ATTACKER, "reason": "17 failures",
        "rule_name": "SSH brute force", "alert_id": "a-1" });
    assert_eq!(world.post(&alert).status, 200);
    let blocked = document(&world, PRIVD, "ip-blocked");
    check(
        &blocked,
        json!({
            "source.ip": ATTACKER, "source.address": ATTACKER, "client.ip": KIBANA,
            "related.ip": [ATTACKER, KIBANA], "event.reason": "17 failures",
            "rule.name": "SSH brute force", "webhookd.alert_id": "a-1", "webhookd.outcome": "blocked",
            "webhookd.enforced_as": ATTACKER, "user.id": "4711", "user.effective.id": "4711",
            "group.id": "4711", "message": format!("{ATTACKER} blocked"), "event.outcome": "success",
            "webhookd.peer.pid": world.daemons().1, "process.pid": world.daemons().0,
        }),
    );
    let accepted = document(&world, WEBHOOKD, "webhook-accepted");
    check(
        &accepted,
        json!({
            "event.id": blocked["event.id"], "client.ip": KIBANA, "related.ip": [KIBANA],
            "http.request.method": "POST", "http.response.status_code": 200, "url.path": "/blockip",
            "webhookd.token": "kibana", "webhookd.way": "bearer",
            "webhookd.outcome": ["blocked"], "webhookd.addresses": 1,
            "event.outcome": "success", "event.reason": format!("Blocked IP: {ATTACKER}"),
            "process.pid": world.daemons().1,
        }),
    );
    assert_eq!(accepted.get("source.ip"), None, "{accepted}");

    assert_eq!(world.post(&json!({ "ip": ATTACKER })).status, 200);
    check(&document(&world, PRIVD, "ip-already-blocked"), json!({ "event.outcome": "success" }));

    let brief = json!({ "ip": "192.0.2.77", "duration": "1s" });
    assert_eq!(world.post(&brief).status, 200);
    let is_block = |one: &Value| one["event.action"] == "ip-blocked";
    let blocked = documents(&world, PRIVD).into_iter().rfind(is_block).unwrap();
    assert_eq!(blocked["webhookd.until"].as_str().map(str::len), Some(24), "{blocked}");
    let expired = document(&world, PRIVD, "ip-expired");
    check(&expired, json!({ "event.id": blocked["event.id"], "webhookd.outcome": "lifted" }));

    // A network is no address.
    assert_eq!(world.post(&json!({ "ip": "198.51.100.0/24" })).status, 200);
    let network = documents(&world, PRIVD).pop().unwrap();
    check(&network, json!({ "source.address": "198.51.100.0/24", "related.ip": [KIBANA] }));
    assert_eq!((network.get("source.ip"), network.get("webhookd.until")), (None, None));

    assert_eq!(world.post(&json!({ "ip": "127.0.0.1" })).status, 422);
    let refused = document(&world, PRIVD, "ip-block-refused");
    check(&refused, json!({ "webhookd.refusal": "reserved", "event.outcome": "failure" }));
    let told = documents(&world, WEBHOOKD).pop().unwrap();
    check(
        &told,
        json!({ "event.action": "webhook-accepted", "event.outcome": "failure",
        "webhookd.outcome": ["refused"], "event.id": refused["event.id"] }),
    );
    let many: Vec<String> = (1..=9).map(|n| format!("192.0.2.{n}")).collect();
    assert_eq!(world.post(&json!({ "ips": many })).status, 429);
    check(&document(&world, PRIVD, "ip-block-over-quota"), json!({ "event.outcome": "failure" }));

    // What is taken away comes back. So does what a ufw may have taken along: it reads without the
    // lock, perhaps while ours has a rule in hand.
    world.take_away("198.51.100.0/24");
    until("it is restored", 20, || {
        let restored = |one: &Value| one["event.action"] == "ip-restored";
        let all = documents(&world, PRIVD);
        all.iter().any(|one| restored(one) && one["event.id"] == network["event.id"])
    });

    let (text, code) = world.ctl(&["unblock", "198.51.100.0/24", "192.0.2.99"]);
    assert_eq!(code, 0, "{text}");
    check(
        &document(&world, PRIVD, "ip-unblocked"),
        json!({
            "source.address": "198.51.100.0/24", "user.effective.id": "0", "group.id": "0",
            "webhookd.outcome": "lifted",
        }),
    );
    check(&document(&world, PRIVD, "ip-not-blocked"), json!({ "source.ip": "192.0.2.99" }));

    // Who is not let in, and what is no alert.
    let right = world.bearer();
    for (path, headers) in [
        ("/blockip", [("Authorization", "Bearer x"), JSON]),
        ("/nowhere", [("Authorization", right.as_str()), JSON]),
    ] {
        let _ = world.send(&request("POST", path, &headers, "{}"));
    }
    check(
        &document(&world, WEBHOOKD, "webhook-auth-failed"),
        json!({
            "event.reason": "bad token", "http.response.status_code": 401, "client.ip": KIBANA,
        }),
    );
    check(
        &document(&world, WEBHOOKD, "webhook-rejected"),
        json!({
            "url.path": "/nowhere", "http.response.status_code": 404, "webhookd.token": "kibana",
        }),
    );
    world.hang_up();
    check(&document(&world, WEBHOOKD, "webhook-reloaded"), json!({ "event.outcome": "success" }));
    world.wait_for("configuration read again", "privd.log");

    // Nothing more can be blocked; and what the firewall alone knows is taken over.
    configure(&world, "max-blocks = 1");
    world.write("privd.log", "");
    world.hang_up();
    world.wait_for("configuration read again", "privd.log");
    assert_eq!(world.post(&json!({ "ip": "192.0.2.200" })).status, 503);
    document(&world, PRIVD, "ip-block-unavailable");
    world.stop_webhookd(Signal::SIGTERM);
    world.stop_privd(Signal::SIGTERM);
    world.server.sh(&format!("rm {}", world.path("state/ledger.redb")));
    world.start_privd();
    document(&world, PRIVD, "ip-adopted");
    check(&document(&world, WEBHOOKD, "webhook-stopped"), json!({}));

    let mut seen = BTreeSet::new();
    for (program, log) in LOGS {
        for document in documents(&world, log) {
            valid(program, &document);
            seen.insert(document["event.action"].as_str().unwrap().to_owned());
        }
    }
    assert!(seen.len() >= 15, "{seen:?}");
}

#[test]
fn observe_mode_says_what_it_would_have_blocked() {
    let world = logging_world("enforce = false");
    assert_eq!(world.post(&json!({ "ip": ATTACKER })).outcomes(), ["would-block"]);
    let expected = json!({ "webhookd.outcome": "would-block", "webhookd.enforced_as": ATTACKER });
    check(&document(&world, PRIVD, "ip-would-block"), expected);
}

#[test]
fn of_very_many_blocks_there_is_a_document_each_and_a_line_for_all() {
    let world = logging_world("enforce = true\nmax-new-blocks-per-minute = 10000");
    let addresses: Vec<String> =
        (0..1_100).map(|host| format!("198.18.{}.{}", host / 250, host % 250 + 1)).collect();
    assert_eq!(world.post(&json!({ "ips": addresses })).outcomes(), vec!["blocked"; 1_100]);
    let told = |action: &str| {
        let documents = documents(&world, PRIVD).into_iter();
        documents.filter(|one| one["event.action"] == action).count()
    };
    until("each is told of in the file", 20, || told("ip-blocked") == 1_100);
    assert_eq!(world.lines("privd.log", &["outcomes: blocked 1100"]).len(), 1);
    assert_eq!(world.ctl(&["unblock", "--all"]).1, 0);
    until("so is each end", 20, || told("ip-unblocked") == 1_100);
    assert_eq!(world.lines("privd.log", &["outcomes: lifted 1100"]).len(), 1);
    assert!(world.lines("privd.log", &["target: 198.18.0.1,"]).is_empty());
}

#[test]
fn no_caller_forges_a_document_or_a_field() {
    let world = logging_world("");
    let huge = "y\n".repeat(300_000);
    let forgeries = [
        "x\n{\"event.action\":\"ip-unblocked\",\"source.ip\":\"192.0.2.1\"}\n",
        "x\",\"event.action\":\"ip-unblocked\",\"x\":\"",
        "\u{1b}[2J\u{1b}]0;forged\u{7}\u{9b}31m\u{7f}",
        "<0>forged\r\n<0>forged",
        "\u{0}\u{2028}\u{202e}",
        &huge,
    ];
    let right = world.bearer();
    for (number, forgery) in (1..).zip(forgeries) {
        for key in ["reason", "rule_name", "alert_id"] {
            let answer = world.post(&json!({ "ip": format!("192.0.2.{number}"), key: forgery }));
            assert!([200, 400].contains(&answer.status), "{answer:?}");
        }
        let _ = world.post(&json!({ "ip": forgery }));
        let _ = world.post(&json!({ "ip": "127.0.0.1", "reason": forgery }));
    }
    // A half of a pair of surrogates is no text, and nothing is made of it.
    let _ = world.post_text(r#"{"ip":"192.0.2.77","reason":"\ud800"}"#);
    let long = format!("/{}", "x".repeat(20_000));
    let agent = "x\u{9b}31m\u{2028}<0>\",\"event.action\":\"x";
    for (path, token, agent) in [
        ("/x%0a%7b%22event.action%22%3a%22ip-unblocked%22%7d%0a%3c0%3e", &*right, agent),
        ("/x%0a<0>", &*right, agent),
        ("/x\u{9b}31m\u{2028}\u{202e}", &*right, agent),
        ("/blockip", "Bearer x\",\"a\":\"<0>", "x\t<0>\\\",\\u0000"),
        (&*long, &*right, "x"),
    ] {
        let headers = [("Authorization", token), JSON, ("User-Agent", agent)];
        // Some of these the HTTP library turns away by itself.
        let _ = exchange(&mut world.connection(), &request("POST", path, &headers, "{}"));
    }
    let told = documents(&world, WEBHOOKD).into_iter();
    let told = told.filter(|document| document["user_agent.original"] == agent);
    let paths: Vec<Value> = told.map(|document| document["url.path"].clone()).collect();
    let path = "/x%0a%7b%22event.action%22%3a%22ip-unblocked%22%7d%0a%3c0%3e";
    assert!(paths.contains(&path.into()), "{paths:?} in {}", world.read(WEBHOOKD));
    for (program, log) in LOGS {
        let text = world.read(log);
        assert!(!text.contains(&world.token), "{log} holds the token");
        assert!(text.ends_with('\n'));
        for line in text.lines() {
            assert!(line.len() < 10_000, "a document of {} bytes", line.len());
            assert!(!line.contains(char::is_control), "{line:?}");
            assert!(!line.contains(['\u{2028}', '\u{202e}']), "{line:?}");
        }
        for document in documents(&world, log) {
            valid(program, &document);
            assert_ne!(document["event.action"], "ip-unblocked", "{document}");
        }
    }
    // It is there, as what it is.
    let reasons: BTreeSet<String> = documents(&world, PRIVD)
        .iter()
        .map(|document| document["event.reason"].as_str().unwrap_or_default().to_owned())
        .collect();
    for forgery in &forgeries[..5] {
        assert!(reasons.contains(*forgery), "no {forgery:?} in {reasons:?}");
    }
}

#[test]
fn what_a_caller_repeats_is_counted_and_what_changes_the_firewall_is_told_each_time() {
    let mut world = logging_world("");
    world.block(ATTACKER);
    let body = json!({ "ip": ATTACKER }).to_string();
    let right = world.bearer();
    let known = request("POST", "/blockip", &[("Authorization", &right), JSON], &body);
    let wrong = request("POST", "/blockip", &[("Authorization", "Bearer x"), JSON], "");
    let mut connection = world.connection();
    for _ in 0..1_000 {
        assert_eq!(exchange(&mut connection, &known).unwrap().status, 200);
    }
    let mut refused = 0;
    while refused < 200 {
        let answer = exchange(&mut connection, &wrong);
        let Ok(answer) = answer else {
            connection = world.connection();
            continue;
        };
        assert!([401, 429].contains(&answer.status), "{answer:?}");
        refused += 1;
    }
    for number in 1..=150 {
        world.block(&format!("192.0.2.{number}"));
    }
    // At the end each kind tells of the rest.
    world.stop_webhookd(Signal::SIGTERM);
    world.stop_privd(Signal::SIGTERM);
    for (log, action, at_most, in_all) in [
        (PRIVD, "ip-blocked", 151, 151),
        (PRIVD, "ip-already-blocked", 600, 1_000),
        (WEBHOOKD, "webhook-accepted", 751, 1_151),
        (WEBHOOKD, "webhook-auth-failed", 100, 200),
    ] {
        let all = documents(&world, log);
        let of_it = all.iter().filter(|document| document["event.action"] == action);
        let lines = of_it.clone().count();
        let left_out = |document: &Value| document["webhookd.suppressed"].as_u64().unwrap_or(0);
        let kind = match action {
            "ip-already-blocked" | "webhook-accepted" => "requests that changed nothing",
            "webhook-auth-failed" => "requests with a wrong token",
            _ => "",
        };
        let rest = all.iter().filter(|document| document["webhookd.kind"] == kind);
        let told: u64 = of_it.chain(rest).map(left_out).sum();
        assert!(lines <= at_most, "{lines} documents of {action}");
        assert_eq!(lines + usize::try_from(told).unwrap(), in_all, "{action}: {lines} + {told}");
    }
    // The lines for people are the same.
    let lines = world.read("privd.log");
    let told = lines.lines().filter(|line| line.contains("outcome: already-blocked"));
    let all = documents(&world, PRIVD);
    let documents = all.iter().filter(|one| one["event.action"] == "ip-already-blocked");
    assert_eq!(told.count(), documents.count());
}

#[test]
fn a_rotation_under_load_loses_and_doubles_no_document() {
    let world = logging_world("");
    let over = AtomicBool::new(false);
    let mut kept = Vec::new();
    let events = std::thread::scope(|scope| {
        let alerts = scope.spawn(|| {
            let mut events = 0;
            // Without the deadline a failure of the others would be waited for forever.
            let deadline = Instant::now() + Duration::from_secs(60);
            while (!over.load(Ordering::Relaxed) || events < 40) && Instant::now() < deadline {
                events += 1;
                world.block(&format!("198.18.{}.{}", events / 250, events % 250 + 1));
            }
            events
        });
        for round in 1..=10 {
            for (_, log) in LOGS {
                let old = format!("{log}.{round}");
                fs::rename(world.path(log), world.path(&old)).unwrap();
                kept.push(old);
            }
            world.hang_up();
            until("both are there again", 20, || {
                LOGS.iter().all(|(_, log)| fs::metadata(world.path(log)).is_ok_and(|f| f.len() > 0))
            });
        }
        over.store(true, Ordering::Relaxed);
        alerts.join().unwrap()
    });
    let count = |log: &str, action: &str| {
        let files = kept.iter().map(String::as_str).filter(|old| old.starts_with(log)).chain([log]);
        let all = files.flat_map(|file| documents(&world, file));
        let ids: Vec<Value> = all
            .filter(|document| document["event.action"] == action)
            .map(|document| document["event.id"].clone())
            .collect();
        (ids.len(), ids.iter().map(Value::to_string).collect::<BTreeSet<_>>().len())
    };
    assert_eq!(count(PRIVD, "ip-blocked"), (events, events));
    assert_eq!(count(WEBHOOKD, "webhook-accepted"), (events, events));
    for ((_, log), owner) in LOGS.iter().zip([0, UID]) {
        let found = fs::metadata(world.path(log)).unwrap();
        assert_eq!(
            (found.uid(), found.gid(), found.mode() & 0o7777),
            (owner, owner, 0o640),
            "{log}"
        );
    }
}

#[test]
fn a_log_that_cannot_be_opened_again_goes_on_in_the_old_file_and_is_said() {
    let world = logging_world("");
    for (_, log) in LOGS {
        fs::rename(world.path(log), world.path(&format!("{log}.old"))).unwrap();
        fs::create_dir(world.path(log)).unwrap();
    }
    world.hang_up();
    for log in ["privd.log", "webhookd.log"] {
        world.wait_for("audit log not opened again, the old file stays", log);
    }
    world.block(ATTACKER);
    assert_eq!(documents(&world, &format!("{PRIVD}.old")).last().unwrap()["source.ip"], ATTACKER);
    assert_eq!(documents(&world, &format!("{WEBHOOKD}.old")).last().unwrap()["client.ip"], KIBANA);
}

#[test]
fn a_full_log_stops_no_block_is_said_once_and_what_was_lost_when_there_is_room() {
    let disk = "mkdir -p log/privd log/webhookd
        for at in log/privd log/webhookd; do mount -t tmpfs -o size=16k,mode=777 tmpfs $at; done";
    let mut world = World::prepared(disk, "ufw allow 22/tcp");
    configure(&world, "");
    world.start();
    let mut blocked = 0;
    let mut blocks = |number: u8| {
        for _ in 0..number {
            blocked += 1;
            world.block(&format!("192.0.2.{blocked}"));
        }
    };
    blocks(40);
    for log in ["privd.log", "webhookd.log"] {
        world.wait_for("the audit log is not written, and what is lost is counted", log);
    }
    let counted = world.metrics();
    for name in ["webhookd_audit_lines_lost_total", "webhook_privd_audit_lines_lost_total"] {
        assert!((1.0..40.0).contains(&counted[name]), "{name}: {counted:#?}");
    }
    // There is room again.
    for (_, log) in LOGS {
        fs::rename(world.inside(&world.path(log)), world.inside(&world.path(&format!("{log}.1"))))
            .unwrap();
        let file =
            fs::File::options().write(true).open(world.inside(&world.path(&format!("{log}.1"))));
        file.unwrap().set_len(0).unwrap();
    }
    blocks(1);
    for (name, (_, log)) in ["privd.log", "webhookd.log"].iter().zip(LOGS) {
        world.wait_for("the audit log is written again", name);
        let text = world.read(name);
        assert_eq!(text.matches("the audit log is not written").count(), 1, "{text}");
        let lost = text.split("written again, lost: ").nth(1).unwrap().split(',').next().unwrap();
        let lost: u64 = lost.parse().unwrap();
        assert!((1..40).contains(&lost), "{lost}: {text}");
        // Nothing but the line that was cut is damaged.
        let file = fs::read_to_string(world.inside(&world.path(&format!("{log}.1")))).unwrap();
        let last = file.lines().last().unwrap();
        serde_json::from_str::<Value>(last).unwrap_or_else(|error| panic!("{error}: {file:?}"));
    }
}

#[test]
fn a_path_that_cannot_be_opened_is_one_sentence_and_status_78() {
    let world = World::without_daemons("true");
    let path = world.path("nowhere/audit.ndjson");
    world.configure(&format!("audit-log = {path:?}"), &format!("audit-log = {path:?}"));
    for (program, config) in [("webhook-privd", "privd.toml"), ("webhookd", "webhookd.toml")] {
        let program = format!("/mnt/{program}");
        let run = world.confined.run(&[&program, "--config", &world.path(config)]);
        let words = String::from_utf8(run.stderr).unwrap();
        assert_eq!(run.status.code(), Some(78), "{words}");
        assert!(words.contains(&format!("audit-log: {path}: cannot be opened")), "{words}");
        assert_eq!(words.lines().count(), 1, "{words}");
        // To look at the file makes none: made by root, it would keep webhookd out.
        let check = world.confined.run(&[&program, "--check", "--config", &world.path(config)]);
        assert!(check.status.success(), "{check:?}");
    }
}

#[test]
fn under_systemd_logrotate_gives_both_a_new_file() {
    let machine = Container::boot();
    let logs = [("webhookd", "webhookd"), ("webhook-privd", "root")];
    machine.block(ATTACKER);
    let owner = |log: &str| {
        machine.sh(&format!("stat -c '%U:%G %a' /var/log/{log}/audit.ndjson")).trim().to_owned()
    };
    // A mistake in a file, with which a reload fails, keeps no log from being rotated.
    machine
        .sh("for name in webhookd privd; do echo 'nonsense = 1' >> /etc/webhookd/$name.toml; done");
    for (log, user) in logs {
        assert_eq!(owner(log), format!("{user}:{user} 640"));
        assert!(!machine.run(&format!("systemctl reload {log}")).status.success());
        // As logrotate does it, which this machine does not have.
        let script = format!(
            "awk '/^.var.log.{log}.[*]/ {{ ours = 1 }} /endscript/ {{ ours = after = 0 }} \
             ours && after {{ print }} /postrotate/ {{ after = 1 }}' /etc/logrotate.d/webhookd"
        );
        machine.sh(&format!(
            "mv /var/log/{log}/audit.ndjson /var/log/{log}/audit.ndjson.1; {script} | sh -e"
        ));
    }
    machine.block("198.51.100.1");
    for (log, user) in logs {
        until("the new file is written", 20, || {
            machine.run(&format!("test -s /var/log/{log}/audit.ndjson")).status.success()
        });
        assert_eq!(owner(log), format!("{user}:{user} 640"));
        let text = |name: &str| machine.sh(&format!("cat /var/log/{log}/{name}"));
        assert!(!text("audit.ndjson.1").contains("198.51.100.1"));
        for line in text("audit.ndjson").lines() {
            serde_json::from_str::<Value>(line).unwrap();
        }
        // The journal has taken priorities off the lines, and there is no second time in them.
        let said = machine.sh(&format!("journalctl --output cat --priority info --unit {log}"));
        assert!(said.lines().any(|line| line.starts_with("webhook") && line.contains(" is ready")));
    }
}

#[test]
fn the_readme_and_the_manual_show_what_is_written() {
    let of_privd = &shown("README.md", "```json\n", "```");
    let of_webhookd = &shown("packaging/man/webhookd.8", ".Bd -literal -offset indent\n", ".Ed");
    valid("webhook-privd", of_privd);
    valid("webhookd", of_webhookd);
    assert_eq!(of_privd["event.id"], of_webhookd["event.id"]);

    let world = logging_world("block-for = \"1d\"");
    let body = json!({ "ip": ATTACKER, "rule_name": "SSH brute force", "alert_id": "demo-1" });
    let right = world.bearer();
    let headers = [("Authorization", &*right), JSON, ("User-Agent", "axios/1.16.1")];
    let answer = world.send(&request("POST", "/blockip", &headers, &body.to_string()));
    assert_eq!(answer.status, 200);
    let keys = |document: &Value| document.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(of_privd), keys(&document(&world, PRIVD, "ip-blocked")));
    assert_eq!(keys(of_webhookd), keys(&document(&world, WEBHOOKD, "webhook-accepted")));
}

/// The only document of a text, as it stands between two lines.
fn shown(file: &str, before: &str, after: &str) -> Value {
    let text = fs::read_to_string(format!("{}/../{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let blocks = text.split(before).skip(1).filter_map(|block| block.split(after).next());
    let mut documents = blocks.filter(|block| block.starts_with("{\"@timestamp\""));
    let document = serde_json::from_str(documents.next().expect(file)).expect(file);
    assert_eq!(documents.next(), None, "{file}");
    document
}
