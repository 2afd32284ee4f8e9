//! The secret that Kibana shows.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use aws_lc_rs::rand;

use crate::ctl::init::InitError;
use crate::server::auth::Tokens;

/// A new token: 256 bits from the system, in hexadecimal digits.
pub(super) fn make() -> Result<String, InitError> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| InitError::Random)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Its line in the token file.
pub(super) fn line(secret: &str, name: &str) -> String {
    format!("{secret} # {name} {}\n", jiff::Zoned::now().strftime("%Y-%m-%d"))
}

/// The line for the one token in a file; `-` is standard input.
pub(super) fn take(path: &Path) -> Result<String, InitError> {
    let from: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(path).map_err(InitError::reading(path))?)
    };
    let mut text = String::new();
    from.take(MAX_BYTES).read_to_string(&mut text).map_err(InitError::reading(path))?;
    taken(&text, path)
}

fn taken(text: &str, path: &Path) -> Result<String, InitError> {
    // The server's own judgement.
    Tokens::read(text, path).map_err(InitError::Token)?;
    let lines = text.lines().map(str::trim);
    let mut lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    match (lines.next(), lines.count()) {
        // It has a name already.
        (Some(token), 0) if token.contains(" #") => Ok(format!("{token}\n")),
        (Some(token), 0) => Ok(line(token, NAME)),
        (_, others) => {
            let count = others.saturating_add(1);
            Err(InitError::TokenCount { path: path.to_owned(), count })
        }
    }
}

/// What a token of init's is called.
pub(super) const NAME: &str = "init";
/// Bytes of a token file that are read at most.
const MAX_BYTES: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_made_token_has_256_bits_and_is_new_each_time() {
        let (one, other) = (make().unwrap(), make().unwrap());
        assert!(one.len() == 64 && one.bytes().all(|byte| byte.is_ascii_hexdigit()), "{one}");
        assert_ne!(one, other);
        let tokens = Tokens::read(&line(&one, NAME), Path::new("x")).unwrap();
        assert_eq!(tokens.find(&one), Some("init"));
    }

    #[test]
    fn a_given_token_is_taken_with_its_name_or_gets_ours() {
        let take = |text: &str| taken(text, Path::new("given")).map_err(|error| error.to_string());
        let bare = take(&format!("\n# old\n{TOKEN}\n")).unwrap();
        assert!(bare.starts_with(&format!("{TOKEN} # init 2")), "{bare}");
        let named = format!("{TOKEN} # kibana 2026-11-22\n");
        assert_eq!(take(&named), Ok(named.clone()));
        for (text, words) in [
            ("", "holds no token"),
            ("short", "at least 32 characters"),
            (&format!("{named}{named}"), "given holds 2 tokens"),
        ] {
            let error = take(text).unwrap_err();
            assert!(error.starts_with("--token-file: ") && error.contains(words), "{error}");
        }
    }
}
