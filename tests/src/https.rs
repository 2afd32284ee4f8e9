//! A small HTTPS/1.1 client that can also say what no real client would.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};
use serde_json::Value;

/// What the body of an alert is.
pub const JSON: (&str, &str) = ("Content-Type", "application/json");

/// Trusts one certificate.
#[derive(Clone, Debug)]
pub struct Client(Arc<ClientConfig>);

/// An open connection.
pub type Connection = StreamOwned<ClientConnection, TcpStream>;

impl Client {
    /// A client that trusts the certificate in `pem` and no other. Sessions are not resumed, as in
    /// Kibana.
    #[must_use]
    pub fn trusting(pem: &Path) -> Self {
        Self::with(pem, None, rustls::ALL_VERSIONS)
    }

    /// The same, showing a certificate and key of its own, and with these versions of TLS alone.
    #[must_use]
    pub fn with(
        pem: &Path,
        own: Option<(&Path, &Path)>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(pem).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match own {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
                config
                    .with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap())
                    .unwrap()
            }
        };
        config.resumption = rustls::client::Resumption::disabled();
        Self(Arc::new(config))
    }

    /// Puts TLS on a connection.
    #[must_use]
    pub fn handshake(&self, stream: TcpStream, name: &str) -> Connection {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        StreamOwned::new(ClientConnection::new(Arc::clone(&self.0), name).unwrap(), stream)
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The head, as sent.
    pub head: String,
    /// The body as JSON; null when it is not.
    pub json: Value,
    /// The body as text.
    pub text: String,
}

impl Answer {
    /// The string `message` that Kibana shows.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn message(&self) -> &str {
        self.json["message"].as_str().unwrap_or_else(|| panic!("no message in {self:?}"))
    }

    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The outcomes of all results, in order.
    #[must_use]
    pub fn outcomes(&self) -> Vec<&str> {
        let results = self.json["results"].as_array().unwrap_or_else(|| panic!("{self:?}"));
        results.iter().map(|result| result["outcome"].as_str().unwrap()).collect()
    }
}

/// A request's text.
#[must_use]
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: webhookd\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    format!("{text}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// Sends a request and reads its answer; the connection stays usable.
///
/// # Errors
/// The connection's.
pub fn exchange(connection: &mut Connection, request: &str) -> std::io::Result<Answer> {
    connection.write_all(request.as_bytes())?;
    connection.flush()?;
    read_answer(connection)
}

/// Whether a client with this token is let in: then it learns that there is nothing at /. Without a
/// body, which webhookd would not read from a stranger, the connection stays usable.
///
/// # Panics
/// When the connection ends, or the answer is another.
#[must_use]
pub fn lets_in(connection: &mut Connection, token: &str) -> bool {
    let token = format!("Bearer {token}");
    let request = request("GET", "/", &[("Authorization", &token)], "");
    match exchange(connection, &request).expect("the connection lives").status {
        404 => true,
        401 => false,
        other => panic!("{other}"),
    }
}

/// Reads one answer.
///
/// # Errors
/// The connection's, or an end in the middle.
pub fn read_answer(connection: &mut Connection) -> std::io::Result<Answer> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        connection.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head.to_ascii_lowercase();
    let length = length.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    connection.read_exact(&mut body)?;
    let text = String::from_utf8(body).unwrap();
    Ok(Answer { status, head, json: serde_json::from_str(&text).unwrap_or_default(), text })
}
