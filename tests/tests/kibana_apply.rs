//! `webhookctl kibana`: what it prints, and what it puts into a Kibana that takes nothing it does not
//! know.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::https::{self, Answer, Client, JSON};
use tests::kibana_api::API_KEYS;
use tests::world::{binaries, unfolded};
use tests::{Kibana, KibanaApi, World};

/// What a host has in its folder after `init`.
struct Host {
    name: &'static str,
    directory: TempDir,
}

impl Host {
    /// A host that Kibana reaches at this address.
    fn new(name: &'static str, address: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("webhookd-test-").tempdir().unwrap();
        let host = Self { name, directory };
        host.init(&["--san", address]);
        host
    }

    fn init(&self, options: &[&str]) {
        let folder = self.directory.path().to_str().unwrap();
        let init = ["init", "--directory", folder, "--group", "root", "--no-protect-me"];
        let output = webhookctl(&[&init, options].concat());
        assert!(output.status.success(), "{output:?}");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn token(&self) -> String {
        self.read("token").split(' ').next().unwrap().to_owned()
    }

    fn never_block(&self, networks: &[&str]) {
        let text = self.read("privd.toml");
        let kept: Vec<&str> = text.lines().filter(|line| !line.contains("never-block =")).collect();
        let list = format!("never-block = {networks:?}\n{}", kept.join("\n"));
        fs::write(self.path("privd.toml"), list).unwrap();
    }

    fn kibana(&self, what: &str, options: &[&str]) -> (String, i32) {
        told(&self.command(what, options).output().unwrap())
    }

    fn command(&self, what: &str, options: &[&str]) -> Command {
        let mut command = Command::new(binaries().join("webhookctl"));
        command.args(["kibana", what, "--name", self.name]);
        for (option, file) in [("--config", "webhookd.toml"), ("--privd-config", "privd.toml")] {
            command.arg(option).arg(self.path(file));
        }
        command.args(options);
        command
    }

    fn applying(&self, kibana: &KibanaApi, options: &[&str]) -> Command {
        let mut command = self.command("apply", options);
        command.arg("--ca").arg(kibana.ca()).args(["--url", &kibana.url]);
        command.arg("--api-key-file").arg(key_file(kibana, API_KEYS[0]));
        command
    }

    fn apply(&self, kibana: &KibanaApi, options: &[&str]) -> (String, i32) {
        told(&self.applying(kibana, options).output().unwrap())
    }

    /// The same where it must work, as JSON. No secret is in it.
    fn applied(&self, kibana: &KibanaApi, options: &[&str]) -> Value {
        let (text, code) = self.apply(kibana, &[options, &["--json"]].concat());
        assert_eq!(code, 0, "{text}");
        for secret in [&self.token(), API_KEYS[0]] {
            assert!(!text.contains(secret), "{text}");
        }
        serde_json::from_str(&text).unwrap()
    }
}

fn webhookctl(arguments: &[&str]) -> Output {
    Command::new(binaries().join("webhookctl")).args(arguments).output().unwrap()
}

/// What was printed, with its sentences in one line each, and the exit status.
fn told(output: &Output) -> (String, i32) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let text = text(&output.stdout) + &text(&output.stderr);
    (unfolded(&text), output.status.code().unwrap())
}

fn key_file(kibana: &KibanaApi, key: &str) -> PathBuf {
    let mut file = tempfile::NamedTempFile::new_in(kibana.directory()).unwrap();
    writeln!(file, "{key}").unwrap();
    file.keep().unwrap().1
}

/// Sends a document as an operator does with curl.
fn post(kibana: &KibanaApi, path: &str, document: &str) -> Answer {
    let authorization = format!("ApiKey {}", API_KEYS[0]);
    let headers = [("Authorization", &*authorization), ("kbn-xsrf", "true"), JSON];
    let address = kibana.url.strip_prefix("https://").unwrap();
    let stream = TcpStream::connect(address).unwrap();
    let mut connection = Client::trusting(&kibana.ca()).handshake(stream, "127.0.0.1");
    https::exchange(&mut connection, &https::request("POST", path, &headers, document)).unwrap()
}

fn ids(rule: &Value) -> Vec<&str> {
    let actions = rule["actions"].as_array().unwrap().iter();
    actions.map(|action| action["id"].as_str().unwrap()).collect()
}

