//! The table of the nftables engine, as nft(8) prints it beside all others.

use protocol::{Element, Target, Targets, Text};

use crate::ctl::program::{ProgramError, printed_well};
use crate::privd_client::{PrivdClient, PrivdError};

/// All of nf_tables but what is in its sets.
///
/// Whatever else nft is asked for (a table's name, a chain, one element), it first lists every element
/// of every set: two seconds where there are a hundred thousand (measured, nft 1.0.6; this takes 5 ms).
///
/// # Errors
/// nft is not installed, or fails.
pub(super) fn ruleset() -> Result<String, ProgramError> {
    printed_well("nft", &["--terse", "list", "ruleset"])
}

/// What the kernel's table has of one target now; or why the kernel did not tell.
///
/// # Errors
/// webhook-privd, which looks it up, does not answer.
pub(super) async fn element(
    privd: &PrivdClient,
    target: Target,
) -> Result<Result<Option<Element>, Text>, PrivdError> {
    let Ok(targets) = Targets::try_from(vec![target]) else { return Ok(Ok(None)) };
    Ok(privd.elements(targets).await?.map(|found| found.into_iter().flatten().next()))
}

/// The set of the table that a target is in.
pub(super) fn set_of(target: Target) -> String {
    format!("{}_{}", if target.is_ipv6() { "v6" } else { "v4" }, target.net().prefix_len())
}

/// How the table stands.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// There is none, or no set in it: both come with the first block.
    Missing,
    /// What is in it may be let through, and why.
    Wrong(String),
    /// Whatever is in its sets is dropped, ahead of all that tracks, forwards or translates.
    Right,
}

impl Standing {
    /// By what [`ruleset`] printed.
    pub(super) fn of(ruleset: &str) -> Self {
        let mut lines = ruleset.lines().skip_while(|line| !line.starts_with(TABLE)).peekable();
        if lines.peek().is_none() {
            return Self::Missing;
        }
        let lines: Vec<&str> =
            lines.skip(1).take_while(|line| *line != "}").map(str::trim).collect();
        if !lines.iter().any(|line| line.starts_with("set ")) {
            return Self::Missing;
        }
        match wrong(&lines) {
            None => Self::Right,
            Some(what) => Self::Wrong(what),
        }
    }
}

/// The name of what begins in a line.
fn begins<'a>(line: &'a str, kind: &str) -> Option<&'a str> {
    line.strip_prefix(kind)?.strip_suffix(" {")
}

/// What is wrong in the lines between the table's braces, if anything is.
fn wrong(lines: &[&str]) -> Option<String> {
    if let Some(flags) = lines.iter().find(|line| line.starts_with("flags dormant")) {
        return Some(format!("it sleeps (`{flags}`)"));
    }
    let sets = lines.iter().filter_map(|line| begins(line, "set "));
    for (chain, hook, sides) in CHAINS {
        let inside = lines.iter().skip_while(|line| begins(line, "chain ") != Some(chain)).skip(1);
        let mut inside = inside.take_while(|line| **line != "}").copied();
        if inside.next() != Some(hook) {
            return Some(format!("its chain `{chain}` is not there with `{hook}`"));
        }
        let rules: Vec<&str> = inside.collect();
        let drops =
            |rule: &&str| rule.ends_with(" drop") && sides.iter().any(|side| rule.contains(side));
        if let Some(other) = rules.iter().find(|rule| !drops(rule)) {
            return Some(format!("its chain `{chain}` has a rule of others, `{other}`"));
        }
        let is_dropped = |set: &str| {
            let of = format!(" @{set} drop");
            let by =
                |side: &&str| rules.iter().any(|rule| rule.contains(side) && rule.ends_with(&of));
            sides.iter().all(by)
        };
        if let Some(set) = sets.clone().find(|set| !is_dropped(set)) {
            return Some(format!("its chain `{chain}` does not drop all of its set `{set}`"));
        }
    }
    None
}

const TABLE: &str = "table inet webhookd {";
/// The table's chains, how they begin, and what their rules look at in a packet.
const CHAINS: [(&str, &str, &[&str]); 2] = [
    (
        "prerouting",
        "type filter hook prerouting priority raw; policy accept;",
        &[" saddr ", " daddr "],
    ),
    ("output", "type filter hook output priority raw; policy accept;", &[" daddr "]),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// As nft 1.0.6 prints it, among others' tables.
    const WELL: &str = "\
table ip filter {
	chain INPUT {
		type filter hook input priority filter; policy drop;
	}
}
table inet webhookd {
	set v4_32 {
		type ipv4_addr
		flags timeout
		counter
	}

	set v6_64 {
		type ipv6_addr
		flags timeout
		counter
	}

	chain prerouting {
		type filter hook prerouting priority raw; policy accept;
		ip saddr @v4_32 drop
		ip daddr @v4_32 drop
		ip6 saddr & ffff:ffff:ffff:ffff:: == @v6_64 drop
		ip6 daddr & ffff:ffff:ffff:ffff:: == @v6_64 drop
	}

	chain output {
		type filter hook output priority raw; policy accept;
		ip daddr @v4_32 drop
		ip6 daddr & ffff:ffff:ffff:ffff:: == @v6_64 drop
	}
}
table inet f2b-table {
	chain output {
		ip saddr 192.0.2.1 accept
	}
}
";

    #[test]
    fn a_table_stands_only_as_it_was_made() {
        assert_eq!(Standing::of(WELL), Standing::Right);
        assert_eq!(Standing::of(&WELL.replace("inet webhookd", "inet other")), Standing::Missing);
        assert_eq!(Standing::of("table inet webhookd {\n}\n"), Standing::Missing);
        for (there, instead, words) in [
            ("webhookd {\n", "webhookd {\n\tflags dormant\n", "it sleeps (`flags dormant`)"),
            (
                "\t\tip saddr @v4_32 drop\n",
                "",
                "its chain `prerouting` does not drop all of its set",
            ),
            (
                "\t\tip daddr @v4_32 drop\n\t\tip6 s",
                "\t\tip6 s",
                "does not drop all of its set `v4_32`",
            ),
            (
                "\t\tip daddr @v4_32 drop\n\t\tip6 d",
                "\t\tip6 d",
                "its chain `output` does not drop",
            ),
            ("\t\tip saddr @v4", "\t\tip saddr 10.0.0.0/8 accept\n\t\tip saddr @v4", "of others"),
            (
                "hook output priority raw",
                "hook output priority filter",
                "its chain `output` is not",
            ),
            ("\tchain prerouting {", "\tchain form {", "its chain `prerouting` is not there"),
            ("\tset v6_64 {", "\tset v6_48 {", "its set `v6_48`"),
        ] {
            assert!(WELL.contains(there), "{there}");
            let broken = WELL.replacen(there, instead, 1);
            let Standing::Wrong(what) = Standing::of(&broken) else { panic!("{broken}") };
            assert!(what.contains(words), "{what}");
        }
    }

    #[test]
    fn a_target_is_in_the_set_of_its_family_and_length() {
        for (target, set) in [
            ("198.51.100.7", "v4_32"),
            ("198.51.100.0/24", "v4_24"),
            ("2001:db8::7", "v6_128"),
            ("2001:db8::/64", "v6_64"),
        ] {
            assert_eq!(set_of(target.parse().unwrap()), set);
        }
    }
}
