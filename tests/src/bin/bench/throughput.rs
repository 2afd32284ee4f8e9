//! Requests a second, against a server on the same library that answers "hello".

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use tests::World;
use tests::https::{self, Connection};

use crate::{Report, shake_hands, world_with};

/// Already blocked and rejected, on connections that stay open and on new ones.
pub fn measure(rounds: usize, report: &mut Report) {
    let world = world_with(0);
    world.ufw(&format!("allow {HELLO}/tcp"));
    world.block("198.18.0.1");
    let known = json!({ "ip": "198.18.0.1" }).to_string();
    let good = format!("Bearer {}", world.token);
    let request = |token: &str, body: &str| {
        let headers = [("Authorization", token), ("Content-Type", "application/json")];
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
    for (road, new) in [("open", false), ("new", true)] {
        for (name, request) in &requests {
            let (mut ratios, mut rates) = (Vec::new(), Vec::new());
            for round in 0..=rounds.div_ceil(4) {
                let ours = rate(&world, PORT, request, new);
                let bare = rate(&world, HELLO, &hello_request, new);
                // The first warms up.
                if round > 0 {
                    ratios.push(ours / bare);
                    rates.push((ours, bare));
                }
            }
            ratios.sort_unstable_by(f64::total_cmp);
            let ratio = ratios[ratios.len() / 2];
            let (ours, bare) = rates[rates.len() / 2];
            let name = format!("{name}, {road} connections");
            let shown = format!("{ours:.0}/s against {bare:.0}/s \"hello\"");
            report.line(&name, &shown, &format!("{ratio:.2} x"), "0.9 x", ratio >= 0.9);
        }
    }
    hello.kill().unwrap();
    hello.wait().unwrap();
}

/// Answers a second to as many clients as are let in from one address at a time.
fn rate(world: &World, port: u16, request: &str, new: bool) -> f64 {
    let (answers, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let began = Instant::now();
    world.kibana.inside(|| {
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let mut kept = connect(world, port);
                    while !over.load(Ordering::Relaxed) {
                        if new {
                            kept = connect(world, port);
                        }
                        kept.write_all(request.as_bytes()).unwrap();
                        pass_over_answer(&mut kept);
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            thread::sleep(SPAN);
            over.store(true, Ordering::Relaxed);
        });
    });
    answers.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}

fn connect(world: &World, port: u16) -> Connection {
    let mut connection = world.connect_to(port);
    shake_hands(&mut connection);
    connection
}

/// Reads an answer to its end, with as little work as there can be: the clients take their time from
/// the servers.
fn pass_over_answer(connection: &mut Connection) {
    let mut buffer = [0; 4096];
    let mut filled = 0;
    loop {
        let read = connection.read(&mut buffer[filled..]).unwrap();
        assert!(read > 0, "the connection ended");
        filled += read;
        let head = buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n");
        if head.is_some_and(|head| filled >= head + 4 + content_length(&buffer[..head])) {
            return;
        }
    }
}

fn content_length(head: &[u8]) -> usize {
    let head = std::str::from_utf8(head).unwrap();
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let mut lengths = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.next().unwrap().1.parse().unwrap()
}

const PORT: u16 = 5001;
const HELLO: u16 = 5002;
const CLIENTS: usize = 32;
const SPAN: Duration = Duration::from_secs(1);
