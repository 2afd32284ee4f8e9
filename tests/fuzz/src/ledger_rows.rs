//! The ledger: changes in any order, and what is read back.

use std::collections::BTreeMap;

use ledger::{Ended, Entry, Ledger, Live};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use protocol::{BlockInfo, EventId, Target, Text, Until};

/// What was committed is there after the file is opened again, as if it had been kept in memory.
pub(crate) fn fuzz(bytes: &[u8]) {
    let mut left = Unstructured::new(bytes);
    let mut entries = Vec::new();
    while !left.is_empty() && entries.len() < 6 {
        entries.extend(entry(&mut left));
    }
    // In memory where that is: the file is synchronised to the disk each time.
    let folder =
        ["/dev/shm", "/tmp"].into_iter().find_map(|place| tempfile::tempdir_in(place).ok());
    let folder = folder.unwrap();
    let path = folder.path().join("ledger.redb");
    let (mut blocks, mut ended, mut immune) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut adopted = false;
    let (mut file, _) = Ledger::open(&path).unwrap();
    for entry in &entries {
        file.commit(entry).unwrap();
        entry.removed.iter().for_each(|target| drop(blocks.remove(target)));
        entry.added.iter().for_each(|live| drop(blocks.insert(live.info.target, live.clone())));
        for (target, record) in &entry.ended {
            match record {
                Some(record) => ended.insert(*target, *record),
                None => ended.remove(target),
            };
        }
        for (target, until) in &entry.immune {
            match until {
                Some(until) => immune.insert(*target, *until),
                None => immune.remove(target),
            };
        }
        adopted |= entry.adopted;
    }
    drop(file);
    let (_, records) = Ledger::open(&path).unwrap();
    assert!(records.blocks.iter().eq(blocks.values()), "{:?} {blocks:?}", records.blocks);
    assert_eq!(records.ended.into_iter().collect::<BTreeMap<_, _>>(), ended);
    assert_eq!(records.immune, immune);
    assert_eq!(records.adopted, adopted);
}

fn entry(left: &mut Unstructured<'_>) -> Result<Entry> {
    let mut entry = Entry { adopted: left.arbitrary()?, ..Entry::default() };
    for _ in 0..left.int_in_range(0..=4)? {
        let target = target(left)?;
        match left.int_in_range(0..=3)? {
            0 => entry.added.push(live(target, left)?),
            1 => entry.removed.push(target),
            2 => {
                let ended = Ended { offences: left.arbitrary()?, last: left.arbitrary()? };
                entry.ended.push((target, left.arbitrary::<bool>()?.then_some(ended)));
            }
            _ => entry.immune.push((target, left.arbitrary()?)),
        }
    }
    Ok(entry)
}

/// Of few addresses, so that changes meet.
fn target(left: &mut Unstructured<'_>) -> Result<Target> {
    let last: u8 = left.int_in_range(0..=7)?;
    let texts = [
        format!("198.51.100.{last}"),
        format!("2001:db8::{last}"),
        "198.51.100.0/24".to_owned(),
        format!("2001:db8:{last}::/48"),
    ];
    Ok(left.choose(&texts)?.parse().unwrap())
}

fn live(target: Target, left: &mut Unstructured<'_>) -> Result<Live> {
    let until = if left.arbitrary()? { Until::At(left.arbitrary()?) } else { Until::Permanent };
    let info = BlockInfo {
        target,
        since: left.arbitrary()?,
        until,
        reason: Text::truncated(left.arbitrary()?),
        rule_name: Text::truncated(left.arbitrary()?),
        alert_id: Text::truncated(left.arbitrary()?),
        peer_uid: left.arbitrary()?,
        peer_pid: left.arbitrary()?,
        requester: if left.arbitrary()? { Some(target.net().addr()) } else { None },
        offences: left.arbitrary()?,
        in_force: false,
    };
    Ok(Live { info, event: EventId(left.arbitrary()?), of_this_run: false })
}
