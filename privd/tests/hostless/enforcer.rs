//! What becomes of orders, and what is done unasked.

use std::time::Duration;

use crate::bench::{
    ATTACKER, Bench, START, block, config, lift, order, outcomes, request, unblock, until,
};
use firewall::{Change, Mark};
use policy::Role;
use privd::enforcer::Order;
use protocol::{Block, EventId, Outcome, Reply, Target, Term, Text, Until, Which};

const MINUTE: u64 = 60;
const DAY: u64 = 86_400;

#[test]
fn whatever_has_queued_up_is_one_run() {
    let mut bench = Bench::new("");
    bench.alert("198.51.100.1");
    let before = bench.runs();
    let (mut orders, mut answers) = (Vec::new(), Vec::new());
    for number in 10..60 {
        let (order, answer) =
            block(Role::Frontend, &[&format!("198.51.100.{number}"), "2001:db8::7"], None);
        orders.push(order);
        answers.push(answer);
    }
    let (order, lifted) = unblock(Some("198.51.100.1"), 0);
    orders.push(order);
    bench.turn(orders);
    assert_eq!(bench.runs(), before + 1);
    // What all of them name begins with the first.
    for (number, answer) in answers.iter().enumerate() {
        let named = if number == 0 { "blocked" } else { "already-blocked" };
        let outcomes = outcomes(answer);
        assert_eq!(outcomes.iter().map(Outcome::name).collect::<Vec<_>>(), ["blocked", named]);
    }
    assert!(matches!(lifted.try_recv().unwrap(), Reply::Unblock(_)));
    assert_eq!(bench.live().len(), 51);
}

#[test]
fn a_target_that_is_to_be_blocked_and_lifted_at_once_is_blocked_and_then_lifted() {
    let mut bench = Bench::new("");
    for target in [Some(ATTACKER), None] {
        let (first, blocked) = block(Role::Frontend, &[ATTACKER], None);
        let (second, lifted) = unblock(target, 0);
        bench.turn(vec![second, first]);
        assert!(matches!(outcomes(&blocked)[0], Outcome::Blocked(_)));
        let Reply::Unblock(lifts) = lifted.try_recv().unwrap() else { panic!() };
        assert_eq!(lifts[0].outcome.name(), "lifted");
        assert!(bench.held().is_empty() && bench.live().is_empty());
    }
}

#[test]
fn where_only_a_fresh_start_helps_nobody_is_answered_and_nothing_more_is_tried() {
    let mut bench = Bench::new("");
    bench.with_rules(|rules| rules.replaced = true);
    let before = bench.runs();
    let (first, blocked) = block(Role::Frontend, &[ATTACKER], None);
    let (second, lifted) = unblock(Some(ATTACKER), 0);
    bench.turn(vec![first, second]);
    assert!(blocked.try_recv().is_err() && lifted.try_recv().is_err());
    assert_eq!(bench.runs(), before + 1);
}

#[test]
fn an_acknowledged_block_is_there_after_a_crash() {
    let mut bench = Bench::new("");
    bench.alert(ATTACKER);
    bench.with_rules(|rules| rules.held.clear());
    bench.start("");
    assert_eq!(bench.held(), [ATTACKER]);
    assert!(matches!(bench.alert(ATTACKER), Outcome::AlreadyBlocked(_)));
}

#[test]
fn any_number_of_blocks_end_at_their_time_in_one_run() {
    let mut bench = Bench::new("block-for = \"60s\"");
    let targets: Vec<String> = (0..200).map(|number| format!("198.51.100.{number}")).collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    for outcome in bench.block(Role::Frontend, &targets, None) {
        assert_eq!(until(&outcome), Until::At(START + 60));
    }
    bench.pass(59);
    assert_eq!(bench.held().len(), 200);
    let before = bench.runs();
    bench.pass(1);
    assert_eq!((bench.held().len(), bench.live().len(), bench.runs()), (0, 0, before + 1));
}

