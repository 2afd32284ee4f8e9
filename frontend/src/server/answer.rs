//! The answers: status, and a JSON object that Kibana and the guide's callers understand.
//!
//! Kibana shows only the string `message` of an error, so every answer has one.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, ContentType, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use protocol::{Outcome, Untrusted};
use serde::Serialize;

use crate::server::body::Candidate;
use crate::times::until_rfc3339;

/// One address of the request and what became of it.
#[derive(Debug)]
pub struct Answered {
    /// As it was written.
    pub candidate: Candidate,
    /// What became of it.
    pub outcome: Outcome,
    /// privd's further words.
    pub detail: String,
}

/// What the journal tells of an answer: it travels with it.
#[derive(Debug, Default)]
pub struct Told {
    /// The `message`.
    pub message: String,
    /// The outcomes among its addresses, each once.
    pub outcomes: Vec<&'static str>,
    /// How many addresses it speaks of.
    pub addresses: usize,
}

/// Answers a request whose body was understood.
#[must_use]
pub fn results(answered: &[Answered]) -> HttpResponse {
    let status = status(answered.iter().map(|one| &one.outcome));
    let message = message(answered, status);
    let mut outcomes: Vec<_> = answered.iter().map(|one| one.outcome.name()).collect();
    outcomes.sort_unstable();
    outcomes.dedup();
    let told = Told { message: message.clone(), outcomes, addresses: answered.len() };
    let mut response = HttpResponse::build(status);
    response.extensions_mut().insert(told);
    if status == StatusCode::TOO_MANY_REQUESTS {
        response.insert_header((RETRY_AFTER, retry_after(answered)));
    }
    let mut text = String::new();
    for detail in [Detail::Full, Detail::Brief, Detail::Spare] {
        let body = Body::of(answered, status, &message, detail);
        // These types always have a text.
        text = serde_json::to_string(&body).unwrap_or_default();
        if text.len() <= ANSWER_BYTES {
            break;
        }
    }
    response.content_type(ContentType::json()).body(text)
}

/// The sentence for Kibana: where outcomes differ, how many of each, and first those that decided the
/// status.
fn message(answered: &[Answered], status: StatusCode) -> String {
    let decided = |one: &&Answered| match status {
        StatusCode::MULTI_STATUS => one.outcome.enforced().is_none(),
        _ => self::status(std::iter::once(&one.outcome)) == status,
    };
    let (first, then): (Vec<&Answered>, Vec<&Answered>) = answered.iter().partition(decided);
    let sentences = first.iter().chain(&then).map(|one| sentence(one));
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for one in answered {
        let count = counts.entry(one.outcome.name()).or_default();
        *count = count.saturating_add(1);
    }
    if counts.len() < 2 {
        return joined(sentences, MESSAGE_BYTES);
    }
    let counts = counts.iter().map(|(name, count)| format!("{count} {name}"));
    let counts = counts.collect::<Vec<_>>().join(", ");
    let sentences = joined(sentences, MESSAGE_BYTES.saturating_sub(counts.len()));
    format!("{counts}: {sentences}")
}

/// As many of them as there is room for.
fn joined(sentences: impl Iterator<Item = String>, bytes: usize) -> String {
    let mut text = String::new();
    for sentence in sentences {
        if text.len() > bytes {
            break;
        }
        let separator = if text.is_empty() { "" } else { "; " };
        text.push_str(separator);
        text.push_str(&sentence);
    }
    shortened(&text, bytes)
}

/// How much an answer tells of each address: Kibana takes one over 1 MB for a failure, and repeats.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Detail {
    Full,
    /// No sentences of their own.
    Brief,
    /// What became of it, and no more.
    Spare,
}

/// Answers a notification that alerts have recovered: nothing is to be mended, and Kibana would
/// repeat whatever is not 2xx.
#[must_use]
pub fn recovered() -> HttpResponse {
    let message = "Nothing to block: a notification that alerts have recovered blocks nobody";
    let body = Body {
        status: "ok",
        message: message.to_owned(),
        output: Some(message.to_owned()),
        results: Some(Vec::new()),
        ..Body::default()
    };
    HttpResponse::build(StatusCode::OK).json(body)
}

