//! `firewall` of privd.toml is changed in either direction while blocks are live: the engine before
//! holds them until the other does, and then nothing of it is left.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::world::{ATTACKER, ATTACKER6};
use tests::{Engine, Knocks, Random, Standing, Table, World, until};

/// The attacker's addresses: two that are blocked as such, two within networks.
const SOURCES: [&str; 4] = [ATTACKER, ATTACKER6, "203.0.113.9", "2001:db8:1::b"];
/// What is blocked, and for how long.
const BLOCKS: [(&str, &str); 5] = [
    (ATTACKER, "permanent"),
    (ATTACKER6, "1h"),
    ("203.0.113.8/29", "10y"),
    ("2001:db8:1::8/125", "permanent"),
    ("198.51.100.1", "12s"),
];

#[test]
fn from_ufw_to_nftables_not_one_packet_gets_through() {
    switch(Engine::Ufw, Engine::Nftables);
}

#[test]
fn from_nftables_to_ufw_not_one_packet_gets_through() {
    switch(Engine::Nftables, Engine::Ufw);
}

fn switch(before: Engine, after: Engine) {
    let mut world = world(before);
    let knocks = Knocks::from(&world, &SOURCES);
    block_all(&world, &knocks);
    let list = listed(&world);
    world.stop_privd(Signal::SIGTERM);
    choose(&mut world, after);
    let ((), sent, arrived) = knocks.during(|| {
        world.start_privd();
        until("the engine before has let go", 20, || is_gone(&world, before));
    });
    assert!(sent > 5, "{sent} packets");
    assert!(arrived.is_empty(), "of {sent} packets arrived some of {arrived:?}\n{}", world.logs());
    // What the list says is what it said: targets, ends, reasons.
    assert_eq!(listed(&world), list);
    let status = world.ctl_json("status");
    assert_eq!((&status["ready"], &status["firewall"]), (&json!(true), &json!(after.name())));
    assert_eq!(list.len(), BLOCKS.len(), "{list:?}");
    holds_all(&world, &list);
    // Ends come as they were ordered, and blocks are lifted as any other.
    until("the short one has ended", 20, || {
        !Standing::now(&world).names("198.51.100.1".parse().unwrap())
    });
    assert_eq!(world.ctl(&["unblock", "--all"]).1, 0);
    until("packets of all arrive again", 10, || knocks.arrive().len() == SOURCES.len());
}

#[test]
fn kills_in_the_middle_of_a_switch_let_no_packet_through() {
    let mut random = Random::seeded("kills in a switch");
    let mut world = world(Engine::Ufw);
    let knocks = Knocks::from(&world, &SOURCES);
    block_all(&world, &knocks);
    let list = listed(&world);
    world.stop_privd(Signal::SIGTERM);
    let (next, sent, arrived) = knocks.during(|| {
        let mut next = Engine::Nftables;
        for number in 0..12 {
            choose(&mut world, next);
            let program = ["/mnt/webhook-privd", "--config", &world.path("privd.toml")];
            let mut privd = world.spawn("privd.log", &program);
            random.pause(if number % 2 == 0 { 150 } else { 1_000 });
            privd.kill().unwrap();
            privd.wait().unwrap();
            let log = world.read("privd.log");
            assert!(!log.contains("the ledger is set aside"), "{number}: {log}");
            // The way there, and the way back from half of it.
            if random.from(0..3) > 0 {
                next = other(next);
            }
        }
        choose(&mut world, next);
        world.start_privd();
        until("the engine before has let go", 30, || is_gone(&world, other(next)));
        next
    });
    assert!(sent > 100, "{sent} packets");
    assert!(arrived.is_empty(), "of {sent} packets arrived some of {arrived:?}");
    let after = listed(&world);
    let lasting = |list: &[Value]| {
        let rows = list.iter().filter(|row| row["target"] != "198.51.100.1");
        rows.cloned().collect::<Vec<_>>()
    };
    assert_eq!(lasting(&after), lasting(&list), "{}", next.name());
    holds_all(&world, &after);
}

#[test]
fn what_others_took_from_the_engine_before_is_in_force_in_the_next() {
    let mut world = world(Engine::Ufw);
    let knocks = Knocks::from(&world, &SOURCES);
    block_all(&world, &knocks);
    for next in [Engine::Nftables, Engine::Ufw] {
        world.stop_privd(Signal::SIGKILL);
        world.take_away(ATTACKER);
        until("it can connect", 10, || knocks.arrive().contains(&ATTACKER.parse().unwrap()));
        choose(&mut world, next);
        world.start_privd();
        until("the engine before has let go", 20, || is_gone(&world, other(next)));
        holds_all(&world, &listed(&world));
        assert!(knocks.arrive().is_empty(), "{}", next.name());
    }
}

fn world(engine: Engine) -> World {
    let mut world = World::without_daemons("ufw allow 22");
    choose(&mut world, engine);
    world.start();
    world
}

fn choose(world: &mut World, engine: Engine) {
    world.engine = engine;
    world.configure("reconcile-every = \"1s\"", "");
}

fn block_all(world: &World, knocks: &Knocks) {
    assert_eq!(knocks.arrive().len(), SOURCES.len(), "all can connect");
    for (target, term) in BLOCKS {
        let (text, code) = world.ctl(&["block", target, "--for", term, "--reason", "told before"]);
        assert_eq!(code, 0, "{text}");
    }
    let ((), _, arrived) = knocks.during(|| std::thread::sleep(Duration::from_millis(50)));
    assert!(arrived.is_empty(), "{arrived:?}");
}

/// The list: what is in the ledger of each, and whether it is in force.
fn listed(world: &World) -> Vec<Value> {
    let Value::Array(mut rows) = world.ctl_json("list") else { panic!("{}", world.logs()) };
    let keys = ["target", "since", "until", "reason", "offences", "in_force"];
    for row in &mut rows {
        row.as_object_mut().unwrap().retain(|key, _| keys.contains(&key.as_str()));
        assert_eq!(row.as_object().unwrap().len(), keys.len(), "{row}");
    }
    rows
}

/// Whether the firewall holds each block of a list, to the same second.
fn holds_all(world: &World, list: &[Value]) {
    let standing = Standing::now(world);
    for row in list {
        assert_eq!(row["in_force"], true, "{row}");
        let target = row["target"].as_str().unwrap();
        let until = row["until"].as_str().unwrap().parse::<jiff::Timestamp>().ok();
        let Ok(address) = target.parse() else { continue };
        assert_eq!(standing.lacks(address), None);
        let kept = standing.end_of(address);
        let off = |(end, kept): (jiff::Timestamp, i64)| (end.as_second() - kept).abs();
        assert!(until.zip(kept).is_none_or(|ends| off(ends) <= 1), "{row}: {kept:?}");
        assert_eq!(until.is_some(), kept.is_some(), "{row}: {kept:?}");
    }
}

/// Whether nothing of ours is left of an engine.
fn is_gone(world: &World, engine: Engine) -> bool {
    let standing = Standing::now(world);
    match engine {
        Engine::Nftables => !Table::now(&world.server).exists,
        Engine::Ufw => {
            let ours = |file: &String| file.contains(" comment=776562686f6f6b643a");
            !standing.files.iter().any(ours)
                && !standing.kernel.iter().any(|kernel| kernel.contains(" -s 203.0.113."))
        }
    }
}

const fn other(engine: Engine) -> Engine {
    match engine {
        Engine::Ufw => Engine::Nftables,
        Engine::Nftables => Engine::Ufw,
    }
}
