//! What is acknowledged stays, whatever happens to the daemons.

use std::io::Write;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;
use tests::https::exchange;
use tests::world::{ATTACKER, SERVER};
use tests::{World, processes};

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
    tests::until("the block is back", 10, || !world.attacker_connects(SERVER));
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
    tests::until("the work is done, though nobody waits", 20, || !world.attacker_connects(SERVER));
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
fn an_order_under_way_is_finished_before_privd_stops() {
    let mut world = World::new();
    let answer = std::thread::scope(|scope| {
        let socket = world.socket();
        let asking = scope.spawn(move || {
            use protocol::{Block, EventId, ReplyFrame, Request, RequestFrame, Text, frame};
            let block = Block {
                event: EventId(1),
                requester: None,
                targets: vec![ATTACKER.parse().unwrap()].try_into().unwrap(),
                term: None,
                reason: Text::default(),
                rule_name: Text::default(),
                alert_id: Text::default(),
                adopt: false,
            };
            let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
            frame::write(&mut stream, &RequestFrame { id: 7, request: Request::Block(block) })
                .unwrap();
            frame::read::<ReplyFrame>(&mut stream)
        });
        // nftables may be done with it before it is seen.
        tests::until("privd works on it", 10, || {
            let status = world.ctl_json("status");
            status["queued"] == 1 || status["live_blocks"] == 1
        });
        world.stop_privd(Signal::SIGTERM);
        asking.join().unwrap()
    });
    // The rules stand in any case; the reply may or may not have made it out.
    assert!(answer.is_err() || answer.unwrap().id == 7);
    assert!(!world.attacker_connects(SERVER));
    world.start_privd();
    assert_eq!(world.ctl_json("list")[0]["target"], ATTACKER);
}

/// Tells webhookd to stop, and waits until it has heard.
fn stops_to_accept(world: &World) {
    processes::signal(world.webhookd_pid(), Signal::SIGTERM);
    tests::until("webhookd accepts no more", 20, || {
        world.kibana.connect(([10, 9, 0, 1], 5001).into(), Duration::from_secs(5)).is_err()
    });
}
