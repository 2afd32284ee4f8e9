//! What the operator reads: text or JSON on stdout, complaints on stderr.
//!
//! Text is folded at the terminal's width, or at 80 columns where there is none, and coloured on a
//! terminal alone, never with `NO_COLOR` (no-color.org): both happens here.

use std::borrow::Cow;
use std::io::{self, Write};
use std::os::fd::AsFd;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use serde::Serialize;
use textwrap::{Options, WordSeparator, WordSplitter};

/// Where a command's results go.
pub(super) struct Output {
    json: bool,
}

/// One line for people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Line {
    /// Words, which go on below where the line is too short for them. They are set in under what
    /// two spaces set apart: `since     Monday`.
    Folded(String),
    /// A command to copy, a row of a table, PEM, JSON: not to be broken.
    Whole(String),
}

#[cfg(test)]
impl Line {
    /// Its text without colour.
    pub(super) fn plain(&self) -> String {
        let (Self::Folded(text) | Self::Whole(text)) = self;
        anstream::adapter::strip_str(text).to_string()
    }
}

impl From<String> for Line {
    fn from(text: String) -> Self {
        Self::Folded(text)
    }
}

impl From<&String> for Line {
    fn from(text: &String) -> Self {
        Self::Folded(text.clone())
    }
}

impl From<&Self> for Line {
    fn from(line: &Self) -> Self {
        line.clone()
    }
}

