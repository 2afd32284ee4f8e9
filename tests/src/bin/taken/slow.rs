//! Peers that take their time: frames byte by byte, replies byte by byte, replies that are never taken.

use std::io::{ErrorKind, Read, Write};

use protocol::{MAX_TARGETS, Reply, ReplyFrame, Request, frame};
use tests::Random;
use tests::frames::{block_of, encoded};

use crate::floods::CONNECTIONS;
use crate::raid::{Raid, address, loopback};

pub fn write_and_read(raid: &Raid) {
    let attack = |thread: &mut u8, random: &mut Random| match *thread {
        0..5 => write_slowly(raid, random),
        5..10 => read_slowly(raid, random),
        _ => never_read(raid, random),
    };
    raid.each(CONNECTIONS, |thread| thread, attack);
}

fn write_slowly(raid: &Raid, random: &mut Random) {
    let mut peer = raid.served();
    while raid.goes_on() {
        let id = random.from(0..u64::MAX);
        for byte in encoded(id, Request::Status) {
            peer.send(&[byte]);
            random.pause(10);
        }
        let answer = peer.read();
        assert!(answer.id == id && matches!(answer.reply, Reply::Status(_)), "{answer:?}");
        raid.note("written-slowly", 1);
    }
}

fn read_slowly(raid: &Raid, random: &mut Random) {
    let mut peer = raid.served();
    let frames: Vec<Vec<u8>> = (0..300).map(|id| encoded(id, Request::Status)).collect();
    peer.send(&frames.concat());
    let mut read = Vec::new();
    while raid.goes_on() {
        let mut byte = [0];
        peer.stream.read_exact(&mut byte).unwrap();
        read.extend(byte);
        random.pause(3);
    }
    let mut bytes = read.as_slice();
    while let Ok(answer) = frame::read::<ReplyFrame>(&mut bytes) {
        assert!(answer.id < 300 && matches!(answer.reply, Reply::Status(_)), "{answer:?}");
        raid.note("read-slowly", 1);
    }
}

/// Has the largest replies lie.
fn never_read(raid: &Raid, random: &mut Random) {
    let peer = raid.served();
    // What is blocked already is answered even where no more is taken on.
    let refused = (0..u32::try_from(MAX_TARGETS).unwrap()).map(loopback).collect();
    let blocked = vec![address(0); MAX_TARGETS];
    let mut frame = encoded(1, block_of(vec![address(0)]));
    frame.extend(encoded(2, block_of(blocked.clone())));
    frame.extend(encoded(3, block_of(refused)));
    frame.extend(encoded(4, block_of(blocked)));
    let mut stream = &peer.stream;
    stream.set_nonblocking(true).unwrap();
    let mut rest = frame.as_slice();
    while raid.goes_on() {
        match stream.write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => random.pause(10),
            // privd has given it up.
            Err(_) => return raid.note("given-up", 1),
        }
        if rest.is_empty() {
            rest = &frame;
            raid.note("left-unread", 1);
            random.pause(10);
        }
    }
}
