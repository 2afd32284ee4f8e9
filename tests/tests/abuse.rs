//! Whatever one source does to webhookd, a genuine alert from another is answered within a second.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;
use tests::abuse::{
    BadTokens, Body, BodyAtTheCap, Garbage, HalfClosed, Handshakes, SlowBodies, SlowConnections,
    Upgrade,
};
use tests::https::{JSON, exchange, read_answer, request};
use tests::processes::{self, descriptors, memory};
use tests::world::ATTACKER;
use tests::{Abuse, Door, World, until};

/// In TEST-NET-1, where no test's host lives.
const ADDRESS: &str = "192.0.2.45";

/// A world whose attacker is one of two clients that are let in; Kibana's address is blocked already.
fn world() -> World {
    let mut world =
        World::without_daemons(&format!("ufw allow proto tcp from {ATTACKER} to any port 5001"));
    world.configure("", &format!("allow-clients = [\"10.9.0.2\", \"{ATTACKER}\"]"));
    world.attacker.sh("ip route add 10.9.0.1 via 203.0.113.1");
    world.start();
    world.block(ADDRESS);
    world
}

/// Has the attacker do each abuse over and over, all at once, and meanwhile asks as Kibana does.
/// Afterwards nothing is left of it, it has taken little memory, and the log has not been filled by it.
fn meanwhile<A: Abuse>(world: &World, mut abuses: Vec<A>) -> Vec<A> {
    let before = descriptors(world.webhookd_pid()).unwrap();
    let (door, threads) = (world.door(), abuses.len());
    let stop = AtomicBool::new(false);
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for abuse in &mut abuses {
            let (stop, done, door) = (&stop, &done, &door);
            scope.spawn(move || {
                world.attacker.inside(|| {
                    while !stop.load(Ordering::Relaxed) {
                        abuse.round(door);
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                });
            });
        }
        let served = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until("the abuse is under way", 20, || done.load(Ordering::Relaxed) >= threads);
            let (began, mut worst) = (Instant::now(), Duration::ZERO);
            while began.elapsed() < MEANWHILE {
                let asked = Instant::now();
                let answer = world.post(&json!({ "ip": ADDRESS }));
                assert_eq!((answer.status, answer.outcomes()), (200, vec!["already-blocked"]));
                worst = worst.max(asked.elapsed());
                assert!(worst < Duration::from_secs(1), "answered after {worst:?}");
            }
            worst
        }));
        stop.store(true, Ordering::Relaxed);
        let worst = served.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        eprintln!(
            "abused {} times, answered after {worst:?} at most",
            done.load(Ordering::Relaxed)
        );
    });
    until("all connections of the abuse are closed", 40, || {
        descriptors(world.webhookd_pid()).unwrap() <= before + TO_PRIVD
    });
    let peak = memory(world.webhookd_pid(), "VmHWM").unwrap();
    eprintln!("at most {peak} KiB of memory");
    assert!(peak < MEMORY_KIB, "webhookd took {peak} KiB");
    assert_eq!(world.post(&json!({ "ip": ADDRESS })).status, 200);
    let log = world.read("webhookd.log");
    // Kibana's own lines, and what is judged, are others.
    let others = |line: &&str| !line.contains(" webhook, ") && !line.contains("unauthorized");
    let lines: Vec<&str> = log.lines().filter(others).collect();
    assert!(lines.len() < 100, "{} lines, as {:?}", lines.len(), lines.last());
    abuses
}

/// As many as that, one for each thread.
fn times<A: Abuse>(many: usize, abuse: impl Fn() -> A) -> Vec<A> {
    (0..many).map(|_| abuse()).collect()
}

#[test]
fn a_thousand_slow_connections() {
    let world = world();
    meanwhile(&world, vec![SlowConnections::new()]);
    let log = world.read("webhookd.log");
    assert!(log.contains("its source has a quarter of limits.max-connections"), "{log}");
}

