//! `webhookctl block` and `webhookctl unblock`.

use protocol::{
    Block, Enforced, LiftOutcome, Outcome, Refusal, Target, Targets, Term, Text, Unblock,
    Untrusted, Verdict, Which,
};
use serde::Serialize;

use crate::ctl::output::Output;
use crate::ctl::{CtlError, Done};
use crate::privd_client::{PrivdClient, new_event};
use crate::times::{until_local, until_rfc3339};

#[derive(Serialize)]
struct Row {
    target: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    enforced_as: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

impl Row {
    fn of_block(verdict: &Verdict) -> Self {
        let enforced = verdict.outcome.enforced();
        Self {
            target: verdict.target.to_string(),
            outcome: verdict.outcome.name(),
            reason: verdict.outcome.refusal().map(Refusal::name),
            detail: Untrusted(&verdict.detail).to_string(),
            enforced_as: enforced.map(|enforced| enforced.target.to_string()),
            until: enforced.map(|enforced| until_rfc3339(enforced.until)),
        }
    }
}

pub(super) async fn block(
    privd: &PrivdClient,
    output: &Output,
    targets: &[Target],
    term: Option<Term>,
    reason: &str,
) -> Result<Done, CtlError> {
    let Ok(targets) = Targets::try_from(targets.to_vec()) else { return Ok(Done::BadInput) };
    let request = Block {
        event: new_event(),
        requester: None,
        targets,
        term,
        reason: Text::truncated(reason),
        rule_name: Text::default(),
        alert_id: Text::default(),
        adopt: false,
    };
    let verdicts = privd.block(request).await?;
    let rows: Vec<Row> = verdicts.iter().map(Row::of_block).collect();
    let lines: Vec<String> = verdicts.iter().map(sentence).collect();
    output.print(&rows, &lines)?;
    let failed = verdicts.iter().any(|verdict| {
        verdict.outcome.enforced().is_none() && !matches!(verdict.outcome, Outcome::Refused(_))
    });
    let refused = verdicts.iter().any(|verdict| matches!(verdict.outcome, Outcome::Refused(_)));
    Ok(if failed {
        Done::Failed
    } else if refused {
        Done::BadInput
    } else {
        Done::Well
    })
}

/// Of a rule, or of targets; neither: all.
pub(super) async fn unblock(
    privd: &PrivdClient,
    output: &Output,
    targets: &[Target],
    rule: Option<&str>,
    immune_for: u32,
) -> Result<Done, CtlError> {
    let which = match (rule, Targets::try_from(targets.to_vec())) {
        (Some(rule), _) => Which::Rule(Text::truncated(rule)),
        (None, Ok(targets)) => Which::Targets(targets),
        (None, Err(_)) => Which::All,
    };
    let request = Unblock { event: new_event(), which, immune_for };
    let lifts = privd.unblock(request).await?;
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    for lift in &lifts {
        let detail = Untrusted(&lift.detail).to_string();
        let more = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
        let words = match lift.outcome {
            LiftOutcome::Lifted => "Unblocked IP",
            LiftOutcome::NotBlocked => "Not blocked by webhookd",
            LiftOutcome::Failed => "Failed to unblock IP",
        };
        lines.push(format!("{words}: {}{more}", lift.target));
        rows.push(Row {
            target: lift.target.to_string(),
            outcome: lift.outcome.name(),
            reason: None,
            detail,
            enforced_as: None,
            until: None,
        });
    }
    if lines.is_empty() {
        lines.push("Nothing was blocked.".to_owned());
    }
    output.print(&rows, &lines)?;
    let failed = lifts.iter().any(|lift| lift.outcome == LiftOutcome::Failed);
    Ok(if failed { Done::Failed } else { Done::Well })
}

fn sentence(verdict: &Verdict) -> String {
    let detail = Untrusted(&verdict.detail).to_string();
    let more = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
    let target = verdict.target;
    match &verdict.outcome {
        Outcome::Blocked(enforced) => format!("Blocked IP: {}{more}", shown(target, *enforced)),
        Outcome::AlreadyBlocked(enforced) => {
            format!("IP already blocked: {}{more}", shown(target, *enforced))
        }
        Outcome::WouldBlock(enforced) => {
            format!("Would block IP (observe mode): {}{more}", shown(target, *enforced))
        }
        Outcome::Refused(refusal) => {
            format!("Refused to block {target}: it is {}{more}", refusal.explanation())
        }
        other => format!("{target}: {}{more}", other.name()),
    }
}

fn shown(target: Target, enforced: Enforced) -> String {
    let with = if enforced.target == target {
        String::new()
    } else {
        format!(" (as {})", enforced.target)
    };
    format!("{target}{with}, until {}", until_local(enforced.until))
}

#[cfg(test)]
mod tests {
    use protocol::{Refusal, Until};

    use super::*;

    fn verdict(outcome: Outcome, detail: &str) -> Verdict {
        let target = "198.51.100.7".parse().unwrap();
        Verdict { target, outcome, detail: Text::truncated(detail) }
    }

    #[test]
    fn each_outcome_is_a_sentence_with_the_detail() {
        let target: Target = "198.51.100.7".parse().unwrap();
        let alone = Enforced { target, until: Until::Permanent };
        let wider = Enforced { target: "198.51.100.0/24".parse().unwrap(), ..alone };
        for (outcome, detail, expected) in [
            (Outcome::Blocked(alone), "", "Blocked IP: 198.51.100.7, until permanent"),
            (
                Outcome::AlreadyBlocked(wider),
                "",
                "IP already blocked: 198.51.100.7 (as 198.51.100.0/24), until permanent",
            ),
            (
                Outcome::WouldBlock(alone),
                "",
                "Would block IP (observe mode): 198.51.100.7, until permanent",
            ),
            (
                Outcome::Refused(Refusal::Gateway),
                "via eth0",
                "Refused to block 198.51.100.7: it is this host's default gateway (via eth0)",
            ),
            (Outcome::Pending, "privd restarts", "198.51.100.7: pending (privd restarts)"),
        ] {
            assert_eq!(sentence(&verdict(outcome, detail)), expected);
        }
    }

    #[test]
    fn the_json_of_a_block_says_until_when_and_of_a_refusal_why() {
        let target: Target = "198.51.100.7".parse().unwrap();
        let enforced = Enforced { target, until: Until::At(1_790_000_000) };
        let row = serde_json::to_value(Row::of_block(&verdict(Outcome::Blocked(enforced), "")));
        let expected = serde_json::json!({
            "target": "198.51.100.7",
            "outcome": "blocked",
            "enforced_as": "198.51.100.7",
            "until": "2026-09-21T14:13:20Z",
        });
        assert_eq!(row.unwrap(), expected);
        let refused = verdict(Outcome::Refused(Refusal::Gateway), "via eth0");
        let expected = serde_json::json!({
            "target": "198.51.100.7",
            "outcome": "refused",
            "reason": "gateway",
            "detail": "via eth0",
        });
        assert_eq!(serde_json::to_value(Row::of_block(&refused)).unwrap(), expected);
    }
}
