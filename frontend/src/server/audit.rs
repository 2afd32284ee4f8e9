//! The lines that say who asked for what over HTTPS, and how it was answered.

use std::net::IpAddr;

use protocol::{EventId, Untrusted};
use slog::{Logger, info, warn};

use crate::server::admission::Caller;

/// A request of somebody who was let in.
pub fn answered(log: &Logger, event: EventId, caller: &Caller, path: &str, status: u16) {
    info!(log, "webhook"; "status" => status, "token" => %Untrusted(&caller.name),
        "client" => %caller.address, "way" => caller.way.name(), "path" => %Untrusted(path),
        "event" => %event);
}

/// Somebody who was not let in.
pub fn turned_away(log: &Logger, event: EventId, client: Option<IpAddr>, reason: &str) {
    let client = client.map_or_else(|| "-".to_owned(), |client| client.to_string());
    warn!(log, "unauthorized"; "reason" => reason, "client" => client, "event" => %event);
}
