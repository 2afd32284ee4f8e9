//! Where webhookd listens, and what lets in there.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::https::{self, Answer, Client, Connection};

/// As somebody finds it who has the right token, from wherever the calling thread is.
#[derive(Clone, Debug)]
pub struct Door {
    address: SocketAddr,
    client: Client,
    bearer: String,
    opened: Arc<AtomicUsize>,
}

impl Door {
    /// The one towards Kibana.
    #[must_use]
    pub fn new(client: Client, token: &str) -> Self {
        let bearer = format!("Bearer {token}");
        Self { address: ([10, 9, 0, 1], 5001).into(), client, bearer, opened: Arc::default() }
    }

    /// The same by another address of the host, which need not be in the certificate.
    #[must_use]
    pub fn at(self, address: SocketAddr) -> Self {
        Self { address, ..self }
    }

    /// What `Authorization` says.
    #[must_use]
    pub fn bearer(&self) -> &str {
        &self.bearer
    }

    /// A connection without TLS.
    ///
    /// # Errors
    /// It is not let in.
    pub fn plain(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(stream)
    }

    /// How many connections it has let in.
    #[must_use]
    pub fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }

    /// A connection with TLS, if it is let in.
    #[must_use]
    pub fn secure(&self) -> Option<Connection> {
        let mut connection = self.client.handshake(self.plain().ok()?, "10.9.0.1");
        connection.conn.complete_io(&mut connection.sock).ok()?;
        Some(connection)
    }

    /// The whole request that an alert is.
    #[must_use]
    pub fn alert(&self, body: &str) -> String {
        let headers = [("Authorization", &*self.bearer), https::JSON];
        https::request("POST", "/blockip", &headers, body)
    }

    /// The head alone of one whose body has so many bytes.
    #[must_use]
    pub fn announcement(&self, length: usize) -> String {
        self.alert("").replace("Length: 0", &format!("Length: {length}"))
    }

    /// Posts an alert as Kibana does, over a connection of its own.
    ///
    /// # Errors
    /// The connection is refused or ends without an answer.
    pub fn post(&self, body: &str) -> io::Result<Answer> {
        let mut connection = self.client.handshake(self.plain()?, "10.9.0.1");
        https::exchange(&mut connection, &self.alert(body))
    }
}

/// For a connection to open.
const PATIENCE: Duration = Duration::from_secs(5);
