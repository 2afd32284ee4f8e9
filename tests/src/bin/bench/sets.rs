//! The nftables engine: many addresses at once and one by one, among few blocks and many.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;
use tests::World;

use crate::client::{connect, exchange};
use crate::places::{self, Addresses, LARGEST, PORT, timed};
use crate::report::{Chart, Report, Scale, median, ms, peak, resident};

/// All of it; bars that are times hold `slack` times over.
pub fn measure(pairs: usize, slack: u32, report: &mut Report) {
    let mut addresses = Addresses::default();
    in_one_alert(pairs, slack, &mut addresses, report);
    on_open_connections(pairs, slack, &mut addresses, report);
    among_many(pairs, slack, &mut addresses, report);
}

/// As many addresses as an alert may have, against a bare `nft -f` of the same.
fn in_one_alert(pairs: usize, slack: u32, addresses: &mut Addresses, report: &mut Report) {
    let (world, other) = (places::nftables(), bare_set());
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..=pairs.div_ceil(4) {
        let batch = addresses.take(LARGEST);
        let took = places::block_all(&world, &batch);
        assert_eq!(places::elements(&world, "inet webhookd v4_32"), LARGEST);
        places::lift_all(&world);
        let bare_took = nft_file(&other, &batch);
        // The first round warms caches.
        if round > 0 {
            ours.push(took);
            bare.push(bare_took);
        }
    }
    let (ours, bare) = (median(&mut ours), median(&mut bare));
    let shown = format!("{} against {} bare `nft -f`", ms(ours), ms(bare));
    let name = "10,000 addresses in one alert, on disk and dropped";
    let bar = Duration::from_millis(200) * slack;
    report.line(name, &shown, "", &format!("{} ms", bar.as_millis()), ours <= bar);
}

/// A server with a set of its own and no daemons.
pub fn bare_set() -> World {
    let world = places::bare(0);
    world.server.sh("nft 'table inet bare { set s { type ipv4_addr; flags timeout; };
         chain c { type filter hook prerouting priority raw; ip saddr @s drop; }; }'");
    world
}

/// How long `nft -f` takes to put addresses into that set, which is emptied again.
pub fn nft_file(world: &World, addresses: &[String]) -> Duration {
    let elements: Vec<String> =
        addresses.iter().map(|address| format!("{address} timeout 1d")).collect();
    world.write("bare.nft", &format!("add element inet bare s {{ {} }}\n", elements.join(", ")));
    let took = timed(world, &format!("nft -f {}", world.path("bare.nft")));
    assert_eq!(places::elements(world, "inet bare s"), addresses.len());
    world.server.sh("nft flush set inet bare s");
    took
}

/// One address an alert on as many connections as one client may have.
fn on_open_connections(pairs: usize, slack: u32, addresses: &mut Addresses, report: &mut Report) {
    let world = places::nftables();
    let mut rates = Vec::new();
    for round in 0..=pairs.div_ceil(4) {
        let requests: Vec<String> =
            addresses.take(LARGEST).iter().map(|address| alert(&world, address)).collect();
        let took = one_by_one(&world, &requests);
        if round > 0 {
            rates.push(took);
        }
    }
    let rate = LARGEST as f64 / median(&mut rates).as_secs_f64();
    let name = format!("new blocks on {CONNECTIONS} open connections, one an alert");
    let bar = 6000 / slack;
    report.line(&name, &format!("{rate:.0}/s"), "", &format!("{bar}/s"), rate >= f64::from(bar));
}

/// How long it takes until each request is answered; handshakes come before.
fn one_by_one(world: &World, requests: &[String]) -> Duration {
    let next = AtomicUsize::new(0);
    let ready = Barrier::new(CONNECTIONS + 1);
    let began = AtomicU64::new(0);
    let clock = Instant::now();
    world.kibana.inside(|| {
        thread::scope(|scope| {
            for _ in 0..CONNECTIONS {
                scope.spawn(|| {
                    let mut connection = connect(world, PORT);
                    let mut buffer = Vec::new();
                    ready.wait();
                    while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let answer = exchange(&mut connection, request, &mut buffer);
                        assert!(answer.contains("\"outcome\":\"blocked\""), "{answer}");
                    }
                });
            }
            ready.wait();
            began.store(nanoseconds(clock), Ordering::Relaxed);
        });
    });
    Duration::from_nanos(nanoseconds(clock) - began.into_inner())
}

