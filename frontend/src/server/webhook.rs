//! `POST /blockip`: type, body, privd, answer.

use std::net::IpAddr;

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use protocol::{Block, EventId, Outcome, Target, Targets, Verdict};

use crate::privd_client::{PrivdClient, PrivdError};
use crate::server::answer::{self, Answered};
use crate::server::body::{Alert, Candidate};
use crate::server::intake;
use crate::server::journal::Journal;
use crate::server::routes::Service;

/// Answers an alert of somebody who was let in.
pub async fn post(
    request: &HttpRequest,
    payload: Payload,
    service: &Service,
    privd: &PrivdClient,
    (event, client): (EventId, IpAddr),
) -> HttpResponse {
    if request.method() != Method::POST {
        return answer::other_method(
            "POST",
            "the webhook takes POST; choose it as the connector's method (a redirect on the way turns POST into GET)",
        );
    }
    if header(request, &CONTENT_ENCODING)
        .is_some_and(|coding| !coding.eq_ignore_ascii_case("identity"))
    {
        return answer::error(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "compressed bodies are not accepted",
        );
    }
    if let Some(response) = wrong_type(header(request, &CONTENT_TYPE)) {
        return response;
    }
    let alert = match intake::read(payload, request.headers(), client, service).await {
        Ok(alert) => alert,
        Err(response) => return response,
    };
    match alert {
        Ok(alert) if alert.candidates.is_empty() => answer::recovered(),
        Ok(alert) => {
            let answered = block(alert, privd, (event, client), &service.journal).await;
            answered.iter().for_each(|one| service.metrics.decided(&one.outcome));
            answer::results(&answered)
        }
        Err(error) => answer::error(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

/// The answer to a body of another type than the one that is taken.
#[must_use]
pub fn wrong_type(content_type: Option<&str>) -> Option<HttpResponse> {
    let media = content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    let wrong = !media.trim().eq_ignore_ascii_case("application/json");
    wrong.then(|| {
        answer::error(
            StatusCode::BAD_REQUEST,
            "content-type must be application/json: add the header `Content-Type: application/json` to the connector",
        )
    })
}

async fn block(
    alert: Alert,
    privd: &PrivdClient,
    (event, client): (EventId, IpAddr),
    journal: &Journal,
) -> Vec<Answered> {
    let verdicts = match request(&alert, event, Some(client)) {
        None => Vec::new(),
        Some(request) => {
            let targets = request.targets.clone();
            match privd.block(request).await {
                Ok(verdicts) => verdicts,
                Err(error) => {
                    journal.unanswered(event, &error);
                    without_privd(&targets, &error)
                }
            }
        }
    };
    paired(alert.candidates, verdicts)
}

/// What webhook-privd is asked for an alert; nothing where not one of its texts is an address.
#[must_use]
pub fn request(alert: &Alert, event: EventId, requester: Option<IpAddr>) -> Option<Block> {
    let targets: Vec<Target> =
        alert.candidates.iter().filter_map(|candidate| candidate.target.clone().ok()).collect();
    Some(Block {
        event,
        requester,
        targets: Targets::try_from(targets).ok()?,
        term: alert.term,
        reason: alert.reason.clone(),
        rule_name: alert.rule_name.clone(),
        alert_id: alert.alert_id.clone(),
        adopt: false,
    })
}

/// Each address as it was written with its verdict; privd answers in the request's order.
#[must_use]
pub fn paired(candidates: Vec<Candidate>, verdicts: Vec<Verdict>) -> Vec<Answered> {
    let mut verdicts = verdicts.into_iter();
    let answered = candidates.into_iter().map(|candidate| {
        let (outcome, detail) = match &candidate.target {
            // The answer has its words.
            Err(_) => (Outcome::Invalid, String::new()),
            Ok(target) => match verdicts.next().filter(|verdict| verdict.target == *target) {
                Some(verdict) => (verdict.outcome, verdict.detail.to_string()),
                None => (Outcome::Failed, "webhook-privd gave no verdict".to_owned()),
            },
        };
        Answered { candidate, outcome, detail }
    });
    answered.collect()
}

fn without_privd(targets: &Targets, error: &PrivdError) -> Vec<Verdict> {
    let (outcome, words) = match error {
        PrivdError::Pending => (Outcome::Pending, ""),
        PrivdError::Busy => (Outcome::Unavailable, "too many alerts wait for the firewall already"),
        _ => (
            Outcome::Unavailable,
            "webhook-privd does not answer; see `systemctl status webhook-privd`",
        ),
    };
    let detail = protocol::Text::truncated(words);
    let verdict = |target: &Target| Verdict {
        target: *target,
        outcome: outcome.clone(),
        detail: detail.clone(),
    };
    targets.as_slice().iter().map(verdict).collect()
}

fn header<'a>(request: &'a HttpRequest, name: &HeaderName) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_web::body::to_bytes;
    use logging::Audit;
    use protocol::{Reply, Request, Term, Text};
    use serde_json::{Value, json};
    use slog::{Discard, Logger, o};

    use super::*;
    use crate::fake_privd::FakePrivd;

    /// What privd is asked for a body, and what is answered when it says `outcome` of it.
    async fn posted(body: &str, outcome: Outcome, detail: &str) -> (Block, u16, Value) {
        let alert = Alert::parse(body.as_bytes()).unwrap();
        let target = "203.0.113.45".parse().unwrap();
        let verdict = Verdict { target, outcome, detail: Text::truncated(detail) };
        let fake = FakePrivd::answering(Reply::Block(vec![verdict]));
        let privd = PrivdClient::new(&fake.socket(), Duration::ZERO);
        let client = IpAddr::from([10, 9, 0, 2]);
        let journal = Journal::new(Logger::root(Discard, o!()), Audit::default());
        let answered = block(alert, &privd, (EventId(7), client), &journal).await;
        let response = answer::results(&answered);
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body()).await.unwrap();
        let Request::Block(asked) = fake.asked() else { panic!("not a block") };
        (asked, status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn all_of_a_body_reaches_privd() {
        let body = json!({ "ip": "203.0.113.45", "duration": "90m", "reason": "by test",
            "rule_name": "SSH", "alert_id": "x-1" });
        let (asked, ..) = posted(&body.to_string(), Outcome::Failed, "").await;
        assert_eq!(asked.term, Term::seconds(5_400));
        assert_eq!(asked.requester, Some(IpAddr::from([10, 9, 0, 2])));
        assert_eq!(
            (&*asked.reason, &*asked.rule_name, &*asked.alert_id),
            ("by test", "SSH", "x-1")
        );
        let (asked, ..) = posted(r#"{"ip":"203.0.113.45"}"#, Outcome::Failed, "").await;
        assert_eq!(asked.term, None);
    }

    #[tokio::test]
    async fn privd_itself_may_say_that_the_work_goes_on_and_why() {
        let body = r#"{"ip":"203.0.113.45"}"#;
        let (_, status, answer) = posted(body, Outcome::Pending, "privd restarts").await;
        assert_eq!(status, 503);
        assert_eq!(answer["results"][0]["outcome"], "pending");
        let words = "Not yet blocked: 203.0.113.45; the work goes on (privd restarts)";
        assert_eq!((&answer["message"], &answer["error"]), (&json!(words), &json!(words)));
    }
}
