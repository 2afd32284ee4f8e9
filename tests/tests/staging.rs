//! Among whatever rules an administrator has, what we stage in ufw's files is what ufw then writes.

use jiff::Timestamp;
use protocol::{Outcome, Reply};
use tests::frames::block;
use tests::random::times;
use tests::stream::listed;
use tests::{Peer, Random, Standing, World, until};

/// Each rule of an administrator's is made up of these, and ufw takes any of them in any order.
#[test]
fn among_random_rules_of_every_kind_what_we_stage_is_what_ufw_writes() {
    let mut random = Random::seeded("staging");
    // Nor does it have ufw load the files anew meanwhile: that takes a rule out of them for a moment.
    let world = World::with("reconcile-every = \"1d\"", "ufw allow 22/tcp");
    let profile = "[Odd App]\ntitle=a\ndescription=b\nports=80,443/tcp|53\n";
    let folder = world.inside("/etc/ufw/applications.d");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("odd"), profile).unwrap();
    let mut operator = Peer::operator(&world);
    let (mut taken, mut refused, mut blocked) = (0, Vec::new(), 0);
    for number in 0..times(200) {
        let rule = rule(&mut random);
        until("a look would be seen", 5, || Timestamp::now().as_second() > verified_at(&world));
        let (now, before) = (Timestamp::now().as_second(), files(&world));
        let done = world.server.run(&["sh", "-c", &format!("ufw {rule}")]);
        if done.status.success() {
            taken += 1;
        } else {
            refused.push((rule.clone(), String::from_utf8_lossy(&done.stderr).into_owned()));
        }
        // What has to move to the front again moves with that look.
        let changed = files(&world) != before;
        until("it was looked at", 20, || !changed || verified_at(&world) >= now);
        let wanted = target(&mut random);
        // Not from elsewhere: some of these rules let nobody in.
        let Reply::Block(verdicts) = operator.ask(block(&[&wanted])) else { panic!("{wanted}") };
        let outcome = &verdicts[0].outcome;
        let is_blocked = matches!(outcome, Outcome::Blocked(_) | Outcome::AlreadyBlocked(_));
        assert!(is_blocked || matches!(outcome, Outcome::Refused(_)), "{wanted}: {outcome:?}");
        blocked += u64::from(is_blocked);
        unchanged_by_ufw(&world, &format!("ufw {rule}, and a block of {wanted}"));
        if number % 3 == 2 {
            let gone = listed_targets(&world).into_iter().next().unwrap();
            let (text, code) = world.ctl(&["unblock", &gone]);
            assert_eq!(code, 0, "{text}");
            unchanged_by_ufw(&world, &format!("ufw {rule}, and a lift of {gone}"));
        }
    }
    assert!(taken > refused.len(), "ufw took only {taken}: {refused:#?}");
    assert!(2 * blocked > times(200), "only {blocked} were blocked");
    let standing = Standing::now(&world);
    assert_eq!(listed(&world).into_iter().find_map(|one| standing.lacks(one)), None);
    // Networks, too.
    assert_eq!(standing.blocks(), listed_targets(&world).len());
    standing.assert_administrator_is_let_in("afterwards");
}

/// ufw reads both files and writes them again with a rule more, and then with one less.
fn unchanged_by_ufw(world: &World, after: &str) {
    let staged = files(world);
    world.ufw("allow 4/udp");
    world.ufw("delete allow 4/udp");
    for (staged, written) in staged.iter().zip(files(world)) {
        let only = |these: &str, others: &str| {
            let lines = these.lines().filter(|line| !others.lines().any(|other| other == *line));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let (gone, come) = (only(staged, &written), only(&written, staged));
        assert_eq!((gone, come), (vec![], vec![]), "after {after}");
        assert!(
            *staged == written,
            "after {after}: other places\n{staged}\nwas written as\n{written}"
        );
    }
}

fn files(world: &World) -> [String; 2] {
    ["ufw/user.rules", "ufw/user6.rules"].map(|name| world.read(name))
}

/// When webhook-privd last looked at all blocks, in seconds since the Unix epoch.
fn verified_at(world: &World) -> i64 {
    let time: Timestamp =
        world.ctl_json("status")["verified_at"].as_str().unwrap().parse().unwrap();
    time.as_second()
}

fn listed_targets(world: &World) -> Vec<String> {
    let list = world.ctl_json("list");
    let rows = list.as_array().unwrap();
    rows.iter().map(|row| row["target"].as_str().unwrap().to_owned()).collect()
}

/// An address or a network of either family.
fn target(random: &mut Random) -> String {
    let octet = random.from(0..256);
    match random.from(0..4) {
        0 => format!("198.51.{octet}.{}", random.from(0..256)),
        1 => format!("198.18.{octet}.0/24"),
        2 => format!("2001:db8:{octet:x}::{:x}", random.from(1..9)),
        _ => format!("2001:db8:{octet:x}:{:x}::/64", random.from(0..9)),
    }
}

/// A command of ufw's that makes a rule.
fn rule(random: &mut Random) -> String {
    let mut one = |choices: &[&str]| {
        choices[usize::try_from(random.from(0..choices.len() as u64)).unwrap()].to_owned()
    };
    let place = one(&["", "prepend ", "insert 1 ", "insert 2 "]);
    let action = one(&["allow", "deny", "reject", "limit"]);
    let words = match one(&["simple", "application", "routed", "whole", "ports"]).as_str() {
        "simple" => format!("{action} {}", one(&["80", "443/tcp", "53/udp", "1000:2000/tcp"])),
        "application" => format!("{action} from any to any app 'Odd App'"),
        "routed" => {
            let out = one(&["in on wan0 out on lan0", "in on wan0", "out on lan0"]);
            let action = one(&["allow", "deny", "reject"]);
            return format!("route {action} {out} from 192.0.2.0/24 comment 'routed, é \"'");
        }
        "whole" => {
            let way = one(&["in ", "out ", "", "in on wan0 ", "out on lan0 "]);
            let log = one(&["", "log ", "log-all "]);
            let log = if action == "limit" { String::new() } else { log };
            let from = one(&["192.0.2.0/24", "192.0.2.77", "2001:db8:ffff::/48", "any"]);
            format!("{action} {way}{log}from {from}")
        }
        _ => {
            let protocol = one(&["tcp", "udp"]);
            let port = one(&["2222", "80,443", "6000:6007", "53"]);
            let from = one(&["192.0.2.0/24", "any", "2001:db8:ffff::1"]);
            let comment =
                one(&["", " comment 'kept: 100 %'", " comment webhookd:no", " comment -A"]);
            format!("{action} proto {protocol} from {from} to any port {port}{comment}")
        }
    };
    format!("{place}{words}")
}
