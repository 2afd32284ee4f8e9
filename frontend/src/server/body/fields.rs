//! The documented fields of a body: nothing else in it is looked at.
//!
//! Where each is from: facts of Kibana's rendering and of its alert documents, as its sources have
//! them (threshold rules: `bulk_create_threshold_signals.ts`; what actions see of an alert:
//! `schedule_notification_actions.ts`; summaries: `transform_action_params.ts`; hits: the
//! `action_context.ts` of the Elasticsearch query rule). README.md repeats the table.

/// A row of the table.
#[derive(Debug)]
pub(super) struct Field {
    /// The dotted paths; nested, dotted and mixed keys are the same path.
    pub(super) paths: &'static [&'static str],
    /// Where the paths begin.
    pub(super) place: Place,
    /// What the value is.
    pub(super) takes: Takes,
    /// The same for people.
    #[cfg_attr(not(test), expect(dead_code, reason = "compared with README.md"))]
    pub(super) meaning: &'static str,
}

/// Where a path begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    /// At the body itself. What a document carries under such a name is its own matter: events may
    /// have an `ip` or `data` that means something else.
    Body,
    /// Also at each alert document and hit in the body.
    Documents,
}

/// What is taken from a value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Takes {
    /// Nothing itself; a documented field may stand inside.
    Inside,
    /// The whole body.
    Body,
    /// An element of a body that is a list: an address or a body.
    Item,
    /// Addresses.
    Addresses,
    /// Objects of `field` and `value`.
    Terms,
    /// The `field` of such an object.
    TermField,
    /// Alert documents or hits, or a text that holds them, or one that lists addresses.
    Rendered,
    /// Alert documents or hits.
    Documents,
    /// The same document, one level down.
    SameDocument,
    /// The group of actions that the notification is for.
    ActionGroup,
    /// Whether the document's alert is still active.
    Status,
    /// For how long.
    Duration,
    /// A text, and nothing else.
    Text(Label),
    /// A text, where it is one.
    TextIfAny(Label),
}

/// A text that goes with a block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Label {
    /// Why.
    Reason,
    /// The detection rule's name.
    RuleName,
    /// The alert's id.
    AlertId,
}

/// A place in a body, and what is taken there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct At {
    /// The path so far: a documented one, or the beginning of one.
    pub(super) path: &'static str,
    /// Where that path began.
    pub(super) place: Place,
    /// What is taken.
    pub(super) takes: Takes,
    /// The row of the table: what stands further up is preferred.
    pub(super) rank: usize,
}

impl At {
    /// At the whole body.
    pub(super) const BODY: Self =
        Self { path: "", place: Place::Body, takes: Takes::Body, rank: usize::MAX };
    /// At an alert document.
    pub(super) const DOCUMENT: Self =
        Self { path: "", place: Place::Documents, takes: Takes::Documents, rank: usize::MAX };

    /// The same place for what is taken from its elements, or from one of its keys.
    pub(super) fn taking(self, takes: Takes) -> Self {
        Self { takes, ..self }
    }

    /// One key further; None if no documented field is there.
    pub(super) fn step(self, key: &str) -> Option<Self> {
        let first = key.bytes().next()?;
        let mut inside = None;
        for (rank, field) in FIELDS.iter().enumerate() {
            if self.place == Place::Documents && field.place == Place::Body {
                continue;
            }
            for path in field.paths {
                let below = self.below(path).filter(|below| below.bytes().next() == Some(first));
                let Some(rest) = below.and_then(|below| below.strip_prefix(key)) else { continue };
                if rest.is_empty() {
                    return Some(Self { path, place: self.place, takes: field.takes, rank });
                }
                if rest.starts_with('.') {
                    inside = path.get(..path.len().saturating_sub(rest.len()));
                }
            }
        }
        inside.map(|path| Self { path, takes: Takes::Inside, ..self })
    }

