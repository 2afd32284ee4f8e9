//! Who asked for what over HTTPS, and how it was answered: a line and a document each. A caller can
//! cause only so many of those that changed nothing.

use std::fmt::Display;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::RequestHead;
use actix_web::http::header::USER_AGENT;
use actix_web::{HttpRequest, HttpResponse};
use logging::{Action, Audit, Document, Level, Limiter, Suppressed, field};
use protocol::{EventId, Untrusted};
use slog::{Logger, info, warn};

use crate::privd_client::new_event;
use crate::server::admission::{Caller, Reason};
use crate::server::answer::Told;

/// Where both go.
#[derive(Debug)]
pub struct Journal {
    /// The lines.
    pub log: Logger,
    audit: Audit,
    unchanged: Limiter,
    rejected: Limiter,
    unanswered: Limiter,
    strangers: Limiter,
    without_token: Limiter,
    wrong_token: Limiter,
    refused: Limiter,
    libraries: Limiter,
}

impl Journal {
    /// A journal in which nothing was left out yet.
    #[must_use]
    pub const fn new(log: Logger, audit: Audit) -> Self {
        Self {
            log,
            audit,
            unchanged: Limiter::often("requests that changed nothing"),
            rejected: Limiter::often("requests that were none"),
            unanswered: Limiter::often("requests without a verdict"),
            strangers: seldom("requests from outside allow-clients"),
            without_token: seldom("requests without a token"),
            wrong_token: seldom("requests with a wrong token"),
            refused: seldom("connections refused"),
            libraries: seldom("lines of libraries"),
        }
    }

    /// The audit log: to be opened anew, and for who counts what it lost.
    #[must_use]
    pub const fn audit(&self) -> &Audit {
        &self.audit
    }

    /// A request of somebody who was let in.
    pub fn answered(
        &self,
        event: EventId,
        caller: &Caller,
        request: &HttpRequest,
        response: &HttpResponse,
    ) {
        let (told, status) = (response.extensions(), response.status());
        let nothing = Told::default();
        let told = told.get::<Told>().unwrap_or(&nothing);
        let accepted = status.is_success() || !told.outcomes.is_empty();
        let admitted = if told.outcomes.contains(&CHANGED) {
            // The quota of webhook-privd bounds these.
            Some(Suppressed(0))
        } else {
            let limiter = if accepted { &self.unchanged } else { &self.rejected };
            limiter.admit(Instant::now())
        };
        let Some(suppressed) = admitted else { return };
        info!(self.log, "webhook"; "status" => status.as_u16(),
            "token" => %Untrusted(&caller.name), "client" => %caller.address,
            "way" => caller.way.name(), "path" => %Untrusted(request.path()), "event" => %event,
            suppressed);
        let action = if accepted { Action::RequestAccepted } else { Action::RequestRejected };
        let outcome = match status.as_u16() {
            200..300 => "success",
            // Kibana asks again, and the work may go on.
            503 => "unknown",
            _ => "failure",
        };
        let outcomes: Vec<String> = told.outcomes.iter().map(|word| (*word).to_owned()).collect();
        let addresses = i64::try_from(told.addresses).unwrap_or(i64::MAX);
        let message = format!("a request was answered {}", status.as_u16());
        let document =
            asked(Level::Info, action, &message, event, Some(caller.address), request.head())
                .outcome(outcome)
                .text(field::REASON, &told.message)
                // The query is left out: a token that is none of its business may stand there.
                .text("url.path", request.path())
                .number(field::STATUS, status.as_u16())
                .text(field::TOKEN, &caller.name)
                .text("webhookd.way", caller.way.name())
                .list(field::OUTCOME, &outcomes)
                .number(field::ADDRESSES, addresses)
                .suppressed(suppressed);
        self.audit.record(document);
    }

    /// Somebody who was not let in. The path is not told: the token may stand there by mistake.
    pub fn turned_away(
        &self,
        client: Option<IpAddr>,
        head: &RequestHead,
        status: u16,
        reason: Reason,
    ) {
        let limiter = match reason {
            Reason::Stranger => &self.strangers,
            Reason::NoToken => &self.without_token,
            Reason::WrongToken | Reason::TooManyFailed => &self.wrong_token,
        };
        let Some(suppressed) = limiter.admit(Instant::now()) else { return };
        let event = new_event();
        let address = client.map_or_else(|| "-".to_owned(), |client| client.to_string());
        warn!(self.log, "unauthorized"; "reason" => reason.name(), "client" => address, "event" => %event,
            suppressed);
        let message = "a request was not let in";
        let document = asked(Level::Warn, Action::AuthFailed, message, event, client, head)
            .text(field::REASON, reason.name())
            .number(field::STATUS, status)
            .suppressed(suppressed);
        self.audit.record(document);
    }

    /// A request that webhook-privd gave no verdict on.
    pub fn unanswered(&self, event: EventId, why: &impl Display) {
        if let Some(suppressed) = self.unanswered.admit(Instant::now()) {
            warn!(self.log, "privd gave no verdict"; "why" => %why, "event" => %event, suppressed);
        }
    }

    /// A connection that was closed before anything was read.
    pub fn refused(&self, client: IpAddr, why: &str) {
        let Some(suppressed) = self.refused.admit(Instant::now()) else { return };
        warn!(self.log, "connection refused"; "why" => %Untrusted(why), "client" => %client, suppressed);
        let message = "a connection was refused";
        let document = Document::new(Level::Warn, Action::ConnectionRefused, message)
            .about("", None, Some(client))
            .text(field::REASON, why)
            .suppressed(suppressed);
        self.audit.record(document);
    }