fn excluded(rule: &Value) -> Vec<(&str, Vec<&str>)> {
    let filters = rule["filters"].as_array().unwrap().iter();
    filters
        .map(|filter| {
            let Value::Object(meta) = &filter["meta"] else { panic!("{filter}") };
            assert!(meta["negate"] == true && meta["disabled"] == false, "{filter}");
            let label = meta["alias"].as_str().unwrap();
            let list = filter["query"]["terms"]["source.ip"].as_array().unwrap();
            (label, list.iter().map(|network| network.as_str().unwrap()).collect())
        })
        .collect()
}

#[test]
fn each_kibana_gets_a_connector_that_it_takes_and_a_second_run_changes_nothing() {
    let host = Host::new("web-01", "10.1.0.1");
    host.never_block(&["10.0.0.0/8", "2001:db8::7"]);
    for (version, own_id, header, in_connector) in [
        ("9.4.0", true, true, true),
        ("9.2.1", false, true, true),
        ("8.17.3", false, false, true),
        ("8.10.0", false, false, true),
        ("8.8.2", false, false, false),
    ] {
        let kibana = KibanaApi::of(version);
        let first = host.applied(&kibana, &[]);
        assert_eq!(
            (&first["changed"], &first["rule"]["outcome"]),
            (&json!(true), &json!("created"))
        );
        let state = kibana.state();
        assert_eq!((state.connectors.len(), state.secrets.len()), (1, 1));
        let (key, connector) = state.connectors.iter().next().unwrap();
        assert_eq!(key.1 == "webhookd-web-01", own_id, "{version}: {key:?}");
        let config = &connector["config"];
        assert_eq!(config["url"], "https://10.1.0.1:5001/blockip");
        assert_eq!(config["ca"].is_string(), in_connector, "{version}: {config}");
        let name = connector["name"].as_str().unwrap();
        assert!(name.starts_with("webhookd-web-01 (token init "), "{name}");
        let secrets = if header {
            json!({ "secretHeaders": { "Authorization": format!("Bearer {}", host.token()) } })
        } else {
            json!({ "user": "webhookd", "password": host.token() })
        };
        assert_eq!(state.secrets.values().next(), Some(&secrets), "{version}");
        let rule = state.rule();
        assert_eq!(rule["rule_id"], "webhookd-ssh-brute-force-wide");
        assert_eq!(ids(rule), [&*key.1]);
        let left_out = ("webhookd-web-01 never blocks", vec!["10.0.0.0/8", "2001:db8::7"]);
        assert_eq!(excluded(rule), [left_out]);
        drop(state);

        let writes = kibana.state().writes();
        let (text, code) = host.apply(&kibana, &[]);
        assert!(code == 0 && text.ends_with("Nothing was to be changed.\n"), "{text}");
        assert_eq!(text.contains("--for kibana-yml"), !in_connector, "{version}: {text}");
        let state = kibana.state();
        assert_eq!(state.writes(), writes, "{:?}", state.requests);
        assert!(!state.answered.contains(&host.token()));
    }
}

#[test]
fn three_hosts_share_one_rule_and_none_touches_what_is_anothers() {
    let hosts = [("a", "10.1.0.1"), ("b", "10.1.0.2"), ("c", "10.1.0.3")]
        .map(|(name, address)| Host::new(name, address));
    hosts[0].never_block(&["10.0.0.0/8"]);
    hosts[2].never_block(&["10.0.0.0/8", "192.0.2.9"]);
    let kibana = KibanaApi::of("9.4.0");
    for host in &hosts {
        host.applied(&kibana, &[]);
    }
    let a = ("webhookd-a never blocks", vec!["10.0.0.0/8"]);
    let c = ("webhookd-c never blocks", vec!["10.0.0.0/8", "192.0.2.9"]);
    let before = kibana.state().rule().clone();
    assert_eq!(ids(&before), ["webhookd-a", "webhookd-b", "webhookd-c"]);
    assert_eq!(excluded(&before), [a.clone(), c.clone()]);

    // Somebody made it his own; a host's change leaves that and the others alone.
    for (key, value) in [("query", json!("mine")), ("enabled", json!(false))] {
        for rule in kibana.state().rules.values_mut() {
            rule[key] = value.clone();
        }
    }
    hosts[1].never_block(&["198.51.100.0/24"]);
    let told = hosts[1].applied(&kibana, &["--mode", "summary"]);
    assert_eq!(told["connector"]["outcome"], "unchanged");
    let rule = &told["rule"];
    assert_eq!((&rule["action"], &rule["others"]), (&json!("changed"), &json!(2)), "{told:#}");
    assert_eq!(rule["excluded"], json!(["198.51.100.0/24"]));
    assert!(told["notes"][0].as_str().unwrap().contains("switched off"), "{told:#}");
    let after = kibana.state().rule().clone();
    assert_eq!((&after["query"], &after["enabled"]), (&json!("mine"), &json!(false)));
    for other in [0, 2] {
        assert_eq!(after["actions"][other], before["actions"][other]);
    }
    assert_eq!(after["actions"][1]["uuid"], before["actions"][1]["uuid"]);
    assert_eq!(after["actions"][1]["frequency"]["summary"], true);
    let b = ("webhookd-b never blocks", vec!["198.51.100.0/24"]);
    assert_eq!(excluded(&after), [a.clone(), c, b.clone()]);

    // What is blocked again is in the rule again, and the list of another stays.
    hosts[2].never_block(&[]);
    let told = hosts[2].applied(&kibana, &[]);
    assert_eq!(told["rule"]["included"], json!(["10.0.0.0/8", "192.0.2.9"]));
    assert_eq!(excluded(kibana.state().rule()), [a, b]);
}

