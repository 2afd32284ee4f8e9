//! The socket: handed over by systemd, or bound here.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, chown};

use policy::config::Frontend;

/// A listening socket, and the path to remove at the end if it was made here.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: UnixListener,
    bound: Option<PathBuf>,
}

impl Listener {
    /// Takes the socket that systemd hands over, or binds its own: root-owned, mode 0660, group of
    /// the frontend.
    ///
    /// # Errors
    /// A sentence that names the path and the mend.
    pub fn open(path: &Path, frontend: Frontend) -> Result<Self, ListenError> {
        let mut given = listenfd::ListenFd::from_env();
        let failed = |source| ListenError::Bind { path: "the socket of systemd".into(), source };
        match given.take_unix_listener(0).map_err(failed)? {
            Some(socket) => check_given(socket, frontend),
            None => Self::bind(path, frontend.gid),
        }
    }

    fn bind(path: &Path, group: u32) -> Result<Self, ListenError> {
        let failed = |source| ListenError::Bind { path: path.to_owned(), source };
        check_directory(path)?;
        remove_stale(path)?;
        // The mode holds from the first moment: no chmod afterwards.
        let before = umask(Mode::from_bits_truncate(0o117));
        let bound = UnixListener::bind(path);
        umask(before);
        let socket = bound.map_err(failed)?;
        chown(path, Some(Uid::from_raw(0)), Some(Gid::from_raw(group)))
            .map_err(|errno| failed(errno.into()))?;
        Ok(Self { socket, bound: Some(path.to_owned()) })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = &self.bound {
            // Gone already is as good.
            let _ = fs::remove_file(path);
        }
    }
}

/// What systemd made must admit the same two accounts as what is made here.
fn check_given(socket: UnixListener, frontend: Frontend) -> Result<Listener, ListenError> {
    let address = socket.local_addr().ok();
    let path = address.as_ref().and_then(SocketAddr::as_pathname).unwrap_or_else(|| Path::new("?"));
    let right = fs::metadata(path).is_ok_and(|found| {
        (found.uid(), found.gid(), found.mode() & 0o777) == (0, frontend.gid, 0o660)
    });
    right
        .then_some(Listener { socket, bound: None })
        .ok_or_else(|| ListenError::Path { path: path.to_owned(), problem: GIVEN_TO_OTHERS })
}

/// Whoever may write the directory could put a socket of his own there.
fn check_directory(path: &Path) -> Result<(), ListenError> {
    let directory = path.parent().unwrap_or_else(|| Path::new("/"));
    let problem = match fs::metadata(directory) {
        Err(_) => NO_DIRECTORY,
        Ok(found) if found.uid() != 0 || found.mode() & 0o022 != 0 => OTHERS_WRITE,
        Ok(_) => return Ok(()),
    };
    Err(ListenError::Path { path: directory.to_owned(), problem })
}

fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let problem = match fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(found) if !found.file_type().is_socket() => NOT_A_SOCKET,
        Ok(_) if is_served(path) => IN_USE,
        Ok(_) => {
            return fs::remove_file(path)
                .map_err(|source| ListenError::Bind { path: path.to_owned(), source });
        }
    };
    Err(ListenError::Path { path: path.to_owned(), problem })
}

/// Asked more than once: a program that a killed privd was just starting holds the socket for a moment.
fn is_served(path: &Path) -> bool {
    (0..ATTEMPTS).all(|attempt| {
        if attempt > 0 {
            thread::sleep(PAUSE);
        }
        UnixStream::connect(path).is_ok()
    })
}

/// Between two attempts to find a socket unserved.
const PAUSE: Duration = Duration::from_millis(50);
const ATTEMPTS: u32 = 10;

/// Why there is nothing to listen on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Something about the path is wrong.
    #[error("{} {problem}", path.display())]
    Path {
        /// The socket or its directory.
        path: PathBuf,
        /// What is wrong, and the mend.
        problem: &'static str,
    },
    /// Any other failure.
    #[error("cannot listen on {}: {source}", path.display())]
    Bind {
        /// The socket's path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

const NO_DIRECTORY: &str = "does not exist; make it with `install -d -m 0755 DIRECTORY`";
const OTHERS_WRITE: &str = "must belong to root and be writable by root alone";
const NOT_A_SOCKET: &str = "exists and is not a socket; remove it or change `socket`";
const GIVEN_TO_OTHERS: &str = "was handed over and is not root's, mode 0660, group frontend-user's";
const IN_USE: &str = "is served by another process";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        remove_stale(&path).unwrap();
        assert!(!path.exists());
        fs::write(&path, "mine").unwrap();
        assert!(remove_stale(&path).unwrap_err().to_string().contains("is not a socket"));
        assert!(path.exists());
    }

    #[test]
    fn a_second_instance_leaves_the_first_one_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let _first = UnixListener::bind(&path).unwrap();
        assert!(remove_stale(&path).unwrap_err().to_string().contains("another process"));
        assert!(path.exists());
    }
}
