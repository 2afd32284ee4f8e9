//! The audit logs of a world, and what may stand in them.

use std::fs;
use std::os::unix::fs::chown;

use serde_json::{Value, json};

use crate::wait::until;
use crate::world::{UID, World};

/// Where both logs lie in a world.
pub const LOGS: [(&str, &str); 2] =
    [("webhook-privd", "log/privd/audit.ndjson"), ("webhookd", "log/webhookd/audit.ndjson")];
/// That of webhook-privd.
pub const PRIVD: &str = LOGS[0].1;
/// That of webhookd.
pub const WEBHOOKD: &str = LOGS[1].1;

/// A world whose daemons write audit logs, each in a folder of its own.
#[must_use]
pub fn logging_world(privd_toml: &str) -> World {
    let mut world = World::without_daemons("ufw allow 22/tcp");
    fs::create_dir_all(world.path("log/privd")).unwrap();
    fs::create_dir(world.path("log/webhookd")).unwrap();
    chown(world.path("log/webhookd"), Some(UID), Some(UID)).unwrap();
    configure(&world, privd_toml);
    world.start();
    world
}

/// Has both daemons of a world write them, with further lines for privd.toml.
pub fn configure(world: &World, privd_toml: &str) {
    let key = |log| format!("audit-log = {:?}\n", world.path(log));
    world.configure(&format!("{}{privd_toml}", key(PRIVD)), &key(WEBHOOKD));
}

/// All documents of a log; each is one line.
///
/// # Panics
/// When one is no JSON.
#[must_use]
pub fn documents(world: &World, log: &str) -> Vec<Value> {
    let text = world.read(log);
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(parse).collect()
}

/// The first document with this action, as soon as it is there.
///
/// # Panics
/// When it does not come.
pub fn document(world: &World, log: &str, action: &str) -> Value {
    let mut found = None;
    until(action, 20, || {
        found = documents(world, log).into_iter().find(|one| one["event.action"] == action);
        found.is_some()
    });
    found.unwrap()
}

/// A document has these fields with these values.
///
/// # Panics
/// When it has not.
pub fn check(document: &Value, expected: Value) {
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&document[key], value, "{key} of {document:#}");
    }
}

/// The names are ECS's or ours, the values those that ECS allows.
///
/// # Panics
/// When one is not.
pub fn valid(program: &str, document: &Value) {
    let fields = document.as_object().unwrap();
    for (key, value) in fields {
        let kind = FIELDS.iter().find(|(name, _)| name == key).map(|(_, kind)| *kind);
        let fits = match (key.as_str(), kind) {
            ("event.category" | "event.type" | "related.ip", _) => value.is_array(),
            ("webhookd.outcome", _) => value.is_string() || value.is_array(),
            (_, Some("date")) => {
                value.as_str().is_some_and(|at| at.len() == 24 && at.ends_with('Z'))
            }
            (_, Some("long")) => value.is_u64(),
            (_, Some(_)) => value.is_string(),
            (_, None) => false,
        };
        assert!(fits, "{key}: {document:#}");
    }
    check(
        document,
        json!({
            "ecs.version": "8.17.0", "event.kind": "event", "event.module": "webhookd",
            "event.dataset": "webhookd.audit", "event.provider": program, "service.name": program,
            "process.name": program,
        }),
    );
    let words = |key: &str| -> Vec<&str> {
        document[key].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
    };
    for kind in words("event.type") {
        let fits = words("event.category").iter().any(|category| {
            let (_, kinds) = CATEGORIES.iter().find(|(name, _)| name == category).unwrap();
            kinds.contains(&kind)
        });
        assert!(fits, "{kind}: {document:#}");
    }
    let outcome = document["event.outcome"].as_str().unwrap();
    assert!(["success", "failure", "unknown"].contains(&outcome), "{document:#}");
    let action = document["event.action"].as_str().unwrap();
    let prefix = if program == "webhookd" { "webhook-" } else { "ip-" };
    assert!(action.starts_with(prefix), "{program} says {action}");
    for key in ["source.ip", "client.ip"] {
        let address = fields.get(key).map(|value| value.as_str().unwrap().parse());
        assert!(address.is_none_or(|address: Result<std::net::IpAddr, _>| address.is_ok()));
    }
}

/// Every field that a document may have: of ECS 8.17, and ours, with the type that Filebeat's index
/// template gives it. A text that the template does not know becomes a keyword.
pub const FIELDS: [(&str, &str); 47] = [
    ("@timestamp", "date"),
    ("client.ip", "ip"),
    ("ecs.version", "keyword"),
    ("event.action", "keyword"),
    ("event.category", "keyword"),
    ("event.dataset", "keyword"),
    ("event.id", "keyword"),
    ("event.kind", "keyword"),
    ("event.module", "keyword"),
    ("event.outcome", "keyword"),
    ("event.provider", "keyword"),
    ("event.reason", "keyword"),
    ("event.type", "keyword"),
    ("group.id", "keyword"),
    ("host.hostname", "keyword"),
    ("http.request.method", "keyword"),
    ("http.response.status_code", "long"),
    ("log.level", "keyword"),
    ("message", "match_only_text"),
    ("observer.hostname", "keyword"),
    ("observer.product", "keyword"),
    ("observer.type", "keyword"),
    ("process.name", "keyword"),
    ("process.pid", "long"),
    ("related.ip", "ip"),
    ("rule.name", "keyword"),
    ("service.name", "keyword"),
    ("service.version", "keyword"),
    ("source.address", "keyword"),
    ("source.ip", "ip"),
    ("url.path", "keyword"),
    ("user.effective.id", "keyword"),
    ("user.id", "keyword"),
    ("user_agent.original", "keyword"),
    ("webhookd.addresses", "long"),
    ("webhookd.alert_id", "keyword"),
    ("webhookd.detail", "keyword"),
    ("webhookd.enforced_as", "keyword"),
    ("webhookd.kind", "keyword"),
    ("webhookd.outcome", "keyword"),
    ("webhookd.peer.pid", "long"),
    ("webhookd.refusal", "keyword"),
    ("webhookd.suppressed", "long"),
    ("webhookd.token", "keyword"),
    ("webhookd.until", "keyword"),
    ("webhookd.verb", "keyword"),
    ("webhookd.way", "keyword"),
];

/// The types that ECS 8.17 expects for each category (elastic/ecs,
/// docs/reference/ecs-allowed-values-event-category.md).
const CATEGORIES: [(&str, &[&str]); 6] = [
    ("authentication", &["start", "end", "info"]),
    ("configuration", &["access", "change", "creation", "deletion", "info"]),
    ("intrusion_detection", &["allowed", "denied", "info"]),
    ("network", &["access", "allowed", "connection", "denied", "end", "info", "protocol", "start"]),
    ("process", &["access", "change", "end", "info", "start"]),
    ("web", &["access", "error", "info"]),
];
