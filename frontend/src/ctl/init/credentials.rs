//! Which certificates and keys are to be made: nothing that is there is touched unasked, and old and
//! new are never mixed.

use crate::ctl::certificate::{Authority, Certificate, San};
use crate::ctl::init::folder::{Folder, Kind};
use crate::ctl::init::{Arguments, Changes, InitError};
use crate::ctl::machine::Machine;

pub(super) fn plan(
    folder: &Folder,
    arguments: &Arguments,
    host: &Machine,
    changes: &mut Changes,
) -> Result<(), InitError> {
    if !arguments.force {
        refuse_parts(folder, arguments.renew)?;
    }
    if folder.keeps(Kind::Cert) && !arguments.renew {
        return keep(folder, arguments, changes);
    }
    let authority = authority(folder, arguments, host, changes)?;
    let leaf = authority.sign(&host.name, &names(folder, arguments, host))?;
    changes.files.push(folder.new_file(Kind::Key, leaf.key));
    changes.files.push(folder.new_file(Kind::Cert, leaf.certificate));
    Ok(())
}

/// A key without its certificate, or the other way round, is for a human to judge.
fn refuse_parts(folder: &Folder, renew: bool) -> Result<(), InitError> {
    let part = |there, missing, mend| {
        let (there, missing) = (folder.file(there), folder.file(missing));
        Err(InitError::Part { there, missing, mend })
    };
    let has = |kind| folder.has(kind);
    match (has(Kind::Cert), has(Kind::Key)) {
        (true, false) if !renew => return part(Kind::Cert, Kind::Key, MEND_LEAF),
        (false, true) if !renew => return part(Kind::Key, Kind::Cert, MEND_LEAF),
        _ => {}
    }
    match (has(Kind::CaCert), has(Kind::CaKey)) {
        (false, true) => part(Kind::CaKey, Kind::CaCert, MEND_CA),
        // The certificate alone is right where the CA is a shared one.
        _ => Ok(()),
    }
}

/// The certificate stays; what the command line says must not be about another.
fn keep(folder: &Folder, arguments: &Arguments, changes: &mut Changes) -> Result<(), InitError> {
    if let Some((certificate, key)) = arguments.given_authority() {
        let given = Authority::read(certificate, key)?;
        if !folder.has(Kind::CaCert) {
            return Err(InitError::CertificateThere(folder.file(Kind::Cert)));
        }
        if !given.is(&folder.read(Kind::CaCert)?) {
            return Err(InitError::OtherAuthority(folder.file(Kind::CaCert)));
        }
    }
    let there = Certificate::read(&folder.read(Kind::Cert)?);
    let named = there.map_or_else(Vec::new, |there| there.names);
    for san in arguments.sans.iter().filter(|san| !named.contains(san)) {
        let note = format!("The certificate is kept and does not name {san}: add --renew.");
        changes.notes.push(note);
    }
    Ok(())
}

/// The CA that signs: the given one, the one that is there, or else a new one.
fn authority(
    folder: &Folder,
    arguments: &Arguments,
    host: &Machine,
    changes: &mut Changes,
) -> Result<Authority, InitError> {
    if let Some((certificate, key)) = arguments.given_authority() {
        let given = Authority::read(certificate, key)?;
        if !folder.keeps(Kind::CaCert) {
            let copy = folder.new_file(Kind::CaCert, given.certificate.clone());
            changes.files.push(copy);
            if folder.has(Kind::CaKey) {
                changes.retired.push(Kind::CaKey);
            }
        } else if !given.is(&folder.read(Kind::CaCert)?) {
            return Err(InitError::OtherAuthority(folder.file(Kind::CaCert)));
        }
        return Ok(given);
    }
    let (certificate, key) = (folder.file(Kind::CaCert), folder.file(Kind::CaKey));
    if folder.keeps(Kind::CaCert) {
        return if folder.has(Kind::CaKey) {
            Ok(Authority::read(&certificate, &key)?)
        } else {
            Err(InitError::Part { there: certificate, missing: key, mend: MEND_SHARED })
        };
    }
    if arguments.renew && (folder.has(Kind::Cert) || folder.has(Kind::Key)) {
        return Err(InitError::NotOurs(folder.file(Kind::Cert)));
    }
    if folder.has(Kind::CaCert) {
        changes.notes.push("The CA is a new one: give it to Kibana.".to_owned());
    }
    let made = Authority::make(&host.name, certificate)?;
    changes.files.push(folder.new_file(Kind::CaKey, made.key()));
    changes.files.push(folder.new_file(Kind::CaCert, made.certificate.clone()));
    Ok(made)
}

/// What the operator names, then what the host has, then what the certificate was good for until
/// now: a URL that Kibana uses goes on working.
fn names(folder: &Folder, arguments: &Arguments, host: &Machine) -> Vec<San> {
    let old = folder.read(Kind::Cert).ok().filter(|_| arguments.renew);
    let old = old.and_then(|text| Certificate::read(&text)).map(|old| old.names);
    let given = arguments.sans.iter().cloned();
    let mut names: Vec<San> = Vec::new();
    for name in given.chain(host.sans()).chain(old.unwrap_or_default()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

const MEND_LEAF: &str = "put it back, or let `webhookctl init --renew` make both anew";
const MEND_CA: &str = "put it back, or move the key away to have a new CA made";
const MEND_SHARED: &str =
    "give that CA by --ca-cert and --ca-key, or let `webhookctl init --force` make all anew";
