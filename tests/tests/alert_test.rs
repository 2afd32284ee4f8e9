//! `webhookctl test`: it goes an alert's whole way and leaves nothing behind, and whatever fails on that
//! way is named with its step and its mend.

use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tests::standing::Lock;
use tests::world::unfolded;
use tests::{World, until};

/// What `webhookctl test` told.
#[derive(Debug)]
struct Report {
    steps: Vec<Value>,
    code: i32,
}

impl Report {
    fn of(world: &World, arguments: &str) -> Self {
        let config = world.path("webhookd.toml");
        let words = ["test", "--json", "--config", &config].into_iter();
        let words: Vec<&str> = words.chain(arguments.split_whitespace()).collect();
        let (text, code) = world.ctl(&words);
        let steps = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        Self { steps, code }
    }

    fn names(&self) -> Vec<&str> {
        self.steps.iter().map(|step| step["step"].as_str().unwrap()).collect()
    }

    /// The one step that failed, with these words in it and these in its mend.
    fn failed(&self, step: &str, words: &str, mend: &str) {
        let failed: Vec<_> = self.steps.iter().filter(|step| step["state"] != "ok").collect();
        let [failed] = &failed[..] else { panic!("{self:#?}") };
        let text = |key: &str| failed[key].as_str().unwrap();
        assert!(text("step") == step && text("message").contains(words), "{words}: {failed:#}");
        assert!(text("mend").contains(mend), "{mend}: {failed:#}");
        assert_eq!(self.code, 2, "{self:#?}");
    }
}

/// That nothing of a test is left in ledger, rules, kernel and token file.
fn assert_clean(world: &World, tokens: &str) {
    assert_eq!(world.read("token"), tokens);
    assert_eq!(world.ctl_json("list"), serde_json::json!([]), "{}", world.logs());
    assert_no_rules(world);
}

fn assert_no_rules(world: &World) {
    let rules = world.server.sh("cat /etc/ufw/user.rules /etc/ufw/user6.rules");
    let kernel = world.server.sh("iptables -S; ip6tables -S");
    for nobodys in ["192.0.2.", "198.51.100.", "203.0.113.254", "2001:db8::"] {
        assert!(!rules.contains(nobodys) && !kernel.contains(nobodys), "{rules}{kernel}");
    }
}

#[test]
fn every_step_is_told_and_nothing_is_left() {
    let world = World::new();
    let plain = world.read("token");
    let all = [
        "set-up",
        "webhook-privd",
        "address",
        "token",
        "alert",
        "block",
        "rules",
        "kernel",
        "lifted",
    ];
    for arguments in ["", "--address 2001:db8::7", "--url https://10.9.0.1:5001/blockip"] {
        // Its own addresses may post.
        let report = Report::of(&world, arguments);
        assert_eq!((report.names(), report.code), (all.to_vec(), 0), "{report:#?}");
        assert_clean(&world, &plain);
    }
    let lines = world.lines("webhookd.log", &["token: kibana", "status: 200"]);
    assert_eq!(lines.len(), 3, "{}", world.logs());

    // Where it knows no token it makes one, for as long as it takes.
    let digest = "printf %s $(cat secret) | sha256sum | cut -d ' ' -f 1";
    let at = world.directory.path().display();
    let digest = world.server.sh(&format!("cd {at}; {digest}"));
    let digest = format!("sha256:{} # kibana\n", digest.trim());
    world.write("token", &digest);
    let report = Report::of(&world, "");
    assert_eq!((report.names(), report.code), ([&all[..], &["token"]].concat(), 0), "{report:#?}");
    assert!(!world.lines("webhookd.log", &["token: webhookctl-test"]).is_empty());
    assert_clean(&world, &digest);

    // What is blocked already is left alone.
    assert_eq!(world.ctl(&["block", "192.0.2.254"]).1, 0);
    assert_eq!(Report::of(&world, "").code, 0);
    let report = Report::of(&world, "--address 192.0.2.254");
    report.failed("address", "is blocked already", "webhookctl unblock 192.0.2.254");
    assert_eq!(world.ctl_json("list")[0]["target"], "192.0.2.254");
}

#[test]
fn people_read_each_step_with_its_time_within_80_columns() {
    let world = World::new();
    let config = world.path("webhookd.toml");
    let output = world.confined.run(&["/mnt/webhookctl", "test", "--config", &config]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.ends_with("All is well.\n"), "{text}");
    let long = text.lines().filter(|line| line.chars().count() > 80);
    assert_eq!(long.count(), 0, "{text}");
    let text = unfolded(&text);
    for words in ["set-up (", "alert (", "answered 200: Blocked IP: 192.0.2.254"] {
        assert!(text.contains(words), "no {words} in {text}");
    }
    for (arguments, words) in [
        ("--address 10.9.0.2", "somebody may have it"),
        ("--url http://10.9.0.1:5001/blockip", "no https URL"),
        ("--token-file /etc/hostname", "a token has at least 32 characters"),
    ] {
        let words_of = ["test"].into_iter().chain(arguments.split(' ')).collect::<Vec<_>>();
        let (text, code) = world.ctl(&words_of);
        assert!(code == 1 && text.contains(words), "{arguments}: {code} {text}");
    }
}