#[test]
fn who_is_to_be_blocked_waits_for_nothing_that_has_ended_and_that_waits_for_one_batch() {
    let mut bench = Bench::new("block-for = \"60s\"");
    let [again, ended, new, next] =
        ["198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4"];
    bench.block(Role::Frontend, &[again, ended], None);
    bench.pass(59);
    bench.advance(1);
    let before = bench.runs();
    for outcome in bench.block(Role::Frontend, &[again, new], None) {
        assert_eq!(until(&outcome), Until::At(START + 120));
    }
    // However many more are to be blocked.
    bench.alert(next);
    bench.with_rules(|rules| {
        let named = |run: &Vec<Change>| run.iter().map(|one| one.target().to_string()).collect();
        let runs: Vec<Vec<String>> = rules.runs[before..].iter().map(named).collect();
        assert_eq!(runs, [[again, new], [next, ended]]);
    });
    assert_eq!(bench.held(), [again, new, next]);
}

#[test]
fn what_is_missing_and_about_to_end_is_not_put_back_beside_what_is_urgent() {
    let mut bench = Bench::new("block-for = \"60s\"");
    bench.alert(ATTACKER);
    bench.with_rules(|rules| rules.held.clear());
    // The look at it all notices that it is gone; the next one comes with the alert.
    bench.pass(59);
    bench.advance(1);
    let before = bench.runs();
    bench.alert("198.51.100.8");
    bench.turn(Vec::new());
    bench.with_rules(|rules| {
        let back = |change: &Change| change.is_block() && change.target().to_string() == ATTACKER;
        assert!(!rules.runs[before..].iter().flatten().any(back), "{:?}", rules.runs);
    });
    assert!(!bench.live().iter().any(|(target, _)| target == ATTACKER));
}

#[test]
fn what_ended_while_privd_was_away_is_lifted_at_its_start() {
    let mut bench = Bench::new("block-for = \"60s\"");
    bench.alert(ATTACKER);
    bench.enforcer = None;
    bench.now.lock().unwrap().wall += 61;
    // After a reboot: time since boot begins again.
    bench.now.lock().unwrap().steady = Duration::from_secs(3);
    bench.start("block-for = \"60s\"");
    assert!(bench.held().is_empty() && bench.live().is_empty());
}

#[test]
fn each_offence_lasts_longer_until_it_is_forgotten() {
    let terms = "block-for = [\"1m\", \"1h\", \"permanent\"]";
    let mut bench = Bench::new(terms);
    assert_eq!(until(&bench.alert(ATTACKER)), Until::At(START + MINUTE));
    // A repeat of a live block changes nothing.
    bench.pass(30);
    assert_eq!(until(&bench.alert(ATTACKER)), Until::At(START + MINUTE));
    bench.pass(30);
    bench.start(terms);
    assert_eq!(until(&bench.alert(ATTACKER)), Until::At(START + MINUTE + 3600));
    bench.pass(3600);
    assert_eq!(until(&bench.alert(ATTACKER)), Until::Permanent);
    // Lifted by hand: no offence more, and none less.
    bench.unblock(ATTACKER, 0);
    bench.pass(DAY);
    assert_eq!(until(&bench.alert(ATTACKER)), Until::Permanent);
    bench.unblock(ATTACKER, 0);
    bench.pass(90 * DAY);
    let now = bench.now.lock().unwrap().wall;
    assert_eq!(until(&bench.alert(ATTACKER)), Until::At(now + MINUTE));
    assert_eq!(until(&bench.alert("198.51.100.8")), Until::At(now + MINUTE), "others are others");
}

#[test]
fn an_offence_is_remembered_for_90_days_to_the_second() {
    let mut bench = Bench::new("block-for = [\"1m\", \"1h\"]");
    bench.alert(ATTACKER);
    bench.pass(MINUTE);
    bench.advance(90 * DAY - 1);
    assert_eq!(bench.shown(ATTACKER).offences, 1);
    bench.advance(1);
    assert_eq!(bench.shown(ATTACKER).offences, 0);
}

#[test]
fn an_alert_that_comes_when_a_block_is_just_over_is_the_next_offence() {
    let mut bench = Bench::new("block-for = [\"1m\", \"1h\"]");
    bench.alert(ATTACKER);
    bench.advance(61);
    let again = bench.alert(ATTACKER);
    assert_eq!(until(&again), Until::At(START + 61 + 3600));
    let marked = bench.rules.lock().unwrap().held[&ATTACKER.parse().unwrap()].until();
    assert_eq!(marked, Until::At(START + 61 + 3600), "its rules say so");
}

