//! `webhookctl init --from-guide`: from the guide's set-up to webhookd, with Kibana's token and all
//! that its script has denied.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tests::https::{Answer, Client, JSON, exchange, request};
use tests::world::unfolded;
use tests::{Container, World, until};

/// As `openssl rand -hex 24` makes it.
const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef";

const ATTACKER: &str = "203.0.113.7";

/// What the guide has one do, step by step; its server and its script are only there.
fn guides_setup(token: &str) -> String {
    let (certificate, key) = self_signed();
    format!(
        "umask 022; mkdir -p /etc/ssl/webhook /etc/sudoers.d
         cat >/etc/ssl/webhook/webhook.crt <<'END'\n{certificate}\nEND
         cat >/etc/ssl/webhook/webhook.key <<'END'\n{key}\nEND
         chmod 640 /etc/ssl/webhook/webhook.key; chgrp webhookd /etc/ssl/webhook/webhook.key
         (umask 077; echo WEBHOOK_TOKEN={token} >/etc/webhook_server.env)
         echo '#!/usr/bin/env python3' | tee /usr/local/bin/webhook_server.py >/usr/local/bin/block_ip.py
         touch /var/log/block_ip.log /var/log/webhook_server.log
         printf 'Defaults:webhookd !requiretty\\n\
             Cmnd_Alias BLOCK_CMD = /usr/bin/python3 /usr/local/bin/block_ip.py *\\n\
             webhookd ALL=(root) NOPASSWD: BLOCK_CMD\\n' >>/etc/sudoers
         printf '[Service]\\nUser=webhookd\\nEnvironmentFile=/etc/webhook_server.env\\n\
             ExecStart=/usr/bin/python3 /usr/local/bin/webhook_server.py\\n\
             [Install]\\nWantedBy=multi-user.target\\n' >/etc/systemd/system/webhook-server.service"
    )
}

/// As the guide's `openssl req -x509` makes it: without a subjectAltName.
fn self_signed() -> (String, String) {
    let directory = tempfile::tempdir().unwrap();
    let script =
        "openssl req -x509 -newkey rsa:2048 -keyout key -out cert -days 365 -nodes -subj /CN=x";
    let made = Command::new("sh").args(["-ec", script]).current_dir(directory.path()).output();
    assert!(made.unwrap().status.success());
    let read = |name| fs::read_to_string(directory.path().join(name)).unwrap();
    (read("cert"), read("key"))
}

/// What init says as JSON, and its exit status.
fn report(machine: &Container, options: &str) -> (Value, i32) {
    let output = machine.run(&format!("webhookctl init --from-guide --json {options}"));
    let report = serde_json::from_slice(&output.stdout);
    (report.unwrap_or_else(|error| panic!("{error}: {output:?}")), output.status.code().unwrap())
}

/// At a terminal, where somebody answers.
fn answered(machine: &Container, answer: &str) -> String {
    let command = "script -qec 'webhookctl init --from-guide' /dev/null";
    unfolded(&machine.sh(&format!("echo {answer} | {command}")).replace('\r', ""))
}

/// Posts with the guide's token, as the connector that is there already does.
fn post(machine: &Container, address: &str) -> Answer {
    let client = Client::trusting(&machine.path("/etc/webhookd/tls/ca.pem"));
    let port = ([10, 9, 0, 1], 5001).into();
    let stream = machine.neighbour().connect(port, Duration::from_secs(5)).unwrap();
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("Authorization", &*bearer), JSON];
    let body = json!({ "ip": address }).to_string();
    let request = request("POST", "/blockip", &headers, &body);
    exchange(&mut client.handshake(stream, "10.9.0.1"), &request).unwrap()
}

/// All that init could change.
fn state(machine: &Container) -> String {
    machine
        .sh("cd /etc; stat --format '%n %i %y' $(find webhookd ufw -type f); ufw status numbered")
}

fn addresses(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|row| row["address"].as_str().unwrap()).collect()
}

