//! Why `init` did not do its work.

use std::io;
use std::path::{Path, PathBuf};

use crate::ctl::certificate::AuthorityError;
use crate::ctl::outside::Unreadable;
use crate::server::auth::TokenError;

/// A sentence that names the thing and the mend.
#[derive(Debug, thiserror::Error)]
pub(in crate::ctl) enum InitError {
    #[error("init needs root: sudo webhookctl init ...")]
    NotRoot,
    #[error("there is no group {0}: make it with `systemd-sysusers`, or name another by --group")]
    Group(String),
    #[error("--directory {} is not text; give one of plain characters", .0.display())]
    Directory(PathBuf),
    #[error("this host cannot be read: {0}")]
    Host(nix::errno::Errno),
    #[error("{} is there without {}: {mend}", there.display(), missing.display())]
    Part { there: PathBuf, missing: PathBuf, mend: &'static str },
    #[error(
        "{} is another CA than --ca-cert, and Kibana may trust it: --force replaces all", .0.display()
    )]
    OtherAuthority(PathBuf),
    #[error("{} is there already: --renew makes a new one by that CA", .0.display())]
    CertificateThere(PathBuf),
    #[error(
        "{} was made by no CA in this folder: put its successor in its place, or move it and its key \
         away, and `webhookctl init` makes both, and a CA for Kibana to trust", .0.display()
    )]
    NotOurs(PathBuf),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    Guide(#[from] Unreadable),
    #[error("the system gives no random numbers")]
    Random,
    // It begins with the name of the option.
    #[error("--{0}")]
    Token(#[source] TokenError),
    #[error("--token-file: {} holds {count} tokens; give one that holds one", path.display())]
    TokenCount { path: PathBuf, count: usize },
    #[error("{} cannot be read: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} cannot be written: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
}

impl InitError {
    /// For [`Result::map_err`] after reading a file.
    pub(super) fn reading(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Read { path: path.to_owned(), source }
    }

    /// For [`Result::map_err`] after writing a file.
    pub(super) fn writing(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Write { path: path.to_owned(), source }
    }

    /// Whether the command line asked for what cannot be done.
    pub(in crate::ctl) const fn is_bad_input(&self) -> bool {
        matches!(
            self,
            Self::Directory(_)
                | Self::OtherAuthority(_)
                | Self::CertificateThere(_)
                | Self::NotOurs(_)
                | Self::Authority(
                    AuthorityError::Unusable { .. } | AuthorityError::Untrusted { .. }
                )
                | Self::Token(_)
                | Self::TokenCount { .. }
        )
    }
}
