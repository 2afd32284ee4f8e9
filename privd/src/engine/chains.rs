//! What `iptables -S` shows: whether a drop is really reached in the kernel.
//!
//! A rule that is present may still not be reached (measured): a custom accept in before.rules, an
//! ACCEPT in INPUT ahead of ufw's jumps, or chains that `iptables -F` took the jumps from. So the
//! way of a packet is followed from the built-in chain to the rule.

use std::collections::{HashMap, HashSet};

use ipnet::IpNet;
use protocol::Target;

use crate::engine::rules_file::Direction;

/// The filter table of one family.
#[derive(Debug, Default)]
pub struct Chains {
    chains: HashMap<String, Vec<KernelRule>>,
}

impl Chains {
    /// Parses the output of `iptables -S` or `ip6tables -S`.
    #[must_use]
    pub fn parse(listing: &str) -> Self {
        let mut chains: HashMap<String, Vec<KernelRule>> = HashMap::new();
        for line in listing.lines() {
            let mut words = words(line).into_iter();
            match (words.next().as_deref(), words.next()) {
                (Some("-P" | "-N"), Some(chain)) => {
                    chains.entry(chain).or_default();
                }
                (Some("-A"), Some(chain)) => {
                    let rule = KernelRule::parse(line, &words.collect::<Vec<_>>());
                    chains.entry(chain).or_default().push(rule);
                }
                _ => {}
            }
        }
        Self { chains }
    }

    /// Follows a packet from INPUT or OUTPUT to the end of ufw's user chain.
    #[must_use]
    pub fn path(&self, ipv6: bool, direction: Direction) -> Path {
        let (start, suffix) = match direction {
            Direction::In => ("INPUT", "input"),
            Direction::Out => ("OUTPUT", "output"),
        };
        let user = format!("{}-user-{suffix}", if ipv6 { "ufw6" } else { "ufw" });
        let mut path = Path {
            direction,
            exists: self.chains.contains_key(&user),
            reached: false,
            position: 0,
            drops: HashMap::new(),
            accepts: Vec::new(),
        };
        let mut walk =
            Walk { chains: self, user: &user, visiting: HashSet::new(), path: &mut path };
        walk.chain(start, &[], true);
        path
    }

    fn leads_to(&self, from: &str, to: &str, depth: u8) -> bool {
        from == to
            || depth > 0
                && self.chains.get(from).is_some_and(|rules| {
                    rules.iter().any(|rule| {
                        rule.is_bare()
                            && rule.target.as_deref().is_some_and(|next| {
                                self.leads_to(next, to, depth.saturating_sub(1))
                            })
                    })
                })
    }
}

/// The way of one direction's packets, up to the end of the user chain.
#[derive(Debug)]
pub struct Path {
    direction: Direction,
    exists: bool,
    reached: bool,
    position: usize,
    drops: HashMap<IpNet, usize>,
    accepts: Vec<(usize, Vec<Selector>, String)>,
}

impl Path {
    /// Whether every packet of the target's meets its drop before anything that may accept it.
    #[must_use]
    pub fn standing(&self, target: Target) -> KernelStanding<'_> {
        if !self.exists {
            return KernelStanding::NoChain;
        }
        if !self.reached {
            return KernelStanding::NotReached;
        }
        let drop = self.drops.get(&target.net()).copied();
        let accept = self.accepts.iter().find(|(position, selectors, _)| {
            drop.is_none_or(|drop| *position < drop)
                && selectors.iter().all(|selector| selector.may_match(target))
        });
        match (drop, accept) {
            (Some(_), None) => KernelStanding::Dropped,
            (None, _) => KernelStanding::Absent,
            (Some(_), Some((_, _, text))) => KernelStanding::Bypassed(text),
        }
    }

    /// Which packets take it.
    #[must_use]
    pub const fn direction(&self) -> Direction {
        self.direction
    }

    /// INPUT or OUTPUT.
    #[must_use]
    pub const fn start(&self) -> &'static str {
        match self.direction {
            Direction::In => "INPUT",
            Direction::Out => "OUTPUT",
        }
    }
}

/// How the kernel stands to a block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KernelStanding<'a> {
    /// Every packet meets the drop.
    Dropped,
    /// The chain is there and reached; the drop is not in it.
    Absent,
    /// This rule lets packets through ahead of the drop.
    Bypassed(&'a str),
    /// ufw's chain exists; nothing leads to it.
    NotReached,
    /// ufw's chain does not exist: the firewall is not loaded.
    NoChain,
}

struct Walk<'w, 'a> {
    chains: &'a Chains,
    user: &'w str,
    visiting: HashSet<&'a str>,
    path: &'w mut Path,
}

