//! privd and ufw are killed at any moment, files are damaged: what was acknowledged comes back, and
//! the administrator's rules were never away.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::processes::{child_of, descendants, ended, signal, waits_for_a_lock};
use tests::random::times;
use tests::standing::Lock;
use tests::stream::listed;
use tests::world::{ATTACKER, ATTACKER6, SERVER, SERVER6};
use tests::{Engine, Random, Standing, Stream, World, until};

/// Looks every second, and no quota.
const BUSY: &str =
    "reconcile-every = \"1s\"\nmax-new-blocks-per-minute = 100000\nmax-blocks = 100000";

#[test]
fn kills_of_privd_at_random_moments_lose_no_acknowledged_block() {
    let mut random = Random::seeded("kills of privd");
    let mut world = World::with(BUSY, "ufw allow 22/tcp");
    let stream = Stream::begin(&world);
    let mut slowest = Duration::ZERO;
    for number in 0..times(200) {
        let when = format!("after kill {number}");
        let privd = world.daemons().0;
        let ufw = match random.from(0..4) {
            0 => {
                random.pause(600);
                None
            }
            // Nothing is started for a change: any moment is in the middle of one.
            _ if world.engine == Engine::Nftables => {
                random.pause(60);
                None
            }
            // While it looks, or while rules go into the kernel without ufw.
            1 => {
                let _ = child_of(privd, ["iptables", "ip6tables"][usize::from(number % 2 == 0)]);
                random.pause(30);
                None
            }
            // While its ufw reads, writes, or loads.
            _ => {
                let ufw = child_of(privd, "ufw");
                random.pause(250);
                Some(ufw)
            }
        };
        world.stop_privd(Signal::SIGKILL);
        match random.from(0..4) {
            // Killed again before it is ready.
            0 => {
                let config = world.path("privd.toml");
                let program = ["/mnt/webhook-privd", "--config", &config];
                let mut privd = world.spawn("privd.log", &program);
                random.pause(60);
                privd.kill().unwrap();
                privd.wait().unwrap();
            }
            1 => ufw.into_iter().for_each(ended),
            // At once, beside the ufw that lives on.
            _ => {}
        }
        world.start_privd_again();
        Standing::now(&world).assert_administrator_is_let_in(&when);
        slowest = slowest.max(stream.settled(&world, &when));
        stream.flows();
    }
    let book = stream.end(&world);
    assert!(book.acknowledged.len() > 20 && !book.lifted.is_empty(), "{book:?}");
    eprintln!("kills of privd: in force after at most {slowest:?}; {}", book.summary());
}

#[test]
fn a_ledger_that_was_damaged_in_any_way_loses_no_block() {
    let mut random = Random::seeded("damaged ledgers");
    let mut world = World::with("max-new-blocks-per-minute = 100000", "ufw allow 22/tcp");
    let mut made = 0;
    let mut block = |world: &World, how_many: u16| {
        let ips: Vec<IpAddr> = (made..made + how_many).map(numbered).collect();
        made += how_many;
        assert_eq!(world.post(&json!({ "ips": ips })).status, 200, "{}", world.logs());
        ips
    };
    let mut blocks = BTreeSet::from_iter(block(&world, 60));
    let mut kinds: Vec<(String, Damage)> = vec![
        ("garbage".into(), Box::new(|file| file.fill(b'x'))),
        ("a short text".into(), Box::new(|file| *file = b"not a ledger".to_vec())),
        ("zeros".into(), Box::new(|file| file.fill(0))),
        ("empty".into(), Box::new(Vec::clear)),
    ];
    for part in 1..8 {
        let cut: Damage = Box::new(move |file| file.truncate(file.len() * part / 8));
        kinds.push((format!("cut to {part}/8"), cut));
    }
    for _ in 0..times(200) {
        let (at, length) = (random.from(0..1 << 40), random.from(0..3));
        let at = usize::try_from(at).unwrap();
        let length = [1, 64, 4096][usize::try_from(length).unwrap()];
        let value = u8::try_from(random.from(0..256)).unwrap();
        // Most of the file is empty.
        let hole: Damage = Box::new(move |file| {
            let used: Vec<usize> = (0..file.len()).filter(|at| file[*at] != 0).collect();
            let (from, end) = (used[at % used.len()], file.len());
            file[from..end.min(from + length)].fill(value);
        });
        kinds.push((format!("{length} bytes of {value} at {at}"), hole));
    }
    for (kind, damage) in kinds {
        // The last commit is the one that a crash damages.
        blocks.extend(block(&world, 1));
        world.stop_privd(Signal::SIGKILL);
        let path = world.path("state/ledger.redb");
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, &bytes).unwrap();
        let crashes = world.start_privd_again();
        let log = world.read("privd.log");
        let list = listed(&world);
        let lost: Vec<&IpAddr> = blocks.difference(&list).collect();
        // The kill may have met a run of ufw's for what goes, which takes a rule out and puts it back.
        until(&format!("all is in force: {kind}, after {crashes} crashes"), 10, || {
            let standing = Standing::now(&world);
            list.iter().all(|block| standing.lacks(*block).is_none())
        });
        let kept = fs::read_dir(world.path("state")).unwrap().map(|entry| entry.unwrap().path());
        let kept: Vec<_> =
            kept.filter(|path| path.to_string_lossy().contains("ledger.damaged-")).collect();
        let said = log.contains("the ledger is set aside") && log.contains("ledger.damaged-");
        assert_eq!(said, kept.len() == 1, "{kind}: {log}");
        for file in kept {
            // redb has tried to mend its header.
            assert_eq!(fs::read(&file).unwrap().get(320..), bytes.get(320..), "{kind}");
            fs::remove_file(file).unwrap();
        }
        // Where the pages of the last commit are unreadable redb goes back to the one before it, and
        // says nothing: then the rules of that one block are nobody's.
        let silent = usize::from(!said && kind.contains(" bytes of "));
        assert!(lost.len() <= silent, "{kind}, {crashes} crashes, lost {lost:?}: {log}");
        let how = if said { "set aside" } else { "read" };
        eprintln!("{kind}: {crashes} crashes, {how}, lost {lost:?}");
        blocks = list;
    }
}

