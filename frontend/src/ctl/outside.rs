//! Text that others wrote, read from the host and made safe to print.

use std::io;
use std::path::{Path, PathBuf};

use protocol::Untrusted;

/// Reads a text file of the host; what is no UTF-8 in it is replaced.
///
/// # Errors
/// It is not there, or cannot be read.
pub(super) fn read(path: impl AsRef<Path>) -> Result<String, Unreadable> {
    let path = path.as_ref();
    std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .map_err(|source| Unreadable { path: path.to_owned(), source })
}

/// Text from outside, safe to print.
pub(super) fn shown(text: &str) -> String {
    Untrusted(text).to_string()
}

/// A path, safe to print.
pub(super) fn shown_path(path: &Path) -> String {
    shown(&path.to_string_lossy())
}

/// A file of the host that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be read: {source}", shown_path(path))]
pub(super) struct Unreadable {
    pub(super) path: PathBuf,
    pub(super) source: io::Error,
}
