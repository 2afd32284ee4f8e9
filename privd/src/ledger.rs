//! The ledger: every live block, what ended, and what may not come back yet, on disk before it is
//! acknowledged.
//!
//! redb commits are atomic and fsynced, so after a crash the file holds the state of the last
//! commit. The values' types are part of the tables: a file of another format is told apart when
//! it is opened.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hosttext::mark::Mark;
use protocol::{BlockInfo, Enforced, EventId, Target, Text, Until};
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

/// A live block.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Live {
    /// What peers are told of it.
    pub info: BlockInfo,
    /// The request that made it.
    pub event: EventId,
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
}

impl Entry {
    /// Whether there is nothing to write.
    pub const fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.removed.is_empty()
            && self.ended.is_empty()
            && self.immune.is_empty()
    }
}

/// The open file. redb locks it: a second daemon cannot open it.
#[derive(Debug)]
pub struct Ledger {
    database: Database,
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
        let failed = |source| LedgerError::of(path, source);
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(path);
        let database = database.map_err(|error| failed(error.into()))?;
        let ledger = Self { database, path: path.to_owned() };
        let records = ledger.read().map_err(failed)?;
        Ok((ledger, records))
    }

    /// Puts a file that cannot be read out of the way, under a name that no other has.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn set_aside(path: &Path, wall: u64) -> io::Result<PathBuf> {
        let aside = path.with_extension(format!("damaged-{wall}"));
        fs::rename(path, &aside)?;
        Ok(aside)
    }

    /// Makes changes durable, all or none.
    ///
    /// # Errors
    /// The disk; nothing has changed then.
    pub fn commit(&self, entry: &Entry) -> Result<(), LedgerError> {
        self.write(entry).map_err(|source| LedgerError::of(&self.path, source))
    }

    fn write(&self, entry: &Entry) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
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
            transaction.open_table(ADOPTED)?.insert((), ())?;
        }
        transaction.commit()?;
        Ok(())
    }

    fn read(&self) -> Result<Records, redb::Error> {
        // Opening for writing makes the tables in a new file.
        let transaction = self.database.begin_write()?;
        transaction.open_table(BLOCKS)?;
        transaction.open_table(ENDED)?;
        transaction.open_table(IMMUNE)?;
        transaction.open_table(ADOPTED)?;
        transaction.commit()?;
        let transaction = self.database.begin_read()?;
        let mut records = Records {
            adopted: !transaction.open_table(ADOPTED)?.is_empty()?,
            ..Records::default()
        };
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
}

fn insert(table: &mut redb::Table<'_, &str, Value>, live: &Live) -> Result<(), redb::StorageError> {
    let Live { info, event } = live;
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
    Live { info, event: EventId(event) }
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
/// redb's default of 1 GiB is for databases.
const CACHE_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests;
