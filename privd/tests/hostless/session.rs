//! What a session answers by itself, what it orders, and what it refuses: over a socket, with an
//! enforcer that does what was ordered when the test says so.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use crate::bench::{ATTACKER, Bench, peer, request};
use logging::{Audit, Journal};
use policy::Role;
use privd::enforcer::Order;
use privd::reload::Reload;
use privd::session::{QUEUE, Session};
use protocol::{
    Block, EventId, List, MAX_TARGETS, Outcome, Reply, ReplyFrame, Request, RequestFrame, Status,
    Target, Targets, Unblock, VERSION, Which, frame,
};
use slog::{Discard, Logger, o};

/// An enforcer, and the queue to it.
struct Room {
    bench: Bench,
    sender: SyncSender<Order>,
    orders: Receiver<Order>,
}

impl Room {
    /// With room for so many orders.
    fn new(privd_toml: &str, queue: usize) -> Self {
        let (sender, orders) = sync_channel(queue);
        Self { bench: Bench::new(privd_toml), sender, orders }
    }

    fn connect(&self, role: Role) -> Client {
        let (near, far) = UnixStream::pair().unwrap();
        let log = Logger::root(Discard, o!());
        let config = self.bench.directory.path().join("privd.toml");
        let session = Session {
            peer: peer(role),
            orders: self.sender.clone(),
            published: self.bench.enforcer.as_ref().unwrap().published(),
            reload: Arc::new(Reload::new(config, self.sender.clone(), log.clone())),
            journal: Arc::new(Journal::new(log, Audit::default())),
        };
        std::thread::spawn(move || session.serve(far));
        near.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { stream: near, id: 0 }
    }

    /// Does the next order.
    fn obey(&mut self) {
        let order = self.orders.recv_timeout(PATIENCE).unwrap();
        self.bench.obey(vec![order]);
    }

    fn nothing_is_ordered(&self) {
        assert!(self.orders.try_recv().is_err(), "something was ordered");
    }
}

struct Client {
    stream: UnixStream,
    id: u64,
}

impl Client {
    fn send(&mut self, request: Request) {
        self.id += 1;
        let frame = frame::encode(&RequestFrame { id: self.id, request }).unwrap();
        self.stream.write_all(&frame).unwrap();
    }

    fn read(&mut self) -> (u64, Reply) {
        let ReplyFrame { id, reply } = frame::read(&mut self.stream).unwrap();
        (id, reply)
    }

    /// What a request is answered that needs no order, or whose order is done already.
    fn ask(&mut self, request: Request) -> Reply {
        self.send(request);
        let (id, reply) = self.read();
        assert_eq!(id, self.id);
        reply
    }

    fn status(&mut self) -> Status {
        let Reply::Status(status) = self.ask(Request::Status) else { panic!() };
        *status
    }

    fn list(&mut self, after: Option<&str>, limit: u16) -> (Vec<String>, u64, bool) {
        let after = after.map(|target| target.parse().unwrap());
        let Reply::List(page) = self.ask(Request::List(List { after, limit })) else { panic!() };
        let targets = page.blocks.iter().map(|block| block.target.to_string()).collect();
        (targets, page.total, page.more)
    }
}

const PATIENCE: Duration = Duration::from_secs(20);

fn lift_all() -> Request {
    Request::Unblock(Unblock { event: EventId(1), which: Which::All, immune_for: 0 })
}

/// Many targets in one request, none of which another number has.
fn many(number: u8) -> Block {
    let targets: Vec<Target> = (0..MAX_TARGETS)
        .map(|one| {
            let [.., high, low] = one.to_be_bytes();
            Target::host(IpAddr::from([198, 18 + number, high, low]))
        })
        .collect();
    Block { targets: Targets::try_from(targets).unwrap(), ..request(&[ATTACKER], None) }
}

