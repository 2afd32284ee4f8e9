//! Each way in which ufw says "done" and is not, decided and tried against the real ufw.
//! The numbers are those of the project's notes on ufw; every test stands for itself.

use serde_json::json;
use tests::sessions::Sessions;
use tests::world::{ATTACKER, ATTACKER6, SERVER, SERVER6};
use tests::{Answer, World, until};

fn world(ufw: &str) -> World {
    World::with("", ufw)
}

fn post(world: &World, address: &str) -> Answer {
    world.post(&json!({ "ip": address }))
}

/// The rules of `ufw status numbered` that name an address, in order.
fn rules(world: &World, address: &str) -> Vec<String> {
    let status = world.ufw("status numbered");
    let lines = status.lines().filter(|line| line.split_whitespace().any(|word| word == address));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn u1_a_block_takes_effect_on_a_host_that_allows_ssh() {
    for ufw in ["ufw allow 22/tcp", "ufw limit 22/tcp", "ufw allow 22/tcp; ufw allow in on wan0"] {
        let world = world(ufw);
        assert!(world.attacker_connects(SERVER));
        world.block(ATTACKER);
        world.block(ATTACKER6);
        assert!(!world.attacker_connects(SERVER), "{ufw}");
        assert!(!world.attacker_connects(SERVER6), "{ufw}");
    }
}

#[test]
fn u2_the_first_rule_of_an_empty_rule_set_can_be_ipv6() {
    let world = World::without_daemons("ufw delete allow proto tcp from 10.9.0.2 to any port 5001");
    world.ufw("allow in on lan0");
    let mut world = world;
    world.start();
    assert_eq!(post(&world, ATTACKER6).outcomes(), ["blocked"]);
    assert_eq!(post(&world, ATTACKER).outcomes(), ["blocked"]);
}

#[test]
fn u3_a_late_deny_of_the_administrators_is_moved_ahead_and_stays_theirs() {
    for (deny, shown) in [
        ("deny from 203.0.113.7 comment 'late one'", "DENY IN 203.0.113.7 # late one"),
        ("deny log from 203.0.113.7", "DENY IN 203.0.113.7 (log)"),
        ("reject from 203.0.113.7", "REJECT IN 203.0.113.7"),
    ] {
        let world = world(&format!("ufw allow 22/tcp; ufw {deny}"));
        assert!(world.attacker_connects(SERVER), "the deny comes too late");
        assert_eq!(post(&world, ATTACKER).outcomes(), ["blocked"], "{deny}");
        assert!(!world.attacker_connects(SERVER), "{deny}");
        let found = rules(&world, ATTACKER);
        assert!(found.iter().any(|rule| rule.ends_with(shown)), "{deny}: {found:?}");
        // Theirs survives our unblock.
        let (text, code) = world.ctl(&["unblock", ATTACKER]);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("the administrator's rule"), "{text}");
        assert!(rules(&world, ATTACKER).iter().any(|rule| rule.ends_with(shown)));
    }
}

#[test]
fn u3_a_deny_of_the_administrators_that_works_is_left_where_it_is() {
    let world = world("ufw deny from 203.0.113.7 comment mine; ufw allow 22/tcp");
    let before = rules(&world, ATTACKER);
    assert_eq!(post(&world, ATTACKER).outcomes(), ["blocked"], "the way out was still open");
    assert_eq!(
        rules(&world, ATTACKER).iter().filter(|rule| before.contains(rule)).count(),
        0,
        "numbers shift"
    );
    let found = rules(&world, ATTACKER);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().any(|rule| rule.ends_with("DENY IN 203.0.113.7 # mine")), "{found:?}");
    assert_eq!(post(&world, ATTACKER).outcomes(), ["already-blocked"]);
}

#[test]
fn u3_u4_an_allow_for_the_same_source_is_the_administrators_word() {
    for allow in [
        "allow from 203.0.113.7",
        "limit from 203.0.113.7",
        "allow proto tcp from 203.0.113.7 to any port 22",
    ] {
        let world = world(&format!("ufw allow 22/tcp; ufw {allow}"));
        let before = world.ufw("status numbered");
        let answer = post(&world, ATTACKER);
        assert_eq!((answer.status, answer.outcomes()), (422, vec!["refused"]), "{allow}");
        assert_eq!(answer.json["results"][0]["reason"], "ufw-allow");
        assert_eq!(world.ufw("status numbered"), before);
    }
}