#[test]
fn an_alert_may_shorten_its_block_and_only_an_operator_may_lengthen_it() {
    let mut bench = Bench::new("block-for = \"1h\"");
    for (role, wish, expected) in [
        (Role::Frontend, Term::seconds(60), Until::At(START + 60)),
        (Role::Frontend, Term::seconds(7200), Until::At(START + 3600)),
        (Role::Frontend, Some(Term::Permanent), Until::At(START + 3600)),
        (Role::Frontend, None, Until::At(START + 3600)),
        (Role::Operator, None, Until::At(START + 3600)),
        (Role::Operator, Term::seconds(7200), Until::At(START + 7200)),
        (Role::Operator, Some(Term::Permanent), Until::Permanent),
    ] {
        let outcome = bench.block(role, &[ATTACKER], wish).remove(0);
        assert_eq!(until(&outcome), expected, "{role:?} {wish:?}");
        bench.unblock(ATTACKER, 0);
    }
}

#[test]
fn the_quota_counts_new_blocks_of_the_frontend_and_nothing_else() {
    let mut bench = Bench::new("max-new-blocks-per-minute = 3");
    let mapped = "::ffff:198.51.100.1";
    let outcomes = bench.block(
        Role::Frontend,
        &["198.51.100.1", mapped, "198.51.100.0/25", "127.0.0.1", "2001:db8::1", "198.51.100.9"],
        None,
    );
    let names: Vec<&str> = outcomes.iter().map(Outcome::name).collect();
    assert_eq!(
        names,
        ["blocked", "already-blocked", "blocked", "refused", "blocked", "over-quota"]
    );
    assert_eq!(outcomes[5], Outcome::OverQuota { retry_after_seconds: 20 });
    assert!(matches!(bench.alert("198.51.100.1"), Outcome::AlreadyBlocked(_)));
    assert!(matches!(bench.alert("198.51.100.9"), Outcome::OverQuota { .. }));
    let by_hand = bench.block(Role::Operator, &["198.51.100.8"], None);
    assert!(matches!(by_hand[0], Outcome::Blocked(_)));
    bench.pass(20);
    assert!(matches!(bench.alert("198.51.100.9"), Outcome::Blocked(_)));
    assert!(matches!(bench.alert("198.51.100.10"), Outcome::OverQuota { .. }));
}

#[test]
fn what_was_unblocked_by_hand_is_not_put_back_by_alerts_for_a_while() {
    let mut bench = Bench::new("");
    bench.alert(ATTACKER);
    assert_eq!(bench.unblock(ATTACKER, 600)[0].outcome.name(), "lifted");
    for target in [ATTACKER, "198.51.100.0/24"] {
        let refused = bench.alert(target);
        assert_eq!(refused.name(), "refused", "{target}");
    }
    assert!(matches!(bench.alert("198.51.100.8"), Outcome::Blocked(_)));
    bench.start("");
    assert_eq!(bench.alert(ATTACKER).name(), "refused", "also after a restart");
    bench.pass(600);
    assert!(matches!(bench.alert(ATTACKER), Outcome::Blocked(_)));
    // An operator's own block ends the immunity.
    bench.unblock(ATTACKER, 600);
    bench.block(Role::Operator, &[ATTACKER], None);
    bench.unblock(ATTACKER, 0);
    assert!(matches!(bench.alert(ATTACKER), Outcome::Blocked(_)));
}

#[test]
fn a_lift_of_part_of_a_network_names_the_network() {
    let mut bench = Bench::new("");
    bench.alert("198.51.100.0/24");
    let lift = bench.unblock(ATTACKER, 0).remove(0);
    assert_eq!(lift.outcome.name(), "not-blocked");
    assert!(lift.detail.contains("it lies in 198.51.100.0/24"), "{}", &*lift.detail);
}

