//! The way of a target's packets through ufw's rules: which of them are about it, and who shuts it
//! out first.

use protocol::Target;
use serde::Serialize;

use crate::ctl::rules::{Direction, Rule, overlap};

/// What ufw's rules say about one target.
#[derive(Debug)]
pub(super) struct Way<'a> {
    /// Those that name it, a network around it or a part of it, in their order.
    pub(super) about: Vec<Named>,
    /// The first of webhookd's that drops all that it sends.
    pub(super) ours: Option<Named>,
    /// The first of the administrator's that does, where nothing lets it in before.
    pub(super) shut_out_by: Option<Named>,
    /// Whether a rule of the administrator's that is about it drops some of what it sends.
    pub(super) denies_some: bool,
    /// What lets some of it in ahead of whatever shuts it out, if anything does.
    pub(super) let_in_by: Option<&'a Rule>,
}

/// A rule of ufw's.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(super) struct Named {
    /// In `ufw status numbered`.
    pub(super) position: usize,
    /// In ufw's words.
    pub(super) rule: String,
    /// webhookd's, or else the administrator's.
    pub(super) ours: bool,
}

impl Named {
    pub(super) fn new(rule: &Rule) -> Self {
        Self { position: rule.position, rule: rule.to_string(), ours: rule.is_ours() }
    }
}

impl<'a> Way<'a> {
    pub(super) fn of(target: Target, rules: &'a [Rule]) -> Self {
        let net = target.net();
        let about =
            rules.iter().filter(|rule| rule.peer().is_some_and(|peer| overlap(&peer, &net)));
        let inbound = || rules.iter().filter(|rule| rule.direction == Direction::In);
        let shuts_out = |rule: &&Rule| {
            !rule.accepts() && rule.is_for_every_packet() && rule.source.contains(&net)
        };
        let first = inbound().find(shuts_out);
        let let_in_by = inbound()
            .take_while(|rule| !first.is_some_and(|first| std::ptr::eq(first, *rule)))
            .find(|rule| rule.accepts() && overlap(&rule.source, &net));
        let unhindered = first.filter(|_| let_in_by.is_none());
        Self {
            about: about.map(Named::new).collect(),
            ours: inbound().filter(|rule| rule.is_ours()).find(shuts_out).map(Named::new),
            denies_some: inbound()
                .filter(|rule| !rule.is_ours() && !rule.accepts())
                .any(|rule| rule.peer().is_some_and(|peer| overlap(&peer, &net))),
            shut_out_by: unhindered.filter(|rule| !rule.is_ours()).map(Named::new),
            let_in_by,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: &str = "allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in";
    const OURS: &str = "deny any any 0.0.0.0/0 any 198.51.100.7 in comment=776562686f6f6b643a3031";
    const THEIRS: &str = "deny any any 0.0.0.0/0 any 198.51.100.0/24 in";

    /// Positions: webhookd's rule, the administrator's, what lets in.
    fn way(tuples: &[&str]) -> (Vec<usize>, [Option<usize>; 3]) {
        let lines: Vec<String> =
            tuples.iter().map(|tuple| format!("### tuple ### {tuple}\n-A x\n")).collect();
        let rules = Rule::parse_all(&lines.concat());
        let way = Way::of("198.51.100.7".parse().unwrap(), &rules);
        let at = |named: &Option<Named>| named.as_ref().map(|named| named.position);
        let about = way.about.iter().map(|named| named.position).collect();
        (about, [at(&way.ours), at(&way.shut_out_by), way.let_in_by.map(|rule| rule.position)])
    }

    #[test]
    fn who_comes_first_decides() {
        let reject = "reject any any 0.0.0.0/0 any 0.0.0.0/0 in";
        for (tuples, about, expected) in [
            (&[OURS, ANY][..], &[1][..], [Some(1), None, None]),
            (&[ANY, OURS], &[2], [Some(2), None, Some(1)]),
            (&[THEIRS, ANY], &[1], [None, Some(1), None]),
            (&[ANY, THEIRS], &[2], [None, None, Some(1)]),
            (&[reject, ANY], &[], [None, Some(1), None]),
            (&[ANY], &[], [None, None, Some(1)]),
            (&[], &[], [None, None, None]),
            // What is about others, about a port, about the other family or about answers.
            (&["deny any any 0.0.0.0/0 any 198.51.100.8 in"], &[], [None; 3]),
            (&["deny tcp 25 0.0.0.0/0 any 198.51.100.7 in"], &[1], [None; 3]),
            (&["deny any any ::/0 any ::/0 in"], &[], [None; 3]),
            (&["deny any any 198.51.100.7 any 0.0.0.0/0 out"], &[1], [None; 3]),
            (&["allow tcp 22 0.0.0.0/0 any 10.0.0.0/8 in", OURS], &[2], [Some(2), None, None]),
        ] {
            assert_eq!(way(tuples), (about.to_vec(), expected), "{tuples:?}");
        }
    }
}
