//! Where webhookd is reached, by which name, whom it is trusted through, and with which token.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use crate::ctl::certificate::Certificate;
use crate::ctl::check::Finding;
use crate::ctl::outside::{read, shown, shown_path};
use crate::ctl::test::undo::{TOKEN, Undo};
use crate::ctl::test::{Arguments, Tried};
use crate::ctl::token::{self, Name};
use crate::server::config::Config;

/// webhookd, as its configuration tells it.
pub(super) struct Webhook {
    pub(super) url: String,
    /// Where to connect, whatever the name means; empty: where the name leads.
    pub(super) at: Vec<SocketAddr>,
    /// The file of whom to trust.
    pub(super) ca: PathBuf,
    /// webhookd's token file.
    token_file: PathBuf,
}

impl Webhook {
    pub(super) fn of(arguments: &Arguments) -> Tried<Self> {
        let config = Config::load(&arguments.config)
            .map_err(|error| Finding::problem(shown(&error.to_string()), "webhookctl init"))?;
        let certificate = &config.tls.certificate;
        let own = certificate.with_file_name("ca.pem");
        // Without it Kibana is given the certificate itself to trust.
        let own = if own.exists() { own } else { certificate.clone() };
        let ca = arguments.ca.clone().unwrap_or(own);
        let (url, at) = match &arguments.url {
            Some(url) => (url.clone(), Vec::new()),
            None => (own_url(&config)?, reached_at(config.listen)),
        };
        let through = at.first().map_or_else(String::new, |at| format!(" at {at}"));
        let sentence = format!("{}{through}, trusting {}", shown(&url), shown_path(&ca));
        Ok((Self { url, at, ca, token_file: config.token_file }, sentence))
    }

    /// The token to post with; one that is made for this alone is noted, to be revoked.
    pub(super) fn secret(&self, given: Option<String>, undo: &mut Undo) -> Tried<String> {
        if let Some(secret) = given {
            return Ok((secret, "the one that was given".to_owned()));
        }
        let file = &self.token_file;
        let unusable = |error: token::TokenFileError| {
            Finding::problem(error.to_string(), "what it says, or: webhookctl token list")
        };
        if let Some((name, secret)) = token::first_plain(file).map_err(unusable)? {
            return Ok((secret, format!("{}, of {}", shown(&name), shown_path(file))));
        }
        let secret = token::make().map_err(unusable)?;
        // One that a test left behind which was killed.
        let _ = token::revoke(file, TOKEN);
        token::add_given(file, &Name::ours(TOKEN), &secret).map_err(unusable)?;
        undo.token = Some(file.clone());
        Ok((secret, format!("{TOKEN}, made for this test alone")))
    }
}

/// By the first name of the certificate, which `init` makes the one for Kibana.
fn own_url(config: &Config) -> Result<String, Finding> {
    let path = &config.tls.certificate;
    let wrong = |what: String| Finding::problem(what, "webhookctl init --renew");
    let text = read(path).map_err(|error| wrong(error.to_string()))?;
    let certificate = Certificate::read(&text);
    let certificate =
        certificate.ok_or_else(|| wrong(format!("{} is no certificate", shown_path(path))))?;
    let nameless = || wrong(format!("{} has no subject alternative name", shown_path(path)));
    let name = certificate.first_name().ok_or_else(nameless)?;
    Ok(format!("https://{}:{}/blockip", name.in_url(), config.listen.port()))
}

/// What listens everywhere is reached by loopback.
fn reached_at(listen: SocketAddr) -> Vec<SocketAddr> {
    let port = listen.port();
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => vec![v4],
        IpAddr::V6(ip) if ip.is_unspecified() => {
            vec![v4, SocketAddr::from((Ipv6Addr::LOCALHOST, port))]
        }
        _ => vec![listen],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_listens_everywhere_is_reached_by_loopback() {
        for (listen, expected) in [
            ("[::]:5001", &["127.0.0.1:5001", "[::1]:5001"][..]),
            ("0.0.0.0:5002", &["127.0.0.1:5002"]),
            ("10.9.0.1:5001", &["10.9.0.1:5001"]),
            ("[2001:db8::1]:5001", &["[2001:db8::1]:5001"]),
        ] {
            let found = reached_at(listen.parse().unwrap());
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{listen}");
        }
    }
}