#[test]
fn the_guides_token_and_denies_go_on_and_what_is_left_of_it_is_named() {
    let machine = Container::boot_with(&guides_setup(TOKEN));
    // The script's only command.
    for address in [ATTACKER, "198.51.100.8", "2001:db8:9::9"] {
        machine.sh(&format!("ufw deny from {address}"));
    }
    machine.sh("ufw deny from 198.51.100.0/28; ufw deny from 198.51.100.77 comment mine");
    assert!(machine.attacker_connects(), "the guide's deny stands behind the allow");
    assert_eq!(post(&machine, "192.0.2.1").status, 401);

    let (told, status) = report(&machine, "");
    assert_eq!(status, 0, "{told:#}");
    let guide = &told["guide"];
    assert_eq!(addresses(&guide["denies"]), [ATTACKER, "198.51.100.8", "2001:db8:9::9"]);
    assert_eq!(
        (&guide["denies"][0]["works"], &guide["denies"][0]["outcome"]),
        (&json!(false), &Value::Null)
    );
    let why = guide["certificate"].as_str().unwrap();
    assert!(why.contains("no subjectAltName"), "{why}");
    assert!(!told.to_string().contains(TOKEN), "{told:#}");
    machine.sh("systemctl reload-or-restart webhookd");
    assert_eq!(post(&machine, "192.0.2.1").outcomes(), ["blocked"]);
    // The token that was there is still good.
    assert_eq!(machine.block("192.0.2.1").outcomes(), ["already-blocked"]);

    // Asked, and not taken at anything but a yes.
    let text = answered(&machine, "maybe");
    assert!(text.contains("[y/N]") && text.contains("does not work: what lets it in"), "{text}");
    assert!(text.contains("To make them webhookd's") && machine.attacker_connects(), "{text}");
    let before = machine.sh("ufw status numbered");
    let text = answered(&machine, "y");
    assert!(text.contains("Taken over: 3, permanent"), "{before}\n{text}");
    // Listed once, before the question.
    assert_eq!(text.matches("does not work").count(), 3, "{text}");
    assert!(!machine.attacker_connects(), "{}", machine.sh("ufw status numbered"));
    let list: Value = serde_json::from_str(&machine.sh("webhookctl list --json")).unwrap();
    for address in [ATTACKER, "198.51.100.8", "2001:db8:9::9"] {
        let row = list.as_array().unwrap().iter().find(|row| row["target"] == address);
        let row = row.unwrap_or_else(|| panic!("{address}: {list:#}"));
        assert_eq!(
            (&row["until"], &row["reason"]),
            (&json!("permanent"), &json!("from the guide's script"))
        );
    }
    // What it cannot have made stays the administrator's, where it stood.
    let rules = machine.sh("ufw status");
    for line in ["198.51.100.0/28", "198.51.100.77              # mine"] {
        let rule = rules.lines().find(|rule| rule.contains(line));
        assert!(rule.is_some_and(|rule| !rule.contains("webhookd:")), "{line}\n{rules}");
    }

    let before = state(&machine);
    let text = unfolded(&machine.sh("webhookctl init --from-guide --take-over"));
    for words in ["No deny is left", "among the accepted ones already"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!(before, state(&machine), "a second run changes nothing");
    delete_what_is_named(&machine);
}

/// Each leftover goes by what is said of it.
fn delete_what_is_named(machine: &Container) {
    let (told, _) = report(machine, "");
    let leftovers = told["guide"]["leftovers"].as_array().unwrap();
    assert_eq!(leftovers.len(), 1 + 6 + 3, "{leftovers:#?}");
    for left in leftovers {
        let mend = left["mend"].as_str().unwrap();
        if !mend.starts_with("visudo") {
            machine.sh(mend);
        }
    }
    machine.sh("sed -i '/webhookd/d; /block_ip/d' /etc/sudoers");
    let text = unfolded(&machine.sh("webhookctl init --from-guide"));
    assert!(text.contains("Nothing else of the guide's set-up is left."), "{text}");
    // But for the deny of the network, which is the administrator's to judge.
    machine.sh("ufw delete deny from 198.51.100.0/28; ufw delete deny from 198.51.100.77");
    let text = unfolded(&machine.sh("webhookctl check --no-trial"));
    assert!(text.contains("the guide: nothing of its set-up is left"), "{text}");
    assert_eq!(post(machine, ATTACKER).outcomes(), ["already-blocked"]);
}

#[test]
fn without_privd_nothing_is_taken_over_and_it_is_said_what_to_start() {
    let machine = Container::boot_with(&guides_setup(TOKEN));
    machine.sh(&format!(
        "ufw deny from {ATTACKER}; ufw deny from 10.9.0.2
        echo 'never-block = [\"10.9.0.2\"]' >>/etc/webhookd/privd.toml
        systemctl stop webhook-privd.socket webhook-privd.service"
    ));
    let before = state(&machine);
    let output = machine.run("webhookctl init --from-guide --take-over");
    let text = unfolded(&String::from_utf8_lossy(&output.stdout));
    assert_eq!(output.status.code(), Some(2), "{text}");
    for words in
        ["webhook-privd cannot be reached", "sudo webhookctl init --from-guide --take-over"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    let rules = |state: &str| state.lines().filter(|line| !line.starts_with("webhookd/")).count();
    assert_eq!(rules(&before), rules(&state(&machine)));

    // Who is protected stays as the administrator has it.
    machine.sh("systemctl start webhook-privd.socket webhook-privd.service");
    let (told, status) = report(&machine, "--take-over");
    let outcomes: Vec<&Value> =
        told["guide"]["denies"].as_array().unwrap().iter().map(|deny| &deny["outcome"]).collect();
    assert_eq!((status, outcomes), (0, vec![&json!("blocked"), &json!("refused")]), "{told:#}");
    until("the attacker is out", 5, || !machine.attacker_connects());
    assert!(machine.sh("ufw status").contains("10.9.0.2"));
}

/// A host without anything of webhookd's, and with this of the guide's in /etc.
fn host_with(files: &[(&str, &str)]) -> World {
    let world = World::without_daemons("true");
    let laid = world.path("laid");
    fs::create_dir(&laid).unwrap();
    for (name, text) in files {
        let path = std::path::PathBuf::from(format!("{laid}/{name}"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let at = world.directory.path().display();
    world.confined.sh(&format!(
        "cp -a {at}/passwd {at}/group {at}/ufw {laid}
         mount -t overlay -o lowerdir={laid}:/etc overlay /etc"
    ));
    world
}

#[test]
fn a_token_that_could_be_guessed_is_refused_and_a_new_one_made() {
    for (env, words) in [
        ("WEBHOOK_TOKEN=\n", "sets none, and that lets everyone in"),
        ("WEBHOOK_TOKEN=0123456789abcdef\n", "at least 32 characters"),
    ] {
        let world = host_with(&[("webhook_server.env", env)]);
        let folder = world.path("made");
        let (text, status) = world.ctl(&["init", "--from-guide", "--directory", &folder]);
        assert_eq!(status, 0, "{text}");
        assert!(
            text.contains("The guide's token is not taken over") && text.contains(words),
            "{text}"
        );
        let token = fs::read_to_string(format!("{folder}/token")).unwrap();
        assert!(
            token.split(' ').next().unwrap().len() == 64 && token.contains("# init "),
            "{token}"
        );
    }
}

#[test]
fn on_a_host_without_the_package_the_guides_token_is_the_only_one() {
    let env = format!("WEBHOOK_TOKEN=\"{TOKEN}\"\n");
    let unit = "[Service]\nExecStart=/usr/bin/python3 /usr/local/bin/webhook_server.py\n";
    let world =
        host_with(&[("webhook_server.env", &env), ("systemd/system/webhookd.service", unit)]);
    let folder = world.path("made");
    let init = ["init", "--from-guide", "--directory", &folder];
    let (text, status) = world.ctl(&init);
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("so that webhookd does not run at all"), "{text}");
    let token = fs::read_to_string(format!("{folder}/token")).unwrap();
    assert!(
        token.starts_with(&format!("{TOKEN} # guide 2")) && token.lines().count() == 1,
        "{token}"
    );
    assert!(!text.contains(TOKEN), "{text}");
    let (text, _) = world.ctl(&init);
    assert!(text.contains("among the accepted ones already"), "{text}");
    assert_eq!(fs::read_to_string(format!("{folder}/token")).unwrap(), token);
    for (options, words) in [
        (&["--take-over"][..], "--from-guide"),
        (&["--from-guide", "--token-file", "/x"], "cannot be used"),
    ] {
        let (text, status) = world.ctl(&[&["init"], options].concat());
        assert!(status == 1 && text.contains(words), "{options:?}: {text}");
    }
}

#[test]
fn where_nothing_of_the_guide_is_there_that_is_said() {
    let world = host_with(&[]);
    let (text, status) = world.ctl(&["init", "--from-guide", "--directory", &world.path("made")]);
    assert_eq!(status, 0, "{text}");
    for words in [
        "There is no /etc/webhook_server.env",
        "No deny is left that the guide's script could have made.",
        "Nothing else of the guide's set-up is left.",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}
