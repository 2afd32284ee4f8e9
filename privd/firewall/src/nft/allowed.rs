//! What ufw lets in, on a host that has it beside our own table.

use std::path::Path;

use protocol::Text;
use slog::{Logger, warn};

use crate::Allowed;
use crate::ufw::files::{self, RulesFiles, Unreadable, complaint};
use crate::ufw::view::{FileStates, enabled};

/// Read again when a file of ufw's has changed.
#[derive(Debug)]
pub(super) struct AllowedSources {
    known: Option<(FileStates, Vec<Allowed>)>,
    copies: RulesFiles,
}

impl AllowedSources {
    /// Nothing is read yet; the copies of ufw's files are beside the ledger.
    pub(super) fn new(ledger: &Path) -> Self {
        Self { known: None, copies: RulesFiles::new(ledger) }
    }

    /// The networks that ufw's rules let in; none where ufw is off or not installed.
    ///
    /// A ufw that writes its files empties them for a moment: then what they said before counts.
    /// Whole files are copied, as the other engine does: `--recover` restores from the newest.
    pub(super) fn read(&mut self, log: &Logger) -> Result<Vec<Allowed>, Text> {
        let state = FileStates::now();
        match &self.known {
            Some((known, allowed)) if *known == state => return Ok(allowed.clone()),
            _ => {}
        }
        match (self.allowed(log), &self.known) {
            (Ok(allowed), _) => {
                self.known = Some((state, allowed.clone()));
                Ok(allowed)
            }
            (Err(_), Some((_, before))) => Ok(before.clone()),
            (Err(problem), None) => Err(problem),
        }
    }

    fn allowed(&mut self, log: &Logger) -> Result<Vec<Allowed>, Text> {
        let mut allowed = Vec::new();
        if enabled().is_err() {
            return Ok(allowed);
        }
        for which in 0..files::RULES.len() {
            let rules = files::read(which).map_err(|problem| match problem {
                Unreadable::Damaged(damage) => complaint(files::path(which), &damage),
                Unreadable::Failed(error) => complaint(files::path(which), &error),
            })?;
            if let Err(error) = self.copies.keep(which, &rules) {
                warn!(log, "no copy of ufw's rules can be kept beside the ledger";
                    "file" => files::path(which), "error" => %error);
            }
            let sources = rules.allowed_sources();
            allowed
                .extend(sources.map(|(net, tuple)| Allowed { net, rule: tuple.text().to_owned() }));
        }
        Ok(allowed)
    }
}
