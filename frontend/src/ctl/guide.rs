//! What the guide's set-up leaves behind: a server on the same port, and a root script that its user
//! may run with any argument.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::ctl::outside::{Unreadable, read, shown_path};

/// The guide's token, as `WEBHOOK_TOKEN=...`.
pub(super) const TOKEN_FILE: &str = "/etc/webhook_server.env";
/// The guide's certificate; its key lies beside it.
pub(super) const CERTIFICATE: &str = "/etc/ssl/webhook/webhook.crt";

/// Something of the guide's that is still there. Nothing here deletes it.
#[derive(Debug, Serialize)]
pub(super) struct Leftover {
    /// A file, or a line in one, and what it is.
    pub(super) what: String,
    /// How it goes: commands.
    pub(super) mend: String,
    /// Whether it only takes up room.
    pub(super) harmless: bool,
}

impl Leftover {
    /// Everything that is left, the service first: without it the rest does nothing.
    pub(super) fn all() -> Result<Vec<Self>, Unreadable> {
        let mut found = units(Path::new(UNITS))?;
        for (path, what, mend, harmless) in FILES {
            let path = Path::new(path);
            if path.exists() {
                let shown = shown_path(path);
                found.push(Self {
                    what: format!("{shown} is left over: {what}"),
                    mend: format!("{mend} {shown}"),
                    harmless: *harmless,
                });
            }
        }
        for file in sudoers()? {
            let lines = granting(&read(&file)?);
            let file = shown_path(&file);
            found.extend(lines.into_iter().map(|(number, line)| Self {
                what: format!(
                    "{file} line {number} is left over (`{line}`): webhookd may run a script as root"
                ),
                mend: format!("visudo -f {file}, and delete line {number}"),
                harmless: false,
            }));
        }
        Ok(found)
    }
}

/// The guide's service, by its name or by what it starts.
fn units(folder: &Path) -> Result<Vec<Leftover>, Unreadable> {
    let mut found = Vec::new();
    for path in entries(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.ends_with(".service") || !path.is_file() {
            continue;
        }
        let text = read(&path)?;
        if name != THEIR_UNIT && !text.contains("webhook_server.py") {
            continue;
        }
        let shown = shown_path(&path);
        let unit = shown.rsplit('/').next().unwrap_or_default();
        found.push(if name == OUR_UNIT {
            Leftover {
                what: format!(
                    "{shown} is left over: the guide's service, and by its name it stands before that \
                     of the package, so that webhookd does not run at all"
                ),
                mend: format!(
                    "systemctl stop {OUR_UNIT}\nrm {shown}\nsystemctl daemon-reload\n\
                     systemctl enable {OUR_UNIT}\nsystemctl restart webhookd.socket {OUR_UNIT}"
                ),
                harmless: false,
            }
        } else {
            Leftover {
                what: format!("{shown} is left over: the guide's service, on the same port"),
                mend: format!(
                    "systemctl disable --now {unit}\nrm {shown}\nsystemctl daemon-reload\n\
                     systemctl restart webhookd.socket {OUR_UNIT}"
                ),
                harmless: false,
            }
        });
    }
    Ok(found)
}

/// sudo reads all of these but names with a dot or a tilde.
fn sudoers() -> Result<Vec<PathBuf>, Unreadable> {
    let mut files = vec![PathBuf::from("/etc/sudoers")];
    files.extend(entries(Path::new("/etc/sudoers.d"))?);
    files.retain(|file| file.is_file());
    Ok(files)
}

/// What a folder holds, sorted; nothing where there is none.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, Unreadable> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let failed = |source| Unreadable { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort_unstable();
    Ok(paths)
}

/// The lines that give webhookd something to run, by the guide's words; counted from 1. What is
/// shown of one is what was looked for in it.
fn granting(text: &str) -> Vec<(usize, &'static str)> {
    let lines = (1..).zip(text.lines());
    let grants = lines.filter_map(|(number, line)| {
        let line = line.trim();
        let words = if line.starts_with("webhookd ") {
            "webhookd ..."
        } else if line.starts_with("Defaults:webhookd") {
            "Defaults:webhookd ..."
        } else if !line.starts_with('#') && line.contains("block_ip.py") {
            "... block_ip.py ..."
        } else {
            return None;
        };
        Some((number, words))
    });
    grants.collect()
}

const UNITS: &str = "/etc/systemd/system";
const THEIR_UNIT: &str = "webhook-server.service";
const OUR_UNIT: &str = "webhookd.service";

/// Path, what it is, the command that takes it away, whether it only takes up room.
const FILES: &[(&str, &str, &str, bool)] = &[
    ("/usr/local/bin/webhook_server.py", "the guide's server", "rm", false),
    ("/usr/local/bin/block_ip.py", "the guide's script, run as root by sudo", "rm", false),
    (TOKEN_FILE, "the guide's token", "rm", false),
    ("/etc/ssl/webhook", "the guide's certificate and key", "rm -r", false),
    ("/var/log/webhook_server.log", "the guide's log of requests", "rm", true),
    ("/var/log/block_ip.log", "the guide's log of blocks", "rm", true),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guides_lines_are_found_in_sudoers() {
        let text = "root ALL=(ALL:ALL) ALL\n# block_ip.py is gone\nDefaults:webhookd !requiretty\n\n\
            Cmnd_Alias BLOCK_CMD = /usr/bin/python3 /usr/local/bin/block_ip.py *\n\n\
            webhookd ALL=(root) NOPASSWD: BLOCK_CMD\nwebhookdother ALL=(root) ALL\n";
        let lines: Vec<usize> = granting(text).into_iter().map(|(number, _)| number).collect();
        assert_eq!(lines, [3, 5, 7]);
    }

    #[test]
    fn the_service_is_found_by_what_it_starts_whatever_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let starts = "[Service]\nExecStart=/usr/bin/python3 /usr/local/bin/webhook_server.py\n";
        for (name, text) in [
            ("webhook-server.service", ""),
            ("blocker.service", starts),
            ("webhookd.service", starts),
            ("other.service", "[Service]\nExecStart=/bin/true\n"),
            ("blocker.txt", starts),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let found = units(folder.path()).unwrap();
        let whats: Vec<&str> = found.iter().map(|unit| &*unit.what).collect();
        assert!(whats.len() == 3 && whats[0].contains("blocker.service is left"), "{whats:#?}");
        assert!(whats[1].contains("webhook-server.service is left over"), "{whats:#?}");
        assert!(whats[2].contains("webhookd does not run at all"), "{whats:#?}");
        // To disable it would disable ours.
        assert!(!found[2].mend.contains("disable"), "{}", found[2].mend);
    }

    #[test]
    fn where_there_is_no_folder_there_is_no_unit() {
        assert!(units(Path::new("/none")).unwrap().is_empty());
    }
}
