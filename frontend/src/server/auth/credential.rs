//! What a request's `Authorization` header presents.

use std::fmt;

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::server::auth::Way;
use crate::server::auth::tokens::Tokens;

/// A token as it was presented, right or wrong.
#[derive(Eq, PartialEq)]
pub struct Credential {
    /// In which header.
    pub way: Way,
    /// None where it cannot be one: another user than `webhookd`, no base64.
    token: Option<String>,
}

impl Credential {
    /// Finds it: `Bearer TOKEN` (RFC 6750 2.1) or `Basic` with `webhookd:TOKEN` in base64 (RFC 7617
    /// 2). The scheme's case does not matter (RFC 9110 11.1).
    ///
    /// # Errors
    /// There is none, or more than one, of which others on the way could take another.
    pub fn of(headers: &HeaderMap) -> Result<Self, Unclear> {
        let mut all = headers.get_all(AUTHORIZATION);
        let header = all.next().ok_or(Unclear::Missing)?;
        if all.next().is_some() {
            return Err(Unclear::Several);
        }
        Self::parse(header.to_str().unwrap_or_default()).ok_or(Unclear::Missing)
    }

    /// The name of the token that this is.
    #[must_use]
    pub fn find<'a>(&self, tokens: &'a Tokens) -> Option<&'a str> {
        tokens.find(self.token.as_deref()?)
    }

    fn parse(header: &str) -> Option<Self> {
        let (scheme, value) = header.split_once(' ')?;
        let value = value.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            Some(Self { way: Way::Bearer, token: Some(value.to_owned()) })
        } else if scheme.eq_ignore_ascii_case("basic") {
            Some(Self { way: Way::Basic, token: password(value) })
        } else {
            None
        }
    }
}

fn password(value: &str) -> Option<String> {
    let pair = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
    let (user, password) = pair.split_once(':')?;
    (user == USER).then(|| password.to_owned())
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a token by {}", self.way.name())
    }
}

/// Why there is nothing to compare.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unclear {
    /// No such header, or another scheme.
    Missing,
    /// More than one.
    Several,
}

/// The user of `Authorization: Basic`.
const USER: &str = "webhookd";

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn read(values: &[&str]) -> Result<Credential, Unclear> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        Credential::of(&headers)
    }

    #[test]
    fn a_token_is_read_from_either_header() {
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        for (header, way, token) in [
            ("Bearer abc".to_owned(), Way::Bearer, Some("abc")),
            ("bearer  abc ".to_owned(), Way::Bearer, Some("abc")),
            ("Bearer ".to_owned(), Way::Bearer, Some("")),
            (basic("webhookd:abc"), Way::Basic, Some("abc")),
            (basic("webhookd:a:b").replace("Basic", "BASIC"), Way::Basic, Some("a:b")),
            (basic("webhookd:"), Way::Basic, Some("")),
            (basic("elastic:abc"), Way::Basic, None),
            (basic("Webhookd:abc"), Way::Basic, None),
            (basic(":abc"), Way::Basic, None),
            (basic("webhookd"), Way::Basic, None),
            ("Basic webhookd:abc".to_owned(), Way::Basic, None),
            (basic("webhookd:abc") + "=", Way::Basic, None),
            ("Basic //8=".to_owned(), Way::Basic, None),
        ] {
            let expected = Credential { way, token: token.map(str::to_owned) };
            assert!(read(&[&header]) == Ok(expected), "{header}");
        }
    }

    #[test]
    fn none_or_several_are_not_compared() {
        for header in ["", "Bearer", "Digest abc", "abc", "Bearer: abc"] {
            assert_eq!(read(&[header]), Err(Unclear::Missing), "{header:?}");
        }
        assert_eq!(read(&[]), Err(Unclear::Missing));
        assert_eq!(read(&["Bearer abc", "Bearer abc"]), Err(Unclear::Several));
        assert_eq!(read(&["", "Bearer abc"]), Err(Unclear::Several));
    }

    #[test]
    fn no_token_is_shown() {
        let shown = format!("{:?}", read(&["Bearer abcdef"]));
        assert_eq!(shown, "Ok(a token by bearer)");
    }
}
