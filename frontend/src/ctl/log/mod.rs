//! `webhookctl log`: what both daemons did, from their audit logs.
//!
//! | file | what it is |
//! |---|---|
//! | `place` | where the logs lie, and their rotated parts |
//! | `part` | the lines of one part, each bounded, compressed or not |
//! | `record` | one line, understood |
//! | `filter` | which records are asked for |
//! | `tail` | the newest of them |
//! | `follow` | those that come |
//! | `request` | what both daemons say of one request, together |
//! | `words` | a record as a sentence |

mod filter;
mod follow;
mod part;
mod place;
mod record;
mod request;
mod tail;
mod words;

use std::io;
use std::path::PathBuf;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use protocol::{LiftOutcome, Outcome, Target};
use serde_json::value::RawValue;

use crate::ctl::log::filter::{Filter, Requests};
use crate::ctl::log::follow::Followed;
use crate::ctl::log::place::Log;
use crate::ctl::log::record::Record;
use crate::ctl::log::tail::Tail;
use crate::ctl::output::Output;
use crate::ctl::{CtlError, Done};
use crate::term;

/// The sentence that one line of an audit log is shown as; None for what is no record.
#[must_use]
pub fn sentence(line: &[u8]) -> Option<String> {
    Record::read(line).map(|record| words::of(&record))
}

/// Which records to show.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Records of this address or network alone, and of networks around it
    #[arg(value_name = "ADDR", value_parser = crate::ctl::target)]
    target: Option<Target>,
    /// From this time on: 2h ago, 2026-11-23, '2026-11-23 14:00' or 2026-11-23T14:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Up to this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// At most so many, the newest
    #[arg(long, value_name = "N", default_value_t = 200)]
    limit: usize,
    /// Go on with what happens, until Ctrl-C
    #[arg(long, conflicts_with = "until")]
    follow: bool,
    /// Records of exactly this detection rule
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// Records with this outcome
    #[arg(long, value_name = "OUTCOME", value_parser = outcomes())]
    outcome: Option<String>,
    /// Where webhookd.toml and privd.toml are, whose audit-log says where the logs are
    #[arg(long, value_name = "DIR", default_value = super::DIRECTORY)]
    directory: PathBuf,
    /// Read this log instead, with its rotated parts; can be given again
    #[arg(long = "file", value_name = "FILE", conflicts_with = "directory")]
    files: Vec<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  sudo webhookctl log
  sudo webhookctl log 198.51.100.7
  sudo webhookctl log --since 2h --outcome refused
  sudo webhookctl log --rule 'SSH brute force' --limit 1000
  sudo webhookctl log --follow

What webhookd was asked and what webhook-privd did about it stand together, the
newest last. Rotated parts (.1, .2.gz) are read, too. Lines that are no records
are left out and counted. With --json the records are printed as they were
written, in one array; with --follow one a line.

Exit status: 0 done, 1 bad input, 2 failed.";

pub(super) async fn log(output: &Output, arguments: &Arguments) -> Result<Done, CtlError> {
    let logs = match arguments.files.as_slice() {
        [] => place::configured(&arguments.directory)?,
        files => files.iter().cloned().map(Log::anyones).collect(),
    };
    let filter = Filter {
        target: arguments.target,
        since: arguments.since,
        until: arguments.until,
        rule: arguments.rule.clone(),
        outcome: arguments.outcome.clone(),
    };
    let mut requests = Requests::default();
    let (mut records, mut followed) = (Vec::new(), Vec::new());
    let (mut more, mut missing) = (false, Vec::new());
    // webhook-privd's comes first: what is asked of one address is known by its event.
    for log in logs {
        let tail = Tail::of(&log, &filter, &requests, arguments.limit)?;
        requests.remember(tail.records.iter());
        if tail.damaged > 0 {
            output.complain(&damaged(tail.damaged, &log));
        }
        if !tail.found {
            missing.push(log.path.display().to_string());
        }
        more |= tail.more;
        records.extend(tail.records);
        followed.push(Followed::new(log, tail.end));
    }
    if missing.len() == followed.len() && !arguments.follow {
        return Err(LogError::Missing(missing.join(" and ")).into());
    }
    for path in missing {
        output.complain(&format!("{path} is not there; what it would tell is left out"));
    }
    // Stable: what was said in the same millisecond keeps its order.
    records.sort_by_key(|record| record.at);
    let excess = records.len().saturating_sub(arguments.limit);
    records.drain(..excess);
    if more || excess > 0 {
        output.complain(&format!(
            "these are the newest {}; --limit shows more of them, and --since, ADDR and others choose",
            records.len()
        ));
    }
    if arguments.follow {
        return follow::follow(followed, records, &filter, requests, output).await;
    }
    let mut lines = request::lines(&records);
    if records.is_empty() {
        lines = vec!["There is no such record.".to_owned()];
    }
    output.print(&documents(&records)?, &lines)?;
    Ok(Done::Well)
}

