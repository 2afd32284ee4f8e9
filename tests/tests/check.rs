//! `webhookctl check`: a healthy machine has nothing to mend, and each thing that breaks is named with
//! what mends it.

use serde_json::Value;
use tests::world::{AS_WEBHOOKD, unfolded};
use tests::{Container, World, until};

/// What `check` reported.
struct Report {
    lines: Vec<Value>,
    code: i32,
}

impl Report {
    fn of(machine: &Container, command: &str) -> Self {
        let output = machine.run(&format!("{command} --json"));
        let lines = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {output:?}"));
        Self { lines, code: output.status.code().unwrap() }
    }

    fn problems(&self) -> Vec<&Value> {
        self.lines.iter().filter(|line| line["state"] == "problem").collect()
    }

    fn line(&self, check: &str, words: &str) -> &Value {
        let mut lines = self.lines.iter().filter(|line| line["check"] == check);
        let found = lines.find(|line| line["message"].as_str().unwrap().contains(words));
        found.unwrap_or_else(|| panic!("no `{words}` of {check} in {:#?}", self.lines))
    }
}

/// Something that can go wrong.
struct Breakage {
    broken_by: &'static str,
    /// The check that finds it.
    check: &'static str,
    /// What it says.
    words: &'static str,
    /// Empty: by the commands that it says.
    mended_by: &'static str,
}

const fn breakage(
    broken_by: &'static str,
    check: &'static str,
    words: &'static str,
    mended_by: &'static str,
) -> Breakage {
    Breakage { broken_by, check, words, mended_by }
}