#[test]
fn who_finds_no_place_holds_no_descriptor_while_the_next_ones_are_accepted() {
    let world = world();
    let (door, webhookd) = (world.door(), world.webhookd_pid());
    // They wait together for webhookd, which finds a place for a quarter of its 256.
    processes::signal(webhookd, Signal::SIGSTOP);
    let held: Vec<_> =
        world.attacker.inside(|| (0..500).map_while(|_| door.plain().ok()).collect());
    assert_eq!(held.len(), 500);
    let most = descriptors(webhookd).unwrap() + 64 + IN_HAND;
    processes::limit(webhookd, "nofile", most.try_into().unwrap());
    processes::signal(webhookd, Signal::SIGCONT);
    assert_eq!(world.post(&json!({ "ip": ADDRESS })).status, 200);
    let log = world.read("webhookd.log");
    assert!(log.contains("its source has a quarter of limits.max-connections"), "{log}");
    assert!(!log.contains("Too many open files"), "{log}");
}

#[test]
fn a_flood_of_handshakes() {
    meanwhile(&world(), times(8, Handshakes::new));
}

#[test]
fn ten_thousand_bad_tokens() {
    let world = world();
    let began = Instant::now();
    let abuses = meanwhile(&world, times(8, BadTokens::default));
    let answered =
        |status| -> usize { abuses.iter().filter_map(|abuse| abuse.answers.get(&status)).sum() };
    let all: usize = abuses.iter().flat_map(|abuse| abuse.answers.values()).sum();
    let (judged, slowed) = (answered(401), answered(429));
    assert_eq!(judged + slowed, all, "{abuses:?}");
    assert!(judged + slowed > 10_000, "{judged} and {slowed} are too few");
    let free = 300 + usize::try_from(began.elapsed().as_millis()).unwrap() / 100;
    assert!((300..=free).contains(&judged), "{judged} tokens were compared, {free} are free");
    // Nobody is locked out: in a moment the right token of that source is one again.
    until("the right token lets in", 5, || {
        world.attacker.inside(|| {
            let right = world.bearer();
            let request = request("GET", "/", &[("Authorization", &right)], "");
            exchange(&mut world.connect_here(), &request).unwrap().status == 404
        })
    });
}

#[test]
fn a_misconfigured_kibana_is_told_of_each_alert_what_is_wrong() {
    let world = world();
    let wrong = request("POST", "/blockip", &[("Authorization", "Bearer x"), JSON], "{}");
    for _ in 0..300 {
        assert_eq!(world.send(&wrong).status, 401);
    }
    // Mended, it is let in at once.
    assert_eq!(world.post(&json!({ "ip": ADDRESS })).status, 200);
}

#[test]
fn bodies_at_the_cap() {
    let world = world();
    let bodies = Body::ALL.map(|body| BodyAtTheCap::new(ADDRESS, body));
    let bodies = meanwhile(&world, bodies.into());
    let answers = bodies.iter().flat_map(|body| &body.answers);
    // Late for its one place, it is 503.
    assert!(answers.clone().all(|(status, _)| [200, 503].contains(status)), "{bodies:?}");
    let read: usize = answers.filter(|(status, _)| **status == 200).map(|(_, count)| count).sum();
    assert!(read > bodies.len());
}

#[test]
fn bodies_that_pass_for_an_upgrade() {
    meanwhile(&world(), times(8, Upgrade::new));
}

#[test]
fn strangers_have_one_share_together() {
    let mut world =
        World::without_daemons("ufw allow proto tcp from 203.0.113.0/24 to any port 5001");
    world.configure("", "allow-clients = [\"10.9.0.2\"]");
    world.start();
    let (mut held, door) = (Vec::new(), world.door());
    for host in 7..11 {
        world.attacker.sh(&format!(
            "ip addr replace 203.0.113.{host}/24 dev eth0
             ip route replace 10.9.0.1 via 203.0.113.1 src 203.0.113.{host}"
        ));
        world.attacker.inside(|| held.extend((0..40).map_while(|_| door.secure())));
    }
    assert!((40..=64).contains(&held.len()), "strangers hold {} connections", held.len());
    assert_eq!(world.block(ADDRESS).outcomes(), ["blocked"]);
}

#[test]
fn slow_bodies() {
    let world = world();
    meanwhile(&world, vec![BesideLargeOnes(SlowBodies::default(), &world)]);
}

/// A large one of Kibana's finds a place, too, however many the other asks for.
struct BesideLargeOnes<'world>(SlowBodies, &'world World);

