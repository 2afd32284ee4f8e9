//! Blocks end: at their time, by hand, or because their target has become protected.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;
use tests::world::{ATTACKER, ATTACKER6, SERVER, SERVER6};
use tests::{Standing, World, until};

#[test]
fn blocks_of_two_seconds_end_within_two_seconds_of_their_time() {
    let world = World::with("block-for = \"2s\"", "ufw allow 22/tcp");
    world.block("198.51.100.1");
    let answer = world.post(&json!({ "ips": [ATTACKER, ATTACKER6] }));
    let began = Instant::now();
    assert_eq!(answer.status, 200, "{answer:?}");
    let end: jiff::Timestamp =
        answer.json["results"][0]["until"].as_str().unwrap().parse().unwrap();
    assert!((end.as_second() - jiff::Timestamp::now().as_second()).abs() <= 2, "{end}");
    let kept = Standing::now(&world).end_of(ATTACKER.parse().unwrap()).unwrap();
    assert!((end.as_second() - kept).abs() <= 1, "the firewall ends it at {kept}, not at {end}");
    assert!(!world.attacker_connects(SERVER));
    until("the blocks end", 10, || {
        world.attacker_connects(SERVER) && world.attacker_connects(SERVER6)
    });
    // Two seconds, and two; an attempt to connect takes 0.7 s here.
    assert!(began.elapsed() < Duration::from_millis(4700), "{:?}", began.elapsed());
    assert!(!Standing::now(&world).names(ATTACKER.parse().unwrap()));
    assert_eq!(world.ctl_json("list"), json!([]));
    world.wait_for("why: its time has come", "privd.log");
    // And the next time it is another offence.
    world.block(ATTACKER);
    assert_eq!(world.ctl_json("list")[0]["offences"], 1);
}

#[test]
fn a_block_that_ended_while_privd_was_away_is_lifted_at_its_start() {
    let mut world = World::with("block-for = \"1s\"", "ufw allow 22/tcp");
    world.block(ATTACKER);
    world.stop_privd(Signal::SIGKILL);
    assert!(!world.attacker_connects(SERVER));
    let end = Standing::now(&world).end_of(ATTACKER.parse().unwrap()).unwrap();
    until("its time comes", 5, || jiff::Timestamp::now().as_second() > end);
    world.start_privd();
    until("it is lifted", 5, || world.attacker_connects(SERVER));
    // Said when it has been read back, a moment later.
    until("it is listed no more", 5, || world.ctl_json("list") == json!([]));
}

#[test]
fn an_alert_may_ask_for_less_time_and_an_operator_for_any() {
    let world = World::with("block-for = \"1h\"", "ufw allow 22/tcp");
    let until_of = |address: &str| {
        let shown = world.ctl_json(&format!("show {address}"));
        let until = shown["block"]["until"].as_str().unwrap().to_owned();
        until
            .parse::<jiff::Timestamp>()
            .ok()
            .map(|end| end.as_second() - jiff::Timestamp::now().as_second())
    };
    for (number, duration, expected) in [
        (1, json!("10m"), 600),
        (2, json!("7d"), 3600),
        (3, json!("permanent"), 3600),
        (4, json!(90), 90),
    ] {
        let address = format!("198.51.100.{number}");
        assert_eq!(world.post(&json!({ "ip": address, "duration": duration })).status, 200);
        let left = until_of(&address).unwrap();
        assert!((expected - 5..=expected).contains(&left), "{duration}: {left} s");
    }
    assert_eq!(world.ctl(&["block", "198.51.100.5", "--for", "7d"]).1, 0);
    assert!(until_of("198.51.100.5").unwrap() > 604_700);
    assert_eq!(world.ctl(&["block", "198.51.100.6", "--for", "permanent"]).1, 0);
    assert_eq!(until_of("198.51.100.6"), None);
}

#[test]
fn what_was_unblocked_by_hand_is_not_put_back_by_kibanas_repeats() {
    let world = World::new();
    world.block(ATTACKER);
    assert_eq!(world.ctl(&["unblock", ATTACKER]).1, 0);
    let answer = world.post(&json!({ "ip": ATTACKER }));
    assert_eq!((answer.status, answer.outcomes()), (422, vec!["refused"]), "{answer:?}");
    assert!(answer.message().contains("was unblocked by hand"), "{answer:?}");
    assert!(world.attacker_connects(SERVER));
    // The operator may, and without immunity alerts may at once.
    assert_eq!(world.ctl(&["block", ATTACKER]).1, 0);
    assert_eq!(world.ctl(&["unblock", ATTACKER, "--immune-for", "0s"]).1, 0);
    world.block(ATTACKER);
}

