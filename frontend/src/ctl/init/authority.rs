//! The local CA and the certificate it signs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use crate::ctl::init::InitError;
use crate::ctl::init::san::San;

/// A CA with its key.
pub(super) struct Authority {
    path: PathBuf,
    /// Its certificate, PEM.
    pub(super) certificate: String,
    der: CertificateDer<'static>,
    key: KeyPair,
}

/// A certificate and its key, PEM.
pub(super) struct Leaf {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Authority {
    /// A new one, named after the host, which will stand at `path`.
    pub(super) fn make(host: &str, path: PathBuf) -> Result<Self, InitError> {
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
    pub(super) fn read(certificate: &Path, key: &Path) -> Result<Self, InitError> {
        let wrong = |path: &Path, reason: &str| InitError::Authority {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let text = fs::read_to_string(certificate).map_err(InitError::reading(certificate))?;
        let found = first_certificate(&text).zip(der(&text));
        let unusable = || wrong(certificate, "holds no usable PEM certificate");
        let (pem, der) = found.ok_or_else(unusable)?;
        let x509 = parsed(&der).ok_or_else(unusable)?;
        if !x509.is_ca() {
            return Err(wrong(certificate, "is no CA: it cannot sign certificates"));
        }
        if x509.subject() != x509.issuer() {
            return Err(wrong(certificate, "is no root: Kibana would not trust it alone"));
        }
        let text = fs::read_to_string(key).map_err(InitError::reading(key))?;
        let pair = KeyPair::from_pem(&text).map_err(|_| {
            wrong(key, "holds no usable PEM key; one with a passphrase must be decrypted first")
        })?;
        Ok(Self { path: certificate.to_owned(), certificate: pem, der, key: pair })
    }

    /// Its key, PEM.
    pub(super) fn key(&self) -> String {
        self.key.serialize_pem()
    }

    /// Whether the PEM text is this CA's certificate.
    pub(super) fn is(&self, text: &str) -> bool {
        der(text).is_some_and(|der| der == self.der)
    }

    /// Signs a new certificate with a new key, and proves that a client that trusts this CA takes
    /// it.
    pub(super) fn sign(&self, host: &str, names: &[San]) -> Result<Leaf, InitError> {
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

    fn prove(&self, leaf: &CertificateDer<'_>, names: &[San]) -> Result<(), InitError> {
        let untrusted = |source| InitError::Untrusted { ca: self.path.clone(), source };
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).map_err(untrusted)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = verifier.build().map_err(|error| InitError::Tls(error.to_string()))?;
        for name in names.iter().filter_map(|name| ServerName::try_from(name.to_string()).ok()) {
            verifier
                .verify_server_cert(leaf, &[], &name, &[], UnixTime::now())
                .map_err(untrusted)?;
        }
        Ok(())
    }
}

/// What a certificate says that is there already.
pub(super) struct Certificate {
    /// The names and addresses it is good for, in its order.
    pub(super) names: Vec<San>,
    /// Its last second, since the Unix epoch.
    pub(super) until: u64,
}

impl Certificate {
    /// Reads the first one of a PEM text, which may be anybody's.
    pub(super) fn read(text: &str) -> Option<Self> {
        let der = der(text)?;
        let x509 = parsed(&der)?;
        let names = x509.subject_alternative_name().ok().flatten();
        let names = names.map(|names| names.value.general_names.iter().filter_map(san).collect());
        let until = u64::try_from(x509.validity().not_after.timestamp()).ok()?;
        Some(Self { names: names.unwrap_or_default(), until })
    }
}

fn san_type(name: &San) -> Result<SanType, rcgen::Error> {
    Ok(match name {
        San::Name(name) => SanType::DnsName(name.as_str().try_into()?),
        San::Address(address) => SanType::IpAddress(*address),
    })
}

fn san(name: &GeneralName<'_>) -> Option<San> {
    match name {
        GeneralName::DNSName(name) => name.parse().ok(),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(Into::into);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(Into::into));
            address.ok().map(San::Address)
        }
        _ => None,
    }
}

fn der(text: &str) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(text.as_bytes()).ok()
}

fn parsed<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    x509_parser::parse_x509_certificate(der).ok().map(|(_, x509)| x509)
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
