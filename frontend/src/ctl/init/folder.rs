//! The folder of configuration and credentials: what is in it, and how a file gets there.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::unistd::{Group, geteuid};
use tempfile::NamedTempFile;

use crate::ctl::init::InitError;

/// The folder, with the owner of its secrets.
pub(super) struct Folder {
    path: PathBuf,
    group: u32,
    force: bool,
}

/// A file of the folder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    CaKey,
    CaCert,
    Key,
    Cert,
    Token,
    Webhookd,
    Privd,
}

/// A file to be written.
pub(super) struct New {
    pub(super) kind: Kind,
    text: String,
    /// It stood there when this was planned, and is to be replaced.
    pub(super) replaces: bool,
}

impl Kind {
    /// In the order in which they appear: no certificate is there before its key.
    pub(super) const ALL: [Self; 7] = [
        Self::CaKey,
        Self::CaCert,
        Self::Key,
        Self::Cert,
        Self::Token,
        Self::Webhookd,
        Self::Privd,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::CaKey => "tls/ca.key",
            Self::CaCert => "tls/ca.pem",
            Self::Key => "tls/key.pem",
            Self::Cert => "tls/cert.pem",
            Self::Token => "token",
            Self::Webhookd => "webhookd.toml",
            Self::Privd => "privd.toml",
        }
    }

    const fn mode(self) -> u32 {
        match self {
            // webhookd never needs it.
            Self::CaKey => 0o600,
            Self::Key | Self::Token => 0o640,
            Self::CaCert | Self::Cert | Self::Webhookd | Self::Privd => 0o644,
        }
    }
}

impl Folder {
    /// The folder at `path`, which need not exist yet.
    pub(super) fn at(path: &Path, group: &str, force: bool) -> Result<Self, InitError> {
        if !geteuid().is_root() {
            return Err(InitError::NotRoot);
        }
        // The configuration names its files by it.
        let path = std::path::absolute(path).map_err(InitError::reading(path))?;
        if path.to_str().is_none() {
            return Err(InitError::Directory(path));
        }
        let found = Group::from_name(group).ok().flatten();
        let group = found.ok_or_else(|| InitError::Group(group.to_owned()))?.gid.as_raw();
        Ok(Self { path, group, force })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self, kind: Kind) -> PathBuf {
        self.path.join(kind.name())
    }

    /// Whether something stands there, be it a link that leads nowhere.
    pub(super) fn has(&self, kind: Kind) -> bool {
        self.file(kind).symlink_metadata().is_ok()
    }

    /// Whether something stands there and is to stay.
    pub(super) fn keeps(&self, kind: Kind) -> bool {
        self.has(kind) && !self.force
    }

    /// What is there, as text.
    pub(super) fn read(&self, kind: Kind) -> Result<String, InitError> {
        let path = self.file(kind);
        fs::read_to_string(&path).map_err(InitError::reading(&path))
    }

    pub(super) fn new_file(&self, kind: Kind, text: String) -> New {
        New { kind, text, replaces: self.has(kind) }
    }

    /// Writes all files, each whole and with its owner and mode before its name appears. Nothing
    /// appears before everything is on the disk.
    pub(super) fn write(&self, files: &[New], retired: &[Kind]) -> Result<(), InitError> {
        if files.is_empty() && retired.is_empty() {
            return Ok(());
        }
        for folder in [self.path.clone(), self.path.join("tls")] {
            make_folder(&folder).map_err(InitError::writing(&folder))?;
        }
        let staged = files.iter().map(|new| Ok((new, self.stage(new)?)));
        let mut staged = staged.collect::<Result<Vec<_>, InitError>>()?;
        staged.sort_by_key(|(new, _)| Kind::ALL.iter().position(|kind| *kind == new.kind));
        for kind in retired {
            let path = self.file(*kind);
            fs::rename(&path, old(&path)).map_err(InitError::writing(&path))?;
        }
        for (new, file) in staged {
            let path = self.file(new.kind);
            publish(file, &path, new.replaces).map_err(InitError::writing(&path))?;
        }
        for folder in [self.path.join("tls"), self.path.clone()] {
            let synced = File::open(&folder).and_then(|folder| folder.sync_all());
            synced.map_err(InitError::writing(&folder))?;
        }
        Ok(())
    }

    fn stage(&self, new: &New) -> Result<NamedTempFile, InitError> {
        let path = self.file(new.kind);
        let group = if new.kind.mode() == SHARED { self.group } else { 0 };
        let write = || {
            let beside = path.parent().unwrap_or(&self.path);
            let mut file = NamedTempFile::new_in(beside)?;
            file.write_all(new.text.as_bytes())?;
            fchown(file.as_file(), Some(0), Some(group))?;
            file.as_file().set_permissions(Permissions::from_mode(new.kind.mode()))?;
            file.as_file().sync_all()?;
            Ok(file)
        };
        write().map_err(InitError::writing(&path))
    }
}

/// Whatever the umask: webhookd must be able to pass through.
fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    DirBuilder::new().mode(0o755).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// Gives a staged file its name. What stood there is kept beside; the name is never without a file.
fn publish(file: NamedTempFile, path: &Path, replaces: bool) -> io::Result<()> {
    if !replaces {
        // Nobody's file is lost that appeared since.
        return file.persist_noclobber(path).map(drop).map_err(|error| error.error);
    }
    let old = old(path);
    match fs::remove_file(&old) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::hard_link(path, old)?,
    }
    file.persist(path).map(drop).map_err(|error| error.error)
}

/// Where what was replaced is kept.
pub(super) fn old(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".old");
    name.into()
}

/// The mode of what webhookd's group reads.
const SHARED: u32 = 0o640;
