//! The same at the same time: one target on all connections, and networks that lie in each other.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use protocol::{Outcome, Reply};
use tests::Random;
use tests::frames::block_of;

use crate::raid::{Raid, any_address, around};

pub fn run(raid: &Raid) {
    let line = Barrier::new(PREFIXES.len());
    let (goes_on, blocked) = (AtomicBool::new(true), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for prefix in PREFIXES {
            let (line, goes_on, blocked) = (&line, &goes_on, &blocked);
            scope.spawn(move || {
                let mut peer = raid.served();
                // All have the same numbers.
                let mut random = Random::from_seed(raid.seed);
                loop {
                    if line.wait().is_leader() {
                        goes_on.store(raid.goes_on(), Ordering::Relaxed);
                        blocked.store(0, Ordering::Relaxed);
                    }
                    line.wait();
                    if !goes_on.load(Ordering::Relaxed) {
                        return;
                    }
                    let (host, same) = (any_address(&mut random), random.from(0..2) == 0);
                    let target = if same { host } else { around(host, prefix) };
                    let reply = peer.ask(block_of(vec![target]));
                    raid.judge(&reply, &[target]);
                    let Reply::Block(verdicts) = reply else { panic!("{reply:?}") };
                    let is_new = matches!(verdicts[0].outcome, Outcome::Blocked(_));
                    blocked.fetch_add(usize::from(is_new), Ordering::Relaxed);
                    line.wait();
                    let times = blocked.load(Ordering::Relaxed);
                    assert!(!same || times <= 1, "{host} was newly blocked {times} times");
                }
            });
        }
    });
}

const PREFIXES: [u8; 8] = [24, 25, 26, 27, 28, 30, 31, 32];