/// The records as they were written, by our daemons or by whoever else has had the file.
fn documents(records: &[Record]) -> io::Result<Vec<Box<RawValue>>> {
    // It was JSON when it was read.
    let raw = records.iter().map(|record| RawValue::from_string(record.line.clone()));
    raw.collect::<Result<_, _>>().map_err(io::Error::from)
}

fn damaged(count: u64, log: &Log) -> String {
    let path = log.path.display();
    match count {
        1 => format!("1 line of {path} or of its rotated parts is no record and was left out"),
        _ => format!(
            "{count} lines of {path} or of its rotated parts are no records and were left out"
        ),
    }
}

/// Reads a moment: a duration before now, a local date, a local time, or RFC 3339.
fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(seconds) = term::seconds(text) {
        let ago = jiff::SignedDuration::from_secs(seconds.into());
        return Timestamp::now().checked_sub(ago).map_err(|error| error.to_string());
    }
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let local = text.parse::<DateTime>().and_then(|time| time.to_zoned(TimeZone::system()));
    local.map(|time| time.timestamp()).map_err(|_| {
        "not a time; write for example 2h, 2026-11-23, '2026-11-23 14:00' or \
         2026-11-23T14:00:00Z"
            .to_owned()
    })
}

/// What a record may have become of.
fn outcomes() -> Vec<&'static str> {
    let lifts = [LiftOutcome::Lifted, LiftOutcome::NotBlocked].map(LiftOutcome::name);
    Outcome::NAMES.into_iter().chain(lifts).chain(["adopted"]).collect()
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogError {
    #[error("{}: {why}", path.display())]
    Configuration { path: PathBuf, why: String },
    #[error("neither webhookd.toml nor privd.toml in {} sets audit-log, so nothing is kept; set it, for example audit-log = \"/var/log/webhookd/audit.ndjson\"", .0.display())]
    Nowhere(PathBuf),
    #[error("{0} is not there: nothing was logged yet; see `webhookctl check`")]
    Missing(String),
    #[error("{} cannot be read: {source}{}", path.display(), advice(source))]
    Read { path: PathBuf, source: io::Error },
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "; `webhookctl init` makes the configuration, --directory and --file name others"
        }
        io::ErrorKind::PermissionDenied => "; run it as root: sudo webhookctl log",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_as_people_write_it() {
        let ago = |text: &str| Timestamp::now().as_second() - moment(text).unwrap().as_second();
        assert!((7_199..=7_201).contains(&ago("2h")), "{}", ago("2h"));
        assert_eq!(moment("2026-11-23T14:00:00Z").unwrap().as_second(), 1_795_442_400);
        let midnight = moment("2026-11-23").unwrap();
        let local = midnight.to_zoned(TimeZone::system());
        assert_eq!(local.strftime("%Y-%m-%d %H:%M:%S").to_string(), "2026-11-23 00:00:00");
        let minute = moment("2026-11-23 00:01").unwrap();
        assert_eq!(minute.as_second() - midnight.as_second(), 60);
        for text in ["soon", "", "2026-13-01", "25:00"] {
            assert!(moment(text).unwrap_err().starts_with("not a time; write"), "{text}");
        }
    }
}
