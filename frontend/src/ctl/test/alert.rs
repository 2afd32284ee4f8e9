//! The alert: what is posted, and what is to be made of the answer.

use std::io::ErrorKind;

use protocol::Target;
use rustls::CertificateError;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::ctl::check::Finding;
use crate::ctl::https::{Answer, Https, HttpsError, Method};
use crate::ctl::outside::{shown, shown_path};
use crate::ctl::test::Tried;
use crate::ctl::test::undo::{Posted, Undo};
use crate::ctl::test::webhook::Webhook;
use crate::server::admission::Reason;

/// An alert about an address that nobody has.
pub(super) struct Alert<'a> {
    pub(super) webhook: &'a Webhook,
    pub(super) secret: &'a str,
    pub(super) target: Target,
}

impl Alert<'_> {
    /// Posts it as Kibana does. The thread that waits for the answer is noted: the block may come
    /// after all when nobody waits for it any more.
    pub(super) async fn post(&self, undo: &mut Undo) -> Tried<()> {
        let failed = |error: HttpsError| self.unanswered(&error);
        let Webhook { url, at, ca, .. } = self.webhook;
        let https = Https::trusting(ca, at).map_err(failed)?;
        let (url, body) = (url.clone(), body(self.target).to_string());
        let authorization = format!("Bearer {}", self.secret);
        let (sender, receiver) = oneshot::channel();
        std::thread::spawn(move || {
            let headers = [("Authorization", &*authorization)];
            // Nobody waits: then nothing is to be told.
            let _ = sender.send(https.send(Method::POST, &url, &headers, Some(&body)));
        });
        undo.target = Some(self.target);
        let posted = undo.posted.insert(Posted(receiver));
        let gone = || Finding::problem("the thread that posts it has ended", "webhookctl test");
        let answer = (&mut posted.0).await.map_err(|_| gone())?;
        undo.posted = None;
        judge(&answer.map_err(failed)?)
    }

    fn unanswered(&self, error: &HttpsError) -> Finding {
        let Webhook { url, at, ca, .. } = self.webhook;
        let renew = "webhookctl init --renew\nsystemctl reload webhookd";
        let (url, ca) = (shown(url), shown_path(ca));
        let at = at.first().map_or_else(|| url.clone(), ToString::to_string);
        match error {
            HttpsError::Connection(source) if source.kind() == ErrorKind::ConnectionRefused => {
                Finding::problem(format!("nothing listens at {at}: connection refused"), UNITS)
            }
            HttpsError::Connection(source) => Finding::problem(
                format!("the connection to {at} failed: {}", shown(&source.to_string())),
                UNITS,
            ),
            HttpsError::Certificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => Finding::problem(
                format!("the certificate that is shown is not for the name in {url}"),
                "webhookctl init --renew --san NAME\nsystemctl reload webhookd",
            ),
            HttpsError::Certificate(wrong) => Finding::problem(
                format!(
                    "who trusts {ca} does not accept the certificate that is shown: {}",
                    shown(&wrong.to_string())
                ),
                renew,
            ),
            HttpsError::Authorities { .. } => {
                Finding::problem(error.to_string(), "webhookctl init --renew")
            }
            HttpsError::Url(_) | HttpsError::Host => {
                Finding::problem(shown(&error.to_string()), "the URL in --url")
            }
            HttpsError::Late(_) | HttpsError::Other(_) => {
                Finding::problem(shown(&error.to_string()), UNITS)
            }
        }
    }
}

/// As the template that `init` prints is rendered, with an end of its own.
fn body(target: Target) -> Value {
    json!({
        "ip": target.to_string(),
        "rule_name": RULE,
        "alert_id": RULE,
        "duration": "1m",
    })
}

fn judge(answer: &Answer) -> Tried<()> {
    let json: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let Some(message) = json.get("message").and_then(Value::as_str).map(shown) else {
        let what =
            format!("answered {}, and not by webhookd: no JSON with a message", answer.status);
        return Err(Finding::problem(what, UNITS));
    };
    let outcome = json.pointer("/results/0/outcome").and_then(Value::as_str);
    let said = format!("answered {}: {message}", answer.status);
    let mend = match (answer.status, outcome) {
        (200, Some("blocked" | "already-blocked")) => return Ok(((), said)),
        (200, Some("would-block")) => {
            let what = format!("{said}. Nothing is enforced: webhook-privd only observes");
            let mend =
                "enforce = true in /etc/webhookd/privd.toml\nsystemctl restart webhook-privd";
            return Err(Finding::problem(what, mend));
        }
        (401, _) if json.get("reason").is_some_and(|reason| reason == STRANGER) => {
            "this host's address into allow-clients of webhookd.toml\nsystemctl reload webhookd"
        }
        (401, _) => {
            "webhookctl token list\nwebhookctl token add NAME, and its token into the connector"
        }
        (404 | 405, _) => "a URL that ends in /blockip",
        (422, _) => "take it out of never-block or ufw's allow rules: nobody has this address",
        (429, _) => "wait a minute",
        _ => "what it says, or:\nwebhookctl status\njournalctl -u webhook-privd -n 20",
    };
    Err(Finding::problem(said, mend))
}

/// The published word for who is not in allow-clients.
const STRANGER: &str = Reason::Stranger.name();
/// What the log calls it.
const RULE: &str = "webhookctl test";
const UNITS: &str =
    "systemctl status webhookd.socket webhookd.service\njournalctl -u webhookd -n 20";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::kibana;
    use crate::ctl::simulate::Mode;

    #[test]
    fn the_body_has_all_that_kibana_is_told_to_send() {
        let ours = body("192.0.2.7".parse().unwrap());
        let kibanas: Value = serde_json::from_str(&kibana::body(Mode::Each)).unwrap();
        for key in kibanas.as_object().unwrap().keys() {
            assert!(ours[key].is_string(), "{key}");
        }
        assert_eq!((&ours["ip"], &ours["duration"]), (&json!("192.0.2.7"), &json!("1m")));
    }

    #[test]
    fn every_answer_is_judged_with_what_mends_it() {
        let results =
            |outcome: &str| json!({ "message": "m", "results": [{ "outcome": outcome }] });
        for (status, body, words) in [
            (200, results("would-block"), "enforce = true"),
            (401, json!({ "message": "m", "reason": "source not in allowlist" }), "allow-clients"),
            (401, json!({ "message": "m", "reason": "bad token" }), "token list"),
            (404, json!({ "message": "m" }), "/blockip"),
            (422, results("refused"), "never-block"),
            (429, results("over-quota"), "wait"),
            (503, results("unavailable"), "webhookctl status"),
            (500, results("failed"), "webhookctl status"),
            (200, json!({}), "systemctl status webhookd"),
            (200, json!({ "message": "m", "results": [] }), "webhookctl status"),
        ] {
            let answer = Answer { status, location: None, body: body.to_string() };
            let finding = judge(&answer).unwrap_err();
            assert!(finding.mend.as_ref().unwrap().contains(words), "{finding:?}");
        }
        for outcome in ["blocked", "already-blocked"] {
            let answer = Answer { status: 200, location: None, body: results(outcome).to_string() };
            assert!(judge(&answer).is_ok(), "{outcome}");
        }
    }
}
