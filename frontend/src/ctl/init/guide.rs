//! What `init --from-guide` takes from the guide's set-up: its token, so that Kibana's connector goes
//! on; never its certificate.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::Serialize;

use crate::ctl::certificate::Certificate;
use crate::ctl::guide::{CERTIFICATE, Leftover, TOKEN_FILE};
use crate::ctl::init::folder::{Folder, Kind};
use crate::ctl::init::take_over::{Deny, somebody_is_there, take_over};
use crate::ctl::init::{Arguments, Changes, InitError};
use crate::ctl::output::Line;
use crate::ctl::token::{self, Name, TokenFileError};
use crate::privd_client::PrivdClient;
use crate::server::auth::Tokens;
use crate::times::local;

/// What was there before webhookd, and what became of it.
#[derive(Debug, Serialize)]
pub(super) struct Before {
    /// Why the guide's certificate does not go on.
    certificate: Option<String>,
    leftovers: Vec<Leftover>,
    denies: Vec<Deny>,
    #[serde(skip)]
    ending: Vec<String>,
    /// Whether everything was done that was asked for.
    #[serde(skip)]
    pub(super) well: bool,
}

impl Before {
    /// Looks for it; changes nothing.
    pub(super) fn look() -> Result<Self, InitError> {
        let (leftovers, denies) = (Leftover::all()?, Deny::all()?);
        Ok(Self { certificate: certificate(), leftovers, denies, ending: Vec::new(), well: true })
    }

    /// Takes over what the operator wants.
    pub(super) async fn take_over(&mut self, arguments: &Arguments, privd: &PrivdClient) {
        let asks = somebody_is_there();
        let ending = take_over(privd, &mut self.denies, arguments.take_over, asks).await;
        (self.ending, self.well) = (ending.lines, ending.well);
    }

    /// For people.
    pub(super) fn lines(&self) -> Vec<Line> {
        let mut lines: Vec<Line> = self.certificate.iter().map(Line::from).collect();
        // What was taken over stands elsewhere now.
        if self.denies.iter().all(|deny| deny.outcome.is_none()) {
            lines.extend(Deny::list(&self.denies).iter().map(Line::from));
        }
        lines.extend(self.ending.iter().map(Line::from));
        if self.leftovers.is_empty() {
            lines.push("Nothing else of the guide's set-up is left.".to_owned().into());
        } else {
            lines.push("Left of the guide's set-up; to delete it is for you:".to_owned().into());
        }
        for Leftover { what, mend, .. } in &self.leftovers {
            lines.push(format!("  {what}").into());
            lines.extend(mend.lines().map(|command| Line::Whole(format!("    sudo {command}"))));
        }
        lines
    }
}

/// Plans the token file with the guide's token in it; false where there is none that can be used.
pub(super) fn plan_token(folder: &Folder, changes: &mut Changes) -> Result<bool, InitError> {
    let text = match fs::read_to_string(TOKEN_FILE) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            changes.notes.push(format!("There is no {TOKEN_FILE}: no token to take from it."));
            return Ok(false);
        }
        Err(error) => return Err(InitError::reading(Path::new(TOKEN_FILE))(error)),
    };
    let secret = secret(&text).unwrap_or_default();
    let line = token::line(&secret, &Name::ours("guide"));
    // The server's own judgement, of the whole token and not of a part of it.
    let judged = Tokens::read(&line, Path::new(TOKEN_FILE));
    if let Err(why) = usable(judged, &secret) {
        changes.notes.push(format!(
            "The guide's token is not taken over: {why}. Kibana's connector needs the new one."
        ));
        return Ok(false);
    }
    let text = if folder.keeps(Kind::Token) {
        let text = folder.read(Kind::Token)?;
        let known = Tokens::read(&text, &folder.file(Kind::Token)).map_err(TokenFileError::from)?;
        if known.find(&secret).is_some() {
            changes.notes.push("The guide's token is among the accepted ones already.".to_owned());
            return Ok(true);
        }
        format!("{}\n{line}", text.trim_end())
    } else {
        line
    };
    changes.files.push(folder.new_file(Kind::Token, text));
    changes.notes.push(
        "The guide's token is accepted, by the name \"guide\": Kibana's connector needs no new one."
            .to_owned(),
    );
    Ok(true)
}

