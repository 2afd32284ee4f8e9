//! Why Kibana was not brought up to date.

use std::io;
use std::path::PathBuf;

use rustls::CertificateError;

use crate::ctl::https::HttpsError;
use crate::ctl::kibana::version::Version;
use crate::ctl::outside::{shown, shown_path};

/// A sentence that names the thing and the mend.
#[derive(Debug, thiserror::Error)]
pub(in crate::ctl) enum ApplyError {
    #[error("--api-key-file: {} cannot be read: {source}", shown_path(path))]
    KeyFile { path: PathBuf, source: io::Error },
    #[error(
        "--api-key-file: others may read {} (mode {mode:03o}): chmod 600 {}, and if they have, make \
         another key",
        shown_path(path),
        shown_path(path)
    )]
    KeyMode { path: PathBuf, mode: u32 },
    #[error(
        "--api-key-file: {} holds no API key: write what Kibana shows as Encoded, or ID:KEY, on one \
         line", shown_path(.0)
    )]
    NoKey(PathBuf),
    #[error("{option}: {} cannot be read: {source}", shown_path(path))]
    Pem { option: &'static str, path: PathBuf, source: io::Error },
    #[error("{option}: {} holds no {what} in PEM", shown_path(path))]
    NotPem { option: &'static str, path: PathBuf, what: &'static str },
    #[error(
        "webhookd knows no token such as that of {}: `webhookctl token add NAME --from FILE` first",
        shown_path(.0)
    )]
    UnknownToken(PathBuf),
    #[error("{auth} needs Kibana {since} or newer, and this is {kibana}")]
    AuthTooNew { auth: &'static str, since: &'static str, kibana: Version },
    #[error("{}", unreached(url, why))]
    Unreached { url: String, why: HttpsError },
    #[error("{url} redirects to {}: give that by --url", shown(to))]
    Redirect { url: String, to: String },
    #[error("what answers at {url} is no Kibana (status {status}); is --url right?")]
    NotKibana { url: String, status: u16 },
    #[error("Kibana is not ready: {}; wait, or look at its log", shown(.0))]
    NotReady(String),
    #[error("Kibana {0} is too old for this, which takes 8.8: webhookctl kibana print")]
    TooOld(Version),
    #[error(
        "Kibana does not accept the API key of --api-key-file: it is mistyped, expired, or of another \
         deployment"
    )]
    WrongKey,
    #[error(
        "Kibana has no space {0}: --space takes the identifier that stands in its URL behind /s/"
    )]
    NoSpace(String),
    #[error(
        "Kibana's licence has no webhook connector ({}): it takes Gold or a trial, Stack Management > \
         License management", shown(.0)
    )]
    Licence(String),
    #[error(
        "the API key may not {what} ({}): its role needs all of Actions and Connectors and of \
         Security in this space, and to read filebeat-* and logs-*",
        shown(message)
    )]
    Privilege { what: &'static str, message: String },
    #[error("Kibana did not {what}: {status} {}", shown(message))]
    Refused { what: &'static str, status: u16, message: String },
    #[error("Kibana's answer cannot be understood: it did not {0}; is it newer than this program?")]
    Unexpected(&'static str),
    #[error(
        "the connector {connector} posts to {}, not to {ours}: if that is another host of this name, \
         call this one otherwise by --name; if it was this one, --replace",
        shown(theirs)
    )]
    OtherHost { connector: String, theirs: String, ours: String },
    #[error("{} is there already, and no webhook: call this host otherwise by --name", shown(.0))]
    NoWebhook(String),
    #[error("others change the rule all the time, and what was added is gone again: try later")]
    Unsettled,
    #[error("the system gives no random numbers")]
    Random,
}

impl ApplyError {
    /// Whether the command line is at fault.
    pub(in crate::ctl) const fn is_bad_input(&self) -> bool {
        matches!(
            self,
            Self::KeyFile { .. }
                | Self::KeyMode { .. }
                | Self::NoKey(_)
                | Self::Pem { .. }
                | Self::NotPem { .. }
                | Self::UnknownToken(_)
                | Self::AuthTooNew { .. }
                | Self::OtherHost { .. }
                | Self::NoWebhook(_)
        )
    }
}

fn unreached(url: &str, why: &HttpsError) -> String {
    match why {
        HttpsError::Connection(source) if source.kind() == io::ErrorKind::ConnectionRefused => {
            format!("nothing listens at {url}: connection refused; is --url right?")
        }
        HttpsError::Connection(source) => {
            format!("the connection to {url} failed: {}", shown(&source.to_string()))
        }
        HttpsError::Certificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!(
            "the certificate at {url} is not for that name: give one of its names in --url ({})",
            shown(&why.to_string())
        ),
        HttpsError::Certificate(wrong) => format!(
            "the certificate at {url} is not trusted: give Kibana's CA by --ca ({})",
            shown(&wrong.to_string())
        ),
        HttpsError::Host => format!("the host of {url} has no address; is --url right?"),
        HttpsError::Authorities { .. } => format!("--ca: {why}"),
        HttpsError::Late(_) => format!("{url} does not answer: {why}; does a firewall drop it?"),
        HttpsError::Url(_) | HttpsError::Other(_) => {
            format!("{url} cannot be asked: {}", shown(&why.to_string()))
        }
    }
}
