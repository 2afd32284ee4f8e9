//! A rules file changed in ufw's own format, to be loaded by one run of ufw.
//!
//! ufw has no verb for many changes, but `ufw prepend` of a new tuple reads both rules files again
//! and loads both user chains (measured). So rules are put in and taken out of the text, and one
//! `prepend` commits them all. What is not touched stays as it was, byte by byte.

use std::collections::BTreeSet;

use protocol::Target;

use crate::Direction;
use crate::mark::Mark;
use crate::rules_file::{RulesFile, TUPLE};
use crate::tuple::Tuple;

/// Changes to one file.
#[derive(Debug)]
pub struct Edit<'a> {
    file: &'a RulesFile,
    ipv6: bool,
    /// Where the rules that are taken out begin.
    taken: BTreeSet<usize>,
    /// The rules that go in front, the foremost last.
    front: Vec<String>,
}

impl<'a> Edit<'a> {
    /// No change yet.
    pub const fn new(file: &'a RulesFile, ipv6: bool) -> Self {
        Self { file, ipv6, taken: BTreeSet::new(), front: Vec::new() }
    }

    /// Whether anything changes.
    pub fn is_empty(&self) -> bool {
        self.taken.is_empty() && self.front.is_empty()
    }

    /// Whether rules are left once this is done: `ufw prepend` loads nothing into an empty set.
    pub fn leaves_rules(&self) -> bool {
        !self.front.is_empty() || self.file.tuples.len() > self.taken.len()
    }

    /// Takes a rule of this file out.
    pub fn take_out(&mut self, tuple: &Tuple) {
        self.taken.insert(tuple.span.start);
    }

    /// Leaves a rule that was taken out where it was.
    pub fn leave(&mut self, tuple: &Tuple) {
        self.taken.remove(&tuple.span.start);
    }

    /// Whether a rule is taken out.
    pub fn takes_out(&self, tuple: &Tuple) -> bool {
        self.taken.contains(&tuple.span.start)
    }

    /// Puts a rule of this file in front of all others, just as it is.
    pub fn move_first(&mut self, tuple: &Tuple) {
        let lines = self.file.text.get(tuple.span.clone()).unwrap_or_default();
        if self.taken.insert(tuple.span.start) {
            self.front.push(format!("\n{}\n", lines.trim_end()));
        }
    }

    /// Puts a new drop of ours in front of all others.
    pub fn put_first(&mut self, target: Target, direction: Direction, mark: Mark) {
        self.front.push(rendered(target, direction, mark, self.ipv6));
    }

    /// The file's new text; None for a file that ufw never wrote.
    pub fn text(&self) -> Option<String> {
        let text = self.file.text.as_str();
        let mut rest = self.file.head?;
        let mut new = String::with_capacity(text.len());
        new.push_str(text.get(..rest)?);
        self.front.iter().rev().for_each(|rule| new.push_str(rule));
        let tuples = self.file.tuples.iter().map(|tuple| &tuple.span);
        for span in tuples.filter(|span| self.taken.contains(&span.start)) {
            // The blank line ahead of it goes with it.
            let kept = text.get(rest..span.start)?;
            let blank = kept == "\n" || kept.ends_with("\n\n");
            new.push_str(kept.strip_suffix('\n').filter(|_| blank).unwrap_or(kept));
            // And the one behind it stays, as the blank line of what follows.
            let lines = text.get(span.clone())?;
            rest = span.end.checked_sub(lines.len().checked_sub(lines.trim_end().len())?)?;
            rest = rest.checked_add(1)?;
        }
        new.push_str(text.get(rest..)?);
        Some(new)
    }
}

/// As ufw 0.36's `_write_rules` writes `deny from X` and `deny out to X`.
fn rendered(target: Target, direction: Direction, mark: Mark, ipv6: bool) -> String {
    let (chains, anywhere) = if ipv6 { ("ufw6", "::/0") } else { ("ufw", "0.0.0.0/0") };
    let comment: String = mark.to_string().bytes().map(|byte| format!("{byte:02x}")).collect();
    match direction {
        Direction::In => format!(
            "\n{TUPLE} deny any any {anywhere} any {target} in comment={comment}\n\
             -A {chains}-user-input -s {target} -j DROP\n"
        ),
        Direction::Out => format!(
            "\n{TUPLE} deny any any {target} any {anywhere} out comment={comment}\n\
             -A {chains}-user-output -d {target} -j DROP\n"
        ),
    }
}

#[cfg(test)]
mod tests;
