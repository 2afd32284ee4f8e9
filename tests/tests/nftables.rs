//! What only the engine nftables promises: its table among those of others, with real packets.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;
use tests::https::request;
use tests::random::times;
use tests::sessions::Sessions;
use tests::world::{ATTACKER, ATTACKER6, SERVER};
use tests::{Engine, Knocks, Place, Random, Standing, Stream, Table, World, until};

/// The attacker's addresses: two that are blocked as such, two within networks.
const SOURCES: [&str; 4] = [ATTACKER, ATTACKER6, "203.0.113.9", "2001:db8:1::b"];
/// What is blocked of them.
const TARGETS: [&str; 4] = [ATTACKER, ATTACKER6, "203.0.113.8/29", "2001:db8:1::8/125"];

#[test]
fn whatever_others_do_to_the_table_everything_is_back_in_a_moment_and_that_is_said() {
    // No more in one world than privd mends in a minute.
    std::thread::scope(|scope| {
        for harms in HARMS.chunks(6) {
            scope.spawn(move || suffers(harms));
        }
    });
}

/// What another tool does, and what the log then says.
const HARMS: [(&str, &str); 11] = [
    ("nft delete table inet webhookd", MADE_ANEW),
    ("nft flush ruleset", MADE_ANEW),
    ("nft flush table inet webhookd", MADE_ANEW),
    (
        "nft 'flush chain inet webhookd prerouting; delete chain inet webhookd prerouting'",
        MADE_ANEW,
    ),
    ("nft insert rule inet webhookd prerouting accept", MADE_ANEW),
    ("nft add table inet webhookd '{ flags dormant; }'", MADE_ANEW),
    ("nft flush chain inet webhookd prerouting", MADE_ANEW),
    ("nft flush chain inet webhookd output", MADE_ANEW),
    ("nft delete element inet webhookd v4_32 '{ 203.0.113.7 }'", MISSING),
    ("nft delete element inet webhookd v6_125 '{ 2001:db8:1::8 }'", MISSING),
    ("nft flush set inet webhookd v4_32; nft flush set inet webhookd v4_29", MISSING),
];
const MADE_ANEW: &str = "the table was changed or removed by others, and is made anew";
const MISSING: &str = "blocks are missing from the firewall";

fn suffers(harms: &[(&str, &str)]) {
    // Nobody waits for the next look.
    let world = world("reconcile-every = \"1h\"");
    let knocks = Knocks::from(&world, &SOURCES);
    block_all(&world, &knocks);
    for (harm, words) in harms {
        let said = |words: &str| world.lines("privd.log", &[words]).len();
        let before = said(words);
        world.server.sh(harm);
        let began = Instant::now();
        // What stands there may not work, and what works may stand there only in part.
        until(&format!("all is in force after `{harm}`"), 10, || {
            lacking(&world).is_none() && knocks.arrive().is_empty()
        });
        eprintln!("{harm}: {:?}", began.elapsed());
        until(&format!("the log tells of `{harm}`"), 5, || said(words) > before);
        until("the list tells", 5, || {
            let list = world.ctl_json("list");
            list.as_array().unwrap().iter().all(|row| row["in_force"] == true)
        });
        assert!(began.elapsed() < Duration::from_secs(6), "{harm}: {:?}", began.elapsed());
    }
}

#[test]
fn others_at_random_moments_lose_no_acknowledged_block() {
    let mut random = Random::seeded("others and the table");
    let world = world("max-new-blocks-per-minute = 100000\nreconcile-every = \"1s\"");
    let stream = Stream::begin(&world);
    let mut slowest = Duration::ZERO;
    for number in 0..times(80) {
        random.pause(600);
        let (harm, _) = HARMS[usize::try_from(random.from(0..8)).unwrap()];
        world.server.sh(harm);
        slowest = slowest.max(stream.settled(&world, &format!("{number}: {harm}")));
    }
    let book = stream.end(&world);
    assert!(book.acknowledged.len() > 20 && !book.lifted.is_empty(), "{book:?}");
    let refused = book.answers.keys().find(|answer| answer.starts_with('5'));
    assert_eq!(refused, None, "{}", book.summary());
    eprintln!("others: in force after at most {slowest:?}; {}", book.summary());
}

#[test]
fn ufws_reload_reset_and_end_let_no_packet_through_and_leave_the_table_alone() {
    let world = world("");
    let knocks = Knocks::from(&world, &SOURCES);
    block_all(&world, &knocks);
    let table = || world.server.sh("nft --stateless --handle list table inet webhookd");
    let before = table();
    for command in ["reload", "disable", "--force enable", "--force reset"] {
        let (_, sent, arrived) = knocks.during(|| world.ufw(command));
        assert!(sent > 5 && arrived.is_empty(), "{command}: {arrived:?} of {sent}");
        assert_eq!(table(), before, "{command}");
        // What ufw is, is no matter.
        let ready =
            world.send(&request("GET", "/readyz", &[("Authorization", &*world.bearer())], ""));
        assert_eq!(
            (ready.status, ready.message()),
            (200, "ready: 4 blocks, all in force"),
            "{command}"
        );
    }
    world.block("198.51.100.1");
    assert_eq!(world.lines("privd.log", &[" WARN "]), Vec::<String>::new());
}

