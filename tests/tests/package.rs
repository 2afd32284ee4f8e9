//! The Debian package on a machine: installed, upgraded, rebooted, reset around, removed and purged.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tests::sessions::Sessions;
use tests::{Container, Disk, Place, until};

const ATTACKER: &str = "203.0.113.7";
const ATTACKER6: &str = "2001:db8:113::7";
const PATIENCE: Duration = Duration::from_secs(5);
const UNITS: [&str; 4] =
    ["webhook-privd.socket", "webhookd.socket", "webhook-privd.service", "webhookd.service"];

#[test]
fn a_machine_on_which_it_was_just_installed_blocks_both_families_and_cuts_open_sessions() {
    let machine = Container::from(Disk::bare());
    let said = machine.sh("dpkg --install /root/webhookd.deb");
    for words in
        ["webhookctl check", "ufw allow proto tcp from KIBANA to any port 5001", "/blockip"]
    {
        assert!(said.contains(words), "{words}\n{said}");
    }
    let token = machine.sh("cut -d ' ' -f 1 /etc/webhookd/token");
    assert!(!said.contains(token.trim()), "apt keeps a log of what is said");
    // ufw is on and the port is open already, so nothing is left to mend.
    machine.sh("webhookctl check");
    for unit in UNITS {
        assert_eq!(machine.property(unit, "ActiveState"), "active", "{unit}");
        assert_eq!(machine.property(unit, "UnitFileState"), "enabled", "{unit}");
    }
    assert_eq!(machine.property("webhook-privd-recover.service", "UnitFileState"), "enabled");

    for (server, attacker) in [("203.0.113.1", ATTACKER), ("2001:db8:113::1", ATTACKER6)] {
        let mut sessions =
            Sessions::between(machine.network(), server, machine.neighbour(), attacker);
        machine.block(attacker);
        assert_eq!(sessions.alive(), [""; 0], "{attacker}");
    }
    assert!(!machine.attacker_connects());
    assert_eq!(machine.block("198.51.100.1").outcomes(), ["blocked"]);
}

/// apt gives what it runs a terminal, and group adm reads its log.
#[test]
fn an_installation_by_apt_leaves_the_token_in_no_log() {
    let machine = Container::from(Disk::bare());
    let said = machine.sh("apt-get install --yes /root/webhookd.deb");
    let log = machine.sh("cat /var/log/apt/term.log");
    let token = machine.sh("cut -d ' ' -f 1 /etc/webhookd/token");
    for text in [said, log, machine.journal()] {
        assert!(!text.contains(token.trim()), "{text}");
        assert!(!text.contains("/blockip") || text.contains("cat /etc/webhookd/token"), "{text}");
    }
    assert!(machine.sh("cat /var/log/apt/term.log").contains("/blockip"));
}

