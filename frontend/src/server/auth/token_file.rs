//! The token file while webhookd serves: what is in it counts from the next request on, whoever
//! changed it, without a signal. Where it is damaged or gone, the tokens read before stay.
//!
//! Each comparison asks for the file's stamp, a microsecond. A watch by inotify would save that, and
//! would be a second way for a change to come in, later than the command that made it.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use logging::Action;
use protocol::Untrusted;
use slog::{error, info};

use crate::server::auth::{TokenError, Tokens};
use crate::server::journal::Journal;

/// A token file and what it was found to hold.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
    found: RwLock<Found>,
}

/// What was found when it was last read.
#[derive(Clone, Debug)]
struct Found {
    stamp: Stamp,
    /// Of the last time that it could be used.
    tokens: Arc<Tokens>,
    /// Why they are not those of the file as it is.
    mistake: Option<String>,
}

impl TokenFile {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// As [`Tokens::load`].
    pub fn open(path: &Path) -> Result<Self, TokenError> {
        // Ahead of the reading: a change in between is a change since.
        let stamp = Stamp::of(path);
        let tokens = Arc::new(Tokens::load(path)?);
        let found = RwLock::new(Found { stamp, tokens, mistake: None });
        Ok(Self { path: path.to_owned(), found })
    }

    /// The tokens that let in now.
    pub fn tokens(&self, journal: &Journal) -> Arc<Tokens> {
        self.look(journal).tokens
    }

    /// What is wrong with the file now, if anything is.
    pub fn mistake(&self, journal: &Journal) -> Option<String> {
        self.look(journal).mistake
    }

    /// The tokens as they were last read.
    #[must_use]
    pub fn last(&self) -> Arc<Tokens> {
        Arc::clone(&self.found.read().unwrap_or_else(PoisonError::into_inner).tokens)
    }

    /// Reads the file again if it is another than it was. One request reads, the others wait for it.
    fn look(&self, journal: &Journal) -> Found {
        let found = self.found.read().unwrap_or_else(PoisonError::into_inner).clone();
        if found.stamp.still_holds(&Stamp::of(&self.path)) {
            return found;
        }
        let mut found = self.found.write().unwrap_or_else(PoisonError::into_inner);
        let stamp = Stamp::of(&self.path);
        if found.stamp.still_holds(&stamp) {
            return found.clone();
        }
        let is_new = found.stamp.identity != stamp.identity;
        let next = match Tokens::load(&self.path) {
            Ok(tokens) => Found { stamp, tokens: Arc::new(tokens), mistake: None },
            Err(error) => Found {
                stamp,
                tokens: Arc::clone(&found.tokens),
                mistake: Some(format!("{error}; the tokens read before still let in")),
            },
        };
        if is_new || next.tokens != found.tokens || next.mistake != found.mistake {
            tell(&next, journal);
        }
        *found = next;
        found.clone()
    }
}

fn tell(found: &Found, journal: &Journal) {
    match &found.mistake {
        None => {
            let names = found.tokens.names();
            info!(journal.log, "the token file has changed"; "tokens" => %Untrusted(&names));
            journal.itself(Action::Reloaded, "the token file was read", None);
        }
        Some(mistake) => {
            error!(journal.log, "the token file is not used as it is"; "why" => %mistake);
            journal.itself(Action::Reloaded, "the token file was not read", Some(mistake));
        }
    }
}

/// Which file it is and as of when.
#[derive(Clone, Copy, Debug)]
struct Stamp {
    /// Device, inode, size, seconds and nanoseconds of its last change; None where there is none.
    identity: Option<(u64, u64, u64, i64, i64)>,
    /// Before Linux 6.13 the kernel's clock for files ticks so seldom that a change just after it was
    /// taken may show the same.
    is_settled: bool,
}

impl Stamp {
    fn of(path: &Path) -> Self {
        let Ok(file) = fs::metadata(path) else { return Self { identity: None, is_settled: true } };
        let size = file.size();
        let identity = Some((file.dev(), file.ino(), size, file.ctime(), file.ctime_nsec()));
        Self { identity, is_settled: is_settled(&file, SystemTime::now()) }
    }

    fn still_holds(&self, now: &Self) -> bool {
        self.is_settled && self.identity == now.identity
    }
}

