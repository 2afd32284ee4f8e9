//! This host, as Kibana is to know it.

use std::path::{Path, PathBuf};

use clap::Args;
use protocol::Target;

use crate::ctl::certificate::{Certificate, San};
use crate::ctl::machine::Machine;
use crate::ctl::never_block::{self, NeverBlockError};
use crate::ctl::outside::{Unreadable, read, shown_path};
use crate::ctl::{PRIVD_TOML, WEBHOOKD_TOML};
use crate::server::config::{Config, ConfigError};

/// Where the host's side of it stands.
#[derive(Args)]
pub(super) struct HostArguments {
    /// By which name or address of its certificate Kibana reaches this host; without this, the first
    #[arg(long, value_name = "NAME_OR_ADDR")]
    host: Option<San>,
    /// What this host is called in Kibana, without this by its own name; two hosts must not share one
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<String>,
    /// webhookd's configuration
    #[arg(long, value_name = "FILE", default_value = WEBHOOKD_TOML)]
    config: PathBuf,
    /// webhook-privd's configuration
    #[arg(long, value_name = "FILE", default_value = PRIVD_TOML)]
    privd_config: PathBuf,
}

/// What Kibana needs to know of this host.
pub(in crate::ctl) struct Here {
    /// `webhookd-` and what the host is called.
    pub(super) connector: String,
    /// `https://HOST:PORT`.
    pub(super) origin: String,
    /// The file of whom Kibana is to trust; none where the certificate is of a CA elsewhere.
    pub(super) authority: Option<PathBuf>,
    pub(super) token_file: PathBuf,
    /// What no alert may block here.
    pub(super) never_block: Vec<Target>,
}

impl Here {
    /// A host of this name that is reached at `at`, with its port.
    pub(in crate::ctl) fn new(
        name: &str,
        at: &str,
        token_file: PathBuf,
        authority: Option<PathBuf>,
        never_block: Vec<Target>,
    ) -> Self {
        Self {
            connector: format!("webhookd-{}", plain(name)),
            origin: format!("https://{at}"),
            authority,
            token_file,
            never_block,
        }
    }

    /// As its configuration and its certificate tell it.
    pub(super) fn read(arguments: &HostArguments) -> Result<Self, HereError> {
        let config = Config::load(&arguments.config)?;
        let path = &config.tls.certificate;
        let certificate = Certificate::read(&read(path)?);
        let certificate = certificate.ok_or_else(|| HereError::Certificate(path.clone()))?;
        let name = match &arguments.host {
            Some(host) if !certificate.names.contains(host) => {
                return Err(HereError::NotNamed {
                    host: host.to_string(),
                    certificate: path.clone(),
                });
            }
            Some(host) => host,
            None => certificate.first_name().ok_or_else(|| HereError::Nameless(path.clone()))?,
        };
        let at = format!("{}:{}", name.in_url(), config.listen.port());
        let own = match &arguments.name {
            Some(name) => name.clone(),
            None => Machine::read().map_err(HereError::Host)?.name,
        };
        let authority = authority(path, &certificate);
        let never_block = never_block::networks(&arguments.privd_config)?;
        Ok(Self::new(&own, &at, config.token_file, authority, never_block))
    }

    /// Where Kibana posts to.
    pub(super) fn url(&self) -> String {
        format!("{}/blockip", self.origin)
    }

    /// The text of whom it is to trust.
    pub(super) fn authority_pem(&self) -> Result<Option<String>, Unreadable> {
        self.authority.as_ref().map(read).transpose()
    }
}

/// The CA that `init` made, or a certificate that is its own.
fn authority(path: &Path, certificate: &Certificate) -> Option<PathBuf> {
    let beside = path.with_file_name("ca.pem");
    if beside.exists() {
        return Some(beside);
    }
    certificate.is_own_issuer.then(|| path.to_owned())
}

/// Part of a connector's id: Kibana's own form has small letters, digits, `-` and `_` there.
fn plain(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    name.to_ascii_lowercase().chars().map(plain).collect()
}

fn name(text: &str) -> Result<String, String> {
    if !(1..=LONGEST).contains(&text.len()) || plain(text) != text {
        return Err("a name has 1 to 63 of the characters a-z, 0-9, `_` and `-`".to_owned());
    }
    Ok(text.to_owned())
}

/// Why it is not known how this host is reached.
#[derive(Debug, thiserror::Error)]
pub(in crate::ctl) enum HereError {
    #[error("{0}; `webhookctl init` makes it")]
    Config(#[from] ConfigError),
    #[error("{0}; `webhookctl init` makes it")]
    Read(#[from] Unreadable),
    #[error("{} is no certificate; `webhookctl init --renew` makes one", shown_path(.0))]
    Certificate(PathBuf),
    #[error(
        "{} names no host; `webhookctl init --renew --san NAME` makes one that does", shown_path(.0)
    )]
    Nameless(PathBuf),
    #[error(
        "--host: {host} is not among the names of {}; `webhookctl init --renew --san {host}` adds it",
        shown_path(certificate)
    )]
    NotNamed { host: String, certificate: PathBuf },
    #[error(transparent)]
    NeverBlock(#[from] NeverBlockError),
    #[error("this host cannot be read: {0}")]
    Host(nix::errno::Errno),
}

/// Characters: of a host name's label (RFC 1123).
const LONGEST: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_called_what_a_connectors_id_can_be() {
        for (host, connector) in
            [("web-01", "webhookd-web-01"), ("Web.example", "webhookd-web-example")]
        {
            let here = Here::new(host, "203.0.113.10:5001", "token".into(), None, Vec::new());
            assert_eq!(here.connector, connector);
            assert_eq!(here.url(), "https://203.0.113.10:5001/blockip");
        }
        assert_eq!(name("web-01").as_deref(), Ok("web-01"));
        for text in ["", "Web", "a b", "a/b", "a.b", &"a".repeat(64)] {
            assert!(name(text).is_err(), "{text}");
        }
    }
}
