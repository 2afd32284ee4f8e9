//! Whether ufw lets Kibana in to the port that webhookd listens on.

use crate::ctl::check::finding::{Finding, Findings};
use crate::ctl::check::host::Host;
use crate::ctl::engine::Engine;
use crate::ctl::rules::{Rule, command_for_kibana, name};
use crate::ctl::ufw;
use crate::server::config::Config;

pub(super) fn port(host: &Host) -> Findings {
    let config = host.frontend()?;
    // Where it must be on, another check says that it is not.
    if host.engine() == Engine::Nftables && !ufw::is_enabled().unwrap_or(false) {
        let port = config.listen.port();
        return Ok(vec![Finding::note(format!(
            "ufw is not on here; whether {port} is open to Kibana is for another firewall to say"
        ))]);
    }
    Ok(vec![judge(config, &Rule::all()?, ufw::lets_all_in()?)])
}

fn judge(config: &Config, rules: &[Rule], all_are_let_in: bool) -> Finding {
    let port = config.listen.port();
    if config.listen.ip().is_loopback() {
        return Finding::note(format!("{} is for this host alone", config.listen));
    }
    let anywhere = format!(
        "{port} is open to everyone; allow-clients of webhookd.toml is all that keeps others out"
    );
    if all_are_let_in {
        return Finding::note(anywhere);
    }
    let rules: Vec<&Rule> = rules.iter().filter(|rule| rule.is_for(port)).collect();
    let (mut open, mut shut, mut but) = (Vec::new(), None, None);
    for (index, rule) in rules.iter().enumerate().filter(|(_, rule)| lets_in(rule)) {
        let denies = || rules.iter().take(index).filter(|earlier| !earlier.accepts());
        let all = |deny: &&&Rule| deny.source.contains(&rule.source) && deny.is_for_every_way();
        let client = |deny: &&&Rule| {
            // What webhookd blocks it tells itself.
            rule.source.contains(&deny.source)
                && !deny.is_ours()
                && config.allow_clients.contain(deny.source.addr())
        };
        if let Some(deny) = denies().find(all) {
            shut = Some((rule, deny));
        } else {
            open.push(*rule);
            but = but.or_else(|| denies().find(client));
        }
    }
    if open.is_empty() {
        let what = format!("ufw lets nobody in to {port}: Kibana cannot post");
        return match shut {
            // A rule that is there cannot be prepended.
            Some((rule, deny)) => Finding::problem(
                format!("{what}. `{deny}` stands ahead of `{rule}`"),
                format!("ufw delete {rule}\nufw prepend {rule}"),
            ),
            None => Finding::problem(what, command_for_kibana(port)),
        };
    }
    if open.iter().any(|rule| rule.peer().is_none()) && but.is_none() {
        return Finding::note(anywhere);
    }
    let names = open.iter().map(|rule| name(&rule.source)).collect::<Vec<_>>().join(", ");
    let to = if open.iter().any(|rule| rule.peer().is_none()) { "everyone" } else { &*names };
    if let Some(deny) = but {
        Finding::note(format!(
            "{port} is open to {to}, but `{deny}` stands ahead, and allow-clients of webhookd.toml \
             holds {}",
            name(&deny.source)
        ))
    } else if let Some(stranger) =
        open.iter().find(|rule| !config.allow_clients.contain(rule.source.addr()))
    {
        let stranger = name(&stranger.source);
        Finding::note(format!(
            "{port} is open to {to}; allow-clients of webhookd.toml does not hold {stranger}"
        ))
    } else {
        Finding::ok(format!("{port} is open to {to}"))
    }
}

/// Whether it lets in somebody else than this host itself.
fn lets_in(rule: &Rule) -> bool {
    rule.accepts() && !rule.source.addr().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::check::finding::State;

    fn judged(listen: &str, tuples: &str, accept: bool) -> (State, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("webhookd.toml");
        std::fs::write(&path, listen).unwrap();
        let finding = judge(&Config::load(&path).unwrap(), &Rule::parse_all(tuples), accept);
        (finding.state, finding.message)
    }

    #[test]
    fn the_port_must_be_open_to_somebody_beyond_this_host() {
        let tuple =
            |source: &str| format!("### tuple ### allow tcp 5001 0.0.0.0/0 any {source} in");
        for (listen, source, accept, state, words) in [
            ("", "10.9.0.2", false, State::Ok, "5001 is open to 10.9.0.2"),
            ("", "10.9.0.0/24", false, State::Ok, "5001 is open to 10.9.0.0/24"),
            ("", "127.0.0.1", false, State::Problem, "lets nobody in to 5001"),
            ("listen = \"[::]:5002\"", "10.9.0.2", false, State::Problem, "nobody in to 5002"),
            ("listen = \"127.0.0.1:5001\"", "10.9.0.2", false, State::Note, "this host alone"),
            ("", "0.0.0.0/0", false, State::Note, "open to everyone"),
            ("", "127.0.0.1", true, State::Note, "open to everyone"),
            ("", "203.0.113.9", false, State::Note, "does not hold 203.0.113.9"),
        ] {
            let (found, message) = judged(listen, &tuple(source), accept);
            assert!(found == state && message.contains(words), "{listen} {source}: {message}");
        }
        assert_eq!(judged("", "", false).0, State::Problem);
    }

    #[test]
    fn what_is_denied_ahead_is_not_open() {
        let allow = "### tuple ### allow tcp 5001 0.0.0.0/0 any 10.9.0.0/24 in\n";
        for (deny, state, words) in [
            (
                "deny any any 0.0.0.0/0 any 10.0.0.0/8 in",
                State::Problem,
                "ahead of `allow proto tcp",
            ),
            ("deny tcp 5001 0.0.0.0/0 any 0.0.0.0/0 in", State::Problem, "lets nobody in to 5001"),
            ("deny any any 0.0.0.0/0 any 10.9.0.2 in", State::Note, "but `deny from 10.9.0.2`"),
            ("deny tcp 22 0.0.0.0/0 any 10.9.0.2 in", State::Ok, "open to 10.9.0.0/24"),
            ("deny any any 0.0.0.0/0 any 203.0.113.9 in", State::Ok, "open to 10.9.0.0/24"),
            // Only by one way in.
            ("deny any any 0.0.0.0/0 any 10.0.0.0/8 in_wan0", State::Ok, "open to 10.9.0.0/24"),
            (
                "deny any any 0.0.0.0/0 any 10.9.0.2 in comment=776562686f6f6b643a3031",
                State::Ok,
                "open to 10.9.0.0/24",
            ),
        ] {
            let (found, message) = judged("", &format!("### tuple ### {deny}\n{allow}"), false);
            assert!(found == state && message.contains(words), "{deny}: {message}");
            let behind = judged("", &format!("{allow}### tuple ### {deny}\n"), false);
            assert_eq!(behind.0, State::Ok, "{deny}");
        }
    }
}
