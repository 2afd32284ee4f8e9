//! Everything that no alert may block, as a table.

use protocol::{ProtectedNet, Target, Untrusted};
use serde::Serialize;

use crate::ctl::output::Line;
use crate::ctl::table::Table;

/// One line of it.
#[derive(Serialize)]
pub(super) struct Row {
    net: String,
    reason: &'static str,
    rule: String,
}

impl Row {
    pub(super) fn new(protected: &ProtectedNet) -> Self {
        // A host without its prefix, where it is a target at all.
        let net = Target::network(protected.net)
            .map_or_else(|_| protected.net.to_string(), |target| target.to_string());
        let rule = Untrusted(&protected.rule).to_string();
        Self { net, reason: protected.refusal.name(), rule }
    }
}

/// The rows within so many columns.
pub(super) fn lines(rows: &[Row], columns: usize) -> Vec<Line> {
    let mut table = Table::new(["NETWORK", "REASON", "WHERE"], 1);
    for Row { net, reason, rule } in rows {
        table.push([net.clone(), (*reason).to_owned(), rule.clone()]);
    }
    table.lines(Some(columns))
}

#[cfg(test)]
mod tests {
    use protocol::{Refusal, Text};

    use super::*;

    fn row(net: &str, refusal: Refusal, rule: &str) -> Row {
        let net = net.parse().unwrap();
        Row::new(&ProtectedNet { net, refusal, rule: Text::truncated(rule) })
    }

    #[test]
    fn the_table_fits_a_terminal_and_nothing_in_it_steers_one() {
        let long =
            "allow tcp 22,80,443 0.0.0.0/0 any 198.51.100.0/24 in_a-rather-long-name and more";
        let rows = [
            row("127.0.0.0/8", Refusal::Reserved, "loopback"),
            row("198.51.100.7/32", Refusal::UfwAllow, long),
            row("2001:db8:1111:2222:3333:4444:5555:6666/128", Refusal::OwnAddress, "a\u{1b}[31m"),
        ];
        let lines: Vec<String> = lines(&rows, 80).iter().map(Line::plain).collect();
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
        assert_eq!(
            lines[..2],
            [
                "NETWORK                                 REASON       WHERE",
                "127.0.0.0/8                             reserved     loopback",
            ]
        );
        assert!(lines[2].starts_with("198.51.100.7  ") && lines[2].ends_with('…'), "{lines:#?}");
        assert!(!lines[3].contains('\u{1b}'), "{lines:#?}");
        let json = serde_json::to_value(&rows[0]).unwrap();
        let expected =
            serde_json::json!({ "net": "127.0.0.0/8", "reason": "reserved", "rule": "loopback" });
        assert_eq!(json, expected);
    }
}
