//! `webhookctl never-block`: the networks that no alert may block, in the file and in force.
//!
//! The file is changed first and then webhook-privd reads it: where privd finds a mistake in it, the
//! file becomes again what it was.

mod listed;
mod table;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use protocol::{Lift, LiftOutcome, ProtectedNet, Refusal, Reloaded, Target, Untrusted};
use serde::Serialize;

use crate::ctl::edit::{Edit, EditError};
use crate::ctl::never_block::listed::{Listed, Mistake};
use crate::ctl::never_block::table::Row;
use crate::ctl::output::Output;
use crate::ctl::{CtlError, Done, edit, explained, target, unblock};
use crate::privd_client::PrivdClient;

/// What is to be done.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
    /// webhook-privd's configuration
    #[arg(long, global = true, value_name = "FILE", default_value = super::PRIVD_TOML)]
    config: PathBuf,
}

#[derive(Subcommand)]
enum What {
    /// Never block these, and lift the blocks that overlap them
    Add {
        /// Address or network, for example 198.51.100.7 or 2001:db8::/64
        #[arg(required = true, value_name = "ADDR", value_parser = target)]
        networks: Vec<Target>,
    },
    /// Let alerts block these again
    Remove {
        /// Address or network as `list` shows it
        #[arg(required = true, value_name = "ADDR", value_parser = target)]
        networks: Vec<Target>,
    },
    /// List the networks of the configuration
    List {
        /// List everything that no alert may block now: this host's addresses, gateways, name
        /// servers and ufw's allow rules too, with the reason
        #[arg(long)]
        all: bool,
    },
}

const EXAMPLES: &str = "\
Examples:
  sudo webhookctl never-block add 203.0.113.9 2001:db8:77::/48
  sudo webhookctl never-block remove 203.0.113.9
  sudo webhookctl never-block list --all

A change is in force when the command ends, and stays after a restart. Comments
and the order of the file are kept.

Exit status: 0 done, 1 bad input or a mistake in the file, 2 failed.";

pub(super) async fn never_block(
    privd: &PrivdClient,
    output: &Output,
    arguments: &Arguments,
) -> Result<Done, CtlError> {
    let path = &arguments.config;
    match &arguments.what {
        What::Add { networks } => {
            change(privd, output, path, (networks, Listed::add, "added", "there already")).await
        }
        What::Remove { networks } => {
            change(privd, output, path, (networks, Listed::remove, "removed", "not there")).await
        }
        What::List { all: false } => Ok(list(output, path)?),
        What::List { all: true } => {
            let rows: Vec<Row> = privd.protected().await?.iter().map(Row::new).collect();
            output.print(&rows, &table::lines(&rows, output.columns()))?;
            Ok(Done::Well)
        }
    }
}

/// The networks that this configuration of webhook-privd lists, in its order.
pub(super) fn networks(path: &Path) -> Result<Vec<Target>, NeverBlockError> {
    Ok(parse(path, &edit::read(path)?)?.networks())
}

fn list(output: &Output, path: &Path) -> Result<Done, NeverBlockError> {
    let networks: Vec<String> = networks(path)?.iter().map(ToString::to_string).collect();
    let none = || vec!["never-block is empty.".to_owned()];
    output.print(&networks, &if networks.is_empty() { none() } else { networks.clone() })?;
    Ok(Done::Well)
}

/// What is done to each network, and how it is told where it was done and where there was nothing to
/// do.
type Change<'a> = (&'a [Target], fn(&mut Listed, Target) -> bool, &'static str, &'static str);

