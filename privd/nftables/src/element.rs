//! Elements of our sets: what the kernel is asked to add, delete and show, and what it answers
//! (`linux/netfilter/nf_tables.h`).

use std::time::Duration;

use protocol::Target;

use crate::set::Set;
use crate::table;
use crate::wire::{
    Attributes, AttributesOf, CREATE, DUMP, EXCLUSIVE, Header, Message, REQUEST, TooLong, append,
    request_acknowledgement,
};

/// A target in the kernel, and for how long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Element {
    /// Whom it drops.
    pub target: Target,
    /// For how long from now on; None: until it is deleted.
    pub left: Option<Duration>,
    /// Packets dropped so far.
    pub packets: u64,
}

/// A change that the kernel makes as a whole or not at all: `old` goes, whether or not it is there,
/// and `new` comes, which must not be there unless it is among the old.
///
/// # Errors
/// It is larger than a message can be.
pub fn change(old: &[Target], new: &[Element]) -> Result<Batch, TooLong> {
    // Deleting what is not there, or has just ended, would spoil all of it.
    let old: Vec<Element> = old.iter().copied().map(bare).collect();
    let mut batch = Batch::new()?;
    batch.elements(NEW, CREATE, &old)?;
    batch.elements(DELETE, 0, &old)?;
    batch.elements(NEW, CREATE | EXCLUSIVE, new)?;
    batch.end()
}

/// The same for the whole of some sets.
///
/// # Errors
/// As [`change`].
pub fn replace(sets: impl Iterator<Item = Set>, blocked: &[Element]) -> Result<Batch, TooLong> {
    let mut batch = Batch::new()?;
    for set in sets {
        batch.message(DELETE, 0, &naming(set, &[])?)?;
    }
    batch.elements(NEW, CREATE, blocked)?;
    batch.end()
}

/// Messages that travel together.
#[derive(Debug, Default)]
pub struct Batch {
    /// The bytes to send.
    pub bytes: Vec<u8>,
    /// Where the last message about elements begins.
    last: usize,
}

impl Batch {
    /// Has the kernel refuse it where anybody changed anything since that state of nf_tables. Last
    /// of all: a million elements take a second to be written, in which others are at work.
    pub fn only_at(&mut self, generation: u32) {
        let place = self.bytes.get_mut(GENERATION..).and_then(|rest| rest.first_chunk_mut());
        if let Some(place) = place {
            *place = generation.to_be_bytes();
        }
    }

    fn new() -> Result<Self, TooLong> {
        let (mut batch, mut condition) = (Self::default(), Attributes::default());
        condition.put(BATCH_GENERATION, &[0; 4])?;
        batch.frame(BATCH_BEGIN, &condition)?;
        Ok(batch)
    }

    /// One word is enough if all goes well; what does not is told anyway.
    fn end(mut self) -> Result<Self, TooLong> {
        request_acknowledgement(&mut self.bytes, self.last);
        self.frame(BATCH_END, &Attributes::default())?;
        Ok(self)
    }

    fn frame(&mut self, kind: u16, body: &Attributes) -> Result<(), TooLong> {
        let header = Header { kind, flags: REQUEST, sequence: 0, family: 0, resource: SUBSYSTEM };
        append(&mut self.bytes, header, body)
    }

    fn elements(&mut self, kind: u16, flags: u16, elements: &[Element]) -> Result<(), TooLong> {
        let mut elements = elements.to_vec();
        elements.sort_unstable_by_key(|element| Set::of(element.target));
        for of_one in elements.chunk_by(|one, next| Set::of(one.target) == Set::of(next.target)) {
            for chunk in of_one.chunks(AT_ONCE) {
                if let Some(first) = chunk.first() {
                    self.message(kind, flags, &naming(Set::of(first.target), chunk)?)?;
                }
            }
        }
        Ok(())
    }

    fn message(&mut self, kind: u16, flags: u16, body: &Attributes) -> Result<(), TooLong> {
        let flags = REQUEST | flags;
        let header = Header { kind: message(kind), flags, sequence: 1, family: INET, resource: 0 };
        self.last = self.bytes.len();
        append(&mut self.bytes, header, body)
    }
}

const fn bare(target: Target) -> Element {
    Element { target, left: None, packets: 0 }
}

/// Asks for these targets, one after the other; the kernel answers each by [`element`] or by ENOENT.
///
/// # Errors
/// As [`change`].
pub fn get(targets: &[Target]) -> Result<Vec<u8>, TooLong> {
    let mut bytes = Vec::new();
    for target in targets {
        append(&mut bytes, asking(0), &naming(Set::of(*target), &[bare(*target)])?)?;
    }
    Ok(bytes)
}

/// Asks for all elements of a set.
///
/// # Errors
/// As [`change`].
pub fn list(set: Set) -> Result<Vec<u8>, TooLong> {
    let mut bytes = Vec::new();
    append(&mut bytes, asking(DUMP), &naming(set, &[])?)?;
    Ok(bytes)
}

const fn asking(flags: u16) -> Header {
    let flags = REQUEST | flags;
    Header { kind: message(GET), flags, sequence: 1, family: INET, resource: 0 }
}

/// The elements that a message tells of.
pub fn told<'a>(message: &Message<'a>) -> impl Iterator<Item = Element> + use<'a> {
    let attributes = message.attributes();
    let set = attributes.name(LIST_SET).and_then(Set::named);
    let list = attributes.within(LIST_ELEMENTS).filter(|_| message.kind == self::message(NEW));
    list.into_iter().flatten().filter_map(move |(_, value)| element(set?, AttributesOf(value)))
}

