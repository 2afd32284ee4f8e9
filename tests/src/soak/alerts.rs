//! Genuine alerts of every kind, each for addresses whose last block has ended.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::Random;

/// What an alert is like.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// Of one address.
    One,
    /// Of many.
    Many,
    /// Of one address of each family.
    BothFamilies,
    /// Of one that is blocked for good.
    AlreadyBlocked,
    /// Of two, with all that Kibana knows of them: more than webhookd reads without a place for it.
    Detailed,
}

const KINDS: [Kind; 5] =
    [Kind::One, Kind::Many, Kind::BothFamilies, Kind::AlreadyBlocked, Kind::Detailed];

/// One that is to be posted.
#[derive(Debug)]
pub struct Alert {
    /// What it is like.
    pub kind: Kind,
    /// What is to be blocked by it, for [`TERM`]; of one that is blocked already, none.
    pub addresses: Vec<IpAddr>,
    /// What is posted.
    pub body: String,
}

/// Makes them, one after another.
#[derive(Debug)]
pub struct Alerts {
    source: u8,
    random: Random,
    made: [u16; 2],
}

impl Alerts {
    /// Those of one of several sources, which share no address.
    #[must_use]
    pub fn of(source: u8) -> Self {
        Self { source, random: Random::seeded(&format!("alerts {source}")), made: [0; 2] }
    }

    /// Waits for the next.
    pub fn wait_for_next(&mut self) -> Alert {
        self.random.pause(BETWEEN);
        let kind = KINDS[usize::try_from(self.random.from(0..KINDS.len() as u64)).unwrap()];
        let addresses = match kind {
            Kind::One if self.random.from(0..2) == 0 => vec![self.ipv6()],
            Kind::One => vec![self.ipv4()],
            Kind::Many => (0..8).map(|_| self.ipv4()).collect(),
            Kind::BothFamilies => vec![self.ipv4(), self.ipv6()],
            Kind::AlreadyBlocked => Vec::new(),
            Kind::Detailed => vec![self.ipv6(), self.ipv4()],
        };
        let body = match (kind, &*addresses) {
            (Kind::AlreadyBlocked, _) => json!({ "ip": FOR_GOOD }),
            (Kind::Detailed, _) => json!({
                "rule_name": "soak",
                "duration": TERM,
                "alerts": addresses.iter().map(document).collect::<Vec<Value>>(),
            }),
            (_, [one]) => json!({ "ip": one, "rule_name": "soak", "duration": TERM }),
            _ => json!({ "ips": addresses, "rule_name": "soak", "duration": TERM }),
        };
        Alert { kind, addresses, body: body.to_string() }
    }

    fn ipv4(&mut self) -> IpAddr {
        IpAddr::from([198, 18, self.source, self.number(0).try_into().unwrap()])
    }

    fn ipv6(&mut self) -> IpAddr {
        let number = self.number(1);
        IpAddr::from([0x2001, 0xdb8, 7, self.source.into(), 0, 0, 0, number])
    }

    fn number(&mut self, family: usize) -> u16 {
        self.made[family] = self.made[family] % POOL + 1;
        self.made[family]
    }
}

/// As Security tells it of a source, and much else.
fn document(source: &IpAddr) -> Value {
    let line = |number| format!("sshd[{number}]: Failed password for root from {source} port 22");
    let lines: Vec<String> = (0..500).map(line).collect();
    json!({
        "@timestamp": "2026-11-22T22:25:58.131Z",
        "event": { "action": "ssh_login", "outcome": "failure", "original": lines },
        "source": { "ip": source, "port": 4711, "geo": { "location": { "lat": 0, "lon": 0 } } },
        "related": { "ip": [source] },
    })
}

/// For how long each is blocked.
pub const TERM: &str = "20s";
/// Blocked before, without an end. In TEST-NET-1, where no test's host lives.
pub const FOR_GOOD: &str = "192.0.2.45";
/// Addresses of a family: in a term not as many are asked for.
const POOL: u16 = 250;
/// Milliseconds at most from an answer to the next alert of a source.
const BETWEEN: u64 = 1_200;
