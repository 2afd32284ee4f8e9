//! What is acknowledged stays, whatever happens to the daemons.

use std::io::{Read, Write};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use protocol::{MAX_TARGETS, Outcome, Reply, ReplyFrame, Request, Target};
use serde_json::json;
use tests::frames::{block, block_of, encoded};
use tests::https::exchange;
use tests::world::{ATTACKER, SERVER};
use tests::{Peer, World, processes, until};

#[test]
fn blocks_survive_stop_kill_and_restart_of_privd() {
    let mut world = World::new();
    world.block(ATTACKER);
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        world.stop_privd(signal);
        assert!(!world.attacker_connects(SERVER), "rules outlive the daemon");
        world.start_privd();
        assert_eq!(world.ctl_json("list")[0]["target"], ATTACKER);
        // webhookd finds the new privd by itself.
        assert_eq!(world.block(ATTACKER).outcomes(), ["already-blocked"]);
    }
}

#[test]
fn a_rule_that_went_while_privd_was_away_is_back_after_its_start() {
    let mut world = World::new();
    world.block(ATTACKER);
    world.stop_privd(Signal::SIGTERM);
    world.take_away(ATTACKER);
    assert!(world.attacker_connects(SERVER));
    world.start_privd();
    until("the block is back", 10, || !world.attacker_connects(SERVER));
}

#[test]
fn an_alert_that_comes_while_privd_restarts_waits_for_it() {
    let mut world = World::new();
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let (sender, answers) = channel();
        let mut connection = world.connection();
        let alert = world.alert(&json!({ "ip": ATTACKER }).to_string());
        world.stop_privd(signal);
        std::thread::spawn(move || sender.send(exchange(&mut connection, &alert)));
        let early = answers.recv_timeout(Duration::from_secs(1));
        assert!(early.is_err(), "not waited for after {signal}: {early:?}");
        world.start_privd();
        let answer = answers.recv_timeout(Duration::from_secs(20)).expect("an answer").unwrap();
        assert_eq!(answer.status, 200, "{signal}: {answer:?}");
        assert!(!world.attacker_connects(SERVER));
    }
}

#[test]
fn without_privd_an_alert_is_answered_503_and_works_again_afterwards() {
    let mut world = World::new();
    world.stop_privd(Signal::SIGTERM);
    let began = Instant::now();
    let answer = world.post(&json!({ "ip": ATTACKER }));
    let seconds = began.elapsed().as_secs_f32();
    assert!((2.9..7.0).contains(&seconds), "answered after {seconds} s");
    assert_eq!((answer.status, answer.outcomes()), (503, vec!["unavailable"]), "{answer:?}");
    assert!(answer.message().contains("systemctl status webhook-privd"), "{answer:?}");
    let (text, code) = world.ctl(&["status"]);
    assert_eq!(code, 2);
    assert!(text.contains("systemctl status webhook-privd"), "{text}");
    world.start_privd();
    world.block(ATTACKER);
}

#[test]
fn work_that_outlasts_kibanas_patience_is_pending_goes_on_and_its_repeat_is_well() {
    let world = World::new();
    let privd = world.daemons().0;
    processes::signal(privd, Signal::SIGSTOP);
    let began = Instant::now();
    let answer = world.post(&json!({ "ip": ATTACKER }));
    assert_eq!((answer.status, answer.outcomes()), (503, vec!["pending"]), "{answer:?}");
    // Kibana gives up after 60 s.
    let seconds = began.elapsed().as_secs();
    assert!((50..58).contains(&seconds), "answered after {seconds} s");
    processes::signal(privd, Signal::SIGCONT);
    until("the work is done, though nobody waits", 20, || !world.attacker_connects(SERVER));
    assert_eq!(world.block(ATTACKER).outcomes(), ["already-blocked"]);
}