#[test]
fn a_host_that_leaves_takes_its_own_out_of_either_rule_and_leaves_the_others_theirs() {
    let hosts = [("a", "10.1.0.1"), ("b", "10.1.0.2"), ("c", "10.1.0.3")]
        .map(|(name, address)| Host::new(name, address));
    hosts[0].never_block(&["10.0.0.0/8"]);
    hosts[1].never_block(&["192.0.2.9"]);
    // An id is a UUID there.
    let kibana = KibanaApi::of("8.9.0");
    for rule in ["wide", "guide"] {
        for host in &hosts {
            host.applied(&kibana, &["--rule", rule]);
        }
    }
    let before = kibana.state().rules.clone();
    let writes = kibana.state().writes();
    let told = hosts[1].applied(&kibana, &["--remove", "--dry-run"]);
    assert_eq!(
        (&told["changed"], &told["connector"]["outcome"]),
        (&json!(true), &json!("removed"))
    );
    assert_eq!(kibana.state().writes(), writes);

    let (text, code) = hosts[1].apply(&kibana, &["--remove"]);
    let words = [
        "connector  webhookd-b: removed",
        "action     removed; 2 of others left",
        "let in     192.0.2.9",
    ];
    assert!(code == 0 && words.iter().all(|words| text.contains(words)), "{text}");
    let state = kibana.state();
    assert_eq!((state.connectors.len(), state.secrets.len()), (2, 2));
    for (key, rule) in &before {
        let mut expected = rule.clone();
        expected["actions"].as_array_mut().unwrap().remove(1);
        expected["filters"].as_array_mut().unwrap().remove(1);
        expected["revision"] = json!(rule["revision"].as_u64().unwrap() + 1);
        assert_eq!(state.rules[key], expected);
        for id in ids(&state.rules[key]) {
            assert!(state.connectors.keys().any(|(_, there)| there == id), "{id}");
        }
    }
    drop(state);

    let writes = kibana.state().writes();
    let told = hosts[1].applied(&kibana, &["--remove"]);
    assert_eq!(
        (&told["changed"], &told["connector"]["outcome"]),
        (&json!(false), &json!("absent"))
    );
    assert_eq!(kibana.state().writes(), writes);

    // Another host of the name has nothing taken away.
    let twin = Host::new("a", "10.1.0.9");
    let (text, code) = twin.apply(&kibana, &["--remove"]);
    assert!(code == 1 && text.contains("posts to https://10.1.0.1:5001/blockip"), "{text}");
    assert_eq!(kibana.state().writes(), writes);

    // Somebody deleted a connector by hand: its action is found all the same.
    kibana
        .state()
        .connectors
        .retain(|_, there| !there["name"].as_str().unwrap().starts_with("webhookd-c"));
    for host in [&hosts[2], &hosts[0]] {
        host.applied(&kibana, &["--remove"]);
    }
    let state = kibana.state();
    assert!(state.connectors.is_empty());
    for rule in state.rules.values() {
        assert_eq!((&rule["actions"], &rule["filters"]), (&json!([]), &json!([])));
    }
    // Where nothing was ever put, nothing is.
    let kibana = KibanaApi::of("9.4.0");
    assert_eq!(hosts[0].applied(&kibana, &["--remove"])["changed"], false);
    assert_eq!(kibana.state().writes(), 0);
}

