//! A block of an address that nobody has (RFC 5737), made, read back and lifted.

use std::time::Instant;

use protocol::{Block, LiftOutcome, Outcome, Target, Targets, Term, Text, Unblock, Verdict, Which};

use crate::ctl::check::finding::{Finding, Findings, Unmade};
use crate::ctl::check::host::Host;
use crate::ctl::outside::shown;
use crate::ctl::{explained, trial};
use crate::privd_client::{PrivdClient, PrivdError, new_event};

pub(super) async fn block(host: &Host, privd: &PrivdClient, left_out: bool) -> Findings {
    if left_out {
        return Ok(vec![Finding::note("left out (--no-trial)")]);
    }
    // Where nobody answers there is nothing to wait for.
    host.status()?;
    let because = |error: PrivdError| Unmade::Because(explained(&error));
    // Somebody's own block of it would be lifted with ours.
    let Some(target) = trial::free_address(privd).await.map_err(because)? else {
        return Ok(vec![Finding::problem(
            "every address that nobody has is blocked",
            "webhookctl list",
        )]);
    };
    let begin = Instant::now();
    let verdicts = privd.block(request(target)?).await;
    let took = begin.elapsed().as_millis();
    let lifting = Instant::now();
    // Whatever came of it, there may be rules. If we do not come to this, the term ends them.
    let unblock =
        Unblock { event: new_event(), which: Which::Targets(targets(target)?), immune_for: 0 };
    let lifts = privd.unblock(unblock).await;
    let back = lifting.elapsed().as_millis();
    let verdicts = verdicts.map_err(because)?;
    let Some(verdict) = verdicts.first() else {
        return Err(Unmade::Because("webhook-privd answered nothing".into()));
    };
    let mut findings = vec![judge(verdict, took)];
    if verdict.outcome.enforced().is_some() && !matches!(verdict.outcome, Outcome::WouldBlock(_)) {
        let lifted = lifts.map_err(because)?.iter().all(|lift| lift.outcome == LiftOutcome::Lifted);
        let left = privd.show(target).await.map_err(because)?.block;
        findings.push(if lifted && left.is_none() {
            Finding::ok(format!("{target} was lifted again in {back} ms"))
        } else {
            Finding::problem(
                format!("{target} is still blocked; that ends by itself after a minute"),
                format!("webhookctl unblock {target}"),
            )
        });
    }
    Ok(findings)
}

fn judge(verdict: &Verdict, took: u128) -> Finding {
    let target = verdict.target;
    let detail = shown(&verdict.detail);
    let more = if detail.is_empty() { String::new() } else { format!(": {detail}") };
    match &verdict.outcome {
        Outcome::Blocked(_) | Outcome::AlreadyBlocked(_) => {
            Finding::ok(format!("{target} was blocked in {took} ms, and read back from the kernel"))
        }
        // Meant so or not: no alert is obeyed.
        Outcome::WouldBlock(_) => Finding::problem(
            format!("{target} would have been blocked, and was not (enforce = false)"),
            "enforce = true in /etc/webhookd/privd.toml, then: sudo systemctl reload webhook-privd",
        ),
        Outcome::Refused(refusal) => Finding::problem(
            format!("{target} was refused as {}{more}", refusal.explanation()),
            "take it out of never-block or ufw's allow rules: nobody has this address",
        ),
        other => Finding::problem(
            format!("{target} could not be blocked ({}){more}", other.name()),
            "what it says, or: webhookctl status; journalctl -u webhook-privd -n 20",
        ),
    }
}

fn request(target: Target) -> Result<Block, Unmade> {
    Ok(Block {
        event: new_event(),
        requester: None,
        targets: targets(target)?,
        term: Term::seconds(60),
        reason: Text::truncated("webhookctl check"),
        rule_name: Text::default(),
        alert_id: Text::default(),
        adopt: false,
    })
}

fn targets(target: Target) -> Result<Targets, Unmade> {
    Targets::try_from(vec![target]).map_err(|error| Unmade::Because(error.to_string()))
}

#[cfg(test)]
mod tests {
    use protocol::{Enforced, Refusal, Until};

    use super::*;
    use crate::ctl::check::finding::State;

    #[test]
    fn every_outcome_is_judged() {
        let target: Target = "192.0.2.254".parse().unwrap();
        let enforced = Enforced { target, until: Until::At(60) };
        for (outcome, state, words) in [
            (Outcome::Blocked(enforced), State::Ok, "blocked in 7 ms"),
            (Outcome::AlreadyBlocked(enforced), State::Ok, "blocked in 7 ms"),
            (Outcome::WouldBlock(enforced), State::Problem, "enforce = false"),
            (Outcome::Refused(Refusal::NeverBlock), State::Problem, "in never-block: a\\nb"),
            (Outcome::Unverified, State::Problem, "(unverified): a\\nb"),
            (Outcome::Unavailable, State::Problem, "(unavailable): a\\nb"),
        ] {
            let verdict = Verdict { target, outcome, detail: Text::truncated("a\nb") };
            let finding = judge(&verdict, 7);
            assert_eq!(finding.state, state, "{finding:?}");
            assert!(finding.message.contains(words), "{finding:?}");
        }
    }
}
