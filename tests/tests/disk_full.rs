//! Disks that are full: nothing acknowledged is lost, nothing of the administrator's, and what is
//! full is said.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;

use nix::sys::signal::Signal;
use serde_json::json;
use tests::filler::{Filler, PAGE};
use tests::processes::{child_of, runs};
use tests::stream::listed;
use tests::{Answer, Standing, World, until};

#[test]
fn a_full_disk_under_the_ledger_changes_nothing_in_the_firewall_and_needs_no_restart() {
    let world = on_a_small_ledger_disk();
    let mut blocks: Vec<IpAddr> = (0..20).map(address).collect();
    assert_eq!(world.post(&json!({ "ips": blocks })).status, 200);
    let privd = world.daemons().0;
    let mut refused = 0;
    for (number, pages) in (0..).zip([0, 1, 2, 3, 4, 8, 16, 32]) {
        let wanted = address(100 + number);
        let when = format!("{pages} pages free");
        let filler = Filler::beside_the_ledger(&world);
        filler.leave(pages * PAGE);
        let answer = world.post(&json!({ "ip": wanted }));
        let (text, code) = world.ctl(&["unblock", &blocks[0].to_string()]);
        if answer.status == 200 {
            blocks.push(wanted);
        } else {
            names_the_full_disk(&world, &answer, "ledger", &when);
            assert!(!Standing::now(&world).names(wanted), "{when}: {answer:?}");
            refused += 1;
        }
        if code == 0 {
            blocks.remove(0);
        } else {
            assert!(code == 2 && text.contains("ledger"), "{when}: {text}");
        }
        // What the firewall had lifted already is put back: the ledger has it.
        until("every block is in force", 20, || {
            let standing = Standing::now(&world);
            blocks.iter().all(|one| standing.lacks(*one).is_none())
        });
        assert_eq!(listed(&world), blocks.iter().copied().collect(), "{when}");
        filler.remove();
        world.block(&wanted.to_string());
        if answer.status != 200 {
            blocks.push(wanted);
        }
        let gone = blocks.remove(0);
        let (text, code) = world.ctl(&["unblock", &gone.to_string()]);
        assert_eq!(code, 0, "{when}: {text}");
        assert!(!Standing::now(&world).names(gone));
    }
    assert_eq!(world.ctl_json("status")["pid"], privd);
    assert!(refused > 0);
    eprintln!("refused: {refused} of 8");
}

#[test]
fn a_ledger_on_a_full_disk_is_never_taken_for_a_damaged_one() {
    let mut world = on_a_small_ledger_disk();
    let blocks: Vec<IpAddr> = (0..20).map(address).collect();
    assert_eq!(world.post(&json!({ "ips": blocks, "reason": "told before" })).status, 200);
    for pages in 0..6 {
        let filler = Filler::beside_the_ledger(&world);
        filler.leave(pages * PAGE);
        let answer = world.post(&json!({ "ip": address(99) }));
        assert!(matches!(answer.status, 200 | 500), "{answer:?}");
        world.stop_privd(Signal::SIGKILL);
        // Whatever it makes of that: a service manager starts it again and again.
        for _ in 0..6 {
            match world.try_start_privd() {
                Some(status) => assert!(status.code().is_some(), "{}", world.logs()),
                None => world.stop_privd(Signal::SIGKILL),
            }
        }
        filler.remove();
        world.start_privd();
        let kept: Vec<_> = fs::read_dir(world.inside(&world.path("state"))).unwrap().collect();
        let kept: Vec<_> = kept.into_iter().map(|entry| entry.unwrap().file_name()).collect();
        let aside = kept.iter().any(|name| name.to_string_lossy().contains("damaged"));
        assert!(!aside, "{pages} pages free: {kept:?}\n{}", world.logs());
        let list = world.ctl_json("list");
        let told = list.as_array().unwrap().iter().filter(|row| row["reason"] == "told before");
        assert_eq!(told.count(), blocks.len(), "{pages} pages free: {list}");
    }
}

/// A server whose /etc/ufw is a disk of 600 kB.
fn on_a_small_ufw_disk() -> World {
    let disk = "cp -a ufw whole; mount -t tmpfs -o size=600k,mode=755 tmpfs ufw; cp -a whole/. ufw";
    started(World::prepared(disk, "ufw allow 22/tcp"))
}

/// A server whose ledger is on a disk of 8 MB.
fn on_a_small_ledger_disk() -> World {
    let disk = "mount -t tmpfs -o size=8m,mode=700 tmpfs state";
    started(World::prepared(disk, "ufw allow 22/tcp"))
}

fn started(mut world: World) -> World {
    world.configure("reconcile-every = \"1s\"", "");
    world.start();
    world
}

fn address(number: u64) -> IpAddr {
    let [.., high, low] = number.to_be_bytes();
    IpAddr::from([198, 18, high, low])
}