fn nanoseconds(clock: Instant) -> u64 {
    clock.elapsed().as_nanos().try_into().unwrap()
}

/// One block more on new connections and open ones where few and many stand, what many cost, and how
/// long they take to be loaded.
fn among_many(pairs: usize, slack: u32, addresses: &mut Addresses, report: &mut Report) {
    let mut many = places::filled(100_000, addresses);
    let (privd, webhookd) = many.daemons();
    for (name, pid, bar) in [("webhook-privd", privd, 40.0), ("webhookd", webhookd, 20.0)] {
        let (now, peak) = (resident(pid), peak(pid));
        let name = format!("{name}, resident memory with 100,000 live blocks");
        let shown = format!("{now:.1} MB, {peak:.1} MB at most");
        report.line(&name, &shown, "", &format!("{bar} MB"), now <= bar);
    }
    let some = places::filled(10_000, addresses);
    let few = places::filled(1000, addresses);
    let rounds = pairs.max(20) * 5;
    let mut fresh = Vec::new();
    few.kibana.inside(|| {
        let mut buffer = Vec::new();
        for address in addresses.take(rounds) {
            let request = alert(&few, &address);
            let began = Instant::now();
            let answer = exchange(&mut connect(&few, PORT), &request, &mut buffer);
            fresh.push(began.elapsed());
            assert!(answer.contains("\"outcome\":\"blocked\""), "{answer}");
        }
    });
    let fresh = median(&mut fresh);
    let name = "new block, a new connection";
    report.line(name, &ms(fresh), "", "10 ms", fresh <= Duration::from_millis(10));
    let worlds = [("1,000", &few), ("10,000", &some), ("100,000", &many)];
    let times = one_more(&worlds.map(|(_, world)| world), rounds, addresses);
    let ratio = times[2].as_secs_f64() / times[0].as_secs_f64();
    let shown = format!("{} against {} among 1,000", ms(times[2]), ms(times[0]));
    let name = "one more block among 100,000, an open connection";
    report.line(name, &shown, &format!("{ratio:.2} times"), "1.5 times", ratio <= 1.5);
    let bar = |((name, _), time): (&(&str, _), &Duration)| {
        (format!("{name} live"), time.as_secs_f64(), ms(*time))
    };
    report.chart(Chart {
        title: "One more block, nftables engine, on an open connection".to_owned(),
        scale: Scale::Even,
        bars: worlds.iter().zip(&times).map(bar).collect(),
    });
    let mut starts = Vec::new();
    for _ in 0..pairs.div_ceil(4) {
        let live = places::live(&many);
        many.stop_privd(Signal::SIGKILL);
        let began = Instant::now();
        assert!(many.try_start_privd().is_none(), "{}", many.logs());
        starts.push(began.elapsed());
        assert_eq!(places::live(&many), live);
    }
    let start = median(&mut starts);
    let name = "killed with 100,000 live blocks, and ready again";
    let bar = Duration::from_secs(1) * slack;
    report.line(name, &ms(start), "", &format!("{} s", bar.as_secs()), start <= bar);
}

/// Medians of a block's time in each world, on connections that stay open.
fn one_more(worlds: &[&World; 3], rounds: usize, addresses: &mut Addresses) -> [Duration; 3] {
    let mut connections = worlds.map(World::connection);
    let mut times = [vec![], vec![], vec![]];
    let mut buffer = Vec::new();
    for round in 0..=rounds {
        for ((world, connection), times) in worlds.iter().zip(&mut connections).zip(&mut times) {
            let request = alert(world, &addresses.take(1)[0]);
            let began = Instant::now();
            let answer = exchange(connection, &request, &mut buffer);
            let took = began.elapsed();
            assert!(answer.contains("\"outcome\":\"blocked\""), "{answer}");
            if round > 0 {
                times.push(took);
            }
        }
    }
    times.map(|mut times| median(&mut times))
}

fn alert(world: &World, address: &str) -> String {
    world.alert(&json!({ "ip": address }).to_string())
}

const CONNECTIONS: usize = 64;
