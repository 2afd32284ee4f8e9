//! What the host must have left: room where ufw and the ledger write, and the right time.

use std::path::Path;

use nix::sys::statvfs::statvfs;

use crate::ctl::check::finding::{Finding, Findings};
use crate::ctl::check::host::Host;
use crate::ctl::engine::Engine;
use crate::ctl::outside::{Unreadable, shown_path};
use crate::ctl::program::{find, run};

pub(super) fn free(host: &Host) -> Findings {
    let ledger = &host.privd()?.ledger;
    let state = ledger.parent().unwrap_or_else(|| Path::new("/"));
    let engine = host.engine();
    let (folders, who) = match engine {
        Engine::Ufw => (&[Path::new("/etc/ufw"), state][..], "ufw and webhook-privd write"),
        Engine::Nftables => (&[state][..], "webhook-privd writes"),
    };
    let mut findings = Vec::new();
    for folder in folders.iter().copied() {
        let found = statvfs(folder)
            .map_err(|errno| Unreadable { path: folder.to_owned(), source: errno.into() })?;
        let free = found.blocks_available().saturating_mul(found.fragment_size());
        // Some file systems have no fixed number of inodes, and say 0 of 0.
        let inodes = (found.files() > 0).then(|| found.files_available());
        findings.extend(judge(engine, folder, free, inodes));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(format!("there is room where {who}")));
    }
    Ok(findings)
}

fn judge(engine: Engine, folder: &Path, free: u64, inodes: Option<u64>) -> Option<Finding> {
    let folder = shown_path(folder);
    let left = if free < LEAST_FREE {
        format!("{} KiB", free >> 10)
    } else {
        let few = inodes.filter(|inodes| *inodes < LEAST_INODES)?;
        format!("{few} inodes")
    };
    let why = match engine {
        Engine::Ufw => {
            "ufw empties its rules file before it writes it, and on a full disk that is the end of \
             the rules"
        }
        Engine::Nftables => "on a full disk no block can be noted, and so none is made",
    };
    let what = format!("{folder} has {left} left: {why}");
    Some(Finding::problem(what, format!("df {folder}; df -i {folder}; then delete something")))
}

pub(super) fn clock(_: &Host) -> Findings {
    if find("timedatectl").is_none() || !Host::is_booted() {
        return Ok(vec![Finding::note("nobody here knows whether it is right; blocks end by it")]);
    }
    let printed = run("timedatectl", &["show", "--property", "NTPSynchronized", "--value"])?;
    Ok(vec![match printed.text.trim() {
        "yes" => Finding::ok("synchronised"),
        _ => Finding::note(
            "not synchronised (`timedatectl`); blocks end and certificates expire by it",
        ),
    }])
}

/// Bytes: several copies of the rules files of a few thousand blocks.
const LEAST_FREE: u64 = 10 << 20;
const LEAST_INODES: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_by_bytes_or_by_inodes() {
        let judged =
            |free, inodes| judge(Engine::Ufw, Path::new("/x"), free, inodes).map(|it| it.message);
        assert!(judged(1 << 20, Some(5_000)).unwrap().starts_with("/x has 1024 KiB left"));
        assert!(judged(1 << 30, Some(999)).unwrap().starts_with("/x has 999 inodes left"));
        assert_eq!(judged(1 << 30, Some(1_000)), None);
        assert_eq!(judged(10 << 20, None), None);
    }
}
