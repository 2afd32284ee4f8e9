//! The socket to the kernel: one question at a time, each with a deadline.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::sockopt::{ReceiveTimeout, SndBuf, SndBufForce};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket,
};
use nix::sys::time::TimeVal;
use protocol::Target;

use crate::element::{self, Batch, Element};
use crate::set::Set;
use crate::table::{self, Handles};
use crate::wire::{INTERRUPTED, Malformed, Message, Messages, TooLong};

/// A connection to the kernel's nf_tables, of the network namespace that it was opened in.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Connection {
    /// Opens one.
    ///
    /// # Errors
    /// The kernel has no nf_tables, or refuses.
    pub fn open() -> Result<Self, NftError> {
        let (kind, flags) = (SockType::Raw, SockFlag::SOCK_CLOEXEC);
        let socket = socket(AddressFamily::Netlink, kind, flags, SockProtocol::NetlinkNetFilter)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        setsockopt(&socket, ReceiveTimeout, &TimeVal::new(DEADLINE, 0))?;
        Ok(Self { socket, buffer: vec![0; MESSAGE_BUFFER] })
    }

    /// The number of the last change that anybody made to any table.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn generation(&mut self) -> Result<u32, NftError> {
        let mut generation = None;
        self.ask(&table::generation()?, |message| {
            generation = table::told_generation(message);
        })?;
        generation.ok_or(NftError::Malformed(Malformed))
    }

    /// How our table stands; None: there is none.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn table(&mut self) -> Result<Option<Handles>, NftError> {
        self.settled(Self::table_now)
    }

    fn table_now(&mut self) -> Result<Option<Handles>, NftError> {
        let mut handles = Handles::default();
        match self.ask(&table::get()?, |message| handles.note_table(message)) {
            Err(NftError::Kernel(Errno::ENOENT)) => return Ok(None),
            other => other?,
        }
        self.dump(&table::rules()?, |message| handles.note_rule(message))?;
        Ok(Some(handles))
    }

    /// The sets of our table that are ours by name; none where there is no table.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn sets(&mut self) -> Result<Vec<Set>, NftError> {
        self.settled(Self::sets_now)
    }

    fn sets_now(&mut self) -> Result<Vec<Set>, NftError> {
        let mut sets = Vec::new();
        match self.dump(&table::sets()?, |message| sets.extend(table::told_set(message))) {
            Err(NftError::Kernel(Errno::ENOENT)) => Ok(Vec::new()),
            other => other.map(|()| sets),
        }
    }

    /// Makes a change, all or nothing, and only if nobody changed any table since `generation`.
    ///
    /// # Errors
    /// What the kernel says; see [`NftError`].
    pub fn commit(&mut self, batch: &mut Batch, generation: u32) -> Result<(), NftError> {
        // It is one datagram, and the kernel counts more than its bytes.
        let room = batch.bytes.len().saturating_mul(2);
        if room > LEAST_BUFFER {
            match setsockopt(&self.socket, SndBufForce, &room) {
                // Root of a container alone: as far as the host's net.core.wmem_max allows.
                Err(Errno::EPERM) => setsockopt(&self.socket, SndBuf, &room)?,
                other => other?,
            }
        }
        batch.only_at(generation);
        self.ask(&batch.bytes, |_| {})
    }

    /// Which of these targets are in the kernel now, in their order.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn find(&mut self, targets: &[Target]) -> Result<Vec<Option<Element>>, NftError> {
        let mut found = Vec::with_capacity(targets.len());
        for chunk in targets.chunks(QUESTIONS) {
            let mut left = chunk.len();
            self.converse(&element::get(chunk)?, |message| {
                left = left.saturating_sub(1);
                // Answered in order, by the element or by ENOENT.
                found.push(match well(message) {
                    Err(Errno::ENOENT) => None,
                    other => other.map(|()| element::told(message).next())?,
                });
                Ok(left > 0)
            })?;
        }
        Ok(found)
    }

    /// All elements of a set; none where there is no such set. For a moment after a large change some
    /// may be left out: the kernel is making its table larger (seen, Linux 6.18).
    ///
    /// A hundred thousand take half a second, a million a minute and a half: the kernel walks its
    /// table anew for each piece (measured, Linux 6.18).
    ///
    /// # Errors
    /// What the kernel says, also that others keep changing it.
    pub fn list(&mut self, set: Set) -> Result<Vec<Element>, NftError> {
        let mut elements = Vec::new();
        match self.dump(&element::list(set)?, |message| elements.extend(element::told(message))) {
            Err(NftError::Kernel(Errno::ENOENT)) => Ok(Vec::new()),
            other => other.map(|()| elements),
        }
    }

    /// Asks again where others changed a list while it was told.
    fn settled<T>(
        &mut self,
        ask: impl Fn(&mut Self) -> Result<T, NftError>,
    ) -> Result<T, NftError> {
        for _ in 0..ATTEMPTS {
            match ask(self) {
                // More words may be on the way.
                Err(NftError::Kernel(Errno::EINTR)) => *self = Self::open()?,
                other => return other,
            }
        }
        Err(NftError::Kernel(Errno::EINTR))
    }

    /// Hears one message.
    fn ask(&mut self, bytes: &[u8], mut each: impl FnMut(&Message<'_>)) -> Result<(), NftError> {
        self.converse(bytes, |message| {
            well(message)?;
            each(message);
            Ok(false)
        })
    }

    /// Hears all messages of a list.
    fn dump(&mut self, bytes: &[u8], mut each: impl FnMut(&Message<'_>)) -> Result<(), NftError> {
        self.converse(bytes, |message| {
            well(message)?;
            if message.flags & INTERRUPTED != 0 {
                return Err(Errno::EINTR);
            }
            each(message);
            Ok(!message.is_done())
        })
    }

    /// Sends, and hears messages for as long as there are to be more. After an error this connection
    /// is of no use: more may be on the way.
    fn converse(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(&Message<'_>) -> Result<bool, Errno>,
    ) -> Result<(), NftError> {
        let socket = self.socket.as_raw_fd();
        if send(socket, bytes, MsgFlags::empty())? != bytes.len() {
            return Err(NftError::Kernel(Errno::EMSGSIZE));
        }
        loop {
            let received = recv(socket, &mut self.buffer, MsgFlags::empty())?;
            for message in Messages(self.buffer.get(..received).unwrap_or_default()) {
                if !each(&message?)? {
                    return Ok(());
                }
            }
        }
    }
}

fn well(message: &Message<'_>) -> Result<(), Errno> {
    match message.error() {
        None | Some(0) => Ok(()),
        Some(error) => Err(Errno::from_raw(error)),
    }
}

/// Why the kernel was not asked, or what it said.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// The kernel's word.
    #[error("nf_tables: {}", .0.desc())]
    Kernel(#[from] Errno),
    /// Too much at once.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// The kernel's answer cannot be read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl NftError {
    /// Whether somebody changed a table since the generation that was named.
    #[must_use]
    pub const fn is_stale(&self) -> bool {
        matches!(self, Self::Kernel(Errno::ERESTART))
    }

    /// Whether an element that was to be new is there already.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        matches!(self, Self::Kernel(Errno::EEXIST))
    }

    /// Whether the kernel had more to say than there was room for: what came of the change is not
    /// known. It repeats the whole message about each element that is there already.
    #[must_use]
    pub const fn is_unheard(&self) -> bool {
        matches!(self, Self::Kernel(Errno::ENOBUFS))
    }
}

/// Seconds: a million elements take ten, and the kernel may be busy with another's.
const DEADLINE: i64 = 60;
/// Attempts to have a list told while others change it.
const ATTEMPTS: usize = 20;
/// Bytes; the kernel's own default.
const LEAST_BUFFER: usize = 212_992;
/// Bytes: the kernel fills 32 KiB at most.
const MESSAGE_BUFFER: usize = 64 << 10;
/// Questions in one datagram: their answers must fit into the socket's buffer, a kilobyte each.
const QUESTIONS: usize = 64;