#[test]
fn u3_an_allow_out_to_the_attacker_is_named_and_the_block_not_claimed() {
    let world = world("ufw allow 22/tcp; ufw allow out to 203.0.113.7");
    let answer = post(&world, ATTACKER);
    assert_eq!((answer.status, answer.outcomes()), (500, vec!["unverified"]), "{answer:?}");
    assert!(answer.message().contains("allow any any 203.0.113.7 any 0.0.0.0/0 out"), "{answer:?}");
    assert_eq!(answer.json["code"], 2);
    // What can be done is done.
    assert!(!world.attacker_connects(SERVER));
}

#[test]
fn u5_a_network_that_is_allowed_everything_is_protected_and_one_with_a_port_is_not() {
    let world = world(
        "ufw allow 22/tcp; ufw allow from 203.0.113.0/24 to any port 80 proto tcp; ufw allow from 198.51.100.0/24",
    );
    let answer = post(&world, "198.51.100.9");
    assert_eq!(answer.json["results"][0]["reason"], "ufw-allow", "{answer:?}");
    let answer = post(&world, "198.51.0.0/16");
    assert_eq!(answer.status, 422, "{answer:?}");
    world.block(ATTACKER);
    assert!(!world.attacker_connects(SERVER));
}

#[test]
fn u6_everything_and_networks_too_wide_are_refused() {
    let world = world("ufw allow 22/tcp");
    let before = world.ufw("status numbered");
    for (address, status) in [
        ("0.0.0.0/0", 400),
        ("::/0", 400),
        ("1.2.3.4/0", 400),
        ("198.51.0.0/23", 422),
        ("2001:db8::/47", 422),
    ] {
        let answer = post(&world, address);
        assert_eq!(answer.status, status, "{address}: {answer:?}");
    }
    assert_eq!(world.ufw("status numbered"), before);
    assert_eq!(post(&world, "198.51.100.0/24").outcomes(), ["blocked"]);
    assert_eq!(post(&world, "2001:db8:7::/48").outcomes(), ["blocked"]);
}

#[test]
fn u7_ipv4_mapped_ipv6_blocks_the_ipv4_attacker() {
    let world = world("ufw allow 22/tcp");
    let answer = world.block("::ffff:203.0.113.7");
    assert_eq!(answer.json["results"][0]["enforced_as"], ATTACKER);
    assert!(!world.attacker_connects(SERVER));
    assert_eq!(post(&world, ATTACKER).outcomes(), ["already-blocked"]);
}

#[test]
fn u8_u9_what_ufw_would_read_in_its_own_way_never_reaches_it() {
    let world = world("ufw allow 22/tcp");
    let before = world.ufw("status numbered");
    for address in [
        "198.51.100.7/24",
        "2001:db8::3/64",
        "010.0.0.1",
        "1.2.3",
        "16909060",
        "fe80::1%wan0",
        "198.51.100.7,any",
        "-h",
        "any",
        "198.51.100.7 to any port 80",
    ] {
        let answer = post(&world, address);
        assert_eq!((answer.status, answer.outcomes()), (400, vec!["invalid"]), "{address}");
    }
    assert_eq!(world.ufw("status numbered"), before);
}

#[test]
fn u10_no_text_of_an_alert_reaches_ufw() {
    let world = world("ufw allow 22/tcp");
    let evil = "it's\n; reboot #é\u{1b}[31m";
    let answer =
        world.post(&json!({ "ip": ATTACKER, "rule_name": evil, "reason": evil, "alert_id": evil }));
    assert_eq!(answer.status, 200, "{answer:?}");
    let file = world.read("ufw/user.rules");
    let comment = file.lines().find_map(|line| line.split_once(" comment=")).unwrap().1;
    let comment: String = (0..comment.len() / 2)
        .map(|at| char::from(u8::from_str_radix(&comment[at * 2..at * 2 + 2], 16).unwrap()))
        .collect();
    let id = comment.strip_prefix("webhookd:").unwrap();
    assert!(id.len() == 12 && id.chars().all(|c| c.is_ascii_hexdigit()), "{comment}");
}

