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

/// What became of the connector.
#[derive(Serialize)]
pub(super) struct Connected {
    pub(super) name: String,
    /// None where it would be made.
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
}

impl Report {
    /// For people.
    pub(super) fn lines(&self) -> Vec<Line> {
        let Self { version, url, space, connector, rule, .. } = self;
        let name = shown(&rule.name);
        let mut lines = vec![
            format!("Kibana     {version} at {}, space {space}", shown(url)),
            format!("connector  {}: {}", connector.name, self.told(connector.outcome)),
            format!("rule       {name} ({}): {}", shown(&rule.rule_id), self.told(rule.outcome)),
            format!("action     {}", self.told(rule.action)),
        ];
        if !connector.differed.is_empty()
            && let Some(line) = lines.get_mut(1)
        {
            *line += &format!(" ({})", connector.differed.join(", "));
        }
        if rule.others > 0
            && let Some(line) = lines.last_mut()
        {
            *line += &format!("; {} of others left as they are", rule.others);
        }
        for (word, networks) in [("left out", &rule.excluded), ("let in", &rule.included)] {
            if !networks.is_empty() {
                let networks: Vec<String> = networks.iter().map(|it| shown(it)).collect();
                lines.push(format!("{word:9}  {}", networks.join(", ")));
            }
        }
        lines.extend(self.notes.iter().map(|note| format!("note       {note}")));
        lines.push(match (self.changed, self.dry_run) {
            (false, _) => "Nothing was to be changed.".to_owned(),
            (true, true) => "Nothing was changed (--dry-run).".to_owned(),
            (true, false) => "Kibana is up to date.".to_owned(),
        });
        lines.into_iter().map(Line::from).collect()
    }

    fn told(&self, outcome: Outcome) -> &'static str {
        match (outcome, self.dry_run) {
            (Outcome::Created, false) => "made",
            (Outcome::Changed, false) => "changed",
            (Outcome::Created, true) => "would be made",
            (Outcome::Changed, true) => "would be changed",
            (Outcome::Unchanged, _) => "as it is to be",
        }
    }
}