#[test]
fn a_reloaded_configuration_lifts_what_it_protects_and_a_bad_one_changes_nothing() {
    let world = World::new();
    world.block(ATTACKER);
    world.block("198.51.100.1");
    let hang_up = || {
        let pid = world.daemons().0.to_string();
        world.confined.sh(&format!("kill -HUP {pid}"));
    };
    let good = world.read("privd.toml");
    world.write("privd.toml", &format!("never-block = [\"203.0.113.0/33\"]\n{good}"));
    hang_up();
    world.wait_for("configuration not read again, the old one stays", "privd.log");
    assert!(!world.attacker_connects(SERVER));
    world.write("privd.toml", &format!("never-block = [\"203.0.113.0/24\"]\n{good}"));
    hang_up();
    until("it is lifted", 10, || world.attacker_connects(SERVER));
    world.wait_for("why: it has become protected", "privd.log");
    assert_eq!(world.ctl_json("list").as_array().unwrap().len(), 1);
    assert_eq!(world.post(&json!({ "ip": ATTACKER })).json["results"][0]["reason"], "never-block");
}

#[test]
fn a_live_block_whose_address_the_host_gets_is_lifted() {
    let world = World::with("reconcile-every = \"1s\"", "ufw allow 22/tcp");
    world.block("203.0.113.99");
    world.server.sh("ip addr add 203.0.113.99/32 dev lo");
    until("it is lifted", 10, || world.ctl_json("list") == json!([]));
    assert!(!Standing::now(&world).names("203.0.113.99".parse().unwrap()));
}

#[test]
fn too_many_new_blocks_a_minute_are_told_when_to_come_back() {
    let world = World::with("max-new-blocks-per-minute = 2", "ufw allow 22/tcp");
    let answer = world.post(&json!({ "ips": ["198.51.100.1", "198.51.100.2", "198.51.100.3"] }));
    assert_eq!(answer.status, 429, "{answer:?}");
    assert_eq!(answer.outcomes(), ["blocked", "blocked", "over-quota"]);
    let after: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((25..=30).contains(&after), "{after}");
    // What is blocked stays free, and an operator is not bound.
    assert_eq!(world.post(&json!({ "ip": "198.51.100.1" })).outcomes(), ["already-blocked"]);
    assert_eq!(world.ctl(&["block", "198.51.100.3"]).1, 0);
}

#[test]
fn a_table_that_fills_up_is_warned_of_once_each_time() {
    let world = World::with("max-blocks = 5", "ufw allow 22/tcp");
    let warnings = || world.read("privd.log").matches("more than 80 % of max-blocks").count();
    let block = |host: u8| world.block(&format!("198.51.100.{host}"));
    (1..=4).for_each(|host| drop(block(host)));
    assert_eq!(warnings(), 0);
    block(5);
    assert_eq!(warnings(), 1);
    let (status, _) = world.ctl(&["status"]);
    assert!(status.contains("5 of 5; "), "{status}");
    // An operator's own are beyond the limit, and still it is the same table.
    assert_eq!(world.ctl(&["block", "198.51.100.9"]).1, 0);
    assert_eq!(warnings(), 1);
    assert_eq!(world.ctl(&["unblock", "198.51.100.5", "198.51.100.9"]).1, 0);
    assert_eq!(warnings(), 1);
    block(6);
    assert_eq!(warnings(), 2);
}

#[test]
fn the_blocks_of_one_detection_rule_are_lifted_by_its_name() {
    let world = World::new();
    for (address, rule) in
        [(ATTACKER, "SSH brute force"), ("198.51.100.7", "SSH brute force"), (ATTACKER6, "SSH")]
    {
        let answer = world.post(&json!({ "ip": address, "rule_name": rule }));
        assert_eq!(answer.outcomes(), ["blocked"]);
    }
    let (text, code) = world.ctl(&["unblock", "--rule", "SSH brute force"]);
    assert_eq!(code, 0, "{text}");
    let lifted = format!("Unblocked IP: 198.51.100.7\nUnblocked IP: {ATTACKER}\n");
    assert!(text.starts_with(&lifted), "{text}");
    assert!(world.attacker_connects(SERVER) && !world.attacker_connects(SERVER6));
    // Kept off for a while, as by address.
    assert_eq!(world.post(&json!({ "ip": ATTACKER })).status, 422);
    let (text, code) = world.ctl(&["unblock", "--rule", "ssh"]);
    assert!(code == 1 && text.contains("'SSH'"), "{text}");
    let (text, code) = world.ctl(&["unblock", "--rule", ""]);
    assert_eq!(code, 1, "{text}");
}
