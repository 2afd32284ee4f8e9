//! One source that does every abuse, one after another.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::alerts::FOR_GOOD;
use super::scene::Scene;
use crate::abuse::{
    BadTokens, Body, BodyAtTheCap, Garbage, HalfClosed, Handshakes, SlowBodies, SlowConnections,
    Upgrade,
};
use crate::{Abuse, Door, Random};

/// An abuse's name, and how it begins.
type Kind = (&'static str, fn() -> Box<dyn Abuse>);

/// How many rounds of which that reached webhookd with a connection of their own.
pub type Rounds = BTreeMap<&'static str, usize>;

/// Does all of them in an order from the seed, each for `turn`, and then in another.
pub fn attack(
    source: &'static str,
    door: &Door,
    turn: Duration,
    stop: &AtomicBool,
    scene: &Scene,
) -> Rounds {
    let mut random = Random::seeded(source);
    let mut rounds = Rounds::new();
    let mut left = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        if left.is_empty() {
            left = KINDS.to_vec();
        }
        let next = usize::try_from(random.from(0..left.len() as u64)).unwrap();
        let (name, begin) = left.swap_remove(next);
        scene.attacks(source, name);
        let (mut abuse, began) = (begin(), Instant::now());
        while began.elapsed() < turn && !stop.load(Ordering::Relaxed) {
            let (round, opened) = (Instant::now(), door.opened());
            abuse.round(door);
            *rounds.entry(name).or_default() += usize::from(door.opened() > opened);
            // The daemons are to be measured, and not a processor without time for them: a source is
            // at work a quarter of the time.
            let rest = 50 + 6 * u64::try_from(round.elapsed().as_millis()).unwrap();
            // A long round does not take the time of the other kinds.
            random.pause(rest.min(u64::try_from(turn.as_millis()).unwrap()));
        }
    }
    rounds
}

/// Every one there is.
pub const KINDS: [Kind; 12] = [
    ("slow connections", || Box::new(SlowConnections::new())),
    ("handshakes", || Box::new(Handshakes::new())),
    ("bad tokens", || Box::new(BadTokens::default())),
    ("a body of blanks", || Box::new(BodyAtTheCap::new(FOR_GOOD, Body::Blanks))),
    ("a body of texts", || Box::new(BodyAtTheCap::new(FOR_GOOD, Body::Texts))),
    ("a body of numbers", || Box::new(BodyAtTheCap::new(FOR_GOOD, Body::Numbers))),
    ("a body of objects", || Box::new(BodyAtTheCap::new(FOR_GOOD, Body::Objects))),
    ("bodies as upgrades", || Box::new(Upgrade::new())),
    ("slow bodies", || Box::new(SlowBodies::default())),
    ("garbage", || Box::new(Garbage::new(false))),
    ("garbage in TLS", || Box::new(Garbage::new(true))),
    ("half-closed sockets", || Box::new(HalfClosed::default())),
];
