//! What actix and rustls log, through the `log` crate.

use std::sync::Arc;

use crate::server::journal::Journal;

/// Sends it where our own lines go; only warnings and errors.
pub fn take_over_log(journal: &Arc<Journal>) {
    // Fails only when called twice.
    if log::set_boxed_logger(Box::new(Library(Arc::clone(journal)))).is_ok() {
        log::set_max_level(log::LevelFilter::Warn);
    }
}

struct Library(Arc<Journal>);

impl log::Log for Library {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.library(record.target(), &record.args().to_string());
        }
    }

    fn flush(&self) {}
}