/// Answers a request that was turned away, with the sentence that says what to mend.
#[must_use]
pub fn error(status: StatusCode, message: &str) -> HttpResponse {
    let body = Body {
        status: "error",
        message: shortened(message, MESSAGE_BYTES),
        error: Some(shortened(message, MESSAGE_BYTES)),
        ..Body::default()
    };
    let told = Told { message: body.message.clone(), ..Told::default() };
    let mut response = HttpResponse::build(status);
    response.extensions_mut().insert(told);
    response.json(body)
}

/// Answers a request of another method than those that there are.
#[must_use]
pub fn other_method(allowed: &'static str, message: &str) -> HttpResponse {
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, message);
    // RFC 9110 15.5.6.
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// Answers a caller that is not let in: the guide's words, and a sentence for Kibana.
#[must_use]
pub fn unauthorized(reason: &str, message: &str) -> HttpResponse {
    // RFC 9110 15.5.2.
    let ways = (WWW_AUTHENTICATE, r#"Bearer realm="webhookd", Basic realm="webhookd""#);
    let body = Rejected { status: "error", message, error: "unauthorized", reason };
    HttpResponse::build(StatusCode::UNAUTHORIZED).insert_header(ways).json(body)
}

/// Answers a caller that has failed too often to be judged now.
#[must_use]
pub fn slowed_down(reason: &str, message: &str, seconds: u32) -> HttpResponse {
    let body = Rejected { status: "error", message, error: message, reason };
    let mut response = HttpResponse::build(StatusCode::TOO_MANY_REQUESTS);
    response.insert_header((RETRY_AFTER, seconds)).json(body)
}

/// Of [`Body`] what whoever is not let in gets to read.
#[derive(Serialize)]
struct Rejected<'a> {
    status: &'static str,
    message: &'a str,
    error: &'a str,
    reason: &'a str,
}

/// Says that something is well.
#[must_use]
pub fn fine(message: &str) -> HttpResponse {
    let body = Body { status: "ok", message: message.to_owned(), ..Body::default() };
    HttpResponse::build(StatusCode::OK).json(body)
}

#[derive(Debug, Default, Serialize)]
struct Body {
    status: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<Vec<ResultBody>>,
}

impl Body {
    fn of(answered: &[Answered], status: StatusCode, message: &str, detail: Detail) -> Self {
        let in_force = status.is_success();
        let output = joined(
            answered.iter().map(sentence),
            if detail == Detail::Full { ANSWER_BYTES } else { MESSAGE_BYTES },
        );
        Self {
            status: if in_force { "ok" } else { "error" },
            ip: answered.first().map(|one| Untrusted(&one.candidate.text).to_string()),
            message: message.to_owned(),
            error: (!in_force).then(|| message.to_owned()),
            output: Some(output),
            results: Some(answered.iter().map(|one| ResultBody::new(one, detail)).collect()),
            // The guide's script ended with status 2 when ufw had failed.
            code: (status == StatusCode::INTERNAL_SERVER_ERROR).then_some(2),
        }
    }
}