async fn change(
    privd: &PrivdClient,
    output: &Output,
    path: &Path,
    (networks, change, done, idle): Change<'_>,
) -> Result<Done, CtlError> {
    // Held until privd has answered: who changes it next sees what became of this.
    let file = Edit::begin(path).map_err(NeverBlockError::File)?;
    let mut listed = parse(path, file.text())?;
    let mut answer = Answer::default();
    let mut lines = Vec::new();
    let mut changed = false;
    for network in networks {
        let edited = change(&mut listed, *network);
        changed |= edited;
        let outcome = if edited { done } else { idle };
        lines.push(format!("{network}: {outcome}"));
        answer.networks.push(Network { network: network.to_string(), outcome });
    }
    if changed {
        file.write(&listed.to_string()).map_err(NeverBlockError::File)?;
    }
    let problem = match privd.reload().await {
        Ok(Reloaded::Done { lifted }) => {
            lines.extend(lifted.iter().map(unblock::sentence));
            answer.lifted = lifted.iter().map(Lifted::new).collect();
            answer.in_force = true;
            let failed = lifted.iter().any(|lift| lift.outcome == LiftOutcome::Failed);
            if failed { Some(NOT_LIFTED.to_owned()) } else { elsewhere(privd, &listed).await }
        }
        Ok(Reloaded::Mistake(mistake)) => {
            if changed {
                file.write(file.text()).map_err(NeverBlockError::File)?;
            }
            return Err(NeverBlockError::Refused(Untrusted(&mistake).to_string()).into());
        }
        Err(error) => {
            answer.in_force = false;
            Some(format!("{}; what the file says holds from its next start on", explained(&error)))
        }
    };
    output.print(&answer, &lines)?;
    problem.map_or(Ok(Done::Well), |problem| {
        output.complain(&problem);
        Ok(Done::Failed)
    })
}

/// Why privd, which has read its file, does not do what this file says, if so.
async fn elsewhere(privd: &PrivdClient, listed: &Listed) -> Option<String> {
    let protected = match privd.protected().await {
        Ok(protected) => protected,
        Err(error) => return Some(explained(&error)),
    };
    let from_file = |net: &&ProtectedNet| net.refusal == Refusal::NeverBlock;
    let mut theirs: Vec<_> = protected.iter().filter(from_file).map(|net| net.net).collect();
    let mut ours: Vec<_> = listed.networks().into_iter().map(Target::net).collect();
    theirs.sort_unstable();
    ours.sort_unstable();
    let told_all = protected.len() < ProtectedNet::MOST;
    (told_all && theirs != ours).then(|| ELSEWHERE.to_owned())
}

fn parse(path: &Path, text: &str) -> Result<Listed, NeverBlockError> {
    Listed::parse(text)
        .map_err(|mistake| NeverBlockError::Mistake { path: path.to_owned(), mistake })
}

/// What a change did, as JSON.
#[derive(Default, Serialize)]
struct Answer {
    networks: Vec<Network>,
    in_force: bool,
    lifted: Vec<Lifted>,
}

#[derive(Serialize)]
struct Network {
    network: String,
    outcome: &'static str,
}

#[derive(Serialize)]
struct Lifted {
    target: String,
    outcome: &'static str,
    detail: String,
}

impl Lifted {
    fn new(lift: &Lift) -> Self {
        Self {
            target: lift.target.to_string(),
            outcome: lift.outcome.name(),
            detail: Untrusted(&lift.detail).to_string(),
        }
    }
}

/// Why the list could not be shown or changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum NeverBlockError {
    #[error(transparent)]
    File(#[from] EditError),
    #[error(
        "{}: {mistake}; mend it first, nothing was changed",
        crate::ctl::outside::shown_path(path)
    )]
    Mistake { path: PathBuf, mistake: Mistake },
    #[error("webhook-privd does not take the file, which is as it was before: {0}")]
    Refused(String),
    #[error("the output cannot be written: {0}")]
    Output(#[from] std::io::Error),
}

impl NeverBlockError {
    /// Whether the file or the command line is at fault.
    pub(super) const fn is_bad_input(&self) -> bool {
        matches!(self, Self::Mistake { .. } | Self::Refused(_))
    }
}

const NOT_LIFTED: &str = "not every block of what is protected now could be lifted yet; \
    webhook-privd tries again, and `webhookctl list` shows what is left";
const ELSEWHERE: &str = "webhook-privd read another file than this one: is --config right? \
    See `systemctl cat webhook-privd`";
