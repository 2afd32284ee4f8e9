//! `webhookctl show`.

use protocol::{Target, Untrusted};
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

pub(super) async fn show(
    privd: &PrivdClient,
    output: &Output,
    target: Target,
) -> Result<Done, CtlError> {
    let shown = privd.show(target).await?;
    let mut lines = Vec::new();
    match &shown.block {
        None => lines.push(format!("{target} is not blocked by webhookd.")),
        Some(block) => {
            let state = if block.in_force { "blocked" } else { "to be blocked, but NOT in force" };
            lines.push(format!("{target} is {state}, by the block of {}.", block.target));
            lines.push(format!("  since      {}", local(block.since)));
            lines.push(format!("  until      {}", until_local(block.until)));
            lines.push(format!("  why        {}", why(block)));
            if !block.alert_id.is_empty() {
                lines.push(format!("  alert      {}", Untrusted(&block.alert_id)));
            }
            let asked = block.requester.map_or_else(
                || format!("webhookctl (uid {}, pid {})", block.peer_uid, block.peer_pid),
                |address| format!("{address} through webhookd"),
            );
            lines.push(format!("  asked by   {asked}"));
        }
    }
    let detail = Untrusted(&shown.detail).to_string();
    if let Some(refusal) = shown.refusal {
        let more = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
        lines.push(format!(
            "A new request would be refused: it is {}{more}.",
            refusal.explanation()
        ));
    }
    let answer = Answer {
        target: target.to_string(),
        blocked: shown.block.as_ref().is_some_and(|block| block.in_force),
        block: shown.block.as_ref().map(Row::new),
        refused_because: shown.refusal.map(protocol::Refusal::name),
        detail,
    };
    output.print(&answer, &lines)?;
    Ok(Done::Well)
}
