//! One test's world: a server with ufw and both daemons, an attacker and a Kibana, joined by veth.
//!
//! ```text
//!  attacker 203.0.113.7, 2001:db8:1::7 ── server 203.0.113.1, 2001:db8:1::1
//!  kibana   10.9.0.2                   ── server 10.9.0.1     (the only one let in to 5001)
//! ```

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::door::Door;
use crate::engine::Engine;
use crate::https::{self, Answer, Client, Connection};
use crate::last_words;
use crate::place::Place;
use crate::processes;
use crate::wait::until;

/// The attacker's addresses.
pub const ATTACKER: &str = "203.0.113.7";
/// The attacker's IPv6 address.
pub const ATTACKER6: &str = "2001:db8:1::7";
/// The server's addresses towards the attacker.
pub const SERVER: &str = "203.0.113.1";
/// The server's IPv6 address.
pub const SERVER6: &str = "2001:db8:1::1";
/// Kibana's address.
pub const KIBANA: &str = "10.9.0.2";
/// The uid and gid of webhookd.
pub const UID: u32 = 4711;

/// A server, an attacker and a Kibana.
#[derive(Debug)]
pub struct World {
    /// Where daemons run: /etc/ufw read-only but for two files, a private /run.
    pub confined: Place,
    /// Where the administrator works, on the same network.
    pub server: Place,
    /// The attacker's host.
    pub attacker: Place,
    /// Kibana's host.
    pub kibana: Place,
    /// What webhook-privd is configured to block with.
    pub engine: Engine,
    /// The token that lets in.
    pub token: String,
    /// What webhook-privd is started through: the words of a command that starts another one.
    pub privd_through: Vec<String>,
    /// Everything that stands for the server's disk.
    pub directory: TempDir,
    client: Client,
    privd: Option<Child>,
    webhookd: Option<Child>,
}

impl World {
    /// A world with `ufw allow 22/tcp`, Kibana let in, both daemons running.
    #[must_use]
    pub fn new() -> Self {
        Self::with("", "ufw allow 22/tcp")
    }

    /// The same with lines for privd.toml and other ufw commands.
    #[must_use]
    pub fn with(privd_toml: &str, ufw: &str) -> Self {
        let mut world = Self::without_daemons(ufw);
        world.configure(privd_toml, "");
        world.start();
        world
    }

    /// The places alone, ufw enabled after the given commands, configuration files in place.
    #[must_use]
    pub fn without_daemons(ufw: &str) -> Self {
        Self::prepared("", ufw)
    }

    /// The same on disks that `setup` prepares: shell in the server's directory, ahead of all mounts,
    /// whose own mounts only the server sees.
    #[must_use]
    pub fn prepared(setup: &str, ufw: &str) -> Self {
        last_words::keep();
        assert!(nix::unistd::geteuid().is_root(), "these tests need root: run `sudo tests/run`");
        let directory = tempfile::Builder::new().prefix("webhookd-test-").tempdir().unwrap();
        let path = directory.path();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        make_files(path);
        let at = path.display();
        let server = Place::new(&format!("cd {at}; {setup}\n{ADMINISTRATOR}"));
        let confined = confined_view(&server, path);
        let (attacker, kibana) = (Place::new(""), Place::new(""));
        let join = |place: &Place, name: &str, here: &[&str], there: &[&str]| {
            let pid = place.pid();
            server.sh(&format!("ip link add {name} type veth peer name eth0 netns {pid}"));
            for (place, device, addresses) in [(&server, name, here), (place, "eth0", there)] {
                for address in addresses {
                    let nodad = if address.contains(':') { "nodad" } else { "" };
                    place.sh(&format!("ip addr add {address} dev {device} {nodad}"));
                }
                place.sh(&format!("ip link set lo up; ip link set {device} up"));
            }
        };
        join(
            &attacker,
            "wan0",
            &["203.0.113.1/24", "2001:db8:1::1/64"],
            &["203.0.113.7/24", "2001:db8:1::7/64"],
        );
        join(&kibana, "lan0", &["10.9.0.1/24"], &["10.9.0.2/24"]);
        let world = Self {
            confined,
            server,
            attacker,
            kibana,
            engine: Engine::tested(),
            token: fs::read_to_string(path.join("secret")).unwrap(),
            client: Client::trusting(&path.join("cert.pem")),
            privd_through: Vec::new(),
            directory,
            privd: None,
            webhookd: None,
        };
        world.server.sh(&format!("ufw allow proto tcp from {KIBANA} to any port 5001; {ufw}"));
        world.server.sh("ufw --force enable");
        world.configure("", "");
        world
    }

