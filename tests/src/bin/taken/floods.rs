//! More good requests than anybody can need, on all connections at once.

use std::collections::HashMap;

use protocol::{MAX_TARGETS, Reply, Request, Target, Text};
use tests::frames::{block_of, encoded};
use tests::{Peer, Random};

use crate::raid::{Raid, address, any_address, loopback};

/// As many as privd serves of one account.
pub const CONNECTIONS: u8 = 16;

/// Requests for one target or none, as many as may be in flight.
pub fn small(raid: &Raid) {
    raid.each(
        CONNECTIONS,
        |_| raid.served(),
        |peer, random| {
            let mut asked = HashMap::new();
            let mut bytes = Vec::new();
            for _ in 0..300 {
                let (id, target) = (random.from(0..u64::MAX), small_target(random));
                let request = target.map_or(Request::Status, |target| block_of(vec![target]));
                if asked.insert(id, target).is_none() {
                    bytes.extend(encoded(id, request));
                }
            }
            peer.send(&bytes);
            while !asked.is_empty() {
                let frame = peer.read();
                match asked.remove(&frame.id).expect("a reply to what was not asked") {
                    Some(target) => raid.judge(&frame.reply, &[target]),
                    None => assert!(matches!(frame.reply, Reply::Status(_)), "{frame:?}"),
                }
            }
            raid.note("rounds", 1);
        },
    );
}

/// A status; one of few addresses, which are soon blocked; a new one; one that is refused.
fn small_target(random: &mut Random) -> Option<Target> {
    match random.from(0..5) {
        0 => None,
        1 | 2 => Some(address(u32::try_from(random.from(0..50)).unwrap())),
        3 => Some(any_address(random)),
        _ => Some(loopback(7)),
    }
}

/// The largest requests there are, with the longest texts, each four times as many as are worked on.
pub fn large(raid: &Raid) {
    raid.each(
        CONNECTIONS,
        |_| raid.served(),
        |peer, random| {
            let lists = [0; 8].map(|_| large_targets(random));
            lists.iter().zip(0..).for_each(|(targets, id)| {
                peer.send(&encoded(id, with_long_texts(block_of(targets.clone()))));
            });
            take_all(raid, peer, &lists);
            raid.note("rounds", 1);
        },
    );
}

fn take_all(raid: &Raid, peer: &mut Peer, lists: &[Vec<Target>]) {
    for _ in lists {
        let frame = peer.read();
        raid.judge(&frame.reply, &lists[usize::try_from(frame.id).unwrap()]);
    }
}

/// New ones; one over and over; refused ones. A list that is a little shorter is told of otherwise.
fn large_targets(random: &mut Random) -> Vec<Target> {
    let many = [MAX_TARGETS, MAX_TARGETS, 1_001, 1_000];
    let many = many[usize::try_from(random.from(0..4)).unwrap()];
    let first = u32::try_from(random.from(0..1 << 17)).unwrap();
    let numbers = first..first + u32::try_from(many).unwrap();
    match random.from(0..3) {
        0 => numbers.map(address).collect(),
        1 => vec![address(first); many],
        _ => numbers.map(loopback).collect(),
    }
}

/// Each character of them takes several in a log.
pub fn with_long_texts(request: Request) -> Request {
    let Request::Block(mut block) = request else { return request };
    let text = Text::truncated(&"\u{1b}".repeat(Text::MAX_BYTES));
    (block.reason, block.rule_name, block.alert_id) = (text.clone(), text.clone(), text);
    Request::Block(block)
}
