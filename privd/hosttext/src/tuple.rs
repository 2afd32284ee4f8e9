//! One rule of ufw's rules files.
//!
//! The format is ufw 0.36's own (`_write_rules` in its `backend_iptables.py`): a line
//! `### tuple ### ACTION PROTO DPORT DST SPORT SRC [DAPP SAPP] DIRECTION[_IFACE] [comment=HEX]`
//! in front of each rule's iptables lines. Texts are never searched: `10.1.1.1` is no part of
//! `10.1.1.10`.

use std::ops::Range;

use ipnet::IpNet;
use protocol::Target;

use crate::Direction;
use crate::mark::Mark;

/// One rule of the file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tuple {
    /// Where it stands in the file's text: its line and the iptables lines that belong to it.
    pub(crate) span: Range<usize>,
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
    /// Reads the line behind the marker.
    pub(crate) fn parse(line: &str, span: Range<usize>) -> Self {
        let (text, comment) = match line.split_once(" comment=") {
            Some((text, hex)) => (text, unhex(hex.trim()).map(Some).ok_or(())),
            None => (line, Ok(None)),
        };
        Self { span, text: text.trim().to_owned(), comment, rule: Rule::parse(text) }
    }

    /// The rule as ufw's own tuple text, for messages.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What the comment says, if it marks the rule as ours.
    pub fn mark(&self) -> Option<Mark> {
        self.comment.as_ref().ok()?.as_deref()?.parse().ok()
    }

    /// The arguments that name this rule about all packets from, or to, one network to `ufw
    /// prepend` and `ufw delete`; None for any other rule, and for a comment ufw cannot be given.
    pub fn arguments(&self) -> Option<Vec<String>> {
        let (direction, net) = self.whole()?;
        let rule = self.rule.as_ref()?;
        let target = Target::network(net).ok()?;
        let comment = self.comment.as_ref().ok()?.as_deref();
        Some(arguments(&rule.action, rule.log.as_deref(), target, direction, comment))
    }

    /// Whom all of whose packets this is about, as `ufw deny from X` and `ufw deny out to X` are,
    /// whatever the action.
    pub fn whole(&self) -> Option<(Direction, IpNet)> {
        let rule = self.rule.as_ref()?;
        let (theirs, ours) = match rule.direction {
            Direction::In => (rule.source, rule.destination),
            Direction::Out => (rule.destination, rule.source),
        };
        let every = !rule.routed && rule.every_port && rule.every_packet && ours.is_none();
        theirs.filter(|_| every).map(|net| (rule.direction, net))
    }

    /// Whether this is `deny from X` and nothing more: a drop of ours would do the same.
    pub fn is_plain_deny(&self) -> bool {
        let plain = |rule: &Rule| rule.action == "deny" && rule.log.is_none();
        self.whole().is_some_and(|(direction, _)| direction == Direction::In)
            && self.rule.as_ref().is_some_and(plain)
    }

    /// Whether this lets something through. A line nobody understands might.
    pub fn accepts(&self) -> bool {
        self.rule.as_ref().is_none_or(Rule::accepts)
    }

    /// Whether some packet of the target's would be let through here.
    pub fn may_accept(&self, target: Target, direction: Direction) -> bool {
        let Some(rule) = &self.rule else { return true };
        let theirs = if direction == Direction::In { rule.source } else { rule.destination };
        rule.accepts()
            && !rule.routed
            && rule.direction == direction
            && theirs.is_none_or(|net| target.overlaps(net))
    }

    /// The source of an inbound allow or limit rule that covers every port or names one host.
    pub fn allowed_source(&self) -> Option<IpNet> {
        let rule = self.rule.as_ref()?;
        let source = rule.source?;
        let one_host = source.prefix_len() == source.max_prefix_len();
        let inbound = rule.direction == Direction::In && !rule.routed;
        (inbound && rule.accepts() && (one_host || rule.every_port)).then_some(source)
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
            [core @ .., dapp, sapp, place] => (core, *dapp != "-" || *sapp != "-", *place),
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
pub fn arguments(
    action: &str,
    log: Option<&str>,
    target: Target,
    direction: Direction,
    comment: Option<&str>,
) -> Vec<String> {
    let mut words = vec![action];
    if direction == Direction::Out {
        words.push("out");
    }
    words.extend(log);
    words.push(if direction == Direction::In { "from" } else { "to" });
    let target = target.to_string();
    words.push(&target);
    words.extend(comment.iter().flat_map(|comment| ["comment", comment]));
    words.into_iter().map(str::to_owned).collect()
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
