//! Outside text, made safe to print.

use std::fmt;

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

#[cfg(test)]
mod tests {
    use super::*;

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
