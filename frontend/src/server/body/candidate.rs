//! The addresses of a body: each once, as it was written, with what it means.

use std::collections::HashSet;

use protocol::{MAX_TARGETS, Target, TargetError, Text};

use crate::server::body::BodyError;
use crate::server::body::mistake::{ALL, EACH, Mistake, TRY};

/// One address as it was written, and what it means.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// As written, without blanks around it; the beginning of what is too long for an address.
    pub text: String,
    /// The target, or what is wrong with the text.
    pub target: Result<Target, AddressError>,
}

/// Why what stands in an address field is no address. The words follow the text itself.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AddressError {
    /// An address or network that nobody can mean.
    #[error(transparent)]
    Target(TargetError),
    /// Some text.
    #[error("not an IP address or network; {EACH}")]
    Unknown,
    /// Kibana's Test button sends templates as they are.
    #[error("the template was not rendered: {TRY}")]
    Unrendered,
    /// A loop over alerts without anything between two of them.
    #[error("is several addresses without a separator: a loop writes none by itself; {ALL}")]
    Glued,
    /// `{{alert.id}}`.
    #[error("is an id, as {{{{alert.id}}}} renders, and no address; {EACH}")]
    Id,
    /// Names change their addresses, and webhookd has no resolver.
    #[error("is a host name, and only addresses are blocked; {EACH}")]
    HostName,
    /// `203.0.113.45:22`, `[2001:db8::7]:22`.
    #[error("has a port: leave {{{{source.port}}}} out; {EACH}")]
    Port,
    /// `[2001:db8::7]`.
    #[error("has brackets: write the address without them; {EACH}")]
    Brackets,
    /// What JavaScript makes of a variable that is none.
    #[error("is what a script writes for a variable it does not have; {EACH}")]
    NoVariable,
    /// An index threshold rule without a group.
    #[error(
        "is what {{{{context.group}}}} is for a rule without groups: group it over `source.ip`"
    )]
    NoGroup,
    /// A number or a boolean.
    #[error("not a text: write the address in quotes; {EACH}")]
    NotText,
    /// An object.
    #[error("is an object; whole alerts belong under `alerts`: {ALL}")]
    Object,
    /// JSON within a text, and broken.
    #[error("{0}")]
    Template(Mistake),
}

impl AddressError {
    /// The likely mistake behind a text.
    fn of(text: &str, error: TargetError) -> Self {
        let all = |test: fn(char) -> bool| text.chars().all(test);
        let unbracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        if error != TargetError::Syntax {
            Self::Target(error)
        } else if text.contains("{{") {
            Self::Unrendered
        } else if matches!(text, "undefined" | "null" | "NaN" | "[object Object]") {
            Self::NoVariable
        } else if text == "all documents" {
            Self::NoGroup
        } else if text.parse::<std::net::SocketAddr>().is_ok() {
            Self::Port
        } else if unbracketed.is_some_and(|text| text.parse::<Target>().is_ok()) {
            Self::Brackets
        } else if glued(text) {
            Self::Glued
        } else if text.len() >= SHORTEST_ID && all(|c| c.is_ascii_hexdigit() || c == '-') {
            Self::Id
        } else if all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
            && text.rsplit_once('.').is_some_and(|(_, last)| last.starts_with(char::is_alphabetic))
        {
            Self::HostName
        } else {
            Self::Unknown
        }
    }
}

/// More colons, or points, than one address has.
fn glued(text: &str) -> bool {
    let count = |character| text.matches(character).count();
    let points = count(".");
    has_form(text)
        && ((points > 3 && points.is_multiple_of(3)) || count(":") > 7 || count("::") > 1)
}

/// The candidates so far.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    list: Vec<Candidate>,
    seen: HashSet<String>,
}

impl Candidates {
    /// Takes the addresses of a text in an address field: one, or several with commas or blanks
    /// between them, as Kibana renders a list.
    pub(super) fn read(&mut self, text: &str) -> Result<(), BodyError> {
        if self.read_list(text)? { Ok(()) } else { self.read_one(text) }
    }

    /// Takes the addresses of a text that consists of nothing else; says whether it did. So no
    /// address is ever picked out of a sentence.
    pub(super) fn read_list(&mut self, text: &str) -> Result<bool, BodyError> {
        let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let text = bracketed.filter(|text| text.contains(',')).unwrap_or(text);
        let words = || text.split([',', ' ', '\t', '\n', '\r']).filter(|word| !word.is_empty());
        let is_list = words().next().is_some() && words().all(has_form);
        if is_list {
            words().try_for_each(|word| self.read_one(word))?;
        }
        Ok(is_list)
    }

    fn read_one(&mut self, text: &str) -> Result<(), BodyError> {
        self.take(text, || text.parse().map_err(|error| AddressError::of(text, error)))
    }

    /// Takes what is no address, with the reason.
    pub(super) fn refuse(&mut self, text: &str, error: AddressError) -> Result<(), BodyError> {
        self.take(text, || Err(error))
    }

