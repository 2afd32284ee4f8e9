//! ufw's `user.rules` and `user6.rules`: what stands in them, and whether they are whole.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use ipnet::IpNet;
use protocol::Target;

use crate::Direction;
use crate::mark::Mark;
use crate::tuple::Tuple;

/// One rules file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RulesFile {
    /// All of it.
    pub(crate) text: String,
    /// Where the first rule goes, ahead of all; None in a file that ufw never wrote.
    pub(crate) head: Option<usize>,
    /// The rules in the order in which packets meet them.
    pub(crate) tuples: Vec<Tuple>,
    /// Where the first rule about all packets from, or to, a network stands.
    whole: HashMap<(Direction, IpNet), usize>,
    /// Where something is let through.
    accepting: Vec<usize>,
}

impl RulesFile {
    /// Understands a file's bytes. Lines that are not tuples are ufw's rendering of them.
    ///
    /// # Errors
    /// The file is not whole: `iptables-restore` would take nothing of it at the next boot.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, Damage> {
        let text = String::from_utf8(bytes).map_err(|_| Damage::NotText)?;
        if text.trim().is_empty() {
            return Err(Damage::Empty);
        }
        if text.contains('\0') {
            return Err(Damage::NotText);
        }
        // The first and the last line of what `_write_rules` writes; people add remarks.
        let said = |line: &&str| !line.is_empty() && !line.starts_with('#');
        let mut lines = text.lines().map(str::trim_end).filter(said);
        if lines.next() != Some("*filter") || lines.next_back() != Some(COMMIT) {
            return Err(Damage::CutShort);
        }
        let mut file = Self { text, ..Self::default() };
        file.read_lines();
        for (at, tuple) in file.tuples.iter().enumerate() {
            if let Some(key) = tuple.whole() {
                file.whole.entry(key).or_insert(at);
            }
        }
        let accepting = file.tuples.iter().enumerate().filter(|(_, tuple)| tuple.accepts());
        file.accepting = accepting.map(|(at, _)| at).collect();
        Ok(file)
    }

    fn read_lines(&mut self) {
        let mut start = 0_usize;
        let mut open: Option<(&str, Range<usize>)> = None;
        // Behind it stand remarks alone, and no rule may go among them.
        let mut committed = false;
        for line in self.text.split_inclusive('\n') {
            let end = start.saturating_add(line.len());
            if line.starts_with("### ")
                && let Some((tuple, span)) = open.take()
            {
                self.tuples.push(Tuple::parse(tuple, span));
            }
            if let Some(tuple) = line.strip_prefix(TUPLE) {
                open = Some((tuple, start..end));
            } else if line.trim_end() == COMMIT {
                committed = true;
            } else if line.trim_end() == RULES && self.head.is_none() && !committed {
                self.head = Some(end);
            } else if let Some((_, span)) = &mut open
                && line.starts_with('-')
                && span.end == start
            {
                // What else follows, COMMIT above all, does not come and go with the rule.
                span.end = end;
            }
            start = end;
        }
        // Without the line that ends ufw's rules: the tuple is seen, and never moved.
        if let Some((tuple, span)) = open {
            self.head = None;
            self.tuples.push(Tuple::parse(tuple, span));
        }
        // ufw reads a rule wherever it stands: what we put at the head would not be in front.
        let first = self.tuples.first().map_or(usize::MAX, |tuple| tuple.span.start);
        self.head = self.head.filter(|head| *head <= first);
    }

    /// All of it, as it was read.
    pub fn text(&self) -> &str {
        &self.text
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
        self.tuples.iter().filter_map(|tuple| Some((tuple.allowed_source()?, tuple)))
    }

    /// The rules that carry our mark, front to back.
    pub fn ours(&self) -> impl Iterator<Item = (Target, Mark, &Tuple)> {
        self.tuples.iter().filter_map(|tuple| {
            let (_, net) = tuple.whole()?;
            Some((Target::network(net).ok()?, tuple.mark()?, tuple))
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

/// Why a file is not whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Damage {
    /// Nothing in it.
    Empty,
    /// Its beginning or its end is missing.
    CutShort,
    /// Bytes that no text has.
    NotText,
}

impl fmt::Display for Damage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Empty => "is empty",
            Self::CutShort => "was cut short (no *filter at its beginning or no COMMIT at its end)",
            Self::NotText => "holds bytes that are no text",
        })
    }
}

/// Marks a rule's line.
pub(crate) const TUPLE: &str = "### tuple ###";
/// The line ahead of the first rule.
const RULES: &str = "### RULES ###";
/// The line that has `iptables-restore` take all of it.
const COMMIT: &str = "COMMIT";