    /// Writes both configuration files, with further lines; top-level keys come first.
    pub fn configure(&self, privd_toml: &str, webhookd_toml: &str) {
        let at = self.directory.path().display();
        let engine = self.engine.line();
        self.write(
            "privd.toml",
            &format!("{engine}{privd_toml}\nledger = \"{at}/state/ledger.redb\"\n"),
        );
        self.write(
            "webhookd.toml",
            &format!(
                "{webhookd_toml}\ntoken-file = \"{at}/token\"\n\
                 tls.certificate = \"{at}/cert.pem\"\ntls.key = \"{at}/key.pem\"\n"
            ),
        );
    }

    /// Starts both daemons and waits until they serve.
    pub fn start(&mut self) {
        self.start_privd();
        self.start_webhookd();
    }

    /// Starts webhook-privd as plain root in its view and waits until it has looked at its blocks.
    pub fn start_privd(&mut self) {
        self.start_privd_unready();
        until("webhook-privd looks at its blocks", 20, || {
            self.ctl_json("status")["verified_at"].is_string()
        });
    }

    /// The same for a firewall that cannot be looked at.
    ///
    /// # Panics
    /// When it ends.
    pub fn start_privd_unready(&mut self) {
        if let Some(code) = self.try_start_privd() {
            panic!("webhook-privd ended with {code:?}\n{}", self.logs());
        }
    }

    /// Starts webhook-privd and waits until it is ready; if it ends instead, with which status.
    #[must_use]
    pub fn try_start_privd(&mut self) -> Option<ExitStatus> {
        let config = self.path("privd.toml");
        let through = self.privd_through.clone();
        let through: Vec<&str> = through.iter().map(String::as_str).collect();
        let program = [&through[..], &["/mnt/webhook-privd", "--config", &config]].concat();
        let mut child = self.spawn("privd.log", &program);
        let mut ended = None;
        until("webhook-privd is ready", 20, || {
            ended = child.try_wait().unwrap();
            // What one that was killed had just forked holds its ledger's lock for a moment. systemd,
            // too, starts it again.
            if ended.is_some() && self.read("privd.log").contains("Cannot acquire lock") {
                child = self.spawn("privd.log", &program);
                return false;
            }
            ended.is_some() || self.read("privd.log").contains("webhook-privd is ready")
        });
        self.privd = Some(child);
        ended
    }

    /// Starts webhookd as its own user, without any capability, and waits for it.
    pub fn start_webhookd(&mut self) {
        let config = self.path("webhookd.toml");
        let program = ["/mnt/webhookd", "--config", &config];
        let child = self.spawn("webhookd.log", &[&AS_WEBHOOKD[..], &program].concat());
        self.webhookd = Some(child);
        self.wait_for("webhookd is ready", "webhookd.log");
    }

    /// Sends privd a signal and waits for its end.
    pub fn stop_privd(&mut self, signal: Signal) {
        stop(self.privd.take().expect("privd runs"), signal);
    }

