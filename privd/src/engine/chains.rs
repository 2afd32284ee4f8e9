//! What `iptables -S` shows: whether a drop is really reached in the kernel.
//!
//! A rule that is present may still not be reached (measured): a custom accept in before.rules, an
//! ACCEPT in INPUT ahead of ufw's jumps, or chains that `iptables -F` took the jumps from. So the
//! way of a packet is followed from the built-in chain to the rule.

use std::collections::HashMap;

use ipnet::IpNet;
use protocol::Target;

use crate::engine::rules_file::Direction;

/// The way of one direction's packets, from INPUT or OUTPUT to the end of ufw's user chain.
#[derive(Debug, Default)]
pub struct Path {
    exists: bool,
    reached: bool,
    position: usize,
    drops: HashMap<IpNet, usize>,
    accepts: Vec<Accept>,
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

impl Path {
    /// Both ways in the output of `iptables -S` or `ip6tables -S`, as in [`Direction::BOTH`].
    pub fn both(listing: &str, ipv6: bool) -> [Self; 2] {
        let mut chains = Chains::new();
        for line in listing.lines() {
            let mut words = words(line).into_iter();
            match (words.next().as_deref(), words.next()) {
                (Some("-P" | "-N"), Some(chain)) => drop(chains.entry(chain).or_default()),
                (Some("-A"), Some(chain)) => {
                    chains.entry(chain).or_default().push(Rule::parse(line, words));
                }
                _ => {}
            }
        }
        Direction::BOTH.map(|direction| Self::follow(&chains, ipv6, direction))
    }

    /// Whether every packet of the target's meets its drop before anything that may accept it.
    pub fn standing(&self, target: Target) -> KernelStanding<'_> {
        if !self.exists {
            return KernelStanding::NoChain;
        }
        if !self.reached {
            return KernelStanding::NotReached;
        }
        let Some(drop) = self.drops.get(&target.net()) else { return KernelStanding::Absent };
        let ahead = self.accepts.iter().find(|accept| {
            accept.position < *drop && accept.conditions.iter().all(|one| one.may_match(target))
        });
        ahead.map_or(KernelStanding::Dropped, |accept| KernelStanding::Bypassed(&accept.text))
    }

    fn follow(chains: &Chains, ipv6: bool, direction: Direction) -> Self {
        let (start, suffix) = match direction {
            Direction::In => ("INPUT", "input"),
            Direction::Out => ("OUTPUT", "output"),
        };
        let user = format!("{}-user-{suffix}", if ipv6 { "ufw6" } else { "ufw" });
        let mut path = Self { exists: chains.contains_key(&user), ..Self::default() };
        let walk = Walk { chains, user: &user, direction };
        path.reached = walk.chain(start, &[], true, MAX_DEPTH, &mut path);
        path
    }
}

/// Something that may let packets through, or past ufw's chain.
#[derive(Debug)]
struct Accept {
    position: usize,
    conditions: Vec<Selector>,
    text: String,
}

type Chains = HashMap<String, Vec<Rule>>;

struct Walk<'a> {
    chains: &'a Chains,
    user: &'a str,
    direction: Direction,
}

