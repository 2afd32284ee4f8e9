//! `webhookctl never-block`: the file, what is in force, and that the two do not part.

use std::os::unix::fs::MetadataExt;

use nix::sys::signal::Signal;
use serde_json::json;
use tests::World;
use tests::world::{ATTACKER, SERVER};

/// A file with remarks, as an administrator keeps it.
const REMARKS: &str = "# our host\nnever-block = [\n  # the office\n  \"192.0.2.0/25\", # Bob\n]\nmax-blocks = 100 # enough";

fn never_block(world: &World, arguments: &[&str]) -> (String, i32) {
    let config = world.path("privd.toml");
    world.ctl(&[&["never-block", "--config", &config], arguments].concat())
}

fn listed(world: &World) -> serde_json::Value {
    serde_json::from_str(&never_block(world, &["list", "--json"]).0).unwrap()
}

#[test]
fn an_added_network_is_lifted_refused_and_after_its_removal_blockable_again() {
    let world = World::with(REMARKS, "ufw allow 22/tcp");
    let before = world.read("privd.toml");
    world.block(ATTACKER);
    world.block("198.51.100.7");
    assert!(!world.attacker_connects(SERVER));

    let (text, code) = never_block(&world, &["add", "203.0.113.0/29", "192.0.2.0/25"]);
    assert_eq!(code, 0, "{text}\n{}", world.logs());
    let expected = ["203.0.113.0/29: added", "192.0.2.0/25: there already"];
    assert_eq!(text.lines().take(2).collect::<Vec<_>>(), expected);
    assert_eq!(text.lines().nth(2), Some(&*format!("Unblocked IP: {ATTACKER}")));
    assert!(world.attacker_connects(SERVER), "real packets pass again");
    let left = world.ctl_json("list");
    assert_eq!(left.as_array().unwrap().len(), 1, "{left}");
    let answer = world.post(&json!({ "ip": ATTACKER }));
    assert_eq!((answer.status, answer.outcomes()), (422, vec!["refused"]));
    assert_eq!(answer.json["results"][0]["reason"], "never-block");
    let after = before.replace("# Bob\n", "# Bob\n  \"203.0.113.0/29\",\n");
    assert_eq!(world.read("privd.toml"), after, "every remark stays");
    assert_eq!(listed(&world), json!(["192.0.2.0/25", "203.0.113.0/29"]));
    let told = world.lines("privd.log", &["unblock", ATTACKER, "it has become protected"]);
    assert_eq!(told.len(), 1, "{}", world.logs());

    let (text, code) = never_block(&world, &["remove", "203.0.113.0/29", "198.51.100.9", "--json"]);
    assert_eq!(code, 0, "{text}");
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    let expected = json!({
        "networks": [
            { "network": "203.0.113.0/29", "outcome": "removed" },
            { "network": "198.51.100.9", "outcome": "not there" },
        ],
        "in_force": true,
        "lifted": [],
    });
    assert_eq!(answer, expected);
    assert_eq!(world.read("privd.toml"), before);
    world.block(ATTACKER);
    assert!(!world.attacker_connects(SERVER));
}

