//! What becomes of a token file's text. Every other line of it stays as it is, and the server's own
//! parser judges the result before it is written.

use std::path::Path;

use crate::ctl::edit::Edit;
use crate::ctl::token::TokenFileError;
use crate::ctl::token::secret::{Name, digest_line};
use crate::server::auth::Tokens;

/// Adds a given secret under this name to a token file that is there, which keeps its digest. It is in
/// force with the next request.
///
/// # Errors
/// The name or the secret is there already, or the file cannot be changed.
pub(in crate::ctl) fn add_given(
    file: &Path,
    name: &Name,
    secret: &str,
) -> Result<(), TokenFileError> {
    add(file, name, &digest_line(secret, name))
}

/// The same with the line that is to keep it.
pub(super) fn add(file: &Path, name: &Name, line: &str) -> Result<(), TokenFileError> {
    let edit = begin(file)?;
    let text = with(edit.text(), file, name, line)?;
    Ok(edit.write(&text)?)
}

/// Takes the tokens of this name out of the file. None of them lets in from the next request on.
/// Returns what else the same secret is called there, which lets it in still.
///
/// # Errors
/// There is none of that name or no other, or the file cannot be changed.
pub(in crate::ctl) fn revoke(file: &Path, name: &str) -> Result<Vec<String>, TokenFileError> {
    let edit = begin(file)?;
    let (text, others) = without(edit.text(), file, name)?;
    edit.write(&text)?;
    Ok(others)
}

/// The first token that the file holds as it is, if there is one: its name and its secret.
///
/// # Errors
/// The file cannot be used.
pub(in crate::ctl) fn first_plain(file: &Path) -> Result<Option<(String, String)>, TokenFileError> {
    let edit = begin(file)?;
    let tokens = Tokens::read(edit.text(), file)?;
    Ok(tokens.each().iter().find(|token| token.is_plain).and_then(|token| {
        let line = edit.text().lines().nth(token.line.checked_sub(1)?)?;
        let (secret, _) = line.split_once(" #").unwrap_or((line, ""));
        Some((token.name.clone(), secret.trim().to_owned()))
    }))
}

fn begin(file: &Path) -> Result<Edit, TokenFileError> {
    if !file.exists() {
        return Err(TokenFileError::Missing(file.to_owned()));
    }
    Ok(Edit::begin(file)?)
}

fn with(text: &str, file: &Path, name: &Name, line: &str) -> Result<String, TokenFileError> {
    let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let text = format!("{text}{gap}{line}");
    let tokens = Tokens::read(&text, file)?;
    let Some((new, others)) = tokens.each().split_last() else { return Ok(text) };
    let called = name.to_string();
    if others.iter().any(|other| other.name == called) {
        return Err(TokenFileError::NameTaken(called));
    }
    match others.iter().find(|other| other.has_secret_of(new)) {
        Some(other) => Err(TokenFileError::SecretTaken(other.name.clone())),
        None => Ok(text),
    }
}

fn without(text: &str, file: &Path, name: &str) -> Result<(String, Vec<String>), TokenFileError> {
    let tokens = Tokens::read(text, file)?;
    let (gone, others): (Vec<_>, Vec<_>) =
        tokens.each().iter().partition(|token| token.name == name);
    if gone.is_empty() {
        return Err(TokenFileError::Unknown { name: name.to_owned(), names: tokens.names() });
    }
    if others.is_empty() {
        return Err(TokenFileError::Last(name.to_owned()));
    }
    let is_gone = |number: usize| gone.iter().any(|token| token.line == number);
    let lines = (1..).zip(text.split_inclusive('\n'));
    let text: String =
        lines.filter(|(number, _)| !is_gone(*number)).map(|(_, line)| line).collect();
    Tokens::read(&text, file)?;
    let same = others.iter().filter(|other| gone.iter().any(|token| token.has_secret_of(other)));
    Ok((text, same.map(|other| other.name.clone()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "0123456789abcdef0123456789abcdef";
    const OTHER: &str = "fedcba9876543210fedcba9876543210";

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn with(text: &str, called: &str, secret: &str) -> Result<String, String> {
        let name = name(called);
        let with = super::with(text, Path::new("x"), &name, &format!("{secret} # {called} D\n"));
        with.map_err(|error| error.to_string())
    }

    #[test]
    fn a_token_is_added_behind_all_that_is_there() {
        for text in ["", "# for tests\n\n", "# for tests"] {
            let one = with(text, "a", ONE).unwrap();
            let gap = if text.ends_with("tests") { "\n" } else { "" };
            assert_eq!(one, format!("{text}{gap}{ONE} # a D\n"));
            let both = with(&one, "b", OTHER).unwrap();
            assert_eq!(both, format!("{one}{OTHER} # b D\n"));
        }
    }

    #[test]
    fn a_name_or_a_secret_that_is_there_and_a_damaged_file_are_refused() {
        let text = format!("{ONE} # a\n{OTHER}\n");
        for (text, called, secret, words) in [
            (&*text, "a", &*make(), "there is a token a already: take another name"),
            (&text, "b", ONE, "that secret is in the file already, as a"),
            (&text, "b", OTHER, "that secret is in the file already, as line-2"),
            ("short\n", "b", ONE, "x: line 1: a token has at least 32"),
        ] {
            let error = with(text, called, secret).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        // A digest is the same secret.
        let text = digest_line(ONE, &name("a"));
        assert!(with(&text, "b", ONE).unwrap_err().contains("as a"));
    }

    fn make() -> String {
        crate::ctl::token::make().unwrap()
    }

    #[test]
    fn a_token_is_taken_out_by_its_name_and_all_else_stays() {
        let without = |text: &str, name: &str| {
            without(text, Path::new("x"), name).map_err(|error| error.to_string())
        };
        let (a, b) = (format!("{ONE} # a\n"), format!("  {OTHER}"));
        let text = format!("# a\n{a}\n# kept\n{b}");
        assert_eq!(without(&text, "a"), Ok((format!("# a\n\n# kept\n{b}"), vec![])));
        assert_eq!(without(&text, "line-5"), Ok((format!("# a\n{a}\n# kept\n"), vec![])));
        // All of that name, and the same secret is told.
        let text = format!("{a}{b}\n{OTHER} # a\n");
        let expected = (format!("{b}\n"), vec!["line-2".to_owned()]);
        assert_eq!(without(&text, "a"), Ok(expected));
        for (text, name, words) in [
            (&text, "c", "there is no token c; there is a, line-2, a"),
            (&a, "a", "a is the last token"),
        ] {
            let error = without(text, name).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
