//! What the operator reads: text or JSON on stdout, complaints on stderr.

use std::io::{self, IsTerminal, Write};

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

    /// The same for what comes bit by bit: each value on a line of its own. Whether somebody reads it
    /// still.
    pub(super) fn follow(&self, values: &[impl Serialize], lines: &[String]) -> io::Result<bool> {
        let mut stdout = io::stdout().lock();
        let written = if self.json {
            values.iter().try_for_each(|value| {
                let text = serde_json::to_string(value)?;
                writeln!(stdout, "{text}")
            })
        } else {
            lines.iter().try_for_each(|line| writeln!(stdout, "{line}"))
        };
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            other => other.map(|()| true),
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