#[test]
fn everything_that_is_protected_is_listed_with_its_reason_in_80_columns() {
    let world = World::with(REMARKS, "ufw allow 22/tcp; ufw allow from 198.51.100.9");
    let (text, code) = never_block(&world, &["list", "--all"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    for (net, reason, rule) in [
        ("127.0.0.0/8", "reserved", "loopback"),
        ("203.0.113.1", "own-address", "interface wan0"),
        ("192.0.2.0/25", "never-block", "never-block"),
        ("198.51.100.9", "ufw-allow", "allow any any 0.0.0.0/0 any 198.51.100.9 in"),
    ] {
        let same = |line: &str| line.split_whitespace().take(2).eq([net, reason]);
        assert!(text.lines().any(same), "no {net} in\n{text}");
        let json: serde_json::Value =
            serde_json::from_str(&never_block(&world, &["list", "--all", "--json"]).0).unwrap();
        let row = json!({ "net": net, "reason": reason, "rule": rule });
        assert!(json.as_array().unwrap().contains(&row), "{json:#}");
    }
    // Each is really refused.
    for address in ["127.0.0.1", "203.0.113.1", "192.0.2.9", "198.51.100.9"] {
        assert_eq!(world.post(&json!({ "ip": address })).status, 422, "{address}");
    }
}

#[test]
fn a_mistake_is_named_and_the_file_is_as_it_was() {
    let world = World::with(REMARKS, "ufw allow 22/tcp");
    let good = world.read("privd.toml");
    let (text, code) = never_block(&world, &["add", "10.0.0.1/8"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("the network is 10.0.0.0/8"), "{text}");
    for (mistake, words) in [
        // What webhookctl does not know itself, privd says.
        ("max-block = 1\n", "unknown field `max-block`"),
        ("never-block = 7\n", "no list of networks"),
        ("widest-v4 = \n", "line 1, `widest-v4 ="),
    ] {
        let bad = if mistake.starts_with("never") {
            format!("{mistake}ledger = \"/x\"\n")
        } else {
            format!("{mistake}{good}")
        };
        world.write("privd.toml", &bad);
        let (text, code) = never_block(&world, &["add", "203.0.113.9"]);
        assert_eq!(code, 1, "{text}");
        assert!(text.contains(words) && text.contains("privd.toml"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert_eq!(world.read("privd.toml"), bad);
    }
    world.write("privd.toml", &good);
    // The policy is the one from before, and the next change works.
    world.block("203.0.113.9");
    let (text, code) = never_block(&world, &["add", "::ffff:203.0.113.9"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("203.0.113.9: added\nUnblocked IP: 203.0.113.9"), "{text}");
}

#[test]
fn two_changes_at_once_are_both_there() {
    let world = World::with(REMARKS, "ufw allow 22/tcp");
    let addresses: Vec<String> = (1..=6).map(|last| format!("198.51.100.{last}")).collect();
    std::thread::scope(|scope| {
        for address in &addresses {
            let world = &world;
            scope.spawn(move || {
                let (text, code) = never_block(world, &["add", address]);
                assert_eq!(code, 0, "{text}\n{}", world.logs());
            });
        }
    });
    let listed = listed(&world);
    for address in &addresses {
        assert!(listed.as_array().unwrap().contains(&json!(address)), "{listed}");
        assert_eq!(world.post(&json!({ "ip": address })).status, 422, "{address}");
    }
}

#[test]
fn without_privd_the_change_stands_and_holds_from_its_next_start_on() {
    let mut world = World::with(REMARKS, "ufw allow 22/tcp");
    world.stop_privd(Signal::SIGTERM);
    let owner = |world: &World| {
        let file = std::fs::metadata(world.path("privd.toml")).unwrap();
        (file.uid(), file.gid(), file.mode())
    };
    std::os::unix::fs::chown(world.path("privd.toml"), Some(0), Some(4711)).unwrap();
    let before = owner(&world);
    let (text, code) = never_block(&world, &["add", ATTACKER]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains(&format!("{ATTACKER}: added")), "{text}");
    assert!(text.contains("from its next start on"), "{text}");
    assert!(text.contains("systemctl status webhook-privd"), "{text}");
    assert_eq!(owner(&world), before);
    world.start_privd();
    assert_eq!(world.post(&json!({ "ip": ATTACKER })).status, 422);
}

#[test]
fn a_file_that_privd_does_not_read_is_told() {
    let world = World::with(REMARKS, "ufw allow 22/tcp");
    world.write("other.toml", "never-block = []\n");
    let other = world.path("other.toml");
    let (text, code) = world.ctl(&["never-block", "add", ATTACKER, "--config", &other]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("is --config right?"), "{text}");
    let (text, code) = world.ctl(&["never-block", "list", "--config", "/nonexistent"]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("/nonexistent cannot be read"), "{text}");
}
