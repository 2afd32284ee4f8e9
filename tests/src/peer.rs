//! Connections to privd's socket, spoken to raw.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use protocol::{Reply, ReplyFrame, Request, Status, frame};

use crate::frames::encoded;
use crate::world::UID;
use crate::{World, until};

/// A connection to privd as one user.
#[derive(Debug)]
pub struct Peer {
    /// What the test may do to it itself.
    pub stream: UnixStream,
    /// The process that connected.
    pub pid: u32,
    next_id: u64,
    relay: Option<Child>,
}

impl Peer {
    /// Whoever this process runs as.
    ///
    /// # Panics
    /// When nobody listens.
    #[must_use]
    pub fn at(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        Self::on(stream, std::process::id(), None)
    }

    /// The same, once it is served: what has just been closed may count for a moment yet.
    #[must_use]
    pub fn served(socket: &Path) -> Self {
        let mut served = None;
        until("privd serves another connection", 20, || {
            let mut peer = Self::at(socket);
            let is_served = peer.try_status().is_some();
            served = is_served.then_some(peer);
            is_served
        });
        served.unwrap()
    }

    /// uid 0: this process itself.
    #[must_use]
    pub fn operator(world: &World) -> Self {
        Self::at(&world.socket())
    }

    /// webhookd's user; the relay is installed.
    #[must_use]
    pub fn frontend(world: &World) -> Self {
        Self::as_user(world, UID, UID)
    }

    /// Any user: the relay makes the connection.
    #[must_use]
    pub fn as_user(world: &World, uid: u32, gid: u32) -> Self {
        let (near, far) = UnixStream::pair().unwrap();
        let (uid, gid) = (format!("--reuid={uid}"), format!("--regid={gid}"));
        let (relay, socket) = (world.path("relay"), world.socket());
        let user = ["setpriv", &uid, &gid, "--clear-groups", "--", &relay];
        let mut command = world.confined.command(&user);
        command.arg(socket).stderr(Stdio::null());
        command.stdin(OwnedFd::from(far.try_clone().unwrap())).stdout(OwnedFd::from(far));
        let relay = command.spawn().unwrap();
        // With the command goes its copy of the far end: only the relay's is left.
        drop(command);
        Self::on(near, relay.id(), Some(relay))
    }

    fn on(stream: UnixStream, pid: u32, relay: Option<Child>) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, pid, next_id: 1000, relay }
    }

    /// What privd has turned away need not take all.
    ///
    /// # Panics
    /// When privd does not take it and does not end the connection either.
    pub fn send(&mut self, bytes: &[u8]) {
        match self.stream.write_all(bytes) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            sent => sent.unwrap(),
        }
    }

    /// The next reply.
    ///
    /// # Panics
    /// When there is none.
    pub fn read(&mut self) -> ReplyFrame {
        frame::read(&mut self.stream).unwrap()
    }

    /// Asks and returns the answer to just that.
    ///
    /// # Panics
    /// When it is the answer to something else.
    pub fn ask(&mut self, request: Request) -> Reply {
        self.next_id += 1;
        self.send(&encoded(self.next_id, request));
        let ReplyFrame { id, reply } = self.read();
        assert_eq!(id, self.next_id);
        reply
    }

    /// How privd is.
    ///
    /// # Panics
    /// When it says something else.
    pub fn status(&mut self) -> Status {
        match self.ask(Request::Status) {
            Reply::Status(status) => *status,
            other => panic!("{other:?}"),
        }
    }

    /// None: there was no answer.
    pub fn try_status(&mut self) -> Option<ReplyFrame> {
        self.send(&encoded(1, Request::Status));
        frame::read(&mut self.stream).ok()
    }

    /// Everything until privd ends the connection.
    ///
    /// # Panics
    /// When it does not.
    pub fn rest(&mut self) -> Vec<u8> {
        let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return bytes,
                Ok(read) => bytes.extend_from_slice(&chunk[..read]),
                // privd had not read all that was sent.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return bytes,
                Err(error) => panic!("not ended by privd: {error}"),
            }
        }
    }

    /// Whether privd has ended the connection, without waiting.
    ///
    /// # Panics
    /// When it said something.
    pub fn is_over(&mut self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let read = self.stream.read(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        match read {
            Ok(0) => true,
            Ok(_) => panic!("a half frame was answered"),
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }

    /// The lines of privd's log about this process that hold some words.
    #[must_use]
    pub fn told(&self, world: &World, words: &str) -> Vec<String> {
        let pid = self.pid.to_string();
        let of_this = |line: &String| {
            let told = line.split("pid ").nth(1).unwrap_or_default();
            told.split(|c: char| !c.is_ascii_digit()).next() == Some(&pid)
        };
        world.lines("privd.log", &[words]).into_iter().filter(of_this).collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(relay) = &mut self.relay {
            let _ = relay.kill();
            let _ = relay.wait();
        }
    }
}

/// Puts a program where every user can start it. It is copied by another process: a file that this one
/// has open for writing could not be started while another test forks.
pub fn install(world: &World, program: &str) {
    let directory = world.directory.path().display();
    world.server.sh(&format!("install -m 755 {program} {directory}/"));
}

/// A reply may wait for a run of ufw.
const PATIENCE: Duration = Duration::from_secs(20);
