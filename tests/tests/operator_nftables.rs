//! What the operator reads where the nftables engine holds the blocks: what the kernel counts, which
//! set an address is in, an alert's way to the table, and what `check` makes of whatever is beside it.

use serde_json::{Value, json};
use tests::world::{ATTACKER, SERVER};
use tests::{Container, World, until};

/// A world with that engine, which looks by itself at its start alone.
fn world() -> World {
    let mut world = World::without_daemons("ufw allow 22/tcp");
    let ledger = world.path("state/ledger.redb");
    let lines = "firewall = \"nftables\"\nblock-for = \"1h\"\nreconcile-every = \"1h\"\n";
    world.write("privd.toml", &format!("{lines}ledger = \"{ledger}\"\n"));
    world.start();
    world
}

fn shown(world: &World, address: &str) -> (String, Value) {
    let (text, code) = world.ctl(&["show", address]);
    assert_eq!(code, 0, "{text}");
    (text, world.ctl_json(&format!("show {address}")))
}

#[test]
fn the_list_counts_what_the_table_has_dropped() {
    let world = world();
    for address in ["198.51.100.1", ATTACKER] {
        world.block(address);
    }
    assert_eq!(world.ctl(&["block", "192.0.2.0/28", "2001:db8:9::/64"]).1, 0);
    let hits = || world.ctl_json("list --sort hits");
    assert!(hits().as_array().unwrap().iter().all(|row| row["hits"] == 0), "{:#}", hits());
    assert!(!world.attacker_connects(SERVER));
    let rows = hits();
    assert_eq!(rows[0]["target"], ATTACKER);
    assert!(rows[0]["hits"].as_u64().unwrap() > 0 && rows[1]["hits"] == 0, "{rows:#}");
    let (text, _) = world.ctl(&["list", "--within", "198.51.100.0/24"]);
    assert!(text.starts_with("1 of 4 blocks\n") && text.contains(" 0  -"), "{text}");
    // Where there is nothing to count by nothing fails.
    world.server.sh("nft delete table inet webhookd");
    let rows = hits();
    assert!(rows.as_array().unwrap().iter().all(|row| row["hits"].is_null()), "{rows:#}");
}

