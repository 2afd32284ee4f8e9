//! privd's socket: who could reach it, and who could put another in its place.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use crate::ctl::check::finding::{Finding, Findings, Unmade};
use crate::ctl::check::host::Host;
use crate::ctl::outside::{Unreadable, shown_path};

pub(super) fn socket(host: &Host) -> Findings {
    let (path, asked) = (&host.privd()?.socket, &host.frontend()?.privd_socket);
    let shown = shown_path(path);
    if path != asked {
        let what =
            format!("webhookd asks at {}, webhook-privd listens at {shown}", shown_path(asked));
        let mend = "make privd-socket of webhookd.toml and socket of privd.toml the same";
        return Ok(vec![Finding::problem(what, mend)]);
    }
    let group = host.group()?.as_raw();
    let Ok(found) = fs::symlink_metadata(path) else {
        let mend = format!("{AGAIN}\nsystemctl status webhook-privd.socket");
        return Ok(vec![Finding::problem(format!("{shown} is not there"), mend)]);
    };
    let mode = found.permissions().mode() & 0o7777;
    let wrong = if !found.file_type().is_socket() {
        Some("is not a socket".to_owned())
    } else if (found.uid(), found.gid(), mode) != (0, group, 0o660) {
        let owner = format!("{}:{}", found.uid(), found.gid());
        Some(format!("is of {owner}, mode {mode:04o}, instead of 0:{group}, mode 0660"))
    } else {
        None
    };
    if let Some(wrong) = wrong {
        return Ok(vec![Finding::problem(format!("{shown} {wrong}"), AGAIN)]);
    }
    for folder in path.ancestors().skip(1) {
        if let Some(problem) = judge_folder(folder)? {
            return Ok(vec![problem]);
        }
    }
    Ok(vec![Finding::ok(format!(
        "{shown} is root's, for webhookd's group, and so is the way to it"
    ))])
}

/// Who can write a folder can put a socket of his own there.
fn judge_folder(folder: &Path) -> Result<Option<Finding>, Unmade> {
    let found = fs::symlink_metadata(folder)
        .map_err(|source| Unreadable { path: folder.to_owned(), source })?;
    let (mode, folder) = (found.permissions().mode() & 0o7777, shown_path(folder));
    Ok((found.uid() != 0 || mode & 0o022 != 0).then(|| {
        Finding::problem(
            format!("{folder}, on the way to the socket, can be written by others than root"),
            format!("chown root: {folder} && chmod go-w {folder}"),
        )
    }))
}

const AGAIN: &str = "systemctl restart webhook-privd.socket webhook-privd.service";