#[test]
fn u11_blocks_hold_although_another_ufw_runs_at_the_same_time() {
    let world = world("ufw allow 22/tcp");
    let addresses: Vec<String> = (1..=6).map(|n| format!("198.51.100.{n}")).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for port in 8001..8006 {
                world.ufw(&format!("allow {port}/tcp"));
            }
        });
        for address in &addresses {
            let answer = post(&world, address);
            assert!(matches!(answer.status, 200 | 500), "{answer:?}");
        }
    });
    // What the other run erased after the answer is put back when it is asked for again.
    for address in &addresses {
        world.block(address);
    }
    let status = world.ufw("status");
    for address in &addresses {
        assert_eq!(status.matches(&format!("{address} ")).count(), 2, "{address}\n{status}");
    }
}

#[test]
fn u16_an_inactive_ufw_is_said_with_the_mend() {
    let world = world("ufw allow 22/tcp");
    world.block("198.51.100.1");
    world.ufw("disable");
    for address in [ATTACKER, "198.51.100.1"] {
        let answer = post(&world, address);
        assert_eq!((answer.status, answer.outcomes()), (503, vec!["unavailable"]), "{answer:?}");
        assert!(answer.message().contains("ufw enable"), "{answer:?}");
    }
    world.ufw("--force enable");
    world.block(ATTACKER);
    assert!(!world.attacker_connects(SERVER));
}

#[test]
fn u16_flushed_chains_are_never_called_a_block() {
    let world = world("ufw allow 22/tcp");
    world.server.sh("iptables -P INPUT ACCEPT; iptables -F");
    let answer = post(&world, ATTACKER);
    assert_eq!((answer.status, answer.outcomes()), (500, vec!["unverified"]), "{answer:?}");
    assert!(answer.message().contains("ufw reload"), "{answer:?}");
    assert!(world.attacker_connects(SERVER), "the answer was right");
    world.server.sh("iptables -F; iptables -X");
    let answer = post(&world, ATTACKER);
    assert_eq!((answer.status, answer.outcomes()), (503, vec!["unavailable"]), "{answer:?}");
    world.ufw("reload");
    world.block(ATTACKER);
    assert!(!world.attacker_connects(SERVER));
}

#[test]
fn u22_u23_without_ipv6_in_ufw_an_ipv6_block_is_not_claimed_and_ipv4_works() {
    let world = world("ufw allow 22/tcp");
    world.write("default-ufw", &world.read("default-ufw").replace("IPV6=yes", "IPV6=no"));
    let answer = post(&world, ATTACKER6);
    assert_eq!((answer.status, answer.outcomes()), (503, vec!["unavailable"]), "{answer:?}");
    assert!(answer.message().contains("IPV6=yes"), "{answer:?}");
    world.block(ATTACKER);
    assert!(!world.attacker_connects(SERVER));
}

#[test]
fn u22_a_view_that_hides_ipv6_is_noticed() {
    let mut world = World::without_daemons("ufw allow 22/tcp");
    world.confined.sh("mount -t tmpfs tmpfs /proc/sys/net");
    world.start();
    let answer = post(&world, ATTACKER6);
    assert_eq!((answer.status, answer.outcomes()), (503, vec!["unavailable"]), "{answer:?}");
}