    /// Waits for the end of a privd that ends by itself: its exit status, None after a signal.
    ///
    /// # Panics
    /// When it goes on.
    pub fn privd_ended(&mut self) -> Option<i32> {
        let mut privd = self.privd.take().expect("privd was started");
        let mut ended = None;
        until("privd ends by itself", 30, || {
            ended = privd.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap().code()
    }

    /// Makes the confined view afresh, as the unit's next start would.
    pub fn renew_view(&mut self) {
        self.confined = confined_view(&self.server, self.directory.path());
    }

    /// Sends webhookd a signal and waits for its end.
    pub fn stop_webhookd(&mut self, signal: Signal) {
        stop(self.webhookd.take().expect("webhookd runs"), signal);
    }

    /// Has those daemons that run read their files again, as a reload of their units does.
    pub fn hang_up(&self) {
        for daemon in [&self.privd, &self.webhookd].into_iter().flatten() {
            processes::signal(daemon.id(), Signal::SIGHUP);
        }
    }

    /// The daemons' process ids: privd's, then webhookd's.
    #[must_use]
    pub fn daemons(&self) -> (u32, u32) {
        (self.privd_pid(), self.webhookd_pid())
    }

    /// privd's process id alone.
    #[must_use]
    pub fn privd_pid(&self) -> u32 {
        self.privd.as_ref().unwrap().id()
    }

    /// webhookd's process id alone, which may run without the other.
    #[must_use]
    pub fn webhookd_pid(&self) -> u32 {
        self.webhookd.as_ref().unwrap().id()
    }

    /// Posts an alert as Kibana does: a new connection, the right token and type.
    #[must_use]
    pub fn post(&self, body: &Value) -> Answer {
        self.post_text(&body.to_string())
    }

    /// The same with any body.
    #[must_use]
    pub fn post_text(&self, body: &str) -> Answer {
        self.send(&self.alert(body))
    }

    /// The whole request that this is, for a connection of the test's own.
    #[must_use]
    pub fn alert(&self, body: &str) -> String {
        self.door().alert(body)
    }

    /// Where webhookd listens.
    #[must_use]
    pub fn door(&self) -> Door {
        Door::new(self.client.clone(), &self.token)
    }

    /// What its `Authorization` says.
    #[must_use]
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    /// Every sample of webhookd's metrics, by its name and labels.
    ///
    /// # Panics
    /// When they are not whole.
    #[must_use]
    pub fn metrics(&self) -> HashMap<String, f64> {
        let headers = [("Authorization", &*self.bearer())];
        let answer = self.send(&https::request("GET", "/metrics", &headers, ""));
        assert_eq!(answer.status, 200, "{answer:?}");
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert_eq!(answer.header("Content-Type"), Some(kind));
        assert!(answer.text.ends_with("# EOF\n"), "{answer:?}");
        let samples = answer.text.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        };
        samples.map(sample).collect()
    }

    /// Sends a whole request from Kibana's host over a new connection.
    #[must_use]
    pub fn send(&self, request: &str) -> Answer {
        https::exchange(&mut self.connection(), request).expect("an answer")
    }

    /// A new TLS connection from Kibana's host.
    #[must_use]
    pub fn connection(&self) -> Connection {
        self.kibana.inside(|| self.connect_here())
    }

    /// A new TLS connection from wherever the calling thread is.
    #[must_use]
    pub fn connect_here(&self) -> Connection {
        self.connect_to(5001)
    }

    /// The same to another port, where another server shows webhookd's certificate.
    #[must_use]
    pub fn connect_to(&self, port: u16) -> Connection {
        let stream = std::net::TcpStream::connect(("10.9.0.1", port)).unwrap();
        self.client.handshake(stream, "10.9.0.1")
    }

    /// Blocks one address through the whole road.
    ///
    /// # Panics
    /// When the answer is not 200.
    pub fn block(&self, address: &str) -> Answer {
        let answer = self.post(&json!({ "ip": address }));
        assert_eq!(answer.status, 200, "{answer:?}\n{}", self.logs());
        answer
    }

    /// Runs webhookctl as root; what it printed, with its sentences in one line each, and the exit
    /// status.
    #[must_use]
    pub fn ctl(&self, arguments: &[&str]) -> (String, i32) {
        let (text, code) = self.ctl_folded(arguments);
        (unfolded(&text), code)
    }

    /// The same as it was printed.
    #[must_use]
    pub fn ctl_folded(&self, arguments: &[&str]) -> (String, i32) {
        let output = self.confined.run(&[&["/mnt/webhookctl"], arguments].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout) + &text(&output.stderr), output.status.code().unwrap())
    }

    /// Runs a webhookctl command with `--json`.
    #[must_use]
    pub fn ctl_json(&self, arguments: &str) -> Value {
        let arguments: Vec<&str> = arguments.split(' ').chain(["--json"]).collect();
        serde_json::from_str(&self.ctl_folded(&arguments).0).unwrap_or_default()
    }

    /// Runs a ufw command as the administrator.
    pub fn ufw(&self, command: &str) -> String {
        self.server.sh(&format!("ufw {command}"))
    }

