//! Appends whole lines to a file, whatever becomes of the file: full, rotated, or gone. What cannot
//! be written is counted and said, and stops nobody.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::libc;
use slog::{Logger, error, warn};

/// The file, shared by those who write to it and those who open it anew.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    /// What is written of the present line.
    line: Vec<u8>,
    target: Arc<Mutex<Target>>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Target {
    path: PathBuf,
    file: File,
    /// Whether the file ends within a line: the next one begins with its end, so that one is damaged.
    broken: bool,
    /// Lines lost since one was written.
    failed: u64,
    log: Logger,
}

impl Lines {
    /// Opens the file, or makes it with mode 0640.
    ///
    /// # Errors
    /// It cannot be opened for appending, or is a link.
    pub(crate) fn open(path: &Path, log: Logger) -> Result<Self, AuditError> {
        let failed = |source| AuditError { path: path.to_owned(), source };
        let file = open(path).map_err(failed)?;
        Ok(Self::writing(file, path, log))
    }

    fn writing(file: File, path: &Path, log: Logger) -> Self {
        let broken = ends_within_a_line(&file);
        let target = Target { path: path.to_owned(), file, broken, failed: 0, log };
        Self { line: Vec::new(), target: Arc::new(Mutex::new(target)), lost: Arc::default() }
    }

    /// Opens the path again, where logrotate has renamed the file. One that cannot be opened keeps
    /// the old one, which is said.
    pub(crate) fn reopen(&self) {
        let mut target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        match open(&target.path) {
            Ok(file) => {
                target.broken = ends_within_a_line(&file);
                target.file = file;
            }
            Err(error) => warn!(target.log, "audit log not opened again, the old file stays";
                "file" => %target.path.display(), "why" => %error),
        }
    }

    /// Lines lost since the start.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// Nothing goes to the file before the line is whole.
impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let line = escape(&String::from_utf8_lossy(&self.line));
        self.line.clear();
        let mut target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        if !target.append(&line) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Target {
    /// Writes a line by one write(2), so that the lines of two writers never mix; whether it is
    /// there as a whole.
    fn append(&mut self, line: &str) -> bool {
        let line = if self.broken { format!("\n{line}") } else { line.to_owned() };
        let why = match write_once(&mut self.file, line.as_bytes()) {
            Ok(written) if written == line.len() => {
                self.broken = false;
                if self.failed > 0 {
                    warn!(self.log, "the audit log is written again"; "lost" => self.failed,
                        "file" => %self.path.display());
                    self.failed = 0;
                }
                return true;
            }
            Ok(written) => {
                self.broken |= written > 0;
                io::Error::from(ErrorKind::StorageFull)
            }
            Err(error) => error,
        };
        if self.failed == 0 {
            error!(self.log, "the audit log is not written, and what is lost is counted";
                "file" => %self.path.display(), "why" => %why);
        }
        self.failed = self.failed.saturating_add(1);
        false
    }
}

fn write_once(file: &mut File, line: &[u8]) -> io::Result<usize> {
    loop {
        match file.write(line) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            written => return written,
        }
    }
}

/// Never waits: a pipe that nobody reads is an error at the first line that finds no room, and a
/// link leads nowhere. The mode is set by hand where the file is made, as a unit's umask is narrower.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let made = options.create_new(true).mode(MODE).open(path)?;
            made.set_permissions(PermissionsExt::from_mode(MODE))?;
            Ok(made)
        }
        opened => opened,
    }
}

/// A crash or a full disk may have cut the last line.
fn ends_within_a_line(mut file: &File) -> bool {
    let mut last = [b'\n'];
    let found = file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last));
    found.is_ok() && last != [b'\n']
}

/// A line of JSON with nothing in it that steers a terminal.
#[must_use]
pub fn escape(line: &str) -> String {
    // Nearly every line, and a list of very many blocks.
    if line.bytes().all(|byte| byte.is_ascii() && byte != 0x7f) {
        return line.to_owned();
    }
    line.chars().fold(String::new(), escaped)
}

/// JSON has quotes, backslashes and C0 escaped. What else steers a terminal (DEL, C1, bidirectional
/// overrides, line separators) stands within strings alone, where an escape means the same.
fn escaped(mut line: String, character: char) -> String {
    let plain = character == '\n' || character.is_ascii() && character != '\u{7f}';
    if plain || character.escape_debug().len() == 1 {
        line.push(character);
    } else {
        let mut units = [0; 2];
        let units = character.encode_utf16(&mut units).iter();
        line.extend(units.map(|unit| format!("\\u{unit:04x}")));
    }
    line
}

