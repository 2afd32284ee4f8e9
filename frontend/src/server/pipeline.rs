//! The way of a connection: a place for its source, the handshake, then requests.
//!
//! actix-web's own server stops accepting when its bound is reached, for all sources alike: a single
//! slow one would keep Kibana out. This one closes what is too much of one source and goes on.

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol, Request};
use actix_service::{
    IntoServiceFactory, ServiceFactory, ServiceFactoryExt, fn_service, map_config,
};
use actix_web::dev::AppConfig;
use actix_web::{App, web};
use protocol::canonical;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::privd_client::PrivdClient;
use crate::server::admission;
use crate::server::connection::{Connection, HEAD_DEADLINE, Peer};
use crate::server::places::{Place, Places, Source};
use crate::server::routes::{self, Service};
use crate::server::watchdog::Hearts;
use crate::server::workers::Newcomer;

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
    /// What a worker makes of each connection. `closing` ends those that are at rest, and others when
    /// they have answered.
    ///
    /// # Errors
    /// It cannot be put together.
    pub async fn service(
        self,
        closing: watch::Receiver<bool>,
    ) -> io::Result<
        impl actix_service::Service<
            (TcpStream, Newcomer),
            Response = (),
            Error = DispatchError,
            Future: 'static,
        >,
    > {
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
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let mut closing = closing.clone();
                async move { drop(closing.wait_for(|closing| *closing).await) }
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
        let (places, service) = (self.places, self.service);
        let whole = fn_service(move |(socket, newcomer): (TcpStream, Newcomer)| {
            // Before the worker accepts the next one: who finds no place holds no descriptor then.
            let guest = seat(socket, &places, &service);
            let service = service.clone();
            async move { welcome(guest?, newcomer, &service).await }
        })
        .and_then(http);
        whole.new_service(()).await.map_err(|()| io::Error::other("no service can be made"))
    }
}

/// A connection that has a place, and has shown nothing yet.
struct Guest {
    socket: TcpStream,
    peer: SocketAddr,
    tls: TlsAcceptor,
    // Given back when the socket is closed, and so the last.
    place: Place,
}

/// Closes a connection for whose source there is no place.
fn seat(
    socket: TcpStream,
    places: &Arc<Places>,
    service: &Service,
) -> Result<Guest, DispatchError> {
    let peer = socket.peer_addr()?;
    let address = canonical(peer.ip());
    let access = service.current.read();
    let known = admission::allowed(&access, Some(address)).is_ok();
    let source = if known { Source::of(address) } else { Source::Strangers };
    let place = places
        .take(source)
        .map_err(|full| refuse(service, address, io::ErrorKind::QuotaExceeded, full))?;
    Ok(Guest { socket, peer, tls: TlsAcceptor::from(Arc::clone(&access.tls)), place })
}

/// Takes one as far as its first request. What fails on the way ends it and nothing else.
async fn welcome(
    guest: Guest,
    newcomer: Newcomer,
    service: &Service,
) -> Result<(Connection, Protocol, Option<SocketAddr>), DispatchError> {
    let Guest { socket, peer, tls, place } = guest;
    // Small answers in several writes: without it each waits for the peer's delayed ACK, 40 ms.
    socket.set_nodelay(true)?;
    let handshake = tokio::time::timeout(HANDSHAKE_DEADLINE, tls.accept(socket)).await;
    let tls =
        handshake.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|error| {
            refuse(service, canonical(peer.ip()), error.kind(), format!("no TLS: {error}"))
        })?;
    Ok((Connection::new(tls, place, newcomer), Protocol::Http1, Some(peer)))
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

/// How long a request waits for privd to come back before it is answered 503.
const PRIVD_PATIENCE: Duration = Duration::from_secs(3);
/// For a TLS handshake.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
/// An idle connection is kept this long; Kibana opens a new one each time.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// What is left of a body that is not wanted is read and dropped so long: a client that still sends
/// would be reset, and never read its answer.
const UNREAD_DEADLINE: Duration = Duration::from_secs(5);
