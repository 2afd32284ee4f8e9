//! Accepts connections, asks the kernel who they are, and bounds their number.

use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use logging::Journal;

use crate::enforcer::Order;
use crate::peer::Peer;
use crate::reload::Reload;
use crate::session::{STACK, Session};
use crate::snapshot::Published;
use policy::Role;
use policy::config::Frontend;

/// Hands each connection of a known peer to a thread of its own.
pub struct Acceptor {
    /// The account that may ask for blocks.
    pub frontend: Frontend,
    /// Where changes are ordered.
    pub orders: SyncSender<Order>,
    /// Where answers without a change come from.
    pub published: Arc<Published>,
    /// How the configuration is read again.
    pub reload: Arc<Reload>,
    /// Where it is said who came.
    pub journal: Arc<Journal>,
    /// Connections of webhookd, then of operators.
    pub open: [Arc<AtomicUsize>; 2],
}

impl Acceptor {
    /// Accepts until the process ends.
    pub fn run(self, socket: &UnixListener) {
        for stream in socket.incoming() {
            match stream {
                Ok(stream) => self.welcome(stream),
                Err(error) => {
                    // Out of descriptors, most likely: waiting for some to be freed is all there is.
                    self.journal.not_served(&error);
                    thread::sleep(ACCEPT_PAUSE);
                }
            }
        }
    }

    fn welcome(&self, stream: UnixStream) {
        let peer = match Peer::of(&stream, self.frontend) {
            Ok(peer) => peer,
            Err(error) => return self.journal.turned_away(&error.to_string()),
        };
        // Counted apart, so that a frontend gone wild cannot keep the operator out.
        let [frontends, operators] = &self.open;
        let count = Arc::clone(if peer.role == Role::Frontend { frontends } else { operators });
        if count.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
            count.fetch_sub(1, Ordering::Relaxed);
            return self.journal.turned_away(&format!("{} has too many connections", peer.asker()));
        }
        let session = Session {
            peer,
            orders: self.orders.clone(),
            published: Arc::clone(&self.published),
            reload: Arc::clone(&self.reload),
            journal: Arc::clone(&self.journal),
        };
        let finished = Arc::clone(&count);
        let serve = move || {
            session.serve(stream);
            finished.fetch_sub(1, Ordering::Relaxed);
        };
        let thread = thread::Builder::new().name("session".into()).stack_size(STACK).spawn(serve);
        if let Err(error) = thread {
            count.fetch_sub(1, Ordering::Relaxed);
            self.journal.not_served(&error);
        }
    }
}

/// Connections of one role at a time.
pub const CONNECTIONS: usize = 16;
/// After a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
