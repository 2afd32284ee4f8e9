//! A machine of its own: Debian or Ubuntu booted by systemd-nspawn, with the package installed.
//!
//! ```text
//!  neighbour: attacker 203.0.113.7, kibana 10.9.0.2 ── veth ── machine 203.0.113.1, 10.9.0.1
//!                      2001:db8:113::7                         2001:db8:113::1
//! ```
//!
//! Its network belongs to namespaces that end with the test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::disk::{Disk, PATH, shell_word};
use crate::door::Door;
use crate::https::{Answer, Client};
use crate::last_words;
use crate::place::Place;
use crate::wait::until;

/// A booted machine and its neighbour.
#[derive(Debug)]
pub struct Container {
    disk: Disk,
    running: Running,
}

/// From one boot to the next.
#[derive(Debug)]
struct Running {
    network: Place,
    nspawn: Child,
    leader: u32,
}

impl Container {
    /// Shell that has nftables hold the blocks from the next start on.
    pub const NFTABLES: &str =
        "sed -i 's/^#*firewall = .*/firewall = \"nftables\"/' /etc/webhookd/privd.toml";

    /// Shell that has ufw hold them.
    pub const UFW: &str =
        "sed -i 's/^#*firewall = .*/firewall = \"ufw\"/' /etc/webhookd/privd.toml";

    /// A machine with ufw enabled at boot, SSH open to everyone and port 5001 to Kibana, and the
    /// package installed.
    #[must_use]
    pub fn boot() -> Self {
        Self::from(Disk::installed())
    }

    /// The same after `change`: shell that runs on the machine's disk (`chroot`) before it boots.
    #[must_use]
    pub fn boot_with(change: &str) -> Self {
        let disk = Disk::installed();
        disk.sh(change);
        Self::from(disk)
    }

    /// Boots a disk.
    #[must_use]
    pub fn from(disk: Disk) -> Self {
        last_words::keep();
        let running = start(&disk);
        let machine = Self { disk, running };
        machine.wait_for_boot();
        machine
    }

    /// Shuts the machine down, runs `change` on its disk, and boots it again.
    pub fn reboot(&mut self, change: &str) {
        self.sh("systemctl poweroff");
        until("the machine is off", 60, || self.running.nspawn.try_wait().unwrap().is_some());
        self.end();
        self.disk.sh(change);
        self.running = start(&self.disk);
        self.wait_for_boot();
    }

    fn wait_for_boot(&self) {
        until("the machine has booted", 60, || {
            let state = self.run("systemctl is-system-running");
            [&b"running\n"[..], b"degraded\n"].contains(&&*state.stdout)
        });
    }

    /// The other end of its cable: the attacker and Kibana.
    #[must_use]
    pub const fn neighbour(&self) -> &Place {
        &self.disk.place
    }

    /// The machine's network, under the mounts of the test.
    #[must_use]
    pub const fn network(&self) -> &Place {
        &self.running.network
    }

