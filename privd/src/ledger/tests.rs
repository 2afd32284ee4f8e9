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
    Live { info, event: EventId(7) }
}

fn added(rows: Vec<Live>) -> Entry {
    Entry { added: rows, ..Entry::default() }
}

#[test]
fn what_was_committed_is_there_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.redb");
    let targets: Vec<Target> = ["198.51.100.7", "198.51.100.0/24", "2001:db8::/48", "2001:db8::7"]
        .map(|text| text.parse().unwrap())
        .to_vec();
    let ended = Ended { offences: 3, last: 5 };
    {
        let (ledger, records) = Ledger::open(&path).unwrap();
        assert!(records.blocks.is_empty() && !records.adopted);
        ledger.commit(&added(targets.iter().map(|target| live(*target, "one")).collect())).unwrap();
        let entry = Entry {
            added: vec![live(targets[0], "two")],
            removed: vec![targets[1]],
            ended: vec![(targets[1], Some(ended)), (targets[2], Some(ended))],
            immune: vec![(targets[1], Some(99)), (targets[2], Some(99))],
        };
        ledger.commit(&entry).unwrap();
        let entry = Entry {
            ended: vec![(targets[2], None)],
            immune: vec![(targets[2], None)],
            ..Entry::default()
        };
        ledger.commit(&entry).unwrap();
    }
    let (_, records) = Ledger::open(&path).unwrap();
    assert_eq!(records.blocks.len(), 3);
    assert_eq!(records.blocks[&targets[0]], live(targets[0], "two"));
    assert_eq!(records.blocks[&targets[3]], live(targets[3], "one"));
    assert_eq!(records.ended, HashMap::from([(targets[1], ended)]));
    assert_eq!(records.immune, BTreeMap::from([(targets[1], 99)]));
    assert!(records.adopted);
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
    let cut = |path: &Path| {
        drop(Ledger::open(path).unwrap());
        fs::File::options().write(true).open(path).unwrap().set_len(5000).unwrap();
    };
    for (number, make) in [other as fn(&Path), garbage, cut].into_iter().enumerate() {
        make(&path);
        let error = Ledger::open(&path).unwrap_err();
        assert!(matches!(error, LedgerError::Damaged { .. }), "{number}: {error:?}");
        let aside = Ledger::set_aside(&path, u64::try_from(number).unwrap()).unwrap();
        assert!(aside.exists() && !path.exists());
    }
}
