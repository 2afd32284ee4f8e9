//! What SIGHUP reads again: who may post, and the certificate that is shown. It is exchanged as a
//! whole, between two requests or handshakes, and no connection ends by it. Tokens need no signal.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::digest::{SHA256, digest};
use logging::Action;
use protocol::Untrusted;
use rustls::ServerConfig;
use rustls::sign::CertifiedKey;
use sd_notify::NotifyState;
use slog::{Logger, error, info};
use tokio::signal::unix::Signal;
use x509_parser::parse_x509_certificate;

use crate::server::StartError;
use crate::server::auth::TokenFile;
use crate::server::auth::certificate::ClientAuthorities;
use crate::server::config::{Config, Networks};
use crate::server::journal::Journal;
use crate::server::tls;

/// Everything that may change while webhookd serves.
#[derive(Debug)]
pub struct Access {
    /// Who may post.
    pub allow_clients: Networks,
    /// What lets them in.
    pub tokens: TokenFile,
    /// Whose certificates let them in, too.
    pub client_authorities: Option<ClientAuthorities>,
    /// What they know us by.
    pub certificate: Arc<CertifiedKey>,
    /// What handshakes begin with.
    pub tls: Arc<ServerConfig>,
}

impl Access {
    /// Reads certificate, key, client authorities and token file.
    ///
    /// # Errors
    /// A sentence that names the file and the mend.
    pub fn load(config: &Config) -> Result<Self, StartError> {
        let certificate = Arc::new(tls::certificate(&config.tls)?);
        let authorities = config.tls.client_ca.as_deref().map(ClientAuthorities::load);
        let client_authorities = authorities.transpose()?;
        let tls = Arc::new(tls::server_config(&certificate, client_authorities.as_ref())?);
        let tokens = TokenFile::open(&config.token_file)?;
        let allow_clients = config.allow_clients.clone();
        Ok(Self { allow_clients, tokens, client_authorities, certificate, tls })
    }

    /// When the certificate expires, in seconds since the Unix epoch.
    #[must_use]
    pub fn certificate_ends(&self) -> Option<i64> {
        let leaf = self.certificate.cert.first()?;
        let (_, parsed) = parse_x509_certificate(leaf).ok()?;
        Some(parsed.validity().not_after.timestamp())
    }

    /// SHA-256 of the leaf, as `openssl x509 -fingerprint -sha256` prints it.
    fn fingerprint(&self) -> String {
        let leaf = self.certificate.cert.first().map(|leaf| digest(&SHA256, leaf));
        let mut text = String::new();
        for byte in leaf.iter().flat_map(AsRef::as_ref) {
            let colon = if text.is_empty() { "" } else { ":" };
            // A string takes everything.
            let _ = write!(text, "{colon}{byte:02X}");
        }
        text
    }
}

/// The place where what is in force is found.
#[derive(Debug)]
pub struct Current(RwLock<Arc<Access>>);

impl Current {
    /// Begins with what the start has read.
    #[must_use]
    pub fn new(first: Access) -> Self {
        Self(RwLock::new(Arc::new(first)))
    }

    /// What is in force; it stays as it is while it is held, so that a request is judged by one.
    pub fn read(&self) -> Arc<Access> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, next: Access) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }
}

/// Reads everything again at each SIGHUP; what is wrong with a file is said, and all stays as it was.
pub async fn serve_hangups(
    mut hangups: Signal,
    path: PathBuf,
    current: Arc<Current>,
    journal: Arc<Journal>,
) {
    let log = &journal.log;
    while hangups.recv().await.is_some() {
        announce(log);
        // Also where a file has a mistake: logrotate has renamed the old one.
        journal.audit().reopen();
        match Config::load(&path).map_err(StartError::from).and_then(|new| Access::load(&new)) {
            Ok(new) => {
                exchange(&current, new, &path, log);
                journal.itself(Action::Reloaded, "read again", None);
            }
            Err(problem) => {
                error!(log, "not read again, all stays as it was"; "why" => %problem);
                journal.itself(Action::Reloaded, "not read again", Some(&problem));
            }
        }
        // Without systemd there is nobody to notify.
        let _ = sd_notify::notify(&[NotifyState::Ready]);
    }
}

/// `systemctl reload` waits from here to the next `READY=1`. From systemd 253 on the time of the
/// message is a part of it (sd_notify(3)); older ones pass it over.
fn announce(log: &Logger) {
    let told = NotifyState::monotonic_usec_now()
        .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now]));
    if let Err(problem) = told {
        error!(log, "systemd does not learn of the reload"; "why" => %problem);
    }
}

fn exchange(current: &Current, new: Access, path: &Path, log: &Logger) {
    let old = current.read();
    let said = |changed: bool, new: String| if changed { new } else { "unchanged".to_owned() };
    let certificate = said(
        old.certificate.cert != new.certificate.cert,
        format!("SHA-256 {}", new.fingerprint()),
    );
    let authorities = match &new.client_authorities {
        Some(authorities) => format!("{authorities:?}"),
        None => "none".to_owned(),
    };
    let authorities = said(old.client_authorities != new.client_authorities, authorities);
    let new_tokens = new.tokens.last();
    let tokens = said(old.tokens.last() != new_tokens, new_tokens.names());
    let allowed = said(old.allow_clients != new.allow_clients, new.allow_clients.to_string());
    current.replace(new);
    info!(log, "read again: who may post and the certificate now, the rest at a restart";
        "certificate" => certificate, "client_ca" => authorities, "tokens" => %Untrusted(&tokens), "allow_clients" => allowed,
        "file" => %path.display());
}
