//! Netlink messages: a header and attributes, padded to four bytes (netlink(7), `linux/netlink.h`).
//!
//! ```text
//! length u32 | type u16 | flags u16 | sequence u32 | port u32      netlink's header
//! family u8 | version u8 | resource u16, big-endian                 nfnetlink's header
//! length u16 | type u16 | value, padding                            attributes, which may nest
//! ```
//!
//! Numbers of netlink's own headers are in this machine's byte order, numbers within nf_tables'
//! attributes big-endian.

/// A message under construction.
#[derive(Debug, Default)]
pub struct Attributes(Vec<u8>);

impl Attributes {
    /// Adds an attribute.
    ///
    /// # Errors
    /// It is larger than an attribute can be.
    pub fn put(&mut self, kind: u16, value: &[u8]) -> Result<(), TooLong> {
        let length = value.len().checked_add(ATTRIBUTE_HEADER).ok_or(TooLong)?;
        let length = u16::try_from(length).map_err(|_| TooLong)?;
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(ALIGNMENT), 0);
        Ok(())
    }

    /// Adds a name, which ends with a zero byte.
    ///
    /// # Errors
    /// As [`Attributes::put`].
    pub fn put_name(&mut self, kind: u16, name: &str) -> Result<(), TooLong> {
        self.put(kind, &[name.as_bytes(), &[0]].concat())
    }

    /// Adds attributes as the value of one.
    ///
    /// # Errors
    /// As [`Attributes::put`].
    pub fn nest(&mut self, kind: u16, inner: &Self) -> Result<(), TooLong> {
        self.put(kind | NESTED, &inner.0)
    }

    /// Bytes so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What stands before the attributes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// What is asked for, or told.
    pub kind: u16,
    /// `NLM_F_*`.
    pub flags: u16,
    /// Ties a reply to its request.
    pub sequence: u32,
    /// The protocol family.
    pub family: u8,
    /// A number that some messages carry.
    pub resource: u16,
}

/// Appends a message to a buffer that is sent as a whole.
///
/// # Errors
/// It is larger than a message can be.
pub fn append(buffer: &mut Vec<u8>, header: Header, body: &Attributes) -> Result<(), TooLong> {
    let length = body.len().checked_add(HEADERS).ok_or(TooLong)?;
    let length = u32::try_from(length).map_err(|_| TooLong)?;
    buffer.extend(length.to_ne_bytes());
    buffer.extend(header.kind.to_ne_bytes());
    buffer.extend(header.flags.to_ne_bytes());
    buffer.extend(header.sequence.to_ne_bytes());
    // The kernel knows us by the socket.
    buffer.extend(0_u32.to_ne_bytes());
    buffer.extend([header.family, VERSION]);
    buffer.extend(header.resource.to_be_bytes());
    buffer.extend(&body.0);
    Ok(())
}

/// Has the kernel say a word also where all goes well, to the message that begins at `start`.
pub fn request_acknowledgement(buffer: &mut [u8], start: usize) {
    let flags = start.checked_add(FLAGS).and_then(|place| buffer.get_mut(place..));
    if let Some(flags) = flags.and_then(|rest| rest.first_chunk_mut()) {
        *flags = (u16::from_ne_bytes(*flags) | ACKNOWLEDGE).to_ne_bytes();
    }
}

/// A message that came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Message<'a> {
    /// What is told.
    pub kind: u16,
    /// `NLM_F_*`.
    pub flags: u16,
    /// That of the request.
    pub sequence: u32,
    /// What follows netlink's header.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The attributes behind nfnetlink's header.
    #[must_use]
    pub fn attributes(&self) -> AttributesOf<'a> {
        AttributesOf(self.payload.get(NFNETLINK_HEADER..).unwrap_or_default())
    }

    /// The error that this message tells; zero says that all went well. None where it tells none.
    #[must_use]
    pub fn error(&self) -> Option<i32> {
        let bytes = self.payload.first_chunk().filter(|_| self.kind == ERROR)?;
        Some(i32::from_ne_bytes(*bytes).saturating_neg())
    }

    /// Whether a list ends here.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.kind == DONE
    }
}

/// The messages in what was received.
#[derive(Clone, Copy, Debug)]
pub struct Messages<'a>(pub &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let message = self.take();
        if message.is_none() {
            self.0 = &[];
        }
        Some(message.ok_or(Malformed))
    }
}

impl<'a> Messages<'a> {
    fn take(&mut self) -> Option<Message<'a>> {
        let (length, rest) = self.0.split_first_chunk()?;
        let (kind, rest) = rest.split_first_chunk()?;
        let (flags, rest) = rest.split_first_chunk()?;
        let (sequence, _) = rest.split_first_chunk()?;
        let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
        let message = Message {
            kind: u16::from_ne_bytes(*kind),
            flags: u16::from_ne_bytes(*flags),
            sequence: u32::from_ne_bytes(*sequence),
            payload: self.0.get(NETLINK_HEADER..length)?,
        };
        self.0 = self.0.get(length.checked_next_multiple_of(ALIGNMENT)?..).unwrap_or_default();
        Some(message)
    }
}