#[test]
fn a_second_daemon_that_cannot_have_the_ledger_never_sets_it_aside() {
    let world = World::new();
    world.block(ATTACKER);
    let config = world.read("privd.toml");
    world.write("second.toml", &format!("socket = \"/run/webhook-privd/second.sock\"\n{config}"));
    let config = world.path("second.toml");
    let program = ["timeout", "5", "/mnt/webhook-privd", "--config", &config];
    for _ in 0..6 {
        let output = world.confined.command(&program).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("ledger.redb cannot be used"), "{text}");
    }
    let state = fs::read_dir(world.path("state")).unwrap().map(|entry| entry.unwrap().file_name());
    let state: Vec<_> = state.collect();
    assert!(!state.iter().any(|name| name.to_string_lossy().contains("damaged")), "{state:?}");
}

#[test]
fn a_temporary_block_ends_in_time_although_its_ledger_was_lost() {
    let mut world = World::with(BUSY, "ufw allow 22/tcp");
    world.block("198.51.100.1");
    let alert = json!({ "ips": [ATTACKER, ATTACKER6], "duration": "6s" });
    assert_eq!(world.post(&alert).status, 200);
    let before = world.ctl_json("list");
    world.stop_privd(Signal::SIGKILL);
    fs::write(world.path("state/ledger.redb"), "not a ledger").unwrap();
    world.start_privd();
    let after = world.ctl_json("list");
    for (before, after) in before.as_array().unwrap().iter().zip(after.as_array().unwrap()) {
        assert_eq!(before["target"], after["target"]);
        let end = |row: &Value| row["until"].as_str().and_then(|end| end.parse::<Timestamp>().ok());
        match (end(before), end(after)) {
            (Some(before), Some(after)) => {
                // A rule's comment tells the second, the kernel's table what is left of the time.
                let moved = (before.as_second() - after.as_second()).abs();
                assert!(moved <= i64::from(world.engine == Engine::Nftables), "{moved} s");
            }
            ends => assert_eq!(ends, (None, None), "{before} {after}"),
        }
    }
    assert!(!world.attacker_connects(SERVER) && !world.attacker_connects(SERVER6));
    until("both have ended", 15, || {
        world.attacker_connects(SERVER) && world.attacker_connects(SERVER6)
    });
    until("the list shows it", 5, || listed(&world) == ["198.51.100.1".parse().unwrap()].into());
    assert_eq!(Standing::now(&world).lacks("198.51.100.1".parse().unwrap()), None);
}

/// One of many addresses.
fn numbered(number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    IpAddr::from([198, 18, high, low])
}

/// What is left of a text.
type Cut = Box<dyn Fn(&str) -> String>;

