//! Configuration, secrets and certificate on disk: whose they are, who may read and write them, and
//! what the daemons say of them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::ctl::check::finding::{Finding, Findings};
use crate::ctl::check::host::Host;
use crate::ctl::outside::{Unreadable, read, shown_path};
use crate::ctl::program::{ProgramError, run};
use crate::ctl::{DIRECTORY, PRIVD_TOML, WEBHOOKD_TOML};

/// Whom a file is for.
#[derive(Clone, Copy)]
enum Kind {
    /// Root writes it, and who reads it does not matter.
    Written,
    /// Root writes it, webhookd reads it.
    Public,
    /// Root writes it, webhookd's group reads it.
    Secret,
    /// Root's alone.
    RootsOwn,
}

pub(super) fn owners_and_modes(host: &Host) -> Findings {
    let config = host.frontend()?;
    let group = host.group()?.as_raw();
    let mut expected: Vec<(PathBuf, Kind)> = vec![
        (DIRECTORY.into(), Kind::Public),
        (WEBHOOKD_TOML.into(), Kind::Public),
        (PRIVD_TOML.into(), Kind::Written),
        (config.token_file.clone(), Kind::Secret),
        (config.tls.certificate.clone(), Kind::Public),
        (config.tls.key.clone(), Kind::Secret),
    ];
    expected.extend(config.tls.client_ca.clone().map(|path| (path, Kind::Public)));
    if let Some(folder) = config.tls.certificate.parent() {
        expected.push((folder.to_owned(), Kind::Public));
        let own_key = folder.join("ca.key");
        if own_key.exists() {
            expected.push((own_key, Kind::RootsOwn));
        }
    }
    let mut findings = Vec::new();
    for (path, kind) in &expected {
        let metadata =
            fs::metadata(path).map_err(|source| Unreadable { path: path.clone(), source });
        match metadata {
            Err(why) => findings.push(Finding::problem(why.to_string(), "webhookctl init")),
            Ok(found) => {
                let mode = found.permissions().mode() & 0o7777;
                findings.extend(judge(path, *kind, (found.uid(), found.gid(), mode), group));
            }
        }
    }
    if findings.is_empty() {
        let count = expected.len();
        findings
            .push(Finding::ok(format!("{count} files and folders have the right owner and mode")));
    }
    Ok(findings)
}

/// What is wrong with a file of this owner, group and mode.
fn judge(path: &Path, kind: Kind, found: (u32, u32, u32), webhookd: u32) -> Option<Finding> {
    let (uid, gid, mode) = found;
    let (wrong, mend) = match kind {
        _ if uid != 0 => ("is not root's", "chown root:"),
        _ if mode & 0o022 != 0 => ("can be written by others than root", "chmod go-w"),
        Kind::Public if mode & 0o004 == 0 && (gid != webhookd || mode & 0o040 == 0) => {
            ("cannot be read by webhookd", "chmod a+rX")
        }
        Kind::Secret if mode & 0o007 != 0 => {
            ("is a secret, and every user can read it", "chmod 640")
        }
        Kind::Secret if gid != webhookd || mode & 0o040 == 0 => {
            ("cannot be read by webhookd's group", "chmod 640")
        }
        Kind::RootsOwn if mode & 0o077 != 0 => ("is for root alone", "chmod 600"),
        _ => return None,
    };
    let path = shown_path(path);
    let mend = match kind {
        Kind::Secret => format!("chown root:webhookd {path} && chmod 640 {path}"),
        _ => format!("{mend} {path}"),
    };
    Some(Finding::problem(format!("{path} {wrong} (owner {uid}:{gid}, mode {mode:04o})"), mend))
}

