//! TLS: rustls with aws-lc-rs, 1.2 and 1.3, HTTP/1.1.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::server::auth::certificate::ClientAuthorities;
use crate::server::config::Tls;

/// TLS as it is spoken here: one certificate, and one asked of the client where authorities for it
/// are known. Sessions are not resumed: Kibana never does, and none outlives what let it in.
///
/// # Errors
/// A defect of the build.
pub fn server_config(
    certificate: &Arc<CertifiedKey>,
    clients: Option<&ClientAuthorities>,
) -> Result<ServerConfig, TlsError> {
    // Named explicitly: two providers in one program would make the default ambiguous.
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?;
    let config = match clients {
        Some(clients) => config.with_client_cert_verifier(clients.verifier()),
        None => config.with_no_client_auth(),
    };
    let mut config =
        config.with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(certificate))));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Reads certificate and key and proves that they belong together.
///
/// # Errors
/// A sentence that names the file and the mend.
pub fn certificate(files: &Tls) -> Result<CertifiedKey, TlsError> {
    let certificates = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|source| TlsError::Key { path: files.key.clone(), source })?;
    let pair = CertifiedKey::from_der(certificates, key, &aws_lc_rs::default_provider());
    pair.map_err(|source| match source {
        rustls::Error::InvalidCertificate(_) => {
            TlsError::Damaged { path: files.certificate.clone(), source }
        }
        _ => TlsError::Pair { key: files.key.clone(), source },
    })
}

/// Reads a file of certificates: a chain, the leaf first, or authorities.
///
/// # Errors
/// A sentence that names the file.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    read(path).map_err(|source| TlsError::Certificate { path: path.to_owned(), source })
}

/// Reads the authorities of client certificates.
///
/// # Errors
/// A sentence that names the file.
pub fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    read(path)
        .map_err(|error| TlsError::ClientCa { path: path.to_owned(), reason: error.to_string() })
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)?.collect::<Result<_, _>>()?;
    if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) }
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate file.
    #[error("tls.certificate: {} holds no usable PEM certificate: {source}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// PEM around something that is no certificate.
    #[error("tls.certificate: {} is damaged: {source}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// The key file.
    #[error("tls.key: {} holds no usable PEM key: {source}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// They do not belong together.
    #[error("tls.key: {} does not belong to the certificate: {source}", key.display())]
    Pair {
        /// The key file.
        key: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// The authorities of client certificates.
    #[error("tls.client-ca: {} holds no usable PEM certificate of a CA: {reason}", path.display())]
    ClientCa {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A defect of the build.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}
