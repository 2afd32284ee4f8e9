//! Genuine and hostile traffic at a time on a booted machine, while webhook-privd is ended again and
//! again: no genuine alert is lost or late, and neither daemon grows.
//!
//! Client, attackers and daemons share the processors of the host of the test, and so the hostile ones
//! are at work a quarter of the time: not its speed is measured here. That is done in tests/bench.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::processes::descriptors;
use tests::random::at_length;
use tests::soak::alerts::{Alerts, FOR_GOOD, Kind};
use tests::soak::hostility::{KINDS, Rounds, attack};
use tests::soak::promises::Promises;
use tests::soak::readings::{Reading, floors};
use tests::soak::scene::{How, Scene};
use tests::{Container, Door, Engine, Random, Standing, until};

const PRIVD: &str = "webhook-privd";
const FRONTEND: &str = "webhookd";
/// In `allow-clients`, and let through by ufw, as the other one is.
const CLIENT: &str = "203.0.113.7";
/// Not in `allow-clients`.
const STRANGER: &str = "2001:db8:113::7";

#[test]
fn genuine_alerts_are_answered_within_a_second_whatever_others_do_and_nothing_grows() {
    let soak = Soak::begin();
    let rest = soak.at_rest();
    let (rounds, restarts) = std::thread::scope(|scope| {
        let attackers = [
            ("client", ([203, 0, 113, 1], 5001).into()),
            ("stranger", ([0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 1], 5001).into()),
        ]
        .map(|(source, address)| {
            let door = soak.machine.door().at(address);
            scope.spawn(|| soak.attacks(source, door))
        });
        for alerts in [1, 2].map(Alerts::of) {
            scope.spawn(|| soak.posts(alerts));
        }
        scope.spawn(|| soak.looks());
        scope.spawn(|| soak.operates());
        scope.spawn(|| soak.reads());
        let restarts = scope.spawn(|| soak.restarts()).join();
        (attackers.map(|attacker| attacker.join().unwrap()), restarts.unwrap())
    });
    soak.judge(&rest, &rounds, &restarts);
}

/// A machine, what is done to it, and what is seen meanwhile.
struct Soak {
    machine: Container,
    engine: Engine,
    length: Duration,
    began: Instant,
    stop: AtomicBool,
    scene: Scene,
    promises: Promises,
    answers: Mutex<Answers>,
    readings: Mutex<BTreeMap<&'static str, Vec<Reading>>>,
    live: Mutex<Vec<usize>>,
    wrong: Mutex<Vec<String>>,
}

/// How long each alert took, and which end of webhook-privd it met.
type Answers = BTreeMap<Kind, Vec<(Duration, Option<How>)>>;
/// Open descriptors of both daemons and of PID 1.
type Rest = [usize; 3];

impl Soak {
    fn begin() -> Self {
        let engine = Engine::tested();
        let machine = Container::boot_with(&format!(
            "{}
             sed -i 's/^block-for.*/block-for = \"1h\"\\nmax-new-blocks-per-minute = 100000/' \
                 /etc/webhookd/privd.toml
             sed -i 's/^#allow-clients.*/allow-clients = [\"10.9.0.2\", \"{CLIENT}\"]/' \
                 /etc/webhookd/webhookd.toml",
            match engine {
                Engine::Ufw => Container::UFW,
                Engine::Nftables => Container::NFTABLES,
            }
        ));
        for host in [CLIENT, STRANGER] {
            machine.sh(&format!("ufw allow proto tcp from {host} to any port 5001"));
        }
        machine.sh(&format!("webhookctl block {FOR_GOOD} --for permanent"));
        // By these every worker of webhookd has its connection to webhook-privd.
        for _ in 0..20 {
            assert_eq!(machine.block(FOR_GOOD).outcomes(), ["already-blocked"]);
        }
        Self {
            machine,
            engine,
            length: length(),
            began: Instant::now(),
            stop: AtomicBool::new(false),
            scene: Scene::new(),
            promises: Promises::default(),
            answers: Mutex::default(),
            readings: Mutex::default(),
            live: Mutex::default(),
            wrong: Mutex::default(),
        }
    }

