//! `webhookctl status`.

use protocol::Untrusted;
use serde::Serialize;

use crate::ctl::output::Output;
use crate::ctl::{CtlError, Done};
use crate::privd_client::PrivdClient;
use crate::times::{local, rfc3339};

#[derive(Serialize)]
struct Answer {
    ready: bool,
    problem: Option<String>,
    version: String,
    pid: u32,
    firewall: String,
    enforce: bool,
    live_blocks: u64,
    not_in_force: u64,
    max_blocks: u64,
    queued: u64,
    verified_at: Option<String>,
}

pub(super) async fn status(privd: &PrivdClient, output: &Output) -> Result<Done, CtlError> {
    let status = privd.status().await?;
    let problem = status.problem.as_ref().map(|problem| Untrusted(problem).to_string());
    let ready = problem.is_none() && status.not_in_force == 0;
    let mode = if status.enforce { "enforcing" } else { "observing only (enforce = false)" };
    let verified = status.verified_at.map_or_else(|| "never".to_owned(), local);
    let mut lines = vec![
        format!(
            "webhook-privd {} (pid {}), {}, {mode}",
            status.version, status.pid, status.firewall
        ),
        format!("live blocks   {} of {}", status.live_blocks, status.max_blocks),
        format!("verified      {verified}"),
        format!("waiting       {}", status.queued),
    ];
    if status.not_in_force > 0 {
        lines.push(format!("NOT IN FORCE  {}", status.not_in_force));
    }
    if let Some(problem) = &problem {
        lines.push(format!("PROBLEM       {problem}"));
    }
    let answer = Answer {
        ready,
        problem,
        version: status.version.to_string(),
        pid: status.pid,
        firewall: status.firewall.to_string(),
        enforce: status.enforce,
        live_blocks: status.live_blocks,
        not_in_force: status.not_in_force,
        max_blocks: status.max_blocks,
        queued: status.queued,
        verified_at: status.verified_at.map(rfc3339),
    };
    output.print(&answer, &lines)?;
    Ok(if ready { Done::Well } else { Done::Failed })
}