#[cfg(test)]
mod tests {
    use super::*;

    fn file(tuples: &[&str]) -> RulesFile {
        let mut text = "*filter\n### RULES ###\n".to_owned();
        for tuple in tuples {
            text += &format!("\n### tuple ### {tuple}\n-A ufw-user-input -j WHATEVER\n");
        }
        RulesFile::parse((text + "\n### END RULES ###\nCOMMIT\n").into()).unwrap()
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
    fn only_a_deny_of_every_packet_from_a_source_is_a_plain_one() {
        for (tuple, plain) in [
            (DENY_7, true),
            ("deny any any 0.0.0.0/0 any 198.51.100.7 - - in", true),
            ("deny any any 0.0.0.0/0 any 198.51.100.7 in comment=68c3a9", true),
            ("deny_log any any 0.0.0.0/0 any 198.51.100.7 in", false),
            ("reject any any 0.0.0.0/0 any 198.51.100.7 in", false),
            ("reject_log any any 0.0.0.0/0 any 198.51.100.7 in", false),
            ("allow any any 0.0.0.0/0 any 198.51.100.7 in", false),
            ("deny any any 198.51.100.7 any 0.0.0.0/0 out", false),
            ("deny tcp any 0.0.0.0/0 any 198.51.100.7 in", false),
            ("deny any any 0.0.0.0/0 any 198.51.100.7 Nginx - in", false),
            ("deny any any 0.0.0.0/0 any 198.51.100.7 - Nginx in", false),
            ("deny any any 0.0.0.0/0 any 198.51.100.7 - in", false),
            ("deny any any 0.0.0.0/0 any 198.51.100.7 more - - in", false),
        ] {
            let rules = file(&[tuple]);
            assert_eq!(rules.tuples[0].is_plain_deny(), plain, "{tuple}");
            let text = tuple.split(" comment=").next().unwrap();
            assert_eq!(rules.tuples[0].text(), text);
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
        let rules = file(&[
            "deny any any 198.51.100.7 any 0.0.0.0/0 out comment=776562686f6f6b643a303132333435363738396162",
        ]);
        let target = "198.51.100.7".parse().unwrap();
        let FileStanding::First(tuple) = rules.standing(target, Direction::Out) else { panic!() };
        assert!(tuple.mark().is_some());
        assert_eq!(
            tuple.arguments().unwrap(),
            ["deny", "out", "to", "198.51.100.7", "comment", "webhookd:0123456789ab"]
        );
        assert_eq!(rules.ours().count(), 1);
        assert_eq!(rules.standing(target, Direction::In), FileStanding::Absent);
    }

    #[test]
    fn a_rule_of_the_administrators_keeps_its_action_log_and_comment() {
        let rules = file(&["reject_log any any 0.0.0.0/0 any 198.51.100.7 in comment=68c3a9"]);
        let target = "198.51.100.7".parse().unwrap();
        let FileStanding::First(tuple) = rules.standing(target, Direction::In) else { panic!() };
        assert!(tuple.mark().is_none());
        assert_eq!(
            tuple.arguments().unwrap(),
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
    fn a_file_that_is_not_whole_says_why() {
        let whole = "*filter\n### RULES ###\n### END RULES ###\nCOMMIT\n";
        assert!(RulesFile::parse(whole.into()).is_ok());
        for length in 0..whole.len() - 1 {
            assert!(RulesFile::parse(whole.as_bytes()[..length].to_vec()).is_err(), "{length}");
        }
        for theirs in ["# managed\n\n", "\n"] {
            let text = format!("{theirs}{whole}{theirs}").replace('\n', "\r\n");
            assert!(RulesFile::parse(text.into()).is_ok(), "a whole file is theirs");
        }
        assert_eq!(RulesFile::parse(whole.into()).unwrap().text(), whole);
        for (damage, words) in [
            (Damage::Empty, "is empty"),
            (Damage::CutShort, "was cut short"),
            (Damage::NotText, "bytes that are no text"),
        ] {
            assert!(damage.to_string().contains(words), "{damage}");
        }
        assert_eq!(RulesFile::parse(b" \n".to_vec()), Err(Damage::Empty));
        assert_eq!(RulesFile::parse(whole.replace("RULES", "\0").into()), Err(Damage::NotText));
        assert_eq!(RulesFile::parse(vec![0xff; 9]), Err(Damage::NotText));
        assert_eq!(RulesFile::parse(whole.replace("*filter", "").into()), Err(Damage::CutShort));
    }
}
