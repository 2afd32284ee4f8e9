//! Connections by the thousand: some wait in the kernel's queue, some stay, most go at once, some in the
//! middle of a frame or while a reply is due.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use protocol::Request;
use tests::frames::{block_of, encoded};
use tests::{Peer, Random};

use crate::raid::{Raid, any_address};

pub fn come_and_go(raid: &Raid) {
    raid.each(
        8,
        |thread| (thread, Vec::new()),
        |(thread, held), random| match *thread {
            0..4 => crowd(raid, held),
            4..6 => drop(halves(raid, random)),
            _ => leave_in_the_middle(raid, random),
        },
    );
}

/// Does not wait until it is accepted; what is held ends together.
fn crowd(raid: &Raid, held: &mut Vec<OwnedFd>) {
    if held.len() == MANY {
        held.clear();
    }
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let stream = socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
    let address = UnixAddr::new(&raid.socket).unwrap();
    match connect(stream.as_raw_fd(), &address) {
        Ok(()) => {
            raid.note("opened", 1);
            held.push(stream);
        }
        Err(Errno::EAGAIN) => raid.note("queue-full", 1),
        Err(errno) => panic!("{errno}"),
    }
}

/// Twenty that have begun a frame.
fn halves(raid: &Raid, random: &mut Random) -> Vec<Peer> {
    let frame = encoded(1, block_of(vec![any_address(random)]));
    let begin = || {
        let mut peer = Peer::at(&raid.socket);
        let most = usize::try_from(random.from(1..frame.len() as u64)).unwrap();
        peer.send(&frame[..most]);
        peer
    };
    raid.note("half", 20);
    std::iter::repeat_with(begin).take(20).collect()
}

fn leave_in_the_middle(raid: &Raid, random: &mut Random) {
    let mut peer = Peer::at(&raid.socket);
    let frames: Vec<Vec<u8>> = (0..random.from(1..50))
        .flat_map(|id| {
            [encoded(id, block_of(vec![any_address(random)])), encoded(id, Request::Status)]
        })
        .collect();
    peer.send(&frames.concat());
    raid.note("left", 1);
}

/// That one thread holds; with four of them below the descriptors that a process has by default.
const MANY: usize = 200;
