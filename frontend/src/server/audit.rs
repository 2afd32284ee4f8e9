//! The lines that say who asked for what over HTTPS, and how it was answered.

use std::fmt::Display;
use std::net::IpAddr;
use std::time::Instant;

use protocol::{EventId, Untrusted};
use slog::{Logger, info, warn};

use crate::server::admission::Caller;
use crate::server::throttle::Throttle;

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

/// A client whose connection or token is not looked at, of which there may be very many.
pub fn refused(log: &Logger, throttle: &Throttle, client: IpAddr, why: &dyn Display) {
    if let Some(suppressed) = throttle.pass(Instant::now()) {
        let why = why.to_string();
        warn!(log, "refused"; "why" => %Untrusted(&why), "client" => %client,
            "suppressed" => suppressed);
    }
}
