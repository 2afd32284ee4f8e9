//! The benchmark behind `tests/bench`: webhookd's whole road against bare ufw, bare nft and its peers,
//! as medians and their ratios over interleaved pairs of one run. Ends with status 1 when a bar is
//! missed.

mod client;
mod connects;
mod peers;
mod places;
mod readme;
mod report;
mod sets;
mod throughput;
mod ufw;

use std::path::PathBuf;

use crate::report::Report;

fn main() {
    let run = Run::from_arguments();
    let mut report = Report::default();
    println!("{} interleaved pairs each; medians; P-256 certificate", run.pairs);
    for (name, heading, measure) in PARTS {
        let wanted = match run.part.as_deref() {
            None => name != PEERS || run.peers.is_some(),
            Some(part) => part == name,
        };
        if wanted {
            report.begin(heading);
            measure(&run, &mut report);
        }
    }
    let missed = report.missed();
    println!("\n{}", if missed == 0 { "every bar is met" } else { "a bar is MISSED" });
    if let Some(path) = run.readme.filter(|_| run.part.is_none() && run.pairs >= PAIRS) {
        readme::write(&path, &report, run.pairs);
    }
    std::process::exit(i32::from(missed > 0));
}

/// What is asked for.
struct Run {
    /// How often each pair is measured.
    pairs: usize,
    /// The one part that is measured, instead of all.
    part: Option<String>,
    /// Where fail2ban and CrowdSec are unpacked.
    peers: Option<PathBuf>,
    /// What the results of a whole run are written into.
    readme: Option<PathBuf>,
}

impl Run {
    fn from_arguments() -> Self {
        let mut run = Self { pairs: PAIRS, part: None, peers: None, readme: None };
        let mut arguments = std::env::args().skip(1);
        let mut words = Vec::new();
        while let Some(argument) = arguments.next() {
            match &*argument {
                "--peers" => run.peers = Some(arguments.next().unwrap_or_else(|| usage()).into()),
                "--readme" => run.readme = Some(arguments.next().unwrap_or_else(|| usage()).into()),
                _ => words.push(argument),
            }
        }
        if words.len() > 2 {
            usage();
        }
        for word in words {
            match word.parse() {
                Ok(pairs @ 1..) => run.pairs = pairs,
                _ if PARTS.iter().any(|(part, ..)| *part == word) => run.part = Some(word),
                _ => usage(),
            }
        }
        if run.part.as_deref() == Some(PEERS) && run.peers.is_none() {
            eprintln!("bench: the peers are fetched by tests/bench: sudo tests/bench peers");
            std::process::exit(64);
        }
        run
    }

    /// By what the bars of the nftables engine that are times are multiplied: without peers this is one
    /// check among many (`tests/run`), maybe on a busy machine.
    fn slack(&self) -> u32 {
        if self.peers.is_some() { 1 } else { 2 }
    }
}

fn usage() -> ! {
    let names = PARTS.map(|(name, ..)| name).join(", ");
    eprintln!("usage: tests/bench [PAIRS] [PART]   (default {PAIRS}; fewer is for trying out)");
    eprintln!("parts: {names}");
    eprintln!("without PART and not for trying out, the results are written into README.md");
    std::process::exit(64);
}

type Part = fn(&Run, &mut Report);

/// Each in worlds of its own, under a heading.
const PARTS: [(&str, &str, Part); 7] = [
    ("new-block", "`firewall = \"ufw\"`", |run, report| ufw::new_blocks(run.pairs, report)),
    ("many", "", |run, report| ufw::many_at_once(run.pairs, report)),
    ("known", "", |run, report| ufw::known_and_bad(run.pairs, report)),
    ("throughput", "", |run, report| throughput::measure(run.pairs, report)),
    ("sets", "`firewall = \"nftables\"`", |run, report| {
        sets::measure(run.pairs, run.slack(), report)
    }),
    ("connects", "", |run, report| connects::measure(run.pairs, report)),
    (PEERS, "Side by side", peers::measure),
];
/// Pairs for results that are kept.
const PAIRS: usize = 20;
const PEERS: &str = "peers";
