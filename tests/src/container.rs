//! A machine of its own: Debian or Ubuntu booted by systemd-nspawn, with the daemons installed and
//! started as the package does it.
//!
//! ```text
//!  neighbour: attacker 203.0.113.7, kibana 10.9.0.2 ── veth ── machine 203.0.113.1, 10.9.0.1
//! ```
//!
//! The machine's disk is an overlay in memory over a root that debootstrap makes once. Its mounts and
//! its network belong to namespaces that end with the test.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::https::{self, Answer, Client};
use crate::place::Place;
use crate::wait::until;
use crate::world::binaries;

/// A booted machine and its neighbour.
#[derive(Debug)]
pub struct Container {
    /// The other end of its cable: the attacker and Kibana.
    pub neighbour: Place,
    network: Place,
    token: String,
    client: Client,
    nspawn: Child,
    leader: u32,
    directory: TempDir,
}

impl Container {
    /// A machine with ufw enabled at boot, SSH open to everyone and port 5001 to Kibana, both
    /// daemons enabled.
    #[must_use]
    pub fn boot() -> Self {
        Self::boot_with("")
    }

    /// The same after `change`: shell that runs on the machine's disk (`chroot`) before it boots.
    #[must_use]
    pub fn boot_with(change: &str) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "these tests need root: run `sudo tests/run`");
        let directory = tempfile::Builder::new().prefix("webhookd-test-").tempdir().unwrap();
        let token = make_credentials(directory.path());
        let neighbour = Place::new(&format!(
            "base={}; bin={}; packaging={}; cd {}\n{DISK}\n{INSTALL}\n\
             chroot root sh -ec {} >/dev/null\numount root/proc",
            base_root().display(),
            binaries().display(),
            packaging().display(),
            directory.path().display(),
            shell_word(&format!("{FIREWALL}\n{change}"))
        ));
        let mut nspawn = neighbour
            .command(&["sh", "-ec", START])
            .env("directory", directory.path())
            .env("group", format!("/sys/fs/cgroup/{}", name_of(&directory)))
            .stdout(File::create(directory.path().join("console")).unwrap())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let leader = wait_for_leader(&mut nspawn, directory.path());
        let network = Place::of(&leader.to_string());
        for (end, device, addresses) in [
            (&network, "host0", ["203.0.113.1/24", "10.9.0.1/24"]),
            (&neighbour, "ve-machine", ["203.0.113.7/24", "10.9.0.2/24"]),
        ] {
            for address in addresses {
                end.sh(&format!("ip addr add {address} dev {device}"));
            }
            end.sh(&format!("ip link set {device} up"));
        }
        let client = Client::trusting(&directory.path().join("cert.pem"));
        let machine = Self { neighbour, network, token, client, nspawn, leader, directory };
        until("the machine has booted", 60, || {
            let state = machine.run("systemctl is-system-running");
            [&b"running\n"[..], b"degraded\n"].contains(&&*state.stdout)
        });
        machine
    }

    /// Runs shell on the machine as root, outside every unit.
    #[must_use]
    pub fn run(&self, script: &str) -> Output {
        let leader = self.leader.to_string();
        Command::new("nsenter")
            .args(["--all", "--target", &leader, "env", "-i", PATH, "LC_ALL=C"])
            .args(["sh", "-ec", script])
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// The same; what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn sh(&self, script: &str) -> String {
        let output = self.run(script);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{script}: {}\n{stdout}{stderr}", output.status);
        stdout + &stderr
    }

    /// A property of a unit.
    #[must_use]
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.sh(&format!("systemctl show --value -p {name} {unit}")).trim_end().to_owned()
    }

    /// Runs shell in the view of a unit's main process (mounts, network), as the user and
    /// with the capabilities that it runs with.
    #[must_use]
    pub fn run_beside(&self, unit: &str, script: &str) -> Output {
        let user = self.property(unit, "User");
        let (pid, keep) =
            (self.property(unit, "MainPID"), if user == "root" { ",+net_admin" } else { "" });
        self.run(&format!(
            "exec nsenter --mount --net --ipc --uts --target {pid} \
             setpriv --reuid {user} --regid {user} --clear-groups \
             --inh-caps -all --bounding-set -all{keep} --no-new-privs sh -c {}",
            shell_word(script)
        ))
    }

    /// Posts an alert as Kibana does.
    #[must_use]
    pub fn post(&self, body: &Value) -> Answer {
        let stream =
            self.neighbour.connect(([10, 9, 0, 1], 5001).into(), Duration::from_secs(5)).unwrap();
        let mut connection = self.client.handshake(stream, "10.9.0.1");
        let token = format!("Bearer {}", self.token);
        let headers = [("Authorization", token.as_str()), ("Content-Type", "application/json")];
        let request = https::request("POST", "/blockip", &headers, &body.to_string());
        https::exchange(&mut connection, &request).expect("an answer")
    }

    /// Has one address blocked.
    ///
    /// # Panics
    /// When the answer is not 200.
    pub fn block(&self, address: &str) -> Answer {
        let answer = self.post(&json!({ "ip": address }));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    }

    /// Whether the attacker can open a connection to the machine's port 22.
    #[must_use]
    pub fn attacker_connects(&self) -> bool {
        let _listener = self.network.listen("203.0.113.1:22");
        let port = ([203, 0, 113, 1], 22).into();
        self.neighbour.connect(port, Duration::from_millis(700)).is_ok()
    }

    /// What the machine's units logged since its boot.
    #[must_use]
    pub fn journal(&self) -> String {
        let journal = self.run("journalctl --boot --no-pager --output short-precise");
        String::from_utf8_lossy(&journal.stdout).into_owned()
    }

    /// What is on the host of the test while the machine runs, beside what lies in namespaces: its
    /// directory, its control group, its first process.
    #[must_use]
    pub fn traces(&self) -> [PathBuf; 3] {
        // There on hosts that have both hierarchies.
        let unified = PathBuf::from("/sys/fs/cgroup/unified");
        let groups = if unified.exists() { unified } else { "/sys/fs/cgroup".into() };
        [
            self.directory.path().to_owned(),
            groups.join(name_of(&self.directory)),
            format!("/proc/{}", self.leader).into(),
        ]
    }

    /// Ends every process of the machine, and takes its control groups away.
    fn end(&mut self) {
        let group = format!("/sys/fs/cgroup/{}", name_of(&self.directory));
        let _ = self.neighbour.run(&["sh", "-c", &format!("echo 1 > {group}/cgroup.kill")]);
        let _ = self.nspawn.wait();
        let deadline = Instant::now() + Duration::from_secs(5);
        let remove = format!("find {group} -depth -type d -exec rmdir {{}} + && [ ! -e {group} ]");
        while !self.neighbour.run(&["sh", "-c", &remove]).status.success() {
            if Instant::now() > deadline {
                eprintln!("{group} stays behind");
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.journal());
        }
        self.end();
    }
}