    fn take(
        &mut self,
        text: &str,
        target: impl FnOnce() -> Result<Target, AddressError>,
    ) -> Result<(), BodyError> {
        if self.seen.contains(text) {
            return Ok(());
        }
        let candidate = Candidate { text: Text::truncated(text).to_string(), target: target() };
        if self.seen.insert(candidate.key()) {
            if self.list.len() >= MAX_TARGETS {
                return Err(BodyError::TooMany);
            }
            self.list.push(candidate);
        }
        Ok(())
    }

    /// How many there are, for [`Self::forget`].
    pub(super) fn mark(&self) -> usize {
        self.list.len()
    }

    /// Forgets all that came after a mark.
    pub(super) fn forget(&mut self, mark: usize) {
        for candidate in self.list.drain(mark.min(self.list.len())..) {
            self.seen.remove(&candidate.key());
        }
    }

    /// All of them, in the body's order.
    pub(super) fn into_list(self) -> Vec<Candidate> {
        self.list
    }
}

impl Candidate {
    /// The same for each spelling of one target.
    fn key(&self) -> String {
        self.target.as_ref().map_or_else(|_| self.text.clone(), Target::to_string)
    }
}

/// Whether a word could be meant as an address or network, right or wrong.
fn has_form(word: &str) -> bool {
    word.contains(['.', ':'])
        && word.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':' | b'/'))
}

/// Characters that an id has at least; an alert's has 36 to 64.
const SHORTEST_ID: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Candidate> {
        let mut candidates = Candidates::default();
        candidates.read(text).unwrap();
        candidates.into_list()
    }

    fn texts(candidates: &[Candidate]) -> Vec<&str> {
        candidates.iter().map(|candidate| candidate.text.as_str()).collect()
    }

    #[test]
    fn a_text_is_a_list_only_if_it_is_nothing_else() {
        for (text, expected) in [
            ("203.0.113.7,198.51.100.23", &["203.0.113.7", "198.51.100.23"][..]),
            ("203.0.113.7 \n 198.51.100.23\t", &["203.0.113.7", "198.51.100.23"]),
            (",203.0.113.7,,2001:db8::7,", &["203.0.113.7", "2001:db8::7"]),
            ("[203.0.113.7,198.51.100.23]", &["203.0.113.7", "198.51.100.23"]),
            ("[2001:db8::7]", &["[2001:db8::7]"]),
            ("203.0.113.7, 203.0.113.045", &["203.0.113.7", "203.0.113.045"]),
            ("from 203.0.113.7 port 22", &["from 203.0.113.7 port 22"]),
            ("root,203.0.113.7", &["root,203.0.113.7"]),
            ("203.0.113.7; id", &["203.0.113.7; id"]),
        ] {
            assert_eq!(texts(&read(text)), expected, "{text:?}");
        }
    }

    #[test]
    fn one_target_is_kept_once_in_its_first_spelling() {
        let mut candidates = Candidates::default();
        for text in ["2001:DB8::7", "2001:db8:0::7", "x", "198.51.100.7/32", "x"] {
            candidates.read(text).unwrap();
        }
        candidates.read("::ffff:198.51.100.7").unwrap();
        assert_eq!(texts(&candidates.into_list()), ["2001:DB8::7", "x", "198.51.100.7/32"]);
    }

    #[test]
    fn what_is_forgotten_may_come_again() {
        let mut candidates = Candidates::default();
        candidates.read("203.0.113.7").unwrap();
        let mark = candidates.mark();
        candidates.read("203.0.113.8,203.0.113.7").unwrap();
        candidates.forget(mark);
        candidates.read("203.0.113.7,203.0.113.8").unwrap();
        assert_eq!(texts(&candidates.into_list()), ["203.0.113.7", "203.0.113.8"]);
    }

    #[test]
    fn the_likely_mistake_behind_a_text_is_named() {
        for (text, expected) in [
            ("203.0.113.7198.51.100.23", AddressError::Glued),
            ("203.0.113.7198.51.100.23192.0.2.1", AddressError::Glued),
            ("2001:db8::72001:db8::8", AddressError::Glued),
            ("203.0.113.72001:db8:0:0:0:0:0:72001:db8::8", AddressError::Glued),
            ("8f14e45fceea167a5a36dedd4bea2543aa11", AddressError::Id),
            ("6f1c3b1e-6a0e-4f6c-9a39-3c0f7f4d2a11", AddressError::Id),
            ("attacker.example.org", AddressError::HostName),
            ("203.0.113.7:22", AddressError::Port),
            ("[2001:db8::7]:22", AddressError::Port),
            ("[2001:db8::7]", AddressError::Brackets),
            ("undefined", AddressError::NoVariable),
            ("[object Object]", AddressError::NoVariable),
            ("all documents", AddressError::NoGroup),
            ("{{context.alerts.0.source.ip}}", AddressError::Unrendered),
            ("0.0.0.0/0", AddressError::Target(TargetError::Everything)),
            ("1.2.3.4.5", AddressError::Unknown),
            ("3405803821", AddressError::Unknown),
            ("010.0.0.1", AddressError::Unknown),
            ("fe80::1%eth0", AddressError::Unknown),
            ("any", AddressError::Unknown),
        ] {
            assert_eq!(read(text)[0].target, Err(expected), "{text}");
        }
    }

    #[test]
    fn a_long_text_is_not_kept() {
        assert_eq!(read(&"x".repeat(5_000))[0].text.len(), 1024);
    }
}
