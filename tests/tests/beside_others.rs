//! Other programs change the firewall beside webhookd, each in its own way: blocks are back one
//! reconcile later, and nobody's rules are lost by ours.

use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use protocol::{Reply, ReplyFrame, Request, RequestFrame, frame};
use serde_json::json;
use tests::https::{exchange, request};
use tests::standing::Lock;
use tests::{Standing, World, until};

#[test]
fn forty_rules_of_others_and_forty_blocks_lose_nothing_of_each_other() {
    let world = world();
    // One after another, because two foreign ufw runs at once lose rules to each other.
    let blocks = std::thread::scope(|scope| {
        scope.spawn(|| (0..40).for_each(|number| foreign(&world, number)));
        forty_blocks(&world)
    });
    in_force(&world, &blocks, "afterwards");
    let standing = Standing::now(&world);
    standing.assert_administrator_is_let_in("afterwards");
    for number in 0..40 {
        let (rule, stays) = tuple(number);
        let found = standing.files[0].matches(&rule).count();
        assert_eq!(found, usize::from(stays), "{number}: {rule}\n{}", standing.files[0]);
    }
}

#[test]
fn forty_blocks_hold_beside_others_who_run_four_at_a_time() {
    let world = world();
    let blocks = std::thread::scope(|scope| {
        for first in 0..4 {
            let world = &world;
            scope.spawn(move || (0..10).for_each(|number| foreign(world, 4 * number + first)));
        }
        forty_blocks(&world)
    });
    in_force(&world, &blocks, "afterwards");
}

#[test]
fn blocks_are_back_after_a_reload_and_after_off_and_on_again() {
    let world = world();
    let blocks = a_few_blocks(&world);
    for commands in ["ufw reload", "ufw disable; ufw --force enable"] {
        world.server.sh(commands);
        in_force(&world, &blocks, commands);
        Standing::now(&world).assert_administrator_is_let_in(commands);
    }
}

#[test]
fn blocks_are_back_after_another_tool_wrote_the_file_and_its_rule_stays() {
    let world = world();
    let blocks = a_few_blocks(&world);
    for (number, then) in ["true", "ufw reload"].into_iter().enumerate() {
        let rule = format!(
            "\n### tuple ### allow tcp 808{number} 0.0.0.0/0 any 0.0.0.0/0 in\n\
             -A ufw-user-input -p tcp --dport 808{number} -j ACCEPT\n"
        );
        {
            let _held = Lock::of_the_host(&world);
            let file = world.read("ufw/user.rules");
            let file = file.lines().filter(|line| !line.contains("198.51.100."));
            let file = file.collect::<Vec<_>>().join("\n") + "\n";
            let file = file.replace("### RULES ###\n", &format!("### RULES ###\n{rule}"));
            world.write("ufw/user.rules", &file);
        }
        world.server.sh(then);
        in_force(&world, &blocks, then);
        let standing = Standing::now(&world);
        standing.assert_administrator_is_let_in(then);
        assert!(standing.files[0].contains(rule.trim()), "{}", standing.files[0]);
    }
}

#[test]
fn after_ufw_reset_privd_starts_afresh_and_puts_everything_back() {
    let mut world = world();
    let blocks = a_few_blocks(&world);
    world.ufw("--force reset");
    // No rule is in force now, and nobody may be told so.
    for ip in ["198.51.100.1", "198.51.100.99"] {
        let answer = world.post(&json!({ "ip": ip }));
        assert_eq!(answer.status, 503, "{answer:?}");
    }
    world.ufw("allow 22/tcp");
    world.ufw("allow proto tcp from 10.9.0.2 to any port 5001");
    world.ufw("--force enable");
    let answer = world.post(&json!({ "ip": "198.51.100.1" }));
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(world.privd_ended(), Some(75), "{}", world.logs());
    world.renew_view();
    world.start_privd();
    in_force(&world, &blocks, "reset");
    Standing::now(&world).assert_administrator_is_let_in("reset");
    world.block("198.51.100.99");
}