/// Blocks addresses, and takes all room away while ufw runs; the answer, and what took the room.
fn while_the_disk_fills_up(world: &World, wanted: &[IpAddr]) -> (Answer, Filler) {
    let filler = Filler::in_ufw(world);
    let answer = std::thread::scope(|scope| {
        let asking = scope.spawn(|| world.post(&json!({ "ips": wanted })));
        let ufw = child_of(world.daemons().0, "ufw");
        // Also what ufw gives up for a moment when it begins to write.
        while runs(ufw) {
            (0..50).for_each(|_| filler.fill());
        }
        asking.join().unwrap()
    });
    (answer, filler)
}

/// Whether answer and log say that there is no room, and where.
fn names_the_full_disk(world: &World, answer: &Answer, place: &str, when: &str) {
    assert!(matches!(answer.status, 500 | 503), "{when}: {answer:?}");
    let full = |text: &str| FULL.iter().any(|words| text.contains(words));
    let message = answer.message();
    assert!(message.contains(place) && full(message), "{when}: {message}");
    let log = world.read("privd.log");
    let said = log.lines().any(|line| line.contains(place) && full(line));
    assert!(said, "{when}: no line of the log names {place} and the full disk:\n{log}");
}

/// How it may be said.
const FULL: [&str; 3] = ["no storage space", "disk full", "No space left on device"];

/// What is so with ufw alone.
mod ufw {
    use super::*;

    #[test]
    fn a_full_disk_under_ufws_files_loses_nothing_at_any_level_and_is_named() {
        let world = on_a_small_ufw_disk();
        let mut blocks: Vec<IpAddr> = (0..60).map(address).collect();
        assert_eq!(world.post(&json!({ "ips": blocks })).status, 200);
        let pages =
            fs::metadata(world.inside("/etc/ufw/user.rules")).unwrap().blocks() * 512 / PAGE;
        assert!(pages > 4, "{pages}");
        let mut refused = 0;
        for free in 0..=pages + 1 {
            let wanted = address(100 + free);
            let when = format!("{free} pages free of {pages}");
            let filler = Filler::in_ufw(&world);
            filler.leave(free * PAGE);
            let answer = world.post(&json!({ "ip": wanted }));
            if answer.status == 200 {
                blocks.push(wanted);
            } else {
                names_the_full_disk(&world, &answer, "/etc/ufw/user.rules", &when);
                refused += 1;
            }
            let standing = Standing::now(&world);
            standing.assert_administrator_is_let_in(&when);
            assert_eq!(blocks.iter().find_map(|one| standing.lacks(*one)), None, "{when}");
            filler.remove();
            world.block(&wanted.to_string());
            if answer.status != 200 {
                blocks.push(wanted);
            }
            let standing = Standing::now(&world);
            assert_eq!(blocks.iter().find_map(|one| standing.lacks(*one)), None, "{when}");
        }
        assert!(refused > 2 && refused <= pages + 1, "{refused} of {pages}");
    }

    #[test]
    fn a_disk_that_fills_up_in_the_middle_of_ufws_run_loses_nothing_and_is_named() {
        let mut world = on_a_small_ufw_disk();
        let mut blocks: Vec<IpAddr> = (0..60).map(address).collect();
        assert_eq!(world.post(&json!({ "ips": blocks })).status, 200);
        // What was damaged while privd lived on, and before it was killed.
        let mut damaged = [0, 0];
        for round in 0..16 {
            // A few are put in before ufw runs, many by ufw.
            let (many, restart) = ([1, 80][round % 2], round / 2 % 2);
            let first = 1000 * (u64::try_from(round).unwrap() + 1);
            let wanted: Vec<IpAddr> = (first..first + many).map(address).collect();
            let when = format!("{many} blocks, restart {restart}");
            let (answer, filler) = while_the_disk_fills_up(&world, &wanted);
            if answer.status == 200 {
                blocks.extend(&wanted);
            } else {
                names_the_full_disk(&world, &answer, "/etc/ufw/user.rules", &when);
            }
            let Standing { files, kernel, .. } = Standing::unlocked(&world);
            for one in blocks.iter().map(|one| format!("-A ufw-user-input -s {one}/32 -j DROP\n")) {
                assert!(kernel[0].contains(&one), "{when}: no `{one}` in the kernel");
            }
            let allow = "-A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT\n";
            assert!(kernel[0].contains(allow), "{when}: {}", kernel[0]);
            damaged[restart] += usize::from(!files[0].ends_with("COMMIT\n"));
            if restart == 1 {
                world.stop_privd(Signal::SIGKILL);
                world.start_privd_unready();
            }
            filler.remove();
            until("the file is whole again and all is in force", 20, || {
                let standing = Standing::now(&world);
                let whole = standing.files[0].ends_with("COMMIT\n");
                whole && blocks.iter().all(|one| standing.lacks(*one).is_none())
            });
            Standing::now(&world).assert_administrator_is_let_in(&when);
            assert_eq!(world.post(&json!({ "ips": wanted })).status, 200, "{when}");
            if answer.status != 200 {
                blocks.extend(&wanted);
            }
            eprintln!("{when}: answered {}, damaged so far {damaged:?}", answer.status);
            if !damaged.contains(&0) {
                return;
            }
        }
        panic!("ufw never lacked room: {damaged:?}");
    }
}
