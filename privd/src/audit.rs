//! The lines that say what was asked, by whom, and what became of it: one a target.

use protocol::{Block, Lift, Outcome, Unblock, Untrusted, Verdict};
use slog::{Logger, info, o, warn};

use crate::batch::{Item, Why};
use crate::peer::Peer;
use firewall::Effect;

/// One line a verdict.
pub fn blocked(log: &Logger, peer: &Peer, block: &Block, verdicts: &[Verdict]) {
    let login = login(peer);
    let requester = block.requester.map_or_else(|| "-".to_owned(), |address| address.to_string());
    let log = log.new(o!(
        "alert" => Untrusted(&block.alert_id).to_string(),
        "reason" => Untrusted(&block.reason).to_string(),
        "rule" => Untrusted(&block.rule_name).to_string(),
        "requester" => requester,
        "login_uid" => login,
        "peer" => peer.to_string(),
        "event" => block.event.to_string(),
    ));
    for verdict in verdicts {
        let (outcome, detail) = (verdict.outcome.name(), Untrusted(&verdict.detail));
        let why = match verdict.outcome {
            Outcome::Refused(refusal) => refusal.name(),
            _ => "",
        };
        info!(log, "block"; "target" => %verdict.target, "outcome" => outcome, "why" => why,
            "detail" => %detail);
    }
}

/// One line a lift.
pub fn lifted(log: &Logger, peer: &Peer, unblock: &Unblock, lifts: &[Lift]) {
    let log = log.new(o!(
        "login_uid" => login(peer),
        "peer" => peer.to_string(),
        "event" => unblock.event.to_string(),
    ));
    for lift in lifts {
        info!(log, "unblock"; "target" => %lift.target, "outcome" => lift.outcome.name(),
            "detail" => %Untrusted(&lift.detail));
    }
    info!(log, "unblock"; "targets" => lifts.len());
}

/// One line for each block that ends without being asked for, and one for all that were put back.
/// Whether something failed.
pub fn upkeep(log: &Logger, items: &[Item]) -> bool {
    let (mut put_back, mut left) = (0_usize, 0_usize);
    let mut failed = false;
    let unasked = items.iter().filter(|item| !matches!(item.why, Why::New | Why::Asked));
    for item in unasked {
        let holds = item.effect.as_ref().is_some_and(Effect::holds);
        failed |= !holds;
        match item.why {
            Why::Missing if holds => put_back = put_back.saturating_add(1),
            Why::Missing => left = left.saturating_add(1),
            why => info!(log, "unblock"; "target" => %item.change.target(),
                "outcome" => if holds { "lifted" } else { "failed" }, "why" => why.words()),
        }
    }
    if put_back > 0 || left > 0 {
        warn!(log, "blocks were missing from the firewall"; "put_back" => put_back, "left" => left);
    }
    failed
}

/// A verb that changes nothing.
pub fn asked(log: &Logger, peer: &Peer, verb: &'static str, outcome: &'static str) {
    info!(log, "request"; "verb" => verb, "outcome" => outcome, "peer" => %peer, "login_uid" => login(peer));
}

fn login(peer: &Peer) -> String {
    let uid = if peer.uid == 0 { peer.login_uid() } else { None };
    uid.map_or_else(|| "-".to_owned(), |uid| uid.to_string())
}
