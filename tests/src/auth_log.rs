//! What Filebeat's module system makes of sshd's lines: its fileset auth, as far as a rule sees it.
//!
//! Written after the published ingest pipelines of elastic/beats, `filebeat/module/system/auth/ingest/`:
//! `files.yml` (1feb85e2) for what goes before the colon, `grok-auth-messages.yml` (be628fe4) for what
//! comes after it, `common.yml` (4702ca3c) for what both become. Two traits of these patterns decide
//! what a rule counts, and are kept here: each part is as short as can be, and nothing has to follow
//! the address.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

/// The document of one line, with dotted names as Kibana shows them; None for what is no line of syslog.
#[must_use]
pub fn document(line: &str) -> Option<Value> {
    let (at, rest) = line.split_once(' ')?;
    let (host, rest) = rest.split_once(' ')?;
    let (process, message) = rest.split_once(": ")?;
    let (name, pid) = match process.strip_suffix(']').and_then(|process| process.split_once('[')) {
        Some((name, pid)) => (name, pid.parse().ok()),
        None => (process, None::<u64>),
    };
    let mut fields = Map::from_iter(
        [
            ("@timestamp", json!(at.parse::<jiff::Timestamp>().ok()?.to_string())),
            ("_index", json!("filebeat-8.17.0")),
            ("ecs.version", json!("8.0.0")),
            ("event.dataset", json!("system.auth")),
            ("event.kind", json!("event")),
            ("event.module", json!("system")),
            ("fileset.name", json!("auth")),
            ("host.hostname", json!(host)),
            ("process.name", json!(name)),
            ("service.type", json!("system")),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
    );
    let mut set = |key: &str, value: Value| drop(fields.insert(key.to_owned(), value));
    pid.into_iter().for_each(|pid| set("process.pid", json!(pid)));
    let Some(login) = Login::tried(message).or_else(|| Login::of_nobody(message)) else {
        set("message", json!(message));
        return Some(fields.into());
    };
    set("system.auth.ssh.event", json!(login.event));
    set("user.name", json!(login.user));
    set("related.user", json!([login.user]));
    set("source.address", json!(login.address));
    if let Some((method, port)) = login.way {
        set("system.auth.ssh.method", json!(method));
        set("source.port", json!(port));
    }
    match login.address.parse::<IpAddr>() {
        Ok(address) => {
            set("source.ip", json!(address.to_string()));
            set("related.ip", json!([address.to_string()]));
        }
        // With UseDNS a name may stand there: then there is nothing to group by.
        Err(_) => set("source.domain", json!(login.address)),
    }
    let outcome = match login.event {
        "Accepted" => ("success", json!(["authentication", "session"])),
        "Failed" | "Invalid" => ("failure", json!(["authentication"])),
        _ => return Some(fields.into()),
    };
    set("event.action", json!("ssh_login"));
    set("event.outcome", json!(outcome.0));
    set("event.category", outcome.1);
    set("event.type", json!(["info"]));
    Some(fields.into())
}

/// What the patterns find.
struct Login<'line> {
    event: &'line str,
    user: &'line str,
    address: &'line str,
    /// By which method, from which port.
    way: Option<(&'line str, u16)>,
}

impl<'line> Login<'line> {
    /// `EVENT METHOD for [invalid user]USER from ADDRESS port PORT ssh2`.
    fn tried(message: &'line str) -> Option<Self> {
        parts(message, " ").find_map(|(event, rest)| {
            parts(rest, " for ").find_map(|(method, rest)| {
                let rest = rest.strip_prefix("invalid user").unwrap_or(rest);
                parts(rest, " from ").find_map(|(user, rest)| {
                    let (address, rest) = rest.split_once(" port ")?;
                    let (port, rest) = rest.split_once(' ')?;
                    let way = Some((method, port.parse().ok()?));
                    let fits = is_host(address) && rest.starts_with("ssh2");
                    fits.then_some(Self { event, user, address, way })
                })
            })
        })
    }

    /// `EVENT user USER from ADDRESS`.
    fn of_nobody(message: &'line str) -> Option<Self> {
        parts(message, " user ").find_map(|(event, rest)| {
            parts(rest, " from ").find_map(|(user, rest)| {
                let address = rest.split(' ').next()?;
                is_host(address).then_some(Self { event, user, address, way: None })
            })
        })
    }
}

/// What stands before and after each occurrence, the first one first.
fn parts<'text>(
    text: &'text str,
    between: &'static str,
) -> impl Iterator<Item = (&'text str, &'text str)> {
    text.match_indices(between).map(move |(at, _)| (&text[..at], &text[at + between.len()..]))
}

/// `IPORHOST`: an address or a name.
fn is_host(text: &str) -> bool {
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    text.parse::<IpAddr>().is_ok() || (!text.is_empty() && text.bytes().all(in_name))
}
