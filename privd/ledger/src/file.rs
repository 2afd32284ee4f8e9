//! The file. redb commits are atomic and fsynced, so after a crash it holds the state of the last
//! commit.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use redb::Database;

use crate::{Entry, Records, tables};

/// The open file. redb locks it: a second daemon cannot open it.
#[derive(Debug)]
pub struct Ledger {
    /// None after an error: redb wants to be opened again then.
    database: Option<Database>,
    path: PathBuf,
}

impl Ledger {
    /// Opens or makes the file and reads everything.
    ///
    /// # Errors
    /// The file cannot be made, is in use, damaged, or in another format.
    pub fn open(path: &Path) -> Result<(Self, Records), LedgerError> {
        let directory = path.parent().unwrap_or_else(|| Path::new("/"));
        if !directory.is_dir() {
            return Err(LedgerError::NoDirectory(directory.to_owned()));
        }
        // redb panics over some damaged files (measured), and a panic ends the daemon: so each
        // attempt leaves a byte until it has come to an end, whichever.
        let attempts = path.with_extension("attempts");
        if fs::metadata(&attempts).is_ok_and(|attempts| attempts.len() >= ATTEMPTS) {
            return Err(LedgerError::of(path, redb::Error::Corrupted(CRASHES.to_owned())));
        }
        let count = File::options().create(true).append(true).open(&attempts);
        // Where the disk is full, the ledger may still be read.
        let _ = count.and_then(|mut count| count.write_all(b"."));
        let opened = Self::open_uncounted(path);
        let _ = fs::remove_file(&attempts);
        opened
    }

    fn open_uncounted(path: &Path) -> Result<(Self, Records), LedgerError> {
        let failed = |source| LedgerError::of(path, source);
        let database = open(path).map_err(failed)?;
        let records = tables::read(&database).map_err(failed)?;
        Ok((Self { database: Some(database), path: path.to_owned() }, records))
    }

    /// Puts a file that cannot be read out of the way, under a name that no other has.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn set_aside(path: &Path, wall: u64) -> io::Result<PathBuf> {
        let aside = path.with_extension(format!("damaged-{wall}"));
        fs::rename(path, &aside)?;
        let _ = fs::remove_file(path.with_extension("attempts"));
        Ok(aside)
    }

    /// Makes changes durable, all or none.
    ///
    /// # Errors
    /// The disk; nothing has changed then.
    pub fn commit(&mut self, entry: &Entry) -> Result<(), LedgerError> {
        let opened = self.database.take().map_or_else(|| open(&self.path), Ok);
        let written =
            opened.and_then(|database| tables::write(&database, entry).map(|()| database));
        self.database = Some(written.map_err(|source| LedgerError::of(&self.path, source))?);
        Ok(())
    }
}

fn open(path: &Path) -> Result<Database, redb::Error> {
    Ok(Database::builder().set_cache_size(CACHE_BYTES).create(path)?)
}

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The directory is missing.
    #[error("{dir} does not exist; make it with `install -d -m 0700 {dir}`", dir = .0.display())]
    NoDirectory(PathBuf),
    /// The file is there and cannot be had: in use, no permission, disk full.
    #[error("the ledger {} cannot be used: {source}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: redb::Error,
    },
    /// What is in it cannot be understood.
    #[error("the ledger {} is damaged, or of another release: {source}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: redb::Error,
    },
}

impl LedgerError {
    /// Whether another process works with it.
    pub const fn is_in_use(&self) -> bool {
        matches!(self, Self::Unusable { source: redb::Error::DatabaseAlreadyOpen, .. })
    }

    fn of(path: &Path, source: redb::Error) -> Self {
        let path = path.to_owned();
        match &source {
            redb::Error::Io(error) if error.kind() != io::ErrorKind::InvalidData => {
                Self::Unusable { path, source }
            }
            redb::Error::DatabaseAlreadyOpen | redb::Error::PreviousIo => {
                Self::Unusable { path, source }
            }
            _ => Self::Damaged { path, source },
        }
    }
}

