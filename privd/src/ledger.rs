//! The ledger: every live block, what ended, and what may not come back yet, on disk before it is
//! acknowledged.
//!
//! redb commits are atomic and fsynced, so after a crash the file holds the state of the last
//! commit. The values' types are part of the tables: a file of another format is told apart when
//! it is opened.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use firewall::Mark;
use protocol::{BlockInfo, Enforced, EventId, Target, Text, Until};
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

/// A live block.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Live {
    /// What peers are told of it.
    pub info: BlockInfo,
    /// The request that made it.
    pub event: EventId,
    /// Whether this process began it: then its times are as wrong as the clock was.
    pub of_this_run: bool,
}

impl Live {
    /// How its target is blocked.
    pub const fn enforced(&self) -> Enforced {
        Enforced { target: self.info.target, until: self.info.until }
    }

    /// What marks its rules.
    pub const fn mark(&self) -> Mark {
        Mark::new(self.event, self.info.until)
    }

    /// Whether its time has come.
    pub const fn is_over(&self, wall: u64) -> bool {
        matches!(self.info.until, Until::At(end) if end <= wall)
    }
}

/// What is remembered of a target whose blocks ended by themselves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ended {
    /// How many.
    pub offences: u32,
    /// When the last one did, in seconds since the Unix epoch.
    pub last: u64,
}

/// Everything that the ledger holds.
#[derive(Debug, Default)]
pub struct Records {
    /// Live blocks.
    pub blocks: BTreeMap<Target, Live>,
    /// Ended ones.
    pub ended: HashMap<Target, Ended>,
    /// Until when alerts cannot put a target back.
    pub immune: BTreeMap<Target, u64>,
    /// False in a new ledger: the firewall may hold blocks that it does not know.
    pub adopted: bool,
}

/// Changes that become durable together.
#[derive(Debug, Default)]
pub struct Entry {
    /// Blocks that begin, or change.
    pub added: Vec<Live>,
    /// Blocks that are gone.
    pub removed: Vec<Target>,
    /// Offences to remember; None: to forget.
    pub ended: Vec<(Target, Option<Ended>)>,
    /// Immunities; None: over.
    pub immune: Vec<(Target, Option<u64>)>,
    /// Whether the firewall's rules have been taken over into this ledger.
    pub adopted: bool,
}

impl Entry {
    /// Whether there is nothing to write.
    pub const fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.removed.is_empty()
            && self.ended.is_empty()
            && self.immune.is_empty()
            && !self.adopted
    }
}

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
        let records = read(&database).map_err(failed)?;
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
        let written = opened.and_then(|database| write(&database, entry).map(|()| database));
        self.database = Some(written.map_err(|source| LedgerError::of(&self.path, source))?);
        Ok(())
    }
}

fn open(path: &Path) -> Result<Database, redb::Error> {
    Ok(Database::builder().set_cache_size(CACHE_BYTES).create(path)?)
}

fn write(database: &Database, entry: &Entry) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut blocks = transaction.open_table(BLOCKS)?;
        for target in &entry.removed {
            blocks.remove(&*target.to_string())?;
        }
        for live in &entry.added {
            insert(&mut blocks, live)?;
        }
        let mut ended = transaction.open_table(ENDED)?;
        for (target, record) in &entry.ended {
            let key = target.to_string();
            match record {
                Some(Ended { offences, last }) => ended.insert(&*key, (*offences, *last))?,
                None => ended.remove(&*key)?,
            };
        }
        let mut immune = transaction.open_table(IMMUNE)?;
        for (target, until) in &entry.immune {
            let key = target.to_string();
            match until {
                Some(until) => immune.insert(&*key, *until)?,
                None => immune.remove(&*key)?,
            };
        }
        if entry.adopted {
            transaction.open_table(ADOPTED)?.insert((), ())?;
        }
    }
    transaction.commit()?;
    Ok(())
}

fn read(database: &Database) -> Result<Records, redb::Error> {
    // Opening for writing makes the tables in a new file.
    let transaction = database.begin_write()?;
    transaction.open_table(BLOCKS)?;
    transaction.open_table(ENDED)?;
    transaction.open_table(IMMUNE)?;
    transaction.open_table(ADOPTED)?;
    transaction.commit()?;
    let transaction = database.begin_read()?;
    let mut records =
        Records { adopted: !transaction.open_table(ADOPTED)?.is_empty()?, ..Records::default() };
    for row in transaction.open_table(BLOCKS)?.iter()? {
        let (key, value) = row?;
        let Ok(target) = key.value().parse() else { continue };
        records.blocks.insert(target, live(target, value.value()));
    }
    for row in transaction.open_table(ENDED)?.iter()? {
        let (key, value) = row?;
        let (Ok(target), (offences, last)) = (key.value().parse(), value.value()) else { continue };
        records.ended.insert(target, Ended { offences, last });
    }
    for row in transaction.open_table(IMMUNE)?.iter()? {
        let (key, until) = row?;
        let Ok(target) = key.value().parse() else { continue };
        records.immune.insert(target, until.value());
    }
    Ok(records)
}

fn insert(table: &mut redb::Table<'_, &str, Value>, live: &Live) -> Result<(), redb::StorageError> {
    let Live { info, event, .. } = live;
    let requester = info.requester.map(|address| address.to_string()).unwrap_or_default();
    let until = match info.until {
        Until::Permanent => None,
        Until::At(time) => Some(time),
    };
    let peer = (info.peer_uid, info.peer_pid, requester.as_str());
    let texts = (&*info.reason, &*info.rule_name, &*info.alert_id);
    let value = (info.since, until, info.offences, event.0, peer, texts);
    table.insert(&*info.target.to_string(), value).map(drop)
}

fn live(target: Target, value: <Value as redb::Value>::SelfType<'_>) -> Live {
    let (since, until, offences, event, (peer_uid, peer_pid, requester), texts) = value;
    let (reason, rule_name, alert_id) = texts;
    let info = BlockInfo {
        target,
        since,
        until: until.map_or(Until::Permanent, Until::At),
        reason: Text::truncated(reason),
        rule_name: Text::truncated(rule_name),
        alert_id: Text::truncated(alert_id),
        peer_uid,
        peer_pid,
        requester: requester.parse().ok(),
        offences,
        in_force: false,
    };
    Live { info, event: EventId(event), of_this_run: false }
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

/// since, until, offences, event, (peer uid, peer pid, requester), (reason, rule name, alert id).
type Value = (
    u64,
    Option<u64>,
    u32,
    u128,
    (u32, i32, &'static str),
    (&'static str, &'static str, &'static str),
);

/// The keys are targets as text.
const BLOCKS: TableDefinition<'_, &str, Value> = TableDefinition::new("blocks");
const ENDED: TableDefinition<'_, &str, (u32, u64)> = TableDefinition::new("ended");
/// Until when, in seconds since the Unix epoch.
const IMMUNE: TableDefinition<'_, &str, u64> = TableDefinition::new("immune");
/// Has a row once anything was written.
const ADOPTED: TableDefinition<'_, (), ()> = TableDefinition::new("adopted");
/// Attempts to read a file, each of which ended the daemon: then it is damaged.
const ATTEMPTS: u64 = 3;
const CRASHES: &str = "reading it ended webhook-privd several times";
/// redb's default of 1 GiB is for databases.
const CACHE_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(records.blocks[&targets[0]], live(targets[0], "two"));
        assert_eq!(records.blocks[&targets[3]], live(targets[3], "one"));
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
        assert!(matches!(error, LedgerError::Unusable { .. }));
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
