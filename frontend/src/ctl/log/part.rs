//! One file of an audit log: its lines, one after the other, whatever it holds.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use jiff::Timestamp;

use crate::ctl::log::record::Record;

/// A part of a log, open.
#[derive(Debug)]
pub(super) struct Part {
    file: File,
    compressed: bool,
    /// Whether this is the one that is written now.
    pub(super) current: bool,
}

/// What is read at a time.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Line<'a> {
    /// A line, without its end.
    Whole(&'a [u8]),
    /// What the file ends with where that is no line, or not yet.
    Unfinished(&'a [u8]),
    /// More than any record has; none of it is kept.
    TooLong,
    /// A compressed file that goes on no further.
    Broken,
}

impl Part {
    pub(super) fn new(file: File, path: &Path, current: bool) -> Self {
        let compressed = path.extension().is_some_and(|extension| extension == "gz");
        Self { file, compressed, current }
    }

    /// When its first record was written; None without any.
    pub(super) fn begins(&self) -> Option<Timestamp> {
        let mut lines = self.lines().ok()?;
        for _ in 0..LOOKED_AT {
            if let Line::Whole(line) | Line::Unfinished(line) = lines.next().ok()??
                && let Some(record) = Record::read(line)
            {
                return Some(record.at);
            }
        }
        None
    }

    pub(super) fn into_file(self) -> File {
        self.file
    }

    /// Its lines from the first on.
    pub(super) fn lines(&self) -> io::Result<Lines> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        Ok(Lines::new(file, self.compressed))
    }
}

/// The lines of a file.
pub(super) struct Lines {
    source: Box<dyn BufRead>,
    line: Vec<u8>,
    /// Bytes up to the end of the last whole line.
    pub(super) read: u64,
}

impl Lines {
    /// From where the file stands.
    pub(super) fn new(file: File, compressed: bool) -> Self {
        let file = BufReader::with_capacity(BUFFER, file);
        let source: Box<dyn BufRead> = if compressed {
            Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(file)))
        } else {
            Box::new(file)
        };
        Self { source, line: Vec::new(), read: 0 }
    }

    /// The next; None at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let read = (&mut self.source).take(MAX_BYTES).read_until(b'\n', &mut self.line);
        let mut bytes = match read {
            Ok(0) => return Ok(None),
            Ok(bytes) => u64::try_from(bytes).unwrap_or(u64::MAX),
            Err(error) if is_damage(&error) => return Ok(Some(Line::Broken)),
            Err(error) => return Err(error),
        };
        let whole = self.line.pop_if(|last| *last == b'\n').is_some();
        let too_long = !whole && bytes == MAX_BYTES;
        if too_long {
            let rest = match self.source.skip_until(b'\n') {
                Err(error) if is_damage(&error) => return Ok(Some(Line::Broken)),
                rest => rest?,
            };
            bytes = bytes.saturating_add(u64::try_from(rest).unwrap_or(u64::MAX));
        }
        if whole || too_long {
            self.read = self.read.saturating_add(bytes);
        }
        Ok(Some(match (whole, too_long) {
            (true, _) => Line::Whole(&self.line),
            (_, true) => Line::TooLong,
            _ => Line::Unfinished(&self.line),
        }))
    }
}

/// gzip's own words for a file that was cut or is none.
fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof
    )
}

/// Bytes of a line at most; the longest that a daemon writes has a tenth.
const MAX_BYTES: u64 = 64 << 10;
/// Bytes that are read at a time.
const BUFFER: usize = 128 << 10;
/// Lines that may be damaged ahead of the first record.
const LOOKED_AT: usize = 100;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn lines(name: &str, bytes: &[u8]) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let mut lines = Part::new(File::open(&path).unwrap(), &path, false).lines().unwrap();
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            let broken = line == Line::Broken;
            found.push(match line {
                Line::Whole(text) => String::from_utf8_lossy(text).into_owned(),
                Line::Unfinished(text) => format!("{}...", String::from_utf8_lossy(text)),
                other => format!("{other:?}"),
            });
            if broken {
                break;
            }
        }
        found
    }

    fn compressed(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_file_is_read_line_by_line_compressed_or_not() {
        for (name, bytes) in
            [("a.1", b"one\n\ntwo\nthr".to_vec()), ("a.2.gz", compressed(b"one\n\ntwo\nthr"))]
        {
            assert_eq!(lines(name, &bytes), ["one", "", "two", "thr..."], "{name}");
        }
    }

    #[test]
    fn what_is_no_line_is_not_kept_and_hides_no_other() {
        let long = [vec![b'x'; 200_000], b"\nnext\n".to_vec()].concat();
        assert_eq!(lines("a", &long), ["TooLong", "next"]);
        assert_eq!(lines("a.gz", &compressed(&long)), ["TooLong", "next"]);
        assert_eq!(lines("a.gz", b"no gzip at all"), ["Broken"]);
        let text: String = (0..50_000).map(|number| format!("{number}\n")).collect();
        let mut cut = compressed(text.as_bytes());
        cut.truncate(cut.len() / 2);
        let found = lines("a.gz", &cut);
        assert_eq!((&*found[0], found.last().map(|last| &**last)), ("0", Some("Broken")));
    }
}
