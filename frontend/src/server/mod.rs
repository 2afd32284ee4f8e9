//! webhookd: from start to stop.

pub mod admission;
pub mod answer;
pub mod attempts;
pub mod auth;
pub mod body;
pub mod config;
pub mod confinement;
pub mod connection;
pub mod health;
pub mod intake;
pub mod journal;
pub mod libraries;
pub mod metrics;
pub mod pipeline;
pub mod places;
pub mod reload;
pub mod routes;
pub mod tls;
pub mod watchdog;
pub mod webhook;
pub mod workers;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use actix_web::web;
use logging::{Action, Audit, AuditError, Origin};
use nix::sys::socket::Backlog;
use slog::info;
use tokio::signal::unix::{SignalKind, signal};

use crate::server::attempts::Attempts;
use crate::server::config::{Config, ConfigError};
use crate::server::journal::Journal;
use crate::server::metrics::Metrics;
use crate::server::pipeline::Pipeline;
use crate::server::places::Places;
use crate::server::reload::{Access, Current};
use crate::server::routes::Service;
use crate::server::watchdog::Hearts;
use crate::server::workers::Workers;

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// One sentence that names the thing and the mend, with its exit status.
pub fn run(path: &Path, check: bool) -> Result<(), StartError> {
    let config = Config::load(path)?;
    let current = Arc::new(Current::new(Access::load(&config)?));
    if check {
        return Ok(());
    }
    let log = logging::logger();
    let audit = Audit::open(config.audit_log.as_deref(), ORIGIN, &log)?;
    let journal = Arc::new(Journal::new(log.clone(), audit));
    libraries::take_over_log(&journal);
    let listener = listen(config.listen)?;
    confinement::enter(&log);
    let system = actix_web::rt::System::new();
    let serve = async {
        // From the first moment: what it does by default would end the process.
        let hangups = signal(SignalKind::hangup())?;
        let files = path.to_owned();
        tokio::spawn(reload::serve_hangups(hangups, files, current.clone(), journal.clone()));
        serve(config, current, listener, journal.clone()).await
    };
    system.block_on(serve).map_err(StartError::Serve)?;
    journal.settle(None);
    info!(log, "webhookd has stopped");
    journal.itself(Action::Stopped, "webhookd has stopped", None);
    Ok(())
}

async fn serve(
    config: Config,
    current: Arc<Current>,
    listener: TcpListener,
    journal: Arc<Journal>,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    let mut terminations = signal(SignalKind::terminate())?;
    let mut interruptions = signal(SignalKind::interrupt())?;
    let service = web::Data::new(Service {
        current,
        metrics: Metrics::new(),
        max_body: config.limits.max_body,
        bodies: Places::new(config.limits.max_bodies_in_flight),
        attempts: Attempts::default(),
        journal: journal.clone(),
    });
    let hearts = Hearts::new(sd_notify::watchdog_enabled());
    let feeder = hearts.clone();
    let pipeline = Pipeline {
        service,
        places: Places::new(config.limits.max_connections),
        privd_socket: config.privd_socket,
        hearts,
    };
    let workers = Workers::start(pipeline, listener).await?;
    info!(journal.log, "webhookd is ready"; "version" => env!("CARGO_PKG_VERSION"), "listen" => %address);
    journal.itself(Action::Started, "webhookd is ready", None);
    // Without systemd there is nobody to notify.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tokio::spawn(journal::settle(journal));
    tokio::spawn(feeder.feed());
    workers
        .serve_until(async {
            tokio::select! {
                _ = terminations.recv() => {}
                _ = interruptions.recv() => {}
            }
        })
        .await
}

/// Takes the socket that systemd hands over, or binds its own.
fn listen(wanted: SocketAddr) -> Result<TcpListener, StartError> {
    let mut given = listenfd::ListenFd::from_env();
    if let Some(listener) = given.take_tcp_listener(0).map_err(StartError::Given)? {
        let address = listener.local_addr().map_err(StartError::Given)?;
        let meant = address == wanted || is_all_there_is(address, wanted);
        return meant.then_some(listener).ok_or(StartError::OtherSocket { given: address, wanted });
    }
    let failed = |source| StartError::Bind { address: wanted, source };
    let listener = match TcpListener::bind(wanted) {
        // A host without IPv6 has no [::]; every IPv4 address is what was meant there.
        Err(error)
            if wanted.ip() == Ipv6Addr::UNSPECIFIED && error.raw_os_error() == Some(NO_IPV6) =>
        {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, wanted.port()))
        }
        bound => bound,
    };
    let listener = listener.map_err(failed)?;
    // The standard library asks for 128, which a burst fills: the next client waits a second for its
    // second try.
    nix::sys::socket::listen(&listener, Backlog::MAXCONN).map_err(|error| failed(error.into()))?;
    Ok(listener)
}

/// On a host without IPv6 systemd makes 0.0.0.0:5001 of `ListenStream=5001`. Whether it has IPv6 is
/// asked as systemd asks; in the unit's sandbox a socket of that family is refused anyway.
fn is_all_there_is(given: SocketAddr, wanted: SocketAddr) -> bool {
    let everywhere = given.ip() == Ipv4Addr::UNSPECIFIED && wanted.ip() == Ipv6Addr::UNSPECIFIED;
    everywhere && given.port() == wanted.port() && !Path::new(IPV6_ADDRESSES).exists()
}

/// Why webhookd does not start: printed once, for the operator.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Certificate or key.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// The token file.
    #[error(transparent)]
    Tokens(#[from] auth::TokenError),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// systemd handed over something else.
    #[error("the socket handed over by systemd cannot be used: {0}")]
    Given(io::Error),
    /// Unit and configuration disagree.
    #[error(
        "systemd listens on {given}, the configuration says {wanted}: change `listen`, or \
         ListenStream= with `systemctl edit webhookd.socket`"
    )]
    OtherSocket {
        /// What systemd handed over.
        given: SocketAddr,
        /// What `listen` says.
        wanted: SocketAddr,
    },
    /// The port is taken, most likely.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// `listen`.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The server broke down.
    #[error("the server stopped: {0}")]
    Serve(io::Error),
}

impl StartError {
    /// The exit status, from sysexits(3).
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Serve(_) => 70,
            _ => 78,
        }
    }
}

/// Who writes the audit log.
const ORIGIN: Origin =
    Origin { program: "webhookd", version: env!("CARGO_PKG_VERSION"), firewall: None };
/// There unless the kernel has no IPv6 (`ipv6.disable=1`), and not hidden by `ProcSubset=pid`.
const IPV6_ADDRESSES: &str = "/proc/self/net/if_inet6";
/// EAFNOSUPPORT, errno(3).
const NO_IPV6: i32 = 97;
