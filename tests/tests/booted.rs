//! The units on a booted systemd: the road through them, what their sandbox shows and withholds, and
//! what they do when a daemon falls.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tests::{Container, until};

const ATTACKER: &str = "203.0.113.7";
const PRIVD: &str = "webhook-privd.service";
const FRONTEND: &str = "webhookd.service";

#[test]
fn an_alert_is_blocked_through_both_units() {
    let machine = Container::boot();
    assert!(machine.attacker_connects());
    let answer = machine.block(ATTACKER);
    assert_eq!(answer.outcomes(), ["blocked"]);
    assert!(!machine.attacker_connects());

    let rules = machine.sh("grep '^### tuple' /etc/ufw/user.rules");
    let line = |words: &str| rules.lines().position(|line| line.contains(words));
    assert!(
        line("deny any any 0.0.0.0/0 any 203.0.113.7 in").unwrap() < line("allow tcp 22").unwrap()
    );
    let kernel = machine.sh("iptables -S ufw-user-input");
    let line = |words: &str| kernel.lines().position(|line| line.contains(words));
    assert!(line("-s 203.0.113.7/32 -j DROP").unwrap() < line("--dport 22 -j ACCEPT").unwrap());

    // The other family, whose tables and files are others.
    assert_eq!(machine.block("2001:db8:1::7").outcomes(), ["blocked"]);
    assert!(machine.sh("ip6tables -S ufw6-user-input").contains("-s 2001:db8:1::7/128 -j DROP"));
    assert!(machine.sh("webhookctl list").contains(ATTACKER));
}

#[test]
fn each_daemon_has_the_capabilities_promised_and_no_other() {
    let machine = Container::boot();
    let webhookd = machine.sh("id -u webhookd").trim().to_owned();
    for (unit, uid, capabilities) in [(PRIVD, "0", 1 << 12), (FRONTEND, &*webhookd, 0)] {
        let pid = machine.property(unit, "MainPID");
        let status = machine.sh(&format!("cat /proc/{pid}/status"));
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().collect::<Vec<_>>()
        };
        assert_eq!(field("Uid:"), [uid; 4], "{unit}");
        for set in ["CapPrm:", "CapEff:", "CapBnd:"] {
            assert_eq!(field(set), [format!("{capabilities:016x}")], "{unit} {set}");
        }
        assert_eq!(field("CapAmb:"), ["0000000000000000"], "{unit}");
        // systemd 257 leaves there what the bounding set permits, 252 nothing.
        let inheritable = u64::from_str_radix(field("CapInh:")[0], 16).unwrap();
        assert_eq!(inheritable & !capabilities, 0, "{unit}");
        assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), (vec!["1"], vec!["2"]), "{unit}");
    }
}

#[test]
fn systemd_analyze_finds_no_mistake_and_no_more_exposure_than_promised() {
    let machine = Container::boot();
    let verify = "systemd-analyze verify --man=no /lib/systemd/system/webhook*";
    assert_eq!(machine.sh(verify), "");
    for (unit, most) in [
        (FRONTEND, 0.2),
        (PRIVD, 1.5),
        ("webhook-privd-recover.service", 1.5),
        ("webhook-privd-lock.service", 1.0),
    ] {
        let report = machine.sh(&format!("systemd-analyze security --no-pager {unit}"));
        let level = report.lines().find_map(|line| line.split_once("exposure level for"));
        let level = level.and_then(|(_, level)| level.split_whitespace().nth(1)).unwrap();
        assert!(level.parse::<f64>().unwrap() <= most, "{report}");
    }
}

