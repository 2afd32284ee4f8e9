//! Where documents go: one JSON object a line, each with what is said of the daemon itself.

use std::path::Path;
use std::sync::Mutex;
use std::time::SystemTime;

use slog::{Drain, KV, Logger, Record, Serializer, info, o};
use slog_json::Json;

use crate::document::{Document, rfc3339};
use crate::field;
use crate::file::{AuditError, Lines};

/// The audit log, or none where none is configured.
#[derive(Debug, Default)]
pub struct Audit(Option<Open>);

#[derive(Debug)]
struct Open {
    documents: Logger,
    lines: Lines,
}

impl Audit {
    /// Opens the file; `log` is told when it cannot be written, and when it can be again.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: Option<&Path>, origin: Origin, log: &Logger) -> Result<Self, AuditError> {
        let Some(path) = path else { return Ok(Self(None)) };
        let lines = Lines::open(path, log.clone())?;
        let json = Json::new(lines.clone()).add_key_value(o!(origin));
        // A line is written when it is flushed, as a whole.
        let json = json.set_flush(true).build();
        let documents = Logger::root(Mutex::new(json).ignore_res(), o!());
        Ok(Self(Some(Open { documents, lines })))
    }

    /// Writes a document. What cannot be written is counted, and stops nobody.
    pub fn record(&self, document: Document) {
        if let Some(open) = &self.0 {
            // The document has its own level and message.
            info!(open.documents, ""; document);
        }
    }

    /// Opens the file anew, by its path; one that cannot be opened keeps the old one and is said.
    pub fn reopen(&self) {
        if let Some(open) = &self.0 {
            open.lines.reopen();
        }
    }

    /// Documents that could not be written since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.0.as_ref().map_or(0, |open| open.lines.lost())
    }
}

/// What every document says of the moment and of the daemon that wrote it.
#[derive(Debug)]
pub struct Origin {
    /// `event.provider`, `service.name` and `process.name`.
    pub program: &'static str,
    /// `service.version`.
    pub version: &'static str,
    /// `observer.product`, where the daemon is a firewall's.
    pub firewall: Option<&'static str>,
}

impl KV for Origin {
    fn serialize(&self, _: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        let host = nix::unistd::gethostname().unwrap_or_default();
        let host = host.to_string_lossy();
        serializer.emit_str(field::AT, &rfc3339(SystemTime::now()))?;
        for (key, value) in [
            ("ecs.version", "8.17.0"),
            ("event.kind", "event"),
            ("event.module", "webhookd"),
            ("event.dataset", "webhookd.audit"),
            ("event.provider", self.program),
            ("service.name", self.program),
            ("service.version", self.version),
            ("process.name", self.program),
            ("host.hostname", &*host),
        ] {
            serializer.emit_str(key, value)?;
        }
        if let Some(product) = self.firewall {
            serializer.emit_str("observer.type", "firewall")?;
            serializer.emit_str("observer.product", product)?;
            serializer.emit_str("observer.hostname", &host)?;
        }
        serializer.emit_u32("process.pid", std::process::id())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;
    use serde_json::{Value, json};
    use slog::Discard;

    use super::*;
    use crate::{Action, Level, Suppressed};

    /// The lines that some documents become.
    fn written(documents: impl IntoIterator<Item = Document>) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.ndjson");
        let origin = Origin { program: "tests", version: "1.2.3", firewall: Some("ufw") };
        let log = Logger::root(Discard, o!());
        let audit = Audit::open(Some(&path), origin, &log).unwrap();
        documents.into_iter().for_each(|document| audit.record(document));
        assert_eq!(audit.lost(), 0);
        fs::read_to_string(path).unwrap()
    }

    fn document() -> Document {
        Document::new(Level::Info, Action::Blocked, "blocked")
    }

