//! Kibana's own webhook connector, in a place of the world: Node.js with the axios, mustache and hjson
//! that Kibana is made of, and Kibana's judgement of what came back (`tests/kibana`).

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::place::Place;
use crate::world::{World, binaries};

/// A Kibana that runs rules and calls webhooks.
#[derive(Debug)]
pub struct Kibana {
    node: Child,
    jobs: ChildStdin,
    judgements: Receiver<String>,
    _scripts: TempDir,
}

/// How an attempt of an action ended for Kibana.
#[derive(Debug)]
pub struct Judgement {
    /// What an operator reads; None is success.
    pub message: Option<String>,
    /// From when to when the next attempt comes, in seconds; None when there is none.
    pub again: Option<(u64, u64)>,
    /// The answer's status; None when there was none.
    pub status: Option<u64>,
    /// The answer's body; null when there was none.
    pub answer: Value,
    /// What the template rendered to.
    pub rendered: String,
    /// What axios made of that.
    pub wire: String,
}

impl Kibana {
    /// Starts Kibana on the network of a place.
    ///
    /// # Panics
    /// Without Node.js, npm or what npm fetches, saying what is missing.
    #[must_use]
    pub fn at(place: &Place) -> Self {
        let scripts = tempfile::Builder::new().prefix("webhookd-test-").tempdir().unwrap();
        // Modules are looked for beside the script that wants them.
        std::os::unix::fs::symlink(modules(), scripts.path().join("node_modules")).unwrap();
        for script in SCRIPTS {
            fs::copy(sources().join(script), scripts.path().join(script)).unwrap();
        }
        let main = scripts.path().join("main.mjs").display().to_string();
        let mut command = place.command(&["node", &main]);
        // What else is trusted, or not asked about, is the tester's own business.
        for name in ["NODE_EXTRA_CA_CERTS", "NODE_OPTIONS", "NODE_TLS_REJECT_UNAUTHORIZED"] {
            command.env_remove(name);
        }
        let mut node = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (jobs, answers) = (node.stdin.take().unwrap(), node.stdout.take().unwrap());
        let (sender, judgements) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(answers).lines().map_while(Result::ok);
            lines.map(|line| sender.send(line)).all(|sent| sent.is_ok())
        });
        Self { node, jobs, judgements, _scripts: scripts }
    }

    /// A rule runs: renders the template for each of its actions and tries each once.
    pub fn runs(&mut self, connector: &Value, template: &str, alerts: &Value) -> Vec<Judgement> {
        self.does(&json!({ "connector": connector, "template": template, "alerts": alerts }))
    }

    /// A rule would run: for each of its actions the variables, as JSON, and what the template
    /// renders to and arrives as.
    pub fn offers(&mut self, template: &str, alerts: &Value) -> Vec<(String, Judgement)> {
        let job = json!({ "template": template, "offers": alerts });
        let text = |value: &Value| value["variables"].as_str().unwrap().to_owned();
        self.answers(&job).into_iter().map(|value| (text(&value), value.into())).collect()
    }

    /// The time has come for another attempt at all that Kibana is to repeat.
    pub fn again(&mut self) -> Vec<Judgement> {
        self.does(&json!({ "again": true }))
    }

    /// Somebody presses the connector's Test button.
    pub fn test_button(&mut self, connector: &Value, body: &str) -> Judgement {
        let mut judgements = self.does(&json!({ "connector": connector, "test": body }));
        judgements.pop().unwrap()
    }

    fn does(&mut self, job: &Value) -> Vec<Judgement> {
        self.answers(job).into_iter().map(Judgement::from).collect()
    }

    fn answers(&mut self, job: &Value) -> Vec<Value> {
        writeln!(self.jobs, "{job}").expect("node reads jobs; why not, it says above");
        let line = self.judgements.recv_timeout(PATIENCE);
        let line = line.expect("node judges; why not, it says above");
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Kibana {
    fn drop(&mut self) {
        let _ = self.node.kill();
        let _ = self.node.wait();
    }
}

impl From<Value> for Judgement {
    fn from(value: Value) -> Self {
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        let again = |index| value["again"][index].as_u64();
        Self {
            message: text("message"),
            again: again(0).zip(again(1)),
            status: value["http"].as_u64(),
            answer: value["answer"].clone(),
            rendered: text("rendered").unwrap_or_default(),
            wire: text("wire").unwrap_or_default(),
        }
    }
}

/// The connector as an operator sets it up: the CA given, the token as a secret header.
#[must_use]
pub fn connector(world: &World) -> Value {
    json!({
        "config": {
            "url": "https://10.9.0.1:5001/blockip",
            "method": "post",
            "headers": { "Content-Type": "application/json" },
            "hasAuth": false,
            "authType": null,
            "ca": base64_of(&world.directory.path().join("cert.pem")),
            "verificationMode": "full",
        },
        "secrets": { "secretHeaders": { "Authorization": world.bearer() } },
    })
}

/// A file as a connector keeps it.
#[must_use]
pub fn base64_of(file: &Path) -> String {
    output(Command::new("openssl").args(["base64", "-A", "-in"]).arg(file))
}

/// A copy with some keys replaced; headers as a whole.
#[must_use]
pub fn merged(mut value: Value, changes: &Value) -> Value {
    for (key, change) in changes.as_object().unwrap() {
        let old = value[key].take();
        value[key] = if old.is_object() && change.is_object() && key != "headers" {
            merged(old, change)
        } else {
            change.clone()
        };
    }
    value
}

/// What npm installs by `tests/kibana/package-lock.json`, under target. Whole or not at all, and once.
fn modules() -> &'static Path {
    static MODULES: OnceLock<PathBuf> = OnceLock::new();
    MODULES.get_or_init(|| {
        let version = output(Command::new("node").arg("--version"));
        let major = version.trim_start_matches('v').split('.').next().unwrap().parse();
        assert!(
            major.is_ok_and(|major: u32| major >= OLDEST_NODE),
            "node {version} is too old for Kibana's client: install Node.js {OLDEST_NODE} or newer"
        );
        let cache = binaries().parent().unwrap().join("kibana");
        fs::create_dir_all(&cache).unwrap();
        // Held until the end of this function, also against other test programs.
        let lock = File::create(cache.join("lock")).unwrap();
        lock.lock().unwrap();
        let wanted = fs::read_to_string(sources().join("package-lock.json")).unwrap();
        if fs::read_to_string(cache.join("installed")).is_ok_and(|there| there == wanted) {
            return cache.join("node_modules");
        }
        for file in ["package.json", "package-lock.json"] {
            fs::copy(sources().join(file), cache.join(file)).unwrap();
        }
        output(
            Command::new("npm")
                .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"])
                .args(["--cache", "npm"])
                .current_dir(&cache),
        );
        fs::remove_dir_all(cache.join("npm")).unwrap();
        fs::write(cache.join("installed"), wanted).unwrap();
        cache.join("node_modules")
    })
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kibana")
}

/// What a program prints.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{:?}: {error}: `sudo tests/run` installs it", command.get_program())
    });
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{stdout}{stderr}", output.status);
    stdout
}

const SCRIPTS: [&str; 5] =
    ["main.mjs", "alerts.mjs", "template.mjs", "executor.mjs", "connector.mjs"];

/// Debian 12's.
const OLDEST_NODE: u32 = 18;

/// For one job; a single call has Kibana's 60 s.
const PATIENCE: Duration = Duration::from_secs(120);
