//! A taken webhookd does to webhook-privd's socket whatever its user can: meanwhile the operator is
//! served, and afterwards nothing is left of it but what it was allowed, and who did it.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use protocol::{Outcome, Reply, ReplyFrame, Request};
use serde_json::{Value, json};
use tests::audit_log::{PRIVD, logging_world};
use tests::frames::{block, encoded};
use tests::processes::{descriptors, memory};
use tests::standing::Lock;
use tests::stream::{SETTLE, at_rest};
use tests::world::{AS_WEBHOOKD, UID};
use tests::{Peer, Random, World, peer, until};

/// In TEST-NET-1, where no test's host lives and no attack aims.
const GENUINE: &str = "192.0.2.45";
const OPERATORS: &str = "192.0.2.46";

#[test]
fn bytes_that_are_no_frames_end_their_own_connections() {
    let told = outlive("garbage", BOUNDS);
    for kind in ["random", "mutated", "cut", "huge", "malformed"] {
        assert!(told[kind] > 5, "{told:?}");
    }
    assert!(told["answered"] > 0, "nothing that was mutated was a frame yet: {told:?}");
}

#[test]
fn a_flood_of_small_requests_keeps_nobody_waiting() {
    let told = outlive("small", BOUNDS);
    assert!(told["blocked"] > 50 && told["already-blocked"] > 1000, "{told:?}");
}

#[test]
fn a_flood_of_the_largest_requests_keeps_nobody_waiting() {
    let told = outlive("large", BOUNDS);
    assert!(told["blocked"] > 0 && told["busy"] > 0 && told["refused"] > 10_000, "{told:?}");
}

#[test]
fn thousands_of_connections_keep_nobody_out() {
    let told = outlive("connections", BOUNDS);
    assert!(told["opened"] > 1000 && told["half"] > 100 && told["left"] > 10, "{told:?}");
}

#[test]
fn slow_peers_and_unread_replies_take_their_own_places_only() {
    let told = outlive("slow", BOUNDS);
    for kind in ["written-slowly", "read-slowly", "left-unread"] {
        assert!(told[kind] > 0, "{told:?}");
    }
}

#[test]
fn descriptors_that_are_sent_along_are_not_taken() {
    let told = outlive("descriptors", BOUNDS);
    assert!(told["sent-along"] > 10_000, "{told:?}");
}

#[test]
fn forged_ids_bring_nobody_elses_replies() {
    let told = outlive("ids", BOUNDS);
    assert!(told["own"] > 1000, "{told:?}");
}

#[test]
fn of_those_who_ask_for_the_same_at_once_one_is_told_that_it_is_blocked_now() {
    let told = outlive("races", BOUNDS);
    assert!(told["blocked"] > 8, "{told:?}");
}

#[test]
fn no_verb_but_its_own_is_obeyed_however_often_it_is_tried() {
    let told = outlive("verbs", BOUNDS);
    assert!(told["forbidden"] > 1000, "{told:?}");
}

#[test]
fn no_other_name_of_what_is_protected_is_blocked() {
    let told = outlive("protected", BOUNDS);
    assert!(told["refused"] == told["asked"] && told["asked"] > 1000, "{told:?}");
    assert!(told["disguised"] > 0, "{told:?}");
}

#[test]
fn quota_and_table_hold_whatever_is_named_by_whom_and_for_how_long() {
    let told = outlive("quota", "max-new-blocks-per-minute = 60\nmax-blocks = 30");
    let most = 60 + 1 + told["took"];
    assert!((31..=most).contains(&told["blocked"]), "{most} were allowed: {told:?}");
    assert!(told["over-quota"] > 0 && told["unavailable"] > 0, "{told:?}");
    // The operator's own is not bound.
    assert!((25..=31).contains(&told["live"]), "30 were allowed: {told:?}");
}

mod ufw {
    use super::*;

    #[test]
    fn where_a_frontend_fills_the_queue_there_is_room_for_the_operator() {
        let mut world = World::without_daemons("ufw allow 22/tcp");
        world.start_privd();
        peer::install(&world, env!("CARGO_BIN_EXE_relay"));
        // Nothing that was begun is finished now.
        let stuck = Lock::of_the_host(&world);
        let mut peers: Vec<Peer> = (0..16).map(|_| Peer::frontend(&world)).collect();
        let mut busy = 0;
        for peer in &mut peers {
            let blocks: Vec<Vec<u8>> = (0..300).map(|id| encoded(id, block(&[GENUINE]))).collect();
            peer.send(&blocks.concat());
            // Answered at once, but not before all of them were taken or turned away.
            peer.send(&encoded(300, Request::Status));
            while peer.read().id != 300 {
                busy += 1;
            }
        }
        assert!(busy > 1000, "the queue is not full: {busy} of 4800 were turned away");
        let mut operator = Peer::operator(&world);
        operator.send(&encoded(7, block(&[OPERATORS])));
        operator.send(&encoded(8, Request::Status));
        assert_eq!(operator.read().id, 8, "the operator was turned away");
        drop(stuck);
        let ReplyFrame { id, reply } = operator.read();
        let Reply::Block(verdicts) = reply else { panic!("{reply:?}") };
        assert_eq!(id, 7);
        assert!(matches!(verdicts[0].outcome, Outcome::Blocked(_)), "{verdicts:?}");
    }
}