/// The attributes in a message, or in an attribute; they end where they are no longer whole.
#[derive(Clone, Copy, Debug)]
pub struct AttributesOf<'a>(pub &'a [u8]);

impl<'a> AttributesOf<'a> {
    /// The value of the first one of this kind.
    #[must_use]
    pub fn find(mut self, wanted: u16) -> Option<&'a [u8]> {
        self.find_map(|(kind, value)| (kind == wanted).then_some(value))
    }

    /// The attributes within the first one of this kind.
    #[must_use]
    pub fn within(self, wanted: u16) -> Option<Self> {
        self.find(wanted).map(Self)
    }

    /// A big-endian number of 32 bits.
    #[must_use]
    pub fn number(self, wanted: u16) -> Option<u32> {
        self.find(wanted)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// A big-endian number of 64 bits.
    #[must_use]
    pub fn long(self, wanted: u16) -> Option<u64> {
        self.find(wanted)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
    }

    /// A name.
    #[must_use]
    pub fn name(self, wanted: u16) -> Option<&'a str> {
        let bytes = self.find(wanted)?;
        std::str::from_utf8(bytes.strip_suffix(&[0]).unwrap_or(bytes)).ok()
    }
}

impl<'a> Iterator for AttributesOf<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = self.0.split_first_chunk()?;
        let kind = u16::from_ne_bytes(*rest.first_chunk()?) & !(NESTED | BIG_ENDIAN);
        let length = usize::from(u16::from_ne_bytes(*length));
        let value = self.0.get(ATTRIBUTE_HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// More than a length can say.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a netlink message became too long")]
pub struct TooLong;

/// What came is no netlink message.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the kernel's answer is no netlink message")]
pub struct Malformed;

/// Asks the kernel to do something.
pub const REQUEST: u16 = 1;
/// Asks for all.
pub const DUMP: u16 = 0x300;
/// Asks for a new thing; one that is there already is no error.
pub const CREATE: u16 = 0x400;
/// With [`CREATE`]: one that is there already is an error.
pub const EXCLUSIVE: u16 = 0x200;
/// What was being listed changed meanwhile.
pub const INTERRUPTED: u16 = 0x10;

/// Asks for a word also where all went well.
const ACKNOWLEDGE: u16 = 4;
/// Bytes before the flags.
const FLAGS: usize = 6;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const NESTED: u16 = 1 << 15;
const BIG_ENDIAN: u16 = 1 << 14;
const ALIGNMENT: usize = 4;
const NETLINK_HEADER: usize = 16;
const NFNETLINK_HEADER: usize = 4;
const HEADERS: usize = NETLINK_HEADER + NFNETLINK_HEADER;
const ATTRIBUTE_HEADER: usize = 4;
/// NFNETLINK_V0.
const VERSION: u8 = 0;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: Header =
        Header { kind: 0x0a0c, flags: REQUEST, sequence: 7, family: 1, resource: 10 };

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let (mut inner, mut body, mut bytes) =
            (Attributes::default(), Attributes::default(), vec![]);
        inner.put(5, &9_u64.to_be_bytes()).unwrap();
        body.put_name(1, "webhookd").unwrap();
        body.nest(3, &inner).unwrap();
        append(&mut bytes, HEADER, &body).unwrap();
        append(&mut bytes, Header { sequence: 8, ..HEADER }, &Attributes::default()).unwrap();
        let messages: Vec<Message<'_>> = Messages(&bytes).map(Result::unwrap).collect();
        let sequences: Vec<u32> = messages.iter().map(|message| message.sequence).collect();
        assert_eq!(sequences, [7, 8]);
        let attributes = messages[0].attributes();
        assert_eq!(attributes.name(1), Some("webhookd"));
        assert_eq!(attributes.within(3).unwrap().long(5), Some(9));
        assert_eq!(attributes.find(2), None);
        assert_eq!((messages[0].error(), messages[0].is_done()), (None, false));
    }

    #[test]
    fn an_attribute_larger_than_its_length_can_say_is_refused() {
        let mut body = Attributes::default();
        assert_eq!(body.put(1, &vec![0; 65_532]), Err(TooLong));
        assert_eq!(body.put(1, &vec![0; 65_531]), Ok(()));
    }

    proptest! {
        #[test]
        fn nothing_that_comes_makes_the_reader_fail_or_read_for_ever(
            bytes in prop::collection::vec(any::<u8>(), 0..200)
        ) {
            assert!(Messages(&bytes).count() < 100);
            for message in Messages(&bytes).flatten() {
                let _ = (message.error(), message.is_done());
                for (kind, _) in message.attributes() {
                    let attributes = message.attributes();
                    let _ = (attributes.within(kind), attributes.name(kind), attributes.long(kind));
                }
            }
        }
    }
}
