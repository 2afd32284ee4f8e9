//! What is wrong with a command line, in one sentence.

use std::io::Write;

use clap::error::ErrorKind;
use protocol::Untrusted;

use crate::ctl::output::Output;

/// Prints the help or the version that was asked for, or says what is wrong; the exit status.
pub(super) fn explain(error: &clap::Error) -> u8 {
    if error.use_stderr() && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        Output::new(false).complain(&sentence(&error.render().to_string()));
        return 1;
    }
    // A closed stdout (`--help | head -1`) is not an error.
    let _ = error.print();
    let _ = std::io::stdout().flush();
    u8::from(error.use_stderr())
}

/// clap says what is wrong in a paragraph, and what may have been meant in others; then come usage
/// and where help is.
fn sentence(text: &str) -> String {
    let paragraphs = text.split("\n\n").take_while(|paragraph| {
        !["Usage:", "For more information"].iter().any(|word| paragraph.starts_with(word))
    });
    let words = paragraphs
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join("; ");
    Untrusted(words.strip_prefix("error: ").unwrap_or(&words)).to_string() + "; see --help"
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::ctl::Arguments;

    #[test]
    fn a_mistake_is_one_sentence() {
        for (line, expected) in [
            (
                "show 1.2.3",
                "invalid value '1.2.3' for '<ADDR>': not an IP address or network; write for \
                 example 198.51.100.7 or 2001:db8::/64; see --help",
            ),
            (
                "lst",
                "unrecognized subcommand 'lst'; tip: a similar subcommand exists: 'list'; see --help",
            ),
            (
                "list --sort colour",
                "invalid value 'colour' for '--sort <COLUMN>' [possible values: target, left, \
                 since, rule, reason, hits]; see --help",
            ),
            ("block", "the following required arguments were not provided: <ADDR>...; see --help"),
        ] {
            let words = ["webhookctl"].into_iter().chain(line.split(' '));
            let error = Arguments::try_parse_from(words).err().unwrap();
            assert_eq!(sentence(&error.render().to_string()), expected);
        }
    }
}
