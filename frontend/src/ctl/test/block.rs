//! The block: whether it can be, whether it is, and whether it is gone, by webhook-privd's word and by
//! what stands in ufw's rules or nftables' table, and in the kernel.

use protocol::{Element, Target};

use crate::ctl::check::Finding;
use crate::ctl::engine::Engine;
use crate::ctl::nftables::{Standing, ruleset, set_of};
use crate::ctl::outside::shown;
use crate::ctl::program;
use crate::ctl::rules::{Action, Direction, Rule};
use crate::ctl::test::Tried;
use crate::ctl::{explained, nftables, trial};
use crate::privd_client::{PrivdClient, PrivdError};

/// Whether webhook-privd is there and can block; with which engine.
pub(super) async fn ready(privd: &PrivdClient) -> Tried<Engine> {
    let status = privd.status().await.map_err(away)?;
    match status.problem {
        Some(problem) => Err(Finding::problem(shown(&problem), "what it says; webhookctl check")),
        None => {
            let sentence = format!("answers, and {} can be changed", shown(&status.firewall));
            Ok((Engine::of(&status), sentence))
        }
    }
}

/// The address to block: the one that was asked for, or one that is free.
pub(super) async fn target(privd: &PrivdClient, asked: Option<Target>) -> Tried<Target> {
    let none = || Finding::problem("every documentation address is blocked", "webhookctl list");
    let (target, free) = match asked {
        None => (trial::free_address(privd).await.map_err(away)?.ok_or_else(none)?, true),
        Some(target) => (target, privd.show(target).await.map_err(away)?.block.is_none()),
    };
    if !free {
        let what = format!("{target} is blocked already");
        return Err(Finding::problem(what, format!("webhookctl unblock {target}")));
    }
    Ok((target, format!("{target}, which nobody has, is not blocked now")))
}

/// Whether webhook-privd has it in force; as what.
pub(super) async fn in_force(privd: &PrivdClient, target: Target) -> Tried<Target> {
    match privd.show(target).await.map_err(away)?.block {
        Some(block) if block.in_force => {
            let sentence = format!("webhook-privd has {} in force, read back", block.target);
            Ok((block.target, sentence))
        }
        Some(block) => Err(Finding::problem(
            format!("webhook-privd has {}, and not in force", block.target),
            "webhookctl status",
        )),
        None => Err(Finding::problem(
            format!("the webhook-privd of this host has no block of {target}"),
            "an URL of this host: whose webhookd has answered?",
        )),
    }
}

/// Whether ufw's file has both rules, of webhookd's and of that block.
pub(super) fn in_rules(target: Target) -> Tried<()> {
    let rules =
        Rule::all().map_err(|error| Finding::problem(error.to_string(), "sudo webhookctl test"))?;
    let denies = |direction| {
        let mut ours = rules.iter().filter(|rule| is_of(rule, target));
        ours.any(|rule| rule.action == Action::Deny && rule.direction == direction)
    };
    let missing = match (denies(Direction::In), denies(Direction::Out)) {
        (true, true) => {
            return Ok(((), "`ufw status` has both: from it, and out to it".to_owned()));
        }
        (false, _) => "from",
        (true, false) => "out to",
    };
    let what = format!("ufw's rules have no `deny {missing} {target}` of webhookd's");
    Err(Finding::problem(what, "webhookctl status\njournalctl -u webhook-privd -n 20"))
}

/// Whether the kernel has both.
pub(super) fn in_kernel(target: Target) -> Tried<()> {
    let address = target.to_string();
    let (tool, chains) = if target.is_ipv6() {
        ("ip6tables", ["ufw6-user-input", "ufw6-user-output"])
    } else {
        ("iptables", ["ufw-user-input", "ufw-user-output"])
    };
    for (chain, side) in chains.into_iter().zip(["-s", "-d"]) {
        let arguments = ["-w", "5", "-C", chain, side, &address, "-j", "DROP"];
        let found = program::run(tool, &arguments)
            .map_err(|error| Finding::problem(error.to_string(), "webhookctl check"))?;
        if !found.success {
            let what =
                format!("the kernel's {chain} does not drop {address}: {}", found.complaint());
            return Err(Finding::problem(what, "webhookctl check"));
        }
    }
    Ok(((), format!("drops what comes from {address} and what goes there")))
}

/// Whether the engine's table drops what is in its sets.
pub(super) fn in_table() -> Tried<()> {
    let standing = ruleset()
        .map_err(|error| Finding::problem(error.to_string(), "webhookctl check"))
        .map(|ruleset| Standing::of(&ruleset))?;
    let what = match standing {
        Standing::Right => {
            let sentence = "inet webhookd drops both ways, ahead of all other tables".to_owned();
            return Ok(((), sentence));
        }
        Standing::Missing => "there is no table inet webhookd".to_owned(),
        Standing::Wrong(what) => format!("the table inet webhookd is not as it was made: {what}"),
    };
    Err(Finding::problem(what, "webhookctl status\njournalctl -u webhook-privd -n 20"))
}

/// Whether the kernel has it in its set now.
pub(super) async fn in_set(privd: &PrivdClient, target: Target) -> Tried<()> {
    match element(privd, target).await? {
        Some(_) => Ok(((), format!("has {target} in the set {}", set_of(target)))),
        None => {
            let what = format!("the kernel does not have {target} in the set {}", set_of(target));
            Err(Finding::problem(what, "webhookctl check"))
        }
    }
}

/// Whether the kernel has it no more.
pub(super) async fn is_gone_from_set(privd: &PrivdClient, target: Target) -> bool {
    element(privd, target).await.is_ok_and(|found| found.is_none())
}

async fn element(privd: &PrivdClient, target: Target) -> Result<Option<Element>, Finding> {
    let found = nftables::element(privd, target).await.map_err(away)?;
    found.map_err(|why| Finding::problem(shown(&why), "webhookctl check"))
}

/// Whether no rule of it is left.
pub(super) fn is_gone_from_rules(target: Target) -> bool {
    Rule::all().is_ok_and(|rules| !rules.iter().any(|rule| is_of(rule, target)))
}

fn is_of(rule: &Rule, target: Target) -> bool {
    rule.is_ours() && rule.peer() == Some(target.net())
}

pub(super) fn away(error: PrivdError) -> Finding {
    Finding::problem(explained(&error), "systemctl status webhook-privd\nwebhookctl check")
}
