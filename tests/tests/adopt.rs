//! A deny of the administrator's that stands too late to work becomes ours, on an operator's word.

use std::os::unix::net::UnixStream;

use protocol::{
    Block, EventId, Outcome, Reply, ReplyFrame, Request, RequestFrame, Text, Verdict, frame,
};
use tests::world::{ATTACKER, ATTACKER6, SERVER, SERVER6};
use tests::{Knocks, World, until};

/// What webhookctl asks for a rule that the guide's script left.
fn adopt(world: &World, address: &str) -> Verdict {
    let request = Request::Block(Block {
        event: EventId(0xabc << 100),
        requester: None,
        targets: vec![address.parse().unwrap()].try_into().unwrap(),
        term: None,
        reason: Text::truncated("taken over"),
        rule_name: Text::default(),
        alert_id: Text::default(),
        adopt: true,
    });
    let mut stream = UnixStream::connect(world.socket()).unwrap();
    frame::write(&mut stream, &RequestFrame { id: 1, request }).unwrap();
    let ReplyFrame { reply: Reply::Block(mut verdicts), .. } = frame::read(&mut stream).unwrap()
    else {
        panic!()
    };
    verdicts.remove(0)
}

/// The tuples of both rules files about an address, each with its comment.
fn tuples(world: &World, address: &str) -> Vec<String> {
    let text = world.read("ufw/user.rules") + &world.read("ufw/user6.rules");
    let of_it = text.lines().filter(|line| {
        line.starts_with("### tuple") && line.split_whitespace().any(|word| word == address)
    });
    of_it.map(|line| line.trim_start_matches("### tuple ### ").to_owned()).collect()
}

fn first_rule(world: &World) -> String {
    let status = world.ufw("status numbered");
    status.lines().find(|line| line.starts_with("[ 1]")).unwrap_or_default().to_owned()
}

#[test]
fn a_late_deny_comes_first_with_our_comment_and_unblock_removes_it() {
    let world = World::with(
        "",
        &format!(
            "ufw allow 22/tcp; ufw deny from {ATTACKER} comment mine; ufw deny from {ATTACKER6}"
        ),
    );
    assert!(world.attacker_connects(SERVER) && world.attacker_connects(SERVER6), "it is late");
    for address in [ATTACKER6, ATTACKER] {
        let verdict = adopt(&world, address);
        assert!(matches!(verdict.outcome, Outcome::Blocked(_)), "{verdict:?}");
        let ours = tuples(&world, address);
        assert_eq!(ours.len(), 2, "in and out: {ours:?}");
        assert!(ours.iter().all(|tuple| tuple.contains("comment=776562686f6f6b643a")), "{ours:?}");
    }
    assert!(!world.attacker_connects(SERVER) && !world.attacker_connects(SERVER6));
    assert!(first_rule(&world).contains(ATTACKER), "{}", world.ufw("status numbered"));
    let list = world.ctl_json("list");
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!((&list[0]["target"], &list[0]["reason"]), (&ATTACKER.into(), &"taken over".into()));
    // ufw, too, knows the rules: it reads and writes them again.
    world.ufw("allow 8080/tcp");
    assert_eq!(tuples(&world, ATTACKER).len(), 2);

    let verdict = adopt(&world, ATTACKER);
    assert!(matches!(verdict.outcome, Outcome::AlreadyBlocked(_)), "{verdict:?}");
    let (text, code) = world.ctl(&["unblock", "--all"]);
    assert_eq!(code, 0, "{text}");
    assert!(world.attacker_connects(SERVER) && world.attacker_connects(SERVER6));
    assert!(tuples(&world, ATTACKER).is_empty() && tuples(&world, ATTACKER6).is_empty());
}

#[test]
fn while_a_rule_changes_hands_not_one_packet_gets_through() {
    let world = World::with("", &format!("ufw deny from {ATTACKER}; ufw allow 22"));
    let knocks = Knocks::from(&world, &[ATTACKER]);
    let (verdict, sent, arrived) = knocks.during(|| adopt(&world, ATTACKER));
    assert!(matches!(verdict.outcome, Outcome::Blocked(_)), "{verdict:?}");
    assert!(sent > 5, "{sent} packets");
    assert!(arrived.is_empty(), "of {sent} packets");
    assert_eq!(world.ctl(&["unblock", ATTACKER]).1, 0);
    until("packets pass again", 10, || !knocks.arrive().is_empty());
}

#[test]
fn a_rule_with_a_port_an_interface_or_another_action_stays_as_it_is() {
    for rule in [
        "deny from 198.51.100.7 to any port 22",
        "deny in on wan0 from 198.51.100.7",
        "deny proto tcp from 198.51.100.7",
        "reject from 198.51.100.7",
        "deny log from 198.51.100.7",
        "deny out to 198.51.100.7",
        "deny from 198.51.100.0/24",
    ] {
        let world = World::with("", &format!("ufw allow 22/tcp; ufw {rule} comment mine"));
        let theirs = |world: &World| {
            let text = world.read("ufw/user.rules");
            text.lines().filter(|line| line.ends_with(" comment=6d696e65")).count()
        };
        assert_eq!(theirs(&world), 1, "{rule}");
        let verdict = adopt(&world, "198.51.100.7");
        assert!(verdict.outcome.enforced().is_some(), "{rule}: {verdict:?}");
        assert_eq!(theirs(&world), 1, "{rule}");
        assert_eq!(world.ctl(&["unblock", "198.51.100.7"]).1, 0, "{rule}");
        assert_eq!(theirs(&world), 1, "{rule}");
    }
}

#[test]
fn without_that_word_a_deny_stays_the_administrators() {
    let world =
        World::with("", &format!("ufw allow 22/tcp; ufw deny from {ATTACKER} comment mine"));
    world.block(ATTACKER);
    let inbound = tuples(&world, ATTACKER).into_iter().find(|tuple| tuple.contains(" in "));
    assert!(inbound.unwrap().ends_with("comment=6d696e65"));
    // And the word is good for a block that is live already.
    assert!(adopt(&world, ATTACKER).outcome.enforced().is_some());
    let (text, code) = world.ctl(&["unblock", ATTACKER]);
    assert_eq!(code, 0, "{text}");
    assert!(tuples(&world, ATTACKER).is_empty(), "{:?}", tuples(&world, ATTACKER));
}