/// Changes a file's bytes.
type Damage = Box<dyn Fn(&mut Vec<u8>)>;

/// `--recover` as its unit runs it at boot.
fn recover(world: &World) -> (String, i32) {
    let config = world.path("privd.toml");
    let output = world.confined.run(&["/mnt/webhook-privd", "--recover", "--config", &config]);
    (String::from_utf8(output.stderr).unwrap(), output.status.code().unwrap())
}

/// What a crash in the middle of a write leaves of a file like this one: nothing, a beginning up to
/// any place, blocks that were never written.
fn damages(like: &str) -> Vec<Cut> {
    let mut all: Vec<Cut> = vec![
        Box::new(|_| String::new()),
        Box::new(|whole| "\0".repeat(whole.len())),
        Box::new(|whole| format!("{}{}", &whole[..512], "\0".repeat(whole.len() - 512))),
        Box::new(|whole| format!("{}{}", "\0".repeat(512), &whole[512..])),
        Box::new(|whole| format!("{}{}{}", &whole[..512], "\0".repeat(512), &whole[1024..])),
        Box::new(|whole| whole[512..].to_owned()),
    ];
    // Within each line, at its end, and within the last word. A COMMIT without an end of line loads.
    let ends = like.match_indices('\n').map(|(at, _)| at);
    let places = ends.flat_map(|end| [end.saturating_sub(2), end + 1]);
    let places = places.chain(like.len() - 8..like.len() - 1).filter(|at| *at < like.len() - 1);
    for back in places.map(|at| like.len() - at) {
        all.push(Box::new(move |whole| whole[..whole.len().saturating_sub(back)].to_owned()));
    }
    all
}

/// On the server's disk.
const FILES: [&str; 2] = ["ufw/user.rules", "ufw/user6.rules"];

/// What is so with ufw alone.
mod ufw {
    use super::*;

    #[test]
    fn kills_of_ufw_and_iptables_at_random_moments_lose_no_acknowledged_block() {
        let mut random = Random::seeded("kills of ufw");
        let world = World::with(BUSY, "ufw allow 22/tcp");
        let stream = Stream::begin(&world);
        let privd = world.daemons().0;
        let (mut slowest, mut strays) = (Duration::ZERO, 0);
        for number in 0..times(100) {
            let when = format!("after kill {number}");
            let victims = if random.from(0..4) == 0 {
                vec![child_of(privd, "ip")]
            } else {
                let ufw = child_of(privd, "ufw");
                random.pause(250);
                let below = descendants(ufw);
                match random.from(0..3) {
                    0 => vec![ufw],
                    1 => below,
                    _ => [vec![ufw], below].concat(),
                }
            };
            victims.into_iter().for_each(|pid| signal(pid, Signal::SIGKILL));
            strays += Standing::unlocked(&world).strays().len();
            slowest = slowest.max(stream.settled(&world, &when));
            Standing::now(&world).assert_administrator_is_let_in(&when);
        }
        let book = stream.end(&world);
        until("no stray chain is left", 15, || Standing::now(&world).strays().is_empty());
        assert!(book.acknowledged.len() > 10, "{book:?}");
        eprintln!(
            "kills of ufw: in force after at most {slowest:?}; {strays} strays; {}",
            book.summary()
        );
    }

    #[test]
    fn a_rule_that_is_added_beside_the_ufw_of_a_killed_privd_is_not_erased() {
        let mut world = World::new();
        let privd = world.daemons().0;
        let (ufw, held) = std::thread::scope(|scope| {
            // So many that ufw itself puts them in.
            let many: Vec<String> = (1..100).map(|n| format!("198.51.100.{n}")).collect();
            let (world, many) = (&world, json!({ "ips": many }));
            scope.spawn(move || world.post(&many));
            let ufw = child_of(privd, "ufw");
            // It reads the rules and then waits for its lock: so long it has read and not yet written.
            let held = Lock::of_privds_ufw(world);
            waits_for_a_lock(ufw);
            signal(privd, Signal::SIGKILL);
            (ufw, held)
        });
        world.stop_privd(Signal::SIGKILL);
        let mut foreign = world.server.command(&["ufw", "allow", "8080/tcp"]).spawn().unwrap();
        // Either it is done at once, or it waits for the one that was there first.
        let patience = Instant::now() + Duration::from_secs(2);
        while Instant::now() < patience && foreign.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(held);
        assert!(foreign.wait().unwrap().success());
        ended(ufw);
        world.start_privd();
        let standing = Standing::now(&world);
        standing.assert_administrator_is_let_in("afterwards");
        assert!(
            standing.files[0].contains("### tuple ### allow tcp 8080 "),
            "{}",
            standing.files[0]
        );
    }

