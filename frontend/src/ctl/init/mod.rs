//! `webhookctl init`: makes what a host needs to serve Kibana, and says what it did.
//!
//! The package runs it at each installation and upgrade: it asks nothing (but with --from-guide, at a
//! terminal), and what is there already stays as it is. Everything is worked out first and written at the end.

mod configuration;
mod credentials;
mod error;
mod folder;
mod guide;
mod outputs;
mod protection;
mod report;
mod take_over;

use std::path::{Path, PathBuf};

use clap::Args;

use crate::ctl::Done;
use crate::ctl::certificate::San;
use crate::ctl::init::folder::{Folder, Kind, New};
use crate::ctl::init::protection::{Entry, Protection};
use crate::ctl::init::report::Report;
use crate::ctl::machine::Machine;
use crate::ctl::output::Output;
use crate::ctl::token::{self, Given, Name};
use crate::privd_client::PrivdClient;

pub(super) use crate::ctl::init::error::InitError;

/// What `init` can be told.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Where everything goes
    #[arg(long, value_name = "DIR", default_value = super::DIRECTORY)]
    directory: PathBuf,
    /// The group that may read token and key
    #[arg(long, value_name = "NAME", default_value = "webhookd")]
    group: String,
    /// One more name or address for the certificate; the first becomes Kibana's URL
    #[arg(long = "san", value_name = "NAME_OR_ADDR")]
    sans: Vec<San>,
    /// Make a new certificate by the same CA: what Kibana trusts stays right
    #[arg(long, conflicts_with = "force")]
    renew: bool,
    /// Sign with this CA, shared among hosts, instead of one of this host's own
    #[arg(long, value_name = "FILE", requires = "ca_key")]
    ca_cert: Option<PathBuf>,
    /// The key of that CA; it is not copied
    #[arg(long, value_name = "FILE", requires = "ca_cert")]
    ca_key: Option<PathBuf>,
    /// Take the token from this file, - for standard input
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Take the guide's token, so that Kibana's connector needs no new one; make a certificate with
    /// names, as the guide's has none; name what is left of its set-up, and the denies of its script
    #[arg(long, conflicts_with = "token_file")]
    from_guide: bool,
    /// Make the denies of the guide's script webhookd's without asking: moved ahead of what lets
    /// them in, with webhookd's comment, in its list
    #[arg(long, requires = "from_guide")]
    take_over: bool,
    /// Do not put the addresses of open SSH sessions, and of what Filebeat and Elastic Agent send to,
    /// into never-block
    #[arg(long)]
    no_protect_me: bool,
    /// Replace everything that is there, credentials too; the old is kept as NAME.old
    #[arg(long)]
    force: bool,
    /// Show a token that was made now, also where the output is no terminal
    #[arg(long)]
    show_token: bool,
}

const EXAMPLES: &str = "\
Examples:
  sudo webhookctl init
  sudo webhookctl init --san webhook.example.org
  sudo webhookctl init --renew
  sudo webhookctl init --ca-cert our-ca.pem --ca-key our-ca.key
  printf %s \"$TOKEN\" | sudo webhookctl init --token-file -
  sudo webhookctl init --from-guide

What is there already is kept, so it can be repeated at any time. Only SSH
sessions that are logged in count as open.

Exit status: 0 done, 1 bad input, 2 failed.";

pub(super) async fn init(
    arguments: &Arguments,
    privd: &PrivdClient,
    output: &Output,
) -> Result<Done, InitError> {
    let folder = Folder::at(&arguments.directory, &arguments.group, arguments.force)?;
    let host = Machine::read().map_err(InitError::Host)?;
    let mut changes = Changes::default();
    credentials::plan(&folder, arguments, &host, &mut changes)?;
    let made = plan_token(&folder, arguments, &mut changes)?;
    plan_configuration(&folder, arguments, &host, &mut changes)?;
    let mut before = arguments.from_guide.then(guide::Before::look).transpose()?;
    folder.write(&changes.files, &changes.retired)?;
    if let Some(before) = &mut before {
        before.take_over(arguments, privd).await;
    }
    let well = before.as_ref().is_none_or(|before| before.well);
    let made = made.filter(|_| arguments.shows_token());
    let report = Report::new(&folder, &host, changes, made, before);
    output.print(&report, &report.lines())?;
    Ok(if well { Done::Well } else { Done::Failed })
}

/// What is to be written, and what there is to say about it.
#[derive(Default)]
struct Changes {
    files: Vec<New>,
    /// Files that no longer belong to the rest.
    retired: Vec<Kind>,
    /// This host's own addresses, now in allow-clients.
    allowed: Vec<String>,
    /// Now in never-block.
    protected: Vec<Entry>,
    /// Sentences for the operator.
    notes: Vec<String>,
}

/// The token itself, if it was made here.
fn plan_token(
    folder: &Folder,
    arguments: &Arguments,
    changes: &mut Changes,
) -> Result<Option<String>, InitError> {
    if arguments.from_guide && guide::plan_token(folder, changes)? {
        return Ok(None);
    }
    if folder.keeps(Kind::Token) {
        if arguments.token_file.is_some() {
            changes.notes.push("The token is kept; --token-file was not looked at.".to_owned());
        }
        return Ok(None);
    }
    let name = Name::ours("init");
    let (line, made) = match &arguments.token_file {
        Some(path) => (Given::read(path, "--token-file")?.line(&name), None),
        None => {
            let secret = token::make()?;
            (token::line(&secret, &name), Some(secret))
        }
    };
    changes.files.push(folder.new_file(Kind::Token, line));
    Ok(made)
}

fn plan_configuration(
    folder: &Folder,
    arguments: &Arguments,
    host: &Machine,
    changes: &mut Changes,
) -> Result<(), InitError> {
    if !folder.keeps(Kind::Webhookd) {
        changes.allowed = host.public_addresses().iter().map(ToString::to_string).collect();
        let text = configuration::webhookd(folder.path(), &changes.allowed);
        changes.files.push(folder.new_file(Kind::Webhookd, text));
    }
    if !folder.keeps(Kind::Privd) {
        if arguments.no_protect_me {
            changes.notes.push("never-block is empty (--no-protect-me).".to_owned());
        } else {
            let found = Protection::of(host);
            changes.protected = found.entries;
            changes.notes.extend(found.notes);
        }
        let text = configuration::privd(folder.path(), &changes.protected);
        changes.files.push(folder.new_file(Kind::Privd, text));
    }
    Ok(())
}

impl Arguments {
    fn given_authority(&self) -> Option<(&Path, &Path)> {
        self.ca_cert.as_deref().zip(self.ca_key.as_deref())
    }

    /// A token in a log file of the package's installation would be a secret no more.
    fn shows_token(&self) -> bool {
        self.show_token || std::io::IsTerminal::is_terminal(&std::io::stdout())
    }
}
