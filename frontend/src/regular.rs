//! Files that others may have put something else in place of: a pipe would have the reader wait for
//! good, and to open some devices does something.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

/// What becomes of a link at the end of a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Links {
    /// It leads where it leads: root alone writes the folder.
    Follow,
    /// It is an error: whoever writes the folder is less than who reads.
    Refuse,
}

/// Opens a regular file for reading, without ever waiting.
///
/// # Errors
/// It cannot be opened, or is no regular file.
pub fn open(path: &Path, links: Links) -> io::Result<File> {
    let mut flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    flags.set(OFlag::O_NOFOLLOW, links == Links::Refuse);
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is no regular file"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn only_a_regular_file_is_opened_and_nothing_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("file"), "text").unwrap();
        symlink("file", at("link")).unwrap();
        symlink("/dev/zero", at("device")).unwrap();
        mkfifo(&at("pipe"), Mode::S_IRUSR).unwrap();
        for (name, links, opens) in [
            ("file", Links::Refuse, true),
            ("link", Links::Follow, true),
            ("link", Links::Refuse, false),
            ("device", Links::Follow, false),
            ("pipe", Links::Follow, false),
            ("", Links::Follow, false),
            ("none", Links::Follow, false),
        ] {
            assert_eq!(open(&at(name), links).is_ok(), opens, "{name} {links:?}");
        }
    }
}