#[test]
fn u24_an_address_that_is_part_of_a_blocked_one_is_another_address() {
    let world = world("ufw allow 22/tcp");
    world.block("203.0.113.70");
    world.block("203.0.113.77");
    assert!(world.attacker_connects(SERVER));
    assert_eq!(world.block(ATTACKER).outcomes(), ["blocked"]);
    assert!(!world.attacker_connects(SERVER));
    let (text, code) = world.ctl(&["unblock", "203.0.113.70"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(rules(&world, "203.0.113.77").len(), 2);
    assert!(!world.attacker_connects(SERVER));
}

#[test]
fn u25_rules_added_in_between_never_shift_what_is_removed() {
    let world = world("ufw allow 22/tcp");
    world.block(ATTACKER);
    world.ufw("prepend deny from 198.51.100.99 comment theirs");
    world.ufw("prepend deny from 198.51.100.98 comment webhook");
    assert_eq!(world.ctl(&["unblock", "--all"]).1, 0);
    assert!(rules(&world, ATTACKER).is_empty());
    assert_eq!(rules(&world, "198.51.100.99").len(), 1);
    assert_eq!(rules(&world, "198.51.100.98").len(), 1);
}

#[test]
fn u26_the_locale_of_the_environment_does_not_matter() {
    let mut world = World::without_daemons("ufw allow 22/tcp");
    world.start_webhookd();
    let config = world.path("privd.toml");
    let mut privd = world.spawn(
        "privd.log",
        &[
            "env",
            "LANGUAGE=de",
            "LC_ALL=de_DE.UTF-8",
            "PYTHONHOME=/nonexistent",
            "/mnt/webhook-privd",
            "--config",
            &config,
        ],
    );
    world.wait_for("webhook-privd is ready", "privd.log");
    // A PYTHONHOME that ufw saw would break it at once.
    world.block(ATTACKER);
    assert!(!world.attacker_connects(SERVER));
    privd.kill().unwrap();
    privd.wait().unwrap();
}

#[test]
fn a_custom_accept_in_before_rules_makes_it_unverified_and_is_named() {
    let world = World::without_daemons("ufw allow 22/tcp");
    let rules = world.read("ufw/before.rules");
    let custom = "-A ufw-before-input -p tcp --dport 22 -j ACCEPT\n# End required lines";
    world.write("ufw/before.rules", &rules.replacen("# End required lines", custom, 1));
    world.ufw("reload");
    let mut world = world;
    world.start();
    let answer = post(&world, ATTACKER);
    assert_eq!((answer.status, answer.outcomes()), (500, vec!["unverified"]), "{answer:?}");
    assert!(
        answer.message().contains("-A ufw-before-input -p tcp -m tcp --dport 22 -j ACCEPT"),
        "{answer:?}"
    );
    assert!(world.attacker_connects(SERVER), "the answer was right");
}

#[test]
fn an_accept_ahead_of_ufws_jumps_makes_it_unverified_and_is_named() {
    let world = world("ufw allow 22/tcp");
    world.server.sh("iptables -I INPUT 1 -p tcp --dport 22 -j ACCEPT");
    let answer = post(&world, ATTACKER);
    assert_eq!((answer.status, answer.outcomes()), (500, vec!["unverified"]), "{answer:?}");
    assert!(answer.message().contains("-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT"), "{answer:?}");
    assert!(world.attacker_connects(SERVER), "the answer was right");
    world.server.sh("iptables -D INPUT 1");
    world.block(ATTACKER);
    assert!(!world.attacker_connects(SERVER));
}

#[test]
fn u14_a_rules_file_that_was_cut_short_is_restored_and_never_built_upon() {
    let world = world("ufw allow 22/tcp");
    world.block("198.51.100.1");
    let whole = world.read("ufw/user.rules");
    // Ours gone, the administrator's gone, no COMMIT: as a full disk leaves it.
    world.write("ufw/user.rules", &whole[..whole.find("### tuple ###").unwrap()]);
    until("it is restored", 10, || world.read("ufw/user.rules") == whole);
    let report = "a rules file was damaged: restored from the verified copy";
    assert!(world.read("privd.log").contains(report), "{}", world.logs());
    world.write("ufw/user.rules", "");
    assert_eq!(post(&world, ATTACKER).outcomes(), ["blocked"], "{}", world.logs());
    assert!(rules(&world, "22/tcp").len() == 2 && rules(&world, "198.51.100.1").len() == 2);
}

#[test]
fn u14_without_a_whole_copy_a_damaged_file_is_left_as_it_is_and_said() {
    let mut world = World::without_daemons("ufw allow 22/tcp");
    let cut = &world.read("ufw/user.rules")[..300];
    world.write("ufw/user.rules", cut);
    world.start_privd_unready();
    world.start_webhookd();
    let answer = post(&world, ATTACKER);
    assert_eq!((answer.status, answer.outcomes()), (503, vec!["unavailable"]), "{answer:?}");
    assert!(answer.message().contains("cut short"), "{answer:?}");
    assert!(world.ctl(&["status"]).0.contains("not restored"), "{}", world.logs());
    assert_eq!(world.read("ufw/user.rules"), cut, "not made worse");
}

#[test]
fn what_could_not_be_verified_stays_on_the_list_and_is_lifted_with_all() {
    let world = world("ufw allow 22/tcp");
    world.server.sh("iptables -I INPUT 1 -p tcp --dport 22 -j ACCEPT");
    assert_eq!(post(&world, ATTACKER).outcomes(), ["unverified"]);
    let list = world.ctl_json("list");
    assert_eq!((&list[0]["target"], &list[0]["in_force"]), (&json!(ATTACKER), &json!(false)));
    assert_eq!(world.ctl(&["status"]).1, 2, "not everything is in force");
    assert_eq!(world.ctl(&["unblock", "--all"]).1, 0);
    assert!(rules(&world, ATTACKER).is_empty());
}

#[test]
fn an_already_standing_rule_does_not_keep_an_open_session_alive() {
    let world = world("ufw allow 22/tcp");
    let mut sessions = Sessions::open(&world);
    // Made by somebody who did not cut: the sessions live on.
    world.ufw("prepend deny out to 203.0.113.7");
    world.ufw("prepend deny from 203.0.113.7");
    assert!(sessions.alive().contains(&"quiet"));
    assert_eq!(post(&world, ATTACKER).outcomes(), ["already-blocked"]);
    assert_eq!(sessions.alive(), Vec::<&str>::new());
}

#[test]
fn a_change_of_before_rules_makes_an_already_blocked_answer_be_looked_up_again() {
    let world = world("ufw allow 22/tcp");
    world.block(ATTACKER);
    let rules = world.read("ufw/before.rules");
    let custom = "-A ufw-before-input -p tcp --dport 22 -j ACCEPT\n# End required lines";
    world.write("ufw/before.rules", &rules.replacen("# End required lines", custom, 1));
    world.ufw("reload");
    let answer = post(&world, ATTACKER);
    assert_eq!((answer.status, answer.outcomes()), (500, vec!["unverified"]), "{answer:?}");
}

#[test]
fn a_rule_that_is_in_the_file_and_not_in_the_kernel_is_put_back() {
    let world = World::with("reconcile-every = \"1s\"", "ufw allow 22/tcp");
    world.block(ATTACKER);
    world.server.sh("iptables -D ufw-user-input -s 203.0.113.7 -j DROP");
    assert!(world.attacker_connects(SERVER));
    until("the rule is back in the kernel", 10, || !world.attacker_connects(SERVER));
}

#[test]
fn a_rule_of_ours_that_the_administrator_deleted_is_put_back() {
    let world = World::with("reconcile-every = \"1s\"", "ufw allow 22/tcp");
    world.block(ATTACKER);
    world.ufw("delete deny from 203.0.113.7");
    until("the rule is back", 10, || rules(&world, ATTACKER).len() == 2);
    assert!(!world.attacker_connects(SERVER));
    assert!(world.read("privd.log").contains("put_back: 1"), "{}", world.logs());
}

#[test]
fn after_a_change_by_somebody_else_an_already_blocked_answer_is_looked_up_again() {
    let world = world("ufw allow 22/tcp");
    world.block(ATTACKER);
    world.ufw("delete deny from 203.0.113.7");
    // By this request, or a moment before it because the change was seen.
    world.block(ATTACKER);
    assert!(!world.attacker_connects(SERVER));
    world.ufw("allow 8080/tcp");
    assert_eq!(world.block(ATTACKER).outcomes(), ["already-blocked"], "it was still there");
}

#[test]
fn sessions_are_cut_for_a_network_and_left_alone_where_that_is_configured() {
    let world = world("ufw allow 22/tcp");
    let mut sessions = Sessions::open(&world);
    // The server's own address lies in the /24 around the attacker.
    let answer = post(&world, "203.0.113.0/24");
    assert_eq!(answer.json["results"][0]["reason"], "own-address", "{answer:?}");
    assert_eq!(sessions.alive(), ["quiet", "sending", "outbound"]);
    assert_eq!(post(&world, "203.0.113.4/30").outcomes(), ["blocked"]);
    assert_eq!(sessions.alive(), Vec::<&str>::new());
    drop(sessions);

    let world = World::with("cut-connections = false", "ufw allow 22/tcp");
    let mut sessions = Sessions::open(&world);
    world.block(ATTACKER);
    assert!(!world.attacker_connects(SERVER));
    assert!(sessions.alive().contains(&"quiet"), "nothing was cut");
}
