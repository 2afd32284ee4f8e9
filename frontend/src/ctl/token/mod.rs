//! `webhookctl token`: who may post. What it changes counts from the next request on.

mod error;
mod file;
mod secret;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use nix::unistd::geteuid;
use serde::Serialize;

use crate::ctl::output::{Line, Output};
use crate::ctl::outside::{shown, shown_path};
use crate::ctl::table::Table;
use crate::ctl::{CtlError, Done};
use crate::server::auth::Tokens;
use crate::server::auth::tokens::Token;
use crate::server::config::Config;

pub(super) use crate::ctl::token::error::TokenFileError;
pub(super) use crate::ctl::token::file::{add_given, first_plain, revoke};
pub(super) use crate::ctl::token::secret::{Given, Name, line, make, mark};

/// Which token file, and what is to be done.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The token file; without this, the one of webhookd's configuration
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// webhookd's configuration
    #[arg(long, global = true, value_name = "FILE", default_value = super::WEBHOOKD_TOML)]
    config: PathBuf,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make a token and show it, this once
    Add {
        /// What the log calls who uses it: 1 to 32 of A-Z, a-z, 0-9, `.`, `_` and `-`
        name: Name,
        /// Take the token from this file, - for standard input
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
    },
    /// Tell the names and dates of the tokens that let in
    List,
    /// Let nobody in any more by the token of this name
    Revoke {
        /// As `list` shows it
        name: String,
    },
}

const EXAMPLES: &str = "\
Examples:
  sudo webhookctl token add kibana-2
  printf %s \"$TOKEN\" | sudo webhookctl token add kibana-2 --from -
  sudo webhookctl token list
  sudo webhookctl token revoke init

What is changed counts from webhookd's next request on, without a restart, also
on connections that are open. To replace a token without a gap: add one, put it
into Kibana's connector, try that, revoke the old one.

Exit status: 0 done, 1 bad input, 2 failed.";

pub(super) fn token(arguments: &Arguments, output: &Output) -> Result<Done, CtlError> {
    if !geteuid().is_root() {
        return Err(CtlError::NotRoot("token"));
    }
    let file = match &arguments.token_file {
        Some(file) => file.clone(),
        None => Config::load(&arguments.config).map_err(TokenFileError::Config)?.token_file,
    };
    match &arguments.action {
        Action::Add { name, from: None } => {
            let secret = make()?;
            add_given(&file, name, &secret)?;
            tell_added(name, Some(&secret), output)?;
        }
        Action::Add { name, from: Some(from) } => {
            let given = Given::read(from, "--from")?;
            file::add(&file, name, &given.digest_line(name))?;
            tell_added(name, None, output)?;
        }
        Action::List => list(&file, output)?,
        Action::Revoke { name } => {
            let others = revoke(&file, name)?;
            tell_revoked(name, &others, output)?;
        }
    }
    Ok(Done::Well)
}

/// A token that was added, as JSON.
#[derive(Serialize)]
struct Added<'a> {
    name: String,
    date: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

fn tell_added(name: &Name, secret: Option<&str>, output: &Output) -> std::io::Result<()> {
    let lines = match secret {
        None => vec![Line::from(format!("The token {name} lets in from now on."))],
        Some(secret) => vec![
            Line::from(format!(
                "The token {name} lets in from now on. It is shown this once, and its digest alone \
                 is kept. For the connector's headers:"
            )),
            Line::Whole(format!("  Authorization: Bearer {secret}")),
        ],
    };
    let added = Added { name: name.to_string(), date: secret::today(), token: secret };
    output.print(&added, &lines)
}

/// A token that lets in, as JSON.
#[derive(Serialize)]
struct Row {
    name: String,
    date: Option<String>,
    kept: &'static str,
}

impl Row {
    fn new(token: &Token) -> Self {
        let date = (!token.date.is_empty()).then(|| shown(&token.date));
        let kept = if token.is_plain { "plain" } else { "digest" };
        Self { name: shown(&token.name), date, kept }
    }

    fn cells(&self) -> [String; 3] {
        let date = self.date.as_deref().unwrap_or("-");
        [self.name.clone(), date.to_owned(), self.kept.to_owned()]
    }
}

fn list(file: &Path, output: &Output) -> Result<(), CtlError> {
    if !file.exists() {
        return Err(TokenFileError::Missing(file.to_owned()).into());
    }
    let tokens = Tokens::load(file).map_err(TokenFileError::Tokens)?;
    let rows: Vec<Row> = tokens.each().iter().map(Row::new).collect();
    let mut table = Table::new(["NAME", "SINCE", "KEPT AS"], 0);
    rows.iter().for_each(|row| table.push(row.cells()));
    let mut lines = table.lines(None);
    if tokens.each().iter().any(|token| token.is_plain) {
        lines.push(String::new().into());
        let advice = format!(
            "Who may read {} has those that are plain. To keep the digest alone of one: add another, \
             put it into Kibana's connector, and revoke it.",
            shown_path(file)
        );
        lines.push(advice.into());
    }
    Ok(output.print(&rows, &lines)?)
}

/// A token that was taken out, as JSON.
#[derive(Serialize)]
struct Revoked<'a> {
    name: &'a str,
    /// What else the same secret is called, which lets it in still.
    still_in_as: &'a [String],
}

fn tell_revoked(name: &str, others: &[String], output: &Output) -> std::io::Result<()> {
    let mut lines = vec![format!("The token {} lets nobody in any more.", shown(name))];
    for other in others {
        let other = shown(other);
        lines.push(format!("Its secret still does, as {other}: webhookctl token revoke {other}"));
    }
    output.print(&Revoked { name, still_in_as: others }, &lines)
}
