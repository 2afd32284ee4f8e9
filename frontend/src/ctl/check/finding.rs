//! What a check found: a line for the operator.

use serde::Serialize;

use crate::ctl::outside::Unreadable;
use crate::ctl::program::ProgramError;

/// What a check found.
#[derive(Debug, Serialize)]
pub(in crate::ctl) struct Finding {
    pub(in crate::ctl) state: State,
    /// A sentence or two, safe to print.
    pub(in crate::ctl) message: String,
    /// How to mend it: a command or a sentence a line.
    pub(in crate::ctl) mend: Option<String>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::ctl) enum State {
    Ok,
    /// Worth knowing, and no failure.
    Note,
    Problem,
}

/// What one check gives: its findings, or why it could not be made.
pub(super) type Findings = Result<Vec<Finding>, Unmade>;

impl Finding {
    pub(in crate::ctl) fn ok(message: impl Into<String>) -> Self {
        Self { state: State::Ok, message: message.into(), mend: None }
    }

    pub(in crate::ctl) fn note(message: impl Into<String>) -> Self {
        Self { state: State::Note, message: message.into(), mend: None }
    }

    pub(in crate::ctl) fn problem(message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { state: State::Problem, message: message.into(), mend: Some(mend.into()) }
    }

    /// The line for people under this name, folded at 80 columns; commands are left whole, to be
    /// copied.
    pub(in crate::ctl) fn text(&self, name: &str) -> Vec<String> {
        let word = match self.state {
            State::Ok => "ok",
            State::Note => "note",
            State::Problem => "problem",
        };
        let sentence = format!("{name}: {}", self.message);
        let mut margin = format!("{word:<8}");
        let mut lines = Vec::new();
        for line in fold(&sentence) {
            lines.push(margin + &line);
            margin = MARGIN.to_owned();
        }
        let mut margin = "mend: ";
        for command in self.mend.iter().flat_map(|mend| mend.lines()) {
            lines.push(format!("{MARGIN}{margin}{command}"));
            margin = "      ";
        }
        lines
    }
}

/// A finding under the name of its check.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    check: &'static str,
    #[serde(flatten)]
    pub(super) finding: Finding,
}

impl Line {
    /// What a check found, under its name. A check that could not be made is a problem.
    pub(super) fn of(check: &'static str, findings: Findings) -> Vec<Self> {
        let findings = findings.unwrap_or_else(|why| {
            vec![Finding::problem(
                format!("cannot be checked: {why}"),
                "that first, then run the check again",
            )]
        });
        findings.into_iter().map(|finding| Self { check, finding }).collect()
    }

    /// The line for people.
    pub(super) fn text(&self) -> Vec<String> {
        self.finding.text(self.check)
    }
}

/// Why a check could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unmade {
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error(transparent)]
    File(#[from] Unreadable),
    #[error("{0}")]
    Because(String),
}

/// Breaks a sentence between words.
fn fold(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let both = line.chars().count().saturating_add(word.chars().count());
        if !line.is_empty() && both >= WIDTH {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

/// Under the words of a line.
const MARGIN: &str = "        ";
/// Columns of a terminal behind the margin.
const WIDTH: usize = 72;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_folded_at_80_columns_and_a_command_stays_whole() {
        let long = "word ".repeat(40);
        let command = format!("command {}", "x".repeat(100));
        let problem = Finding::problem(long.trim_end(), format!("{command}\nsecond"));
        let [line] = &Line::of("disk", Ok(vec![problem]))[..] else { panic!() };
        let text = line.text();
        assert!(text[0].starts_with("problem disk: word word"), "{text:#?}");
        assert!(text[1].starts_with("        word"), "{text:#?}");
        let [.., first, second] = &text[..] else { panic!() };
        assert_eq!(*first, format!("        mend: {command}"));
        assert_eq!(second, "              second");
        let folded = text.iter().filter(|line| !line.contains("mend:"));
        assert!(folded.map(|line| line.chars().count()).all(|width| width <= 80), "{text:#?}");
        assert_eq!(text.join(" ").matches("word").count(), 40);
    }

    #[test]
    fn a_check_that_cannot_be_made_is_a_problem_that_says_why() {
        let lines = Line::of("ufw", Err(Unmade::Because("there is no ufw".into())));
        assert_eq!(lines[0].finding.state, State::Problem);
        assert!(lines[0].text()[0].contains("cannot be checked: there is no ufw"));
    }
}