    #[test]
    fn recover_restores_a_file_that_was_cut_anywhere_and_the_boot_loads_it() {
        let mut world = World::new();
        world.block(ATTACKER);
        world.block(ATTACKER6);
        world.stop_privd(Signal::SIGTERM);
        let whole = FILES.map(|name| world.read(name));
        // A boot finds no rule in the kernel.
        for program in ["iptables", "ip6tables"] {
            world.server.sh(&format!("{program} -P INPUT ACCEPT; {program} -F; {program} -X"));
        }
        let mut tried = 0;
        for damage in damages(&whole[0]) {
            for (name, whole) in FILES.iter().zip(&whole) {
                world.write(name, &damage(whole));
            }
            let (text, code) = recover(&world);
            assert_eq!(
                (code, text.matches("restored from the verified copy").count()),
                (0, 2),
                "{text}"
            );
            assert_eq!(FILES.map(|name| world.read(name)), whole, "{text}");
            tried += 1;
        }
        assert!(tried > 60, "{tried}");
        world.server.sh("/lib/ufw/ufw-init start");
        Standing::now(&world).assert_administrator_is_let_in("after the boot");
        assert!(!world.attacker_connects(SERVER) && !world.attacker_connects(SERVER6));
    }

    #[test]
    fn recover_says_that_a_file_is_missing() {
        let mut world = World::new();
        world.stop_privd(Signal::SIGTERM);
        for name in FILES {
            fs::rename(world.path(name), world.path("gone")).unwrap();
            let (text, code) = recover(&world);
            fs::rename(world.path("gone"), world.path(name)).unwrap();
            assert_ne!(code, 0, "{text}");
            let said = format!("damaged, and not restored, file: /etc/{name}, why: No such file");
            assert!(text.contains(&said), "{text}");
        }
    }

    #[test]
    fn recover_needs_neither_the_account_nor_a_configuration_without_mistakes() {
        let mut world = World::new();
        world.stop_privd(Signal::SIGTERM);
        let whole = FILES.map(|name| world.read(name));
        let config = world.read("privd.toml");
        // Where the copies are unless a configuration says otherwise.
        let state = world.path("state");
        world.confined.sh(&format!(
            "mount -t tmpfs tmpfs /var/lib
         mkdir /var/lib/webhook-privd; mount --bind {state} /var/lib/webhook-privd"
        ));
        for wrong in [
            format!("frontend-user = \"nobody-of-that-name\"\n{config}"),
            format!("reconcile-evry = \"1s\"\n{config}"),
            "ledger = \n".to_owned(),
        ] {
            world.write("privd.toml", &wrong);
            for name in FILES {
                world.write(name, "");
            }
            let (text, code) = recover(&world);
            assert_eq!(FILES.map(|name| world.read(name)), whole, "{wrong}: {text}");
            assert_eq!(code, 0, "{wrong}: {text}");
        }
    }

    #[test]
    fn recover_leaves_whole_files_alone_and_says_where_it_has_no_copy() {
        let mut world = World::new();
        world.block(ATTACKER);
        world.stop_privd(Signal::SIGTERM);
        let identity = |name| {
            let found = fs::metadata(world.path(name)).unwrap();
            (found.ino(), found.mtime_nsec(), found.ctime_nsec())
        };
        // Everything that the copy has and the administrator has not.
        world.ufw("delete deny from 203.0.113.7; ufw allow 8080/tcp; ufw delete allow 22/tcp");
        let (text, before) = (FILES.map(|name| world.read(name)), FILES.map(identity));
        assert_eq!(recover(&world).1, 0);
        assert_eq!((FILES.map(|name| world.read(name)), FILES.map(identity)), (text, before));

        let cut = &world.read(FILES[0])[..600];
        for copy in [None, Some(""), Some("*filter\n")] {
            let path = world.path("state/user.rules");
            match copy {
                None => fs::remove_file(path).unwrap(),
                Some(text) => fs::write(path, text).unwrap(),
            }
            world.write(FILES[0], cut);
            let (text, code) = recover(&world);
            assert_ne!(code, 0, "{text}");
            assert!(
                text.contains("damaged, and not restored") && text.contains("user.rules"),
                "{text}"
            );
            assert_eq!(world.read(FILES[0]), cut, "not made worse");
        }
    }
}
