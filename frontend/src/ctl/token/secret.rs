//! A token's secret, its name, and the line that keeps them.

use std::fmt::{self, Write};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;

use crate::ctl::token::TokenFileError;
use crate::server::auth::Tokens;

/// What `webhookctl` calls a token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::ctl) struct Name(String);

impl Name {
    /// A name that webhookctl gives by itself.
    pub(in crate::ctl) fn ours(name: &'static str) -> Self {
        Self(name.to_owned())
    }
}

impl FromStr for Name {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !(1..=LONGEST).contains(&text.len()) || !text.bytes().all(plain) {
            return Err("a name has 1 to 32 of the characters A-Z, a-z, 0-9, `.`, `_` and `-`");
        }
        if text.starts_with(NAMELESS) {
            return Err("`line-` and a number is what a token without a name is called");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A new secret: 256 bits from the system, in hexadecimal digits.
pub(in crate::ctl) fn make() -> Result<String, TokenFileError> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| TokenFileError::Random)?;
    Ok(hex(&bytes))
}

/// The line of a token file that keeps the secret itself.
pub(in crate::ctl) fn line(secret: &str, name: &Name) -> String {
    format!("{secret} # {name} {}\n", today())
}

/// The line of a token file that keeps its digest alone.
pub(in crate::ctl) fn digest_line(secret: &str, name: &Name) -> String {
    let digest = digest(&SHA256, secret.as_bytes());
    format!("{DIGEST}{} # {name} {}\n", hex(digest.as_ref()), today())
}

/// What may be told of a secret so that another can be told from it: 16 bits of its digest.
pub(in crate::ctl) fn mark(secret: &str) -> String {
    let digest = digest(&SHA256, secret.as_bytes());
    hex(digest.as_ref().get(..2).unwrap_or_default())
}

/// Today's date, as a line tells it.
pub(super) fn today() -> String {
    jiff::Zoned::now().strftime("%Y-%m-%d").to_string()
}

/// What somebody gives as the one token of a file.
pub(in crate::ctl) struct Given {
    /// The secret, or `sha256:` and its digest.
    word: String,
    /// Its whole line, where that names it.
    named: Option<String>,
}

impl Given {
    /// Reads the file that was named by this option; `-` is standard input.
    pub(in crate::ctl) fn read(path: &Path, option: &'static str) -> Result<Self, TokenFileError> {
        let from: Box<dyn Read> = if path.as_os_str() == "-" {
            Box::new(std::io::stdin())
        } else {
            Box::new(File::open(path).map_err(|source| unreadable(path, option, source))?)
        };
        let mut text = String::new();
        let read = from.take(MOST_BYTES).read_to_string(&mut text);
        read.map_err(|source| unreadable(path, option, source))?;
        Self::parse(&text, path, option)
    }

    fn parse(text: &str, path: &Path, option: &'static str) -> Result<Self, TokenFileError> {
        // The server's own judgement.
        let tokens = Tokens::read(text, path);
        let tokens = tokens.map_err(|error| TokenFileError::GivenToken {
            option,
            path: path.to_owned(),
            problem: error.problem(),
        })?;
        let mut lines = text.lines().map(str::trim);
        match (lines.find(|line| !line.is_empty() && !line.starts_with('#')), tokens.each()) {
            (Some(line), [_]) => {
                let word = line.split_whitespace().next().unwrap_or_default().to_owned();
                let named = line.contains(" #").then(|| format!("{line}\n"));
                Ok(Self { word, named })
            }
            (_, tokens) => {
                let (path, count) = (path.to_owned(), tokens.len());
                Err(TokenFileError::GivenCount { option, path, count })
            }
        }
    }

    /// Reads the secret that the file holds; its digest alone is none.
    pub(in crate::ctl) fn secret_in(
        path: &Path,
        option: &'static str,
    ) -> Result<String, TokenFileError> {
        let given = Self::read(path, option)?;
        let digest = || TokenFileError::GivenDigest { option, path: path.to_owned() };
        given.secret().map(str::to_owned).ok_or_else(digest)
    }

    /// The secret, if it is not the digest alone.
    fn secret(&self) -> Option<&str> {
        (!self.word.starts_with(DIGEST)).then_some(&*self.word)
    }

    /// Its line as it was given, with this name if it had none.
    pub(in crate::ctl) fn line(&self, name: &Name) -> String {
        self.named.clone().unwrap_or_else(|| line(&self.word, name))
    }

    /// The line that keeps its digest under this name.
    pub(super) fn digest_line(&self, name: &Name) -> String {
        match self.secret() {
            Some(secret) => digest_line(secret, name),
            None => line(&self.word, name),
        }
    }
}

fn unreadable(path: &Path, option: &'static str, source: std::io::Error) -> TokenFileError {
    TokenFileError::Given { option, path: path.to_owned(), source }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        // A string takes everything.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Characters of a name at most.
const LONGEST: usize = 32;
/// What the server calls a token without a name begins so.
const NAMELESS: &str = "line-";
/// What a digest begins with.
const DIGEST: &str = "sha256:";
/// Bytes of a given file that are read at most.
const MOST_BYTES: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn name() -> Name {
        "init".parse().unwrap()
    }

    #[test]
    fn a_made_token_has_256_bits_is_new_each_time_and_is_found_by_either_line() {
        let (one, other) = (make().unwrap(), make().unwrap());
        assert!(one.len() == 64 && one.bytes().all(|byte| byte.is_ascii_hexdigit()), "{one}");
        assert_ne!(one, other);
        for (line, is_plain) in [(line(&one, &name()), true), (digest_line(&one, &name()), false)] {
            let tokens = Tokens::read(&line, Path::new("x")).unwrap();
            assert_eq!(tokens.find(&one), Some("init"));
            let [token] = tokens.each() else { panic!() };
            assert_eq!((token.is_plain, &*token.date), (is_plain, &*today()));
            assert_eq!(line.contains(&one), is_plain);
        }
    }

    #[test]
    fn a_given_token_is_taken_with_its_name_or_gets_ours() {
        let given = |text: &str| {
            let given = Given::parse(text, Path::new("given"), "--token-file");
            given.map(|given| given.line(&name())).map_err(|error| error.to_string())
        };
        let bare = given(&format!("\n# old\n{TOKEN}\n")).unwrap();
        assert!(bare.starts_with(&format!("{TOKEN} # init 2")), "{bare}");
        let named = format!("{TOKEN} # kibana 2026-11-22\n");
        assert_eq!(given(&named), Ok(named.clone()));
        for (text, words) in [
            ("", "holds no token"),
            ("short", "at least 32 characters"),
            (&format!("{named}{named}"), "given holds 2 tokens"),
        ] {
            let error = given(text).unwrap_err();
            assert!(error.starts_with("--token-file: ") && error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_given_digest_is_kept_and_is_no_secret() {
        let given = |text: &str| Given::parse(text, Path::new("given"), "--from").unwrap();
        let plain = given(TOKEN);
        assert_eq!(plain.secret(), Some(TOKEN));
        let kept = plain.digest_line(&name());
        let digested = given(&kept);
        assert_eq!((digested.secret(), digested.digest_line(&name())), (None, kept));
    }

    #[test]
    fn a_name_is_short_and_plain() {
        for text in ["a", "kibana", "Kibana_8.17-new", &"a".repeat(32)] {
            assert_eq!(text.parse::<Name>().unwrap().to_string(), text);
        }
        for text in ["", "a b", "a#", "ä", "a/b", "line-3", &"a".repeat(33)] {
            assert!(text.parse::<Name>().is_err(), "{text}");
        }
    }
}
