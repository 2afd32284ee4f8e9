//! Connections that are kept open, and on which next to nothing happens.

use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::ops::ControlFlow;

use super::{Abuse, client_hello, hold};
use crate::Door;
use crate::https::Connection;

/// A thousand that send the beginning of a handshake byte by byte, and some that so begin a request.
#[derive(Debug)]
pub struct SlowConnections {
    hello: Vec<u8>,
    silent: Vec<(TcpStream, usize)>,
    slow: Vec<(Connection, usize)>,
}

impl SlowConnections {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self { hello: client_hello(), silent: Vec::new(), slow: Vec::new() }
    }
}

impl Default for SlowConnections {
    fn default() -> Self {
        Self::new()
    }
}

impl Abuse for SlowConnections {
    fn round(&mut self, door: &Door) {
        let head = door.alert("");
        hold(
            1000,
            &mut self.silent,
            || door.plain().ok().map(|stream| (stream, 0)),
            |(stream, sent)| {
                *sent += 1;
                lasting(&stream.write_all(&self.hello[*sent - 1..*sent]))
            },
        );
        hold(
            20,
            &mut self.slow,
            || door.secure().map(|one| (one, 0)),
            |(connection, sent)| {
                *sent += 1;
                lasting(&connection.write_all(&head.as_bytes()[*sent - 1..*sent]))
            },
        );
    }
}

/// Bodies at the cap, announced and then sent byte by byte.
#[derive(Debug, Default)]
pub struct SlowBodies(Vec<Connection>);

impl Abuse for SlowBodies {
    fn round(&mut self, door: &Door) {
        let announced = door.announcement(8 << 20);
        hold(
            60,
            &mut self.0,
            || {
                let mut connection = door.secure()?;
                connection.write_all(announced.as_bytes()).ok()?;
                Some(connection)
            },
            |connection| lasting(&connection.write_all(b" ")),
        );
    }
}

/// Connections whose client has said that it sends no more, before TLS or in the middle of a request.
#[derive(Debug, Default)]
pub struct HalfClosed(Vec<Connection>);

impl Abuse for HalfClosed {
    fn round(&mut self, door: &Door) {
        let announced = door.announcement(90);
        let closed = |stream: &TcpStream| stream.shutdown(Shutdown::Write);
        let mut bare = Vec::new();
        hold(
            200,
            &mut bare,
            || door.plain().ok().filter(|stream| closed(stream).is_ok()),
            |_| ControlFlow::Continue(()),
        );
        hold(
            40,
            &mut self.0,
            || {
                let mut connection = door.secure()?;
                connection.write_all(announced.as_bytes()).ok()?;
                closed(&connection.sock).ok()?;
                Some(connection)
            },
            // As long as nothing is heard.
            |connection| {
                connection.sock.set_nonblocking(true).unwrap();
                match connection.sock.peek(&mut [0; 1]) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        ControlFlow::Continue(())
                    }
                    _ => ControlFlow::Break(()),
                }
            },
        );
    }
}

const fn lasting(result: &io::Result<()>) -> ControlFlow<()> {
    if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}
