//! A file of root's that is changed: by one at a time, and whole or not at all.
//!
//! No copy of the old one is kept: it may hold a secret that is revoked now.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use tempfile::NamedTempFile;

use crate::ctl::outside::shown_path;

/// A file that nobody else changes by this command until it is dropped.
pub(super) struct Edit {
    path: PathBuf,
    text: String,
    metadata: Metadata,
    /// Held until then.
    _lock: Lock,
}

impl Edit {
    /// Locks and reads the file; a link is followed, and stays one.
    ///
    /// # Errors
    /// It is not there, cannot be read, or somebody else goes on changing it.
    pub(super) fn begin(path: &Path) -> Result<Self, EditError> {
        let at = |problem| EditError { path: path.to_owned(), problem };
        let path = fs::canonicalize(path).map_err(|source| at(Problem::Read(source)))?;
        let lock = Lock::take(&path).map_err(at)?;
        let (metadata, text) = whole(&path).map_err(at)?;
        Ok(Self { path, text, metadata, _lock: lock })
    }

    /// What is in it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Puts this text in its place, with the same owner, group and mode. It is on the disk then, and
    /// can be replaced again.
    ///
    /// # Errors
    /// It cannot be written: then the old one stands.
    pub(super) fn write(&self, text: &str) -> Result<(), EditError> {
        let folder = self.path.parent().unwrap_or_else(|| Path::new("/"));
        let write = || {
            let mut file = NamedTempFile::new_in(folder)?;
            file.write_all(text.as_bytes())?;
            let (uid, gid) = (self.metadata.uid(), self.metadata.gid());
            fchown(file.as_file(), Some(uid), Some(gid))?;
            let mode = self.metadata.permissions().mode();
            file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
            file.as_file().sync_all()?;
            file.persist(&self.path).map_err(|error| error.error)?;
            File::open(folder)?.sync_all()
        };
        let failed =
            |source| EditError { path: self.path.clone(), problem: Problem::Write(source) };
        write().map_err(failed)
    }
}

/// All of such a file, which is not to be changed.
///
/// # Errors
/// It is not there, or cannot be read.
pub(super) fn read(path: &Path) -> Result<String, EditError> {
    let failed = |problem| EditError { path: path.to_owned(), problem };
    whole(path).map(|(_, text)| text).map_err(failed)
}

fn whole(path: &Path) -> Result<(Metadata, String), Problem> {
    let read = || {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let mut text = String::new();
        file.take(MOST_BYTES.saturating_add(1)).read_to_string(&mut text)?;
        Ok((metadata, text))
    };
    let (metadata, text) = read().map_err(Problem::Read)?;
    if u64::try_from(text.len()).map_or(true, |bytes| bytes > MOST_BYTES) {
        return Err(Problem::Large);
    }
    Ok((metadata, text))
}

/// A file beside, root's alone: whoever may only read the other could lock that one for good.
struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    fn take(of: &Path) -> Result<Self, Problem> {
        let mut path = of.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let begin = Instant::now();
        loop {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false).mode(0o600);
            // Where others write the folder, too, it leads nowhere.
            options.custom_flags(OFlag::O_NOFOLLOW.bits());
            let file = options.open(&path).map_err(Problem::Write)?;
            // Who had it may have taken the name away since it was opened.
            let is_the_one = |file: &File| {
                let named = fs::metadata(&path).map(|named| named.ino()).ok();
                file.metadata().is_ok_and(|own| named == Some(own.ino()))
            };
            match file.try_lock() {
                Ok(()) if is_the_one(&file) => return Ok(Self { path, _file: file }),
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) if begin.elapsed() >= PATIENCE => {
                    return Err(Problem::Locked(path));
                }
                Err(fs::TryLockError::WouldBlock) => std::thread::sleep(POLL),
                Err(fs::TryLockError::Error(source)) => return Err(Problem::Write(source)),
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Left behind it would do no harm.
        let _ = fs::remove_file(&self.path);
    }
}

/// Why a file was not changed.
#[derive(Debug, thiserror::Error)]
#[error("{} {problem}", shown_path(path))]
pub(super) struct EditError {
    path: PathBuf,
    problem: Problem,
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("cannot be read: {0}{advice}", advice = advice(.0))]
    Read(io::Error),
    #[error("cannot be written: {0}; nothing was changed{advice}", advice = advice(.0))]
    Write(io::Error),
    #[error("has more than {MOST_BYTES} bytes; is it the right file?")]
    Large,
    #[error("is being changed by somebody else; `fuser {}` tells by whom", shown_path(.0))]
    Locked(PathBuf),
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "; `webhookctl init` makes it",
        io::ErrorKind::PermissionDenied => "; run webhookctl as root: sudo webhookctl ...",
        _ => "",
    }
}

/// Bytes: as a precaution.
const MOST_BYTES: u64 = 1 << 20;
/// `never-block` holds its file until webhook-privd has answered, which is within 50 s.
const PATIENCE: Duration = Duration::from_secs(60);
/// flock(2) has no deadline.
const POLL: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_who_change_it_at_once_none_is_lost_and_mode_and_link_stay() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        std::thread::scope(|scope| {
            for editor in 0..8 {
                let link = &link;
                scope.spawn(move || {
                    for round in 0..5 {
                        let edit = Edit::begin(link).unwrap();
                        let text = format!("{}{editor} {round}\n", edit.text());
                        edit.write(&text).unwrap();
                    }
                });
            }
        });
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 40);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o604);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let left: Vec<_> = fs::read_dir(&directory).unwrap().collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }

    #[test]
    fn what_is_dropped_changes_nothing_and_what_is_not_there_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let error = Edit::begin(&path).err().unwrap().to_string();
        assert!(error.contains("file cannot be read"), "{error}");
        assert!(error.contains("`webhookctl init` makes it"), "{error}");
        fs::write(&path, "as it was").unwrap();
        drop(Edit::begin(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "as it was");
    }
}
