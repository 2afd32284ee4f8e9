//! Text of bounded length.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

/// A text of at most [`Text::MAX_BYTES`] bytes, so that no message grows without bound.
///
/// The content is still outside text: show it through [`Untrusted`](crate::Untrusted).
/// Copies share it: a request says the same of ten thousand blocks.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq)]
#[serde(try_from = "String")]
pub struct Text(Arc<str>);

impl Text {
    /// Longest text on the wire, in bytes of UTF-8.
    pub const MAX_BYTES: usize = 1024;

    /// Takes as much of `text` as fits, cut at a character.
    #[must_use]
    pub fn truncated(text: &str) -> Self {
        let end = text.floor_char_boundary(Self::MAX_BYTES);
        Self(text.get(..end).unwrap_or_default().into())
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl TryFrom<String> for Text {
    type Error = TextTooLong;

    fn try_from(text: String) -> Result<Self, TextTooLong> {
        if text.len() > Self::MAX_BYTES {
            Err(TextTooLong(text.len()))
        } else {
            Ok(Self(text.into()))
        }
    }
}

/// A peer sent a text over the bound.
#[derive(Debug, thiserror::Error)]
#[error("a text of {0} bytes exceeds {max}", max = Text::MAX_BYTES)]
pub struct TextTooLong(usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let text = Text::truncated(&"é".repeat(600));
        assert_eq!(text.len(), 1024);
        assert!(text.chars().all(|c| c == 'é'));
        assert_eq!(Text::truncated(&format!("x{}", "é".repeat(600))).len(), 1023);
    }

    #[test]
    fn a_text_is_shown_and_looked_up_as_what_it_says() {
        let known = std::collections::HashSet::from([Text::truncated("ssh")]);
        assert!(known.contains("ssh") && !known.contains(""));
        assert_eq!(Text::truncated("ssh").to_string(), "ssh");
    }

    #[test]
    fn a_peer_cannot_send_a_longer_one() {
        assert!(Text::try_from("x".repeat(1024)).is_ok());
        assert!(Text::try_from("x".repeat(1025)).is_err());
    }
}
