//! Files that others may have put something else in place of: a pipe would have the reader wait for
//! good, and to open some devices does something.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
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

/// All of a regular file, as it was at one moment: whoever writes it in place while it is read would
/// have it end anywhere, a token in its middle. Beyond a page, 4 KiB, it may still be seen half written.
///
/// # Errors
/// As [`open`]; it has more bytes than `most`, is no text, or somebody keeps writing it.
pub fn read(path: &Path, links: Links, most: u64) -> io::Result<String> {
    for _ in 0..ATTEMPTS {
        let file = open(path, links)?;
        let before = state(&file)?;
        if before.0 > most {
            return Err(io::Error::other(format!("it has more than {most} bytes")));
        }
        let mut text = String::new();
        let length = (&file).take(most).read_to_string(&mut text);
        if state(&file)? == before && u64::try_from(length?).is_ok_and(|read| read == before.0) {
            return Ok(text);
        }
    }
    Err(io::Error::other("somebody is writing it"))
}

/// Size, and when it was last changed.
fn state(file: &File) -> io::Result<(u64, i64, i64)> {
    let metadata = file.metadata()?;
    Ok((metadata.size(), metadata.ctime(), metadata.ctime_nsec()))
}

/// Attempts to read a file in between two writes.
const ATTEMPTS: usize = 10;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

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

    #[test]
    fn a_file_that_is_written_in_place_is_read_whole_or_empty_and_never_cut() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let texts = ["a".repeat(100), "b".repeat(3_000), String::new()];
        std::fs::write(&path, "").unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for text in texts.iter().cycle().take_while(|_| !over.load(Ordering::Relaxed)) {
                    std::fs::write(&path, text).unwrap();
                }
            });
            // A panic here would leave the writer writing.
            let read = |_| read(&path, Links::Follow, 10_000).ok();
            let cut = (0..20_000).filter_map(read).find(|text| !texts.contains(text));
            over.store(true, Ordering::Relaxed);
            assert_eq!(cut, None);
        });
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, Links::Follow, 5).unwrap(), "12345");
        let error = read(&path, Links::Follow, 4).unwrap_err();
        assert_eq!(error.to_string(), "it has more than 4 bytes");
    }
}
