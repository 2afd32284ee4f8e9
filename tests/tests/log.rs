//! `webhookctl log`: what both daemons did, read back from their audit logs.

use std::fs;
use std::os::unix::fs::chown;
use std::time::Instant;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::https::{JSON, request};
use tests::world::{AS_WEBHOOKD, ATTACKER, KIBANA, UID};
use tests::{World, processes, until};

const PRIVD: &str = "log/privd/audit.ndjson";
const WEBHOOKD: &str = "log/webhookd/audit.ndjson";

#[test]
fn what_happened_is_told_in_words_and_what_belongs_together_stands_together() {
    let world = logging_world("block-for = \"1d\"\nnever-block = [\"192.0.2.128/25\"]");
    let alert = json!({ "ips": [ATTACKER, "192.0.2.200", "198.51.100.7"], "rule_name": "SSH" });
    assert_eq!(world.post(&alert).status, 207);
    assert_eq!(world.post_text("no JSON").status, 400);
    let wrong = [("Authorization", "Bearer wrong"), JSON];
    assert_eq!(world.send(&request("POST", "/blockip", &wrong, "{}")).status, 401);
    assert_eq!(world.ctl_folded(&["unblock", "198.51.100.7"]).1, 0);
    wait_for(&world, &["webhook-auth-failed", "webhook-rejected"], WEBHOOKD);

    let (text, code) = log(&world, &[]);
    assert_eq!(code, 0, "{text}");
    let told: Vec<&str> = text.lines().map(|line| &line[21..]).collect();
    let at = |words: &str| {
        let found = told.iter().position(|line| line.starts_with(words));
        found.unwrap_or_else(|| panic!("no `{words}` in {text}"))
    };
    let asked = at(&format!("webhook from {KIBANA} (kibana): 207, 3 addresses"));
    assert_eq!(at(&format!("{ATTACKER} blocked until ")), asked + 1);
    let refused = "192.0.2.200 refused: listed in never-block";
    assert_eq!(at(refused), asked + 2);
    assert_eq!(at("198.51.100.7 blocked until "), asked + 3);
    assert!(told[asked + 1].ends_with(" (SSH)"), "{text}");
    assert!(at(&format!("webhook from {KIBANA} (kibana): 400, the body is not JSON")) > asked + 3);
    assert!(at(&format!("webhook from {KIBANA}: 401, bad token")) > asked);
    assert!(at("198.51.100.7 lifted by uid 0 (root), pid ") > asked);
    // Its times are this host's.
    assert!(text.lines().next().unwrap().starts_with("20"), "{text}");

    for (arguments, expected) in [
        (&["198.51.100.7"][..], &["207", "198.51.100.7 blocked", "198.51.100.7 lifted"][..]),
        (&["::ffff:198.51.100.7", "--outcome", "lifted"], &["198.51.100.7 lifted"]),
        (&["192.0.2.128/25"], &["207", "192.0.2.200 refused"]),
        (&["--rule", "SSH", "--outcome", "refused"], &["207", "192.0.2.200 refused"]),
        (&["--outcome", "lifted"], &["198.51.100.7 lifted"]),
        (&["192.0.2.1"], &["There is no such record."]),
        (&["--since", "2020-01-01", "--until", "2020-01-02"], &["There is no such record."]),
        (&["--since", "1h", "--rule", "SSH", ATTACKER], &["207", "203.0.113.7 blocked"]),
    ] {
        let (text, code) = log(&world, arguments);
        assert_eq!((code, text.lines().count()), (0, expected.len()), "{arguments:?}: {text}");
        for (line, words) in text.lines().zip(expected) {
            assert!(line.contains(words), "{arguments:?}: no `{words}` in {line}");
        }
    }
}