/// What is said while it goes on. Standard output is for what came of it.
pub(super) fn progress(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Of a section or of columns.
pub(super) fn heading(text: &str) -> String {
    painted(Style::new().bold(), text)
}

/// All is well.
pub(super) fn good(text: &str) -> String {
    painted(AnsiColor::Green.on_default(), text)
}

/// Something is wrong.
pub(super) fn bad(text: &str) -> String {
    painted(AnsiColor::Red.on_default(), text)
}

/// Taken off again where there is no terminal.
fn painted(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

impl Output {
    pub(super) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether JSON is asked for; lines that are many need not be made then.
    pub(super) const fn is_json(&self) -> bool {
        self.json
    }

    /// How wide a table may be.
    #[expect(clippy::unused_self, reason = "stands beside print")]
    pub(super) fn columns(&self) -> usize {
        width(&io::stdout())
    }

    /// Prints `value` as JSON, or else the lines.
    pub(super) fn print<L>(&self, value: &impl Serialize, lines: &[L]) -> io::Result<()>
    where
        for<'a> Line: From<&'a L>,
    {
        let stdout = io::stdout();
        let written = if self.json {
            steerless(serde_json::to_string_pretty(value))
                .and_then(|text| writeln!(stdout.lock(), "{text}"))
        } else {
            let text = text(lines, width(&stdout));
            coloured(stdout.lock()).write_all(text.as_bytes())
        };
        match written {
            // `webhookctl list | head -3` is no failure.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    /// The same for what comes bit by bit: each value on a line of its own. Whether somebody reads it
    /// still.
    pub(super) fn follow(&self, values: &[impl Serialize], lines: &[String]) -> io::Result<bool> {
        let stdout = io::stdout();
        let written = if self.json {
            let mut stdout = stdout.lock();
            values.iter().try_for_each(|value| {
                let text = steerless(serde_json::to_string(value))?;
                writeln!(stdout, "{text}")
            })
        } else {
            let text = text(lines, width(&stdout));
            coloured(stdout.lock()).write_all(text.as_bytes())
        };
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            other => other.map(|()| true),
        }
    }

    /// One sentence on stderr.
    #[expect(clippy::unused_self, reason = "stands beside print")]
    pub(super) fn complain(&self, sentence: &str) {
        let stderr = io::stderr();
        let line = bad(&format!("webhookctl: {sentence}"));
        let text = text(&[line], width(&stderr));
        let _ = coloured(stderr.lock()).write_all(text.as_bytes());
    }
}

/// JSON that means the same and steers no terminal, whoever wrote the texts in it.
fn steerless(json: serde_json::Result<String>) -> io::Result<String> {
    Ok(logging::escape(&json?))
}

/// A stream that takes colours off where they do not belong.
fn coloured<S: anstream::stream::RawStream>(stream: S) -> AutoStream<S> {
    // CLICOLOR_FORCE would colour a file.
    let choice =
        if stream.is_terminal() { AutoStream::choice(&stream) } else { ColorChoice::Never };
    AutoStream::new(stream, choice)
}

/// Columns.
fn width(stream: &impl AsFd) -> usize {
    terminal_size::terminal_size_of(stream).map_or(COLUMNS, |(terminal_size::Width(columns), _)| {
        usize::from(columns).clamp(NARROWEST, WIDEST)
    })
}

fn text<L>(lines: &[L], width: usize) -> String
where
    for<'a> Line: From<&'a L>,
{
    let mut text = String::new();
    for line in lines {
        match Line::from(line) {
            Line::Whole(line) => text.push_str(&line),
            Line::Folded(line) => text.push_str(&fold(&line, width)),
        }
        text.push('\n');
    }
    text
}

fn fold(line: &str, width: usize) -> Cow<'_, str> {
    if textwrap::core::display_width(line) <= width {
        return line.into();
    }
    // Where that leaves no room beside it, it is no column.
    let margin = Some(column(line)).filter(|margin| margin.saturating_mul(2) < width);
    let margin = " ".repeat(margin.unwrap_or(MARGIN));
    // Addresses and paths are not broken at their hyphens.
    let options = Options::new(width)
        .subsequent_indent(&margin)
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(textwrap::WrapAlgorithm::FirstFit);
    textwrap::fill(line, options).into()
}

/// The column of what two spaces set apart from the first word, or a small margin.
fn column(line: &str) -> usize {
    let indent = line.len().saturating_sub(line.trim_start_matches(' ').len());
    let apart = line.get(indent..).and_then(|words| {
        let (label, rest) = words.split_once("  ")?;
        let spaces = rest.len().saturating_sub(rest.trim_start_matches(' ').len());
        let width = textwrap::core::display_width(label);
        Some(indent.saturating_add(width).saturating_add(2).saturating_add(spaces))
    });
    apart.unwrap_or_else(|| indent.saturating_add(MARGIN))
}

/// Columns where there is no terminal.
const COLUMNS: usize = 80;
/// Columns below which folding would leave nothing to read.
const NARROWEST: usize = 40;
/// Columns beyond which lines are hard to follow.
const WIDEST: usize = 120;
/// Of what goes on in the next line.
const MARGIN: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_goes_on_under_itself() {
        let words = "word ".repeat(20);
        for (line, margin) in [
            (words.clone(), "  "),
            (format!("  {words}"), "    "),
            (format!("since       {words}"), "            "),
            (format!("  since  {words}"), "         "),
            (format!("{}  {words}", bad("PROBLEM")), "         "),
            (format!("{}  {words}", "x".repeat(60)), "  "),
        ] {
            let folded = text(&[line.trim_end().to_owned()], 80);
            let lines: Vec<&str> = folded.lines().collect();
            assert!(lines.len() > 1, "{folded}");
            let widths = lines.iter().map(|line| textwrap::core::display_width(line));
            assert!(widths.clone().all(|width| width <= 80), "{folded}");
            for below in lines.iter().skip(1) {
                let indent = below.len() - below.trim_start().len();
                assert_eq!(indent, margin.len(), "{folded}");
            }
            assert_eq!(folded.matches("word").count(), 20, "{folded}");
        }
    }

    #[test]
    fn json_means_the_same_and_steers_no_terminal() {
        let evil = serde_json::json!({ "reason": "x\u{1b}[2J\n\u{9b}31m\u{7f}\u{202e}é" });
        for json in [serde_json::to_string_pretty(&evil), serde_json::to_string(&evil)] {
            let text = steerless(json).unwrap();
            let steers = |c: char| c != '\n' && c.is_control() || c == '\u{202e}';
            assert!(!text.contains(steers) && text.contains('é'), "{text:?}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), evil);
        }
    }

    #[test]
    fn what_fits_and_what_is_to_be_copied_stays_as_it_is() {
        let fits = "since  yesterday ".repeat(4);
        assert_eq!(text(std::slice::from_ref(&fits), 80), fits + "\n");
        let command = format!("  sudo command {}", "word ".repeat(40));
        assert_eq!(text(&[Line::Whole(command.clone())], 80), command + "\n");
        // A word of its own cannot be broken either.
        let path = format!("/{}", "x".repeat(100));
        assert_eq!(text(&[format!("see {path}")], 80), format!("see\n  {path}\n"));
    }

    #[test]
    fn colour_takes_no_room_and_goes_where_there_is_no_terminal() {
        let line = format!("{}{}", bad("PROBLEM"), "x".repeat(73));
        assert_eq!(text(std::slice::from_ref(&line), 80), line + "\n");
        let mut written = AutoStream::never(Vec::new());
        written.write_all(bad("wrong").as_bytes()).unwrap();
        assert_eq!(written.into_inner(), b"wrong");
        assert_eq!(bad("wrong"), "\u{1b}[31mwrong\u{1b}[0m");
    }
}