/// Whether a change from now on would show another time than this one. A file from the future, which a
/// clock set back makes, is as good as an old one: it must not be read for each request until then.
fn is_settled(file: &Metadata, now: SystemTime) -> bool {
    let changed = Duration::new(
        file.ctime().try_into().unwrap_or_default(),
        file.ctime_nsec().try_into().unwrap_or_default(),
    );
    let changed = SystemTime::UNIX_EPOCH.checked_add(changed);
    let apart = changed.map(|changed| match now.duration_since(changed) {
        Ok(age) => age,
        Err(ahead) => ahead.duration(),
    });
    apart.is_some_and(|apart| apart > TICK)
}

/// Several times the kernel's longest tick, 10 ms at 100 Hz.
const TICK: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use std::io::Write;

    use logging::{Audit, Origin};
    use slog::{Discard, Logger, o};

    use super::*;

    const ONE: &str = "0123456789abcdef0123456789abcdef";
    const OTHER: &str = "fedcba9876543210fedcba9876543210";

    fn journal() -> Journal {
        let log = Logger::root(Discard, o!());
        let origin = Origin { program: "test", version: "0", firewall: None };
        Journal::new(log.clone(), Audit::open(None, origin, &log).unwrap())
    }

    #[test]
    fn every_change_counts_at_once_however_soon_it_follows_and_whatever_it_is_made_by() {
        let journal = journal();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, format!("{ONE} # a\n")).unwrap();
        let file = TokenFile::open(&path).unwrap();
        let finds = |secret: &str| file.tokens(&journal).find(secret).is_some();
        // Of the same size, in the same tick, by the same inode and by others in turn.
        for round in 0..200 {
            let (new, old) = if round % 2 == 0 { (OTHER, ONE) } else { (ONE, OTHER) };
            if round % 3 == 0 {
                let mut beside = tempfile::NamedTempFile::new_in(&directory).unwrap();
                writeln!(beside, "{new} # a").unwrap();
                beside.persist(&path).unwrap();
            } else {
                fs::write(&path, format!("{new} # a\n")).unwrap();
            }
            assert!(finds(new) && !finds(old), "round {round}");
        }
    }

    /// Newer kernels have finer stamps, by which the test above would not fail.
    #[test]
    fn a_stamp_is_believed_only_when_a_later_change_would_show() {
        let file = tempfile::NamedTempFile::new().unwrap().as_file().metadata().unwrap();
        let nanoseconds = file.ctime_nsec().try_into().unwrap();
        let changed = Duration::new(file.ctime().try_into().unwrap(), nanoseconds);
        let changed = SystemTime::UNIX_EPOCH + changed;
        assert!(!is_settled(&file, changed + TICK));
        assert!(is_settled(&file, changed + TICK + Duration::from_millis(1)));
        // The clock was set back, and will come to that time again.
        assert!(is_settled(&file, changed - Duration::from_secs(1)));
        assert!(!is_settled(&file, changed - TICK));
    }

    #[test]
    fn a_file_that_is_damaged_or_gone_changes_nothing_until_it_is_mended() {
        let journal = journal();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, ONE).unwrap();
        let file = TokenFile::open(&path).unwrap();
        for (text, words) in [
            (Some("short"), "at least 32 characters"),
            (Some("# none"), "holds no token"),
            (None, "cannot be read"),
        ] {
            match text {
                Some(text) => fs::write(&path, text).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            assert_eq!(file.tokens(&journal).find(ONE), Some("line-1"));
            let mistake = file.mistake(&journal).unwrap();
            assert!(mistake.contains(words) && mistake.contains("still let in"), "{mistake}");
        }
        fs::write(&path, OTHER).unwrap();
        assert_eq!(file.mistake(&journal), None);
        assert_eq!(file.tokens(&journal).find(ONE), None);
    }

    #[test]
    fn whatever_stands_in_its_place_no_request_waits_for_it() {
        let journal = journal();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, ONE).unwrap();
        let file = TokenFile::open(&path).unwrap();
        let pipe = |path: &Path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRUSR).unwrap();
        let folder = |path: &Path| fs::create_dir(path).unwrap();
        let device = |path: &Path| std::os::unix::fs::symlink("/dev/zero", path).unwrap();
        let makes: [fn(&Path); 3] = [pipe, device, folder];
        for make in makes {
            fs::remove_file(&path).unwrap();
            make(&path);
            assert_eq!(file.tokens(&journal).find(ONE), Some("line-1"));
            let mistake = file.mistake(&journal).unwrap();
            assert!(mistake.contains("no regular file"), "{mistake}");
        }
    }
}