#[derive(Debug, Serialize)]
struct ResultBody {
    ip: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enforced_as: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

impl ResultBody {
    fn new(one: &Answered, detail: Detail) -> Self {
        let enforced = one.outcome.enforced().filter(|_| detail != Detail::Spare);
        let ip = Untrusted(&one.candidate.text).to_string();
        Self {
            ip: if detail == Detail::Spare { shortened(&ip, ADDRESS_BYTES) } else { ip },
            outcome: one.outcome.name(),
            reason: match &one.outcome {
                Outcome::Refused(refusal) => Some(refusal.name()),
                _ => None,
            },
            message: (detail == Detail::Full).then(|| sentence(one)),
            enforced_as: enforced.map(|enforced| enforced.target.to_string()),
            until: enforced.map(|enforced| until_rfc3339(enforced.until)),
        }
    }
}

/// The status of a whole answer: what may pass by itself first, because Kibana repeats it and
/// repeats are free; then whatever is in force; then what a human must mend.
fn status<'a>(outcomes: impl Iterator<Item = &'a Outcome> + Clone) -> StatusCode {
    let any = |test: fn(&Outcome) -> bool| outcomes.clone().any(test);
    let in_force = |outcome: &Outcome| outcome.enforced().is_some();
    if any(|outcome| matches!(outcome, Outcome::Pending | Outcome::Unavailable)) {
        StatusCode::SERVICE_UNAVAILABLE
    } else if any(|outcome| matches!(outcome, Outcome::Failed | Outcome::Unverified)) {
        StatusCode::INTERNAL_SERVER_ERROR
    } else if any(|outcome| matches!(outcome, Outcome::OverQuota { .. })) {
        StatusCode::TOO_MANY_REQUESTS
    } else if outcomes.clone().all(in_force) {
        StatusCode::OK
    } else if any(in_force) {
        StatusCode::MULTI_STATUS
    } else if any(|outcome| matches!(outcome, Outcome::Refused(_))) {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::BAD_REQUEST
    }
}

/// The sentence about one address; the first two are the guide's.
#[must_use]
pub fn sentence(one: &Answered) -> String {
    let ip = Untrusted(&one.candidate.text);
    let detail = Untrusted(&one.detail);
    let more = |sentence: String| {
        if one.detail.is_empty() { sentence } else { format!("{sentence} ({detail})") }
    };
    match &one.outcome {
        Outcome::Blocked(_) => more(format!("Blocked IP: {ip}")),
        Outcome::AlreadyBlocked(_) => more(format!("IP already blocked: {ip}")),
        Outcome::WouldBlock(_) => more(format!("Would block IP (observe mode): {ip}")),
        Outcome::Invalid => match &one.candidate.target {
            Err(mistake) => format!("Invalid IP: {ip} {mistake}"),
            Ok(_) => format!("Invalid IP: {ip} {detail}"),
        },
        Outcome::Refused(refusal) => {
            more(format!("Refused to block {ip}: it is {}", refusal.explanation()))
        }
        Outcome::OverQuota { retry_after_seconds } => more(format!(
            "Too many new blocks a minute, not yet blocked: {ip}; again in {retry_after_seconds} s"
        )),
        Outcome::Failed => format!("Failed to block IP {ip}: {detail}"),
        Outcome::Unverified => format!("Not certain that {ip} is blocked: {detail}"),
        Outcome::Pending => more(format!("Not yet blocked: {ip}; the work goes on")),
        Outcome::Unavailable => format!("Cannot block {ip} now: {detail}"),
    }
}

fn retry_after(answered: &[Answered]) -> u32 {
    let seconds = answered.iter().filter_map(|one| match one.outcome {
        Outcome::OverQuota { retry_after_seconds } => Some(retry_after_seconds),
        _ => None,
    });
    seconds.max().unwrap_or(1)
}

fn shortened(text: &str, bytes: usize) -> String {
    let end = text.floor_char_boundary(bytes);
    match text.split_at_checked(end) {
        Some((_, "")) | None => text.to_owned(),
        Some((start, _)) => format!("{start}..."),
    }
}

/// Bytes of a `message` at most, which Kibana shows as it is.
const MESSAGE_BYTES: usize = 1000;
/// Room for any address or network; of what is none, its beginning.
const ADDRESS_BYTES: usize = 45;
/// Kibana reads 1 MiB of an answer (`xpack.actions.maxResponseContentLength`).
const ANSWER_BYTES: usize = 1_000_000;

#[cfg(test)]
mod tests {
    use protocol::{Enforced, Refusal, Target, Until};

    use super::*;

    fn blocked() -> Outcome {
        let target: Target = "198.51.100.7".parse().unwrap();
        Outcome::Blocked(Enforced { target, until: Until::Permanent })
    }

