//! What `iptables -S` shows: whether a drop is really reached in the kernel.
//!
//! A rule that is present may still not be reached (measured): a custom accept in before.rules, an
//! ACCEPT in INPUT ahead of ufw's jumps, or chains that `iptables -F` took the jumps from. So the
//! way of a packet is followed from the built-in chain to the rule.

use std::collections::HashMap;

use ipnet::IpNet;
use protocol::Target;

use crate::Direction;

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

    /// The chains in a listing that a killed ufw left behind: it makes one at each start to see what
    /// the kernel can do, and takes it away again.
    pub fn strays(listing: &str) -> impl Iterator<Item = &str> {
        let chains = listing.lines().filter_map(|line| line.strip_prefix("-N "));
        chains.filter(|chain| {
            chain.starts_with("ufw-caps-test") || chain.starts_with("ufw6-caps-test")
        })
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
        for rule in self.chains.get(name).into_iter().flatten() {
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
                Some(word) if TARGETS.contains(&word) && self.chains.contains_key(word) => {
                    path.accepts.push(accept(conditions));
                }
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
                Some(next)
                    if self.chains.contains_key(next)
                        && !rule.goto
                        && depth > 0
                        && path.position < MOST_RULES =>
                {
                    let bare = theirs.is_none() && ours.is_none() && rule.matches.is_empty();
                    let depth = depth.saturating_sub(1);
                    reached = self.chain(next, &conditions, whole && bare, depth, path);
                    if reached {
                        break;
                    }
                }
                // ACCEPT, a goto, a queue to a program, what is unknown or too deep: none may come first.
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
        // A comment with a line break goes on in the next line, and with it the target.
        if line.matches('"').count() % 2 == 1 {
            rule.target = Some("unreadable".to_owned());
            return rule;
        }
        let mut negated = false;
        while let Some(word) = words.next() {
            match word.as_str() {
                "!" => {
                    negated = true;
                    continue;
                }
                "-s" | "-d" => {
                    let side = if word == "-s" { &mut rule.source } else { &mut rule.destination };
                    *side = selector(words.next(), negated);
                    if side.is_none() {
                        rule.matches.push(word);
                    }
                }
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

/// Rules that are gone through, each as often as it is led to: a second's work. Sixteen chains with
/// a few jumps each to the next one would be work for years.
const MOST_RULES: usize = 1_000_000;

/// What a rule of these may do is known; not so where nft(8) has made a chain of that name, which
/// iptables(8) refuses and cannot tell from the target.
const TARGETS: [&str; 4] = ["ACCEPT", "DROP", "REJECT", "RETURN"];

/// Jumps in a row that are followed; ufw's are three deep, and the kernel refuses loops.
const MAX_DEPTH: u8 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// `iptables -S` of ufw 0.36.2 with a few rules: `deny from 198.51.100.7` first, then `allow 22`.
    const UFW: &str = include_str!("chains/ufw4.txt");
    const UFW6: &str = include_str!("chains/ufw6.txt");

    fn standing(listing: &str, target: &str, direction: Direction) -> String {
        let target: Target = target.parse().unwrap();
        let [out, input] = Path::both(listing, target.is_ipv6());
        let path = if direction == Direction::In { input } else { out };
        match path.standing(target) {
            KernelStanding::Bypassed(rule) => format!("bypassed by {rule}"),
            other => format!("{other:?}"),
        }
    }

    fn with_line(before: &str, line: &str) -> String {
        assert!(UFW.contains(before), "{before}");
        UFW.replacen(before, &format!("{line}\n{before}"), 1)
    }

    const FIRST_INPUT: &str = "-A INPUT -j ufw-before-logging-input";
    const USER_JUMP: &str = "-A ufw-before-input -j ufw-user-input";

    #[test]
    fn ufws_own_rules_let_the_drop_be_reached() {
        assert_eq!(standing(UFW, "198.51.100.7", Direction::In), "Dropped");
        assert_eq!(standing(UFW, "198.51.100.7", Direction::Out), "Dropped");
        assert_eq!(standing(UFW6, "2001:db8:9::/64", Direction::In), "Dropped");
    }

    #[test]
    fn what_a_killed_ufw_left_is_found_and_nothing_else() {
        let listing =
            format!("-N ufw-caps-testx1_y\n-N ufw6-caps-testabc\n{UFW}-N my-ufw-caps-test\n");
        assert_eq!(
            Path::strays(&listing).collect::<Vec<_>>(),
            ["ufw-caps-testx1_y", "ufw6-caps-testabc"]
        );
        assert_eq!(Path::strays(UFW).count(), 0);
    }

    #[test]
    fn another_address_is_not_taken_for_it() {
        for other in ["198.51.100.70", "198.51.100.0/24", "198.51.100.6"] {
            assert_eq!(standing(UFW, other, Direction::In), "Absent", "{other}");
        }
    }

    #[test]
    fn a_drop_behind_an_accept_is_bypassed() {
        // 192.0.2.5 is denied behind `allow 22`.
        assert_eq!(
            standing(UFW, "192.0.2.5", Direction::In),
            "bypassed by -A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT"
        );
    }

    #[test]
    fn what_accepts_ahead_of_ufw_is_named() {
        for (before, line) in [
            (USER_JUMP, "-A ufw-before-input -p tcp -m tcp --dport 22 -j ACCEPT"),
            (USER_JUMP, "-A ufw-before-input -i eth1 -j ACCEPT"),
            (USER_JUMP, "-A ufw-before-input -p tcp -m tcp --dport 22 -j RETURN"),
            (FIRST_INPUT, "-A INPUT -j ACCEPT"),
            (FIRST_INPUT, "-A INPUT -s 198.51.0.0/16 -j ACCEPT"),
            (FIRST_INPUT, "-A INPUT ! -s 10.0.0.0/8 -j ACCEPT"),
            (FIRST_INPUT, "-A INPUT ! -i eth0 -j ACCEPT"),
            (FIRST_INPUT, "-A INPUT ! -i lo -j ACCEPT"),
            (FIRST_INPUT, "-A INPUT -p tcp -j NFQUEUE --queue-num 0"),
            (FIRST_INPUT, "-A INPUT -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT"),
            (FIRST_INPUT, "-A INPUT -p udp -m udp --dport 5353 -j ACCEPT"),
            (FIRST_INPUT, "-A INPUT -d 192.0.2.9/32 -p udp -m udp --dport 5353 -j ACCEPT"),
            (FIRST_INPUT, "-A INPUT ! -d 224.0.0.251/32 -p udp -m udp --dport 5353 -j ACCEPT"),
            // Where the comment goes on in the next line, so does the rule.
            (FIRST_INPUT, "-A INPUT -m comment --comment \"two"),
        ] {
            let listing = with_line(before, line);
            assert_eq!(
                standing(&listing, "198.51.100.7", Direction::In),
                format!("bypassed by {line}")
            );
        }
    }

    #[test]
    fn words_are_split_as_iptables_quotes_them() {
        for (line, expected) in [
            ("-A INPUT  -j LOG", &["-A", "INPUT", "-j", "LOG"][..]),
            (r#"--comment "a b" -j LOG"#, &["--comment", "a b", "-j", "LOG"]),
            (
                r#"--comment "a \"b\" -j ACCEPT" -j LOG"#,
                &["--comment", r#"a "b" -j ACCEPT"#, "-j", "LOG"],
            ),
            (r#"--comment "a \\" -j LOG"#, &["--comment", r"a \", "-j", "LOG"]),
            (r"--comment a\b c", &["--comment", r"a\b", "c"]),
        ] {
            assert_eq!(words(line), expected, "{line}");
        }
    }

    #[test]
    fn what_is_deeper_than_chains_are_followed_may_accept() {
        let mut jumps = "-A INPUT -j chain1\n".to_owned();
        for level in 1..20 {
            jumps += &format!("-N chain{level}\n-A chain{level} -j chain{}\n", level + 1);
        }
        let listing = with_line(FIRST_INPUT, &format!("-N chain20\n{jumps}"));
        assert_eq!(
            standing(&listing, "198.51.100.7", Direction::In),
            format!("bypassed by -A chain{MAX_DEPTH} -j chain{}", MAX_DEPTH + 1)
        );
    }

    #[test]
    fn a_chain_that_is_called_as_a_target_is_not_taken_for_it() {
        let accepting = with_line(FIRST_INPUT, "-A INPUT -j ACCEPT");
        for (chain, listing, expected) in [
            ("ACCEPT", &*accepting, "bypassed by -A INPUT -j ACCEPT"),
            ("DROP", UFW, "Absent"),
            ("RETURN", UFW, "bypassed by -A ufw-logging-deny"),
        ] {
            let listing = format!("-N {chain}\n{listing}");
            let seen = standing(&listing, "198.51.100.7", Direction::In);
            assert!(seen.starts_with(expected), "{chain}: {seen}");
        }
    }

    #[test]
    fn chains_that_lead_to_each_other_too_many_times_are_not_followed_to_the_end() {
        let mut jumps = "-A INPUT -j chain1\n".to_owned();
        for level in 1..15 {
            let jump = format!("-A chain{level} -j chain{}\n", level + 1);
            jumps += &format!("-N chain{level}\n{}", jump.repeat(3));
        }
        let listing = with_line(FIRST_INPUT, &format!("-N chain15\n{jumps}"));
        assert_eq!(standing(&listing, "198.51.100.7", Direction::In), "NotReached");
        assert_eq!(standing(&listing, "198.51.100.7", Direction::Out), "Dropped");
    }

    #[test]
    fn what_cannot_accept_the_target_does_not_matter() {
        for (before, line) in [
            (FIRST_INPUT, "-A INPUT -s 10.0.0.0/8 -j ACCEPT"),
            (FIRST_INPUT, "-A INPUT ! -s 198.51.100.0/24 -j ACCEPT"),
            (FIRST_INPUT, "-A INPUT -p tcp -m tcp --dport 22 -j DROP"),
            (FIRST_INPUT, "-A INPUT -p tcp -j LOG --log-prefix \"x -j ACCEPT \""),
            (USER_JUMP, "-A ufw-before-input -i lo -j ACCEPT"),
        ] {
            let listing = with_line(before, line);
            assert_eq!(standing(&listing, "198.51.100.7", Direction::In), "Dropped", "{line}");
        }
    }

    #[test]
    fn an_accept_inside_another_tools_chain_is_found() {
        let fail2ban =
            "-N f2b\n-A INPUT -p tcp -j f2b\n-A f2b -s 9.9.9.9/32 -j REJECT\n-A f2b -j RETURN";
        let listing = with_line(FIRST_INPUT, fail2ban);
        assert_eq!(standing(&listing, "198.51.100.7", Direction::In), "Dropped");
        let listing = with_line(FIRST_INPUT, "-N vpn\n-A INPUT -j vpn\n-A vpn -i tun0 -j ACCEPT");
        assert_eq!(
            standing(&listing, "198.51.100.7", Direction::In),
            "bypassed by -A vpn -i tun0 -j ACCEPT"
        );
        let listing =
            with_line(FIRST_INPUT, "-N vpn\n-A INPUT -s 10.0.0.0/8 -j vpn\n-A vpn -j ACCEPT");
        assert_eq!(standing(&listing, "198.51.100.7", Direction::In), "Dropped");
    }

    #[test]
    fn a_user_chain_behind_a_condition_does_not_count() {
        let listing = UFW.replace(USER_JUMP, "-A ufw-before-input -i eth0 -j ufw-user-input");
        assert_eq!(standing(&listing, "198.51.100.7", Direction::In), "NotReached");
    }

    #[test]
    fn flushed_and_deleted_chains_are_told_apart() {
        let flushed: String = UFW
            .lines()
            .filter(|line| !line.starts_with("-A"))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(standing(&flushed, "198.51.100.7", Direction::In), "NotReached");
        let only_ours = format!("{flushed}-A ufw-user-input -s 198.51.100.7/32 -j DROP\n");
        assert_eq!(standing(&only_ours, "198.51.100.7", Direction::In), "NotReached");
        assert_eq!(standing("-P INPUT ACCEPT\n", "198.51.100.7", Direction::In), "NoChain");
    }

    #[test]
    fn a_narrower_drop_is_not_the_block() {
        for narrower in [
            "-A ufw-user-input -s 198.51.100.7/32 -p tcp -j DROP",
            "-A ufw-user-input -s 198.51.100.7/32 -i eth0 -j DROP",
            "-A ufw-user-input -s 198.51.100.7/32 -d 10.0.0.1/32 -j DROP",
            "-A ufw-user-input ! -s 198.51.100.7/32 -j DROP",
        ] {
            let listing = UFW.replace("-A ufw-user-input -s 198.51.100.7/32 -j DROP", narrower);
            assert_eq!(standing(&listing, "198.51.100.7", Direction::In), "Absent", "{narrower}");
        }
    }
}
