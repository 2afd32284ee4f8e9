//! webhookd's certificate: how long it is good, for which names, and by whom; and the authority whose
//! client certificates let in.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;

use crate::ctl::certificate::{Authority, Certificate, San, verify};
use crate::ctl::check::finding::{Finding, Findings, Unmade};
use crate::ctl::check::host::Host;
use crate::ctl::machine::Machine;
use crate::ctl::outside::{shown, shown_path};
use crate::server::tls::{authorities, certificates};
use crate::times::local;

pub(super) fn certificate(host: &Host) -> Findings {
    let path = &host.frontend()?.tls.certificate;
    let chain = certificates(path).map_err(|error| Unmade::Because(shown(&error.to_string())))?;
    let Some((leaf, intermediates)) = chain.split_first() else {
        return Err(Unmade::Because(format!("{} is empty", shown_path(path))));
    };
    let damaged = || Unmade::Because(format!("{} is damaged", shown_path(path)));
    let says = Certificate::of(leaf).ok_or_else(damaged)?;
    let machine = Machine::read().map_err(|errno| Unmade::Because(errno.to_string()))?;
    let renewal = Renewal::of(path);
    let mut findings = vec![
        judge_dates(says.from, says.until, now(), &renewal),
        judge_names(&says.names, &machine, &renewal),
    ];
    let authority = path.with_file_name("ca.pem");
    if authority.exists() {
        findings.push(judge_issuer(leaf, intermediates, &authority, &says.names, &renewal)?);
    }
    Ok(findings)
}

/// The authority of client certificates, where one is configured.
pub(super) fn client_authority(host: &Host) -> Findings {
    let Some(path) = &host.frontend()?.tls.client_ca else {
        return Ok(vec![Finding::ok("none (tls.client-ca): a token lets in")]);
    };
    let shown_name = shown_path(path);
    let authorities = match authorities(path) {
        Ok(authorities) => authorities,
        Err(error) => {
            let mend = format!("put a CA's certificate there, readable to webhookd: {shown_name}");
            return Ok(vec![Finding::problem(shown(&error.to_string()), mend)]);
        }
    };
    let judged = authorities.iter().map(|der| match Certificate::of(der) {
        None => {
            Finding::problem(format!("{shown_name} is damaged"), "put a CA's certificate there")
        }
        Some(says) => judge_client_authority(&says, &shown_name, now()),
    });
    Ok(judged.collect())
}

