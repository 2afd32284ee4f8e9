//! Client certificates: who is let in by one, and what the log calls them.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use crate::server::tls::{self, TlsError};

/// The authorities of `tls.client-ca`.
#[derive(Clone)]
pub struct ClientAuthorities {
    certificates: Vec<CertificateDer<'static>>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl ClientAuthorities {
    /// Reads the file.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn load(path: &Path) -> Result<Self, TlsError> {
        let certificates = tls::authorities(path)?;
        let damaged = |reason: String| TlsError::ClientCa { path: path.to_owned(), reason };
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone()).map_err(|error| damaged(error.to_string()))?;
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        // Who has none may have a token.
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .allow_unauthenticated()
            .build()
            .map_err(|error| damaged(error.to_string()))?;
        Ok(Self { certificates, verifier })
    }

    /// What a handshake asks.
    #[must_use]
    pub fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.verifier)
    }

    /// The name of who has shown this chain, leaf first, if these authorities vouch for it now. The
    /// handshake was with those of its own time, and a connection may outlive them.
    #[must_use]
    pub fn name(&self, chain: &[CertificateDer<'static>]) -> Option<String> {
        let (leaf, between) = chain.split_first()?;
        self.verifier.verify_client_cert(leaf, between, UnixTime::now()).ok()?;
        Some(name(leaf))
    }
}

impl PartialEq for ClientAuthorities {
    fn eq(&self, other: &Self) -> bool {
        self.certificates == other.certificates
    }
}

impl fmt::Debug for ClientAuthorities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} client authorities", self.certificates.len())
    }
}

/// The common name, else the first of the other names. It is text of whoever signed the
/// certificate, to be logged escaped.
fn name(leaf: &CertificateDer<'_>) -> String {
    let nameless = || "a certificate without a name".to_owned();
    let Ok((_, certificate)) = parse_x509_certificate(leaf) else { return nameless() };
    let mut common = certificate.subject().iter_common_name();
    if let Some(name) = common.find_map(|name| name.as_str().ok()).filter(|name| !name.is_empty()) {
        return name.to_owned();
    }
    let others = certificate.subject_alternative_name().ok().flatten();
    let others = others.map(|others| others.value.general_names.as_slice()).unwrap_or_default();
    let text = |other: &GeneralName<'_>| match other {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => {
            Some((*text).to_owned())
        }
        _ => None,
    };
    others.iter().find_map(text).unwrap_or_else(nameless)
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
        IsCa, Issuer, KeyPair,
    };

    use super::*;

    struct Authority(Issuer<'static, KeyPair>, String);

    impl Authority {
        fn new() -> Self {
            let mut parameters = CertificateParams::default();
            parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate().unwrap();
            let pem = parameters.self_signed(&key).unwrap().pem();
            Self(Issuer::new(parameters, key), pem)
        }

        fn sign(
            &self,
            common: Option<&str>,
            others: &[&str],
            usage: ExtendedKeyUsagePurpose,
        ) -> Vec<CertificateDer<'static>> {
            let others: Vec<String> = others.iter().map(|&other| other.to_owned()).collect();
            let mut parameters = CertificateParams::new(others).unwrap();
            parameters.distinguished_name = DistinguishedName::new();
            if let Some(common) = common {
                parameters.distinguished_name.push(DnType::CommonName, common);
            }
            parameters.extended_key_usages = vec![usage];
            let key = KeyPair::generate().unwrap();
            vec![parameters.signed_by(&key, &self.0).unwrap().der().clone()]
        }

        fn load(&self) -> ClientAuthorities {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), &self.1).unwrap();
            ClientAuthorities::load(file.path()).unwrap()
        }
    }

    #[test]
    fn a_certificate_is_called_by_its_common_name_or_another_and_only_by_its_authority() {
        let (ours, other) = (Authority::new(), Authority::new());
        let authorities = ours.load();
        let client = ExtendedKeyUsagePurpose::ClientAuth;
        for (common, others, expected) in [
            (Some("kibana-1"), vec!["kibana.example"], "kibana-1"),
            (None, vec!["kibana.example"], "kibana.example"),
            (Some(""), vec!["10.0.0.7", "kibana.example"], "kibana.example"),
            (None, vec![], "a certificate without a name"),
        ] {
            let chain = ours.sign(common, &others, client.clone());
            assert_eq!(authorities.name(&chain).as_deref(), Some(expected));
            assert_eq!(other.load().name(&chain), None, "of another authority");
        }
        let server = ours.sign(Some("x"), &[], ExtendedKeyUsagePurpose::ServerAuth);
        assert_eq!(authorities.name(&server), None, "made for servers");
        assert_eq!(authorities.name(&[]), None);
        assert!(authorities == ours.load() && authorities != other.load());
    }

    #[test]
    fn a_file_without_an_authority_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path();
        for text in
            ["", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
        {
            std::fs::write(path, text).unwrap();
            let error = ClientAuthorities::load(path).unwrap_err().to_string();
            assert!(error.starts_with(&format!("tls.client-ca: {}", path.display())), "{error}");
        }
    }
}