#[test]
fn the_newest_whole_rules_of_ufw_are_kept_for_the_next_boot() {
    let world = world("");
    let copy = |name: &str| {
        std::fs::read_to_string(world.path(&format!("state/{name}"))).unwrap_or_default()
    };
    world.ufw("allow 8080/tcp");
    for name in ["user.rules", "user6.rules"] {
        until("the copy has the new rule", 10, || copy(name).contains("--dport 8080"));
    }
    // One that is cut short is not the newest whole one.
    world.server.sh("truncate --size=40 /etc/ufw/user.rules");
    world.block("198.51.100.1");
    assert!(copy("user.rules").contains("--dport 8080"), "{}", copy("user.rules"));
}

#[test]
fn the_tables_of_others_stay_as_they_are() {
    let mut world = world("");
    world.server.sh("nft -f - <<END
table inet f2b-table {
    set addr-set-sshd { type ipv4_addr; elements = { 203.0.113.7, 192.0.2.1 }; }
    chain f2b-chain {
        type filter hook input priority filter - 1; policy accept;
        tcp dport { 22 } ip saddr @addr-set-sshd reject with icmp port-unreachable
    }
}
table ip crowdsec {
    set crowdsec-blacklists { type ipv4_addr; flags timeout; elements = { 192.0.2.2 timeout 4h }; }
    chain crowdsec-chain-input {
        type filter hook input priority filter - 10; policy accept;
        ip saddr @crowdsec-blacklists counter drop
    }
}
table inet webhookd2 { chain from { type filter hook prerouting priority raw; accept; }; }
END
iptables -I INPUT 1 -s 192.0.2.3 -j ACCEPT");
    let tables = || {
        let list = "nft --stateless --handle list table";
        world_tables(&world.server, list)
    };
    let before = tables();
    assert!(before.contains("f2b-chain") && before.contains("192.0.2.3"), "{before}");
    world.block(ATTACKER);
    world.block("192.0.2.1");
    assert_eq!(world.ctl(&["unblock", "192.0.2.1"]).1, 0);
    world.server.sh("nft delete table inet webhookd");
    until("the block is back", 10, || lacks(&world, ATTACKER).is_none());
    assert_eq!(tables(), before);
    world.stop_privd(Signal::SIGTERM);
    world.start_privd();
    assert_eq!(world_tables(&world.server, "nft --stateless --handle list table"), before);
    assert!(!world.attacker_connects(SERVER));
}

/// Every table but ours, as nft lists them.
fn world_tables(place: &Place, list: &str) -> String {
    let names = place.sh("nft list tables");
    let others = names.lines().filter(|table| *table != "table inet webhookd");
    others.map(|table| place.sh(&format!("{list} {}", &table["table ".len()..]))).collect()
}

#[test]
fn sessions_end_at_once_and_without_conntrack() {
    let world = world("");
    world.confined.sh("mount --bind /dev/null /usr/sbin/conntrack");
    let mut sessions = Sessions::open(&world);
    world.block(ATTACKER);
    assert_eq!(sessions.alive(), Vec::<&str>::new());
}

#[test]
fn what_is_forwarded_to_a_container_is_dropped_in_both_directions() {
    let world = world("");
    let container = publish_a_container(&world);
    let listener = container.listen("172.17.0.2:80");
    let patience = Duration::from_secs(2);
    let open = |from: &Place, to: &str| from.connect(to.parse().unwrap(), patience);
    let (mut attacker, (mut served, _)) =
        (open(&world.attacker, "203.0.113.1:8080").unwrap(), listener.accept().unwrap());
    attacker.set_read_timeout(Some(Duration::from_millis(900))).unwrap();
    served.set_read_timeout(Some(Duration::from_millis(900))).unwrap();
    let mut byte = [0];
    served.write_all(b"x").unwrap();
    attacker.read_exact(&mut byte).unwrap();
    attacker.write_all(b"x").unwrap();
    served.read_exact(&mut byte).unwrap();
    // What the container sends of its own accord, too.
    let (sender, receiver) = (container.udp("172.17.0.2:0"), world.attacker.udp("203.0.113.7:53"));
    let leaks = || {
        let _ = sender.send_to(b"x", "203.0.113.7:53");
        receiver.recv(&mut [0]).is_ok()
    };
    until("a datagram of the container's arrives", 10, leaks);
    world.block(ATTACKER);
    let _ = (attacker.write_all(b"x"), served.write_all(b"x"));
    assert!(served.read_exact(&mut byte).is_err(), "the container hears the attacker");
    assert!(attacker.read_exact(&mut byte).is_err(), "the attacker hears the container");
    (0..20).for_each(|_| assert!(!leaks(), "a datagram of the container's arrives"));
    assert!(open(&world.attacker, "203.0.113.1:8080").is_err());
    assert!(open(&world.kibana, "10.9.0.1:8080").is_ok(), "others are served");
    assert_eq!(world.ctl(&["unblock", ATTACKER]).1, 0);
    assert!(open(&world.attacker, "203.0.113.1:8080").is_ok());
}

/// A container on a bridge of its own, its port 80 published as 8080 the way that Docker does it.
fn publish_a_container(world: &World) -> Place {
    let container = Place::new("");
    let pid = container.pid();
    world.server.sh(&format!(
        "ip link add docker0 type veth peer name eth0 netns {pid}
         ip address add 172.17.0.1/16 dev docker0; ip link set docker0 up
         echo 1 >/proc/sys/net/ipv4/ip_forward
         iptables -t nat -N DOCKER
         iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
         iptables -t nat -A DOCKER ! -i docker0 -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
         iptables -I FORWARD 1 -o docker0 -j ACCEPT; iptables -I FORWARD 1 -i docker0 -j ACCEPT"
    ));
    container.sh("ip address add 172.17.0.2/16 dev eth0; ip link set lo up; ip link set eth0 up
         ip route add default via 172.17.0.1");
    container
}

#[test]
fn the_kernel_has_every_end_and_none_for_what_is_permanent() {
    let world = world("block-for = \"1h\"");
    for (target, term, seconds) in [
        ("198.51.100.1", "10y", Some(315_576_000)),
        ("198.51.100.0/25", "1s", Some(1)),
        ("2001:db8:7::1", "90d", Some(7_776_000)),
        ("2001:db8:7::/64", "permanent", None),
        ("198.51.100.2", "permanent", None),
    ] {
        let (text, code) = world.ctl(&["block", target, "--for", term]);
        assert_eq!(code, 0, "{text}");
        let blocks = Table::now(&world.server).blocks;
        let kept = blocks.get(target).unwrap_or_else(|| panic!("{target}: {blocks:?}"));
        match (seconds, kept) {
            (None, None) => {}
            // Five seconds later than ours, which privd brings about.
            (Some(seconds), Some(kept)) => {
                let off = kept.abs_diff(seconds + 5);
                assert!(off <= 2, "{target}: {kept} s in the kernel");
            }
            other => panic!("{target}: {other:?}"),
        }
    }
    world.block("198.51.100.3");
    let kept = Table::now(&world.server).blocks["198.51.100.3"].unwrap();
    assert!(kept.abs_diff(3605) <= 2, "{kept}");
}

#[test]
fn blocks_end_in_the_kernel_though_privd_is_dead() {
    let mut world = world("");
    let knocks = Knocks::from(&world, &SOURCES);
    let began = Instant::now();
    for target in TARGETS {
        assert_eq!(world.ctl(&["block", target, "--for", "3s"]).1, 0);
    }
    world.stop_privd(Signal::SIGKILL);
    let (_, _, early) = knocks.during(|| {
        until("their time has come", 5, || began.elapsed() > Duration::from_secs(3));
    });
    assert!(early.is_empty(), "{early:?}");
    until("they have ended", 10, || knocks.arrive().len() == SOURCES.len());
    assert!(began.elapsed() < Duration::from_secs(11), "{:?}", began.elapsed());
    world.start_privd();
    until("the ledger says so too", 10, || world.ctl_json("list") == json!([]));
}

#[test]
fn networks_that_overlap_are_blocked_and_lifted_one_by_one() {
    let world = world("");
    let knocks = Knocks::from(&world, &["203.0.113.9", "2001:db8:1::b"]);
    let targets = [
        "203.0.113.9",
        "203.0.113.8/29",
        "203.0.113.8/30",
        "2001:db8:1::b",
        "2001:db8:1::8/125",
        "2001:db8:1::8/126",
    ];
    let (text, code) = world.ctl(&[&["block"], &targets[..]].concat());
    assert_eq!(code, 0, "{text}");
    let held = || Table::now(&world.server).blocks.into_keys().collect::<BTreeSet<_>>();
    let mut left: BTreeSet<String> = targets.map(str::to_owned).into();
    assert_eq!(held(), left);
    for target in targets {
        let (_, _, arrived) = knocks.during(|| {
            left.remove(target);
            assert_eq!(world.ctl(&["unblock", target]).1, 0);
        });
        assert_eq!(held(), left, "{target}");
        let v6 = target.contains(':');
        // Up to the last of its family.
        if left.iter().any(|one| one.contains(':') == v6) {
            assert!(!arrived.iter().any(|one| one.is_ipv6() == v6), "{target}: {arrived:?}");
        }
    }
    until("packets arrive again", 10, || knocks.arrive().len() == 2);
}

#[test]
fn ten_thousand_addresses_of_one_alert_are_all_in_the_kernel() {
    let world = world("");
    let addresses: Vec<IpAddr> = (0..5_000_u16)
        .flat_map(|number| {
            let [high, low] = number.to_be_bytes();
            let v6 = IpAddr::from([0x2001, 0xdb8, 7, 0, 0, 0, 0, number]);
            [IpAddr::from([198, 18, high, low]), v6]
        })
        .collect();
    let began = Instant::now();
    let answer = world.post(&json!({ "ips": addresses }));
    let took = began.elapsed();
    assert_eq!(answer.status, 200, "{}", answer.status);
    assert_eq!(answer.outcomes(), vec!["blocked"; 10_000]);
    // For a moment after a large change the kernel's lists have gaps, as its own table grows.
    until("all are listed", 10, || {
        let standing = Standing::now(&world);
        addresses.iter().all(|one| standing.lacks(*one).is_none())
            && standing.ours().len() == 10_000
    });
    eprintln!("10,000 addresses: {took:?}");
    assert_eq!(world.ctl(&["unblock", "--all"]).1, 0);
    assert!(Standing::now(&world).ours().is_empty());
}

#[test]
fn beside_others_who_change_nftables_without_a_pause_two_thousand_alerts_are_obeyed() {
    let world = world("max-new-blocks-per-minute = 100000");
    world.server.sh("nft add table inet busy; nft add set inet busy s '{ type ipv4_addr; }'");
    let busy =
        "while :; do nft add element inet busy s '{ 192.0.2.1 }'; nft flush set inet busy s; done";
    let mut others: Vec<_> =
        (0..2).map(|_| world.server.command(&["sh", "-c", busy]).spawn().unwrap()).collect();
    let addresses: Vec<IpAddr> = (0..2_000_u16)
        .map(|number| {
            let [high, low] = number.to_be_bytes();
            [198, 18, high, low].into()
        })
        .collect();
    let began = Instant::now();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let posting = addresses.chunks(500).map(|part| {
            let world = &world;
            scope.spawn(move || {
                part.chunks(10)
                    .map(|ten| world.post(&json!({ "ips": ten })).status)
                    .collect::<Vec<_>>()
            })
        });
        let posting: Vec<_> = posting.collect();
        posting.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    eprintln!("beside others: {:?}", began.elapsed());
    for other in &mut others {
        other.kill().unwrap();
        other.wait().unwrap();
    }
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}\n{}", world.logs());
    let standing = Standing::now(&world);
    assert_eq!(addresses.iter().find_map(|one| standing.lacks(*one)), None);
}

#[test]
fn without_its_program_a_table_that_is_gone_is_told_and_all_is_back_with_it() {
    let world = world("reconcile-every = \"1s\"");
    let knocks = Knocks::from(&world, &SOURCES);
    block_all(&world, &knocks);
    world.confined.sh("mount --bind /dev/null /usr/sbin/nft");
    world.server.sh("nft delete table inet webhookd");
    let ready =
        || world.send(&request("GET", "/readyz", &[("Authorization", &*world.bearer())], ""));
    until("it is not ready", 10, || ready().status == 503);
    let answer = world.post(&json!({ "ip": "198.51.100.1" }));
    assert!(matches!(answer.status, 500 | 503), "{answer:?}");
    assert!(answer.message().contains("nft"), "{answer:?}");
    world.confined.sh("umount /usr/sbin/nft");
    until("all is in force", 30, || lacking(&world).is_none());
    until("it is ready", 10, || ready().status == 200);
    assert!(knocks.arrive().is_empty());
}

fn world(privd_toml: &str) -> World {
    let mut world = World::without_daemons("ufw allow 22");
    world.engine = Engine::Nftables;
    world.configure(privd_toml, "");
    world.start();
    world
}

fn block_all(world: &World, knocks: &Knocks) {
    until("all can connect", 10, || knocks.arrive().len() == SOURCES.len());
    let (text, code) = world.ctl(&[&["block"], &TARGETS[..]].concat());
    assert_eq!(code, 0, "{text}");
    assert!(knocks.arrive().is_empty(), "{:?}", knocks.arrive());
}

/// What any of the targets lacks.
fn lacking(world: &World) -> Option<String> {
    let table = Table::now(&world.server);
    TARGETS.iter().find_map(|target| table.lacks(target))
}

fn lacks(world: &World, address: &str) -> Option<String> {
    Table::now(&world.server).lacks(address)
}