#[test]
fn json_is_the_documents_as_they_were_written() {
    let world = logging_world("");
    world.block(ATTACKER);
    wait_for(&world, &["webhook-accepted"], WEBHOOKD);
    let (text, code) = log(&world, &["--json"]);
    assert_eq!(code, 0, "{text}");
    let mut expected: Vec<String> = [PRIVD, WEBHOOKD]
        .iter()
        .flat_map(|log| world.read(log).lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    expected.sort();
    for line in &expected {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    let documents: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(documents.len(), expected.len());
    let times: Vec<&str> =
        documents.iter().map(|document| document["@timestamp"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn rotated_and_compressed_parts_are_read_and_what_is_no_record_is_counted() {
    let mut world = logging_world("");
    for number in 1..=3 {
        world.block(&format!("192.0.2.{number}"));
        if number < 3 {
            for log in [PRIVD, WEBHOOKD] {
                world.server.sh(&format!(
                    "cd {}; [ ! -e {log}.1 ] || {{ mv {log}.1 {log}.2; gzip {log}.2; }}; mv {log} {log}.1",
                    world.path("")
                ));
            }
            world.hang_up();
            until("both logs are there again", 20, || {
                [PRIVD, WEBHOOKD].iter().all(|log| fs::metadata(world.path(log)).is_ok())
            });
        }
    }
    world.stop_webhookd(Signal::SIGTERM);
    let (text, code) = log(&world, &["--outcome", "blocked"]);
    assert_eq!(code, 0, "{text}");
    let blocked: Vec<&str> =
        text.lines().filter_map(|line| line.get(21..)?.strip_suffix(" blocked for good")).collect();
    assert_eq!(blocked, ["192.0.2.1", "192.0.2.2", "192.0.2.3"], "{text}");

    // The newest alone, which is said.
    let (text, code) = log(&world, &["--limit", "2", "--outcome", "blocked"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("192.0.2.3 blocked") && !text.contains("192.0.2.2"), "{text}");
    assert!(flat(&text).contains("these are the newest 2; --limit shows more"), "{text}");

    // A line that was cut, one of another program, and one that only the other daemon writes.
    let forged = world.read(PRIVD).lines().last().unwrap().replace("192.0.2.3", "192.0.2.66");
    let damaged = format!("{}{{\"@timestamp\":\"2026\n# x\n{forged}\n", world.read(WEBHOOKD));
    world.write(WEBHOOKD, &damaged);
    let (text, code) = log(&world, &[]);
    assert_eq!(code, 0, "{text}");
    assert!(flat(&text).contains("3 lines of "), "{text}");
    assert!(flat(&text).contains("are no records"), "{text}");
    assert!(!text.contains("192.0.2.66"), "{text}");
    // With whatever is given by name nobody knows whose it is.
    let (text, _) = log_of(&world, &["--file", &world.path(WEBHOOKD)]);
    assert!(text.contains("192.0.2.66 blocked"), "{text}");
}

#[test]
fn following_goes_on_over_a_rotation_until_ctrl_c() {
    let world = logging_world("");
    world.block("192.0.2.1");
    for (output, json) in [("follow.text", None), ("follow.json", Some("--json"))] {
        let directory = world.path("");
        let arguments = ["/mnt/webhookctl", "log", "--follow", "--directory", &directory];
        let program: Vec<&str> = arguments.into_iter().chain(json).collect();
        let mut follower = world.spawn(output, &program);
        wait_for(&world, &["192.0.2.1"], output);
        for number in [2, 3] {
            let address = format!("198.51.100.{number}");
            let _ = world.post(&json!({ "ip": address }));
            wait_for(&world, &[&address], output);
            for log in [PRIVD, WEBHOOKD] {
                let old = format!("{log}.{number}");
                fs::rename(world.path(log), world.path(&old)).unwrap();
            }
            // Still in the old file.
            let late = format!("192.0.2.{}", number + 100);
            let _ = world.post(&json!({ "ip": late }));
            wait_for(&world, &[&late], output);
            world.hang_up();
            until("both logs are there again", 20, || {
                [PRIVD, WEBHOOKD].iter().all(|log| fs::metadata(world.path(log)).is_ok())
            });
        }
        let _ = world.post(&json!({ "ip": ATTACKER }));
        wait_for(&world, &[ATTACKER], output);
        processes::signal(follower.id(), Signal::SIGINT);
        let mut ended = None;
        until("it ends", 10, || {
            ended = follower.try_wait().unwrap();
            ended.is_some()
        });
        assert!(ended.unwrap().success(), "{ended:?}");
        let text = world.read(output);
        if json.is_some() {
            for line in text.lines() {
                serde_json::from_str::<Value>(line)
                    .unwrap_or_else(|error| panic!("{error}: {line}"));
            }
        }
    }
}

#[test]
fn what_cannot_be_shown_is_one_sentence_with_the_mend() {
    let mut world = logging_world("");
    let directory = world.path("");
    let program = ["/mnt/webhookctl", "log", "--directory", &directory];
    let run = world.confined.run(&[&AS_WEBHOOKD[..], &program].concat());
    let words = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(2), "{words}");
    let words = flat(&words);
    assert!(words.contains("cannot be read") && words.contains("sudo webhookctl log"), "{words}");
    assert_eq!(words.matches("webhookctl: ").count(), 1, "{words}");

    world.stop_webhookd(Signal::SIGTERM);
    for log in [PRIVD, WEBHOOKD] {
        fs::remove_file(world.path(log)).unwrap();
    }
    let one = |arguments: &[&str], code: i32, words: &str| {
        let (text, status) = log_of(&world, arguments);
        assert_eq!((status, text.matches("webhookctl: ").count()), (code, 1), "{text}");
        assert!(flat(&text).contains(words), "{arguments:?}: {text}");
    };
    one(&["--directory", &directory], 2, "is not there: nothing was logged yet");
    one(&["--file", "/nowhere/audit.ndjson"], 2, "/nowhere/audit.ndjson is not there");
    one(&["--directory", "/nowhere"], 2, "/nowhere/privd.toml cannot be read");
    one(&["--directory", "/nowhere"], 2, "`webhookctl init` makes the configuration");
    world.configure("", "");
    one(&["--directory", &directory], 2, "sets audit-log, so nothing is kept");
    for (arguments, words) in [
        (&["nobody"][..], "write for example 198.51.100.7"),
        (&["--since", "soon"], "write for example 2h"),
        (&["--outcome", "lost"], "invalid value 'lost'"),
        (&["--limit", "many"], "--limit"),
    ] {
        let (text, code) = log(&world, arguments);
        assert_eq!(code, 1, "{text}");
        assert!(flat(&text).contains(words), "{arguments:?}: {text}");
    }
}

#[test]
fn a_hundred_thousand_records_are_read_at_once() {
    let world = logging_world("");
    world.block(ATTACKER);
    let line = world.read(PRIVD).lines().last().unwrap().to_owned();
    let text: String = (0..100_000).map(|_| format!("{line}\n")).collect();
    world.write("many.ndjson", &text);
    let many = world.path("many.ndjson");
    for arguments in [&["--file", &many][..], &["--file", &many, "192.0.2.1"]] {
        let began = Instant::now();
        let (text, code) = log_of(&world, arguments);
        let took = began.elapsed();
        assert_eq!(code, 0, "{text}");
        eprintln!("{took:?} {arguments:?}");
        // Unoptimised, on a machine that does other things, too.
        assert!(took.as_secs() < 10, "{took:?}");
    }
}

/// Runs `webhookctl log` with the world's configuration.
fn log(world: &World, arguments: &[&str]) -> (String, i32) {
    log_of(world, &[&["--directory", &world.path("")], arguments].concat())
}

fn log_of(world: &World, arguments: &[&str]) -> (String, i32) {
    world.ctl_folded(&[&["log"], arguments].concat())
}

/// What was folded, in one line.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Waits until a file holds all words.
fn wait_for(world: &World, words: &[&str], name: &str) {
    words.iter().for_each(|words| world.wait_for(words, name));
}

/// A world whose daemons write audit logs, each in a folder of its own.
fn logging_world(privd_toml: &str) -> World {
    let mut world = World::without_daemons("ufw allow 22/tcp");
    fs::create_dir_all(world.path("log/privd")).unwrap();
    fs::create_dir(world.path("log/webhookd")).unwrap();
    chown(world.path("log/webhookd"), Some(UID), Some(UID)).unwrap();
    let key = |log| format!("audit-log = {:?}\n", world.path(log));
    world.configure(&format!("{}{privd_toml}", key(PRIVD)), &key(WEBHOOKD));
    world.start();
    world
}