#[test]
fn who_has_connected_before_webhookd_stops_is_answered_however_late_the_alert() {
    let world = World::new();
    // Accepted alone, with a handshake made, and in the middle of a request.
    let mut connections = [world.connection(), world.connection(), world.connection()];
    let alert = world.alert(&json!({ "ip": ATTACKER }).to_string());
    let (early, late) = alert.split_at(30);
    connections[1].conn.complete_io(&mut connections[1].sock).unwrap();
    connections[2].write_all(early.as_bytes()).unwrap();
    // Connections are accepted in their order.
    world.block("198.51.100.1");
    stops_to_accept(&world);
    for (connection, rest) in connections.iter_mut().zip([&*alert, &alert, late]) {
        let answer = exchange(connection, rest).expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    processes::ended(world.webhookd_pid());
    assert!(world.logs().contains("webhookd has stopped"), "{}", world.logs());
}

#[test]
fn who_has_connected_and_says_nothing_keeps_webhookd_for_seconds_and_who_is_at_rest_not_at_all() {
    let mut world = World::new();
    for (silent, seconds) in [(false, 0.0..2.0), (true, 4.0..9.0)] {
        let mut answered = world.connection();
        let alert = world.alert(&json!({ "ip": ATTACKER }).to_string());
        let _silent = silent.then(|| {
            let mut connections = [world.connection(), world.connection()];
            connections[1].conn.complete_io(&mut connections[1].sock).unwrap();
            connections
        });
        assert_eq!(exchange(&mut answered, &alert).unwrap().status, 200);
        let began = Instant::now();
        world.stop_webhookd(Signal::SIGTERM);
        let took = began.elapsed().as_secs_f32();
        assert!(seconds.contains(&took), "after {took} s, silent: {silent}");
        world.start_webhookd();
    }
}

#[test]
fn an_order_under_way_is_finished_and_answered_before_privd_stops() {
    let mut world = World::new();
    let (mut asking, mut watching) = (Peer::operator(&world), Peer::operator(&world));
    leave_replies_unread(&mut asking);
    // Answered behind them.
    asking.send(&encoded(7, block(&[ATTACKER])));
    // nftables may be done with it before it is seen.
    until("privd works on it", 10, || {
        let status = watching.status();
        status.queued == 1 || status.live_blocks == 1
    });
    processes::signal(world.privd_pid(), Signal::SIGTERM);
    processes::thread_ended(world.privd_pid(), "enforcer");
    let answers = [(); 3].map(|()| asking.read());
    let [.., ReplyFrame { id: 7, reply: Reply::Block(verdicts) }] = &answers[..] else { panic!() };
    assert!(matches!(verdicts[0].outcome, Outcome::Blocked(_)), "{verdicts:?}");
    assert_eq!(world.privd_ended(), Some(0));
    assert!(!world.attacker_connects(SERVER));
    world.start_privd();
    assert_eq!(world.ctl_json("list")[0]["target"], ATTACKER);
}

#[test]
fn who_takes_no_replies_keeps_privd_for_two_seconds_when_it_stops() {
    let mut world = World::new();
    let mut asking = Peer::operator(&world);
    leave_replies_unread(&mut asking);
    asking.stream.read_exact(&mut [0]).expect("they are under way");
    let began = Instant::now();
    world.stop_privd(Signal::SIGTERM);
    let took = began.elapsed().as_secs_f32();
    assert!((1.9..6.0).contains(&took), "after {took} s");
    let told = world.lines("privd.log", &["replies not taken, and not waited for", "many: 2"]);
    assert_eq!(told.len(), 1, "{}", world.logs());
}

/// Asks for more than the socket holds.
fn leave_replies_unread(asking: &mut Peer) {
    let targets = (0..MAX_TARGETS).map(|one| {
        let [.., high, low] = one.to_be_bytes();
        Target::host([198, 18, high, low].into())
    });
    let Request::Block(judged) = block_of(targets.collect()) else { unreachable!() };
    for id in [1, 2] {
        asking.send(&encoded(id, Request::Judge(judged.clone())));
    }
}

/// Tells webhookd to stop, and waits until it has heard.
fn stops_to_accept(world: &World) {
    processes::signal(world.webhookd_pid(), Signal::SIGTERM);
    until("webhookd accepts no more", 20, || {
        world.kibana.connect(([10, 9, 0, 1], 5001).into(), Duration::from_secs(5)).is_err()
    });
}
