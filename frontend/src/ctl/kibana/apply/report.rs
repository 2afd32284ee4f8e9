//! What was done in Kibana, for people and as JSON.

use serde::Serialize;

use crate::ctl::output::Line;
use crate::ctl::outside::shown;

/// All of it.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) url: String,
    pub(super) version: String,
    pub(super) space: String,
    /// Nothing was sent but questions.
    pub(super) dry_run: bool,
    /// Whether anything was, or would be, written.
    pub(super) changed: bool,
    pub(super) connector: Connected,
    pub(super) rule: Ruled,
    /// Sentences for the operator.
    pub(super) notes: Vec<String>,
}

/// What was taken out again.
#[derive(Serialize)]
pub(super) struct Removal {
    pub(super) url: String,
    pub(super) version: String,
    pub(super) space: String,
    pub(super) dry_run: bool,
    pub(super) changed: bool,
    pub(super) connector: Connected,
    /// This host's part of each.
    pub(super) rules: Vec<Ruled>,
}

/// What became of the connector.
#[derive(Serialize)]
pub(super) struct Connected {
    pub(super) name: String,
    /// None where it would be made, or is not there.
    pub(super) id: Option<String>,
    pub(super) outcome: Outcome,
    /// What of it was not as it is now.
    pub(super) differed: Vec<String>,
}

/// What became of this host's part of the rule.
#[derive(Serialize)]
pub(super) struct Ruled {
    pub(super) rule_id: String,
    pub(super) name: String,
    pub(super) outcome: Outcome,
    pub(super) enabled: bool,
    pub(super) action: Outcome,
    /// Networks that are left out since this.
    pub(super) excluded: Vec<String>,
    /// Networks that are left out for this host no more.
    pub(super) included: Vec<String>,
    /// Actions of others.
    pub(super) others: usize,
    /// Somebody else changed the rule between reading and writing.
    #[serde(skip)]
    pub(super) overtook: bool,
}

/// What became of a thing.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    Created,
    Changed,
    Unchanged,
    Removed,
    /// Not there, and not to be.
    Absent,
}

impl Outcome {
    /// Whether something was, or would be, written.
    pub(super) const fn is_change(self) -> bool {
        matches!(self, Self::Created | Self::Changed | Self::Removed)
    }

    fn told(self, dry_run: bool) -> &'static str {
        match (self, dry_run) {
            (Self::Created, false) => "made",
            (Self::Changed, false) => "changed",
            (Self::Removed, false) => "removed",
            (Self::Created, true) => "would be made",
            (Self::Changed, true) => "would be changed",
            (Self::Removed, true) => "would be removed",
            (Self::Unchanged, _) => "as it is to be",
            (Self::Absent, _) => "not there",
        }
    }
}

impl Report {
    /// For people.
    pub(super) fn lines(&self) -> Vec<Line> {
        let mut lines =
            vec![at(&self.version, &self.url, &self.space), self.connector.line(self.dry_run)];
        lines.extend(self.rule.lines(self.dry_run));
        lines.extend(self.notes.iter().map(|note| format!("note       {note}")));
        lines.push(ending(self.changed, self.dry_run));
        lines.into_iter().map(Line::from).collect()
    }
}

impl Removal {
    /// For people. A rule that is not there is not spoken of.
    pub(super) fn lines(&self) -> Vec<Line> {
        let mut lines = vec![at(&self.version, &self.url, &self.space)];
        let rules = self.rules.iter().filter(|rule| rule.outcome != Outcome::Absent);
        lines.extend(rules.flat_map(|rule| rule.lines(self.dry_run)));
        lines.push(self.connector.line(self.dry_run));
        lines.push(ending(self.changed, self.dry_run));
        lines.into_iter().map(Line::from).collect()
    }
}

impl Connected {
    fn line(&self, dry_run: bool) -> String {
        let line = format!("connector  {}: {}", self.name, self.outcome.told(dry_run));
        if self.differed.is_empty() {
            line
        } else {
            format!("{line} ({})", self.differed.join(", "))
        }
    }
}

impl Ruled {
    fn lines(&self, dry_run: bool) -> Vec<String> {
        let others = match self.others {
            0 => String::new(),
            others => format!("; {others} of others left as they are"),
        };
        let (name, id) = (shown(&self.name), shown(&self.rule_id));
        let mut lines = vec![
            format!("rule       {name} ({id}): {}", self.outcome.told(dry_run)),
            format!("action     {}{others}", self.action.told(dry_run)),
        ];
        for (word, networks) in [("left out", &self.excluded), ("let in", &self.included)] {
            if !networks.is_empty() {
                let networks: Vec<String> = networks.iter().map(|it| shown(it)).collect();
                lines.push(format!("{word:9}  {}", networks.join(", ")));
            }
        }
        lines
    }
}

fn at(version: &str, url: &str, space: &str) -> String {
    format!("Kibana     {version} at {}, space {space}", shown(url))
}

fn ending(changed: bool, dry_run: bool) -> String {
    let ending = match (changed, dry_run) {
        (false, _) => "Nothing was to be changed.",
        (true, true) => "Nothing was changed (--dry-run).",
        (true, false) => "Kibana is up to date.",
    };
    ending.to_owned()
}
