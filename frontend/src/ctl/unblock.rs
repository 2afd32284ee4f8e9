//! `webhookctl unblock`.

use std::collections::BTreeSet;

use protocol::{Lift, LiftOutcome, MAX_TARGETS, Target, Targets, Text, Unblock, Untrusted, Which};
use serde::Serialize;

use crate::ctl::output::{Output, bad, progress};
use crate::ctl::{CtlError, Done, list, rule, seconds, target};
use crate::privd_client::{PrivdClient, PrivdError, new_event};
use crate::times;

/// What to lift.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Address or network as `list` shows it
    #[arg(required_unless_present_any = ["all", "rule"], value_name = "ADDR", value_parser = target)]
    targets: Vec<Target>,
    /// Lift every block
    #[arg(long, conflicts_with = "targets")]
    all: bool,
    /// Lift the blocks of the detection rule of exactly this name
    #[arg(long, value_name = "NAME", conflicts_with_all = ["targets", "all"], value_parser = rule)]
    rule: Option<String>,
    /// For this long, alerts cannot put them back; 0s lets them at once
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = seconds)]
    immune_for: u32,
    /// Name each block that was lifted, however many they are
    #[arg(long)]
    verbose: bool,
}

const EXAMPLES: &str = "\
Examples:
  webhookctl unblock 198.51.100.7
  webhookctl unblock 198.51.100.7 --immune-for 0s
  webhookctl unblock --all --immune-for 1h
  webhookctl unblock --rule 'SSH brute force'

Our rules are removed and nothing is cut; rules made by others stay. More than
20 are counted and not named.

Exit status: 0 lifted, also where nothing was blocked; 1 bad input, or no live
block is of that rule; 2 failed.";

#[derive(Serialize)]
struct Row {
    target: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
}

pub(super) async fn unblock(
    privd: &PrivdClient,
    output: &Output,
    arguments: &Arguments,
) -> Result<Done, CtlError> {
    let which = match &arguments.rule {
        Some(name) => Which::Rule(Text::truncated(name)),
        None if arguments.all => Which::All,
        None => Which::Targets(Targets::try_from(arguments.targets.clone())?),
    };
    let lifts = lift(privd, &which, arguments.immune_for).await?;
    if let (Some(name), []) = (&arguments.rule, &*lifts) {
        return Err(no_such_rule(name, privd).await?);
    }
    let rows: Vec<Row> = lifts.iter().map(Row::new).collect();
    output.print(&rows, &lines(&lifts, arguments))?;
    let failed = lifts.iter().any(|lift| lift.outcome == LiftOutcome::Failed);
    Ok(if failed { Done::Failed } else { Done::Well })
}

/// What a word means is lifted [`MAX_TARGETS`] at a time, so that alerts are obeyed in between.
async fn lift(
    privd: &PrivdClient,
    which: &Which,
    immune_for: u32,
) -> Result<Vec<Lift>, PrivdError> {
    let mut all = Vec::new();
    loop {
        let request = Unblock { event: new_event(), which: which.clone(), immune_for };
        let lifts = privd.unblock(request).await?;
        let whole = lifts.len() == MAX_TARGETS && !matches!(which, Which::Targets(_));
        let more = whole && lifts.iter().all(|lift| lift.outcome == LiftOutcome::Lifted);
        all.extend(lifts);
        if !more {
            return Ok(all);
        }
        progress(&format!("{} lifted so far", all.len()));
    }
}

/// A name that is written wrong would leave blocks in force in silence.
async fn no_such_rule(name: &str, privd: &PrivdClient) -> Result<CtlError, PrivdError> {
    let blocks = list::live(privd).await?;
    let names = blocks.iter().filter(|block| !block.rule_name.is_empty());
    let names: BTreeSet<String> =
        names.map(|block| format!("'{}'", Untrusted(&block.rule_name))).collect();
    let there_are = if names.is_empty() {
        "no live block is of any".to_owned()
    } else {
        let rest = names.len().checked_sub(NAMED).filter(|rest| *rest > 0);
        let more = rest.map(|rest| format!(" and {rest} more")).unwrap_or_default();
        let names: Vec<String> = names.into_iter().take(NAMED).collect();
        format!("live blocks are of {}{more}", names.join(", "))
    };
    Ok(CtlError::NoSuchRule { name: Untrusted(name).to_string(), there_are })
}

