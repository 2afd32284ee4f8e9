//! The logger: one line a record on stderr, actix's and rustls's own included.

use std::io;
use std::time::Instant;

use slog::{Drain, Logger, o};
use slog_term::{FullFormat, PlainSyncDecorator};

use crate::server::throttle::Throttle;

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
    // A broken stderr must not stop an answer.
    Logger::root(format.build().filter_level(slog::Level::Info).ignore_res(), o!())
}

/// Sends what libraries log through the `log` crate to the same place; only warnings and errors.
pub fn take_over_log(log: &Logger) {
    // Fails only when called twice.
    if log::set_boxed_logger(Box::new(Library(log.clone(), Throttle::default()))).is_ok() {
        log::set_max_level(log::LevelFilter::Warn);
    }
}

struct Library(Logger, Throttle);

impl log::Log for Library {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // They say it of each request that is no HTTP, and their texts quote what clients sent.
        if let Some(suppressed) = self.1.pass(Instant::now()) {
            let text = record.args().to_string();
            slog::warn!(self.0, "library"; "from" => record.target(),
                "says" => %protocol::Untrusted(&text), "suppressed" => suppressed);
        }
    }

    fn flush(&self) {}
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