#[test]
fn each_failure_of_https_is_named_with_its_mend() {
    let mut world = World::new();
    let tokens = world.read("token");
    let at = world.directory.path().display().to_string();
    world.write("wrong", &"0".repeat(64));
    world.server.sh(&format!(
        "cd {at}; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
         -keyout foreign.key -out foreign.pem -subj /CN=foreign -days 2 2>/dev/null"
    ));
    for (arguments, words, mend) in [
        (format!("--token-file {at}/wrong"), "answered 401: the token is wrong", "token list"),
        (format!("--ca {at}/foreign.pem"), "does not accept the certificate", "init --renew"),
        (format!("--ca {at}/webhookd.toml"), "no usable PEM certificate of a CA", "init --renew"),
        ("--url https://127.0.0.1:5001/blockip".to_owned(), "not for the name", "--san NAME"),
        ("--url https://10.9.0.1:5001/".to_owned(), "answered 404", "/blockip"),
        ("--url https://nowhere.invalid/blockip".to_owned(), "has no address", "--url"),
        ("--url https://10.9.0.1:22/blockip".to_owned(), "connection refused", "webhookd.socket"),
    ] {
        Report::of(&world, &arguments).failed("alert", words, mend);
        assert_clean(&world, &tokens);
    }
    world.configure("", "allow-clients = [\"10.9.0.2\"]");
    world.hang_up();
    world.wait_for("allow_clients: 10.9.0.2", "webhookd.log");
    Report::of(&world, "").failed("alert", "answered 401: this client's address", "allow-clients");
    world.stop_webhookd(Signal::SIGTERM);
    let report = Report::of(&world, "");
    report.failed("alert", "nothing listens at 127.0.0.1:5001", "systemctl status webhookd");
    assert_clean(&world, &tokens);
    world.configure("", "nonsense = 1");
    Report::of(&world, "").failed("set-up", "unknown field `nonsense`", "webhookctl init");
}

#[test]
fn each_failure_of_the_block_is_named_with_its_mend() {
    let mut world = World::with("never-block = [\"192.0.2.0/24\"]", "ufw allow 22/tcp");
    let tokens = world.read("token");
    // Another that nobody has is taken.
    let report = Report::of(&world, "");
    assert!(report.code == 0 && report.steps[2]["message"].as_str().unwrap().contains("198.51."));
    let report = Report::of(&world, "--address 192.0.2.7");
    report.failed("alert", "answered 422", "take it out of never-block");
    assert_clean(&world, &tokens);

    world.stop_privd(Signal::SIGTERM);
    let report = Report::of(&world, "");
    report.failed("webhook-privd", "", "systemctl status webhook-privd");
    world.configure("enforce = false", "");
    world.start_privd();
    Report::of(&world, "").failed("alert", "Nothing is enforced", "enforce = true");
    assert_clean(&world, &tokens);

    world.ufw("--force disable");
    until("ufw is seen to be off", 20, || world.ctl_json("status")["problem"].is_string());
    Report::of(&world, "").failed("webhook-privd", "`ufw enable`", "webhookctl check");
    assert_eq!(world.read("token"), tokens);
    assert_no_rules(&world);
}

#[test]
fn a_signal_at_any_time_leaves_nothing() {
    let world = World::new();
    let at = world.directory.path().display();
    let digest = world.server.sh(&format!("cd {at}; printf %s $(cat secret) | sha256sum"));
    let digest = format!("sha256:{} # kibana\n", digest.split_whitespace().next().unwrap());
    world.write("token", &digest);
    let config = world.path("webhookd.toml");
    let begin = || -> Child {
        let mut command = world.confined.command(&["/mnt/webhookctl", "test", "--config", &config]);
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    let interrupt = |child: &Child, signal: Signal| {
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
    };
    // While the alert waits for ufw.
    let held = Lock::of_the_host(&world);
    let child = begin();
    until("the alert is under way", 20, || world.ctl_json("status")["queued"] == 1);
    interrupt(&child, Signal::SIGINT);
    drop(held);
    let output = child.wait_with_output().unwrap();
    let text = unfolded(&String::from_utf8_lossy(&output.stdout));
    assert_eq!(output.status.code(), Some(2), "{text}");
    for words in ["interrupted (", "is blocked no more", "webhookctl-test is revoked"] {
        assert!(text.contains(words), "no {words} in {text}");
    }
    assert_clean(&world, &digest);
    // As soon as there is anything to take back.
    for _ in 0..5 {
        let child = begin();
        until("it has made its token", 20, || world.read("token") != digest);
        interrupt(&child, Signal::SIGTERM);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.code().is_some(), "{output:?}");
        assert_clean(&world, &digest);
    }
}
