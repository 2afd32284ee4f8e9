//! With the nftables engine: its table in the kernel, what could take it away or go around it, and ufw
//! beside it.

use std::fs;
use std::path::Path;

use crate::ctl::check::finding::{Finding, Findings};
use crate::ctl::check::host::Host;
use crate::ctl::nftables::{Standing, ruleset};
use crate::ctl::outside::{Unreadable, read, shown};
use crate::ctl::program::{find, run};
use crate::ctl::ufw;

pub(super) fn table(host: &Host) -> Findings {
    if find("nft").is_none() {
        return Ok(vec![Finding::problem("nft is not installed", "apt install nftables")]);
    }
    let blocks = host.status().map_or(0, |status| status.live_blocks);
    let enforced = host.status().is_ok_and(|status| status.enforce);
    let printed = run("nft", &["--version"])?;
    let version = printed.complaint();
    Ok(vec![judge(&version, &Standing::of(&ruleset()?), enforced && blocks > 0)])
}

fn judge(version: &str, standing: &Standing, needed: bool) -> Finding {
    let what = match standing {
        Standing::Right => {
            return Finding::ok(format!(
                "{version}; the table inet webhookd drops both ways, ahead of all others"
            ));
        }
        Standing::Missing if !needed => {
            return Finding::ok(format!("{version}; the table inet webhookd comes with a block"));
        }
        Standing::Missing => "there is no table inet webhookd: nothing is blocked".to_owned(),
        Standing::Wrong(what) => {
            format!("the table inet webhookd is not as it was made: {}", shown(what))
        }
    };
    Finding::problem(what, RESTART)
}

/// What empties all of nf_tables whenever it starts.
pub(super) fn flushing(_: &Host) -> Findings {
    let path = Path::new("/etc/nftables.conf");
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        other => other.map_err(|source| Unreadable { path: path.to_owned(), source })?,
    };
    let used = Host::is_booted()
        && run("systemctl", &["is-enabled", "nftables.service"])?.complaint() == "enabled";
    Ok(vec![if used && flushes(&text) {
        Finding {
            mend: Some(DESTROY.to_owned()),
            ..Finding::note(
                "nftables.service, which is enabled, runs `flush ruleset` of /etc/nftables.conf: each \
                 start and reload of it lifts every block until webhook-privd looks again",
            )
        }
    } else {
        Finding::ok("no service that is enabled here empties all of nftables")
    }])
}

fn flushes(text: &str) -> bool {
    let words = |line: &str| line.split_whitespace().take(2).eq(["flush", "ruleset"]);
    text.split(['\n', ';']).any(words)
}

/// What a flowtable has taken over no longer comes by where the table looks
/// (docs.kernel.org/networking/nf_flowtable.html).
pub(super) fn flowtables(_: &Host) -> Findings {
    let mut findings: Vec<Finding> = flowtables_of(&ruleset()?)
        .map(|name| {
            Finding::note(format!(
                "`{}` carries forwarded connections past every block until they end",
                shown(name)
            ))
        })
        .collect();
    if findings.is_empty() {
        findings.push(Finding::ok("none: forwarded connections are blocked too"));
    }
    Ok(findings)
}

/// Their names.
fn flowtables_of(ruleset: &str) -> impl Iterator<Item = &str> {
    ruleset.lines().filter_map(|line| line.strip_prefix("\tflowtable ")?.strip_suffix(" {"))
}

pub(super) fn ufw_beside(_: &Host) -> Findings {
    Ok(vec![if find("ufw").is_none() {
        Finding::ok("not installed, and not needed: the blocks are in a table of their own")
    } else if ufw::is_enabled()? {
        // Its rules files are read for it.
        let rules = ["/etc/ufw/user.rules", "/etc/ufw/user6.rules"];
        rules.into_iter().try_for_each(|path| read(path).map(drop))?;
        Finding::ok("works beside: whom its rules let in is never blocked")
    } else {
        Finding::note(
            "is not active: the blocks hold without it, and nothing else is filtered by it",
        )
    }])
}

const RESTART: &str = "systemctl restart webhook-privd";
const DESTROY: &str =
    "in /etc/nftables.conf, in place of `flush ruleset`, for each table of its own:
add table inet NAME; delete table inet NAME";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::check::finding::State;

    #[test]
    fn a_table_that_drops_nothing_is_a_problem_where_something_is_blocked() {
        let wrong = || Standing::Wrong("it\n sleeps".to_owned());
        for (standing, needed, state, words) in [
            (Standing::Right, true, State::Ok, "nftables v1; the table inet webhookd drops"),
            (Standing::Missing, false, State::Ok, "comes with a block"),
            (Standing::Missing, true, State::Problem, "there is no table inet webhookd"),
            (wrong(), false, State::Problem, r"not as it was made: it\n sleeps"),
        ] {
            let finding = judge("nftables v1", &standing, needed);
            assert_eq!(finding.state, state, "{finding:?}");
            assert!(finding.message.contains(words), "{finding:?}");
            assert_eq!(finding.mend.is_some(), state == State::Problem);
        }
    }

    #[test]
    fn a_flowtable_is_found_in_any_table() {
        let ruleset = "table inet webhookd {\n\tset v4_32 {\n\t}\n}\ntable inet own {\n\
            \tflowtable fast {\n\t\thook ingress priority filter\n\t\tdevices = { eth0 }\n\t}\n\
            \tchain forward {\n\t\tip protocol tcp flow add @fast\n\t}\n}\n";
        assert_eq!(flowtables_of(ruleset).collect::<Vec<_>>(), ["fast"]);
    }

    #[test]
    fn a_flush_is_found_wherever_it_stands_and_not_in_a_remark() {
        for (text, expected) in [
            ("#!/usr/sbin/nft -f\n\nflush ruleset\n", true),
            ("add table inet a; flush  ruleset\n", true),
            ("flush ruleset inet\n", true),
            ("# flush ruleset\n", false),
            ("flush table inet ruleset\n", false),
            ("", false),
        ] {
            assert_eq!(flushes(text), expected, "{text}");
        }
    }
}