const BREAKAGES: &[Breakage] = &[
    breakage("ufw --force disable", "ufw active", "ufw is not active", ""),
    breakage("iptables -F INPUT", "ufw active", "`-A INPUT -j ufw-before-input`", ""),
    breakage(
        "sed -i s/IPV6=yes/IPV6=no/ /etc/default/ufw; ip addr add 2001:db8:1::1/64 dev host0 nodad",
        "IPv6",
        "nothing is filtered there",
        "ip addr del 2001:db8:1::1/64 dev host0; sed -i s/IPV6=no/IPV6=yes/ /etc/default/ufw
         ufw reload; systemctl restart webhook-privd",
    ),
    breakage(
        "mv /usr/sbin/conntrack /usr/sbin/hidden",
        "programs",
        "conntrack is missing",
        "mv /usr/sbin/hidden /usr/sbin/conntrack",
    ),
    breakage("chmod 600 /etc/webhookd/tls/cert.pem", "files", "cannot be read by webhookd", ""),
    breakage("chmod 644 /etc/webhookd/token", "files", "every user can read it", ""),
    breakage("chown webhookd /etc/webhookd/tls/key.pem", "files", "is not root's", ""),
    breakage("chmod 666 /etc/webhookd/privd.toml", "files", "can be written by others", ""),
    breakage(
        "touch /etc/webhookd/tls/ca.key; chmod 640 /etc/webhookd/tls/ca.key",
        "files",
        "ca.key is for root alone",
        "",
    ),
    breakage(
        "echo nonsense = 1 >>/etc/webhookd/privd.toml",
        "configuration",
        "unknown field `nonsense`",
        "sed -i /nonsense/d /etc/webhookd/privd.toml",
    ),
    breakage(
        "echo short >>/etc/webhookd/token",
        "configuration",
        "a token has at least 32 characters",
        "sed -i /short/d /etc/webhookd/token",
    ),
    breakage(
        "sed -i s/^#client-ca/client-ca/ /etc/webhookd/webhookd.toml",
        "client CA",
        "holds no usable PEM certificate of a CA",
        "sed -i s/^client-ca/#client-ca/ /etc/webhookd/webhookd.toml",
    ),
    breakage(
        "sed -i 's|^#client-ca.*|client-ca = \"/etc/webhookd/tls/cert.pem\"|' /etc/webhookd/webhookd.toml",
        "client CA",
        "holds a certificate that is no CA's",
        "sed -i s/^client-ca/#client-ca/ /etc/webhookd/webhookd.toml",
    ),
    breakage("usermod --shell /bin/sh webhookd", "account", "has a shell: /bin/sh", ""),
    breakage(
        "useradd mallory; gpasswd --add mallory webhookd",
        "account",
        "mallory is in the group webhookd",
        "",
    ),
    breakage("chmod 666 /run/webhook-privd/privd.sock", "socket", "mode 0666", ""),
    breakage("chmod 777 /run/webhook-privd", "socket", "on the way to the socket", ""),
    breakage(
        "systemctl mask webhookd.service; systemctl stop webhookd.service",
        "units",
        "webhookd.service is masked",
        "",
    ),
    breakage("systemctl disable webhookd.socket", "units", "webhookd.socket is disabled", ""),
    breakage(
        "systemctl stop webhookd.service webhookd.socket",
        "units",
        "webhookd.socket is inactive",
        "systemctl start webhookd",
    ),
    breakage(
        "systemctl stop webhook-privd.socket webhook-privd.service",
        "webhook-privd",
        "webhook-privd cannot be reached",
        "systemctl start webhook-privd",
    ),
    breakage(
        "mkdir -p /run/systemd/system/webhookd.service.d
         printf '[Service]\\nPrivateNetwork=no\\nCapabilityBoundingSet=CAP_CHOWN\\n' \
             >/run/systemd/system/webhookd.service.d/wide.conf
         systemctl daemon-reload; systemctl restart webhookd",
        "confinement",
        "has the host's network",
        "rm -r /run/systemd/system/webhookd.service.d
         systemctl daemon-reload; systemctl restart webhookd",
    ),
    breakage(
        "mkdir -p /run/systemd/system/webhook-privd.service.d
         printf '[Service]\\nReadWritePaths=/etc/ufw\\nBindReadOnlyPaths=/run/systemd/private\\n\
             ExecStart=\\nExecStart=/usr/sbin/webhook-privd --unconfined\\n' \
             >/run/systemd/system/webhook-privd.service.d/wide.conf
         systemctl daemon-reload; systemctl restart webhook-privd",
        "confinement",
        "can write /etc/ufw/before.rules",
        "rm -r /run/systemd/system/webhook-privd.service.d
         systemctl daemon-reload; systemctl restart webhook-privd",
    ),
    breakage(
        "mkdir -p /run/systemd/system/webhookd.service.d
         printf '[Service]\\nSystemCallFilter=~landlock_restrict_self\\n' \
             >/run/systemd/system/webhookd.service.d/old.conf
         systemctl daemon-reload",
        "confinement",
        "the unit of webhookd forbids landlock_restrict_self",
        "rm -r /run/systemd/system/webhookd.service.d; systemctl daemon-reload",
    ),
    breakage(
        "ufw delete allow proto tcp from 10.9.0.2 to any port 5001",
        "port",
        "ufw lets nobody in to 5001",
        "",
    ),
    breakage(
        "ufw prepend deny proto tcp from 10.9.0.0/24 to any port 5001",
        "port",
        "stands ahead of `allow proto tcp from 10.9.0.2 to any port 5001`",
        "",
    ),
    breakage(
        "mkdir -p /etc/systemd/system/webhook-privd.service.d
         cp /usr/share/webhookd/iptables-legacy.conf /etc/systemd/system/webhook-privd.service.d/",
        "iptables",
        "gives webhook-privd what only legacy needs",
        "",
    ),
    breakage(
        "mkdir -p /etc/sudoers.d /etc/ssl/webhook; touch /etc/systemd/system/webhook-server.service \
             /usr/local/bin/block_ip.py /usr/local/bin/webhook_server.py /etc/webhook_server.env",
        "the guide",
        "webhook-server.service is left over",
        "",
    ),
    breakage(
        "mkdir -p /etc/sudoers.d; echo 'webhookd ALL=(root) NOPASSWD: BLOCK_CMD' >/etc/sudoers.d/guide",
        "the guide",
        "/etc/sudoers.d/guide line 1 is left over",
        "rm /etc/sudoers.d/guide",
    ),
    breakage("ufw deny from 198.51.100.7", "the guide", "`deny from 198.51.100.7`, stands", ""),
    breakage(
        "iptables -I INPUT -s 192.0.2.0/24 -j ACCEPT",
        "trial block",
        "(unverified): ",
        "iptables -D INPUT -s 192.0.2.0/24 -j ACCEPT",
    ),
    breakage(
        // Of one network alone another address would be taken.
        "echo 'never-block = [\"192.0.2.0/24\", \"198.51.100.0/24\", \"203.0.113.0/24\", \"2001:db8::/32\"]' \
         >>/etc/webhookd/privd.toml; systemctl reload webhook-privd",
        "trial block",
        "listed in never-block",
        "sed -i /^never-block/d /etc/webhookd/privd.toml; systemctl reload webhook-privd",
    ),
];

