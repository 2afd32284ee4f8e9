//! privd's socket, spoken to raw: who may ask what, and what becomes of a peer that breaks the
//! protocol.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Shutdown};
use std::time::{Duration, Instant};

use protocol::{
    EventId, List, MAX_TARGETS, Outcome, Refusal, Reply, ReplyFrame, Request, Target, Targets,
    Text, Unblock, VERSION, Which, frame,
};
use tests::frames::{block, block_of, encoded, forbidden, malformed};
use tests::peer;
use tests::world::UID;
use tests::{Peer, Standing, World, until};

/// In TEST-NET-2, where no test's host lives.
const ADDRESS: &str = "198.51.100.7";
/// nobody's.
const STRANGER: u32 = 65534;

#[test]
fn the_frontend_may_block_and_ask_for_status_and_nothing_else() {
    let world = world();
    let mut frontend = Peer::frontend(&world);
    let Reply::Block(verdicts) = frontend.ask(block(&[ADDRESS])) else { panic!("no verdicts") };
    assert!(matches!(verdicts[0].outcome, Outcome::Blocked(_)), "{verdicts:?}");
    assert_eq!(frontend.status().live_blocks, 1);
    for request in forbidden(ADDRESS.parse().unwrap()) {
        assert_eq!(frontend.ask(request.clone()), Reply::Forbidden, "{request:?}");
    }
    for (verb, times) in [
        ("unblock", 3),
        ("list", 1),
        ("show", 1),
        ("block", 1),
        ("judge", 1),
        ("reload", 1),
        ("protected", 1),
        ("elements", 1),
    ] {
        let words =
            format!("request, verb: {verb}, outcome: forbidden, peer: uid {UID} gid {UID} ");
        let told = frontend.told(&world, &words);
        assert_eq!(told.len(), times, "{told:#?}");
        assert!(told[0].contains(" WARN "), "{told:#?}");
    }
    // Nothing was lifted, and the connection goes on.
    assert_eq!(frontend.status().live_blocks, 1);
    assert_eq!(world.ctl_json("list").as_array().unwrap().len(), 1);
    assert_eq!(Standing::now(&world).ours()[&ADDRESS.parse().unwrap()], 2);
}