    fn below(self, path: &'static str) -> Option<&'static str> {
        if self.path.is_empty() {
            Some(path)
        } else {
            path.strip_prefix(self.path)?.strip_prefix('.')
        }
    }
}

/// The table.
pub(super) const FIELDS: &[Field] = &[
    Field {
        paths: &["ip", "ips"],
        place: Place::Body,
        takes: Takes::Addresses,
        meaning: "addresses or networks: a text, a list, a list within a text",
    },
    Field {
        paths: &["source.ip"],
        place: Place::Documents,
        takes: Takes::Addresses,
        meaning: "the source, or a list of sources",
    },
    Field {
        paths: &["context.source.ip", "grouping.source.ip", "context.grouping.source.ip"],
        place: Place::Body,
        takes: Takes::Addresses,
        meaning: "the same from rules other than Security's",
    },
    Field {
        paths: &["kibana.alert.grouping.source.ip"],
        place: Place::Documents,
        takes: Takes::Addresses,
        meaning: "the source by which alerts were grouped",
    },
    Field {
        paths: &[
            "threshold_result.terms",
            "kibana.alert.threshold_result.terms",
            "signal.threshold_result.terms",
            "kibana.alert.suppression.terms",
            "kibana.alert.group",
        ],
        place: Place::Documents,
        takes: Takes::Terms,
        meaning: "a list of `{field, value}`: the values where `field` is `source.ip`",
    },
    Field {
        paths: &["group", "context.group"],
        place: Place::Body,
        takes: Takes::Terms,
        meaning: "the same from rules other than Security's",
    },
    Field {
        paths: &[
            "alerts",
            "context.alerts",
            "alerts.all.data",
            "alerts.new.data",
            "alerts.ongoing.data",
            "hits",
            "hits.hits",
            "context.hits",
        ],
        place: Place::Body,
        takes: Takes::Rendered,
        meaning: "documents: one, a list, or either within a text; also a text that lists addresses",
    },
    Field {
        paths: &["alert", "data"],
        place: Place::Body,
        takes: Takes::Documents,
        meaning: "a document, or a list of them",
    },
    Field {
        paths: &["_source", "fields"],
        place: Place::Documents,
        takes: Takes::SameDocument,
        meaning: "the fields of a hit",
    },
    Field {
        paths: &[
            "alert.actionGroup",
            "alert.actionGroupName",
            "alertActionGroup",
            "alertActionGroupName",
            "actionGroup",
        ],
        place: Place::Body,
        takes: Takes::ActionGroup,
        meaning: "`recovered`: the body blocks nobody",
    },
    Field {
        paths: &["kibana.alert.status", "kibana.alert.action_group"],
        place: Place::Documents,
        takes: Takes::Status,
        meaning: "`recovered`: the document is left out",
    },
    Field {
        paths: &["duration"],
        place: Place::Body,
        takes: Takes::Duration,
        meaning: "`\"1h\"`, `\"7d\"`, `\"permanent\"` or seconds; an alert can only shorten what `block-for` gives",
    },
    Field {
        paths: &["reason"],
        place: Place::Body,
        takes: Takes::Text(Label::Reason),
        meaning: "why, shown by `webhookctl list`",
    },
    Field {
        paths: &["kibana.alert.reason"],
        place: Place::Documents,
        takes: Takes::TextIfAny(Label::Reason),
        meaning: "the same where `reason` is missing, of the first alert",
    },
    Field {
        paths: &["rule_name"],
        place: Place::Body,
        takes: Takes::Text(Label::RuleName),
        meaning: "the rule's name, shown by `webhookctl list`",
    },
    Field {
        paths: &["rule", "rule.name", "context.rule.name"],
        place: Place::Body,
        takes: Takes::TextIfAny(Label::RuleName),
        meaning: "the same where `rule_name` is missing",
    },
    Field {
        paths: &["kibana.alert.rule.name"],
        place: Place::Documents,
        takes: Takes::TextIfAny(Label::RuleName),
        meaning: "the same, of the first alert",
    },
    Field {
        paths: &["alert_id"],
        place: Place::Body,
        takes: Takes::Text(Label::AlertId),
        meaning: "the alert's id, shown by `webhookctl show`",
    },
    Field {
        paths: &["alert.id"],
        place: Place::Body,
        takes: Takes::TextIfAny(Label::AlertId),
        meaning: "the same where `alert_id` is missing",
    },
    Field {
        paths: &["kibana.alert.uuid"],
        place: Place::Documents,
        takes: Takes::TextIfAny(Label::AlertId),
        meaning: "the same, of the first alert",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(place: Place, keys: &[&str]) -> Option<Takes> {
        let start = At { place, takes: Takes::Inside, ..At::BODY };
        keys.iter().try_fold(start, |at, key| at.step(key)).map(|at| at.takes)
    }

    #[test]
    fn nested_dotted_and_mixed_keys_are_one_path() {
        for keys in [
            &["kibana.alert.threshold_result.terms"][..],
            &["kibana", "alert", "threshold_result", "terms"],
            &["kibana.alert", "threshold_result.terms"],
            &["kibana", "alert.threshold_result", "terms"],
        ] {
            for place in [Place::Body, Place::Documents] {
                assert_eq!(takes(place, keys), Some(Takes::Terms), "{keys:?}");
            }
        }
        assert_eq!(takes(Place::Body, &["source"]), Some(Takes::Inside));
        assert_eq!(takes(Place::Body, &["alerts", "new.data"]), Some(Takes::Rendered));
    }

    #[test]
    fn what_is_not_documented_is_nowhere() {
        for keys in [
            &["related.ip"][..],
            &["related", "ip"],
            &["host", "ip"],
            &["destination.ip"],
            &["sourc"],
            &["source.i"],
            &["source."],
            &["source", ""],
            &[""],
            &["", "ip"],
            &["source.ip", "address"],
            &["source.ip.address"],
            &["IP"],
            &["alerts", "recovered", "data"],
            &["alerts.recovered.data"],
            &["context", "ip"],
        ] {
            assert_eq!(takes(Place::Body, keys), None, "{keys:?}");
        }
        for keys in [&["ip"][..], &["ips"], &["data"], &["hits"], &["alerts"], &["context"]] {
            assert_eq!(takes(Place::Documents, keys), None, "{keys:?}");
        }
    }

    #[test]
    fn each_path_stands_in_the_table_once_and_can_be_reached() {
        let mut seen = std::collections::HashSet::new();
        for field in FIELDS {
            for path in field.paths {
                assert!(seen.insert(path), "{path}");
                assert_eq!(takes(field.place, &[path]), Some(field.takes), "{path}");
                let keys: Vec<&str> = path.split('.').collect();
                assert_eq!(takes(field.place, &keys), Some(field.takes), "{path}");
            }
        }
    }

    #[test]
    fn the_readme_has_the_same_table() {
        let rows = FIELDS.iter().map(|field| {
            let paths: Vec<String> = field.paths.iter().map(|path| format!("`{path}`")).collect();
            let place = match field.place {
                Place::Body => "body",
                Place::Documents => "body, document",
            };
            format!("| {} | {place} | {} |\n", paths.join(", "), field.meaning)
        });
        let table: String = rows.collect();
        let readme = include_str!("../../../../README.md");
        assert!(readme.contains(&table), "README.md, \"What is posted\", should have\n{table}");
    }
}