/// The audit log cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "audit-log: {}: cannot be opened for appending: {source}; make its directory with \
     `install -d -o USER -m 0750 DIRECTORY`, for the user of the daemon, or leave the key out",
    path.display()
)]
pub struct AuditError {
    path: PathBuf,
    source: io::Error,
}

/// The owner writes, and a group of readers reads.
const MODE: u32 = 0o640;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use slog::{Discard, o};

    use super::*;

    fn log() -> Logger {
        Logger::root(Discard, o!())
    }

    fn append(lines: &mut Lines, text: &str) {
        lines.write_all(text.as_bytes()).unwrap();
        lines.flush().unwrap();
    }

    #[test]
    fn a_new_file_is_readable_by_its_group_whatever_the_umask_and_an_old_one_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let mut lines = Lines::open(&path, log()).unwrap();
        append(&mut lines, "one\n");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        append(&mut Lines::open(&path, log()).unwrap(), "two\n");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn a_link_a_folder_and_what_has_no_folder_are_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("file"), "").unwrap();
        symlink(at("file"), at("link")).unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        for name in ["link", "dangling", "", "missing/a"] {
            let error = Lines::open(&at(name), log()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("audit-log: {}", at(name).display())), "{error}");
        }
        assert!(!at("nowhere").exists());
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let full = File::options().append(true).open("/dev/full").unwrap();
        let mut lines = Lines::writing(full, Path::new("/dev/full"), log());
        for count in 1..=3 {
            append(&mut lines, "x\n");
            assert_eq!(lines.lost(), count);
        }
    }

    #[test]
    fn a_line_that_was_cut_before_the_start_damages_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::write(&path, "whole\ncut").unwrap();
        let mut lines = Lines::open(&path, log()).unwrap();
        append(&mut lines, "next\n");
        append(&mut lines, "last\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole\ncut\nnext\nlast\n");
        assert_eq!(lines.lost(), 0);
    }

    /// A pipe that nobody reads takes what it has room for, as a disk does that fills up.
    #[test]
    fn a_line_that_finds_too_little_room_is_the_only_one_damaged_and_nobody_waits() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut lines = Lines::open(&path, log()).unwrap();
        let line = |number: u64| format!("{number:010000}\n");
        let mut number = 0;
        while lines.lost() < 2 {
            assert!(number < 1_000, "a pipe holds no {number} lines");
            append(&mut lines, &line(number));
            number += 1;
        }
        let mut reader =
            File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        let mut read = Vec::new();
        let drain = |reader: &mut File, read: &mut Vec<u8>| {
            assert_eq!(reader.read_to_end(read).unwrap_err().kind(), ErrorKind::WouldBlock);
        };
        drain(&mut reader, &mut read);
        append(&mut lines, &line(number));
        append(&mut lines, &line(number + 1));
        drain(&mut reader, &mut read);
        let text = String::from_utf8(read).unwrap();
        let (whole, cut): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| line.len() == 10_000);
        assert_eq!(cut.len(), 1, "{} lines", whole.len());
        let expected: Vec<u64> = (0..number - 2).chain([number, number + 1]).collect();
        let found: Vec<u64> = whole.iter().map(|line| line.parse().unwrap()).collect();
        assert_eq!((found, lines.lost()), (expected, 2));
    }

    #[test]
    fn a_file_that_was_renamed_is_written_until_it_is_opened_again_and_a_bad_path_keeps_it() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let mut lines = Lines::open(&at("a"), log()).unwrap();
        append(&mut lines, "one\n");
        fs::rename(at("a"), at("a.1")).unwrap();
        append(&mut lines, "two\n");
        fs::create_dir(at("a")).unwrap();
        lines.reopen();
        append(&mut lines, "three\n");
        fs::remove_dir(at("a")).unwrap();
        lines.reopen();
        append(&mut lines, "four\n");
        assert_eq!(fs::read_to_string(at("a.1")).unwrap(), "one\ntwo\nthree\n");
        assert_eq!(fs::read_to_string(at("a")).unwrap(), "four\n");
        assert_eq!(lines.lost(), 0);
    }

    #[test]
    fn what_json_leaves_raw_and_steers_a_terminal_is_escaped() {
        for (raw, shown) in [
            ("{\"a\":\"plain, Zürich\"}\n", "{\"a\":\"plain, Zürich\"}\n"),
            ("\u{7f}\u{9b}31m", "\\u007f\\u009b31m"),
            ("\u{2028}\u{202e}", "\\u2028\\u202e"),
            ("\u{e0001}", "\\udb40\\udc01"),
            ("a\\\"b'", "a\\\"b'"),
        ] {
            assert_eq!(escape(raw), shown);
        }
    }
}
