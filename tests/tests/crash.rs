//! privd and ufw are killed at any moment, files are damaged: what was acknowledged comes back, and
//! the administrator's rules were never away.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;
use tests::processes::{child_of, descendants, ended, signal, waits_for_a_lock};
use tests::random::times;
use tests::standing::Lock;
use tests::{Random, Standing, Stream, World, until};

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
        let ufw = if random.from(0..4) == 0 {
            random.pause(600);
            None
        } else {
            // In a batch: while its ufw reads, writes, or loads.
            let ufw = child_of(privd, "ufw");
            random.pause(250);
            Some(ufw)
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
        world.start_privd();
        Standing::now(&world).assert_administrator_is_let_in(&when);
        slowest = slowest.max(stream.settled(&world, &when));
        stream.flows();
    }
    let book = stream.end(&world);
    assert!(book.acknowledged.len() > 20 && !book.lifted.is_empty(), "{book:?}");
    eprintln!("kills of privd: in force after at most {slowest:?}; {}", book.summary());
}

#[test]
fn kills_of_ufw_at_random_moments_lose_no_acknowledged_block() {
    let mut random = Random::seeded("kills of ufw");
    let world = World::with(BUSY, "ufw allow 22/tcp");
    let stream = Stream::begin(&world);
    let privd = world.daemons().0;
    let (mut slowest, mut strays) = (Duration::ZERO, 0);
    for number in 0..times(100) {
        let when = format!("after kill {number}");
        let ufw = child_of(privd, "ufw");
        random.pause(250);
        let below = descendants(ufw);
        let victims = match random.from(0..3) {
            0 => vec![ufw],
            1 => below,
            _ => [vec![ufw], below].concat(),
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
    // ufw reads the rules and then waits for its lock: so long it has read and not yet written.
    let held = Lock::of_privds_ufw(&world);
    let ufw = std::thread::scope(|scope| {
        scope.spawn(|| world.post(&json!({ "ip": "198.51.100.1" })));
        let ufw = child_of(world.daemons().0, "ufw");
        waits_for_a_lock(ufw);
        signal(world.daemons().0, Signal::SIGKILL);
        ufw
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
    assert!(standing.files[0].contains("### tuple ### allow tcp 8080 "), "{}", standing.files[0]);
}