    /// Whether the attacker can open a connection to the server's port 22.
    #[must_use]
    pub fn attacker_connects(&self, to: &str) -> bool {
        let to: std::net::IpAddr = to.parse().unwrap();
        // Taken already: then the test's own sessions listen there.
        let listener = self.server.inside(|| std::net::TcpListener::bind((to, 22)));
        let connected = self.attacker.connect((to, 22).into(), Duration::from_millis(700));
        drop(listener);
        connected.is_ok()
    }

    /// A file of the server's disk.
    #[must_use]
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).unwrap()
    }

    /// The lines of a log that hold all words.
    #[must_use]
    pub fn lines(&self, log: &str, words: &[&str]) -> Vec<String> {
        let text = self.read(log);
        let found = text.lines().filter(|line| words.iter().all(|word| line.contains(word)));
        found.map(str::to_owned).collect()
    }

    /// A path of the server's, its own mounts included, as the test can open it.
    #[must_use]
    pub fn inside(&self, path: &str) -> PathBuf {
        format!("/proc/{}/root{path}", self.server.pid()).into()
    }

    /// Writes a file of the server's disk in place.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.directory.path().join(name), text).unwrap();
    }

    /// Both daemons' logs, for a failing test.
    #[must_use]
    pub fn logs(&self) -> String {
        let read = |name| fs::read_to_string(self.directory.path().join(name)).unwrap_or_default();
        format!("privd:\n{}\nwebhookd:\n{}", read("privd.log"), read("webhookd.log"))
    }

    /// privd's socket as the host of the test sees it.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("run/privd.sock")
    }

    /// A path on the server's disk, as text.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Starts a daemon in the confined view, its log in a file of that name.
    #[must_use]
    pub fn spawn(&self, log: &str, program: &[&str]) -> Child {
        let log = File::create(self.directory.path().join(log)).unwrap();
        let mut command = self.confined.command(program);
        command.env("TZ", FAR_FROM_UTC).envs(environment());
        command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
    }

    /// Waits for words in a log.
    pub fn wait_for(&self, words: &str, log: &str) {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while !self.read(log).contains(words) {
            assert!(
                std::time::Instant::now() < deadline,
                "no `{words}` in {log}:\n{}",
                self.logs()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        last_words::print(|| self.logs());
        for mut daemon in [self.webhookd.take(), self.privd.take()].into_iter().flatten() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

/// What the units set: the daemons are measured with it, too.
fn environment() -> impl Iterator<Item = (&'static str, &'static str)> {
    const UNIT: &str = include_str!("../../packaging/systemd/webhook-privd.service");
    let lines = UNIT.lines().filter_map(|line| line.strip_prefix("Environment="));
    lines.flat_map(str::split_whitespace).filter_map(|one| one.split_once('='))
}

/// The folder of the daemons' binaries: `WEBHOOKD_BIN_DIR`, or built here once.
pub fn binaries() -> &'static Path {
    static BINARIES: OnceLock<PathBuf> = OnceLock::new();
    BINARIES.get_or_init(|| {
        if let Some(given) = std::env::var_os("WEBHOOKD_BIN_DIR") {
            return given.into();
        }
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let built = Command::new("cargo")
            .args(["build", "--quiet", "-p", "privd", "-p", "frontend"])
            .current_dir(workspace)
            .status();
        assert!(built.expect("cargo").success(), "the daemons do not build");
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or(workspace.join("target"), Into::into);
        target.join("debug")
    })
}

/// Puts together again what webhookctl folded at 80 columns: a line goes on where its next word had no
/// room.
#[must_use]
pub fn unfolded(text: &str) -> String {
    let mut whole = String::new();
    let mut width = 0;
    for line in text.lines() {
        let words = line.trim_start();
        let first = words.split(' ').next().unwrap_or_default();
        let goes_on = words.len() < line.len() && width + 1 + first.chars().count() > 80;
        let (margin, text) = if goes_on { (" ", words) } else { ("\n", line) };
        whole.push_str(if whole.is_empty() { "" } else { margin });
        whole.push_str(text);
        width = line.chars().count();
    }
    if text.ends_with('\n') {
        whole.push('\n');
    }
    whole
}

fn confined_view(server: &Place, directory: &Path) -> Place {
    let (binaries, at) = (binaries().display(), directory.display());
    server.view(&format!("BIN={binaries}; cd {at}; {CONFINED}"))
}

fn stop(mut child: Child, signal: Signal) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
    until("the daemon ends", 20, || child.try_wait().unwrap().is_some());
}

/// A pristine /etc/ufw, accounts, certificate and token.
fn make_files(at: &Path) {
    let secret = random_hex();
    fs::write(at.join("secret"), &secret).unwrap();
    fs::write(at.join("token"), format!("# for tests\n{secret} # kibana\n")).unwrap();
    let script = format!(
        "cd {at}; mkdir run state; touch ufw.lock own.lock; chmod 755 run; chmod 700 state
         cp -a /etc/ufw ufw; cp /usr/share/ufw/ufw.conf ufw/; cp /usr/share/ufw/*.init ufw/
         cp /usr/share/ufw/iptables/*.rules ufw/; chmod 640 ufw/*.rules ufw/*.init
         sed 's/^IPV6=.*/IPV6=yes/' /etc/default/ufw > default-ufw
         (grep -v ^webhookd: /etc/passwd; echo webhookd:x:{UID}:{UID}::/nonexistent:/usr/sbin/nologin) > passwd
         (grep -v ^webhookd: /etc/group; echo webhookd:x:{UID}:) > group
         openssl ecparam -name prime256v1 -genkey -noout -out key.pem
         openssl req -x509 -new -key key.pem -days 2 -subj /CN=webhookd-test -out cert.pem \
           -addext subjectAltName=IP:10.9.0.1,DNS:localhost -addext basicConstraints=critical,CA:FALSE",
        at = at.display()
    );
    let made = Command::new("sh").args(["-ec", &script]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for name in ["key.pem", "token"] {
        chown(at.join(name), Some(0), Some(UID)).unwrap();
        fs::set_permissions(at.join(name), fs::Permissions::from_mode(0o640)).unwrap();
    }
}

fn random_hex() -> String {
    let mut bytes = [0; 32];
    std::io::Read::read_exact(&mut File::open("/dev/urandom").unwrap(), &mut bytes).unwrap();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The daemons' time zone, nine hours ahead, as tzset(3) writes it: their logs tell UTC all the same.
const FAR_FROM_UTC: &str = "XYZ-9";

/// Runs a program as the unit will: own user, no capability, no way to get one. To end with its parent
/// is asked for again, as a change of user takes that away (PR_SET_PDEATHSIG(2const)).
pub const AS_WEBHOOKD: [&str; 9] = [
    "setpriv",
    "--pdeathsig=KILL",
    "--reuid=4711",
    "--regid=4711",
    "--clear-groups",
    "--bounding-set=-all",
    "--inh-caps=-all",
    "--no-new-privs",
    "--",
];

/// ufw's files and lock, writable.
const ADMINISTRATOR: &str = "
    mount --bind ufw /etc/ufw; mount --bind default-ufw /etc/default/ufw
    mount -t tmpfs -o mode=755 tmpfs /run
    touch /run/ufw.lock; mount --bind ufw.lock /run/ufw.lock
";

/// What the unit of webhook-privd gives: a read-only /etc with two writable files, and a /run with nothing
/// but the socket and two locks: the host's, and one for its own ufw. The binaries are at /mnt, where every user can reach them.
const CONFINED: &str = "
    mount --bind /etc /etc; mount -o remount,bind,ro /etc
    mount --bind ufw /etc/ufw; mount --bind default-ufw /etc/default/ufw
    mount --bind /etc/ufw/user.rules /etc/ufw/user.rules
    mount --bind /etc/ufw/user6.rules /etc/ufw/user6.rules
    mount -o remount,bind,ro /etc/ufw
    mount --bind passwd /etc/passwd; mount --bind group /etc/group
    mount -t tmpfs -o mode=755 tmpfs /run
    mkdir /run/webhook-privd; mount --bind run /run/webhook-privd
    mkdir /run/webhook-privd-lock; touch /run/webhook-privd-lock/host /run/ufw.lock
    mount --bind ufw.lock /run/webhook-privd-lock/host; mount --bind own.lock /run/ufw.lock
    mount -o remount,bind,ro /run
    mount --bind $BIN /mnt
";
