//! ufw's rules files on disk: read, written, and kept as verified copies.
//!
//! ufw rewrites them in place (measured): a crash or a full disk in that moment leaves a file that
//! loads nothing at the next boot, the administrator's own rules included. So after each valid
//! change, whoever made it, a copy is made durable, and a file that is no longer whole is restored
//! from it. A whole file is never overwritten: it is the administrator's will.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use hosttext::rules_file::{Damage, RulesFile};
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};
use protocol::Text;

/// The rules files and where their copies are.
#[derive(Debug)]
pub struct RulesFiles {
    directory: PathBuf,
    /// The texts of the copies, as last written: IPv4, IPv6.
    kept: [Option<String>; 2],
}

/// What reading a file comes to.
#[derive(Debug)]
pub enum Unreadable {
    /// It is not whole.
    Damaged(Damage),
    /// It cannot be read at all.
    Failed(io::Error),
}

impl RulesFiles {
    /// Copies go beside the ledger.
    pub fn new(ledger: &Path) -> Self {
        let directory = ledger.parent().unwrap_or_else(|| Path::new("/")).to_owned();
        Self { directory, kept: [None, None] }
    }

    /// Whether this host has ufw, or had it and kept its configuration.
    pub fn are_there() -> bool {
        Path::new(CONF).exists()
    }

    /// Whether both are still the files that this process may write: `ufw reset` and `sed -i` put
    /// others in their place, which a bind mount does not follow.
    pub fn writable() -> bool {
        RULES.iter().all(|path| access(*path, AccessFlags::W_OK).is_ok())
    }

    /// Makes a durable copy of a whole file, unless there is one.
    ///
    /// # Errors
    /// The disk.
    pub fn keep(&mut self, which: usize, file: &RulesFile) -> io::Result<()> {
        let path = self.copy_of(which);
        let Some(kept) = self.kept.get_mut(which) else { return Ok(()) };
        if kept.as_deref() == Some(file.text()) {
            return Ok(());
        }
        let new = path.with_extension("new");
        let mut copy = File::create(&new)?;
        copy.write_all(file.text().as_bytes())?;
        copy.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(&self.directory)?.sync_all()?;
        *kept = Some(file.text().to_owned());
        Ok(())
    }

    /// Puts the copy in the place of a file that is not whole. Only under ufw's lock, or before
    /// ufw has started: otherwise the file may merely be in the middle of being written.
    ///
    /// # Errors
    /// There is no whole copy, or the disk.
    pub fn restore(&self, which: usize) -> io::Result<()> {
        let copy = self.copy_of(which);
        let bytes = fs::read(&copy)
            .map_err(|error| io::Error::other(format!("its copy {}: {error}", copy.display())))?;
        let copy = RulesFile::parse(bytes)
            .map_err(|damage| io::Error::other(format!("its copy {} {damage}", copy.display())))?;
        write(which, copy.text())
    }

    fn copy_of(&self, which: usize) -> PathBuf {
        self.directory.join(COPIES.get(which).copied().unwrap_or_default())
    }
}

/// Reads one file: 0 is IPv4, 1 is IPv6.
///
/// # Errors
/// It is damaged or cannot be read.
pub fn read(which: usize) -> Result<RulesFile, Unreadable> {
    let bytes = bytes_of(path(which)).map_err(Unreadable::Failed)?;
    RulesFile::parse(bytes).map_err(Unreadable::Damaged)
}

/// Writes one file in place, as ufw does: the inode is the one that we may write.
///
/// # Errors
/// The disk. It is asked for room first, because a file that does not fit is a damaged file.
pub fn write(which: usize, text: &str) -> io::Result<()> {
    let path = path(which);
    let disk = statvfs(path)?;
    let room = disk.blocks_available().saturating_mul(disk.fragment_size());
    // Once for us, and once more for the ufw that writes it again.
    let wanted = u64::try_from(text.len()).map_or(u64::MAX, |length| length.saturating_mul(2));
    let held = fs::metadata(path)?.blocks().saturating_mul(512);
    if room.saturating_add(held) < wanted {
        return Err(io::ErrorKind::StorageFull.into());
    }
    // Not emptied first, as ufw does: another ufw reads without the lock, at any moment, and would
    // write back a part for the whole. The first byte is wrong until all others are right, so that
    // a file whose writing broke off is seen to be damaged.
    let file = File::options().write(true).open(path)?;
    let (first, rest) = text.as_bytes().split_at_checked(1).unwrap_or_default();
    file.write_all_at(b"!", 0)?;
    file.write_all_at(rest, 1)?;
    file.set_len(u64::try_from(text.len()).map_err(io::Error::other)?)?;
    file.write_all_at(first, 0)
}

/// The whole of a file of sensible size.
///
/// # Errors
/// It cannot be read, or is larger.
pub fn bytes_of(path: &str) -> io::Result<Vec<u8>> {
    if fs::metadata(path)?.size() > MAX_FILE {
        return Err(io::Error::other("larger than 64 MiB"));
    }
    fs::read(path)
}

/// The path of one file.
pub fn path(which: usize) -> &'static str {
    RULES.get(which).copied().unwrap_or_default()
}

/// In words, for the operator.
pub fn complaint(path: &str, problem: &impl std::fmt::Display) -> Text {
    Text::truncated(&format!("{path}: {problem}"))
}

/// Where ufw's files are.
pub const DIRECTORY: &str = "/etc/ufw";
/// Says whether ufw is on; gone with ufw, where a purge leaves the directory.
pub const CONF: &str = "/etc/ufw/ufw.conf";
/// IPv4, IPv6.
pub const RULES: [&str; 2] = ["/etc/ufw/user.rules", "/etc/ufw/user6.rules"];
/// Their copies, beside the ledger.
const COPIES: [&str; 2] = ["user.rules", "user6.rules"];
/// Bytes: 500,000 rules.
const MAX_FILE: u64 = 64 << 20;
