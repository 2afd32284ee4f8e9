//! What the operator reads: text or JSON on stdout, complaints on stderr.

use std::io::{self, IsTerminal, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use protocol::Until;
use serde::Serialize;

/// Where a command's results go.
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints `value` as JSON, or else the lines.
    pub(super) fn print(&self, value: &impl Serialize, lines: &[String]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        let written = if self.json {
            serde_json::to_string_pretty(value)
                .map_err(io::Error::from)
                .and_then(|text| writeln!(stdout, "{text}"))
        } else {
            lines.iter().try_for_each(|line| writeln!(stdout, "{line}"))
        };
        match written {
            // `webhookctl list | head -3` is no failure.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    /// One sentence on stderr.
    #[expect(clippy::unused_self, reason = "stands beside print")]
    pub(super) fn complain(&self, sentence: &str) {
        let mut stderr = io::stderr().lock();
        let red = stderr.is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let (on, off) = if red { ("\u{1b}[31m", "\u{1b}[0m") } else { ("", "") };
        let _ = writeln!(stderr, "{on}webhookctl: {sentence}{off}");
    }
}

/// A time for people: local zone, to the second.
pub(super) fn local(seconds: u64) -> String {
    match timestamp(seconds) {
        Some(time) => time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        None => seconds.to_string(),
    }
}

/// A time for programs: RFC 3339.
pub(super) fn rfc3339(seconds: u64) -> String {
    timestamp(seconds).map_or_else(|| seconds.to_string(), |time| time.to_string())
}

/// The end of a block for people.
pub(super) fn until_local(until: Until) -> String {
    match until {
        Until::Permanent => "permanent".to_owned(),
        Until::At(seconds) => local(seconds),
    }
}

/// The end of a block for programs.
pub(super) fn until_rfc3339(until: Until) -> String {
    match until {
        Until::Permanent => "permanent".to_owned(),
        Until::At(seconds) => rfc3339(seconds),
    }
}

fn timestamp(seconds: u64) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}
