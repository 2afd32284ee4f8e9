//! Lines of audit logs, which webhookd could have written after it was taken.

use frontend::ctl::log::sentence;

/// What is shown of a line is one line, bounded, and steers no terminal.
pub(crate) fn fuzz(bytes: &[u8]) {
    let Some(words) = sentence(bytes) else { return };
    assert!(!words.chars().any(char::is_control), "{words:?}");
    let steers = |c| matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
    assert!(!words.chars().any(steers), "{words:?}");
    assert!(words.len() < 16 << 10, "{} bytes", words.len());
}
