//! What the operator reads: which blocks there are, why somebody cannot connect, whether all is well; in
//! 80 columns, in colour on a terminal alone, and with the exit status of the guide's script.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::world::{ATTACKER, ATTACKER6, SERVER};
use tests::{World, until};

/// The longest that ufw and Kibana may bring along.
const LONG_NETWORK: &str = "2001:db8:1111:2222:3333:4444:5555:6670/124";
const REASON: &str = "more than two hundred failed logins of forty users within a minute, from a \
                      network that has been seen before, says the rule; look at the runbook";

fn long_rule() -> String {
    "Potential brute force against SSH, ".repeat(2)[..64].to_owned()
}

/// The lines over 80 columns.
fn too_wide(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.chars().count() > 80).collect()
}

/// A command's output on a terminal of so many columns.
fn on_a_terminal(world: &World, environment: &str, columns: u32, command: &str) -> String {
    let inside = format!("stty rows 24 cols {columns}; {environment} /mnt/webhookctl {command}");
    world.confined.sh(&format!("TERM=xterm script -qec '{inside}' /dev/null || true"))
}

#[test]
fn the_exit_status_is_that_of_the_guides_script() {
    let world = World::new();
    // Another tool's rule, ahead of all of ufw's.
    world.server.sh("iptables -I INPUT 1 -s 198.51.100.99 -j ACCEPT");
    for (command, code, words) in [
        ("block 198.51.100.7", 0, "Blocked IP: 198.51.100.7, permanent"),
        ("block 198.51.100.7", 0, "IP already blocked: 198.51.100.7, permanent"),
        ("block 198.51.100.8 --for 1h", 0, "Blocked IP: 198.51.100.8, until "),
        ("block 198.51.100.8", 0, "IP already blocked: 198.51.100.8, until "),
        ("block 999.1.1.1", 1, "invalid value '999.1.1.1' for '<ADDR>...': not an IP address"),
        ("block 203.0.113.1", 1, "an address of this host"),
        ("block", 1, "the following required arguments were not provided: <ADDR>..."),
        ("blok 198.51.100.7", 1, "unrecognized subcommand 'blok'; tip: some similar"),
        ("block 198.51.100.99", 2, "198.51.100.99: unverified"),
        ("show 999.1.1.1", 1, "not an IP address"),
        ("list --sort colour", 1, "possible values: target, left, since, rule, reason, hits"),
        ("unblock --rule scan", 1, "no live block is of the rule 'scan': no live block is of any"),
        ("unblock 198.51.100.7", 0, "No alert can block it again for 10 minutes."),
        ("unblock 198.51.100.7", 0, "Not blocked by webhookd: 198.51.100.7"),
        ("list --socket /nowhere", 2, "See `systemctl status webhook-privd`"),
        ("status --socket /nowhere", 2, "See `systemctl status webhook-privd`"),
    ] {
        let (text, status) = world.ctl(&command.split(' ').collect::<Vec<_>>());
        assert_eq!(status, code, "{command}: {text}");
        assert!(text.contains(words), "{command}: {text}");
        if status == 1 {
            assert_eq!(text.lines().count(), 1, "one sentence: {text}");
        }
    }
}

#[test]
fn whoever_is_not_root_is_told_so() {
    let world = World::new();
    for command in ["list", "status", "block 198.51.100.7", "unblock --all", "show 198.51.100.7"] {
        let line = format!(
            "setpriv --reuid=65534 --regid=65534 --clear-groups /mnt/webhookctl {command} 2>&1; echo $?"
        );
        let text = tests::world::unfolded(&world.confined.sh(&format!("set +e; {line}")));
        assert!(text.contains("run webhookctl as root: sudo webhookctl"), "{command}: {text}");
        assert!(text.ends_with("\n2\n"), "{command}: {text}");
    }
}

