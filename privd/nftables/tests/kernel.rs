//! The kernel's own answers, each test in a network namespace that ends with its thread. Needs root.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a broken test must fail at once, on the line that broke"
)]

use std::collections::BTreeSet;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nftables::connection::{Connection, NftError};
use nftables::element::{Element, change, replace};
use nftables::set::Set;
use nftables::table;
use nix::sched::{CloneFlags, unshare};
use protocol::Target;

/// Runs a test where no table is.
fn alone(test: impl FnOnce(&mut Connection) + Send) {
    thread::scope(|scope| {
        let work = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("root: run `sudo tests/run`");
            test(&mut Connection::open().unwrap());
        });
        work.join().unwrap();
    });
}

fn nft(script: &str) {
    assert!(Command::new("/usr/sbin/nft").arg(script).status().unwrap().success(), "{script}");
}

fn make(targets: &[Target]) {
    let sets: BTreeSet<Set> = targets.iter().copied().map(Set::of).collect();
    nft(&table::script(&sets));
}

fn targets() -> Vec<Target> {
    ["198.51.100.7", "198.51.100.0/24", "198.51.100.0/25", "2001:db8::7", "2001:db8::/64"]
        .map(|text| text.parse().unwrap())
        .to_vec()
}

const fn element(target: Target, left: Option<Duration>) -> Element {
    Element { target, left, packets: 0 }
}

#[test]
fn overlapping_networks_are_added_found_and_deleted_one_by_one() {
    alone(|kernel| {
        let targets = targets();
        make(&targets);
        let elements: Vec<Element> = targets.iter().map(|one| element(*one, None)).collect();
        let generation = kernel.generation().unwrap();
        kernel.commit(&mut change(&[], &elements).unwrap(), generation).unwrap();
        assert_eq!(kernel.generation().unwrap(), generation + 1);
        let found = kernel.find(&targets).unwrap();
        assert!(
            found.iter().zip(&elements).all(|(found, element)| found.as_ref() == Some(element))
        );
        kernel.commit(&mut change(&targets[1..2], &[]).unwrap(), generation + 1).unwrap();
        let found: Vec<bool> = kernel.find(&targets).unwrap().iter().map(Option::is_some).collect();
        assert_eq!(found, [true, false, true, true, true]);
        // What is not there can be deleted too.
        kernel.commit(&mut change(&targets, &[]).unwrap(), generation + 2).unwrap();
        assert!(kernel.find(&targets).unwrap().iter().all(Option::is_none));
    });
}

#[test]
fn a_change_after_somebody_elses_is_refused_and_changes_nothing() {
    alone(|kernel| {
        let target = targets()[0];
        make(&[target]);
        let generation = kernel.generation().unwrap();
        nft("add table inet other");
        let error = kernel
            .commit(&mut change(&[], &[element(target, None)]).unwrap(), generation)
            .unwrap_err();
        assert!(error.is_stale(), "{error}");
        let mut kernel = Connection::open().unwrap();
        assert_eq!(kernel.find(&[target]).unwrap(), [None]);
    });
}

#[test]
fn an_element_that_is_there_spoils_a_transaction_that_expects_it_not_to_be() {
    alone(|kernel| {
        let targets = targets();
        make(&targets);
        let generation = kernel.generation().unwrap();
        kernel.commit(&mut change(&[], &[element(targets[0], None)]).unwrap(), generation).unwrap();
        let both = [element(targets[3], None), element(targets[0], None)];
        let error = kernel.commit(&mut change(&[], &both).unwrap(), generation + 1).unwrap_err();
        assert!(error.is_known(), "{error}");
        let mut kernel = Connection::open().unwrap();
        assert_eq!(kernel.find(&targets[3..4]).unwrap(), [None], "all or nothing");
        kernel.commit(&mut change(&targets[..1], &both).unwrap(), generation + 1).unwrap();
        assert!(kernel.find(&targets[3..4]).unwrap()[0].is_some());
    });
}

#[test]
fn the_kernel_counts_a_timeout_down_and_lets_the_element_go_at_its_end() {
    alone(|kernel| {
        let targets = targets();
        make(&targets);
        let long = Duration::from_secs(10 * 365 * 86_400);
        let elements = [
            element(targets[0], Some(Duration::from_millis(300))),
            element(targets[1], Some(long)),
            element(targets[3], None),
        ];
        let generation = kernel.generation().unwrap();
        kernel.commit(&mut change(&[], &elements).unwrap(), generation).unwrap();
        let left = |kernel: &mut Connection, target: Target| {
            kernel.find(&[target]).unwrap()[0].map(|element| element.left)
        };
        let of_long = left(kernel, targets[1]).unwrap().unwrap();
        assert!(of_long <= long && of_long > long - Duration::from_secs(5), "{of_long:?}");
        assert_eq!(left(kernel, targets[3]), Some(None));
        let begun = Instant::now();
        while left(kernel, targets[0]).is_some() {
            assert!(begun.elapsed() < Duration::from_secs(10), "it never ends");
        }
    });
}

#[test]
fn a_table_that_was_made_anew_changed_or_put_to_sleep_has_other_handles() {
    alone(|kernel| {
        assert_eq!(kernel.table().unwrap(), None);
        assert!(kernel.sets().unwrap().is_empty());
        let targets = targets();
        make(&targets);
        let made = kernel.table().unwrap().unwrap();
        assert!(made.is_awake());
        assert_eq!(kernel.sets().unwrap().len(), 5);
        nft("add table inet webhookd { flags dormant; }");
        assert!(!kernel.table().unwrap().unwrap().is_awake());
        make(&targets);
        let woken = kernel.table().unwrap().unwrap();
        assert!(woken.is_awake(), "the script wakes it");
        nft("flush chain inet webhookd prerouting");
        assert_ne!(kernel.table().unwrap().unwrap(), woken);
        nft("delete table inet webhookd");
        assert_eq!(kernel.table().unwrap(), None);
        assert!(matches!(kernel.find(&targets), Ok(found) if found.iter().all(Option::is_none)));
    });
}

#[test]
fn the_whole_of_the_sets_is_replaced_and_listed() {
    alone(|kernel| {
        let old: Target = "192.0.2.9".parse().unwrap();
        make(&[old]);
        let generation = kernel.generation().unwrap();
        kernel.commit(&mut change(&[], &[element(old, None)]).unwrap(), generation).unwrap();
        let number =
            |number: u32| Target::host(std::net::Ipv4Addr::from(0x2d00_0000 + number).into());
        let blocked: Vec<Element> = (0..5_000).map(|n| element(number(n), None)).collect();
        kernel
            .commit(&mut replace([Set::of(old)].into_iter(), &blocked).unwrap(), generation + 1)
            .unwrap();
        // While the kernel makes its table larger, which it does behind a change, a list has gaps.
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let listed: BTreeSet<Target> =
                kernel.list(Set::of(old)).unwrap().iter().map(|element| element.target).collect();
            if listed == blocked.iter().map(|element| element.target).collect() {
                break;
            }
            assert!(Instant::now() < deadline, "{} of {}", listed.len(), blocked.len());
        }
        let missing = kernel.commit(
            &mut replace([Set::of("10.0.0.0/9".parse().unwrap())].into_iter(), &[]).unwrap(),
            1,
        );
        assert!(matches!(missing, Err(NftError::Kernel(_))), "{missing:?}");
    });
}
