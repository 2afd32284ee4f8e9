use serde_json::json;
use std::time::Instant;
use tests::World;
use tests::https;
fn rss(pid: u32) -> String {
    let s = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    s.lines()
        .filter(|l| l.starts_with("VmRSS") || l.starts_with("VmHWM") || l.starts_with("RssAnon"))
        .collect::<Vec<_>>()
        .join(" ")
}
fn main() {
    let rounds: usize = std::env::args().nth(1).map_or(10, |n| n.parse().unwrap());
    let mut world = World::new();
    let one = |world: &World, a: &str| {
        let b = Instant::now();
        let r = world.block(a);
        assert_eq!(r.status, 200, "{r:?} {}", world.logs());
        b.elapsed()
    };
    let mut few: Vec<_> = (1..=40).map(|n| one(&world, &format!("198.18.0.{n}"))).collect();
    few.sort();
    println!("one new TLS median {:?} max {:?}", few[20], few[39]);
    for round in 0..rounds {
        let addresses: Vec<String> =
            (0..10_000).map(|n| format!("45.{}.{}.{}", round + 20, n / 250, n % 250 + 1)).collect();
        let body = json!({"ips": addresses, "duration": "7d", "rule_name": "SSH brute force from one source", "reason": "failures from one source"});
        let b = Instant::now();
        let a = world.post(&body);
        println!(
            "10k: {:?} status {} {}",
            b.elapsed(),
            a.status,
            if a.status == 200 { String::new() } else { a.message().chars().take(300).collect() }
        );
    }
    let mut few: Vec<_> = (1..=40).map(|n| one(&world, &format!("198.18.1.{n}"))).collect();
    few.sort();
    println!("one new TLS median at {}k {:?} max {:?}", rounds * 10, few[20], few[39]);
    let (w, p) = world.daemons();
    println!("{w}: {}\n{p}: {}", rss(w), rss(p));
    // 64 connections
    let b = Instant::now();
    let per = 200;
    std::thread::scope(|scope| {
        for c in 0..64 {
            let world = &world;
            scope.spawn(move || {
                let mut connection = world.connection();
                for n in 0..per {
                    let body =
                        json!({"ip": format!("46.{}.{}.{}", c, n / 250, n % 250 + 1)}).to_string();
                    let a = https::exchange(&mut connection, &world.alert(&body)).unwrap();
                    assert_eq!(a.status, 200, "{a:?}");
                }
            });
        }
    });
    println!("64 connections: {:.0}/s", 64.0 * per as f64 / b.elapsed().as_secs_f64());
    world.stop_privd(nix::sys::signal::Signal::SIGTERM);
    let b = Instant::now();
    world.start_privd();
    println!("start to ready {:?}", b.elapsed());
    let (w, p) = world.daemons();
    println!("{w}: {}\n{p}: {}", rss(w), rss(p));
    println!(
        "{}",
        world
            .logs()
            .lines()
            .filter(|l| !l.contains("webhook, status") && !l.contains("block, alert"))
            .collect::<Vec<_>>()
            .join("\n")
            .chars()
            .take(3000)
            .collect::<String>()
    );
}
