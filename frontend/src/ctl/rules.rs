//! What ufw's rules files say, as far as the checks ask: who is let in, and who is denied too late.
//!
//! The format is ufw 0.36's own: a line `### tuple ### ACTION PROTO DPORT DST SPORT SRC [DAPP SAPP]
//! DIRECTION[_IFACE] [comment=HEX]` in front of each rule's iptables lines.

use ipnet::IpNet;

use crate::ctl::outside::{Unreadable, read};

/// One rule for what comes in.
#[derive(Debug)]
pub(super) struct Rule {
    accepts: bool,
    /// None: anywhere.
    pub(super) source: Option<IpNet>,
    tcp: bool,
    ports: String,
    /// No protocol, port, destination or interface narrows it.
    every_packet: bool,
    /// By its comment.
    ours: bool,
}

impl Rule {
    /// Both files' rules for what comes in, in their order; IPv6's behind IPv4's.
    pub(super) fn all() -> Result<Vec<Self>, Unreadable> {
        let text = read("/etc/ufw/user.rules")? + "\n" + &read("/etc/ufw/user6.rules")?;
        Ok(Self::parse_all(&text))
    }

    pub(super) fn parse_all(text: &str) -> Vec<Self> {
        let tuples = text.lines().filter_map(|line| line.strip_prefix("### tuple ###"));
        tuples.filter_map(Self::parse).collect()
    }

    /// None for what is not about what comes in.
    fn parse(tuple: &str) -> Option<Self> {
        let (tuple, comment) = tuple.split_once(" comment=").unwrap_or((tuple, ""));
        let fields: Vec<&str> = tuple.split_whitespace().collect();
        let [action, protocol, ports, destination, from_ports, source, .., direction] = &*fields
        else {
            return None;
        };
        let interface = direction.strip_prefix("in")?;
        let source: IpNet = source.parse().or_else(|_| single(source)).ok()?;
        let action = action.split('_').next()?;
        let destination: IpNet = destination.parse().or_else(|_| single(destination)).ok()?;
        Some(Self {
            accepts: match action {
                "allow" | "limit" => true,
                "deny" | "reject" => false,
                // `route:allow` is about what is forwarded.
                _ => return None,
            },
            source: (source.prefix_len() > 0).then_some(source),
            tcp: ["tcp", "any"].contains(protocol),
            ports: (*ports).to_owned(),
            every_packet: [*protocol, *ports, *from_ports] == ["any"; 3]
                && interface.is_empty()
                && destination.prefix_len() == 0,
            ours: comment.starts_with(OUR_COMMENT),
        })
    }

    /// Whether it lets somebody in to this TCP port.
    pub(super) fn opens(&self, port: u16) -> bool {
        self.accepts && self.tcp && holds(&self.ports, port)
    }

    /// The hosts and networks of somebody else's rules that deny them all, behind a rule that lets
    /// some of their packets in: those still come in.
    pub(super) fn late_denies(rules: &[Self]) -> Vec<IpNet> {
        let mut late = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            let Some(source) = rule.source else { continue };
            let earlier = || rules.iter().take(index).filter(|earlier| earlier.accepts);
            let reached = |earlier: &Self| match earlier.source {
                Some(net) => net.contains(&source) || source.contains(&net),
                None => true,
            };
            if !rule.accepts && rule.every_packet && !rule.ours && earlier().any(reached) {
                late.push(source);
            }
        }
        late
    }
}

/// An address without a length.
fn single(text: &str) -> Result<IpNet, std::net::AddrParseError> {
    text.parse::<std::net::IpAddr>().map(IpNet::from)
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
            assert_eq!(rules(&[tuple]).iter().any(|rule| rule.opens(5001)), opens, "{tuple}");
        }
        assert!(rules(&["allow tcp 1 ::/0 any ::/0 in"])[0].source.is_none());
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
        ]);
        let late: Vec<String> = Rule::late_denies(&late).iter().map(IpNet::to_string).collect();
        assert_eq!(late, ["198.51.100.2/32", "198.51.100.0/24"]);
        let apart = rules(&[
            "allow tcp 22 0.0.0.0/0 any 10.0.0.0/8 in",
            "deny any any 0.0.0.0/0 any 198.51.100.2 in",
        ]);
        assert!(Rule::late_denies(&apart).is_empty());
    }
}
