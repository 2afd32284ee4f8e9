//! Why `init` did not do its work.

use std::io;
use std::path::{Path, PathBuf};

use crate::ctl::token::TokenFileError;

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
    #[error("{} was made by no CA in this folder: --force makes a CA and a new one", .0.display())]
    NotOurs(PathBuf),
    #[error("{}: {reason}", path.display())]
    Authority { path: PathBuf, reason: String },
    #[error("the certificate cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error(
        "a certificate by the CA {} would not be trusted: {source}; do certificate and key belong \
         together, and is it in date?",
        ca.display()
    )]
    Untrusted { ca: PathBuf, source: rustls::Error },
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
    #[error(transparent)]
    Token(#[from] TokenFileError),
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
        match self {
            Self::Token(error) => error.is_bad_input(),
            Self::Directory(_)
            | Self::OtherAuthority(_)
            | Self::CertificateThere(_)
            | Self::NotOurs(_)
            | Self::Authority { .. }
            | Self::Untrusted { .. } => true,
            _ => false,
        }
    }
}
