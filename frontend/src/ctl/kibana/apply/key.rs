//! The API key by which Kibana knows who asks.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::ctl::kibana::apply::ApplyError;
use crate::regular::{self, Links};

/// An API key, as the header takes it. It is never shown.
pub(super) struct ApiKey(String);

impl ApiKey {
    /// Reads the file, `-` for standard input; others must not be able to.
    pub(super) fn read(path: &Path) -> Result<Self, ApplyError> {
        let unreadable = |source| ApplyError::KeyFile { path: path.to_owned(), source };
        let text = if path.as_os_str() == "-" {
            text(io::stdin())
        } else {
            let file = regular::open(path, Links::Follow).map_err(unreadable)?;
            let mode = mode(&file).map_err(unreadable)?;
            if mode & OTHERS != 0 {
                return Err(ApplyError::KeyMode { path: path.to_owned(), mode });
            }
            text(file)
        };
        Self::parse(&text.map_err(unreadable)?).ok_or_else(|| ApplyError::NoKey(path.to_owned()))
    }

    fn parse(text: &str) -> Option<Self> {
        let key = text.trim();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=_-:".contains(&byte);
        if key.is_empty() || !key.bytes().all(plain) {
            return None;
        }
        Some(match key.contains(':') {
            true => Self(BASE64_STANDARD.encode(key)),
            false => Self(key.to_owned()),
        })
    }

    /// What `Authorization` says (Kibana's documentation, "Authentication").
    pub(super) fn header(&self) -> String {
        format!("ApiKey {}", self.0)
    }
}

fn mode(file: &File) -> io::Result<u32> {
    Ok(file.metadata()?.permissions().mode() & 0o777)
}

fn text(from: impl Read) -> io::Result<String> {
    let mut text = String::new();
    from.take(MOST_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// Group and all others.
const OTHERS: u32 = 0o077;
/// Bytes: a key has about 80.
const MOST_BYTES: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_taken_in_either_form_and_nothing_else_is_one() {
        for (text, header) in [
            ("aWQ6a2V5\n", "ApiKey aWQ6a2V5"),
            ("id:key", "ApiKey aWQ6a2V5"),
            (" a-b_c= \n", "ApiKey a-b_c="),
        ] {
            assert_eq!(ApiKey::parse(text).unwrap().header(), header, "{text}");
        }
        for text in ["", "\n", "two words", "a\nb", "ApiKey aWQ6a2V5", "{\"encoded\":\"x\"}", "é"]
        {
            assert!(ApiKey::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_with_the_command_that_mends_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "id:key\n").unwrap();
        for (mode, refused) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true)] {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(file.path(), permissions).unwrap();
            let read = ApiKey::read(file.path()).map(|key| key.header());
            let error = read.err().map(|error| error.to_string());
            assert_eq!(error.is_some(), refused, "{mode:o}: {error:?}");
            assert!(error.is_none_or(|error| error.contains("chmod 600 /")), "{mode:o}");
        }
        let error = ApiKey::read(Path::new("/nowhere")).err().unwrap().to_string();
        assert!(error.contains("--api-key-file: /nowhere cannot be read"), "{error}");
    }
}
