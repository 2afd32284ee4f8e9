//! The clients: as little work as there can be, as they take their time from the servers.

use std::io::{Read, Write};

use tests::World;
use tests::https::Connection;

/// A new connection from wherever the calling thread is, its handshake finished.
pub fn connect(world: &World, port: u16) -> Connection {
    let mut connection = world.connect_to(port);
    shake_hands(&mut connection);
    connection
}

/// Finishes the handshake now instead of with the first request.
pub fn shake_hands(connection: &mut Connection) {
    while connection.conn.is_handshaking() {
        connection.conn.complete_io(&mut connection.sock).unwrap();
    }
}

/// Sends a request and returns its answer unread, which stays in `buffer`.
pub fn exchange<'a>(
    connection: &mut Connection,
    request: &str,
    buffer: &'a mut Vec<u8>,
) -> &'a str {
    connection.write_all(request.as_bytes()).unwrap();
    connection.flush().unwrap();
    let mut filled = 0;
    let mut whole = None;
    loop {
        if buffer.len() < filled + CHUNK {
            buffer.resize((2 * filled).max(CHUNK), 0);
        }
        let read = connection.read(&mut buffer[filled..]).unwrap();
        assert!(read > 0, "the connection ended");
        filled += read;
        if whole.is_none() {
            let head = buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n");
            whole = head.map(|head| head + 4 + content_length(&buffer[..head]));
        }
        if whole.is_some_and(|whole| filled >= whole) {
            return std::str::from_utf8(&buffer[..filled]).unwrap();
        }
    }
}

fn content_length(head: &[u8]) -> usize {
    let head = std::str::from_utf8(head).unwrap();
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let mut lengths = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.next().unwrap().1.parse().unwrap()
}

/// Bytes that there is room for at least.
const CHUNK: usize = 4096;
