//! What ufw's rules files say: who is let in, who is denied, whose rule it is and where it stands.
//!
//! The format is ufw 0.36's own: a line `### tuple ### ACTION PROTO DPORT DST SPORT SRC [DAPP SAPP]
//! DIRECTION[_IFACE] [comment=HEX]` in front of each rule's iptables lines.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use protocol::Untrusted;

use crate::ctl::outside::{Unreadable, read};

/// One rule for what comes in or goes out.
#[derive(Debug)]
pub(super) struct Rule {
    /// As `ufw status numbered` counts.
    pub(super) position: usize,
    pub(super) action: Action,
    pub(super) direction: Direction,
    /// Of length 0: anywhere, in the one family.
    pub(super) source: IpNet,
    pub(super) destination: IpNet,
    protocol: String,
    ports: String,
    from_ports: String,
    /// Empty: all.
    interface: String,
    /// Somebody wrote one.
    commented: bool,
    ours: bool,
}

/// What a rule does with its packets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Action {
    Allow,
    /// Lets in at first, and no longer who comes too often.
    Limit,
    Deny,
    Reject,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Direction {
    In,
    Out,
}

impl Rule {
    /// Both files' rules, in the order in which the kernel meets them; IPv6's behind IPv4's.
    pub(super) fn all() -> Result<Vec<Self>, Unreadable> {
        let text = read("/etc/ufw/user.rules")? + "\n" + &read("/etc/ufw/user6.rules")?;
        Ok(Self::parse_all(&text))
    }

    pub(super) fn parse_all(text: &str) -> Vec<Self> {
        let (mut position, mut profiles) = (0_usize, BTreeSet::new());
        let tuples = text.lines().filter_map(|line| line.strip_prefix("### tuple ###"));
        let rules = tuples.filter_map(|tuple| {
            // A profile of several ports has a tuple for each, and one number.
            if profile(tuple).is_none_or(|profile| profiles.insert(profile)) {
                position = position.saturating_add(1);
            }
            Self::parse(tuple, position)
        });
        rules.collect()
    }

    /// None for what is forwarded.
    fn parse(tuple: &str, position: usize) -> Option<Self> {
        let (tuple, comment) = tuple.split_once(" comment=").unwrap_or((tuple, ""));
        let fields: Vec<&str> = tuple.split_whitespace().collect();
        let [action, protocol, ports, destination, from_ports, source, .., direction] = &*fields
        else {
            return None;
        };
        let (direction, interface) = direction.split_once('_').unwrap_or((direction, ""));
        Some(Self {
            position,
            action: match action.split('_').next()? {
                "allow" => Action::Allow,
                "limit" => Action::Limit,
                "deny" => Action::Deny,
                "reject" => Action::Reject,
                // `route:allow`.
                _ => return None,
            },
            direction: match direction {
                "in" => Direction::In,
                "out" => Direction::Out,
                _ => return None,
            },
            source: net(source)?,
            destination: net(destination)?,
            protocol: (*protocol).to_owned(),
            ports: (*ports).to_owned(),
            from_ports: (*from_ports).to_owned(),
            interface: interface.to_owned(),
            commented: !comment.is_empty(),
            ours: comment.starts_with(OUR_COMMENT),
        })
    }

    pub(super) const fn accepts(&self) -> bool {
        matches!(self.action, Action::Allow | Action::Limit)
    }

    /// Whether webhookd made it.
    pub(super) const fn is_ours(&self) -> bool {
        self.ours
    }

    /// The other side, where the rule is about a host or network of its own; None: about anyone.
    pub(super) fn peer(&self) -> Option<IpNet> {
        let peer = match self.direction {
            Direction::In => self.source,
            Direction::Out => self.destination,
        };
        (peer.prefix_len() > 0).then_some(peer)
    }

    /// Whether it is about what comes in to this TCP port, by any of this host's addresses and
    /// interfaces.
    pub(super) fn is_for(&self, port: u16) -> bool {
        self.direction == Direction::In
            && ["tcp", "any"].contains(&&*self.protocol)
            && holds(&self.ports, port)
    }

    /// Whether nothing but the source narrows it, of all that comes in.
    pub(super) fn is_for_every_packet(&self) -> bool {
        self.direction == Direction::In
            && [&*self.protocol, &*self.ports, &*self.from_ports] == ["any"; 3]
            && self.is_for_every_way()
    }

    /// Whether no address of this host's, interface or source port narrows it.
    pub(super) fn is_for_every_way(&self) -> bool {
        self.interface.is_empty() && self.destination.prefix_len() == 0 && self.from_ports == "any"
    }

