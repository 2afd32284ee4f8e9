//! The addresses that people are logged in from by SSH: an alert must not shut them out.

use protocol::Target;

use crate::ctl::check::finding::{Finding, Findings, Unmade};
use crate::ctl::explained;
use crate::ctl::sessions::Sessions;
use crate::privd_client::PrivdClient;

pub(super) async fn addresses(privd: &PrivdClient) -> Findings {
    let sessions = Sessions::now().map_err(|error| Unmade::Because(error.to_string()))?;
    let mut findings = Vec::new();
    for address in sessions.peers {
        let shown = privd.show(Target::host(address)).await;
        let shown = shown.map_err(|error| Unmade::Because(explained(&error)))?;
        let yours = sessions.own == Some(address);
        let who = if yours { "you are" } else { "somebody is" };
        findings.push(match shown.verdict.outcome.refusal() {
            Some(refusal) => Finding::ok(format!("{address} is {}", refusal.explanation())),
            None => {
                let what =
                    format!("{address}, from which {who} logged in, could be blocked by an alert");
                if yours {
                    Finding::problem(what, format!("webhookctl never-block add {address}"))
                } else {
                    Finding::note(what)
                }
            }
        });
    }
    if findings.is_empty() {
        findings.push(Finding::ok("nobody is logged in by SSH"));
    }
    Ok(findings)
}
