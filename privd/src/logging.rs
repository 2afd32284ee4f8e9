//! The logger: one line a record on stderr.

use std::io;

use slog::{Drain, Logger, o};
use slog_term::{FullFormat, PlainSyncDecorator};

/// Builds the logger. Under systemd a line carries the priority prefix that journald reads
/// (sd-daemon(3)) and no time of its own; elsewhere it starts with the time in UTC.
///
/// Values from outside must go through [`protocol::Untrusted`]: slog-term prints newlines raw.
pub fn logger() -> Logger {
    let decorator = PlainSyncDecorator::new(io::stderr());
    let format = FullFormat::new(decorator).use_utc_timestamp().use_original_order();
    let format = if std::env::var_os("JOURNAL_STREAM").is_some() {
        format.use_custom_header_print(|_, writer, record, _| {
            write!(writer, "<{}>{}", priority(record.level()), record.msg())?;
            Ok(true)
        })
    } else {
        format
    };
    // A broken stderr must not stop a block.
    Logger::root(format.build().filter_level(slog::Level::Info).ignore_res(), o!())
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