    /// Whether the guide's script may have made it, by `ufw deny from ADDRESS`: so may have anybody
    /// else, by hand.
    pub(super) fn may_be_the_guides(&self) -> bool {
        let source = self.source;
        self.action == Action::Deny
            && self.is_for_every_packet()
            && !self.commented
            && source.prefix_len() == source.max_prefix_len()
    }

    /// Somebody else's rules that deny a source everything, behind one that lets some of its packets
    /// in: those still come in.
    pub(super) fn late_denies(rules: &[Self]) -> Vec<&Self> {
        let late = rules.iter().enumerate().filter(|(index, rule)| {
            let mut earlier = rules.iter().take(*index);
            let lets_in = |earlier: &Self| {
                earlier.accepts()
                    && earlier.direction == Direction::In
                    && overlap(&earlier.source, &rule.source)
            };
            !rule.accepts()
                && rule.is_for_every_packet()
                && rule.peer().is_some()
                && !rule.ours
                && earlier.any(lets_in)
        });
        late.map(|(_, rule)| rule).collect()
    }
}

/// In ufw's own words, without what is "any".
impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = match self.action {
            Action::Allow => "allow",
            Action::Limit => "limit",
            Action::Deny => "deny",
            Action::Reject => "reject",
        };
        formatter.write_str(action)?;
        if self.direction == Direction::Out {
            formatter.write_str(" out")?;
        }
        if !self.interface.is_empty() {
            let direction = if self.direction == Direction::In { "in " } else { "" };
            write!(formatter, " {direction}on {}", Untrusted(&self.interface))?;
        }
        if self.protocol != "any" {
            write!(formatter, " proto {}", Untrusted(&self.protocol))?;
        }
        for (word, net, ports) in
            [("from", &self.source, &self.from_ports), ("to", &self.destination, &self.ports)]
        {
            let narrows = net.prefix_len() > 0 || ports != "any";
            match net.prefix_len() {
                0 if !narrows && word == "to" => {}
                0 => write!(formatter, " {word} any")?,
                _ => write!(formatter, " {word} {}", name(net))?,
            }
            if ports != "any" {
                write!(formatter, " port {}", Untrusted(ports))?;
            }
        }
        Ok(())
    }
}

/// What lets Kibana in to a port; KIBANA is for the administrator to fill in.
pub(super) fn command_for_kibana(port: u16) -> String {
    format!("sudo ufw allow proto tcp from KIBANA to any port {port}")
}

/// An address without its length, a network with it.
pub(super) fn name(net: &IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}

pub(super) fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

/// What tells the tuples of one rule by application profile from those of another.
fn profile(tuple: &str) -> Option<String> {
    let tuple = tuple.split(" comment=").next()?;
    let fields: Vec<&str> = tuple.split_whitespace().collect();
    let [_, _, ports, to, from_ports, from, app, from_app, direction] = &*fields else {
        return None;
    };
    let or = |app: &str, ports: &str| if app == "-" { ports.to_owned() } else { app.to_owned() };
    let (app, from_app) = (or(app, ports), or(from_app, from_ports));
    Some(format!("{app} {to} {from_app} {from} {direction}"))
}