impl Walk<'_> {
    /// Visits a chain under the conditions of the jumps that led here (`whole`: none at all).
    /// True: every packet came to the end of the user chain.
    fn chain(
        &self,
        name: &str,
        conditions: &[Selector],
        whole: bool,
        depth: u8,
        path: &mut Path,
    ) -> bool {
        let mut returns = Vec::new();
        let mut reached = false;
        let rules = self.chains.get(name).filter(|_| depth > 0).into_iter().flatten();
        for rule in rules {
            path.position = path.position.saturating_add(1);
            let (theirs, ours) = match self.direction {
                Direction::In => (rule.source, rule.destination),
                Direction::Out => (rule.destination, rule.source),
            };
            let conditions: Vec<Selector> = conditions.iter().copied().chain(theirs).collect();
            let accept = |conditions| Accept {
                position: path.position,
                conditions,
                text: rule.text.clone(),
            };
            match rule.target.as_deref() {
                Some("DROP" | "REJECT") => {
                    if let Some(Selector { net, negated: false }) = theirs
                        && whole
                        && name == self.user
                        && ours.is_none()
                        && rule.matches.is_empty()
                    {
                        path.drops.entry(net).or_insert(path.position);
                    }
                }
                // Only marks, counts or logs; the packet goes on.
                None | Some("LOG" | "NFLOG" | "MARK" | "CONNMARK" | "TRACE" | "AUDIT") => {}
                // Matters only if this chain turns out to be the one that leads to ufw's.
                Some("RETURN") => returns.push(accept(conditions)),
                Some("ACCEPT") if rule.is_harmless() => {}
                Some(next) if self.chains.contains_key(next) && !rule.goto => {
                    let bare = theirs.is_none() && ours.is_none() && rule.matches.is_empty();
                    let depth = depth.saturating_sub(1);
                    reached = self.chain(next, &conditions, whole && bare, depth, path);
                    if reached {
                        break;
                    }
                }
                // ACCEPT, a goto, a queue to a program, an unknown target: none may come first.
                Some(_) => path.accepts.push(accept(conditions)),
            }
        }
        let reached = reached || whole && name == self.user;
        if reached {
            path.accepts.append(&mut returns);
        }
        reached
    }
}

/// An address condition.
#[derive(Clone, Copy, Debug)]
struct Selector {
    net: IpNet,
    negated: bool,
}

impl Selector {
    fn may_match(&self, target: Target) -> bool {
        if self.negated { !self.net.contains(&target.net()) } else { target.overlaps(self.net) }
    }
}

#[derive(Debug, Default)]
struct Rule {
    text: String,
    source: Option<Selector>,
    destination: Option<Selector>,
    /// Matches beside source and destination, as words.
    matches: Vec<String>,
    target: Option<String>,
    goto: bool,
}

impl Rule {
    fn parse(line: &str, mut words: impl Iterator<Item = String>) -> Self {
        let mut rule = Self { text: line.to_owned(), ..Self::default() };
        let mut negated = false;
        while let Some(word) = words.next() {
            match word.as_str() {
                "!" => {
                    negated = true;
                    continue;
                }
                "-s" => rule.source = selector(words.next(), negated),
                "-d" => rule.destination = selector(words.next(), negated),
                "-j" | "-g" => {
                    rule.goto = word == "-g";
                    rule.target = words.next();
                    // The rest are the target's own options (--reject-with, --log-prefix).
                    break;
                }
                _ if negated => rule.matches.extend(["!".to_owned(), word]),
                _ => rule.matches.push(word),
            }
            negated = false;
        }
        rule
    }

    /// What ufw's own before.rules accept ahead of the user's rules: loopback, packets of
    /// connections that exist (cut by conntrack), ICMP, DHCP, mDNS and SSDP.
    fn is_harmless(&self) -> bool {
        let matches: Vec<&str> = self.matches.iter().map(String::as_str).collect();
        match matches.as_slice() {
            ["-i" | "-o", "lo", ..] | ["-p", "icmp" | "ipv6-icmp", ..] => true,
            ["-m", "conntrack", "--ctstate", states] | ["-m", "state", "--state", states] => {
                states.split(',').all(|state| matches!(state, "RELATED" | "ESTABLISHED"))
            }
            ["-p", "udp", "-m", "udp", "--sport", sport, "--dport", dport] => {
                matches!((*sport, *dport), ("67", "68") | ("547", "546"))
            }
            ["-p", "udp", "-m", "udp", "--dport", "5353" | "1900"] => {
                self.destination.is_some_and(|to| !to.negated && to.net.addr().is_multicast())
            }
            _ => false,
        }
    }
}

fn selector(word: Option<String>, negated: bool) -> Option<Selector> {
    let net: IpNet = word?.parse().ok()?;
    Some(Selector { net: net.trunc(), negated })
}

/// Splits a line as iptables quotes it.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for character in line.chars() {
        match character {
            '\\' if quoted && !escaped => escaped = true,
            '"' if !escaped => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => {
                words.last_mut().into_iter().for_each(|word| word.push(character));
                escaped = false;
            }
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Jumps in a row that are followed; ufw's are three deep, and the kernel refuses loops.
const MAX_DEPTH: u8 = 16;

#[cfg(test)]
mod tests;