#[test]
fn the_frontend_has_two_verbs_and_what_else_it_asks_for_is_never_ordered() {
    let mut room = Room::new("", 9);
    let target: Target = ATTACKER.parse().unwrap();
    let adopting = Request::Block(Block { adopt: true, ..request(&[ATTACKER], None) });
    let mut frontend = room.connect(Role::Frontend);
    for request in [
        lift_all(),
        Request::List(List { after: None, limit: 1 }),
        Request::Show(target),
        adopting.clone(),
        Request::Judge(request(&[ATTACKER], None)),
        Request::Reload,
        Request::Protected,
        Request::Elements(vec![target].try_into().unwrap()),
    ] {
        assert_eq!(frontend.ask(request.clone()), Reply::Forbidden, "{request:?}");
    }
    room.nothing_is_ordered();
    assert_eq!(frontend.status().queued, 0);
    frontend.send(Request::Block(request(&[ATTACKER], None)));
    room.obey();
    assert!(matches!(frontend.read(), (_, Reply::Block(_))));

    let mut operator = room.connect(Role::Operator);
    assert!(matches!(operator.ask(Request::Show(target)), Reply::Show(_)));
    assert!(matches!(operator.ask(Request::Protected), Reply::Protected(nets) if !nets.is_empty()));
    let judged = operator.ask(Request::Judge(request(&[ATTACKER], None)));
    assert!(matches!(judged, Reply::Judge(verdicts) if verdicts.len() == 1));
    operator.send(adopting);
    room.obey();
    assert!(matches!(operator.read(), (_, Reply::Block(_))));
    operator.send(lift_all());
    room.obey();
    assert!(matches!(operator.read(), (_, Reply::Unblock(lifts)) if lifts.len() == 1));
}

#[test]
fn a_request_is_untold_until_its_reply_is_written_or_its_order_is_dropped() {
    let mut room = Room::new("", 9);
    let published = room.bench.enforcer.as_ref().unwrap().published();
    let mut frontend = room.connect(Role::Frontend);
    let (pause, began) = (Duration::from_millis(20), Instant::now());
    assert_eq!(published.tell_all(Duration::ZERO), 0);
    frontend.send(Request::Block(request(&[ATTACKER], None)));
    let order = room.orders.recv_timeout(PATIENCE).unwrap();
    assert_eq!(published.tell_all(pause), 1);
    assert!(began.elapsed() >= pause, "not waited for");
    room.bench.obey(vec![order]);
    assert_eq!(published.tell_all(PATIENCE), 0);
    assert!(matches!(frontend.read(), (_, Reply::Block(_))));
    frontend.send(Request::Block(request(&["198.51.100.8"], None)));
    let order = room.orders.recv_timeout(PATIENCE).unwrap();
    assert_eq!(published.tell_all(pause), 1);
    drop(order);
    assert_eq!(published.tell_all(PATIENCE), 0);
}

#[test]
fn what_is_in_force_is_answered_without_an_order_and_what_is_not_is_ordered() {
    let mut room = Room::new("reconcile-every = \"1s\"", 9);
    room.bench.alert(ATTACKER);
    let mut frontend = room.connect(Role::Frontend);
    let again = || Request::Block(request(&[ATTACKER], None));
    let Reply::Block(verdicts) = frontend.ask(again()) else { panic!() };
    assert!(matches!(verdicts[..], [ref one] if one.outcome.name() == "already-blocked"));
    room.nothing_is_ordered();
    // One of two is not in force.
    frontend.send(Request::Block(request(&[ATTACKER, "198.51.100.8"], None)));
    room.obey();
    let (_, Reply::Block(verdicts)) = frontend.read() else { panic!() };
    let names: Vec<&str> = verdicts.iter().map(|one| one.outcome.name()).collect();
    assert_eq!(names, ["already-blocked", "blocked"]);
    // To adopt changes what is in force.
    let mut operator = room.connect(Role::Operator);
    operator.send(Request::Block(Block { adopt: true, ..request(&[ATTACKER], None) }));
    room.obey();
    assert!(matches!(operator.read(), (_, Reply::Block(_))));
    // It went, and cannot be put back.
    room.bench.with_rules(|rules| rules.refuses = true);
    room.bench.with_rules(|rules| rules.held.clear());
    room.bench.pass(1);
    let status = frontend.status();
    assert_eq!((status.live_blocks, status.not_in_force, status.max_blocks), (2, 2, 2000));
    frontend.send(again());
    room.obey();
    let (_, Reply::Block(verdicts)) = frontend.read() else { panic!() };
    assert_eq!(verdicts[0].outcome, Outcome::Unavailable);
}