#[test]
fn after_sed_privd_starts_afresh_and_puts_everything_back() {
    let mut world = world();
    let blocks = a_few_blocks(&world);
    world.server.sh("sed -i /198.51.100./d /etc/ufw/user.rules; ufw reload");
    for ip in ["198.51.100.1", "198.51.100.99"] {
        let answer = world.post(&json!({ "ip": ip }));
        assert_eq!(answer.status, 503, "{answer:?}");
    }
    assert_eq!(world.privd_ended(), Some(75), "{}", world.logs());
    world.renew_view();
    world.start_privd();
    in_force(&world, &blocks, "sed -i");
    Standing::now(&world).assert_administrator_is_let_in("sed -i");
    world.block("198.51.100.99");
}

#[test]
fn privd_comes_back_by_itself_when_a_file_is_replaced_and_nobody_asks() {
    let mut world = world();
    let blocks = a_few_blocks(&world);
    world.server.sh("sed -i s/x/x/ /etc/ufw/user6.rules");
    assert_eq!(world.privd_ended(), Some(75), "{}", world.logs());
    world.renew_view();
    world.start_privd();
    in_force(&world, &blocks, "sed -i");
}

#[test]
fn flushed_chains_are_told_with_the_mend_and_everything_is_back_after_it() {
    let world = world();
    let blocks = a_few_blocks(&world);
    // Where chains of ufw's are left, `ufw reload` alone puts back nothing that leads to them.
    for (program, live, chains) in [
        ("iptables", "198.51.100.1", "-X"),
        ("ip6tables", "2001:db8:7::1", "-X"),
        ("iptables", "198.51.100.1", "-S"),
        ("ip6tables", "2001:db8:7::1", "-S"),
    ] {
        world.server.sh(&format!("{program} -P INPUT ACCEPT; {program} -F; {program} {chains}"));
        let began = Instant::now();
        until("status tells what to run", 10, || {
            let problem = world.ctl_json("status")["problem"].to_string();
            problem.contains("ufw's chains") && problem.contains("`ufw reload`")
        });
        assert!(began.elapsed() < RECONCILE + Duration::from_secs(2), "{:?}", began.elapsed());
        assert_eq!(world.send(&request("GET", "/readyz", &[], "")).status, 503);
        for ip in [live, "198.51.100.99", "2001:db8:7::99"] {
            let answer = world.post(&json!({ "ip": ip }));
            assert_eq!(answer.status, 503, "{answer:?}");
            let mend = "`/lib/ufw/ufw-init flush-all`, then `ufw reload`";
            assert!(answer.message().contains(mend), "{answer:?}");
        }
        world.server.sh("/lib/ufw/ufw-init flush-all; ufw reload");
        in_force(&world, &blocks, program);
        Standing::now(&world).assert_administrator_is_let_in(program);
        until("it is ready", 10, || world.send(&request("GET", "/readyz", &[], "")).status == 200);
    }
}

#[test]
fn a_stuck_ufw_delays_new_blocks_and_nothing_else() {
    let world = world();
    let blocks = a_few_blocks(&world);
    // What ufw has still to take over is done.
    until("ufw is done", 10, || world.ctl_json("status")["queued"] == 0);
    let held = Lock::of_the_host(&world);
    let mut slow = Vec::new();
    let mut asked = 0;
    let answer = std::thread::scope(|scope| {
        let asking = scope.spawn(|| world.post(&json!({ "ip": "198.51.100.99" })));
        let mut https = world.connection();
        let mut socket = UnixStream::connect(world.socket()).unwrap();
        let again = world.alert(r#"{"ip":"198.51.100.1"}"#);
        while !asking.is_finished() {
            let mut timed = |what: &'static str, ask: &mut dyn FnMut()| {
                let began = Instant::now();
                ask();
                asked += 1;
                if began.elapsed() > Duration::from_millis(100) {
                    slow.push((what, began.elapsed()));
                }
            };
            timed("already blocked", &mut || {
                let answer = exchange(&mut https, &again).unwrap();
                assert_eq!(answer.outcomes(), ["already-blocked"], "{answer:?}");
            });
            timed("status", &mut || {
                frame::write(&mut socket, &RequestFrame { id: 1, request: Request::Status })
                    .unwrap();
                let reply: ReplyFrame = frame::read(&mut socket).unwrap();
                assert!(matches!(reply.reply, Reply::Status(_)), "{reply:?}");
            });
            timed("webhookctl", &mut || {
                assert!(world.ctl(&["status"]).0.contains("live blocks"));
            });
            // The other tests want some of the machine, too.
            std::thread::sleep(Duration::from_millis(30));
        }
        asking.join().unwrap()
    });
    assert_eq!((answer.status, answer.outcomes()), (503, vec!["pending"]), "{answer:?}");
    assert!(answer.message().contains("/run/ufw.lock"), "{answer:?}");
    // A neighbour on the same machine may have had the processor.
    assert!(slow.len() * 20 < asked, "{} of {asked}: {slow:?}", slow.len());
    assert!(!Standing::unlocked(&world).names("198.51.100.99".parse().unwrap()));
    drop(held);
    let blocks = [blocks, vec!["198.51.100.99".parse().unwrap()]].concat();
    in_force(&world, &blocks, "when the lock is let go");
    // The repeat that the 503 asked for.
    let repeat = world.post(&json!({ "ip": "198.51.100.99" }));
    assert_eq!((repeat.status, repeat.outcomes()), (200, vec!["already-blocked"]), "{repeat:?}");
    eprintln!("a stuck ufw: {} of {asked} answers took over 100 ms: {slow:?}", slow.len());
}

