//! What the connector is to call this host with.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::ctl::kibana::KibanaError;
use crate::ctl::kibana::apply::ApplyError;
use crate::ctl::kibana::definitions::{Auth, Secret};
use crate::ctl::kibana::here::Here;
use crate::ctl::kibana::version::Version;
use crate::ctl::outside::shown;
use crate::ctl::token::{self, Given, TokenFileError};
use crate::server::auth::Tokens;

/// How the connector proves who it is.
#[derive(Args)]
pub(super) struct SecretArguments {
    /// How Kibana proves who it is; without this, the best that its version keeps encrypted
    #[arg(long, value_name = "HOW")]
    auth: Option<Auth>,
    /// Have it call with the token in this file, - for standard input, instead of the first that
    /// webhookd's own holds as it is
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The certificate that it is to show, in PEM
    #[arg(
        long,
        value_name = "FILE",
        requires = "client_key",
        required_if_eq("auth", "certificate")
    )]
    client_cert: Option<PathBuf>,
    /// The key of that certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    client_key: Option<PathBuf>,
}

/// The one that was chosen.
pub(super) struct Chosen {
    pub(super) auth: Auth,
    pub(super) secret: Secret,
    /// What may be told of it.
    pub(super) mark: String,
}

impl SecretArguments {
    /// As Kibana of this version can keep it.
    pub(super) fn choose(&self, here: &Here, kibana: Version) -> Result<Chosen, KibanaError> {
        let shown_certificate = self.client_cert.as_ref().zip(self.client_key.as_ref());
        let auth = match (self.auth, shown_certificate) {
            (Some(auth), _) => auth,
            (None, Some(_)) => Auth::Certificate,
            (None, None) => Auth::best_for(kibana),
        };
        let too_new = |auth, since| Err(ApplyError::AuthTooNew { auth, since, kibana }.into());
        match (auth, shown_certificate) {
            (Auth::Bearer, _) if !kibana.has_secret_headers() => too_new("--auth bearer", "9.2"),
            (Auth::Certificate, _) if !kibana.has_connector_tls() => {
                too_new("a client certificate", "8.10")
            }
            (Auth::Certificate, Some((certificate, key))) => {
                let certificate = certificate_in(certificate)?;
                let mark = format!("certificate {}", token::mark(&certificate));
                let secret = Secret::Certificate { certificate, key: key_in(key)? };
                Ok(Chosen { auth, secret, mark })
            }
            _ => {
                let (name, secret) = self.token(here)?;
                let mark = format!("token {} {}", shown(&name), token::mark(&secret));
                Ok(Chosen { auth, secret: Secret::Token(secret), mark })
            }
        }
    }

    /// A token that lets in, with its name.
    fn token(&self, here: &Here) -> Result<(String, String), KibanaError> {
        let Some(path) = &self.token_file else {
            let plain = token::first_plain(&here.token_file)?;
            return plain.ok_or_else(|| KibanaError::NoToken(here.token_file.clone()));
        };
        let secret = Given::secret_in(path, "--token-file")?;
        let known = Tokens::load(&here.token_file).map_err(TokenFileError::Tokens)?;
        match known.find(&secret) {
            Some(name) => Ok((name.to_owned(), secret)),
            None => Err(ApplyError::UnknownToken(path.clone()).into()),
        }
    }
}

fn certificate_in(path: &Path) -> Result<String, ApplyError> {
    let text = read(path, "--client-cert")?;
    match CertificateDer::from_pem_slice(text.as_bytes()) {
        Ok(_) => Ok(text),
        Err(_) => Err(not_pem(path, "--client-cert", "certificate")),
    }
}

fn key_in(path: &Path) -> Result<String, ApplyError> {
    let text = read(path, "--client-key")?;
    match PrivateKeyDer::from_pem_slice(text.as_bytes()) {
        Ok(_) => Ok(text),
        Err(_) => Err(not_pem(path, "--client-key", "key without a passphrase")),
    }
}

fn not_pem(path: &Path, option: &'static str, what: &'static str) -> ApplyError {
    ApplyError::NotPem { option, path: path.to_owned(), what }
}

fn read(path: &Path, option: &'static str) -> Result<String, ApplyError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MOST_BYTES).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(text),
        Err(source) => Err(ApplyError::Pem { option, path: path.to_owned(), source }),
    }
}

/// Bytes: of a certificate with its chain, or of a key.
const MOST_BYTES: u64 = 64 << 10;
