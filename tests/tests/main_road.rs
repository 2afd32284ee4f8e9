//! The main job: an alert becomes a verified block, and what was open is cut.

use std::collections::BTreeMap;

use serde_json::json;
use tests::sessions::Sessions;
use tests::world::{ATTACKER, ATTACKER6, SERVER, SERVER6};
use tests::{Engine, Standing, World};

#[test]
fn an_alert_blocks_the_attacker_and_ends_all_three_sessions() {
    let world = World::new();
    assert!(world.attacker_connects(SERVER));
    let mut sessions = Sessions::open(&world);

    let answer = world.block(ATTACKER);
    assert_eq!(answer.message(), format!("Blocked IP: {ATTACKER}"));
    assert_eq!(answer.json["status"], "ok");
    assert_eq!(answer.json["ip"], ATTACKER);
    assert_eq!(answer.json["output"], format!("Blocked IP: {ATTACKER}"));
    assert_eq!(answer.outcomes(), ["blocked"]);
    assert_eq!(answer.json["results"][0]["enforced_as"], ATTACKER);
    assert_eq!(answer.json["results"][0]["until"], "permanent");

    assert_eq!(sessions.alive(), Vec::<&str>::new());
    assert!(!world.attacker_connects(SERVER));
    assert!(world.attacker_connects(SERVER6), "IPv6 was not asked for");
}

#[test]
fn ipv6_is_blocked_the_same_way() {
    let world = World::new();
    assert!(world.attacker_connects(SERVER6));
    world.block(ATTACKER6);
    assert!(!world.attacker_connects(SERVER6));
    assert!(world.attacker_connects(SERVER));
}

/// ufw's own before.rules accept ICMP first: SECURITY.md says so.
#[test]
fn a_blocked_source_may_still_ping_with_ufw_and_not_with_nftables() {
    let world = World::new();
    let pings = || world.attacker.run(&["python3", "-c", PING, SERVER]).status.success();
    assert!(pings());
    world.block(ATTACKER);
    assert_eq!(pings(), Engine::tested() == Engine::Ufw);
}

/// Ends well if an echo request (RFC 792) is replied to within two seconds.
const PING: &str = "\
import socket, sys
icmp = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
icmp.settimeout(2)
icmp.sendto(b'\\x08\\x00\\xf7\\xfd\\x00\\x01\\x00\\x01', (sys.argv[1], 0))
assert icmp.recv(100)[20] == 0
";

#[test]
fn the_block_is_in_the_list_with_what_was_said_of_it() {
    let world = World::new();
    let alert = json!({ "ip": ATTACKER, "rule_name": "SSH \"brute\" force", "alert_id": "a1", "reason": "17 failures" });
    assert_eq!(world.post(&alert).status, 200);
    let list = world.ctl_json("list");
    assert_eq!(list[0]["target"], ATTACKER);
    assert_eq!(list[0]["rule_name"], "SSH \"brute\" force");
    assert_eq!(list[0]["reason"], "17 failures");
    assert_eq!(list[0]["requester"], "10.9.0.2");
    assert_eq!(list[0]["in_force"], true);
    let shown = world.ctl_json(&format!("show {ATTACKER}"));
    assert_eq!(shown["blocked"], true);
}

#[test]
fn an_alert_for_a_blocked_address_starts_no_process() {
    let world = World::new();
    world.block(ATTACKER);
    // Nothing that could be started is left.
    world.take_programs_away();
    let answer = world.block(ATTACKER);
    assert_eq!(answer.outcomes(), ["already-blocked"]);
    assert_eq!(answer.message(), format!("IP already blocked: {ATTACKER}"));
}

#[test]
fn unblock_lets_the_address_back_in_and_removes_only_our_rules() {
    let world = World::new();
    let before = world.ufw("status numbered");
    world.block(ATTACKER);
    world.block(ATTACKER6);
    let (text, code) = world.ctl(&["unblock", ATTACKER, ATTACKER6]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains(&format!("Unblocked IP: {ATTACKER}")), "{text}");
    assert_eq!(world.ufw("status numbered"), before);
    assert_eq!(Standing::now(&world).ours(), BTreeMap::new());
    assert!(world.attacker_connects(SERVER));
    assert!(world.attacker_connects(SERVER6));
    let (text, code) = world.ctl(&["unblock", ATTACKER]);
    assert_eq!((text.trim(), code), (&*format!("Not blocked by webhookd: {ATTACKER}"), 0));
}

#[test]
fn several_addresses_get_an_outcome_each() {
    let world = World::new();
    let answer =
        world.post(&json!({ "ips": [ATTACKER, "198.51.100.9", "x.y", "127.0.0.1", ATTACKER6] }));
    assert_eq!(answer.status, 207, "{answer:?}");
    assert_eq!(answer.outcomes(), ["blocked", "blocked", "invalid", "refused", "blocked"]);
    assert!(!world.attacker_connects(SERVER));
    assert!(!world.attacker_connects(SERVER6));
}

#[test]
fn observe_mode_changes_nothing() {
    let world = World::with("enforce = false", "ufw allow 22/tcp");
    let before = world.ufw("status numbered");
    let answer = world.post(&json!({ "ip": ATTACKER }));
    assert_eq!((answer.status, answer.outcomes()), (200, vec!["would-block"]));
    assert_eq!(world.ufw("status numbered"), before);
    assert_eq!(Standing::now(&world).ours(), BTreeMap::new());
    assert!(world.attacker_connects(SERVER));
}
