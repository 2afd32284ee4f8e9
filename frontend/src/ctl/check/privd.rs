//! What privd says of itself and of the rules.

use std::time::Duration;

use protocol::Status;
use tokio::time::sleep;

use crate::ctl::check::finding::{Finding, Findings};
use crate::ctl::check::host::Host;
use crate::ctl::outside::shown;
use crate::privd_client::{PrivdClient, PrivdError};

/// Its answer once what was just begun is done: a block is missing only if it stays so. Right after
/// a start none has been read back yet.
pub(super) async fn settled(privd: &PrivdClient) -> Result<Status, PrivdError> {
    for _ in 0..LOOKS {
        let status = privd.status().await?;
        if status.not_in_force == 0 || status.problem.is_some() || !status.enforce {
            return Ok(status);
        }
        sleep(PAUSE).await;
    }
    privd.status().await
}

/// privd follows the chains from INPUT for every block: what accepts ahead of ours is in its words.
pub(super) fn state(host: &Host) -> Findings {
    let status = match host.status() {
        Ok(status) => status,
        Err(why) => {
            let mend = "systemctl status webhook-privd.service webhook-privd.socket\n\
                journalctl -u webhook-privd -n 20";
            return Ok(vec![Finding::problem(why.to_string(), mend)]);
        }
    };
    Ok(judge(status))
}

fn judge(status: &Status) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(problem) = &status.problem {
        let what = format!("no block can be put in force: {}", shown(problem));
        findings.push(Finding::problem(what, "what it says; then: webhookctl status"));
    }
    if status.not_in_force > 0 {
        let what = format!("{} blocks are not in force", status.not_in_force);
        let mend = "webhookctl list; journalctl -u webhook-privd -n 20";
        findings.push(Finding::problem(what, mend));
    }
    if !status.enforce {
        findings.push(Finding::note("observes only (enforce = false): nothing is blocked"));
    }
    if status.drift > 0 {
        findings.push(Finding::note(format!(
            "{} times a block was missing and had to be put back: another tool changes the rules",
            status.drift
        )));
    }
    if *status.version != *OURS {
        findings.push(Finding::problem(
            format!("runs {}, and webhookctl is {OURS}", shown(&status.version)),
            "systemctl restart webhook-privd webhookd",
        ));
    }
    if findings.is_empty() {
        let engine = shown(&status.firewall);
        findings
            .push(Finding::ok(format!("{OURS}, enforcing with {engine}, every block in force")));
    }
    findings
}

pub(super) fn table(host: &Host) -> Findings {
    let status = host.status()?;
    let (live, most) = (status.live_blocks, status.max_blocks);
    let count = format!("{live} of {most} blocks");
    // More than four fifths.
    Ok(vec![if live.saturating_mul(5) > most.saturating_mul(4) {
        let mend = "webhookctl unblock what is not needed any more, or raise max-blocks in \
            privd.toml, then: systemctl reload webhook-privd";
        Finding::problem(format!("{count}: when it is full nothing more is blocked"), mend)
    } else {
        Finding::ok(count)
    }])
}

/// The three programs are of one package.
const OURS: &str = env!("CARGO_PKG_VERSION");

/// Together longer than ufw takes to put back a thousand blocks.
const LOOKS: u32 = 30;
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use protocol::Text;

    use super::*;
    use crate::ctl::check::finding::State;
    use crate::fake_privd;

    fn well() -> Status {
        Status { max_blocks: 10, ..fake_privd::status() }
    }

    #[test]
    fn whatever_privd_complains_of_is_repeated() {
        let states = |status: &Status| -> Vec<State> {
            judge(status).iter().map(|finding| finding.state).collect()
        };
        assert_eq!(states(&well()), [State::Ok]);
        let wrong = Status {
            problem: Some(Text::truncated("ufw is off\n<0>")),
            not_in_force: 2,
            version: Text::truncated("9.9"),
            ..well()
        };
        assert_eq!(states(&wrong), [State::Problem; 3]);
        assert!(judge(&wrong)[0].message.ends_with(r"ufw is off\n<0>"));
        assert_eq!(states(&Status { enforce: false, drift: 1, ..well() }), [State::Note; 2]);
    }

    #[test]
    fn a_table_over_four_fifths_full_is_a_problem() {
        let state = |live_blocks| {
            let host = Host::new(Ok(Status { live_blocks, ..well() }));
            table(&host).unwrap()[0].state
        };
        assert_eq!((state(8), state(9)), (State::Ok, State::Problem));
    }
}
