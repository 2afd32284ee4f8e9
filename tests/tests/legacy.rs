//! A host whose iptables is the legacy one: privd says what it lacks, and works with the drop-in.

use std::time::{Duration, Instant};

use tests::{Container, until};

const ATTACKER: &str = "203.0.113.7";
const PRIVD: &str = "webhook-privd.service";

#[test]
fn legacy_iptables_takes_the_drop_in_that_the_failing_start_names() {
    let machine = Container::boot_with(
        "update-alternatives --quiet --set iptables /usr/sbin/iptables-legacy
         update-alternatives --quiet --set ip6tables /usr/sbin/ip6tables-legacy",
    );
    until("privd has given up", 20, || machine.property(PRIVD, "ActiveState") == "failed");
    assert_eq!(machine.property(PRIVD, "ExecMainStatus"), "77");
    assert!(machine.journal().contains("/usr/share/webhookd/iptables-legacy.conf"));

    let (text, code) = check(&machine);
    assert!(code == 2 && text.contains("problem iptables: iptables v1"), "{text}");
    let mend = "install -D -m 644 /usr/share/webhookd/iptables-legacy.conf \
        /etc/systemd/system/webhook-privd.service.d/iptables-legacy.conf";
    assert!(text.contains(mend), "{text}");

    // A human takes longer to read that than the socket's limit looks back.
    let read = Instant::now();
    until("the limit looks back no further", 20, || read.elapsed() > Duration::from_secs(4));
    machine.sh(mend);
    machine.sh("systemctl daemon-reload; systemctl restart webhook-privd");
    until("privd has looked at its blocks", 20, || {
        machine.sh("webhookctl status --json").contains("\"verified_at\": \"")
    });
    let (text, code) = check(&machine);
    assert!(code == 0 && text.contains("has what that needs more"), "{text}");
    // A copy of an earlier release's.
    let copy = "/etc/systemd/system/webhook-privd.service.d/iptables-legacy.conf";
    machine.sh(&format!("sed -i /^BindPaths/d {copy}"));
    let (text, code) = check(&machine);
    assert!(code == 2 && text.contains("is not what this package ships"), "{text}");
    machine.sh(mend);
    assert_eq!(check(&machine).1, 0);
    for address in [ATTACKER, "2001:db8:1::7"] {
        assert_eq!(machine.block(address).outcomes(), ["blocked"]);
    }
    assert!(!machine.attacker_connects());
    for (listing, rule) in [
        ("iptables-legacy -S ufw-user-input", "-s 203.0.113.7/32 -j DROP"),
        ("ip6tables-legacy -S ufw6-user-input", "-s 2001:db8:1::7/128 -j DROP"),
    ] {
        assert!(machine.sh(listing).contains(rule));
    }
    // Also what ufw itself does, not iptables alone.
    machine.sh(&format!("webhookctl unblock {ATTACKER}"));
    assert!(machine.attacker_connects());

    // Left behind after the way back to nft, it is named again.
    machine.sh("update-alternatives --quiet --set iptables /usr/sbin/iptables-nft
        update-alternatives --quiet --set ip6tables /usr/sbin/ip6tables-nft");
    assert!(!machine.run("systemctl restart webhook-privd").status.success());
    assert!(machine.journal().contains("take away what was added (the drop-in iptables-legacy"));
}

/// What `webhookctl check` says, unfolded, and its exit status.
fn check(machine: &Container) -> (String, i32) {
    let output = machine.run("webhookctl check");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words: Vec<&str> = text.split_whitespace().collect();
    (words.join(" "), output.status.code().unwrap())
}
