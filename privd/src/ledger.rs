//! The ledger: every live block, on disk before it is acknowledged.
//!
//! One redb table. redb commits are atomic and fsynced, so after a crash the file holds the state
//! of the last commit. The value's type is part of the table: a file of another format is told
//! apart when it is opened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use protocol::{BlockInfo, Enforced, EventId, Target, Text, Until};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

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
}

/// The open file. redb locks it: a second daemon cannot open it.
#[derive(Debug)]
pub struct Ledger {
    database: Database,
    path: PathBuf,
}

impl Ledger {
    /// Opens or makes the file and reads every live block.
    ///
    /// # Errors
    /// The file cannot be made, is damaged, in use, or in another format.
    pub fn open(path: &Path) -> Result<(Self, BTreeMap<Target, Live>), LedgerError> {
        let directory = path.parent().unwrap_or_else(|| Path::new("/"));
        if !directory.is_dir() {
            return Err(LedgerError::NoDirectory(directory.to_owned()));
        }
        let failed = |source: redb::Error| LedgerError::File { path: path.to_owned(), source };
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(path)
            .map_err(|error| failed(error.into()))?;
        let ledger = Self { database, path: path.to_owned() };
        let records = ledger.read().map_err(failed)?;
        Ok((ledger, records))
    }

    /// Makes additions and removals durable, all or none.
    ///
    /// # Errors
    /// The disk; nothing has changed then.
    pub fn commit(&self, added: &[Live], removed: &[Target]) -> Result<(), LedgerError> {
        self.write(added, removed)
            .map_err(|source| LedgerError::File { path: self.path.clone(), source })
    }

    fn write(&self, added: &[Live], removed: &[Target]) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(BLOCKS)?;
            for target in removed {
                table.remove(&*target.to_string())?;
            }
            for Live { info, event } in added {
                let requester = info.requester.map(|address| address.to_string());
                let until = match info.until {
                    Until::Permanent => None,
                    Until::At(time) => Some(time),
                };
                let value = (
                    info.since,
                    until,
                    event.0,
                    info.peer_uid,
                    info.peer_pid,
                    requester.as_deref().unwrap_or_default(),
                    &*info.reason,
                    &*info.rule_name,
                    &*info.alert_id,
                );
                table.insert(&*info.target.to_string(), value)?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn read(&self) -> Result<BTreeMap<Target, Live>, redb::Error> {
        // Opening for writing makes the table in a new file.
        let transaction = self.database.begin_write()?;
        transaction.open_table(BLOCKS)?;
        transaction.commit()?;
        let mut records = BTreeMap::new();
        for row in self.database.begin_read()?.open_table(BLOCKS)?.iter()? {
            let (key, value) = row?;
            let Ok(target) = key.value().parse() else { continue };
            let (since, until, event, peer_uid, peer_pid, requester, reason, rule_name, alert_id) =
                value.value();
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
                in_force: false,
            };
            records.insert(target, Live { info, event: EventId(event) });
        }
        Ok(records)
    }
}

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The directory is missing.
    #[error("{dir} does not exist; make it with `install -d -m 0700 {dir}`", dir = .0.display())]
    NoDirectory(PathBuf),
    /// redb's error.
    #[error("the ledger {} cannot be used: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: redb::Error,
    },
}

/// since, until, event, peer uid, peer pid, requester, reason, rule name, alert id.
type Value =
    (u64, Option<u64>, u128, u32, i32, &'static str, &'static str, &'static str, &'static str);

/// The key is the target as text.
const BLOCKS: TableDefinition<'_, &str, Value> = TableDefinition::new("blocks");
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
            in_force: false,
        };
        Live { info, event: EventId(7) }
    }

    #[test]
    fn what_was_committed_is_there_after_reopening() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.redb");
        let targets: Vec<Target> =
            ["198.51.100.7", "198.51.100.0/24", "2001:db8::/48", "2001:db8::7"]
                .map(|text| text.parse().unwrap())
                .to_vec();
        {
            let (ledger, records) = Ledger::open(&path).unwrap();
            assert!(records.is_empty());
            let rows: Vec<_> = targets.iter().map(|target| live(*target, "one")).collect();
            ledger.commit(&rows, &[]).unwrap();
            ledger.commit(&[live(targets[0], "two")], &[targets[1]]).unwrap();
        }
        let (_, records) = Ledger::open(&path).unwrap();
        assert_eq!(records.len(), 3);
        assert_eq!(records[&targets[0]], live(targets[0], "two"));
        assert_eq!(records[&targets[3]], live(targets[3], "one"));
    }

    #[test]
    fn a_second_daemon_and_a_damaged_file_are_told_in_a_sentence() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.redb");
        let first = Ledger::open(&path).unwrap();
        let error = Ledger::open(&path).unwrap_err().to_string();
        assert!(error.contains("ledger.redb cannot be used"), "{error}");
        drop(first);
        std::fs::write(&path, "not a ledger").unwrap();
        assert!(Ledger::open(&path).is_err());
        let missing = directory.path().join("none/ledger.redb");
        assert!(Ledger::open(&missing).unwrap_err().to_string().contains("install -d"));
    }
}