    /// Runs shell on the machine as root, outside every unit.
    #[must_use]
    pub fn run(&self, script: &str) -> Output {
        let leader = self.running.leader.to_string();
        Command::new("nsenter")
            .args(["--all", "--target", &leader, "env", "-i", PATH, "LC_ALL=C"])
            // What hangs there is a failure with the script's name.
            .args(["timeout", "--kill-after=5", LONGEST, "sh", "-ec", script])
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

    /// Waits until a unit runs with another process than this one.
    pub fn until_afresh(&self, unit: &str, pid: &str) {
        until("systemd has started it afresh", 60, || {
            // In this order: a process that is new belongs to a state that is.
            let now = self.property(unit, "MainPID");
            now != pid && now != "0" && self.property(unit, "SubState") == "running"
        });
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

    /// A file of the machine, as the test can read it.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        format!("/proc/{}/root{path}", self.running.leader).into()
    }

    /// Posts an alert as Kibana does, with the token and the CA that `webhookctl init` made.
    #[must_use]
    pub fn post(&self, body: &Value) -> Answer {
        self.try_post(body).expect("an answer")
    }

    /// The same; fails where the connection is refused or ends without an answer.
    pub fn try_post(&self, body: &Value) -> std::io::Result<Answer> {
        let door = self.door();
        self.neighbour().inside(|| door.post(&body.to_string()))
    }

    /// Where webhookd listens, with the token and the CA that `webhookctl init` made.
    ///
    /// # Panics
    /// When there are none.
    #[must_use]
    pub fn door(&self) -> Door {
        let tokens = fs::read_to_string(self.path("/etc/webhookd/token")).unwrap();
        let client = Client::trusting(&self.path("/etc/webhookd/tls/ca.pem"));
        Door::new(client, tokens.split_whitespace().next().unwrap())
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

    /// Installs the package again, as version 9.0, while alerts keep coming, of which each must be
    /// answered 200; what the installation said.
    ///
    /// # Panics
    /// When an alert or the installation fails.
    #[must_use]
    pub fn upgrade_under_alerts(&self) -> String {
        self.sh(HIGHER);
        let done = AtomicBool::new(false);
        let (installed, alerts) = std::thread::scope(|scope| {
            // Several at a time: there is one in whatever state when a daemon stops.
            let clients = [(); 3].map(|()| scope.spawn(|| self.post_until(&done)));
            let installed = self.run("dpkg --install /root/higher.deb 2>&1");
            done.store(true, Ordering::Relaxed);
            (installed, clients.map(|client| client.join().unwrap()))
        });
        let said = String::from_utf8(installed.stdout).unwrap();
        assert!(alerts.iter().all(Result::is_ok), "{said}\n{alerts:#?}");
        assert!(installed.status.success(), "{said}");
        said
    }

    /// Posts one alert after another, each of which is answered 200, or says which was not, and when.
    fn post_until(&self, done: &AtomicBool) -> Result<u32, String> {
        let mut answers = 0;
        while !done.load(Ordering::Relaxed) || answers < 12 {
            let address = format!("198.51.100.{}", answers % 200 + 1);
            let from = time_of_day();
            match self.try_post(&json!({ "ip": address })) {
                Ok(answer) if answer.status == 200 => answers += 1,
                other => {
                    let to = time_of_day();
                    return Err(format!("after {answers}, from {from} to {to}: {other:?}"));
                }
            }
        }
        Ok(answers)
    }

    /// Whether the attacker can open a connection to the machine's port 22.
    #[must_use]
    pub fn attacker_connects(&self) -> bool {
        let _listener = self.network().listen("203.0.113.1:22");
        let port = ([203, 0, 113, 1], 22).into();
        self.neighbour().connect(port, Duration::from_millis(700)).is_ok()
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
            self.disk.directory.path().to_owned(),
            groups.join(name_of(&self.disk.directory)),
            format!("/proc/{}", self.running.leader).into(),
        ]
    }

    /// Ends every process of the machine, and takes its control groups away.
    fn end(&mut self) {
        let group = format!("/sys/fs/cgroup/{}", name_of(&self.disk.directory));
        let _ = self.disk.place.run(&["sh", "-c", &format!("echo 1 > {group}/cgroup.kill")]);
        let _ = self.running.nspawn.wait();
        let deadline = Instant::now() + Duration::from_secs(5);
        let remove = format!("find {group} -depth -type d -exec rmdir {{}} + && [ ! -e {group} ]");
        while !self.disk.place.run(&["sh", "-c", &remove]).status.success() {
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
        last_words::print(|| self.journal());
        self.end();
    }
}

fn start(disk: &Disk) -> Running {
    let Disk { place: neighbour, directory } = disk;
    let mut nspawn = neighbour
        .command(&["sh", "-ec", START])
        .env("directory", directory.path())
        .env("group", format!("/sys/fs/cgroup/{}", name_of(directory)))
        .stdout(File::create(directory.path().join("console")).unwrap())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let leader = wait_for_leader(&mut nspawn, directory.path());
    let network = Place::of(&leader.to_string());
    for (end, device, addresses) in [
        (&network, "host0", ["203.0.113.1/24", "10.9.0.1/24", "2001:db8:113::1/64"]),
        (neighbour, "ve-machine", ["203.0.113.7/24", "10.9.0.2/24", "2001:db8:113::7/64"]),
    ] {
        for address in addresses {
            // An IPv6 address is looked for on the cable first, and cannot be used for a second.
            let at_once = if address.contains("::") { "nodad" } else { "" };
            end.sh(&format!("ip addr add {address} dev {device} {at_once}"));
        }
        end.sh(&format!("ip link set {device} up"));
    }
    Running { network, nspawn, leader }
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

/// As the journal writes it, in UTC.
fn time_of_day() -> String {
    let now = UNIX_EPOCH.elapsed().unwrap();
    let (seconds, micros) = (now.as_secs(), now.subsec_micros());
    format!("{:02}:{:02}:{:02}.{micros:06}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

/// Also the name of its control group.
fn name_of(directory: &TempDir) -> &str {
    directory.path().file_name().unwrap().to_str().unwrap()
}

/// The package again, as `/root/higher.deb` and under another version.
const HIGHER: &str = "
    cd /root; dpkg-deb --raw-extract webhookd.deb higher
    sed -i 's/^Version: .*/Version: 9.0/' higher/DEBIAN/control
    dpkg-deb --build -Znone higher >/dev/null; rm -r higher
";

/// Seconds that a script may take; the longest installs a package and starts everything.
const LONGEST: &str = "300";

/// In a control group of its own, so that machines run side by side, and in a process namespace,
/// by which no process of the machine outlives systemd-nspawn. Nothing is kept from it: what is
/// refused there, a unit's sandbox has refused, and IPAddressDeny=, which systemd leaves out in
/// silence where it lacks bpf(2), is applied.
const START: &str = "
    cd $directory; mkdir $group; echo 0 >$group/cgroup.procs
    exec unshare --pid --fork --kill-child --mount-proc systemd-nspawn --quiet --directory root \
        --machine machine --network-veth --register=no --keep-unit --console=read-only \
        --capability all --system-call-filter @known --boot
";
