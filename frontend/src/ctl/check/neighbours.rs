//! What else filters on this host: Docker, which goes around ufw, and tools beside webhookd.

use std::path::Path;

use crate::ctl::check::finding::{Finding, Findings, Unmade};
use crate::ctl::check::host::Host;
use crate::ctl::engine::Engine;
use crate::ctl::nftables::ruleset;
use crate::ctl::outside::shown;
use crate::ctl::program::{find, run};

pub(super) fn docker(host: &Host) -> Findings {
    // Listing the table would make it where there is none.
    if !Path::new("/sys/class/net/docker0").exists() {
        return Ok(vec![Finding::ok("not here")]);
    }
    if host.engine() == Engine::Nftables {
        return Ok(vec![Finding::ok("here; blocks cover the ports that it publishes")]);
    }
    let listing = run("iptables", &["-w", "5", "-t", "nat", "-S", "DOCKER"])?;
    let published = listing.text.lines().filter(|line| line.contains(" -j DNAT")).count();
    Ok(vec![if published == 0 {
        Finding::note("here, and publishes no port now; ports that it publishes bypass ufw")
    } else {
        Finding::note(format!(
            "ports that it publishes: {published}; they bypass ufw, so that a block does not keep an \
             attacker from them (firewall = \"nftables\" does)"
        ))
    }])
}

pub(super) fn tools(host: &Host) -> Findings {
    let engine = host.engine();
    let mut found = Vec::new();
    for program in ["iptables", "ip6tables"] {
        // With ufw they must be there; other checks say so.
        if engine == Engine::Ufw || find(program).is_some() {
            found.extend(chains(&run(program, &["-w", "5", "-S"])?.text));
        }
    }
    if find("nft").is_some() {
        found.extend(tables(&ruleset()?, engine));
    }
    if Host::is_booted() {
        found.extend(active_units(engine)?);
    }
    found.sort_unstable();
    found.dedup();
    let mut findings: Vec<Finding> = found.into_iter().map(Finding::note).collect();
    if findings.is_empty() {
        findings.push(Finding::ok("no fail2ban, CrowdSec or other firewall on the same chains"));
    }
    Ok(findings)
}

/// Who made the chains of `iptables -S`.
fn chains(listing: &str) -> impl Iterator<Item = String> {
    let names = listing.lines().filter_map(|line| line.strip_prefix("-N "));
    names.filter_map(|name| {
        let name = name.to_ascii_lowercase();
        let who = ["f2b-", "crowdsec"].into_iter().find(|prefix| name.starts_with(prefix))?;
        Some(match who {
            "f2b-" => FAIL2BAN.to_owned(),
            _ => CROWDSEC.to_owned(),
        })
    })
}

/// Who made the tables of nftables. What iptables made is looked at by its chains.
fn tables(ruleset: &str, engine: Engine) -> impl Iterator<Item = String> {
    let names = ruleset.lines().filter_map(|line| line.strip_prefix("table "));
    names.filter_map(move |line| {
        let table = line.split(" {").next()?;
        let name = table.split_whitespace().nth(1)?;
        match name {
            "filter" | "nat" | "mangle" | "raw" | "security" | "webhookd" => None,
            _ if name.starts_with("f2b") => Some(FAIL2BAN.to_owned()),
            _ if name.starts_with("crowdsec") => Some(CROWDSEC.to_owned()),
            _ => Some(match engine {
                Engine::Ufw => format!(
                    "the nft table `{}` filters beside ufw: what it drops ufw cannot let in",
                    shown(table)
                ),
                Engine::Nftables => format!(
                    "the nft table `{}` filters too: what it lets in webhookd's drops all the same",
                    shown(table)
                ),
            }),
        }
    })
}

/// What would load or flush rules of its own.
fn active_units(engine: Engine) -> Result<Vec<String>, Unmade> {
    let of_ufw = if engine == Engine::Ufw { RIVALS_OF_UFW } else { &[] };
    let rivals: Vec<_> = RIVALS.iter().chain(of_ufw).collect();
    let units: Vec<&str> = rivals.iter().map(|(unit, _)| *unit).collect();
    let printed = run("systemctl", &[&["is-active"], &*units].concat())?;
    let states = rivals.iter().zip(printed.text.lines());
    Ok(states
        .filter(|(_, state)| *state == "active")
        .map(|((_, what), _)| (*what).to_owned())
        .collect())
}

const RIVALS: &[(&str, &str)] = &[
    ("fail2ban.service", FAIL2BAN),
    ("crowdsec.service", CROWDSEC),
    ("crowdsec-firewall-bouncer.service", CROWDSEC),
];
/// They do not touch a table that is not theirs, or are looked at more closely.
const RIVALS_OF_UFW: &[(&str, &str)] = &[
    ("firewalld.service", "firewalld runs beside ufw: one of the two is to be disabled"),
    (
        "nftables.service",
        "nftables.service flushes every rule when it starts; ufw's come back with `ufw reload`",
    ),
    (
        "netfilter-persistent.service",
        "netfilter-persistent loads rules of its own at boot; ufw does that itself",
    ),
];
const FAIL2BAN: &str = "fail2ban works here too: it lifts what it banned itself, and never ours";
const CROWDSEC: &str = "CrowdSec works here too: its blocks are not in `webhookctl list`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_tools_are_known_by_their_chains_and_tables() {
        let listing =
            "-P INPUT DROP\n-N f2b-sshd\n-N CROWDSEC_CHAIN\n-N ufw-user-input\n-A x -j f2b-a\n";
        assert_eq!(chains(listing).collect::<Vec<_>>(), [FAIL2BAN, CROWDSEC]);
        let ruleset = "table ip filter {\n}\ntable ip6 nat {\n}\ntable inet f2b-table {\n}\n\
            table ip crowdsec {\n\tcomment \"x\"\n}\ntable inet webhookd {\n}\n\
            table inet my\u{1b}own { # progname x\n}\n";
        for (engine, words) in [
            (Engine::Ufw, "filters beside ufw"),
            (Engine::Nftables, "what it lets in webhookd's drops all the same"),
        ] {
            let found: Vec<String> = tables(ruleset, engine).collect();
            assert_eq!(found[..2], [FAIL2BAN, CROWDSEC]);
            assert!(found[2].contains(r"`inet my\u{1b}own`") && found.len() == 3, "{found:?}");
            assert!(found[2].contains(words), "{found:?}");
        }
    }
}
