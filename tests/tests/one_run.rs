//! Any number of changes by one run of ufw, under its lock, in its own format.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::world::{ATTACKER, ATTACKER6, SERVER, SERVER6};
use tests::{World, until};

/// Puts a program in ufw's place that counts and starts ufw.
fn counting_runs(world: &World) -> impl Fn() -> usize {
    let counter = world.path("runs");
    std::fs::write(&counter, "").unwrap();
    // The real program under another name, and in its place one that counts.
    world.confined.sh(&format!(
        "cp /usr/sbin/ufw {at}/real-ufw
         printf '#!/bin/sh\necho >> {counter}\nexec {at}/real-ufw \"$@\"\n' > {at}/counting-ufw
         chmod 755 {at}/counting-ufw; mount --bind {at}/counting-ufw /usr/sbin/ufw",
        at = world.directory.path().display()
    ));
    move || std::fs::read_to_string(&counter).unwrap().lines().count()
}

fn shown(world: &World, address: &str) -> usize {
    let status = world.ufw("status");
    status.lines().filter(|line| line.split_whitespace().any(|word| word == address)).count()
}

#[test]
fn a_thousand_addresses_of_both_families_are_one_run_and_all_are_dropped() {
    let world = World::with("max-new-blocks-per-minute = 2000", "ufw allow 22/tcp");
    let runs = counting_runs(&world);
    let mut addresses: Vec<String> =
        (0..500).map(|n| format!("198.18.{}.{}", n / 250, n % 250 + 1)).collect();
    addresses.extend((0..500).map(|n| format!("2001:db8:7::{n:x}")));
    addresses.extend([ATTACKER.to_owned(), ATTACKER6.to_owned(), "198.51.100.0/24".to_owned()]);
    let answer = world.post(&json!({ "ips": addresses }));
    assert_eq!(answer.status, 200, "{}", world.logs());
    assert!(answer.outcomes().iter().all(|outcome| *outcome == "blocked"));
    assert_eq!(runs(), 1);
    for server in [SERVER, SERVER6] {
        assert!(!world.attacker_connects(server));
    }
    for address in ["198.18.1.250", "2001:db8:7::1f3", "198.51.100.0/24"] {
        assert_eq!(shown(&world, address), 2, "{address}: in and out");
    }
    let kernel = world.server.sh("iptables -S ufw-user-input; ip6tables -S ufw6-user-input");
    assert_eq!(kernel.matches("-j DROP").count(), 1003);
    assert_eq!(world.ctl_json("status")["not_in_force"], 0);

    // And away: all at once, and the administrator's rules as they were.
    let (text, code) = world.ctl(&["unblock", "--all"]);
    assert_eq!(code, 0, "{text}");
    assert!(runs() <= 1 + 3, "{} runs", runs());
    let kernel = world.server.sh("iptables -S; ip6tables -S");
    assert!(!kernel.contains("198.18.") && !kernel.contains("2001:db8:7"), "{kernel}");
    assert!(world.attacker_connects(SERVER) && world.attacker_connects(SERVER6));
    assert_eq!(shown(&world, "22/tcp"), 2);
}

#[test]
fn a_few_new_blocks_do_not_wait_for_ufw_which_takes_them_over_later() {
    let world = World::with("reconcile-every = \"1s\"", "ufw allow 22/tcp");
    let runs = counting_runs(&world);
    assert_eq!(world.post(&json!({ "ips": [ATTACKER, ATTACKER6] })).status, 200);
    assert!(!world.attacker_connects(SERVER) && !world.attacker_connects(SERVER6));
    until("ufw has taken them over", 10, || runs() == 1);
    assert_eq!((shown(&world, ATTACKER), shown(&world, ATTACKER6)), (2, 2));
    let status = || world.ctl_json("status");
    until("nothing is missing", 10, || status()["not_in_force"] == 0 && status()["drift"] == 0);
    assert_eq!(world.block(ATTACKER).outcomes(), ["already-blocked"]);
    assert_eq!(runs(), 1);
}

