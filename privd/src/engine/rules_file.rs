//! ufw's `user.rules` and `user6.rules`: what stands in them, typed.
//!
//! The format is ufw 0.36's own (`_write_rules` in its `backend_iptables.py`): a line
//! `### tuple ### ACTION PROTO DPORT DST SPORT SRC [DAPP SAPP] DIRECTION[_IFACE] [comment=HEX]`
//! in front of each rule's iptables lines. Texts are never searched: `10.1.1.1` is no part of
//! `10.1.1.10`.

use std::collections::HashMap;

use ipnet::IpNet;
use protocol::Target;

use crate::engine::COMMENT_PREFIX;

/// One rules file.
#[derive(Clone, Debug, Default)]
pub struct RulesFile {
    /// Whether the file ends with COMMIT. Without it nothing of it is loaded at the next boot.
    pub committed: bool,
    /// The rules in the order in which packets meet them.
    tuples: Vec<Tuple>,
    /// Where the first rule about all packets from, or to, a network stands.
    whole: HashMap<(Direction, IpNet), usize>,
    /// Where something is let through.
    accepting: Vec<usize>,
}

impl RulesFile {
    /// Parses a file's text. Lines that are not tuples are ufw's rendering of them and skipped.
    pub fn parse(text: &str) -> Self {
        let tuples = text.lines().filter_map(|line| line.strip_prefix(TUPLE)).map(Tuple::parse);
        let tuples: Vec<Tuple> = tuples.collect();
        let mut whole = HashMap::new();
        for (at, tuple) in tuples.iter().enumerate() {
            if let Some(key) = tuple.whole() {
                whole.entry(key).or_insert(at);
            }
        }
        let accepting = tuples.iter().enumerate().filter(|(_, tuple)| tuple.accepts());
        let accepting = accepting.map(|(at, _)| at).collect();
        let committed = text.lines().any(|line| line == "COMMIT");
        Self { committed, tuples, whole, accepting }
    }

    /// How the file stands to a block of `target` in one direction.
    pub fn standing(&self, target: Target, direction: Direction) -> FileStanding<'_> {
        let Some((at, found)) = self.whole.get(&(direction, target.net())).and_then(|at| {
            let tuple = self.tuples.get(*at)?;
            Some((*at, tuple))
        }) else {
            return FileStanding::Absent;
        };
        if found.accepts() {
            return FileStanding::Conflict(found);
        }
        let mut ahead = self.accepting.iter().take_while(|accepting| **accepting < at);
        let late = ahead.any(|accepting| {
            let tuple = self.tuples.get(*accepting);
            tuple.is_some_and(|tuple| tuple.may_accept(target, direction))
        });
        if late { FileStanding::Late(found) } else { FileStanding::First(found) }
    }

    /// Sources of inbound allow and limit rules that cover every port or name one host.
    pub fn allowed_sources(&self) -> impl Iterator<Item = (IpNet, &Tuple)> {
        self.tuples.iter().filter_map(|tuple| {
            let rule = tuple.rule.as_ref()?;
            let source = rule.source?;
            let one_host = source.prefix_len() == source.max_prefix_len();
            let inbound = rule.direction == Direction::In && !rule.routed;
            (inbound && rule.accepts() && (one_host || rule.every_port)).then_some((source, tuple))
        })
    }
}

