//! A stream of blocks and unblocks that goes on while things break, and a book of what was
//! answered.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::world::binaries;
use crate::{Standing, World, https, until};

/// Posts without an end, and some unblocks, each written into a book.
#[derive(Debug)]
pub struct Stream {
    stop: Arc<AtomicBool>,
    book: Arc<Mutex<Book>>,
    /// Read by whoever asks.
    asking: Arc<RwLock<()>>,
    threads: Vec<JoinHandle<()>>,
}

/// What was asked and answered. Each address is asked for by one request alone.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// Posted.
    pub asked: BTreeSet<IpAddr>,
    /// Answered with success, and nobody has asked to lift it.
    pub acknowledged: BTreeSet<IpAddr>,
    /// Asked to be lifted, without success yet.
    pub doubtful: BTreeSet<IpAddr>,
    /// Lifted, as webhookctl said.
    pub lifted: BTreeSet<IpAddr>,
    /// How often what was answered.
    pub answers: BTreeMap<String, usize>,
}

impl Book {
    /// In one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let Self { asked, acknowledged, doubtful, lifted, answers } = self;
        let [asked, acknowledged, doubtful, lifted] =
            [asked, acknowledged, doubtful, lifted].map(BTreeSet::len);
        format!(
            "{asked} asked, {acknowledged} live, {lifted} lifted, {doubtful} in doubt: {answers:?}"
        )
    }

    fn note(&mut self, answer: String) {
        *self.answers.entry(answer).or_default() += 1;
    }

    /// Of four that are acknowledged, one is to be lifted.
    fn next_to_lift(&mut self) -> Option<IpAddr> {
        let gone = self.doubtful.len() + self.lifted.len();
        if self.acknowledged.len() < 4 * (gone + 1) {
            return None;
        }
        let address = self.acknowledged.iter().copied().nth(gone)?;
        self.acknowledged.remove(&address);
        self.doubtful.insert(address);
        Some(address)
    }
}

impl Stream {
    /// Three connections that post and a webhookctl that lifts.
    #[must_use]
    pub fn begin(world: &World) -> Self {
        Self::paced(world, Duration::ZERO)
    }

    /// The same with a pause after each post, as there are addresses for 16,000 posts of each alone.
    #[must_use]
    pub fn paced(world: &World, pause: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let book = Arc::new(Mutex::new(Book::default()));
        let asking = Arc::new(RwLock::new(()));
        let poster = |poster| {
            let (stop, book, asking) = (Arc::clone(&stop), Arc::clone(&book), Arc::clone(&asking));
            let (connection, token) = (world.connection(), world.bearer());
            std::thread::spawn(move || {
                post(poster, connection, &token, pause, &stop, &book, &asking);
            })
        };
        let mut threads: Vec<JoinHandle<()>> = (1..=POSTERS).map(poster).collect();
        let (stopped, shared, socket) = (Arc::clone(&stop), Arc::clone(&book), world.socket());
        let lifting = Arc::clone(&asking);
        threads.push(std::thread::spawn(move || lift(&socket, &stopped, &shared, &lifting)));
        Self { stop, book, asking, threads }
    }