    fn attacks(&self, source: &'static str, door: Door) -> Rounds {
        let _ending = Ending(&self.stop);
        // In the short run each has its turn.
        let turn = (self.length / 20).min(Duration::from_secs(20));
        self.machine.neighbour().inside(|| attack(source, &door, turn, &self.stop, &self.scene))
    }

    fn posts(&self, mut alerts: Alerts) {
        let _ending = Ending(&self.stop);
        let door = self.machine.door();
        self.machine.neighbour().inside(|| {
            while self.goes_on() {
                let alert = alerts.wait_for_next();
                self.promises.withdraw(&alert.addresses);
                let asked = Instant::now();
                let answer = door.post(&alert.body);
                let after = asked.elapsed();
                let noted = match &answer {
                    Ok(answer) => self.promises.note(&alert, answer),
                    Err(error) => Err(error.to_string()),
                };
                let end = self.scene.end_since(asked);
                let latest = if end == Some(How::Killed) { LATEST_OF_A_KILL } else { LATEST };
                let noted = noted.and_then(|()| {
                    if after < latest { Ok(()) } else { Err("too late".to_owned()) }
                });
                if let Err(words) = noted {
                    self.complain(&format!("{:?} answered after {after:.2?}: {words}", alert.kind));
                }
                self.answers.lock().unwrap().entry(alert.kind).or_default().push((after, end));
            }
        });
    }

    /// Looks whether all stands that was answered, and nothing that has ended.
    fn looks(&self) {
        let _ending = Ending(&self.stop);
        let mut random = Random::seeded("looks");
        while self.goes_on() {
            // Whoever holds the lock keeps webhook-privd waiting.
            let glance =
                || self.promises.compare(|| Standing::unlocked_of(&self.machine, self.engine));
            let mut seen = glance();
            // A kill in the middle of ufw's work leaves a rule out of the file until the next start.
            while !seen.0.is_empty() && self.scene.has_just_ended() {
                random.pause(400);
                seen = glance();
            }
            if !seen.0.is_empty() {
                seen = self.promises.compare(|| Standing::of(&self.machine, self.engine));
            }
            let (wrong, live) = seen;
            wrong.iter().for_each(|words| self.complain(words));
            self.live.lock().unwrap().push(live);
            random.pause(4_000);
        }
    }

    /// Asks, lifts what an alert has blocked, and blocks and lifts by hand.
    fn operates(&self) {
        let _ending = Ending(&self.stop);
        let mut random = Random::seeded("operator");
        let ctl = |arguments: &str| {
            let output = self.machine.run(&format!("webhookctl {arguments}"));
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let (said, complaint) = (text(&output.stdout), text(&output.stderr));
            if !output.status.success() && !self.scene.has_just_ended() {
                self.complain(&format!("webhookctl {arguments}: {said}{complaint}"));
            }
            said
        };
        while self.goes_on() {
            random.pause(6_000);
            ctl("status --json");
            let list: Value = serde_json::from_str(&ctl("list --json")).unwrap_or_default();
            let rows = list.as_array().map(Vec::as_slice).unwrap_or_default();
            if !rows.iter().any(|row| row["target"] == FOR_GOOD) {
                self.complain(&format!("not listed: {FOR_GOOD}"));
            }
            ctl("block 198.51.100.200 --for 1h");
            ctl("unblock 198.51.100.200 --immune-for 0s");
            if let Some(address) = self.promises.lasting() {
                self.promises.withdraw(&[address]);
                let said = ctl(&format!("unblock {address} --immune-for 0s"));
                let look = || Standing::of(&self.machine, self.engine);
                if said.contains("lifted") && !self.promises.is_gone(address, look) {
                    self.complain(&format!("lifted, and still there: {address}"));
                }
            }
        }
    }

    fn reads(&self) {
        let _ending = Ending(&self.stop);
        let mut random = Random::seeded("readings");
        while self.goes_on() {
            for daemon in [PRIVD, FRONTEND] {
                let reading = Reading::now(&self.machine, daemon);
                self.readings.lock().unwrap().entry(daemon).or_default().extend(reading);
            }
            random.pause(if at_length() { 2_000 } else { 500 });
        }
    }