    /// What a library has to say; its texts quote what clients sent.
    pub fn library(&self, from: &str, text: &str) {
        if let Some(suppressed) = self.libraries.admit(Instant::now()) {
            warn!(self.log, "library"; "from" => from, "says" => %Untrusted(text), suppressed);
        }
    }

    /// webhookd itself: that it serves, ended, or read its files again, and what is wrong with them.
    pub fn itself(&self, action: Action, message: &str, wrong: Option<&dyn Display>) {
        let document = Document::new(Level::Info, action, message);
        self.audit.record(match wrong {
            Some(wrong) => document.outcome("failure").text(field::REASON, &wrong.to_string()),
            None => document,
        });
    }

    /// Tells of what was left out for a minute, or, where `now` is None, at all: webhookd ends.
    pub fn settle(&self, now: Option<Instant>) {
        for kind in [
            &self.unchanged,
            &self.rejected,
            &self.unanswered,
            &self.strangers,
            &self.without_token,
            &self.wrong_token,
            &self.refused,
            &self.libraries,
        ] {
            kind.settle(now, Action::RequestsSuppressed, &self.log, &self.audit);
        }
    }
}

/// Tells of what kinds of lines that fell silent have left out, as long as webhookd serves.
pub async fn settle(journal: Arc<Journal>) {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        let now = ticks.tick().await;
        journal.settle(Some(now.into_std()));
    }
}

/// What a request says of itself, by whomever it is.
fn asked(
    level: Level,
    action: Action,
    message: &str,
    event: EventId,
    client: Option<IpAddr>,
    head: &RequestHead,
) -> Document {
    let agent = head.headers().get(USER_AGENT).map(|agent| agent.as_bytes());
    Document::new(level, action, message)
        .about("", None, client)
        .text(field::EVENT, &event.to_string())
        .text("http.request.method", head.method.as_str())
        .text("user_agent.original", &String::from_utf8_lossy(agent.unwrap_or_default()))
}

/// For what only somebody who is not let in, or a library, says.
const fn seldom(kind: &'static str) -> Limiter {
    Limiter::new(kind, 20, Duration::from_secs(20))
}

/// The outcome of a request that changed the firewall.
const CHANGED: &str = "blocked";
/// Between two looks at what was left out.
const TICK: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::path::Path;

    use actix_web::test::TestRequest;
    use logging::Origin;
    use serde_json::Value;
    use slog::{Discard, o};

    use super::*;
    use crate::server::answer;
    use crate::server::auth::Way;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 9, 0, 2));

    /// The documents that a journal writes while it is used.
    fn written(work: impl FnOnce(&Journal)) -> Vec<Value> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.ndjson");
        let log = Logger::root(Discard, o!());
        let origin = Origin { program: "webhookd", version: "1", firewall: None };
        work(&Journal::new(log.clone(), Audit::open(Some(&path), origin, &log).unwrap()));
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        read(&path).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn reasons(documents: &[Value]) -> Vec<&str> {
        documents.iter().filter_map(|document| document["event.reason"].as_str()).collect()
    }

    #[test]
    fn a_flood_of_one_401_hides_no_other() {
        let request = TestRequest::default().to_http_request();
        let documents = written(|journal| {
            let turn_away = |reason| journal.turned_away(Some(CLIENT), request.head(), 401, reason);
            (0..500).for_each(|_| turn_away(Reason::WrongToken));
            turn_away(Reason::NoToken);
            turn_away(Reason::Stranger);
            (0..500).for_each(|_| journal.refused(CLIENT, "too many connections"));
            journal.settle(None);
        });
        let mut told = reasons(&documents);
        told.dedup();
        let kinds =
            ["bad token", "missing bearer", "source not in allowlist", "too many connections"];
        assert_eq!(told, kinds);
        let rest = documents.iter().rev().take(2).map(|one| &one["webhookd.suppressed"]);
        assert_eq!(rest.collect::<Vec<_>>(), [480, 480]);
        assert_eq!(documents.len(), 20 + 1 + 1 + 20 + 2);
    }

    #[test]
    fn a_refused_connection_is_told_with_where_it_came_from() {
        let documents = written(|journal| journal.refused(CLIENT, "too many connections"));
        let [document] = &documents[..] else { panic!("{documents:?}") };
        assert_eq!(document["event.action"], "webhook-connection-refused");
        assert_eq!(document["client.ip"], "10.9.0.2");
        assert_eq!(document.get("event.id"), None);
    }

    #[test]
    fn neither_path_nor_credential_of_somebody_unknown_is_told() {
        let secret = "0123456789abcdef0123456789abcdef";
        let request = TestRequest::with_uri(&format!("/{secret}?token={secret}"));
        let request = request.insert_header(("Authorization", format!("Bearer {secret}")));
        let request = request.to_http_request();
        let documents = written(|journal| {
            journal.turned_away(Some(CLIENT), request.head(), 401, Reason::WrongToken);
            let caller = Caller { address: CLIENT, name: "kibana".to_owned(), way: Way::Bearer };
            let known = TestRequest::with_uri(&format!("/blockip?token={secret}"));
            let response = answer::error(actix_web::http::StatusCode::BAD_REQUEST, "no alert");
            journal.answered(EventId(1), &caller, &known.to_http_request(), &response);
        });
        assert_eq!(reasons(&documents), ["bad token", "no alert"]);
        assert_eq!(documents[1]["url.path"], "/blockip");
        assert!(documents.iter().all(|document| !document.to_string().contains(secret)));
    }
}
