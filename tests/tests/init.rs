//! `webhookctl init`: a host is ready for Kibana after one command, and none of its repeats changes
//! what is there.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tests::https::{Answer, Client, JSON, exchange, request};
use tests::world::{AS_WEBHOOKD, ATTACKER, ATTACKER6, KIBANA, SERVER, SERVER6, UID};
use tests::{Place, World};

/// Everything that init makes: owner, group, mode.
const MADE: [(&str, u32, u32, u32); 7] = [
    ("tls/ca.key", 0, 0, 0o600),
    ("tls/ca.pem", 0, 0, 0o644),
    ("tls/key.pem", 0, UID, 0o640),
    ("tls/cert.pem", 0, 0, 0o644),
    ("token", 0, UID, 0o640),
    ("webhookd.toml", 0, 0, 0o644),
    ("privd.toml", 0, 0, 0o644),
];

/// A file as it stands, with what tells it from its copy.
#[derive(Clone, PartialEq)]
struct Stands {
    inode: u64,
    changed: i64,
    owner: u32,
    group: u32,
    mode: u32,
    content: Vec<u8>,
}

/// A host on which nothing was made yet, and the folder that init is to fill.
struct Host {
    world: World,
    folder: PathBuf,
}

impl Host {
    fn new() -> Self {
        let world = World::without_daemons("true");
        let folder = world.directory.path().join("etc/webhookd");
        Self { world, folder }
    }

    /// What init says, and its exit status.
    fn init(&self, options: &[&str]) -> (String, i32) {
        let folder = self.folder.to_str().unwrap();
        self.world.ctl(&[&["init", "--directory", folder], options].concat())
    }

    /// The same where it must work, as JSON.
    fn made(&self, options: &[&str]) -> Value {
        let (text, status) = self.init(&[options, &["--json"]].concat());
        assert_eq!(status, 0, "{options:?}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The same where it must not: nothing changes, and it is told in one sentence.
    fn refused(&self, options: &[&str], status: i32, words: &str) {
        let before = self.state();
        let (text, code) = self.init(options);
        assert_eq!(code, status, "{options:?}: {text}");
        // clap adds to a usage error how it is used.
        assert!(text.lines().count() == 1 || text.starts_with("error: "), "{options:?}: {text}");
        assert!(text.contains(words), "{options:?}: {words}: {text}");
        assert!(before == self.state(), "{options:?} changed something");
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap()
    }

    fn token(&self) -> String {
        self.read("token").split(' ').next().unwrap().to_owned()
    }

    /// All that is in the folder, file by file.
    fn state(&self) -> BTreeMap<PathBuf, Stands> {
        let mut state = BTreeMap::new();
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let at = fs::symlink_metadata(&path).unwrap();
                let stands = Stands {
                    inode: at.ino(),
                    changed: at.mtime_nsec(),
                    owner: at.uid(),
                    group: at.gid(),
                    mode: at.mode() & 0o7777,
                    content: fs::read(&path).unwrap_or_default(),
                };
                state.insert(path, stands);
            }
        }
        state
    }

    /// Starts webhookd with what init made.
    fn serve(&self) -> Serving {
        let config = self.file("webhookd.toml").display().to_string();
        let program = ["/mnt/webhookd", "--config", &config];
        let daemon = self.world.spawn("webhookd.log", &[&AS_WEBHOOKD[..], &program].concat());
        self.world.wait_for("webhookd is ready", "webhookd.log");
        Serving(daemon)
    }

    /// Asks webhookd from Kibana's host, by one of its names.
    fn ask(&self, trust: &Path, name: &str, body: &str) -> std::io::Result<Answer> {
        let token = format!("Bearer {}", self.token());
        let headers = [("Authorization", token.as_str()), JSON];
        let request = request("POST", "/blockip", &headers, body);
        self.world.kibana.inside(|| {
            let stream = TcpStream::connect("10.9.0.1:5001").unwrap();
            exchange(&mut Client::trusting(trust).handshake(stream, name), &request)
        })
    }
}