#[test]
fn every_request_is_logged_with_who_asked_what_and_what_became_of_it() {
    let world = world();
    let (mut frontend, mut operator) = (Peer::frontend(&world), Peer::operator(&world));
    let who = format!("peer: uid {UID} gid {UID} pid {}, event: ", frontend.pid);
    frontend.ask(block(&[ADDRESS, "127.0.0.1", "10.0.0.0/8"]));
    frontend.ask(block(&[ADDRESS]));
    for (words, times) in [
        (format!("target: {ADDRESS}, outcome: blocked,"), 1),
        (format!("target: {ADDRESS}, outcome: already-blocked,"), 1),
        ("target: 127.0.0.1, outcome: refused, why: reserved,".to_owned(), 1),
        ("target: 10.0.0.0/8, outcome: refused, why: ".to_owned(), 1),
    ] {
        let told = frontend.told(&world, &words);
        assert_eq!(told.len(), times, "{words}: {told:#?}");
        for expected in [&*who, "INFO block, ", "login_uid: -", "requester: 10.9.0.2"] {
            assert!(told[0].contains(expected), "no `{expected}` in {}", told[0]);
        }
    }
    operator.ask(Request::Status);
    operator.ask(Request::List(List { after: None, limit: 1 }));
    operator.ask(Request::Show(ADDRESS.parse().unwrap()));
    let Request::Block(asked) = block(&[ADDRESS]) else { unreachable!() };
    operator.ask(Request::Judge(asked));
    operator.ask(Request::Reload);
    operator.ask(Request::Protected);
    operator.ask(Request::Elements(vec![ADDRESS.parse().unwrap()].try_into().unwrap()));
    frontend.ask(Request::Status);
    for (peer, uid, verb) in [
        (&operator, 0, "status"),
        (&operator, 0, "list"),
        (&operator, 0, "show"),
        (&operator, 0, "judge"),
        (&operator, 0, "reload"),
        (&operator, 0, "protected"),
        (&operator, 0, "elements"),
        (&frontend, UID, "status"),
    ] {
        let words = format!("request, verb: {verb}, outcome: answered, peer: uid {uid} gid {uid} ");
        // The line is written after the answer.
        until("the request is logged", 5, || !peer.told(&world, &words).is_empty());
        let told = peer.told(&world, &words);
        assert_eq!(told.len(), 1, "{told:#?}");
        assert!(told[0].contains(", login_uid: "), "{told:#?}");
    }
    let targets = [ADDRESS, "198.51.100.8"].map(|text| text.parse().unwrap());
    let which = Which::Targets(Targets::try_from(targets.to_vec()).unwrap());
    let unblock = Request::Unblock(Unblock { event: EventId(0xabc), which, immune_for: 0 });
    let Reply::Unblock(lifts) = operator.ask(unblock) else { panic!("no lifts") };
    assert_eq!(lifts.len(), 2);
    for (target, outcome) in [(ADDRESS, "lifted"), ("198.51.100.8", "not-blocked")] {
        let told = operator.told(&world, &format!("target: {target}, outcome: {outcome},"));
        assert_eq!(told.len(), 1, "{told:#?}");
        let event = format!("INFO unblock, |event: {:032x}, |peer: uid 0 gid 0 pid ", 0xabc);
        for expected in event.split('|') {
            assert!(told[0].contains(expected), "no `{expected}` in {}", told[0]);
        }
    }
}

#[test]
fn what_a_peer_writes_cannot_forge_a_line() {
    let world = world();
    let mut frontend = Peer::frontend(&world);
    let text = Text::truncated("\n<0>forged\r\u{1b}[2J\u{9b}31m\u{2028}\u{202e}\u{0}\"\\");
    for target in [ADDRESS, "127.0.0.1"] {
        let Request::Block(mut block) = block(&[target]) else { unreachable!() };
        (block.reason, block.rule_name, block.alert_id) =
            (text.clone(), text.clone(), text.clone());
        assert!(matches!(frontend.ask(Request::Block(block)), Reply::Block(_)));
    }
    let told = frontend.told(&world, r"reason: \n<0>forged\r");
    assert_eq!(told.len(), 2, "{}", world.read("privd.log"));
    all_lines_are_whole(&world);
    let (shown, code) = world.ctl(&["list"]);
    assert_eq!(code, 0);
    assert!(!shown.contains('\u{1b}') && !shown.contains("\n<0>"), "{shown:?}");
}

#[test]
fn a_stranger_is_disconnected_without_a_byte_and_named_in_the_log() {
    let world = world();
    // The file's mode keeps most of them out before privd hears of it.
    let mut outsider = Peer::as_user(&world, STRANGER, STRANGER);
    assert_eq!(outsider.rest(), b"");
    let mut stranger = Peer::as_user(&world, STRANGER, UID);
    stranger.send(&encoded(1, Request::Status));
    stranger.send(&encoded(2, block(&[ADDRESS])));
    assert_eq!(stranger.rest(), b"");
    let words = format!(
        "connection refused, why: uid {STRANGER} gid {UID} pid {} may not connect",
        stranger.pid
    );
    world.wait_for(&words, "privd.log");
    assert_eq!(stranger.told(&world, "WARN").len(), 1);
    assert_eq!(outsider.told(&world, "").len(), 0, "{}", world.read("privd.log"));
    // webhookd's group alone is no right, and root's group no more.
    assert_eq!(Peer::as_user(&world, STRANGER, 0).rest(), b"");
    assert_eq!(world.ctl_json("list"), serde_json::json!([]));

    // Strangers cannot flood the log: one line a second, the others counted.
    let before = world.lines("privd.log", &["connection refused"]).len();
    let begun = Instant::now();
    let mut strangers = 0;
    until("a line counts the others", 10, || {
        assert_eq!(Peer::as_user(&world, STRANGER, UID).rest(), b"");
        strangers += 1;
        let told = world.lines("privd.log", &["connection refused"]);
        told.iter().any(|line| line.contains("suppressed: "))
    });
    let told = world.lines("privd.log", &["connection refused"]).len() - before;
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap();
    assert!(told <= seconds + 2 && told < strangers, "{told} lines for {strangers} in {seconds} s");
    assert_eq!(Peer::frontend(&world).status().live_blocks, 0);
}