fn world() -> World {
    let config = format!(
        "reconcile-every = \"{}s\"\nmax-new-blocks-per-minute = 100000",
        RECONCILE.as_secs()
    );
    World::with(&config, "ufw allow 22/tcp")
}

/// Five blocks of both families, by one request each.
fn a_few_blocks(world: &World) -> Vec<IpAddr> {
    let blocks = ["198.51.100.1", "198.51.100.2", "198.51.100.3", "2001:db8:7::1", "2001:db8:7::2"];
    blocks.iter().for_each(|address| drop(world.block(address)));
    blocks.map(|address| address.parse().unwrap()).to_vec()
}

/// Four connections post ten addresses each; all are acknowledged, if not at once.
fn forty_blocks(world: &World) -> Vec<IpAddr> {
    let addresses: Vec<IpAddr> = (1..=20)
        .flat_map(|number| {
            let ipv6 = IpAddr::from([0x2001, 0xdb8, 7, 0, 0, 0, 0, u16::from(number)]);
            [IpAddr::from([198, 51, 100, number]), ipv6]
        })
        .collect();
    std::thread::scope(|scope| {
        for addresses in addresses.chunks(10) {
            scope.spawn(move || {
                for address in addresses {
                    // As Kibana does after a 500 or 503.
                    until("it is acknowledged", 20, || {
                        world.post(&json!({ "ip": address })).status == 200
                    });
                }
            });
        }
    });
    addresses
}

/// One call of somebody else's: a port, a source, or the end of an earlier one.
fn foreign(world: &World, number: u16) {
    world.ufw(&match number % 4 {
        0 => format!("allow {}/tcp", 9000 + number),
        1 => format!("deny from 192.0.2.{number} comment 'by hand {number}'"),
        2 => format!("allow {}/tcp", 9000 + number),
        _ => format!("delete allow {}/tcp", 9000 + number - 1),
    });
}

/// The rule that a call is about, and whether it stays.
fn tuple(number: u16) -> (String, bool) {
    match number % 4 {
        0 => (format!("### tuple ### allow tcp {} ", 9000 + number), true),
        1 => (format!("### tuple ### deny any any 0.0.0.0/0 any 192.0.2.{number} in "), true),
        2 => (format!("### tuple ### allow tcp {} ", 9000 + number), false),
        _ => (format!("### tuple ### allow tcp {} ", 9000 + number - 1), false),
    }
}

/// Waits until all blocks are in force, which takes a reconcile and a few runs of ufw.
fn in_force(world: &World, blocks: &[IpAddr], when: &str) {
    let began = Instant::now();
    loop {
        let standing = Standing::now(world);
        let lacking: Vec<String> = blocks.iter().filter_map(|one| standing.lacks(*one)).collect();
        if lacking.is_empty() {
            eprintln!("{when}: in force after {:?}", began.elapsed());
            return;
        }
        assert!(began.elapsed() < RECONCILE + RUNS, "{when}: {lacking:#?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Between two looks.
const RECONCILE: Duration = Duration::from_secs(2);
/// For a few runs of ufw on a busy machine.
const RUNS: Duration = Duration::from_secs(4);
