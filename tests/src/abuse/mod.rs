//! What one source does to webhookd over and over, so that another is not served.

mod held;
mod hurried;

use std::ops::ControlFlow;
use std::sync::Arc;

use rustls::pki_types::ServerName;

pub use self::held::{HalfClosed, SlowBodies, SlowConnections};
pub use self::hurried::{BadTokens, Body, BodyAtTheCap, Garbage, Handshakes, Upgrade};
use crate::Door;

/// One of them, with what it has open.
pub trait Abuse: Send {
    /// Does it once more.
    fn round(&mut self, door: &Door);
}

/// Keeps so many connections open, each in the state that `open` leaves it in, and does `more` to
/// each in turn; where that fails it is opened anew.
fn hold<T>(
    many: usize,
    held: &mut Vec<T>,
    open: impl Fn() -> Option<T>,
    more: impl Fn(&mut T) -> ControlFlow<()>,
) {
    held.retain_mut(|one| more(one).is_continue());
    while held.len() < many {
        match open() {
            Some(one) => held.push(one),
            None => break,
        }
    }
}

/// The bytes of a client's first flight.
fn client_hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("10.9.0.1").unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}