#[test]
fn another_version_is_answered_with_ours_and_the_end() {
    let world = world();
    let mut bystander = Peer::operator(&world);
    for theirs in [0, VERSION + 1, 0x7f, 0xff, b'G'] {
        let mut frame = encoded(7, Request::Status);
        frame[0] = theirs;
        let mut frontend = Peer::frontend(&world);
        // It is told apart after a good request too.
        frontend.status();
        frontend.send(&frame);
        assert_eq!(frontend.rest(), frame::version_notice(), "version {theirs}");
        let words =
            format!("the peer speaks protocol version {theirs}, this program speaks {VERSION}");
        until("both versions are logged", 5, || frontend.told(&world, &words).len() == 1);
        assert!(frontend.told(&world, &words)[0].contains("connection ended by privd"));
        // A header alone is enough: the rest of another version's frame means nothing.
        let mut operator = Peer::operator(&world);
        operator.send(&frame[..frame::HEADER_LEN]);
        assert_eq!(operator.rest(), frame::version_notice(), "version {theirs}");
        bystander.status();
    }
}

#[test]
fn a_malformed_frame_ends_its_own_connection_only() {
    let world = world();
    let (mut operator, mut frontend) = (Peer::operator(&world), Peer::frontend(&world));
    let privd = operator.status().pid;
    let mut regular = Peer::frontend(&world);
    regular.status();
    regular.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(regular.rest(), b"");

    let mut ended = Vec::new();
    for (what, bytes, words) in malformed() {
        let mut peer = Peer::frontend(&world);
        peer.send(&bytes);
        // Only a frame that is cut needs the end to be known as one.
        if what.starts_with("cut") {
            peer.stream.shutdown(Shutdown::Write).unwrap();
        }
        assert_eq!(peer.rest(), b"", "{what} was answered");
        until("it is logged", 5, || !peer.told(&world, "connection ended by privd").is_empty());
        let told = peer.told(&world, "connection ended by privd");
        assert!(told[0].contains(words), "{what}: no `{words}` in {}", told[0]);
        assert!(told[0].contains(&format!("peer: uid {UID} gid {UID} pid ")), "{}", told[0]);
        assert_eq!((operator.status().pid, frontend.status().pid), (privd, privd), "{what}");
        ended.push((what, peer));
    }
    for (what, peer) in &ended {
        let told = peer.told(&world, "");
        assert_eq!(told.len(), 1, "{what} is not logged once: {told:#?}");
    }
    assert_eq!(regular.told(&world, "ended").len(), 0, "a regular end is nothing to warn of");
    // uid 0 is bound by the protocol as well.
    let mut root = Peer::operator(&world);
    root.send(&[VERSION, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(root.rest(), b"");
    assert_eq!((operator.status().pid, frontend.status().pid), (privd, privd));
    assert_eq!(operator.status().live_blocks, 0);
    all_lines_are_whole(&world);
}

#[test]
fn each_reply_carries_the_id_of_its_request() {
    let world = world();
    let mut frontend = Peer::frontend(&world);
    // More than privd takes on at a time, in one write.
    let ids: BTreeSet<u64> = (0..200).map(|n| u64::MAX - n * n).collect();
    let frames: Vec<u8> = ids.iter().flat_map(|id| encoded(*id, Request::Status)).collect();
    frontend.send(&frames);
    let mut answered = BTreeSet::new();
    for _ in &ids {
        let ReplyFrame { id, reply } = frontend.read();
        assert!(matches!(reply, Reply::Status(_)), "{reply:?}");
        answered.insert(id);
    }
    assert_eq!(answered, ids);

    // A reply may overtake another: status does not wait for the firewall.
    let mut frames = encoded(1, block(&[ADDRESS, "127.0.0.1"]));
    frames.extend(encoded(2, Request::Status));
    frames.extend(encoded(3, Request::List(List { after: None, limit: 9 })));
    frames.extend(encoded(4, block(&["127.0.0.2"])));
    frontend.send(&frames);
    let mut order = Vec::new();
    for _ in 0..4 {
        let ReplyFrame { id, reply } = frontend.read();
        match (id, reply) {
            (1, Reply::Block(verdicts)) => {
                assert!(matches!(verdicts[0].outcome, Outcome::Blocked(_)), "{verdicts:?}");
                assert_eq!(verdicts[1].outcome, Outcome::Refused(Refusal::Reserved));
                let targets: Vec<String> =
                    verdicts.iter().map(|verdict| verdict.target.to_string()).collect();
                assert_eq!(targets, [ADDRESS, "127.0.0.1"], "not the order of the request");
            }
            (2, Reply::Status(_)) | (3, Reply::Forbidden) => {}
            (4, Reply::Block(verdicts)) => assert_eq!(verdicts.len(), 1),
            other => panic!("{other:?}"),
        }
        order.push(id);
    }
    assert_eq!(order[..2], [2, 3], "status waited for the firewall");
    order.sort_unstable();
    assert_eq!(order, [1, 2, 3, 4]);
}

#[test]
fn a_request_carries_ten_thousand_targets_and_gets_a_verdict_for_each() {
    let world = world();
    let mut frontend = Peer::frontend(&world);
    let targets: Vec<Target> = (0..u32::try_from(MAX_TARGETS).unwrap())
        .map(|n| Target::host(IpAddr::from((0x7f00_0000 + n).to_be_bytes())))
        .collect();
    let Reply::Block(verdicts) = frontend.ask(block_of(targets.clone())) else { panic!() };
    let answered: Vec<Target> = verdicts.iter().map(|verdict| verdict.target).collect();
    assert!(answered == targets, "not one verdict a target, in order");
    assert!(verdicts.iter().all(|one| one.outcome == Outcome::Refused(Refusal::Reserved)));
}

#[test]
fn a_half_frame_is_dropped_in_time_while_others_are_served() {
    let world = world();
    let (mut operator, mut frontend) = (Peer::operator(&world), Peer::frontend(&world));
    let mut idle = Peer::frontend(&world);
    idle.status();
    let begun = Instant::now();
    let mut half = Peer::frontend(&world);
    half.send(&encoded(1, Request::Status)[..7]);
    let mut header = Peer::operator(&world);
    header.send(&[VERSION]);
    // One byte at a time is no way to stay: the whole frame has the deadline.
    let mut trickle = Peer::frontend(&world);
    trickle.send(&[VERSION, 0, 0, 4, 0]);
    let mut asked = Instant::now();
    until("all three are dropped", 15, || {
        if asked.elapsed() > PAUSE {
            asked = serves([&mut operator, &mut frontend]);
        }
        // It may just have been dropped.
        let _ = trickle.stream.write(&[0]);
        [&mut half, &mut header, &mut trickle].into_iter().all(Peer::is_over)
    });
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    for peer in [&half, &trickle] {
        let told = peer.told(&world, "connection ended by privd");
        assert_eq!(told.len(), 1, "{told:#?}");
    }
    // To say nothing is no offence.
    idle.status();
}

#[test]
fn a_peer_that_never_reads_disturbs_nobody_and_is_given_up() {
    let world = world();
    let (mut operator, mut frontend) = (Peer::operator(&world), Peer::frontend(&world));
    let mut deaf = Peer::operator(&world);
    deaf.stream.set_nonblocking(true).unwrap();
    let request = encoded(1, Request::Status);
    let (mut sent, mut full, mut asked, mut others) = (0, false, Instant::now(), 0);
    until("privd gives it up", 15, || {
        if asked.elapsed() > PAUSE {
            asked = serves([&mut operator, &mut frontend]);
            others += 1;
        }
        loop {
            match deaf.stream.write(&request) {
                Ok(written) => assert_eq!(written, request.len()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    full = true;
                    return false;
                }
                Err(_) => return true,
            }
            sent += 1;
        }
    });
    assert!(full, "privd took in whatever came: {sent} requests");
    until("it is said of whom", 5, || {
        !deaf.told(&world, "reply not taken, connection ended").is_empty()
    });
    let Reply::Block(verdicts) = frontend.ask(block(&[ADDRESS])) else { panic!() };
    assert!(matches!(verdicts[0].outcome, Outcome::Blocked(_)), "{verdicts:?}");
    // What it never read did not pile up: the replies in flight are bounded.
    let answered = deaf.told(&world, "verb: status, outcome: answered").len() - others;
    assert!(answered < sent, "{answered} of {sent} requests were worked on");
}

#[test]
fn a_frontend_gone_wild_keeps_nobody_else_out() {
    let world = world();
    let mut sixteen: Vec<Peer> = (0..16).map(|_| Peer::frontend(&world)).collect();
    for peer in &mut sixteen {
        peer.status();
    }
    let mut one_more = Peer::frontend(&world);
    assert_eq!(one_more.rest(), b"");
    let words = format!("uid {UID} gid {UID} pid {} has too many connections", one_more.pid);
    world.wait_for(&words, "privd.log");
    // The operator is counted apart.
    let mut operators: Vec<Peer> = (0..16).map(|_| Peer::operator(&world)).collect();
    for peer in &mut operators {
        assert_eq!(peer.status().live_blocks, 0);
    }
    assert_eq!(Peer::operator(&world).rest(), b"");
    for peer in &mut sixteen {
        peer.status();
    }
    // A place that is free again is given away again.
    drop(sixteen.pop());
    until("another frontend gets in", 5, || Peer::frontend(&world).try_status().is_some());
    operators.clear();
    until("another operator gets in", 5, || Peer::operator(&world).try_status().is_some());
}

/// A world in which only privd runs, with the relay where every user can start it.
fn world() -> World {
    let mut world = World::without_daemons("ufw allow 22/tcp");
    world.start_privd();
    peer::install(&world, env!("CARGO_BIN_EXE_relay"));
    world
}

/// Checks that others are answered at once, and returns when.
fn serves(others: [&mut Peer; 2]) -> Instant {
    let asked = Instant::now();
    for peer in others {
        peer.status();
    }
    assert!(asked.elapsed() < Duration::from_secs(1), "others had to wait");
    Instant::now()
}

/// Each line begins with its time, `Nov 22 18:13:11.404 INFO `, and holds nothing that steers a
/// terminal.
fn all_lines_are_whole(world: &World) {
    for line in world.read("privd.log").lines() {
        let clock = line.get(7..20).unwrap_or_default();
        let fits = |(at, c): (usize, char)| match at {
            2 | 5 => c == ':',
            8 => c == '.',
            12 => c == ' ',
            _ => c.is_ascii_digit(),
        };
        assert!(clock.len() == 13 && clock.chars().enumerate().all(fits), "forged: {line:?}");
        let steers = |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}');
        assert!(!line.contains(steers), "{line:?}");
    }
}

/// Between two looks at whether others are served.
const PAUSE: Duration = Duration::from_millis(200);