    /// Waits until all that is acknowledged by now is in force; how long that took.
    ///
    /// # Panics
    /// When it takes longer than [`SETTLE`].
    #[must_use]
    pub fn settled(&self, world: &World, when: &str) -> Duration {
        let began = Instant::now();
        let wanted = self.book.lock().unwrap().acknowledged.clone();
        loop {
            let standing = Standing::now(world);
            // Somebody may have asked to lift one since.
            let live = self.book.lock().unwrap().acknowledged.clone();
            let lacking: Vec<String> =
                wanted.intersection(&live).filter_map(|one| standing.lacks(*one)).collect();
            if lacking.is_empty() {
                return began.elapsed();
            }
            assert!(began.elapsed() < SETTLE, "{when}: {lacking:#?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until more is acknowledged.
    pub fn flows(&self) {
        let done = || {
            let book = self.book.lock().unwrap();
            book.acknowledged.len() + book.doubtful.len() + book.lifted.len()
        };
        let before = done();
        until("something is acknowledged", 20, || done() > before + 2);
    }

    /// Ends it, and waits until the rules are exactly those of the list, and the list is what the
    /// book says.
    ///
    /// # Panics
    /// When they do not become so within [`SETTLE`].
    #[must_use]
    pub fn end(self, world: &World) -> Book {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        let book = self.book.lock().unwrap().clone();
        agree(world, &book, "at the end");
        book
    }

    /// Holds it, and waits until the rules are exactly those of the list, the list is what the book
    /// says, and nothing is left of programs that were killed.
    ///
    /// # Panics
    /// When they do not become so within [`SETTLE`].
    pub fn pauses(&self, world: &World, when: &str) {
        let _held = self.asking.write().unwrap();
        let book = self.book.lock().unwrap().clone();
        agree(world, &book, when);
        until("no stray chain is left", 15, || Standing::now(world).strays().is_empty());
    }
}

fn post(
    poster: u8,
    mut connection: https::Connection,
    token: &str,
    pause: Duration,
    stop: &AtomicBool,
    book: &Mutex<Book>,
    asking: &RwLock<()>,
) {
    let headers = [("Authorization", token), https::JSON];
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let addresses = addresses(poster, number);
        let asks = asking.read().unwrap();
        book.lock().unwrap().asked.extend(&addresses);
        let body = json!({ "ips": addresses }).to_string();
        let request = https::request("POST", "/blockip", &headers, &body);
        let answer = https::exchange(&mut connection, &request).expect("an answer");
        let mut book = book.lock().unwrap();
        for (address, outcome) in addresses.iter().zip(answer.outcomes()) {
            if matches!(outcome, "blocked" | "already-blocked") {
                book.acknowledged.insert(*address);
            }
            book.note(format!("{} {outcome}", answer.status));
        }
        drop((book, asks));
        number += 1;
        std::thread::sleep(pause);
    }
}

fn lift(socket: &std::path::Path, stop: &AtomicBool, book: &Mutex<Book>, asking: &RwLock<()>) {
    while !stop.load(Ordering::Relaxed) {
        let asks = asking.read().unwrap();
        let next = book.lock().unwrap().next_to_lift();
        let Some(address) = next else {
            drop(asks);
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        let mut webhookctl = Command::new(binaries().join("webhookctl"));
        webhookctl.arg("--socket").arg(socket).args(["unblock", &address.to_string()]);
        let output = webhookctl.output().unwrap();
        let mut book = book.lock().unwrap();
        if output.status.success() {
            book.doubtful.remove(&address);
            book.lifted.insert(address);
        }
        book.note(format!("unblock {:?}", output.status.code()));
    }
}

fn agree(world: &World, book: &Book, when: &str) {
    let began = Instant::now();
    while let Err(problem) = agrees(world, book) {
        assert!(began.elapsed() < SETTLE, "{when}: {problem}\n{}", book.summary());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether rules, kernel, list and book say the same.
fn agrees(world: &World, book: &Book) -> Result<(), String> {
    let list = at_rest(world)?;
    nothing_is(&[
        ("listed and never asked for", &list - &book.asked),
        ("listed and lifted", &list & &book.lifted),
        ("acknowledged and not listed", &book.acknowledged - &list),
    ])
}

/// Every address that is listed, where nothing is under way and rules and kernel have just these; of
/// networks they have as many as are listed.
///
/// # Errors
/// What is otherwise.
pub fn at_rest(world: &World) -> Result<BTreeSet<IpAddr>, String> {
    let status = world.ctl_json("status");
    if status["ready"] != true || status["queued"] != 0 {
        return Err(format!("not at rest: {status}"));
    }
    let standing = Standing::now(world);
    let (ours, list) = (standing.ours(), listed(world));
    let in_rules: BTreeSet<IpAddr> = ours.keys().copied().collect();
    let halves = ours.iter().filter(|(_, rules)| **rules != 2).map(|(one, _)| *one).collect();
    nothing_is(&[
        ("in the rules and not listed", &in_rules - &list),
        ("in the kernel and not listed", &standing.dropped() - &list),
        ("without two rules each", halves),
    ])?;
    let (rows, blocks) = (world.ctl_json("list").as_array().map(Vec::len), standing.blocks());
    if rows != Some(blocks) {
        return Err(format!("{blocks} blocks are in the rules, {rows:?} are listed"));
    }
    let lacks = list.iter().find_map(|one| standing.lacks(*one));
    lacks.map_or(Ok(list), Err)
}

fn nothing_is(found: &[(&str, BTreeSet<IpAddr>)]) -> Result<(), String> {
    let found = found.iter().find(|(_, found)| !found.is_empty());
    found.map_or(Ok(()), |(what, found)| Err(format!("{what}: {found:?}")))
}

/// Every address that `webhookctl list` shows.
#[must_use]
pub fn listed(world: &World) -> BTreeSet<IpAddr> {
    let list = world.ctl_json("list");
    let rows = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
    rows.iter().filter_map(|row| row["target"].as_str()?.parse().ok()).collect()
}

/// One, two or three addresses of both families that no other call gives.
fn addresses(poster: u8, number: u16) -> Vec<IpAddr> {
    let [high, low] = number.to_be_bytes();
    let ipv4 = |second| IpAddr::from([198, second, high + 64 * poster, low]);
    let ipv6 = IpAddr::from([0x2001, 0xdb8, 7, poster.into(), 0, 0, 0, number]);
    match number % 4 {
        0 => vec![ipv4(18)],
        1 => vec![ipv6],
        2 => vec![ipv4(18), ipv6],
        _ => vec![ipv6, ipv4(18), ipv4(19)],
    }
}

/// Connections that post.
const POSTERS: u8 = 3;
/// One reconcile, and the runs of ufw that it takes while others are asked for.
pub const SETTLE: Duration = Duration::from_secs(20);