#[test]
fn while_ufw_runs_what_is_already_blocked_and_the_status_are_answered_within_100_ms() {
    let world = World::with("reconcile-every = \"1s\"", "ufw allow 22/tcp");
    world.write("slow-ufw", &format!("#!/bin/sh\ntouch {at}/runs; while test -e {at}/hold; do sleep 0.01; done\nexec {at}/real-ufw \"$@\"\n", at = world.directory.path().display()));
    world.confined.sh(&format!(
        "cd {}; cp /usr/sbin/ufw real-ufw; chmod 755 slow-ufw; touch hold; mount --bind slow-ufw /usr/sbin/ufw",
        world.directory.path().display()
    ));
    world.block(ATTACKER);
    until("ufw runs", 10, || world.directory.path().join("runs").exists());
    let began = Instant::now();
    for _ in 0..5 {
        assert_eq!(world.block(ATTACKER).outcomes(), ["already-blocked"]);
        assert_eq!(world.ctl_json("status")["live_blocks"], 1);
        assert_eq!(world.ctl_json("list").as_array().unwrap().len(), 1);
    }
    // Fifteen answers; the tests run side by side.
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    assert!(world.directory.path().join("hold").exists());
    std::fs::remove_file(world.directory.path().join("hold")).unwrap();
}

#[test]
fn where_iptables_fails_a_run_of_ufw_does_it() {
    let world = World::with("", "ufw allow 22/tcp");
    // One program under several names, which it is told as its first argument here.
    world.write(
        "no-insert",
        &format!(
            "#!/bin/sh\n[ \"$3\" != -I ] || exit 4\nexec {} \"${{0##*/}}\" \"$@\"\n",
            world.path("multi")
        ),
    );
    world.confined.sh(&format!(
        "cp $(readlink -f /usr/sbin/iptables) {}; chmod 755 {it}; mount --bind {it} $(readlink -f /usr/sbin/iptables)",
        world.path("multi"),
        it = world.path("no-insert")
    ));
    world.block(ATTACKER);
    assert!(!world.attacker_connects(SERVER));
    assert!(world.read("privd.log").contains("a program failed"), "{}", world.logs());
}

#[test]
fn what_we_stage_is_what_ufw_writes() {
    let world =
        World::with("block-for = \"1h\"", "ufw allow 22/tcp; ufw deny log from 192.0.2.200");
    assert_eq!(
        world
            .post(&json!({ "ips": [ATTACKER, "198.51.100.0/24", ATTACKER6, "2001:db8:9::/48"] }))
            .status,
        200
    );
    let ours = [world.read("ufw/user.rules"), world.read("ufw/user6.rules")];
    // ufw reads both files and writes them again with a rule more, and then with one less.
    world.ufw("allow 8080/tcp");
    world.ufw("delete allow 8080/tcp");
    assert_eq!([world.read("ufw/user.rules"), world.read("ufw/user6.rules")], ours);
}

#[test]
fn a_lift_takes_its_own_rules_and_leaves_every_other_in_force() {
    let world = World::with("", "ufw allow 22/tcp");
    let runs = counting_runs(&world);
    let others = ["198.51.100.1", "198.51.100.2", "2001:db8:7::1"];
    let all = json!({ "ips": [ATTACKER, others[0], others[1], others[2], ATTACKER6] });
    assert_eq!(world.post(&all).status, 200);
    let (text, code) = world.ctl(&["unblock", ATTACKER, ATTACKER6]);
    assert!(code == 0 && runs() <= 2, "{} runs: {text}", runs());
    assert!(world.attacker_connects(SERVER) && world.attacker_connects(SERVER6));
    let status = world.ctl_json("status");
    assert_eq!((&status["live_blocks"], &status["not_in_force"]), (&json!(3), &json!(0)));
    let kernel = world.server.sh("iptables -S; ip6tables -S");
    for other in others {
        assert_eq!(kernel.matches(&format!("{other}/")).count(), 2, "{other}: {kernel}");
    }
}