fn usable(judged: Result<Tokens, impl ToString>, secret: &str) -> Result<(), String> {
    match judged {
        _ if secret.is_empty() => Err(format!("{TOKEN_FILE} sets none, and that lets everyone in")),
        Err(error) => {
            let error = error.to_string();
            Err(error.strip_prefix("token-file: ").unwrap_or(&error).to_owned())
        }
        Ok(tokens) if tokens.find(secret).is_none() => Err("it reads as something else".to_owned()),
        Ok(_) => Ok(()),
    }
}

/// `WEBHOOK_TOKEN` as systemd reads an EnvironmentFile (systemd.exec(5)): the last one counts, quotes
/// are taken away.
fn secret(text: &str) -> Option<String> {
    let lines = text.lines().map(str::trim_start).filter(|line| !line.starts_with(['#', ';']));
    let mut values = lines.filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == "WEBHOOK_TOKEN").then(|| value.trim())
    });
    let value = values.next_back()?;
    let bare = ['"', '\'']
        .into_iter()
        .find_map(|quote| value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote)));
    Some(bare.unwrap_or(value).to_owned())
}

/// Why the guide's certificate does not go on; None where there is none.
fn certificate() -> Option<String> {
    let text = fs::read_to_string(CERTIFICATE).ok()?;
    let key = fs::metadata(Path::new(CERTIFICATE).with_extension("key"));
    let open = key.is_ok_and(|key| key.permissions().mode() & 0o007 != 0);
    Some(judge(Certificate::read(&text).as_ref(), open))
}

fn judge(certificate: Option<&Certificate>, every_user_reads_its_key: bool) -> String {
    let mut why = match certificate {
        None => "it is damaged".to_owned(),
        Some(says) if says.names.is_empty() => format!(
            "it has no subjectAltName, so that Kibana refuses it unless it verifies nothing; and it \
             ends on {}",
            local(says.until)
        ),
        Some(says) => {
            format!("no CA signed it that could sign the next; it ends on {}", local(says.until))
        }
    };
    if every_user_reads_its_key {
        why.push_str(", and every user of this host could read its key");
    }
    format!("The guide's certificate {CERTIFICATE} does not go on: {why}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_read_as_systemd_reads_it() {
        for (text, expected) in [
            ("WEBHOOK_TOKEN=abc\n", Some("abc")),
            ("WEBHOOK_TOKEN=\"abc\"\n", Some("abc")),
            ("WEBHOOK_TOKEN='abc' \n", Some("abc")),
            ("# WEBHOOK_TOKEN=old\nOTHER=x\n WEBHOOK_TOKEN = abc\n", Some("abc")),
            ("WEBHOOK_TOKEN=old\nWEBHOOK_TOKEN=new\n", Some("new")),
            ("WEBHOOK_TOKEN=\n", Some("")),
            ("WEBHOOK_TOKENS=abc\n;WEBHOOK_TOKEN=abc\n", None),
            ("", None),
        ] {
            assert_eq!(secret(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_token_that_could_be_guessed_or_misread_is_refused_with_the_reason() {
        let why = |secret: &str| {
            let line = token::line(secret, &Name::ours("guide"));
            usable(Tokens::read(&line, Path::new("/env")), secret).err()
        };
        assert_eq!(why("0123456789abcdef0123456789abcdef0123456789abcdef"), None);
        for (secret, words) in [
            ("", "sets none, and that lets everyone in"),
            ("short", "at least 32 characters"),
            ("0123456789abcdef 0123456789abcdef", "no blanks"),
            ("#123456789abcdef0123456789abcdef", "holds no token"),
            ("0123456789abcdef0123456789abcdef # x", "something else"),
        ] {
            let why = why(secret).unwrap();
            assert!(why.contains(words) && !why.contains("0123456789"), "{secret}: {why}");
        }
    }

    #[test]
    fn the_certificate_is_judged_by_what_it_says() {
        let says = Certificate {
            names: Vec::new(),
            from: 0,
            until: 1_790_000_000,
            is_authority: true,
            is_own_issuer: true,
        };
        let why = judge(Some(&says), true);
        assert!(why.contains("no subjectAltName") && why.contains("read its key"), "{why}");
        assert!(judge(None, false).ends_with("it is damaged."));
    }
}
