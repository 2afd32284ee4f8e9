//! `webhookctl status`.

use protocol::{Status, Untrusted};
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
    drift: u64,
    verified_at: Option<String>,
    lost_lines: u64,
}

impl Answer {
    fn new(status: &Status) -> Self {
        Self {
            ready: status.problem.is_none() && status.not_in_force == 0,
            problem: status.problem.as_ref().map(|problem| Untrusted(problem).to_string()),
            version: status.version.to_string(),
            pid: status.pid,
            firewall: status.firewall.to_string(),
            enforce: status.enforce,
            live_blocks: status.live_blocks,
            not_in_force: status.not_in_force,
            max_blocks: status.max_blocks,
            queued: status.queued,
            drift: status.drift,
            verified_at: status.verified_at.map(rfc3339),
            lost_lines: status.lost_lines,
        }
    }
}

pub(super) async fn status(privd: &PrivdClient, output: &Output) -> Result<Done, CtlError> {
    let status = privd.status().await?;
    let answer = Answer::new(&status);
    output.print(&answer, &lines(&status))?;
    Ok(if answer.ready { Done::Well } else { Done::Failed })
}

fn lines(status: &Status) -> Vec<String> {
    let mode = if status.enforce { "enforcing" } else { "observing only (enforce = false)" };
    let verified = status.verified_at.map_or_else(|| "never".to_owned(), local);
    let mut lines = vec![
        format!(
            "webhook-privd {} (pid {}), {}, {mode}",
            status.version, status.pid, status.firewall
        ),
        format!("live blocks   {} of {}{}", status.live_blocks, status.max_blocks, advice(status)),
        format!("verified      {verified}"),
        format!("waiting       {}", status.queued),
    ];
    if status.drift > 0 {
        let times = if status.drift == 1 { "time" } else { "times" };
        lines.push(format!(
            "drift         {} {times} a block was missing and had to be put back, since \
             webhook-privd started",
            status.drift
        ));
    }
    if status.lost_lines > 0 {
        lines.push(format!(
            "LINES LOST    {} of the audit log, since webhook-privd started: is the disk full?",
            status.lost_lines
        ));
    }
    if status.not_in_force > 0 {
        lines.push(format!("NOT IN FORCE  {}", status.not_in_force));
    }
    if let Some(problem) = &status.problem {
        lines.push(format!("PROBLEM       {}", Untrusted(problem)));
    }
    lines
}

/// As webhook-privd's log warns: from 80 % on.
fn advice(status: &Status) -> &'static str {
    if status.live_blocks.saturating_mul(100) > status.max_blocks.saturating_mul(80) {
        "; where all are live, no alert is obeyed: raise max-blocks in privd.toml"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use protocol::Text;

    use super::*;
    use crate::fake_privd;

    fn well() -> Status {
        Status { version: Text::truncated("0.1.0"), ..fake_privd::status() }
    }

    #[test]
    fn all_is_well_in_four_lines() {
        let expected = [
            "webhook-privd 0.1.0 (pid 12), ufw, enforcing",
            "live blocks   3 of 2000",
            "verified      never",
            "waiting       0",
        ];
        assert_eq!(lines(&well()), expected);
        let json = serde_json::to_value(Answer::new(&well())).unwrap();
        assert_eq!((&json["ready"], &json["drift"]), (&true.into(), &0.into()));
    }

    #[test]
    fn a_table_that_is_nearly_full_is_told() {
        let live = |live_blocks| lines(&Status { live_blocks, ..well() }).swap_remove(1);
        assert_eq!(live(1600), "live blocks   1600 of 2000");
        assert!(live(1601).ends_with("raise max-blocks in privd.toml"), "{}", live(1601));
    }

    #[test]
    fn drift_is_told_and_leaves_the_state_ready() {
        let drifted = Status { drift: 2, ..well() };
        let words = "drift         2 times a block was missing and had to be put back";
        assert!(lines(&drifted)[4].starts_with(words), "{:#?}", lines(&drifted));
        assert!(lines(&Status { drift: 1, ..well() })[4].contains(" 1 time a block"));
        let json = serde_json::to_value(Answer::new(&drifted)).unwrap();
        assert_eq!((&json["ready"], &json["drift"]), (&true.into(), &2.into()));
    }

    #[test]
    fn what_is_missing_or_wrong_is_told_and_is_not_ready() {
        let missing = Status { not_in_force: 1, ..well() };
        assert_eq!(lines(&missing)[4], "NOT IN FORCE  1");
        assert!(!Answer::new(&missing).ready);
        let wrong = Status { problem: Some(Text::truncated("ufw is off\n<0>")), ..well() };
        assert_eq!(lines(&wrong)[4], r"PROBLEM       ufw is off\n<0>");
        assert!(!Answer::new(&wrong).ready);
    }
}
