//! The host's /run/ufw.lock may be removed: privd notices that what it holds locks nothing, and starts
//! afresh on the file that ufw uses.

use tests::{Container, until};

const ATTACKER: &str = "203.0.113.7";
const PRIVD: &str = "webhook-privd.service";

/// Which file /run/ufw.lock is, and which one privd locks.
fn locks(machine: &Container) -> [String; 2] {
    let stat = |path: &str| format!("stat -c %d:%i {path}");
    let beside = machine.run_beside(PRIVD, &stat("/run/webhook-privd-lock/host")).stdout;
    [machine.sh(&stat("/run/ufw.lock")), String::from_utf8(beside).unwrap()]
}

#[test]
fn a_lock_that_was_removed_is_made_again_before_anything_is_changed() {
    let machine = Container::boot();
    machine.block(ATTACKER);
    let [before, held] = locks(&machine);
    assert_eq!(before, held);
    let pid = machine.property(PRIVD, "MainPID");
    machine.sh("rm /run/ufw.lock");
    // The same file by chance would prove nothing.
    machine.sh("touch /run/not-the-same");
    // In force by this request, or by the look at the start: it was in the ledger.
    machine.block("198.51.100.1");
    assert_ne!(machine.property(PRIVD, "MainPID"), pid);
    until("the journal says why", 20, || {
        let journal = machine.journal();
        journal.contains("or /run/ufw.lock was removed") && journal.contains("status=75")
    });
    let [after, held] = locks(&machine);
    assert_eq!(after, held);
    assert_ne!(after, before);
    // ufw uses that very file, and leaves it there.
    machine.sh("ufw allow 8080/tcp");
    assert_eq!(locks(&machine), [after, held]);
    assert_eq!(machine.block("198.51.100.2").outcomes(), ["blocked"]);
    let rules = machine.sh("ufw status");
    for words in ["8080/tcp", ATTACKER, "198.51.100.1", "198.51.100.2"] {
        assert!(rules.contains(words), "{words}\n{rules}");
    }
    assert!(!machine.attacker_connects());
}

#[test]
fn a_lock_that_was_removed_is_noticed_also_when_nobody_asks_for_a_block() {
    let machine =
        Container::boot_with("echo 'reconcile-every = \"1s\"' >>/etc/webhookd/privd.toml");
    machine.block(ATTACKER);
    let pid = machine.property(PRIVD, "MainPID");
    machine.sh("rm /run/ufw.lock");
    machine.until_afresh(PRIVD, &pid);
    let [host, held] = locks(&machine);
    assert_eq!(host, held);
    assert!(!machine.attacker_connects());
}

#[test]
fn privd_starts_where_its_locks_are_missing() {
    let machine = Container::boot();
    machine.sh("systemctl stop webhook-privd; rm -r /run/ufw.lock /run/webhook-privd-lock");
    machine.sh("systemctl start webhook-privd");
    assert_eq!(machine.property(PRIVD, "NRestarts"), "0");
    let [host, held] = locks(&machine);
    assert_eq!(host, held);
    assert_eq!(machine.sh("stat -c %a%U /run/ufw.lock"), "600root\n");
    assert_eq!(machine.block(ATTACKER).outcomes(), ["blocked"]);
}