/// As on a host with sshd, whose package brings the profile.
const OPENSSH: &str = "printf '[OpenSSH]\\ntitle=x\\ndescription=x\\nports=22/tcp\\n' \
    >/etc/ufw/applications.d/openssh-server";

#[test]
fn whatever_breaks_is_named_and_what_it_says_mends_it() {
    let machine = Container::boot_with(OPENSSH);
    let healthy = Report::of(&machine, "webhookctl check");
    assert_eq!((healthy.code, healthy.problems().len()), (0, 0), "{:#?}", healthy.lines);
    assert!(machine.sh("webhookctl check").ends_with("All is well.\n"));
    for Breakage { broken_by, check, words, mended_by } in BREAKAGES {
        // The trial takes longer than all else.
        let trial = *check == "trial block";
        let command = if trial { "webhookctl check" } else { "webhookctl check --no-trial" };
        machine.sh(broken_by);
        let mut report = Report { lines: Vec::new(), code: 0 };
        until(&format!("`{words}` is found"), 20, || {
            report = Report::of(&machine, command);
            report.lines.iter().any(|line| line["message"].as_str().unwrap().contains(words))
        });
        let line = report.line(check, words);
        assert_eq!((report.code, &line["state"]), (2, &"problem".into()), "{line:#}");
        // Other things may be the worse for it; what is said of each, first to last, mends all.
        let said: Vec<&str> = report
            .problems()
            .iter()
            .filter(|problem| problem["check"] == *check)
            .map(|problem| problem["mend"].as_str().unwrap())
            .collect();
        assert!(!said.is_empty() && said.iter().all(|mend| !mend.is_empty()));
        let said = said.join("\n").replace("sudo ", "").replace("KIBANA", "10.9.0.2");
        machine.sh(if mended_by.is_empty() { as_typed(&said) } else { mended_by.to_string() }.as_str());
        until(&format!("all is well after `{broken_by}`"), 20, || {
            report = Report::of(&machine, command);
            report.code == 0
        });
    }
}

/// The commands of a mend; `(what one does), or` is for people, who choose the first.
fn as_typed(said: &str) -> String {
    let chosen = said.split(", or\n").next().unwrap();
    chosen.split(" (").next().unwrap().to_owned()
}

