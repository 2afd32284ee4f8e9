//! Whether webhookd lives, and whether an alert would be obeyed now.

use std::time::{SystemTime, UNIX_EPOCH};

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use protocol::{Status, Untrusted};

use crate::privd_client::{PrivdClient, PrivdError};
use crate::server::answer;
use crate::times::local;

/// Somebody answers.
#[must_use]
pub fn alive() -> HttpResponse {
    answer::fine("webhookd is alive")
}

/// Whether it is, and no more: without a token nothing is told about the host.
pub async fn ready(privd: &PrivdClient) -> HttpResponse {
    if obstacles(&privd.status().await, None).is_empty() {
        answer::fine("ready")
    } else {
        answer::error(StatusCode::SERVICE_UNAVAILABLE, "not ready; with the token this says why")
    }
}

/// Whether it is, and if not, why and what to run. A mistake in the token file keeps no alert from
/// being obeyed, but it would keep webhookd from starting again.
pub async fn ready_in_words(
    privd: &PrivdClient,
    certificate_ends: Option<i64>,
    mistake: Option<String>,
) -> HttpResponse {
    let status = privd.status().await;
    let obstacles = obstacles(&status, certificate_ends);
    let mistake = mistake.map(|mistake| format!("; {mistake}")).unwrap_or_default();
    match status {
        Ok(status) if obstacles.is_empty() => answer::fine(&(well(&status) + &mistake)),
        _ => answer::error(
            StatusCode::SERVICE_UNAVAILABLE,
            &format!("not ready: {}{mistake}", obstacles.join("; ")),
        ),
    }
}

/// Each thing that keeps an alert from being obeyed, with the command that mends it.
fn obstacles(status: &Result<Status, PrivdError>, certificate_ends: Option<i64>) -> Vec<String> {
    let mut obstacles = Vec::new();
    match status {
        Err(error) => {
            obstacles.push(format!("{error}; run `systemctl status webhook-privd`"));
        }
        Ok(status) => {
            if let Some(problem) = &status.problem {
                obstacles.push(Untrusted(problem).to_string());
            } else if status.verified_at.is_none() {
                obstacles.push("webhook-privd has not read the firewall's rules yet".to_owned());
            }
            if status.not_in_force > 0 && status.enforce {
                obstacles.push(format!(
                    "{} of {} blocks are not in force; run `journalctl -u webhook-privd`",
                    status.not_in_force, status.live_blocks
                ));
            }
            if status.live_blocks >= status.max_blocks {
                obstacles.push(format!(
                    "all {} blocks of max-blocks are live; run `webhookctl unblock` for what is \
                     not needed, or raise max-blocks in privd.toml",
                    status.max_blocks
                ));
            }
        }
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if let Some(end) = certificate_ends.and_then(|end| u64::try_from(end).ok())
        && end <= now
    {
        let end = local(end);
        obstacles.push(format!(
            "the certificate expired on {end}: Kibana refuses it; run `webhookctl init --renew`"
        ));
    }
    obstacles
}

fn well(status: &Status) -> String {
    let mode = if status.enforce { "" } else { ", but only observing (enforce = false)" };
    format!("ready{mode}: {} blocks, all in force", status.live_blocks)
}

#[cfg(test)]
mod tests {
    use protocol::Text;

    use super::*;
    use crate::fake_privd;

    #[test]
    fn what_keeps_an_alert_from_being_obeyed_is_named_with_what_to_run() {
        let well = || Status { verified_at: Some(1), ..fake_privd::status() };
        let off = Text::truncated("ufw is inactive: run `ufw allow OpenSSH`, then `ufw enable`");
        for (status, certificate_ends, words) in [
            (Ok(Status { problem: Some(off), ..well() }), None, "`ufw enable`"),
            (Ok(Status { verified_at: None, ..well() }), None, "not read the firewall's rules yet"),
            (Ok(Status { not_in_force: 2, ..well() }), None, "2 of 3 blocks are not in force"),
            (Ok(Status { max_blocks: 3, ..well() }), None, "raise max-blocks"),
            (Ok(well()), Some(1_000_000_000), "`webhookctl init --renew`"),
            (Err(PrivdError::Lost), None, "`systemctl status webhook-privd`"),
        ] {
            let found = obstacles(&status, certificate_ends);
            assert!(found.len() == 1 && found[0].contains(words), "{words}: {found:?}");
        }
        assert_eq!(obstacles(&Ok(well()), Some(i64::MAX)), [""; 0]);
        // Nothing is in force, as nothing is to be.
        let observing = Status { enforce: false, not_in_force: 3, ..well() };
        assert_eq!(obstacles(&Ok(observing), None), [""; 0]);
    }
}
