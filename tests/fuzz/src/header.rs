//! What a stranger writes into `Authorization`, and what stands in a token file.

use std::path::Path;

use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use frontend::server::auth::Tokens;
use frontend::server::auth::credential::Credential;

/// Only the token lets in, whole and alone behind its scheme, and no header is ever shown.
pub(crate) fn fuzz(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(tokens) = Tokens::read(&text, Path::new("token")) {
        assert!(!tokens.each().is_empty() && tokens.find("").is_none());
        assert!(tokens.each().iter().all(|token| !token.name.is_empty()));
    }
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let mut headers = HeaderMap::new();
    headers.append(AUTHORIZATION, value.clone());
    let tokens = Tokens::read(TOKEN, Path::new("token")).unwrap();
    if let Ok(credential) = Credential::of(&headers) {
        let lets_in = credential.find(&tokens).is_some();
        assert!(!lets_in || says_the_token(bytes), "{text:?} lets in");
        let shown = format!("{credential:?}");
        assert!(["a token by bearer", "a token by basic"].contains(&&*shown), "{shown}");
    }
    headers.append(AUTHORIZATION, value);
    assert!(Credential::of(&headers).is_err(), "two headers are one too many");
}

/// Scheme, a blank, the token and nothing else but blanks.
fn says_the_token(header: &[u8]) -> bool {
    let text = String::from_utf8_lossy(header).into_owned();
    let (scheme, rest) = text.split_once(' ').unwrap_or_default();
    let wanted = if scheme.to_ascii_lowercase() == "bearer" { TOKEN } else { AS_PASSWORD };
    rest.trim() == wanted
}

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// `webhookd:` and the token, in base64.
const AS_PASSWORD: &str = "d2ViaG9va2Q6MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
