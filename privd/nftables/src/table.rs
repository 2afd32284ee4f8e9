//! The table around the sets: its script, and what tells whether it still stands as it was made.

use std::collections::BTreeSet;

use crate::element::{INET, message};
use crate::set::Set;
use crate::wire::{Attributes, DUMP, Header, Message, REQUEST, TooLong, append};

/// Its name.
pub const NAME: &str = "webhookd";

/// What makes the table, or puts it right, in nft's language (nft(8)): one transaction, in which
/// elements that are there stay.
///
/// At priority raw what comes is dropped before connections are tracked, forwarded or translated:
/// open ones and those to containers too. What goes out is dropped as well, or a session on which
/// this host keeps sending would live on.
#[must_use]
pub fn script(sets: &BTreeSet<Set>) -> String {
    let rules: String = sets.iter().map(|set| set.script()).collect();
    format!("{FRAME}{rules}")
}

/// What removes all of it.
pub const REMOVAL: &str = "add table inet webhookd\ndelete table inet webhookd\n";

const FRAME: &str = "\
add table inet webhookd
add chain inet webhookd prerouting { type filter hook prerouting priority raw; policy accept; }
add chain inet webhookd output { type filter hook output priority raw; policy accept; }
flush chain inet webhookd prerouting
flush chain inet webhookd output
";

/// The kernel's numbers for table and rules, in order: each is given once, so that whatever was taken
/// away or made anew shows.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Handles {
    table: u64,
    /// Not 0: the table sleeps, or belongs to a program.
    flags: u32,
    rules: Vec<u64>,
}

impl Handles {
    /// Whether the table drops anything.
    #[must_use]
    pub fn is_awake(&self) -> bool {
        self.flags == 0 && !self.rules.is_empty()
    }

    pub(crate) fn note_table(&mut self, message: &Message<'_>) {
        let attributes = message.attributes();
        self.table = attributes.long(TABLE_HANDLE).unwrap_or_default();
        self.flags = attributes.number(TABLE_FLAGS).unwrap_or_default();
    }

    pub(crate) fn note_rule(&mut self, message: &Message<'_>) {
        self.rules.extend(message.attributes().long(RULE_HANDLE));
    }
}

/// Asks for the table.
///
/// # Errors
/// Never in fact: it is short.
pub(crate) fn get() -> Result<Vec<u8>, TooLong> {
    named(GET_TABLE, REQUEST)
}

/// Asks for its rules.
///
/// # Errors
/// As [`get`].
pub(crate) fn rules() -> Result<Vec<u8>, TooLong> {
    named(GET_RULE, REQUEST | DUMP)
}

/// Asks for its sets.
///
/// # Errors
/// As [`get`].
pub(crate) fn sets() -> Result<Vec<u8>, TooLong> {
    named(GET_SET, REQUEST | DUMP)
}

/// The set that a message tells of.
pub(crate) fn told_set(message: &Message<'_>) -> Option<Set> {
    message.attributes().name(SET_NAME).and_then(Set::named)
}

/// Asks for the number of the last change that anybody made.
///
/// # Errors
/// As [`get`].
pub(crate) fn generation() -> Result<Vec<u8>, TooLong> {
    let header = Header {
        kind: message(GET_GENERATION),
        flags: REQUEST,
        sequence: 1,
        family: 0,
        resource: 0,
    };
    let mut bytes = Vec::new();
    append(&mut bytes, header, &Attributes::default())?;
    Ok(bytes)
}

/// The number of the last change.
pub(crate) fn told_generation(message: &Message<'_>) -> Option<u32> {
    message.attributes().number(GENERATION_ID)
}

fn named(kind: u16, flags: u16) -> Result<Vec<u8>, TooLong> {
    let mut body = Attributes::default();
    body.put_name(NAME_OF_IT, NAME)?;
    let header = Header { kind: message(kind), flags, sequence: 1, family: INET, resource: 0 };
    let mut bytes = Vec::new();
    append(&mut bytes, header, &body)?;
    Ok(bytes)
}

const GET_TABLE: u16 = 1;
const GET_RULE: u16 = 7;
const GET_SET: u16 = 10;
const GET_GENERATION: u16 = 16;
/// Of a table its own name, of a rule its table's.
const NAME_OF_IT: u16 = 1;
const TABLE_FLAGS: u16 = 2;
const TABLE_HANDLE: u16 = 4;
const RULE_HANDLE: u16 = 3;
const SET_NAME: u16 = 2;
const GENERATION_ID: u16 = 1;
