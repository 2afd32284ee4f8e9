//! `webhookctl block` and `webhookctl unblock`.

use protocol::{Block, Enforced, LiftOutcome, Outcome, Target, Targets, Text, Unblock, Untrusted};
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

pub(super) async fn block(
    privd: &PrivdClient,
    output: &Output,
    targets: &[Target],
    reason: &str,
) -> Result<Done, CtlError> {
    let Ok(targets) = Targets::try_from(targets.to_vec()) else { return Ok(Done::BadInput) };
    let request = Block {
        event: new_event(),
        requester: None,
        targets,
        term: None,
        reason: Text::truncated(reason),
        rule_name: Text::default(),
        alert_id: Text::default(),
    };
    let verdicts = privd.block(request).await?;
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    for verdict in &verdicts {
        let detail = Untrusted(&verdict.detail).to_string();
        let more = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
        let target = verdict.target;
        lines.push(match &verdict.outcome {
            Outcome::Blocked(enforced) => format!("Blocked IP: {}{more}", shown(target, *enforced)),
            Outcome::AlreadyBlocked(enforced) => {
                format!("IP already blocked: {}{more}", shown(target, *enforced))
            }
            Outcome::Refused(refusal) => {
                format!("Refused to block {target}: it is {}{more}", refusal.explanation())
            }
            other => format!("{target}: {}{more}", other.name()),
        });
        let enforced = verdict.outcome.enforced();
        rows.push(Row {
            target: target.to_string(),
            outcome: verdict.outcome.name(),
            reason: match verdict.outcome {
                Outcome::Refused(refusal) => Some(refusal.name()),
                _ => None,
            },
            detail,
            enforced_as: enforced.map(|enforced| enforced.target.to_string()),
            until: enforced.map(|enforced| until_rfc3339(enforced.until)),
        });
    }
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

/// No targets: all.
pub(super) async fn unblock(
    privd: &PrivdClient,
    output: &Output,
    targets: &[Target],
) -> Result<Done, CtlError> {
    let request = Unblock {
        event: new_event(),
        targets: Targets::try_from(targets.to_vec()).ok(),
        immune_for: 600,
    };
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

fn shown(target: Target, enforced: Enforced) -> String {
    let with = if enforced.target == target {
        String::new()
    } else {
        format!(" (as {})", enforced.target)
    };
    format!("{target}{with}, until {}", until_local(enforced.until))
}
