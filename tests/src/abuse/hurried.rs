//! Connections one after another, each of which costs more than it should.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::time::Duration;

use super::{Abuse, client_hello};
use crate::Door;
use crate::https::{JSON, exchange, request};

/// Handshakes that nobody ends.
#[derive(Debug)]
pub struct Handshakes {
    hello: Vec<u8>,
}

impl Handshakes {
    /// Those of any client.
    #[must_use]
    pub fn new() -> Self {
        Self { hello: client_hello() }
    }
}

impl Default for Handshakes {
    fn default() -> Self {
        Self::new()
    }
}

impl Abuse for Handshakes {
    fn round(&mut self, door: &Door) {
        // The server has done its part when it says something.
        let flight = door.plain().and_then(|mut stream| {
            stream.write_all(&self.hello)?;
            stream.read(&mut [0; 1])
        });
        drop(flight);
    }
}

/// 250 wrong tokens on one connection.
#[derive(Debug, Default)]
pub struct BadTokens {
    /// How often which status was the answer.
    pub answers: BTreeMap<u16, usize>,
}

impl Abuse for BadTokens {
    fn round(&mut self, door: &Door) {
        let bad = request("POST", "/blockip", &[("Authorization", "Bearer wrong"), JSON], "");
        let Some(mut connection) = door.secure() else { return };
        for _ in 0..250 {
            let Ok(answer) = exchange(&mut connection, &bad) else { return };
            if answer.status == 429 {
                assert_eq!(answer.header("retry-after"), Some("1"), "{answer:?}");
                assert_eq!(answer.json["reason"], "too many failed attempts");
                assert!(answer.message().contains("too many failed attempts"), "{answer:?}");
            }
            *self.answers.entry(answer.status).or_default() += 1;
        }
    }
}

/// What a body of 8 MiB is full of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Body {
    /// Nothing.
    Blanks,
    /// Long texts.
    Texts,
    /// A tree of these would take a hundred times their own size.
    Numbers,
    /// The same, of objects.
    Objects,
}

impl Body {
    /// Every one there is.
    pub const ALL: [Self; 4] = [Self::Blanks, Self::Texts, Self::Numbers, Self::Objects];

    fn filling(self) -> String {
        match self {
            Self::Blanks => " ".to_owned(),
            Self::Texts => format!("\"{}\",", "x".repeat(1000)),
            Self::Numbers => "0,".to_owned(),
            Self::Objects => "{\"\":0},".to_owned(),
        }
    }
}

/// An alert that is as large as one may be.
#[derive(Debug)]
pub struct BodyAtTheCap {
    /// How often which status was the answer; 0: there was none.
    pub answers: BTreeMap<u16, usize>,
    body: String,
}

impl BodyAtTheCap {
    /// For an address.
    #[must_use]
    pub fn new(address: &str, of: Body) -> Self {
        let filling = of.filling();
        let times = ((8 << 20) - 100) / filling.len();
        let body = format!("{{\"ip\":\"{address}\",\"x\":[{}0]}}", filling.repeat(times));
        Self { answers: BTreeMap::new(), body }
    }
}

impl Abuse for BodyAtTheCap {
    fn round(&mut self, door: &Door) {
        let Some(mut connection) = door.secure() else { return };
        connection.sock.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let answer = exchange(&mut connection, &door.alert(&self.body));
        *self.answers.entry(answer.map_or(0, |answer| answer.status)).or_default() += 1;
    }
}

/// `Upgrade` makes the library read on beyond the length that was announced.
#[derive(Debug)]
pub struct Upgrade {
    more: Vec<u8>,
}

impl Upgrade {
    /// By 8 MiB.
    #[must_use]
    pub fn new() -> Self {
        Self { more: vec![b' '; 8 << 20] }
    }
}

impl Default for Upgrade {
    fn default() -> Self {
        Self::new()
    }
}

impl Abuse for Upgrade {
    fn round(&mut self, door: &Door) {
        let headers = [("Authorization", door.bearer()), JSON, ("Upgrade", "websocket")];
        let announced = request("POST", "/blockip", &headers, "{\"ip\":\"\"}");
        let Some(mut connection) = door.secure() else { return };
        // It ends as soon as it is too much.
        let _ = connection
            .write_all(announced.as_bytes())
            .and_then(|()| connection.write_all(&self.more));
    }
}

/// Noise in place of TLS, or inside it.
#[derive(Debug)]
pub struct Garbage {
    noise: Vec<u8>,
    inside: bool,
}

impl Garbage {
    /// Inside TLS, or not.
    #[must_use]
    pub fn new(inside: bool) -> Self {
        let noise = (0..100_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]);
        Self { noise: noise.collect(), inside }
    }
}

impl Abuse for Garbage {
    fn round(&mut self, door: &Door) {
        if !self.inside {
            let sent: io::Result<()> =
                door.plain().and_then(|mut stream| stream.write_all(&self.noise));
            return drop(sent);
        }
        let Some(mut connection) = door.secure() else { return };
        let _ = connection.write_all(&self.noise);
        let mut heard = Vec::new();
        let _ = connection.read_to_end(&mut heard);
        let heard = String::from_utf8_lossy(&heard).to_ascii_lowercase();
        // Nothing is said of what is inside, and then nothing more.
        assert!(heard.is_empty() || heard.starts_with("http/1.1 4"), "{heard}");
        assert!(heard.is_empty() || heard.contains("\r\ncontent-length: 0\r\n"), "{heard}");
    }
}
