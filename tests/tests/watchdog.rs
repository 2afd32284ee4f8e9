//! systemd's watchdog starts a daemon afresh that does not move, and leaves one alone whose ufw is slow.

use serde_json::json;
use tests::{Container, until};

const ATTACKER: &str = "203.0.113.7";
const PRIVD: &str = "webhook-privd.service";
const FRONTEND: &str = "webhookd.service";

/// A machine whose watchdogs wait no longer than a test can, and whose ufw waits while /etc/hold-ufw
/// is there.
fn boot() -> Container {
    Container::boot_with(
        "for unit in webhookd webhook-privd; do
             mkdir -p /etc/systemd/system/$unit.service.d
             printf '[Service]\\nWatchdogSec=3s\\n' >/etc/systemd/system/$unit.service.d/soon.conf
         done
         cp /usr/sbin/ufw /usr/sbin/ufw-itself
         printf '#!/bin/sh\\nwhile test -e /etc/hold-ufw; do sleep 0.01; done\\nexec ufw-itself \"$@\"\\n' \
             >/usr/sbin/ufw",
    )
}

/// Waits until the watchdog has ended this process of the unit and another one runs.
fn until_started_afresh(machine: &Container, unit: &str, pid: &str) {
    machine.until_afresh(unit, pid);
    let said = format!("{unit}: Watchdog timeout");
    until("the journal says why", 20, || machine.journal().contains(&said));
}

/// Has ufw begin a run that goes on for as long as /etc/hold-ufw is there; its process id.
fn hold_ufw(machine: &Container) -> String {
    let both = json!({ "ips": [ATTACKER, "198.51.100.1"] });
    assert_eq!(machine.post(&both).status, 200);
    // What goes is ufw's work; nobody waits for the answer.
    machine.sh("touch /etc/hold-ufw
        setsid webhookctl unblock 198.51.100.1 >/dev/null 2>&1 &");
    until("ufw has begun", 20, || !held_ufw(machine).is_empty());
    held_ufw(machine)
}

fn held_ufw(machine: &Container) -> String {
    let pid = machine.run("pgrep -of '[/]usr/sbin/ufw prepend'").stdout;
    String::from_utf8(pid).unwrap().trim().to_owned()
}

#[test]
fn a_daemon_that_stands_still_is_started_afresh_and_blocks_hold() {
    let machine = boot();
    machine.block(ATTACKER);
    for (unit, next) in [(PRIVD, "198.51.100.1"), (FRONTEND, "198.51.100.2")] {
        let pid = machine.property(unit, "MainPID");
        machine.sh(&format!("kill -STOP {pid}"));
        until_started_afresh(&machine, unit, &pid);
        assert!(!machine.attacker_connects());
        assert_eq!(machine.block(ATTACKER).outcomes(), ["already-blocked"], "{unit}");
        assert_eq!(machine.block(next).outcomes(), ["blocked"], "{unit}");
    }
}

#[test]
fn one_thread_that_stands_still_is_enough() {
    let machine = boot();
    machine.block(ATTACKER);
    let pid = machine.property(PRIVD, "MainPID");
    // Whoever opens it to read waits for a writer: the enforcer, which alone looks at ufw's files.
    machine.sh("cd /etc/ufw; mv ufw.conf kept; mkfifo ufw.conf");
    until_started_afresh(&machine, PRIVD, &pid);
    machine.sh("cd /etc/ufw; mv kept ufw.conf");
    until("blocks are made again", 60, || {
        machine.post(&json!({ "ip": "198.51.100.1" })).status == 200
    });
    assert!(!machine.attacker_connects());
}

#[test]
fn a_ufw_that_takes_longer_is_waited_for() {
    let machine = boot();
    let pids = [PRIVD, FRONTEND].map(|unit| machine.property(unit, "MainPID"));
    let ufw = hold_ufw(&machine);
    until("ufw has taken four times as long", 60, || {
        let age = machine.sh(&format!("ps -o etimes= -p {ufw}"));
        age.trim().parse::<u32>().unwrap() >= 12
    });
    assert_eq!([PRIVD, FRONTEND].map(|unit| machine.property(unit, "MainPID")), pids);
    machine.sh("rm /etc/hold-ufw");
    until("ufw is done", 20, || held_ufw(&machine).is_empty());
    assert_eq!(machine.block("198.51.100.2").outcomes(), ["blocked"]);
    assert_eq!([PRIVD, FRONTEND].map(|unit| machine.property(unit, "MainPID")), pids);
}

#[test]
fn a_ufw_under_way_outlives_the_watchdog() {
    let machine = boot();
    let pid = machine.property(PRIVD, "MainPID");
    let ufw = hold_ufw(&machine);
    machine.sh(&format!("kill -STOP {pid}"));
    until_started_afresh(&machine, PRIVD, &pid);
    assert_eq!(held_ufw(&machine), ufw, "ufw was killed with its parent");
    machine.sh("rm /etc/hold-ufw");
    until("ufw is done", 20, || held_ufw(&machine).is_empty());
    let rules = machine.sh("cat /etc/ufw/user.rules; ufw-itself status");
    assert!(rules.contains("COMMIT") && rules.contains("22/tcp"), "{rules}");
    assert_eq!(machine.block(ATTACKER).outcomes(), ["already-blocked"]);
    assert!(!machine.attacker_connects());
}