/// What the daemons say of their files.
pub(super) fn configurations(_: &Host) -> Findings {
    let mut findings = Vec::new();
    for (name, file, take_over) in [
        ("webhookd", WEBHOOKD_TOML, "systemctl restart webhookd"),
        ("webhook-privd", PRIVD_TOML, "systemctl restart webhook-privd"),
    ] {
        findings.push(match run(name, &["--check", "--config", file]) {
            Ok(printed) if printed.success => {
                Finding::ok(format!("`{name} --check` finds nothing"))
            }
            Ok(printed) => {
                let sentence = printed.complaint();
                let sentence = sentence.strip_prefix(&format!("{name}: ")).unwrap_or(&sentence);
                let mend = if Path::new(file).exists() {
                    format!("what it says, then: {take_over}")
                } else {
                    "webhookctl init".to_owned()
                };
                Finding::problem(sentence, mend)
            }
            Err(error @ ProgramError { .. }) => {
                Finding::problem(error.to_string(), "install the package webhookd again")
            }
        });
    }
    Ok(findings)
}

/// How hard the tokens are to guess. The token itself is never shown.
pub(super) fn tokens(host: &Host) -> Findings {
    let path = &host.frontend()?.token_file;
    let text = read(path)?;
    let mut findings: Vec<Finding> = weak_lines(&text)
        .map(|(line, variety)| {
            Finding::note(format!(
                "the token in line {line} of {} has {variety} different characters only; \
                 `openssl rand -hex 32` makes a better one",
                shown_path(path)
            ))
        })
        .collect();
    if findings.is_empty() {
        findings.push(Finding::ok("long, and of many different characters"));
    }
    Ok(findings)
}

/// The lines with a token of few different characters, and how many. Of a digest nothing is known.
fn weak_lines(text: &str) -> impl Iterator<Item = (usize, usize)> {
    (1..).zip(text.lines()).filter_map(|(number, line)| {
        let line = line.trim();
        let secret = line.split_whitespace().next()?;
        if secret.starts_with('#') || secret.starts_with("sha256:") {
            return None;
        }
        let variety = secret.chars().collect::<BTreeSet<char>>().len();
        (variety < LEAST_VARIETY).then_some((number, variety))
    })
}

/// 32 random hexadecimal digits have fewer than ten different ones once in four thousand times.
const LEAST_VARIETY: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: u32 = 995;

    fn wrong(kind: Kind, found: (u32, u32, u32)) -> Option<String> {
        judge(Path::new("/x"), kind, found, GROUP).map(|finding| finding.message)
    }

    #[test]
    fn each_wrong_owner_and_mode_is_told() {
        for (kind, found, words) in [
            (Kind::Public, (995, 995, 0o644), "is not root's"),
            (Kind::Public, (0, 0, 0o664), "can be written by others"),
            (Kind::Public, (0, 0, 0o646), "can be written by others"),
            (Kind::Public, (0, 0, 0o640), "cannot be read by webhookd"),
            (Kind::Public, (0, GROUP, 0o700), "cannot be read by webhookd"),
            (Kind::Written, (0, 0, 0o666), "can be written by others"),
            (Kind::Secret, (0, GROUP, 0o644), "every user can read it"),
            (Kind::Secret, (0, 0, 0o640), "cannot be read by webhookd"),
            (Kind::Secret, (0, GROUP, 0o600), "cannot be read by webhookd"),
            (Kind::Secret, (GROUP, GROUP, 0o600), "is not root's"),
            (Kind::RootsOwn, (0, GROUP, 0o640), "for root alone"),
        ] {
            let message = wrong(kind, found).unwrap();
            assert!(message.contains(words), "{message}");
        }
        for (kind, found) in [
            (Kind::Public, (0, 0, 0o644)),
            (Kind::Public, (0, 0, 0o755)),
            (Kind::Public, (0, GROUP, 0o640)),
            (Kind::Written, (0, 0, 0o600)),
            (Kind::Secret, (0, GROUP, 0o640)),
            (Kind::Secret, (0, GROUP, 0o440)),
            (Kind::RootsOwn, (0, 0, 0o600)),
        ] {
            assert_eq!(wrong(kind, found), None);
        }
    }

    #[test]
    fn a_token_of_few_different_characters_is_told_by_its_line() {
        let text = "# aaaa\n0123456789abcdef0123456789abcdef # kibana\n\
            aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa # old 2026-01-01\nsha256:11111111\n";
        assert_eq!(weak_lines(text).collect::<Vec<_>>(), [(3, 1)]);
    }
}