#[test]
fn a_full_table_is_said_with_its_key() {
    let mut bench = Bench::new("max-blocks = 2");
    let outcomes =
        bench.block(Role::Frontend, &["198.51.100.1", "198.51.100.2", "198.51.100.3"], None);
    let names: Vec<&str> = outcomes.iter().map(Outcome::name).collect();
    assert_eq!(names, ["blocked", "blocked", "unavailable"]);
    let by_hand = bench.block(Role::Operator, &["198.51.100.4"], None);
    assert_eq!(by_hand[0].name(), "blocked", "a frontend cannot shut the operator out");
}

#[test]
fn observe_mode_changes_nothing_and_says_what_it_would_do() {
    let mut bench = Bench::new("enforce = false\nblock-for = \"1h\"");
    let outcome = bench.alert(ATTACKER);
    assert!(matches!(outcome, Outcome::WouldBlock(_)));
    assert_eq!(until(&outcome), Until::At(START + 3600));
    assert!(bench.live().is_empty() && bench.runs() == 0);
    assert_eq!(bench.alert("127.0.0.1").name(), "refused");
}

#[test]
fn when_the_clock_is_set_blocks_of_this_run_keep_their_length() {
    let mut bench = Bench::new("block-for = \"1h\"");
    bench.alert("198.51.100.1");
    bench.start("block-for = \"1h\"");
    bench.alert(ATTACKER);
    // No clock chip: at boot it was 1970 for the daemon, and now the time is known.
    bench.pass(600);
    bench.now.lock().unwrap().wall += 1800;
    bench.turn(Vec::new());
    let expected = [
        ("198.51.100.1".to_owned(), Until::At(START + 3600)),
        (ATTACKER.to_owned(), Until::At(START + 3600 + 1800)),
    ];
    assert_eq!(bench.live(), expected);
    // And back, beyond the other's beginning.
    bench.now.lock().unwrap().wall -= 5400;
    bench.turn(Vec::new());
    assert_eq!(bench.live()[1].1, Until::At(START));
    bench.pass(2400);
    assert_eq!(bench.live().len(), 2);
    bench.pass(600);
    assert_eq!(bench.live().len(), 1, "an hour after it began it is over");
}

#[test]
fn a_new_ledger_adopts_what_the_rules_say_and_nothing_becomes_permanent() {
    let mut bench = Bench::new("");
    bench.enforcer = None;
    std::fs::remove_file(bench.directory.path().join("ledger.redb")).unwrap();
    let targets: [Target; 3] =
        ["198.51.100.1", "198.51.100.2", "2001:db8::7"].map(|text| text.parse().unwrap());
    bench.with_rules(|rules| {
        rules.held.insert(targets[0], Mark::new(EventId(7 << 100), Until::Permanent));
        rules.held.insert(targets[1], Mark::new(EventId(8 << 100), Until::At(START + 60)));
        rules.held.insert(targets[2], Mark::new(EventId(9 << 100), Until::At(START - 1)));
    });
    bench.start("");
    let expected = [
        ("198.51.100.1".to_owned(), Until::Permanent),
        ("198.51.100.2".to_owned(), Until::At(START + 60)),
    ];
    assert_eq!(bench.live(), expected);
    assert_eq!(bench.held().len(), 2, "the one that is over is gone");
    bench.pass(60);
    assert_eq!(bench.held(), ["198.51.100.1"]);
}

#[test]
fn a_new_ledger_that_was_written_before_the_rules_could_be_read_still_adopts_them() {
    let mut bench = Bench::new("");
    bench.enforcer = None;
    std::fs::remove_file(bench.directory.path().join("ledger.redb")).unwrap();
    bench.with_rules(|rules| {
        rules.off = true;
        rules.held.insert(ATTACKER.parse().unwrap(), Mark::new(EventId(7), Until::Permanent));
    });
    bench.start("");
    let lift = bench.unblock("198.51.100.9", 600).remove(0);
    assert_eq!(lift.outcome.name(), "failed");
    bench.start("");
    bench.with_rules(|rules| rules.off = false);
    bench.pass(60);
    assert_eq!(bench.live(), [(ATTACKER.to_owned(), Until::Permanent)]);
    assert_eq!(bench.held(), [ATTACKER]);
}

