//! A record as a sentence. What came from outside passes [`Untrusted`].

use jiff::Timestamp;
use logging::Action;
use nix::unistd::{Uid, User};
use protocol::{Outcome, Refusal, Untrusted};

use crate::ctl::log::record::{Fields, Record};
use crate::times::local;

/// A record that stands for itself.
pub(super) fn of(record: &Record) -> String {
    let fields = &record.fields;
    let sentence = sentence(record.action, fields);
    let sentence = match (record.is_verdict(), &fields.client) {
        (true, Some(client)) => format!("{sentence}; asked by {}", Untrusted(client)),
        (true, None) => format!("{sentence}; asked by {}", asker(fields)),
        _ => sentence,
    };
    with_others(sentence, record)
}

/// A record that is part of a request, of which has been said who asked.
pub(super) fn of_part(record: &Record) -> String {
    with_others(sentence(record.action, &record.fields), record)
}

fn with_others(sentence: String, record: &Record) -> String {
    let is_count = matches!(record.action, Action::BlocksSuppressed | Action::RequestsSuppressed);
    match record.fields.suppressed {
        Some(others) if !is_count => format!("{sentence} ({others} more like it were left out)"),
        _ => sentence,
    }
}

fn sentence(action: Action, fields: &Fields) -> String {
    let address = shown(&fields.source);
    let reason = shown(&fields.reason);
    match action {
        Action::Blocked => format!("{address} blocked {}{}", until(fields), why(fields)),
        Action::AlreadyBlocked => {
            format!("{address} already blocked {}{}", until(fields), why(fields))
        }
        Action::WouldBlock => {
            format!("{address} would be blocked (observe mode) {}{}", until(fields), why(fields))
        }
        Action::BlockRefused => format!("{address} refused: {}", refusal(fields)),
        Action::BlockOverQuota => {
            format!("{address} not blocked: too many new blocks a minute{}", detail(fields))
        }
        Action::BlockFailed => {
            let unverified = fields.outcomes.iter().any(|word| *word == Outcome::Unverified.name());
            let what = if unverified {
                "not certain to be blocked"
            } else {
                "not blocked: the firewall failed"
            };
            format!("{address} {what}{}", detail(fields))
        }
        Action::BlockPending => format!("{address} not yet blocked{}", detail(fields)),
        Action::BlockUnavailable => format!("{address} cannot be blocked{}", detail(fields)),
        Action::Unblocked => format!("{address} lifted by {}{}", asker(fields), detail(fields)),
        Action::NotBlocked => {
            format!("{address} was not blocked; {} wanted it lifted", asker(fields))
        }
        Action::Expired => format!("{address} let in again: {reason}"),
        Action::UnblockFailed if fields.user.is_some() => {
            format!("{address} could not be lifted for {}{}", asker(fields), detail(fields))
        }
        Action::UnblockFailed => format!("{address} could not be let in again: {reason}"),
        Action::Restored => {
            format!("{address} blocked again: its rules were missing from the firewall")
        }
        Action::RestoreFailed => {
            format!("{address} not blocked: its rules are missing, and cannot be put back")
        }
        Action::Adopted => {
            format!("{address} taken over from the firewall's rules {}", until(fields))
        }
        Action::RequestForbidden => {
            format!("{} was refused the verb {}", asker(fields), shown(&fields.verb))
        }
        Action::PeerRefused => format!("connection of {} refused: {reason}", asker(fields)),
        Action::BlocksSuppressed | Action::RequestsSuppressed => {
            let count = fields.suppressed.unwrap_or_default();
            format!("{count} records were left out: {}", shown(&fields.kind))
        }
        Action::RequestAccepted => {
            format!("{}: {}, {}", webhook(fields), status(fields), addresses(fields))
        }
        Action::RequestRejected => format!("{}: {}, {reason}", webhook(fields), status(fields)),
        Action::AuthFailed => {
            format!("webhook from {}: {}, {reason}", shown(&fields.client), status(fields))
        }
        Action::ConnectionRefused => {
            format!("connection from {} refused: {reason}", shown(&fields.client))
        }
        Action::Started => "webhookd serves".to_owned(),
        Action::Stopped => "webhookd ended".to_owned(),
        Action::Reloaded if fields.reason.is_some() => {
            format!("webhookd could not read its files again: {reason}")
        }
        Action::Reloaded => "webhookd read its files again".to_owned(),
    }
}

fn shown(text: &Option<String>) -> String {
    text.as_deref().map_or_else(|| "-".to_owned(), |text| Untrusted(text).to_string())
}

fn until(fields: &Fields) -> String {
    let Some(text) = &fields.until else { return "for good".to_owned() };
    let end = text.parse::<Timestamp>().ok().and_then(|end| u64::try_from(end.as_second()).ok());
    format!("until {}", end.map_or_else(|| Untrusted(text).to_string(), local))
}

/// The rule, or else the reason of whoever asked.
fn why(fields: &Fields) -> String {
    match fields.rule.as_ref().or(fields.reason.as_ref()) {
        None => String::new(),
        Some(why) => format!(" ({})", Untrusted(why)),
    }
}

