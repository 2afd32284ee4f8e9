//! `--recover`: the step ahead of ufw at boot. A crash in the middle of writing a rules file would
//! otherwise cost every rule in it, the one that lets the administrator in included.

use std::path::Path;

use slog::{Logger, info, warn};

use crate::StartError;
use crate::config::Config;
use firewall::ufw::files::{self, RULES, RulesFiles, Unreadable};

/// Restores what is damaged from its verified copy; whole files are left alone.
///
/// # Errors
/// A damaged file could not be restored.
pub fn run(config: &Path, log: &Logger) -> Result<(), StartError> {
    // A mistake in the configuration must not cost the administrator's rules.
    let config = Config::load(config).unwrap_or_else(|problem| {
        warn!(log, "the copies are looked for beside the default ledger"; "why" => %problem);
        Config::default()
    });
    let copies = RulesFiles::new(&config.ledger.0);
    let mut outcome = Ok(());
    for (which, file) in RULES.iter().enumerate() {
        let damage: Box<dyn std::fmt::Display> = match files::read(which) {
            Ok(_) => {
                info!(log, "whole"; "file" => file);
                continue;
            }
            Err(Unreadable::Damaged(damage)) => Box::new(damage),
            Err(Unreadable::Failed(error)) => Box::new(error),
        };
        match copies.restore(which) {
            Ok(()) => {
                warn!(log, "restored from the verified copy"; "file" => file, "why" => %damage)
            }
            Err(error) => {
                warn!(log, "damaged, and not restored"; "file" => file, "why" => %damage, "error" => %error);
                outcome = Err(StartError::NotRecovered);
            }
        }
    }
    outcome
}
