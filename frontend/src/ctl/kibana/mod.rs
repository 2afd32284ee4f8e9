//! `webhookctl kibana`: what Kibana needs to call this host, told or put there.
//!
//! | file | what it is |
//! |---|---|
//! | `here` | this host: its URL, whom to trust, whom it never blocks |
//! | `definitions` | connector, rule, action and exclusion, from packaging/elastic/kibana |
//! | `guide` | the same for people, which `init` ends with |
//! | `print`, `apply` | the two commands |

mod apply;
mod definitions;
mod guide;
mod here;
mod print;
mod version;

use std::path::PathBuf;

use clap::Subcommand;

use crate::ctl::output::Output;
use crate::ctl::outside::{Unreadable, shown_path};
use crate::ctl::token::TokenFileError;
use crate::ctl::{CtlError, Done};

pub(super) use crate::ctl::kibana::definitions::Which;
#[cfg(test)]
pub(super) use crate::ctl::kibana::definitions::body;
pub(super) use crate::ctl::kibana::guide::Guide;
pub(super) use crate::ctl::kibana::here::Here;

/// What is to be done.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Print what Kibana needs, filled in for this host
    Print(print::Arguments),
    /// Put connector, rule and action of this host into Kibana, and bring them up to date
    Apply(apply::Arguments),
}

const EXAMPLES: &str = "\
Examples:
  webhookctl kibana print
  sudo webhookctl kibana apply --url https://kibana:5601 --api-key-file api.key

Exit status: 0 done, 1 bad input, 2 failed.";

pub(super) fn kibana(arguments: &Arguments, output: &Output) -> Result<Done, CtlError> {
    match &arguments.what {
        What::Print(what) => Ok(print::print(what, output)?),
        What::Apply(how) => Ok(apply::apply(how, output)?),
    }
}

/// Why Kibana was not told, or nothing was printed.
#[derive(Debug, thiserror::Error)]
pub(super) enum KibanaError {
    #[error(transparent)]
    Here(#[from] here::HereError),
    #[error("{0}; `webhookctl init` makes it")]
    Read(Unreadable),
    #[error(transparent)]
    Token(#[from] TokenFileError),
    #[error(
        "{} holds digests alone: give the token itself by --token-file, or make another with \
         `webhookctl token add NAME`", shown_path(.0)
    )]
    NoToken(PathBuf),
    #[error("the certificate is of a CA elsewhere: have Kibana trust that")]
    NoAuthority,
    #[error(transparent)]
    Apply(#[from] apply::ApplyError),
    #[error("the output cannot be written: {0}")]
    Output(#[from] std::io::Error),
}

impl KibanaError {
    /// Whether the command line asked for what cannot be done.
    pub(super) const fn is_bad_input(&self) -> bool {
        match self {
            Self::Here(error) => matches!(error, here::HereError::NotNamed { .. }),
            Self::Token(error) => error.is_bad_input(),
            Self::Apply(error) => error.is_bad_input(),
            _ => false,
        }
    }
}
