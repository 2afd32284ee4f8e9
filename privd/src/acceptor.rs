//! Accepts connections, asks the kernel who they are, and bounds their number.

use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};

use slog::{Logger, error, warn};

use crate::config::Frontend;
use crate::enforcer::Order;
use crate::peer::{Peer, Role};
use crate::session::{STACK, Session};
use crate::snapshot::Published;

/// Hands each connection of a known peer to a thread of its own.
pub struct Acceptor {
    /// The account that may ask for blocks.
    pub frontend: Frontend,
    /// Where changes are ordered.
    pub orders: SyncSender<Order>,
    /// Where answers without a change come from.
    pub published: Arc<Published>,
    /// The logger.
    pub log: Logger,
    /// Connections of webhookd, then of operators.
    pub open: [Arc<AtomicUsize>; 2],
    /// What was not let in.
    pub turned_away: TurnedAway,
}

impl Acceptor {
    /// Accepts until the process ends.
    pub fn run(mut self, socket: &UnixListener) {
        for stream in socket.incoming() {
            match stream {
                Ok(stream) => self.welcome(stream),
                Err(error) => {
                    // Out of descriptors, most likely: waiting for some to be freed is all there is.
                    error!(self.log, "connection not accepted"; "error" => %error);
                    thread::sleep(ACCEPT_PAUSE);
                }
            }
        }
    }

    fn welcome(&mut self, stream: UnixStream) {
        let peer = match Peer::of(&stream, self.frontend) {
            Ok(peer) => peer,
            Err(error) => return self.turned_away.note(&self.log, &error.to_string()),
        };
        // Counted apart, so that a frontend gone wild cannot keep the operator out.
        let [frontends, operators] = &self.open;
        let count = Arc::clone(if peer.role == Role::Frontend { frontends } else { operators });
        if count.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
            count.fetch_sub(1, Ordering::Relaxed);
            return self.turned_away.note(&self.log, &format!("{peer} has too many connections"));
        }
        let session = Session {
            peer,
            orders: self.orders.clone(),
            published: Arc::clone(&self.published),
            log: self.log.clone(),
        };
        let finished = Arc::clone(&count);
        let serve = move || {
            session.serve(stream);
            finished.fetch_sub(1, Ordering::Relaxed);
        };
        let thread = thread::Builder::new().name("session".into()).stack_size(STACK).spawn(serve);
        if let Err(error) = thread {
            count.fetch_sub(1, Ordering::Relaxed);
            error!(self.log, "connection not served"; "error" => %error);
        }
    }
}

/// Anyone who may reach the socket can cause these lines: one a second, the others counted.
#[derive(Default)]
pub struct TurnedAway {
    last: Option<Instant>,
    suppressed: u64,
}

impl TurnedAway {
    fn note(&mut self, log: &Logger, why: &str) {
        if self.last.is_some_and(|last| last.elapsed() < LINE_PAUSE) {
            self.suppressed = self.suppressed.saturating_add(1);
            return;
        }
        warn!(log, "connection refused"; "why" => why, "suppressed" => self.suppressed);
        self.last = Some(Instant::now());
        self.suppressed = 0;
    }
}

/// Connections of one role at a time.
pub const CONNECTIONS: usize = 16;
/// Between two refusals in the log.
const LINE_PAUSE: Duration = Duration::from_secs(1);
/// After a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