#[test]
fn a_full_disk_a_late_certificate_and_an_operator_who_could_be_shut_out_are_problems() {
    let machine = Container::boot();
    let [directory, ..] = machine.traces();
    let remount = |size: &str| {
        let disk = directory.join("disk").display().to_string();
        let used = format!("used=$(df --output=used --block-size=1 {disk} | tail -n 1)");
        machine.neighbour().sh(&format!("{used}; mount -o remount,size={size} {disk}"));
    };
    remount("$((used + (5 << 20)))");
    let full = Report::of(&machine, "webhookctl check");
    let line = full.line("room", "/etc/ufw has ");
    assert!(full.code == 2 && line["mend"].as_str().unwrap().contains("df /etc/ufw"), "{line}");
    remount("1g");

    for (days, words) in [("5", "expires on"), ("30", "expires on"), ("0", "expired on")] {
        let certificate = certificate_of(days);
        machine.sh(&format!("cat >/etc/webhookd/tls/cert.pem <<'END'\n{certificate}\nEND"));
        let report = Report::of(&machine, "webhookctl check --no-trial");
        let line = report.line("certificate", words);
        if days == "30" {
            assert_eq!(line["state"], "note");
        } else {
            let mend = line["mend"].as_str().unwrap();
            assert!(report.code == 2 && mend.contains("webhookctl init --renew"), "{line}");
        }
    }
    let (ca, certificate) = issued();
    for (ca, state, words) in [(ca, "ok", "issued by"), (issued().0, "problem", "refuses it")] {
        machine.sh(&format!(
            "cat >/etc/webhookd/tls/ca.pem <<'END'\n{ca}\nEND\n\
             cat >/etc/webhookd/tls/cert.pem <<'END'\n{certificate}\nEND"
        ));
        let report = Report::of(&machine, "webhookctl check --no-trial");
        assert_eq!(report.line("certificate", words)["state"], state);
    }
    // Nobody here can sign its successor: --renew would refuse, and is not what is advised.
    let certificate = certificate_of("5");
    machine.sh(&format!(
        "rm /etc/webhookd/tls/ca.*; cat >/etc/webhookd/tls/cert.pem <<'END'\n{certificate}\nEND"
    ));
    assert!(!machine.run("webhookctl init --renew").status.success());
    let report = Report::of(&machine, "webhookctl check --no-trial");
    let mend = report.line("certificate", "expires on")["mend"].as_str().unwrap().to_owned();
    let (choice, commands) = mend.split_once('\n').unwrap();
    assert!(
        choice.starts_with("put its successor there; or") && !mend.contains("--renew"),
        "{mend}"
    );
    machine.sh(commands);
    let report = Report::of(&machine, "webhookctl check --no-trial");
    assert_eq!((report.code, &report.line("certificate", "issued by")["state"]), (0, &"ok".into()));

    // sudo keeps nothing of the login's environment.
    let logged_in = "SSH_CONNECTION='203.0.113.9 5022 10.9.0.1 22' sh -c \
        'env -i /usr/sbin/webhookctl check --no-trial --json; exit $?' ;:";
    let report = Report::of(&machine, logged_in);
    let line = report.line("your address", "203.0.113.9, from which you are logged in");
    assert!(line["mend"].as_str().unwrap().contains("never-block add 203.0.113.9"), "{line}");
    machine.sh("echo 'never-block = [\"203.0.113.9\"]' >>/etc/webhookd/privd.toml
        systemctl reload webhook-privd");
    until("the address is protected", 20, || {
        let report = Report::of(&machine, logged_in);
        report.line("your address", "203.0.113.9")["state"] == "ok"
    });
}

/// A self-signed certificate for the machine that is good for so many days from yesterday.
fn certificate_of(days: &str) -> String {
    let script = format!(
        "openssl ecparam -name prime256v1 -genkey -noout -out key.pem
         openssl req -new -key key.pem -subj /CN=x -addext subjectAltName=IP:10.9.0.1 -out csr.pem
         touch index; printf '[ca]\\ndefault_ca=a\\n[a]\\ndatabase=index\\nnew_certs_dir=.\\n\
             rand_serial=yes\\ndefault_md=sha256\\npolicy=p\\ncopy_extensions=copy\\n[p]\\n' >ca.cnf
         openssl ca -batch -selfsign -config ca.cnf -keyfile key.pem -in csr.pem -out cert.pem \
             -notext -startdate $(date -u -d '2 days ago' +%Y%m%d%H%M%SZ) \
             -enddate $(date -u -d '{days} days 1 minute ago' +%Y%m%d%H%M%SZ)"
    );
    let script = if days == "0" { script } else { script.replace(" 1 minute ago", "") };
    openssl(&script, ["cert.pem"]).concat()
}

/// An authority, and a certificate for the machine that it issued.
fn issued() -> (String, String) {
    let script = "new='openssl req -x509 -newkey rsa:2048 -nodes -days 100'
         $new -keyout ca.key -subj /CN=ca -out ca.pem 2>/dev/null
         $new -keyout key.pem -subj /CN=x -CA ca.pem -CAkey ca.key -out cert.pem \
             -addext subjectAltName=IP:10.9.0.1 -addext basicConstraints=critical,CA:FALSE";
    let [ca, certificate] = openssl(script, ["ca.pem", "cert.pem"]);
    (ca, certificate)
}

/// The files that a script makes.
fn openssl<const N: usize>(script: &str, files: [&str; N]) -> [String; N] {
    let directory = tempfile::tempdir().unwrap();
    let mut shell = std::process::Command::new("sh");
    let made = shell.args(["-ec", script]).current_dir(directory.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    files.map(|name| std::fs::read_to_string(directory.path().join(name)).unwrap())
}

#[test]
fn what_is_worth_knowing_is_a_note_and_no_failure() {
    let machine = Container::boot();
    machine.sh("ip link add docker0 type veth peer name docker1; iptables -t nat -N DOCKER
        iptables -t nat -A DOCKER -p tcp --dport 80 -j DNAT --to-destination 172.17.0.2
        iptables -N f2b-sshd; nft add table inet crowdsec; ufw allow 5001/tcp
        echo 'enforce = false' >>/etc/webhookd/privd.toml; systemctl restart webhook-privd
        head -c 40 /dev/zero | tr '\\0' a >>/etc/webhookd/token");
    let report = Report::of(&machine, "webhookctl check --no-trial");
    assert_eq!((report.code, report.problems().len()), (0, 0), "{:#?}", report.lines);
    for (check, words) in [
        ("Docker", "ports that it publishes: 1;"),
        ("other tools", "fail2ban works here too"),
        ("other tools", "CrowdSec works here too"),
        ("port", "5001 is open to everyone"),
        ("webhook-privd", "observes only"),
        ("token", "has 1 different characters"),
        ("trial block", "--no-trial"),
    ] {
        assert_eq!(report.line(check, words)["state"], "note");
    }
    // No trial held: no alert would be obeyed.
    let report = Report::of(&machine, "webhookctl check");
    assert_eq!((report.code, report.problems().len()), (2, 1), "{:#?}", report.lines);
    assert_eq!(report.line("trial block", "enforce = false")["state"], "problem");
}

#[test]
fn where_nothing_is_configured_each_check_still_says_its_word() {
    let world = World::new();
    let (text, code) = world.ctl(&["check"]);
    assert_eq!(code, 2, "{text}");
    for words in [
        "ok       ufw: version 0.36",
        "ok       ufw active: enabled",
        "problem  files: cannot be checked: /etc/webhookd/webhookd.toml: cannot be read",
        "mend: webhookctl init\n",
        "note     units: systemd does not run here",
        "ok       trial block: 192.0.2.254 was blocked in ",
        "ok       trial block: 192.0.2.254 was lifted again",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    let (folded, _) = world.ctl_folded(&["check", "--no-trial"]);
    assert!(
        folded.lines().all(|line| line.chars().count() <= 80 || line.contains("mend: ")),
        "{folded}"
    );
    assert!(!world.ufw("status").contains("192.0.2.254"));

    // A block that is there already is left alone.
    assert_eq!(world.ctl(&["block", "192.0.2.254"]).1, 0);
    let (text, _) = world.ctl(&["check"]);
    assert!(text.contains("ok       trial block: 198.51.100.254 was lifted again"), "{text}");
    let rules = world.ufw("status");
    assert!(rules.contains("192.0.2.254") && !rules.contains("198.51.100.254"), "{rules}");

    let output = world.confined.run(&[&AS_WEBHOOKD[..], &["/mnt/webhookctl", "check"]].concat());
    assert_eq!(output.status.code(), Some(2));
    let complaint = unfolded(&String::from_utf8_lossy(&output.stderr));
    assert!(complaint.contains("run it as root: sudo webhookctl check"), "{complaint}");
}
