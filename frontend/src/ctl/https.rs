//! A small HTTPS client for what webhookctl asks of others. It trusts the authorities of one file and
//! no others, follows no redirect, and takes no proxy from its environment.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use ureq::config::Config;
pub(super) use ureq::http::Method;
use ureq::http::{Request, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

use crate::ctl::outside::shown_path;

/// A client with its trust; each request has a connection that may be used again.
#[derive(Debug)]
pub(super) struct Https(Agent);

/// What came back, whatever its status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Where a redirect leads.
    pub(super) location: Option<String>,
    /// Text of whoever answered.
    pub(super) body: String,
}

impl Https {
    /// Trusts the PEM authorities of this file. `at` is where to connect, one after the other, whatever
    /// the name in the URL; empty: where the name leads.
    pub(super) fn trusting(authorities: &Path, at: &[SocketAddr]) -> Result<Self, HttpsError> {
        let roots = read(authorities)?;
        let roots = roots.iter().map(|root| Certificate::from_der(root).to_owned());
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
            .root_certs(RootCerts::Specific(Arc::new(roots.collect())))
            .build();
        let config = Config::builder()
            .tls_config(tls)
            .https_only(true)
            .proxy(None)
            // Where it leads is told, not gone to: the token is for nobody else.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("webhookctl/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(ALL))
            .build();
        Ok(Self(Agent::with_parts(config, DefaultConnector::default(), Found(at.to_owned()))))
    }

    /// Asks, or sends JSON, with further headers, and waits for the whole answer.
    pub(super) fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Result<Answer, HttpsError> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = match body {
            None => self.0.run(request.body(()).map_err(|error| HttpsError::of(error.into()))?),
            Some(body) => {
                let request = request.header("Content-Type", "application/json").body(body);
                self.0.run(request.map_err(|error| HttpsError::of(error.into()))?)
            }
        };
        let answer = answer.map_err(HttpsError::of)?;
        let status = answer.status().as_u16();
        let location = answer.headers().get("Location").and_then(|to| to.to_str().ok());
        let location = location.map(str::to_owned);
        let body = answer.into_body().into_with_config().limit(MOST_BYTES).read_to_string();
        Ok(Answer { status, location, body: body.map_err(HttpsError::of)? })
    }
}

/// A URL of a command line that this client can go to; `example` shows how one is written.
pub(super) fn parse_url(text: &str, example: &str) -> Result<String, String> {
    match text.parse::<Uri>() {
        Ok(uri) if uri.scheme_str() == Some("https") && uri.host().is_some() => Ok(text.to_owned()),
        Ok(_) => Err(format!("no https URL; write for example {example}")),
        Err(error) => Err(format!("{error}; write for example {example}")),
    }
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, HttpsError> {
    let unusable = |reason: String| HttpsError::Authorities { path: path.to_owned(), reason };
    let roots: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))?.collect();
    match roots {
        Ok(roots) if roots.is_empty() => Err(unusable("there is none".to_owned())),
        roots => roots.map_err(|error| unusable(error.to_string())),
    }
}

/// The addresses to connect to; none: those that the system finds.
#[derive(Debug)]
struct Found(Vec<SocketAddr>);

impl Resolver for Found {
    fn resolve(
        &self,
        url: &Uri,
        config: &Config,
        deadline: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let system = DefaultResolver::default();
        if self.0.is_empty() {
            // By its own error this could be a connection's.
            return system.resolve(url, config, deadline).map_err(|error| match error {
                Error::Io(_) => Error::HostNotFound,
                other => other,
            });
        }
        let mut all = system.empty();
        for address in self.0.iter().take(MOST_ADDRESSES) {
            all.push(*address);
        }
        Ok(all)
    }
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpsError {
    #[error("{} holds no usable PEM certificate of a CA: {reason}", shown_path(path))]
    Authorities { path: PathBuf, reason: String },
    #[error("the URL cannot be used: {0}")]
    Url(String),
    #[error("the URL's host has no address")]
    Host,
    #[error("no connection: {0}")]
    Connection(io::Error),
    #[error("the certificate is not accepted: {0}")]
    Certificate(rustls::CertificateError),
    #[error("no answer in time ({0})")]
    Late(String),
    #[error("{0}")]
    Other(Error),
}

impl HttpsError {
    fn of(error: Error) -> Self {
        match error {
            Error::Io(error) => match tls(&error) {
                Some(rustls::Error::InvalidCertificate(wrong)) => Self::Certificate(wrong.clone()),
                _ => Self::Connection(error),
            },
            Error::Rustls(rustls::Error::InvalidCertificate(wrong)) => Self::Certificate(wrong),
            Error::BadUri(_) | Error::Http(_) | Error::RequireHttpsOnly(_) => {
                Self::Url(error.to_string())
            }
            Error::HostNotFound => Self::Host,
            Error::Timeout(which) => Self::Late(which.to_string()),
            other => Self::Other(other),
        }
    }
}

/// A handshake's error comes as one of its connection.
fn tls(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

const CONNECT: Duration = Duration::from_secs(5);
/// webhookd answers within 50 s, and Kibana waits 60 s.
const ALL: Duration = Duration::from_secs(60);
/// Bytes: Kibana takes no more than 1 MB, and what it gives is far below.
const MOST_BYTES: u64 = 2 << 20;
/// What the resolver's list holds.
const MOST_ADDRESSES: usize = 16;