/// The process that is the machine's PID 1.
fn wait_for_leader(nspawn: &mut Child, directory: &Path) -> u32 {
    let mut leader = None;
    until("systemd-nspawn has started systemd", 30, || {
        let console = || fs::read_to_string(directory.join("console")).unwrap_or_default();
        let ended = nspawn.try_wait().unwrap();
        assert!(ended.is_none(), "systemd-nspawn ended: {ended:?}\n{}", console());
        leader = descendants(nspawn.id()).into_iter().find(|pid| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "systemd\n")
        });
        leader.is_some()
    });
    leader.unwrap()
}

fn descendants(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let children = children.split_whitespace().map(|pid| pid.parse().unwrap());
    children.flat_map(|pid| [vec![pid], descendants(pid)].concat()).collect()
}

/// A Debian or Ubuntu root of the same release as this machine, whose C library our binaries were
/// built for, or of a newer one that `WEBHOOKD_TEST_SUITE` names. Made once, whole or not at all.
fn base_root() -> PathBuf {
    let release = fs::read_to_string("/etc/os-release").unwrap();
    let value = |key| release.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    let chosen = std::env::var("WEBHOOKD_TEST_SUITE");
    let suite = chosen.as_deref().unwrap_or_else(|_| value("VERSION_CODENAME="));
    let cache = binaries().parent().unwrap().join("container");
    fs::create_dir_all(&cache).unwrap();
    // Held until the end of this function, also against other test programs.
    let lock = File::create(cache.join("lock")).unwrap();
    lock.lock().unwrap();
    let made = cache.join(suite);
    if fs::read_to_string(made.join("packages")).is_ok_and(|packages| packages == PACKAGES) {
        return made.join("root");
    }
    let components = if value("ID=") == "ubuntu" { "main,universe" } else { "main" };
    let script = format!(
        "cd {cache}; rm -rf {suite} unfinished; mkdir unfinished
         debootstrap --variant=minbase --components={components} --include={PACKAGES} \
             {suite} unfinished/root >log 2>&1 || {{ tail log; exit 1; }}
         rm -rf unfinished/root/var/cache/apt unfinished/root/var/lib/apt/lists
         printf %s {PACKAGES} >unfinished/packages; sync; rm log
         mv unfinished {suite}",
        cache = cache.display()
    );
    let output = Command::new("sh").args(["-ec", &script]).output().unwrap();
    assert!(output.status.success(), "no {suite}: {}", String::from_utf8_lossy(&output.stdout));
    made.join("root")
}