/// How a rules file stands to a block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FileStanding<'a> {
    /// No rule for exactly this target.
    Absent,
    /// A drop, ahead of everything that would accept the target.
    First(&'a Tuple),
    /// A drop, behind something that accepts the target.
    Late(&'a Tuple),
    /// The same tuple with an action that lets through: ufw keeps one action for each tuple.
    Conflict(&'a Tuple),
}

/// Which packets a rule is about.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Direction {
    /// From the target.
    In,
    /// To the target.
    Out,
}

impl Direction {
    /// Both, in the order in which they are put in force: the last one is in front.
    pub const BOTH: [Self; 2] = [Self::Out, Self::In];
}

/// One rule of the file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tuple {
    /// The line behind the marker, without the comment.
    text: String,
    /// The comment, decoded; Err: there is one that is not UTF-8.
    pub comment: Result<Option<String>, ()>,
    /// None for a line that ufw itself would skip as malformed.
    rule: Option<Rule>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Rule {
    /// `allow`, `deny`, `limit` or `reject`.
    action: String,
    /// `log` or `log-all`.
    log: Option<String>,
    routed: bool,
    every_port: bool,
    /// Neither protocol, application nor interface narrows it.
    every_packet: bool,
    /// None: anywhere.
    source: Option<IpNet>,
    /// None: anywhere.
    destination: Option<IpNet>,
    direction: Direction,
}

impl Tuple {
    fn parse(line: &str) -> Self {
        let (text, comment) = match line.split_once(" comment=") {
            Some((text, hex)) => (text, unhex(hex.trim()).map(Some).ok_or(())),
            None => (line, Ok(None)),
        };
        Self { text: text.trim().to_owned(), comment, rule: Rule::parse(text) }
    }

    /// The rule as ufw's own tuple text, for messages.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the comment marks the rule as ours.
    pub fn is_ours(&self) -> bool {
        matches!(&self.comment, Ok(Some(comment)) if comment.starts_with(COMMENT_PREFIX))
    }

    /// The arguments that name this whole-target rule to `ufw delete` and `ufw prepend`.
    pub fn arguments(&self, target: Target, direction: Direction) -> Vec<String> {
        let Some(rule) = &self.rule else { return Vec::new() };
        let log = rule.log.as_deref();
        let mut arguments = block_arguments(&rule.action, log, target, direction);
        if let Ok(Some(comment)) = &self.comment {
            arguments.extend(["comment".to_owned(), comment.clone()]);
        }
        arguments
    }

    /// Whom all of whose packets this is about, as `ufw deny from X` and `ufw deny out to X` are,
    /// whatever the action.
    fn whole(&self) -> Option<(Direction, IpNet)> {
        let rule = self.rule.as_ref()?;
        let (theirs, ours) = match rule.direction {
            Direction::In => (rule.source, rule.destination),
            Direction::Out => (rule.destination, rule.source),
        };
        let every = !rule.routed && rule.every_port && rule.every_packet && ours.is_none();
        theirs.filter(|_| every).map(|net| (rule.direction, net))
    }

    /// Whether this lets something through. A line nobody understands might.
    fn accepts(&self) -> bool {
        self.rule.as_ref().is_none_or(|rule| rule.accepts())
    }

    /// Whether some packet of the target's would be let through here.
    fn may_accept(&self, target: Target, direction: Direction) -> bool {
        let Some(rule) = &self.rule else { return true };
        let theirs = if direction == Direction::In { rule.source } else { rule.destination };
        rule.accepts()
            && !rule.routed
            && rule.direction == direction
            && theirs.is_none_or(|net| target.overlaps(net))
    }
}

impl Rule {
    fn accepts(&self) -> bool {
        !matches!(self.action.as_str(), "deny" | "reject")
    }

    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let (core, application, place) = match fields.as_slice() {
            [core @ .., place] if core.len() == 6 => (core, false, *place),
            [core @ .., dapp, sapp, place] if core.len() == 6 => {
                (core, *dapp != "-" || *sapp != "-", *place)
            }
            _ => return None,
        };
        let [action, protocol, dport, destination, sport, source] = core else { return None };
        let (routed, action) = match action.strip_prefix("route:") {
            Some(action) => (true, action),
            None => (false, *action),
        };
        let (action, log) = match action.split_once('_') {
            Some((action, log)) => (action, Some(log.to_owned())),
            None => (action, None),
        };
        let (direction, interface) = place.split_once('_').unwrap_or((place, ""));
        Some(Self {
            action: action.to_owned(),
            log,
            routed,
            every_port: *dport == "any" && *sport == "any" && !application,
            every_packet: *protocol == "any" && interface.is_empty(),
            source: network(source)?,
            destination: network(destination)?,
            direction: match direction {
                "in" => Direction::In,
                "out" => Direction::Out,
                _ => return None,
            },
        })
    }
}

