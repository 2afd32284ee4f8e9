//! Why `token` did not do its work.

use std::io;
use std::path::PathBuf;

use crate::ctl::edit::EditError;
use crate::ctl::outside::{shown, shown_path};
use crate::server::auth::TokenError;
use crate::server::config::ConfigError;

/// A sentence that names the thing and the mend.
#[derive(Debug, thiserror::Error)]
pub(in crate::ctl) enum TokenFileError {
    #[error("{0}; name the token file by --token-file, or make both with `webhookctl init`")]
    Config(#[from] ConfigError),
    #[error("{} is not there; `webhookctl init` makes it", shown_path(.0))]
    Missing(PathBuf),
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The server's own judgement of what is or would be in the file.
    #[error(transparent)]
    Tokens(#[from] TokenError),
    #[error(
        "there is a token {} already: take another name, or `webhookctl token revoke {}` first",
        shown(.0), shown(.0)
    )]
    NameTaken(String),
    #[error("that secret is in the file already, as {}", shown(.0))]
    SecretTaken(String),
    #[error("there is no token {}; there is {}", shown(name), shown(names))]
    Unknown { name: String, names: String },
    #[error(
        "{} is the last token, and webhookd does not start without one: `webhookctl token add NAME` \
         first", shown(.0)
    )]
    Last(String),
    #[error("the system gives no random numbers")]
    Random,
    #[error("{option}: {} cannot be read: {source}", shown_path(path))]
    Given { option: &'static str, path: PathBuf, source: io::Error },
    #[error("{option}: {} {problem}", shown_path(path))]
    GivenToken { option: &'static str, path: PathBuf, problem: String },
    #[error("{option}: {} holds a digest; the token itself is needed", shown_path(path))]
    GivenDigest { option: &'static str, path: PathBuf },
    #[error("{option}: {} holds {count} tokens; give one that holds one", shown_path(path))]
    GivenCount { option: &'static str, path: PathBuf, count: usize },
}

impl TokenFileError {
    /// Whether the command line asked for what cannot be done.
    pub(in crate::ctl) const fn is_bad_input(&self) -> bool {
        matches!(
            self,
            Self::NameTaken(_)
                | Self::SecretTaken(_)
                | Self::Unknown { .. }
                | Self::Last(_)
                | Self::GivenToken { .. }
                | Self::GivenDigest { .. }
                | Self::GivenCount { .. }
        )
    }
}
