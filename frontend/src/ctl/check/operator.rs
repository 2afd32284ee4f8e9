//! The addresses that people are logged in from by SSH: an alert must not shut them out.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;

use protocol::{Target, canonical};

use crate::ctl::check::finding::{Finding, Findings, Unmade};
use crate::ctl::explained;
use crate::privd_client::PrivdClient;

pub(super) async fn addresses(privd: &PrivdClient) -> Findings {
    let own = ancestors().find_map(|pid| ssh_client(&pid));
    let mut findings = Vec::new();
    for address in logged_in().into_iter().chain(own).collect::<BTreeSet<IpAddr>>() {
        let shown = privd.show(Target::host(address)).await;
        let shown = shown.map_err(|error| Unmade::Because(explained(&error)))?;
        let yours = own == Some(address);
        let who = if yours { "you are" } else { "somebody is" };
        findings.push(match shown.verdict.outcome.refusal() {
            Some(refusal) => Finding::ok(format!("{address} is {}", refusal.explanation())),
            None => {
                let what =
                    format!("{address}, from which {who} logged in, could be blocked by an alert");
                if yours { Finding::problem(what, mend(address)) } else { Finding::note(what) }
            }
        });
    }
    if findings.is_empty() {
        findings.push(Finding::ok("nobody is logged in by SSH"));
    }
    Ok(findings)
}

fn mend(address: IpAddr) -> String {
    format!(
        "add \"{address}\" to never-block in /etc/webhookd/privd.toml\nsystemctl reload webhook-privd"
    )
}

/// This process and those above it: sudo clears the environment, the login shell still has it.
fn ancestors() -> impl Iterator<Item = String> {
    std::iter::successors(Some("self".to_owned()), |pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        parent(&stat).map(str::to_owned)
    })
}

/// The parent in proc(5)'s `pid (name) state parent ...`; the name may hold anything.
fn parent(stat: &str) -> Option<&str> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1).filter(|pid| *pid != "0")
}

/// Where each session came from: sshd tells it to the shell that it starts.
fn logged_in() -> BTreeSet<IpAddr> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| ssh_client(entry.file_name().to_str()?)).collect()
}

fn ssh_client(pid: &str) -> Option<IpAddr> {
    from_environment(&fs::read(format!("/proc/{pid}/environ")).ok()?)
}

/// `SSH_CONNECTION=CLIENT PORT SERVER PORT` of sshd(8).
fn from_environment(environment: &[u8]) -> Option<IpAddr> {
    let mut variables = environment.split(|byte| *byte == 0);
    let value = variables.find_map(|variable| variable.strip_prefix(b"SSH_CONNECTION="))?;
    let client = std::str::from_utf8(value).ok()?.split(' ').next()?;
    // A link-local address carries its zone.
    let address = canonical(client.split('%').next()?.parse().ok()?);
    (!address.is_loopback()).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_read_from_what_sshd_leaves() {
        let client = |text: &str| from_environment(text.as_bytes()).map(|it| it.to_string());
        let found = client("A=b\0SSH_CONNECTION=203.0.113.9 5022 10.0.0.1 22\0C=d\0");
        assert_eq!(found.as_deref(), Some("203.0.113.9"));
        let mapped = client("SSH_CONNECTION=::ffff:203.0.113.9 1 :: 22");
        assert_eq!(mapped.as_deref(), Some("203.0.113.9"));
        for none in
            ["", "XSSH_CONNECTION=203.0.113.9 1", "SSH_CONNECTION=x 1", "SSH_CONNECTION=::1 1"]
        {
            assert_eq!(client(none), None, "{none}");
        }
    }

    #[test]
    fn the_parent_is_found_whatever_the_name() {
        assert_eq!(parent("12 (a) S 1) S 7 1 1"), Some("7"));
        assert_eq!(parent("1 (systemd) S 0 1 1"), None);
        assert_eq!(ancestors().next().as_deref(), Some("self"));
        assert!(ancestors().count() > 1);
    }
}
