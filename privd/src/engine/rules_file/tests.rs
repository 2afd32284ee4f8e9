use super::*;

fn file(tuples: &[&str]) -> RulesFile {
    let mut text = "*filter\n### RULES ###\n".to_owned();
    for tuple in tuples {
        text += &format!("\n### tuple ### {tuple}\n-A ufw-user-input -j WHATEVER\n");
    }
    RulesFile::parse(&(text + "\n### END RULES ###\nCOMMIT\n"))
}

fn standing(tuples: &[&str], target: &str) -> &'static str {
    match file(tuples).standing(target.parse().unwrap(), Direction::In) {
        FileStanding::Absent => "absent",
        FileStanding::First(_) => "first",
        FileStanding::Late(_) => "late",
        FileStanding::Conflict(_) => "conflict",
    }
}

const ALLOW_22: &str = "allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in";
const DENY_7: &str = "deny any any 0.0.0.0/0 any 198.51.100.7 in";

#[test]
fn a_drop_counts_only_ahead_of_what_accepts() {
    for (tuples, expected) in [
        (vec![DENY_7, ALLOW_22], "first"),
        (vec![ALLOW_22, DENY_7], "late"),
        (vec!["limit tcp 22 0.0.0.0/0 any 0.0.0.0/0 in", DENY_7], "late"),
        (vec!["allow tcp 22 0.0.0.0/0 any 198.51.100.0/24 in", DENY_7], "late"),
        (vec!["allow tcp 22 0.0.0.0/0 any 198.51.0.0/24 in", DENY_7], "first"),
        (vec!["allow any any 0.0.0.0/0 any 0.0.0.0/0 in_eth0", DENY_7], "late"),
        (vec!["allow any 80 0.0.0.0/0 any 0.0.0.0/0 Nginx%20Full - in", DENY_7], "late"),
        (vec!["something ufw would skip", DENY_7], "late"),
        (vec!["allow any 53 0.0.0.0/0 any 0.0.0.0/0 out", DENY_7], "first"),
        (vec!["route:allow any any 0.0.0.0/0 any 0.0.0.0/0 in_a!out_b", DENY_7], "first"),
        (vec!["reject_log any any 0.0.0.0/0 any 198.51.100.7 in", ALLOW_22], "first"),
        (vec!["deny tcp 25 0.0.0.0/0 any 0.0.0.0/0 in", DENY_7, ALLOW_22], "first"),
        (vec!["allow any any 0.0.0.0/0 any 198.51.100.7 in"], "conflict"),
        (vec!["limit_log-all any any 0.0.0.0/0 any 198.51.100.7 in"], "conflict"),
        (vec![ALLOW_22], "absent"),
    ] {
        assert_eq!(standing(&tuples, "198.51.100.7"), expected, "{tuples:?}");
    }
}

#[test]
fn only_the_exact_target_is_meant() {
    for other in [
        "deny any any 0.0.0.0/0 any 198.51.100.70 in",
        "deny any any 0.0.0.0/0 any 198.51.100.0/24 in",
        "deny tcp any 0.0.0.0/0 any 198.51.100.7 in",
        "deny any 22 0.0.0.0/0 any 198.51.100.7 in",
        "deny any any 10.0.0.1 any 198.51.100.7 in",
        "deny any any 0.0.0.0/0 any 198.51.100.7 in_eth0",
        "deny any any 198.51.100.7 any 0.0.0.0/0 in",
        "route:deny any any 0.0.0.0/0 any 198.51.100.7 in",
        "deny any any 0.0.0.0/0 any 198.51.100.7 out",
    ] {
        assert_eq!(standing(&[other], "198.51.100.7"), "absent", "{other}");
    }
    assert_eq!(standing(&["deny any any ::/0 any 2001:DB8::0:7 in"], "2001:db8::7"), "first");
    assert_eq!(standing(&["deny any any ::/0 any 2001:db8::3/64 in"], "2001:db8::/64"), "first");
}

#[test]
fn outbound_rules_are_matched_by_destination() {
    let rules = file(&["deny any any 198.51.100.7 any 0.0.0.0/0 out comment=776562686f6f6b643a61"]);
    let target = "198.51.100.7".parse().unwrap();
    let FileStanding::First(tuple) = rules.standing(target, Direction::Out) else { panic!() };
    assert!(tuple.is_ours());
    assert_eq!(
        tuple.arguments(target, Direction::Out),
        ["deny", "out", "to", "198.51.100.7", "comment", "webhookd:a"]
    );
    assert_eq!(rules.standing(target, Direction::In), FileStanding::Absent);
}

#[test]
fn a_rule_of_the_administrators_keeps_its_action_log_and_comment() {
    let rules = file(&["reject_log any any 0.0.0.0/0 any 198.51.100.7 in comment=68c3a9"]);
    let target = "198.51.100.7".parse().unwrap();
    let FileStanding::First(tuple) = rules.standing(target, Direction::In) else { panic!() };
    assert!(!tuple.is_ours());
    assert_eq!(
        tuple.arguments(target, Direction::In),
        ["reject", "log", "from", "198.51.100.7", "comment", "hé"]
    );
}

#[test]
fn allowed_sources_are_those_with_every_port_or_one_host() {
    let rules = file(&[
        ALLOW_22,
        DENY_7,
        "allow any any 0.0.0.0/0 any 10.0.0.0/8 in",
        "allow tcp any 0.0.0.0/0 any 10.1.0.0/16 in_eth0",
        "allow tcp 443 0.0.0.0/0 any 192.0.2.0/24 in",
        "limit tcp 22 0.0.0.0/0 any 192.0.2.9 in",
        "allow any any 0.0.0.0/0 any 0.0.0.0/0 in_tun0",
        "allow any any 203.0.113.1 any 0.0.0.0/0 out",
        "route:allow any any 0.0.0.0/0 any 203.0.113.2 in",
    ]);
    let sources: Vec<String> =
        rules.allowed_sources().map(|(source, _)| source.to_string()).collect();
    assert_eq!(sources, ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.9/32"]);
}

#[test]
fn a_file_without_commit_says_so() {
    assert!(file(&[ALLOW_22]).committed);
    assert!(!RulesFile::parse("*filter\n### RULES ###\n").committed);
}
