//! What a host can do to webhook-privd, one thing alone and many in an order that a seed brings back: it
//! says what is wrong, and afterwards holds all that was acknowledged.

use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;
use tests::faults::{LASTS, breakable, set_clock, starve};
use tests::processes::{descriptors, runs};
use tests::random::times;
use tests::stream::listed;
use tests::{Engine, Fault, Random, Standing, Stream, World, until};

/// Looks every second, and no quota.
const BUSY: &str =
    "reconcile-every = \"1s\"\nmax-new-blocks-per-minute = 100000\nmax-blocks = 100000";
const BEFORE: &str = "198.51.100.1";
const MEANWHILE: &str = "198.51.100.2";

#[test]
fn faults_in_random_order_lose_no_acknowledged_block() {
    let mut random = Random::seeded("faults");
    let mut world = breakable(BUSY);
    let kinds = Fault::all(world.engine);
    let stream = Stream::paced(&world, Duration::from_millis(30));
    let before = descriptors(world.privd_pid()).unwrap();
    let (mut slowest, mut ended) = (Duration::ZERO, 0);
    let (mut killing, mut killed) = (0, 0);
    for number in 0..times(200) {
        let mut one = || kinds[usize::try_from(random.from(0..kinds.len() as u64)).unwrap()];
        let (first, second) = (one(), one());
        let when = format!("round {number}, {first:?}");
        let mut begun = vec![first.begin(&world, &mut random)];
        // Another one on top of it, half of the time.
        let on_top = (second != first && random.from(0..2) == 0).then_some(second);
        let when = on_top.map_or_else(|| when.clone(), |second| format!("{when} and {second:?}"));
        begun.extend(on_top.map(|second| second.begin(&world, &mut random)));
        killing += usize::from(when.contains("KilledPrograms"));
        killed += begun.iter().map(|one| one.killed).sum::<usize>();
        random.pause(LASTS.as_millis().try_into().unwrap());
        begun.into_iter().for_each(|one| one.mend(&world));
        ended += usize::from(world.revive_privd());
        slowest = slowest.max(stream.settled(&world, &when));
        Standing::now(&world).assert_administrator_is_let_in(&when);
        stream.pauses(&world, &when);
        stream.flows();
    }
    let book = stream.end(&world);
    until("its descriptors are closed", 20, || {
        descriptors(world.privd_pid()).unwrap() <= before + TO_WEBHOOKD
    });
    // nftables needs no program for a block, ufw four.
    assert!(world.engine == Engine::Nftables || killing < 2 || killed > 0, "nothing was killed");
    assert!(book.acknowledged.len() > 20, "{book:?}");
    eprintln!(
        "faults: in force after at most {slowest:?}, started again {ended} times, {killed} programs killed; {}",
        book.summary()
    );
}

#[test]
fn without_a_free_descriptor_it_says_so_and_works_again_once_there_are_some() {
    while_it_lasts(Fault::NoDescriptors, |world| {
        // The first one has a descriptor already: accept(2) takes it before it waits.
        let _waiting = [(); 3].map(|()| UnixStream::connect(world.socket()).unwrap());
        let said = |words: &[&str]| world.lines("privd.log", words).len();
        until("it is said, and that it is said once a second", 10, || {
            said(&["connection not served", "Too many open files", "suppressed: "]) > 0
        });
        assert!(said(&["connection not served"]) <= 10, "{}", world.logs());
    });
}

/// Some is left in its heap: it may end at once, or turn away what it has no room for, or go on.
#[test]
fn with_next_to_no_memory_it_goes_on_or_is_started_again_and_has_everything() {
    while_it_lasts(Fault::NoMemory, |world| {
        let many: Vec<String> =
            (0..10_000).map(|n| format!("127.0.{}.{}", n / 250, n % 250)).collect();
        let mut less = (0..8_u64).rev().map(|mib| mib << 20);
        // All of these are refused where there is room for them.
        until("there is no room for a request", 30, || {
            let harmed = world.post(&json!({ "ips": many })).status != 422;
            starve(world, less.next().unwrap_or(0));
            harmed || !runs(world.daemons().0)
        });
    });
}

#[test]
fn where_every_program_is_gone_it_names_the_first() {
    while_it_lasts(Fault::MissingPrograms, |world| {
        let (status, words) = asked(world);
        if world.engine == Engine::Nftables {
            assert_eq!(status, 200, "it needs none: {words}");
        } else {
            assert_eq!(status, 503, "{words}");
            assert!(words.contains("/usr/sbin/") && words.contains("No such file"), "{words}");
        }
    });
}

