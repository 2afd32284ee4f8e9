//! nftables in the place of ufw on booted machines: at boot, where there is no ufw, in both directions
//! of a change, through an upgrade, a removal and a purge.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::sessions::Sessions;
use tests::{Container, Disk, until};

const ATTACKER: &str = "203.0.113.7";
const ATTACKER6: &str = "2001:db8:113::7";
const PRIVD: &str = "webhook-privd.service";
const RECOVER: &str = "webhook-privd-recover.service";

#[test]
fn without_ufw_blocks_are_in_force_before_the_network_is_up() {
    let disk = Disk::bare();
    disk.sh("dpkg --purge ufw conntrack iptables
        dpkg --install /root/webhookd.deb; webhookctl init --renew --san 10.9.0.1");
    // It empties nftables when it starts, at every boot; late enough to empty what did not wait.
    disk.sh(&format!(
        "{}; systemctl --quiet enable nftables; mkdir /etc/systemd/system/nftables.service.d
         printf '[Service]\\nExecStartPre=sleep 2\\n' >/etc/systemd/system/nftables.service.d/late.conf",
        Container::NFTABLES
    ));
    let mut machine = Container::from(disk);
    for (server, attacker) in [("203.0.113.1", ATTACKER), ("2001:db8:113::1", ATTACKER6)] {
        let mut sessions =
            Sessions::between(machine.network(), server, machine.neighbour(), attacker);
        assert_eq!(machine.block(attacker).outcomes(), ["blocked"]);
        assert_eq!(sessions.alive(), [""; 0], "{attacker}");
    }
    assert!(!machine.attacker_connects());

    // The recovery alone, without the daemon.
    machine.reboot("systemctl --quiet mask webhook-privd.service webhook-privd.socket");
    assert!(!machine.attacker_connects());
    assert_eq!(machine.property(PRIVD, "ActiveState"), "inactive");
    let time = |unit, name| machine.property(unit, name).parse::<u64>().unwrap();
    let loaded = time(RECOVER, "ExecMainExitTimestampMonotonic");
    assert!(time("nftables.service", "ExecMainExitTimestampMonotonic") > 0);
    assert!(
        time("nftables.service", "ExecMainExitTimestampMonotonic")
            <= time(RECOVER, "ExecMainStartTimestampMonotonic")
    );
    assert!(loaded > 0 && loaded <= time("network-pre.target", "ActiveEnterTimestampMonotonic"));
    assert_eq!(machine.sh("systemctl --failed | grep -E 'webhook|nftables' || true"), "");
    assert!(machine.journal().contains("blocks are in nftables again, blocks: 2"));

    machine.sh("systemctl unmask webhook-privd.service webhook-privd.socket
        systemctl start webhook-privd.socket webhook-privd.service");
    for address in [ATTACKER, ATTACKER6] {
        assert_eq!(machine.block(address).outcomes(), ["already-blocked"]);
    }
    // Beside the daemon it leaves alone what it finds.
    machine.block("198.51.100.1");
    let said = machine.sh("webhook-privd --recover");
    assert!(said.contains("webhook-privd runs, and sees to its blocks itself"), "{said}");
    machine.sh("nft 'get element inet webhookd v4_32 { 198.51.100.1 }'");
    assert!(!machine.attacker_connects());
}

#[test]
fn the_engine_changes_by_a_line_and_a_restart_and_the_attacker_stays_out() {
    // The engine before lets go at a look.
    let often =
        "sed -i 's/^#reconcile-every = .*/reconcile-every = \"2s\"/' /etc/webhookd/privd.toml";
    let machine = Container::boot_with(often);
    machine.sh("ufw deny from 192.0.2.66 comment theirs");
    for address in [ATTACKER, ATTACKER6] {
        machine.block(address);
    }
    let ours = || machine.sh("ufw status").matches("webhookd:").count();
    let table = || machine.run("nft list tables | grep -x 'table inet webhookd'").status.success();
    assert!(ours() >= 4 && !table());
    let change = || {
        machine.sh(&format!("{}; systemctl restart {PRIVD}", Container::NFTABLES));
        assert_eq!(machine.block(ATTACKER).outcomes(), ["already-blocked"]);
        until("ufw holds none of ours", 30, || ours() == 0);
        assert!(table());
        machine.sh("nft 'get element inet webhookd v4_32 { 203.0.113.7 }' >/dev/null
            nft 'get element inet webhookd v6_128 { 2001:db8:113::7 }' >/dev/null
            ufw status | grep -q 192.0.2.66");
        // What ufw lets in is protected all the same, and ufw need not be on.
        machine.sh("ufw allow from 198.51.100.77");
        let answer = machine.post(&json!({ "ips": ["198.51.100.77", "198.51.100.1"] }));
        assert_eq!(answer.outcomes(), ["refused", "blocked"], "{answer:?}");
        machine.sh("ufw disable");
        assert_eq!(machine.block("198.51.100.2").outcomes(), ["blocked"]);
        machine.sh("ufw --force enable");

        machine.sh(&format!("{}; systemctl restart {PRIVD}", Container::UFW));
        until("nftables holds none of ours", 30, || !table());
    };
    std::thread::scope(|scope| {
        let change = scope.spawn(change);
        // One for all attempts: what the other thread starts has it open for a moment, too.
        let _listener = machine.network().listen("203.0.113.1:22");
        while !change.is_finished() {
            let port = ([203, 0, 113, 1], 22).into();
            let came = machine.neighbour().connect(port, Duration::from_millis(700));
            assert!(came.is_err(), "the attacker came in");
        }
    });
    let kernel = machine.sh("iptables -S ufw-user-input; ip6tables -S ufw6-user-input");
    for address in ["203.0.113.7/32", "198.51.100.1/32", "198.51.100.2/32", "2001:db8:113::7/128"] {
        assert!(kernel.contains(&format!("-s {address} -j DROP")), "{address}\n{kernel}");
    }
    assert_eq!(machine.block("198.51.100.2").outcomes(), ["already-blocked"]);
}

#[test]
fn blocks_outlive_an_upgrade_and_a_removal_and_a_purge_takes_them_away() {
    let machine = Container::boot_with(Container::NFTABLES);
    machine.block(ATTACKER);
    let said = machine.upgrade_under_alerts();
    assert!(said.contains("All is well."), "{said}");
    assert!(!machine.attacker_connects());
    assert_eq!(machine.block(ATTACKER).outcomes(), ["already-blocked"]);
    machine.block(ATTACKER6);

    let said = machine.sh("dpkg --remove webhookd");
    assert!(said.contains("Blocks of webhookd stay in nftables"), "{said}");
    assert!(!machine.attacker_connects());
    // As it was said.
    let lift = "sudo nft 'delete element inet webhookd v4_32 { ADDRESS }'";
    assert!(said.contains(lift), "{said}");
    machine.sh(&lift.replace("sudo ", "").replace("ADDRESS", ATTACKER));
    assert!(machine.attacker_connects());
    machine.sh("nft 'get element inet webhookd v6_128 { 2001:db8:113::7 }'");

    // Installed again, it goes on where it was.
    machine.sh("dpkg --install /root/webhookd.deb");
    assert!(!machine.attacker_connects());
    let said = machine.sh("dpkg --purge webhookd");
    assert!(said.contains("Lifted the blocks of webhookd in nftables"), "{said}");
    assert_eq!(machine.sh("nft list tables | grep webhookd || true"), "");
    assert!(machine.attacker_connects());
}

/// Under the units: on a host of two cores it takes 5 ms.
#[test]
fn a_new_block_takes_milliseconds_and_a_restart_of_the_machines_own_rules_lasts_moments() {
    let machine = Container::boot_with(Container::NFTABLES);
    let mut times: Vec<Duration> = (1..=20)
        .map(|host| {
            let began = Instant::now();
            machine.block(&format!("198.51.100.{host}"));
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    eprintln!("a new block takes {:?}", times[times.len() / 2]);
    assert!(times[times.len() / 2] < Duration::from_millis(30), "{times:?}");

    machine.block(ATTACKER);
    machine.sh("systemctl start nftables; nft flush ruleset");
    until("the block is in force again", 20, || !machine.attacker_connects());
    assert_eq!(machine.block("198.51.100.1").outcomes(), ["already-blocked"]);
}
