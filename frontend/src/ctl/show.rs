//! `webhookctl show`.

use protocol::{BlockInfo, Refusal, Shown, Target, Untrusted};
use serde::Serialize;

use crate::ctl::list::{Row, why};
use crate::ctl::output::Output;
use crate::ctl::{CtlError, Done};
use crate::privd_client::PrivdClient;
use crate::times::{local, until_local};

#[derive(Serialize)]
struct Answer {
    target: String,
    blocked: bool,
    block: Option<Row>,
    refused_because: Option<&'static str>,
    detail: String,
}

impl Answer {
    fn new(target: Target, shown: &Shown) -> Self {
        Self {
            target: target.to_string(),
            blocked: shown.block.as_ref().is_some_and(|block| block.in_force),
            block: shown.block.as_ref().map(Row::new),
            refused_because: shown.verdict.outcome.refusal().map(Refusal::name),
            detail: Untrusted(&shown.verdict.detail).to_string(),
        }
    }
}

pub(super) async fn show(
    privd: &PrivdClient,
    output: &Output,
    target: Target,
) -> Result<Done, CtlError> {
    let shown = privd.show(target).await?;
    output.print(&Answer::new(target, &shown), &lines(target, &shown))?;
    Ok(Done::Well)
}

fn lines(target: Target, shown: &Shown) -> Vec<String> {
    let mut lines = match &shown.block {
        None => vec![format!("{target} is not blocked by webhookd.")],
        Some(block) => block_lines(target, block),
    };
    if let Some(refusal) = shown.verdict.outcome.refusal() {
        let detail = Untrusted(&shown.verdict.detail);
        let more =
            if shown.verdict.detail.is_empty() { String::new() } else { format!(" ({detail})") };
        lines.push(format!(
            "A new request would be refused: it is {}{more}.",
            refusal.explanation()
        ));
    }
    lines
}

fn block_lines(target: Target, block: &BlockInfo) -> Vec<String> {
    let state = if block.in_force { "blocked" } else { "to be blocked, but NOT in force" };
    let mut lines = vec![
        format!("{target} is {state}, by the block of {}.", block.target),
        format!("  since      {}", local(block.since)),
        format!("  until      {}", until_local(block.until)),
        format!("  why        {}", why(block)),
    ];
    if !block.alert_id.is_empty() {
        lines.push(format!("  alert      {}", Untrusted(&block.alert_id)));
    }
    match block.offences {
        0 => {}
        1 => lines.push("  offences   1 earlier block ended by itself".to_owned()),
        many => lines.push(format!("  offences   {many} earlier blocks ended by themselves")),
    }
    let asked = block.requester.map_or_else(
        || format!("webhookctl (uid {}, pid {})", block.peer_uid, block.peer_pid),
        |address| format!("{address} through webhookd"),
    );
    lines.push(format!("  asked by   {asked}"));
    lines
}

#[cfg(test)]
mod tests {
    use protocol::{Outcome, Text, Verdict};

    use super::*;
    use crate::fake_privd::block_info;

    fn shown(offences: u32) -> Shown {
        Shown { block: Some(block_info(offences)), offences, ..unknown(Outcome::Unavailable, "") }
    }

    fn unknown(outcome: Outcome, detail: &str) -> Shown {
        let detail = Text::truncated(detail);
        let verdict = Verdict { target: target(), outcome, detail };
        Shown { block: None, offences: 0, immune_until: None, verdict }
    }

    fn target() -> Target {
        "198.51.100.7".parse().unwrap()
    }

    #[test]
    fn a_block_is_shown_with_its_offences_where_there_are_any() {
        let times = [local(1_790_000_000), local(1_790_003_600)];
        let expected = [
            "198.51.100.7 is blocked, by the block of 198.51.100.0/24.",
            &format!("  since      {}", times[0]),
            &format!("  until      {}", times[1]),
            "  why        SSH brute force",
            "  alert      x-1",
            "  offences   2 earlier blocks ended by themselves",
            "  asked by   10.9.0.2 through webhookd",
        ];
        assert_eq!(lines(target(), &shown(2)), expected);
        assert!(
            lines(target(), &shown(1))
                .contains(&"  offences   1 earlier block ended by itself".into())
        );
        let none = lines(target(), &shown(0));
        assert!(!none.iter().any(|line| line.contains("offences")), "{none:#?}");
        let json = serde_json::to_value(Answer::new(target(), &shown(2))).unwrap();
        assert_eq!((&json["blocked"], &json["block"]["offences"]), (&true.into(), &2.into()));
    }

    #[test]
    fn what_is_not_blocked_or_not_in_force_or_would_be_refused_is_told() {
        let refused = unknown(Outcome::Refused(Refusal::Gateway), "via eth0");
        let expected = [
            "198.51.100.7 is not blocked by webhookd.",
            "A new request would be refused: it is this host's default gateway (via eth0).",
        ];
        assert_eq!(lines(target(), &refused), expected);
        let json = serde_json::to_value(Answer::new(target(), &refused)).unwrap();
        let expected = serde_json::json!({
            "target": "198.51.100.7",
            "blocked": false,
            "block": null,
            "refused_because": "gateway",
            "detail": "via eth0",
        });
        assert_eq!(json, expected);
        let mut missing = shown(0);
        missing.block.as_mut().unwrap().in_force = false;
        assert!(lines(target(), &missing)[0].contains("NOT in force"));
        assert!(!Answer::new(target(), &missing).blocked);
    }
}