/// The arguments of a rule about all packets from, or to, a target.
pub fn block_arguments(
    action: &str,
    log: Option<&str>,
    target: Target,
    direction: Direction,
) -> Vec<String> {
    let mut arguments = vec![action.to_owned()];
    if direction == Direction::Out {
        arguments.push("out".to_owned());
    }
    arguments.extend(log.map(str::to_owned));
    arguments.push(if direction == Direction::In { "from" } else { "to" }.to_owned());
    arguments.push(target.to_string());
    arguments
}

/// An address or network; Some(None) is anywhere.
fn network(text: &str) -> Option<Option<IpNet>> {
    let host = || text.parse::<std::net::IpAddr>().ok().map(IpNet::from);
    // ufw keeps IPv6 host bits; the kernel does not.
    let net = text.parse().ok().or_else(host)?.trunc();
    Some((net.prefix_len() > 0).then_some(net))
}

fn unhex(hex: &str) -> Option<String> {
    let digits: Vec<char> = hex.chars().collect();
    let bytes = digits.chunks(2).map(|pair| {
        let pair: String = pair.iter().collect();
        u8::from_str_radix(&pair, 16).ok()
    });
    String::from_utf8(bytes.collect::<Option<_>>()?).ok()
}

/// Marks a rule's line.
const TUPLE: &str = "### tuple ###";

#[cfg(test)]
mod tests {
    use super::*;

    fn file(tuples: &[&str]) -> RulesFile {
        let mut text = "*filter\n### RULES ###\n".to_owned();
        for tuple in tuples {
            text += &format!("\n### tuple ### {tuple}\n-A ufw-user-input -j WHATEVER\n");
        }
        RulesFile::parse(&(text + "\n### END RULES ###\nCOMMIT\n"))
    }

