//! The local CA and the certificate it signs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::ctl::certificate::{Certificate, San, parsed, verify};

/// A CA with its key.
pub(in crate::ctl) struct Authority {
    path: PathBuf,
    /// Its certificate, PEM.
    pub(in crate::ctl) certificate: String,
    der: CertificateDer<'static>,
    key: KeyPair,
}

/// A certificate and its key, PEM.
pub(in crate::ctl) struct Leaf {
    pub(in crate::ctl) certificate: String,
    pub(in crate::ctl) key: String,
}

impl Authority {
    /// A new one, named after the host, which will stand at `path`.
    pub(in crate::ctl) fn make(host: &str, path: PathBuf) -> Result<Self, AuthorityError> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, short(&format!("webhookd CA of {host}")));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.not_before = a_day_ago().into();
        params.not_after = a_day_ago().checked_add(LIFE).unwrap_or_else(SystemTime::now).into();
        let key = KeyPair::generate()?;
        let made = params.self_signed(&key)?;
        Ok(Self { path, certificate: made.pem(), der: made.der().clone(), key })
    }

    /// An existing one; Kibana must be able to trust it alone.
    pub(in crate::ctl) fn read(certificate: &Path, key: &Path) -> Result<Self, AuthorityError> {
        let wrong = |path: &Path, reason: &str| AuthorityError::Unusable {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let text = fs::read_to_string(certificate).map_err(AuthorityError::reading(certificate))?;
        let found = first_certificate(&text).zip(der(&text));
        let unusable = || wrong(certificate, "holds no usable PEM certificate");
        let (pem, der) = found.ok_or_else(unusable)?;
        let says = Certificate::of(&der).ok_or_else(unusable)?;
        if !says.is_authority {
            return Err(wrong(certificate, "is no CA: it cannot sign certificates"));
        }
        if !says.is_own_issuer {
            return Err(wrong(certificate, "is no root: Kibana would not trust it alone"));
        }
        let text = fs::read_to_string(key).map_err(AuthorityError::reading(key))?;
        let pair = KeyPair::from_pem(&text).map_err(|_| {
            wrong(key, "holds no usable PEM key; one with a passphrase must be decrypted first")
        })?;
        Ok(Self { path: certificate.to_owned(), certificate: pem, der, key: pair })
    }

    /// Its key, PEM.
    pub(in crate::ctl) fn key(&self) -> String {
        self.key.serialize_pem()
    }

    /// Whether the PEM text is this CA's certificate.
    pub(in crate::ctl) fn is(&self, text: &str) -> bool {
        der(text).is_some_and(|der| der == self.der)
    }

    /// Signs a new certificate with a new key, and proves that a client that trusts this CA takes
    /// it.
    pub(in crate::ctl) fn sign(&self, host: &str, names: &[San]) -> Result<Leaf, AuthorityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, short(host));
        params.subject_alt_names = names.iter().map(san_type).collect::<Result<_, _>>()?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = a_day_ago().into();
        // As long as the CA. Nobody watches over this host: a certificate that runs out would end all
        // blocking without a word. A short life would protect nothing, as the CA's key lies beside it.
        if let Some(x509) = parsed(&self.der) {
            params.not_after = x509.validity().not_after.to_datetime();
        }
        let key = KeyPair::generate()?;
        let made = params.signed_by(&key, &Issuer::from_ca_cert_der(&self.der, &self.key)?)?;
        self.prove(made.der(), names)?;
        Ok(Leaf { certificate: made.pem(), key: key.serialize_pem() })
    }

    fn prove(&self, leaf: &CertificateDer<'_>, names: &[San]) -> Result<(), AuthorityError> {
        verify(std::slice::from_ref(&self.der), leaf, &[], names)
            .map_err(|source| AuthorityError::Untrusted { ca: self.path.clone(), source })
    }
}

/// Why a CA cannot be used, or a certificate not be made.
#[derive(Debug, thiserror::Error)]
pub(in crate::ctl) enum AuthorityError {
    #[error("{} cannot be read: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: {reason}", path.display())]
    Unusable { path: PathBuf, reason: String },
    #[error("the certificate cannot be made: {0}")]
    Made(#[from] rcgen::Error),
    #[error(
        "a certificate by the CA {} would not be trusted: {source}; do certificate and key belong \
         together, and is it in date?",
        ca.display()
    )]
    Untrusted { ca: PathBuf, source: rustls::Error },
}

impl AuthorityError {
    fn reading(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Read { path: path.to_owned(), source }
    }
}

fn san_type(name: &San) -> Result<SanType, rcgen::Error> {
    Ok(match name {
        San::Name(name) => SanType::DnsName(name.as_str().try_into()?),
        San::Address(address) => SanType::IpAddress(*address),
    })
}

fn der(text: &str) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(text.as_bytes()).ok()
}

/// The first certificate alone: a key may stand in the same file.
fn first_certificate(text: &str) -> Option<String> {
    let (_, rest) = text.split_once(BEGIN)?;
    let (body, _) = rest.split_once(END)?;
    Some(format!("{BEGIN}{body}{END}\n"))
}

/// A common name has at most 64 characters (X.520).
fn short(name: &str) -> String {
    name.chars().take(64).collect()
}

/// A Kibana whose clock is behind takes the certificate too.
fn a_day_ago() -> SystemTime {
    SystemTime::now().checked_sub(DAY).unwrap_or(SystemTime::UNIX_EPOCH)
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
const DAY: Duration = Duration::from_hours(24);
/// Ten years.
const LIFE: Duration = Duration::from_hours(24 * 3653);
