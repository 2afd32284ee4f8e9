//! Tells the enforcer at once when somebody writes the firewall's files.

use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use slog::{Logger, warn};

use crate::enforcer::Order;
use firewall::ufw::files::{DIRECTORY, RulesFiles};

/// Watches until the process ends; without inotify, and where ufw comes only later, the periodic look
/// remains.
pub fn run(orders: &SyncSender<Order>, log: &Logger) {
    if !RulesFiles::are_there() {
        return;
    }
    if let Err(errno) = watch(orders) {
        warn!(log, "changes of ufw's files are not seen at once"; "why" => %errno);
    }
}

/// The directory and not the files: `ufw reset` and `sed -i` put other files in their place
/// (inotify(7)).
fn watch(orders: &SyncSender<Order>) -> Result<(), Errno> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC)?;
    let written = AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVE | AddWatchFlags::IN_DELETE;
    inotify.add_watch(DIRECTORY, written)?;
    loop {
        match inotify.read_events() {
            // Whether it was our own doing, the enforcer sees by the files' state. A full queue
            // keeps it busy, and what it does ends with a look.
            Ok(_) => drop(orders.try_send(Order::Look)),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        // One ufw run writes several times.
        thread::sleep(SETTLE);
    }
}

/// Events that come together are one.
const SETTLE: Duration = Duration::from_millis(20);
