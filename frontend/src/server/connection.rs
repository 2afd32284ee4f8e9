//! A connection that is let in: its place, its deadlines, and what its handshake has shown.
//!
//! actix-http has a deadline for the first head, and one for a connection at rest, which each byte of
//! an unfinished TLS record puts off. It has none for a head that follows, for a body in chunks that
//! nobody reads any more, and for a peer that does not take its answer. While a request is worked on
//! there is none here: that has its own.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_http::Extensions;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_rustls::server::TlsStream;

use crate::server::places::Place;
use crate::server::workers::Newcomer;

/// What actix-http reads requests from.
pub struct Connection {
    tls: TlsStream<TcpStream>,
    work: Work,
    phase: Phase,
    /// Far away while a request is worked on: one that does not count would wake actix-http, which
    /// then puts its own off.
    deadline: Pin<Box<Sleep>>,
    // Given back when the socket is closed, and so the last.
    _place: Place,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// A request is worked on.
    Works,
    /// Nothing happens.
    Rests,
    /// It takes in a head, or what is left of a body.
    Reads,
    /// It gives out an answer, or says goodbye.
    Writes,
}

impl Phase {
    const fn deadline(self) -> Duration {
        match self {
            Self::Works => FAR_AWAY,
            Self::Rests => REST_DEADLINE,
            Self::Reads => HEAD_DEADLINE,
            Self::Writes => ANSWER_DEADLINE,
        }
    }
}

/// What requests know of their connection.
#[derive(Debug)]
pub struct Peer {
    /// The chain that the client has shown, the leaf first; none is shown without `tls.client-ca`.
    pub certificates: Vec<CertificateDer<'static>>,
    work: Work,
}

impl Peer {
    /// Puts it where requests of the connection find it.
    pub fn introduce(connection: &Connection, requests: &mut Extensions) {
        let (_, session) = connection.tls.get_ref();
        let certificates = session.peer_certificates().unwrap_or_default().to_vec();
        requests.insert(Self { certificates, work: connection.work.clone() });
    }

    /// Begins the work on a request, until the guard is dropped.
    #[must_use]
    pub fn begin_work(&self) -> Working {
        self.work.0.now.set(true);
        self.work.0.newcomer.take();
        Working(self.work.clone())
    }
}

/// What is known of a connection's requests.
#[derive(Clone, Debug)]
struct Work(Rc<Requests>);

#[derive(Debug)]
struct Requests {
    /// Whether one is worked on.
    now: Cell<bool>,
    /// Until the first one is.
    newcomer: RefCell<Option<Newcomer>>,
}

impl Work {
    fn of(newcomer: Newcomer) -> Self {
        Self(Rc::new(Requests { now: Cell::new(false), newcomer: RefCell::new(Some(newcomer)) }))
    }
}

/// While one is.
#[derive(Debug)]
pub struct Working(Work);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.0.now.set(false);
    }
}

impl Connection {
    /// Takes over what the handshake has made.
    #[must_use]
    pub fn new(tls: TlsStream<TcpStream>, place: Place, newcomer: Newcomer) -> Self {
        let phase = Phase::Rests;
        let deadline = Box::pin(tokio::time::sleep(phase.deadline()));
        Self { tls, work: Work::of(newcomer), phase, deadline, _place: place }
    }

    /// Ends the connection when it takes too long over what it does.
    fn keep_deadline(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.work.0.now.get() {
            self.enter(Phase::Works, context);
        }
        let over = self.deadline.as_mut().poll(context).is_ready();
        if over { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }

    /// `100 Continue` is a part of the work.
    fn begin_to_write(&mut self, context: &mut Context<'_>) {
        if !self.work.0.now.get() {
            self.enter(Phase::Writes, context);
        }
    }

    fn enter(&mut self, phase: Phase, context: &mut Context<'_>) {
        if self.phase == phase {
            return;
        }
        self.phase = phase;
        let now = Instant::now();
        self.deadline.as_mut().reset(now.checked_add(phase.deadline()).unwrap_or(now));
        // Polled, it wakes.
        let _ = self.deadline.as_mut().poll(context);
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.keep_deadline(context)?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.tls).poll_read(context, buffer);
        // What comes while an answer is given out is counted with it.
        if buffer.filled().len() > before && !self.work.0.now.get() && self.phase != Phase::Writes {
            self.enter(Phase::Reads, context);
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.keep_deadline(context)?;
        self.begin_to_write(context);
        Pin::new(&mut self.tls).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.keep_deadline(context)?;
        let flushed = Pin::new(&mut self.tls).poll_flush(context);
        if flushed.is_ready() && self.phase == Phase::Writes {
            self.enter(Phase::Rests, context);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.keep_deadline(context)?;
        self.begin_to_write(context);
        Pin::new(&mut self.tls).poll_shutdown(context)
    }
}

/// For a request's head.
pub const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// Longer than any request is worked on.
const FAR_AWAY: Duration = Duration::from_hours(24);
/// At rest; actix-http ends it earlier, and more kindly.
const REST_DEADLINE: Duration = Duration::from_secs(35);
/// For taking an answer; the kernel takes most at once.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);
