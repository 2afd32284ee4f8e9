//! What all attacks share: until when, by what numbers, and what came of it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use protocol::{Outcome, Reply, Target, Verdict};
use tests::{Peer, Random};

/// One attack under way.
pub struct Raid {
    pub socket: PathBuf,
    pub seed: u64,
    end: Instant,
    counts: Mutex<BTreeMap<&'static str, usize>>,
}

impl Raid {
    pub fn new(socket: PathBuf, seconds: u64, seed: u64) -> Self {
        let end = Instant::now() + Duration::from_secs(seconds);
        Self { socket, seed, end, counts: Mutex::default() }
    }

    pub fn goes_on(&self) -> bool {
        Instant::now() < self.end
    }

    /// Lets so many threads, numbered from 0, attack over and over, each with numbers of its own and on
    /// what `begin` gave it.
    pub fn each<T>(
        &self,
        threads: u8,
        begin: impl Fn(u8) -> T + Sync,
        attack: impl Fn(&mut T, &mut Random) + Sync,
    ) {
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let (begin, attack) = (&begin, &attack);
                let seed = self.seed.rotate_left(thread.into()) ^ u64::from(thread);
                scope.spawn(move || {
                    let (mut state, mut random) = (begin(thread), Random::from_seed(seed));
                    while self.goes_on() {
                        attack(&mut state, &mut random);
                    }
                });
            }
        });
    }

    pub fn served(&self) -> Peer {
        Peer::served(&self.socket)
    }

    pub fn note(&self, what: &'static str, times: usize) {
        *self.counts.lock().unwrap().entry(what).or_default() += times;
    }

    /// `blocked=3 busy=7`.
    pub fn counts(&self) -> String {
        let counts = self.counts.lock().unwrap();
        let words: Vec<String> =
            counts.iter().map(|(what, times)| format!("{what}={times}")).collect();
        words.join(" ")
    }

    /// What a request for these may be told: a verdict for each, in order, or that it is too much.
    pub fn judge(&self, reply: &Reply, asked: &[Target]) {
        let verdicts = match reply {
            Reply::Block(verdicts) => verdicts,
            Reply::Busy => return self.note("busy", 1),
            other => panic!("a block is answered {other:?}"),
        };
        assert!(verdicts.iter().map(|one| &one.target).eq(asked), "not one a target, in order");
        let mut counts = BTreeMap::<&str, usize>::new();
        for verdict in verdicts {
            *counts.entry(permitted(verdict)).or_default() += 1;
        }
        counts.into_iter().for_each(|(name, times)| self.note(name, times));
    }
}

/// The outcome's name.
fn permitted(verdict: &Verdict) -> &'static str {
    match &verdict.outcome {
        Outcome::Blocked(enforced) | Outcome::AlreadyBlocked(enforced) => {
            assert_eq!(enforced.target, verdict.target, "something else is blocked");
        }
        // A flood may make ufw late.
        Outcome::OverQuota { .. }
        | Outcome::Unavailable
        | Outcome::Refused(_)
        | Outcome::Pending => {}
        other => panic!("{} is {other:?}: {}", verdict.target, verdict.detail),
    }
    verdict.outcome.name()
}

/// One of the 131,072 addresses of RFC 2544, which no test's host has.
pub fn address(number: u32) -> Target {
    Target::host(IpAddr::from((0xc612_0000 | number & 0x1_ffff).to_be_bytes()))
}

/// Any of them.
pub fn any_address(random: &mut Random) -> Target {
    address(u32::try_from(random.from(0..1 << 17)).unwrap())
}

/// Refused to everybody, whatever the quota: no remote host has it.
pub fn loopback(number: u32) -> Target {
    Target::host(IpAddr::from((0x7f00_0000 | number & 0xff_ffff).to_be_bytes()))
}

/// The network of this length around a host.
pub fn around(host: Target, prefix: u8) -> Target {
    let left = host.net().max_prefix_len() - prefix;
    let cleared = |bits: u128| bits.checked_shr(left.into()).unwrap_or(0) << left;
    let address = match host.net().addr() {
        IpAddr::V4(address) => {
            IpAddr::from(u32::try_from(cleared(address.to_bits().into())).unwrap().to_be_bytes())
        }
        IpAddr::V6(address) => IpAddr::from(cleared(address.to_bits()).to_be_bytes()),
    };
    format!("{address}/{prefix}").parse().unwrap()
}
