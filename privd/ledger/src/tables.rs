//! The tables of the ledger's file, and how a block becomes a row and a row a block.
//!
//! The values' types are part of the tables: a file of another format is told apart when it is
//! opened.

use std::collections::HashSet;

use protocol::{BlockInfo, EventId, Target, Text, Until};
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

use crate::{Ended, Entry, Live, Records};

/// Writes an entry in one transaction, fsynced.
pub(crate) fn write(database: &Database, entry: &Entry) -> Result<(), redb::Error> {
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

/// Reads everything, and makes the tables in a new file.
pub(crate) fn read(database: &Database) -> Result<Records, redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(BLOCKS)?;
    transaction.open_table(ENDED)?;
    transaction.open_table(IMMUNE)?;
    transaction.open_table(ADOPTED)?;
    transaction.commit()?;
    let transaction = database.begin_read()?;
    let mut records =
        Records { adopted: !transaction.open_table(ADOPTED)?.is_empty()?, ..Records::default() };
    let mut texts = HashSet::new();
    let table = transaction.open_table(BLOCKS)?;
    for row in table.iter()? {
        let (key, value) = row?;
        let Ok(target) = key.value().parse() else { continue };
        records.blocks.insert(live(target, value.value(), &mut texts));
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

fn live(
    target: Target,
    value: <Value as redb::Value>::SelfType<'_>,
    known: &mut HashSet<Text>,
) -> Live {
    // What one request or rule said of many blocks is kept once.
    let mut text = |text: &str| {
        known.get(text).cloned().unwrap_or_else(|| {
            let text = Text::truncated(text);
            known.insert(text.clone());
            text
        })
    };
    let (since, until, offences, event, (peer_uid, peer_pid, requester), texts) = value;
    let (reason, rule_name, alert_id) = texts;
    let info = BlockInfo {
        target,
        since,
        until: until.map_or(Until::Permanent, Until::At),
        reason: text(reason),
        rule_name: text(rule_name),
        alert_id: text(alert_id),
        peer_uid,
        peer_pid,
        requester: requester.parse().ok(),
        offences,
        in_force: false,
    };
    Live { info, event: EventId(event), of_this_run: false }
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
