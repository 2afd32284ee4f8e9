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
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use protocol::Text;

use crate::pulse;

/// The way to the host's lock.
#[derive(Debug, Default)]
pub struct HostLock {
    /// An attempt that outlasted its caller's patience; the next caller waits on.
    attempt: Option<Arc<Attempt>>,
}

/// Holds the lock until it is dropped, and every program that was given it has ended.
#[derive(Debug)]
pub struct Held(Option<File>);

impl Held {
    /// The file that a program takes along to hold the lock too: a ufw that outlives a killed privd
    /// still keeps others out.
    pub const fn file(&self) -> Option<&File> {
        self.0.as_ref()
    }
}

/// One thread's wait for the lock.
#[derive(Debug, Default)]
struct Attempt {
    state: Mutex<State>,
    came: Condvar,
}

#[derive(Debug, Default)]
enum State {
    /// The caller waits.
    #[default]
    Wanted,
    /// The caller has gone: what comes is let go.
    Unwanted,
    /// It came, or cannot come.
    Came(io::Result<File>),
    /// It came when nobody wanted it.
    LetGo,
}

impl HostLock {
    /// Waits in the kernel's queue, where no other ufw can overtake for long.
    ///
    /// # Errors
    /// Another process holds it for longer than the caller's patience, or it cannot be opened.
    pub fn take(&mut self, patience: Duration) -> Result<Held, Text> {
        if !Path::new(HOST_LOCK).exists() {
            // Only where `--unconfined` let privd start without its mounts.
            return Ok(Held(None));
        }
        let attempt = match self.attempt.take() {
            Some(attempt) if attempt.is_wanted_again() => attempt,
            _ => Attempt::begin().map_err(|error| unusable(&error))?,
        };
        match pulse::during(patience, || attempt.wait(patience)) {
            Some(came) => came.map(|file| Held(Some(file))).map_err(|error| unusable(&error)),
            None => {
                self.attempt = Some(attempt);
                Err(Text::truncated(BUSY))
            }
        }
    }
}

impl Attempt {
    /// A thread waits, because fcntl has no deadline.
    fn begin() -> io::Result<Arc<Self>> {
        let attempt = Arc::new(Self::default());
        let waiting = Arc::clone(&attempt);
        let wait = move || {
            let came = lock();
            let mut state = waiting.state.lock().unwrap_or_else(PoisonError::into_inner);
            *state = match *state {
                State::Wanted => State::Came(came),
                _ => State::LetGo,
            };
            waiting.came.notify_one();
        };
        thread::Builder::new().name("lock".into()).spawn(wait)?;
        Ok(attempt)
    }

    /// Whether an attempt that was given up is still on its way.
    fn is_wanted_again(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Unwanted) {
            *state = State::Wanted;
        }
        matches!(*state, State::Wanted)
    }

    fn wait(&self, patience: Duration) -> Option<io::Result<File>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let pending = |state: &mut State| matches!(state, State::Wanted);
        let waited = self.came.wait_timeout_while(state, patience, pending);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, State::Unwanted) {
            State::Came(came) => Some(came),
            _ => None,
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

/// Whether the host's lock was removed from its directory: what is held here is then no lock that
/// another ufw, which makes a new file, would wait for.
pub fn is_removed() -> bool {
    fs::metadata(HOST_LOCK).is_ok_and(|file| file.nlink() == 0)
}

/// A POSIX lock as ufw takes it (Python's `fcntl.lockf`), owned by the open file rather than by
/// the process, so that no other descriptor's closing lets it go (fcntl(2), `F_OFD_SETLKW`).
fn lock() -> io::Result<File> {
    let file = File::options().write(true).open(HOST_LOCK)?;
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
