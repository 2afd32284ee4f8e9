//! What was found in a body so far, and what each value adds to it.

use protocol::{Term, Text};
use serde::de::IgnoredAny;

use crate::server::body::BodyError;
use crate::server::body::candidate::{AddressError, Candidates};
use crate::server::body::fields::{At, Label, Takes};
use crate::server::body::mistake::Mistake;
use crate::server::body::walk;
use crate::term::{self, TermError};

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The addresses.
    pub(super) candidates: Candidates,
    /// For how long.
    pub(super) term: Option<Result<Term, TermError>>,
    /// The notification is that alerts have recovered.
    pub(super) nobody: bool,
    /// A document was left out because its alert has recovered.
    pub(super) left_out: bool,
    /// There was a field for an address with nothing in it.
    pub(super) blank: bool,
    /// There was an alert document or hit.
    pub(super) documents: bool,
    reason: Best,
    rule_name: Best,
    alert_id: Best,
    /// The document that is being read is of an alert that has recovered.
    pub(super) recovered: bool,
    /// The term that is being read is for `source.ip`.
    pub(super) source: bool,
    /// JSON within a text within JSON.
    layers: u8,
    /// Why the body is refused as a whole: serde has no room for it.
    pub(super) refused: Option<BodyError>,
}

/// A text, and the row of the table it is from.
type Best = Option<(usize, Text)>;

impl Found {
    /// Reads a whole body, or the text that Kibana makes of one that is not JSON.
    pub(super) fn body(&mut self, text: &str) -> Result<(), BodyError> {
        let text = text.trim();
        if text.is_empty() {
            self.blank = true;
            return Ok(());
        }
        if self.candidates.read_list(text)? {
            return Ok(());
        }
        match self.layer(text, At::BODY) {
            Err(BodyError::Template(Mistake::NotJson(_)) | BodyError::NotAnObject)
                if is_word(text) =>
            {
                self.candidates.read(text)
            }
            read => read,
        }
    }

    /// The text of a label.
    pub(super) fn label(&mut self, label: Label) -> Text {
        self.best(label).take().map(|(_, text)| text).unwrap_or_default()
    }

    fn best(&mut self, label: Label) -> &mut Best {
        match label {
            Label::Reason => &mut self.reason,
            Label::RuleName => &mut self.rule_name,
            Label::AlertId => &mut self.alert_id,
        }
    }

    fn layer(&mut self, text: &str, at: At) -> Result<(), BodyError> {
        if self.layers >= MAX_LAYERS {
            return Err(BodyError::TooDeep);
        }
        self.layers = self.layers.saturating_add(1);
        let mark = self.candidates.mark();
        let read = walk::json(self, text, at);
        if read.is_err() {
            self.candidates.forget(mark);
        }
        self.layers = self.layers.saturating_sub(1);
        read
    }

    /// Takes a text.
    pub(super) fn text(&mut self, at: At, text: &str) -> Result<(), BodyError> {
        match at.takes {
            Takes::Body => self.body(text)?,
            Takes::Addresses | Takes::Item | Takes::Rendered => self.addresses(at, text.trim())?,
            Takes::TermField => self.source |= text == "source.ip",
            Takes::ActionGroup => self.nobody |= is_recovered(text),
            Takes::Status => self.recovered |= is_recovered(text),
            // A variable that is not filled renders to nothing.
            Takes::Duration if text.trim().is_empty() => {}
            Takes::Duration => self.duration(term::parse(text))?,
            Takes::Text(label) | Takes::TextIfAny(label) if !text.trim().is_empty() => {
                let best = self.best(label);
                if best.as_ref().is_none_or(|(rank, _)| at.rank < *rank) {
                    *best = Some((at.rank, Text::truncated(text)));
                }
            }
            Takes::Terms | Takes::Text(_) | Takes::TextIfAny(_) => {}
            Takes::Inside | Takes::Documents | Takes::SameDocument => {}
        }
        Ok(())
    }

    fn addresses(&mut self, at: At, text: &str) -> Result<(), BodyError> {
        if text.is_empty() {
            self.blank = true;
            return Ok(());
        }
        if self.candidates.read_list(text)? {
            return Ok(());
        }
        if text.starts_with(['{', '[', '"']) {
            return match self.layer(text, at) {
                // One text that is broken does not lose the other addresses.
                Err(BodyError::TooDeep) => self.candidates.read(text),
                Err(BodyError::Template(
                    Mistake::NotJson(_) | Mistake::NoQuotes | Mistake::Unrendered,
                )) => self.candidates.read(text),
                Err(BodyError::Template(mistake)) => {
                    self.candidates.refuse(text, AddressError::Template(mistake))
                }
                read => read,
            };
        }
        // Under `alerts` another text may be anything: their number, a title.
        if at.takes == Takes::Rendered && !text.contains("{{") {
            return Ok(());
        }
        self.candidates.read(text)
    }

    /// Takes a duration.
    pub(super) fn duration(&mut self, term: Result<Term, TermError>) -> Result<(), BodyError> {
        match (&self.term, &term) {
            (Some(Ok(first)), Ok(second)) if first != second => return Err(BodyError::TwoTerms),
            (Some(Err(_)), _) => {}
            _ => self.term = Some(term),
        }
        Ok(())
    }

    /// Takes a number or a boolean.
    pub(super) fn scalar(&mut self, at: At, shown: &str) -> Result<(), BodyError> {
        match at.takes {
            Takes::Body => Err(BodyError::NotAnObject),
            Takes::Addresses | Takes::Item => self.candidates.refuse(shown, AddressError::NotText),
            _ => self.other(at),
        }
    }

    /// Takes what is not of the type that a field has.
    pub(super) fn other(&mut self, at: At) -> Result<(), BodyError> {
        match at.takes {
            Takes::Text(_) => Err(BodyError::NotText(at.path)),
            Takes::Duration => self.duration(Err(TermError::Unreadable)),
            _ => Ok(()),
        }
    }
}

/// Whether a text that is not JSON could be meant as an address.
fn is_word(text: &str) -> bool {
    !text.contains(|c: char| c.is_whitespace() || matches!(c, '{' | '[' | '"'))
        && serde_json::from_str::<IgnoredAny>(text).is_err()
}

fn is_recovered(text: &str) -> bool {
    text.trim().eq_ignore_ascii_case("recovered")
}

/// A body, JSON within one of its texts, and no further.
const MAX_LAYERS: u8 = 2;