#[test]
fn the_only_block_of_a_host_without_rules_can_be_lifted() {
    let mut world =
        World::without_daemons("ufw delete allow proto tcp from 10.9.0.2 to any port 5001");
    world.start_privd();
    let rules = || {
        let chains = "iptables -S ufw-user-input; iptables -S ufw-user-output
            ip6tables -S ufw6-user-input; ip6tables -S ufw6-user-output";
        world.server.sh(chains).matches("-A ").count()
    };
    for targets in
        [vec!["198.51.100.7"], vec!["2001:db8:7::1"], vec!["198.51.100.7", "2001:db8:7::1"]]
    {
        assert_eq!(world.ctl(&[&["block"], &targets[..]].concat()).1, 0, "{}", world.logs());
        assert_eq!(rules(), 2 * targets.len());
        let (text, code) = world.ctl(&[&["unblock"], &targets[..]].concat());
        assert_eq!(code, 0, "{text}\n{}", world.logs());
        assert_eq!(rules(), 0, "{targets:?}");
        assert!(!world.ufw("status").contains("DENY"), "{targets:?}");
    }
}

#[test]
fn another_ufw_that_is_started_beside_ours_waits_and_then_works() {
    let world = World::with("", "ufw allow 22/tcp");
    std::thread::scope(|scope| {
        for port in 8000..8010 {
            let world = &world;
            scope.spawn(move || world.block(&format!("198.51.100.{}", port - 7990)));
        }
        // One after another: two ufw runs of others lose each other's changes by themselves.
        for port in 8000..8010 {
            world.ufw(&format!("allow {port}/tcp"));
        }
    });
    for port in 8000..8010 {
        assert_eq!(shown(&world, &format!("{port}/tcp")), 2, "{port}: {}", world.logs());
    }
    until("all blocks are in force", 20, || {
        let status = world.ctl_json("status");
        status["live_blocks"] == 10 && status["not_in_force"] == 0
    });
}

#[test]
fn privd_is_ready_at_once_with_a_thousand_blocks_in_force() {
    let mut world = World::with("max-new-blocks-per-minute = 2000", "ufw allow 22/tcp");
    let addresses: Vec<String> =
        (0..1000).map(|n| format!("198.18.{}.{}", n / 250, n % 250 + 1)).collect();
    assert_eq!(world.post(&json!({ "ips": addresses })).status, 200);
    world.stop_privd(nix::sys::signal::Signal::SIGKILL);
    let began = Instant::now();
    world.start_privd_unready();
    let ready = began.elapsed();
    until("the thousand are verified", 20, || world.ctl_json("status")["not_in_force"] == 0);
    let verified = began.elapsed();
    println!("ready after {ready:?}, verified after {verified:?}");
    let logged = world.read("privd.log");
    assert!(logged.contains("live_blocks: 1000"), "{logged}");
    // The bar is 100 ms on an idle machine; the tests run side by side.
    assert!(ready < Duration::from_millis(500), "{ready:?}");
}

#[test]
fn while_connections_are_cut_what_is_blocked_is_known_and_what_was_deleted_is_no_block() {
    let world = World::new();
    let [blocked, other] = ["192.0.2.1", "192.0.2.2"];
    world.block(blocked);
    let [slow, cut] = ["slow", "cut"].map(|name| world.path(name));
    world
        .write("slow", &format!("#!/bin/sh\nwhile ! test -e {cut}; do sleep 0.01; done\nexit 1\n"));
    world
        .confined
        .sh(&format!("chmod 755 {slow}; mount --bind {slow} $(readlink -f /usr/sbin/conntrack)"));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| world.post(&json!({ "ip": other })));
        until("the other block holds", 10, || {
            let list = world.ctl_json("list");
            list.as_array().unwrap().iter().filter(|block| block["in_force"] == true).count() == 2
        });
        let began = Instant::now();
        assert_eq!(world.block(blocked).outcomes(), ["already-blocked"]);
        assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
        world.ufw(&format!("delete deny from {blocked}"));
        world.ufw(&format!("delete deny out to {blocked}"));
        let asked = scope.spawn(|| world.post(&json!({ "ip": blocked })));
        until("it waits for the firewall", 10, || world.ctl_json("status")["queued"] == 2);
        world.write("cut", "");
        assert_eq!(waiting.join().unwrap().outcomes(), ["blocked"]);
        assert_eq!(asked.join().unwrap().outcomes(), ["blocked"], "put back, and cut");
    });
}
