//! What a packet pays for the blocks that stand in its way.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use tests::World;
use tests::world::SERVER;

use crate::places::{self, Addresses};
use crate::report::{Chart, Report, Scale, median};

/// A TCP connection from another host through 50,000 blocks, and through no table at all.
pub fn measure(pairs: usize, report: &mut Report) {
    let worlds = [places::bare(0), places::filled(50_000, &mut Addresses::default())];
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..=pairs {
        for (world, times) in worlds.iter().zip(&mut times) {
            let connects = connects(world);
            if round > 0 {
                times.extend(connects);
            }
        }
    }
    let [none, many] = times.map(|mut times| median(&mut times));
    let ratio = many.as_secs_f64() / none.as_secs_f64();
    let shown = format!("{} against {} through none", us(many), us(none));
    let name = "TCP connect through 50,000 blocks";
    report.line(name, &shown, &format!("{ratio:.2} times"), "1.3 times", ratio <= 1.3);
    report.chart(Chart {
        title: "TCP connect from another host, nftables engine".to_owned(),
        scale: Scale::Even,
        bars: [("no blocks", none), ("50,000 blocks", many)]
            .map(|(name, time)| (name.to_owned(), time.as_secs_f64(), us(time)))
            .into(),
    });
}

/// How long each of some connections takes to be open.
fn connects(world: &World) -> Vec<Duration> {
    let listener = world.server.listen(&format!("{SERVER}:22"));
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..CONNECTS {
                drop(listener.accept().unwrap());
            }
        });
        world.attacker.inside(|| {
            let connect = |_| {
                let began = Instant::now();
                let connection = TcpStream::connect((SERVER, 22)).unwrap();
                let took = began.elapsed();
                drop(connection);
                took
            };
            (0..CONNECTS).map(connect).collect()
        })
    })
}

fn us(time: Duration) -> String {
    format!("{:.0} µs", time.as_secs_f64() * 1e6)
}

/// Few: a port that a connection took is free again after a minute only.
const CONNECTS: usize = 200;
