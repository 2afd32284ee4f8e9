//! What comes, as it comes, over every rotation.

use std::fs::File;
use std::io::{self, ErrorKind, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::ctl::log::filter::{Filter, Requests};
use crate::ctl::log::part::{Line, Lines, Part};
use crate::ctl::log::place::Log;
use crate::ctl::log::record::Record;
use crate::ctl::log::{LogError, documents, request};
use crate::ctl::output::Output;
use crate::ctl::{CtlError, Done};

/// Shows records and those that follow, until Ctrl-C or until nobody reads any more.
pub(super) async fn follow(
    mut logs: Vec<Followed>,
    mut records: Vec<Record>,
    filter: &Filter,
    mut requests: Requests,
    output: &Output,
) -> Result<Done, CtlError> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        if !output.follow(&documents(&records)?, &request::lines(&records))? {
            return Ok(Done::Well);
        }
        tokio::select! {
            _ = interrupt.recv() => return Ok(Done::Well),
            () = tokio::time::sleep(PAUSE) => {}
        }
        records.clear();
        for log in &mut logs {
            let come = log.come(filter, &requests)?;
            requests.remember(come.iter());
            records.extend(come);
        }
        records.sort_by_key(|record| record.at);
    }
}

/// A log, and how far it was read.
pub(super) struct Followed {
    log: Log,
    current: Option<Current>,
}

struct Current {
    file: File,
    inode: u64,
    read: u64,
}

impl Followed {
    pub(super) fn new(log: Log, end: Option<(Part, u64)>) -> Self {
        let current = end.and_then(|(part, read)| Current::new(part.into_file(), read).ok());
        Self { log, current }
    }

    /// What was written since the last time.
    fn come(&mut self, filter: &Filter, requests: &Requests) -> Result<Vec<Record>, LogError> {
        let mut records = Vec::new();
        let mut take = |line: &[u8]| {
            let record = Record::read(line).filter(|record| self.log.may_say(record.action));
            records.extend(record.filter(|record| filter.takes(record, requests)));
        };
        // A daemon that has made the new file writes nothing more to the old one: first the new one
        // is looked for, then the old one is read to its end.
        let next = Current::opened(&self.log)
            .map_err(|source| LogError::Read { path: self.log.path.clone(), source })?;
        let next =
            next.filter(|next| self.current.as_ref().is_none_or(|now| now.inode != next.inode));
        let read = || -> io::Result<()> {
            if let Some(current) = &mut self.current {
                current.read(&mut take)?;
            }
            if let Some(mut next) = next {
                next.read(&mut take)?;
                self.current = Some(next);
            }
            Ok(())
        };
        read().map_err(|source| LogError::Read { path: self.log.path.clone(), source })?;
        Ok(records)
    }
}

impl Current {
    fn new(file: File, read: u64) -> io::Result<Self> {
        let inode = file.metadata()?.ino();
        Ok(Self { file, inode, read })
    }

    /// The file that the daemon writes; None while there is none.
    fn opened(log: &Log) -> io::Result<Option<Self>> {
        match log.open(&log.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            opened => Self::new(opened?, 0).map(Some),
        }
    }

    /// Each line that is whole by now.
    fn read(&mut self, take: &mut impl FnMut(&[u8])) -> io::Result<()> {
        // Emptied in place, as logrotate's copytruncate does.
        if self.file.metadata()?.len() < self.read {
            self.read = 0;
        }
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut lines = Lines::new(file, false);
        while let Some(line) = lines.next()? {
            if let Line::Whole(line) = line {
                take(line);
            }
        }
        self.read = self.read.saturating_add(lines.read);
        Ok(())
    }
}

/// Between two looks at the files.
const PAUSE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn line(number: u8) -> String {
        format!(
            "{{\"@timestamp\":\"2026-11-23T14:00:00Z\",\"event.action\":\"ip-blocked\",\"source.address\":\"192.0.2.{number}\"}}\n"
        )
    }

    #[test]
    fn a_rotation_loses_and_doubles_no_record() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.ndjson");
        let append = |name: &str, text: &str| {
            let path = directory.path().join(name);
            let mut file = File::options().append(true).create(true).open(path).unwrap();
            io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        };
        let mut followed = Followed::new(Log::anyones(path.clone()), None);
        let mut come = || -> Vec<String> {
            let records = followed.come(&Filter::default(), &Requests::default()).unwrap();
            let sources = records.into_iter().filter_map(|record| record.fields.source);
            sources.map(|source| source.replace("192.0.2.", "")).collect()
        };
        // There is no file yet.
        assert!(come().is_empty());
        append("audit.ndjson", &line(1));
        assert_eq!(come(), ["1"]);
        assert!(come().is_empty());
        // Half a line is waited for, a damaged one is not.
        let second = line(2);
        let (start, end) = second.split_at(20);
        append("audit.ndjson", &format!("broken\n{start}"));
        assert!(come().is_empty());
        append("audit.ndjson", end);
        assert_eq!(come(), ["2"]);
        // The daemon writes to the old file until it opens the new one.
        append("audit.ndjson", &line(3));
        fs::rename(&path, directory.path().join("audit.ndjson.1")).unwrap();
        append("audit.ndjson.1", &line(4));
        assert_eq!(come(), ["3", "4"]);
        append("audit.ndjson.1", &line(5));
        append("audit.ndjson", &line(6));
        assert_eq!(come(), ["5", "6"]);
        assert!(come().is_empty());
        fs::write(&path, "").unwrap();
        assert!(come().is_empty());
        append("audit.ndjson", &line(7));
        assert_eq!(come(), ["7"]);
    }
}