#[test]
fn show_names_the_set_the_kernels_timeout_and_what_ufw_says_beside_it() {
    let world = world();
    world.ufw("prepend deny from 198.51.100.0/28");
    world.ufw("deny proto tcp from 203.0.113.7 to any port 25");
    world.block(ATTACKER);
    assert!(!world.attacker_connects(SERVER));
    let (text, json) = shown(&world, ATTACKER);
    for words in [
        "203.0.113.7 is blocked by webhookd.",
        "in nftables  set v4_32 of table inet webhookd, with a timeout in ",
        "dropped since webhook-privd put it there",
        "deny proto tcp from 203.0.113.7 to any port 25",
        "an alert     would change nothing, it is blocked already",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    assert!(!text.contains("in ufw"), "{text}");
    let left = json["element"]["seconds_left"].as_u64().unwrap();
    assert!((3_590..=3_605).contains(&left) && json["by"] == "webhookd", "{json}");
    assert!(json["block"]["hits"].as_u64().unwrap() > 0, "{json}");
    // It is where it is said to be.
    let set = json["element"]["set"].as_str().unwrap();
    world.server.sh(&format!("nft get element inet webhookd {set} '{{ {ATTACKER} }}'"));

    let (text, json) = shown(&world, "198.51.100.3");
    let words = "is blocked, not by webhookd but by rule 1 of ufw: deny from 198.51.100.0/28.";
    assert!(text.contains(words) && json["by"] == "administrator", "{text}");
    assert!(json["element"].is_null(), "{json}");

    assert_eq!(world.ctl(&["block", "192.0.2.0/28", "--for", "permanent"]).1, 0);
    let (text, json) = shown(&world, "192.0.2.9");
    assert!(text.contains("set v4_28 of table inet webhookd, without a timeout"), "{text}");
    assert_eq!(json["element"], json!({ "set": "v4_28", "seconds_left": null }));

    world.server.sh("nft flush set inet webhookd v4_28");
    let (text, json) = shown(&world, "192.0.2.9");
    assert!(text.contains("in nftables  not in set v4_28 of table inet webhookd now"), "{text}");
    assert!(json["element"].is_null(), "{json}");
    // webhook-privd looks again where ufw's files change.
    world.ufw("disable");
    let (text, json) = shown(&world, "192.0.2.9");
    assert!(text.contains("other rules  ufw, which may have some, is not on here"), "{text}");
    assert!(json["rules"].is_null(), "{json}");
    let (text, _) = world.ctl(&["status"]);
    assert!(text.contains(", nftables (table inet webhookd), enforcing, "), "{text}");
}

#[test]
fn an_alert_is_followed_to_the_table_and_out_of_it() {
    let world = world();
    let config = world.path("webhookd.toml");
    let test = |arguments: &[&str]| {
        let words = [&["test", "--json", "--config", &config], arguments].concat();
        let (text, code) = world.ctl(&words);
        let steps: Vec<Value> = serde_json::from_str(&text).unwrap();
        (steps, code)
    };
    for address in ["192.0.2.7", "2001:db8::7"] {
        let (steps, code) = test(&["--address", address]);
        let names: Vec<&str> = steps.iter().map(|step| step["step"].as_str().unwrap()).collect();
        let expected = [
            "set-up",
            "webhook-privd",
            "address",
            "token",
            "alert",
            "block",
            "table",
            "kernel",
            "lifted",
        ];
        assert_eq!((&*names, code), (&expected[..], 0), "{steps:#?}");
        let kernel = steps[7]["message"].as_str().unwrap();
        assert!(kernel.starts_with(&format!("has {address} in the set v")), "{kernel}");
        let ruleset = world.server.sh("nft list ruleset");
        assert!(!ruleset.contains(address), "{ruleset}");
    }
    // A table that others changed is put right before the block is made in it.
    world.server.sh("nft insert rule inet webhookd prerouting accept");
    let (steps, code) = test(&[]);
    let rules = world.server.sh("nft list chain inet webhookd prerouting");
    assert!(code == 0 && !rules.contains("\taccept"), "{steps:#?}{rules}");
}

#[test]
fn whatever_is_wrong_with_the_table_is_a_problem() {
    let world = world();
    let line = |check: &str| {
        let lines = world.ctl_json("check --no-trial");
        let mut lines = lines.as_array().unwrap().clone();
        lines.retain(|line| line["check"] == check);
        let [line] = &lines[..] else { panic!("{lines:#?}") };
        (line["state"].as_str().unwrap().to_owned(), line["message"].as_str().unwrap().to_owned())
    };
    let is = |check: &str, state: &str, words: &str| {
        let (found, message) = line(check);
        assert!(found == state && message.contains(words), "{check} {found}: {message}");
    };
    is("nftables", "ok", "the table inet webhookd comes with a block");
    assert_eq!(world.ctl(&["block", ATTACKER, "2001:db8:9::/64"]).1, 0);
    is("nftables", "ok", "drops both ways, ahead of all others");
    is("flowtables", "ok", "none");
    is("ufw", "ok", "works beside");
    world.server.sh("nft add table inet own");
    is("other tools", "note", "the nft table `inet own` filters too");
    for (broken_by, words) in [
        ("flush chain inet webhookd output", "`output` does not drop all of its set `v4_32`"),
        ("insert rule inet webhookd prerouting ip saddr 10.0.0.0/8 accept", "a rule of others"),
        ("add table inet webhookd '{ flags dormant; }'", "it sleeps"),
        (
            "'add table inet webhookd; delete table inet webhookd'",
            "there is no table inet webhookd: nothing is blocked",
        ),
    ] {
        // webhook-privd, if it looks just then, puts it right.
        until(words, 20, || {
            world.server.sh(&format!("nft {broken_by}"));
            let (found, message) = line("nftables");
            found == "problem" && message.contains(words)
        });
    }
    world.ufw("disable");
    is("ufw", "note", "is not active: the blocks hold without it");
    world.confined.sh("mount --bind /dev/null /usr/sbin/nft");
    is("nftables", "problem", "nft is not installed");
}

#[test]
fn a_hundred_thousand_blocks_are_listed_within_two_seconds_of_work_and_lifted_by_one_command() {
    let world = world();
    for part in 0..10 {
        let addresses: Vec<String> = (0..10_000)
            .map(|host| format!("11.{part}.{}.{}", host / 250, host % 250 + 1))
            .collect();
        let block: Vec<&str> =
            ["block"].into_iter().chain(addresses.iter().map(String::as_str)).collect();
        let (text, code) = world.ctl_folded(&block);
        assert_eq!((text.lines().count(), code), (10_000, 0));
    }
    for command in [
        "list",
        "list --sort hits --wide",
        "list --json",
        "list --within 11.3.0.0/24",
        "show 11.3.7.9",
        "check --no-trial",
    ] {
        // What others on this machine take of the time is not its own.
        let timed = format!("TIMEFORMAT=\"%U %S\"; time /mnt/webhookctl {command} | wc -l");
        let output = world.confined.run(&["bash", "-c", &timed]);
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let numbers: Vec<f64> =
            text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [lines, user, system] = numbers[..] else { panic!("{command}: {text}") };
        assert!(lines > 5.0 && user + system < 2.0, "{command}: {text}");
    }
    // Ten times what one reply tells of.
    let (text, code) = world.ctl(&["unblock", "--all", "--immune-for", "0s"]);
    assert!(code == 0 && text.contains("Unblocked 100000 addresses and networks."), "{text}");
    assert!(text.contains("90000 lifted so far"), "{text}");
    assert_eq!(world.ctl_json("list").as_array().unwrap().len(), 0);
}

#[test]
fn a_machine_with_nftables_is_healthy_with_ufw_and_without_it() {
    let machine = Container::boot_with(
        "sed -i 's/^#firewall = .*/firewall = \"nftables\"/' /etc/webhookd/privd.toml",
    );
    let lines = |command: &str| -> (Vec<Value>, i32) {
        let output = machine.run(command);
        let lines = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {output:?}"));
        (lines, output.status.code().unwrap())
    };
    let (report, code) = lines("webhookctl check --json");
    assert_eq!(code, 0, "{report:#?}");
    let is = |report: &[Value], check: &str, state: &str, words: &str| {
        let said = |line: &Value| line["message"].as_str().unwrap().contains(words);
        let found = report
            .iter()
            .any(|line| line["check"] == check && line["state"] == state && said(line));
        assert!(found, "no {state} `{words}` of {check} in {report:#?}");
    };
    is(&report, "webhook-privd", "ok", "enforcing with nftables");
    is(&report, "trial block", "ok", "was lifted again");

    machine.sh("ufw --force disable; ip link add docker0 type veth peer name docker1
        printf 'flush ruleset\\n' >/etc/nftables.conf; systemctl enable nftables.service");
    let (report, code) = lines("webhookctl check --json");
    assert_eq!(code, 0, "{report:#?}");
    for (check, state, words) in [
        ("ufw", "note", "is not active"),
        ("port", "note", "ufw is not on here"),
        ("Docker", "ok", "blocks cover the ports that it publishes"),
        ("flush ruleset", "note", "lifts every block until webhook-privd looks again"),
        ("trial block", "ok", "was lifted again"),
    ] {
        is(&report, check, state, words);
    }

    machine.sh("echo 'reconcile-every = \"1h\"' >>/etc/webhookd/privd.toml
        systemctl restart webhook-privd");
    machine.block("203.0.113.7");
    machine.sh("nft delete table inet webhookd");
    let (report, code) = lines("webhookctl check --no-trial --json");
    is(&report, "nftables", "problem", "there is no table inet webhookd");
    let line = report.iter().find(|line| line["check"] == "nftables").unwrap();
    assert_eq!(code, 2);
    machine.sh(line["mend"].as_str().unwrap());
    until("all is well again", 20, || lines("webhookctl check --no-trial --json").1 == 0);
    assert!(!machine.attacker_connects());
}
