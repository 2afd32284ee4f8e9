//! Bytes that are no frames: random ones, good frames with some bytes changed, cut ones, huge ones.

use std::io::Write;
use std::net::Shutdown;

use protocol::{
    FrameError, Message, Outcome, Reply, ReplyFrame, Request, RequestFrame, VERSION, Verdict, frame,
};
use tests::frames::{block_of, encoded, malformed};
use tests::{Peer, Random};

use crate::raid::{Raid, any_address};

pub fn garbage(raid: &Raid) {
    raid.each(
        6,
        |_| malformed(),
        |malformed, random| {
            let which = usize::try_from(random.from(0..malformed.len() as u64)).unwrap();
            let (what, bytes) = match random.from(0..6) {
                0 => ("random", random_bytes(random, 4096)),
                1 | 2 => ("mutated", mutated(random)),
                3 => ("cut", cut(random)),
                4 => ("huge", huge(random)),
                _ => ("malformed", malformed[which].1.clone()),
            };
            let mut peer = Peer::at(&raid.socket);
            // privd may have seen enough before all is sent.
            let _ = peer.stream.write_all(&bytes);
            let _ = peer.stream.shutdown(Shutdown::Write);
            raid.note(what, 1);
            let answered = judge(raid, &peer.rest());
            assert!(answered == 0 || what == "mutated", "{what} bytes were answered");
            raid.note("answered", answered);
        },
    );
}

/// How many whole replies these are; all are such as webhookd may get.
fn judge(raid: &Raid, mut bytes: &[u8]) -> usize {
    let mut replies = 0;
    // What was asked before may be answered after it.
    while !bytes.starts_with(&frame::version_notice()) {
        match frame::read::<ReplyFrame>(&mut bytes) {
            Ok(ReplyFrame { reply: Reply::Block(verdicts), .. }) => {
                let is_new = |one: &&Verdict| matches!(one.outcome, Outcome::Blocked(_));
                raid.note("blocked", verdicts.iter().filter(is_new).count());
                replies += 1;
            }
            Ok(ReplyFrame { reply: Reply::Status(_) | Reply::Forbidden | Reply::Busy, .. }) => {
                replies += 1;
            }
            Ok(frame) => panic!("mutated bytes are answered {frame:?}"),
            Err(FrameError::Closed) => break,
            Err(error) => panic!("no reply: {error}"),
        }
    }
    replies
}

fn good(random: &mut Random) -> Vec<u8> {
    let request = match random.from(0..3) {
        0 => Request::Status,
        1 => block_of(vec![any_address(random)]),
        _ => block_of((0..100).map(|_| any_address(random)).collect()),
    };
    encoded(random.from(0..u64::MAX), request)
}

/// A few bytes of one or two frames are other ones.
fn mutated(random: &mut Random) -> Vec<u8> {
    let mut bytes = [good(random), good(random)].concat();
    for _ in 0..=random.from(0..8) {
        // Most of the sense is at the front.
        let most = if random.from(0..2) == 0 { 60.min(bytes.len()) } else { bytes.len() };
        let at = usize::try_from(random.from(0..most as u64)).unwrap();
        bytes[at] = if random.from(0..2) == 0 { byte(random) } else { bytes[at] ^ 1 };
    }
    bytes
}

fn cut(random: &mut Random) -> Vec<u8> {
    let mut bytes = good(random);
    bytes.truncate(usize::try_from(random.from(1..bytes.len() as u64)).unwrap());
    bytes
}

/// As long as is just permitted, or longer than that by any number, and something of it.
fn huge(random: &mut Random) -> Vec<u8> {
    let cap = RequestFrame::MAX_BYTES as u64;
    let length = if random.from(0..2) == 0 { cap } else { random.from(cap + 1..1 << 32) };
    let length = u32::try_from(length).unwrap();
    let payload = random_bytes(random, 1 << 20);
    [&[VERSION], &length.to_le_bytes()[..], &payload].concat()
}

fn random_bytes(random: &mut Random, most: u64) -> Vec<u8> {
    (0..random.from(1..most)).map(|_| byte(random)).collect()
}

fn byte(random: &mut Random) -> u8 {
    u8::try_from(random.from(0..256)).unwrap()
}
