//! Who is let in: the allowlist first, then what they present.

use std::net::IpAddr;
use std::time::Instant;

use actix_web::http::header::HeaderMap;
use rustls::pki_types::CertificateDer;

use crate::server::attempts::Attempts;
use crate::server::auth::Way;
use crate::server::auth::credential::{Credential, Unclear};
use crate::server::journal::Journal;
use crate::server::places::Source;
use crate::server::reload::Access;

/// Somebody who may post.
#[derive(Clone, Debug)]
pub struct Caller {
    /// From where.
    pub address: IpAddr,
    /// The name of the token, or what the certificate says, which is text from outside.
    pub name: String,
    /// How they got in.
    pub way: Way,
}

/// Why somebody is not let in, in short.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// Not in `allow-clients`.
    Stranger,
    /// Nothing presented.
    NoToken,
    /// A token that is none of ours.
    WrongToken,
    /// Not judged, as too many were wrong.
    TooManyFailed,
}

impl Reason {
    /// Every one there is.
    pub const ALL: [Self; 4] =
        [Self::Stranger, Self::NoToken, Self::WrongToken, Self::TooManyFailed];

    /// The published word; the first three are the guide's.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stranger => "source not in allowlist",
            Self::NoToken => "missing bearer",
            Self::WrongToken => "bad token",
            Self::TooManyFailed => "too many failed attempts",
        }
    }
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rejection {
    /// In short.
    pub reason: Reason,
    /// What to mend, for who reads Kibana's log.
    pub message: &'static str,
    /// Seconds after which it may be another; 429 then instead of 401.
    pub retry_after: Option<u32>,
}

/// What a request presents.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// Where it may hold a token.
    pub headers: &'a HeaderMap,
    /// The chain that its connection has shown.
    pub certificates: &'a [CertificateDer<'static>],
}

/// Whether the address may speak at all.
///
/// # Errors
/// What a stranger hears.
pub fn allowed(access: &Access, address: Option<IpAddr>) -> Result<IpAddr, Rejection> {
    let known = address.filter(|address| access.allow_clients.contain(*address));
    known.ok_or(STRANGER)
}

/// Whether what is presented lets the address in: a certificate, whatever the header holds, or a
/// token.
///
/// # Errors
/// What is missing or wrong.
pub fn authenticated(
    access: &Access,
    attempts: &Attempts,
    address: IpAddr,
    presented: Presented<'_>,
    journal: &Journal,
    now: Instant,
) -> Result<Caller, Rejection> {
    let authorities = access.client_authorities.as_ref();
    let holder = authorities.and_then(|authorities| authorities.name(presented.certificates));
    let credential = match (Credential::of(presented.headers), holder) {
        (Err(Unclear::Several), _) => return Err(SEVERAL),
        (_, Some(name)) => return Ok(Caller { address, name, way: Way::Certificate }),
        (Err(Unclear::Missing), None) => return Err(MISSING),
        (Ok(credential), None) => credential,
    };
    let attempt = attempts
        // Exactly this address: a neighbour in its network shall not use its attempts up.
        .begin(Source::Address(address), now)
        .map_err(|seconds| Rejection { retry_after: Some(seconds), ..SLOWED })?;
    let tokens = access.tokens.tokens(journal);
    let name = credential.find(&tokens).ok_or(WRONG)?.to_owned();
    attempt.was_right();
    Ok(Caller { address, name, way: credential.way })
}

const STRANGER: Rejection = Rejection {
    reason: Reason::Stranger,
    message: "this client's address is not in allow-clients of webhookd.toml",
    retry_after: None,
};
const MISSING: Rejection = Rejection {
    reason: Reason::NoToken,
    message: "no token: add the header `Authorization: Bearer TOKEN` to the connector, or basic \
              authentication with user webhookd and the token as password, or a client certificate",
    retry_after: None,
};
const SEVERAL: Rejection = Rejection {
    reason: Reason::WrongToken,
    message: "more than one Authorization header: the connector's own or its basic authentication, \
              not both",
    retry_after: None,
};
const WRONG: Rejection = Rejection {
    reason: Reason::WrongToken,
    message: "the token is wrong: the connector's Authorization header must be `Bearer ` and a token \
              of the token file, or of basic authentication with user webhookd and the token as \
              password",
    retry_after: None,
};
const SLOWED: Rejection = Rejection {
    reason: Reason::TooManyFailed,
    message: "too many failed attempts from this client: the token is not looked at for a moment. If \
              nobody guesses, a connector there has a wrong Authorization header",
    retry_after: None,
};
