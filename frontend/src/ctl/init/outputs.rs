//! Where Filebeat and Elastic Agent of this host send to. To block one of those would blind the
//! detection that asks for blocks.

use std::fs::File;
use std::io::{self, Read};

use protocol::Untrusted;
use saphyr::{LoadableYamlNode, Yaml};
use saphyr_parser::{Event, Parser};

use crate::ctl::certificate::San;

/// What the configuration files name.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    pub(super) named: Vec<Named>,
    /// Sentences about what could not be read, safe to print.
    pub(super) notes: Vec<String>,
}

/// A host to which something is sent.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) host: San,
    /// The program and the key, for people.
    pub(super) by: String,
}

impl Outputs {
    /// Reads every file that is there.
    pub(super) fn read() -> Self {
        let mut outputs = Self::default();
        for (program, path) in FILES {
            match text(path) {
                Ok(text) => outputs.add(program, path, &text),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => outputs.notes.push(format!("{path} cannot be read: {error}.")),
            }
        }
        outputs
    }

    fn add(&mut self, program: &str, path: &str, text: &str) {
        let documents = match documents(text) {
            Ok(documents) => documents,
            Err(error) => {
                return self
                    .notes
                    .push(format!("{path} is not understood: {}.", Untrusted(&error)));
            }
        };
        let mut keys = Vec::new();
        for document in &documents {
            flatten(document, "", DEEPEST, &mut keys);
        }
        let is_off = |output: &str| {
            let key = format!("{output}.enabled");
            keys.iter().any(|(name, value)| *name == key && value == "false")
        };
        for (key, value) in &keys {
            match meaning(key) {
                Meaning::Host(output) if !is_off(output) => self.host(program, path, key, value),
                Meaning::Elsewhere(what) if value != "false" => {
                    self.notes.push(format!("{path} has {}: {what}.", Untrusted(key)));
                }
                _ => {}
            }
        }
    }

    fn host(&mut self, program: &str, path: &str, key: &str, value: &str) {
        match host(value) {
            Some(host) => {
                // The same node is often named for data and for Kibana.
                if self.named.iter().all(|named| named.host != host) {
                    self.named.push(Named { host, by: format!("{program}'s {}", Untrusted(key)) });
                }
            }
            None => {
                let (key, value) = (Untrusted(key), Untrusted(value));
                self.notes.push(format!(
                    "{path} has {key}: {value}, which names no host as it stands; add its address to \
                     never-block yourself."
                ));
            }
        }
    }
}

