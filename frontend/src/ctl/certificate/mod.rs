//! Certificates: what one says that is there already, who would trust it, and the CA that makes one.

mod authority;
mod san;

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

pub(super) use crate::ctl::certificate::authority::{Authority, AuthorityError};
pub(super) use crate::ctl::certificate::san::San;

/// What a certificate says, which may be anybody's.
pub(super) struct Certificate {
    /// The names and addresses it is good for, in its order.
    pub(super) names: Vec<San>,
    /// Its first second, since the Unix epoch.
    pub(super) from: u64,
    /// Its last second.
    pub(super) until: u64,
    /// Whether it may sign others.
    pub(super) is_authority: bool,
    /// Whether it names itself as its issuer: a root, or self-signed.
    pub(super) is_own_issuer: bool,
}

impl Certificate {
    /// Of the first one in a PEM text.
    pub(super) fn read(text: &str) -> Option<Self> {
        Self::of(&CertificateDer::from_pem_slice(text.as_bytes()).ok()?)
    }

    /// The first name that is one host's: what `init` has Kibana reach it by.
    pub(super) fn first_name(&self) -> Option<&San> {
        self.names.iter().find(|name| !name.is_pattern())
    }

    /// None where it is damaged.
    pub(super) fn of(der: &CertificateDer<'_>) -> Option<Self> {
        let x509 = parsed(der)?;
        let names = x509.subject_alternative_name().ok().flatten();
        let names = names.map(|names| names.value.general_names.iter().filter_map(san).collect());
        // A time before 1970 is long past all the same.
        let seconds = |time: i64| u64::try_from(time).unwrap_or_default();
        Some(Self {
            names: names.unwrap_or_default(),
            from: seconds(x509.validity().not_before.timestamp()),
            until: seconds(x509.validity().not_after.timestamp()),
            is_authority: x509.is_ca(),
            is_own_issuer: x509.subject() == x509.issuer(),
        })
    }
}

/// Whether a client that trusts these roots, as Kibana does, takes the certificate for each of the
/// names.
///
/// # Errors
/// What such a client says.
pub(super) fn verify(
    roots: &[CertificateDer<'_>],
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    names: &[San],
) -> Result<(), rustls::Error> {
    let mut trusted = RootCertStore::empty();
    for root in roots {
        trusted.add(root.clone().into_owned())?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(trusted), provider);
    let verifier = verifier.build().map_err(|error| rustls::Error::General(error.to_string()))?;
    for name in names.iter().filter_map(|name| ServerName::try_from(name.example()).ok()) {
        verifier.verify_server_cert(leaf, intermediates, &name, &[], UnixTime::now())?;
    }
    Ok(())
}

fn parsed<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    x509_parser::parse_x509_certificate(der).ok().map(|(_, x509)| x509)
}

fn san(name: &GeneralName<'_>) -> Option<San> {
    match name {
        // Whatever else a CA may have put there is no name that a client asks for.
        GeneralName::DNSName(name) => name
            .bytes()
            .all(|byte| byte.is_ascii_graphic())
            .then(|| San::Name(name.to_ascii_lowercase())),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(Into::into);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(Into::into));
            address.ok().map(San::Address)
        }
        _ => None,
    }
}