impl<'a> Walk<'_, 'a> {
    /// Visits a chain under the conditions of the jumps that led here; `whole`: without any.
    fn chain(&mut self, name: &str, conditions: &[Selector], whole: bool) {
        // The kernel refuses loops; the guard bounds us should the listing show one.
        let Some((name, rules)) = self.chains.chains.get_key_value(name) else { return };
        if !self.visiting.insert(name) {
            return;
        }
        let on_path = whole && self.chains.leads_to(name, self.user, MAX_DEPTH);
        for rule in rules {
            if self.path.reached {
                break;
            }
            self.rule(rule, conditions, whole, on_path, name == self.user);
        }
        if whole && name == self.user {
            self.path.reached = true;
        }
        self.visiting.remove(name.as_str());
    }

    fn rule(
        &mut self,
        rule: &'a KernelRule,
        conditions: &[Selector],
        whole: bool,
        on_path: bool,
        in_user_chain: bool,
    ) {
        let selectors: Vec<Selector> =
            conditions.iter().chain(rule.selector(self.path.direction)).copied().collect();
        match rule.target.as_deref() {
            Some("DROP" | "REJECT") => {
                if in_user_chain && whole {
                    self.note_drop(rule);
                }
            }
            // Only marks, counts or logs; the packet goes on.
            None | Some("LOG" | "NFLOG" | "MARK" | "CONNMARK" | "TRACE" | "AUDIT") => {}
            // Back to a chain that goes on to ours, unless this one was to lead there.
            Some("RETURN") if !on_path => {}
            Some("ACCEPT") if rule.is_harmless() => {}
            Some(target) if self.chains.chains.contains_key(target) && !rule.goto => {
                self.chain(target, &selectors, whole && rule.is_bare());
            }
            // ACCEPT, a goto, a queue to a program, an unknown target: none may come first.
            Some(_) => self.note_accept(selectors, &rule.text),
        }
    }

    fn note_drop(&mut self, rule: &KernelRule) {
        let side = match self.path.direction {
            Direction::In => rule.source,
            Direction::Out => rule.destination,
        };
        if let Some(Selector { net, negated: false }) = side
            && rule.is_whole(self.path.direction)
        {
            self.path.drops.entry(net).or_insert(self.path.position);
        }
        self.path.position = self.path.position.saturating_add(1);
    }

    fn note_accept(&mut self, selectors: Vec<Selector>, text: &str) {
        self.path.accepts.push((self.path.position, selectors, text.to_owned()));
        self.path.position = self.path.position.saturating_add(1);
    }
}

/// An address condition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Selector {
    net: IpNet,
    negated: bool,
}

impl Selector {
    fn may_match(&self, target: Target) -> bool {
        if self.negated { !self.net.contains(&target.net()) } else { target.overlaps(self.net) }
    }
}

#[derive(Debug)]
struct KernelRule {
    text: String,
    source: Option<Selector>,
    destination: Option<Selector>,
    /// Matches beside source and destination, as words.
    matches: Vec<String>,
    target: Option<String>,
    goto: bool,
}

impl KernelRule {
    fn parse(line: &str, words: &[String]) -> Self {
        let mut rule = Self {
            text: line.to_owned(),
            source: None,
            destination: None,
            matches: Vec::new(),
            target: None,
            goto: false,
        };
        let mut words = words.iter().map(String::as_str).peekable();
        let mut negated = false;
        while let Some(word) = words.next() {
            match word {
                "!" => {
                    negated = true;
                    if !matches!(words.peek(), Some(&"-s" | &"-d")) {
                        rule.matches.push("!".to_owned());
                    }
                    continue;
                }
                "-s" => rule.source = selector(words.next(), negated),
                "-d" => rule.destination = selector(words.next(), negated),
                "-j" | "-g" => {
                    rule.goto = word == "-g";
                    rule.target = words.next().map(str::to_owned);
                    // The rest are the target's own options (--reject-with, --log-prefix).
                    break;
                }
                other => rule.matches.push(other.to_owned()),
            }
            negated = false;
        }
        rule
    }

    fn selector(&self, direction: Direction) -> Option<&Selector> {
        match direction {
            Direction::In => self.source.as_ref(),
            Direction::Out => self.destination.as_ref(),
        }
    }

    /// No condition at all.
    fn is_bare(&self) -> bool {
        self.source.is_none() && self.destination.is_none() && self.matches.is_empty()
    }

    /// No condition beside the target's address.
    fn is_whole(&self, direction: Direction) -> bool {
        let other = match direction {
            Direction::In => &self.destination,
            Direction::Out => &self.source,
        };
        other.is_none() && self.matches.is_empty()
    }

    /// What ufw's own before.rules accept ahead of the user's rules: loopback, packets of
    /// connections that exist (cut by conntrack), ICMP, DHCP, mDNS and SSDP.
    fn is_harmless(&self) -> bool {
        let matches: Vec<&str> = self.matches.iter().map(String::as_str).collect();
        match matches.as_slice() {
            ["-i" | "-o", "lo", ..] => true,
            ["-m", "conntrack", "--ctstate", states] | ["-m", "state", "--state", states] => {
                states.split(',').all(|state| matches!(state, "RELATED" | "ESTABLISHED"))
            }
            ["-p", "icmp" | "ipv6-icmp", ..] => true,
            ["-p", "udp", "-m", "udp", "--sport", sport, "--dport", dport] => {
                matches!((*sport, *dport), ("67", "68") | ("547", "546"))
            }
            ["-p", "udp", "-m", "udp", "--dport", port] => {
                matches!(*port, "5353" | "1900")
                    && self
                        .destination
                        .is_some_and(|group| !group.negated && group.net.addr().is_multicast())
            }
            _ => false,
        }
    }
}

fn selector(word: Option<&str>, negated: bool) -> Option<Selector> {
    let net: IpNet = word?.parse().ok()?;
    Some(Selector { net: net.trunc(), negated })
}

/// Splits a line as iptables quotes it.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quoted, mut escaped) = (false, false);
    for character in line.chars() {
        match character {
            _ if escaped => {
                word.push(character);
                escaped = false;
            }
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ' ' if !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            _ => word.push(character),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Jumps in a row that are followed; ufw's are three deep.
const MAX_DEPTH: u8 = 16;

#[cfg(test)]
mod tests;
