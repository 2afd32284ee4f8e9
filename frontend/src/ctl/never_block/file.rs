//! privd.toml on the disk: changed by one hand at a time, whole or not at all.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

/// The file, which no other webhookctl changes while this is held.
#[derive(Debug)]
pub(super) struct Locked {
    path: PathBuf,
    /// What is locked: the file itself is replaced.
    folder: File,
}

impl Locked {
    /// Waits for others who change it.
    pub(super) fn open(path: &Path) -> Result<Self, FileError> {
        // Where the name is a link, what it names is replaced.
        let path = fs::canonicalize(path).map_err(FileError::reading(path))?;
        let folder = File::open(path.parent().unwrap_or_else(|| Path::new("/")))
            .map_err(FileError::reading(&path))?;
        let began = Instant::now();
        loop {
            match folder.try_lock() {
                Ok(()) => return Ok(Self { path, folder }),
                Err(TryLockError::Error(source)) => return Err(FileError::reading(&path)(source)),
                Err(TryLockError::WouldBlock) if began.elapsed() > PATIENCE => {
                    return Err(FileError::Busy(path));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            }
        }
    }

    /// All of it.
    pub(super) fn read(&self) -> Result<String, FileError> {
        read(&self.path)
    }

    /// Replaces it; owner and mode stay, and it is on the disk when this returns.
    pub(super) fn write(&self, text: &str) -> Result<(), FileError> {
        let write = || {
            let old = fs::metadata(&self.path)?;
            let beside = self.path.parent().unwrap_or_else(|| Path::new("/"));
            let mut file = NamedTempFile::new_in(beside)?;
            file.write_all(text.as_bytes())?;
            fchown(file.as_file(), Some(old.uid()), Some(old.gid()))?;
            file.as_file().set_permissions(old.permissions())?;
            file.as_file().sync_all()?;
            file.persist(&self.path).map_err(|error| error.error)?;
            self.folder.sync_all()
        };
        write().map_err(|source| FileError::Write { path: self.path.clone(), source })
    }
}

/// All of a file.
pub(super) fn read(path: &Path) -> Result<String, FileError> {
    fs::read_to_string(path).map_err(FileError::reading(path))
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::ctl) enum FileError {
    #[error("{} cannot be read: {source}{}", path.display(), mend(source))]
    Read { path: PathBuf, source: io::Error },
    #[error("{} cannot be written: {source}{}", path.display(), mend(source))]
    Write { path: PathBuf, source: io::Error },
    #[error("{} is being changed by another webhookctl for a minute already; try again", .0.display())]
    Busy(PathBuf),
}

impl FileError {
    fn reading(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Read { path: path.to_owned(), source }
    }
}

fn mend(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "; `webhookctl init` makes it, --config names another",
        io::ErrorKind::PermissionDenied => "; run webhookctl as root: sudo webhookctl ...",
        _ => "",
    }
}

/// webhook-privd answers within 50 s.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_file_is_replaced_through_a_link_and_keeps_its_mode() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("privd.toml"), directory.path().join("link"));
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        symlink(&path, &link).unwrap();
        Locked::open(&link).unwrap().write("new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o604);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing is left beside");
    }

    #[test]
    fn changes_at_once_follow_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("privd.toml");
        fs::write(&path, "").unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let locked = Locked::open(&path).unwrap();
                    let text = locked.read().unwrap();
                    locked.write(&(text + "x")).unwrap();
                });
            }
        });
        assert_eq!(fs::read_to_string(&path).unwrap(), "xxxxxxxx");
    }

    #[test]
    fn a_file_that_is_not_there_is_named_with_what_makes_it() {
        let error = Locked::open(Path::new("/nonexistent/privd.toml")).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/privd.toml cannot be read"), "{error}");
        assert!(error.contains("webhookctl init"), "{error}");
    }
}