impl Abuse for BesideLargeOnes<'_> {
    fn round(&mut self, door: &Door) {
        let Self(slow, world) = self;
        slow.round(door);
        let large = format!("{{\"ip\":\"{ADDRESS}\"}}{}", " ".repeat(200_000));
        let asked = Instant::now();
        let answer = world.post_text(&large);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(asked.elapsed() < Duration::from_secs(1), "after {:?}", asked.elapsed());
    }
}

#[test]
fn garbage() {
    meanwhile(&world(), [false, true, false, true].map(Garbage::new).into());
}

#[test]
fn half_closed_sockets() {
    meanwhile(&world(), vec![HalfClosed::default()]);
}

#[test]
fn who_stalls_in_any_state_is_ended() {
    let world = world();
    let right = world.bearer();
    let token = ("Authorization", right.as_str());
    let good = request("GET", "/", &[token], "");
    let texts: Vec<String> = (0..10_000).map(|n| format!("{n}{}", "x".repeat(50))).collect();
    let long = request("POST", "/blockip", &[token, JSON], &json!({ "ips": texts }).to_string());
    let chunked = request("POST", "/blockip", &[JSON, ("Transfer-Encoding", "chunked")], "")
        .replace("Content-Length: 0\r\n", "");
    let body = request("POST", "/blockip", &[token, JSON], "").replace("Length: 0", "Length: 9000");
    let cases: [(&str, &str, &str, u64); 6] = [
        ("a head", "POST /blo", "x", 7),
        ("a head after another request", &format!("{good}POST /blo"), "x", 7),
        ("a body", &body, " ", 27),
        ("a body that is not wanted", &body.replace(&right, "Bearer x"), " ", 12),
        ("chunks that nobody reads", &chunked, "1\r\nx\r\n", 12),
        ("nothing after a request", &good, "", 37),
    ];
    std::thread::scope(|scope| {
        for (what, first, more, seconds) in cases {
            let mut connection = world.connection();
            scope.spawn(move || {
                connection.write_all(first.as_bytes()).unwrap();
                let began = Instant::now();
                connection.sock.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
                while began.elapsed() < Duration::from_secs(seconds) {
                    let sent =
                        connection.write_all(more.as_bytes()).and_then(|()| connection.flush());
                    let read = connection.read(&mut [0; 4096]);
                    let waits = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
                    if sent.is_err() || matches!(read, Ok(0)) || read.is_err_and(|e| !waits(&e)) {
                        eprintln!("{what}: ended after {:?}", began.elapsed());
                        return;
                    }
                }
                panic!("{what}: goes on after {seconds} s");
            });
        }
        // Answers that are not taken.
        let mut connection = world.connection();
        let long = &long;
        scope.spawn(move || {
            connection.sock.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
            let began = Instant::now();
            while connection.write_all(long.as_bytes()).is_ok() {}
            // Not one byte is read, and still the end is seen.
            connection.sock.set_nonblocking(true).unwrap();
            until("the connection ends", 60, || {
                let sent = connection.sock.write(b"x");
                sent.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock)
            });
            eprintln!("answers that are not taken: ended after {:?}", began.elapsed());
        });
    });
}

#[test]
fn who_goes_on_sending_still_reads_that_it_is_too_much() {
    let world = world();
    let right = world.bearer();
    let headers = [("Authorization", right.as_str()), JSON];
    let length = 30_usize << 20;
    let head = request("POST", "/blockip", &headers, "")
        .replace("Length: 0", &format!("Length: {length}"));
    let mut connection = world.connection();
    connection.write_all(head.as_bytes()).unwrap();
    // As most clients do: first all of the body, then the answer.
    let chunk = vec![b' '; 1 << 20];
    for _ in 0..length / chunk.len() {
        connection.write_all(&chunk).expect("the server takes what it does not want");
    }
    let answer = read_answer(&mut connection).unwrap();
    assert_eq!(answer.status, 413, "{answer:?}");
    assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
}

/// Connections to webhook-privd that may have been opened meanwhile, and are kept.
const TO_PRIVD: usize = 2;
/// Descriptors of webhookd's two workers beside those with a place: each has one that it judges and one
/// to webhook-privd, and there is Kibana's.
const IN_HAND: usize = 8;
/// How long each abuse goes on.
const MEANWHILE: Duration = Duration::from_secs(4);
/// What webhookd takes at most, whatever is done to it.
const MEMORY_KIB: u64 = 80 << 10;
