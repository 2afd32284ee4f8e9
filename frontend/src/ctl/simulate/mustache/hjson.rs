//! Hjson as hjson-js 3.2.1 reads it, which Kibana's `ParseHjson` calls, mistakes in its words.
//!
//! deser-hjson takes an address without quotes for a number, which here is the very case.

use crate::ctl::simulate::mustache::template::is_blank;
use crate::ctl::simulate::mustache::value::Value;

/// Reads a text; braces around the whole may be left out.
///
/// # Errors
/// hjson-js's own words.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut reader = Reader::new(text);
    reader.white();
    if reader.is(b'{') || reader.is(b'[') {
        let value = reader.value(0)?;
        return reader.trailing(value);
    }
    let object = reader.object(0, false).and_then(|value| reader.trailing(value));
    object.or_else(|error| {
        // A value alone, then.
        let mut reader = Reader::new(text);
        reader.value(0).and_then(|value| reader.trailing(value)).map_err(|_| error)
    })
}

/// JavaScript's texts are units of UTF-16.
struct Reader {
    text: Vec<u16>,
    /// Of the unit behind the present one.
    at: usize,
    /// The present one; None at the end.
    unit: Option<u16>,
}

impl Reader {
    fn new(text: &str) -> Self {
        Self { text: text.encode_utf16().collect(), at: 0, unit: Some(SPACE) }
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        self.white();
        if depth > MAX_DEPTH {
            return Err(self.error("Nested too deep"));
        }
        if self.is(b'{') {
            self.object(depth, true)
        } else if self.is(b'[') {
            self.array(depth)
        } else if self.is(b'\'') || self.is(b'"') {
            self.string(true).map(Value::Text)
        } else {
            self.word()
        }
    }

    fn object(&mut self, depth: usize, braces: bool) -> Result<Value, String> {
        if braces {
            self.next();
        }
        let mut members = Vec::new();
        self.white();
        if braces && self.is(b'}') {
            self.next();
            return Ok(Value::Object(members.into_iter().collect()));
        }
        while self.unit.is_some() {
            let key = self.key()?;
            self.white();
            if !self.is(b':') {
                let words = format!("Expected ':' instead of '{}'", self.shown());
                return Err(self.error(&words));
            }
            self.next();
            members.push((key, self.value(depth.saturating_add(1))?));
            self.comma();
            if braces && self.is(b'}') {
                self.next();
                return Ok(Value::Object(members.into_iter().collect()));
            }
        }
        if braces {
            return Err(self.error("End of input while parsing an object (missing '}')"));
        }
        Ok(Value::Object(members.into_iter().collect()))
    }

    fn array(&mut self, depth: usize) -> Result<Value, String> {
        self.next();
        let mut values = Vec::new();
        self.white();
        while self.unit.is_some() {
            if self.is(b']') {
                self.next();
                return Ok(Value::List(values));
            }
            values.push(self.value(depth.saturating_add(1))?);
            self.comma();
        }
        Err(self.error("End of input while parsing an array (missing ']')"))
    }

    /// Commas are optional, also after the last.
    fn comma(&mut self) {
        self.white();
        if self.is(b',') {
            self.next();
            self.white();
        }
    }

    fn key(&mut self) -> Result<String, String> {
        if self.is(b'"') || self.is(b'\'') {
            return self.string(false);
        }
        let start = self.at;
        let (mut name, mut space) = (Vec::new(), None);
        loop {
            let Some(unit) = self.unit else {
                let words = "Found EOF while looking for a key name (check your syntax)";
                return Err(self.error(words));
            };
            if self.is(b':') {
                if name.is_empty() {
                    let words = "Found ':' but no key name (for an empty key name use quotes)";
                    return Err(self.error(words));
                }
                if let Some(space) = space.filter(|space| *space != name.len()) {
                    self.at = start.saturating_add(space);
                    let words = "Found whitespace in your key name (use quotes to include)";
                    return Err(self.error(words));
                }
                return Ok(String::from_utf16_lossy(&name));
            } else if unit <= SPACE {
                space = space.or(Some(name.len()));
            } else if self.is_punctuator() {
                let words = format!(
                    "Found '{}' where a key name was expected (check your syntax or use quotes if \
                     the key name includes {{}}[],: or whitespace)",
                    self.shown()
                );
                return Err(self.error(&words));
            } else {
                name.push(unit);
            }
            self.next();
        }
    }