#[test]
fn credentials_that_init_cannot_judge_stop_no_upgrade() {
    let disk = Disk::installed();
    disk.sh("cd /etc/webhookd; mv tls/key.pem /etc/webhookd.key
        sed -i 's|^#key = .*|key = \"/etc/webhookd.key\"|' webhookd.toml");
    let said = disk.sh("dpkg --install /root/webhookd.deb");
    assert!(said.contains("cert.pem is there without"), "{said}");
    let state = "dpkg-query --show --showformat '${db:Status-Status}' webhookd";
    assert_eq!(disk.sh(state), "installed");
    // Where there is nothing yet, the same is a failure.
    disk.sh("mv /etc/webhookd /root/kept; dpkg --purge webhookd
        mkdir -p /etc/webhookd/tls; cp /root/kept/tls/cert.pem /etc/webhookd/tls");
    disk.sh("! dpkg --install /root/webhookd.deb");
    assert_eq!(disk.sh(state), "half-configured");
}

#[test]
fn who_is_logged_in_over_ssh_during_the_installation_is_never_blocked_and_who_only_knocks_is() {
    let machine = Container::from(Disk::bare());
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key").display().to_string();
    let run = |program: &[&str]| machine.neighbour().run(program);
    assert!(run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &key]).status.success());
    std::fs::create_dir_all(machine.path("/root/.ssh")).unwrap();
    std::fs::copy(format!("{key}.pub"), machine.path("/root/.ssh/authorized_keys")).unwrap();
    machine.sh("chmod 700 /root/.ssh; systemctl start ssh");
    let options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-q"];
    // The administrator comes from where Kibana is; the attacker gets no further than a greeting.
    let ssh = [&["ssh", "-i", &key, "-b", "10.9.0.2"], &options[..], &["root@10.9.0.1"]].concat();
    let mut session = machine.neighbour().command(&ssh).arg("exec sleep infinity").spawn().unwrap();
    let _knock = machine.neighbour().connect(([203, 0, 113, 1], 22).into(), PATIENCE).unwrap();
    until("the administrator is logged in", 20, || machine.run("pgrep -x sleep").status.success());

    let said = machine.sh("dpkg --install /root/webhookd.deb");
    assert!(said.contains("10.9.0.2"), "{said}");
    machine.sh("systemctl stop ssh.service");
    let answer = machine.post(&json!({ "ips": ["10.9.0.2", ATTACKER] }));
    assert_eq!(answer.outcomes(), ["refused", "blocked"], "{answer:?}");
    assert!(machine.sh("cat /etc/webhookd/privd.toml").contains("never-block = [\"10.9.0.2\"]"));
    session.kill().unwrap();
    session.wait().unwrap();
}

/// On a copy of this host's own disk, which has what builds the package, and without a network.
#[test]
fn packaging_install_ends_well_with_the_next_step() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root").display().to_string();
    let install = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("packaging/install");
    // Homes and the checkout may be disks of their own.
    let host = Place::new(&format!(
        "cd {}; mkdir disk root; mount -t tmpfs tmpfs disk
         for lower in / /home {}; do
             mkdir -p disk/changes$lower disk/work$lower
             mkdir disk/changes$lower/own disk/work$lower/own
             mount -t overlay -o \\
                 lowerdir=$lower,upperdir=disk/changes$lower/own,workdir=disk/work$lower/own \\
                 overlay root$lower
         done
         mount -t proc proc root/proc; mount --rbind /dev root/dev; rm -rf root/etc/webhookd",
        directory.path().display(),
        install.ancestors().nth(2).unwrap().display(),
    ));
    let said = host.sh(&format!(
        "WEBHOOKD_BIN_DIR={} chroot {root} {} 2>&1",
        tests::world::binaries().display(),
        install.display()
    ));
    assert!(said.contains("sudo ufw allow proto tcp from KIBANA to any port 5001"), "{said}");
    assert!(said.contains("sudo webhookctl check"), "{said}");
    host.sh(&format!(
        "chroot {root} dpkg-query -s webhookd | grep -q 'Status: install ok installed'"
    ));
}

#[test]
fn an_upgrade_loses_no_request_no_block_and_no_configuration() {
    let machine = Container::boot();
    machine.block(ATTACKER);
    machine
        .sh("echo 'max-blocks = 1999' >>/etc/webhookd/privd.toml; rm -f /etc/webhookd/tls/unused");
    let files = "find /etc/webhookd -type f -exec sha256sum {} + | sort";
    let before = machine.sh(files);
    let pids = || ["webhook-privd", "webhookd"].map(|unit| machine.property(unit, "MainPID"));
    let old = pids();
    let said = machine.upgrade_under_alerts();
    assert!(said.contains("All is well.") && !said.contains("/blockip"), "{said}");
    let version = machine.sh("dpkg-query -W -f '${Version}' webhookd");
    assert_eq!(version, "9.0");
    assert!(pids().iter().zip(&old).all(|(now, old)| now != old && now != "0"), "{old:?}");
    assert_eq!(machine.sh(files), before);
    assert!(!machine.attacker_connects());
    assert_eq!(machine.block(ATTACKER).outcomes(), ["already-blocked"]);
}