    #[test]
    fn a_document_says_what_happened_to_whom_and_who_says_so() {
        let host = "198.51.100.7".parse().ok();
        let text = written([document()
            .about("198.51.100.7", host, "10.9.0.2".parse().ok())
            .text("rule.name", "SSH")
            .number("webhookd.peer.pid", 7)
            .time("webhookd.until", 1_795_472_758)
            .suppressed(Suppressed(3))]);
        let mut found: Value = serde_json::from_str(text.strip_suffix('\n').unwrap()).unwrap();
        let at = found.as_object_mut().unwrap().remove("@timestamp").unwrap();
        assert!(text.starts_with("{\"@timestamp\":\"2"), "{text}");
        assert_eq!(at.as_str().unwrap().len(), "2026-11-23T22:25:58.042Z".len());
        let hostname = nix::unistd::gethostname().unwrap().into_string().unwrap();
        let expected = json!({
            "ecs.version": "8.17.0", "log.level": "info", "message": "blocked",
            "event.kind": "event", "event.module": "webhookd", "event.dataset": "webhookd.audit",
            "event.provider": "tests", "event.action": "ip-blocked", "event.outcome": "success",
            "event.category": ["network", "intrusion_detection", "configuration"],
            "event.type": ["denied", "creation"],
            "service.name": "tests", "service.version": "1.2.3",
            "process.name": "tests", "process.pid": std::process::id(),
            "host.hostname": hostname, "observer.type": "firewall", "observer.product": "ufw",
            "observer.hostname": hostname,
            "source.address": "198.51.100.7", "source.ip": "198.51.100.7", "client.ip": "10.9.0.2",
            "related.ip": ["198.51.100.7", "10.9.0.2"], "rule.name": "SSH",
            "webhookd.peer.pid": 7, "webhookd.until": "2026-11-23T22:25:58.000Z",
            "webhookd.suppressed": 3,
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn no_value_forges_a_line_or_a_field_or_steers_a_terminal() {
        let huge = "A\n".repeat(1_000_000);
        let forgeries = [
            "x\n{\"event.action\":\"ip-unblocked\"}\n",
            "\",\"event.action\":\"ip-unblocked\",\"x\":\"",
            "\u{1b}[2J\u{9b}31m\u{7f}\r\u{85}",
            "<0>forged",
            "\u{0}",
            "\u{2028}\u{202e}\u{feff}\u{fffd}",
            "\\ud800\\",
            huge.as_str(),
        ];
        let text = written(forgeries.map(|value| {
            document().text("rule.name", value).list("related.ip", &[value.to_owned()])
        }));
        assert_eq!(text.lines().count(), forgeries.len());
        for (line, value) in text.lines().zip(forgeries) {
            assert!(line.len() < 8192 && !line.contains(char::is_control), "{line:?}");
            assert!(!line.contains(['\u{2028}', '\u{202e}', '\u{feff}']), "{line:?}");
            let found: Value = serde_json::from_str(line).unwrap();
            assert_eq!(found["event.action"], "ip-blocked");
            let shown = found["rule.name"].as_str().unwrap();
            assert!(shown == value || value == huge && shown.ends_with("(1998976 bytes more)"));
        }
    }

    #[test]
    fn without_a_file_nothing_is_written_and_nothing_lost() {
        let origin = Origin { program: "tests", version: "1.2.3", firewall: None };
        let audit = Audit::open(None, origin, &Logger::root(Discard, o!())).unwrap();
        audit.record(document());
        audit.reopen();
        assert_eq!(audit.lost(), 0);
    }

    proptest! {
        #[test]
        fn whatever_the_text_is_it_is_one_line_of_json_that_says_it(text in any::<String>()) {
            let line = written([document().text("event.reason", &text)]);
            prop_assert_eq!(line.matches('\n').count(), 1);
            let found: Value = serde_json::from_str(&line).unwrap();
            if (1..=1024).contains(&text.len()) {
                prop_assert_eq!(found["event.reason"].as_str(), Some(&*text));
            }
        }
    }
}
