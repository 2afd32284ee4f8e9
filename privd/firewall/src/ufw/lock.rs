//! ufw's lock, held for the host while our own ufw runs.
//!
//! ufw reads its rules before it takes the lock and writes them back while it has it (measured: of
//! 40 runs 8 at a time 6 survived). So a run of ours could erase what another ufw adds beside it,
//! unless nobody else may write from before our ufw reads until it has written: privd holds the
//! host's lock, and its ufw locks another file, bound over the path.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use protocol::Text;

/// The way to the host's lock.
#[derive(Debug, Default)]
pub struct HostLock {
    /// An attempt that outlasted its caller's patience; the next caller waits on.
    waiting: Option<Receiver<io::Result<Held>>>,
}

/// Holds the lock until it is dropped.
#[derive(Debug)]
#[expect(dead_code, reason = "the lock belongs to the open file")]
pub struct Held(Option<File>);

impl HostLock {
    /// Waits in the kernel's queue, where no other ufw can overtake for long.
    ///
    /// # Errors
    /// Another process holds it for longer than [`PATIENCE`], or it cannot be opened.
    pub fn take(&mut self) -> Result<Held, Text> {
        if !Path::new(HOST_LOCK).exists() {
            // Only where `--unconfined` let privd start without its mounts.
            return Ok(Held(None));
        }
        let attempt = match self.waiting.take() {
            Some(attempt) => attempt,
            None => attempt()?,
        };
        match attempt.recv_timeout(PATIENCE) {
            Ok(taken) => taken.map_err(|error| unusable(&error)),
            Err(RecvTimeoutError::Timeout) => {
                self.waiting = Some(attempt);
                Err(Text::truncated(BUSY))
            }
            Err(RecvTimeoutError::Disconnected) => Err(unusable(&io::Error::other("interrupted"))),
        }
    }
}

/// Whether the host's lock is there, and another file than the one that our ufw locks.
pub fn is_apart() -> bool {
    let identity = |path| fs::metadata(path).map(|file| (file.dev(), file.ino()));
    match (identity(HOST_LOCK), identity(OWN_LOCK)) {
        (Ok(host), Ok(own)) => host != own,
        _ => false,
    }
}

/// A thread waits, because fcntl has no deadline. If nobody wants the lock any more when it comes,
/// it is let go.
fn attempt() -> Result<Receiver<io::Result<Held>>, Text> {
    let (sender, receiver) = sync_channel(0);
    let wait = move || drop(sender.send(lock()));
    let thread = thread::Builder::new().name("lock".into()).spawn(wait);
    thread.map(|_| receiver).map_err(|error| unusable(&error))
}

/// The host's lock, at a moment when no ufw of ours runs: one that outlived a killed privd may
/// still be writing.
fn lock() -> io::Result<Held> {
    let held = locked(HOST_LOCK)?;
    drop(locked(OWN_LOCK)?);
    Ok(Held(Some(held)))
}

/// A POSIX lock as ufw takes it (Python's `fcntl.lockf`), owned by the open file rather than by
/// the process, so that no other descriptor's closing lets it go (fcntl(2), `F_OFD_SETLKW`).
fn locked(path: &str) -> io::Result<File> {
    let file = File::options().write(true).open(path)?;
    let whole = libc::flock {
        l_type: i16::try_from(libc::F_WRLCK).map_err(io::Error::other)?,
        l_whence: i16::try_from(libc::SEEK_SET).map_err(io::Error::other)?,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_OFD_SETLKW(&whole))?;
    Ok(file)
}

fn unusable(error: &io::Error) -> Text {
    Text::truncated(&format!("ufw's lock {HOST_LOCK} cannot be taken: {error}"))
}

const BUSY: &str = "another ufw holds /run/ufw.lock for long: see `fuser -v /run/ufw.lock`";
/// Where the unit binds the host's `/run/ufw.lock`; what privd sees under that name is its own.
const HOST_LOCK: &str = "/run/webhook-privd-lock/host";
/// What ufw locks.
const OWN_LOCK: &str = "/run/ufw.lock";
/// A ufw run takes 0.2 s, and several may stand in the queue.
const PATIENCE: Duration = Duration::from_secs(30);
