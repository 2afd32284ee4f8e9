//! The three sessions of an attacker worth the name: a quiet one, one on which the server keeps
//! sending, and one that the host opened to the attacker.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::place::Place;
use crate::world::{ATTACKER, SERVER, World};

/// Both ends of the three sessions.
#[derive(Debug)]
pub struct Sessions {
    quiet: (TcpStream, TcpStream),
    sending: TcpStream,
    outbound: (TcpStream, TcpStream),
    stop: Arc<AtomicBool>,
    sender: Option<JoinHandle<()>>,
    _listeners: [TcpListener; 2],
}

impl Sessions {
    /// Opens all three and checks that each carries data.
    #[must_use]
    pub fn open(world: &World) -> Self {
        Self::between(&world.server, SERVER, &world.attacker, ATTACKER)
    }

    /// The same between any two places, each with its address.
    #[must_use]
    pub fn between(
        server: &Place,
        server_address: &str,
        attacker: &Place,
        attacker_address: &str,
    ) -> Self {
        let on = |address: &str, port| SocketAddr::new(address.parse().unwrap(), port).to_string();
        let ssh = server.listen(&on(server_address, 22));
        let shell = attacker.listen(&on(attacker_address, 4444));
        let patience = Duration::from_secs(5);
        let open = |from: &Place, listener: &TcpListener| {
            let near = from.connect(listener.local_addr().unwrap(), patience).unwrap();
            let far = listener.accept().unwrap().0;
            (near, far)
        };
        let quiet = open(attacker, &ssh);
        let (sending, mut server_end) = open(attacker, &ssh);
        let outbound = open(server, &shell);
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let sender = std::thread::spawn(move || {
            server_end.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
            while !stopping.load(Ordering::Relaxed) {
                let _ = server_end.write(b"output\n");
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let mut sessions =
            Self { quiet, sending, outbound, stop, sender: Some(sender), _listeners: [ssh, shell] };
        assert_eq!(sessions.alive(), ["quiet", "sending", "outbound"]);
        sessions
    }

    /// The names of the sessions that still carry data from one end to the other.
    pub fn alive(&mut self) -> Vec<&'static str> {
        let mut alive = Vec::new();
        // Drain what was under way before asking whether anything new arrives.
        drain(&mut self.sending);
        let (attacker, server) = &mut self.quiet;
        if carries(attacker, server) || carries(server, attacker) {
            alive.push("quiet");
        }
        if receives(&mut self.sending) {
            alive.push("sending");
        }
        let (server, attacker) = &mut self.outbound;
        if carries(attacker, server) || carries(server, attacker) {
            alive.push("outbound");
        }
        alive
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.sender.take().map(JoinHandle::join);
    }
}

fn carries(from: &mut TcpStream, to: &mut TcpStream) -> bool {
    from.write_all(b"x").is_ok() && receives(to)
}

fn receives(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    matches!(stream.read(&mut [0; 4096]), Ok(1..))
}

/// Reads what is there; a stream that never falls silent is alive and left after a moment.
fn drain(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let deadline = Instant::now() + Duration::from_millis(200);
    while Instant::now() < deadline {
        match stream.read(&mut [0; 4096]) {
            Ok(1..) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            _ => return,
        }
    }
}

/// Longer than the first TCP retransmissions (200 ms, 400 ms).
const SILENCE: Duration = Duration::from_millis(900);