fn element(set: Set, attributes: AttributesOf<'_>) -> Option<Element> {
    let key = attributes.within(ELEMENT_KEY)?.find(DATA_VALUE)?;
    let lasts = attributes.find(ELEMENT_TIMEOUT).is_some();
    let left = attributes.long(ELEMENT_EXPIRATION).map(Duration::from_millis);
    let expression = attributes.within(ELEMENT_EXPRESSION);
    let counter = expression.and_then(|expression| expression.within(EXPRESSION_DATA));
    Some(Element {
        target: set.target(key)?,
        left: if lasts { Some(left.unwrap_or_default()) } else { None },
        packets: counter.and_then(|counter| counter.long(COUNTER_PACKETS)).unwrap_or_default(),
    })
}

/// The body of a message about elements of one set; without any, it is about all.
fn naming(set: Set, elements: &[Element]) -> Result<Attributes, TooLong> {
    let mut list = Attributes::default();
    for element in elements {
        let (mut key, mut body) = (Attributes::default(), Attributes::default());
        key.put(DATA_VALUE, &set.key(element.target))?;
        body.nest(ELEMENT_KEY, &key)?;
        if let Some(left) = element.left {
            let milliseconds = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            body.put(ELEMENT_TIMEOUT, &milliseconds.to_be_bytes())?;
        }
        list.nest(LIST_ELEMENT, &body)?;
    }
    let mut body = Attributes::default();
    body.put_name(LIST_TABLE, table::NAME)?;
    body.put_name(LIST_SET, &set.name())?;
    if !list.is_empty() {
        body.nest(LIST_ELEMENTS, &list)?;
    }
    Ok(body)
}

/// A message's number with nf_tables' own.
pub(crate) const fn message(kind: u16) -> u16 {
    SUBSYSTEM << 8 | kind
}

/// NFPROTO_INET: both families.
pub(crate) const INET: u8 = 1;
/// NFNL_SUBSYS_NFTABLES.
const SUBSYSTEM: u16 = 10;
/// Elements in one message: 60 bytes each stay under the 64 KiB of an attribute.
const AT_ONCE: usize = 1_000;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const BATCH_GENERATION: u16 = 1;
/// Where its value is: behind the first message's headers and its own.
const GENERATION: usize = 24;
const NEW: u16 = 12;
const GET: u16 = 13;
const DELETE: u16 = 14;
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
const LIST_ELEMENT: u16 = 1;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_TIMEOUT: u16 = 4;
const ELEMENT_EXPIRATION: u16 = 5;
const ELEMENT_EXPRESSION: u16 = 7;
const EXPRESSION_DATA: u16 = 2;
const COUNTER_PACKETS: u16 = 2;
const DATA_VALUE: u16 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Messages;

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    fn kinds(bytes: &[u8]) -> Vec<(u16, u16)> {
        let messages = Messages(bytes).map(Result::unwrap);
        messages.map(|message| (message.kind & 0xff, message.flags & !REQUEST)).collect()
    }

    #[test]
    fn what_goes_is_added_first_so_that_its_absence_spoils_nothing_and_one_word_answers_all() {
        let new = [bare(target("198.51.100.7")), bare(target("2001:db8::7"))];
        let mut batch = change(&[target("198.51.100.7")], &new).unwrap();
        batch.only_at(7);
        let expected = [
            (BATCH_BEGIN, 0),
            (NEW, CREATE),
            (DELETE, 0),
            (NEW, CREATE | EXCLUSIVE),
            (NEW, CREATE | EXCLUSIVE | ACKNOWLEDGED),
            (BATCH_END, 0),
        ];
        assert_eq!(kinds(&batch.bytes), expected);
        let begin = Messages(&batch.bytes).next().unwrap().unwrap();
        assert_eq!(begin.attributes().number(BATCH_GENERATION), Some(7));
    }

    #[test]
    fn a_set_is_replaced_by_emptying_it_and_filling_it_in_one_transaction() {
        let blocked = vec![bare(target("198.51.100.7")); AT_ONCE + 1];
        let set = Set::of(target("198.51.100.7"));
        let batch = replace([set].into_iter(), &blocked).unwrap();
        let kinds: Vec<u16> = kinds(&batch.bytes).into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [BATCH_BEGIN, DELETE, NEW, NEW, BATCH_END]);
    }

    #[test]
    fn an_element_is_read_as_it_was_written() {
        for (text, left) in [
            ("198.51.100.7", None),
            ("198.51.100.0/24", Some(Duration::from_millis(1_500))),
            ("2001:db8::/48", Some(Duration::from_secs(400 * 86_400))),
        ] {
            let element = Element { target: target(text), left, packets: 0 };
            let batch = change(&[], &[element]).unwrap();
            let message = Messages(&batch.bytes).nth(1).unwrap().unwrap();
            let set = Set::of(element.target);
            let list = message.attributes().within(LIST_ELEMENTS).unwrap().next().unwrap().1;
            assert_eq!(
                AttributesOf(list).long(ELEMENT_TIMEOUT).is_some(),
                left.is_some(),
                "{text}"
            );
            let milliseconds = left.map(|left| u64::try_from(left.as_millis()).unwrap());
            assert_eq!(AttributesOf(list).long(ELEMENT_TIMEOUT), milliseconds, "{text}");
            let read = super::element(set, AttributesOf(list)).unwrap();
            assert_eq!(read.target, element.target);
        }
    }

    #[test]
    fn each_target_is_asked_for_by_a_message_of_its_own() {
        let bytes = get(&[target("198.51.100.7"), target("2001:db8::7")]).unwrap();
        assert_eq!(kinds(&bytes), [(GET, 0), (GET, 0)]);
    }

    /// NLM_F_ACK.
    const ACKNOWLEDGED: u16 = 4;
}
