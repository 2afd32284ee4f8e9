//! Whether ufw lets Kibana in to the port that webhookd listens on.

use ipnet::IpNet;

use crate::ctl::check::finding::{Finding, Findings};
use crate::ctl::check::firewall::value;
use crate::ctl::check::host::Host;
use crate::ctl::outside::read;
use crate::ctl::rules::Rule;
use crate::server::config::Config;

pub(super) fn port(host: &Host) -> Findings {
    let config = host.frontend()?;
    let rules = Rule::all()?;
    let policy = value(&read("/etc/default/ufw")?, "DEFAULT_INPUT_POLICY");
    Ok(vec![judge(config, &rules, policy.as_deref() == Some("accept"))])
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
    let sources: Vec<Option<IpNet>> =
        rules.iter().filter(|rule| rule.opens(port)).map(|rule| rule.source).collect();
    if sources.contains(&None) {
        return Finding::note(anywhere);
    }
    let remote: Vec<IpNet> =
        sources.into_iter().flatten().filter(|net| !net.addr().is_loopback()).collect();
    let mend = format!("sudo ufw allow proto tcp from KIBANA to any port {port}");
    let names = remote.iter().map(name).collect::<Vec<_>>().join(", ");
    if remote.is_empty() {
        Finding::problem(format!("ufw lets nobody in to {port}: Kibana cannot post"), mend)
    } else if let Some(stranger) =
        remote.iter().find(|net| !config.allow_clients.contain(net.addr()))
    {
        let stranger = name(stranger);
        Finding::note(format!(
            "{port} is open to {names}; allow-clients of webhookd.toml does not hold {stranger}"
        ))
    } else {
        Finding::ok(format!("{port} is open to {names}"))
    }
}

/// An address without its length, a network with it.
fn name(net: &IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
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
}