/// What the attacks find, whichever engine it is.
const BOUNDS: &str = "max-new-blocks-per-minute = 200\nmax-blocks = 2000";

/// Lets a taken webhookd attack, and checks all that must hold meanwhile and afterwards. Returns what it
/// did and what it was told.
fn outlive(attack: &str, privd_toml: &str) -> HashMap<String, usize> {
    let mut world = logging_world(privd_toml);
    world.stop_webhookd(Signal::SIGTERM);
    peer::install(&world, env!("CARGO_BIN_EXE_taken"));
    let privd = world.privd_pid();
    let before = descriptors(privd).unwrap();
    let began = Instant::now();
    let taken = begin(&world, attack);
    let pid = taken.id();
    let who = format!("uid {UID} gid {UID} pid {pid}");
    let mut told = serve_meanwhile(&world, taken, before);
    told.insert("took".to_owned(), began.elapsed().as_secs().try_into().unwrap());

    assert_eq!(Peer::operator(&world).status().pid, privd, "another privd answers");
    until("its descriptors are closed", 20, || descriptors(privd).unwrap() <= before);
    let (peak, [lines, documents, bytes]) = (memory(privd, "VmHWM").unwrap(), logged(&world, pid));
    eprintln!(
        "{attack}: {peak} KiB; {lines} lines, {documents} documents, {bytes} bytes; {told:?}"
    );
    assert!(peak < MEMORY_KIB, "webhook-privd took {peak} KiB");
    for words in said_of(attack) {
        let lines = world.lines("privd.log", &[&who, words]);
        assert!(!lines.is_empty(), "no line says `{words}` of {who}");
    }
    // Each block is told; of all else there are so many kinds and so many of a kind.
    let blocked = told.get("blocked").copied().unwrap_or_default();
    assert!(lines < blocked + LINES && documents < blocked + LINES, "the logs are flooded");
    assert!(bytes < LOGGED, "the logs are flooded");
    settled(&world);

    // What it was allowed may be in the way of webhookd's, until the operator lifts it.
    assert_eq!(world.ctl(&["unblock", "--all"]).1, 0);
    world.start_webhookd();
    until("a genuine alert is obeyed", 20, || world.post(&json!({ "ip": GENUINE })).status == 200);
    assert_eq!(settled(&world), [GENUINE.parse().unwrap()].into());
    told
}

/// What stands in the log about whoever does it.
fn said_of(attack: &str) -> &'static [&'static str] {
    match attack {
        "garbage" => &["is not a message", "exceeds the cap", "speaks protocol version"],
        "connections" => &["has too many connections"],
        "slow" => &["reply not taken, connection ended"],
        "descriptors" => &["verb: status"],
        "verbs" => &["verb: unblock, outcome: forbidden", "verb: list, outcome: forbidden"],
        "ids" | "protected" => &["outcome: refused"],
        "large" => &["block, alert: "],
        "small" | "races" => &["outcome: blocked"],
        "quota" => &["outcome: over-quota", "max-blocks"],
        other => panic!("{other}"),
    }
}

fn begin(world: &World, attack: &str) -> Child {
    let seed = Random::seeded(attack).from(0..u64::MAX).to_string();
    let socket = world.socket().display().to_string();
    // Twice the table is full, and ends, before the quota is used up.
    let seconds = if attack == "quota" { "6" } else { SECONDS };
    let program = [&*world.path("taken"), &socket, attack, seconds, &seed];
    // systemd shares the processors between units; here that is left to the scheduler.
    let nice = ["nice", "-n", "19"];
    let mut command = world.confined.command(&[&AS_WEBHOOKD[..], &nice, &program].concat());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Until the attack is over the operator is at work.
fn serve_meanwhile(world: &World, mut taken: Child, before: usize) -> HashMap<String, usize> {
    let mut operator = Operator::new(world);
    while taken.try_wait().unwrap().is_none() {
        operator.ask();
        operator.change();
        let open = descriptors(world.privd_pid()).unwrap();
        assert!(open < before + DESCRIPTORS, "webhook-privd has {open} descriptors");
    }
    let output = taken.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}: {stdout}{stderr}", output.status);
    let counts = stdout.split_whitespace().filter_map(|word| word.split_once('='));
    let counts = counts.map(|(what, times)| (what.to_owned(), times.parse().unwrap()));
    counts.chain([("live".to_owned(), operator.end())]).collect()
}