/// Understands a text; one that is nested too deep is not even begun.
fn documents(text: &str) -> Result<Vec<Yaml<'_>>, String> {
    let mut depth = 0_usize;
    for event in Parser::new_from_str(text) {
        match event.map_err(|error| error.to_string())?.0 {
            Event::SequenceStart(..) | Event::MappingStart(..) if depth >= MOST_LEVELS => {
                return Err(format!("it has more than {MOST_LEVELS} levels"));
            }
            Event::SequenceStart(..) | Event::MappingStart(..) => depth = depth.saturating_add(1),
            Event::SequenceEnd | Event::MappingEnd => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Yaml::load_from_str(text).map_err(|error| error.to_string())
}

/// What a key is to us.
enum Meaning<'a> {
    /// Its values are hosts; the part of the key that can be switched off.
    Host(&'a str),
    /// The hosts stand somewhere else.
    Elsewhere(&'static str),
    Nothing,
}

/// Filebeat knows `output.elasticsearch.hosts` and its like, Elastic Agent `outputs.NAME.hosts`.
fn meaning(key: &str) -> Meaning<'_> {
    match *key.split('.').collect::<Vec<_>>() {
        ["output" | "outputs", _, "hosts"] => {
            Meaning::Host(key.strip_suffix(".hosts").unwrap_or_default())
        }
        ["setup", "kibana", "host"] => Meaning::Host("setup.kibana"),
        ["cloud", "id"] => Meaning::Elsewhere("its addresses change, so that none is protected"),
        ["fleet", "enabled"] => {
            Meaning::Elsewhere("Fleet keeps its outputs; add them to never-block yourself")
        }
        _ => Meaning::Nothing,
    }
}

/// Each value with its whole key: both programs take `a.b: c` for `a: {b: c}`. The values of a list
/// have the key of the list.
fn flatten(yaml: &Yaml<'_>, key: &str, depth: usize, found: &mut Vec<(String, String)>) {
    let Some(depth) = depth.checked_sub(1) else { return };
    if let Some(mapping) = yaml.as_mapping() {
        for (name, value) in mapping {
            let name = name.as_str().unwrap_or_default();
            let key = if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
            flatten(value, &key, depth, found);
        }
    } else if let Some(list) = yaml.as_sequence() {
        for value in list {
            flatten(value, key, depth, found);
        }
    } else if let Some(text) = yaml.as_str() {
        found.push((key.to_owned(), text.to_owned()));
    } else if let Some(truth) = yaml.as_bool() {
        found.push((key.to_owned(), truth.to_string()));
    }
}

/// The host of a URL, of `host:port` and of a bare address or name.
fn host(text: &str) -> Option<San> {
    let text = text.trim();
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next()?;
    let place = authority.rsplit('@').next()?;
    if let Ok(whole) = place.parse() {
        return Some(whole);
    }
    match place.strip_prefix('[') {
        Some(bracketed) => bracketed.split([']', '%']).next()?.parse().ok(),
        None => place.rsplit_once(':')?.0.parse().ok(),
    }
}

fn text(path: &str) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MOST_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// Where their packages put them.
const FILES: [(&str, &str); 3] = [
    ("Filebeat", "/etc/filebeat/filebeat.yml"),
    ("Elastic Agent", "/opt/Elastic/Agent/elastic-agent.yml"),
    ("Elastic Agent", "/etc/elastic-agent/elastic-agent.yml"),
];
/// Levels that a file may have; saphyr goes down one by one on the stack.
const MOST_LEVELS: usize = 64;
/// Levels of a configuration that are looked at.
const DEEPEST: usize = 16;
/// Bytes of a configuration that are read at most; one with every comment has 100 KB.
const MOST_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (Vec<String>, Vec<String>) {
        let mut outputs = Outputs::default();
        outputs.add("Filebeat", "/f.yml", text);
        let named = outputs.named.iter().map(|named| format!("{} by {}", named.host, named.by));
        (named.collect(), outputs.notes)
    }

    #[test]
    fn hosts_are_read_however_they_are_written() {
        let es = |host: &str| format!("{host} by Filebeat's output.elasticsearch.hosts");
        for (text, expected) in [
            (
                "output.elasticsearch:\n  hosts: [\"http://192.0.2.5:9200\"]\n",
                vec![es("192.0.2.5")],
            ),
            ("output.elasticsearch.hosts: es1\n", vec![es("es1")]),
            (
                "output:\n  elasticsearch:\n    hosts:\n    - es1:9200\n    - 'https://ES2.example.org/x'\n",
                vec![es("es1"), es("es2.example.org")],
            ),
            (
                "output.elasticsearch: {hosts: ['[2001:db8::5]:9200', 2001:db8::6]}\n",
                vec![es("2001:db8::5"), es("2001:db8::6")],
            ),
            ("output.elasticsearch:\n  hosts: ['https://u:p@es:9200']\n", vec![es("es")]),
            (
                "output.logstash:\n  hosts: [\"ls:5044\"]\nsetup.kibana:\n  host: \"https://kb:5601\"\n",
                vec![
                    "ls by Filebeat's output.logstash.hosts".into(),
                    "kb by Filebeat's setup.kibana.host".into(),
                ],
            ),
            (
                "outputs:\n  default:\n    type: elasticsearch\n    hosts: ['10.0.0.9:9200']\n",
                vec!["10.0.0.9 by Filebeat's outputs.default.hosts".into()],
            ),
            ("output.elasticsearch:\n  hosts: [a]\nsetup.kibana.host: a:5601\n", vec![es("a")]),
            ("output.elasticsearch:\n  enabled: false\n  hosts: [a]\n", vec![]),
            ("# output.elasticsearch:\n#   hosts: [a]\nfilebeat.inputs: [{hosts: [b]}]\n", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(of(text), (expected, vec![]), "{text}");
        }
    }

    #[test]
    fn a_file_that_would_burst_is_said_to_be_not_understood() {
        let aliases: String = (1..40)
            .map(|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 9].join(",")))
            .collect();
        for text in [
            "[".repeat(500_000),
            "{a: ".repeat(250_000),
            "- ".repeat(500_000),
            "? ".repeat(500_000),
            format!("a0: &a0 [x]\n{aliases}"),
        ] {
            let (named, notes) = of(&text);
            assert!(named.is_empty() && notes.len() == 1, "{notes:?}");
        }
    }

    #[test]
    fn no_name_of_an_output_steers_a_terminal() {
        for value in ["192.0.2.5", "'${ES}'"] {
            let text = format!("outputs:\n  \"\\e[2J\\n\\u202e\":\n    hosts: [{value}]\n");
            let (named, notes) = of(&text);
            let words = [named, notes].concat().concat();
            assert!(words.contains("outputs.\\u{1b}[2J\\n\\u{202e}.hosts"), "{words}");
        }
    }

    #[test]
    fn what_cannot_be_told_from_the_file_is_said() {
        for (text, words) in [
            ("cloud.id: \"x:ZXU\"\n", "has cloud.id: its addresses change"),
            ("fleet:\n  enabled: true\n", "has fleet.enabled: Fleet keeps its outputs"),
            ("output.elasticsearch.hosts: ['${ES}:9200']\n", "${ES}:9200, which names no host"),
            ("a: [\n", "/f.yml is not understood: "),
            ("a: 1\na: 2\n", "/f.yml is not understood: "),
        ] {
            let (named, notes) = of(text);
            assert!(named.is_empty() && notes.len() == 1, "{text}: {named:?} {notes:?}");
            assert!(notes[0].contains(words), "{notes:?}");
        }
        assert!(of("fleet:\n  enabled: false\n").1.is_empty());
    }
}