/// Attempts to read a file, each of which ended the daemon: then it is damaged.
const ATTEMPTS: u64 = 3;
const CRASHES: &str = "reading it ended webhook-privd several times";
/// redb's default of 1 GiB is for databases.
const CACHE_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use protocol::{BlockInfo, EventId, Target, Text, Until};
    use redb::TableDefinition;

    use super::*;
    use crate::{Ended, Live};

    fn live(target: Target, reason: &str) -> Live {
        let info = BlockInfo {
            target,
            since: 1_790_000_000,
            until: Until::At(1_790_000_060),
            reason: Text::truncated(reason),
            rule_name: Text::truncated("SSH \"brute\" force\n"),
            alert_id: Text::default(),
            peer_uid: 999,
            peer_pid: 42,
            requester: Some("2001:db8::9".parse().unwrap()),
            offences: 2,
            in_force: false,
        };
        Live { info, event: EventId(7), of_this_run: false }
    }

    fn added(rows: Vec<Live>) -> Entry {
        Entry { added: rows, ..Entry::default() }
    }

    #[test]
    fn what_was_committed_is_there_after_reopening() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.redb");
        let targets: Vec<Target> =
            ["198.51.100.7", "198.51.100.0/24", "2001:db8::/48", "2001:db8::7"]
                .map(|text| text.parse().unwrap())
                .to_vec();
        let ended = Ended { offences: 3, last: 5 };
        {
            let (mut ledger, records) = Ledger::open(&path).unwrap();
            assert!(records.blocks.is_empty() && !records.adopted);
            ledger
                .commit(&added(targets.iter().map(|target| live(*target, "one")).collect()))
                .unwrap();
            let entry = Entry {
                added: vec![live(targets[0], "two")],
                removed: vec![targets[1]],
                ended: vec![(targets[1], Some(ended)), (targets[2], Some(ended))],
                immune: vec![(targets[1], Some(99)), (targets[2], Some(99))],
                adopted: false,
            };
            ledger.commit(&entry).unwrap();
            let entry = Entry {
                ended: vec![(targets[2], None)],
                immune: vec![(targets[2], None)],
                ..Entry::default()
            };
            ledger.commit(&entry).unwrap();
        }
        let reopened = Ledger::open(&path).unwrap();
        let records = &reopened.1;
        assert_eq!(records.blocks.len(), 3);
        assert_eq!(records.blocks.get(targets[0]), Some(&live(targets[0], "two")));
        assert_eq!(records.blocks.get(targets[3]), Some(&live(targets[3], "one")));
        assert_eq!(records.ended, HashMap::from([(targets[1], ended)]));
        assert_eq!(records.immune, BTreeMap::from([(targets[1], 99)]));
        assert!(!records.adopted, "only when it is said");
        let (mut ledger, _) = reopened;
        ledger.commit(&Entry { adopted: true, ..Entry::default() }).unwrap();
        drop(ledger);
        assert!(Ledger::open(&path).unwrap().1.adopted);
    }

    #[test]
    fn a_second_daemon_and_a_missing_directory_are_told_in_a_sentence() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.redb");
        let first = Ledger::open(&path).unwrap();
        let error = Ledger::open(&path).unwrap_err();
        assert!(error.to_string().contains("ledger.redb cannot be used"), "{error}");
        assert!(matches!(error, LedgerError::Unusable { .. }) && error.is_in_use());
        drop(first);
        let missing = directory.path().join("none/ledger.redb");
        assert!(Ledger::open(&missing).unwrap_err().to_string().contains("install -d"));
    }

    #[test]
    fn a_file_that_is_no_ledger_or_of_another_format_is_damaged_and_can_be_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.redb");
        let other = |path: &Path| {
            let database = Database::create(path).unwrap();
            let transaction = database.begin_write().unwrap();
            transaction.open_table(TableDefinition::<&str, u8>::new("blocks")).unwrap();
            transaction.commit().unwrap();
        };
        let garbage = |path: &Path| fs::write(path, "not a ledger").unwrap();
        let crashing = |path: &Path| {
            drop(Ledger::open(path).unwrap());
            fs::write(path.with_extension("attempts"), "...").unwrap();
        };
        let makes: [fn(&Path); 3] = [other, garbage, crashing];
        for (number, make) in makes.into_iter().enumerate() {
            make(&path);
            let error = Ledger::open(&path).unwrap_err();
            assert!(matches!(error, LedgerError::Damaged { .. }), "{number}: {error:?}");
            let aside = Ledger::set_aside(&path, u64::try_from(number).unwrap()).unwrap();
            assert!(aside.exists() && !path.exists());
        }
    }
}
