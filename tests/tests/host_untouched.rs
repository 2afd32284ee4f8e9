//! The demo shows everything and changes nothing.

use std::path::Path;
use std::process::Command;

use tests::world::binaries;

/// Everything of the host that the demo could have touched, as text.
fn host() -> String {
    let script = r#"
        for list in 'iptables-save' 'ip6tables-save' 'nft -s list ruleset' 'ip -o link' 'ip netns' 'cat /proc/self/mounts'; do
            echo "== $list"; $list 2>/dev/null | grep -v '^#' | sed 's/\[[0-9]*:[0-9]*\]//'
        done
        for tree in /etc/ufw /etc/default/ufw /etc/passwd /etc/group /etc/shadow /etc/resolv.conf; do
            echo "== $tree"; find $tree -exec stat -c '%n %i %U %G %a %s %y' {} + 2>/dev/null | sort
        done
        echo '== /run'; find /run -xdev -printf '%p %u %g %m\n' | sort
        echo '== sysctl'; sysctl -a 2>/dev/null | grep -E '^net\.(ipv4|ipv6)\.conf\.(all|default)\.|ip_forward' | sort
    "#;
    let output = Command::new("bash").args(["-c", script]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn demo() -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut demo = Command::new(root.join("packaging/demo"));
    demo.env("WEBHOOKD_BIN_DIR", binaries());
    demo
}

#[test]
fn the_demo_keeps_its_promises_and_leaves_the_host_as_it_was() {
    let before = host();
    let output = demo().output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("Blocked IP: "), "{text}");
    let after = host();
    for (before, after) in before.lines().zip(after.lines()) {
        assert_eq!(before, after);
    }
    assert_eq!(before.lines().count(), after.lines().count());
}

#[test]
fn a_demo_that_cannot_run_says_why_in_one_sentence() {
    let output = demo().arg("--frobnicate").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("--help"), "{text}");
}