impl Row {
    fn new(lift: &Lift) -> Self {
        Self {
            target: lift.target.to_string(),
            outcome: lift.outcome.name(),
            detail: Untrusted(&lift.detail).to_string(),
        }
    }
}

fn lines(lifts: &[Lift], arguments: &Arguments) -> Vec<String> {
    let lifted = lifts.iter().filter(|lift| lift.outcome == LiftOutcome::Lifted).count();
    let counted = lifted > NAMED && !arguments.verbose;
    let named = |lift: &&Lift| !(counted && lift.outcome == LiftOutcome::Lifted);
    let mut lines: Vec<String> = lifts.iter().filter(named).map(sentence).collect();
    if counted {
        lines.push(format!("Unblocked {lifted} addresses and networks."));
    }
    if lifts.is_empty() {
        lines.push("Nothing was blocked.".to_owned());
    }
    if lifted > 0 && arguments.immune_for > 0 {
        let them = if lifted == 1 { "it" } else { "them" };
        let time = times::in_words(arguments.immune_for.into());
        lines.push(format!("No alert can block {them} again for {time}."));
    }
    lines
}

/// What became of a block that was to be lifted.
pub(super) fn sentence(lift: &Lift) -> String {
    let detail = Untrusted(&lift.detail).to_string();
    let more = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
    match lift.outcome {
        LiftOutcome::Lifted => format!("Unblocked IP: {}{more}", lift.target),
        LiftOutcome::NotBlocked => format!("Not blocked by webhookd: {}{more}", lift.target),
        LiftOutcome::Failed => bad(&format!("Failed to unblock IP: {}{more}", lift.target)),
    }
}

/// More than these are counted.
const NAMED: usize = 20;

#[cfg(test)]
mod tests {
    use protocol::Text;

    use super::*;

    fn lifts(lifted: u8, failed: u8) -> Vec<Lift> {
        let lift = |host: u8, outcome| {
            let target = Target::host([198, 51, 100, host].into());
            Lift { target, outcome, detail: Text::default() }
        };
        let lifted = (0..lifted).map(|host| lift(host, LiftOutcome::Lifted));
        let failed = (200..).take(failed.into()).map(|host| lift(host, LiftOutcome::Failed));
        lifted.chain(failed).collect()
    }

    fn text(lifts: &[Lift], verbose: bool, immune_for: u32) -> Vec<String> {
        let arguments =
            Arguments { targets: Vec::new(), all: true, rule: None, immune_for, verbose };
        lines(lifts, &arguments)
    }

    #[test]
    fn a_few_are_named_and_thousands_counted_but_never_a_failure() {
        assert_eq!(text(&lifts(20, 0), false, 0).len(), 20);
        let counted = text(&lifts(21, 1), false, 0);
        assert_eq!(counted.len(), 2, "{counted:#?}");
        assert!(counted[0].contains("Failed to unblock IP: 198.51.100.200"), "{counted:#?}");
        assert_eq!(counted[1], "Unblocked 21 addresses and networks.");
        assert_eq!(text(&lifts(21, 1), true, 0).len(), 22);
        assert_eq!(text(&[], false, 600), ["Nothing was blocked."]);
    }

    #[test]
    fn for_how_long_alerts_are_kept_off_is_told() {
        let told = |lifted| text(&lifts(lifted, 0), false, 600).pop().unwrap();
        assert_eq!(told(1), "No alert can block it again for 10 minutes.");
        assert_eq!(told(2), "No alert can block them again for 10 minutes.");
        assert_eq!(text(&lifts(1, 0), false, 0), ["Unblocked IP: 198.51.100.0"]);
    }
}
