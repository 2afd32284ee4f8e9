//! The nftables engine where something goes otherwise: others bring back an old table or change it
//! while much is at work, the configuration has a mistake, observe mode, a switch that does not end.

use std::process::Child;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::world::{ATTACKER, SERVER};
use tests::{Engine, Knocks, Standing, Table, World, until};

#[test]
fn a_saved_ruleset_that_comes_back_brings_no_block_that_was_lifted() {
    let world = world("reconcile-every = \"1h\"");
    let saved = world.path("saved");
    world.block("198.51.100.1");
    world.block("198.51.100.2");
    world.server.sh(&format!("nft list table inet webhookd >{saved}"));
    assert_eq!(world.ctl(&["unblock", "198.51.100.1"]).1, 0);
    world.block("198.51.100.3");
    world.server.sh(&format!("nft delete table inet webhookd; nft -f {saved}"));
    let stands = |address: &str| Standing::now(&world).names(address.parse().unwrap());
    until("only what was lifted is gone", 10, || {
        !stands("198.51.100.1") && stands("198.51.100.2") && stands("198.51.100.3")
    });
    // As it is known, it stays so: the new one among them.
    assert_eq!(world.block("198.51.100.3").outcomes(), ["already-blocked"]);
    assert_eq!(world.ctl_json("status")["ready"], true);
}

#[test]
fn an_end_that_others_moved_is_put_right() {
    let world = world("reconcile-every = \"1h\"\nblock-for = [\"1h\", \"permanent\"]");
    world.block(ATTACKER);
    assert_eq!(world.ctl(&["block", "198.51.100.1", "--for", "permanent"]).1, 0);
    for (address, timeout) in
        [(ATTACKER, "timeout 3s"), ("198.51.100.1", "timeout 3s"), (ATTACKER, "")]
    {
        world.server.sh(&format!(
            "nft 'delete element inet webhookd v4_32 {{ {address} }}; \
             add element inet webhookd v4_32 {{ {address} {timeout} }}'"
        ));
        let end = || Standing::now(&world).end_of(address.parse().unwrap());
        until(&format!("{address} has its own end after `{timeout}`"), 10, || {
            let now = jiff::Timestamp::now().as_second();
            end().is_some_and(|end| end > now + 3_000) == (address == ATTACKER)
                && end().is_none() == (address != ATTACKER)
        });
    }
    assert!(!world.attacker_connects(SERVER));
}

#[test]
fn ten_thousand_that_are_asked_for_again_after_others_changed_something_are_known() {
    let world = world("reconcile-every = \"1h\"");
    let body = json!({ "ips": addresses(10_000, 0) });
    assert_eq!(world.post(&body).outcomes(), vec!["blocked"; 10_000]);
    for number in 0..3 {
        world.server.sh(&format!("nft add table inet other{number}"));
        let answer = world.post(&body);
        assert_eq!(answer.status, 200, "{number}: {}", answer.message());
        assert_eq!(answer.outcomes(), vec!["already-blocked"; 10_000]);
    }
}

#[test]
fn beside_others_without_a_pause_thirty_thousand_are_in_force_before_it_is_ready_and_at_boot() {
    let mut world = world("max-new-blocks-per-minute = 100000\nreconcile-every = \"1h\"");
    for part in 0..3 {
        let body = json!({ "ips": addresses(10_000, part) });
        assert_eq!(world.post(&body).outcomes(), vec!["blocked"; 10_000]);
    }
    let mut others = busy(&world);
    world.stop_privd(Signal::SIGKILL);
    world.server.sh("nft delete table inet webhookd");
    assert_eq!(recover(&world), ("blocks: 30000".to_owned(), Some(0)));
    world.server.sh("nft delete table inet webhookd");
    world.start_privd();
    others.iter_mut().for_each(|other| {
        other.kill().unwrap();
        other.wait().unwrap();
    });
    assert_eq!(world.lines("privd.log", &["could not be put in force at once"]), [""; 0]);
    until("all are listed", 20, || Standing::now(&world).ours().len() == 30_000);
}

