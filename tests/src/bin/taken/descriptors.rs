//! Descriptors that are sent along with good frames (SCM_RIGHTS, unix(7)), by the hundred with each
//! byte: one that took them would soon have none left.

use std::fs::File;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use protocol::{Reply, Request};
use tests::frames::encoded;

use crate::floods::CONNECTIONS;
use crate::raid::Raid;

pub fn send_along(raid: &Raid) {
    raid.each(
        CONNECTIONS / 4,
        |_| (raid.served(), File::open("/dev/null").unwrap()),
        |(peer, file), random| {
            let id = random.from(0..u64::MAX);
            // The connection too: it holds itself.
            let ours = [file.as_raw_fd(), peer.stream.as_raw_fd()];
            let many: Vec<RawFd> = ours.into_iter().cycle().take(MOST).collect();
            for byte in encoded(id, Request::Status) {
                // What it costs the kernel to send and to close is the sender's and no matter of privd's.
                random.pause(2);
                let with = [ControlMessage::ScmRights(&many)];
                let sent = sendmsg::<()>(
                    peer.stream.as_raw_fd(),
                    &[IoSlice::new(&[byte])],
                    &with,
                    MsgFlags::empty(),
                    None,
                );
                match sent {
                    Ok(_) => raid.note("sent-along", MOST),
                    // The kernel's bound on what is under way.
                    Err(Errno::ETOOMANYREFS) => {
                        raid.note("too-many-under-way", 1);
                        peer.send(&[byte]);
                    }
                    Err(errno) => panic!("{errno}"),
                }
            }
            let answer = peer.read();
            assert!(answer.id == id && matches!(answer.reply, Reply::Status(_)), "{answer:?}");
        },
    );
}

/// In one message (SCM_MAX_FD).
const MOST: usize = 253;