fn judge_client_authority(says: &Certificate, path: &str, now: u64) -> Finding {
    let (begin, end) = (local(says.from), local(says.until));
    let mend = "put its successor there\nsystemctl reload webhookd";
    if !says.is_authority {
        let what = format!("{path} holds a certificate that is no CA's: it lets nobody in");
        return Finding::problem(what, "put that of the CA there that signs the clients'");
    }
    match says.until.checked_sub(now) {
        _ if now < says.from => {
            Finding::problem(format!("{path} is good only from {begin} on"), "timedatectl\ndate")
        }
        None => Finding::problem(format!("{path} expired on {end}: it lets nobody in"), mend),
        Some(left) if left / DAY < SOON => {
            Finding::problem(format!("{path} expires on {end}"), mend)
        }
        Some(_) => Finding::ok(format!("{path} is good until {end}")),
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// What makes a better certificate: not all were made by `webhookctl init`.
struct Renewal {
    mend: String,
    /// Whether `init --renew` does it.
    by_init: bool,
}

impl Renewal {
    /// Of the certificate at that path, tried out with the CA that lies beside it.
    fn of(path: &Path) -> Self {
        let (ca, key) = (path.with_file_name("ca.pem"), path.with_file_name("ca.key"));
        let shown_name = shown_path(path);
        let key_beside = shown_path(&path.with_file_name("key.pem"));
        let ours = path == Path::new(OURS);
        let signs = || {
            let example = [San::Name("localhost".into())];
            Authority::read(&ca, &key).is_ok_and(|ca| ca.sign("localhost", &example).is_ok())
        };
        let mend = if !ours {
            format!("put its successor and the key in place of {shown_name}\n{RELOAD}")
        } else if signs() {
            format!("webhookctl init --renew\n{RELOAD}")
        } else if ca.exists() && !key.exists() {
            format!(
                "webhookctl init --renew --ca-cert {} --ca-key KEY (wherever that CA's key is kept)\n\
                 {RELOAD}",
                shown_path(&ca)
            )
        } else {
            // It may have an issuer of its own, and then nothing here can sign.
            let ca = if ca.exists() { " /etc/webhookd/tls/ca.*" } else { "" };
            format!(
                "put its successor there; or let webhookctl make one, and a CA for Kibana to trust:\n\
                 mkdir /etc/webhookd/before && mv {shown_name} {key_beside}{ca} /etc/webhookd/before\n\
                 webhookctl init\n{RELOAD}"
            )
        };
        Self { by_init: ours && signs(), mend }
    }
}

fn judge_dates(from: u64, to: u64, now: u64, renewal: &Renewal) -> Finding {
    let (begin, end) = (local(from), local(to));
    if now < from {
        return Finding::problem(format!("good only from {begin} on"), "timedatectl\ndate");
    }
    let Some(left) = to.checked_sub(now) else {
        let what = format!("expired on {end}: Kibana refuses it");
        return Finding::problem(what, &*renewal.mend);
    };
    match left / DAY {
        0..SOON => Finding::problem(format!("expires on {end}"), &*renewal.mend),
        SOON..60 => Finding::note(format!("expires on {end}")),
        _ => Finding::ok(format!("good until {end}")),
    }
}

/// Loopback names need no client elsewhere, and a link-local address no certificate can name: both
/// are left out.
fn judge_names(names: &[San], machine: &Machine, renewal: &Renewal) -> Finding {
    let remote: Vec<&San> = names.iter().filter(|name| !name.is_local()).collect();
    let list = remote.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if remote.is_empty() {
        let what = "names nothing but this host itself (subjectAltName), and Kibana goes by that";
        Finding::problem(what, &*renewal.mend)
    } else if remote.iter().any(|name| machine.is_called(name)) {
        // What init would tell Kibana.
        let best = machine.sans().into_iter().next().filter(|best| !names.contains(best));
        match best.filter(|best| renewal.by_init && !best.is_local()) {
            None => Finding::ok(format!("for {list}")),
            Some(best) => Finding::note(format!(
                "for {list}, and not for {best}: `webhookctl init --renew` adds it"
            )),
        }
    } else if remote.iter().any(|name| matches!(name, San::Name(_))) {
        let own = &machine.name;
        Finding::note(format!("for {list}: Kibana must reach this host ({}) by that", shown(own)))
    } else {
        let what = format!("for {list}, and none is an address of this host");
        Finding::problem(what, &*renewal.mend)
    }
}

/// Whether a client that trusts the authority beside it, as Kibana does, takes the certificate.
fn judge_issuer(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    authority: &Path,
    names: &[San],
    renewal: &Renewal,
) -> Result<Finding, Unmade> {
    let because = |error: String| Unmade::Because(format!("{}: {error}", shown_path(authority)));
    let roots = certificates(authority).map_err(|error| because(error.to_string()))?;
    let Some(name) = names.first() else {
        return Err(because("the certificate has no name to be verified by".into()));
    };
    let verified = verify(&roots, leaf, intermediates, std::slice::from_ref(name));
    let authority = shown_path(authority);
    Ok(match verified {
        Ok(()) => Finding::ok(format!("issued by {authority}, which Kibana is to trust")),
        Err(error) => {
            let what = format!("who trusts {authority} refuses it: {}", shown(&error.to_string()));
            Finding::problem(what, &*renewal.mend)
        }
    })
}

/// Where `webhookctl init` puts it.
const OURS: &str = "/etc/webhookd/tls/cert.pem";
const RELOAD: &str = "systemctl reload webhookd";
const DAY: u64 = 86_400;
/// Days in which somebody must act.
const SOON: u64 = 14;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::check::finding::State;

    fn renewal() -> Renewal {
        Renewal { mend: "renew it".into(), by_init: true }
    }

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
            assert_eq!(judge_dates(from, to, now, &renewal()).state, state, "{from} {to}");
        }
    }

    #[test]
    fn a_name_must_mean_this_host_to_others() {
        let machine = Machine::with("Web1", &["web1.example.net"], &["10.9.0.1", "10.9.0.2"]);
        let judged = |names: &[&str]| {
            let names: Vec<San> = names
                .iter()
                .map(|text| text.parse().unwrap_or_else(|_| San::Name((*text).to_owned())))
                .collect();
            judge_names(&names, &machine, &renewal())
        };
        for (names, state) in [
            (&["10.9.0.1", "localhost"][..], State::Ok),
            (&["10.9.0.1", "web1"], State::Ok),
            (&["10.9.0.1", "web1.example.org"], State::Ok),
            // By the address that init would tell Kibana it is refused.
            (&["10.9.0.2"], State::Note),
            (&["web1.example.net"], State::Note),
            (&["web10.example.org"], State::Note),
            (&["*.example.org"], State::Note),
            (&["10.9.0.9"], State::Problem),
            (&["127.0.0.1", "localhost"], State::Problem),
            (&[], State::Problem),
        ] {
            assert_eq!(judged(names).state, state, "{names:?}");
        }
        let note = judged(&["10.9.0.2"]).message;
        assert!(
            note.ends_with("and not for 10.9.0.1: `webhookctl init --renew` adds it"),
            "{note}"
        );
    }

    #[test]
    fn what_renews_a_certificate_depends_on_who_made_it() {
        let folder = tempfile::tempdir().unwrap();
        let foreign = Renewal::of(&folder.path().join("cert.pem"));
        assert!(!foreign.by_init && foreign.mend.starts_with("put its successor"), "not ours");
    }

    #[test]
    fn an_authority_of_clients_must_be_one_and_in_date() {
        let says = |is_authority, from, until| Certificate {
            names: Vec::new(),
            from,
            until,
            is_authority,
            is_own_issuer: true,
        };
        let now = 1_790_000_000;
        for (says, state, words) in [
            (says(true, 0, now + SOON * DAY), State::Ok, "good until"),
            (says(true, 0, now + DAY), State::Problem, "expires on"),
            (says(true, 0, now - 1), State::Problem, "expired on"),
            (says(true, now + 1, now + 100 * DAY), State::Problem, "good only from"),
            (says(false, 0, now + 100 * DAY), State::Problem, "no CA's"),
        ] {
            let finding = judge_client_authority(&says, "/x", now);
            assert!(finding.state == state && finding.message.contains(words), "{finding:?}");
        }
    }
}