/// A webhookd that ends with the test.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a program and returns what it printed.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
    text.into_owned()
}

fn openssl(line: &str, files: &[&Path]) -> String {
    let files = files.iter().map(|file| file.to_str().unwrap());
    run("openssl", &line.split(' ').chain(files).collect::<Vec<_>>())
}

/// Whom the report names for never-block.
fn protected(report: &Value) -> Vec<&str> {
    let entries = report["protected"].as_array().unwrap().iter();
    entries.map(|entry| entry["address"].as_str().unwrap()).collect()
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[test]
fn one_command_makes_all_that_a_host_needs() {
    let mut host = Host::new();
    let report = host.made(&[]);
    let names: Vec<String> =
        MADE.iter().map(|made| host.file(made.0).display().to_string()).collect();
    assert_eq!(strings(&report["made"]), names);
    assert_eq!(host.state().len(), MADE.len(), "nothing else, and nothing half-written");
    for (name, owner, group, mode) in MADE {
        let stands = &host.state()[&host.file(name)];
        assert_eq!((stands.owner, stands.group, stands.mode), (owner, group, mode), "{name}");
    }
    for folder in ["", "tls"] {
        let at = fs::metadata(host.file(folder)).unwrap();
        assert_eq!((at.uid(), at.gid(), at.mode() & 0o7777), (0, 0, 0o755), "{folder}");
    }
    assert_eq!(host.token().len(), 64);
    assert!(host.read("token").contains(" # init 2"), "{}", host.read("token"));
    // Not in the journal of a package's installation.
    assert!(!report.to_string().contains(&host.token()));
    assert_eq!(report["kibana"]["headers"]["Authorization"], "Bearer TOKEN");

    for daemon in ["webhookd", "webhook-privd"] {
        let name = if daemon == "webhookd" { "webhookd.toml" } else { "privd.toml" };
        let config = host.file(name).display().to_string();
        let checked = format!("/mnt/{daemon}");
        let output = host.world.confined.run(&[&checked, "--config", &config, "--check"]);
        assert!(output.status.success(), "{daemon}: {output:?}");
    }

    // The whole road: the URL, the token and the CA that Kibana is told.
    let url = report["kibana"]["url"].as_str().unwrap();
    let address = url.strip_prefix("https://").and_then(|url| url.split(':').next()).unwrap();
    assert!([SERVER, "10.9.0.1"].contains(&address), "{url}");
    host.world.start_privd();
    let _serving = host.serve();
    let ca = host.file("tls/ca.pem");
    let answer = host.ask(&ca, address, &json!({ "ip": ATTACKER }).to_string()).unwrap();
    assert_eq!((answer.status, answer.outcomes()), (200, vec!["blocked"]), "{answer:?}");
    assert!(!host.world.attacker_connects(SERVER));
}

#[test]
fn the_certificate_is_good_for_every_name_of_the_host() {
    let host = Host::new();
    host.made(&["--san", "Webhook.example.org", "--san", "198.51.100.1"]);
    let (ca, leaf) = (host.file("tls/ca.pem"), host.file("tls/cert.pem"));
    let verified = openssl("verify -x509_strict -purpose sslserver -CAfile", &[&ca, &leaf]);
    assert!(verified.ends_with(": OK\n"), "{verified}");

    let text = openssl("x509 -noout -text -in", &[&leaf]);
    let hostname = run("hostname", &[]).trim().to_owned();
    for san in [
        "DNS:webhook.example.org",
        "IP Address:198.51.100.1",
        "DNS:localhost",
        &format!("DNS:{}", hostname.to_lowercase()),
        &format!("IP Address:{SERVER}"),
        "IP Address:10.9.0.1",
        "IP Address:127.0.0.1",
        "IP Address:0:0:0:0:0:0:0:1",
        "IP Address:2001:DB8:1:0:0:0:0:1",
    ] {
        let named = text.lines().any(|line| line.trim().split(", ").any(|part| part == san));
        assert!(named, "{san} is not in\n{text}");
    }
    assert!(!text.contains("FE80"), "link-local addresses need a zone\n{text}");
    for words in ["prime256v1", "TLS Web Server Authentication", "CA:FALSE"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!(fs::read_to_string(&leaf).unwrap().matches("BEGIN").count(), 1);

    let authority = openssl("x509 -noout -text -in", &[&ca]);
    for words in ["prime256v1", "CA:TRUE, pathlen:0", "Certificate Sign", &hostname] {
        assert!(authority.contains(words), "{words}: {authority}");
    }
    let end = |file: &Path| openssl("x509 -noout -enddate -in", &[file]);
    assert_eq!(end(&ca), end(&leaf));
    // Ten years, less the day that it began in the past.
    for (seconds, lives) in [("315000000", true), ("317000000", false)] {
        let lasts = Command::new("openssl")
            .args(["x509", "-checkend", seconds, "-in", leaf.to_str().unwrap()])
            .output()
            .unwrap();
        assert_eq!(lasts.status.success(), lives, "{seconds}");
    }

    let _serving = host.serve();
    for name in ["10.9.0.1", SERVER, SERVER6, "webhook.example.org", "localhost", "127.0.0.1"] {
        assert_eq!(host.ask(&ca, name, "{}").unwrap().status, 400, "{name}");
    }
    let error = host.ask(&ca, "198.51.100.2", "{}").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
}

#[test]
fn a_repeat_changes_nothing() {
    let host = Host::new();
    host.made(&[]);
    let before = host.state();
    for options in [&[][..], &["--show-token"], &["--no-protect-me"], &["--san", "10.9.0.1"]] {
        let report = host.made(options);
        assert_eq!(strings(&report["kept"]).len(), MADE.len(), "{report}");
        assert_eq!((&report["made"], &report["replaced"]), (&json!([]), &json!([])));
        assert_eq!(report["notes"], json!([]), "{options:?}");
        assert!(!report.to_string().contains(&host.token()), "{options:?}");
        assert!(before == host.state(), "{options:?}");
    }
    // What is asked for and not done is told.
    let report = host.made(&["--san", "new.example.org", "--token-file", "/none"]);
    let notes = report["notes"].to_string();
    assert!(notes.contains("does not name new.example.org: add --renew"), "{notes}");
    assert!(notes.contains("--token-file was not looked at"), "{notes}");
    assert!(before == host.state());

    // What is missing is made, the rest stays.
    fs::remove_file(host.file("token")).unwrap();
    let report = host.made(&[]);
    assert_eq!(strings(&report["made"]), [host.file("token").to_str().unwrap()]);
    let mut after = host.state();
    after.insert(host.file("token"), before[&host.file("token")].clone());
    assert!(before == after);
}

#[test]
fn a_port_that_the_administrator_changed_is_the_one_that_kibana_is_told() {
    let host = Host::new();
    host.made(&[]);
    let text = host.read("webhookd.toml");
    let text = text.replace("#listen = \"[::]:5001\"", "listen = \"[::]:8443\"");
    fs::write(host.file("webhookd.toml"), text).unwrap();
    let (said, _) = host.init(&[]);
    for words in [":8443/blockip", "from KIBANA to any port 8443\n"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains("5001"), "{said}");
}

#[test]
fn a_renewed_certificate_is_trusted_by_who_trusted_the_old() {
    let host = Host::new();
    host.made(&["--san", "webhook.example.org"]);
    let trusted = host.world.directory.path().join("pasted-into-kibana.pem");
    fs::copy(host.file("tls/ca.pem"), &trusted).unwrap();
    let before = host.state();
    host.world.server.sh("ip addr add 203.0.113.99/24 dev wan0");

    let report = host.made(&["--renew"]);
    let leaf = ["tls/key.pem", "tls/cert.pem"].map(|name| host.file(name));
    assert_eq!(strings(&report["replaced"]), leaf.each_ref().map(|file| file.to_str().unwrap()));
    let mut after = host.state();
    for file in &leaf {
        assert!(before[file].content != after[file].content);
        let old = PathBuf::from(format!("{}.old", file.display()));
        assert!(after.remove(&old).unwrap() == before[file], "the old one is kept whole");
        after.insert(file.clone(), before[file].clone());
    }
    assert!(before == after, "nothing else changed");

    openssl("verify -CAfile", &[&trusted, &leaf[1]]);
    let _serving = host.serve();
    // The new address, and what the old one was made for.
    for name in ["203.0.113.99", "10.9.0.1", "webhook.example.org"] {
        assert_eq!(host.ask(&trusted, name, "{}").unwrap().status, 400, "{name}");
    }
}

#[test]
fn force_replaces_everything_and_keeps_the_old_beside() {
    let host = Host::new();
    host.made(&[]);
    let before = host.state();
    let report = host.made(&["--force"]);
    assert_eq!(strings(&report["replaced"]).len(), MADE.len());
    assert!(report["notes"].to_string().contains("give it to Kibana"), "{report}");
    let after = host.state();
    assert_eq!(after.len(), 2 * MADE.len());
    for (name, owner, group, mode) in MADE {
        let old = PathBuf::from(format!("{}.old", host.file(name).display()));
        assert!(after[&old] == before[&host.file(name)], "{name}");
        let new = &after[&host.file(name)];
        assert_eq!((new.owner, new.group, new.mode), (owner, group, mode), "{name}");
        let secret = !name.ends_with(".toml");
        assert_eq!(new.content != before[&host.file(name)].content, secret, "{name}");
    }
    // Once more: the older old ones go.
    host.made(&["--force"]);
    assert_eq!(host.state().len(), 2 * MADE.len());
    host.refused(&["--force", "--renew"], 1, "cannot be used with");
}

#[test]
fn a_part_of_a_set_is_named_and_nothing_is_mixed() {
    let host = Host::new();
    host.made(&[]);
    let hidden = host.world.directory.path().join("hidden");
    for (missing, there, mend) in [
        ("tls/key.pem", "tls/cert.pem", "`webhookctl init --renew` make both anew"),
        ("tls/cert.pem", "tls/key.pem", "`webhookctl init --renew` make both anew"),
        ("tls/ca.pem", "tls/ca.key", "move the key away"),
    ] {
        fs::rename(host.file(missing), &hidden).unwrap();
        for words in [missing, there, mend] {
            host.refused(&[], 2, words);
        }
        fs::rename(&hidden, host.file(missing)).unwrap();
    }
    // The mend that it names works.
    fs::remove_file(host.file("tls/key.pem")).unwrap();
    host.made(&["--renew"]);
    openssl("verify -CAfile", &[&host.file("tls/ca.pem"), &host.file("tls/cert.pem")]);

    // A CA without its key is right as long as nothing is to be signed.
    fs::remove_file(host.file("tls/ca.key")).unwrap();
    host.made(&[]);
    host.refused(&["--renew"], 2, "tls/ca.pem is there without ");
    // A certificate of the administrator's own stays, and no CA is made for it.
    fs::remove_file(host.file("tls/ca.pem")).unwrap();
    assert_eq!(host.made(&[])["kibana"]["ca"], Value::Null);
    host.refused(&["--renew"], 1, "was made by no CA in this folder");
}

#[test]
fn hosts_can_share_a_ca_whose_key_stays_at_home() {
    let host = Host::new();
    let home = host.world.directory.path();
    let at = |name: &str| home.join(name).display().to_string();
    for (name, more) in [("ca", "keyUsage=keyCertSign"), ("other", "basicConstraints=CA:TRUE")] {
        run(
            "openssl",
            &[
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "9",
                "-subj",
                &format!("/O=Example GmbH/CN=Our {name}"),
                "-addext",
                more,
                "-keyout",
                &at(&format!("{name}.key")),
                "-out",
                &at(&format!("{name}.pem")),
            ],
        );
    }
    // As people keep it: remarks, and the key in the same file.
    let both = format!("Our CA\n{}{}", host.world.read("ca.pem"), host.world.read("ca.key"));
    fs::write(at("ca.pem"), both).unwrap();
    let (ca, key, other, other_key) =
        (at("ca.pem"), at("ca.key"), at("other.pem"), at("other.key"));

    host.refused(&["--ca-cert", &ca], 1, "--ca-key");
    host.refused(&["--ca-cert", &ca, "--ca-key", &other_key], 1, "belong together");
    host.refused(&["--ca-cert", &at("cert.pem"), "--ca-key", &at("key.pem")], 1, "is no CA");
    host.refused(&["--ca-cert", &at("token"), "--ca-key", &key], 1, "no usable PEM certificate");
    host.refused(&["--ca-cert", &ca, "--ca-key", &at("token")], 1, "no usable PEM key");
    host.refused(&["--ca-cert", &ca, "--ca-key", "/none"], 2, "/none cannot be read");

    let shared = ["--ca-cert", &ca, "--ca-key", &key];
    host.made(&shared);
    assert!(!host.file("tls/ca.key").exists());
    assert!(!host.read("tls/ca.pem").contains("PRIVATE"), "the key is not copied");
    let trusted = home.join("trusted.pem");
    run("openssl", &["x509", "-in", &ca, "-out", trusted.to_str().unwrap()]);
    openssl("verify -CAfile", &[&trusted, &host.file("tls/cert.pem")]);
    let end = |file: &Path| openssl("x509 -noout -enddate -in", &[file]);
    assert_eq!(end(&trusted), end(&host.file("tls/cert.pem")), "it lives as long as its CA");
    let serving = host.serve();
    assert_eq!(host.ask(&trusted, "10.9.0.1", "{}").unwrap().status, 400);
    drop(serving);

    let before = host.state();
    host.made(&shared);
    host.made(&[]);
    assert!(before == host.state());
    let foreign = ["--ca-cert", &other, "--ca-key", &other_key];
    host.refused(&foreign, 1, "another CA");
    host.refused(&[&foreign[..], &["--renew"]].concat(), 1, "another CA");
    host.made(&[&shared[..], &["--renew"]].concat());
    openssl("verify -CAfile", &[&trusted, &host.file("tls/cert.pem")]);

    // From a CA of one's own to the shared one: the old key does not stay beside the new CA.
    host.made(&["--force"]);
    let report = host.made(&[&shared[..], &["--force"]].concat());
    assert_eq!(strings(&report["retired"]), [host.file("tls/ca.key").to_str().unwrap()]);
    assert!(!host.file("tls/ca.key").exists() && host.file("tls/ca.key.old").exists());
}

#[test]
fn a_token_can_be_given_if_it_cannot_be_guessed() {
    let host = Host::new();
    let given = host.world.path("given");
    for (text, words) in [
        ("0123456789abcdef0123456789abcde\n", "at least 32 characters"),
        ("", "holds no token"),
        ("0123456789abcdef0123456789abcdef\nfedcba9876543210fedcba9876543210\n", "2 tokens"),
    ] {
        fs::write(&given, text).unwrap();
        host.refused(&["--token-file", &given], 1, words);
    }
    assert!(!host.folder.exists(), "nothing is left of a refused one");

    fs::write(&given, "0123456789abcdef0123456789abcdef\n").unwrap();
    host.made(&["--token-file", &given]);
    assert!(host.read("token").starts_with("0123456789abcdef0123456789abcdef # init 2"));

    let folder = host.folder.to_str().unwrap();
    let piped = ["/mnt/webhookctl", "init", "--directory", folder, "--force", "--token-file", "-"];
    let mut child = host.world.confined.command(&piped);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"fedcba9876543210fedcba9876543210").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(host.token(), "fedcba9876543210fedcba9876543210");
}

#[test]
fn a_made_token_is_shown_on_a_terminal_or_when_asked_for() {
    let host = Host::new();
    let (text, status) = host.init(&["--show-token"]);
    assert_eq!(status, 0, "{text}");
    assert!(text.contains(&format!("Authorization: Bearer {}", host.token())), "{text}");
    for line in [
        "made      ",
        "URL      https://",
        "Content-Type: application/json",
        "tls/ca.pem",
        r#"{"ip":"{{context.alerts.0.source.ip}}","#,
        "sudo ufw allow proto tcp from KIBANA to any port 5001",
        "webhookctl check",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let (text, _) = host.init(&["--force"]);
    assert!(!text.contains(&host.token()), "{text}");
    assert!(text.contains(&format!("sudo cat {}", host.file("token").display())), "{text}");
    assert!(text.contains("systemctl reload-or-restart webhookd webhook-privd"), "{text}");
    // script(1) gives it a terminal.
    let folder = host.folder.display();
    let command = format!("/mnt/webhookctl init --directory {folder} --force");
    let output = host.world.confined.run(&["script", "-qec", &command, "/dev/null"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(&format!("Authorization: Bearer {}", host.token())), "{text}");
}

/// A process named sshd, as it calls itself, on the server's end of connections from elsewhere.
struct Session {
    process: Child,
    _client: Vec<TcpStream>,
}

impl Session {
    /// The first connection is the one it came in by; the second one was forwarded through it.
    fn open(host: &Host, title: &str, peers: &[(&Place, &str)]) -> Self {
        Self::of(0, host, title, peers)
    }

    /// By a program of that user's.
    fn of(owner: u32, host: &Host, title: &str, peers: &[(&Place, &str)]) -> Self {
        let folder = host.world.directory.path().join(owner.to_string());
        let program = folder.join("sshd");
        if !folder.exists() {
            fs::create_dir(&folder).unwrap();
            fs::copy("/bin/sleep", &program).unwrap();
            chown(&program, Some(owner), None).unwrap();
        }
        let listener = host.world.server.inside(|| TcpListener::bind("[::]:22")).unwrap();
        let mut command = Command::new(program);
        command.arg0(title).arg("infinity").stdin(Stdio::null()).stdout(Stdio::null());
        let mut clients = Vec::new();
        for (descriptor, (place, to)) in peers.iter().enumerate() {
            let to = (to.parse::<std::net::IpAddr>().unwrap(), 22).into();
            clients.push(place.connect(to, Duration::from_secs(5)).unwrap());
            let end = OwnedFd::from(listener.accept().unwrap().0);
            if descriptor == 0 {
                command.stdin(end)
            } else {
                command.stdout(end)
            };
        }
        Self { process: command.spawn().unwrap(), _client: clients }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn who_is_logged_in_over_ssh_is_never_blocked_and_who_only_tries_is() {
    let host = Host::new();
    let world = &host.world;
    world.server.sh("ufw disable");
    let (admin, attacker) = (&world.kibana, &world.attacker);
    // Over a dual-stack socket IPv4 shows as ::ffff:10.9.0.2.
    let _session =
        Session::open(&host, "sshd: root@pts/0", &[(admin, "10.9.0.1"), (attacker, SERVER)]);
    let _second = Session::open(&host, "sshd: anna [priv]", &[(attacker, SERVER)]);
    let _guessing = Session::open(&host, "sshd: root [net]", &[(attacker, SERVER)]);
    let _forged = Session::of(UID, &host, "sshd: root@pts/0", &[(attacker, SERVER)]);
    let report = host.made(&[]);
    assert_eq!(protected(&report), [KIBANA]);
    let line = format!("never-block = [\"{KIBANA}\"]");
    assert!(host.read("privd.toml").contains(&line), "{}", host.read("privd.toml"));

    // A repeat leaves the file to the administrator.
    let _v6 = Session::open(&host, "sshd: anna@notty", &[(attacker, SERVER6)]);
    let before = host.state();
    assert_eq!(host.made(&[])["protected"], json!([]));
    assert!(before == host.state());

    let (text, _) = host.init(&["--force"]);
    for peer in [KIBANA, ATTACKER6] {
        let line = format!("never-block: {peer}, who has an SSH session open now");
        assert!(text.lines().any(|told| told == line), "{text}");
    }
    let report = host.made(&["--force", "--no-protect-me"]);
    assert_eq!(report["protected"], json!([]));
    assert!(
        report["notes"].to_string().contains("never-block is empty (--no-protect-me)"),
        "{report}"
    );
    assert!(!host.read("privd.toml").contains(KIBANA));
}

#[test]
fn a_session_is_also_known_by_what_sshd_left_in_the_environment() {
    let host = Host::new();
    let folder = host.folder.to_str().unwrap();
    let mut command =
        host.world.confined.command(&["/mnt/webhookctl", "init", "--json", "--directory", folder]);
    let output = command.env("SSH_CONNECTION", "198.51.100.9 50000 203.0.113.1 22").output();
    let report: Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    assert_eq!(protected(&report), ["198.51.100.9"]);
}

#[test]
fn what_filebeat_and_elastic_agent_send_to_is_never_blocked() {
    let host = Host::new();
    let laid = host.world.path("laid");
    fs::create_dir_all(format!("{laid}/filebeat")).unwrap();
    fs::create_dir_all(format!("{laid}/elastic-agent")).unwrap();
    for (name, text) in [
        (
            "hosts",
            "127.0.0.1 localhost\n198.51.100.20 es.example.org\n2001:db8:9::20 es.example.org\n",
        ),
        (
            // The guide's own machine is among them.
            "filebeat/filebeat.yml",
            "filebeat.inputs:\n- type: filestream\n  paths: [/var/log/auth.log]\n\
             output.elasticsearch:\n  hosts: [\"https://es.example.org:9200\", 'http://203.0.113.1:9200',\n\
             \x20   \"https://gone.invalid:9200\", localhost:9200]\nsetup.kibana:\n  host: '[2001:db8:9::21]:5601'\n\
             # output.logstash:\n#   hosts: [\"198.51.100.66:5044\"]\n",
        ),
        (
            "elastic-agent/elastic-agent.yml",
            "outputs:\n  default:\n    type: elasticsearch\n    hosts: ['198.51.100.22:9200']\n",
        ),
    ] {
        fs::write(format!("{laid}/{name}"), text).unwrap();
    }
    for name in ["passwd", "group"] {
        fs::copy(host.world.path(name), format!("{laid}/{name}")).unwrap();
    }
    host.world.confined.sh(&format!("mount -t overlay -o lowerdir={laid}:/etc overlay /etc"));

    let report = host.made(&[]);
    let found = ["198.51.100.20", "2001:db8:9::20", "2001:db8:9::21", "198.51.100.22"];
    assert_eq!(protected(&report), found);
    let notes = report["notes"].to_string();
    assert!(
        notes.contains("gone.invalid, Filebeat's output.elasticsearch.hosts, cannot be"),
        "{notes}"
    );
    let line = "never-block = [\"198.51.100.20\", \"2001:db8:9::20\", \"2001:db8:9::21\", \"198.51.100.22\"]";
    assert!(host.read("privd.toml").contains(line), "{}", host.read("privd.toml"));

    let (text, _) = host.init(&["--force"]);
    for line in [
        "never-block: 198.51.100.20, Filebeat's output.elasticsearch.hosts (es.example.org)",
        "never-block: 198.51.100.22, Elastic Agent's outputs.default.hosts",
    ] {
        assert!(text.lines().any(|told| told == line), "{line}: {text}");
    }
    assert_eq!(protected(&host.made(&["--force", "--no-protect-me"])), Vec::<&str>::new());
}

#[test]
fn the_hosts_own_addresses_may_post() {
    let host = Host::new();
    let report = host.made(&[]);
    assert_eq!(strings(&report["allowed"]), [SERVER, SERVER6]);
    let _serving = host.serve();
    let ca = host.file("tls/ca.pem");
    let answer = host.world.server.inside(|| {
        let stream = TcpStream::connect((SERVER, 5001)).unwrap();
        let mut connection = Client::trusting(&ca).handshake(stream, SERVER);
        exchange(&mut connection, &request("POST", "/blockip", &[], "")).unwrap()
    });
    // Let in by address, and asked for the token.
    assert_eq!(answer.json["reason"], "missing bearer", "{answer:?}");
}

#[test]
fn what_cannot_be_done_is_said_in_one_sentence() {
    let host = Host::new();
    host.refused(&["--group", "no-such-group"], 2, "systemd-sysusers");
    host.refused(&["--san", "https://web"], 1, "neither a host name nor an address");
    let stranger = host
        .world
        .confined
        .run(&[&AS_WEBHOOKD[..], &["/mnt/webhookctl", "init", "--directory", "/tmp/x"]].concat());
    assert_eq!(stranger.status.code(), Some(2));
    let words = String::from_utf8_lossy(&stranger.stderr).into_owned();
    assert!(words.contains("init needs root: sudo webhookctl init"), "{words}");

    // A disk that is full before everything is written: nothing appears.
    let full = host.world.directory.path().join("etc");
    fs::create_dir(&full).unwrap();
    host.world.confined.sh(&format!("mount -t tmpfs -o size=16k tmpfs {}", full.display()));
    host.world.confined.sh(&format!("mkdir {0}/webhookd {0}/webhookd/tls", full.display()));
    let (text, status) = host.init(&[]);
    assert_eq!((status, text.lines().count()), (2, 1), "{text}");
    assert!(text.contains("cannot be written: No space left on device"), "{text}");
    let left = host.world.confined.sh(&format!("find {} -type f", full.display()));
    assert_eq!(left, "");
}

#[test]
fn a_strict_umask_and_a_dangling_link_change_nothing() {
    let host = Host::new();
    fs::create_dir_all(&host.folder).unwrap();
    std::os::unix::fs::symlink("/none", host.file("token")).unwrap();
    let folder = host.folder.display();
    host.world.confined.sh(&format!("umask 077; /mnt/webhookctl init --directory {folder}"));
    assert_eq!(fs::read_link(host.file("token")).unwrap(), Path::new("/none"));
    let tls = fs::metadata(host.file("tls")).unwrap();
    assert_eq!(tls.permissions().mode() & 0o777, 0o755);
    fs::remove_file(host.file("token")).unwrap();
    // A mode that the administrator changed is his.
    fs::set_permissions(host.file("tls"), fs::Permissions::from_mode(0o700)).unwrap();
    host.made(&[]);
    let tls = fs::metadata(host.file("tls")).unwrap();
    assert_eq!(tls.permissions().mode() & 0o777, 0o700);
    let mut edited = OpenOptions::new().append(true).open(host.file("privd.toml")).unwrap();
    edited.write_all(b"max-blocks = 7\n").unwrap();
    host.made(&[]);
    assert!(host.read("privd.toml").ends_with("max-blocks = 7\n"));
}

#[test]
fn completions_are_made_for_each_shell() {
    let host = Host::new();
    for (shell, words) in [("bash", "--no-protect-me"), ("zsh", "#compdef"), ("fish", "complete")] {
        let (script, status) = host.world.ctl(&["completions", shell]);
        assert!(status == 0 && script.contains(words), "{shell}: {script}");
    }
    assert_eq!(host.world.ctl(&["completions", "sh"]).1, 1);
    assert!(!host.world.ctl(&["--help"]).0.contains("completions"), "it is for the package");
}
