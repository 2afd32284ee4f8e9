//! `webhookctl status`.

use std::time::Duration;

use protocol::{Status, Untrusted};
use serde::Serialize;

use crate::ctl::engine::Engine;
use crate::ctl::output::{Output, bad, good};
use crate::ctl::{CtlError, Done};
use crate::privd_client::PrivdClient;
use crate::times::{self, rfc3339};

/// Nothing but what goes with every command.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {}

const EXAMPLES: &str = "\
Examples:
  webhookctl status
  webhookctl status --json | jq .ready

The first line says whether an alert would be obeyed now. Drift is how often a
block was missing from the firewall and had to be put back. webhookctl check
looks at the whole set-up.

Exit status: 0 ready, and every block is in force; 2 not, or webhook-privd
cannot be reached.";

#[derive(Serialize)]
struct Answer {
    ready: bool,
    problem: Option<String>,
    version: String,
    pid: u32,
    /// None where the process cannot be looked at.
    running_seconds: Option<u64>,
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
    fn new(status: &Status, running: Option<Duration>) -> Self {
        Self {
            ready: is_ready(status),
            problem: status.problem.as_ref().map(|problem| Untrusted(problem).to_string()),
            version: status.version.to_string(),
            pid: status.pid,
            running_seconds: running.map(|running| running.as_secs()),
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
    let running = running(status.pid);
    let answer = Answer::new(&status, running);
    output.print(&answer, &lines(&status, running, times::now()))?;
    Ok(if answer.ready { Done::Well } else { Done::Failed })
}

fn is_ready(status: &Status) -> bool {
    status.problem.is_none() && status.not_in_force == 0
}

/// For how long the process has been there, if it is still what answered.
fn running(pid: u32) -> Option<Duration> {
    let stat = procfs::process::Process::new(i32::try_from(pid).ok()?).ok()?.stat().ok()?;
    let begun = stat.starttime.checked_div(procfs::ticks_per_second())?;
    let up = <procfs::Uptime as procfs::Current>::current().ok()?.uptime_duration();
    (stat.comm == "webhook-privd").then(|| up.saturating_sub(Duration::from_secs(begun)))
}

fn lines(status: &Status, running: Option<Duration>, now: u64) -> Vec<String> {
    let mode = if status.enforce { "enforcing" } else { "observing only (enforce = false)" };
    let verified = status.verified_at.map_or_else(|| "never".to_owned(), |at| times::told(at, now));
    let running = running
        .map(|running| format!(", running for {}", times::in_words(running.as_secs())))
        .unwrap_or_default();
    let table = match Engine::of(status) {
        Engine::Ufw => "",
        Engine::Nftables => " (table inet webhookd)",
    };
    let mut lines = vec![
        match (is_ready(status), status.enforce) {
            (true, true) => good("ready"),
            (true, false) => good("ready, to observe"),
            (false, _) => bad("NOT READY"),
        },
        format!(
            "webhook-privd {} (pid {}), {}{table}, {mode}{running}",
            Untrusted(&status.version),
            status.pid,
            Untrusted(&status.firewall)
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
            "{}    {} of the audit log, since webhook-privd started: is the disk full?",
            bad("LINES LOST"),
            status.lost_lines
        ));
    }
    if status.not_in_force > 0 {
        lines.push(format!("{}  {}", bad("NOT IN FORCE"), status.not_in_force));
    }
    if let Some(problem) = &status.problem {
        lines.push(format!("{}       {}", bad("PROBLEM"), Untrusted(problem)));
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

    fn text(status: &Status) -> Vec<String> {
        let lines = lines(status, Some(Duration::from_secs(97_200)), 1_790_000_060).into_iter();
        lines.map(|line| anstream::adapter::strip_str(&line).to_string()).collect()
    }

    fn json(status: &Status) -> serde_json::Value {
        serde_json::to_value(Answer::new(status, None)).unwrap()
    }

    #[test]
    fn all_is_well_in_five_lines() {
        let expected = [
            "ready",
            "webhook-privd 0.1.0 (pid 12), ufw, enforcing, running for 1 day 3 hours",
            "live blocks   3 of 2000",
            "verified      never",
            "waiting       0",
        ];
        assert_eq!(text(&well()), expected);
        assert_eq!((&json(&well())["ready"], &json(&well())["drift"]), (&true.into(), &0.into()));
        let nftables = Status { firewall: Text::truncated("nftables"), ..well() };
        assert!(
            text(&nftables)[1].contains(", nftables (table inet webhookd), enforcing, running")
        );
        let verified = Status { verified_at: Some(1_790_000_000), enforce: false, ..well() };
        assert!(text(&verified)[3].ends_with(" (1 minute ago)"), "{:#?}", text(&verified));
        assert_eq!(text(&verified)[0], "ready, to observe");
    }

    #[test]
    fn a_table_that_is_nearly_full_is_told() {
        let live = |live_blocks| text(&Status { live_blocks, ..well() }).swap_remove(2);
        assert_eq!(live(1600), "live blocks   1600 of 2000");
        assert!(live(1601).ends_with("raise max-blocks in privd.toml"), "{}", live(1601));
    }

    #[test]
    fn drift_is_told_and_leaves_the_state_ready() {
        let drifted = Status { drift: 2, ..well() };
        let words = "drift         2 times a block was missing and had to be put back";
        assert!(text(&drifted)[5].starts_with(words), "{:#?}", text(&drifted));
        assert!(text(&Status { drift: 1, ..well() })[5].contains(" 1 time a block"));
        let json = json(&drifted);
        assert_eq!((&json["ready"], &json["drift"]), (&true.into(), &2.into()));
    }

    #[test]
    fn what_is_missing_or_wrong_is_told_and_is_not_ready() {
        let missing = Status { not_in_force: 1, ..well() };
        assert_eq!(text(&missing)[0], "NOT READY");
        assert_eq!(text(&missing)[5], "NOT IN FORCE  1");
        assert_eq!(json(&missing)["ready"], false);
        let wrong = Status { problem: Some(Text::truncated("ufw is off\n<0>")), ..well() };
        assert_eq!(text(&wrong)[5], r"PROBLEM       ufw is off\n<0>");
        assert_eq!(json(&wrong)["ready"], false);
    }
}