/// Certificate, key and token in `at`; returns the token.
fn make_credentials(at: &Path) -> String {
    fs::set_permissions(at, fs::Permissions::from_mode(0o755)).unwrap();
    let made = Command::new("sh")
        .args(["-ec", CREDENTIALS])
        .current_dir(at)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    fs::read_to_string(at.join("token")).unwrap().trim_end().to_owned()
}

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("packaging")
}

/// Also the name of its control group.
fn name_of(directory: &TempDir) -> &str {
    directory.path().file_name().unwrap().to_str().unwrap()
}

fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// What the machine has, beside the smallest Debian.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,ufw,iptables,nftables,conntrack,iproute2,procps";

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const CREDENTIALS: &str = "
    openssl rand -hex 32 >token
    openssl ecparam -name prime256v1 -genkey -noout -out key.pem
    openssl req -x509 -new -key key.pem -days 100 -subj /CN=webhookd-test -out cert.pem \
        -addext subjectAltName=IP:10.9.0.1 -addext basicConstraints=critical,CA:FALSE
";

/// The disk, and what else systemd-nspawn needs: the one hierarchy of control groups as on today's
/// hosts, whatever this one has, and a /run to write to.
const DISK: &str = "
    ip link set lo up
    umount --recursive /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mount -t tmpfs -o mode=755 tmpfs /run
    mkdir disk root; mount -t tmpfs tmpfs disk; mkdir disk/changes disk/work
    mount -t overlay -o lowerdir=$base,upperdir=disk/changes,workdir=disk/work overlay root
    mount -t proc proc root/proc
";

/// What the package will do.
const INSTALL: &str = "
    install -t root/usr/sbin $bin/webhookd $bin/webhook-privd $bin/webhookctl
    install -m 644 -t root/lib/systemd/system $packaging/systemd/webhook*
    install -D -m 644 -t root/usr/share/webhookd $packaging/systemd/drop-ins/*
    install -m 644 -t root/usr/lib/sysusers.d $packaging/sysusers.d/webhookd.conf
    install -m 644 -t root/usr/lib/tmpfiles.d $packaging/tmpfiles.d/webhookd.conf
    SYSTEMD_LOG_LEVEL=warning chroot root systemd-sysusers webhookd.conf
    install -d root/etc/webhookd root/etc/webhookd/tls
    install -m 644 -t root/etc/webhookd $packaging/config/*.toml
    group=$(sed -n 's/^webhookd:x:\\([0-9]*\\):.*/\\1/p' root/etc/group)
    install -m 640 -g $group token root/etc/webhookd
    install -m 640 -g $group cert.pem key.pem root/etc/webhookd/tls
    chroot root systemctl --quiet enable webhookd.service webhook-privd.service
";

const FIREWALL: &str = "
    ufw allow 22/tcp; ufw allow proto tcp from 10.9.0.2 to any port 5001
    sed -i s/^ENABLED=.*/ENABLED=yes/ /etc/ufw/ufw.conf
";

/// In a control group of its own, so that machines run side by side, and in a process namespace,
/// by which no process of the machine outlives systemd-nspawn. IPAddressDeny= needs bpf(2): without
/// it systemd leaves it out in silence.
const START: &str = "
    cd $directory; mkdir $group; echo 0 >$group/cgroup.procs
    exec unshare --pid --fork --kill-child --mount-proc systemd-nspawn --quiet --directory root \
        --machine machine --network-veth --register=no --keep-unit --console=read-only \
        --capability CAP_BPF --system-call-filter bpf --boot
";