#[test]
fn what_a_connection_has_unanswered_is_bounded_and_the_rest_is_served() {
    let mut room = Room::new("max-blocks = 100000\nmax-new-blocks-per-minute = 100000", 99);
    room.bench.alert(ATTACKER);
    let mut frontend = room.connect(Role::Frontend);
    for number in 0..2 {
        frontend.send(Request::Block(many(number)));
    }
    // 20,000 targets are unanswered: seven small ones have room, as each counts for 64.
    for _ in 0..7 {
        frontend.send(Request::Block(request(&["198.51.100.9"], None)));
    }
    assert_eq!(frontend.ask(Request::Block(request(&["198.51.100.9"], None))), Reply::Busy);
    assert_eq!(frontend.ask(Request::Block(many(2))), Reply::Busy);
    assert!(matches!(frontend.ask(Request::Block(request(&[ATTACKER], None))), Reply::Block(_)));
    assert_eq!(frontend.status().queued, 9);
    // Another connection has room of its own.
    let mut other = room.connect(Role::Frontend);
    other.send(Request::Block(many(2)));
    for _ in 0..10 {
        room.obey();
    }
    for _ in 0..9 {
        assert!(matches!(frontend.read(), (_, Reply::Block(_))));
    }
    frontend.send(Request::Block(many(0)));
    assert!(matches!(frontend.read(), (_, Reply::Block(_))), "there is room again");
    assert_eq!(frontend.status().queued, 0);
}

#[test]
fn a_full_queue_is_said_and_counted_off() {
    let mut room = Room::new("", 1);
    let mut operator = room.connect(Role::Operator);
    operator.send(lift_all());
    assert_eq!(operator.ask(lift_all()), Reply::Busy);
    assert_eq!(operator.status().queued, 1);
    room.obey();
    assert_eq!(operator.read(), (1, Reply::Unblock(Vec::new())));
    assert_eq!(operator.status().queued, 0);
}

#[test]
fn from_half_of_the_queue_on_webhookd_is_turned_away_and_the_operator_is_not() {
    let mut room = Room::new("", 9);
    let published = room.bench.enforcer.as_ref().unwrap().published();
    let waiting = u64::try_from(QUEUE / 2).unwrap();
    published.queued.store(waiting, Ordering::Relaxed);
    let mut frontend = room.connect(Role::Frontend);
    assert_eq!(frontend.ask(Request::Block(request(&[ATTACKER], None))), Reply::Busy);
    room.nothing_is_ordered();
    assert_eq!(frontend.status().queued, waiting);
    let mut operator = room.connect(Role::Operator);
    operator.send(lift_all());
    room.obey();
    assert!(matches!(operator.read(), (_, Reply::Unblock(_))));
    published.queued.store(waiting - 1, Ordering::Relaxed);
    frontend.send(Request::Block(request(&[ATTACKER], None)));
    room.obey();
    assert!(matches!(frontend.read(), (_, Reply::Block(_))));
}

#[test]
fn a_list_comes_in_pages_that_say_whether_there_are_more() {
    let mut room = Room::new("", 9);
    let targets = ["198.51.100.1", "198.51.100.2", "198.51.100.3"];
    room.bench.block(Role::Operator, &targets, None);
    let mut operator = room.connect(Role::Operator);
    let page =
        |targets: &[&str], more| (targets.iter().map(|one| (*one).to_owned()).collect(), 3, more);
    assert_eq!(operator.list(None, 2), page(&targets[..2], true));
    assert_eq!(operator.list(Some(targets[1]), 2), page(&targets[2..], false));
    assert_eq!(operator.list(None, u16::MAX), page(&targets, false));
    assert_eq!(operator.list(None, 3), page(&targets, false));
}

#[test]
fn a_breach_ends_the_connection_and_another_version_hears_ours() {
    let room = Room::new("", 9);
    let whole = frame::encode(&RequestFrame { id: 1, request: Request::Status }).unwrap();
    let theirs = [&[VERSION + 1], &whole[1..]].concat();
    let garbage = [&whole[..frame::HEADER_LEN], &[0xa5; 12][..]].concat();
    for (bytes, heard) in [(theirs, frame::version_notice().to_vec()), (garbage, Vec::new())] {
        let mut client = room.connect(Role::Operator);
        client.status();
        client.stream.write_all(&bytes).unwrap();
        let mut rest = Vec::new();
        // What was not read when it ended may come as a reset.
        let _ = client.stream.read_to_end(&mut rest);
        assert_eq!(rest, heard);
    }
    // Who has said all is answered all.
    let mut client = room.connect(Role::Operator);
    client.send(Request::Status);
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert!(matches!(client.read(), (1, Reply::Status(_))));
    assert_eq!(client.stream.read(&mut [0]).unwrap(), 0);
}