    fn string(&mut self, multiline: bool) -> Result<String, String> {
        let quote = self.unit;
        let mut text = Vec::new();
        while let Some(unit) = self.next() {
            if self.unit == quote {
                self.next();
                let triple = self.is(b'\'') && quote == self.unit && text.is_empty();
                if multiline && triple {
                    self.next();
                    return self.lines();
                }
                return Ok(String::from_utf16_lossy(&text));
            }
            if self.is(b'\\') {
                self.next();
                if self.is(b'u') {
                    text.push(self.hexadecimal()?);
                    continue;
                }
                let escaped = ESCAPES.iter().find(|(name, _)| self.is(*name));
                let Some((_, escaped)) = escaped else { break };
                text.push(u16::from(*escaped));
            } else if self.is(b'\n') || self.is(b'\r') {
                return Err(self.error("Bad string containing newline"));
            } else {
                text.push(unit);
            }
        }
        Err(self.error("Bad string"))
    }

    fn hexadecimal(&mut self) -> Result<u16, String> {
        let mut unit = 0_u16;
        for _ in 0..4 {
            self.next();
            let character = self.unit.and_then(|unit| char::from_u32(unit.into()));
            let Some(digit) = character.and_then(|character| character.to_digit(16)) else {
                let words = format!("Bad \\u char {}", self.shown());
                return Err(self.error(&words));
            };
            // Four digits are a unit.
            unit = unit.wrapping_shl(4) | u16::try_from(digit).unwrap_or_default();
        }
        Ok(unit)
    }

    /// What stands between three quotes, less the blanks that the first line is set in by.
    fn lines(&mut self) -> Result<String, String> {
        let opening = self.at.saturating_sub(4);
        let before = self.text.get(..opening).unwrap_or_default();
        let indent = before.iter().rev().take_while(|unit| **unit != NEWLINE).count();
        while self.unit.is_some_and(|unit| unit <= SPACE && unit != NEWLINE) {
            self.next();
        }
        if self.is(b'\n') {
            self.next();
            self.skip_indent(indent);
        }
        let (mut text, mut quotes) = (Vec::new(), 0_usize);
        loop {
            let Some(unit) = self.unit else { return Err(self.error("Bad multiline string")) };
            if self.is(b'\'') {
                quotes = quotes.saturating_add(1);
                self.next();
                if quotes == 3 {
                    text.pop_if(|last| *last == NEWLINE);
                    return Ok(String::from_utf16_lossy(&text));
                }
                continue;
            }
            text.extend(std::iter::repeat_n(u16::from(b'\''), quotes));
            quotes = 0;
            if !self.is(b'\r') {
                text.push(unit);
            }
            self.next();
            if unit == NEWLINE {
                self.skip_indent(indent);
            }
        }
    }

    fn skip_indent(&mut self, indent: usize) {
        for _ in 0..indent {
            if !self.unit.is_some_and(|unit| unit <= SPACE && unit != NEWLINE) {
                break;
            }
            self.next();
        }
    }

    /// What has no quotes: a number, a literal, or a text up to the end of the line.
    fn word(&mut self) -> Result<Value, String> {
        if self.is_punctuator() {
            let words = format!(
                "Found a punctuator character '{}' when expecting a quoteless string (check your \
                 syntax)",
                self.shown()
            );
            return Err(self.error(&words));
        }
        let mut word: Vec<u16> = self.unit.into_iter().collect();
        // With one of these in it, it is a text.
        let mut may_be_literal = true;
        loop {
            self.next();
            let ends = self.unit.is_none() || self.is(b'\r') || self.is(b'\n');
            let comment =
                self.is(b'#') || (self.is(b'/') && (self.follows(b'/') || self.follows(b'*')));
            let closes = comment || self.is(b',') || self.is(b'}') || self.is(b']');
            if ends || closes && may_be_literal {
                let text = String::from_utf16_lossy(&word);
                if let Some(value) = literal(&text) {
                    return Ok(value);
                }
                if ends {
                    return Ok(Value::text(text.trim_matches(is_blank)));
                }
                may_be_literal = false;
            }
            word.extend(self.unit);
        }
    }

    fn trailing(&mut self, value: Value) -> Result<Value, String> {
        self.white();
        match self.unit {
            None => Ok(value),
            Some(_) => Err(self.error("Syntax error, found trailing characters")),
        }
    }

