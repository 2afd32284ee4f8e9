//! Who is let in: the allowlist first, then what they present.

use std::net::IpAddr;

use actix_web::http::header::{AUTHORIZATION, HeaderMap};

use crate::server::auth;
use crate::server::reload::Access;

/// Somebody who may post.
#[derive(Clone, Debug)]
pub struct Caller {
    /// From where.
    pub address: IpAddr,
    /// The name of the token.
    pub name: String,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug)]
pub struct Rejection {
    /// The guide's word for it.
    pub reason: &'static str,
    /// What to mend, for who reads Kibana's log.
    pub message: &'static str,
}

/// Whether the address may speak at all.
///
/// # Errors
/// What a stranger hears.
pub fn allowed(access: &Access, address: Option<IpAddr>) -> Result<IpAddr, Rejection> {
    let known = address.filter(|address| access.allow_clients.contain(*address));
    known.ok_or(Rejection {
        reason: "source not in allowlist",
        message: "this client's address is not in allow-clients of webhookd.toml",
    })
}

/// Whether what is presented lets the address in.
///
/// # Errors
/// What is missing or wrong.
pub fn authenticated(
    access: &Access,
    address: IpAddr,
    headers: &HeaderMap,
) -> Result<Caller, Rejection> {
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    match auth::bearer(header).map(|token| access.tokens.find(token)) {
        Ok(Some(name)) => Ok(Caller { address, name: name.to_owned() }),
        Ok(None) => Err(Rejection {
            reason: "bad token",
            message: "the token is wrong: the connector's Authorization header must be `Bearer ` and a token of the token file",
        }),
        Err(reason) => Err(Rejection {
            reason,
            message: "no token: add the header `Authorization: Bearer TOKEN` to the connector",
        }),
    }
}
