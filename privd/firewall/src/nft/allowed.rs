//! What ufw lets in, on a host that has it beside our own table.

use protocol::Text;

use crate::Allowed;
use crate::ufw::files::{self, Unreadable, complaint};
use crate::ufw::view::{FileStates, enabled};

/// Read again when a file of ufw's has changed.
#[derive(Debug, Default)]
pub(super) struct AllowedSources {
    known: Option<(FileStates, Vec<Allowed>)>,
}

impl AllowedSources {
    /// The networks that ufw's rules let in; none where ufw is off or not installed.
    ///
    /// A ufw that writes its files empties them for a moment: then what they said before counts.
    pub(super) fn read(&mut self) -> Result<Vec<Allowed>, Text> {
        let state = FileStates::now();
        match &self.known {
            Some((known, allowed)) if *known == state => return Ok(allowed.clone()),
            _ => {}
        }
        match (allowed(), &self.known) {
            (Ok(allowed), _) => {
                self.known = Some((state, allowed.clone()));
                Ok(allowed)
            }
            (Err(_), Some((_, before))) => Ok(before.clone()),
            (Err(problem), None) => Err(problem),
        }
    }
}

fn allowed() -> Result<Vec<Allowed>, Text> {
    let mut allowed = Vec::new();
    if enabled().is_err() {
        return Ok(allowed);
    }
    for which in 0..files::RULES.len() {
        let rules = files::read(which).map_err(|problem| match problem {
            Unreadable::Damaged(damage) => complaint(files::path(which), &damage),
            Unreadable::Failed(error) => complaint(files::path(which), &error),
        })?;
        let sources = rules.allowed_sources();
        allowed.extend(sources.map(|(net, tuple)| Allowed { net, rule: tuple.text().to_owned() }));
    }
    Ok(allowed)
}
