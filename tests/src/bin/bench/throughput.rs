//! Requests a second, against a server on the same library that answers "hello".

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use tests::World;
use tests::https::{self, JSON};

use crate::client::{connect, exchange};
use crate::places;
use crate::report::Report;

/// Already blocked and rejected, on connections that stay open and on new ones.
pub fn measure(rounds: usize, report: &mut Report) {
    let world = places::ufw(0);
    world.ufw(&format!("allow {HELLO}/tcp"));
    world.block("198.18.0.1");
    let known = json!({ "ip": "198.18.0.1" }).to_string();
    let good = world.bearer();
    let request = |token: &str, body: &str| {
        let headers = [("Authorization", token), JSON];
        https::request("POST", "/blockip", &headers, body)
    };
    // A body that is not read, as its sender is not let in, ends the connection.
    let requests =
        [("already blocked", request(&good, &known)), ("rejected", request("Bearer wrong", ""))];
    let hello_request = https::request("GET", "/", &[], "");
    let program = std::env::current_exe().unwrap().with_file_name("hello");
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| world.path(name));
    let listen = format!("10.9.0.1:{HELLO}");
    let mut hello =
        world.spawn("hello.log", &[&program.display().to_string(), &listen, &certificate, &key]);
    world.wait_for("ready", "hello.log");
    let (privd, webhookd) = world.daemons();
    for (road, new) in [("open", false), ("new", true)] {
        for (name, request) in &requests {
            let mut ours = Side::new(PORT, request, &[privd, webhookd]);
            let mut bare = Side::new(HELLO, &hello_request, &[hello.id()]);
            // The first is for warming up. A port that a new connection took is free again after a
            // minute only.
            for round in 0..=if new { rounds.div_ceil(2) } else { rounds } {
                for side in [&mut ours, &mut bare] {
                    side.load(&world, new, round > 0);
                }
            }
            let ratio = ours.worth() / bare.worth();
            let bar = match (*name, new) {
                ("already blocked", false) => 0.4,
                _ => 0.75,
            };
            let name = format!("{name}, requests on {road} connections");
            let shown = format!("{:.0}/s against {:.0}/s \"hello\"", ours.rate(), bare.rate());
            report.line(
                &name,
                &shown,
                &format!("{ratio:.2} times"),
                &format!("{bar} times"),
                ratio >= bar,
            );
        }
    }
    hello.kill().unwrap();
    hello.wait().unwrap();
}

/// One of the two that are compared.
struct Side<'a> {
    port: u16,
    request: &'a str,
    servers: Vec<u32>,
    answers: u64,
    elapsed: Duration,
    /// Of clients and servers, in hundredths of a second.
    processor_time: u64,
}

impl<'a> Side<'a> {
    fn new(port: u16, request: &'a str, servers: &[u32]) -> Self {
        let servers = [servers, &[std::process::id()]].concat();
        Self { port, request, servers, answers: 0, elapsed: Duration::ZERO, processor_time: 0 }
    }

    /// As many clients as are let in from one address ask for a moment.
    fn load(&mut self, world: &World, new: bool, counts: bool) {
        let (before, began) = (self.processor_time_now(), Instant::now());
        let answers = answers(world, self.port, self.request, new);
        if counts {
            self.answers += answers;
            self.elapsed += began.elapsed();
            self.processor_time += self.processor_time_now() - before;
        }
    }

    fn processor_time_now(&self) -> u64 {
        let ticks = |pid: &u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            // proc_pid_stat(5): after the name, which is in brackets, utime and stime are 12th and 13th.
            let (_, numbers) = stat.rsplit_once(") ").unwrap();
            let times = numbers.split(' ').skip(11).take(2);
            times.map(|time| time.parse::<u64>().unwrap()).sum::<u64>()
        };
        self.servers.iter().map(ticks).sum()
    }

    fn rate(&self) -> f64 {
        self.answers as f64 / self.elapsed.as_secs_f64()
    }

    /// Answers for a second of processor time, whatever else the machine had to do: on a machine that
    /// has nothing else, and is busy, the ratio of two of them is that of their rates.
    fn worth(&self) -> f64 {
        self.answers as f64 / self.processor_time as f64
    }
}

/// Answers within [`SPAN`].
fn answers(world: &World, port: u16, request: &str, new: bool) -> u64 {
    let (answers, over) = (AtomicU64::new(0), AtomicBool::new(false));
    world.kibana.inside(|| {
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let mut kept = connect(world, port);
                    let mut buffer = Vec::new();
                    while !over.load(Ordering::Relaxed) {
                        if new {
                            kept = connect(world, port);
                        }
                        exchange(&mut kept, request, &mut buffer);
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            thread::sleep(SPAN);
            over.store(true, Ordering::Relaxed);
        });
    });
    answers.into_inner()
}

const PORT: u16 = 5001;
const HELLO: u16 = 5002;
const CLIENTS: usize = 32;
/// Short, as the machine's other work comes and goes.
const SPAN: Duration = Duration::from_millis(300);