#[test]
fn what_is_in_force_costs_no_run_and_an_immunity_of_no_time_is_none() {
    let mut bench = Bench::new("");
    bench.alert(ATTACKER);
    let before = bench.runs();
    assert!(matches!(bench.alert(ATTACKER), Outcome::AlreadyBlocked(_)));
    assert_eq!(bench.runs(), before);
    bench.unblock(ATTACKER, 0);
    assert_eq!(bench.shown(ATTACKER).immune_until, None);
}

#[test]
fn what_could_not_be_lifted_is_not_immune() {
    let mut bench = Bench::new("");
    bench.alert(ATTACKER);
    bench.with_rules(|rules| rules.busy = true);
    assert_eq!(bench.unblock(ATTACKER, 600)[0].outcome.name(), "failed");
    bench.with_rules(|rules| rules.busy = false);
    assert!(matches!(bench.alert(ATTACKER), Outcome::AlreadyBlocked(_)));
}

#[test]
fn what_a_look_finds_in_force_is_cut() {
    let mut bench = Bench::new("");
    bench.alert(ATTACKER);
    bench.with_rules(|rules| rules.cut.clear());
    bench.start("");
    let cut = bench.rules.lock().unwrap().cut.clone();
    assert_eq!(cut, [ATTACKER.parse::<Target>().unwrap()], "nobody knows who loaded its rules");
    bench.pass(60);
    assert_eq!(bench.rules.lock().unwrap().cut.len(), 1, "once");
}

#[test]
fn observe_mode_leaves_a_live_block_as_it_is() {
    let mut bench = Bench::new("");
    bench.alert(ATTACKER);
    bench.with_rules(|rules| rules.held.clear());
    bench.start("enforce = false");
    assert!(matches!(bench.alert(ATTACKER), Outcome::WouldBlock(_)));
    bench.pass(60);
    assert!(bench.held().is_empty(), "nothing is put back");
}

#[test]
fn what_cannot_be_done_unasked_is_tried_again_after_a_while() {
    let mut bench = Bench::new("block-for = \"60s\"");
    bench.alert(ATTACKER);
    bench.with_rules(|rules| rules.busy = true);
    bench.pass(60);
    bench.with_rules(|rules| rules.busy = false);
    let before = bench.runs();
    bench.pass(5);
    assert_eq!(bench.runs(), before, "not at once");
    bench.pass(5);
    assert!(bench.held().is_empty());
}

#[test]
fn a_block_that_cannot_be_put_back_is_not_forgotten() {
    let mut bench = Bench::new("");
    bench.alert(ATTACKER);
    bench.with_rules(|rules| rules.held.clear());
    bench.with_rules(|rules| rules.refuses = true);
    bench.pass(60);
    assert_eq!(bench.alert("198.51.100.8").name(), "unavailable");
    // What could not even be tried is nobody's; what stood is.
    assert_eq!(bench.live().into_iter().map(|(target, _)| target).collect::<Vec<_>>(), [ATTACKER]);
    bench.with_rules(|rules| rules.refuses = false);
    bench.pass(60);
    assert_eq!(bench.held(), [ATTACKER]);
}

#[test]
fn rules_of_ours_that_are_nobodys_block_are_removed() {
    let mut bench = Bench::new("");
    bench.alert(ATTACKER);
    bench.unblock(ATTACKER, 0);
    // Another ufw wrote back what it had read before.
    bench.with_rules(|rules| {
        rules.held.insert(ATTACKER.parse().unwrap(), Mark::new(EventId(1), Until::Permanent));
    });
    bench.pass(60);
    assert!(bench.held().is_empty() && bench.live().is_empty());
}

#[test]
fn what_somebody_took_away_is_put_back_counted_and_not_raced_for() {
    let mut bench = Bench::new("reconcile-every = \"1s\"");
    bench.alert(ATTACKER);
    let before = bench.runs();
    for second in 1..=30 {
        bench.with_rules(|rules| rules.held.clear());
        bench.pass(1);
        let drift = bench.enforcer.as_ref().unwrap().published().read().drift;
        assert!(drift >= 1 && drift <= second, "{drift}");
    }
    // Twelve are saved up, and one is there again five seconds after another.
    assert_eq!(bench.runs() - before, 12 + 29 / 5);
    bench.pass(5);
    assert_eq!(bench.held(), [ATTACKER]);
}

