//! What the guide's set-up leaves behind: a root script that its user may run with any argument,
//! and denies that come too late.

use std::fs;
use std::path::{Path, PathBuf};

use crate::ctl::check::finding::{Finding, Findings, Unmade};
use crate::ctl::check::host::Host;
use crate::ctl::outside::{Unreadable, read, shown_path};
use crate::ctl::rules::{Rule, name};

pub(super) fn leftovers(_: &Host) -> Findings {
    let mut findings: Vec<Finding> = FILES
        .iter()
        .filter(|(path, ..)| Path::new(path).exists())
        .map(|(path, what, mend)| {
            Finding::problem(format!("{path} is left over: {what}"), (*mend).replace("FILE", path))
        })
        .collect();
    for file in sudoers()? {
        let lines = granting(&read(&file)?);
        let file = shown_path(&file);
        findings.extend(lines.into_iter().map(|line| {
            let what =
                format!("{file} line {line} is left over: webhookd may run a script as root");
            Finding::problem(what, format!("visudo -f {file}, and delete line {line}"))
        }));
    }
    findings.extend(late_denies(&Rule::all()?));
    if findings.is_empty() {
        findings.push(Finding::ok("nothing of its set-up is left"));
    }
    Ok(findings)
}

/// sudo reads all of these but names with a dot or a tilde.
fn sudoers() -> Result<Vec<PathBuf>, Unmade> {
    let folder = Path::new("/etc/sudoers.d");
    let mut files = vec![PathBuf::from("/etc/sudoers")];
    if folder.exists() {
        let failed = |source| Unreadable { path: folder.to_owned(), source };
        for entry in fs::read_dir(folder).map_err(failed)? {
            files.push(entry.map_err(failed)?.path());
        }
    }
    files.retain(|file| file.is_file());
    files.sort_unstable();
    Ok(files)
}

/// The lines that give webhookd something to run, by the guide's words; counted from 1.
fn granting(text: &str) -> Vec<usize> {
    let lines = (1..).zip(text.lines());
    let grants = lines.filter(|(_, line)| {
        let line = line.trim();
        line.starts_with("webhookd ")
            || line.starts_with("Defaults:webhookd")
            || (!line.starts_with('#') && line.contains("block_ip.py"))
    });
    grants.map(|(number, _)| number).collect()
}

/// ufw appends what it is told to deny, behind what lets the same packets in.
fn late_denies(rules: &[Rule]) -> Vec<Finding> {
    let late = Rule::late_denies(rules);
    let rest = late.len().saturating_sub(MOST_DENIES);
    let mut findings: Vec<Finding> = late
        .iter()
        .take(MOST_DENIES)
        .map(|rule| {
            let net = name(&rule.source);
            let position = rule.position;
            let what = format!("rule {position}, `{rule}`, stands behind one that lets {net} in");
            let mend = format!(
                "webhookctl block {net} --for permanent (moves it ahead), or\nufw delete {rule}"
            );
            Finding::problem(what, mend)
        })
        .collect();
    if rest > 0 {
        let what = format!("{rest} further denies stand behind rules that let their sources in");
        findings.push(Finding::problem(what, "the same for each of `ufw status numbered`"));
    }
    findings
}

/// Path, what it is, how it goes.
const FILES: &[(&str, &str, &str)] = &[
    (
        "/etc/systemd/system/webhook-server.service",
        "the guide's service, on the same port",
        "systemctl disable --now webhook-server; rm FILE; systemctl daemon-reload",
    ),
    ("/usr/local/bin/webhook_server.py", "the guide's server", "rm FILE"),
    ("/usr/local/bin/block_ip.py", "the guide's script, run as root by sudo", "rm FILE"),
    ("/etc/webhook_server.env", "the guide's token", "rm FILE"),
    ("/etc/ssl/webhook", "the guide's certificate and key", "rm -r FILE"),
];
/// Each has two lines; a longer list hides the rest.
const MOST_DENIES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guides_lines_are_found_in_sudoers() {
        let text = "root ALL=(ALL:ALL) ALL\n# block_ip.py is gone\nDefaults:webhookd !requiretty\n\n\
            Cmnd_Alias BLOCK_CMD = /usr/bin/python3 /usr/local/bin/block_ip.py *\n\n\
            webhookd ALL=(root) NOPASSWD: BLOCK_CMD\nwebhookdother ALL=(root) ALL\n";
        assert_eq!(granting(text), [3, 5, 7]);
    }

    #[test]
    fn a_long_list_of_late_denies_is_cut() {
        let denies = (0..12)
            .map(|host| format!("### tuple ### deny any any 0.0.0.0/0 any 198.51.100.{host} in\n"));
        let text = "### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in\n".to_owned()
            + &denies.collect::<String>();
        let findings = late_denies(&Rule::parse_all(&text));
        assert_eq!(findings.len(), 11);
        assert!(findings[0].message.contains("rule 2, `deny from 198.51.100.0`,"), "{findings:?}");
        assert!(findings[10].message.starts_with("2 further denies"));
    }
}
