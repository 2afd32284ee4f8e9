//! The newest records of a log.

use std::collections::VecDeque;
use std::io;

use crate::ctl::log::LogError;
use crate::ctl::log::filter::{Filter, Requests};
use crate::ctl::log::part::{Line, Part};
use crate::ctl::log::place::Log;
use crate::ctl::log::record::Record;

/// What the end of a log holds of what is asked for.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// In the order of the log.
    pub(super) records: VecDeque<Record>,
    /// Whether there may be older ones.
    pub(super) more: bool,
    /// Lines that are no records, in those parts that were read.
    pub(super) damaged: u64,
    /// Whether there is a log at all.
    pub(super) found: bool,
    /// The part that is written now, and how many of its bytes are lines that were read.
    pub(super) end: Option<(Part, u64)>,
}

impl Tail {
    /// Reads as many parts as it takes, the newest first, each once and from its beginning; no more
    /// records are kept than are asked for.
    pub(super) fn of(
        log: &Log,
        filter: &Filter,
        requests: &Requests,
        limit: usize,
    ) -> Result<Self, LogError> {
        let mut tail = Self::default();
        for part in log.parts()? {
            tail.found = true;
            let room = limit.saturating_sub(tail.records.len());
            if room == 0 && !part.current {
                tail.more = true;
                break;
            }
            let later = std::mem::take(&mut tail.records);
            let read = tail
                .read(&part, room, log, |record| filter.takes(record, requests))
                .map_err(|source| LogError::Read { path: log.path.clone(), source })?;
            tail.records.extend(later);
            let begins = part.begins();
            if part.current {
                tail.end = Some((part, read));
            }
            // All others are older.
            if filter.since.zip(begins).is_some_and(|(since, begins)| begins < since) {
                break;
            }
        }
        Ok(tail)
    }

    /// Keeps the newest of one part; how many of its bytes are lines.
    fn read(
        &mut self,
        part: &Part,
        room: usize,
        log: &Log,
        takes: impl Fn(&Record) -> bool,
    ) -> io::Result<u64> {
        let mut lines = part.lines()?;
        while let Some(line) = lines.next()? {
            let record = match line {
                Line::Whole([]) => continue,
                Line::Whole(line) | Line::Unfinished(line) => {
                    Record::read(line).filter(|record| log.may_say(record.action))
                }
                Line::TooLong => None,
                Line::Broken => {
                    self.damaged = self.damaged.saturating_add(1);
                    break;
                }
            };
            let Some(record) = record else {
                self.damaged = self.damaged.saturating_add(1);
                continue;
            };
            if takes(&record) {
                self.records.push_back(record);
                if self.records.len() > room {
                    self.records.pop_front();
                    self.more = true;
                }
            }
        }
        Ok(lines.read)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    /// A record of each number, a second apart.
    fn lines(numbers: std::ops::Range<i64>) -> String {
        let line = |number: i64| {
            let at =
                jiff::Timestamp::from_second(1_795_442_400_i64.saturating_add(number)).unwrap();
            format!(
                "{{\"@timestamp\":\"{at}\",\"event.action\":\"ip-blocked\",\"source.address\":\"192.0.2.{number}\"}}\n"
            )
        };
        numbers.map(line).collect()
    }

    fn tail(path: PathBuf, filter: &Filter, limit: usize) -> (Vec<String>, bool, u64) {
        let tail = Tail::of(&Log::anyones(path), filter, &Requests::default(), limit).unwrap();
        let sources = tail.records.into_iter().filter_map(|record| record.fields.source);
        (sources.map(|source| source.replace("192.0.2.", "")).collect(), tail.more, tail.damaged)
    }

    #[test]
    fn rotated_parts_are_read_in_the_order_of_time_and_no_more_of_them_than_it_takes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.ndjson");
        let part = |suffix: &str| directory.path().join(format!("audit.ndjson{suffix}"));
        // Whatever the suffixes say.
        fs::write(part(".1"), lines(4..7)).unwrap();
        fs::write(part("-20261101"), lines(0..2)).unwrap();
        fs::write(part("-20261102"), lines(2..4)).unwrap();
        fs::write(part(".bak"), lines(50..60)).unwrap();
        fs::write(&path, lines(7..9)).unwrap();
        let all = Filter::default();
        let expected: Vec<String> = (0..9).map(|number| number.to_string()).collect();
        assert_eq!(tail(path.clone(), &all, 100), (expected.clone(), false, 0));
        assert_eq!(tail(path.clone(), &all, 9), (expected.clone(), false, 0));
        assert_eq!(tail(path.clone(), &all, 8), (expected[1..].to_vec(), true, 0));
        assert_eq!(tail(path.clone(), &all, 3), (expected[6..].to_vec(), true, 0));
        assert_eq!(tail(path.clone(), &all, 0), (Vec::new(), true, 0));
        let since = jiff::Timestamp::from_second(1_795_442_405).ok();
        let filter = Filter { since, ..Filter::default() };
        // What lies before is not even looked at.
        fs::write(part("-20261102"), [lines(2..3), "broken\n".into(), lines(3..4)].concat())
            .unwrap();
        assert_eq!(tail(path.clone(), &filter, 100), (expected[5..].to_vec(), false, 0));
        assert_eq!(tail(path.clone(), &all, 100), (expected.clone(), false, 1));
        fs::remove_file(&path).unwrap();
        assert_eq!(tail(path, &all, 100).0, expected[..7]);
    }

    #[test]
    fn a_damaged_line_is_counted_and_hides_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.ndjson");
        let text = [lines(0..1), "{\"@timestamp\":\"2026\n\n".into(), lines(1..2), "{\"@".into()];
        fs::write(&path, text.concat()).unwrap();
        let (found, more, damaged) = tail(path.clone(), &Filter::default(), 100);
        assert_eq!((found, more, damaged), (vec!["0".to_owned(), "1".to_owned()], false, 2));
        // The last line is one also without its end.
        fs::write(&path, lines(0..1).trim_end()).unwrap();
        assert_eq!(tail(path, &Filter::default(), 100), (vec!["0".to_owned()], false, 0));
    }
}
