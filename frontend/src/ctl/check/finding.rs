//! What a check found: a line for the operator.

use serde::Serialize;

use crate::ctl::output::{Line as Printed, bad, good};
use crate::ctl::outside::Unreadable;
use crate::ctl::program::ProgramError;

/// What a check found.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) state: State,
    /// A sentence or two, safe to print.
    pub(super) message: String,
    /// How to mend it: a command or a sentence a line.
    pub(super) mend: Option<String>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum State {
    Ok,
    /// Worth knowing, and no failure.
    Note,
    Problem,
}

/// What one check gives: its findings, or why it could not be made.
pub(super) type Findings = Result<Vec<Finding>, Unmade>;

impl Finding {
    pub(super) fn ok(message: impl Into<String>) -> Self {
        Self { state: State::Ok, message: message.into(), mend: None }
    }

    pub(super) fn note(message: impl Into<String>) -> Self {
        Self { state: State::Note, message: message.into(), mend: None }
    }

    pub(super) fn problem(message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { state: State::Problem, message: message.into(), mend: Some(mend.into()) }
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

    /// The line for people; commands are left whole, to be copied.
    pub(super) fn text(&self) -> Vec<Printed> {
        let (word, colour): (_, fn(&str) -> String) = match self.finding.state {
            State::Ok => ("ok", good),
            State::Note => ("note", str::to_owned),
            State::Problem => ("problem", bad),
        };
        let indent = " ".repeat(MARGIN.len().saturating_sub(word.len()));
        let sentence = format!("{}{indent}{}: {}", colour(word), self.check, self.finding.message);
        let mut lines = vec![sentence.into()];
        let mut margin = "mend: ";
        for command in self.finding.mend.iter().flat_map(|mend| mend.lines()) {
            lines.push(Printed::Whole(format!("{MARGIN}{margin}{command}")));
            margin = "      ";
        }
        lines
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

/// Under the words of a line.
const MARGIN: &str = "         ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_folded_and_a_command_stays_whole() {
        let command = format!("command {}", "x".repeat(100));
        let problem = Finding::problem("is full", format!("{command}\nsecond"));
        let [line] = &Line::of("disk", Ok(vec![problem]))[..] else { panic!() };
        let expected = [
            Printed::Folded(format!("{}  disk: is full", bad("problem"))),
            Printed::Whole(format!("         mend: {command}")),
            Printed::Whole("               second".to_owned()),
        ];
        assert_eq!(line.text(), expected);
    }

    #[test]
    fn a_check_that_cannot_be_made_is_a_problem_that_says_why() {
        let lines = Line::of("ufw", Err(Unmade::Because("there is no ufw".into())));
        assert_eq!(lines[0].finding.state, State::Problem);
        let Printed::Folded(text) = &lines[0].text()[0] else { panic!() };
        assert!(text.contains("cannot be checked: there is no ufw"), "{text}");
    }
}
