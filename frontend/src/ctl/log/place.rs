//! Where the audit logs lie, and what logrotate(8) has made of the older ones.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use logging::Action;
use protocol::Untrusted;
use serde::Deserialize;

use crate::ctl::log::LogError;
use crate::ctl::log::part::Part;
use crate::regular::{self, Links};

/// The audit log of one daemon.
#[derive(Debug)]
pub(super) struct Log {
    /// The file that it writes now.
    pub(super) path: PathBuf,
    writer: Writer,
}

/// Who writes a log. Each daemon has its own actions: webhookd, which reads what comes from the
/// network, cannot say in its log that an address was blocked or let in.
#[derive(Clone, Copy, Debug)]
enum Writer {
    Privd,
    Webhookd,
    Anyone,
}

/// The logs that the two configuration files name, webhook-privd's first.
pub(super) fn configured(directory: &Path) -> Result<Vec<Log>, LogError> {
    let mut logs = Vec::new();
    for (name, writer) in [("privd.toml", Writer::Privd), ("webhookd.toml", Writer::Webhookd)] {
        let path = directory.join(name);
        let text = fs::read_to_string(&path)
            .map_err(|source| LogError::Read { path: path.clone(), source })?;
        let keys: Keys = toml::from_str(&text).map_err(|error| {
            let why = Untrusted(error.message()).to_string();
            LogError::Configuration { path, why }
        })?;
        logs.extend(keys.audit_log.map(|path| Log { path, writer }));
    }
    if logs.is_empty() { Err(LogError::Nowhere(directory.to_owned())) } else { Ok(logs) }
}

/// The daemons themselves say whether the rest is right.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Keys {
    audit_log: Option<PathBuf>,
}

impl Log {
    /// A log of whichever daemon, or of both.
    pub(super) const fn anyones(path: PathBuf) -> Self {
        Self { path, writer: Writer::Anyone }
    }

    /// Whether its daemon says such things.
    pub(super) fn may_say(&self, action: Action) -> bool {
        let privds = action.name().starts_with("ip-");
        match self.writer {
            Writer::Privd => privds,
            Writer::Webhookd => !privds,
            Writer::Anyone => true,
        }
    }

    /// All parts, open, the newest first. A rotation meanwhile renames files and loses none of them.
    pub(super) fn parts(&self) -> Result<Vec<Part>, LogError> {
        let failed = |source| LogError::Read { path: self.path.clone(), source };
        for _ in 0..ATTEMPTS {
            if let Some(parts) = self.open_all().map_err(failed)? {
                return Ok(parts);
            }
        }
        Err(failed(io::Error::other("it is being rotated; try again")))
    }

    /// Opens one file of it, as the daemon itself does: webhookd's folder is webhookd's, which must not
    /// lead root anywhere or have it wait.
    pub(super) fn open(&self, path: &Path) -> io::Result<File> {
        match self.writer {
            Writer::Privd | Writer::Webhookd => regular::open(path, Links::Refuse),
            Writer::Anyone => File::open(path),
        }
    }

    /// None where a part was renamed before it was opened.
    fn open_all(&self) -> io::Result<Option<Vec<Part>>> {
        let mut parts: Vec<(u64, Part)> = Vec::new();
        // The newest first: a file that is renamed meanwhile is met again, and not missed.
        let current = std::iter::once(self.path.clone());
        for path in current.chain(self.rotated()?) {
            let file = match self.open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if path == self.path {
                        continue;
                    }
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            let inode = file.metadata()?.ino();
            if parts.iter().all(|(other, _)| *other != inode) {
                parts.push((inode, Part::new(file, &path, path == self.path)));
            }
        }
        let mut parts: Vec<Part> = parts.into_iter().map(|(_, part)| part).collect();
        // By their first records: what suffixes say is up to logrotate's configuration.
        parts.sort_by_cached_key(|part| std::cmp::Reverse((part.current, part.begins())));
        Ok(Some(parts))
    }

    /// `audit.ndjson.1`, `audit.ndjson.2.gz`, `audit.ndjson-20261123.gz`.
    fn rotated(&self) -> io::Result<Vec<PathBuf>> {
        let (Some(folder), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return Ok(Vec::new());
        };
        let name = name.to_string_lossy();
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            let other = entry.file_name();
            let suffix = other.to_str().and_then(|other| other.strip_prefix(&*name));
            if suffix.is_some_and(is_rotations) {
                found.push(entry.path());
            }
        }
        Ok(found)
    }
}

fn is_rotations(suffix: &str) -> bool {
    let suffix = suffix.strip_suffix(".gz").unwrap_or(suffix);
    let digits = suffix.strip_prefix(['.', '-']).unwrap_or_default();
    !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit() || c == '-')
}

/// A rotation renames a dozen files at most, and then there is none for days.
const ATTEMPTS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_logrotate_makes_is_known_by_its_suffix() {
        for suffix in [".1", ".2.gz", ".12.gz", "-20261123", "-20261123.gz", "-2026-11-23"] {
            assert!(is_rotations(suffix), "{suffix}");
        }
        for suffix in ["", ".gz", ".old", ".1.bak", ".1.xz", "1", ".1x", "."] {
            assert!(!is_rotations(suffix), "{suffix}");
        }
    }

    #[test]
    fn neither_daemon_can_say_what_the_other_one_does() {
        let log = |writer| Log { path: PathBuf::new(), writer };
        let (blocked, asked) = (Action::Blocked, Action::RequestAccepted);
        for (writer, expected) in [
            (Writer::Privd, [true, false]),
            (Writer::Webhookd, [false, true]),
            (Writer::Anyone, [true, true]),
        ] {
            assert_eq!([blocked, asked].map(|action| log(writer).may_say(action)), expected);
        }
    }

    #[test]
    fn nothing_in_a_daemons_folder_leads_elsewhere_or_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.ndjson");
        let other = directory.path().join("audit.ndjson.1");
        fs::write(&path, "").unwrap();
        let log = Log { path: path.clone(), writer: Writer::Webhookd };
        assert!(log.parts().is_ok());
        std::os::unix::fs::symlink("/etc/hostname", &other).unwrap();
        assert!(log.parts().is_err());
        fs::remove_file(&other).unwrap();
        nix::unistd::mkfifo(&other, nix::sys::stat::Mode::S_IRUSR).unwrap();
        let words = log.parts().unwrap_err().to_string();
        assert!(words.contains("no regular file"), "{words}");
    }

    #[test]
    fn a_configuration_is_asked_for_its_log_alone_and_named_where_it_has_none() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        let words = || configured(directory.path()).unwrap_err().to_string();
        assert!(words().contains("privd.toml cannot be read"), "{}", words());
        write("privd.toml", "audit-log = 7");
        assert!(words().contains("privd.toml: invalid type"), "{}", words());
        write("privd.toml", "never-block = []");
        write("webhookd.toml", "");
        assert!(words().contains("sets audit-log, so nothing is kept"), "{}", words());
        write("webhookd.toml", "audit-log = \"/a\"\nunknown = 1");
        let logs = configured(directory.path()).unwrap();
        assert_eq!(logs.iter().map(|log| &log.path).collect::<Vec<_>>(), [Path::new("/a")]);
    }
}
