//! What a body asks for: addresses from documented fields only.
//!
//! A body is whatever a Kibana template renders: [`fields`] has the table of what is taken from it,
//! [`walk`] reads it, [`found`] keeps what it takes, [`candidate`] understands the addresses, [`mistake`] the template that went
//! wrong. Nothing is ever searched for in a text or in another field.

mod candidate;
mod fields;
mod found;
mod mistake;
#[cfg(test)]
mod tests;
mod walk;

use protocol::{MAX_TARGETS, Term, Text};

pub use crate::server::body::candidate::{AddressError, Candidate};
use crate::server::body::fields::Label;
use crate::server::body::found::Found;
pub use crate::server::body::mistake::Mistake;
use crate::server::body::mistake::{ALL, EACH, TRY};
use crate::server::body::walk::MAX_DEPTH;
use crate::term::TermError;

/// What one body asks for.
#[derive(Debug, PartialEq)]
pub struct Alert {
    /// The addresses in the body's order, each once; none where all that it names has recovered.
    pub candidates: Vec<Candidate>,
    /// For how long; None leaves it to policy.
    pub term: Option<Term>,
    /// Why.
    pub reason: Text,
    /// The detection rule's name.
    pub rule_name: Text,
    /// The alert's id.
    pub alert_id: Text,
}

impl Alert {
    /// Understands a body.
    ///
    /// # Errors
    /// A sentence that names the likely mistake and the template that works.
    pub fn parse(body: &[u8]) -> Result<Self, BodyError> {
        let text = str::from_utf8(body).map_err(|_| BodyError::NotUtf8)?;
        let mut found = Found::default();
        found.body(text)?;
        if found.nobody {
            found.left_out = true;
            found.candidates.forget(0);
        }
        let reason = found.label(Label::Reason);
        let rule_name = found.label(Label::RuleName);
        let alert_id = found.label(Label::AlertId);
        let candidates = found.candidates.into_list();
        let unrendered = |candidate: &Candidate| candidate.target == Err(AddressError::Unrendered);
        if candidates.iter().any(unrendered) {
            return Err(BodyError::Unrendered);
        }
        if candidates.is_empty() && !found.left_out {
            return Err(match (found.documents, found.blank) {
                (true, _) => BodyError::NoSource,
                (false, true) => BodyError::Empty,
                (false, false) => BodyError::Missing,
            });
        }
        let term = found.term.transpose()?;
        Ok(Self { candidates, term, reason, rule_name, alert_id })
    }
}

/// Why a body asks for nothing: each sentence is what an operator reads in Kibana.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum BodyError {
    /// Not even a text.
    #[error("the body is not JSON: it is not UTF-8")]
    NotUtf8,
    /// The template did not render to JSON.
    #[error("{0}")]
    Template(#[from] Mistake),
    /// JSON within JSON within JSON, literally or in texts.
    #[error("the body nests more than {MAX_DEPTH} deep, or JSON in texts in texts; {ALL}")]
    TooDeep,
    /// A number, null.
    #[error("the body must be a JSON object; {EACH}")]
    NotAnObject,
    /// No field that could have an address.
    #[error("missing or invalid 'ip': no field that an address is taken from; {EACH}")]
    Missing,
    /// Alert documents without a source.
    #[error(
        "the alerts in the body name no `source.ip`: in the rule group by `source.ip`, and send \
         whole alerts; {ALL}"
    )]
    NoSource,
    /// Nothing but blanks.
    #[error(
        "missing or invalid 'ip': it is empty. Security rules never fill {{{{context.source.ip}}}}; \
         {EACH}. If that is empty, too, group the rule by `source.ip`"
    )]
    Empty,
    /// Kibana's Test button sends templates as they are.
    #[error("the template was not rendered: {TRY}")]
    Unrendered,
    /// A text field of another type.
    #[error("'{0}' must be a string")]
    NotText(&'static str),
    /// A duration that is none.
    #[error(
        "missing or invalid 'duration': {0}; write for example {{\"duration\":\"1h\"}}, also \"7d\", \
         \"permanent\" or seconds as a whole number"
    )]
    Term(#[from] TermError),
    /// An alert asks for one block.
    #[error("missing or invalid 'duration': the body names two; send one of them")]
    TwoTerms,
    /// Over the cap.
    #[error("more than {MAX_TARGETS} addresses in one body; send the others in a second")]
    TooMany,
}
