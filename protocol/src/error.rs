//! What can be wrong with a frame or an address.

use std::io;

/// Why a text or a network is not a [`Target`](crate::Target).
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TargetError {
    /// Not an address at all; leading zeros, zones and missing octets included.
    #[error("not an IP address or network")]
    Syntax,
    /// The address part has bits below the prefix, so it is unclear what was meant.
    #[error("has host bits set below its prefix; the network is {0}")]
    HostBits(ipnet::IpNet),
    /// A prefix of zero: everybody.
    #[error("is every address there is")]
    Everything,
    /// An IPv6 network around the IPv4-mapped range: no IPv6 rule ever sees such packets.
    #[error("contains the IPv4-mapped addresses; name the IPv4 network instead")]
    AroundMapped,
}

/// Why a frame could not be read, decoded or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The peer closed the connection between two frames: the regular end.
    #[error("the peer closed the connection")]
    Closed,
    /// The peer speaks another release's protocol.
    #[error("the peer speaks protocol version {theirs}, this program speaks {ours}")]
    Version {
        /// The version byte that arrived.
        theirs: u8,
        /// [`VERSION`](crate::VERSION).
        ours: u8,
    },
    /// The length field exceeds the cap; nothing was allocated.
    #[error("a frame of {length} bytes exceeds the cap of {cap}")]
    TooLong {
        /// The length that was announced, or that a message to be sent has.
        length: usize,
        /// The cap for this direction.
        cap: usize,
    },
    /// Bytes were left over behind the message.
    #[error("{0} bytes are left over behind the message")]
    Trailing(usize),
    /// Not a message of this protocol: an unknown variant, a value out of range, a short payload.
    #[error("the payload is not a message: {0}")]
    Decode(#[from] bincode::error::DecodeError),
    /// A message that cannot be encoded; a defect of the sender.
    #[error("the message cannot be encoded: {0}")]
    Encode(#[from] bincode::error::EncodeError),
    /// The connection broke, or a deadline passed.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
}