fn refusal(fields: &Fields) -> String {
    let name = fields.refusal.as_deref().unwrap_or_default();
    let known = Refusal::ALL.into_iter().find(|refusal| refusal.name() == name);
    let words = known.map_or_else(|| shown(&fields.refusal), |it| it.explanation().to_owned());
    match &fields.detail {
        Some(detail) if !words.contains(detail.as_str()) => {
            format!("{words} ({})", Untrusted(detail))
        }
        _ => words,
    }
}

fn detail(fields: &Fields) -> String {
    match &fields.detail {
        None => String::new(),
        Some(detail) => format!(": {}", Untrusted(detail)),
    }
}

/// The process that asked webhook-privd.
fn asker(fields: &Fields) -> String {
    let uid = shown(&fields.user);
    let user = uid.parse().ok().and_then(|uid| User::from_uid(Uid::from_raw(uid)).ok().flatten());
    let name = user.map_or_else(String::new, |user| format!(" ({})", Untrusted(&user.name)));
    let pid = fields.pid.map_or_else(String::new, |pid| format!(", pid {pid}"));
    format!("uid {uid}{name}{pid}")
}

fn webhook(fields: &Fields) -> String {
    format!("webhook from {} ({})", shown(&fields.client), shown(&fields.token))
}

fn status(fields: &Fields) -> String {
    fields.status.map_or_else(|| "-".to_owned(), |status| status.to_string())
}

fn addresses(fields: &Fields) -> String {
    match fields.addresses.unwrap_or_default() {
        0 => "nothing to block".to_owned(),
        1 => "1 address".to_owned(),
        many => format!("{many} addresses"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ctl::log::record::record;

    #[test]
    fn each_action_is_a_sentence() {
        let end = local(1_795_472_758);
        for (action, fields, expected) in [
            (
                Action::Blocked,
                json!({ "webhookd.until": "2026-11-23T22:25:58.000Z", "rule.name": "SSH", "client.ip": "10.9.0.2" }),
                format!("192.0.2.7 blocked until {end} (SSH); asked by 10.9.0.2"),
            ),
            (
                Action::AlreadyBlocked,
                json!({ "event.reason": "by hand", "user.effective.id": "0", "webhookd.peer.pid": 7 }),
                "192.0.2.7 already blocked for good (by hand); asked by uid 0 (root), pid 7".into(),
            ),
            (
                Action::BlockRefused,
                json!({ "webhookd.refusal": "never-block", "webhookd.detail": "192.0.2.0/24", "client.ip": "10.9.0.2" }),
                "192.0.2.7 refused: listed in never-block (192.0.2.0/24); asked by 10.9.0.2".into(),
            ),
            (
                Action::BlockFailed,
                json!({ "webhookd.outcome": "unverified", "webhookd.detail": "x", "client.ip": "10.9.0.2" }),
                "192.0.2.7 not certain to be blocked: x; asked by 10.9.0.2".into(),
            ),
            (
                Action::Unblocked,
                json!({ "user.effective.id": "0", "webhookd.peer.pid": 7, "webhookd.outcome": "lifted" }),
                "192.0.2.7 lifted by uid 0 (root), pid 7".into(),
            ),
            (
                Action::UnblockFailed,
                json!({ "event.reason": "its time has come" }),
                "192.0.2.7 could not be let in again: its time has come".into(),
            ),
            (
                Action::RequestRejected,
                json!({ "client.ip": "10.9.0.2", "webhookd.token": "kibana", "event.reason": "no JSON",
                    "http.response.status_code": 400, "webhookd.suppressed": 3 }),
                "webhook from 10.9.0.2 (kibana): 400, no JSON (3 more like it were left out)"
                    .into(),
            ),
            (
                Action::RequestsSuppressed,
                json!({ "webhookd.suppressed": 3, "webhookd.kind": "lines of libraries" }),
                "3 records were left out: lines of libraries".into(),
            ),
            (
                Action::Reloaded,
                json!({ "event.reason": "no file" }),
                "webhookd could not read its files again: no file".into(),
            ),
        ] {
            let mut fields = fields;
            fields["source.address"] = "192.0.2.7".into();
            assert_eq!(of(&record(action, fields)), expected);
        }
    }

    #[test]
    fn whatever_a_record_lacks_or_holds_is_one_line_that_steers_no_terminal() {
        let evil = "x\u{1b}[2J\n\u{9b}31m\u{202e}";
        let full = json!({
            "source.address": evil, "event.reason": evil, "client.ip": evil, "rule.name": evil,
            "user.effective.id": evil, "webhookd.refusal": evil, "webhookd.detail": evil,
            "webhookd.until": evil, "webhookd.verb": evil, "webhookd.token": evil,
            "webhookd.kind": evil, "webhookd.outcome": evil, "event.id": evil,
        });
        for action in Action::ALL {
            assert!(!of(&record(action, json!({}))).is_empty(), "{action:?}");
            let sentence = of(&record(action, full.clone()));
            assert!(!sentence.contains(char::is_control), "{sentence:?}");
            assert!(!sentence.contains('\u{202e}'), "{sentence:?}");
        }
    }
}