    #[test]
    fn the_worst_that_may_pass_decides_then_what_is_in_force() {
        let refused = Outcome::Refused(Refusal::Gateway);
        let quota = Outcome::OverQuota { retry_after_seconds: 9 };
        for (outcomes, expected) in [
            (vec![blocked()], 200),
            (vec![blocked(), refused.clone()], 207),
            (vec![blocked(), Outcome::Invalid], 207),
            (vec![refused.clone(), Outcome::Invalid], 422),
            (vec![Outcome::Invalid], 400),
            (vec![blocked(), Outcome::Failed, quota.clone()], 500),
            (vec![blocked(), Outcome::Unverified], 500),
            (vec![blocked(), quota, refused.clone()], 429),
            (vec![Outcome::Failed, Outcome::Unavailable], 503),
            (vec![Outcome::Pending, blocked()], 503),
        ] {
            assert_eq!(status(outcomes.iter()).as_u16(), expected, "{outcomes:?}");
        }
    }

    fn one(outcome: Outcome, detail: &str) -> Answered {
        let text = "198.51.100.7";
        let candidate = Candidate { text: text.to_owned(), target: Ok(text.parse().unwrap()) };
        Answered { candidate, outcome, detail: detail.to_owned() }
    }

    #[test]
    fn over_quota_says_in_whole_seconds_when_there_is_room_for_all() {
        let quota = |retry_after_seconds| Outcome::OverQuota { retry_after_seconds };
        let response = results(&[one(quota(7), ""), one(blocked(), ""), one(quota(31), "")]);
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers().get(RETRY_AFTER).unwrap(), "31");
        // Another reason comes first, and nobody knows when that one passes.
        let response = results(&[one(quota(7), ""), one(Outcome::Pending, "")]);
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers().get(RETRY_AFTER), None);
    }

    #[test]
    fn no_text_in_place_of_addresses_makes_the_answer_a_flood() {
        let none = |number: usize| Answered {
            candidate: Candidate {
                text: format!("{number}{}", "\u{7f}".repeat(1_000)),
                target: Err(crate::server::body::AddressError::Unknown),
            },
            outcome: Outcome::Invalid,
            detail: String::new(),
        };
        let answered: Vec<Answered> = (0..10_000).map(none).collect();
        let status = status(answered.iter().map(|one| &one.outcome));
        let body = Body::of(&answered, status, "x", Detail::Spare);
        let bytes = serde_json::to_string(&body).unwrap().len();
        assert!(bytes < 1_200_000, "{bytes} bytes");
    }

    #[test]
    fn an_address_that_is_none_is_told_the_template_that_works() {
        let text = "203.0.113.7\u{1b}";
        let target = Err(crate::server::body::AddressError::Unknown);
        let candidate = Candidate { text: text.to_owned(), target };
        let sentence =
            sentence(&Answered { candidate, outcome: Outcome::Invalid, detail: String::new() });
        let start = r"Invalid IP: 203.0.113.7\u{1b} not an IP address or network; ";
        assert!(sentence.starts_with(start), "{sentence}");
        assert!(sentence.ends_with("{\"ip\":\"{{context.alerts.0.source.ip}}\"}"), "{sentence}");
    }

    #[test]
    fn what_privd_adds_is_part_of_the_sentence_whatever_the_outcome() {
        let enforced = blocked().enforced().unwrap();
        for outcome in [
            Outcome::Blocked(enforced),
            Outcome::AlreadyBlocked(enforced),
            Outcome::WouldBlock(enforced),
            Outcome::Invalid,
            Outcome::Refused(Refusal::Gateway),
            Outcome::OverQuota { retry_after_seconds: 9 },
            Outcome::Failed,
            Outcome::Unverified,
            Outcome::Pending,
            Outcome::Unavailable,
        ] {
            let sentence = sentence(&one(outcome, "max-blocks \u{1b}"));
            assert!(sentence.contains(r"max-blocks \u{1b}"), "{sentence}");
        }
        let plain = sentence(&one(Outcome::Pending, ""));
        assert_eq!(plain, "Not yet blocked: 198.51.100.7; the work goes on");
    }
}
