//! The logger: one line a record on stderr.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use slog::{Drain, Logger, o};
use slog_term::{FullFormat, PlainSyncDecorator};

/// Builds the logger. Where stderr is the journal a line carries the priority prefix that journald
/// reads (sd-daemon(3)) and no time of its own; elsewhere it starts with the time in UTC.
///
/// Values from outside must go through `protocol::Untrusted`: slog-term prints newlines raw.
pub fn logger() -> Logger {
    let decorator = PlainSyncDecorator::new(io::stderr());
    let format = FullFormat::new(decorator).use_utc_timestamp().use_original_order();
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let format = if stderr().is_ok_and(|stderr| is_journal(&stderr, &stream)) {
        format.use_custom_header_print(|_, writer, record, _| {
            write!(writer, "<{}>{}", priority(record.level()), record.msg())?;
            Ok(true)
        })
    } else {
        format
    };
    // A broken stderr must not stop a block or an answer.
    Logger::root(format.build().filter_level(slog::Level::Info).ignore_res(), o!())
}

fn stderr() -> io::Result<File> {
    Ok(io::stderr().as_fd().try_clone_to_owned()?.into())
}

/// The variable is also there where stderr leads elsewhere: systemd.exec(5) has its device and inode
/// compared with those of the descriptor.
fn is_journal(stderr: &File, stream: &str) -> bool {
    stderr.metadata().is_ok_and(|found| format!("{}:{}", found.dev(), found.ino()) == stream)
}

/// syslog(3) priorities.
const fn priority(level: slog::Level) -> u8 {
    match level {
        slog::Level::Critical => 2,
        slog::Level::Error => 3,
        slog::Level::Warning => 4,
        slog::Level::Info => 6,
        slog::Level::Debug | slog::Level::Trace => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stderr_is_the_journal_where_device_and_inode_are_those_that_systemd_names() {
        let file = tempfile::tempfile().unwrap();
        let found = file.metadata().unwrap();
        let own = format!("{}:{}", found.dev(), found.ino());
        assert!(is_journal(&file, &own));
        for other in ["", ":", "0:0", "8:12345", &format!("{own}0"), &format!(" {own}")] {
            assert!(!is_journal(&file, other), "{other}");
        }
    }
}