#[test]
fn after_a_reboot_blocks_are_in_force_before_the_network_is_up() {
    let mut machine = Container::boot();
    for address in [ATTACKER, ATTACKER6] {
        machine.block(address);
    }
    machine.reboot("");
    let time = |unit, name| machine.property(unit, name).parse::<u64>().unwrap();
    let loaded = time("ufw.service", "ExecMainExitTimestampMonotonic");
    assert!(loaded > 0 && loaded <= time("network-pre.target", "ActiveEnterTimestampMonotonic"));
    assert!(!machine.attacker_connects());
    for unit in UNITS {
        assert_eq!(machine.property(unit, "ActiveState"), "active", "{unit}");
    }
    for address in [ATTACKER, ATTACKER6] {
        assert_eq!(machine.block(address).outcomes(), ["already-blocked"]);
    }
}

#[test]
fn rules_files_cut_short_before_a_boot_are_whole_again_with_what_the_administrator_added_last() {
    let mut machine = Container::boot();
    for address in [ATTACKER, ATTACKER6] {
        machine.block(address);
    }
    machine.sh("ufw allow 8443/tcp");
    // The copy follows within a moment, made by the daemon that watches the files.
    until("the copies hold what was added", 20, || {
        let copies =
            "cd /var/lib/webhook-privd && grep -q 8443 user.rules && grep -q 8443 user6.rules";
        machine.run(copies).status.success()
    });
    machine.reboot("truncate -s 400 /etc/ufw/user.rules; truncate -s 0 /etc/ufw/user6.rules");
    let kernel = machine.sh("iptables -S ufw-user-input; ip6tables -S ufw6-user-input");
    for rule in [
        "-s 203.0.113.7/32 -j DROP",
        "-s 2001:db8:113::7/128 -j DROP",
        "ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT",
        "ufw-user-input -p tcp -m tcp --dport 8443 -j ACCEPT",
        "ufw6-user-input -p tcp -m tcp --dport 22 -j ACCEPT",
        "ufw6-user-input -p tcp -m tcp --dport 8443 -j ACCEPT",
    ] {
        assert!(kernel.contains(rule), "{rule}\n{kernel}");
    }
    assert!(!machine.attacker_connects());
}

