//! What both daemons say of one request, together.

use std::collections::HashMap;

use crate::ctl::log::record::Record;
use crate::ctl::log::words;
use crate::times::local;

/// Each record as a line, with its time; those of one request stand under what webhookd says of it.
pub(super) fn lines(records: &[Record]) -> Vec<String> {
    let mut verdicts: HashMap<&str, Vec<&Record>> = HashMap::new();
    for record in records.iter().filter(|record| record.is_verdict()) {
        if let Some(event) = record.fields.event.as_deref() {
            verdicts.entry(event).or_default().push(record);
        }
    }
    let requests: HashMap<&str, &Record> = records
        .iter()
        .filter(|record| record.is_request())
        .filter_map(|record| Some((record.fields.event.as_deref()?, record)))
        .filter(|(event, _)| verdicts.contains_key(event))
        .collect();
    let mut lines = Vec::new();
    for record in records {
        let request = record.fields.event.as_deref().and_then(|event| requests.get(event));
        match request {
            Some(_) if record.is_verdict() => {}
            Some(request) if record.is_request() && std::ptr::eq(*request, record) => {
                lines.push(dated(record));
                let event = record.fields.event.as_deref().unwrap_or_default();
                let parts = verdicts.get(event).into_iter().flatten();
                lines.extend(parts.map(|part| format!("{INDENT}{}", words::of_part(part))));
            }
            _ => lines.push(dated(record)),
        }
    }
    lines
}

fn dated(record: &Record) -> String {
    let at = u64::try_from(record.at.as_second()).unwrap_or_default();
    format!("{}  {}", local(at), words::of(record))
}

/// As wide as a time and what stands behind it.
const INDENT: &str = "                     ";

#[cfg(test)]
mod tests {
    use logging::Action;
    use serde_json::json;

    use super::*;
    use crate::ctl::log::record::record;

    fn words(records: &[Record]) -> Vec<String> {
        let at = local(1_795_442_400);
        lines(records).iter().map(|line| line.replace(&at, "TIME")).collect()
    }

    #[test]
    fn what_both_daemons_say_of_a_request_stands_together_and_nothing_else_does() {
        let verdict = |address: &str, event: &str| {
            record(
                Action::Blocked,
                json!({ "source.address": address, "event.id": event, "client.ip": "10.9.0.2" }),
            )
        };
        let request = |event: &str| {
            record(
                Action::RequestAccepted,
                json!({ "event.id": event, "client.ip": "10.9.0.2", "webhookd.token": "kibana",
                    "http.response.status_code": 200, "webhookd.addresses": 2 }),
            )
        };
        let expired = record(
            Action::Expired,
            json!({ "source.address": "192.0.2.1", "event.id": "1", "event.reason": "its time has come" }),
        );
        let records = [
            verdict("192.0.2.1", "1"),
            verdict("192.0.2.9", "2"),
            verdict("192.0.2.2", "1"),
            request("1"),
            expired,
            request("3"),
        ];
        let expected = [
            "TIME  192.0.2.9 blocked for good; asked by 10.9.0.2",
            "TIME  webhook from 10.9.0.2 (kibana): 200, 2 addresses",
            "                     192.0.2.1 blocked for good",
            "                     192.0.2.2 blocked for good",
            "TIME  192.0.2.1 let in again: its time has come",
            "TIME  webhook from 10.9.0.2 (kibana): 200, 2 addresses",
        ];
        assert_eq!(words(&records), expected);
    }
}