#[test]
fn a_live_block_that_becomes_protected_is_lifted() {
    let mut bench = Bench::new("");
    bench.alert(ATTACKER);
    bench.alert("203.0.113.9");
    assert_eq!(bench.reload(""), []);
    let never = "never-block = [\"198.51.100.0/24\"]";
    assert_eq!(bench.reload(never), [(ATTACKER.to_owned(), "lifted")]);
    assert_eq!(bench.held(), ["203.0.113.9"]);
    assert_eq!(bench.alert(ATTACKER).name(), "refused");
    assert_eq!(bench.reload(never), [], "it is gone");
    // As by SIGHUP, where nobody waits for an answer.
    let everything = config("never-block = [\"203.0.113.0/24\"]");
    bench.turn(vec![Order::Reload(Box::new(everything), None)]);
    assert_eq!(bench.held(), [""; 0]);
}

#[test]
fn a_block_that_becomes_protected_while_the_firewall_is_off_is_told_and_lifted_later() {
    let mut bench = Bench::new("");
    bench.alert(ATTACKER);
    bench.with_rules(|rules| rules.off = true);
    let never = "never-block = [\"198.51.100.7\"]";
    assert_eq!(bench.reload(never), [(ATTACKER.to_owned(), "failed")]);
    assert_eq!(bench.judged(ATTACKER).name(), "refused", "said also while nothing can be done");
    bench.with_rules(|rules| rules.off = false);
    bench.pass(5);
    assert_eq!(bench.held(), [""; 0]);
    assert!(bench.live().is_empty());
}

#[test]
fn a_rules_blocks_are_lifted_by_its_exact_name() {
    let mut bench = Bench::new("");
    for (target, rule) in [
        ("198.51.100.1", "SSH"),
        ("198.51.100.2", "SSH"),
        ("198.51.100.3", "ssh"),
        ("198.51.100.4", "SSH brute force"),
        ("198.51.100.5", ""),
    ] {
        let rule_name = Text::truncated(rule);
        let (order, _answer) =
            order(Role::Frontend, Block { rule_name, ..request(&[target], None) });
        bench.turn(vec![order]);
    }
    let (order, answer) = lift(Which::Rule(Text::truncated("SSH")), 600);
    bench.turn(vec![order]);
    let Reply::Unblock(lifts) = answer.try_recv().unwrap() else { panic!() };
    let lifted: Vec<String> = lifts.iter().map(|lift| lift.target.to_string()).collect();
    assert_eq!(lifted, ["198.51.100.1", "198.51.100.2"]);
    assert_eq!(bench.held(), ["198.51.100.3", "198.51.100.4", "198.51.100.5"]);
    assert_eq!(bench.alert("198.51.100.1").name(), "refused", "immune");
}

#[test]
fn what_is_judged_is_what_an_alert_is_then_told_and_judging_changes_nothing() {
    let settings =
        "block-for = [\"1m\", \"1h\"]\nmax-blocks = 2\nnever-block = [\"203.0.113.0/24\"]";
    let mut bench = Bench::new(settings);
    bench.alert("198.51.100.1");
    for (target, judged, told) in [
        ("198.51.100.1", "already-blocked", "already-blocked"),
        ("203.0.113.9", "refused", "refused"),
        ("127.0.0.1", "refused", "refused"),
        ("198.51.0.0/16", "refused", "refused"),
        (ATTACKER, "would-block", "blocked"),
        ("198.51.100.9", "unavailable", "unavailable"),
    ] {
        let before = (bench.live(), bench.held(), bench.runs());
        let judgement = bench.judged(target);
        assert_eq!(judgement.name(), judged, "{target}");
        assert_eq!((bench.live(), bench.held(), bench.runs()), before, "{target}");
        let outcome = bench.alert(target);
        assert_eq!(outcome.name(), told, "{target}");
        assert_eq!(judgement.enforced(), outcome.enforced(), "{target}");
    }
    // What is over, and what an operator lifted.
    assert_eq!(bench.shown(ATTACKER).offences, 0);
    bench.pass(61);
    assert_eq!(bench.shown(ATTACKER).offences, 1);
    let again = bench.judged(ATTACKER);
    assert_eq!(until(&again), Until::At(START + 61 + 3600), "the second time lasts longer");
    assert_eq!(bench.alert(ATTACKER).enforced(), again.enforced());
    assert_eq!(bench.shown(ATTACKER).offences, 1, "the live one has not ended");
    bench.unblock(ATTACKER, 600);
    assert_eq!(bench.shown(ATTACKER).immune_until, Some(START + 61 + 600));
    assert_eq!(bench.judged(ATTACKER).name(), "refused");
    bench.pass(90 * DAY);
    assert_eq!(bench.shown(ATTACKER).offences, 0, "forgotten");
    assert_eq!(bench.shown(ATTACKER).immune_until, None);
    bench.with_rules(|rules| rules.off = true);
    bench.pass(60);
    assert_eq!(bench.judged("198.51.100.9").name(), "unavailable");
}

