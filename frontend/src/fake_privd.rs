//! A privd for unit tests, which gives one answer and tells what it was asked.

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use protocol::{
    BlockInfo, Durations, Reply, ReplyFrame, Request, RequestFrame, Status, Text, Until, frame,
};
use tempfile::TempDir;

/// One connection, one request.
pub(crate) struct FakePrivd {
    directory: TempDir,
    asked: Receiver<Request>,
}

impl FakePrivd {
    /// Gives this answer to the first request.
    pub(crate) fn answering(reply: Reply) -> Self {
        Self::start(reply, false)
    }

    /// The same, after another release has turned it away.
    pub(crate) fn upgraded_while_asked(reply: Reply) -> Self {
        Self::start(reply, true)
    }

    fn start(reply: Reply, upgraded: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        let (sender, asked) = channel();
        std::thread::spawn(move || {
            if upgraded {
                let (mut stream, _) = listener.accept().unwrap();
                let _: RequestFrame = frame::read(&mut stream).unwrap();
                stream.write_all(&[9, 0, 0, 0, 0]).unwrap();
            }
            let (mut stream, _) = listener.accept().unwrap();
            let RequestFrame { id, request } = frame::read(&mut stream).unwrap();
            frame::write(&mut stream, &ReplyFrame { id, reply }).unwrap();
            let _ = sender.send(request);
        });
        Self { directory, asked }
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// What it was asked.
    pub(crate) fn asked(&self) -> Request {
        self.asked.recv_timeout(Duration::from_secs(10)).unwrap()
    }
}

/// A block of an hour that an alert asked for.
pub(crate) fn block_info(offences: u32) -> BlockInfo {
    BlockInfo {
        target: "198.51.100.0/24".parse().unwrap(),
        since: 1_790_000_000,
        until: Until::At(1_790_003_600),
        reason: Text::default(),
        rule_name: Text::truncated("SSH brute force"),
        alert_id: Text::truncated("x-1"),
        peer_uid: 4711,
        peer_pid: 12,
        requester: Some([10, 9, 0, 2].into()),
        offences,
        in_force: true,
    }
}

/// A privd that has nothing to complain of.
pub(crate) fn status() -> Status {
    Status {
        version: Text::truncated(env!("CARGO_PKG_VERSION")),
        pid: 12,
        firewall: Text::truncated("ufw"),
        enforce: true,
        problem: None,
        live_blocks: 3,
        not_in_force: 0,
        max_blocks: 2000,
        queued: 0,
        drift: 0,
        verified_at: None,
        changes: Durations::default(),
        lost_lines: 0,
    }
}