#[test]
fn of_hosts_that_read_the_rule_before_any_of_them_wrote_none_is_lost() {
    let hosts = [("a", "10.1.0.1"), ("b", "10.1.0.2"), ("c", "10.1.0.3")]
        .map(|(name, address)| Host::new(name, address));
    // Where there is a rule already, and where each is about to make it.
    for there in [true, false] {
        let kibana = KibanaApi::of("9.4.0");
        if there {
            Host::new("first", "10.1.0.9").applied(&kibana, &[]);
        }
        kibana.state().meet = hosts.len();
        let children: Vec<_> = hosts
            .iter()
            .map(|host| {
                let mut command = host.applying(&kibana, &[]);
                command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        for child in children {
            let (text, code) = told(&child.wait_with_output().unwrap());
            assert!(code == 0 && text.ends_with("Kibana is up to date.\n"), "{text}");
        }
        let rule = kibana.state().rule().clone();
        let mut ids = ids(&rule);
        ids.sort_unstable();
        let all = ["webhookd-a", "webhookd-b", "webhookd-c", "webhookd-first"];
        assert_eq!(ids, all[..3 + usize::from(there)], "{there}");
    }
}

#[test]
fn a_dry_run_says_what_would_be_done_and_asks_questions_alone() {
    let host = Host::new("web-01", "10.1.0.1");
    let kibana = KibanaApi::of("9.2.0");
    let (text, code) = host.apply(&kibana, &["--dry-run"]);
    assert_eq!(code, 0, "{text}");
    for words in [
        "connector  webhookd-web-01: would be made",
        "rule       SSH brute force, every failure (webhookd-ssh-brute-force-wide): would be made",
        "Nothing was changed (--dry-run).",
    ] {
        assert!(text.contains(words), "no {words} in {text}");
    }
    host.applied(&kibana, &[]);
    let state = kibana.state();
    let (writes, before) = (state.writes(), state.rule().clone());
    // A try with its own name, one with a UUID, and the rule.
    assert_eq!(writes, 3, "{:?}", state.requests);
    drop(state);
    host.never_block(&["10.0.0.0/8"]);
    let (text, _) = host.apply(&kibana, &["--dry-run"]);
    let words = ["connector  webhookd-web-01: as it is to be", "left out   10.0.0.0/8"];
    assert!(words.iter().all(|words| text.contains(words)), "{text}");
    let state = kibana.state();
    assert_eq!((state.writes(), state.rule()), (writes, &before));
}

#[test]
fn what_changes_on_the_host_is_brought_to_kibana() {
    let host = Host::new("web-01", "10.1.0.1");
    let kibana = KibanaApi::of("9.4.0");
    host.applied(&kibana, &[]);
    let config = host.path("webhookd.toml").display().to_string();
    let secret = host.path("second").display().to_string();
    fs::write(&secret, "0123456789abcdef0123456789abcdef\n").unwrap();
    let given = ["--token-file", &*secret];
    let (text, code) = host.apply(&kibana, &given);
    assert!(code == 1 && text.contains("webhookd knows no token such as that of"), "{text}");
    let add = ["token", "add", "second", "--from", &secret, "--config", &config];
    assert!(webhookctl(&add).status.success());
    let told = host.applied(&kibana, &given);
    assert_eq!(told["connector"]["differed"], json!(["secret"]));
    let bearer = "Bearer 0123456789abcdef0123456789abcdef";
    let kept = kibana.state().secrets.values().next().unwrap().clone();
    assert_eq!(kept["secretHeaders"]["Authorization"], bearer);
    assert!(!host.apply(&kibana, &given).0.contains("changed ("));

    // A host of the same name is not overwritten by mistake.
    let twin = Host::new("web-01", "10.1.0.2");
    let (text, code) = twin.apply(&kibana, &[]);
    let words = "posts to https://10.1.0.1:5001/blockip, not to https://10.1.0.2:5001/blockip";
    assert!(code == 1 && text.contains(words) && text.contains("--name"), "{text}");
    assert_eq!(twin.applied(&kibana, &["--replace"])["connector"]["outcome"], "changed");

    // A certificate of its own is another way in.
    let (cert, key) = (host.path("tls/cert.pem"), host.path("tls/key.pem"));
    let pair = ["--client-cert", cert.to_str().unwrap(), "--client-key", key.to_str().unwrap()];
    let told = twin.applied(&kibana, &pair);
    let differed = told["connector"]["differed"].to_string();
    assert!(differed.contains("authType") && differed.contains("secret"), "{told:#}");
    let kept = kibana.state().secrets.values().next().unwrap().clone();
    assert!(kept["crt"].is_string() && kept.get("secretHeaders").is_none(), "{kept}");
    let swapped = ["--client-cert", key.to_str().unwrap(), "--client-key", cert.to_str().unwrap()];
    let (text, code) = twin.apply(&kibana, &swapped);
    assert!(code == 1 && text.contains("holds no certificate in PEM"), "{text}");
}

#[test]
fn a_space_has_a_connector_and_a_rule_of_its_own() {
    let host = Host::new("web-01", "10.1.0.1");
    let kibana = KibanaApi::of("9.4.0");
    kibana.state().spaces.push("soc".to_owned());
    host.applied(&kibana, &[]);
    host.applied(&kibana, &["--space", "soc", "--rule", "guide"]);
    let state = kibana.state();
    let keys: Vec<_> = state.connectors.keys().collect();
    assert_eq!((&*keys[0].0, &*keys[0].1, &*keys[1].0), ("default", "webhookd-web-01", "soc"));
    assert_ne!(keys[1].1, "webhookd-web-01", "an id is one for all spaces");
    let rules: Vec<&str> = state.rules.keys().map(|(_, id)| &**id).collect();
    assert_eq!(rules, ["webhookd-ssh-brute-force-wide", "webhookd-ssh-brute-force"]);
    drop(state);
    assert_eq!(host.applied(&kibana, &["--space", "soc", "--rule", "guide"])["changed"], false);
}

/// Whatever it is, nothing is written and one sentence names it and the mend.
#[test]
fn each_failure_is_named_with_its_mend() {
    let host = Host::new("web-01", "10.1.0.1");
    let fails = |kibana: &KibanaApi, options: &[&str], code: i32, words: [&str; 2]| {
        let (text, found) = host.apply(kibana, options);
        assert_eq!((found, text.lines().count()), (code, 1), "{words:?}: {text}");
        assert!(words.iter().all(|words| text.contains(words)), "{words:?}: {text}");
        let state = kibana.state();
        assert!(state.connectors.is_empty() && state.rules.is_empty(), "{text}");
    };
    let fresh = || KibanaApi::of("9.4.0");

    let kibana = fresh();
    kibana.state().licence = "basic".to_owned();
    fails(&kibana, &[], 2, ["your basic license does not support it", "takes Gold or a trial"]);
    for forbidden in ["/api/actions", "/api/detection_engine", "/api/spaces"] {
        let kibana = fresh();
        kibana.state().forbidden = Some(forbidden);
        kibana.state().spaces.push("soc".to_owned());
        let (text, code) = host.apply(&kibana, &["--space", "soc"]);
        let words =
            ["the API key may not look at the ", "is unauthorized for user", "its role needs"];
        assert!(code == 2 && words.iter().all(|words| text.contains(words)), "{forbidden}: {text}");
    }
    fails(&fresh(), &["--space", "nowhere"], 2, ["no space nowhere", "behind /s/"]);
    fails(&KibanaApi::of("8.7.1"), &[], 2, ["Kibana 8.7 is too old", "kibana print"]);
    fails(&fresh(), &["--kibana-version", "7.17"], 2, ["Kibana 7.17 is too old", "kibana print"]);
    fails(&fresh(), &["--auth", "bearer", "--kibana-version", "9.1"], 1, ["9.2", "this is 9.1"]);
    fails(&fresh(), &["--host", "10.1.0.77"], 1, ["10.1.0.77 is not among", "init --renew --san"]);

    // Whose it is, and whether it is one.
    for (instead, words) in [
        (
            (302, "text/html", "https://elsewhere.test/login".to_owned()),
            ["redirects to https://elsewhere.test/login", "--url"],
        ),
        ((200, "text/html", "<html>".to_owned()), ["is no Kibana (status 200)", "--url"]),
        ((404, "text/html", "<html>".to_owned()), ["is no Kibana (status 404)", "--url"]),
        ((200, "application/json", "{}".to_owned()), ["is no Kibana (status 200)", "--url"]),
        (
            (
                503,
                "application/json",
                r#"{"status":{"overall":{"level":"unavailable"}}}"#.to_owned(),
            ),
            ["Kibana is not ready: unavailable", "wait"],
        ),
    ] {
        let kibana = fresh();
        kibana.state().instead = Some(instead);
        fails(&kibana, &[], 2, words);
    }
}

#[test]
fn each_failure_of_the_key_and_of_https_is_named_with_its_mend() {
    let host = Host::new("web-01", "10.1.0.1");
    let kibana = KibanaApi::of("9.4.0");
    let key = key_file(&kibana, API_KEYS[1]);
    let run = |url: &str, key: &Path, ca: Option<&Path>| {
        let mut command = host.command("apply", &["--url", url]);
        command.arg("--api-key-file").arg(key);
        if let Some(ca) = ca {
            command.arg("--ca").arg(ca);
        }
        told(&command.output().unwrap())
    };
    let wrong = key_file(&kibana, "d3Jvbmc=");
    for anonymous in [false, true] {
        kibana.state().anonymous_status = anonymous;
        let (text, code) = run(&kibana.url, &wrong, Some(&kibana.ca()));
        assert!(code == 2 && text.contains("does not accept the API key"), "{text}");
    }
    let open = key_file(&kibana, API_KEYS[0]);
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    let (text, code) = run(&kibana.url, &open, Some(&kibana.ca()));
    assert!(code == 1 && text.contains("others may read") && text.contains("chmod 600"), "{text}");
    let (text, code) = run(&kibana.url, Path::new("/etc/hostname/none"), Some(&kibana.ca()));
    assert!(code == 1 && text.contains("--api-key-file: "), "{text}");

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = silent.local_addr().unwrap();
    drop(silent);
    let port = kibana.url.rsplit_once(':').unwrap().1;
    for (url, ca, words) in [
        (kibana.url.clone(), None, ["is not trusted", "--ca"]),
        (kibana.url.clone(), Some(host.path("tls/ca.pem")), ["is not trusted", "--ca"]),
        (kibana.url.clone(), Some(key.clone()), ["--ca: ", "no usable PEM certificate"]),
        (format!("https://localhost:{port}"), Some(kibana.ca()), ["not for that name", "--url"]),
        (format!("https://{free}"), Some(kibana.ca()), ["connection refused", "--url"]),
        ("https://nowhere.invalid".to_owned(), Some(kibana.ca()), ["has no address", "--url"]),
        (format!("http://127.0.0.1:{port}"), Some(kibana.ca()), ["no https URL", "https://kibana"]),
    ] {
        let (text, code) = run(&url, &key, ca.as_deref());
        assert!(code != 0 && words.iter().all(|words| text.contains(words)), "{words:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    assert_eq!(kibana.state().writes(), 0);
    let (text, code) = run(&format!("{}/", kibana.url), &key, Some(&kibana.ca()));
    assert_eq!(code, 0, "ID:KEY, and a slash at the end: {text}");
}

#[test]
fn what_is_printed_for_the_api_is_taken_by_each_kibana() {
    let host = Host::new("web-01", "10.1.0.1");
    host.never_block(&["10.0.0.0/8"]);
    for (version, auths) in
        [("9.4", &["bearer", "basic"][..]), ("9.1", &["basic"]), ("8.9", &["basic"])]
    {
        let printed = |what: &str, options: &[&str]| {
            let options = [&["--kibana", version, "--for", what], options].concat();
            let (text, code) = host.kibana("print", &options);
            assert!(code == 0 && !text.contains(&host.token()), "{text}");
            text
        };
        for auth in auths {
            let kibana = KibanaApi::of(&format!("{version}.0"));
            let id = if version == "9.4" { "webhookd-web-01" } else { UUID };
            let document = printed("connector", &["--auth", auth]);
            let answer = post(&kibana, &format!("/api/actions/connector/{id}"), &document);
            assert_eq!(answer.status, 200, "{version} {auth}: {answer:?}\n{document}");
            for (rule, mode) in [("guide", "each"), ("wide", "summary")] {
                let document = printed("rule", &["--rule", rule, "--mode", mode]);
                let document = document.replace("\"webhookd-web-01\"", &format!("\"{id}\""));
                let answer = post(&kibana, "/api/detection_engine/rules", &document);
                assert_eq!(answer.status, 200, "{version} {rule}: {answer:?}\n{document}");
            }
        }
    }
    // And the stand-in does refuse what Kibana does not know.
    let kibana = KibanaApi::of("8.9.0");
    let (document, _) = host.kibana("print", &["--kibana", "9.4", "--for", "connector"]);
    let answer = post(&kibana, &format!("/api/actions/connector/{UUID}"), &document);
    assert!(
        answer.status == 400 && answer.message().contains("definition for this key is missing")
    );
}

const UUID: &str = "0b1f3c5e-0000-4000-8000-aabbccddeeff";

#[test]
fn what_is_printed_for_people_fits_and_holds_no_secret_unless_it_is_asked_for() {
    let host = Host::new("web-01", "10.1.0.1");
    host.never_block(&["10.0.0.0/8"]);
    let output = host.command("print", &[]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let too_long = |line: &&str| line.len() > 80 && !line.contains("--api-key-file");
    assert_eq!(text.lines().find(too_long), None, "{text}");
    for words in ["https://10.1.0.1:5001/blockip", "TOKEN is the first word", "10.0.0.0/8"] {
        assert!(text.contains(words), "no {words} in {text}");
    }
    for options in [&[][..], &["--json"], &["--kibana", "8.9"], &["--for", "connector"]] {
        let (text, code) = host.kibana("print", options);
        assert!(code == 0 && !text.contains(&host.token()), "{options:?}: {text}");
        let asked = [options, &["--show-token"]].concat();
        let (text, code) = host.kibana("print", &asked);
        assert!(code == 0 && text.contains(&host.token()), "{asked:?}: {text}");
    }
    let output = host.command("print", &["--for", "kibana-yml"]).output().unwrap();
    let yml = String::from_utf8(output.stdout).unwrap();
    assert!(yml.contains("  - url: \"https://10.1.0.1:5001\"\n"), "{yml}");
    let pem = host.read("tls/ca.pem");
    assert!(pem.lines().all(|line| yml.contains(&format!("        {line}\n"))), "{yml}");
    let (text, _) = host.kibana("print", &["--json"]);
    let all: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(all["rule"]["actions"][0], all["action"]);
    assert_eq!(all["connector"]["secrets"]["secretHeaders"]["Authorization"], "Bearer TOKEN");
}

/// The whole road: what is in Kibana after `apply` is called by Kibana's own client.
#[test]
fn the_connector_that_is_put_into_kibana_gets_addresses_blocked() {
    let mut world = World::without_daemons("ufw allow 22/tcp");
    let folder = world.path("made");
    let (text, status) = world.ctl(&["init", "--directory", &folder]);
    assert_eq!(status, 0, "{text}");
    for (made, used) in
        [("tls/cert.pem", "cert.pem"), ("tls/key.pem", "key.pem"), ("token", "token")]
    {
        world.write(used, &world.read(&format!("made/{made}")));
    }
    world.start();
    let mut called = Kibana::at(&world.kibana);
    for (number, version) in ["9.4.0", "8.17.0"].into_iter().enumerate() {
        let kibana = KibanaApi::of(version);
        let at = |name: &str| format!("{folder}/{name}");
        let mut apply = Command::new(binaries().join("webhookctl"));
        apply.args(["kibana", "apply", "--url", &kibana.url, "--host", "10.9.0.1"]);
        apply.args(["--config", &at("webhookd.toml"), "--privd-config", &at("privd.toml")]);
        apply.arg("--ca").arg(kibana.ca());
        apply.arg("--api-key-file").arg(key_file(&kibana, API_KEYS[0]));
        let (text, code) = told(&apply.output().unwrap());
        assert_eq!(code, 0, "{text}");
        let state = kibana.state();
        let config = &state.connectors.values().next().unwrap()["config"];
        let secrets = state.secrets.values().next().unwrap();
        let connector = json!({ "config": config, "secrets": secrets });
        let template = state.rule()["actions"][0]["params"]["body"].as_str().unwrap();
        let address = format!("198.18.0.{}", number + 1);
        let alerts = json!({ "rule": "threshold", "addresses": [address] });
        let judgements = called.runs(&connector, template, &alerts);
        assert_eq!(judgements[0].message, None, "{version}: {judgements:?}");
        assert_eq!(judgements[0].answer["output"], format!("Blocked IP: {address}"));
    }
}
