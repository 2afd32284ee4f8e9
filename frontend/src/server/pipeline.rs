//! The way of a connection: a place for its source, the handshake, then requests.
//!
//! actix-web's own server stops accepting when its bound is reached, for all sources alike: a single
//! slow one would keep Kibana out. This one closes what is too much of one source and goes on.

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol, Request};
use actix_service::{IntoServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::dev::{AppConfig, Server};
use actix_web::{App, web};
use protocol::canonical;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::privd_client::PrivdClient;
use crate::server::admission;
use crate::server::connection::{Connection, HEAD_DEADLINE, Peer};
use crate::server::places::{Places, Source};
use crate::server::routes::{self, Service};
use crate::server::watchdog::Hearts;

/// What each worker is made of.
#[derive(Clone)]
pub struct Pipeline {
    /// Everything a request is judged by.
    pub service: web::Data<Service>,
    /// Places for connections.
    pub places: Arc<Places>,
    /// webhook-privd's socket.
    pub privd_socket: PathBuf,
    /// One beats for each worker.
    pub hearts: Hearts,
}

impl Pipeline {
    /// Begins to serve; the server ends by SIGTERM, when what is under way is answered.
    ///
    /// # Errors
    /// A listener that cannot be used.
    pub fn serve(self, listener: TcpListener) -> io::Result<Server> {
        let server = Server::build();
        let stop = server.graceful_shutdown_signal();
        let worker = move || {
            self.hearts.begin();
            // A connection to privd belongs to the worker whose runtime drives it.
            let privd = web::Data::new(PrivdClient::new(&self.privd_socket, PRIVD_PATIENCE));
            let app = App::new()
                .app_data(self.service.clone())
                .app_data(privd)
                .default_service(web::to(routes::handle))
                .into_factory()
                .map_err(|error| error.error_response());
            let expecting = self.service.clone();
            let stop = stop.clone();
            let http = HttpService::build()
                // As actix-web does: a connection at rest does not hold a stop up. It gets a moment
                // more, as nothing tells it from one whose first request is on the way: that would be
                // lost.
                .graceful_shutdown_signal(move || {
                    let stop = stop.clone();
                    async move {
                        stop.notified().await;
                        tokio::time::sleep(FIRST_REQUEST).await;
                    }
                })
                .keep_alive(KEEP_ALIVE)
                .client_request_timeout(HEAD_DEADLINE)
                .client_disconnect_timeout(UNREAD_DEADLINE)
                .on_connect_ext(Peer::introduce)
                .expect(fn_service(move |request: Request| {
                    let service = expecting.clone();
                    async move { routes::expected(&service, request) }
                }))
                .finish(map_config(app, |()| AppConfig::default()));
            let (places, service) = (Arc::clone(&self.places), self.service.clone());
            fn_service(move |socket: TcpStream| {
                let (places, service) = (Arc::clone(&places), service.clone());
                async move { welcome(socket, &places, &service).await }
            })
            .and_then(http)
        };
        let server = server
            .workers(WORKERS)
            // For large bodies, one after another: what each such thread has freed stays with it.
            .worker_max_blocking_threads(1)
            // Bounded is what is served, by its places.
            .max_concurrent_connections(usize::MAX)
            .shutdown_timeout(SHUTDOWN_SECONDS)
            .listen("webhookd", listener, worker)?;
        Ok(server.run())
    }
}

/// Takes a connection as far as its first request. What fails on the way ends it and nothing else.
async fn welcome(
    socket: TcpStream,
    places: &Arc<Places>,
    service: &Service,
) -> Result<(Connection, Protocol, Option<std::net::SocketAddr>), DispatchError> {
    let peer = socket.peer_addr()?;
    let address = canonical(peer.ip());
    let access = service.current.read();
    let known = admission::allowed(&access, Some(address)).is_ok();
    let source = if known { Source::of(address) } else { Source::Strangers };
    let place = places
        .take(source)
        .map_err(|full| refuse(service, address, io::ErrorKind::QuotaExceeded, full))?;
    // Small answers in several writes: without it each waits for the peer's delayed ACK, 40 ms.
    socket.set_nodelay(true)?;
    let acceptor = TlsAcceptor::from(Arc::clone(&access.tls));
    let handshake = tokio::time::timeout(HANDSHAKE_DEADLINE, acceptor.accept(socket)).await;
    let tls = handshake
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|error| refuse(service, address, error.kind(), format!("no TLS: {error}")))?;
    Ok((Connection::new(tls, place), Protocol::Http1, Some(peer)))
}

fn refuse(
    service: &Service,
    client: IpAddr,
    kind: io::ErrorKind,
    why: impl Display,
) -> DispatchError {
    service.journal.refused(client, &why.to_string());
    DispatchError::Io(kind.into())
}

/// Threads that serve connections: a host that blocks attackers has better uses for its cores.
const WORKERS: usize = 2;
/// How long a request waits for privd to come back before it is answered 503.
const PRIVD_PATIENCE: Duration = Duration::from_secs(3);
/// For a TLS handshake.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
/// An idle connection is kept this long; Kibana opens a new one each time.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// What is left of a body that is not wanted is read and dropped so long: a client that still sends
/// would be reset, and never read its answer.
const UNREAD_DEADLINE: Duration = Duration::from_secs(5);
/// For the request of a connection that was just made when the service stops.
const FIRST_REQUEST: Duration = Duration::from_millis(500);
/// For requests under way when the service stops.
const SHUTDOWN_SECONDS: u64 = 55;