/// Asks, and has blocks made and lifted.
struct Operator<'a> {
    world: &'a World,
    slowest: (Duration, &'static str),
    /// Blocks at most.
    live: u64,
    /// What webhookctl is just doing.
    change: Option<(Child, Instant)>,
    changes: usize,
    longest: Duration,
}

impl<'a> Operator<'a> {
    fn new(world: &'a World) -> Self {
        let slowest = (Duration::ZERO, "");
        Self { world, slowest, live: 0, change: None, changes: 0, longest: Duration::ZERO }
    }

    fn ask(&mut self) {
        let world = self.world;
        // A connection of its own each time.
        let second = Duration::from_secs(1);
        let live = self.timed("the socket", second, || Peer::operator(world).status().live_blocks);
        self.live = self.live.max(live);
        for command in ["status", "list"] {
            // Three programs are started for it, beside all that attacks.
            let (text, _) =
                self.timed(command, 2 * second, || world.ctl_folded(&[command, "--json"]));
            // By its exit the status tells whether all is well.
            assert!(serde_json::from_str::<Value>(&text).is_ok(), "webhookctl {command}: {text}");
        }
    }

    fn timed<T>(&mut self, what: &'static str, most: Duration, ask: impl FnOnce() -> T) -> T {
        let asked = Instant::now();
        let answer = ask();
        let waited = asked.elapsed();
        self.slowest = self.slowest.max((waited, what));
        assert!(waited < most, "{what} took {waited:?}");
        answer
    }

    /// One after the other; without waiting for it.
    fn change(&mut self) {
        if let Some((child, begun)) = &mut self.change {
            let Some(ended) = child.try_wait().unwrap() else { return };
            assert!(ended.success(), "the operator is not obeyed: {ended}");
            self.changes += 1;
            self.longest = self.longest.max(begun.elapsed());
        }
        let verb = if self.changes.is_multiple_of(2) { "block" } else { "unblock" };
        let mut command = self.world.confined.command(&["/mnt/webhookctl", verb, OPERATORS]);
        self.change = Some((command.stdout(Stdio::null()).spawn().unwrap(), Instant::now()));
    }

    fn end(self) -> usize {
        let Self { slowest, live, change, changes, longest, .. } = self;
        let (mut last, begun) = change.unwrap();
        let ended = last.wait().unwrap();
        assert!(ended.success(), "the operator is not obeyed: {ended}");
        let longest = longest.max(begun.elapsed());
        eprintln!(
            "the operator: {slowest:?} for an answer, {changes} changes, {longest:?} for one"
        );
        assert!(changes > 0 && longest < CHANGE, "{changes} changes, {longest:?} for one");
        live.try_into().unwrap()
    }
}

/// Waits until rules, kernel and list say the same, and returns the addresses.
fn settled(world: &World) -> BTreeSet<IpAddr> {
    let began = Instant::now();
    loop {
        match at_rest(world) {
            Ok(listed) => return listed,
            Err(problem) => assert!(began.elapsed() < SETTLE, "{problem}"),
        }
    }
}

/// Lines and documents about a process, and the bytes of all.
fn logged(world: &World, pid: u32) -> [usize; 3] {
    let [lines, documents] = ["privd.log", PRIVD].map(|log| world.read(log));
    let (line, document) = (format!(" pid {pid}"), format!("\"webhookd.peer.pid\":{pid},"));
    let about = |text: &str, word: &str| text.lines().filter(|line| line.contains(word)).count();
    [about(&lines, &line), about(&documents, &document), lines.len() + documents.len()]
}

/// How long each attack goes on.
const SECONDS: &str = "3";
/// Until the operator's own block or lift is done at the latest.
const CHANGE: Duration = Duration::from_secs(10);
/// What webhook-privd takes at most, whatever is done to it.
const MEMORY_KIB: u64 = 128 << 10;
/// Bytes of both logs at most: a document with the longest texts has twenty kilobytes.
const LOGGED: usize = 32 << 20;
/// Two for each connection of the two roles, and what a run of the engine opens.
const DESCRIPTORS: usize = 2 * 2 * 16 + 32;
/// Beside the blocks: of each of five kinds a hundred in five seconds.
const LINES: usize = 2 * 5 * 100;
