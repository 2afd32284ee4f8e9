//! What would become of a body: the server's own code up to webhook-privd, which is asked what it
//! would say.

use std::net::IpAddr;

use actix_web::HttpResponse;
use actix_web::body::to_bytes;
use actix_web::http::StatusCode;
use protocol::{Outcome, Verdict};
use serde::Serialize;
use serde_json::Value;

use crate::privd_client::{PrivdClient, PrivdError, new_event};
use crate::server::answer::{self, Answered};
use crate::server::body::{Alert, Candidate};
use crate::server::{intake, webhook};
use crate::times;

/// What of a request is not its body.
pub(super) struct Posted<'a> {
    /// As the connector sets it.
    pub(super) content_type: &'a str,
    /// Kibana's address.
    pub(super) requester: Option<IpAddr>,
    /// Bytes of a body at most.
    pub(super) max_body: usize,
}

/// What Kibana would be answered to one body, or what there is to say without webhook-privd.
#[derive(Serialize)]
pub(super) struct Foretold {
    /// What arrives.
    pub(super) body: String,
    /// The answer's status; none where policy could not be asked.
    pub(super) status: Option<u16>,
    /// The answer's body.
    pub(super) answer: Option<Value>,
    /// What the body names, as it is written there.
    pub(super) names: Vec<String>,
    /// Why policy could not be asked.
    #[serde(serialize_with = "in_words")]
    pub(super) unasked: Option<PrivdError>,
    /// An address and what would become of it, each.
    #[serde(skip)]
    pub(super) lines: Vec<String>,
    /// Whether something would be blocked or is.
    #[serde(skip)]
    pub(super) in_force: bool,
}

/// Asks everybody that a request with this body would pass.
pub(super) async fn foretell(body: String, posted: &Posted<'_>, privd: &PrivdClient) -> Foretold {
    let mut foretold = Foretold::of(body);
    let response = match foretold.pass(posted, privd).await {
        Ok(response) => response,
        Err(why) => {
            foretold.unasked = Some(why);
            return foretold;
        }
    };
    foretold.status = Some(response.status().as_u16());
    let bytes = to_bytes(response.into_body()).await.ok();
    foretold.answer = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    foretold
}

impl Foretold {
    fn of(body: String) -> Self {
        Self {
            body,
            status: None,
            answer: None,
            names: Vec::new(),
            unasked: None,
            lines: Vec::new(),
            in_force: false,
        }
    }

    /// The server's way of a request.
    async fn pass(
        &mut self,
        posted: &Posted<'_>,
        privd: &PrivdClient,
    ) -> Result<HttpResponse, PrivdError> {
        if let Some(response) = webhook::wrong_type(Some(posted.content_type)) {
            return Ok(response);
        }
        if self.body.len() > posted.max_body {
            return Ok(intake::too_large(posted.max_body));
        }
        let alert = match Alert::parse(self.body.as_bytes()) {
            Err(error) => return Ok(answer::error(StatusCode::BAD_REQUEST, &error.to_string())),
            Ok(alert) if alert.candidates.is_empty() => return Ok(answer::recovered()),
            Ok(alert) => alert,
        };
        self.names = alert.candidates.iter().map(|one| one.text.clone()).collect();
        let answered = answered(alert, posted, privd).await?;
        self.lines = answered.iter().map(line).collect();
        self.in_force = answered.iter().any(|one| one.outcome.enforced().is_some());
        Ok(answer::results(&answered))
    }

    /// The sentence that Kibana shows.
    pub(super) fn message(&self) -> &str {
        let message = self.answer.as_ref().and_then(|answer| answer.get("message"));
        message.and_then(Value::as_str).unwrap_or_default()
    }
}

async fn answered(
    alert: Alert,
    posted: &Posted<'_>,
    privd: &PrivdClient,
) -> Result<Vec<Answered>, PrivdError> {
    let verdicts = match webhook::request(&alert, new_event(), posted.requester) {
        None => Vec::new(),
        Some(request) => {
            let verdicts = privd.judge(request).await?;
            let enforce = privd.status().await?.enforce;
            verdicts.into_iter().map(|verdict| done(verdict, enforce)).collect()
        }
    };
    Ok(webhook::paired(alert.candidates, verdicts))
}

/// The verdict when it is meant: where blocks are put in force, what would be blocked is.
fn done(verdict: Verdict, enforce: bool) -> Verdict {
    match verdict.outcome {
        Outcome::WouldBlock(enforced) if enforce => {
            Verdict { outcome: Outcome::Blocked(enforced), ..verdict }
        }
        _ => verdict,
    }
}

/// Nothing has happened yet: what would is not told as if it had.
fn line(one: &Answered) -> String {
    let Candidate { text, .. } = &one.candidate;
    let text = protocol::Untrusted(text);
    match &one.outcome {
        Outcome::Blocked(enforced) => {
            let around = match enforced.target.to_string() {
                target if target == one.candidate.text => String::new(),
                target => format!(" as {target}"),
            };
            format!("{text}  would be blocked{around}, {}", end(enforced.until))
        }
        Outcome::AlreadyBlocked(enforced) => {
            format!("{text}  is blocked already, {}", end(enforced.until))
        }
        Outcome::WouldBlock(_) => {
            format!("{text}  would be blocked but for observe mode (enforce = false)")
        }
        _ => answer::sentence(one),
    }
}

fn end(until: protocol::Until) -> String {
    match until {
        protocol::Until::Permanent => "for good".to_owned(),
        protocol::Until::At(_) => times::until(until, times::now()),
    }
}

fn in_words<S: serde::Serializer>(
    why: &Option<PrivdError>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    why.as_ref().map(ToString::to_string).serialize(serializer)
}