    /// Restarts webhook-privd over and over, and at times kills it; the last one is left alone for a
    /// while more.
    fn restarts(&self) -> Vec<How> {
        let _ending = Ending(&self.stop);
        let mut random = Random::seeded("restarts");
        let mut done = Vec::new();
        let between = if at_length() { Duration::from_secs(60) } else { Duration::from_secs(6) };
        while self.began.elapsed() + between < self.length && self.goes_on() {
            self.wait(between);
            let pid = self.machine.property(PRIVD, "MainPID");
            let (how, command) = match random.from(0..4) {
                0 => (How::Killed, "systemctl kill --signal=KILL"),
                _ => (How::Restarted, "systemctl restart"),
            };
            self.scene.ends_privd(how, || {
                self.machine.sh(&format!("{command} {PRIVD}"));
                self.machine.until_afresh(PRIVD, &pid);
            });
            done.push(how);
        }
        self.wait((self.length / 20).max(Duration::from_secs(25)));
        done
    }

    fn wait(&self, time: Duration) {
        let began = Instant::now();
        until("the time is over", time.as_secs() + 2, || {
            began.elapsed() >= time || !self.goes_on()
        });
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn complain(&self, words: &str) {
        let words = format!("{words}\n  {}", self.scene);
        eprintln!("{words}");
        self.wrong.lock().unwrap().push(words);
    }

    fn at_rest(&self) -> Rest {
        let of = |daemon| Reading::now(&self.machine, daemon);
        let [_, _, first] = self.machine.traces();
        let first = first.file_name().unwrap().to_str().unwrap().parse().unwrap();
        // One that has just ended has none, and is not at rest.
        let open = |daemon| of(daemon).map_or(usize::MAX, |reading| reading.descriptors);
        [open(PRIVD), open(FRONTEND), descriptors(first).unwrap()]
    }

    fn judge(&self, rest: &Rest, rounds: &[Rounds; 2], ends: &[How]) {
        let answers = self.answers.lock().unwrap();
        let readings = self.readings.lock().unwrap();
        eprintln!("{}", summary(&answers, rounds, ends));
        eprintln!("most blocks at a time: {:?}", self.live.lock().unwrap().iter().max());
        until("descriptors are as many as before", 60, || {
            let now = self.at_rest();
            now.iter().zip(rest).all(|(now, before)| *now <= before + TO_EACH_OTHER)
        });
        eprintln!("descriptors of {PRIVD}, {FRONTEND}, PID 1: {rest:?}, then {:?}", self.at_rest());
        for (daemon, all) in &*readings {
            // It grows to its size at first.
            let all = &all[all.len() / 10..];
            assert_flat(daemon, all);
            let most = |of: fn(&Reading) -> u64| all.iter().map(of).max().unwrap();
            let (peak, open) =
                (most(|one| one.peak), most(|one| one.descriptors.try_into().unwrap()));
            eprintln!("{daemon}: at most {peak} KiB and {open} descriptors");
            let (peak_allowed, open_allowed) = most_of(daemon);
            assert!(
                peak < peak_allowed && open < open_allowed,
                "{daemon}: {peak} KiB, {open} open"
            );
            let last = all.last().unwrap().pid;
            let same: Vec<Reading> = all.iter().filter(|one| one.pid == last).copied().collect();
            assert_flat(&format!("{daemon}, its last process"), &same);
        }

        let wrong = self.wrong.lock().unwrap();
        assert!(wrong.is_empty(), "{} times:\n{}", wrong.len(), wrong.join("\n"));
        let errors = self.machine.run("journalctl --quiet --boot --priority err").stdout;
        assert_eq!(String::from_utf8_lossy(&errors), "");
        assert!(!self.machine.journal().contains("panicked"));
        let count =
            "cat /var/log/webhook*/audit.ndjson | grep -c '\"log.level\":\"error\"' || true";
        assert_eq!(self.machine.sh(count), "0\n");
        // It was all of it.
        assert!(answers.len() == 5 && answers.values().all(|times| times.len() > 10));
        let every =
            |rounds: &Rounds| rounds.len() == KINDS.len() && rounds.values().all(|many| *many > 0);
        assert!(rounds.iter().all(every), "{rounds:?}");
        let every = if at_length() { 75 } else { 15 };
        assert!(ends.len() as u64 * every >= self.length.as_secs(), "{ends:?}");
        assert!(self.live.lock().unwrap().iter().any(|live| *live > 20));
    }
}

fn summary(answers: &Answers, rounds: &[Rounds; 2], ends: &[How]) -> String {
    let mut lines = Vec::new();
    for (kind, times) in answers {
        let mut times: Vec<Duration> = times.iter().map(|(after, _)| *after).collect();
        times.sort_unstable();
        let (many, worst) = (times.len(), times.last().unwrap());
        let most = times[many * 99 / 100];
        lines.push(format!("{kind:?}: {many} answered, 99 % within {most:.2?}, all {worst:.2?}"));
    }
    for how in [None, Some(How::Restarted), Some(How::Killed)] {
        let met =
            answers.values().flatten().filter(|(_, end)| *end == how).map(|(after, _)| *after);
        let (alerts, worst) = (met.clone().count(), met.max().unwrap_or_default());
        let times = ends.iter().filter(|one| Some(**one) == how).count();
        let how = how.map_or("not ended".to_owned(), |how| format!("{how:?} {times} times"));
        lines
            .push(format!("webhook-privd {how}: {alerts} alerts met that, all within {worst:.2?}"));
    }
    for (name, _) in KINDS {
        let [client, stranger] = rounds.each_ref().map(|rounds| rounds.get(name).unwrap_or(&0));
        lines.push(format!("{name}: {client} of the client, {stranger} of the stranger"));
    }
    lines.join("\n")
}

/// In the last third of the readings there is little more than in the one before; in the first not every
/// abuse has had its turn, and a heap has not its size.
fn assert_flat(what: &str, readings: &[Reading]) {
    let resident = |reading: &Reading| reading.resident;
    let thirds = floors(readings, 3, resident);
    eprintln!("{what}: {:?} KiB, of a tenth of the time each", floors(readings, 10, resident));
    let growth = if what.starts_with(FRONTEND) { FRONTEND_GROWS_KIB } else { PRIVD_GROWS_KIB };
    assert!(thirds[2] < thirds[1] + growth, "{what}: KiB of each third: {thirds:?}");
    let charged: Option<Vec<u64>> = readings.iter().map(|reading| reading.charged).collect();
    match charged {
        None => eprintln!("{what}: this host does not count the memory of its unit"),
        Some(_) => {
            let charged = floors(readings, 10, |reading| reading.charged.unwrap());
            eprintln!("{what}: its unit is charged with {charged:?} KiB");
        }
    }
}

/// Ends all when one of them ends, also by a panic.
struct Ending<'soak>(&'soak AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// 75 s; at full length an hour, or as many minutes as `WEBHOOKD_SOAK_MINUTES` says.
fn length() -> Duration {
    let minutes = std::env::var("WEBHOOKD_SOAK_MINUTES").ok();
    let minutes = minutes.map_or(60, |minutes| minutes.parse().expect("a number of minutes"));
    Duration::from_secs(if at_length() { 60 * minutes } else { 75 })
}

/// From connecting until the answer is read.
const LATEST: Duration = Duration::from_secs(1);
/// The same where webhook-privd was killed just then: systemd waits for `RestartSec=`, and a ufw that
/// lost its webhook-privd ends by itself first.
const LATEST_OF_A_KILL: Duration = Duration::from_secs(2);
/// Connections between the daemons that may have been opened meanwhile, and are kept.
const TO_EACH_OTHER: usize = 2;
/// By what a heap varies that has not grown.
const FRONTEND_GROWS_KIB: u64 = 3 << 10;
/// The same: it has less.
const PRIVD_GROWS_KIB: u64 = 1 << 10;

/// What a daemon takes at most, whatever is done to it: KiB of memory, and open descriptors; two
/// sources have a quarter of 256 places each.
fn most_of(daemon: &str) -> (u64, u64) {
    if daemon == FRONTEND { (80 << 10, 200) } else { (16 << 10, 50) }
}