#[test]
fn a_mistake_in_the_configuration_costs_no_block_at_boot() {
    let mut world = world("bogus = 1");
    // Without the mistake there are blocks.
    world.configure("", "");
    world.start_privd();
    assert_eq!(world.ctl(&["block", ATTACKER]).1, 0);
    world.stop_privd(Signal::SIGKILL);
    world.server.sh("nft delete table inet webhookd");
    world.configure("bogus = 1", "");
    assert_eq!(recover(&world), ("blocks: 1".to_owned(), Some(0)));
    assert!(!world.attacker_connects(SERVER));
}

#[test]
fn in_observe_mode_what_still_drops_is_said_to() {
    let mut world = world("");
    world.block(ATTACKER);
    world.stop_privd(Signal::SIGTERM);
    world.configure("enforce = false", "");
    world.start_privd();
    assert_eq!(world.ctl_json("list")[0]["in_force"], true);
    assert_eq!(world.ctl_json("status")["ready"], true);
    assert!(!world.attacker_connects(SERVER));
    world.server.sh("nft delete table inet webhookd");
    until("what is gone is said to be", 10, || world.ctl_json("list")[0]["in_force"] == false);
}

#[test]
fn what_is_lifted_while_the_engine_before_still_holds_it_is_lifted_in_both() {
    let mut world = world("");
    let knocks = Knocks::from(&world, &[ATTACKER]);
    for address in [ATTACKER, "198.51.100.9"] {
        assert_eq!(world.ctl(&["block", address]).1, 0);
    }
    world.stop_privd(Signal::SIGTERM);
    world.engine = Engine::Ufw;
    world.configure("reconcile-every = \"1s\"", "");
    // One that does not hold in ufw: the table stays.
    world.server.sh("iptables -I INPUT -s 198.51.100.9 -j ACCEPT");
    world.start_privd();
    let holds = |row: &Value| row["target"] == ATTACKER && row["in_force"] == true;
    until("ufw holds it", 20, || world.ctl_json("list").as_array().unwrap().iter().any(holds));
    assert!(knocks.arrive().is_empty() && Table::now(&world.server).exists);
    let (text, code) = world.ctl(&["unblock", ATTACKER]);
    assert_eq!(code, 0, "{text}");
    until("packets arrive again", 5, || !knocks.arrive().is_empty());
    assert!(Table::now(&world.server).exists);
}

fn world(privd_toml: &str) -> World {
    let mut world = World::without_daemons("ufw allow 22");
    world.engine = Engine::Nftables;
    world.configure(privd_toml, "");
    if !privd_toml.contains("bogus") {
        world.start();
    }
    world
}

/// `count` addresses of a part of their own.
fn addresses(count: u32, part: u32) -> Vec<String> {
    (0..count).map(|host| format!("11.{part}.{}.{}", host / 250, host % 250 + 1)).collect()
}

/// Two who change nftables without a pause.
fn busy(world: &World) -> [Child; 2] {
    world.server.sh("nft add table inet busy; nft add set inet busy s '{ type ipv4_addr; }'");
    let busy =
        "while :; do nft add element inet busy s '{ 192.0.2.1 }'; nft flush set inet busy s; done";
    [(); 2].map(|()| world.server.command(&["sh", "-c", busy]).spawn().unwrap())
}

/// The step at boot: how many blocks it says are there again, and its exit status.
fn recover(world: &World) -> (String, Option<i32>) {
    let config = world.path("privd.toml");
    let output = world.confined.run(&["/mnt/webhook-privd", "--recover", "--config", &config]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let told = text.lines().find(|line| line.contains("blocks are in nftables again"));
    let count = told.and_then(|line| line.rsplit(", ").next()).unwrap_or(&text);
    (count.to_owned(), output.status.code())
}
