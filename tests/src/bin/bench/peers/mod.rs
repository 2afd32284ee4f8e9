//! webhookd beside Debian's fail2ban and CrowdSec, each in a network namespace of its own, in the same
//! rounds of the same run: from asking until the kernel drops every address.

mod crowdsec;
mod fail2ban;

use std::time::{Duration, Instant};

use crate::Run;
use crate::peers::crowdsec::CrowdSec;
use crate::peers::fail2ban::{Action, Fail2ban};
use crate::places::{self, Addresses, LARGEST};
use crate::report::{Chart, Report, Scale, median, ms};
use crate::sets::{bare_set, nft_file};

/// A thousand addresses with all of them, ten thousand with those that take no minutes.
pub fn measure(run: &Run, report: &mut Report) {
    let folder = run.peers.as_deref().expect("tests/bench says where the peers are");
    // Who enters a place leaves the folder that he is in.
    let folder = &folder.canonicalize().unwrap();
    let mut addresses = Addresses::default();
    let ours = places::nftables();
    let bare = bare_set();
    let mut crowdsec = CrowdSec::start(folder);
    let mut large = Compared::default();
    for round in 0..=run.pairs.div_ceil(4) {
        let batch = addresses.take(LARGEST);
        large.push(round, OURS, Some(places::block_all(&ours, &batch)));
        places::lift_all(&ours);
        large.push(round, NFT, Some(nft_file(&bare, &batch)));
        large.push(round, CROWDSEC, crowdsec.block(&batch));
    }
    let engine = places::ufw(0);
    let jails = [Action::Nftables, Action::Ufw].map(|action| Fail2ban::start(folder, action));
    let mut small = Compared::default();
    for round in 0..=FEW {
        let batch = addresses.take(1000);
        small.push(round, OURS, Some(places::block_all(&ours, &batch)));
        places::lift_all(&ours);
        small.push(round, OURS_UFW, Some(places::block_all(&engine, &batch)));
        places::lift_all(&engine);
        small.push(round, NFT, Some(nft_file(&bare, &batch)));
        small.push(round, CROWDSEC, crowdsec.block(&batch));
        for (name, jail, sample) in [(F2B, &jails[0], 1000), (F2B_UFW, &jails[1], SAMPLE)] {
            // The first round is for warming up, and takes long enough with fewer.
            let sample = if round > 0 { sample } else { 10 };
            let factor = 1000 / u32::try_from(sample).unwrap();
            small.push(round, name, Some(jail.block(&batch[..sample]) * factor));
        }
    }
    rows(&large, &small, report);
    let shown = format!("{} of {}, left out above", crowdsec.missed, crowdsec.imports);
    report.line("imports that CrowdSec refuses, or misses some of for good", &shown, "", "", true);
    charts(&large, &small, report);
}

fn rows(large: &Compared, small: &Compared, report: &mut Report) {
    for (count, compared, name, peer, bar) in [
        ("10,000", large, OURS, CROWDSEC, 2.0),
        ("1,000", small, OURS, CROWDSEC, 2.0),
        ("1,000", small, OURS, F2B, 50.0),
        ("1,000", small, OURS, F2B_UFW, 50.0),
        ("1,000", small, OURS_UFW, F2B_UFW, 100.0),
    ] {
        // None: it missed some each time, which is a row of its own.
        let Some((ours, theirs)) = compared.median(name).zip(compared.median(peer)) else {
            continue;
        };
        let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
        report.line(
            &format!("{count} addresses by {name}, against {peer}"),
            &format!("{} against {}", ms(ours), seconds(theirs)),
            &format!("{ratio:.1} times as fast"),
            &format!("{bar} times"),
            ratio >= bar,
        );
    }
}

fn charts(large: &Compared, small: &Compared, report: &mut Report) {
    for (count, compared, names) in [
        ("10,000", large, &[NFT, OURS, CROWDSEC][..]),
        ("1,000", small, &[NFT, OURS, OURS_UFW, CROWDSEC, F2B, F2B_UFW]),
    ] {
        let bar = |name: &&'static str| {
            let time = compared.median(name)?;
            Some(((*name).to_owned(), time.as_secs_f64(), seconds(time)))
        };
        report.chart(Chart {
            title: format!(
                "{count} addresses, from asking until all are dropped; each character doubles the time"
            ),
            scale: Scale::Doubling,
            bars: names.iter().filter_map(bar).collect(),
        });
    }
}

fn seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 10.0 { format!("{seconds:.3} s") } else { format!("{seconds:.0} s") }
}

/// The times of each.
#[derive(Default)]
struct Compared(Vec<(&'static str, Duration)>);

impl Compared {
    /// Adds one of a round that counts.
    fn push(&mut self, round: usize, name: &'static str, took: Option<Duration>) {
        let shown = took.map_or_else(|| "not all are dropped".to_owned(), seconds);
        eprintln!("  round {round}, {name}: {shown}");
        if let Some(took) = took.filter(|_| round > 0) {
            self.0.push((name, took));
        }
    }

    fn median(&self, name: &str) -> Option<Duration> {
        let of = self.0.iter().filter(|(other, _)| *other == name);
        let mut times: Vec<Duration> = of.map(|(_, took)| *took).collect();
        (!times.is_empty()).then(|| median(&mut times))
    }
}

/// Looks again and again until all are dropped: when that was, unless some never are.
fn dropped_all(began: Instant, all: usize, count: impl Fn() -> usize) -> Option<Duration> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let dropped = count();
        let took = began.elapsed();
        if dropped >= all {
            return Some(took);
        }
        if Instant::now() > deadline {
            eprintln!("  {dropped} of {all} are dropped after {}", seconds(took));
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

const OURS: &str = "webhookd, nftables";
const OURS_UFW: &str = "webhookd, ufw";
const NFT: &str = "one bare nft -f";
const CROWDSEC: &str = "CrowdSec";
const F2B: &str = "fail2ban, nftables";
const F2B_UFW: &str = "fail2ban, ufw";
/// Rounds of what takes minutes.
const FEW: usize = 3;
/// Addresses that stand for a thousand with fail2ban's ufw action, which takes longer for each the
/// more there are: a thousand take more than ten times as long.
const SAMPLE: usize = 100;
/// Many times longer than what comes at all takes once it was asked for.
const PATIENCE: Duration = Duration::from_secs(20);