    /// Skips blanks and comments.
    fn white(&mut self) {
        loop {
            while self.unit.is_some_and(|unit| unit <= SPACE) {
                self.next();
            }
            if self.is(b'#') || (self.is(b'/') && self.follows(b'/')) {
                while self.unit.is_some() && !self.is(b'\n') {
                    self.next();
                }
            } else if self.is(b'/') && self.follows(b'*') {
                self.next();
                self.next();
                while self.unit.is_some() && !(self.is(b'*') && self.follows(b'/')) {
                    self.next();
                }
                if self.unit.is_some() {
                    self.next();
                    self.next();
                }
            } else {
                return;
            }
        }
    }

    fn next(&mut self) -> Option<u16> {
        self.unit = self.text.get(self.at).copied();
        self.at = self.at.saturating_add(1);
        self.unit
    }

    fn is(&self, byte: u8) -> bool {
        self.unit == Some(byte.into())
    }

    fn follows(&self, byte: u8) -> bool {
        self.text.get(self.at) == Some(&byte.into())
    }

    fn is_punctuator(&self) -> bool {
        b"{}[],:".iter().any(|byte| self.is(*byte))
    }

    fn shown(&self) -> String {
        String::from_utf16_lossy(self.unit.as_slice())
    }

    fn error(&self, words: &str) -> String {
        let mut last = self.at.saturating_sub(1);
        while last > 0 && self.text.get(last) != Some(&NEWLINE) {
            last = last.saturating_sub(1);
        }
        let above = self.text.get(1..=last).unwrap_or_default();
        let line = above.iter().filter(|unit| **unit == NEWLINE).count().saturating_add(1);
        let start = last.saturating_add(1);
        let column = self.at.saturating_sub(start);
        let rest: Vec<u16> = self.text.iter().skip(start).take(20).copied().collect();
        format!("{words} at line {line},{column} >>>{} ...", String::from_utf16_lossy(&rest))
    }
}

fn literal(text: &str) -> Option<Value> {
    match text.trim_matches(is_blank) {
        "false" => Some(Value::Bool(false)),
        "true" => Some(Value::Bool(true)),
        "null" => Some(Value::Null),
        _ => number(text).map(Value::Number),
    }
}

/// A number with nothing but blanks behind it, and no zeros that mean nothing ahead of it.
fn number(text: &str) -> Option<f64> {
    let digits = text.trim_end_matches(|character| character <= ' ');
    let whole = digits.strip_prefix('-').unwrap_or(digits);
    let known = |character: char| character.is_ascii_digit() || ".eE+-".contains(character);
    let leading =
        whole.strip_prefix('0').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    if !whole.starts_with(|c: char| c.is_ascii_digit()) || leading || !digits.chars().all(known) {
        return None;
    }
    digits.parse().ok().filter(|number: &f64| number.is_finite())
}

const SPACE: u16 = 0x20;
const NEWLINE: u16 = 0x0a;
/// Behind a backslash.
const ESCAPES: [(u8, u8); 9] = [
    (b'"', b'"'),
    (b'\'', b'\''),
    (b'\\', b'\\'),
    (b'/', b'/'),
    (b'b', 0x08),
    (b'f', 0x0c),
    (b'n', b'\n'),
    (b'r', b'\r'),
    (b't', b'\t'),
];
/// Values in each other; deeper than any alert.
const MAX_DEPTH: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_leave_out_is_understood() {
        for (text, expected) in [
            ("", "{}"),
            ("{\"ips\":[\"a\",\"b\",],}", r#"{"ips":["a","b"]}"#),
            ("ip: 198.51.100.7\n# none\nn: 7 // seven", r#"{"ip":"198.51.100.7","n":7}"#),
            ("[1, -2.50, 1e3, 0]", "[1,-2.5,1000,0]"),
            ("{\n  a: '''\n  x\n   y\n  '''\n}", r#"{"a":"x\ny"}"#),
        ] {
            assert_eq!(parse(text).map(|value| value.json()).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_place_and_no_depth_is_too_much() {
        let error = parse("{\"ip\":\"198.51.100.7\"").unwrap_err();
        let expected = "End of input while parsing an object (missing '}')";
        assert!(error.starts_with(&format!("{expected} at line 1,")), "{error}");
        assert!(parse(&"[".repeat(1_000_000)).unwrap_err().starts_with("Nested too deep"));
        // Each of them looked at with all before it would take hours.
        let commas = format!("a{}", ",".repeat(1_000_000));
        assert_eq!(parse(&commas), Ok(Value::Text(commas)));
    }
}
