//! Outside text, made safe to print.

use std::fmt;
use std::ops::Range;

/// Displays text from outside so that it can neither start a new log line, nor carry terminal
/// escapes or a journald priority prefix, nor flood a line.
///
/// Control and other invisible characters (C0, C1, DEL, line separators, bidirectional overrides),
/// quotes and backslashes are escaped as in Rust; after [`Untrusted::MAX_BYTES`] bytes of input the
/// rest is counted.
#[derive(Clone, Copy, Debug)]
pub struct Untrusted<'a>(pub &'a str);

impl Untrusted<'_> {
    /// Bytes of the text that are shown.
    pub const MAX_BYTES: usize = 200;
}

impl fmt::Display for Untrusted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.0.floor_char_boundary(Self::MAX_BYTES);
        let (shown, rest) = self.0.split_at_checked(end).unwrap_or((self.0, ""));
        // escape_debug leaves apostrophes alone only inside strings, so go through str, not char.
        for character in shown.chars() {
            match character {
                '\'' => formatter.write_str("'")?,
                _ => write!(formatter, "{}", character.escape_debug())?,
            }
        }
        if rest.is_empty() { Ok(()) } else { write!(formatter, "...({} bytes more)", rest.len()) }
    }
}

/// A parser's word about a place in somebody's file, with the line of it. Parsers draw over several
/// lines and quote the file as it is; this is one line, and steers no terminal.
#[must_use]
pub fn mistake_in(text: &str, span: Option<Range<usize>>, message: &str) -> String {
    let before = span.and_then(|span| text.get(..span.start)).unwrap_or_default();
    let index = before.matches('\n').count();
    let line = Untrusted(text.lines().nth(index).unwrap_or_default());
    let mut said = format!("line {}, `{line}`: ", index.saturating_add(1));
    for character in message.replace('\n', " ").chars() {
        match character {
            '"' | '\'' | '\\' => said.push(character),
            _ => said.extend(character.escape_debug()),
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_one_line_and_its_quotes_stay() {
        let text = "a = 1\nb = \"\t\"\n";
        assert_eq!(
            mistake_in(text, Some(6..7), "unknown `\u{1b}[2J\t`,\nexpected \"x\""),
            "line 2, `b = \\\"\\t\\\"`: unknown `\\u{1b}[2J\\t`, expected \"x\""
        );
        assert_eq!(mistake_in("", None, "empty"), "line 1, ``: empty");
    }

    #[test]
    fn nothing_that_steers_a_terminal_or_a_log_survives() {
        for (raw, shown) in [
            ("plain text, it's fine", "plain text, it's fine"),
            ("two\nlines\r", "two\\nlines\\r"),
            ("\u{1b}[31m", "\\u{1b}[31m"),
            ("say \"x\\\"", "say \\\"x\\\\\\\""),
            ("\u{0}\u{7f}\u{85}", "\\0\\u{7f}\\u{85}"),
            ("a\u{202e}b\u{2028}c", "a\\u{202e}b\\u{2028}c"),
            ("Zürich", "Zürich"),
        ] {
            assert_eq!(Untrusted(raw).to_string(), shown);
        }
    }

    #[test]
    fn a_flood_is_counted_not_shown() {
        let shown = Untrusted(&"é".repeat(5000)).to_string();
        assert!(shown.starts_with("éé"));
        assert!(shown.ends_with("...(9800 bytes more)"), "{shown}");
    }
}
