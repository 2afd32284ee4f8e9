//! The ways in: a token in one of two headers, or a client certificate. Each is enough.

pub mod certificate;
pub mod credential;
pub mod token_file;
pub mod tokens;

pub use token_file::TokenFile;
pub use tokens::{TokenError, Tokens};

/// How somebody got in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// `Authorization: Bearer TOKEN`.
    Bearer,
    /// `Authorization: Basic`, with the token as password.
    Basic,
    /// A client certificate.
    Certificate,
}

impl Way {
    /// For the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Basic => "basic",
            Self::Certificate => "certificate",
        }
    }
}
