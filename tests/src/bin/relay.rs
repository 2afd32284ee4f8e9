//! Connects to a Unix socket and becomes a pipe to it, so that a test can speak as another user:
//! `setpriv --reuid=4711 ... relay SOCKET`.

use std::io::{Read, Write, copy, stdin, stdout};
use std::os::unix::net::UnixStream;

fn main() {
    let path = std::env::args().nth(1).expect("a socket");
    let mut stream = UnixStream::connect(path).expect("a connection");
    let mut to = stream.try_clone().expect("a second handle");
    std::thread::spawn(move || {
        copy(&mut stdin(), &mut to).ok();
        to.shutdown(std::net::Shutdown::Write).ok();
    });
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut chunk) {
        if stdout().write_all(&chunk[..read]).and_then(|()| stdout().flush()).is_err() {
            break;
        }
    }
}
