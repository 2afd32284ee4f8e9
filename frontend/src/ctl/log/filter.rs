//! Which records are asked for.

use std::collections::HashSet;

use jiff::Timestamp;
use protocol::Target;

use crate::ctl::log::record::Record;

/// What a record must have; None asks for nothing.
#[derive(Debug, Default)]
pub(super) struct Filter {
    /// It is about this, or about what shares an address with it.
    pub(super) target: Option<Target>,
    /// It was written then or later.
    pub(super) since: Option<Timestamp>,
    /// It was written then or before.
    pub(super) until: Option<Timestamp>,
    /// The detection rule's whole name.
    pub(super) rule: Option<String>,
    /// One of its outcomes.
    pub(super) outcome: Option<String>,
}

impl Filter {
    /// Whether a record is asked for: by itself, or as the request that others of them are part of.
    pub(super) fn takes(&self, record: &Record, requests: &Requests) -> bool {
        self.since.is_none_or(|since| record.at >= since)
            && self.until.is_none_or(|until| record.at <= until)
            && (self.names(record) || (record.is_request() && requests.contain(record)))
    }

    fn names(&self, record: &Record) -> bool {
        let fields = &record.fields;
        let text = |text: &Option<String>, wanted: &str| text.as_deref() == Some(wanted);
        self.rule.as_ref().is_none_or(|rule| text(&fields.rule, rule))
            && self.outcome.as_ref().is_none_or(|outcome| fields.outcomes.contains(outcome))
            && self.target.is_none_or(|target| {
                let about = |text: &Option<String>| {
                    let other = text.as_ref().and_then(|text| text.parse::<Target>().ok());
                    other.is_some_and(|other| target.overlaps(other.net()))
                };
                // Who asked has a part in it, too.
                about(&fields.source) || about(&fields.client)
            })
    }
}

/// The requests that records which are asked for are part of.
#[derive(Debug, Default)]
pub(super) struct Requests(HashSet<String>);

impl Requests {
    pub(super) fn remember<'a>(&mut self, records: impl Iterator<Item = &'a Record>) {
        // What is followed for weeks does not grow for weeks: webhookd speaks a moment later.
        if self.0.len() > MAX_REQUESTS {
            self.0.clear();
        }
        let verdicts = records.filter(|record| record.is_verdict());
        self.0.extend(verdicts.filter_map(|record| record.fields.event.clone()));
    }

    fn contain(&self, record: &Record) -> bool {
        record.fields.event.as_ref().is_some_and(|event| self.0.contains(event))
    }
}

/// Requests that are known at a time.
const MAX_REQUESTS: usize = 100_000;

#[cfg(test)]
mod tests {
    use logging::Action;
    use serde_json::json;

    use super::*;
    use crate::ctl::log::record::record;

    #[test]
    fn a_record_is_found_by_its_address_and_by_every_network_around_it() {
        let filter = |target: &str| Filter { target: target.parse().ok(), ..Filter::default() };
        for (target, source, expected) in [
            ("198.51.100.7", "198.51.100.7", true),
            ("::ffff:198.51.100.7", "198.51.100.7", true),
            ("198.51.100.7", "198.51.100.0/24", true),
            ("198.51.100.0/24", "198.51.100.7", true),
            ("198.51.100.7", "198.51.100.70", false),
            ("198.51.100.7", "", false),
            ("2001:db8::7", "2001:db8::/64", true),
            ("2001:db8::7", "198.51.100.0/24", false),
        ] {
            let about = record(Action::Blocked, json!({ "source.address": source }));
            let takes = filter(target).takes(&about, &Requests::default());
            assert_eq!(takes, expected, "{target} {source}");
        }
        let refused = record(Action::AuthFailed, json!({ "client.ip": "198.51.100.7" }));
        assert!(filter("198.51.100.7").takes(&refused, &Requests::default()));
    }

    #[test]
    fn a_request_is_found_with_what_is_part_of_it() {
        let filter = Filter { rule: Some("SSH".to_owned()), ..Filter::default() };
        let verdict = |rule: &str, event: &str| {
            record(Action::Blocked, json!({ "rule.name": rule, "event.id": event }))
        };
        let request = |event: &str| record(Action::RequestAccepted, json!({ "event.id": event }));
        let mut requests = Requests::default();
        assert!(filter.takes(&verdict("SSH", "1"), &requests));
        assert!(!filter.takes(&verdict("SSH brute", "2"), &requests));
        assert!(!filter.takes(&request("1"), &requests));
        requests.remember([verdict("SSH", "1")].iter());
        assert!(filter.takes(&request("1"), &requests) && !filter.takes(&request("2"), &requests));
        // What becomes of the block later is another matter.
        let mut requests = Requests::default();
        requests.remember([record(Action::Expired, json!({ "event.id": "1" }))].iter());
        assert!(!filter.takes(&request("1"), &requests));
    }

    #[test]
    fn times_and_outcomes_choose() {
        let at = |text: &str| Some(text.parse().unwrap());
        let document = json!({ "webhookd.outcome": ["blocked", "refused"] });
        let found = record(Action::RequestAccepted, document);
        let takes = |filter: Filter| filter.takes(&found, &Requests::default());
        for (since, until, expected) in [
            (None, None, true),
            (at("2026-11-23T14:00:00Z"), at("2026-11-23T14:00:01Z"), true),
            (at("2026-11-23T14:00:01Z"), None, false),
            (None, at("2026-11-23T14:00:00Z"), false),
        ] {
            assert_eq!(takes(Filter { since, until, ..Filter::default() }), expected);
        }
        for (outcome, expected) in [("refused", true), ("blocked", true), ("failed", false)] {
            let outcome = Some(outcome.to_owned());
            assert_eq!(takes(Filter { outcome, ..Filter::default() }), expected);
        }
    }
}