/// A network, or an address without a length.
fn net(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// Whether ufw's list of ports (`any`, `22`, `80,443`, `5000:5010`) holds this one.
fn holds(ports: &str, port: u16) -> bool {
    ports == "any"
        || ports.split(',').any(|part| {
            let (first, last) = part.split_once(':').unwrap_or((part, part));
            match (first.parse::<u16>(), last.parse::<u16>()) {
                (Ok(first), Ok(last)) => (first..=last).contains(&port),
                _ => false,
            }
        })
}

/// `webhookd:` in ufw's hexadecimal.
const OUR_COMMENT: &str = "776562686f6f6b643a";

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(tuples: &[&str]) -> Vec<Rule> {
        let lines: Vec<String> =
            tuples.iter().map(|tuple| format!("### tuple ### {tuple}\n-A x\n")).collect();
        Rule::parse_all(&lines.concat())
    }

    #[test]
    fn a_port_is_opened_by_what_ufw_writes_for_it() {
        for (tuple, opens) in [
            ("allow tcp 5001 0.0.0.0/0 any 10.9.0.2 in", true),
            ("limit any 5001 0.0.0.0/0 any 10.0.0.0/8 in", true),
            ("allow_log tcp 80,5000:5010 ::/0 any ::/0 in_eth0", true),
            ("allow any any 0.0.0.0/0 any 10.9.0.2 in comment=41", true),
            ("allow tcp 5001 0.0.0.0/0 any 0.0.0.0/0 Webhookd - in", true),
            ("allow udp 5001 0.0.0.0/0 any 0.0.0.0/0 in", false),
            ("allow tcp 500,50010 0.0.0.0/0 any 0.0.0.0/0 in", false),
            ("deny tcp 5001 0.0.0.0/0 any 0.0.0.0/0 in", false),
            ("allow tcp 5001 0.0.0.0/0 any 0.0.0.0/0 out", false),
            ("route:allow tcp 5001 0.0.0.0/0 any 0.0.0.0/0 in", false),
            ("allow tcp 5001", false),
        ] {
            let found = rules(&[tuple]).iter().any(|rule| rule.is_for(5001) && rule.accepts());
            assert_eq!(found, opens, "{tuple}");
        }
        assert_eq!(rules(&["allow tcp 1 ::/0 any ::/0 in"])[0].peer(), None);
    }

    #[test]
    fn a_deny_behind_what_lets_it_in_is_late_unless_it_is_ours() {
        let late = rules(&[
            "deny any any 0.0.0.0/0 any 198.51.100.1 in",
            "allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in",
            "deny any any 0.0.0.0/0 any 198.51.100.2 in",
            "deny any any 0.0.0.0/0 any 198.51.100.3 in comment=776562686f6f6b643a3031",
            "deny tcp 25 0.0.0.0/0 any 198.51.100.4 in",
            "reject any any 0.0.0.0/0 any 198.51.100.0/24 in",
            // Of the other family, which nothing lets in.
            "deny any any ::/0 any 2001:db8::1 in",
        ]);
        let late: Vec<String> =
            Rule::late_denies(&late).iter().map(|rule| name(&rule.source)).collect();
        assert_eq!(late, ["198.51.100.2", "198.51.100.0/24"]);
        for allow in
            ["allow tcp 22 0.0.0.0/0 any 10.0.0.0/8 in", "allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 out"]
        {
            let apart = rules(&[allow, "deny any any 0.0.0.0/0 any 198.51.100.2 in"]);
            assert!(Rule::late_denies(&apart).is_empty(), "{allow}");
        }
    }

    #[test]
    fn only_a_bare_deny_of_one_address_may_be_the_guides() {
        for (tuple, may_be) in [
            ("deny any any 0.0.0.0/0 any 198.51.100.1 in", true),
            ("deny any any ::/0 any 2001:db8::1 in", true),
            ("deny any any 0.0.0.0/0 any 198.51.100.1 in comment=41", false),
            ("deny any any 0.0.0.0/0 any 198.51.100.0/24 in", false),
            ("reject any any 0.0.0.0/0 any 198.51.100.1 in", false),
            ("deny any any 10.0.0.1 any 198.51.100.1 in", false),
            ("deny any any 0.0.0.0/0 any 198.51.100.1 in_eth0", false),
            ("deny any any 198.51.100.1 any 0.0.0.0/0 out", false),
            ("deny tcp 22 0.0.0.0/0 any 198.51.100.1 in", false),
        ] {
            assert_eq!(rules(&[tuple])[0].may_be_the_guides(), may_be, "{tuple}");
        }
    }

    /// Told to ufw 0.36, these gave these tuples; `ufw status numbered` counted them so.
    #[test]
    fn a_rule_is_told_and_counted_as_ufw_does() {
        let told = rules(&[
            "deny any any 0.0.0.0/0 any 198.51.100.7 in",
            "deny any any 198.51.100.7 any 0.0.0.0/0 out",
            "route:deny any any 0.0.0.0/0 any 198.51.100.7 in",
            "allow tcp 80,443 0.0.0.0/0 any 0.0.0.0/0 WWW%20Full - in",
            "allow udp 443 0.0.0.0/0 any 0.0.0.0/0 WWW%20Full - in",
            "limit_log tcp 22 10.9.0.1 any 10.0.0.0/8 in_lan0",
            "reject udp any ::/0 53 2001:db8::/32 in",
        ]);
        let told: Vec<String> =
            told.iter().map(|rule| format!("{} {rule}", rule.position)).collect();
        assert_eq!(
            told,
            [
                "1 deny from 198.51.100.7",
                "2 deny out from any to 198.51.100.7",
                "4 allow proto tcp from any to any port 80,443",
                "4 allow proto udp from any to any port 443",
                "5 limit in on lan0 proto tcp from 10.0.0.0/8 to 10.9.0.1 port 22",
                "6 reject proto udp from 2001:db8::/32 port 53",
            ]
        );
    }
}