    fn standing(tuples: &[&str], target: &str) -> &'static str {
        match file(tuples).standing(target.parse().unwrap(), Direction::In) {
            FileStanding::Absent => "absent",
            FileStanding::First(_) => "first",
            FileStanding::Late(_) => "late",
            FileStanding::Conflict(_) => "conflict",
        }
    }

    const ALLOW_22: &str = "allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in";
    const DENY_7: &str = "deny any any 0.0.0.0/0 any 198.51.100.7 in";

    #[test]
    fn a_drop_counts_only_ahead_of_what_accepts() {
        for (tuples, expected) in [
            (vec![DENY_7, ALLOW_22], "first"),
            (vec![ALLOW_22, DENY_7], "late"),
            (vec!["limit tcp 22 0.0.0.0/0 any 0.0.0.0/0 in", DENY_7], "late"),
            (vec!["allow tcp 22 0.0.0.0/0 any 198.51.100.0/24 in", DENY_7], "late"),
            (vec!["allow tcp 22 0.0.0.0/0 any 198.51.0.0/24 in", DENY_7], "first"),
            (vec!["allow any any 0.0.0.0/0 any 0.0.0.0/0 in_eth0", DENY_7], "late"),
            (vec!["allow any 80 0.0.0.0/0 any 0.0.0.0/0 Nginx%20Full - in", DENY_7], "late"),
            (vec!["something ufw would skip", DENY_7], "late"),
            (vec!["allow any 53 0.0.0.0/0 any 0.0.0.0/0 out", DENY_7], "first"),
            (vec!["route:allow any any 0.0.0.0/0 any 0.0.0.0/0 in_a!out_b", DENY_7], "first"),
            (vec!["reject_log any any 0.0.0.0/0 any 198.51.100.7 in", ALLOW_22], "first"),
            (vec!["deny tcp 25 0.0.0.0/0 any 0.0.0.0/0 in", DENY_7, ALLOW_22], "first"),
            (vec!["allow any any 0.0.0.0/0 any 198.51.100.7 in"], "conflict"),
            (vec!["limit_log-all any any 0.0.0.0/0 any 198.51.100.7 in"], "conflict"),
            (vec![ALLOW_22], "absent"),
        ] {
            assert_eq!(standing(&tuples, "198.51.100.7"), expected, "{tuples:?}");
        }
    }

    #[test]
    fn only_the_exact_target_is_meant() {
        for other in [
            "deny any any 0.0.0.0/0 any 198.51.100.70 in",
            "deny any any 0.0.0.0/0 any 198.51.100.0/24 in",
            "deny tcp any 0.0.0.0/0 any 198.51.100.7 in",
            "deny any 22 0.0.0.0/0 any 198.51.100.7 in",
            "deny any any 10.0.0.1 any 198.51.100.7 in",
            "deny any any 0.0.0.0/0 any 198.51.100.7 in_eth0",
            "deny any any 198.51.100.7 any 0.0.0.0/0 in",
            "route:deny any any 0.0.0.0/0 any 198.51.100.7 in",
            "deny any any 0.0.0.0/0 any 198.51.100.7 out",
        ] {
            assert_eq!(standing(&[other], "198.51.100.7"), "absent", "{other}");
        }
        assert_eq!(standing(&["deny any any ::/0 any 2001:DB8::0:7 in"], "2001:db8::7"), "first");
        assert_eq!(
            standing(&["deny any any ::/0 any 2001:db8::3/64 in"], "2001:db8::/64"),
            "first"
        );
    }

    #[test]
    fn outbound_rules_are_matched_by_destination() {
        let rules =
            file(&["deny any any 198.51.100.7 any 0.0.0.0/0 out comment=776562686f6f6b643a61"]);
        let target = "198.51.100.7".parse().unwrap();
        let FileStanding::First(tuple) = rules.standing(target, Direction::Out) else { panic!() };
        assert!(tuple.is_ours());
        assert_eq!(
            tuple.arguments(target, Direction::Out),
            ["deny", "out", "to", "198.51.100.7", "comment", "webhookd:a"]
        );
        assert_eq!(rules.standing(target, Direction::In), FileStanding::Absent);
    }

    #[test]
    fn a_rule_of_the_administrators_keeps_its_action_log_and_comment() {
        let rules = file(&["reject_log any any 0.0.0.0/0 any 198.51.100.7 in comment=68c3a9"]);
        let target = "198.51.100.7".parse().unwrap();
        let FileStanding::First(tuple) = rules.standing(target, Direction::In) else { panic!() };
        assert!(!tuple.is_ours());
        assert_eq!(
            tuple.arguments(target, Direction::In),
            ["reject", "log", "from", "198.51.100.7", "comment", "hé"]
        );
    }

    #[test]
    fn allowed_sources_are_those_with_every_port_or_one_host() {
        let rules = file(&[
            ALLOW_22,
            DENY_7,
            "allow any any 0.0.0.0/0 any 10.0.0.0/8 in",
            "allow tcp any 0.0.0.0/0 any 10.1.0.0/16 in_eth0",
            "allow tcp 443 0.0.0.0/0 any 192.0.2.0/24 in",
            "limit tcp 22 0.0.0.0/0 any 192.0.2.9 in",
            "allow any any 0.0.0.0/0 any 0.0.0.0/0 in_tun0",
            "allow any any 203.0.113.1 any 0.0.0.0/0 out",
            "route:allow any any 0.0.0.0/0 any 203.0.113.2 in",
        ]);
        let sources: Vec<String> =
            rules.allowed_sources().map(|(source, _)| source.to_string()).collect();
        assert_eq!(sources, ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.9/32"]);
    }

    #[test]
    fn a_file_without_commit_says_so() {
        assert!(file(&[ALLOW_22]).committed);
        assert!(!RulesFile::parse("*filter\n### RULES ###\n").committed);
    }
}
