//! `webhookctl block`.

use protocol::{
    Block, Enforced, Outcome, Refusal, Target, Targets, Term, Text, Untrusted, Verdict,
};
use serde::Serialize;

use crate::ctl::output::{Output, bad};
use crate::ctl::{CtlError, Done, target, term};
use crate::privd_client::{PrivdClient, new_event};
use crate::times::{self, until_rfc3339};

/// What to block.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Address or network, for example 198.51.100.7 or 2001:db8::/64
    #[arg(required = true, value_name = "ADDR", value_parser = target)]
    targets: Vec<Target>,
    /// For how long: 1h, 7d, permanent; taken as it is. Without it, block-for of privd.toml
    /// decides
    #[arg(long = "for", value_name = "TIME", value_parser = term)]
    term: Option<Term>,
    /// Why; shown by `list`
    #[arg(long, value_name = "TEXT", default_value = "by hand")]
    reason: String,
}

const EXAMPLES: &str = "\
Examples:
  webhookctl block 198.51.100.7
  webhookctl block 198.51.100.7 2001:db8::/64 --for 7d --reason 'port scan'
  webhookctl block 198.51.100.0/24 --for permanent

New connections are dropped and open ones cut. Whoever is protected is refused:
this host, its gateways and resolvers, never-block, and whom ufw's own rules let
in; webhookctl show tells which. What is blocked already stays as it is.

Exit status: 0 blocked, also where it was before; 1 bad input, or one was
refused; 2 failed.";

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
    arguments: &Arguments,
) -> Result<Done, CtlError> {
    let targets = Targets::try_from(arguments.targets.clone())?;
    let request = Block {
        event: new_event(),
        requester: None,
        targets,
        term: arguments.term,
        reason: Text::truncated(&arguments.reason),
        rule_name: Text::default(),
        alert_id: Text::default(),
        adopt: false,
    };
    let verdicts = privd.block(request).await?;
    let rows: Vec<Row> = verdicts.iter().map(Row::of_block).collect();
    let now = times::now();
    let lines: Vec<String> = verdicts.iter().map(|verdict| sentence(verdict, now)).collect();
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

fn sentence(verdict: &Verdict, now: u64) -> String {
    let detail = Untrusted(&verdict.detail).to_string();
    let more = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
    let target = verdict.target;
    match &verdict.outcome {
        Outcome::Blocked(enforced) => {
            format!("Blocked IP: {}{more}", shown(target, *enforced, now))
        }
        Outcome::AlreadyBlocked(enforced) => {
            format!("IP already blocked: {}{more}", shown(target, *enforced, now))
        }
        Outcome::WouldBlock(enforced) => {
            format!("Would block IP (observe mode): {}{more}", shown(target, *enforced, now))
        }
        Outcome::Refused(refusal) => {
            bad(&format!("Refused to block {target}: it is {}{more}", refusal.explanation()))
        }
        other => bad(&format!("{target}: {}{more}", other.name())),
    }
}

fn shown(target: Target, enforced: Enforced, now: u64) -> String {
    let with = if enforced.target == target {
        String::new()
    } else {
        format!(" (as {})", enforced.target)
    };
    format!("{target}{with}, {}", times::until(enforced.until, now))
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
            (Outcome::Blocked(alone), "", "Blocked IP: 198.51.100.7, permanent"),
            (
                Outcome::AlreadyBlocked(wider),
                "",
                "IP already blocked: 198.51.100.7 (as 198.51.100.0/24), permanent",
            ),
            (
                Outcome::WouldBlock(alone),
                "",
                "Would block IP (observe mode): 198.51.100.7, permanent",
            ),
            (
                Outcome::Refused(Refusal::Gateway),
                "via eth0",
                "Refused to block 198.51.100.7: it is this host's default gateway (via eth0)",
            ),
            (Outcome::Pending, "privd restarts", "198.51.100.7: pending (privd restarts)"),
        ] {
            let sentence = sentence(&verdict(outcome, detail), 0);
            assert_eq!(anstream::adapter::strip_str(&sentence).to_string(), expected);
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
