//! Reads JSON once, from its first byte to its last, and keeps only what is documented: a body of
//! 8 MiB costs little more than its own bytes.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::server::body::BodyError;
use crate::server::body::candidate::AddressError;
use crate::server::body::fields::{At, Takes};
use crate::server::body::found::Found;
use crate::server::body::mistake::Mistake;
use crate::term;

/// Reads a text that is JSON, or several JSON objects, texts or lists one after the other: Kibana
/// renders a list with commas and without brackets, and a loop writes what stands in it.
///
/// # Errors
/// It is neither, or is refused as a whole.
pub(super) fn json(found: &mut Found, text: &str, at: At) -> Result<(), BodyError> {
    if depth(text) > MAX_DEPTH {
        return Err(BodyError::TooDeep);
    }
    let mut rest = text;
    loop {
        let mut json = serde_json::Deserializer::from_str(rest);
        if let Err(error) = (Value { found: &mut *found, at }).deserialize(&mut json) {
            let mistake = || BodyError::Template(Mistake::of(rest, &error));
            return Err(found.refused.take().unwrap_or_else(mistake));
        }
        let Err(error) = json.end() else { return Ok(()) };
        let end = json.into_iter::<IgnoredAny>().byte_offset();
        let next = rest.get(end..).unwrap_or_default();
        let next = next.strip_prefix(',').unwrap_or(next).trim_start();
        if !next.starts_with(['{', '[', '"']) {
            return Err(BodyError::Template(Mistake::of(rest, &error)));
        }
        rest = next;
    }
}

/// A value at a place, still to be read.
struct Value<'a> {
    found: &'a mut Found,
    at: At,
}

impl Value<'_> {
    /// Reads the keys of an object whose paths begin at `at`, or else anew in a document.
    fn keys<'de, A: MapAccess<'de>>(
        self,
        mut map: A,
        at: At,
        anew: Option<At>,
    ) -> Result<(), A::Error> {
        while let Some(next) = map.next_key_seed(Key { at, anew })? {
            match next {
                None => drop(map.next_value::<IgnoredAny>()?),
                Some(at) => map.next_value_seed(Value { found: &mut *self.found, at })?,
            }
        }
        Ok(())
    }

    /// Reads an alert document, which may turn out to be of an alert that has recovered.
    fn document<'de, A: MapAccess<'de>>(
        self,
        map: A,
        at: At,
        anew: Option<At>,
    ) -> Result<(), A::Error> {
        let mark = self.found.candidates.mark();
        let around = std::mem::take(&mut self.found.recovered);
        let read = Value { found: &mut *self.found, at }.keys(map, at, anew);
        if self.found.recovered {
            self.found.candidates.forget(mark);
            self.found.left_out = true;
        }
        self.found.recovered = around;
        read
    }

    /// Reads one of the terms that an alert was grouped by.
    fn term<'de, A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mark = self.found.candidates.mark();
        self.found.source = false;
        while let Some(key) = map.next_key::<TermKey>()? {
            let takes = match key {
                TermKey::Field => Takes::TermField,
                TermKey::Value => Takes::Addresses,
                TermKey::Other => Takes::Inside,
            };
            let at = At::DOCUMENT.taking(takes);
            match takes {
                Takes::Inside => drop(map.next_value::<IgnoredAny>()?),
                _ => map.next_value_seed(Value { found: &mut *self.found, at })?,
            }
        }
        if !self.found.source {
            self.found.candidates.forget(mark);
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let taken = self.found.text(self.at, text);
        refusable(self.found, taken)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        let taken = match self.at.takes {
            Takes::Duration => self.found.duration(term::from_seconds(number)),
            _ => self.found.scalar(self.at, &number.to_string()),
        };
        refusable(self.found, taken)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        let taken = self.found.scalar(self.at, &number.to_string());
        refusable(self.found, taken)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        let taken = self.found.scalar(self.at, &number.to_string());
        refusable(self.found, taken)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        let taken = self.found.scalar(self.at, &value.to_string());
        refusable(self.found, taken)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        let taken = match self.at.takes {
            Takes::Body => Err(BodyError::NotAnObject),
            _ => Ok(()),
        };
        self.found.blank |= self.at.takes == Takes::Addresses;
        refusable(self.found, taken)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        let Self { found, at } = self;
        let taken = found.other(at);
        refusable(found, taken)?;
        found.blank |= at.takes == Takes::Addresses;
        found.documents |= at.takes == Takes::Rendered;
        let at = match at.takes {
            Takes::Body => at.taking(Takes::Item),
            Takes::Rendered => At::DOCUMENT.taking(Takes::Rendered),
            Takes::Documents => At::DOCUMENT,
            _ => at,
        };
        while sequence.next_element_seed(Value { found: &mut *found, at })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { found, at } = self;
        let taken = found.other(at);
        refusable(found, taken)?;
        let value = Value { found, at };
        match at.takes {
            Takes::Body | Takes::Item => value.document(map, At::BODY, None),
            Takes::Rendered | Takes::Documents => {
                value.found.documents = true;
                value.document(map, at, Some(At::DOCUMENT))
            }
            Takes::SameDocument => value.keys(map, At::DOCUMENT, None),
            Takes::Terms => value.term(map),
            Takes::Addresses => {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                let taken = value.found.candidates.refuse("{...}", AddressError::Object);
                refusable(value.found, taken)
            }
            _ => value.keys(map, at, None),
        }
    }
}

/// A key: where it leads to, None where nothing documented is.
struct Key {
    at: At,
    anew: Option<At>,
}

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Option<At>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<At>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Option<At>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Option<At>, E> {
        Ok(self.at.step(key).or_else(|| self.anew?.step(key)))
    }
}

/// The keys of a term.
#[derive(serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum TermKey {
    Field,
    Value,
    #[serde(other)]
    Other,
}

/// Ends the reading where a value has the body refused.
fn refusable<E: Error>(found: &mut Found, result: Result<(), BodyError>) -> Result<(), E> {
    result.map_err(|error| {
        let words = E::custom(&error);
        found.refused = Some(error);
        words
    })
}

/// How deep a text nests, whether or not it is JSON: serde_json skips what is ignored without
/// counting, and refuses what is not from 128 on.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    let (mut quoted, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => {
                depth = depth.saturating_add(1);
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// An alert document nests a dozen deep.
pub(super) const MAX_DEPTH: usize = 64;