#[test]
fn blocks_come_back_after_ufw_was_reset_under_the_running_service() {
    let machine = Container::boot();
    for address in [ATTACKER, ATTACKER6] {
        machine.block(address);
    }
    machine.sh("ufw --force reset; ufw allow 22/tcp
         ufw allow proto tcp from 10.9.0.2 to any port 5001; ufw --force enable");
    until("both are in the kernel again", 90, || {
        let kernel = machine.sh("iptables -S ufw-user-input; ip6tables -S ufw6-user-input");
        ["-s 203.0.113.7/32 -j DROP", "-s 2001:db8:113::7/128 -j DROP"]
            .iter()
            .all(|rule| kernel.contains(rule))
    });
    assert!(!machine.attacker_connects());
    assert_eq!(machine.block(ATTACKER).outcomes(), ["already-blocked"]);
}

#[test]
fn removing_keeps_blocks_and_says_how_to_lift_them() {
    let mut machine = Container::boot();
    machine.block(ATTACKER);
    let said = machine.sh("dpkg --remove webhookd");
    assert!(said.contains("no longer end by themselves: 1\n"), "{said}");
    assert!(!machine.attacker_connects());
    assert!(machine.run("ss -Hltn sport = :5001 | grep .").stdout.is_empty());
    // Also after a boot, in which nothing of ours is looked for in vain.
    machine.reboot("");
    assert_eq!(machine.sh("systemctl --failed | grep -E 'webhook|ufw' || true"), "");
    assert!(!machine.attacker_connects());
    // As it was said.
    assert!(
        said.contains("sudo ufw delete deny from ADDRESS && sudo ufw delete deny out to ADDRESS")
    );
    machine.sh(&format!("ufw delete deny from {ATTACKER} && ufw delete deny out to {ATTACKER}"));
    assert!(machine.attacker_connects());

    // Installed again, it goes on with the same token and certificate.
    let credentials = "cd /etc/webhookd && sha256sum token tls/*";
    let before = machine.sh(credentials);
    machine.sh("dpkg --install /root/webhookd.deb");
    assert_eq!(machine.sh(credentials), before);
    machine.block(ATTACKER);
}

#[test]
fn purging_leaves_the_machine_as_it_was_before() {
    let machine = Container::from(Disk::bare());
    machine.sh("ufw deny from 192.0.2.66 comment theirs; ufw allow 8443/tcp");
    let before = traces(&machine);
    machine.sh("dpkg --install /root/webhookd.deb");
    assert_ne!(traces(&machine), before);
    let many: Vec<_> = (1..=150).map(|host| format!("198.51.100.{host}")).collect();
    assert_eq!(machine.post(&json!({ "ips": many })).status, 200);
    for address in [ATTACKER, ATTACKER6] {
        machine.block(address);
    }
    let said = machine.sh("dpkg --purge webhookd");
    assert!(said.contains("Lifting blocks of webhookd: 152\n"), "{said}");
    let after = traces(&machine);
    for (before, after) in before.lines().zip(after.lines()) {
        assert_eq!(after, before);
    }
    assert_eq!(after, before);
    assert!(machine.attacker_connects());
}

#[test]
fn purging_after_removing_lifts_the_blocks_too() {
    let machine = Container::boot();
    machine.block(ATTACKER);
    machine.sh("dpkg --remove webhookd");
    assert!(!machine.attacker_connects());
    machine.sh("dpkg --purge webhookd");
    assert!(machine.attacker_connects());
    assert!(!machine.sh("ufw status").contains("DENY"));
}

#[test]
fn rules_files_that_are_no_text_or_missing_stop_no_purge() {
    let disk = Disk::installed();
    disk.sh("ufw disable; ufw prepend deny from 198.51.100.1 comment webhookd:777c6dd34f2b
        ufw deny from 198.51.100.2
        printf '# caf\\351\\n' >>/etc/ufw/user.rules; rm /etc/ufw/user6.rules");
    let said = disk.sh("dpkg --purge webhookd");
    assert!(said.contains("Lifting blocks of webhookd: 1\n"), "{said}");
    let rules = disk.sh("cat -v /etc/ufw/user.rules");
    assert!(!rules.contains("198.51.100.1") && rules.contains("198.51.100.2"), "{rules}");
    assert!(rules.contains("COMMIT") && rules.contains("# cafM-i\n"), "{rules}");
    assert_eq!(disk.sh("getent passwd webhookd || test ! -e /etc/webhookd"), "");
}

/// What a package could leave behind: files and their modes, rules, accounts, units, processes.
fn traces(machine: &Container) -> String {
    machine.sh(
        "find /etc /usr /var /boot /home /srv -xdev \\( -path /var/lib/dpkg -o -path /var/log \\
             -o -path /var/cache -o -path /var/lib/systemd -o -path '/var/tmp/systemd-*' -o -path '/etc/*-' \\) -prune \\
             -o -printf '%p %y %m %u %g\\n' | sort
         find /run -path /run/log -prune -o \\( -name '*webhook*' -o -name 'ufw*' \\) -printf '%p %m\\n'
         ls /var/log; cat /etc/passwd /etc/group /etc/shadow /etc/gshadow
         cat /etc/ufw/user.rules /etc/ufw/user6.rules; iptables -S; ip6tables -S
         systemctl list-unit-files --no-legend; systemctl --failed --no-legend
         ps -eo user,comm --no-headers | grep webhook || true",
    )
}