#[test]
fn a_block_that_is_not_in_force_is_judged_as_one_that_would_be_put_there() {
    let mut bench = Bench::new("reconcile-every = \"10s\"");
    bench.alert(ATTACKER);
    assert_eq!(bench.judged(ATTACKER).name(), "already-blocked");
    bench.with_rules(|rules| rules.busy = true);
    bench.with_rules(|rules| rules.held.clear());
    bench.pass(10);
    assert_eq!(bench.live().len(), 1);
    assert_eq!(bench.judged(ATTACKER).name(), "would-block");
}

#[test]
fn a_rule_that_is_adopted_grows_to_no_network() {
    let mut bench = Bench::new("ipv6-prefix = 64");
    let adopting = Block { adopt: true, ..request(&["2001:db8:7::7"], None) };
    let (order, answer) = order(Role::Operator, adopting);
    bench.turn(vec![order]);
    assert!(outcomes(&answer)[0].enforced().is_some());
    assert_eq!(bench.held(), ["2001:db8:7::7"]);
    bench.alert("2001:db8:8::7");
    assert_eq!(bench.held(), ["2001:db8:7::7", "2001:db8:8::/64"]);
}

#[test]
fn whoever_asks_first_a_rule_is_adopted_if_one_of_a_batch_asks_for_it() {
    let mut bench = Bench::new("");
    let adopting = || Block { adopt: true, ..request(&[ATTACKER], None) };
    for _ in 0..2 {
        let (alert, _answer) = block(Role::Frontend, &[ATTACKER], None);
        let (adopt, answer) = order(Role::Operator, adopting());
        bench.turn(vec![alert, adopt]);
        assert!(outcomes(&answer)[0].enforced().is_some());
        let last = bench.rules.lock().unwrap().runs.last().cloned().unwrap();
        let [Change::Block { adopt, .. }] = last.as_slice() else { panic!("{last:?}") };
        // The second time it is live and in force, and the rule is looked at all the same.
        assert!(adopt);
    }
    assert_eq!(bench.runs(), 2);
}

#[test]
fn where_the_firewall_is_off_nothing_is_remembered_and_later_it_works() {
    let mut bench = Bench::new("");
    bench.with_rules(|rules| rules.off = true);
    assert_eq!(bench.alert(ATTACKER).name(), "unavailable");
    assert!(bench.live().is_empty());
    assert_eq!(bench.alert(ATTACKER).name(), "unavailable", "said without another try");
    bench.with_rules(|rules| rules.off = false);
    assert!(matches!(bench.alert(ATTACKER), Outcome::Blocked(_)));
}

#[test]
fn where_ufw_is_locked_the_work_goes_on_after_the_answer() {
    let mut bench = Bench::new("");
    bench.with_rules(|rules| rules.busy = true);
    assert_eq!(bench.alert(ATTACKER).name(), "pending");
    assert_eq!(bench.live().len(), 1);
    bench.with_rules(|rules| rules.busy = false);
    bench.pass(1);
    assert_eq!(bench.held(), [ATTACKER]);
}
