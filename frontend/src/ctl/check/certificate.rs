//! webhookd's certificate: how long it is good, for which names, and by whom.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::ifaddrs::getifaddrs;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use crate::ctl::check::finding::{Finding, Findings, Unmade};
use crate::ctl::check::host::Host;
use crate::ctl::outside::{read, shown, shown_path};
use crate::server::tls::certificates;
use crate::times::local;

pub(super) fn certificate(host: &Host) -> Findings {
    let path = &host.frontend()?.tls.certificate;
    let chain = certificates(path).map_err(|error| Unmade::Because(shown(&error.to_string())))?;
    let Some((leaf, intermediates)) = chain.split_first() else {
        return Err(Unmade::Because(format!("{} is empty", shown_path(path))));
    };
    let (_, parsed) = parse_x509_certificate(leaf)
        .map_err(|error| Unmade::Because(format!("{} is damaged: {error}", shown_path(path))))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let validity = parsed.validity();
    let seconds = |time: i64| u64::try_from(time).unwrap_or_default();
    let names = names(&parsed);
    let mut findings = vec![
        judge_dates(
            seconds(validity.not_before.timestamp()),
            seconds(validity.not_after.timestamp()),
            now,
        ),
        judge_names(&names, &own_addresses(), read("/proc/sys/kernel/hostname")?.trim()),
    ];
    let authority = path.with_file_name("ca.pem");
    if authority.exists() {
        findings.push(judge_issuer(leaf, intermediates, &authority, &names)?);
    }
    Ok(findings)
}

fn judge_dates(from: u64, to: u64, now: u64) -> Finding {
    let (begin, end) = (local(from), local(to));
    if now < from {
        return Finding::problem(format!("good only from {begin} on"), "timedatectl\ndate");
    }
    let Some(left) = to.checked_sub(now) else {
        return Finding::problem(format!("expired on {end}: Kibana refuses it"), RENEW);
    };
    match left / DAY {
        0..14 => Finding::problem(format!("expires on {end}"), RENEW),
        14..60 => Finding::note(format!("expires on {end}")),
        _ => Finding::ok(format!("good until {end}")),
    }
}

/// A name that a certificate is for.
#[derive(Debug)]
enum Name {
    Address(IpAddr),
    Domain(String),
}

impl Name {
    fn text(&self) -> String {
        match self {
            Self::Address(address) => address.to_string(),
            Self::Domain(name) => name.clone(),
        }
    }

    /// A name that means this host wherever it is used.
    fn is_local(&self) -> bool {
        match self {
            Self::Address(address) => address.is_loopback(),
            Self::Domain(name) => name == "localhost" || name.starts_with("localhost."),
        }
    }
}

fn names(certificate: &X509Certificate<'_>) -> Vec<Name> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let names = extension.iter().flat_map(|extension| &extension.value.general_names);
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(Name::Domain(name.to_ascii_lowercase())),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok().map(Name::Address)
        }
        _ => None,
    });
    names.collect()
}

fn judge_names(names: &[Name], own: &[IpAddr], host: &str) -> Finding {
    let remote: Vec<&Name> = names.iter().filter(|name| !name.is_local()).collect();
    let list = remote.iter().map(|name| shown(&name.text())).collect::<Vec<_>>().join(", ");
    let host = host.to_ascii_lowercase();
    let means_this = |name: &&&Name| match name {
        Name::Address(address) => own.contains(address),
        Name::Domain(name) => {
            *name == host || name.strip_prefix(&host).is_some_and(|rest| rest.starts_with('.'))
        }
    };
    if remote.is_empty() {
        let what = "names nothing but this host itself (subjectAltName), and Kibana goes by that";
        Finding::problem(what, RENEW)
    } else if remote.iter().any(|name| means_this(&name)) {
        Finding::ok(format!("for {list}"))
    } else if remote.iter().any(|name| matches!(name, Name::Domain(_))) {
        Finding::note(format!("for {list}: Kibana must reach this host ({}) by that", shown(&host)))
    } else {
        Finding::problem(format!("for {list}, and none is an address of this host"), RENEW)
    }
}

/// What others reach this host by.
fn own_addresses() -> Vec<IpAddr> {
    let interfaces = getifaddrs().into_iter().flatten();
    let addresses = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::from(address.ip())))
    });
    addresses.filter(|address| !address.is_loopback()).collect()
}

/// Whether a client that trusts the authority beside it, as Kibana does, takes the certificate.
fn judge_issuer(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    authority: &Path,
    names: &[Name],
) -> Result<Finding, Unmade> {
    let because = |error: String| Unmade::Because(format!("{}: {error}", shown_path(authority)));
    let mut roots = RootCertStore::empty();
    for root in certificates(authority).map_err(|error| because(error.to_string()))? {
        roots.add(root).map_err(|error| because(error.to_string()))?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = verifier.build().map_err(|error| because(error.to_string()))?;
    let Some(Ok(name)) = names.first().map(|name| ServerName::try_from(name.text())) else {
        return Err(because("the certificate has no name to be verified by".into()));
    };
    let verified = verifier.verify_server_cert(leaf, intermediates, &name, &[], UnixTime::now());
    let authority = shown_path(authority);
    Ok(match verified {
        Ok(_) => Finding::ok(format!("issued by {authority}, which Kibana is to trust")),
        Err(error) => {
            let what = format!("who trusts {authority} refuses it: {}", shown(&error.to_string()));
            Finding::problem(what, RENEW)
        }
    })
}

const RENEW: &str = "webhookctl init --renew\nsystemctl reload webhookd";
const DAY: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::check::finding::State;

    #[test]
    fn the_dates_are_judged_by_the_days_left() {
        let now = 1_790_000_000;
        for (from, to, state) in [
            (now + 1, now + 100 * DAY, State::Problem),
            (0, now - 1, State::Problem),
            (0, now + 14 * DAY - 1, State::Problem),
            (0, now + 14 * DAY, State::Note),
            (0, now + 60 * DAY - 1, State::Note),
            (0, now + 60 * DAY, State::Ok),
        ] {
            assert_eq!(judge_dates(from, to, now).state, state, "{from} {to}");
        }
    }

    #[test]
    fn a_name_must_mean_this_host_to_others() {
        let own = ["10.9.0.1".parse().unwrap()];
        let state = |names: &[&str]| {
            let names: Vec<Name> = names
                .iter()
                .map(|text| match text.parse() {
                    Ok(address) => Name::Address(address),
                    Err(_) => Name::Domain((*text).to_owned()),
                })
                .collect();
            judge_names(&names, &own, "Web1").state
        };
        assert_eq!(state(&["10.9.0.1", "localhost"]), State::Ok);
        assert_eq!(state(&["web1"]), State::Ok);
        assert_eq!(state(&["web1.example.org"]), State::Ok);
        assert_eq!(state(&["web10.example.org"]), State::Note);
        assert_eq!(state(&["10.9.0.9"]), State::Problem);
        assert_eq!(state(&["127.0.0.1", "localhost"]), State::Problem);
        assert_eq!(state(&[]), State::Problem);
    }
}
