//! The tokens that let in, compared in constant time.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};

use crate::regular;

/// The tokens that let in, as SHA-256 digests: the secrets themselves are not kept.
#[derive(Eq, PartialEq)]
pub struct Tokens(Vec<Token>);

/// One line of the token file.
#[derive(Eq, PartialEq)]
pub struct Token {
    /// SHA-256 of the secret.
    digest: [u8; DIGEST],
    /// Where it stands in the file, counted from 1.
    pub line: usize,
    /// What it is called; `line-N` where the file does not say.
    pub name: String,
    /// What follows the name, as it was written: a date, if `webhookctl` wrote it.
    pub date: String,
    /// The file holds the secret itself, not its digest.
    pub is_plain: bool,
}

impl Tokens {
    /// Reads the token file: a line is `TOKEN` or `sha256:HEX`, then optionally ` # NAME DATE`;
    /// lines that begin with `#` are comments.
    ///
    /// # Errors
    /// An unreadable file, no token at all, or one that could be guessed: an empty token would let
    /// everyone in.
    pub fn load(path: &Path) -> Result<Self, TokenError> {
        let text = regular::read(path, regular::Links::Follow, MOST_BYTES)
            .map_err(|error| TokenError { path: path.to_owned(), problem: error.into() })?;
        Self::read(&text, path)
    }

    /// Reads the text of a token file, which the error names as `path`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn read(text: &str, path: &Path) -> Result<Self, TokenError> {
        Self::parse(text).map_err(|problem| TokenError { path: path.to_owned(), problem })
    }

    fn parse(text: &str) -> Result<Self, Problem> {
        if u64::try_from(text.len()).is_ok_and(|bytes| bytes > MOST_BYTES) {
            return Err(Problem::Large);
        }
        let lines =
            text.lines().enumerate().map(|(index, line)| (index.saturating_add(1), line.trim()));
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let tokens = lines.map(|(number, line)| Token::parse(line, number));
        let tokens = tokens.collect::<Result<Vec<_>, _>>()?;
        if tokens.is_empty() { Err(Problem::Empty) } else { Ok(Self(tokens)) }
    }

    /// The name of the token that `presented` is, if it is one. Every token is compared, so the
    /// time taken tells nothing about how many or which came close. What is shorter than a token has to
    /// be is none, also where the file holds its digest: that of nothing at all lets everyone in.
    #[must_use]
    pub fn find(&self, presented: &str) -> Option<&str> {
        if presented.len() < SHORTEST {
            return None;
        }
        let presented = digest(&SHA256, presented.as_bytes());
        let mut found = None;
        for token in &self.0 {
            if verify_slices_are_equal(&token.digest, presented.as_ref()).is_ok() {
                found = Some(token.name.as_str());
            }
        }
        found
    }

    /// Each of them, in the file's order.
    #[must_use]
    pub fn each(&self) -> &[Token] {
        &self.0
    }

    /// What the tokens are called, for the log.
    #[must_use]
    pub fn names(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(|token| token.name.as_str()).collect();
        names.join(", ")
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} tokens", self.0.len())
    }
}

impl Token {
    /// Whether the same secret is behind both.
    #[must_use]
    pub fn has_secret_of(&self, other: &Self) -> bool {
        self.digest == other.digest
    }

    fn parse(line: &str, number: usize) -> Result<Self, Problem> {
        let (secret, note) = line.split_once(" #").unwrap_or((line, ""));
        let secret = secret.trim();
        let hex = secret.strip_prefix("sha256:");
        let digest = match hex {
            Some(hex) => unhex(hex).ok_or(Problem::Digest(number))?,
            None if secret.len() < SHORTEST => return Err(Problem::Short(number)),
            None if secret.contains(char::is_whitespace) => return Err(Problem::Blank(number)),
            None => bytes(digest(&SHA256, secret.as_bytes()).as_ref()),
        };
        let mut note = note.split_whitespace();
        let name = note.next().map_or_else(|| format!("line-{number}"), str::to_owned);
        let date = note.collect::<Vec<_>>().join(" ");
        Ok(Self { digest, line: number, name, date, is_plain: hex.is_none() })
    }
}

fn bytes(slice: &[u8]) -> [u8; DIGEST] {
    let mut bytes = slice.iter().copied();
    std::array::from_fn(|_| bytes.next().unwrap_or_default())
}

fn unhex(hex: &str) -> Option<[u8; DIGEST]> {
    if hex.len() != DIGEST.saturating_mul(2) {
        return None;
    }
    let pairs = (0..DIGEST).map(|index| {
        let start = index.saturating_mul(2);
        u8::from_str_radix(hex.get(start..start.saturating_add(2))?, 16).ok()
    });
    Some(bytes(&pairs.collect::<Option<Vec<_>>>()?))
}

/// The token file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("token-file: {}: {problem}", path.display())]
pub struct TokenError {
    path: PathBuf,
    problem: Problem,
}

impl TokenError {
    /// What is wrong, without the file's name.
    #[must_use]
    pub fn problem(&self) -> String {
        self.problem.to_string()
    }
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("has more than {MOST_BYTES} bytes; is it the right file?")]
    Large,
    #[error("holds no token; make one with `openssl rand -hex 32`")]
    Empty,
    #[error(
        "line {0}: a token has at least {SHORTEST} characters; make one with `openssl rand -hex 32`"
    )]
    Short(usize),
    #[error("line {0}: a token has no blanks; a name follows as \" # NAME DATE\"")]
    Blank(usize),
    #[error("line {0}: sha256: is followed by 64 hexadecimal digits")]
    Digest(usize),
}

/// Characters of a token at least; `openssl rand -hex 32` gives 64.
const SHORTEST: usize = 32;
/// Bytes of a token file: six hundred tokens, read in between two requests.
const MOST_BYTES: u64 = 64 << 10;
/// Bytes of a SHA-256 digest.
const DIGEST: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_token_is_found_by_its_name_and_nothing_else_is() {
        let hashed = "other-token-that-is-long-enough-for-us";
        let hex: String = digest(&SHA256, hashed.as_bytes())
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let text = format!("# comment\n\n{TOKEN} # kibana 2026-11-22\nsha256:{hex}\n");
        let tokens = Tokens::parse(&text).unwrap();
        assert_eq!(tokens.find(TOKEN), Some("kibana"));
        assert_eq!(tokens.find(hashed), Some("line-4"));
        let [plain, digested] = tokens.each() else { panic!() };
        assert_eq!((plain.line, &*plain.date, plain.is_plain), (3, "2026-11-22", true));
        assert_eq!((digested.line, &*digested.date, digested.is_plain), (4, "", false));
        let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let nothing = Tokens::parse(&format!("sha256:{nothing}\n")).unwrap();
        assert_eq!(nothing.find(""), None);
        for wrong in [
            "",
            " ",
            "123456789abcdef0123456789abcdef",
            "0123456789abcdef0123456789abcdeF",
            hex.as_str(),
        ] {
            assert_eq!(tokens.find(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_file_that_would_let_everyone_in_is_refused() {
        for (text, words) in [
            ("", "holds no token"),
            ("# only a comment\n", "holds no token"),
            ("short\n", "line 1: a token has at least 32"),
            ("\n0123456789abcdef0123456789abcde\n", "line 2: a token has at least 32"),
            ("0123456789abcdef 0123456789abcdef\n", "no blanks"),
            ("sha256:1234\n", "64 hexadecimal digits"),
            ("sha256:\n", "64 hexadecimal digits"),
            (&"# long\n".repeat(10_000), "more than 65536 bytes"),
        ] {
            let error = Tokens::parse(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text:?}: {error}");
        }
    }
}