#[test]
fn privd_sees_and_writes_what_it_needs_and_nothing_else() {
    let machine = Container::boot();
    let view = |script: &str| {
        let output = machine.run_beside(PRIVD, script);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    let seen = view("find /run ! -type d | sort | xargs");
    let expected = "/run/systemd/notify /run/ufw.lock /run/webhook-privd-lock/host \
        /run/webhook-privd/privd.sock";
    assert_eq!(seen.1, expected, "{seen:?}");

    // It can hold the host's lock while its ufw locks a private file.
    let inode = |path: &str| machine.sh(&format!("stat -c %d:%i {path}")).trim().to_owned();
    let inside = |path: &str| view(&format!("stat -c %d:%i {path}")).1;
    assert_eq!(inside("/run/webhook-privd-lock/host"), inode("/run/ufw.lock"));
    assert_eq!(inside("/run/ufw.lock"), inode("/run/webhook-privd-lock/own"));

    for path in [
        "/etc/ufw/user.rules",
        "/etc/ufw/user6.rules",
        "/run/ufw.lock",
        "/run/webhook-privd-lock/host",
        "/var/lib/webhook-privd/ledger.redb",
        "/var/log/webhook-privd/audit.ndjson",
    ] {
        let opened = view(&format!("exec 3>>{path}"));
        assert!(opened.0, "{path} is to be written: {opened:?}");
    }
    // One that is refused may be so for another reason: here it is the same for all.
    for path in [
        "/etc/ufw/before.rules",
        "/etc/ufw/before.init",
        "/etc/ufw/new",
        "/etc/default/ufw",
        "/etc/webhookd/privd.toml",
        "/etc/cron.d/new",
        "/run/new",
        "/run/webhook-privd/new",
        "/usr/sbin/new",
        "/var/new",
        "/var/lib/new",
        "/var/log/new",
        "/var/log/webhookd/new",
        "/root/new",
        "/proc/sys/net/ipv4/ip_forward",
    ] {
        let opened = view(&format!("exec 3>>{path}"));
        let refused = ["Read-only file system", "Permission denied", "Directory nonexistent"];
        assert!(
            !opened.0 && refused.iter().any(|why| opened.2.contains(why)),
            "{path}: {opened:?}"
        );
    }
    for path in ["/etc/shadow", "/etc/webhookd/token", "/etc/webhookd/tls/key.pem"] {
        let read = view(&format!("cat {path}"));
        assert!(!read.0, "{path} is not to be read: {read:?}");
    }
    let asked = view("systemd-run --wait touch /etc/ufw/new");
    assert!(!asked.0, "PID 1 obeyed: {asked:?}");
}

#[test]
fn webhookd_sees_one_socket_and_no_network() {
    let machine = Container::boot();
    let view = |script: &str| machine.run_beside(FRONTEND, script);
    let seen = view(
        "find /run ! -type d | sort | xargs; ip -o link | cut -d: -f2; ip route; ls -d /proc/1",
    );
    let seen = String::from_utf8(seen.stdout).unwrap();
    assert_eq!(seen, "/run/systemd/notify /run/webhook-privd/privd.sock\n lo\n");
    for path in [
        "/etc/webhookd/token",
        "/run/webhook-privd/new",
        "/var/lib/new",
        "/var/log/new",
        "/var/log/webhook-privd/new",
        "/tmp/../home/new",
    ] {
        assert!(!view(&format!("exec 3>>{path}")).status.success(), "{path} is not to be written");
    }
    assert!(view("exec 3>>/var/log/webhookd/audit.ndjson").status.success());
    let logs = machine.sh("cd /var/log; stat -c %a:%U:%G webhookd webhook-privd");
    assert_eq!(logs, "750:webhookd:webhookd\n750:root:root\n");
    assert!(view("cat /etc/webhookd/token").status.success());
    assert!(!view("cat /etc/shadow").status.success());
}

#[test]
fn restarting_either_daemon_loses_no_request() {
    let machine = Container::boot();
    let over = AtomicBool::new(false);
    let many = std::thread::scope(|scope| {
        let alerts = scope.spawn(|| {
            let mut many = 0;
            // Until the last restart is over, however slow the machine is.
            while (many < 12 || !over.load(Ordering::Relaxed)) && many < 250 {
                many += 1;
                let answer = machine.post(&json!({ "ip": format!("198.51.100.{many}") }));
                assert_eq!(
                    (answer.status, answer.outcomes()),
                    (200, vec!["blocked"]),
                    "{answer:?}"
                );
            }
            many
        });
        for unit in [PRIVD, FRONTEND, PRIVD] {
            machine.sh(&format!("systemctl restart {unit}"));
        }
        let early = alerts.is_finished();
        over.store(true, Ordering::Relaxed);
        let many = alerts.join().unwrap();
        assert!(!early, "the restarts came too late to matter");
        many
    });
    let kernel = machine.sh("iptables -S ufw-user-input");
    assert_eq!(kernel.matches("-s 198.51.100.").count(), many, "{kernel}");
}

#[test]
fn a_daemon_that_is_killed_comes_back_every_time() {
    let machine = Container::boot();
    machine.block(ATTACKER);
    // More often than systemd's usual limit of five.
    for round in 1..=6 {
        for unit in [PRIVD, FRONTEND] {
            let pid = machine.property(unit, "MainPID");
            machine.sh(&format!("kill -KILL {pid}"));
            until("it is back", 20, || {
                let [state, now] = ["SubState", "MainPID"].map(|name| machine.property(unit, name));
                state == "running" && now != pid
            });
        }
        assert_eq!(machine.block(ATTACKER).outcomes(), ["already-blocked"], "{round}");
    }
    assert!(!machine.attacker_connects());
    assert_eq!(machine.block("198.51.100.9").outcomes(), ["blocked"]);
}

#[test]
fn rules_files_that_were_renamed_away_are_written_again() {
    let machine = Container::boot();
    machine.block(ATTACKER);
    // One that adds a line, and takes our block away.
    machine.sh("sed -i -e '$ a #' -e '/203.0.113.7/d' /etc/ufw/user.rules /etc/ufw/user6.rules");
    machine.sh("iptables -D ufw-user-input -s 203.0.113.7 -j DROP");
    // The one who ends over this may have put it in force: then the next one, asked again, finds it so.
    let answer = machine.block("198.51.100.9");
    assert!(matches!(answer.outcomes()[..], ["blocked" | "already-blocked"]), "{answer:?}");
    until("the block is in force again", 20, || {
        let kernel = machine.sh("iptables -S ufw-user-input");
        let rules = machine.sh("cat /etc/ufw/user.rules");
        kernel.contains("-s 203.0.113.7/32 -j DROP") && rules.contains("203.0.113.7")
    });
    let rules = machine.sh("cat /etc/ufw/user.rules");
    assert!(rules.contains("198.51.100.9") && rules.contains("#\n"), "{rules}");
}

#[test]
fn a_ufw_under_way_outlives_a_killed_privd() {
    let machine = Container::boot();
    // In ufw's place, what waits and then is ufw.
    machine.sh("cp /usr/sbin/ufw /usr/sbin/ufw-itself; touch /etc/hold-ufw
        printf '#!/bin/sh\nwhile test -e /etc/hold-ufw; do sleep 0.01; done\nexec ufw-itself \"$@\"\n' > /usr/sbin/ufw");
    let both = json!({ "ips": [ATTACKER, "198.51.100.1"] });
    assert_eq!(machine.post(&both).status, 200);
    let ufw = || machine.run("pgrep -of '[/]usr/sbin/ufw prepend'").stdout;
    // What goes is ufw's work; nobody waits for the answer.
    machine.sh("setsid webhookctl unblock 198.51.100.1 >/dev/null 2>&1 &");
    until("ufw has begun", 20, || !ufw().is_empty());
    let first = ufw();
    let pid = machine.property(PRIVD, "MainPID");
    machine.sh(&format!("kill -KILL {pid}"));
    until("privd is back", 20, || {
        machine.property(PRIVD, "SubState") == "running"
            && machine.property(PRIVD, "MainPID") != pid
    });
    assert_eq!(ufw(), first, "ufw was killed with its parent");
    machine.sh("rm /etc/hold-ufw");
    until("ufw is done", 20, || ufw().is_empty());
    let rules = machine.sh("cat /etc/ufw/user.rules; ufw-itself status");
    assert!(rules.contains("COMMIT") && rules.contains("22/tcp"), "{rules}");
    assert_eq!(machine.post(&json!({ "ip": ATTACKER })).status, 200);
    assert!(!machine.attacker_connects());
}

#[test]
fn a_machine_leaves_nothing_behind() {
    let machine = Container::boot();
    let [directory, group, leader] = machine.traces();
    assert!(directory.exists() && group.exists() && leader.exists());
    drop(machine);
    assert!(!directory.exists() && !group.exists() && !leader.exists());
}

#[test]
fn a_mended_configuration_needs_a_restart_and_nothing_more() {
    let machine = Container::boot_with("echo nonsense = 1 >>/etc/webhookd/privd.toml");
    until("privd has given up", 20, || machine.property(PRIVD, "ActiveState") == "failed");
    assert_eq!(machine.property(PRIVD, "ExecMainStatus"), "78");
    let began = Instant::now();
    let answer = machine.post(&json!({ "ip": ATTACKER }));
    assert_eq!(answer.status, 503, "{answer:?}");
    // Not `pending`, which would say that somebody works on it, after 50 s.
    assert_eq!(answer.outcomes(), ["unavailable"], "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    let attempts = machine.journal().matches("unknown field `nonsense`").count();
    assert!((2..60).contains(&attempts), "{attempts}");
    // At once, while the socket's limit still looks back.
    machine.sh("sed -i /nonsense/d /etc/webhookd/privd.toml; systemctl restart webhook-privd");
    // The first alert may have waited in the socket, and be blocked already.
    machine.block(ATTACKER);
    assert!(!machine.attacker_connects());
}

#[test]
fn rules_files_that_were_damaged_are_restored_before_ufw_loads_them() {
    let machine = Container::boot();
    for address in [ATTACKER, "2001:db8:1::7"] {
        machine.block(address);
    }
    // As at a boot: none of ours runs, and ufw starts.
    machine.sh("systemctl stop webhookd.socket webhook-privd.socket webhookd webhook-privd ufw");
    machine.sh("truncate -s 400 /etc/ufw/user.rules; truncate -s 0 /etc/ufw/user6.rules");
    machine.sh("systemctl start ufw");
    let kernel = machine.sh("iptables -S ufw-user-input; ip6tables -S ufw6-user-input");
    for rule in
        ["-s 203.0.113.7/32 -j DROP", "--dport 22 -j ACCEPT", "-s 2001:db8:1::7/128 -j DROP"]
    {
        assert!(kernel.contains(rule), "{rule}\n{kernel}");
    }
    // It read the configuration, which says where the copies are.
    let journal = machine.journal();
    assert!(journal.contains("restored from the verified copy"), "{journal}");
    assert!(!journal.contains("beside the default ledger"), "{journal}");
}

#[test]
fn a_recovery_that_fails_comes_before_ufw_and_does_not_stop_it() {
    let machine = Container::boot_with(
        "mkdir -m 700 /var/lib/webhook-privd
         mkdir /etc/systemd/system/webhook-privd-recover.service.d
         printf '[Service]\\nExecStart=\\nExecStart=false\\n' \
             >/etc/systemd/system/webhook-privd-recover.service.d/fails.conf",
    );
    let recover = "webhook-privd-recover.service";
    assert_eq!(machine.property(recover, "Result"), "exit-code");
    let time = |unit, name| machine.property(unit, name).parse::<u64>().unwrap();
    let recovered = time(recover, "ExecMainExitTimestampMonotonic");
    assert!(recovered <= time("ufw.service", "ExecMainStartTimestampMonotonic"));
    assert_eq!(machine.property("ufw.service", "ActiveState"), "active");
    assert_eq!(machine.block(ATTACKER).outcomes(), ["blocked"]);
}