#[test]
fn the_list_is_chosen_and_sorted_and_counts_what_the_kernel_drops() {
    let world = World::with("block-for = \"1h\"", "ufw allow 22/tcp");
    let alert = |ip: &str, rule: &str, reason: &str, duration: &str| {
        let alert = json!({ "ip": ip, "rule_name": rule, "reason": reason, "duration": duration });
        assert_eq!(world.post(&alert).status, 200);
    };
    assert_eq!(world.ctl(&["list"]), ("Nothing is blocked.\n".to_owned(), 0));
    alert("198.51.100.1", "scan", "Forty PORTS", "30m");
    alert("198.51.100.2", "brute force", "forty users", "10m");
    alert(ATTACKER, "brute force", "", "1h");
    assert_eq!(world.ctl(&["block", "192.0.2.0/28", "--for", "permanent"]).1, 0);
    let targets = |arguments: &str| -> Vec<String> {
        let list = world.ctl_json(&format!("list {arguments}"));
        let rows = list.as_array().unwrap().iter();
        rows.map(|row| row["target"].as_str().unwrap().to_owned()).collect()
    };
    let (net, one, two) = ("192.0.2.0/28", "198.51.100.1", "198.51.100.2");
    for (arguments, expected) in [
        ("--sort target", &[net, one, two, ATTACKER][..]),
        ("--sort left", &[two, one, ATTACKER, net]),
        ("--sort left --reverse", &[net, ATTACKER, one, two]),
        ("--rule scan", &[one]),
        ("--reason forty --sort left", &[two, one]),
        ("--within 198.51.100.0/24", &[one, two]),
        ("--permanent", &[net]),
        ("--ending-within 15m", &[two]),
        ("--not-in-force", &[]),
    ] {
        assert_eq!(targets(arguments), expected, "{arguments}");
    }
    let (text, _) = world.ctl(&["list", "--rule", "brute force"]);
    assert!(text.starts_with("2 of 4 blocks\nTARGET"), "{text}");
    assert!(text.contains(&format!("\n{two}  ")), "{text}");

    let hits = || world.ctl_json("list --sort hits")[0].clone();
    assert_eq!(hits()["hits"], 0);
    assert!(!world.attacker_connects(SERVER));
    let row = hits();
    assert_eq!(row["target"], ATTACKER);
    assert!(row["hits"].as_u64().unwrap() > 0, "{row}");
    assert!((3_500..=3_600).contains(&row["seconds_left"].as_u64().unwrap()), "{row}");
    assert!(world.ctl_json("list --permanent")[0]["seconds_left"].is_null());
    // Where they cannot be read nothing fails.
    world.confined.sh("mount --bind /dev/null /usr/sbin/iptables");
    let (text, code) = world.ctl(&["list", "--rule", "scan"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.ends_with("-  scan  Forty PORTS\n"), "{text}");
}

#[test]
fn unblocking_a_rule_lifts_its_blocks_and_a_name_that_is_wrong_is_answered_with_those_there_are() {
    let world = World::new();
    for (ip, rule) in
        [(ATTACKER, "scan"), ("198.51.100.1", "scan"), ("198.51.100.2", "brute force")]
    {
        assert_eq!(world.post(&json!({ "ip": ip, "rule_name": rule })).status, 200);
    }
    let (text, code) = world.ctl(&["unblock", "--rule", "Scan"]);
    assert_eq!(code, 1, "{text}");
    let names = "no live block is of the rule 'Scan': live blocks are of 'brute force', 'scan'";
    assert!(text.contains(names), "{text}");
    let (text, code) = world.ctl(&["unblock", "--rule", "scan", "--immune-for", "0s"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(world.attacker_connects(SERVER));
    let list = world.ctl_json("list");
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(list[0]["rule_name"], "brute force");
}

#[test]
fn show_tells_why_a_customer_cannot_connect() {
    let world = World::with("block-for = \"1h\"", "ufw allow 22/tcp");
    world.ufw("prepend deny from 198.51.100.0/28");
    world.ufw("deny proto tcp from 192.0.2.9 to any port 25");
    let show = |address: &str| {
        let (text, code) = world.ctl(&["show", address]);
        assert_eq!(code, 0, "{text}");
        (text, world.ctl_json(&format!("show {address}")))
    };
    // Never seen.
    let (text, json) = show("192.0.2.1");
    assert!(text.starts_with("192.0.2.1 is not blocked.\n"), "{text}");
    assert!(text.contains("an alert     would block it, until "), "{text}");
    assert_eq!((&json["blocked"], &json["by"]), (&json!(false), &Value::Null));
    assert_eq!(json["verdict"]["outcome"], "would-block");
    // By somebody else's rule, whose number is ufw's.
    let (text, json) = show("198.51.100.3");
    let numbered = world.ufw("status numbered");
    let line = numbered.lines().find(|line| line.contains("198.51.100.0/28")).unwrap();
    assert!(line.starts_with("[ 1]"), "{numbered}");
    let words = "is blocked, not by webhookd but by rule 1 of ufw: deny from 198.51.100.0/28.";
    assert!(text.contains(words), "{text}");
    assert_eq!(json["by"], "administrator");
    let (text, _) = show("192.0.2.9");
    let words = "192.0.2.9 is not blocked by webhookd, but ufw denies some of what it sends";
    assert!(text.starts_with(words), "{text}");
    let line = numbered.lines().find(|line| line.contains("192.0.2.9")).unwrap();
    let number = line.trim_matches(|it: char| !it.is_ascii_digit());
    let number = number.split(']').next().unwrap();
    assert!(text.contains(&format!("rule {number}: deny proto tcp from 192.0.2.9")), "{text}");
    // Protected.
    let (text, json) = show(SERVER);
    assert!(text.contains("would be refused: it is an address of this host"), "{text}");
    assert_eq!(json["refused_because"], "own-address");
    // Ours.
    let alert = json!({ "ip": ATTACKER, "rule_name": "SSH brute force", "alert_id": "a-1", "reason": REASON });
    assert_eq!(world.post(&alert).status, 200);
    assert!(!world.attacker_connects(SERVER));
    let (text, json) = show(ATTACKER);
    for words in [
        &format!("{ATTACKER} is blocked by webhookd.") as &str,
        "\nuntil        ",
        &format!("reason       {REASON}"),
        "rule         SSH brute force",
        "alert        a-1",
        "asked by     10.9.0.2 through webhookd",
        "by webhook-privd: in force",
        "in ufw       rule 1: deny from 203.0.113.7",
        "dropped since ufw last loaded its rules",
        "an alert     would change nothing, it is blocked already",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    assert!(json["block"]["hits"].as_u64().unwrap() > 0, "{json}");
    assert_eq!((&json["blocked"], &json["by"]), (&json!(true), &json!("webhookd")));
    // By hand.
    assert_eq!(world.ctl(&["unblock", ATTACKER]).1, 0);
    let (text, json) = show(ATTACKER);
    assert!(text.contains("unblocked    by hand: no alert can block it until "), "{text}");
    assert!(json["immune_until"].is_string(), "{json}");
    // A network around it.
    assert_eq!(world.ctl(&["block", "203.0.113.0/29", "--for", "1h"]).1, 1, "it holds this host");
    assert_eq!(world.ctl(&["block", "192.0.2.32/28"]).1, 0);
    let (text, _) = show("192.0.2.40");
    assert!(text.starts_with("192.0.2.40 is blocked by webhookd, in the block of 192.0.2.32/28."));
}

#[test]
fn what_is_not_in_force_is_marked_everywhere() {
    let world = World::with("reconcile-every = \"1s\"", "ufw allow 22/tcp");
    let (text, code) = world.ctl(&["status"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with("ready\nwebhook-privd "), "{text}");
    assert!(text.contains("enforcing, running for "), "{text}");
    assert!(text.contains(" ago)") || text.contains("(now)"), "{text}");
    world.block(ATTACKER);
    world.server.sh("iptables -I INPUT 1 -j ACCEPT");
    until("it is noticed", 10, || world.ctl_json("status")["not_in_force"] == 1);
    let (text, code) = world.ctl(&["status"]);
    assert_eq!(code, 2, "{text}");
    assert!(text.starts_with("NOT READY\n") && text.contains("NOT IN FORCE  1"), "{text}");
    let (text, _) = world.ctl(&["list"]);
    assert!(text.contains("1 NOT IN FORCE, marked !: see `webhookctl status`"), "{text}");
    assert!(text.contains(&format!("\n!{ATTACKER} ")), "{text}");
    assert_eq!(world.ctl_json("list --not-in-force")[0]["target"], ATTACKER);
    let (text, _) = world.ctl(&["show", ATTACKER]);
    assert!(text.contains("but that is NOT in force: see `webhookctl status`"), "{text}");
    assert_eq!(world.ctl_json(&format!("show {ATTACKER}"))["blocked"], false);
}

#[test]
fn all_that_is_printed_fits_80_columns() {
    let world = World::with("reconcile-every = \"1s\"", "ufw allow 22/tcp");
    let alert = json!({ "ip": LONG_NETWORK, "rule_name": long_rule(), "reason": REASON });
    assert_eq!(world.post(&alert).status, 200);
    world.block(ATTACKER6);
    world.server.sh("iptables -I INPUT 1 -s 198.51.100.99 -j ACCEPT");
    let commands = [
        &["list"][..],
        &["list", "--rule", "of nobody"],
        &["show", LONG_NETWORK],
        &["show", "203.0.113.1"],
        &["status"],
        &["block", LONG_NETWORK, "--reason", REASON],
        &["block", "198.51.100.99", "203.0.113.1", "2001:db8:1::1"],
        &["unblock", LONG_NETWORK, "198.51.100.3"],
        &["unblock", "--rule", &long_rule()],
        &["list", "--sort", "x"],
        &[
            "status",
            "--socket",
            "/a/path/that/is/long/enough/to/need/another/line/of/its/own/socket",
        ],
        &["check", "--no-trial"],
    ];
    for command in commands {
        let (text, _) = world.ctl_folded(command);
        assert!(!text.is_empty(), "{command:?}");
        // What mends it is to be copied as it is.
        let wide = too_wide(&text).into_iter().filter(|line| !line.starts_with("         "));
        assert_eq!(wide.collect::<Vec<_>>(), [""; 0], "{command:?}");
    }
    let (wide, _) = world.ctl_folded(&["list", "--wide"]);
    assert_eq!(world.ctl(&["block", LONG_NETWORK]).1, 0);
    assert!(wide.is_ascii(), "nothing is cut: {wide}");
    for command in ["", "block", "unblock", "list", "show", "status", "check", "init"] {
        let arguments: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let (text, code) = world.ctl_folded(&arguments);
        assert_eq!((too_wide(&text), code), (Vec::new(), 0), "{command}");
        let examples = if command == "check" { "Usage: webhookctl" } else { "Examples:\n  " };
        assert!(text.contains(examples), "{text}");
    }
}

#[test]
fn a_terminal_has_its_colours_and_its_width_and_a_pipe_has_neither() {
    let world = World::new();
    world.block(ATTACKER);
    let red = "\u{1b}[31m";
    for (command, colour) in
        [("status", "\u{1b}[32mready"), ("list", "\u{1b}[1mTARGET"), ("lst", red)]
    {
        let coloured = on_a_terminal(&world, "", 100, command);
        assert!(coloured.contains(colour), "{command}: {coloured:?}");
        let plain = on_a_terminal(&world, "NO_COLOR=1", 100, command);
        assert!(!plain.contains('\u{1b}') && !plain.is_empty(), "{command}: {plain:?}");
        let (piped, _) = world.ctl_folded(&[command]);
        assert!(!piped.contains('\u{1b}') && !piped.is_empty(), "{command}: {piped:?}");
    }
    let lines =
        |columns| on_a_terminal(&world, "NO_COLOR=1", columns, "show 1.2.3").lines().count();
    let counts = [50, 80, 110, 300].map(lines);
    assert_eq!(counts, [3, 2, 2, 2]);
}

#[test]
fn two_thousand_blocks_are_listed_in_no_time_and_lifted_in_two_lines() {
    let world = World::new();
    let addresses: Vec<String> =
        (0..2_000).map(|host| format!("198.18.{}.{}", host / 250, host % 250 + 1)).collect();
    let block: Vec<&str> =
        ["block"].into_iter().chain(addresses.iter().map(String::as_str)).collect();
    let (text, code) = world.ctl(&block);
    assert_eq!((text.lines().count(), code), (2_000, 0));
    for arguments in [&["list"][..], &["list", "--sort", "hits", "--wide"], &["list", "--json"]] {
        let began = Instant::now();
        let (text, code) = world.ctl_folded(arguments);
        let took = began.elapsed();
        assert!(text.lines().count() > 2_000 && code == 0, "{arguments:?}");
        assert!(took < Duration::from_secs(2), "{arguments:?}: {took:?}");
    }
    let (text, code) = world.ctl(&["unblock", "--all"]);
    assert_eq!(code, 0, "{text}");
    let expected =
        "Unblocked 2000 addresses and networks.\nNo alert can block them again for 10 minutes.\n";
    assert_eq!(text, expected);
}