#[test]
fn however_the_clock_is_set_a_block_lasts_as_long_as_it_was_said() {
    let world = breakable("reconcile-every = \"1s\"");
    let terms = [("198.51.100.10", "8s"), ("198.51.100.11", "1h"), ("2001:db8:9::1", "1h")];
    let began = Instant::now();
    for (address, term) in terms {
        assert_eq!(world.post(&json!({ "ip": address, "duration": term })).status, 200);
    }
    world.block(BEFORE);
    let left = |world: &World, step: i64| -> Option<i64> {
        let list = world.ctl_json("list");
        let row = list.as_array()?.iter().find(|row| row["target"] == "198.51.100.11")?;
        let end: Timestamp = row["until"].as_str()?.parse().unwrap();
        Some(end.as_second() - (Timestamp::now().as_second() + step))
    };
    for step in [86_400, -86_400, 3650 * 86_400, -3650 * 86_400, -1, 0] {
        set_clock(&world, step);
        until("the end has moved along", 10, || {
            left(&world, step).is_some_and(|left| (3500..=3601).contains(&left))
        });
        let standing = Standing::now(&world);
        for address in ["198.51.100.11", "2001:db8:9::1", BEFORE] {
            assert_eq!(standing.lacks(address.parse().unwrap()), None, "{step} s off");
        }
        let short = listed(&world).contains(&"198.51.100.10".parse().unwrap());
        assert!(short || began.elapsed() > Duration::from_secs(7), "{step} s off: over too soon");
    }
    until("the short one is over", 20, || {
        !Standing::now(&world).names("198.51.100.10".parse().unwrap())
    });
    // Each time that it is set, a part of a second may be lost or won.
    assert!((7..=16).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

/// Breaks one thing, looks at it, mends it; whatever happened, what was blocked is, and more can be.
fn while_it_lasts(fault: Fault, look: impl FnOnce(&World)) -> World {
    let mut random = Random::seeded(&format!("{fault:?}"));
    let mut world = breakable("reconcile-every = \"1s\"");
    world.block(BEFORE);
    let privd = world.daemons().0;
    let begun = fault.begin(&world, &mut random);
    look(&world);
    begun.mend(&world);
    let ended = world.revive_privd();
    assert!(!ended || fault == Fault::NoMemory, "{fault:?} ended it\n{}", world.logs());
    until("another can be blocked", 20, || asked(&world).0 == 200);
    until("all is in force", 20, || {
        let standing = Standing::now(&world);
        let both: [IpAddr; 2] = [BEFORE, MEANWHILE].map(|one| one.parse().unwrap());
        both.iter().all(|one| standing.lacks(*one).is_none()) && listed(&world) == both.into()
    });
    Standing::now(&world).assert_administrator_is_let_in("afterwards");
    assert!(ended || world.daemons().0 == privd);
    world
}

/// Has an address blocked: the answer's status and words.
fn asked(world: &World) -> (u16, String) {
    let answer = world.post(&json!({ "ip": MEANWHILE }));
    (answer.status, answer.text)
}

/// Connections between the daemons that may have been opened meanwhile, and are kept.
const TO_WEBHOOKD: usize = 4;

/// What is so with ufw alone.
mod ufw {
    use super::*;

    #[test]
    fn where_ufws_files_become_read_only_it_ends_and_does_not_start_before_they_are_mended() {
        let mut world = breakable("reconcile-every = \"1s\"");
        world.block(BEFORE);
        let begun = Fault::ReadOnlyUfw.begin(&world, &mut Random::seeded("read-only"));
        // To be started again with another view, in which files that were replaced would be seen.
        assert_eq!(world.privd_ended(), Some(75));
        assert!(world.read("privd.log").contains("became read-only"), "{}", world.logs());
        let status = world.try_start_privd().expect("it does not start");
        assert_eq!(status.code(), Some(77));
        let log = world.read("privd.log");
        assert!(
            log.contains("/etc/ufw/user.rules") && log.contains("systemctl start webhook-privd"),
            "{log}"
        );
        let (status, words) = asked(&world);
        assert_eq!(status, 503, "{words}");
        let standing = Standing::unlocked(&world);
        assert_eq!(standing.lacks(BEFORE.parse().unwrap()), None, "it is in force all the same");
        begun.mend(&world);
        world.start_privd_again();
        until("another can be blocked", 20, || asked(&world).0 == 200);
        Standing::now(&world).assert_administrator_is_let_in("afterwards");
        assert_eq!(listed(&world), [BEFORE, MEANWHILE].map(|one| one.parse().unwrap()).into());
    }

    #[test]
    fn who_holds_ufws_lock_for_ever_is_told_of() {
        while_it_lasts(Fault::StuckLock, |world| {
            let (status, words) = asked(world);
            assert_eq!(status, 503, "{words}");
            assert!(words.contains("lock"), "{words}");
        });
    }
}
