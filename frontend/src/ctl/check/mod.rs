//! `webhookctl check`: everything that a set-up can get wrong, and how to mend it.
//!
//! Each line of [`CHECKS`] stands for itself: what cannot be looked at is a problem that says why,
//! and the others go on. The last of all is a block of an address that nobody has.

mod account;
mod certificate;
mod confinement;
mod files;
mod finding;
mod firewall;
mod guide;
mod host;
mod neighbours;
mod nftables;
mod operator;
mod port;
mod privd;
mod room;
mod socket;
mod trial;
mod units;

use crate::ctl::check::finding::{Findings, Line};
use crate::ctl::check::host::Host;
use crate::ctl::engine::Engine;
use crate::ctl::output::{Line as Printed, Output, bad, good};
use crate::ctl::{CtlError, Done};
use crate::privd_client::PrivdClient;

pub(super) use crate::ctl::check::finding::{Finding, State};

/// How to check.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Leave out the trial block of a documentation address
    #[arg(long)]
    no_trial: bool,
}

const EXAMPLES: &str = "\
Examples:
  sudo webhookctl check
  sudo webhookctl check --no-trial
  sudo webhookctl check --json | jq '.[] | select(.state == \"problem\")'

A line says ok, note (worth knowing, no failure) or problem; below a problem is
what mends it. What stands first is to be mended first: others depend on it. The
trial block ends after a minute by itself.

Exit status: 0 no problem, and the trial block held; 1 bad usage; 2 problems.";

pub(super) async fn check(
    privd: &PrivdClient,
    output: &Output,
    arguments: &Arguments,
) -> Result<Done, CtlError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(CtlError::NotRoot("check"));
    }
    let host = Host::new(privd::settled(privd).await);
    let of_engine = match host.engine() {
        Engine::Ufw => OF_UFW,
        Engine::Nftables => OF_NFTABLES,
    };
    let checks = of_engine.iter().chain(CHECKS);
    let mut lines: Vec<Line> =
        checks.flat_map(|(name, check)| Line::of(name, check(&host))).collect();
    lines.extend(Line::of("your address", operator::addresses(privd).await));
    lines.extend(Line::of("trial block", trial::block(&host, privd, arguments.no_trial).await));

    let problems = lines.iter().filter(|line| line.finding.state == State::Problem).count();
    let mut text: Vec<Printed> = lines.iter().flat_map(Line::text).collect();
    text.push(match problems {
        0 => good("All is well.").into(),
        1 => bad("1 problem.").into(),
        many => bad(&format!("{many} problems.")).into(),
    });
    output.print(&lines, &text)?;
    Ok(if problems == 0 { Done::Well } else { Done::Failed })
}

type Check = fn(&Host) -> Findings;

/// What others depend on comes first: with each engine what its blocks depend on.
const OF_UFW: &[(&str, Check)] = &[
    ("ufw", firewall::version),
    ("ufw active", firewall::active),
    ("iptables", firewall::iptables),
    ("IPv6", firewall::ipv6),
    ("programs", firewall::programs),
];
const OF_NFTABLES: &[(&str, Check)] = &[
    ("nftables", nftables::table),
    ("flush ruleset", nftables::flushing),
    ("flowtables", nftables::flowtables),
    ("ufw", nftables::ufw_beside),
    ("iptables", firewall::iptables),
];
const CHECKS: &[(&str, Check)] = &[
    ("account", account::account),
    ("files", files::owners_and_modes),
    ("configuration", files::configurations),
    ("token", files::tokens),
    ("certificate", certificate::certificate),
    ("client CA", certificate::client_authority),
    ("room", room::free),
    ("clock", room::clock),
    ("socket", socket::socket),
    ("units", units::units),
    ("exposure", units::exposure),
    ("webhook-privd", privd::state),
    ("table", privd::table),
    ("confinement", confinement::confinement),
    ("port", port::port),
    ("Docker", neighbours::docker),
    ("other tools", neighbours::tools),
    ("the guide", guide::leftovers),
];
