//! Tells systemd, while it is so, that work moves. When it is told no more, it ends the daemon, which
//! starts afresh; a ufw under way goes on.

use std::io::Read;
use std::net::Shutdown;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::thread;
use std::time::Duration;

use firewall::pulse;
use sd_notify::NotifyState;

/// Until the process ends. Beyond what the enforcer has announced it may be late by one `interval`:
/// computing has no deadline, nor has a disk.
pub fn run(socket: &SocketAddr, interval: Duration) {
    let patience = interval.checked_div(2).unwrap_or(interval);
    let pause = interval.checked_div(4).unwrap_or(interval);
    loop {
        if pulse::lateness() < interval && answers(socket, patience) {
            // Without systemd there is nobody to notify.
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        }
        thread::sleep(pause);
    }
}

/// Whether a peer that says nothing and goes is seen off: the acceptor took it, asked who it is, and
/// had its session begin and end, or turned it away. Nothing of that is logged.
fn answers(socket: &SocketAddr, patience: Duration) -> bool {
    let ask = || {
        let mut stream = UnixStream::connect_addr(socket)?;
        stream.set_read_timeout(Some(patience))?;
        stream.shutdown(Shutdown::Write)?;
        stream.read(&mut [0])
    };
    ask().is_ok_and(|read| read == 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn whoever_is_not_seen_off_in_time_was_not_answered() {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("s")).unwrap();
        let socket = listener.local_addr().unwrap();
        // In the queue of the kernel, as before an acceptor that hangs.
        assert!(!answers(&socket, Duration::from_millis(20)));
        let acceptor = thread::spawn(move || (listener.accept(), listener.accept()).1.is_ok());
        assert!(answers(&socket, Duration::from_secs(20)));
        assert!(acceptor.join().unwrap());
        assert!(!answers(&socket, Duration::from_secs(20)), "nobody listens");
    }
}
