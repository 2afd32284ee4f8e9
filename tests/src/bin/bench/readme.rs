//! What a whole run measured, written into the README between two marks.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::report::{Report, Section};

/// Writes table and charts in place of what an earlier run wrote.
///
/// # Panics
/// When the file or its marks are missing.
pub fn write(path: &Path, report: &Report, pairs: usize) {
    let text = fs::read_to_string(path).unwrap();
    let written = replaced(&text, &text_of(report, pairs)).expect("README.md has both marks");
    // In place: it stays its owner's.
    fs::write(path, written).unwrap();
    println!("written into {}", path.display());
}

/// The text with what stands between the marks exchanged, if it has them.
fn replaced(text: &str, with: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{with}\n{END}{after}"))
}

fn text_of(report: &Report, pairs: usize) -> String {
    let sections: Vec<String> = report.sections.iter().map(table).collect();
    let charts: Vec<String> = report.charts.iter().map(|chart| chart.drawn()).collect();
    let charts = charts.join("\n\n");
    format!("{}\n\n{}\n\n```\n{charts}\n```", machine(pairs), sections.join("\n\n"))
}

fn table(section: &Section) -> String {
    let mut table = format!("| {} | measured | bar |\n|---|---|---|", section.heading);
    for row in &section.rows {
        let measured = match &*row.ratio {
            "" => row.measured.clone(),
            ratio => format!("{}: {ratio}", row.measured),
        };
        let bar = if row.met { row.bar.clone() } else { format!("{}, missed", row.bar) };
        table += &format!("\n| {} | {measured} | {bar} |", row.work);
    }
    table
}

/// What it was measured on.
fn machine(pairs: usize) -> String {
    let cores = std::thread::available_parallelism().unwrap();
    let system = fs::read_to_string("/etc/os-release").unwrap();
    let system = system.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let first = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().next().unwrap_or_default().to_owned()
    };
    format!(
        "On {cores} cores that also carried the clients: {}, Linux {}, {}, {}; medians of {pairs}\n\
         interleaved pairs (a quarter of that for what takes seconds, three for fail2ban); P-256 certificate.",
        system.unwrap_or("an unnamed system").trim_matches('"'),
        kernel.trim(),
        first("ufw", "version"),
        first("nft", "--version").split(" (").next().unwrap_or_default(),
    )
}

const BEGIN: &str = "<!-- from here on written by tests/bench -->";
const END: &str = "<!-- up to here -->";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_the_marks_is_exchanged() {
        let old = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let new = format!("before\n{BEGIN}\nnew\n{END}\nafter\n");
        assert_eq!(replaced(&old, "new"), Some(new));
        for lacking in ["", BEGIN, END] {
            assert_eq!(replaced(lacking, "new"), None);
        }
    }

    #[test]
    fn a_row_that_missed_its_bar_says_so() {
        let mut report = Report::default();
        report.begin("engine");
        report.line("one block", "3 ms", "1.5 times", "1.2", false);
        report.line("another", "3 ms", "", "5 ms", true);
        let expected = "| engine | measured | bar |\n|---|---|---|\n\
            | one block | 3 ms: 1.5 times | 1.2, missed |\n| another | 3 ms | 5 ms |";
        assert_eq!(table(&report.sections[0]), expected);
    }
}
